"""The figure: time of an iteration against hidden size and against the number of models."""

from pathlib import Path
from typing import Any

from benchmarks.cases import ALL, CASES
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


def draw(lines: list[Line], path: Path) -> bool:
    """Write the figure as PNG; False if there is nothing to draw or no matplotlib to draw with."""
    timed = [line for line in lines if line["kind"] == "time" and "seconds" in line]
    timed = [line for line in timed if any(line["case"] in names for names, *_ in PANELS)]
    if not timed:
        return False
    try:
        import matplotlib
    except ModuleNotFoundError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

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
        sizes = sorted({getattr(ALL[name], size) for name in names})
        axis.set(xscale="log", yscale="log", xlabel=label, title=title)
        axis.set_xticks(sizes, [str(each) for each in sizes])
        axis.minorticks_off()
        axis.grid(True, which="major", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("time of an iteration and model, µs")
    drawing.suptitle("Online training of an Elman network, 8 steps, float32")
    drawing.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles),
        frameon=False,
    )  # fmt: skip
    drawing.savefig(path, dpi=150)
    pyplot.close(drawing)
    return True
