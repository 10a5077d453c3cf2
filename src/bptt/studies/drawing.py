"""The figures of a study, each made for a width in inches: 8 for a page, 4 for a phone.

Two forms serve all questions: curves with their bands in one or more panels (`small_multiples`),
and dots with their intervals, one row a setting (`dots`). Colours are Okabe and Ito's, which
colour-blind readers tell apart; curves differ in line style as well.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from bptt.training.figures import ShownFigure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", (0, (5, 1.5)), (0, (1.2, 1)), (0, (6, 1.5, 1.2, 1.5)))
GREY, LIGHT = "#595959", "#DDDDDD"
PAGE, PHONE = 8.0, 4.0  # widths in inches
TOGETHER = 6  # curves in one panel; more get a panel each
PANELS = 12  # settings whose curves are drawn
ROWS = 40  # dots in one column
BEST = 20  # of more settings than that, these many are drawn
WIDE_RANGE = 30  # an axis whose values span more than this ratio is logarithmic


@dataclass(frozen=True)
class Curve:
    """A line with its band: x, middle, low and high of one length; no band where low is None.
    Infinite values are beyond every axis: the line ends there, the band runs out at its top."""

    label: str
    x: ArrayLike
    middle: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None


@dataclass(frozen=True)
class Panel:
    """Curves on one pair of axes.

    percent: values are shares, drawn from 0 to 100 %. steps: a value holds until the next x.
    dots: mark the points, for curves of a few. ticks: where x has its ticks, with their texts.
    """

    title: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    percent: bool = False
    steps: bool = False
    dots: bool = False
    ticks: tuple[Sequence[float], Sequence[str]] | None = None


def placed(
    width: float, height: float, boxes: Sequence[tuple[float, float, float, float]]
) -> tuple[Figure, list[Axes]]:
    """A figure with axes in boxes (left, from the top, width, height), everything in inches.

    Laid out by hand: matplotlib's layout engine takes many times as long for a dozen panels as
    drawing them. No pyplot is needed, and the figure shows itself in a notebook.
    """
    figure = ShownFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = [
        figure.add_axes((left / width, 1 - (top + up) / height, across / width, up / height))
        for left, top, across, up in boxes
    ]
    return figure, axes


def bare(axes: Axes) -> None:
    """The look that all axes share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def wrapped(text: str, inches: float, points: float = 10) -> str:
    """Text in lines that fit a width; a letter is about half as wide as it is high."""
    letters = max(8, int(inches * 72 / (0.55 * points)))
    lines = textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or text


def spans_widely(values: ArrayLike) -> bool:
    """Whether positive numbers span so much that a logarithmic axis shows them better."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    return numbers.size > 0 and float(numbers.max() / numbers.min()) > WIDE_RANGE


def thousands(number: float) -> str:
    """A tick's text: 10,000 and 0.05, not 1e4 or 0.050."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:g}"


def number_axis(axis: Any, log: bool, most: int = 5) -> None:
    """Ticks that read as plain numbers."""
    if log:
        axis.set_major_locator(LogLocator(subs=(1.0,), numticks=most + 1))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))


def draw_curves(axes: Axes, panel: Panel) -> None:
    """Draw a panel's curves with their bands."""
    scale = 100.0 if panel.percent else 1.0
    finite = [scale * np.asarray(c.middle, np.float64) for c in panel.curves]
    finite += [scale * np.asarray(c.high, np.float64) for c in panel.curves if c.high is not None]
    known = np.concatenate([part[np.isfinite(part)] for part in finite] or [np.ones(1)])
    top = known.max(initial=-math.inf)
    drawstyle = "steps-post" if panel.steps else "default"
    for k, curve in enumerate(panel.curves):
        color, style = COLORS[k % len(COLORS)], STYLES[k % len(STYLES)]
        middle = scale * np.asarray(curve.middle, np.float64)
        middle = np.where(np.isfinite(middle), middle, math.nan)
        marker = "o" if panel.dots or middle.size < 4 else None  # one point makes no line
        axes.plot(
            curve.x, middle, color=color, linestyle=style, linewidth=1.6, label=curve.label,
            drawstyle=drawstyle, marker=marker, markersize=4,
        )  # fmt: skip
        if curve.low is not None and curve.high is not None:
            low, high = (scale * np.asarray(end, np.float64) for end in (curve.low, curve.high))
            low = np.where(np.isfinite(low), low, math.nan)
            axes.fill_between(
                np.asarray(curve.x, np.float64), low, np.minimum(high, top), color=color,
                alpha=0.18, linewidth=0, step="post" if panel.steps else None,
            )  # fmt: skip
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y and (known > 0).any():
        axes.set_yscale("log")
        number_axis(axes.yaxis, log=True)
    elif panel.percent:
        axes.set_ylim(-3, 103)
        axes.set_yticks(range(0, 101, 25))
    else:
        number_axis(axes.yaxis, log=False)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks[0]), list(panel.ticks[1]))
        axes.minorticks_off()
    else:
        number_axis(axes.xaxis, panel.log_x, most=4)


@dataclass(frozen=True)
class _Grid:
    """Where panels stand, in inches.

    share: all panels have the same limits; only the outer ones need texts at their axes.
    """

    panels: Sequence[Panel]
    width: float
    columns: int
    share: bool
    title: str
    one_legend: bool

    left, right, bottom, line = 0.72, 0.28, 0.5, 0.18

    @property
    def rows(self) -> int:
        return math.ceil(len(self.panels) / self.columns)

    @property
    def gap(self) -> float:
        return 0.2 if self.share else self.left + self.right

    @property
    def across(self) -> float:
        """The width of one pair of axes."""
        free = self.width - self.left - self.right - (self.columns - 1) * self.gap
        return free / self.columns

    @property
    def up(self) -> float:
        """The height of one pair of axes."""
        return min(3.4, 0.5 * self.across) if self.columns == 1 else 0.62 * self.across

    def titles(self, row: int) -> float:
        """The room above a row's axes."""
        lines = max(self.title_of(p).count("\n") + 1 if p.title else 0 for p in self.row(row))
        return 0.1 + self.line * lines

    def title_of(self, panel: Panel) -> str:
        return wrapped(panel.title, self.across + self.gap / 2, self.size)

    @property
    def size(self) -> int:
        """The size of the titles' letters."""
        return 10 if self.across > 3 else 9 if self.across > 2 else 8

    def row(self, row: int) -> Sequence[Panel]:
        return self.panels[row * self.columns : (row + 1) * self.columns]

    def below(self, row: int) -> float:
        """The room below a row's axes."""
        if self.share and row < self.rows - 1:
            return 0.12
        if self.one_legend:
            return self.bottom
        return self.bottom + self.line * max(
            legend_size([c.label for c in p.curves], self.across)[1] for p in self.row(row)
        )

    def place(self) -> tuple[Figure, list[Axes]]:
        """The figure with a pair of axes for each panel."""
        legend, heading = 0.1, 0.1
        if self.one_legend:
            names = [curve.label for curve in self.panels[0].curves]
            legend += self.line * legend_size(names, self.width - self.left)[1]
        if self.title:
            heading += 0.22 * (wrapped(self.title, self.width, 11).count("\n") + 1)
        heights = [self.titles(r) + self.up + self.below(r) for r in range(self.rows)]
        total = sum(heights) + heading + legend
        boxes = []
        for k in range(len(self.panels)):
            row, column = divmod(k, self.columns)
            top = heading + sum(heights[:row]) + self.titles(row)
            left = self.left + column * (self.across + self.gap)
            boxes.append((left, top, self.across, self.up))
        return placed(self.width, total, boxes)


def small_multiples(
    panels: Sequence[Panel],
    width: float = PAGE,
    title: str = "",
    columns: int | None = None,
    share: bool = False,
) -> Figure:
    """Panels side by side, as many columns as the width takes; curves have the same colours in all.

    A legend stands below its panel, or once below all where all panels have the same curves. share:
    give all panels the same limits, so that they can be compared at a glance.
    """
    if columns is None:
        narrowest = 3.6 if len(panels) <= TOGETHER else 2.4 if width > PHONE else 2.0
        columns = max(1, min(len(panels), int(width // narrowest)))
    names = [[curve.label for curve in panel.curves] for panel in panels]
    one_legend = len(panels) > 1 and len(names[0]) > 1 and all(each == names[0] for each in names)
    grid = _Grid(panels, width, columns, share, title, one_legend)
    figure, all_axes = grid.place()
    for k, (panel, axes) in enumerate(zip(panels, all_axes, strict=True)):
        draw_curves(axes, panel)
        bare(axes)
        # Without y matplotlib looks for a free place, which takes a third of all drawing time.
        axes.set_title(grid.title_of(panel), loc="left", fontsize=grid.size, y=1)
        lowest, first = k + columns >= len(panels), k % columns == 0
        axes.set_xlabel(panel.x_label if lowest or not share else "", fontsize=9)
        axes.set_ylabel(panel.y_label if first or not share else "", fontsize=9)
        if share:
            axes.tick_params(labelbottom=lowest, labelleft=first)
        if len(names[k]) > 1 and not one_legend:
            _legend(axes, grid.across)
    if share:
        _same_limits(all_axes)
    if one_legend:
        _legend(all_axes[0], width - grid.left, figure)
    if title:
        figure.suptitle(
            wrapped(title, width, 11), x=0.1 / width, y=1 - 0.1 / figure.get_figheight(),
            ha="left", va="top", fontsize=11,
        )  # fmt: skip
    return figure


def _same_limits(all_axes: Sequence[Axes]) -> None:
    """The widest limits for all."""
    x = np.array([axes.get_xlim() for axes in all_axes])
    y = np.array([axes.get_ylim() for axes in all_axes])
    for axes in all_axes:
        axes.set_xlim(x[:, 0].min(), x[:, 1].max())
        axes.set_ylim(y[:, 0].min(), y[:, 1].max())


def legend_size(labels: Sequence[str], inches: float) -> tuple[int, int]:
    """How many columns of a legend fit a width, and how many lines it then has; (1, 0) for one
    curve, which needs none."""
    if len(labels) < 2:
        return 1, 0
    widest = 0.65 + 0.075 * max(map(len, labels))
    columns = max(1, min(len(labels), int(inches / widest)))
    lines = sum(wrapped(label, inches - 0.6).count("\n") + 1 for label in labels)
    return columns, math.ceil(lines / columns)


def _legend(axes: Axes, inches: float, figure: Figure | None = None) -> None:
    """A legend where it cannot cover data: under the x axis' label, or under all of a figure."""
    handles, labels = axes.get_legend_handles_labels()
    options: dict[str, Any] = {
        "frameon": False, "fontsize": 9, "borderaxespad": 0, "handlelength": 2.6,
        "ncols": legend_size(labels, inches)[0],
    }  # fmt: skip
    texts = [wrapped(label, inches - 0.6) for label in labels]
    if figure:
        anchor = (0.72 / figure.get_figwidth(), 0.05 / figure.get_figheight())
        figure.legend(handles, texts, loc="lower left", bbox_to_anchor=anchor, **options)
    else:
        below = axes.transAxes + ScaledTranslation(0, -0.45, axes.figure.dpi_scale_trans)
        axes.legend(
            handles, texts, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, **options
        )


def split(panel: Panel) -> list[Panel]:
    """A panel of a few curves as it is, one of many as a panel for each curve."""
    if len(panel.curves) <= TOGETHER:
        return [panel]
    common = {name: getattr(panel, name) for name in Panel.__dataclass_fields__}
    parts = [{**common, "title": c.label, "curves": [c]} for c in panel.curves[:PANELS]]
    return [Panel(**part) for part in parts]


def dots(
    axes: Axes, middle: ArrayLike, low: ArrayLike, high: ArrayLike, color: str, limit: float
) -> None:
    """A dot for each row, first at the top, with the interval from low to high.

    What is infinite lies beyond the axis, whose end is `limit`: the line ends there in an arrow.
    """
    points, lows, highs = (np.asarray(part, np.float64) for part in (middle, low, high))
    rows = np.arange(points.size)
    axes.hlines(rows, np.minimum(lows, limit), np.minimum(highs, limit), color=color, linewidth=1.8)
    known = np.isfinite(points)
    axes.plot(points[known], rows[known], "o", color=color, markersize=5)
    beyond = np.isinf(highs)
    axes.plot(np.full(beyond.sum(), limit), rows[beyond], ">", color=color, markersize=5)


def _share_dots(axes: Axes, table: pd.DataFrame, status: str, color: str) -> None:
    """Shares in per cent, one row each."""
    share, low, high = (100 * table[f"{status}_{name}"] for name in ("share", "low", "high"))
    dots(axes, share, low, high, color, math.inf)
    axes.set_xlim(-3, 103)
    axes.set_xticks(range(0, 101, 25))


def label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """A row for each label, first at the top."""
    bare(axes)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(labels) - 0.5, -0.5)
    named = any(labels)
    axes.set_yticks(range(len(labels)) if named else [], labels if named else [], fontsize=9)
    axes.tick_params(axis="y", length=0)


def row_labels(names: Sequence[str], most: int) -> tuple[list[str], float, float]:
    """Labels of rows in lines of at most `most` letters; the width that they need and the height
    of a row."""
    labels = ["\n".join(textwrap.wrap(name, most)) or name for name in names]
    widest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    return labels, 0.076 * widest + 0.2, 0.15 * lines + 0.09


def settings_figure(table: pd.DataFrame, names: Sequence[str], width: float = PAGE) -> Figure:
    """The rows of a summary: share solved, share diverged (if any run did), iterations to solve.

    Shares with their 95 % intervals; iterations as median and, as a line, from quartile to
    quartile. At most ROWS rows: give the best.
    """
    table, names = table.head(ROWS), list(names)[:ROWS]
    measures = ["solved"]
    measures += ["diverged"] if table["diverged"].any() else []
    times = table[["lower", "median", "upper"]].to_numpy(np.float64)
    measures += ["iterations"] if np.isfinite(times).any() else []
    labels, left, row = row_labels(names, 40 if width > 6 else 28)
    up, below, gap = max(row * len(names), 0.4), 0.8, 0.3
    if width > 6:  # side by side, one column of labels for all
        across = (width - left - 0.15 - gap * (len(measures) - 1)) / len(measures)
        boxes = [(left + k * (across + gap), 0.1, across, up) for k in range(len(measures))]
        figure, grid = placed(width, 0.1 + up + below, boxes)
    else:
        boxes = [
            (left, 0.1 + k * (up + below), width - left - 0.2, up) for k in range(len(measures))
        ]
        figure, grid = placed(width, 0.1 + len(measures) * (up + below), boxes)
    for k, axes in enumerate(grid):
        label_rows(axes, labels if k == 0 or width <= 6 else [""] * len(labels))
    for measure, axes in zip(measures, grid, strict=True):
        if measure == "iterations":
            _times_row(axes, table, times)
        else:
            color = COLORS[0] if measure == "solved" else COLORS[1]
            _share_dots(axes, table, measure, color)
            axes.set_xlabel(f"runs {measure} (%),\n95 % interval", fontsize=9)
    return figure


def _times_row(axes: Axes, table: pd.DataFrame, times: Any) -> None:
    """Median and quartiles of iterations to solve, one row each."""
    log = spans_widely(times)
    largest = float(times[np.isfinite(times)].max())
    limit = largest * (1.6 if log else 1.12) if np.isinf(times).any() else largest
    reached = np.isfinite(times[:, 0])
    low = np.where(reached, times[:, 0], math.nan)
    dots(axes, table["median"], low, table["upper"].where(reached), COLORS[2], limit)
    if log:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, limit * 1.05)
    number_axis(axes.xaxis, log, most=3)
    label = "iterations to solve,\nmedian and quartiles"
    if np.isinf(times).any():
        label += "\n(▸ not reached)"
    axes.set_xlabel(label, fontsize=9)


def values_figure(tables: dict[str, pd.DataFrame], width: float = PAGE) -> Figure:
    """The share solved at each value of each varied field, pooled over the others: a panel each."""
    columns = max(1, min(len(tables), int(width // 2.6)))
    room = width / columns
    boxes, shown, top = [], [], 0.0
    fields = list(tables)
    for start in range(0, len(fields), columns):
        names = [[str(value) for value in tables[f]["value"]] for f in fields[start:][:columns]]
        labels = [row_labels(each, 16) for each in names]
        up = max(row * len(each) for (_, _, row), each in zip(labels, names, strict=True))
        left = max(each for _, each, _ in labels)
        for column, (texts, _, _) in enumerate(labels):
            boxes.append((column * room + left, top + 0.35, room - left - 0.15, up))
            shown.append(texts)
        top += up + 0.95
    figure, grid = placed(width, top, boxes)
    for field, texts, axes in zip(fields, shown, grid, strict=True):
        label_rows(axes, texts)
        _share_dots(axes, tables[field], "solved", COLORS[0])
        axes.set_title(field, loc="left", fontsize=10, y=1)
        axes.set_xlabel("runs solved (%)", fontsize=9)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's content, for print and for screens of twice the density."""
    return _saved(figure, "png", {"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure as an SVG file's content; the same figure gives the same bytes."""
    return _saved(figure, "svg", {"Date": None, "Creator": None})


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "bptt"}):
        figure.savefig(buffer, format=kind, dpi=192, metadata=metadata)
    return buffer.getvalue()
