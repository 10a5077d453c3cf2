"""`bptt study report`, `compare` and `export`: what a study's results say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bptt.errors import BpttError
from bptt.files import REMEDY, json_text

if TYPE_CHECKING:
    import pandas

    from bptt.studies.execution import Results
    from bptt.studies.page import Page, Section

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A study's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
TABLES = (".csv", ".parquet")


def register(app: typer.Typer) -> None:
    """Add the commands to `bptt study`."""
    for name, command in (("report", report), ("compare", compare), ("export", export)):
        app.command(name)(command)


def report(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="The page's folder.", show_default="the study's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer with statistics: a table here, and a page with figures in the study's folder."""
    from bptt.studies.answers import records

    results, frame = _load(folder)
    page, table, text = _answers(
        frame, results.curves if results.study.curves else None, results.study.name or folder.name,
        _details(results, frame), _unit(results),
    )  # fmt: skip
    remarks = _remarks(results)
    try:
        files = page.write(out or folder)
    except BpttError as error:  # the answer is no less wanted
        if not as_json:
            print(text, *remarks, *page.findings, sep="\n")
        raise BpttError(
            f"{error}".replace(REMEDY, "name another folder for the page with --out")
        ) from None
    if as_json:
        values = {
            "folder": str(folder), "findings": page.findings, "missing": results.missing,
            "arithmetic": results.store.arithmetics(), "settings": records(table),
            "files": [str(file) for file in files],
        }  # fmt: skip
        print(json_text(values))
        return
    print(text, *remarks, *page.findings, sep="\n")
    print(f"page    {files[0]}")


def _answers(frame: "pandas.DataFrame", *about: Any) -> "tuple[Page, pandas.DataFrame, str]":
    """The page of a study's results, the summary and that as text."""
    from bptt.studies import answers, report, score_page, scores
    from bptt.studies.page import as_text

    if scores.is_scored(frame):
        table = scores.summary(frame)
        text = "\n".join(as_text(score_page.scores_table(scores.ranked(table))))
        return score_page.score_page(frame, *about), table, text
    table = answers.summary(frame)
    return report.study_page(frame, *about), table, report.text_table(table)


def compare(
    folder: Folder,
    first: Annotated[str, typer.Argument(metavar="A", help="A setting's number or label.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    as_json: Json = False,
) -> None:
    """Compare two settings: differences with 95 % intervals."""
    from bptt.studies.answers import plain
    from bptt.studies.comparison import compare as compared

    found = compared(_load(folder)[1], first, second)
    print(json.dumps(plain(found.as_dict())) if as_json else found)


def export(
    folder: Folder,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A .csv or .parquet file.")],
    curves: Annotated[
        bool, typer.Option("--curves", help="The learning curves instead, one row a record.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the results, one row a run, into a CSV or Parquet file."""
    from bptt.files import write_file

    kind = to.suffix.lower()
    if kind not in TABLES:
        raise BpttError(f"'{to}' ends in '{kind}': give a file that ends in .csv or .parquet")
    results, frame = _load(folder)
    if curves and not results.study.curves:
        raise BpttError(f"'{folder}' keeps no learning curves: run the study with curves = true")
    table = results.curves if curves else frame
    write_file(to, csv(table) if kind == ".csv" else parquet(table))
    values = {"file": str(to), "rows": len(table)}
    print(json_text(values) if as_json else f"{len(table):,} rows in {to}")


def csv(table: "pandas.DataFrame") -> bytes:
    """A table as a CSV file's content: numbers to the last digit, what is missing empty."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def parquet(table: "pandas.DataFrame") -> bytes:
    """A table as a Parquet file's content; columns that mix types become text.

    Raises BpttError if pyarrow is not installed.
    """
    import io
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise BpttError("Parquet needs pyarrow: pip install 'bptt[parquet]', or write a .csv file")
    mixed = [
        name
        for name in table
        if table[name].dtype == object and len(set(map(type, table[name].dropna()))) > 1
    ]
    buffer = io.BytesIO()
    table = table.copy()
    for name in mixed:
        table[name] = table[name].map(str, na_action="ignore")
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _load(folder: Path) -> "tuple[Results, pandas.DataFrame]":
    """A study's results and their table. Raises BpttError for a folder without a finished run."""
    from bptt.studies import load

    results = load(folder)
    frame = results.frame
    if frame.empty:
        raise BpttError(f"'{folder}' has no finished run yet: run the study first")
    return results, frame


def _remarks(results: "Results") -> list[str]:
    """Lines that say how much of the study is not there yet, and what of it is not alike."""
    missing = (
        f"{results.missing:,} runs of the study are missing: 'bptt study ... --resume' adds them"
        if results.missing
        else ""
    )
    return [line for line in (missing, results.mixed) if line]


def _unit(results: "Results") -> str:
    """The unit of the loss, where all settings have one."""
    losses = {each.settings.structure.loss for each in results.store.settings}
    from bptt.equations.outputs import UNITS

    return UNITS.get(losses.pop(), "") if len(losses) == 1 else ""


def _details(results: "Results", frame: Any) -> "list[Section]":
    """How the study can be run again, and with what it was."""
    from bptt.studies.page import Code, Section, Text
    from bptt.studies.store import DECLARATION

    given = {
        name: value
        for name, value in results.study.as_dict().items()
        if value not in ({}, [], "", None)
    }
    versions = ", ".join(sorted(frame["version"].unique()))
    made = ", ".join(name for name in results.store.arithmetics() if name)
    vectors = f" on vectors of {made}" if made else ""
    return [
        Section(
            "How to get this again",
            [
                *map(Text, _remarks(results)),
                Text(
                    f"bptt {versions}{vectors}; the seeds fix every number of the table but the "
                    "time, on processors with such vectors. "
                    f"{frame['seconds'].sum():,.0f} seconds of training in all. In Python, with "
                    f"this declaration (also in {DECLARATION}) as study.json:"
                ),
                Code(
                    "import json, bptt\n"
                    'study = bptt.Study(**json.load(open("study.json")))\n'
                    'results = study.run("again")\n'
                    "print(results.frame)",
                    "python",
                ),
                Code(json.dumps(given, indent=2), "json"),
            ],
        )
    ]
