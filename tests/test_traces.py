"""Traces: every derivative against central differences, and against each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_equations import LEAKY, LEAKY_SHARED, MIXED

from bptt import BpttError, Network, load_trace
from bptt.equations.cells import Cell
from bptt.traces import derived
from bptt.traces.figures import all_figures
from bptt.traces.trace import VARIABLES, Trace, trace
from bptt.training.tensors import write_tensors

CASES = [
    ("elman", "tanh", "sigmoid", "cross_entropy"),
    ("elman", "relu", "linear", "squared"),
    ("gru", "tanh", "sigmoid", "squared"),
    ("lstm", "tanh", "softmax", "cross_entropy"),
]
EPSILON = 1e-5
# A central difference of a loss near 1 is right to about 1e-10; 100 times that for harder cases.
ERROR = 1e-8


def made(
    cell: str, activation: str, output: str, loss: str, readout: str = "steps", layers: int = 1,
    tied: bool = True, seed: int = 0, one_hot: bool = False, **options: Any,
) -> tuple[Network, Any, Any, Any]:  # fmt: skip
    """A network and a batch for it whose samples end at different steps."""
    B, T, D, H, O = 3, 6, 2, 4, 3  # noqa: E741
    options = {"dtype": "float64", "reduction": "mean", "initial_state": "trainable", **options}
    network = Network(
        inputs=D, outputs=O, hidden=H, layers=layers, cell=cell, activation=activation,
        output=output, loss=loss, readout=readout, tied=tied, steps=0 if tied else T,
        engine="reference", seed=seed, initializers={"b": "normal(0.3)", "h0": "normal(0.5)"},
        **options,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    x = rng.integers(0, D, (B, T)) if one_hot else rng.standard_normal((B, T, D))
    rows = (B, T) if readout == "steps" else (B,)
    y = rng.integers(0, O, rows) if output == "softmax" else rng.random((*rows, O))
    return network, x, y, np.array([T, T - 2, 1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("readout", ["steps", "last"])
@pytest.mark.parametrize(("layers", "tied"), [(1, True), (2, True), (2, False)])
def test_a_trace_has_the_networks_own_gradients(
    case: tuple[str, str, str, str], readout: str, layers: int, tied: bool
) -> None:
    network, x, y, lengths = made(*case, readout=readout, layers=layers, tied=tied)
    found, own = trace(network, x, y, lengths), network.gradient(x, y, lengths, inputs=True)
    assert found.loss == own.loss
    assert found["loss"].sum() == pytest.approx(own.loss, rel=1e-14)
    for name, values in own.parameters.items():
        assert np.array_equal(found.gradients[name], values)
    assert np.array_equal(found["dx"], own.x)
    assert np.array_equal(np.moveaxis(found["dstates"][:, :, :, 0], 2, 2), own.state)
    o = network.forward(x, lengths).o
    assert np.array_equal(found["o"] if readout == "steps" else found["o"][:, 0], o)


def from_step(
    network: Network, x: Any, y: Any, lengths: Any, state: Any, first: int
) -> tuple[float, Any]:
    """The part of the loss that comes after `first` steps, started from a state there."""
    left = np.maximum(lengths - first, 0)
    rest_y = y[:, first:] if network.structure.readout == "steps" else y
    return network.loss(x[:, first:], rest_y, left, state), left


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layers", [1, 2])
def test_derivatives_by_states_are_those_of_the_rest_of_the_loss(
    case: tuple[str, str, str, str], layers: int
) -> None:
    # A sum over steps, so that the loss of the steps that are left is a part of the whole.
    network, x, y, _ = made(*case, layers=layers, reduction="sum")
    lengths = np.array([6, 6, 6])
    found = trace(network, x, y, lengths)
    for first in (1, 3, 5):
        state = np.ascontiguousarray(found["states"][:, :, :, first])
        dstates = found["dstates"][:, :, :, first].copy()
        dstates[:, 0] -= found["dabove"][:, :, first - 1]  # what later steps alone see of it
        for place in np.ndindex(*state.shape):
            there = []
            for sign in (1, -1):
                moved = state.copy()
                moved[place] += sign * EPSILON
                there.append(from_step(network, x, y, lengths, moved, first)[0])
            difference = (there[0] - there[1]) / (2 * EPSILON)
            assert difference == pytest.approx(dstates[place], abs=ERROR)


@pytest.mark.parametrize("case", CASES)
def test_derivatives_come_back_by_paths_that_add_up(case: tuple[str, str, str, str]) -> None:
    network, x, y, lengths = made(*case, layers=2)
    found = trace(network, x, y, lengths)
    total = found["dstates"].copy()
    total[:, 0, :, 1:] -= found["dabove"]
    paths = found["dpaths"].sum(axis=1)  # by the states before each step
    exists = found["exists"][:, :, None]
    assert np.allclose(np.where(exists, total[..., :-1, :] - paths, 0), 0, atol=1e-14)
    beyond = ~exists & np.ones_like(found["da"][0, 0], np.bool_)
    assert not found["da"][:, :, beyond].any()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tied", [True, False])
def test_preactivations_are_what_the_equations_were_given(
    case: tuple[str, str, str, str], tied: bool
) -> None:
    network, x, y, lengths = made(*case, layers=2, tied=tied)
    found, cell = trace(network, x, y, lengths), network.structure.equations
    for layer in range(2):
        before, after = found["states"][layer, :, :, :-1], found["states"][layer, :, :, 1:]
        gates, states = cell.forward(tuple(found["a"][layer]), tuple(before))
        there = found["exists"]
        for mine, theirs in zip(gates, found["gates"][layer], strict=True):
            assert np.allclose(mine[there], theirs[there], rtol=1e-13, atol=1e-15)
        for mine, theirs in zip(states, after, strict=True):
            assert np.allclose(mine[there], theirs[there], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_a_float32_networks_trace_is_in_float64(case: tuple[str, str, str, str]) -> None:
    network, x, y, lengths = made(*case, dtype="float32")
    found = trace(network, x, y, lengths)
    assert all(found[name].dtype == np.float64 for name in ("a", "states", "da", "dstates"))
    double = Network(
        found.structure, theta=network.theta.astype(np.float64), engine="reference"
    ).gradient(x, y, lengths)
    assert found.loss == double.loss


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("readout", "tied"), [("steps", True), ("steps", False), ("last", True)])
def test_losses_taken_apart_add_up(
    case: tuple[str, str, str, str], readout: str, tied: bool
) -> None:
    network, x, y, lengths = made(*case, readout=readout, layers=2, tied=tied, one_hot=tied)
    found = trace(network, x, y, lengths)
    total: dict[str, Any] = {}
    for sample, length in enumerate(lengths):
        parts = derived.apart(found, sample)
        assert parts.credit().shape == (length if readout == "steps" else 1, length + 1)
        whole = found["dstates"][:, :, sample, : length + 1]
        assert np.allclose(parts.dstates.sum(axis=2), whole, atol=1e-15)
        for lag in parts.by_lag():
            for name, values in lag.items():
                total[name] = total.get(name, 0) + values
        errors = parts.truncated()
        assert errors.shape == (length,)
        assert errors[-1] < 1e-12
    for name, values in total.items():
        assert np.allclose(values, found.gradients[name], atol=1e-14)


def test_the_gradient_cut_off_after_all_steps_is_the_whole_one() -> None:
    network, x, y, _ = made(*CASES[2], layers=2)
    found = trace(network, x[:1], y[:1])
    parts, errors = derived.apart(found), derived.apart(found).truncated()
    names = [name for name in found.gradients if name.partition(".")[0] in "UWb"]
    for name in names:
        assert np.allclose(parts.gradient(6)[name], found.gradients[name], atol=1e-14)
    for window in (1, 3):
        cut = parts.gradient(window)
        off = np.concatenate([(cut[name] - found.gradients[name]).ravel() for name in names])
        size = np.linalg.norm(np.concatenate([found.gradients[name].ravel() for name in names]))
        assert np.linalg.norm(off) / size == pytest.approx(errors[window - 1], rel=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("readout", "one_hot"), [("steps", False), ("last", True)])
def test_a_trace_is_read_back_as_it_was_written(
    case: tuple[str, str, str, str], readout: str, one_hot: bool, tmp_path: Path
) -> None:
    network, x, y, lengths = made(*case, readout=readout, one_hot=one_hot, layers=2)
    found = trace(network, x, y, lengths)
    found.save(tmp_path / "trace")
    read = load_trace(tmp_path / "trace")
    assert (read.structure, read.loss, repr(read)) == (found.structure, found.loss, repr(found))
    for part in ("arrays", "weights", "gradients"):
        theirs, mine = getattr(read, part), getattr(found, part)
        assert theirs.keys() == mine.keys()
        for name, array in mine.items():
            assert theirs[name].dtype == array.dtype
            assert np.array_equal(theirs[name], array)
    assert np.array_equal(derived.jacobians(read), derived.jacobians(found))


def test_no_other_file_is_read_as_a_trace(tmp_path: Path) -> None:
    network, x, y, lengths = made(*CASES[0])
    found = trace(network, x, y, lengths)
    found.save(tmp_path / "good")
    (tmp_path / "torn").write_bytes((tmp_path / "good").read_bytes()[:-3])
    arrays = {name: array for name, array in found.arrays.items() if name != "da"}
    Trace(found.structure, found.weights, found.gradients, 0.0, arrays).save(tmp_path / "lacks")
    arrays = {**found.arrays, "da": found["da"][..., 1:]}
    Trace(found.structure, found.weights, found.gradients, 0.0, arrays).save(tmp_path / "short")
    write_tensors(tmp_path / "other", {"U": x}, {"structure": found.structure.plain()})
    for name, words in (
        ("none", "cannot be read"), ("torn", "damaged"), ("lacks", "damaged"),
        ("short", "damaged"), ("other", "holds no trace"),
    ):  # fmt: skip
        with pytest.raises(BpttError, match=words) as told:
            load_trace(tmp_path / name)
        assert "\n" not in str(told.value)


def test_a_loss_reaches_no_later_state() -> None:
    network, x, y, lengths = made(*CASES[2])
    credit = derived.apart(trace(network, x, y, lengths)).credit()
    answers, times = np.indices(credit.shape)
    assert not credit[times > answers + 1].any()
    assert credit[times <= answers + 1].all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tied", [True, False])
def test_jacobians_are_the_derivatives_of_one_step(
    case: tuple[str, str, str, str], tied: bool
) -> None:
    network, x, y, lengths = made(*case, tied=tied)
    found, s = trace(network, x, y, lengths), network.structure
    jacobian = derived.jacobians(found, sample=1)
    H, S = s.hidden, len(s.equations.states)
    assert jacobian.shape == (lengths[1], S * H, S * H)
    for t in range(lengths[1]):
        for j in range(S * H):
            after = []
            for sign in (1, -1):
                states = found["states"][0, :, 1, t].copy()
                states.reshape(-1)[j] += sign * EPSILON
                after.append(one_step(found, states, t, x[1, t]))
            difference = (after[0] - after[1]) / (2 * EPSILON)
            assert np.allclose(jacobian[t, :, j], difference.ravel(), atol=ERROR)
    values = derived.singular_values(found, sample=1)
    assert np.allclose(values**2, np.linalg.eigvalsh(jacobian @ jacobian.mT)[:, ::-1], atol=1e-12)


def one_step(found: Trace, states: Any, t: int, x: Any) -> Any:
    """One step of layer 0 by the cell's equations and plain products."""
    s, cell, w = found.structure, found.structure.equations, found.weights
    U, W, b = (w[name] if s.tied else w[name][t] for name in ("U", "W", "b"))
    xu, hw = np.split(x @ U, cell.gates), np.split(states[0] @ W, cell.gates)
    a = list(np.split(b, len(cell.preactivations)))
    for gate, k in enumerate(cell.recurrent):
        a[gate] = a[gate] + xu[gate]
        a[k] = a[k] + hw[gate]
    return np.array(cell.forward(tuple(a), tuple(states))[1])


def test_lyapunov_exponents_of_a_linear_walk_are_the_logarithms_of_its_eigenvalues() -> None:
    network = Network(
        inputs=1, outputs=1, hidden=3, activation="relu", engine="reference", bias=False,
        dtype="float64",
    )  # fmt: skip
    network["W"][...] = np.diag([1.25, 1.0, 0.5]) + np.triu(np.full((3, 3), 0.1), 1)
    network["U"][...] = 1.0  # everything stays positive, where relu is linear
    x = np.ones((1, 400, 1))
    found = derived.lyapunov(trace(network, x, np.zeros((1, 400, 1))))
    # The first steps turn towards the eigenvectors: what they differ by is spread over 400.
    assert np.allclose(found, np.log([1.25, 1.0, 0.5]), atol=5e-3)


def test_shares_add_up_and_name_the_step_that_counts() -> None:
    network, x, y, _ = made(*CASES[3], layers=2)
    found = trace(network, x[:1], y[:1])
    for name in ("U.1", "W.1", "b.1", "U.2", "W.2", "b.2"):
        share = derived.shares(found, name)
        assert share.shape == (6,)
        assert share.sum() == pytest.approx(1)
    x[0, :, :] = 0
    x[0, 3] = 1  # the only step with an input
    share = derived.shares(trace(network, x[:1], y[:1]), "U.1")
    assert np.allclose(share, [0, 0, 0, 1, 0, 0])


def test_components_find_the_plane_of_the_states() -> None:
    network, x, y, lengths = made(*CASES[0])
    found = trace(network, x, y, lengths)
    whole = derived.components(found, 4)
    assert whole.explained.sum() == pytest.approx(1)
    assert (np.diff(whole.explained) <= 0).all()
    states = whole.mean + whole.scores @ whole.directions
    assert np.allclose(states, found["states"][-1, 0])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_array_has_the_axes_that_are_named(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    readout = data.draw(st.sampled_from(["steps", "last"]))
    layers, one_hot = data.draw(st.sampled_from([1, 2])), data.draw(st.booleans())
    network, x, y, lengths = made(*case, readout=readout, layers=layers, one_hot=one_hot)
    found = trace(network, x, y, lengths if data.draw(st.booleans()) else None)
    sizes = {name: len(values) for name, values in found.coords.items()}
    assert set(found.arrays) == set(VARIABLES) - ({"dx"} if one_hot else set())
    for name, array in found.arrays.items():
        assert array.shape == tuple(sizes[dim] for dim in found.dims(name))
        assert name in repr(found)


def test_what_cannot_be_traced_is_said_in_one_line() -> None:
    network, x, y, lengths = made(*CASES[0])
    found = trace(network, x, y, lengths)
    for call, words in (
        (lambda: trace(network, x[:, :, :1], y), "x has shape"),
        (lambda: trace(network, x, None), "y is None"),
        (lambda: found["dc"], "'dc' is not in this trace: choose one of 'x'"),
        (lambda: derived.apart(found, 3), "sample 3: this trace has 3"),
        (lambda: derived.shares(found, "V"), "'V' has no steps to share"),
        (lambda: derived.components(found, 5), "5 components: from 1 to 4"),
    ):
        with pytest.raises(BpttError, match=words):
            call()
    with pytest.raises(BpttError, match="no steps"):
        derived.apart(trace(network, x, y, np.array([0, 2, 3])))
    wide = Network(inputs=2, outputs=1, hidden=200, engine="reference")
    with pytest.raises(BpttError, match="give fewer samples or steps"):
        trace(wide, np.zeros((1000, 1000), np.int64), np.zeros((1000, 1000, 1)))


@pytest.mark.parametrize("cell", [LEAKY, LEAKY_SHARED, MIXED], ids=lambda cell: cell.name)
def test_a_users_own_cell_is_traced_alike(cell: Cell) -> None:
    _, x, y, lengths = made("elman", "tanh", "sigmoid", "cross_entropy")
    own = Network(
        inputs=2, outputs=3, hidden=4, layers=2, cell=cell, dtype="float64", engine="reference"
    )
    found = trace(own, x, y, lengths)
    for name, values in own.gradient(x, y, lengths).parameters.items():
        assert np.array_equal(found.gradients[name], values)
    total = found["dstates"].copy()
    total[:, 0, :, 1:] -= found["dabove"]
    exists = found["exists"][:, :, None]
    paths = found["dpaths"].sum(axis=1)
    assert np.allclose(np.where(exists, total[..., :-1, :] - paths, 0), 0, atol=1e-14)
    assert derived.apart(found, 1).truncated()[-1] < 1e-12
    assert len(all_figures(found)) == 6


def test_a_trace_as_a_dataset() -> None:
    pytest.importorskip("xarray", reason="the extra xarray is not installed")
    network, x, y, lengths = made(*CASES[3], layers=2)
    found = trace(network, x, y, lengths)
    dataset = found.to_xarray()
    forget = dataset["gates"].sel(gate="f", layer=2, unit=1, sample=0)
    assert np.array_equal(forget, found["gates"][1, 1, 0, :, 1])
    assert dataset["dstates"].dims == ("layer", "state", "sample", "time", "unit")
    assert dataset.attrs["loss"] == found.loss


def test_the_compiled_gradient_is_the_traces() -> None:
    network, x, y, lengths = made(*CASES[3])
    found = trace(network, x, y, lengths)
    compiled = Network(network.structure, theta=network.theta)
    own = compiled.gradient(x, y, lengths, inputs=True)
    # Float64's rounding, of sums of some dozen terms.
    assert np.allclose(found["dx"], own.x, rtol=1e-10, atol=1e-13)
