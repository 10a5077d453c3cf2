"""The benchmark's own parts: the oracle, the check, the contenders at hand, fits of growth."""

import dataclasses
import importlib
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bptt.kernels.machine.library import COMPILER_OFF

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks is not part of the installed package

cases: Any = importlib.import_module("benchmarks.cases")
oracle: Any = importlib.import_module("benchmarks.oracle")
contender: Any = importlib.import_module("benchmarks.contender")
growth: Any = importlib.import_module("benchmarks.growth")

OUTPUTS = {"sigmoid": 1, "linear": 2, "softmax": 5}
NAMED = [case.name for case in cases.CASES]


def odd_case(cell: str, output: str, tokens: bool = False) -> Any:
    return dataclasses.replace(
        cases.ALL["lstm-gradient-128"],
        cell=cell,
        output=output,
        outputs=OUTPUTS[output],
        tokens=tokens,
        inputs=5 if tokens else 2,
        batch=3,
        steps=7,
        hidden=4,
        scale=0.5,
        dtype="float64",
    )


def loss(case: Any, w: Any, x: Any, y: Any) -> float:
    """The mean loss, from the oracle's forward step alone."""
    x = np.eye(case.inputs)[x] if case.tokens else x
    forward, _ = oracle.CELLS[case.cell]
    state = {name: np.zeros((case.batch, case.hidden)) for name in "hc"}
    total = 0.0
    for t in range(case.steps):
        state, _ = forward(w, x[:, t], state)
        o = state["h"] @ w["V"] + w["c"]
        if case.output == "sigmoid":
            total += float((np.logaddexp(0, o) - o * y[:, t]).sum())
        elif case.output == "linear":
            total += float(0.5 * ((o - y[:, t]) ** 2).sum())
        else:
            at_target = o[np.arange(case.batch), y[:, t]]
            total += float((np.log(np.exp(o).sum(axis=1)) - at_target).sum())
    return float(total / (case.batch * case.steps))


@pytest.mark.parametrize(
    ("cell", "output", "tokens"),
    [
        ("elman", "sigmoid", False),
        ("elman", "linear", False),
        ("lstm", "linear", False),
        ("lstm", "softmax", True),
        ("gru", "linear", False),
        ("gru", "softmax", True),
    ],
)
def test_oracle_gradients_are_central_differences(cell: str, output: str, tokens: bool) -> None:
    case = odd_case(cell, output, tokens)
    given = cases.problem(case, 1, seed=3)
    if output == "softmax":
        assert given.y.shape == (1, 1, case.batch, case.steps)
    w = {name: value[0] for name, value in given.weights.items()}
    x, y = given.x[0, 0], given.y[0, 0]
    claimed = oracle.gradients(case, w, x, y)
    step = 1e-6
    for name, value in w.items():
        for index in np.ndindex(value.shape):
            up, down = value.copy(), value.copy()
            up[index] += step
            down[index] -= step
            slope = (loss(case, w | {name: up}, x, y) - loss(case, w | {name: down}, x, y)) / 2
            # Central differences in float64 are good to about 1e-10 here.
            assert abs(slope / step - claimed[name][index]) < 1e-8, (name, index)


@pytest.mark.parametrize("name", NAMED)
def test_numpy_contender_agrees_with_the_oracle(name: str) -> None:
    module = contender.load("numpy_reports")
    assert contender.check(module, cases.ALL[name].short(), 1, {}) < 1e-4


@pytest.mark.parametrize("name", [name for name in NAMED if cases.ALL[name].models == 1])
def test_cases_are_well_conditioned(name: str) -> None:
    # Weights off by half a float32 ulp must not move the answer by a tenth of what the check
    # allows; otherwise it would refuse right contenders.
    case = cases.ALL[name] if cases.ALL[name].trains else cases.ALL[name].short()
    given = cases.problem(case, case.check, seed=1)
    given = dataclasses.replace(
        given, weights={key: value.astype("f8") for key, value in given.weights.items()}
    )
    random = np.random.default_rng(0)
    moved = {
        key: value * (1 + 3e-8 * random.choice([-1, 1], value.shape))
        for key, value in given.weights.items()
    }
    right = oracle.expected(case, given)
    near = oracle.expected(case, dataclasses.replace(given, weights=moved))
    if case.trains:
        near = {key: near[key] - moved[key] + given.weights[key] for key in near}
    error = contender.disagreement(case, given, near, right)
    assert error < contender.TOLERANCE["float32"] / 10


@pytest.mark.skipif(COMPILER_OFF, reason="would take a minute")
def test_the_c_floor_agrees_for_odd_sizes_and_every_form() -> None:
    floor = contender.load("c_floor")
    if floor.missing():
        pytest.skip(floor.missing())
    for hidden, steps, inputs in ((1, 1, 1), (5, 7, 3), (17, 9, 2)):
        case = dataclasses.replace(
            cases.ALL["elman-online-16"], hidden=hidden, steps=steps, inputs=2, scale=0.5
        )
        given = cases.problem(case, case.check, seed=1)
        if inputs != 2:
            x = np.random.default_rng(0).standard_normal((*given.x.shape[:-1], inputs))
            case = dataclasses.replace(case, inputs=inputs)
            weights = cases.problem(dataclasses.replace(case, output="linear"), 1).weights
            given = cases.Problem(weights, x.astype("f4"), given.y)
        right = oracle.expected(case, given)
        for form in floor.forms(case, 1):
            work = floor.prepare(case, given, 1, form)
            for _ in range(2):
                work.run()
                error = contender.disagreement(case, given, work.result(), right)
                assert error < 5e-4, (hidden, form)


@pytest.mark.parametrize("name", ["elman-online-3", "lstm-text-64", "gru-gradient-128"])
def test_the_check_refuses_what_is_slightly_wrong(name: str) -> None:
    module = contender.load("numpy_reports")

    class Wrong:
        LABEL = "wrong"

        @staticmethod
        def prepare(case: Any, given: Any, threads: int, form: Any) -> Any:
            weights = {key: value.copy() for key, value in given.weights.items()}
            weights["W"][0, 0, 0] += 0.05
            changed = dataclasses.replace(given, weights=weights)
            return module.prepare(case, changed, threads, form)

    with pytest.raises(contender.WrongResultError, match="allowed"):
        contender.check(Wrong, cases.ALL[name].short(), 1, {})


def test_disagreement_is_infinite_for_nan_and_wrong_shapes() -> None:
    case = cases.ALL["elman-online-3"].short()
    given = cases.problem(case, 2)
    right = oracle.expected(case, given)
    assert contender.disagreement(case, given, right, right) == 0
    for wrong in (right["U"] * np.nan, right["U"][0]):
        assert contender.disagreement(case, given, right | {"U": wrong}, right) == np.inf


def test_every_model_has_data_and_weights_of_its_own() -> None:
    case = cases.ALL["elman-128-models-8"].short()
    given = cases.problem(case, 3)
    assert len({value.tobytes() for value in given.weights["W"]}) == case.models
    assert len({value.tobytes() for value in given.x}) == case.models


def test_targets_of_the_adder_are_sums() -> None:
    given = cases.problem(cases.ALL["elman-online-3"], 50)
    powers = 2 ** np.arange(8)
    a, b = (given.x[0, :, 0, :, i] @ powers for i in range(2))
    np.testing.assert_array_equal(given.y[0, :, 0, :, 0] @ powers, (a + b) % 256)


def test_ours_agrees_with_the_oracle() -> None:
    module = contender.load("ours")
    for name in ("elman-online-3", "elman-128-models-3"):
        assert contender.check(module, cases.ALL[name].short(), 1, {}) < 1e-4


def test_one_thread_is_timed_by_the_processor_and_two_by_the_wall() -> None:
    class Nap:
        runs = 0

        def run(self) -> None:
            self.runs += 1
            time.sleep(0.05)

    nap = Nap()
    # Sleeping takes no processor time to speak of; half is a margin for anything else.
    assert max(contender.seconds(nap, 1, 3)) < 0.025
    assert min(contender.seconds(nap, 2, 3)) >= 0.05
    assert nap.runs == 8  # each with one run that is not counted


def test_slow_runs_are_repeated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))  # every look at the clock is 4 s later
    monkeypatch.setattr(contender, "clock", lambda threads: lambda: next(clock))
    assert contender.seconds(SimpleNamespace(run=lambda: None), 1, 11) == [4, 4, 4]


def test_the_fastest_form_is_reported_and_the_tried_ones_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = contender.load("numpy_reports")
    cost = {1: 3e-3, 2: 1e-3, 3: 2e-3}  # seconds of a run, of each form

    def seconds(prepared: Any, threads: int, repeats: int) -> list[float]:
        return [cost[prepared.way] * factor for factor in (1.0, 9.0, 1.1)][:repeats]

    def prepare(case: Any, given: Any, threads: int, form: Any) -> Any:
        made = module.prepare(case, given, threads, {})
        made.way = form["way"]
        return made

    fake = SimpleNamespace(
        LABEL="fake", prepare=prepare, forms=lambda case, threads: [{"way": n} for n in cost]
    )
    monkeypatch.setattr(contender, "seconds", seconds)
    monkeypatch.setattr(contender, "iterations_to_time", lambda case, once: 100)
    measuring = contender.measure(fake, cases.ALL["elman-online-3"], 1)
    lines = [next(measuring) for _ in range(6)]
    assert [line["trying"] for line in lines[::2]] == ["way 1", "way 2", "way 3"]
    last = lines[-1]
    assert last["form"] == "way 2"
    # The median of 1, 9 and 1.1 times a millisecond, over 100 iterations.
    assert last["seconds"] == pytest.approx(1.1e-5)
    assert last["slowest"] == pytest.approx(9e-5)
    assert list(last["forms"]) == ["way 1", "way 2", "way 3"]
    assert lines[1]["form"] == "way 1", "an answer is given as soon as there is one"
    # Then the fastest form is run again as often as somebody asks, for a quarter of a second.
    runs: list[int] = []
    for n, each in enumerate((5e-3, 2e-3, 4e-3), 1):

        def again(prepared: Any, threads: int, repeats: int, typical: float = each) -> list[float]:
            runs.append(repeats)
            return [typical, 0.0, 1.0]

        monkeypatch.setattr(contender, "seconds", again)
        assert next(measuring) == {}
        last = next(measuring)
        assert (last["form"], last["repeats"]) == ("way 2", n)
    assert runs == [round(contender.RUN_SECONDS / 1.1e-3)] * 3
    assert last["seconds"] == pytest.approx(4e-5)
    assert list(last["forms"]) == ["way 1", "way 2", "way 3"]


def test_a_call_that_costs_much_is_shared_by_many_iterations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = dataclasses.replace(cases.ALL["elman-1024-models-16"], check=5, most=10_000)
    monkeypatch.setattr(contender, "problem", lambda case, count: count)
    fake = SimpleNamespace(prepare=lambda case, count, threads, form: count)
    # A call takes 20 ms and an iteration 10 µs: 5 iterations seem to take 4 ms each, 62 a third of
    # a millisecond, 751 of them 37 µs.
    monkeypatch.setattr(contender, "seconds", lambda count, *_: [0.02 + 1e-5 * count] * 2)
    assert contender.enough(fake, case, 2, {}, 5) == (6824, 6824)
    # Calls that cost nothing: the first answer is right, and not asked for again.
    monkeypatch.setattr(contender, "seconds", lambda count, *_: [1e-4 * count] * 2)
    assert contender.enough(fake, case, 2, {}, 5) == (2500, 2500)


def point(kind: str, size: int, seconds: float, peak: float, arrays: float) -> dict[str, Any]:
    name = f"growth-{kind}-{size}"
    shared = {"kind": "growth", "case": name, "contender": "ours"}
    return shared | {"seconds": seconds, "peak": peak, "arrays": arrays}


def test_exponents_are_those_of_the_points() -> None:
    sizes = [2.0, 8.0, 32.0]
    assert growth.exponent(sizes, [5 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth.exponent([1.0], [1.0]) is None


def test_fits_leave_out_small_sizes_and_the_table_shows_them() -> None:
    lines = [
        point("steps", size, 1e-5 * size**1.2 + small, 5e4 * size + 1e9 * small, 4e4 * size)
        for size, small in ((16, 1.0), (64, 1.0), (256, 0), (1024, 0), (4096, 0))
    ]
    fitted = growth.fits(growth.of_kind([*lines[::-1], {"kind": "use", "case": "help"}], "steps"))
    assert fitted["time"] == pytest.approx(1.2)
    assert fitted["memory"] == pytest.approx(1.0)
    assert "| steps | exponent (arithmetic: 1) | 1.20 | 1.00 | | |" in growth.table(lines)
    assert growth.ratio(lines[0]) is None
    assert growth.ratio(lines[-1]) == pytest.approx(1.25)
    assert growth.fits(growth.of_kind(lines[:3], "steps"))["memory"] is None, "one is no line"


def test_growth_measures_the_peak_of_a_process() -> None:
    found = growth.memory(contender.load("numpy_reports"), cases.ALL["growth-steps-1024"], 1)
    # NumPy keeps at least the states and gates of 16 samples, 1,024 steps, 64 units, and not
    # many times as much.
    assert 0.8 * found["arrays"] < found["peak"] < 5 * found["arrays"]


def test_endurance_sees_memory_that_grows_with_the_iterations() -> None:
    kept: list[bytes] = []
    leaky = SimpleNamespace(
        forms=lambda case, threads: [{}],
        prepare=lambda *_: SimpleNamespace(run=lambda: kept.append(b"x" * (4 << 20))),
    )
    still = growth.endure(lambda: None, 200_000)
    grown = growth.endurance(leaky, growth.ENGINE_CASE, 200_000)
    assert still["iterations"] == grown["iterations"] == 200_000
    assert still["grown"] < 4 << 20
    # 18 of 20 calls come after the first tenth; one of them may be in memory that was free.
    assert grown["grown"] > 16 * (4 << 20)


@pytest.mark.skipif(COMPILER_OFF, reason="would take a minute")
def test_a_whole_training_goes_on_from_call_to_call() -> None:
    work = growth.training(40, at_once=20)
    work()
    work()
    with pytest.raises(StopIteration):
        work()
