"""`bptt experiment`: the published experiments by name, or one's own from a TOML file."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.errors import BpttError
from bptt.files import json_text
from bptt.training.interrupts import exit_code, interrupts

FOLDER = "experiments"


def experiment_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Its name, or a TOML file; leave out for a list."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds of every setting.", show_default="as declared")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A taste in seconds.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="text-lstm: the text to learn, in UTF-8; '-' for stdin.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Its folder.", show_default="experiments/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Do only what is missing.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes.", show_default="one a core")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> int:
    """Run a published experiment, or one of your own: published against measured."""
    if name is None:
        _list(as_json)
        return 0
    from bptt.experiments.declaration import find
    from bptt.experiments.reporting import REPORT, as_dict
    from bptt.experiments.running import experiment

    folder = out or Path(FOLDER) / f"{find(name).name}{'-quick' if quick else ''}"
    if (folder / REPORT).exists() and not resume and not quick:
        raise BpttError(
            f"'{folder}' already holds an experiment: go on with it by --resume, "
            "or choose another --out"
        )
    with interrupts() as received:
        outcome = experiment(
            name, seeds=seeds, quick=quick, file=file, folder=None if quick else folder / "runs",
            resume=resume, workers=workers,
        )  # fmt: skip
    interrupted = outcome.reason == "interrupted"
    paths = [] if interrupted else outcome.save(folder)
    if as_json:
        values = {"folder": str(folder), **as_dict(outcome)}
        print(json_text(values))
    else:
        print(outcome)
        for path in paths:
            if path.suffix != ".png":
                print(f"{path.suffix[1:]:8}{path}")
        if interrupted and not quick:
            again = _again(name, seeds, file, out)
            print(f"go on with: {again}", file=sys.stderr)
    return exit_code(received) if interrupted else 0


def _again(name: str, seeds: int | None, file: Path | None, out: Path | None) -> str:
    """The command that goes on."""
    pairs = (("--seeds", seeds), ("--file", file), ("--out", out))
    given = [f"{option} {value}" for option, value in pairs if value is not None]
    return " ".join(["bptt experiment", name, "--resume", *given])


def _list(as_json: bool) -> None:
    """The published experiments, with what they ask and how much work they are."""
    from bptt.experiments.declaration import NAMES, find

    rows: list[dict[str, Any]] = []
    for name in NAMES:
        declared = find(name)
        seeds = {panel.name: panel.seeds for panel in declared.panels}
        runs = sum(seeds[place.partition("/")[0]] for place, _ in declared.places())
        rows.append({"name": name, "title": declared.title, "runs": runs})
    if as_json:
        print(json_text({"experiments": rows}))
        return
    width = max(map(len, NAMES))
    for row in rows:
        print(f"{row['name']:{width}}  {row['runs']:6,} runs  {row['title']}")
