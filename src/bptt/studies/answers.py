"""What a study's results say: one row a setting, two settings compared, longer sums, sentences.

Results are a pandas DataFrame with one row a run; the columns used here are setting, label, seed,
status, iterations, solved_at, loss, exact_<k>x, and a column for each varied field. Everything is
computed for all settings at once, so that a hundred thousand runs take a moment.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bptt.errors import BpttError
from bptt.floats import usual
from bptt.studies.statistics import (
    Interval,
    band,
    difference,
    group_quantile,
    solve_time,
    solved_by,
    wilson,
)

# Every column of the results that is not a varied field.
COLUMNS = (
    "run", "panel", "setting", "label", "seed", "status", "iterations", "solved_at", "loss",
    "loss_per_step", "wrong", "exact", "right", "total", "what", "seconds", "version",
    "every_length", "arithmetic",
)  # fmt: skip
VERDICTS = ("proved", "wrong", "undecided")  # of `every_length`
LONGER = re.compile(r"exact_(\d+)x")
BINS = 8  # of a field with more different numbers than this times 1.5


def varied_fields(frame: pd.DataFrame) -> list[str]:
    """The columns of the results that hold varied fields."""
    return [name for name in map(str, frame) if not (name in COLUMNS or LONGER.fullmatch(name))]


def check_any(frame: pd.DataFrame) -> None:
    """Raises BpttError if there is no run."""
    if frame.empty:
        raise BpttError("the study has no finished run: run it first")


def parts_of(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each panel, by its name; of a study without any all, by ''. Raises BpttError if
    there is no run."""
    check_any(frame)
    if "panel" not in frame:
        return {"": frame}
    return {panel: frame[frame["panel"] == panel] for panel in frame["panel"].unique()}


def _times(frame: pd.DataFrame) -> "tuple[pd.Series[float], pd.Series[bool]]":
    """When each run solved the task or until when it was watched, and which of the two.

    A diverged run never solves it, so it is watched for ever: taken out at its end it would count
    as one that might have solved it like the others.
    """
    solved = frame["status"] == "solved"
    time = frame["solved_at"].where(solved, frame["iterations"]).astype("float64")
    return time.mask(frame["status"] == "diverged", math.inf), solved


def _grouped(frame: pd.DataFrame) -> tuple[Any, pd.Index]:
    """Each run's place among the settings that are there, and their numbers."""
    codes, settings = pd.factorize(frame["setting"], sort=True)
    return codes, pd.Index(settings)


def solved_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """For each setting the share of runs that have solved the task by each iteration.

    Columns setting, time, at_risk, solved, share, low, high: `bptt.studies.statistics.solved_by`.
    """
    codes, settings = _grouped(frame)
    curve = solved_by(codes, *_times(frame))
    curve.insert(0, "setting", settings.to_numpy()[curve.pop("group")])
    return curve


@usual
def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, in order of their numbers.

    setting, label, the varied fields; runs; solved, solved_share, solved_low, solved_high (95 %,
    Wilson); the same of diverged; iterations to solve, over all runs with the unsolved ones
    censored: median, median_low, median_high (95 %) and the quartiles lower and upper, infinite
    where not reached; loss: median of the final loss (infinite where half diverged); seconds, in
    total. Where the study asked for every length, of proved, wrong and undecided the same as of
    solved.

    Raises BpttError if there is no run.
    """
    check_any(frame)
    codes, _ = _grouped(frame)
    first = frame.groupby(codes).first()
    table = first[["setting", "label", *varied_fields(frame)]].reset_index(drop=True)
    table["runs"] = runs = np.bincount(codes)
    of = dict.fromkeys(("solved", "diverged"), "status")
    if "every_length" in frame:
        of |= dict.fromkeys(VERDICTS, "every_length")
    for status, column in of.items():
        count = np.bincount(codes, weights=frame[column] == status).astype(np.int64)
        table[status] = count
        share = wilson(count, runs)
        for name, values in zip(("share", "low", "high"), share, strict=True):
            table[f"{status}_{name}"] = values
    curve = solved_by(codes, *_times(frame))
    median = solve_time(curve, 0.5)
    table["median"], table["median_low"], table["median_high"] = median
    table["lower"] = solve_time(curve, 0.25).estimate
    table["upper"] = solve_time(curve, 0.75).estimate
    loss = frame["loss"].mask(frame["status"] == "diverged", math.inf)
    table["loss"] = group_quantile(codes, loss)
    table["seconds"] = np.bincount(codes, weights=frame["seconds"])
    return table


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary, best first: most solved, then soonest, then lowest loss."""
    order = ["solved_share", "median", "upper", "loss", "setting"]
    best_first: pd.DataFrame = table.sort_values(order, ascending=[False, True, True, True, True])
    return best_first


def share_of(row: Any, status: str = "solved") -> Interval:
    """The share of a summary's row as an interval."""
    return Interval(row[f"{status}_share"], row[f"{status}_low"], row[f"{status}_high"])


def not_told_apart(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose share of solved runs cannot be told from the best row's: the 95 % interval
    of the difference holds 0. Not corrected for the number of settings looked at."""
    best = ranked(table).iloc[0]
    apart = difference(share_of(best), share_of(table))
    near: pd.DataFrame = table[(apart.low <= 0) | (table["setting"] == best["setting"])]
    return near


def by_value(frame: pd.DataFrame, field: str) -> pd.DataFrame:
    """The share of runs solved and diverged at each value of a varied field, over all others.

    A field with many different numbers is cut into ranges with about as many runs each. Columns
    value (text), runs, solved, solved_share, solved_low, solved_high, the same of diverged.
    """
    values = frame[field]
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numeric and values.nunique() > 1.5 * BINS:
        cut = pd.qcut(values, BINS, duplicates="drop")
        codes = cut.cat.codes.to_numpy()
        low, high = (values.groupby(codes).agg(end) for end in ("min", "max"))
        names = [f"{a:.3g} – {b:.3g}" for a, b in zip(low, high, strict=True)]
    else:
        codes, found = pd.factorize(values, sort=numeric, use_na_sentinel=False)
        names = [f"{value:g}" if numeric else str(value) for value in found]
    table = pd.DataFrame({"value": names, "runs": np.bincount(codes)})
    for status in ("solved", "diverged"):
        table[status] = np.bincount(codes, weights=frame["status"] == status).astype(np.int64)
        share = wilson(table[status], table["runs"])
        for name, ends in zip(("share", "low", "high"), share, strict=True):
            table[f"{status}_{name}"] = ends
    return table


def longer_sums(frame: pd.DataFrame) -> pd.DataFrame:
    """How the networks that solved the task do on longer sums than they were trained on.

    One row for each setting and multiple k of the trained length that the study asked for, where
    any network solved the task: setting, label, times (k), networks (that solved it and were
    tested), exact, exact_low, exact_high (mean over networks of the share of exact sums), perfect
    (networks with every sum exact), perfect_share, perfect_low, perfect_high. Intervals: Wilson.
    """
    solved = frame[frame["status"] == "solved"]
    parts = []
    for name in frame:
        match = LONGER.fullmatch(str(name))
        if match:
            part = solved[["setting", "label"]].assign(times=int(match[1]), exact=solved[name])
            parts.append(part.dropna(subset="exact"))
    if not parts:
        return pd.DataFrame(columns=["setting", "label", "times", "networks"])
    tested = pd.concat(parts).assign(perfect=lambda rows: rows["exact"] == 1)
    table = tested.groupby(["setting", "label", "times"], as_index=False).agg(
        networks=("exact", "size"), exact=("exact", "sum"), perfect=("perfect", "sum")
    )
    for count, name in (("exact", "exact"), ("perfect", "perfect_share")):
        share = wilson(table[count], table["networks"])
        for column, values in zip((name, f"{count}_low", f"{count}_high"), share, strict=True):
            table[column] = values
    return table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values that JSON has: what is not finite becomes None."""
    return [plain(row) for row in table.to_dict("records")]


def plain(value: Any) -> Any:
    """A value as JSON has it: NumPy's numbers as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


# What a measure of a run that diverged is from then on; a loss becomes infinite.
WORST = {"exact": 0.0, "wrong": 1.0}


def learning_curves(
    frame: pd.DataFrame, curves: pd.DataFrame, measure: str = "loss"
) -> pd.DataFrame:
    """Median and quartiles over runs of a measure at each record, for each setting.

    A run that ended early, solved, keeps its last value: it is not missing, it has done its work,
    and left out it would make the others look worse from there on. A run that diverged has the
    worst value from there on. Columns setting, iteration, median, low, high. Settings without a
    record are left out.
    """
    diverged = frame.set_index(["setting", "seed"])["status"] == "diverged"
    chosen = curves[curves["setting"].isin(frame["setting"])]
    parts = []
    for number, rows in chosen.groupby("setting"):
        table = rows.pivot(index="seed", columns="iteration", values=measure)
        ends = diverged.xs(number)
        table = table.reindex(ends.index)  # a run that diverged at once has no record
        after = table.bfill(axis=1).isna() & ends.to_numpy()[:, None]
        filled = table.ffill(axis=1).mask(after, WORST.get(measure, math.inf))
        median, low, high = band(filled.to_numpy(np.float64))
        parts.append(
            pd.DataFrame(
                {
                    "setting": number,
                    "iteration": table.columns,
                    "median": median,
                    "low": low,
                    "high": high,
                }
            )
        )
    columns = ["setting", "iteration", "median", "low", "high"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
