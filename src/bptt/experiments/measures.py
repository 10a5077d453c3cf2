"""What was measured, with an interval, and what that says of a claim.

A run's values are columns of a study's results or follow from them (VALUES); a measure takes them
over the seeds of a setting. Intervals are 95 %: Student's of a mean, the others as in
`bptt.studies.statistics`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bptt.errors import BpttError, quoted_list
from bptt.experiments.declaration import Check, Line
from bptt.studies.answers import summary
from bptt.studies.statistics import CONFIDENCE, Interval, difference, wilson
from bptt.studies.words import median_interval, percent_interval
from bptt.training.records import SMOOTHING
from bptt.training.settings import Settings
from bptt.training.training import Training

CONFIRMED, REFUTED, OPEN = "confirmed", "refuted", "open"
NOT_JUDGED = "not judged"

Value = Callable[[pd.DataFrame, Settings], Any]

# What of a run, by name; booleans are for shares, numbers for shares below a limit and means.
VALUES: dict[str, Value] = {
    "solved": lambda frame, _: frame["status"] == "solved",
    "diverged": lambda frame, _: frame["status"] == "diverged",
    "passed": lambda frame, _: (frame["right"] == frame["total"]).fillna(False).astype(bool),
    "all right": lambda frame, _: frame["wrong"] == 0,
    "bits right": lambda frame, settings: (1 - frame["wrong"]) * settings.task.steps,
    "loss": lambda frame, _: frame["loss"],
    "exact at 64 times the length": lambda frame, _: frame["exact_64x"] == 1,
}
# What is said of such a run in a legend.
WORDS = {"solved": "solves the task", "passed": "passes the final test"}


@dataclass(frozen=True)
class Group:
    """The runs of one setting: rows, learning curves, and the settings they share.

    judged: whether they were trained as long as declared, so that a claim can be judged by them.
    """

    name: str
    frame: pd.DataFrame
    curves: pd.DataFrame
    settings: Settings
    judged: bool = True


@dataclass(frozen=True)
class Measured:
    """A number with its interval, the claim's verdict, and the same in words."""

    value: float
    low: float
    high: float
    verdict: str
    words: str


def verdict(check: Check, found: Interval) -> str:
    """What an estimate with an interval says of at_least <= number <= at_most.

    By interval: confirmed if the whole interval lies inside, refuted if the whole lies outside,
    else open. By value: confirmed or refuted. NaN leaves it open.

    >>> check = Check(measure="share", at="panel/a", at_least=0.5)
    >>> verdict(check, Interval(0.9, 0.8, 0.95)), verdict(check, Interval(0.6, 0.4, 0.8))
    ('confirmed', 'open')
    """
    least = -math.inf if check.at_least is None else check.at_least
    most = math.inf if check.at_most is None else check.at_most
    value, low, high = (float(each) for each in found)
    if check.by == "value":
        low = high = value
    if math.isnan(low) or math.isnan(high):
        return OPEN  # nothing was measured
    if least <= low and high <= most:
        return CONFIRMED
    return REFUTED if high < least or low > most else OPEN


def together(verdicts: Sequence[str]) -> str:
    """Of several checks: refuted if any is, confirmed if all are, else open."""
    if NOT_JUDGED in verdicts:
        return NOT_JUDGED
    if REFUTED in verdicts:
        return REFUTED
    return CONFIRMED if set(verdicts) == {CONFIRMED} else OPEN


def measure(check: Check, groups: dict[str, Group]) -> Measured:
    """One check against the results. Raises BpttError for an unknown value."""
    group, other = groups[check.at], groups.get(check.than)
    found, words = _MEASURES[check.measure](check, group, other)
    judged = group.judged and (other is None or other.judged)
    said = verdict(check, found) if judged else NOT_JUDGED
    value, low, high = (float(each) for each in found)
    return Measured(value, low, high, said, words)


def judge(line: Line, groups: dict[str, Group]) -> tuple[str, list[Measured]]:
    """A published line: its verdict and its measurements."""
    found = [measure(check, groups) for check in line.checks]
    return together([each.verdict for each in found]), found


def values_of(name: str, group: Group) -> Any:
    """A value of each run. Raises BpttError for an unknown one."""
    if name not in VALUES:
        raise BpttError(f"value '{name}' is not known: choose one of {quoted_list(VALUES)}")
    return VALUES[name](group.frame, group.settings)


Found = tuple[Interval, str]


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(*np.array([value, low, high]))


NOTHING_KNOWN = (math.nan, -math.inf, math.inf)


def _counted(check: Check, group: Group) -> tuple[int, int]:
    """In how many runs of how many it is so, or the number is below the limit."""
    values = values_of(check.of, group)
    hits = values if check.below is None else values < check.below
    return int(hits.sum()), len(hits)


def _share(check: Check, group: Group, other: Group | None) -> Found:
    count, total = _counted(check, group)
    found = wilson(count, total)
    return found, f"{count} of {total}, {percent_interval(found)}"


def _mean(check: Check, group: Group, other: Group | None) -> Found:
    from scipy.special import stdtrit

    values = np.asarray(values_of(check.of, group), np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return _interval(*NOTHING_KNOWN), "no finite run"
    mean, half = float(values.mean()), math.inf
    if values.size > 1:
        student = float(stdtrit(values.size - 1, (1 + CONFIDENCE) / 2))
        half = student * float(values.std(ddof=1)) / math.sqrt(values.size)
    ends = f" [{mean - half:.3f}, {mean + half:.3f}]" if math.isfinite(half) else ""
    words = f"mean {mean:.3f}{ends}, lowest {values.min():.3f}, over {values.size}"
    return _interval(mean, mean - half, mean + half), words


def _spread(check: Check, group: Group, other: Group | None) -> Found:
    """From the first to the last iteration at which a run has solved the task."""
    times = group.frame["solved_at"].dropna().astype("float64")
    if times.empty:
        return _interval(*NOTHING_KNOWN), "no run has solved it"
    words = f"{times.min():,.0f} to {times.max():,.0f} iterations, {len(times)} runs"
    return _interval(*(times.max() - times.min(),) * 3), words


def _median_iterations(group: Group) -> Interval:
    row = summary(group.frame).iloc[0]
    return Interval(row["median"], row["median_low"], row["median_high"])


def _iterations(check: Check, group: Group, other: Group | None) -> Found:
    found = _median_iterations(group)
    solved = int((group.frame["status"] == "solved").sum())
    words = f"median {_times(found)} iterations, {solved} of {len(group.frame)} solved"
    return found, words


def _earliest(check: Check, group: Group, other: Group | None) -> Found:
    """The first iteration at which the smoothed loss could be below its limit, were every loss 0:
    start * SMOOTHING^k < limit."""
    target = group.settings.stop.smooth_loss
    if target is None:
        raise BpttError(
            f"setting '{group.name}' has no smooth_loss to stop at: 'earliest' needs it"
        )
    start = Training(group.settings).smooth_loss
    first = math.floor(math.log(target / start) / math.log(SMOOTHING)) + 1
    words = f"{start:.1f} × {SMOOTHING}^k is below {target:g} from k = {first:,} on"
    return _interval(*(float(max(first, 0)),) * 3), words


def _share_difference(check: Check, group: Group, other: Group | None) -> Found:
    assert other is not None
    (a, n), (b, m) = _counted(check, group), _counted(check, other)
    found = difference(wilson(a, n), wilson(b, m))
    points = [f"{100 * float(each):+.0f}" for each in found]
    return found, f"{a} of {n} against {b} of {m}: {points[0]} points [{points[1]}, {points[2]}]"


def _iterations_difference(check: Check, group: Group, other: Group | None) -> Found:
    """Difference of the medians. Where a median is not reached the difference is infinite, and
    certain only if the intervals do not overlap."""
    assert other is not None
    a, b = _median_iterations(group), _median_iterations(other)
    words = f"median {_times(a)} against {_times(b)} iterations"
    if math.isfinite(a.estimate) and math.isfinite(b.estimate):
        found = difference(a, b)
        if math.isnan(float(found.low)) or math.isnan(float(found.high)):
            found = _apart(a, b)
        return found, words
    return _apart(a, b), words


def _apart(a: Interval, b: Interval) -> Interval:
    """The sign of a - b, where a median or its interval has no end."""
    if a.high < b.low:
        return _interval(-math.inf, -math.inf, float(a.high - b.low))
    if b.high < a.low:
        return _interval(math.inf, float(a.low - b.high), math.inf)
    return _interval(*NOTHING_KNOWN)


_MEASURES: dict[str, Callable[[Check, Group, Group | None], Found]] = {
    "share": _share,
    "mean": _mean,
    "iterations": _iterations,
    "spread": _spread,
    "earliest": _earliest,
    "share difference": _share_difference,
    "iterations difference": _iterations_difference,
}


def _times(found: Interval) -> str:
    names = ("median", "median_low", "median_high")
    return median_interval(dict(zip(names, map(float, found), strict=True)))
