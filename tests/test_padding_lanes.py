"""A padding lane of the regime "samples" must not spoil the real samples' numbers."""

import numpy as np
import pytest

from bptt.kernels.walk.products import SAMPLES
from bptt.kernels.walk.workspace import regime_for
from bptt.network.network import Network

B, T = 7, 8  # not a whole vector of either type: one lane at least is padding


def pushed_down(engine, dtype, output="linear", loss="squared", one_hot=False):
    """A relu network that grows by 1e10 a step from its bias alone, and is at 0 with inputs of -2,
    or with the first row of U."""
    network = Network(
        inputs=1, outputs=1, hidden=3, activation="relu", output=output, loss=loss,
        dtype=dtype, engine=engine,
    )  # fmt: skip
    for name, value in (("U", 1.0), ("W", 1e50 if dtype == "float64" else 1e10), ("b", 1.0)):
        network[name][:] = value
    if one_hot:
        network["U"][:] = -2.0
        return network, np.zeros((B, T), np.int64), np.zeros((B, T, 1), dtype)
    network["V"][:], network["c"][:] = 0.5, 0.25
    x = np.full((B, T, 1), -2.0, dtype)
    return network, x, np.zeros((B, T, 1), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("output", "loss"), [("linear", "squared"), ("sigmoid", "cross_entropy")])
def test_what_overflows_in_a_padding_lane_stays_there(dtype, output, loss):
    network, x, y = pushed_down("compiled", dtype, output, loss)
    assert regime_for(network.structure, B) == SAMPLES
    zero, _, _ = pushed_down("reference", dtype, output, loss)
    assert not np.isfinite(zero.forward(np.zeros_like(x)).state).all()  # a zero input overflows
    right = pushed_down("reference", dtype, output, loss)[0].gradient(x, y, inputs=True)
    found = network.gradient(x, y, inputs=True)
    assert np.isfinite(right.flat).all()
    for name, value in right.parameters.items():
        np.testing.assert_allclose(found.parameters[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(found.x, right.x, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nor_does_it_where_inputs_are_looked_up(dtype):
    network, x, y = pushed_down("compiled", dtype, one_hot=True)
    right = pushed_down("reference", dtype, one_hot=True)[0].gradient(x, y)
    found = network.gradient(x, y)
    assert np.isfinite(right.flat).all()
    np.testing.assert_allclose(found.flat, right.flat, rtol=1e-5)
