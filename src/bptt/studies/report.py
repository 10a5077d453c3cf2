"""A study's results as a page: what was found, the settings, the figures, how to get it again."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from bptt.floats import usual
from bptt.studies.answers import (
    VERDICTS,
    by_value,
    learning_curves,
    longer_sums,
    parts_of,
    ranked,
    share_of,
    solved_curves,
    summary,
    varied_fields,
)
from bptt.studies.drawing import (
    BEST,
    PANELS,
    ROWS,
    Curve,
    Panel,
    settings_figure,
    small_multiples,
    spans_widely,
    split,
    values_figure,
)
from bptt.studies.page import (
    TABLE_ROWS,
    Block,
    Page,
    Picture,
    Section,
    Table,
    Text,
    as_text,
    slug,
)
from bptt.studies.statistics import Interval
from bptt.studies.words import (
    count,
    median_interval,
    name_of,
    percent_interval,
    verdicts,
)

# The measures of a learning curve that a page shows, with axis label and whether it is a share.
MEASURES = {"loss": ("loss", False), "wrong": ("wrong outputs (%)", True)}


@usual
def study_page(
    frame: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    title: str = "Study",
    details: Sequence[Section] = (),
    unit: str = "",
) -> Page:
    """The page of a study's results, one row a run, and of its learning curves if it kept them.

    A study in panels has the same sections for each. details: sections at the end (the declaration,
    how to run it again). unit: of the loss.

    Raises BpttError if there is no run.
    """
    panels = parts_of(frame)
    if len(panels) == 1:
        sections = _sections(frame, curves, unit)
        return Page(title, verdicts(summary(frame)), [*sections, READING, *details])
    findings, parts = [], []
    for panel, part in panels.items():
        findings.append(f"{panel}: {' '.join(verdicts(summary(part)))}")
        parts += _sections(part, curves, unit, panel)
    findings.insert(0, f"{len(panels)} panels, {len(frame):,} runs.")
    return Page(title, findings, [*parts, READING, *details])


def _sections(
    frame: pd.DataFrame, curves: pd.DataFrame | None, unit: str, panel: str = ""
) -> list[Section]:
    """What a page shows of one panel, or of a study without any."""
    table = summary(frame)
    best = ranked(table)
    shown = table if len(table) <= ROWS else best
    drawn = table if len(table) <= PANELS else best.head(PANELS)
    blocks: dict[str, list[Block]] = {
        "Settings": [settings_picture(shown), settings_table(shown)],
        "When runs solve the task": [solved_picture(frame, drawn)],
    }
    fields = [name for name in varied_fields(frame) if frame[name].nunique(dropna=False) > 1]
    if len(fields) > 1 or len(table) > ROWS:
        blocks["Each field by itself"] = values_pictures(frame, fields)
    if curves is not None and curves["setting"].isin(drawn["setting"]).any():
        blocks["Learning curves"] = [
            curves_picture(frame, curves, drawn, measure, unit) for measure in MEASURES
        ]
    longer = longer_sums(frame)
    longer = longer[longer["setting"].isin(drawn["setting"])]
    if len(longer):
        blocks["Sums longer than trained on"] = [
            longer_picture(longer, drawn),
            longer_table(longer),
        ]
    if not panel:
        return [Section(title, each) for title, each in blocks.items()]
    name = slug(panel)
    return [
        Section(
            f"{panel}: {title[0].lower()}{title[1:]}",
            [
                replace(block, name=f"{name}-{block.name}") if isinstance(block, Picture) else block
                for block in each
            ],
        )
        for title, each in blocks.items()
    ]


READING = Section(
    "How to read this",
    [
        Text(
            items=(
                "[98, 100] is a 95 % interval: how far the number could be off because only so "
                "many seeds were run. A band or interval of quartiles is something else: where the "
                "middle half of the runs lie.",
                "Iterations to solve are over all runs of a setting. A run that did not solve the "
                "task counts as one that needs longer than it was given, a diverged one as one "
                "that never solves it. Not reached: fewer runs than that share have solved it.",
                "Intervals and differences are not corrected for the number of settings looked at: "
                "of 20 pairs of equal settings about one looks different.",
            )
        )
    ],
)


def settings_picture(table: pd.DataFrame) -> Picture:
    """Shares and iterations to solve of each setting."""
    many, table = len(table), table if len(table) <= ROWS else table.head(BEST)
    names = [name_of(row) for row in rows_of(table)]
    caption = "Share of runs that solved the task or diverged, with 95 % intervals, and iterations "
    caption += "to solve: median, and a line from quartile to quartile."
    if many > len(table):
        caption += f" The best {BEST} of {many:,} settings."
    return Picture(
        "settings",
        partial(settings_figure, table, names),
        f"Dots with intervals for {len(table)} settings; the numbers are in the table.",
        caption,
    )


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def settings_table(table: pd.DataFrame) -> Table:
    """One row a setting: what a summary has, as text."""
    asked = [each for each in VERDICTS if f"{each}_share" in table]
    rows = [
        [
            *naming(row),
            f"{row['solved']:,} of {row['runs']:,}",
            percent_interval(share_of(row)),
            percent_interval(share_of(row, "diverged")) if row["diverged"] else "none",
            median_interval(row),
            f"{count(row['lower'])} to {count(row['upper'])}"
            if math.isfinite(row["lower"])
            else count(row["lower"]),
            f"{row['loss']:.3g}" if math.isfinite(row["loss"]) else "not finite",
            *(percent_interval(share_of(row, each)) for each in asked),
        ]
        for row in rows_of(table.head(TABLE_ROWS))
    ]
    head = (
        "#", "setting", "solved", "share solved", "diverged", "median iterations", "quartiles",
        "median loss", *(f"{each} at every length" if each == VERDICTS[0] else each
                         for each in asked),
    )  # fmt: skip
    caption = (
        "Iterations until the task is solved, – where so many runs have not; loss at the end. In "
        "brackets: 95 % intervals."
    )
    if asked:
        caption += " At every length: proved right, wrong somewhere, or neither shown."
    if len(table) > TABLE_ROWS:
        caption += (
            f" The best {TABLE_ROWS} of {len(table):,} settings; "
            "'bptt study export' writes every run into a file."
        )
    return Table(head, rows, words=2, caption=caption)


def naming(row: Any) -> list[str]:
    """A setting's number and name; 'bptt study compare' takes either."""
    return [str(row["setting"]), name_of(row)]


def solved_panel(frame: pd.DataFrame, table: pd.DataFrame, title: str = "") -> Panel:
    """The share of runs solved by each iteration, a curve for each setting of a summary.

    A curve ends where its setting's runs were stopped; where none was, as all solved the task or
    diverged, it goes on as it is.
    """
    chosen = frame[frame["setting"].isin(table["setting"])]
    ends = chosen[chosen["status"] == "not solved"].groupby("setting")["iterations"].max()
    parts = dict(list(solved_curves(chosen).groupby("setting")))
    times = chosen["solved_at"].dropna()
    log = len(times) > 0 and spans_widely(times.quantile([0.05, 0.95]))
    start = float(times.min()) / 2 if log else 0.0  # 0 has no place on a logarithmic axis
    curves = []
    for row in rows_of(table):
        part = parts[row["setting"]]
        last = part.iloc[[-1]].assign(time=ends.get(row["setting"], chosen["iterations"].max()))
        part = pd.concat([part, last])
        time = part["time"].clip(lower=start)
        curves.append(Curve(name_of(row), time, part["share"], part["low"], part["high"]))
    return Panel(
        title, curves, "iteration", "runs solved (%)", log_x=log, percent=True, steps=True
    )  # fmt: skip


def solved_picture(frame: pd.DataFrame, table: pd.DataFrame) -> Picture:
    """The share of runs solved by each iteration, setting by setting."""
    panels = split(solved_panel(frame, table))
    return Picture(
        "solved",
        partial(small_multiples, panels, share=True),
        "Curves that rise from 0 with the share of runs that have solved the task so far.",
        "Share of runs that have solved the task by each iteration (1 minus Kaplan and Meier's "
        "survival curve, unsolved runs censored), with 95 % intervals." + _best_only(frame, table),
    )


def _best_only(frame: pd.DataFrame, table: pd.DataFrame) -> str:
    """A sentence if only some settings are drawn."""
    settings = frame["setting"].nunique()
    return f" The best {len(table)} of {settings:,} settings." if len(table) < settings else ""


def values_pictures(frame: pd.DataFrame, fields: Sequence[str]) -> list[Block]:
    """The share solved at each value of each varied field."""
    tables = {field: by_value(frame, field).head(ROWS) for field in fields}
    return [
        Picture(
            "fields",
            partial(values_figure, tables),
            f"Dots with intervals: the share solved at each value of {', '.join(fields)}.",
            "Share of runs that solved the task at each value, over all values of the other "
            "fields. What a field does may depend on the others, which this does not show.",
        )
    ]


def curves_picture(
    frame: pd.DataFrame, curves: pd.DataFrame, table: pd.DataFrame, measure: str, unit: str = ""
) -> Picture:
    """Median and middle half of a measure against iteration, setting by setting."""
    label, percents = MEASURES[measure]
    chosen = frame[frame["setting"].isin(table["setting"])]
    bands = learning_curves(chosen, curves, measure)
    parts = dict(list(bands.groupby("setting")))
    drawn = [
        Curve(name_of(row), part["iteration"], part["median"], part["low"], part["high"])
        for row in rows_of(table)
        if (part := parts.get(row["setting"])) is not None
    ]
    y_label = f"{label} ({unit})" if unit and not percents else label
    panel = Panel("", drawn, "iteration", y_label, log_y=not percents, percent=percents)
    return Picture(
        measure,
        partial(small_multiples, split(panel), share=True),
        f"Curves of {label.removesuffix(' (%)')} against iteration, with a band each.",
        f"{label.removesuffix(' (%)').capitalize()}: median over seeds, and a band in which the "
        "middle half of the runs lie. A run that has ended keeps its last value, one that "
        "diverged has the worst value from there on." + _best_only(frame, table),
    )


def longer_picture(longer: pd.DataFrame, table: pd.DataFrame) -> Picture:
    """Exact share against the length of the sums, setting by setting."""
    parts = dict(list(longer.groupby("setting")))
    drawn = [
        Curve(name_of(row), part["times"], part["exact"], part["exact_low"], part["exact_high"])
        for row in rows_of(table)
        if (part := parts.get(row["setting"])) is not None
    ]
    multiples = sorted(longer["times"].unique())
    panel = Panel(
        "", drawn, "length (× trained)", "exact sums (%)", log_x=True,
        percent=True, dots=True, ticks=(multiples, [f"{times}×" for times in multiples]),
    )  # fmt: skip
    return Picture(
        "longer",
        partial(small_multiples, split(panel), share=True),
        "Curves of the share of exact sums against the length of the sums.",
        "Mean share of exact sums over the networks that solved the task at the trained length, "
        "with 95 % intervals.",
    )


def longer_table(longer: pd.DataFrame) -> Table:
    """Exact shares and networks without a mistake, setting and length by length."""
    rows = [
        [
            *naming(row),
            f"{row['times']}×",
            percent_interval(Interval(row["exact"], row["exact_low"], row["exact_high"])),
            f"{row['perfect']:,} of {row['networks']:,}",
            percent_interval(
                Interval(row["perfect_share"], row["perfect_low"], row["perfect_high"])
            ),
        ]
        for row in rows_of(longer)
    ]
    head = ("#", "setting", "length", "exact sums", "networks without a mistake", "share of them")
    return Table(head, rows, words=2, caption="Of the networks that solved the task.")


def text_table(table: pd.DataFrame) -> str:
    """A summary's main columns as lines of text."""
    shown = table if len(table) <= ROWS else ranked(table).head(ROWS)
    lines = as_text(settings_table(shown))
    if len(shown) < len(table):
        lines.append(f"... the best {len(shown)} of {len(table):,} settings")
    return "\n".join(lines)
