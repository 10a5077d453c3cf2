"""Numbers too small to be normal: zero inside a compiled kernel, as they were outside of it."""

import numpy as np
import pytest

from bptt.equations.optimizers import Optimizer
from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine.denormals import ZERO
from bptt.kernels.machine.vectors import COMPILER_OFF
from bptt.network.batch import Batch
from bptt.network.engines import Learner
from bptt.network.network import Network
from bptt.network.reference_engine import ReferenceEngine

pytestmark = pytest.mark.skipif(
    COMPILER_OFF or ZERO == 0, reason="needs the compiler, for a processor that can"
)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def trained(engine, kind, dtype, batch):
    """A relu network without live units, whose optimizer's moments have nearly decayed."""
    network = Network(inputs=2, hidden=5, outputs=1, activation="relu", dtype=dtype, seed=0)
    theta = network.theta.copy()
    network.structure.layout().views(theta)["b"][:] = -100
    tiny = np.finfo(dtype).tiny
    learner = Learner(theta, np.full_like(theta, 2 * tiny), np.full_like(theta, 2 * tiny), None)
    x = np.random.default_rng(0).uniform(0, 1, (30, batch, 4, 2)).astype(dtype)
    y = np.zeros((30, batch, 4, 1), dtype)
    optimizer = Optimizer(kind=kind, learning_rate=1e-3, beta2=0.9)
    engine.train(optimizer, learner, Batch(network.structure, x, y, axes=1))
    return network.structure.layout(), learner


@DTYPES
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("kind", ["momentum", "rmsprop", "adam"])
def test_moments_that_nothing_feeds_become_zero(kind, dtype, batch):
    """In the reference they stay too small to be normal; the weights are the same."""
    layout, expected = trained(ReferenceEngine(), kind, dtype, batch)
    _, found = trained(CompiledEngine(), kind, dtype, batch)
    np.testing.assert_allclose(
        found.theta, expected.theta, rtol=1e-5 if dtype == "float32" else 1e-13
    )
    state = "s1" if kind == "rmsprop" else "s0"
    left, kept = (layout.views(getattr(each, state))["W"] for each in (found, expected))
    assert (left == 0).all()
    assert ((kept != 0) & (abs(kept) < np.finfo(dtype).tiny)).all()


@DTYPES
def test_python_keeps_them(dtype):
    trained(CompiledEngine(), "adam", dtype, 1)
    small = np.full(3, np.finfo(dtype).tiny)
    assert (small / 4 > 0).all()
    assert ((small / 4) * 2 == small / 2).all()
