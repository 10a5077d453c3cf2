"""Proofs: that sets hold what networks compute, that verdicts are right, that certificates hold."""

import contextlib
import json
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from own_equations import LEAKY, LEAKY_SHARED, MIXED
from safetensors.numpy import load, save

import bptt
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.proofs import checker, native
from bptt.proofs import follow as f
from bptt.proofs.automaton import Automaton, adder
from bptt.proofs.extraction import Extracted
from bptt.proofs.machine import Machine
from bptt.proofs.prove import Proof, prove
from bptt.proofs.scout import long_words

CELLS = [("elman", "tanh"), ("elman", "sigmoid"), ("elman", "relu"), ("gru", "tanh"),
         ("lstm", "tanh")]  # fmt: skip
SHAPES = [
    (cell, activation, layers, dtype)
    for cell, activation in CELLS
    for layers in (1, 3)
    for dtype in ("float32", "float64")
]


def network_of(cell: str, activation: str, layers: int, dtype: str, seed: int = 1) -> Network:
    return Network(
        inputs=2, outputs=1, hidden=5, layers=layers, cell=cell, activation=activation, dtype=dtype,
        initial_state="trainable", seed=seed, engine="reference",
        initializers=dict.fromkeys(("U", "W", "b", "c", "h0"), "normal(0.7)"),
    )  # fmt: skip


def image_of(machine: Machine, c: np.ndarray, Q: np.ndarray, symbol: int) -> tuple:
    work = machine.workspace(4, 4, 4)
    work["NOW_C"][...], work["NOW_Q"][...] = c, Q
    native.run(f.IMAGE, symbol, work)
    return work["NOW_C"].copy(), work["NOW_Q"].copy()


def stepped(network: Network, x: np.ndarray, states: np.ndarray) -> np.ndarray:
    """The network's own next states (N, n), in its own arithmetic."""
    s, count = network.structure, len(states)
    shape = (count, s.layers, len(s.equations.states), s.hidden)
    state = states.reshape(shape).transpose(1, 2, 0, 3)
    after = network.forward(np.tile(x, (count, 1, 1)), state=state).state
    return after.transpose(2, 0, 1, 3).reshape(count, -1).astype(np.float64)


@pytest.mark.parametrize(("cell", "activation", "layers", "dtype"), SHAPES)
def test_the_image_of_a_set_holds_what_the_network_makes_of_its_states(
    cell: str, activation: str, layers: int, dtype: str
) -> None:
    network = network_of(cell, activation, layers, dtype)
    machine = Machine(network, adder())
    n, rng = machine.size, np.random.default_rng(0)
    for size in (1e-7, 1e-3, 0.1, 0.8):
        c = rng.uniform(-0.9, 0.9, n)
        B = rng.standard_normal((n, n)) * size / np.sqrt(n)
        symbol = int(rng.integers(4))
        after, Q = image_of(machine, c, B @ B.T, symbol)
        directions = rng.standard_normal((400, n))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        states = (c + directions @ B.T).astype(dtype)
        # Rounding the states leads out of the set by as much: the set is made larger by that.
        after, Q = image_of(machine, c, B @ B.T * (1 + 1e-4) + 1e-12 * np.eye(n), symbol)
        found = stepped(network, machine.automaton.inputs[symbol], states) - after
        inside = np.einsum("ni,ij,nj->n", found, np.linalg.inv(Q), found)
        assert inside.max() <= 1
        if size == 1e-3 and activation == "tanh":  # and is not much larger than needed
            assert inside.max() > 0.05


@pytest.mark.parametrize("cell", [LEAKY, LEAKY_SHARED, MIXED], ids=lambda cell: cell.name)
def test_a_cells_own_parameters_are_followed(cell: bptt.Cell) -> None:
    network = Network(
        inputs=2, outputs=1, hidden=5, cell=cell, seed=1, engine="reference",
        initializers=dict.fromkeys(("U", "W", "b", "c"), "normal(0.7)"),
    )  # fmt: skip
    rng = np.random.default_rng(2)
    for each in cell.parameters:
        network[each.name][...] = rng.uniform(0.1, 0.9, network[each.name].shape)
    machine = Machine(network, adder())
    n = machine.size
    c, B = rng.uniform(-0.9, 0.9, n), rng.standard_normal((n, n)) * 1e-3 / np.sqrt(n)
    directions = rng.standard_normal((200, n))
    states = (c + directions / np.linalg.norm(directions, axis=1)[:, None] @ B.T).astype("f4")
    after, Q = image_of(machine, c, B @ B.T * (1 + 1e-4) + 1e-12 * np.eye(n), 1)
    found = stepped(network, machine.automaton.inputs[1], states) - after
    assert 0.01 < np.einsum("ni,ij,nj->n", found, np.linalg.inv(Q), found).max() <= 1
    deep = Network(inputs=2, outputs=1, hidden=3, layers=2, cell=cell, engine="reference")
    with pytest.raises(BpttError, match="by layer: one layer of it can be followed"):
        Machine(deep, adder())


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize(("hidden", "layers"), [(1, 1), (3, 2), (4, 1), (6, 2), (9, 1), (17, 1)])
def test_the_image_of_a_set_is_the_checkers(cell: str, hidden: int, layers: int) -> None:
    """At sizes that fill vectors and tiles and that do not; and its radius, by eigenvalues."""
    network = Network(
        inputs=2, outputs=1, hidden=hidden, layers=layers, cell=cell, seed=5, dtype="float64",
        engine="reference",
    )  # fmt: skip
    machine, rng = Machine(network, adder()), np.random.default_rng(hidden)
    n, shape = machine.size, {"cell": cell, "activation": "tanh", "layers": layers,
                              "hidden": hidden, "dtype": "float64"}  # fmt: skip
    steps = checker.Steps(shape, machine.weights, machine.automaton.inputs)
    T = rng.standard_normal((n, n))
    work = machine.workspace(4, 4, 4)
    work["P"][...], work["ROUNDING"][4] = T.T @ T, (T**2).sum()
    for symbol in range(4):
        c, B = rng.uniform(-0.9, 0.9, n), rng.standard_normal((n, n)) * 0.05 / np.sqrt(n)
        work["NOW_C"][...], work["NOW_Q"][...] = c, B @ B.T
        native.run(f.IMAGE, symbol, work)
        after, Q = steps.step(c[None], (B @ B.T)[None], np.array([symbol]))
        # Both add their own bounds of rounding, which are far below the sets' size.
        np.testing.assert_allclose(work["NOW_C"], after[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(work["NOW_Q"], Q[0], rtol=0, atol=1e-6 * np.trace(Q[0]))
        values = np.linalg.eigvalsh(T @ work["NOW_Q"] @ T.T)
        reached = work["LIMITS"][f.REACHED]
        assert np.sqrt(values[-1]) <= reached <= 1.001 * (values**2).sum() ** 0.25


@pytest.mark.parametrize(("cell", "activation", "layers", "dtype"), SHAPES)
def test_rounding_is_bounded(cell: str, activation: str, layers: int, dtype: str) -> None:
    """Against the same equations in a longer float type, from states without extent."""
    network = network_of(cell, activation, layers, dtype, seed=3)
    machine = Machine(network, adder())
    n, rng = machine.size, np.random.default_rng(1)
    exact = Machine(network, adder())
    exact.bias = exact.bias.astype(np.longdouble)
    exact.weights = {k: v.astype(np.longdouble) for k, v in exact.weights.items()}
    matrices = exact.matrices
    exact.matrices = lambda layer: (  # type: ignore[method-assign]
        matrices(layer)[0], matrices(layer)[1].astype(np.longdouble)
    )  # fmt: skip
    largest = 0.0
    for _ in range(60):
        states = rng.uniform(-1, 1, (1, n)).astype(dtype)
        symbol = int(rng.integers(4))
        c, Q = image_of(machine, states[0].astype(np.float64), np.zeros((n, n)), symbol)
        reach = np.sqrt(np.diag(Q))
        wanted = exact.step(states.astype(np.longdouble), np.array([symbol]))[0]
        own = stepped(network, machine.automaton.inputs[symbol], states)[0]
        assert (np.abs(wanted - c) <= reach).all()
        assert (np.abs(own - c) <= reach).all()
        largest = max(largest, float(np.max(np.abs(own - wanted) / (reach + 1e-30))))
    assert largest > 1e-4  # the bound is one of rounding, not of something larger


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_is_bounded_against_exact_rationals(dtype: str) -> None:
    """A relu's step has no rounding in rational numbers: it lies in what search and checker say of
    a state without extent, and so does what the network computes."""
    network = network_of("elman", "relu", 1, dtype, seed=4)
    machine, n = Machine(network, adder()), 5
    shape = {"cell": "elman", "activation": "relu", "layers": 1, "hidden": n, "dtype": dtype}
    steps = checker.Steps(shape, machine.weights, machine.automaton.inputs)
    exact = {
        name: np.vectorize(Fraction, otypes=[object])(value)
        for name, value in machine.weights.items()
    }
    rng, closest = np.random.default_rng(2), 0.0
    for _ in range(50):
        state, symbol = rng.uniform(-1, 1, n).astype(dtype), int(rng.integers(4))
        h = np.array([Fraction(float(value)) for value in state])
        x = np.array([Fraction(int(bit)) for bit in machine.automaton.inputs[symbol]])
        wanted = [max(a, Fraction(0)) for a in x @ exact["U"] + h @ exact["W"] + exact["b"]]
        own = stepped(network, machine.automaton.inputs[symbol], state[None])[0]
        start = state.astype(np.float64)
        made = steps.step(start[None], np.zeros((1, n, n)), np.array([symbol]))
        for c, Q in (image_of(machine, start, np.zeros((n, n)), symbol), (made[0][0], made[1][0])):
            reach = np.sqrt(np.diag(Q))
            for j in range(n):
                off = abs(wanted[j] - Fraction(float(c[j])))
                assert off <= Fraction(float(reach[j]))
                assert abs(Fraction(float(own[j])) - Fraction(float(c[j]))) <= Fraction(
                    float(reach[j])
                )
            closest = max(closest, float(np.max(np.abs(own - c) / (reach + 1e-300))))
    assert closest > 1e-4  # the bound is one of rounding, not of something larger


@cache
def proved() -> tuple[Network, Proof]:
    run = bptt.train(
        bptt.Addition(bits=8), cell="elman", hidden=8, seed=1, iterations=20_000, exact=False
    )
    return run.network, prove(run.network, adder(), 20)


def test_a_network_is_proved_and_its_certificate_checked() -> None:
    _, proof = proved()
    assert proof.verdict == "proved"
    assert proof.code == 0
    assert proof.certificate is not None
    found = checker.check(proof.certificate)
    assert found.claim == "adds every pair of every length"
    assert found.balls == len(proof.balls or ()) > 3


def test_no_word_from_inside_a_certificate_is_wrong_or_leaves_it() -> None:
    network, proof = proved()
    balls, automaton = proof.balls, adder()
    assert balls is not None
    rng = np.random.default_rng(0)
    count, n = 300, balls.centre.shape[1]
    start = rng.integers(0, len(balls), count)
    inside = rng.standard_normal((count, n))
    inside *= (rng.random(count) ** (1 / n) / np.linalg.norm(inside, axis=1))[:, None]
    states = (
        balls.centre[start]
        + (0.999 * balls.radius[start, None] * inside) @ np.linalg.inv(balls.metric).T
    )
    label, state = balls.label[start], states[None, None].astype(np.float32)
    place = balls.centre @ balls.metric.T
    since, symbols = np.zeros(count, int), np.zeros(count, int)
    for t in range(300):
        run = rng.random(count) < 0.9  # long runs of one symbol, and others
        symbols = np.where(run & (t > 0), symbols, rng.integers(0, 4, count))
        found = network.forward(automaton.encode(symbols[:, None]), state=state)
        state = found.state
        assert ((found.o[:, 0, 0] > 0) == automaton.answers[label, symbols, 0]).all()
        label = automaton.after[label, symbols]
        z = state[0, 0].astype(float) @ balls.metric.T
        distance = np.linalg.norm(z[:, None] - place, axis=2)
        held = ((distance <= balls.radius) & (balls.label == label[:, None])).any(axis=1)
        since = np.where(held, 0, since + 1)
        assert since.max() <= 40


@pytest.mark.parametrize(("cell", "hidden", "seed"), [("elman", 16, 6), ("gru", 8, 1)])
def test_networks_that_pass_long_random_sums_are_found_wrong(
    cell: str, hidden: int, seed: int
) -> None:
    task = bptt.Addition(bits=8)
    run = bptt.train(task, cell=cell, hidden=hidden, seed=seed)
    assert run.verdict is not None
    assert run.verdict.passed
    proof = prove(run.network, adder(), 5)
    assert proof.verdict == "wrong"
    assert proof.code == 1
    found = proof.counterexample
    assert found is not None
    assert 9 <= len(found.word) <= 60
    x = adder().encode([found.word])
    said = (run.network.predict(x)[0, :, 0] > 0.5).astype(int)
    right = adder().run(found.word)[:, 0]
    assert (said[:-1] == right[:-1]).all()
    assert said[-1] != right[-1]


def test_what_a_short_search_leaves_is_looked_for_among_long_words() -> None:
    words = long_words(4)
    runs = (words[:, 1:] == words[:, :-1]).mean(axis=1)
    assert runs.min() < 0.3
    assert runs.max() > 0.95
    network = bptt.train(bptt.Addition(bits=8), cell="elman", hidden=16, seed=1).network
    found = prove(network, adder(), steps=100)
    assert found.verdict == "wrong"
    assert found.counterexample is not None
    assert len(found.counterexample.word) > 60  # longer than any pattern


def _changed(content: bytes, tensors: dict | None = None, about: dict | None = None) -> bytes:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    told = json.loads(header["__metadata__"]["bptt"])
    told["proof"] |= about or {}
    return save({**load(content), **(tensors or {})}, {"bptt": json.dumps(told)})


def tampered(content: bytes) -> dict[str, bytes]:
    """Certificates that claim what is not so."""
    was = load(content)
    structure = json.loads(
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["bptt"]
    )["proof"]["structure"]

    def moved(name: str, place: tuple, value: float, factor: float = 1.0) -> np.ndarray:
        array = was[name].copy()
        array[place] = array[place] * factor + array.dtype.type(value)
        return array

    every = (slice(None),)
    return {
        "a label turned": _changed(content, {"label": moved("label", (2,), 1, -1)}),
        "a label that is none": _changed(content, {"label": moved("label", (2,), 7)}),
        "radii three times as large": _changed(content, {"radius": was["radius"] * 3}),
        "radii a twentieth": _changed(content, {"radius": was["radius"] / 20}),
        "a radius negative": _changed(content, {"radius": moved("radius", (2,), 0, -1)}),
        "a weight moved": _changed(content, {"w:W": moved("w:W", (0, 0), 1.5)}),
        "outputs turned round": _changed(content, {"w:V": -was["w:V"], "w:c": -was["w:c"]}),
        "the start moved": _changed(content, {"centre": moved("centre", (0, 0), 0.3)}),
        "the start given a radius": _changed(content, {"radius": moved("radius", (0,), 0.5)}),
        "the start of another label": _changed(content, {"label": moved("label", (0,), 1)}),
        "a centre that is not a number": _changed(
            content, {"centre": moved("centre", (1, 0), np.nan)}
        ),
        "a metric without a direction": _changed(content, {"metric": moved("metric", (0,), 0, 0)}),
        "balls left out": _changed(
            content, {k: was[k][:3] for k in ("centre", "radius", "label")}
        ),
        "answers turned round": _changed(content, {"answers": 1 - was["answers"]}),
        "another activation": _changed(content, about={"structure": structure | {
            "activation": "sigmoid"}}),
        "finer arithmetic": _changed(content, about={"structure": structure | {
            "dtype": "float64"}}),
        "cut short": content[:-50],
        "metric half as large": _changed(content, {"metric": was["metric"] * 0.2}),
        "a carry forgotten": _changed(content, {"after": 0 * was["after"]}),
        "biases without": _changed(content, {"w:b": 0 * was["w:b"][every]}),
    }  # fmt: skip


def test_tampered_certificates_are_refused() -> None:
    content = proved()[1].certificate
    assert content is not None
    accepted = []
    for what, changed in tampered(content).items():
        with contextlib.suppress(BpttError):
            checker.check(changed)
            accepted.append(what)
    assert not accepted


def test_an_automaton_is_minimised() -> None:
    table = [[1, 2], [0, 3], [3, 0], [2, 1]]  # parities of both symbols
    whole = Automaton(
        "counts", ["a", "b"], np.eye(2), np.array(table),
        np.array([[[s in (1, 3)]] * 2 for s in range(4)], np.int64),
    )  # fmt: skip
    small = whole.minimised()
    assert small.size == 2
    words = np.random.default_rng(0).integers(0, 2, (20, 30))
    assert all(np.array_equal(small.run(word), whole.run(word)) for word in words)
    assert small.same_as(whole)
    assert not small.same_as(adder())


def test_the_table_of_a_large_machine_ends_somewhere() -> None:
    after = np.minimum(np.arange(100)[:, None] + [[1, 2]], 99)
    machine = Automaton("counts", ["a", "b"], np.eye(2), after, after)
    lines = Extracted(machine, 500, 1.0, 10).table().split("\n")
    assert len(lines) == 42
    assert lines[1].split() == ["0", "1", "/", "1", "2", "/", "2"]
    assert lines[-1] == "... and 60 more states"
    small = Extracted(adder(), 2, 1.0, 10).table()
    assert small.count("\n") == 2


def test_what_cannot_be_proved_says_so() -> None:
    untied = Network(inputs=2, outputs=1, hidden=3, tied=False, steps=5, engine="reference")
    with pytest.raises(BpttError, match="untied"):
        prove(untied, adder())
    wide = Network(inputs=3, outputs=1, hidden=3, engine="reference")
    with pytest.raises(BpttError, match="3 inputs"):
        prove(wide, adder())
    with pytest.raises(BpttError, match="no automaton"):
        prove(untied, bptt.Text(text="abc" * 40))
