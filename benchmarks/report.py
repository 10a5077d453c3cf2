"""The results as Markdown.

`python -m benchmarks.report FOLDER DOCUMENT` puts a kept run's tables between the marks of a
document, and its figures beside it.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import growth, use
from benchmarks.cases import ALL, CASES
from benchmarks.contender import NAMES

Line = dict[str, Any]
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
# The figures, and what to say to who cannot see them.
FIGURE, GROWTH_FIGURE = "benchmark.png", "benchmark-growth.png"
WORDS = {
    FIGURE: "Time of an iteration against hidden units and against models trained at once",
    GROWTH_FIGURE: "Time and memory against steps, hidden units, samples and models",
}


def amount(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def trouble(line: Line) -> str:
    """What went wrong, in words that fit a table; '' if nothing did."""
    for state in ("wrong", "failed", "late"):
        if state in line:
            words = str(line[state]) if state == "late" else f"{state}: {line[state]}"
            return words.replace("|", "/").replace("\n", " ")
    return ""


def cell(line: Line | None, ours: Line | None) -> str:
    """One entry of the table: the time, and how many times ours it is."""
    if line is None:
        return ""
    if "absent" in line:
        return "-"
    if trouble(line) and ("seconds" not in line or "late" not in line):
        return trouble(line)
    if "seconds" not in line:
        return f"agrees ({line['error']:.0e})"
    shown = amount(line["seconds"])
    if ours and ours is not line and "seconds" in ours and not trouble(ours):
        shown += f" ({line['seconds'] / ours['seconds']:.2f}×)"
    return shown


def brief(line: Line) -> str:
    """A line in a few words, as it is found."""
    if "absent" in line:
        return str(line["absent"])
    if "grown" in line:
        return f"{line['grown'] / 1e6:.2f} MB grown"
    if line["kind"] == "memory" and "peak" in line:
        multiple = line["peak"] / line["arrays"]
        return f"{line['peak'] / 1e6:.1f} MB, {multiple:.2f} times what must be kept"
    if "seconds" in line and "late" in line:
        return f"{amount(line['seconds'])}, then {line['late']}"
    return cell(line, None)


def goal_table(goals: list[Line]) -> list[str]:
    """What was asked, what was measured, whether it was met."""
    measured = [goal for goal in goals if goal["measured"] is not None]
    said = f"{sum(goal['met'] for goal in measured)} of {len(measured)} goals are met."
    if others := len(goals) - len(measured):
        said += f" {others} more were not part of this run."
    rows = [said, "", "| goal | asked | measured | met |", "|---|---|---|---|"]
    for goal in measured:
        asked, met = goal["asked"], "yes" if goal["met"] else "**no**"
        if goal["stretch"] is not None:
            asked += f"; stretch {goal['stretch']:g}"
            met += "; stretch " + ("yes" if goal["stretch_met"] else "no")
        rows.append(f"| {goal['goal']} | {asked} | {goal['measured']:.3g} {goal['unit']} | {met} |")
    return rows if measured else []


def case_table(lines: list[Line]) -> list[str]:
    """Cases down, contenders across."""
    found = dict.fromkeys(line["contender"] for line in lines)
    contenders = [name for name in NAMES if name in found]
    contenders += [name for name in found if name not in NAMES]
    labels: dict[str, str] = {name: name for name in contenders}
    labels |= {line["contender"]: str(line["label"]) for line in lines if "label" in line}
    by_case = {(line["case"], line["contender"]): line for line in lines}
    rows = [
        "| case | threads | " + " | ".join(labels[each] for each in contenders) + " |",
        "|---|---|" + "---|" * len(contenders),
    ]
    for case in CASES:
        mine = [by_case.get((case.name, each)) for each in contenders]
        if any(mine):
            ours = by_case.get((case.name, "ours"))
            cells = [cell(line, ours) for line in mine]
            rows.append(f"| {case.title} | {case.threads} | " + " | ".join(cells) + " |")
    return rows


def notes(lines: list[Line]) -> list[str]:
    """Forms that were tried, who was absent, what was late."""
    rows = []
    for line in lines:
        if len(line.get("forms", {})) > 1:
            tried = sorted(line["forms"].items(), key=lambda entry: entry[1])
            each = "; ".join(f"{form}: {amount(seconds)}" for form, seconds in tried)
            rows.append(f"- {ALL[line['case']].title}, {line['label']}: {each}")
    if rows:
        summary = "<summary>Forms that were tried; the first is the one in the table</summary>"
        rows = ["<details>", summary, "", *rows, "", "</details>"]
    absent = dict.fromkeys(
        f"{line.get('label', line['contender'])}: {line['absent']}"
        for line in lines
        if "absent" in line and line["absent"] != "does not do this case"
    )
    late = [
        f"{line['case']}, {line.get('label', line['contender'])}: {line['late']}"
        for line in lines
        if "late" in line
    ]
    return [f"- {each}." for each in (*absent, *late)] + ([""] if absent or late else []) + rows


def use_table(lines: list[Line]) -> list[str]:
    """What a user waits for."""
    rows = ["| what | median | |", "|---|---|---|"]
    for line in lines:
        said = {True: "says that it compiles", False: "does not say that it compiles"}
        more = said[told] if (told := line.get("says_it_compiles")) is not None else ""
        shown = amount(line["seconds"]) if "seconds" in line else trouble(line)
        rows.append(f"| {use.TITLES[line['case']]} | {shown} | {more} |")
    return rows if len(rows) > 2 else []


ENDURED = {
    growth.ENGINE_CASE: "of the engine",
    growth.TRAINING_CASE: "of a whole training, whose history of 1,000 records it keeps",
}


def growth_section(lines: list[Line], picture: list[str]) -> list[str]:
    """How time and memory grow, what memory training takes, and whether iterations add to it."""
    rows = growth.table(lines)
    if rows:
        said = (
            "bptt, one thread, CPU time, float32. Steps, hidden units and samples are those of an "
            "LSTM's gradient (64 steps, 64 units, 16 samples, unless they grow), models Elman "
            "networks of 16 units, 8 steps. Exponents of the largest sizes."
        )
        rows = [said, "", *picture, *rows, ""]
    if kept := growth.memory_table(lines):
        said = "Memory of one iteration of training, with an optimizer of two states a parameter:"
        rows += [said, "", *kept, ""]
    rows += [
        f"- Memory grew by {line['grown'] / 1e6:.2f} MB over the last nine tenths of "
        f"{line['iterations']:,} iterations {ENDURED[line['case']]}."
        for line in lines
        if line["kind"] == "endurance" and "grown" in line
    ]
    return rows + [
        f"- {line['case']}: {trouble(line)}."
        for line in lines
        if line["kind"] in ("growth", "memory", "endurance") and trouble(line)
    ]


def sections(
    lines: list[Line], goals: list[Line], figures: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """Heading and rows of every part."""

    def of(*kinds: str) -> list[Line]:
        return [line for line in lines if line["kind"] in kinds]

    pictures = {name: [f"![{words}]({name})", ""] for name, words in WORDS.items()}
    pictures |= {name: [] for name in WORDS if name not in figures}
    timed = of("time", "short")
    explained = (
        "Medians; CPU time of one thread, wall time for two. In brackets: how many times ours."
    )
    beside = [explained, "", *pictures[FIGURE], *case_table(timed)] if timed else []
    return [
        ("Goals", goal_table(goals)),
        ("Side by side", beside),
        ("What a user waits for", use_table(of("use"))),
        ("Growth and memory", growth_section(lines, pictures[GROWTH_FIGURE])),
        ("Notes", notes(timed)),
    ]


def markdown(results: dict[str, Any], figures: Sequence[str] = ()) -> str:
    """All of the results, as `Results.as_dict` gives them, with the figures of these names."""
    lines = results["results"]
    # A short form times nothing: no goal is judged.
    judged = [] if results["short"] else results["goals"]
    rows = []
    for heading, content in sections(lines, judged, figures):
        if content:
            rows += [f"## {heading}", "", *content, ""]
    rows += ["## Machine and versions", ""]
    rows += [f"- {name}: {value}" for name, value in results["machine"].items()]
    rows += [f"- began {one['began']}, load {one['load']}" for one in results["sittings"]]
    return "\n".join(rows) + "\n"


def marked(document: Path) -> tuple[str, str]:
    """What stands before and after the marks of a document; SystemExit if it has none."""
    text = document.read_text() if document.exists() else ""
    before, found, rest = text.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise SystemExit(f"{document} has no lines '{BEGIN}' and '{END}': add them")
    return before, after


def publish(folder: Path, document: Path) -> None:
    """Put the folder's tables between the document's marks and its figures beside the document."""
    before, after = marked(document)
    figures = [name for name in WORDS if (folder / name).exists()]
    table = markdown(json.loads((folder / "benchmark.json").read_text()), figures)
    table = table.replace("## ", "### ")  # the document has headings of its own above
    document.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")
    for name in figures:
        shutil.copy(folder / name, document.with_name(name))


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]))
