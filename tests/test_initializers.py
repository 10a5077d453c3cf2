"""Initial weights: distributions, fans, gates, sets, and settings that are not allowed."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bptt import BpttError, Network, Structure
from bptt.network.initializers import KINDS, initialize

# Large enough that a wrong scale is seen at once; all different, so that a fan is one of them.
D, H, O, STEPS = 60, 80, 50, 2  # noqa: E741
CELLS = ("elman", "lstm", "gru")


def parameters(
    seed: int = 0, settings: dict[str, str] | None = None, forget_bias: float = 0.0, **options: Any
) -> dict[str, np.ndarray]:
    """The initial parameters of a network of those sizes, by name."""
    options = {"inputs": D, "hidden": H, "outputs": O, "dtype": "float64", **options}
    structure = Structure(**options)
    return structure.layout().views(initialize(structure, seed, settings, forget_bias))


def gate_block(parameter: np.ndarray, gate: int, width: int = H) -> np.ndarray:
    return parameter[..., gate * width : (gate + 1) * width]


def assert_normal(values: np.ndarray, std: float, mean: float = 0.0) -> None:
    """Kolmogorov-Smirnov: with fixed seeds either always or never red; 1 of 10^4 right ones is."""
    assert stats.kstest(values.ravel(), "norm", args=(mean, std)).pvalue > 1e-4


def assert_uniform(values: np.ndarray, a: float) -> None:
    assert np.abs(values).max() <= a
    assert stats.kstest(values.ravel(), "uniform", args=(-a, 2 * a)).pvalue > 1e-4


# Every matrix of a network and its fan_in and fan_out
FANS = {"U.1": (D, H), "W.1": (H, H), "U.2": (H, H), "W.2": (H, H), "V": (H, O)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cell", CELLS)
def test_fans(cell: str, seed: int) -> None:
    """Scales go by the fans of one gate's block, not by those of all blocks side by side."""
    for kind, spread in (
        ("glorot_uniform", lambda i, o: math.sqrt(6 / (i + o))),
        ("glorot_normal", lambda i, o: math.sqrt(2 / (i + o))),
        ("lecun_normal", lambda i, o: math.sqrt(1 / i)),
        ("he_normal", lambda i, o: math.sqrt(2 / i)),
    ):
        found = parameters(seed, dict.fromkeys("UWV", kind), cell=cell, layers=2)
        check = assert_uniform if kind == "glorot_uniform" else assert_normal
        for name, fans in FANS.items():
            check(found[name], spread(*fans))


@pytest.mark.parametrize("seed", range(3))
def test_plain_distributions(seed: int) -> None:
    settings = {
        "U": "normal", "W": "normal(0.1, 0.5)", "V": "uniform", "b": "uniform( 0.25 )",
        "c": "constant(-1.5)", "h0": "constant",
    }  # fmt: skip
    found = parameters(seed, settings, cell="lstm", initial_state="trainable")
    assert_normal(found["U"], 1.0)
    assert_normal(found["W"], 0.1, 0.5)
    assert_uniform(found["V"], 1.0)
    assert_uniform(found["b"], 0.25)
    assert (found["c"] == -1.5).all()
    assert not found["h0"].any()
    assert not found["c0"].any()


@pytest.mark.parametrize("cell", CELLS)
def test_defaults(cell: str) -> None:
    """U, V glorot_uniform, W orthogonal, everything else zero."""
    found = parameters(4, cell=cell, initial_state="trainable")
    assert_uniform(found["U"], math.sqrt(6 / (D + H)))
    assert_uniform(found["V"], math.sqrt(6 / (H + O)))
    W = gate_block(found["W"], 0)
    np.testing.assert_allclose(W.T @ W, np.eye(H), atol=1e-13)
    for name in set(found) - {"U", "W", "V"}:
        assert not found[name].any(), name


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize("cell", CELLS)
def test_orthogonal_gate_by_gate(cell: str, gain: float) -> None:
    """Each gate's block has orthonormal columns, or rows where it has fewer rows; none repeats."""
    found = parameters(1, dict.fromkeys("UWV", f"orthogonal({gain})"), cell=cell, tied=False,
                       steps=STEPS)  # fmt: skip
    seen = []
    for name, width in (("U", H), ("W", H), ("V", O)):
        for one_set in found[name]:
            for gate in range(one_set.shape[1] // width):
                block = gate_block(one_set, gate, width)
                small = block @ block.T if block.shape[0] < block.shape[1] else block.T @ block
                # Householder's QR of 80 columns: errors of a few dozen roundings
                np.testing.assert_allclose(small, gain**2 * np.eye(len(small)), atol=1e-13)
                seen.append(block[0, 0])
    assert len(set(seen)) == len(seen)


def test_orthogonal_is_uniformly_distributed() -> None:
    """Over many matrices each entry is as often positive as negative, the diagonal too.

    A bare QR without the signs of R gives matrices whose first entry is always negative.
    """
    structure = Structure(inputs=1, hidden=3, outputs=1, dtype="float64")
    layout = structure.layout()
    drawn = np.array([layout.views(initialize(structure, seed))["W"] for seed in range(400)])
    # binomial, n = 400: 5 standard deviations are 50
    assert np.abs((drawn > 0).sum(axis=0) - 200).max() < 50
    assert_square_third(drawn)


def assert_square_third(drawn: np.ndarray) -> None:
    """Squared entries of a unit vector in 3 dimensions are 1/3 on average."""
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / 3, atol=5 * 0.3 / math.sqrt(400))


def test_settings_of_experiment_5() -> None:
    """The text LSTM: mean 0.5 for the sigmoid gates, 0 for the candidate and the output."""
    settings = dict.fromkeys("UW", "normal(0.1, 0.5)")
    settings |= {"U.g": "normal(0.1)", "W.g": "normal(0.1)", "V": "normal(0.1)"}
    found = parameters(2, settings, cell="lstm")
    for name in "UW":
        for gate, mean in enumerate((0.5, 0.5, 0.0, 0.5)):  # i, f, g, o
            assert_normal(gate_block(found[name], gate), 0.1, mean)
    assert_normal(found["V"], 0.1)
    assert not found["b"].any()
    assert not found["c"].any()


@pytest.mark.parametrize(
    ("cell", "gates", "biases"), [("lstm", "ifgo", "ifgo"), ("gru", "rzn", "rznq")]
)
def test_one_gate_of_its_own(cell: str, gates: str, biases: str) -> None:
    """'U.f' reaches gate f of U and nothing else, in every layer and every set."""
    for letter, names in (("U", gates), ("W", gates), ("b", biases)):
        for place, gate in enumerate(names):
            found = parameters(
                0, {"U": "zeros", "W": "zeros", "V": "zeros", f"{letter}.{gate}": "constant(7)"},
                cell=cell, layers=2, tied=False, steps=STEPS,
            )  # fmt: skip
            for name, value in found.items():
                if not name.startswith(letter):
                    assert not value.any()
                    continue
                for other in range(len(names)):
                    assert (gate_block(value, other) == (7 if other == place else 0)).all()


def test_elman_gate_may_be_named() -> None:
    assert (parameters(0, {"U.a": "constant(2)"})["U"] == 2).all()


@pytest.mark.parametrize("seed", range(2))
def test_forget_bias(seed: int) -> None:
    """Added to what is drawn for the forget gate, in every layer."""
    plain = parameters(seed, {"b": "normal"}, cell="lstm", layers=2)
    added = parameters(seed, {"b": "normal"}, 1.5, cell="lstm", layers=2)
    for name in plain:
        difference = added[name] - plain[name]
        if name.startswith("b"):
            np.testing.assert_allclose(gate_block(difference, 1), 1.5, rtol=1e-14)
            difference = np.delete(difference, np.s_[H : 2 * H])
        assert not difference.any()


@pytest.mark.parametrize("kind", [*sorted(KINDS), "normal(0.3, 0.1)", "orthogonal(1.1)"])
@pytest.mark.parametrize("cell", CELLS)
def test_float32_is_float64_rounded(cell: str, kind: str) -> None:
    """The same seed means the same network in either type."""
    settings = dict.fromkeys(("U", "W", "V", "b", "h0"), kind)
    options: dict[str, Any] = {
        "cell": cell, "layers": 2, "initial_state": "trainable", "inputs": 3, "hidden": 5,
        "outputs": 2,
    }  # fmt: skip
    single = parameters(3, settings, dtype="float32", **options)
    double = parameters(3, settings, **options)
    for name, value in double.items():
        assert single[name].dtype == np.float32
        np.testing.assert_array_equal(single[name], value.astype(np.float32))


def test_sets_and_layers_differ() -> None:
    """No set, no layer and no gate repeats another's numbers."""
    found = parameters(0, {"b": "normal", "c": "normal"}, cell="gru", layers=2, tied=False, steps=3)
    numbers = np.concatenate([value.ravel() for value in found.values()])
    assert len(np.unique(numbers)) == numbers.size


def test_seeds() -> None:
    """The same seed gives the same bits; another seed, and a generator used on, do not."""
    one, again, other = (Network(inputs=2, outputs=1, seed=seed).theta for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    rng = np.random.default_rng(1)
    first, second = (Network(inputs=2, outputs=1, seed=rng).theta for _ in range(2))
    np.testing.assert_array_equal(first, one)
    assert (second != one).any()


@pytest.mark.parametrize(
    ("settings", "options", "says"),
    [
        ({"U": "xavier"}, {}, "'xavier' is not known: choose one of 'normal'"),
        ({"U": ""}, {}, "'' is not known"),
        ({"U": "normal(0.1"}, {}, "'normal(0.1' is not known"),
        ({"U": "normal(a)"}, {}, "'normal' takes 2 finite numbers"),
        ({"U": "normal(1, 2, 3)"}, {}, "'normal' takes 2 finite numbers"),
        ({"U": "normal(inf)"}, {}, "'normal' takes 2 finite numbers"),
        ({"U": "normal(, 0.5)"}, {}, "'normal' takes 2 finite numbers"),
        ({"U": "uniform(nan)"}, {}, "'uniform' takes 1 finite number"),
        ({"U": "uniform(-1)"}, {}, "uniform(-1)"),
        ({"U": "uniform(1e308)"}, {}, "uniform(1e308)"),
        ({"U": "normal(-1)"}, {}, "normal(-1)"),
        ({"U": "he_normal(2)"}, {}, "'he_normal' takes no finite numbers"),
        ({"X": "zeros"}, {}, "initialiser for 'X': there is no such parameter"),
        ({"U.x": "zeros"}, {"cell": "lstm"}, "initialiser for 'U.x'"),
        ({"U.q": "zeros"}, {"cell": "gru"}, "initialiser for 'U.q'"),
        ({"V.f": "zeros"}, {"cell": "lstm"}, "initialiser for 'V.f'"),
        ({"c0": "zeros"}, {"cell": "gru"}, "initialiser for 'c0'"),
        ({"U": "constant(1e39)"}, {"dtype": "float32"}, "do not fit float32"),
    ],
    ids=str,
)
def test_bad_settings(settings: dict[str, str], options: dict[str, Any], says: str) -> None:
    with pytest.raises(BpttError) as caught:
        parameters(0, settings, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"cell": "gru"}, {"cell": "elman"}, {"cell": "lstm", "bias": False}], ids=str
)
def test_forget_bias_needs_a_forget_gate(options: dict[str, Any]) -> None:
    with pytest.raises(BpttError, match=r"forget_bias 1\.0 needs an LSTM with biases"):
        parameters(0, None, 1.0, **options)


@pytest.mark.parametrize("name", ["b", "c", "h0"])
def test_setting_for_a_parameter_the_network_lacks(name: str) -> None:
    """A setting that would do nothing is a mistake."""
    with pytest.raises(BpttError, match=f"initialiser for '{name}'"):
        parameters(0, {name: "normal"}, bias=False, initial_state="zeros")
