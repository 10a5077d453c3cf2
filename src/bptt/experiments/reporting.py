"""An experiment's outcome as tables, as a page and as text."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from bptt.experiments.declaration import Panel
from bptt.experiments.examples import gradient_table
from bptt.experiments.measures import CONFIRMED, NOT_JUDGED, OPEN, REFUTED
from bptt.experiments.outcome import Measurements
from bptt.files import write_file
from bptt.studies.answers import plain, records, summary
from bptt.studies.expansion import written
from bptt.studies.page import Block, Code, Page, Picture, Section, Table, Text
from bptt.studies.report import READING, settings_table

REPORT, RUNS = "report.html", "runs.csv"
PUBLISHED = ("what", "published", "where", "measured", "verdict", "note")
GRADIENTS = "Every parameter's gradient agrees with central differences"


def published(outcome: Measurements) -> pd.DataFrame:
    """One row a published line: what, published, where, measured, verdict, note."""
    rows = []
    declared, check = outcome.experiment.gradient_check, outcome.check
    if declared is not None and check is not None:
        entries = sum(each.entries for each in check.parameters)
        failed = sum(len(each.failed) for each in check.parameters)
        rows.append(
            {
                "what": GRADIENTS,
                "published": declared.published,
                "where": "the gradient check",
                "measured": f"{failed} of {entries:,} entries fail, worst {check.worst.error:.0e}",
                "verdict": CONFIRMED if check.passed else REFUTED,
                "note": "",
            }
        )
    for line, (verdict, found) in zip(outcome.experiment.lines, outcome.judged, strict=True):
        rows.append(
            {
                "what": line.what,
                "published": line.published,
                "where": line.where,
                "measured": "; ".join(each.words for each in found),
                "verdict": verdict,
                "note": line.note,
            }
        )
    return pd.DataFrame(rows, columns=PUBLISHED)


def panel_summary(outcome: Measurements, panel: Panel) -> pd.DataFrame:
    """One row a setting of a panel: see `bptt.studies.answers.summary`."""
    return summary(outcome.frame[outcome.frame["panel"] == panel.name])


def tables(outcome: Measurements) -> dict[str, pd.DataFrame]:
    """See `Outcome.tables`."""
    found = {"published": published(outcome)}
    for panel in outcome.experiment.panels:
        found[panel.name] = panel_summary(outcome, panel)
    found["all runs"] = outcome.frame
    if outcome.check is not None:
        found["gradient check"] = gradient_table(outcome.check)
    if outcome.example is not None:
        found["example"] = outcome.example.table
    return found


def findings(outcome: Measurements) -> list[str]:
    """The outcome in a few sentences."""
    table = published(outcome)
    counts = [
        f"{int((table['verdict'] == verdict).sum())} {verdict}"
        for verdict in (CONFIRMED, REFUTED, OPEN, NOT_JUDGED)
        if (table["verdict"] == verdict).any()
    ]
    seeds = sorted({panel.seeds for panel in outcome.experiment.panels})
    said = f": {', '.join(counts)}" if counts else ""
    sentences = [
        f"{len(table)} statements, judged by {len(outcome.frame):,} runs of "
        f"{' or '.join(map(str, seeds))} seeds a setting{said}."
    ]
    if made := sorted(set(outcome.frame["arithmetic"]) - {""}):
        sentences.append(f"Trained with vectors of {' and of '.join(made)}.")
    if outcome.experiment.recommended:
        sentences.append(f"Recommended: {outcome.experiment.recommended}.")
    if outcome.quick:
        sentences.append("A taste by --quick: few seeds, and not all iterations everywhere.")
    return sentences


def command(outcome: Measurements) -> str:
    """The command that runs the experiment like this again."""
    words = ["bptt", "experiment", outcome.experiment.name]
    return shlex.join([*words, *(["--quick"] if outcome.quick else [])])


def page(outcome: Measurements) -> Page:
    """The report."""
    declared = outcome.experiment
    drawings = outcome.drawings()
    base = [[name, _value(value)] for name, value in declared.base.items()]
    pictures: list[Block] = [
        Picture(each.name, drawings[each.name], each.caption, each.caption)
        for each in declared.figures
    ]
    sections = [
        Section("Published and measured", [_published_table(outcome)]),
        Section("Figures", pictures),
        *(_panel_section(outcome, panel) for panel in declared.panels),
    ]
    if outcome.check is not None:
        sections.append(_check_section(outcome))
    if outcome.example is not None:
        shown = outcome.example
        sections.append(Section("One run", [Text(shown.sentence), Code(shown.lines)]))
    faults = [[each.fault, each.mended] for each in declared.faults]
    sections += [
        Section(
            "The setting", [Text(f"{declared.network}."), Table(("option", "value"), base, words=2)]
        ),
        Section("What the report got wrong", [Table(("fault", "here"), faults, words=2)]),
        READING,
        Section("How to get this again", [Code(command(outcome), "sh"), Text(_origin(outcome))]),
    ]
    return Page(declared.title, [*findings(outcome), declared.question.strip()], sections)


def _value(value: Any) -> str:
    text = written(value)
    return text if len(text) < 200 else f"{text[:199]}…"


def _published_table(outcome: Measurements) -> Table:
    """Published against measured, line by line."""
    rows = [
        [
            f"{row['what']}. {row['note']}".strip() if row["note"] else str(row["what"]),
            str(row["published"]),
            str(row["measured"]),
            str(row["verdict"]),
        ]
        for row in published(outcome).to_dict("records")
    ]
    return Table(("statement", "published", "measured", "verdict"), rows, words=4)


def _panel_section(outcome: Measurements, panel: Panel) -> Section:
    table = settings_table(panel_summary(outcome, panel))
    return Section(panel.name.capitalize(), [Text(panel.question), table])


def _check_section(outcome: Measurements) -> Section:
    """The gradient check, parameter by parameter."""
    assert outcome.check is not None
    rows = [
        [str(row["parameter"]), f"{row['entries']:,}", str(row["failed"]), f"{row['error']:.1e}"]
        for row in gradient_table(outcome.check).to_dict("records")
    ]
    text = "Before training, in float64, against central differences of the loss."
    head = ("parameter", "entries", "failed", "worst relative error")
    return Section("Gradient check", [Text(text), Table(head, rows)])


def _origin(outcome: Measurements) -> str:
    from bptt.version import __version__

    return (
        f"bptt {__version__}, {len(outcome.frame):,} runs, "
        f"{outcome.frame['iterations'].sum():,} iterations, {outcome.seconds:.0f} seconds."
    )


def text(outcome: Measurements) -> str:
    """The outcome as lines for a terminal: published, measured, verdict; or how far it came."""
    if outcome.reason != "done":
        lines = [f"{outcome.reason}: {len(outcome.frame):,} runs are finished"]
        return "\n".join([*lines, *([outcome.example.sentence] if outcome.example else [])])
    lines = [outcome.experiment.title, "", *findings(outcome)]
    for row in published(outcome).to_dict("records"):
        lines += [
            "", f"{row['verdict']:>10}  {row['what']}",
            f"{'published':>10}  {row['published']}", f"{'measured':>10}  {row['measured']}",
        ]  # fmt: skip
    if outcome.example is not None:
        lines += ["", outcome.example.sentence, "", outcome.example.lines]
    return "\n".join(lines)


def as_dict(outcome: Measurements) -> dict[str, Any]:
    """The outcome as JSON has it."""
    found = tables(outcome) if outcome.reason == "done" else {}
    return {
        "experiment": outcome.experiment.name,
        "runs": len(outcome.frame),
        "seconds": outcome.seconds,
        "reason": outcome.reason,
        "tables": {
            name: plain(records(table)) for name, table in found.items() if name != "all runs"
        },
    }


def save(outcome: Measurements, folder: Path) -> list[Path]:
    """See `Outcome.save`."""
    paths = page(outcome).write(folder)
    write_file(folder / RUNS, outcome.frame.to_csv(index=False).encode())
    return [*paths, folder / RUNS]
