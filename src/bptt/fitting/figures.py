"""Figures of a test: which classes are taken for which, and predicted against true numbers."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bptt.fitting.scores import Report
from bptt.floats import usual
from bptt.training.figures import BLUE, ORANGE, ShownFigure

# So many points of a cloud are drawn at most, and so many cells have their number written in.
MOST_POINTS, MOST_NUMBERED = 5000, 15


def figure_of(report: Report, title: str) -> Figure:
    """The confusion matrix where classes were learned, else predicted against true numbers."""
    if report.classes:
        return confusion(report.confusion, report.classes, title)
    return predicted(report.truth, report.said, title)


def _empty(width: float, height: float, title: str) -> tuple[Figure, Any]:
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    return figure, axes


@usual
def confusion(counts: Any, classes: tuple[Any, ...], title: str) -> Figure:
    """Rows: what it was; columns: what it was taken for; colours: the share of the row."""
    size = min(max(3.6, 0.45 * len(classes) + 2), 12)
    figure, axes = _empty(size + 1, size, title)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [str(each) if len(str(each)) <= 16 else f"{str(each)[:15]}…" for each in classes]
    if len(classes) <= MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if share[row, column] > 0.6 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
    if len(classes) <= 4 * MOST_NUMBERED:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("was")
    return figure


@usual
def predicted(truth: Any, said: Any, title: str) -> Figure:
    """Each answer as a point; on the line those that are right. Of several numbers the first."""
    figure, axes = _empty(5.2, 5.2, title)
    y, p = truth[:, 0], said[:, 0]
    if len(y) > MOST_POINTS:
        some = np.random.default_rng(0).choice(len(y), MOST_POINTS, replace=False)
        y, p = y[some], p[some]
    low, high = min(y.min(), p.min()), max(y.max(), p.max())
    margin = 0.03 * (high - low) or 1.0
    ends = [low - margin, high + margin]
    axes.plot(ends, ends, color=ORANGE, linewidth=1, zorder=1)
    axes.scatter(y, p, s=14 if len(y) < 500 else 5, color=BLUE, alpha=0.6, linewidths=0, zorder=2)
    axes.set(xlim=ends, ylim=ends, xlabel="true", ylabel="predicted", aspect="equal")
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
