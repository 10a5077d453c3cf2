"""Figures. Made without pyplot, so that importing bptt changes nothing in a user's session."""

import io
import json
import math
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bptt.floats import usual

if TYPE_CHECKING:
    from bptt.training.records import Record

# Okabe & Ito's palette, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


class ShownFigure(Figure):
    """A figure that shows itself in a notebook, whatever matplotlib backend is in use there."""

    def _repr_png_(self) -> bytes:
        return png(self)


@usual
def learning_curve(history: "Sequence[Record]", title: str, unit: str, outputs: str) -> Figure:
    """Loss and share of wrong outputs against iteration.

    unit: of the loss per step, for the axis; outputs: what an output is called ('bits').
    """
    figure = ShownFigure(figsize=(7.2, 5.2))
    FigureCanvasAgg(figure)
    # Fixed margins and a fixed title: to find good places things would be drawn once more.
    margins = {"left": 0.12, "right": 0.98, "bottom": 0.1, "top": 0.9, "hspace": 0.08}
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw=margins)
    iterations = [record.iteration for record in history]
    marker = "o" if len(history) < 40 else None
    upper.plot(
        iterations, [record.loss_per_step for record in history],
        color=BLUE, marker=marker, markersize=4,
    )  # fmt: skip
    if any(record.loss_per_step > 0 for record in history):
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        upper.yaxis.set_minor_locator(NullLocator())
    upper.set_ylabel(f"loss per step ({unit})")
    upper.set_title(title, y=1.0, loc="left", fontsize=11)
    for values, label, color in (
        ([100 * record.wrong for record in history], f"wrong {outputs}", ORANGE),
        ([100 * (1 - record.exact) for record in history], "sequences with a mistake", GREEN),
    ):
        lower.plot(iterations, values, label=label, color=color, marker=marker, markersize=4)
    lower.set_ylabel("share (%)")
    lower.set_ylim(-3, 103)
    lower.set_xlabel("iteration")
    # Before anything is learned the shares are high: there is room below them.
    lower.legend(loc="lower left", edgecolor="none", framealpha=0.9)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


@usual
def epochs_curve(
    history: "Sequence[Any]", title: str, unit: str, score: str, best: int = 0
) -> Figure:
    """Losses of training and validation against the epoch, and the validation's score.

    history: records of epochs (`bptt.fitting.training.EpochRecord`). unit: of the loss. score: what
    it is, 'right' for the share of right answers. best: the epoch whose weights were kept, 0 if
    nothing was held out.
    """
    figure = ShownFigure(figsize=(7.2, 5.2))
    FigureCanvasAgg(figure)
    margins = {"left": 0.12, "right": 0.98, "bottom": 0.1, "top": 0.9, "hspace": 0.08}
    held = any(record.val_loss is not None for record in history)
    rows = 2 if held else 1
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw=margins)[:, 0]
    epochs = [record.epoch for record in history]
    marker = "o" if len(history) < 40 else None
    lines = [("training", [record.loss for record in history], BLUE)]
    if held:
        lines.append(("validation", [record.val_loss for record in history], ORANGE))
        values = [record.val_score for record in history]
        share = score == "right"
        axes[1].plot(
            epochs, [100 * value for value in values] if share else values,
            color=ORANGE, marker=marker, markersize=4,
        )  # fmt: skip
        axes[1].set_ylabel("right in validation (%)" if share else f"{score}\nin validation")
    for label, values, color in lines:
        axes[0].plot(epochs, values, label=label, color=color, marker=marker, markersize=4)
    numbers = [value for _, values, _ in lines for value in values if math.isfinite(value)]
    if numbers and min(numbers) > 0 and max(numbers) > 10 * min(numbers):
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0].set_ylabel(f"loss ({unit})")
    axes[0].set_title(title, y=1.0, loc="left", fontsize=9)
    for each in axes:
        if best:
            each.axvline(
                best, color=GREEN, linewidth=1, linestyle="--",
                label="best" if each is axes[0] else None,
            )  # fmt: skip
    axes[0].legend(loc="best", edgecolor="none", framealpha=0.9)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#DDDDDD", linewidth=0.6)
        each.set_axisbelow(True)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's content."""
    return picture(figure, "png")


@usual
def picture(figure: Figure, kind: str) -> bytes:
    """The figure as the content of a file of that kind: 'png', 'svg', 'pdf'."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def serve() -> None:
    """In a process of its own (`bptt.commands.drawer`): read a line that says what to draw, as
    JSON, write the picture, and end."""
    line = sys.stdin.buffer.readline()
    if line:
        curve = json.loads(line)
        curve["history"] = [SimpleNamespace(**record) for record in curve["history"]]
        sys.stdout.buffer.write(png(learning_curve(**curve)))
        sys.stdout.buffer.flush()
    os._exit(0)  # to take everything down would keep the other process waiting
