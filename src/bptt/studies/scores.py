"""What a study over data says: the mean score of each setting, and of pairs the difference.

Scores of folds are not independent: any two trainings have most of their data in common, and the
usual variance of a mean, S² / J, is far too small. With J scores or differences d_j, K folds and
one parting of the data a seed:

    mean   m  = sum_j d_j / J
    S²        = sum_j (d_j - m)² / (J - 1)
    interval  = m ± t sqrt((1 / J + 1 / (K - 1)) S²)         t: Student's, J - 1 degrees of freedom

1 / (K - 1) is n_test / n_train. Scores are paired: the same fold of the same seed has the same data
for all settings. With test data of their own (K = 1) there is no such term, and the interval is of
other trainings on the same data, not of other data.

Source: C. Nadeau and Y. Bengio 2003, Machine Learning 52:239-281, section 5 (the corrected
resampled t-test); R. R. Bouckaert and E. Frank 2004, PAKDD, LNCS 3056:3-12 (for repeated folds).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from bptt.errors import BpttError
from bptt.fitting.judging import WORDS
from bptt.floats import usual
from bptt.studies.answers import check_any
from bptt.studies.statistics import CONFIDENCE, Interval
from bptt.studies.trial import SCORED
from bptt.studies.words import name_of

# Every column of the results that is not a varied field.
COLUMNS = ("run", "panel", "setting", "label", "fold", "folds", "seed", *SCORED)


def is_scored(frame: pd.DataFrame) -> bool:
    """Whether the results are of a study over data."""
    return "measure" in frame


def varied_fields(frame: pd.DataFrame) -> list[str]:
    """The columns of the results that hold varied fields."""
    return [name for name in map(str, frame) if name not in COLUMNS]


@usual
def corrected(values: ArrayLike, folds: int, confidence: float = CONFIDENCE) -> Interval:
    """The mean of scores, or of paired differences, with its interval: see the head of this file.
    Missing ones (NaN) are left out; fewer than two have no interval (NaN)."""
    d = np.asarray(values, np.float64)
    d = d[~np.isnan(d)]
    if d.size < 2:
        mean = float(d[0]) if d.size else math.nan
        return Interval(*np.array([mean, math.nan, math.nan]))
    share = 1 / (folds - 1) if folds > 1 else 0.0
    half = stdtrit(d.size - 1, (1 + confidence) / 2) * math.sqrt(
        (1 / d.size + share) * d.var(ddof=1)
    )
    return Interval(*(d.mean() + np.array([0.0, -half, half])))


def better_is_more(measure: str) -> bool:
    """Whether a larger score is a better one."""
    return measure == "accuracy"


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, in order of their numbers.

    setting, label, the varied fields; runs, diverged; measure; score, score_low, score_high (95 %);
    baseline, of who always says the most frequent class, the mean, ...; spread, the standard
    deviation of the runs' scores; epochs, best_epoch: medians; seconds, in total.

    Raises BpttError if there is no run.
    """
    check_any(frame)
    rows = []
    for number, part in frame.groupby("setting"):
        first = part.iloc[0]
        found = corrected(part["score"], int(first["folds"]))
        rows.append(
            {"setting": number, "label": first["label"]}
            | {name: first[name] for name in varied_fields(frame)}
            | {
                "runs": len(part), "diverged": int((part["status"] == "diverged").sum()),
                "measure": first["measure"], "score": float(found.estimate),
                "score_low": float(found.low), "score_high": float(found.high),
                "baseline": float(part["baseline"].mean()),
                "spread": float(part["score"].std()) if len(part) > 1 else math.nan,
                "epochs": float(part["epochs"].median()),
                "best_epoch": float(part["best_epoch"].median()),
                "seconds": float(part["seconds"].sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary, best first."""
    more = better_is_more(str(table["measure"].iloc[0]))
    best: pd.DataFrame = table.sort_values(["score", "setting"], ascending=[not more, True])
    return best


def paired(frame: pd.DataFrame, first: int, second: int) -> Interval:
    """The difference of the scores of two settings, first - second, over the folds and seeds that
    both have. Raises BpttError if they have none in common."""
    table = frame.pivot_table(index=["fold", "seed"], columns="setting", values="score")
    if not {first, second} <= {*table} or not len(both := table[[first, second]].dropna()):
        raise BpttError(
            f"settings {first} and {second} have no fold and seed in common: run the rest first"
        )
    return corrected(both[first] - both[second], int(frame["folds"].iloc[0]))


@dataclass(frozen=True)
class Difference:
    """Two settings of a study over data side by side, as rows of its summary; apart: the difference
    of their scores, first - second; sentences: the same in words."""

    first: dict[str, Any]
    second: dict[str, Any]
    apart: Interval
    sentences: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; the interval as estimate, low, high."""
        apart = {name: float(value) for name, value in self.apart._asdict().items()}
        return {**vars(self), "apart": apart}

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def compare(frame: pd.DataFrame, first: Any, second: Any) -> Difference:
    """Two rows of the summary, compared over the folds and seeds that both have."""
    apart = paired(frame, int(first["setting"]), int(second["setting"]))
    measure = str(first["measure"])
    words = [f"{pair_words(first, second, apart)}.", _told(first, second, apart, measure)]
    return Difference(dict(first), dict(second), apart, words)


def _told(first: Any, second: Any, apart: Interval, measure: str) -> str:
    """Which of two is better, if that can be told."""
    if not math.isfinite(apart.low):
        return "One run each gives no interval: run more seeds."
    if apart.low <= 0 <= apart.high:
        return "No difference can be told: the interval holds 0."
    best = first if (apart.estimate > 0) == better_is_more(measure) else second
    return f"{name_of(best)} is better."


def number(value: float, measure: str) -> str:
    """A score as people read it: an accuracy in per cent, an error to four digits."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if measure == "accuracy" else f"{value:.4g}"


def with_interval(value: Interval, measure: str) -> str:
    """'97.6 [97.1, 98.0]'; an accuracy's interval ends at 0 and 100."""
    if not math.isfinite(value.low):
        return number(float(value.estimate), measure)
    ends = [float(value.low), float(value.high)]
    if measure == "accuracy":
        ends = [min(max(end, 0.0), 1.0) for end in ends]
    low, high = (number(end, measure) for end in ends)
    return f"{number(float(value.estimate), measure)} [{low}, {high}]"


def score_of(row: Any) -> Interval:
    """The score of a summary's row."""
    return Interval(row["score"], row["score_low"], row["score_high"])


def pair_words(first: Any, second: Any, apart: Interval) -> str:
    """'cell=gru 97.6 [97.1, 98.0], cell=lstm 96.4 [95.8, 97.0]; difference +1.2 [0.4, 2.0]'."""
    measure = str(first["measure"])
    each = [f"{name_of(row)} {with_interval(score_of(row), measure)}" for row in (first, second)]
    middle, low, high = (number(float(p), measure).replace("-", "−") for p in apart)
    sign = "+" if apart.estimate > 0 else ""
    ends = f" [{low}, {high}]" if math.isfinite(apart.low) else ""
    return f"{', '.join(each)}; difference {sign}{middle}{ends}"


def verdicts(frame: pd.DataFrame) -> list[str]:
    """What a study over data says in a few sentences, the most important first."""
    table = ranked(summary(frame))
    best = table.iloc[0]
    measure, folds = str(best["measure"]), int(frame["folds"].iloc[0])
    what, rule = WORDS[measure]
    unit = "per cent right" if measure == "accuracy" else what
    parts = f"{folds} folds, " if folds > 1 else "the test data, "
    parts += f"{frame['seed'].nunique()} seeds"
    sentences = [
        f"{len(table):,} settings, {len(frame):,} runs ({parts}); {unit}: {name_of(best)} "
        f"{with_interval(score_of(best), measure)}; {rule} alone: "
        f"{number(best['baseline'], measure)}."
    ]
    for _, row in table.iloc[1:4].iterrows():
        apart = paired(frame, int(best["setting"]), int(row["setting"]))
        told = "" if not apart.low <= 0 <= apart.high else " (cannot be told apart)"
        sentences.append(f"{pair_words(best, row, apart)}{told}.")
    if len(table) > 4:
        sentences.append(f"{len(table) - 4:,} more settings are in the table.")
    diverged = int((frame["status"] == "diverged").sum())
    told = f"{diverged:,} of {len(frame):,} runs" if diverged else "No run"
    return [*sentences, f"{told} diverged."]
