"""The results of a study over data as a page: scores, differences, learning curves."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bptt.fitting.judging import WORDS
from bptt.floats import usual
from bptt.studies import drawing
from bptt.studies.answers import parts_of
from bptt.studies.drawing import COLORS, GREY, PAGE, Curve, Panel
from bptt.studies.page import TABLE_ROWS, Block, Page, Picture, Section, Table, Text, slug
from bptt.studies.scores import number, ranked, score_of, summary, verdicts, with_interval
from bptt.studies.statistics import band
from bptt.studies.words import name_of

READING = Section(
    "How to read this",
    [
        Text(
            items=(
                "[97.1, 98.0] is a 95 % interval of the mean, corrected for folds that have most "
                "of their training data in common (Nadeau and Bengio 2003): how far off it could "
                "be with other data of this kind. With test data of their own it is of other "
                "trainings on these data alone.",
                "Differences are of pairs: the same fold of the same seed has the same data for "
                "every setting. An interval that holds 0 tells no difference.",
                "Intervals are not corrected for the number of settings looked at: of 20 pairs of "
                "equal settings about one looks different, and the best of many is in part lucky.",
            )
        )
    ],
)


@usual
def score_page(
    frame: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    title: str = "Study",
    details: Sequence[Section] = (),
    unit: str = "",
) -> Page:
    """The page of a study over data, one row a run; the arguments are those of
    `bptt.studies.report.study_page`.

    Raises BpttError if there is no run.
    """
    panels = parts_of(frame)
    findings, sections = [], list[Section]()
    for panel, part in panels.items():
        start = f"{panel}: " if len(panels) > 1 else ""
        findings += [f"{start}{sentence}" for sentence in verdicts(part)]
        sections += _sections(part, curves, unit, panel if len(panels) > 1 else "")
    return Page(title, findings, [*sections, READING, *details])


def _sections(
    frame: pd.DataFrame, curves: pd.DataFrame | None, unit: str, panel: str
) -> list[Section]:
    """What a page shows of one panel, or of a study without any."""
    table = ranked(summary(frame))
    start, name = (f"{panel}: ", f"{slug(panel)}-") if panel else ("", "")
    scores: list[Block] = [scores_picture(table, f"{name}scores"), scores_table(table)]
    found = [Section(f"{start}Scores", scores)]
    if curves is not None and curves["setting"].isin(table["setting"]).any():
        found.append(
            Section(f"{start}Learning curves", [losses_picture(curves, table, unit, name)])
        )
    return found


def scores_table(table: pd.DataFrame) -> Table:
    """One row a setting, the best first: what a summary has, as text."""
    measure = str(table["measure"].iloc[0])
    rows = [
        [
            str(row["setting"]), name_of(row), f"{row['runs']:,}",
            with_interval(score_of(row), measure),
            number(row["spread"], measure), number(row["baseline"], measure),
            f"{row['best_epoch']:,.0f} of {row['epochs']:,.0f}",
            f"{row['diverged']:,}" if row["diverged"] else "none", f"{row['seconds']:,.0f}",
        ]
        for _, row in table.head(TABLE_ROWS).iterrows()
    ]  # fmt: skip
    what, rule = WORDS[measure]
    head = ("#", "setting", "runs", "% right" if measure == "accuracy" else what, "spread",
            rule, "best epoch", "diverged", "seconds")  # fmt: skip
    caption = (
        "Means, in brackets 95 % intervals; spread: standard deviation of single runs; epochs: "
        "medians; seconds in total."
    )
    if len(table) > TABLE_ROWS:
        caption += f" The best {TABLE_ROWS} of {len(table):,} settings."
    return Table(head, rows, words=2, caption=caption)


def scores_picture(table: pd.DataFrame, name: str) -> Picture:
    """The mean score of each setting."""
    shown = table.head(drawing.ROWS if len(table) <= drawing.ROWS else drawing.BEST)
    measure = str(table["measure"].iloc[0])
    what = "share right" if measure == "accuracy" else WORDS[measure][0]
    few = f" The best {len(shown)} of {len(table):,}." if len(shown) < len(table) else ""
    return Picture(
        name,
        partial(scores_figure, shown),
        f"Dots with intervals for {len(shown)} settings; the numbers are in the table.",
        f"Mean {what} of each setting with its 95 % interval, the best first; dashed: the baseline."
        + few,
    )


def scores_figure(table: pd.DataFrame, width: float = PAGE) -> Figure:
    """A dot with its interval for each row of a summary."""
    measure = str(table["measure"].iloc[0])
    scale = 100.0 if measure == "accuracy" else 1.0
    names = [name_of(row) for _, row in table.iterrows()]
    labels, left, row = drawing.row_labels(names, 40 if width > 6 else 22)
    up = max(row * len(names), 0.4)
    figure, (axes,) = drawing.placed(width, 0.1 + up + 0.6, [(left, 0.1, width - left - 0.2, up)])
    drawing.label_rows(axes, labels)
    middle, low, high = (scale * np.asarray(part, np.float64) for part in score_of(table))
    low, high = (np.where(np.isnan(end), middle, end) for end in (low, high))
    if scale != 1:
        low, high = np.clip(low, 0, 100), np.clip(high, 0, 100)
    drawing.dots(axes, middle, low, high, COLORS[0], math.inf)
    base = scale * float(table["baseline"].mean())
    if math.isfinite(base):
        axes.axvline(base, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    drawing.number_axis(axes.xaxis, log=False)
    axes.set_xlabel("right (%)" if scale != 1 else WORDS[measure][0], fontsize=9)
    return figure


def losses_picture(
    curves: pd.DataFrame, table: pd.DataFrame, unit: str, start: str = ""
) -> Picture:
    """Training and validation loss against the epoch, setting by setting."""
    drawn = table.head(drawing.PANELS)
    panels = []
    for measure, title in (("loss", "training"), ("val_loss", "validation")):
        lines = []
        for _, row in drawn.iterrows():
            rows = curves[curves["setting"] == row["setting"]]
            if rows[measure].notna().any():
                wide = rows.pivot_table(index=["fold", "seed"], columns="epoch", values=measure)
                # A run that ended early keeps its last value.
                ends = band(wide.ffill(axis=1).to_numpy(np.float64))
                lines.append(Curve(name_of(row), wide.columns, *ends))
        if lines:
            label = f"loss ({unit})" if unit else "loss"
            panels.append(Panel(title, lines[: drawing.TOGETHER], "epoch", label, log_y=True))
    return Picture(
        f"{start}losses",
        partial(drawing.small_multiples, panels, share=True),
        "Curves of the losses against the epoch, with a band each.",
        "Loss of training and validation: median over runs, and a band in which the middle half "
        f"lie. A run that ended early keeps its last value. The best {drawing.TOGETHER} settings "
        "at most.",
    )
