"""The verdicts of experiments: measures and claims, on frames that must give each answer."""

import math

import numpy as np
import pandas as pd
import pytest

from bptt.errors import BpttError
from bptt.experiments import find
from bptt.experiments.declaration import Check, Line
from bptt.experiments.measures import (
    CONFIRMED,
    NOT_JUDGED,
    OPEN,
    REFUTED,
    Group,
    judge,
    measure,
    together,
    verdict,
)
from bptt.studies.statistics import Interval


def group(
    statuses: str, times: list[float] | None = None, judged: bool = True, **columns: object
) -> Group:
    """Runs as s(olved), n(ot solved) or d(iverged)."""
    words = {"s": "solved", "n": "not solved", "d": "diverged"}
    n = len(statuses)
    frame = pd.DataFrame(
        {
            "run": [f"r{k}" for k in range(n)],
            "setting": 0,
            "label": "x",
            "seed": range(n),
            "status": [words[each] for each in statuses],
            "iterations": 1000,
            "solved_at": pd.array(
                [
                    t if s == "s" else pd.NA
                    for s, t in zip(statuses, times or [500] * n, strict=True)
                ],
                dtype="Int64",
            ),
            "loss": 0.1,
            "wrong": 0.0,
            "right": pd.array([1] * n, dtype="Int64"),
            "total": pd.array([1] * n, dtype="Int64"),
            "seconds": 0.0,
        }
    ).assign(**columns)
    settings = find("text-lstm").settings("published rule/as published")
    return Group("x", frame, pd.DataFrame(), settings, judged)


@pytest.mark.parametrize(
    ("low", "value", "high", "by", "wanted"),
    [
        (0.6, 0.7, 0.8, "interval", CONFIRMED),
        (0.5, 0.7, 0.8, "interval", CONFIRMED),  # the claim's end belongs to it
        (0.4, 0.7, 0.8, "interval", OPEN),
        (0.2, 0.3, 0.4, "interval", REFUTED),
        (0.85, 0.95, 1.0, "interval", OPEN),
        (0.95, 0.97, 1.0, "interval", REFUTED),
        (0.4, 0.7, 0.99, "value", CONFIRMED),
        (0.4, 0.49, 0.99, "value", REFUTED),
        (math.nan, math.nan, math.nan, "interval", OPEN),
        (math.nan, math.nan, math.nan, "value", OPEN),
    ],
)
def test_verdict(low: float, value: float, high: float, by: str, wanted: str) -> None:
    check = Check(measure="share", at="a/b", at_least=0.5, at_most=0.9, by=by)
    assert verdict(check, Interval(*np.array([value, low, high]))) == wanted


def test_verdicts_together() -> None:
    assert together([CONFIRMED, CONFIRMED]) == CONFIRMED
    assert together([CONFIRMED, OPEN]) == OPEN
    assert together([OPEN, REFUTED, CONFIRMED]) == REFUTED
    assert together([REFUTED, NOT_JUDGED]) == NOT_JUDGED


@pytest.mark.parametrize(
    ("statuses", "of", "wanted"),
    [
        ("s" * 90 + "n" * 10, "solved", CONFIRMED),
        ("s" * 52 + "n" * 48, "solved", OPEN),
        ("s" * 10 + "d" * 90, "solved", REFUTED),
        ("s" * 10 + "d" * 90, "diverged", CONFIRMED),
    ],
)
def test_share_of_runs(statuses: str, of: str, wanted: str) -> None:
    check = Check(measure="share", of=of, at="a/b", at_least=0.5)
    found = measure(check, {"a/b": group(statuses)})
    assert found.verdict == wanted
    assert found.value == statuses.count(of[0]) / len(statuses)
    assert f"{statuses.count(of[0])} of {len(statuses)}" in found.words


def test_share_of_a_number_below_a_limit() -> None:
    runs = group("ssss", loss=[0.5, 0.01, math.nan, 0.2])
    check = Check(measure="share", of="loss", below=0.3, at="a/b", at_least=0.4, by="value")
    found = measure(check, {"a/b": runs})
    assert found.value == 0.5
    assert found.verdict == CONFIRMED


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("s" * 90 + "n" * 10, "s" * 20 + "n" * 80, CONFIRMED),
        ("s" * 20 + "n" * 80, "s" * 90 + "n" * 10, REFUTED),
        ("s" * 52 + "n" * 48, "s" * 50 + "n" * 50, OPEN),
    ],
)
def test_difference_of_shares(first: str, second: str, wanted: str) -> None:
    check = Check(measure="share difference", at="a/b", than="a/c", at_least=0)
    found = measure(check, {"a/b": group(first), "a/c": group(second)})
    assert found.verdict == wanted


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([100 + k for k in range(50)], [500 + k for k in range(50)], CONFIRMED),
        ([500 + k for k in range(50)], [100 + k for k in range(50)], REFUTED),
        ([100 + 8 * k for k in range(50)], [101 + 8 * k for k in range(50)], OPEN),
        ([100 + k for k in range(50)], None, CONFIRMED),  # the second's median is not reached
        (None, [100 + k for k in range(50)], REFUTED),
        (None, None, OPEN),
    ],
)
def test_difference_of_iterations(
    first: list[float] | None, second: list[float] | None, wanted: str
) -> None:
    a, b = (group("n" * 50) if each is None else group("s" * 50, each) for each in (first, second))
    check = Check(measure="iterations difference", at="a/b", than="a/c", at_most=0)
    found = measure(check, {"a/b": a, "a/c": b})
    assert found.verdict == wanted
    assert "nan" not in found.words


def test_mean_spread_iterations_and_earliest() -> None:
    runs = group("sss", [100, 300, 200], wrong=[0.0, 0.25, 0.5])
    groups = {"a/b": runs}
    mean = measure(Check(measure="mean", of="bits right", at="a/b", at_least=0), groups)
    steps = runs.settings.task.steps
    assert mean.value == pytest.approx(0.75 * steps)
    assert mean.low < mean.value < mean.high
    spread = measure(Check(measure="spread", at="a/b", at_least=200, by="value"), groups)
    assert (spread.value, spread.verdict) == (200, CONFIRMED)
    median = measure(Check(measure="iterations", at="a/b", at_most=200, by="value"), groups)
    assert (median.value, median.verdict) == (200, CONFIRMED)
    earliest = measure(Check(measure="earliest", at="a/b", at_least=0), groups)
    loss = 40 * math.log(runs.settings.structure.outputs)
    k = int(earliest.value)
    assert loss * 0.999**k < 0.1 <= loss * 0.999 ** (k - 1)


def test_runs_cut_short_are_not_judged() -> None:
    line = Line(what="w", published="p", where="f",
                checks=[Check(measure="share", at="a/b", at_least=0.1)])  # fmt: skip
    assert judge(line, {"a/b": group("ssss")})[0] == CONFIRMED
    assert judge(line, {"a/b": group("ssss", judged=False)})[0] == NOT_JUDGED


def test_an_unknown_value_is_one_line() -> None:
    check = Check(measure="share", of="speed", at="a/b", at_least=0)
    with pytest.raises(BpttError, match="'speed' is not known: choose one of 'solved'"):
        measure(check, {"a/b": group("s")})
