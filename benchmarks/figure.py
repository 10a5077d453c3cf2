"""The figures: time of an iteration against hidden size and against the number of models, of all
contenders; and how our time and memory grow."""

from pathlib import Path
from typing import Any

from benchmarks import growth
from benchmarks.cases import ALL, CASES, GROWTH
from benchmarks.contender import NAMES

Line = dict[str, Any]

# Okabe and Ito's colours, which the colour-blind can tell apart, and a mark of its own for each.
LOOKS = {
    "ours": ("#D55E00", "o"),
    "numpy_reports": ("#56B4E9", "v"),
    "pytorch": ("#0072B2", "s"),
    "jax_loop": ("#009E73", "D"),
    "c_floor": ("#000000", "^"),
}
PANELS = (
    (
        [case.name for case in CASES if case.name == f"elman-online-{case.hidden}"],
        "hidden",
        "hidden units",
        "one model, one thread",
    ),
    (
        [case.name for case in CASES if case.name == f"elman-{case.models}-models-16"],
        "models",
        "models trained at once",
        "16 hidden units, two threads",
    ),
)
# What grows, in words.
TITLES = {
    "steps": "steps (LSTM, H 64, B 16)",
    "hidden": "hidden units (LSTM, T 64, B 16)",
    "batch": "samples (LSTM, H 64, T 64)",
    "models": "models (Elman, H 16, T 8)",
}


def _pyplot() -> Any:
    """Matplotlib's plotting, for files; None if it is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _logarithmic(axis: Any, sizes: list[int], label: str) -> None:
    """Both axes in powers, with the sizes as they are."""
    axis.set(xscale="log", yscale="log", xlabel=label)
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.grid(True, which="major", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def draw(lines: list[Line], path: Path) -> bool:
    """Write the figure as PNG; False if there is nothing to draw or no matplotlib to draw with."""
    timed = [line for line in lines if line["kind"] == "time" and "seconds" in line]
    timed = [line for line in timed if any(line["case"] in names for names, *_ in PANELS)]
    pyplot = _pyplot() if timed else None
    if pyplot is None:
        return False
    drawing, axes = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained", sharey=True)
    handles: dict[str, Any] = {}
    for axis, (names, size, label, title) in zip(axes, PANELS, strict=True):
        for contender in NAMES:
            mine = [x for x in timed if x["contender"] == contender and x["case"] in names]
            points = sorted((getattr(ALL[x["case"]], size), x["seconds"] * 1e6) for x in mine)
            if points:
                colour, mark = LOOKS[contender]
                (handle,) = axis.plot(
                    *zip(*points, strict=True), color=colour, marker=mark, markersize=6,
                    linewidth=2.5 if contender == "ours" else 1.5,
                )  # fmt: skip
                handles[mine[0]["label"]] = handle
        _logarithmic(axis, sorted({getattr(ALL[name], size) for name in names}), label)
        axis.set_title(title)
    axes[0].set_ylabel("time of an iteration and model, µs")
    drawing.suptitle("Online training of an Elman network, 8 steps, float32")
    drawing.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles),
        frameon=False,
    )  # fmt: skip
    drawing.savefig(path, dpi=150)
    pyplot.close(drawing)
    return True


def draw_growth(lines: list[Line], path: Path) -> bool:
    """Write the figure of growth as PNG; False as in `draw`. Above time, below memory."""
    kinds = {kind: points for kind in GROWTH if (points := growth.of_kind(lines, kind))}
    pyplot = _pyplot() if kinds else None
    if pyplot is None:
        return False
    drawing, axes = pyplot.subplots(
        2, len(kinds), figsize=(2 + 2.75 * len(kinds), 6), layout="constrained", squeeze=False,
        sharex="col", sharey="row",
    )  # fmt: skip
    colour, mark = LOOKS["ours"]
    for column, (kind, points) in zip(axes.T, kinds.items(), strict=True):
        fitted = growth.fits(points)
        sizes = [int(size) for size, _ in points]
        rows = (("seconds", 1e3, "time", column[0]), ("peak", 1e-6, "memory", column[1]))
        for field, factor, what, axis in rows:
            values = [(size, line[field] * factor) for size, line in points if line[field] > 0]
            axis.plot(*zip(*values, strict=True), color=colour, marker=mark, label="measured")
            if what == "memory":
                kept = [line["arrays"] * factor for _, line in points]
                axis.plot(sizes, kept, "--", color="#000000", label="arrays to keep")
            power = fitted[what]
            said = "too small to tell" if power is None else f"exponent {power:.2f}"
            axis.annotate(said, (0.05, 0.92), xycoords="axes fraction")
            _logarithmic(axis, sizes, "" if what == "time" else TITLES[kind])
    axes[0, 0].set_ylabel("time of an iteration, ms")
    axes[1, 0].set_ylabel("peak memory, MB")
    drawing.suptitle("How time and memory grow, one thread; exponents of the largest sizes")
    drawing.legend(
        *axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    drawing.savefig(path, dpi=150)
    pyplot.close(drawing)
    return True
