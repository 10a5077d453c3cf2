"""The table (Markdown, JSON) and the figure of a benchmark's results."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.cases import ALL, CASES

Line = dict[str, Any]
PACKAGES = ("bptt", "numpy", "numba", "scipy", "torch", "jax", "jaxlib")


def machine() -> dict[str, str]:
    """Processor, cores, load and versions."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if hasattr(os, "getloadavg"):
        found["load at start"] = f"{os.getloadavg()[0]:.2f}"
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def amount(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def cell(line: Line | None, ours: Line | None) -> str:
    """One entry of the table: the time, and how many times ours it is."""
    if line is None:
        return ""
    for state in ("absent", "wrong", "failed"):
        if state in line:
            return "-" if state == "absent" else f"{state}: {line[state]}".replace("|", "/")
    if "seconds" not in line:
        return f"agrees ({line['error']:.0e})"
    shown = amount(line["seconds"])
    if ours and ours is not line and "seconds" in ours:
        shown += f" ({line['seconds'] / ours['seconds']:.2f}×)"
    return shown


def table(lines: list[Line], about: dict[str, str]) -> str:
    """The results as Markdown."""
    contenders = list(dict.fromkeys(line["contender"] for line in lines))
    labels: dict[str, str] = {name: name for name in contenders}
    labels |= {line["contender"]: str(line["label"]) for line in lines if "label" in line}
    by_case = {(line["case"], line["contender"]): line for line in lines}
    rows = [
        "Medians; CPU time of one thread, wall time for two. In brackets: how many times ours.",
        "",
        "| case | threads | " + " | ".join(labels[each] for each in contenders) + " |",
        "|---|---|" + "---|" * len(contenders),
    ]
    for name in dict.fromkeys(line["case"] for line in lines):
        ours = by_case.get((name, "ours"))
        cells = [cell(by_case.get((name, each)), ours) for each in contenders]
        rows.append(f"| {ALL[name].title} | {ALL[name].threads} | " + " | ".join(cells) + " |")
    forms = [
        f"- {ALL[line['case']].title}, {line['label']}: {line['form']}"
        for line in lines
        if line.get("form", "plain") != "plain" and "seconds" in line
    ]
    if forms:
        rows += ["", "Forms that were fastest:", "", *forms]
    absent = {
        f"{line['contender']}: {line['absent']}"
        for line in lines
        if "absent" in line and line["absent"] != "does not do this case"
    }
    if absent:
        rows += ["", *(f"Absent: {why}." for why in sorted(absent))]
    rows += ["", *(f"- {name}: {value}" for name, value in about.items())]
    return "\n".join(rows) + "\n"


def figure(lines: list[Line], path: Path) -> bool:
    """Time per iteration against hidden size and number of models, log scales. False if there is
    nothing to draw, or matplotlib is not installed."""
    timed = [line for line in lines if "seconds" in line]
    try:
        import matplotlib
    except ModuleNotFoundError:
        return False
    if not timed:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    online = [case.name for case in CASES if case.name == f"elman-online-{case.hidden}"]
    many = [case.name for case in CASES if case.name == f"elman-{case.models}-models-16"]
    drawing, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axis, names, size, words in (
        (axes[0], online, "hidden", "hidden units H (one model, one thread)"),
        (axes[1], many, "models", "models at once (H 16, two threads, per model)"),
    ):
        for label in dict.fromkeys(line["label"] for line in timed):
            points = sorted(
                (getattr(ALL[line["case"]], size), line["seconds"] * 1e6)
                for line in timed
                if line["label"] == label and line["case"] in names
            )
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=label)
        axis.set(xscale="log", yscale="log", xlabel=words)
        axis.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("µs an iteration, Elman, T 8")
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        drawing.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    drawing.savefig(path, dpi=150)
    pyplot.close(drawing)
    return True
