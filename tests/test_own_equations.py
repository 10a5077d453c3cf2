"""Cells, outputs and rules of a user's own: every regime and float type against the reference, the
reference against central differences, and what is said of wrong ones."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_equations import CELLS, HUBER, LION, MIXED, PLAIN, RULES, leaky
from regimes import CLOSE, CLOSE_IN_TRAINING, assert_same_gradient, assert_same_pass, case_of, train
from regimes import PLAIN as PLAIN_CASE
from test_side_by_side import assert_all_same, models_of, train_many

import bptt
import bptt.equations.optimizers
from bptt.equations.cells import CELLS as BUILT_IN
from bptt.equations.outputs import OUTPUTS
from bptt.functions import relu, sigmoid, tanh, tanh_backward, where
from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine.vectors import COMPILER_OFF
from bptt.kernels.walk.products import MODELS, SAMPLES, UNITS
from bptt.kernels.walk.workspace import regime_for
from bptt.network.reference_engine import ReferenceEngine

REFERENCE = ReferenceEngine()
BATCHES = {UNITS: (1, 3), SAMPLES: (7, 17)}
CASE = PLAIN_CASE | {"output": (HUBER, "huber"), "O": 2, "D": 2, "T": 3, "kind": LION}
ROWS = (
    {"H": 5}, {"H": 16, "layers": 2, "bidirectional": True},
    {"H": 9, "tied": False, "bias": False, "readout": "last"},
    {"H": 20, "lengths": False, "clips": {"clip_value": 0.02}, "carried": True, "layers": 2},
)  # fmt: skip
# Float32 has 24 bits; sums of some hundred terms lose a few of them.
CLOSE_SINGLE = {"rtol": 2e-4, "atol": 2e-5}
# Kernels take long to compile: compiled, each cell is in some regimes and types, and every regime
# and type has a cell with all sorts of parameters; with the compiler off, each in all.
ALL = [(c, r, d) for c in CELLS for r in (*BATCHES, MODELS) for d in ("float64", "float32")]
SOME = [each for k, each in enumerate(ALL) if each[0] is MIXED or k % 7 == 0]
TABLE = pytest.mark.parametrize(
    ("cell", "regime", "dtype"),
    [
        pytest.param(*each, id="-".join((each[0].name, *each[1:])))
        for each in (ALL if COMPILER_OFF else SOME)
    ],
)


@TABLE
def test_every_regime_and_type(cell: bptt.Cell, regime: str, dtype: str) -> None:
    """Outputs, states, gradients, and a training with an own rule."""
    engine = CompiledEngine()
    if regime == MODELS:
        models = models_of((cell, "tanh"), CASE | {"B": 1, "H": 5}, 5, dtype)
        one, two = (train_many(each, models) for each in (REFERENCE, engine))
        assert_all_same(one, two, **(CLOSE_IN_TRAINING if dtype == "float64" else CLOSE_SINGLE))
        return
    for number, row in enumerate(ROWS):
        for B in BATCHES[regime]:
            case = case_of((cell, "tanh"), CASE | row | {"B": B}, number, dtype)
            if dtype == "float64":
                assert_same_pass(REFERENCE, engine, case)
                one, two = (train(each, case) for each in (REFERENCE, engine))
                for name in ("theta", "s0", "s1"):
                    found = (getattr(each[0], name) for each in (two, one))
                    np.testing.assert_allclose(*found, **CLOSE_IN_TRAINING)
                continue
            assert regime_for(case.structure, B) == regime
            pair = [each.gradient(case.theta, case.batch) for each in (REFERENCE, engine)]
            assert_same_gradient(*pair, **CLOSE_SINGLE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules(rule: bptt.Rule) -> None:
    """With what each keeps, one that looks ahead too."""
    assert rule.states == ("s0",)
    case = case_of(("elman", "tanh"), CASE | {"B": 3, "kind": rule, "iterations": 7}, 1)
    one, two = (train(each, case) for each in (REFERENCE, CompiledEngine()))
    for name in ("theta", "s0"):
        np.testing.assert_allclose(
            getattr(two[0], name), getattr(one[0], name), **CLOSE_IN_TRAINING
        )
    assert np.abs(one[0].theta - case.theta).max() > 0.01


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_central_differences(cell: bptt.Cell) -> None:
    """Of the reference, for networks, and of the equations by themselves."""
    assert bptt.check_cell(cell, seed=3).passed
    rng = np.random.default_rng(2)
    for extra in ({}, {"layers": 2, "initial_state": "trainable"}, {"tied": False, "steps": 4}):
        network = bptt.Network(
            inputs=2, outputs=2, hidden=3, cell=cell, output=HUBER, dtype="float64",
            engine="reference", seed=5, **extra,
        )  # fmt: skip
        x, y = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2))
        found = bptt.check_network(network, x, y, lengths=np.array([4, 2, 0]))
        assert found.passed, str(found)
        trained = {each.name for each in cell.parameters if each.trained}
        assert trained <= {each.name.partition(".")[0] for each in found.parameters}


def test_what_is_not_trained_does_not_change() -> None:
    """Not by weight decay either."""
    fixed = leaky("still", trained=False)
    settings = {"optimizer": "adamw", "iterations": 5, "hidden": 4, "engine": "reference"}
    run = bptt.train(bptt.Addition(bits=2), cell=fixed, **settings)
    assert (run.network["leak"] == np.float32(0.3)).all()
    assert run.network.gradient(np.ones((1, 3, 2)), np.ones((1, 3, 1))).parameters["leak"].any() \
        == np.False_  # fmt: skip


def mutated(which: str, number: int) -> bptt.Cell:
    """MIXED with one derivative wrong."""

    def backward(gates, s, s_new, ds_new, p):
        parts = dict(zip(("da", "ds", "dp"), MIXED.backward(gates, s, s_new, ds_new, p),
                         strict=True))  # fmt: skip
        wrong = list(parts[which])
        wrong[number] = wrong[number] + 0.01 * ds_new[0]
        return tuple(({**parts, which: tuple(wrong)}).values())

    return bptt.Cell(
        "mutated", MIXED.preactivations, MIXED.gates, MIXED.states, MIXED.forward, backward,
        MIXED.parameters,
    )  # fmt: skip


WRONG = [
    (f"{which}.{name}", which, k)
    for which, names in (
        ("da", MIXED.preactivations), ("ds", MIXED.states), ("dp", ("peep", "scale", "mix")),
    )
    for k, name in enumerate(names)
]  # fmt: skip


@pytest.mark.parametrize(("name", "which", "number"), WRONG, ids=[each[0] for each in WRONG])
def test_a_wrong_derivative_is_named(name: str, which: str, number: int) -> None:
    found = bptt.check_cell(mutated(which, number))
    assert [each.name for each in found.parameters if each.failed] == [name]
    assert f"FAIL {name}" in str(found)


def test_a_derivative_that_is_not_proportional_is_named() -> None:
    cell = bptt.Cell(
        "squared", ("a",), 1, ("h",), PLAIN.forward,
        lambda gates, s, s_new, ds_new: ((ds_new[0] * ds_new[0],), (0 * ds_new[0],)),
    )  # fmt: skip
    with pytest.raises(bptt.BpttError, match=r"cell 'squared', backward: da.a is not proportional"):
        bptt.check_cell(cell)


def test_a_wrong_loss_is_named() -> None:
    assert bptt.check_output(HUBER).passed
    wrong = bptt.Output("wrong", lambda o, y: (o, 0.5 * (o - y) * (o - y), 1.1 * (o - y)))
    assert "FAIL do" in str(bptt.check_output(wrong))


def backward_of(da, ds=lambda dh: 0 * dh):
    return lambda gates, s, s_new, ds_new: ((da(gates[0], ds_new[0]),), (ds(ds_new[0]),))


TABLE_OF_WRONG = {
    "branch": (lambda a, s: ((a[0],), (a[0] if a[0] > 0 else s[0],)), "decides by a value"),
    "unknown function": (lambda a, s: ((np.sin(a[0]),), (a[0],)), "numpy.sin"),
    "math": (lambda a, s: ((__import__("math").tanh(a[0]),), (a[0],)), "plain number"),
    "too many gates": (lambda a, s: ((a[0], a[0]), (a[0],)), "gates has 2 values, not 1"),
    "no tuple": (lambda a, s: a[0], "not a tuple of 2"),
    "a constant": (lambda a, s: ((a[0],), (0.0,)), "h is 0.0, not computed"),
    "index": (lambda a, s: ((a[1],), (a[0],)), "IndexError"),
    "array": (lambda a, s: ((a[0] * np.ones(3),), (a[0],)), "ndarray"),
    "NaN where all is zero": (lambda a, s: ((a[0] / a[0],), (a[0] / a[0],)), "is nan"),
    "infinite number": (lambda a, s: ((a[0] + np.inf,), (a[0],)), "number inf"),
    "comparison": (lambda a, s: ((a[0] > 1,), (a[0],)), "is a comparison"),
    "name": (lambda a, s: ((undefined(a[0]),), (a[0],)), "NameError"),  # noqa: F821
    "arguments": (lambda a: ((a[0],), (a[0],)), "TypeError"),
    "shape": (lambda a, s: ((a[0].sum(),), (a[0],)), "no attribute 'sum'"),
    "power": (lambda a, s: ((a[0] ** 2.5,), (a[0],)), "power of 2.5"),
}


@pytest.mark.parametrize("what", TABLE_OF_WRONG)
def test_a_wrong_equation_is_one_line(what: str) -> None:
    forward, words = TABLE_OF_WRONG[what]
    with pytest.raises(bptt.BpttError) as caught:
        bptt.Cell("wrong", ("a",), 1, ("h",), forward, backward_of(lambda g, dh: g * dh))
    message = str(caught.value)
    assert message.startswith("cell 'wrong', forward: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "lstm"}, "built-in"), ({"name": "a b"}, "letters"), ({"gates": 3}, "gates 3"),
        ({"states": ()}, "no state"), ({"preactivations": ("a", "a")}, "different"),
        ({"preactivations": "a"}, "tuple of names"), ({"parameters": ("W",)}, "'W'"),
        ({"parameters": ("1x",)}, "word"),
    ],
)  # fmt: skip
def test_wrong_fields(change: dict[str, object], words: str) -> None:
    given = {
        "name": "own", "preactivations": ("a",), "gates": 1, "states": ("h",),
        "forward": PLAIN.forward, "backward": PLAIN.backward, **change,
    }  # fmt: skip
    with pytest.raises(bptt.BpttError, match=words):
        bptt.Cell(**given)


def of_factor(factor: float) -> bptt.Cell:
    """Cells of one name, whose equations differ in a number of a closure."""
    return bptt.Cell(
        "factor", ("a",), 1, ("h",), lambda a, s: ((tanh(a[0]),), (factor * tanh(a[0]),)),
        backward_of(lambda h, dh: factor * tanh_backward(h, dh)),
    )  # fmt: skip


def helped(x):
    return 0.5 * tanh(x)


def test_the_digest_is_of_the_mathematics() -> None:
    same = bptt.Cell(
        "factor", ("a",), 1, ("h",), lambda a, s: ((np.tanh(a[0]),), (helped(a[0]),)),
        lambda gates, s, s_new, ds_new: (
            (tanh_backward(gates[0], ds_new[0]) * 1 * 0.5 if False else
             0.5 * tanh_backward(gates[0], ds_new[0]),), (0 * ds_new[0],)),
    )  # fmt: skip
    assert same == of_factor(0.5) != of_factor(0.25)
    assert bptt.Structure(inputs=1, outputs=1, cell=same) == bptt.Structure(
        inputs=1, outputs=1, cell=of_factor(0.5)
    )


def test_cells_of_one_name_have_code_of_their_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 2))
    found = []
    for factor in (0.5, -0.75):
        networks = [
            bptt.Network(
                inputs=2, outputs=1, hidden=3, cell=of_factor(factor), dtype="float64", engine=each
            )
            for each in ("reference", "compiled")
        ]  # fmt: skip
        one, two = (network.predict(x) for network in networks)
        np.testing.assert_allclose(two, one, **CLOSE)
        found.append(two)
    assert np.abs(found[0] - found[1]).max() > 1e-3


ELSEWHERE = """
import pickle, sys
import bptt
structure, optimizer = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "own_equations" not in sys.modules
network = bptt.Network(structure, seed=3, engine="reference")
print(structure.cell, structure.output, optimizer.kind, float(network.theta.sum()))
"""


def test_who_unpickles_needs_no_module_of_the_user() -> None:
    structure = bptt.Structure(inputs=2, outputs=1, cell=MIXED, output=HUBER)
    optimizer = bptt.Optimizer(kind=LION)
    content = pickle.dumps((structure, optimizer)).hex()
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, content], capture_output=True, text=True, timeout=200,
        env={each: value for each, value in os.environ.items() if each != "PYTHONPATH"},
        check=True,
    )  # fmt: skip
    theta = bptt.Network(structure, seed=3, engine="reference").theta
    assert done.stdout.split() == [MIXED, HUBER, LION, str(float(theta.sum()))]
    assert pickle.loads(pickle.dumps(MIXED)) == MIXED
    built_in = (*BUILT_IN.values(), *OUTPUTS.values(), *bptt.equations.optimizers.RULES.values())
    for each in built_in:
        assert pickle.loads(pickle.dumps(each)) is each
    with pytest.raises(bptt.BpttError, match="'huber' is not a cell, but an own output"):
        bptt.Structure(inputs=1, outputs=1, cell=HUBER)


def test_numbers_and_functions_that_numpy_shares() -> None:
    """What is traced computes what the function computes."""

    def equation(o, y):
        return (
            relu(o) + sigmoid(y) * np.float64(2), abs(o) ** 3 + (1 - y) / 4 + (+o),
            where(o >= y, np.maximum(o, 0.5), np.exp(-y)) ** 0.5,
        )  # fmt: skip

    output = bptt.Output("several", equation)
    o, y = np.linspace(0.1, 3, 7), np.linspace(0.2, -3, 7)
    for mine, theirs in zip(output.equation(o, y), equation(o, y), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)


def own_run(folder: Path) -> bptt.Run:
    run = bptt.train(
        bptt.Addition(bits=2), cell=MIXED, output=HUBER, optimizer=LION, hidden=3, iterations=4,
        engine="reference", learning_rate=0.01,
    )  # fmt: skip
    run.save(folder)
    return run


def test_files_name_equations_and_want_them_handed_in(tmp_path: Path) -> None:
    run = own_run(tmp_path / "run")
    own = {"cell": MIXED, "output": HUBER}
    network = bptt.load(tmp_path / "run", **own)
    assert (network.theta == run.network.theta).all()
    assert network.structure == run.network.structure
    with pytest.raises(bptt.BpttError, match=r"cell 'mixed' is not built in: hand it in, as cell="):
        bptt.load(tmp_path / "run")
    with pytest.raises(bptt.BpttError, match="output 'huber' is not built in"):
        bptt.load(tmp_path / "run", cell=MIXED)
    other = bptt.Cell(
        "mixed", PLAIN.preactivations, 1, PLAIN.states, PLAIN.forward, PLAIN.backward
    )  # fmt: skip
    with pytest.raises(bptt.BpttError, match="'mixed' that was handed in has other equations"):
        bptt.load(tmp_path / "run", **(own | {"cell": other}))
    with pytest.raises(bptt.BpttError, match="hand in a Cell"):
        bptt.load(tmp_path / "run", cell="mixed")
    loaded = bptt.load_run(tmp_path / "run", **own, optimizer=LION)
    assert loaded.settings == run.settings
    with pytest.raises(bptt.BpttError, match="rule 'lion' is not built in"):
        bptt.resume(tmp_path / "run", **own)


def test_a_study_on_two_workers(tmp_path: Path) -> None:
    """Cells as values of a grid: the same as one process finds, and again from the folder."""
    study = bptt.Study(
        base={"bits": 2, "hidden": 3, "iterations": 10, "engine": "reference", "optimizer": LION},
        grid={"cell": ["elman", MIXED, PLAIN]}, seeds=2,
    )  # fmt: skip
    alone = study.run().frame
    shared = study.run(tmp_path / "study", workers=2).frame
    assert sorted(alone["loss"]) == sorted(shared["loss"])
    assert set(shared["cell"]) == {"elman", str(MIXED), str(PLAIN)}
    assert len(study.run(tmp_path / "study", resume=True).frame) == len(shared)


def test_cases_are_equal_if_their_equations_are() -> None:
    case = case_of((MIXED, "tanh"), CASE | {"B": 1}, 0)
    again = pickle.loads(pickle.dumps(case.structure))
    assert again == case.structure
    assert hash(again) == hash(case.structure)
    assert replace(case, structure=again).structure.equations.parameters == MIXED.parameters
