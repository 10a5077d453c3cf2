"""Numbers and answers as people read them."""

import math
import re
from typing import Any

import pandas as pd

from bptt.studies.answers import not_told_apart, ranked, share_of
from bptt.studies.statistics import Interval

MANY = 4  # settings named one by one in a sentence


def name_of(row: Any) -> str:
    """What a setting is called: its varied fields, long numbers to four digits, or its number
    where nothing varies."""
    text = re.sub(r"\d+\.\d{5,}(e[-+]?\d+)?", lambda m: f"{float(m[0]):.4g}", str(row["label"]))
    return text or f"setting {row['setting']}"


def count(number: float) -> str:
    """A number of iterations; a dash where it is not reached."""
    return "–" if math.isinf(number) else f"{number:,.0f}"


def percent(share: float) -> str:
    """A share in per cent; 100 % and 0 % only where it is exactly all or none."""
    value = 100 * share
    if math.isnan(value):
        return "–"
    rounded = f"{value:.0f}"
    exact = value in (0, 100)
    return rounded if exact or rounded not in ("0", "100") else f"{value:.1f}"


def percent_interval(share: Interval) -> str:
    """'98 % [93, 99]': a share and its interval in per cent."""
    return f"{percent(float(share.estimate))} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def median_interval(row: Any) -> str:
    """'1,200 [1,100, 1,300]': a median of iterations and its interval."""
    if math.isinf(row["median_low"]):
        return count(row["median"])
    return f"{count(row['median'])} [{count(row['median_low'])}, {count(row['median_high'])}]"


def _listed(rows: pd.DataFrame) -> str:
    """The settings' names, the first few of many."""
    names = [name_of(row) for _, row in rows.head(MANY).iterrows()]
    more = len(rows) - len(names)
    return "; ".join(names) + (f"; and {more:,} more" if more else "")


def verdicts(table: pd.DataFrame) -> list[str]:
    """What a summary says, in a few sentences, the most important first."""
    best = ranked(table).iloc[0]
    runs, solved, diverged = (int(table[name].sum()) for name in ("runs", "solved", "diverged"))
    if len(table) == 1:
        share = percent_interval(share_of(best))
        sentences = [f"{solved:,} of {runs:,} runs solve the task: {share}."]
    else:
        these = f"{solved:,} of them solve" if solved else "none of them solves"
        sentences = [f"{len(table):,} settings, {runs:,} runs: {these} the task."]
        sentences += _best_of(table) if solved else []
    if not math.isinf(best["median"]):
        time = median_interval(best)
        sentences.append(f"Half of its runs have solved it after {time} iterations.")
    if len(table) > 1 and solved:
        others = len(not_told_apart(table)) - 1
        sentences.append(
            f"By the share solved, {others:,} other setting{'s' * (others != 1)} cannot be told "
            "from the best with this many seeds (95 %)."
            if others
            else "Every other setting solves it less often (95 %)."
        )
    where = int((table["diverged"] > 0).sum())
    places = f", in {where:,} of {len(table):,} settings" if len(table) > 1 else ""
    sentences.append(f"{diverged:,} of {runs:,} runs diverged{places}." if diverged else NONE)
    return sentences


NONE = "No run diverged."


def _best_of(table: pd.DataFrame) -> list[str]:
    """Which settings are best; the last sentence is about one."""
    best = ranked(table).iloc[0]
    every = ranked(table[table["solved"] == table["runs"]])
    sentences = []
    if len(every) > 1:
        sentences.append(
            f"{len(every):,} of {len(table):,} settings solve it on every seed: {_listed(every)}."
        )
    word = "soonest of these" if len(every) > 1 else "best"
    sentences.append(
        f"The {word} is {name_of(best)}: {best['solved']:,} of {best['runs']:,} runs, "
        f"{percent_interval(share_of(best))}."
    )
    return sentences
