"""Pictures of a proof and of a machine."""

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from bptt.proofs.automaton import Automaton
from bptt.proofs.extraction import arrows
from bptt.proofs.shadow import Shadows

if TYPE_CHECKING:  # the search imports the compiler
    from bptt.proofs.search import Balls

# Okabe & Ito's palette, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=144)
    return target.getvalue()


def balls_png(balls: "Balls", automaton: Automaton, title: str) -> bytes:
    """The balls of a proof, seen along the two directions in which they lie furthest apart; a
    colour a state of the automaton."""
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = balls.centre @ balls.metric.T
    _, turned = np.linalg.eigh(np.cov(places.T).reshape(places.shape[1], -1))
    flat = (places - places.mean(axis=0)) @ turned[:, ::-1][:, :2]
    flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    draw_sets(axes, Shadows(flat, balls.radius, balls.label, np.eye(2)), automaton)
    axes.plot(*flat[0], "k+", markersize=12, label="start")
    axes.set(
        title=title,
        xlabel="first direction of the states, as the metric sees it", ylabel="second direction",
    )  # fmt: skip
    if automaton.size <= 10:
        figure.legend(loc="outside lower center", ncols=automaton.size + 1)
    return _png(figure)


def draw_sets(axes: Axes, seen: Shadows, automaton: Automaton) -> None:
    """Sets of states in a plane, a colour a state of the automaton, with their middles; fainter
    where there are many."""
    across, up, angle = seen.axes
    faint = min(0.18, 9 / max(len(seen.radius), 1))
    for state in range(automaton.size):
        mine = seen.label == state
        colour = COLOURS[state % len(COLOURS)]
        sizes = 2 * seen.radius[mine]
        axes.add_collection(EllipseCollection(
            sizes * across, sizes * up, np.full(len(sizes), angle), units="xy",
            offsets=seen.centre[mine], facecolors=to_rgba(colour, faint),
            edgecolors=to_rgba(colour, 0.35), transOffset=axes.transData,
        ))  # fmt: skip
        axes.plot(
            *seen.centre[mine].T, ".", color=colour, markersize=3, label=automaton.names[state]
        )
    reach = across * seen.radius[:, None]
    low, high = (seen.centre - reach).min(axis=0), (seen.centre + reach).max(axis=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def machine_png(machine: Automaton, title: str) -> bytes:
    """A machine drawn: states on a circle, an arrow for the symbols that lead the same way."""
    figure = Figure(figsize=(7.2, machine_height(machine)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_machine(axes, machine)
    axes.set_title(title)
    return _png(figure)


def machine_height(machine: Automaton) -> float:
    """In inches, of a picture that is 7.2 inches wide."""
    return 3.4 * _tall(machine)


def _tall(machine: Automaton) -> float:
    return 1.7 if machine.size > 2 else 0.8


def draw_machine(axes: Axes, machine: Automaton) -> None:
    """The machine of `machine_png` on some axes."""
    tall = _tall(machine)
    angle = np.pi - 2 * np.pi * np.arange(machine.size) / max(machine.size, 1)
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (machine.size > 1)
    size = min(0.16, 1.2 / max(machine.size, 1))
    for (s, t), words in arrows(machine).items():
        label, a, b = "\n".join(words), places[s], places[t]
        if s == t:
            away = a / max(float(np.linalg.norm(a)), 1e-9) if machine.size > 1 else [0.0, 1.0]
            top = a + 2.1 * size * np.asarray(away)
            circle = np.linspace(0, 2 * np.pi, 60)
            ring = a + 1.35 * size * np.asarray(away)
            axes.plot(ring[0] + 0.7 * size * np.cos(circle), ring[1] + 0.7 * size * np.sin(circle),
                      color="0.4", lw=1.2, zorder=1)  # fmt: skip
            at = top + 0.16 * np.asarray(away)
        else:
            axes.annotate("", b, a, zorder=1, arrowprops={
                "arrowstyle": "-|>", "connectionstyle": "arc3,rad=0.25", "color": "0.4",
                "shrinkA": 165 * size, "shrinkB": 165 * size, "lw": 1.2,
            })  # fmt: skip
            along = b - a
            at = (a + b) / 2 + 0.125 * np.array([along[1], -along[0]]) + 0.02
        axes.annotate(label, at, ha="center", va="center", fontsize=8,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip
    for s, place in enumerate(places):
        axes.add_patch(Circle(
            (float(place[0]), float(place[1])), size, facecolor="white", lw=2 + (s == 0),
            edgecolor=COLOURS[s % len(COLOURS)], zorder=3,
        ))  # fmt: skip
        axes.annotate(machine.names[s], place, ha="center", va="center", fontsize=9, zorder=4)
    axes.set(xlim=(-1.9, 1.9), ylim=(-tall, tall), aspect="equal")
    axes.axis("off")
