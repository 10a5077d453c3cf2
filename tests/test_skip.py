"""A skip: the first inputs added to the first outputs, so that the difference is what is learned.

That the kernels equal the reference with it in every regime is in the tables of
tests/test_regimes.py and tests/test_side_by_side.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bptt
from bptt import BpttError, Network, check_network
from bptt.equations.cells import CELLS
from bptt.exchange.model import model_of
from bptt.kernels.machine.vectors import lanes
from bptt.network.structure import Structure

LINEAR: dict[str, Any] = {"output": "linear", "loss": "squared"}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_gradients(key: tuple[str, str], tied: bool) -> None:
    """Against central differences; by the inputs, which act in two ways, all of them."""
    B, T, D, H, O = 3, 4, 3, 2, 2  # noqa: E741
    rng = np.random.default_rng(1)
    for layers, skip, output in ((1, 2, "linear"), (2, 1, "sigmoid")):
        network = Network(
            cell=key[0], activation=key[1], inputs=D, hidden=H, outputs=O, layers=layers, tied=tied,
            steps=0 if tied else T, dtype="float64", seed=2, engine="reference", skip=skip,
            output=output, loss="squared", input_dropout=0.3, initial_state="trainable",
            initializers={"b": "normal(0.5)", "h0": "normal(0.5)"},
        )  # fmt: skip
        x, y = rng.normal(size=(B, T, D)), rng.uniform(size=(B, T, O))
        for chance in (None, (4, 5)):
            check = check_network(network, x, y, np.array([0, T, 2]), chance=chance)
            assert check.passed, f"\n{check}"


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_the_outputs_differ_by_the_inputs(engine: str, outputs: int) -> None:
    """Of few samples and many, of one step after the other, and of a window after the other."""
    skip = min(outputs, 3)
    one = Network(inputs=4, outputs=outputs, hidden=5, seed=1, engine=engine, skip=skip, **LINEAR)
    two = Network(inputs=4, outputs=outputs, hidden=5, seed=1, engine=engine, **LINEAR)
    assert one.theta.size == two.theta.size
    for batch in (1, 3, 2 * lanes("float32") + 1):
        x = np.random.default_rng(batch).normal(size=(batch, 70, 4)).astype(np.float32)
        found = one.forward(x).o - two.forward(x).o
        np.testing.assert_allclose(found[..., :skip], x[..., :skip], atol=1e-6)
        np.testing.assert_array_equal(found[..., skip:], 0)
        stream = one.stream(batch)
        steps = [stream.step(x[0, t] if batch == 1 else x[:, t]).copy() for t in range(5)]
        expected = one.predict(x)[:, :5].swapaxes(0, 1).reshape(np.shape(steps))
        np.testing.assert_allclose(steps, expected, atol=1e-6)


def test_input_dropout_leaves_the_skip_alone() -> None:
    network = Network(
        inputs=1, outputs=1, hidden=2, dtype="float64", skip=1, input_dropout=0.5, **LINEAR
    )
    network["V"][:] = 0
    x = np.random.default_rng(1).normal(size=(9, 5, 1))
    assert network.loss(x, x, chance=(1, 2)) == 0
    assert network.loss(x, x) == 0


def test_a_file_keeps_it(tmp_path: Path) -> None:
    task = bptt.Addition(bits=3)
    run = bptt.train(task, iterations=2, record_every=2, hidden=3, skip=1)
    run.save(tmp_path / "run")
    assert bptt.load(tmp_path / "run").structure.skip == 1
    assert "skip" not in Structure(inputs=1, outputs=1).plain()


def test_what_goes_out_has_it_too(tmp_path: Path) -> None:
    network = Network(inputs=2, outputs=1, hidden=3, skip=1, engine="reference", **LINEAR)
    model = model_of(network)
    assert (model.skip, model.structure.skip) == (1, 0)
    bptt.export(network, tmp_path / "net.py", format="numpy")
    names: dict[str, Any] = {}
    exec((tmp_path / "net.py").read_text(), names)
    x = np.random.default_rng(1).normal(size=(1, 4, 2)).astype(np.float32)
    found = names["Net"]().run(x[0])
    np.testing.assert_allclose(found, network.predict(x)[0], atol=1e-6)
    for changes, surroundings in (
        ({"output": "sigmoid"}, {}), ({}, {"skip": 1}), ({}, {"scaling": object()}),
    ):  # fmt: skip
        other = Network(
            inputs=2, outputs=1, hidden=3, skip=1, engine="reference", **LINEAR | changes
        )
        with pytest.raises(BpttError, match="inputs are added to its outputs"):
            model_of(other, **surroundings)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"skip": 3}, "skip 3 is not allowed: from 0 to 2"),
        ({"skip": -1}, "skip -1 is not allowed: from 0 to 2"),
        ({"skip": 1, "readout": "last"}, "skip adds the inputs to the outputs step by step"),
    ],
)
def test_a_skip_that_cannot_be_is_refused(given: Any, words: str) -> None:
    with pytest.raises(BpttError, match=words):
        Network(inputs=2, outputs=4, **given)


def test_numbers_of_one_hot_inputs_are_refused() -> None:
    network = Network(inputs=2, outputs=1, skip=1, engine="reference")
    with pytest.raises(BpttError, match="skip adds inputs to outputs: give values x"):
        network.predict(np.array([[0, 1]]))


def test_such_a_network_is_not_proved() -> None:
    network = Network(inputs=2, outputs=1, skip=1, engine="reference")
    with pytest.raises(BpttError, match="is not proved"):
        bptt.scout(network, bptt.Addition(bits=3))
