"""The compiled engine against the reference: values, gradients, training, the cut into calls."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from regimes import (
    CLOSE,
    CLOSE_IN_TRAINING,
    assert_same_training,
    inputs_of,
    joined,
    targets_of,
)

from bptt import Network, Optimizer, Schedule, Structure
from bptt.equations.cells import CELLS
from bptt.equations.optimizers import RULES
from bptt.equations.outputs import OUTPUTS, REDUCTIONS
from bptt.kernels import engine as kernel_engine
from bptt.kernels.machine.vectors import COMPILER_OFF
from bptt.network.batch import Batch
from bptt.network.engines import Chunk, Learner, initial_states


def structures(key: tuple[str, str], D: int, H: int, O: int, T: int) -> Iterator[Any]:  # noqa: E741
    """Every combination of the options that change a loop; the rest in turn, by random choice.
    With the compiler off, where kernels are slow, every eleventh."""
    rng = np.random.default_rng(1)
    combinations = itertools.product(
        OUTPUTS, (True, False), (1, 2), ("steps", "last"), (True, False), (True, False)
    )
    for output, tied, layers, readout, bias, one_hot in itertools.islice(
        combinations, 0, None, 11 if COMPILER_OFF else 1
    ):
        structure = Structure(
            cell=key[0], activation=key[1], inputs=D, hidden=H, outputs=O, dtype="float64",
            output=output[0], loss=output[1], tied=tied, steps=0 if tied else T, layers=layers,
            readout=readout, bias=bias, reduction=str(rng.choice(REDUCTIONS)),
            initial_state=str(rng.choice(["zeros", "trainable"])),
        )  # fmt: skip
        yield structure, one_hot, rng


def initializers_of(structure: Structure) -> dict[str, str]:
    """No parameter at zero."""
    settings = {"b": "normal(0.5)", "c": "normal(0.5)"} if structure.bias else {}
    if structure.initial_state == "trainable":
        settings |= {f"{state}0": "normal(0.5)" for state in structure.equations.states}
    return settings


def engines_of(structure: Structure, seed: int = 0) -> tuple[Network, Network]:
    """The same network on either engine."""
    settings = initializers_of(structure)
    reference, compiled = (
        Network(structure, seed=seed, initializers=settings, engine=engine)
        for engine in ("reference", "compiled")
    )
    np.testing.assert_array_equal(reference.theta, compiled.theta)
    return reference, compiled


def assert_same(
    structure: Structure, pair: tuple[Network, Network], x: Any, y: Any, lengths: Any, state: Any
) -> None:
    """Outputs within the sequences, final states, loss and all gradients."""
    reference, compiled = (each.forward(x, lengths, state) for each in pair)
    counted = np.ones(reference.p.shape[:-1], np.bool_)
    if lengths is not None and structure.readout == "steps":
        counted = np.arange(x.shape[1]) < lengths[:, None]
    np.testing.assert_allclose(compiled.p[counted], reference.p[counted], **CLOSE)
    np.testing.assert_allclose(compiled.o[counted], reference.o[counted], **CLOSE)
    np.testing.assert_allclose(compiled.state, reference.state, **CLOSE)
    for network, found in zip(pair, (reference, compiled), strict=True):
        np.testing.assert_array_equal(network.predict(x, lengths, state), found.p)
    one, two = (each.gradient(x, y, lengths, state, inputs=True) for each in pair)
    assert two.loss == pytest.approx(one.loss, rel=1e-10, abs=1e-12)
    for name, value in one.parameters.items():
        np.testing.assert_allclose(two.parameters[name], value, **CLOSE, err_msg=name)
    assert (one.x is None) == (two.x is None)
    if one.x is not None:
        np.testing.assert_allclose(two.x, one.x, **CLOSE)
    np.testing.assert_allclose(two.state, one.state, **CLOSE)
    for network in pair:  # the derivative by x only where it is asked for, and the rest as it was
        again = network.gradient(x, y, lengths, state)
        assert again.x is None
        np.testing.assert_allclose(again.flat, one.flat, **CLOSE)


@pytest.mark.parametrize(
    "sizes",
    [(2, 3, 2, 5, 4) if COMPILER_OFF else (3, 7, 2, 5, 4), (1, 1, 1, 1, 1)],
    ids=["odd", "ones"],
)
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_engines_agree(key: tuple[str, str], sizes: tuple[int, ...]) -> None:
    """Every option; three batches in a row, the second of another size."""
    B, T, D, H, O = sizes  # noqa: E741
    for structure, one_hot, rng in structures(key, D, H, O, T):
        pair = engines_of(structure, seed=int(rng.integers(100)))
        for samples, steps in ((B, T), (B + 1, max(T - 1, 1)), (B, T)):
            x = inputs_of(structure, (samples, steps), one_hot, rng)
            y = targets_of(structure, (samples, steps), rng)
            lengths = state = None
            if rng.random() < 0.6:
                lengths = rng.integers(0, steps + 1, samples)
                lengths[0] = 0 if rng.random() < 0.5 else steps
            if rng.random() < 0.4:
                states = len(structure.equations.states)
                state = rng.normal(size=(structure.layers, states, samples, H))
            assert_same(structure, pair, x, y, lengths, state)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_states_that_are_not_wanted(engine: str) -> None:
    """Outputs as with them; states of no samples."""
    network = Network(cell="lstm", inputs=2, hidden=5, outputs=3, layers=2, seed=1, engine=engine)
    x = np.random.default_rng(0).normal(size=(9, 4, 2)).astype(np.float32)
    given = network.theta, Batch(network.structure, x)
    with_states, without = (network.engine.forward(*given, go_on) for go_on in (True, False))
    assert with_states.state.shape == (2, 2, 9, 5)
    assert without.state.shape == (2, 2, 0, 5)
    np.testing.assert_array_equal(without.o, with_states.o)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize("key", [("elman", "tanh"), ("lstm", "tanh")], ids="-".join)
def test_windows_are_the_whole(key: tuple[str, str], engine: str) -> None:
    """A sequence walked in windows, the state handed on, gives what it gives in one go."""
    rng = np.random.default_rng(0)
    network = Network(cell=key[0], inputs=2, hidden=5, outputs=3, layers=2, dtype="float64",
                      seed=1, engine=engine)  # fmt: skip
    x = rng.normal(size=(3, 9, 2))
    whole = network.forward(x)
    state, outputs = None, []
    for start, stop in ((0, 2), (2, 7), (7, 9)):
        part = network.forward(x[:, start:stop], state=state)
        outputs.append(part.p)
        state = part.state
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole.p, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(state, whole.state, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_comes_through(bad: float) -> None:
    """No engine turns what is not finite into a number: the loss shows it."""
    structure = Structure(inputs=2, hidden=5, outputs=3, dtype="float64", output="linear",
                          loss="squared")  # fmt: skip
    for network in engines_of(structure):
        x = np.zeros((3, 4, 2))
        network["V"][2, 1] = bad
        network["b"][2] = 0.5
        with np.errstate(invalid="ignore"):
            found = network.gradient(x, np.zeros((3, 4, 3)))
        assert not np.isfinite(found.loss)
        assert not np.isfinite(found.flat).all()


# Training

B, T, N = 3, 5, 7


def structure_for_training(cell: str, dtype: str = "float64", **options: Any) -> Structure:
    options = {"output": "softmax", "outputs": 4, **options}
    return Structure(cell=cell, inputs=2, hidden=5, dtype=dtype, reduction="sequence",
                     initial_state="trainable", **options)  # fmt: skip


def batches(structure: Structure, x: Any, y: Any, lengths: Any, reset: Any) -> Batch:
    return Batch(structure, x, y, lengths, reset=reset, axes=1)


def train(
    engine: str, structure: Structure, optimizer: Optimizer, data: tuple[Any, ...],
    calls: tuple[int, ...] = (N,), carry: bool = False,
) -> tuple[Learner, Chunk]:  # fmt: skip
    """N iterations in calls of those sizes; what they leave behind."""
    network = Network(structure, seed=3, initializers=initializers_of(structure), engine=engine)
    theta = network.theta
    state = initial_states(structure, theta, None, B) if carry else None
    learner = Learner(theta, np.zeros_like(theta), np.zeros_like(theta), state)
    chunks, done = [], 0
    for count in calls:
        part = [each[done : done + count] for each in data]
        chunks.append(network.engine.train(optimizer, learner, batches(structure, *part)))
        done += count
    assert done == N == learner.iteration
    return learner, joined(chunks)


def training_data(structure: Structure, seed: int, one_hot: bool = False) -> tuple[Any, ...]:
    """x, y, lengths and reset of N iterations; no length is 0, as in every task."""
    rng = np.random.default_rng(seed)
    x = inputs_of(structure, (N, B, T), one_hot, rng)
    y = targets_of(structure, (N, B, T), rng)
    reset = np.array([True, False, False, True, False, False, True])
    return x, y, rng.integers(1, T + 1, (N, B)), reset


SCHEDULES = (
    Schedule(),
    Schedule(kind="step", every=2, factor=0.5),
    Schedule(kind="cosine", iterations=5, warmup=3, minimum=0.1),
)
# The last clips by value so far that the norm is no longer beyond its limit.
CLIPS: tuple[dict[str, float], ...] = (
    {}, {"clip_value": 0.05}, {"clip_norm": 0.2}, {"clip_value": 0.05, "clip_norm": 0.2},
    {"clip_value": 0.001, "clip_norm": 0.2},
)  # fmt: skip


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_training_agrees(cell: str, kind: str) -> None:
    """Seven iterations with every clipping and schedule, lengths mixed.

    Looser than single gradients, for the reason that tests/regimes.py gives.
    """
    structure = structure_for_training(cell)
    data = training_data(structure, seed=1)
    for schedule, clips in itertools.product(SCHEDULES, CLIPS):
        optimizer = Optimizer(
            kind=kind, learning_rate=0.02, weight_decay=0.1, schedule=schedule, **clips
        )
        one, two = (
            train(engine, structure, optimizer, data) for engine in ("reference", "compiled")
        )
        assert_same_training(one, two, **CLOSE_IN_TRAINING)


@pytest.mark.parametrize("one_hot", [False, True], ids=["dense", "one-hot"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_carried_state_and_reset(cell: str, layers: int, one_hot: bool) -> None:
    """State goes from iteration to iteration, and back to the trained initial state at a reset."""
    structure = structure_for_training(cell, layers=layers)
    optimizer = Optimizer(kind="momentum", learning_rate=0.05)
    data = training_data(structure, seed=2, one_hot=one_hot)
    one, two = (
        train(engine, structure, optimizer, data, carry=True)
        for engine in ("reference", "compiled")
    )
    assert_same_training(one, two, **CLOSE)
    # and it matters: neither never nor always resetting gives these weights
    for reset in (np.zeros(N, np.bool_), np.ones(N, np.bool_)):
        other, _ = train("compiled", structure, optimizer, (*data[:3], reset), carry=True)
        assert np.abs(other.theta - two[0].theta).max() > 1e-6


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
@pytest.mark.parametrize("kind", ["adam", "rmsprop_nesterov"])
@pytest.mark.parametrize("carry", [False, True], ids=["fresh", "carried"])
def test_cut_into_calls(cell: str, kind: str, engine: str, carry: bool) -> None:
    """However iterations are cut into calls, and run again: the same bits."""
    structure = structure_for_training(cell)
    optimizer = Optimizer(
        kind=kind, learning_rate=0.02, clip_norm=0.5, schedule=Schedule(kind="cosine", warmup=3)
    )
    data = training_data(structure, seed=3)
    learner, chunk = train(engine, structure, optimizer, data, carry=carry)
    for calls in ((7,), (1, 2, 4), (3, 3, 1), (1,) * 7):
        other, other_chunk = train(engine, structure, optimizer, data, calls, carry)
        for name in ("theta", "s0", "s1", "state"):
            np.testing.assert_array_equal(getattr(other, name), getattr(learner, name))
        for name in ("loss", "wrong", "exact", "norm"):
            np.testing.assert_array_equal(getattr(other_chunk, name), getattr(chunk, name))


def test_engine_shared_between_batches_of_other_sizes() -> None:
    """Training, then a gradient, then training: nothing is left over from one to the next."""
    structure = structure_for_training("elman")
    optimizer = Optimizer(kind="sgd", learning_rate=0.02)
    data = training_data(structure, seed=4)
    found = []
    for other_work in (False, True):
        network = Network(structure, seed=3, engine="compiled")
        theta = network.theta
        learner = Learner(theta, np.zeros_like(theta), np.zeros_like(theta), None)
        for part in (slice(0, 4), slice(4, 7)):
            some = batches(structure, *(each[part] for each in data))
            network.engine.train(optimizer, learner, some)
            if other_work:
                rng = np.random.default_rng(5)
                x = inputs_of(structure, (N, B + 2, T + 3), False, rng)
                y = targets_of(structure, (N, B + 2, T + 3), rng)
                network.gradient(x[0], y[0])
                network.predict(x[1, :B, :T])
                zeros = np.zeros_like(theta)
                other = Learner(theta.copy(), zeros.copy(), zeros, None)
                network.engine.train(optimizer, other, Batch(structure, x, y, axes=1))
        found.append(learner.theta)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(("limits", "kept"), [((2, 2**28), [3, 4]), ((16, 1), [4])])
def test_arrays_are_kept_for_the_last_shapes_alone(
    limits: tuple[int, int], kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most so many shapes, and so many bytes, but always the last one's."""
    monkeypatch.setattr(kernel_engine, "KEPT", limits[0])
    monkeypatch.setattr(kernel_engine, "KEPT_BYTES", limits[1])
    network = Network(structure_for_training("elman"), seed=0, engine="compiled")
    structure, engine = network.structure, kernel_engine.CompiledEngine()
    for steps in (1, 2, 3, 4):
        x = inputs_of(structure, (1, B, steps), False, np.random.default_rng(0))[0]
        engine.forward(network.theta, Batch(structure, x))
    assert [shape.T for shape in engine._kept] == kept


def assert_close_in_float32(single: NDArray[Any], double: NDArray[Any], sums: int) -> None:
    """Within as many roundings of the largest entry as there are terms in the longest sum.

    A sum of n terms in float32 is off by at most n * eps/2 of the sum of their sizes, which here
    is a few times the largest entry; errors made at one step shrink on their way through others.
    """
    assert single.dtype == np.float32
    limit = sums * np.finfo(np.float32).eps * max(float(np.abs(double).max()), 1e-3)
    assert np.abs(single.astype(np.float64) - double).max() <= limit


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_float32_is_close_to_float64(engine: str) -> None:
    """Outputs, states, gradients, and the weights after seven iterations."""
    networks = [
        Network(structure_for_training("lstm", dtype), seed=2, engine=engine)
        for dtype in ("float32", "float64")
    ]
    rng = np.random.default_rng(6)
    # numbers that float32 has exactly, so that both see the same
    x = inputs_of(networks[0].structure, (B, T), False, rng).astype(np.float32)
    y = targets_of(networks[0].structure, (B, T), rng)
    lengths = np.array([5, 0, 3])
    for network in networks[1:]:
        network.theta[:] = networks[0].theta
    terms = B * T * (2 + 5)
    single, double = (each.forward(x, lengths) for each in networks)
    assert_close_in_float32(single.p, double.p, terms)
    assert_close_in_float32(single.state, double.state, terms)
    one, two = (each.gradient(x, y, lengths, inputs=True) for each in networks)
    assert one.loss == pytest.approx(two.loss, rel=terms * float(np.finfo(np.float32).eps))
    for name, value in two.parameters.items():
        assert_close_in_float32(one.parameters[name], value, terms)
    assert one.x is not None
    assert two.x is not None
    assert_close_in_float32(one.x, two.x, terms)
    optimizer = Optimizer(kind="momentum", learning_rate=0.05)
    learners = []
    for network in networks:
        data = training_data(network.structure, seed=7)
        learners.append(train(engine, network.structure, optimizer, data)[0])
    assert_close_in_float32(learners[0].theta, learners[1].theta, terms)


@pytest.mark.parametrize("hidden", [5, 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_of_another_type_or_order(dtype: str, hidden: int) -> None:
    """A user's own descent may leave theta in another float type, or as a column of an array; what
    the engine keeps from the call before is of its own type."""
    settings = {"inputs": 2, "outputs": 2, "hidden": hidden, "cell": "lstm", "dtype": dtype}
    network, rng = Network(seed=1, **settings), np.random.default_rng(0)
    x, y = rng.random((2, 4, 2)).astype(dtype), rng.integers(0, 2, (2, 4, 2)).astype(dtype)
    right = network.gradient(x, y)
    table = np.zeros((network.theta.size, 3), dtype)
    table[:, 1] = network.theta
    for theta in (network.theta.astype("float64"), network.theta.astype("float32"), table[:, 1]):
        network.theta = theta
        found = network.gradient(x, y)
        np.testing.assert_allclose(found.flat, right.flat, rtol=1e-3, atol=1e-5)
        assert found.loss == pytest.approx(right.loss, rel=1e-5)
