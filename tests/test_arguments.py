"""Every public callable takes what it is made for, and answers anything else in one line.

The callables are found by a walk over `bptt.__all__` and the methods of what these give. One
argument of a call that works is replaced by nonsense: the call works, or raises BpttError, which
names the argument or the value. The tables below hold reports from outside, one of a kind.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from fuzz_inputs import NONSENSE
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import bptt
from bptt.arguments import shown
from bptt.equations.cells import CELLS
from bptt.equations.outputs import OUTPUTS

STRUCTURE = bptt.Structure(inputs=2, outputs=1, hidden=3)
X, Y = np.zeros((4, 5, 2)), np.zeros((4, 5, 1))


def network(**options: Any) -> bptt.Network:
    options = {"inputs": 2, "outputs": 1, "hidden": 3, "engine": "reference", **options}
    return bptt.Network(**options)


def text_network(**options: Any) -> bptt.Network:
    return network(inputs=5, outputs=5, output="softmax", **options)


def addition(**options: Any) -> bptt.Addition:
    return bptt.Addition(**{"bits": 4, **options})


def text(**options: Any) -> bptt.Text:
    return bptt.Text(**{"text": "to be", "window": 2, **options})


@cache
def run() -> bptt.Run:
    return bptt.train(addition(bits=2), hidden=2, iterations=2, record_every=1, engine="reference")


# What a call is given that works, by the name of the argument.
USUAL: dict[str, Callable[[], Any]] = {
    "structure": lambda: STRUCTURE, "network": network, "task": addition,
    "x": lambda: X, "y": lambda: Y, "inputs": lambda: False, "name": lambda: "U",
    "loss": lambda: lambda p: float((p["w"] ** 2).sum()), "parameters": lambda: {"w": np.ones(2)},
    "gradients": lambda: {"w": 2 * np.ones(2)}, "pairs": lambda: [(3, 6)],
    "first": lambda: 0, "count": lambda: 3, "iterations": lambda: np.arange(3),
    "bits": lambda: 4, "seed": lambda: 0, "batch": lambda: 1, "dtype": lambda: "float32",
    "text": lambda: "to be", "ids": lambda: [0, 1], "start": lambda: "t", "length": lambda: 2,
    "lengths": lambda: None, "rng": lambda: np.random.default_rng(0), "a": lambda: 3,
    "b": lambda: 4,
    "operands": lambda: np.zeros((2, 2, 1), np.uint32), "multiples": lambda: [2],
    "loss_per_step": lambda: 0.5, "word": lambda: [0, 3], "path": lambda: "none",
    "folder": lambda: "none",
    "run": lambda: "none", "written": lambda: "o be", "fields": lambda: {"bits": 3},
    "outputs": lambda: 1, "cell": lambda: CELLS["lstm", "tanh"],
    "output": lambda: OUTPUTS["sigmoid", "squared"], "letter": lambda: "U", "recurrence": lambda: 0,
}  # fmt: skip
# Of those whose arguments have other meanings than above, and what needs files or a long time.
OWN: dict[str, dict[str, Callable[[], Any]]] = {
    "Network": {"inputs": lambda: 2}, "Structure": {"inputs": lambda: 2},
    "Text.fit": {"structure": lambda: text_network().structure},
    "Text.from_config": {"fields": lambda: {"text": "to be", "window": 2}},
    "Text.test": {"network": text_network}, "Text.show": {"network": text_network},
    "Text.report": {"network": text_network}, "Schedule.factors": {},
    "Text.decode": {}, "Addition.decode": {"bits": lambda: [[1, 0, 1]]},
    "length_generalisation": {"lengths": lambda: [4]},
    "write": {"network": text_network, "task": text},
    "Text.told": {"network": text_network}, "fit": {"data": lambda: None},
    "train": {"iterations": lambda: 2, "engine": lambda: "reference"},
    "Automaton": {
        "claim": lambda: "copies", "symbols": lambda: ["0", "1"], "inputs": lambda: [[0], [1]],
        "after": lambda: [[0, 0]], "answers": lambda: [[[0], [1]]],
    },
}  # fmt: skip


def found() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every public callable, by name: made anew for each call."""
    makers: dict[str, Callable[[], Any]] = {
        "Network": network, "Addition": addition, "Text": text, "Run": run,
        "Optimizer": bptt.Optimizer, "Schedule": bptt.Schedule, "Structure": lambda: STRUCTURE,
    }  # fmt: skip
    for name in bptt.__all__:
        if callable(getattr(bptt, name)):
            yield name, lambda name=name: getattr(bptt, name)
    for kind, make in makers.items():
        for method in dir(make()):
            if not method.startswith("_") and inspect.ismethod(getattr(make(), method)):
                yield f"{kind}.{method}", lambda make=make, method=method: getattr(make(), method)


# What is made by the package alone, or answers that there is nothing of the kind; equations, which
# tests/test_own_equations.py spoils; and the doors for users' data and other programs' files, whose
# own arguments are tested where they are.
NOT_CALLED = (
    "BpttError", "Run", "Verdict", "Task", "Addition.samples", "Text.samples", "Text.longer",
    "Cell", "Output", "Rule", "Parameter", "Sequences", "export", "from_torch", "Model", "Proof",
    "Page", "RNNClassifier", "RNNForecaster", "RNNRegressor", "RNNTagger",
)  # fmt: skip
CALLABLES = {name: made for name, made in found() if name not in NOT_CALLED}


def answer(name: str, replaced: dict[str, Any]) -> BaseException | None:
    """What a call raises with these arguments, all others being as usual."""
    function = CALLABLES[name]()
    signature = inspect.signature(function)
    own = {**USUAL, **OWN.get(name, {})}
    arguments = {
        parameter.name: own[parameter.name]()
        for parameter in signature.parameters.values()
        if parameter.name in own
        and (parameter.default is parameter.empty or parameter.name in OWN.get(name, {}))
    }
    try:
        with np.errstate(all="ignore"):
            function(**{**arguments, **replaced})
    except BaseException as error:
        return error
    return None


def names_of(name: str) -> list[str]:
    """The arguments of a callable that can be given by name."""
    parameters = inspect.signature(CALLABLES[name]()).parameters.values()
    return [
        each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]


@pytest.mark.parametrize("name", [name for name in CALLABLES if names_of(name)])
def test_nonsense_is_answered_in_one_line(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(names_of(name)), st.sampled_from(NONSENSE))
    def check(argument: str, value: Any) -> None:
        assume(not (argument in ("loss", "gate_of") and callable(value)))  # then it is called
        error = answer(name, {argument: value})
        assert error is None or isinstance(error, bptt.BpttError), (argument, value, repr(error))
        assert "\n" not in str(error)

    check()


# Reports from outside: what is called, and what the answer names.
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "engine None": (lambda: network(engine=None), "engine None"),
    "seed below 0": (lambda: network(seed=-1), "seed -1"),
    "seed 1.5": (lambda: network(seed=1.5), "seed 1.5"),
    "initializers as a text": (lambda: network(initializers="normal"), "initializers 'normal'"),
    "an initializer as a number": (lambda: network(initializers={"W": 0.1}), "'W' 0.1"),
    "ragged x": (lambda: network().predict([[[1, 2]], [[1]]]), "x "),
    "ragged y": (lambda: network().loss(X, [[1], [1, 2]]), "y "),
    "ragged lengths": (lambda: network().predict(X, lengths=[[1], [1, 2]]), "lengths "),
    "ragged state": (lambda: network().predict(X, state=[[1], [1, 2]]), "state "),
    "lengths that are no integers": (
        lambda: network().predict(X, lengths=[1.0, 2.0, 3.0, 4.0]), "lengths has type float64",
    ),
    "theta of one number": (
        lambda: setattr(network(), "theta", np.ones(1)), "theta has shape (1,)",
    ),
    "theta made smaller": (lambda: smaller_theta().predict(X), "theta has shape (5,)"),
    "structure as a text": (lambda: bptt.Structure(inputs="2", outputs=1), "inputs '2'"),
    "learning rate as a text": (lambda: bptt.Optimizer(learning_rate="x"), "learning_rate 'x'"),
    "epsilon 0": (lambda: check(epsilon=0), "epsilon 0"),
    "epsilon below 0": (lambda: check(epsilon=-1e-5), "epsilon -1e-05"),
    "epsilon nan": (lambda: check(epsilon=math.nan), "epsilon nan"),
    "relative 0": (lambda: check(relative=0), "relative 0"),
    "relative nan": (lambda: check(relative=math.nan), "relative nan"),
    "relative inf": (lambda: check(relative=math.inf), "relative inf"),
    "entries 1.5": (lambda: check(entries=1.5), "entries 1.5"),
    "seed of a check": (lambda: check(seed=-1), "seed -1"),
    "a gradient too many": (
        lambda: bptt.check_gradients(lambda p: 0.0, {"w": np.ones(2)}, {"w": np.ones(2), "v": 1}),
        "no parameter 'v'",
    ),
    "signed as a text": (lambda: addition(signed="no"), "signed 'no' must be True or False"),
    "three numbers of a sum": (lambda: addition().encode([(1, 2, 3)]), "(1, 2, 3) is no pair"),
    "four numbers of a sum": (lambda: addition().encode([(1, 2, 3, 4)]), "(1, 2, 3, 4) is no pair"),
    "a pair that is no list": (lambda: addition().encode((3, 6)), "pairs (3, 6) must be"),
    "probabilities for bits": (lambda: addition().decode([[0.4, 0.96]]), "0.4 is no bit"),
    "a bit of -1": (lambda: addition().decode([[1, -1]]), "-1 is no bit"),
    "a bit of 300": (lambda: addition().decode([[1, 300]]), "300 is no bit"),
    "a bit that is nan": (lambda: addition().decode([[1, math.nan]]), "nan is no bit"),
    "a text of bytes": (lambda: bptt.Text(text=b"to be", window=2), "text "),
    "an id of 1.7": (lambda: text().decode([1.7]), "float64"),
    "temperature as a text": (lambda: written(temperature="1"), "temperature '1'"),
    "a length of 2.5": (lambda: written(length=2.5), "length 2.5"),
    "a task's name": (lambda: bptt.train("addition"), "'addition'"),
    "a task's class": (lambda: bptt.train(bptt.Addition), "Addition"),
    "no task": (lambda: bptt.train(None), "None"),
    "no file": (lambda: bptt.load(None), "None"),
    "a name with NUL": (lambda: run().save("a\0b"), "'a\\x00b'"),
    "softmax and the last step in addition": (
        lambda: bptt.evaluate(
            network(outputs=3, output="softmax", readout="last"), addition(bits=2)
        ),
        "outputs 3 does not fit the task",
    ),
}  # fmt: skip


def written(**options: Any) -> Any:
    return bptt.write(text_network(), text(), "t", **{"length": 2, **options})


def check(**options: Any) -> Any:
    return bptt.check_network(network(dtype="float64"), X, Y, **options)


def smaller_theta() -> bptt.Network:
    made = network(engine="compiled")
    made.theta.resize(5, refcheck=False)
    return made


@pytest.mark.parametrize("report", WRONG)
def test_reports_from_outside(report: str) -> None:
    call, words = WRONG[report]
    with pytest.raises(bptt.BpttError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_are_those_that_python_users_expect() -> None:
    with pytest.raises(TypeError):
        bptt.Structure(inputs="2", outputs=1)
    with pytest.raises(ValueError, match="inputs 0"):
        bptt.Structure(inputs=0, outputs=1)


def test_numpy_numbers_are_numbers() -> None:
    made = bptt.Structure(inputs=np.int64(2), outputs=1, bias=np.bool_(True))
    assert type(made.inputs) is int
    assert type(made.bias) is bool
    assert type(bptt.Optimizer(learning_rate=np.float32(0.5)).learning_rate) is float


def test_values_are_shown_on_one_short_line() -> None:
    assert shown(np.zeros((50, 50))).count("\n") == 0
    assert len(shown("x" * 1000)) <= 60


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_padding_may_hold_anything(engine: str) -> None:
    """Classes and one-hot inputs of -1 and -100, as half the field pads, and NaN; the numbers are
    those of padding by zeros."""
    made = text_network(engine=engine)
    lengths = np.array([1, 3, 0])
    ended = np.arange(4) >= lengths[:, None]
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 3, 4))
    expected = made.gradient(np.where(ended, 0, x), np.where(ended, 0, y), lengths)
    for padding in (-1, -100, 99):
        found = made.gradient(np.where(ended, padding, x), np.where(ended, padding, y), lengths)
        assert found.loss == expected.loss
        np.testing.assert_array_equal(found.flat, expected.flat)
        with pytest.raises(bptt.BpttError, match=f"one-hot input {padding}"):
            made.gradient(np.where(ended, padding, x), np.where(ended, padding, y))
        with pytest.raises(bptt.BpttError, match=f"class {padding}"):
            made.gradient(x, np.where(ended, padding, y))
    values = network(engine=engine)
    x, y = rng.normal(size=(3, 4, 2)), rng.uniform(size=(3, 4, 1))
    x[ended], y[ended] = np.nan, np.nan
    assert math.isfinite(values.loss(x, y, lengths))
    assert np.isfinite(values.gradient(x, y, lengths).flat).all()
