"""The figures of an experiment, as declared; the look is that of `bptt.studies.drawing`."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bptt.errors import BpttError, quoted_list
from bptt.experiments.declaration import Curve, Drawing, Experiment
from bptt.experiments.measures import WORDS, Group, values_of
from bptt.studies import drawing as look
from bptt.studies.answers import learning_curves, summary
from bptt.studies.report import solved_panel
from bptt.training.figures import ShownFigure
from bptt.training.records import SMOOTHING
from bptt.training.training import Training

# What is drawn against iteration: the column of a study's curves, and what is made of it.
CURVES: dict[str, tuple[str, Callable[[Any, Group], Any]]] = {
    "loss": ("loss", lambda values, _: values),
    "loss per step": ("loss_per_step", lambda values, _: values),
    "smooth loss": ("smooth_loss", lambda values, _: values),
    "accuracy": ("exact", lambda values, _: values),
    "wrong": ("wrong", lambda values, _: 100 * values),
    "bits right": ("wrong", lambda v, group: (1 - v) * group.settings.task.steps),
}
FEW = 4  # runs that get a colour and a name each
COLUMNS = 6  # small multiples beside each other on a page
HIT, MISSED = look.COLORS[0], look.COLORS[1]


def figure_of(
    drawing: Drawing, experiment: Experiment, groups: dict[str, Group]
) -> Callable[[float], Figure]:
    """What makes the figure for a width in inches. Raises BpttError for an unknown value."""
    for curve in drawing.curves:
        if curve.value not in CURVES:
            raise BpttError(
                f"figure '{drawing.name}': value '{curve.value}' is not known: "
                f"choose one of {quoted_list(CURVES)}"
            )
    if drawing.of not in WORDS:
        raise BpttError(
            f"figure '{drawing.name}': of '{drawing.of}' is not known: "
            f"choose one of {quoted_list(WORDS)}"
        )
    rows = [
        (panel, [groups[place] for place in places])
        for panel, places in experiment.selected(drawing)
    ]
    return partial(_KINDS[drawing.kind], drawing, rows)


Rows = Sequence[tuple[str, Sequence[Group]]]


def _new_figure(width: float, height: float) -> Figure:
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _runs(drawing: Drawing, rows: Rows, width: float) -> Figure:
    """Each run a line; a setting a column of axes (on a phone: below each other)."""
    groups = [group for _, each in rows for group in each]
    across = len(groups) if width > 6 else 1
    down = math.ceil(len(groups) / across)
    high = len(drawing.curves)
    figure = _new_figure(width, down * (2.6 * high if high > 1 else 3.6) + 0.4)
    grid = figure.subplots(down * high, across, squeeze=False, sharey="row")
    for n, group in enumerate(groups):
        for k, curve in enumerate(drawing.curves):
            axes = grid[(n // across) * high + k, n % across]
            _lines(axes, drawing, curve, group)
            look.bare(axes)
            if len(groups) > 1 and k == 0:
                title = look.wrapped(group.name, width / across - 0.5)
                axes.set_title(title, loc="left", fontsize=10)
            if n % across == 0:
                axes.set_ylabel(curve.label, fontsize=9)
            if k == high - 1:
                axes.set_xlabel(drawing.iteration, fontsize=9)
    handles: dict[str, Any] = {}
    for axes in reversed(list(grid.flat)):
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower left", fontsize=9, frameon=False,
        ncols=2 if width < 6 else 4,
    )  # fmt: skip
    return figure


def _lines(axes: Axes, drawing: Drawing, curve: Curve, group: Group) -> None:
    """The runs of one setting, their median if they are many, and the references."""
    column, made = CURVES[curve.value]
    runs = group.frame.assign(hit=values_of(drawing.of, group)).sort_values("seed")
    if drawing.seeds is not None:
        runs = runs.head(drawing.seeds)
    lines = dict(list(group.curves.groupby("run")))
    few = len(runs) <= FEW
    for n, run in enumerate(runs.to_dict("records")):
        line = lines.get(run["run"])
        if line is None:
            continue
        hit = run["hit"]
        style: dict[str, Any] = (
            {"color": look.COLORS[n], "linestyle": look.STYLES[n], "marker": "o", "markersize": 3,
             "label": f"seed {run['seed']}"}
            if few
            else {"color": HIT if hit else MISSED, "linewidth": 0.6, "alpha": 0.45,
                  "rasterized": True,
                  "label": f"a run that {WORDS[drawing.of] if hit else 'does not'}"}
        )  # fmt: skip
        axes.plot(line["iteration"], made(line[column], group), **style)
    if not few:
        middle = learning_curves(runs, group.curves[group.curves["run"].isin(runs["run"])], column)
        values = made(middle["median"].where(np.isfinite(middle["median"])), group)
        axes.plot(middle["iteration"], values, color="black", linewidth=1.8, label="median")
    _references(axes, curve, group)
    if curve.scale == "log":
        axes.set_yscale("log")
    look.number_axis(axes.yaxis, log=curve.scale == "log")
    look.number_axis(axes.xaxis, log=False, most=4)


def _references(axes: Axes, curve: Curve, group: Group) -> None:
    for each in curve.references:
        if each.high is None:
            axes.axhline(each.low, color=look.GREY, linewidth=1, linestyle=":", label=each.label)
        else:
            axes.axhspan(each.low, each.high, color=look.GREY, alpha=0.25, label=each.label)
    if curve.value == "smooth loss":
        k = np.linspace(0, group.frame["iterations"].max(), 200)
        floor = Training(group.settings).smooth_loss * SMOOTHING**k
        lowest = min([each.low for each in curve.references], default=0.0) / 2
        shown = floor >= lowest  # below, it would only push the runs together
        words = "if every loss were 0"
        axes.plot(k[shown], floor[shown], color="black", linewidth=1.2, linestyle="--", label=words)


def _multiples(drawing: Drawing, rows: Rows, width: float) -> Figure:
    """Median and band of a setting in axes of their own; panels that fit share a row."""
    across = COLUMNS if width > 6 else COLUMNS // 2
    places = _flow([len(groups) for _, groups in rows], across)
    lines = places[-1][-1][0] + 1
    height = 1.5 * lines + 0.65
    figure = ShownFigure(figsize=(width, height))  # margins by hand: many axes are slow to fit
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, across, squeeze=False, sharey=True)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, bottom=0.6 / height, top=1 - 0.5 / height,
        wspace=0.28, hspace=0.75,
    )  # fmt: skip
    (curve,) = drawing.curves
    for axes in grid.flat:
        axes.set_visible(False)
    tops = []
    for (name, groups), spots in zip(rows, places, strict=True):
        for n, (group, spot) in enumerate(zip(groups, spots, strict=True)):
            axes = grid[spot]
            axes.set_visible(True)
            tops.append(_band(axes, curve, group))
            title = f"{name}:\n{group.name}" if n == 0 else group.name
            axes.set_title(title, loc="left", fontsize=9)
            axes.tick_params(labelleft=spot[1] == 0)
    grid[0, 0].set_ylim(0, 1.05 * max(tops))
    figure.supxlabel(drawing.iteration, fontsize=9, y=0.1 / height)
    figure.supylabel(curve.label, fontsize=9, x=0.1 / width)
    return figure


def _flow(sizes: Sequence[int], across: int) -> list[list[tuple[int, int]]]:
    """Row and column for each of `sizes` axes, panel by panel; a panel that fits the rest of a row
    goes there, one that is wider than a row takes several."""
    places, row, column = [], 0, 0
    for size in sizes:
        if column and column + size > across:
            row, column = row + 1, 0
        spots = [(row + (column + n) // across, (column + n) % across) for n in range(size)]
        places.append(spots)
        row, column = spots[-1][0], spots[-1][1] + 1
    return places


def _band(axes: Axes, curve: Curve, group: Group) -> float:
    """Median and quartiles over the runs, to the last iteration; returns the largest value."""
    column, made = CURVES[curve.value]
    bands = learning_curves(group.frame, group.curves, column)
    last = bands.iloc[[-1]].assign(iteration=group.settings.iterations)
    bands = pd.concat([bands, last], ignore_index=True)
    low, middle, high = (
        made(bands[each].where(np.isfinite(bands[each])), group)
        for each in ("low", "median", "high")
    )
    x = bands["iteration"].astype(float)
    axes.fill_between(x, low, high, color=look.COLORS[0], alpha=0.25, linewidth=0)
    axes.plot(x, middle, color=look.COLORS[0], linewidth=1.3)
    look.bare(axes)
    axes.tick_params(labelsize=8)
    axes.set_xticks([0, x.max()], ["0", look.thousands(x.max())])
    return float(high.max())


def _solved(drawing: Drawing, rows: Rows, width: float) -> Figure:
    """The share of runs solved by each iteration, a panel a picture."""
    panels = []
    for name, groups in rows:
        frame = pd.concat([group.frame.assign(label=group.name) for group in groups])
        panels.append(solved_panel(frame, summary(frame), name))
    return look.small_multiples(panels, width, columns=min(len(panels), 3) if width > 6 else 1)


_KINDS: dict[str, Callable[[Drawing, Rows, float], Figure]] = {
    "runs": _runs,
    "multiples": _multiples,
    "solved": _solved,
}
