"""The hand-written gradients against central differences, and the check itself on others' code."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bptt import BpttError, Network, check_gradients, check_network
from bptt.equations.cells import CELLS, Cell
from bptt.equations.outputs import OUTPUTS, REDUCTIONS
from bptt.network.gradient_check import GradientCheck

# B, T, D, H, O: odd and, but for D = O, distinct; small, because every entry costs two losses.
B, T, D, H, O = 3, 4, 2, 3, 2  # noqa: E741
LENGTHS = np.array([0, T, 2])
INITIALIZERS = {"b": "normal(0.5)", "h0": "normal(0.5)"}


def network_of(key: tuple[str, str], seed: int, **options: Any) -> Network:
    """A float64 reference network with no parameter at zero."""
    initializers = dict(INITIALIZERS)
    initial_state = options.setdefault("initial_state", "trainable")
    if key[0] == "lstm":
        initializers["c0"] = "normal(0.5)"
    if options.get("bias", True):
        initializers["c"] = "normal(0.5)"
    return Network(
        cell=key[0], activation=key[1], inputs=D, hidden=H, outputs=O, dtype="float64",
        engine="reference", seed=seed,
        initializers=initializers if initial_state == "trainable" else None, **options,
    )  # fmt: skip


def data_of(network: Network, seed: int, one_hot: bool = False) -> tuple[Any, Any]:
    """Inputs and targets of a batch."""
    rng = np.random.default_rng(seed)
    s = network.structure
    rows = (B, T) if s.readout == "steps" else (B,)
    x = rng.integers(0, D, (B, T)) if one_hot else rng.normal(size=(B, T, D))
    if s.head.classes:
        return x, rng.integers(0, O, rows)
    return x, rng.uniform(0, 1, (*rows, O))


def assert_passed(check: GradientCheck) -> None:
    assert check.passed, f"\n{check}"
    assert check.worst.error < 1e-6


# The full table


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_reference_gradients(
    key: tuple[str, str], output: tuple[str, str], tied: bool, layers: int
) -> None:
    """Every readout and reduction, with lengths 0, full and between, and a trainable h0.

    The seeds are such that no relu stands within a difference's reach (1e-5) of its kink.
    """
    for seed, (readout, reduction) in enumerate(
        itertools.product(("steps", "last"), REDUCTIONS), start=10 * layers
    ):
        network = network_of(
            key, seed, output=output[0], loss=output[1], tied=tied, layers=layers,
            steps=0 if tied else T, readout=readout, reduction=reduction,
        )  # fmt: skip
        x, y = data_of(network, seed)
        assert_passed(check_network(network, x, y, LENGTHS, entries=2, seed=seed))


@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_every_entry(key: tuple[str, str]) -> None:
    """Nothing left out: every entry of every parameter of one network, and of x.

    The network is made for one step more than the batch has; the last set has no gradient.
    """
    network = network_of(key, 3, output="softmax", tied=False, steps=T + 1)
    x, y = data_of(network, 3)
    check = check_network(network, x, y, LENGTHS)
    assert_passed(check)
    shapes = network.structure.layout().shapes
    assert [(each.name, each.entries) for each in check.parameters] == [
        *((name, int(np.prod(shape))) for name, shape in shapes.items()),
        ("x", x.size),
    ]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_one_hot_inputs(key: tuple[str, str], tied: bool, layers: int) -> None:
    network = network_of(key, 5, tied=tied, steps=0 if tied else T, layers=layers)
    x, y = data_of(network, 5, one_hot=True)
    check = check_network(network, x, y, LENGTHS, entries=6)
    assert_passed(check)
    assert "x" not in [each.name for each in check.parameters]
    # and the same numbers as the dense inputs that the ids stand for
    sparse, dense = (network.gradient(each, y, LENGTHS) for each in (x, np.eye(D)[x]))
    np.testing.assert_allclose(sparse.flat, dense.flat, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("initial_state", ["zeros", "trainable"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_state_handed_in(key: tuple[str, str], layers: int, initial_state: str) -> None:
    """The state has a gradient of its own; h0, which it stands in for, has none."""
    network = network_of(key, 7, layers=layers, initial_state=initial_state)
    x, y = data_of(network, 7)
    state = np.random.default_rng(7).normal(size=(layers, len(CELLS[key].states), B, H))
    check = check_network(network, x, y, LENGTHS, state, entries=12)
    assert_passed(check)
    checked = {each.name: each.entries for each in check.parameters}
    assert checked["state"] == min(state.size, 12)
    found = network.gradient(x, y, LENGTHS, state)
    for name in network.parameters:
        if name.partition(".")[0] in ("h0", "c0"):
            assert name not in checked
            assert not found.parameters[name].any()


@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_without_biases(key: tuple[str, str]) -> None:
    network = network_of(key, 9, bias=False, layers=2, initial_state="zeros")
    x, y = data_of(network, 9)
    check = check_network(network, x, y)
    assert_passed(check)
    assert [each.name for each in check.parameters] == ["U.1", "W.1", "U.2", "W.2", "V", "x"]


def test_steps_past_the_end_add_nothing() -> None:
    """What stands in the padding, in x and in y, changes neither loss nor any gradient."""
    for key, readout in itertools.product(CELLS, ("steps", "last")):
        network = network_of(key, 2, layers=2, readout=readout)
        x, y = data_of(network, 2)
        other_x, other_y = x.copy(), y.copy()
        past = np.arange(T) >= LENGTHS[:, None]
        other_x[past] = 1e3
        if readout == "steps":
            other_y[past] = np.nan
        one, two = (
            network.gradient(*data, LENGTHS, inputs=True) for data in ((x, y), (other_x, other_y))
        )
        assert one.loss == two.loss
        np.testing.assert_array_equal(one.flat, two.flat)
        assert one.x is not None
        np.testing.assert_array_equal(one.x, two.x)
        assert not one.x[past].any()


def test_nan_padding_adds_nothing() -> None:
    """Padding is often NaN (data frames fill up so); it must not reach the gradient."""
    network = network_of(("lstm", "tanh"), 2)
    x, y = data_of(network, 2)
    padded = x.copy()
    padded[np.arange(T) >= LENGTHS[:, None]] = np.nan
    given = padded.copy()
    expected, found = network.gradient(x, y, LENGTHS), network.gradient(padded, y, LENGTHS)
    np.testing.assert_array_equal(found.flat, expected.flat)
    np.testing.assert_array_equal(padded, given)  # the caller's array is as it was


# Errors planted in our own cells

STEPS = 2
GATES = [(key, k) for key, cell in CELLS.items() for k in range(len(cell.preactivations))]


def gate_id(case: Any) -> str:
    return str(case) if isinstance(case, int) else "-".join(case)


def plant(monkeypatch: pytest.MonkeyPatch, key: tuple[str, str], k: int, factor: float) -> None:
    """Multiply the derivative of preactivation k by `factor` from now on."""
    right = CELLS[key]

    def wrong(gates: Any, s: Any, s_new: Any, ds_new: Any) -> Any:
        da, ds = right.backward(gates, s, s_new, ds_new)
        return (*da[:k], da[k] * factor, *da[k + 1 :]), ds

    planted = Cell(
        right.name, right.preactivations, right.gates, right.states, right.forward, wrong,
        built_in=True,
    )  # fmt: skip
    monkeypatch.setitem(CELLS, key, planted)


def failed_places(check: GradientCheck, name: str) -> set[tuple[int, ...]]:
    found = next(each for each in check.parameters if each.name == name)
    return {entry.index for entry in found.failed}


@pytest.mark.parametrize("factor", [1.0001, -1.0])
@pytest.mark.parametrize(("key", "k"), GATES, ids=gate_id)
def test_planted_error_is_found_and_placed(
    monkeypatch: pytest.MonkeyPatch, key: tuple[str, str], k: int, factor: float
) -> None:
    """An error in one gate's derivative fails that gate's columns, and at the last step no others.

    With untied weights each step has its own gradient. The last step's has gone through one cell
    only, so the columns that fail there are those of the gate that is wrong, and all of them (but
    for relu units that are off: they have no derivative to get wrong).
    """
    network = network_of(key, 2, tied=False, steps=STEPS)
    x, y = data_of(network, 2)
    x, y = x[:, :STEPS], y[:, :STEPS]
    assert_passed(check_network(network, x, y, entries=4))
    expected = network.gradient(x, y)
    plant(monkeypatch, key, k, factor)
    check = check_network(network, x, y)
    assert not check.passed
    assert check.worst.failed
    cell = CELLS[key]
    in_inputs = k < cell.gates
    in_hidden = k in cell.recurrent
    for name, column in (
        ("U", k if in_inputs else None),
        ("W", cell.recurrent.index(k) if in_hidden else None),
        ("b", k),
    ):
        last = expected.parameters[name][-1]
        wanted = set()
        if column is not None:
            block = range(column * H, (column + 1) * H)
            wanted = {
                (STEPS - 1, *place)
                for place in np.ndindex(last.shape)
                if place[-1] in block and last[place] != 0
            }
            assert wanted
        failed = failed_places(check, name)
        assert {place for place in failed if place[0] == STEPS - 1} == wanted
        if wanted:
            line = next(x for x in str(check).splitlines() if x.split()[1] == name)
            assert line.startswith("FAIL")
            assert f"{name}[" in line
    # A gate that the input feeds is wrong in x too, from the last step on; q reaches x through h.
    assert check.first_wrong_step == (STEPS - 1 if in_inputs else STEPS - 2)


@pytest.mark.parametrize(("key", "k"), GATES, ids=gate_id)
def test_planted_error_in_one_step(
    monkeypatch: pytest.MonkeyPatch, key: tuple[str, str], k: int
) -> None:
    """A single step leaves no way from gate to gate: the worst entry lies in the wrong gate."""
    network = network_of(key, 4)
    x, y = data_of(network, 4)
    plant(monkeypatch, key, k, 1.01)
    check = check_network(network, x[:, :1], y[:, :1])
    failed = {each.name: each.failed for each in check.parameters if each.failed}
    cell = CELLS[key]
    assert {"b"} <= set(failed) <= {"U", "W", "b", "x", "h0"}
    assert {entry.index[0] // H for entry in failed["b"]} == {k}
    if "U" in failed:
        assert {entry.index[1] // H for entry in failed["U"]} == {k}
    if "W" in failed:
        assert {cell.recurrent[entry.index[1] // H] for entry in failed["W"]} == {k}
    assert ("U" in failed, "W" in failed) == (k < cell.gates, k in cell.recurrent)


# Others' code: a student's network, written here without anything of ours


class Student:
    """h_t = tanh(x_t U + h_(t-1) W + b), loss = sum of h_t^2 / 2; `slip` spoils step t's dh."""

    def __init__(self, seed: int, slip: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.slip = slip
        self.parameters = {
            "U": rng.normal(size=(2, 3)),
            "W": rng.normal(size=(3, 3)) * 0.5,
            "b": rng.normal(size=3),
            "x": rng.normal(size=(2, 5, 2)),
        }

    def states(self, p: Mapping[str, Any]) -> list[Any]:
        h = [np.zeros((2, 3))]
        for t in range(5):
            h.append(np.tanh(p["x"][:, t] @ p["U"] + h[-1] @ p["W"] + p["b"]))
        return h

    def loss(self, p: Mapping[str, Any]) -> float:
        return sum(float((h**2).sum()) / 2 for h in self.states(p)[1:])

    def gradients(self) -> dict[str, Any]:
        p = self.parameters
        h = self.states(p)
        g = {name: np.zeros_like(value) for name, value in p.items()}
        dh = np.zeros((2, 3))
        for t in reversed(range(5)):
            dh = dh + h[t + 1]
            if t == self.slip:
                dh = dh * 1.001
            da = dh * (1 - h[t + 1] ** 2)
            g["U"] += p["x"][:, t].T @ da
            g["W"] += h[t].T @ da
            g["b"] += da.sum(axis=0)
            g["x"][:, t] = da @ p["U"].T
            dh = da @ p["W"].T
        return g


@pytest.mark.parametrize("seed", range(5))
def test_students_right_gradient_passes(seed: int) -> None:
    student = Student(seed)
    before = {name: value.copy() for name, value in student.parameters.items()}
    check = check_gradients(
        student.loss, student.parameters, student.gradients(), time_axis={"x": 1}
    )
    assert_passed(check)
    assert check.first_wrong_step is None
    assert "FAIL" not in str(check)
    for name, value in student.parameters.items():  # nothing of the student's was written to
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("step", range(5))
def test_wrong_time_step_is_named(step: int) -> None:
    student = Student(step, slip=step)
    check = check_gradients(
        student.loss, student.parameters, student.gradients(), time_axis={"x": 1}
    )
    assert not check.passed
    assert check.first_wrong_step == step
    assert f"wrong is step {step}:" in str(check)
    # the steps after it, whose gradients were taken before the slip, are right
    assert {place[1] for place in failed_places(check, "x")} == set(range(step + 1))


@pytest.mark.parametrize("index", [(0, 1), (2, 2)])
@pytest.mark.parametrize("error", [1e-3, -0.7, np.nan, np.inf])
def test_wrong_entry_is_named(index: tuple[int, int], error: float) -> None:
    student = Student(1)
    claimed = student.gradients()
    claimed["W"][index] += error
    check = check_gradients(student.loss, student.parameters, claimed)
    assert failed_places(check, "W") == {index}
    assert check.worst.name == "W"
    assert check.worst.worst.index == index
    assert f"W[{index[0]}, {index[1]}]" in str(check)
    assert [each.name for each in check.parameters if each.failed] == ["W"]


def test_absolute_and_relative_error_together() -> None:
    """A tiny error passes where the entry is large, fails where it is small, passes near zero."""
    w = {"w": np.array([1.0, 1.0, 1.0])}
    slopes = np.array([1e3, 1e-2, 0.0])

    def loss(p: Mapping[str, Any]) -> float:
        return float(slopes @ p["w"])

    claimed = slopes + np.array([1e-4, 1e-4, 0.5e-9])
    check = check_gradients(loss, w, {"w": claimed})
    assert failed_places(check, "w") == {(1,)}
    assert check_gradients(loss, w, {"w": claimed}, absolute=1e-3).passed
    assert failed_places(check_gradients(loss, w, {"w": claimed}, relative=1e-8), "w") == {
        (0,),
        (1,),
    }


def test_sampled_entries() -> None:
    """`entries` bounds the work; other seeds look elsewhere."""
    student = Student(2)
    claimed = student.gradients()
    calls = []

    def loss(p: Mapping[str, Any]) -> float:
        calls.append(1)
        return student.loss(p)

    check = check_gradients(loss, student.parameters, claimed, entries=4)
    assert {each.name: each.entries for each in check.parameters} == {
        "U": 4,
        "W": 4,
        "b": 3,
        "x": 4,
    }
    assert len(calls) == 1 + 2 * 15
    claimed["x"] += 1.0
    places = [
        failed_places(
            check_gradients(student.loss, student.parameters, claimed, entries=4, seed=seed), "x"
        )
        for seed in (1, 1, 2)
    ]
    assert len(places[0]) == 4
    assert places[0] == places[1] != places[2]


W = np.array([1.0, 2.0])


def square(p: Mapping[str, Any]) -> float:
    return float((p["w"] ** 2).sum())


@pytest.mark.parametrize(
    ("loss", "parameters", "gradients", "says"),
    [
        (square, {}, {}, "no parameters"),
        (square, {"w": W}, {"v": W}, "no gradient of parameter 'w'"),
        (square, {"w": W}, {"w": W[:1]}, r"shape \(1,\): \(2,\) is needed"),
        (square, {"w": W.astype(np.float32)}, {"w": W}, "'w' is float32"),
        (square, {"w": np.array([1, 2])}, {"w": W}, "'w' is int64"),
        (lambda p: float("nan"), {"w": W}, {"w": W}, "the loss is nan"),
        (lambda p: float("inf"), {"w": W}, {"w": W}, "the loss is inf"),
        (lambda p: p["w"], {"w": W}, {"w": W}, "a finite number is needed"),
        (lambda p: None, {"w": W}, {"w": W}, "the loss is None"),
    ],
    ids=["nothing", "missing", "shape", "float32", "int", "nan", "inf", "array", "none"],
)
def test_bad_input(loss: Any, parameters: Any, gradients: Any, says: str) -> None:
    with pytest.raises(BpttError, match=says) as caught:
        check_gradients(loss, parameters, gradients)
    assert "\n" not in str(caught.value)


def test_empty_choices_are_refused() -> None:
    """No entry to compare is a user's mistake, not a traceback and not a pass."""
    with pytest.raises(BpttError):
        check_gradients(square, {"w": W}, {"w": 2 * W}, entries=0)
    with pytest.raises(BpttError):
        check_gradients(square, {"w": np.zeros(0)}, {"w": np.zeros(0)})


def test_unknown_time_axis_is_refused() -> None:
    for axes in ({"y": 0}, {"w": 1}):
        with pytest.raises(BpttError):
            check_gradients(square, {"w": W}, {"w": W}, time_axis=axes)


def test_float32_network_is_refused() -> None:
    network = Network(inputs=D, hidden=H, outputs=O, engine="reference")
    x, y = data_of(network, 0)
    with pytest.raises(BpttError, match="dtype='float64'"):
        check_network(network, x, y)


def test_a_kink_within_a_step_is_not_held_against_the_gradient() -> None:
    """At 3e-6 a difference over 1e-5 straddles the corner of max(w, 0); a smaller one does not."""
    near = {"w": np.array([3e-6, -3e-6])}
    right, wrong = {"w": np.array([1.0, 0.0])}, {"w": np.array([1.0, 1.0])}

    def corner(p: Any) -> float:
        return float(np.maximum(p["w"], 0).sum())

    assert check_gradients(corner, near, right).passed
    result = check_gradients(corner, near, wrong)
    assert [entry.index for entry in result.parameters[0].failed] == [(1,)]


@pytest.mark.parametrize(("cell", "gate"), [("lstm", "f"), ("gru", "z")])
def test_a_report_names_the_gate_and_the_unit(cell: str, gate: str) -> None:
    network = Network(
        inputs=D, hidden=H, outputs=O, cell=cell, dtype="float64", engine="reference", seed=2
    )
    x, y = data_of(network, 0)
    report = str(check_network(network, x, y))
    names = network.structure.equations.gate_names
    worst = {each.name: each.worst for each in check_network(network, x, y).parameters}
    column = worst["W"].index[-1]
    assert f"(gate {names[column // H]}, unit {column % H})" in report
    assert gate in names


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_a_sequence_walked_in_windows_ends_in_the_same_state(cell: str) -> None:
    """The state that `gradient` gives out starts the next window, as in truncated BPTT."""
    network = Network(
        inputs=D, hidden=H, outputs=O, cell=cell, layers=2, dtype="float64", engine="reference"
    )
    x, y = data_of(network, 3)
    cut = x.shape[1] // 2
    first = network.gradient(x[:, :cut], y[:, :cut])
    second = network.gradient(x[:, cut:], y[:, cut:], state=first.final_state)
    # The same products in the same order: equal but for nothing.
    np.testing.assert_array_equal(second.final_state, network.forward(x).state)
