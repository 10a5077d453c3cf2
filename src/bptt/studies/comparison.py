"""Two settings of a study compared: differences with intervals, and the same in words."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from bptt.errors import BpttError
from bptt.floats import usual
from bptt.studies import scores
from bptt.studies.answers import share_of, summary
from bptt.studies.statistics import Interval, difference
from bptt.studies.words import median_interval, name_of


@dataclass(frozen=True)
class Comparison:
    """Two settings side by side; differences are first - second, shares between 0 and 1.

    solved, diverged: difference of the shares. sooner: difference of the median iterations to
    solve, NaN unless both medians are reached. sentences: the same in words.
    """

    first: dict[str, Any]
    second: dict[str, Any]
    solved: Interval
    diverged: Interval
    sooner: Interval
    sentences: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; intervals as estimate, low, high."""
        values = asdict(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Interval):
                values[field.name] = {k: float(v) for k, v in value._asdict().items()}
        return values

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def find_setting(table: pd.DataFrame, wanted: str | int) -> Any:
    """The row of a summary with that number or label, or whose fields include the given ones.

    `wanted` is '3', a label as it is printed, or a part of one that only one setting has:
    'hidden=8'. Raises BpttError if there is none, or more than one.
    """
    text = str(wanted).strip()
    parts = {part.strip() for part in text.split(",") if part.strip()}
    if text.removeprefix("#").isdigit():
        found = table[table["setting"] == int(text.removeprefix("#"))]
    else:
        names = [(str(row["label"]), name_of(row)) for _, row in table.iterrows()]
        found = table[[text in both for both in names]]
        if found.empty and parts:
            found = table[[any(parts <= set(n.split(", ")) for n in both) for both in names]]
    if len(found) != 1:
        many = f"is any of {len(found)} settings" if len(found) else "is not known"
        raise BpttError(
            f"setting '{text}' {many}: give one number of {table['setting'].min()} to "
            f"{table['setting'].max()}, or a label as the report shows it"
        )
    return found.iloc[0]


@usual
def compare(
    frame: pd.DataFrame, first: str | int, second: str | int
) -> Comparison | scores.Difference:
    """Two settings of a study, by number or label, compared as independent samples of seeds; of a
    study over data fold by fold and seed by seed, see `bptt.studies.scores`."""
    scored = scores.is_scored(frame)
    table = scores.summary(frame) if scored else summary(frame)
    a, b = find_setting(table, first), find_setting(table, second)
    if a["setting"] == b["setting"]:
        raise BpttError(f"'{first}' and '{second}' are one setting: give two")
    if scored:
        return scores.compare(frame, a, b)
    solved = difference(share_of(a), share_of(b))
    diverged = difference(share_of(a, "diverged"), share_of(b, "diverged"))
    sooner = difference(
        *(Interval(row["median"], row["median_low"], row["median_high"]) for row in (a, b))
    )
    if not math.isfinite(sooner.estimate):
        sooner = Interval(*np.full(3, math.nan))
    sentences = [
        _share_sentence(a, b, solved, "solved", "solves the task"),
        _share_sentence(a, b, diverged, "diverged", "diverges"),
        _time_sentence(a, b, sooner),
    ]
    return Comparison(a.to_dict(), b.to_dict(), solved, diverged, sooner, sentences)


def _share_sentence(a: Any, b: Any, apart: Interval, status: str, verb: str) -> str:
    """How often each of two settings does something."""
    if a[status] == b[status] == 0:
        word = "solved the task" if status == "solved" else "diverged"
        return f"No run of either {word}."
    if apart.low <= 0 <= apart.high:
        start = f"No difference in the share {status} can be told"
        x, y = a, b
    else:
        x, y = (a, b) if apart.estimate > 0 else (b, a)
        start = f"{name_of(x)} {verb} more often"
    sign = 1 if x is a else -1
    low, high = sorted((sign * apart.low, sign * apart.high))
    seeds = f"{x[status]:,} of {x['runs']:,} runs against {y[status]:,} of {y['runs']:,}"
    points = _signed(100 * sign * apart.estimate)
    return f"{start}: {seeds}, {points} points [{_signed(100 * low)}, {_signed(100 * high)}]."


def _time_sentence(a: Any, b: Any, apart: Interval) -> str:
    """How soon each of two settings solves the task."""
    reached = [row for row in (a, b) if not math.isinf(row["median"])]
    if not reached:
        return "Neither solves the task in half of its runs, so no median time can be compared."
    if len(reached) == 1:
        row = reached[0]
        return (
            f"{name_of(row)} has solved the task in half of its runs after {median_interval(row)} "
            f"iterations; {name_of(b if row is a else a)} does not in half of its runs."
        )
    if apart.low <= 0 <= apart.high:
        return (
            "No difference in the median iterations to solve can be told: "
            f"{median_interval(a)} against {median_interval(b)}, {_change(apart)}."
        )
    x, y = (a, b) if apart.estimate < 0 else (b, a)
    apart = apart if x is a else Interval(-apart.estimate, -apart.high, -apart.low)
    return (
        f"{name_of(x)} solves it sooner: half of its runs have after {median_interval(x)} "
        f"iterations, against {median_interval(y)}, {_change(apart)}."
    )


def _change(apart: Interval) -> str:
    """'-800 [-1,000, -500]'; an end that is not known is left open."""
    ends = ["–" if math.isinf(end) else _signed(end) for end in apart[1:]]
    return f"{_signed(apart.estimate)} [{ends[0]}, {ends[1]}]"


def _signed(number: Any) -> str:
    """A number with its sign, to the unit; below that to a tenth, so that it is not taken for 0."""
    value = float(number)
    text = f"{value:+,.0f}" if abs(value) >= 0.95 else f"{value:+.1f}"
    return "0" if value == 0 else text.replace("-", "−")
