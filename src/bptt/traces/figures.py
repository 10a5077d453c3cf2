"""Figures of a trace, for papers and lessons; each is a matplotlib figure of one question.

Colours of signed values are symmetric about 0; sizes of derivatives stand on a log axis, so that
what has vanished looks vanished.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bptt.network.parameters import Array
from bptt.proofs.picture import draw_machine, draw_sets, machine_height
from bptt.proofs.shadow import shadows
from bptt.traces.derived import (
    apart,
    components,
    eigenvalues,
    gradient_norms,
    plane_apart,
    singular_values,
)
from bptt.traces.trace import Trace
from bptt.training.figures import BLUE, GREEN, ORANGE, ShownFigure

if TYPE_CHECKING:
    from bptt.proofs.prove import Proof

# What is smaller than this part of the largest, or is 0, is left out of a log axis.
FLOOR = 1e-12
SIGNED = "RdBu_r"
# Steps beyond which single labels under a heat map cannot be read.
MOST_LABELS = 48
MOST_STATES = 10  # of an automaton, in a legend

Labels = Sequence[str] | None


def _figure(width: float, height: float) -> ShownFigure:
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _heat(axes: Axes, values: Array, label: str, figure: Figure, first: int) -> None:
    """Values (rows, times): signed ones in colours symmetric about 0, others from 0; `first`: the
    first column's time."""
    size = float(np.abs(values).max()) or 1.0
    signed = bool((values < 0).any())
    rows, columns = values.shape
    extent = (first - 0.5, first + columns - 0.5, rows - 0.5, -0.5)
    image = axes.imshow(
        values, cmap=SIGNED if signed else "viridis", vmin=-size if signed else 0, vmax=size,
        aspect="auto", interpolation="nearest", extent=extent,
    )  # fmt: skip
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=axes, pad=0.01, aspect=12)


def _steps(axes: Axes, steps: int, labels: Labels, what: str = "step") -> None:
    """Name the steps 1 ... T under a plot; with labels, each by its own where there is room."""
    axes.set_xlabel(what)
    if labels is not None and steps <= MOST_LABELS:
        axes.set_xticks(range(1, steps + 1), list(labels)[:steps])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _seen(values: Array, top: float) -> Array:
    """What is large enough for a log axis whose largest value is `top`; NaN elsewhere."""
    return np.where(values > top * FLOOR, values, np.nan)


def stage(trace: Trace, sample: int = 0, layer: int = -1, labels: Labels = None) -> Figure:
    """States going forward and the derivatives coming back, unit by unit: s_t above, dL/ds_t
    below, for each state of the cell; time 0 is the initial state."""
    names, length = trace.structure.equations.states, int(trace.lengths[sample])
    figure = _figure(8.0, 2.1 * 2 * len(names) + 0.6)
    axes = figure.subplots(2 * len(names), 1, sharex=True)
    for n, name in enumerate(names):
        for row, key, label in ((2 * n, "states", name), (2 * n + 1, "dstates", f"dL/d{name}")):
            values = trace[key][layer, n, sample, : length + 1].T
            _heat(axes[row], values, f"{label}, unit", figure, 0)
    _steps(axes[-1], length, labels, "time" if labels is None else "step")
    figure.suptitle(f"forward, and back: sample {sample}, loss {trace.loss:.4g}", fontsize=11)
    return figure


def credit(trace: Trace, sample: int = 0, layer: int = -1) -> Figure:
    """Which loss reaches which state, |d loss_t / d h_k|, and what truncation loses."""
    found = apart(trace, sample)
    sizes = found.credit(layer=layer)  # (answers, T + 1)
    errors = found.truncated()
    figure = _figure(9.0, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    top = float(sizes.max()) or 1.0
    floor = max(float(sizes[sizes > 0].min(initial=top)), top * FLOOR)
    answers = trace.coords["answer"]
    first, last = (answers[0], answers[len(sizes) - 1]) if len(sizes) > 1 else (1, 1)
    image = left.imshow(
        np.ma.masked_less(sizes, floor), norm=LogNorm(floor, max(top, floor * 10)), cmap="viridis",
        aspect="auto", origin="lower", interpolation="nearest",
        extent=(-0.5, sizes.shape[1] - 0.5, first - 0.5, last + 0.5),
    )  # fmt: skip
    left.set_xlabel("state at time k")
    left.set_ylabel("loss of the answer at step t")
    left.set_title("|d loss_t / d h_k|", loc="left", fontsize=11)
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=left, pad=0.02)
    window = np.arange(1, len(errors) + 1)
    right.semilogy(window, _seen(errors, 1), color=BLUE, marker="o", markersize=3.5)
    right.set_xlabel("steps K that the gradient reaches back")
    right.set_ylabel("error of the truncated gradient, relative")
    right.set_title("what truncation loses", loc="left", fontsize=11)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(right)
    return figure


def flow(trace: Trace, sample: int = 0, layer: int = -1) -> Figure:
    """How large the derivative is on its way back, and how much each step can stretch or shrink
    it: the norms of dL/ds_t and the largest and smallest singular value of each step's Jacobian."""
    length = int(trace.lengths[sample])
    figure = _figure(8.0, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    colours = (BLUE, ORANGE, GREEN)
    norms = gradient_norms(trace, layer)
    top = max(float(each[sample].max()) for each in norms.values()) or 1.0
    for colour, (name, values) in zip(colours, norms.items(), strict=False):
        upper.semilogy(
            np.arange(length + 1), _seen(values[sample, : length + 1], top),
            color=colour, marker="o", markersize=3.5, label=f"|dL/d{name}|",
        )  # fmt: skip
    upper.set_ylabel("size of the derivative")
    upper.legend(edgecolor="none")
    values = singular_values(trace, layer % trace.structure.layers, sample)
    steps = np.arange(1, length + 1)
    for place, colour, label in ((0, ORANGE, "largest"), (-1, BLUE, "smallest")):
        lower.semilogy(
            steps, _seen(values[:, place], 1), color=colour, marker="o", markersize=3.5,
            label=label,
        )  # fmt: skip
    lower.axhline(1, color="#777777", linewidth=0.8)
    lower.set_ylabel("singular values of $ds_t/ds_{t-1}$")
    lower.legend(edgecolor="none")
    _steps(lower, length, None, "time")
    for axes in (upper, lower):
        _tidy(axes)
    return figure


def weights(trace: Trace, layer: int = -1) -> Figure:
    """W of a layer beside its gradient, gate by gate, and its eigenvalues about the unit circle."""
    s, layer = trace.structure, layer % trace.structure.layers
    name, cell = s.name("W", layer), s.equations
    gates = [cell.preactivations[k] for k in cell.recurrent]
    figure = _figure(2.6 * max(len(gates), 1) + 4.6, 5.2)
    grid = figure.add_gridspec(2, len(gates) + 1, width_ratios=[*[1] * len(gates), 1.6])
    for row, (values, label) in enumerate(
        ((trace.weights[name], name), (trace.gradients[name], f"dL/d{name}"))
    ):
        values = values if s.tied else values.mean(axis=0)
        size = float(np.abs(values).max()) or 1.0
        for n, (gate, block) in enumerate(zip(gates, np.split(values, len(gates), 1), strict=True)):
            axes = figure.add_subplot(grid[row, n])
            image = axes.imshow(block, cmap=SIGNED, vmin=-size, vmax=size, interpolation="nearest")
            axes.set_title(f"{label}, {gate}" if len(gates) > 1 else label, loc="left", fontsize=10)
            axes.set_xlabel("to unit")
            axes.set_ylabel("from unit" if n == 0 else "")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        figure.colorbar(image, ax=figure.axes[-len(gates) :], pad=0.02, shrink=0.85)
    circle = figure.add_subplot(grid[:, -1])
    angle = np.linspace(0, 2 * np.pi, 200)
    circle.plot(np.cos(angle), np.sin(angle), color="#777777", linewidth=0.8)
    colours = (BLUE, ORANGE, GREEN, "#CC79A7")
    marks = ("o", "s", "^", "D")
    for n, (gate, found) in enumerate(eigenvalues(trace, layer).items()):
        flat = found.ravel()
        circle.scatter(
            flat.real, flat.imag, s=16, color=colours[n % 4], marker=marks[n % 4], label=gate
        )
    circle.set_aspect("equal", adjustable="datalim")
    circle.set_xlabel("real part")
    circle.set_ylabel("imaginary part")
    circle.set_title(f"eigenvalues of {name}", loc="left", fontsize=10)
    if len(gates) > 1:
        circle.legend(edgecolor="none", fontsize=9)
    _tidy(circle)
    return figure


def gates(trace: Trace, sample: int = 0, layer: int = -1, labels: Labels = None) -> Figure:
    """What the cell's gates do at every step, unit by unit."""
    names, length = trace.coords["gate"], int(trace.lengths[sample])
    figure = _figure(8.0, 1.7 * len(names) + 0.9)
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    for n, name in enumerate(names):
        _heat(axes[n], trace["gates"][layer, n, sample, :length].T, f"{name}, unit", figure, 1)
    _steps(axes[-1], length, labels)
    figure.suptitle(f"gates: sample {sample}", fontsize=11)
    return figure


def states(trace: Trace, layer: int = -1, proof: "Proof | None" = None) -> Figure:
    """The paths of all samples through the plane in which states differ most. proof: of the network
    (`bptt.prove`), if it was proved: its sets of states, and the automaton, are drawn too."""
    if proof is not None and proof.verdict == "proved" and trace.structure.hidden > 1:
        return _proved_states(trace, proof)
    found = components(trace, 2, layer) if trace.structure.hidden > 1 else None
    figure = _figure(6.2, 5.2)
    axes = figure.subplots()
    if found is None:
        for sample, length in enumerate(trace.lengths):
            values = trace["states"][layer, 0, sample, : length + 1, 0]
            axes.plot(np.arange(length + 1), values, marker="o", markersize=3, linewidth=0.7)
        axes.set_xlabel("time")
        axes.set_ylabel("h")
        _tidy(axes)
        return figure
    for sample, length in enumerate(trace.lengths):
        path = found.scores[sample, : length + 1]
        axes.plot(path[:, 0], path[:, 1], color="#BBBBBB", linewidth=0.7, zorder=1)
        image = axes.scatter(
            path[:, 0], path[:, 1], c=np.arange(length + 1), s=14, cmap="viridis", zorder=2,
            vmin=0, vmax=trace.steps,
        )  # fmt: skip
    figure.colorbar(image, ax=axes, label="time", pad=0.02)
    shares = [f"component {n} ({100 * x:.0f} % of the variance)" for n, x in
              enumerate(found.explained, 1)]  # fmt: skip
    axes.set_xlabel(shares[0])
    axes.set_ylabel(shares[1])
    count = "1 sample" if trace.samples == 1 else f"{trace.samples} samples"
    axes.set_title(f"states h of {count}", loc="left", fontsize=11)
    _tidy(axes)
    return figure


def _proved_states(trace: Trace, proof: "Proof") -> Figure:
    """The paths of all samples among the sets of a proof, in the plane in which the sets of the
    automaton's states lie furthest apart; below it the automaton."""
    balls, s = proof.balls, trace.structure
    assert balls is not None
    first = (s.layers - 1) * len(s.equations.states) * s.hidden
    centres = balls.centre[:, first : first + s.hidden]
    mean = centres.mean(axis=0)
    plane = plane_apart(centres - mean, balls.label)
    below = machine_height(proof.automaton)
    figure = _figure(7.2, 5.4 + below)
    upper, lower = figure.subplots(2, 1, height_ratios=(5.4, below))
    draw_sets(upper, shadows(balls, s, plane, mean), proof.automaton)
    for sample, length in enumerate(trace.lengths):
        path = (trace["states"][-1, 0, sample, : length + 1] - mean) @ plane
        upper.plot(path[:, 0], path[:, 1], color="#222222", marker="o", markersize=4, linewidth=1)
    upper.set(xlabel="direction 1", ylabel="direction 2")
    if proof.automaton.size <= MOST_STATES:
        upper.legend(edgecolor="none", loc="upper left", bbox_to_anchor=(1, 1), markerscale=3)
    upper.set_title(f"{len(balls)} sets of states: {proof.claim}", loc="left", fontsize=11)
    _tidy(upper)
    draw_machine(lower, proof.automaton)
    lower.set_title("what has to be remembered", loc="left", fontsize=11)
    return figure


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


FIGURES: dict[str, Callable[..., Figure]] = {
    "stage": stage,
    "credit": credit,
    "flow": flow,
    "weights": weights,
    "gates": gates,
    "states": states,
}


def all_figures(
    trace: Trace, sample: int = 0, labels: Labels = None, proof: "Proof | None" = None
) -> dict[str, Any]:
    """Every figure of one sample, by name; proof: see `states`."""
    return {
        "stage": stage(trace, sample, labels=labels),
        "credit": credit(trace, sample),
        "flow": flow(trace, sample),
        "weights": weights(trace),
        "gates": gates(trace, sample, labels=labels),
        "states": states(trace, proof=proof),
    }
