"""`bptt plot`: a run's learning curve as a picture."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.api import load_run
from bptt.commands.answers import Answer, Json, RunPath, TaskFile, answer
from bptt.commands.own import class_of
from bptt.errors import BpttError, quoted_list
from bptt.files import write_file
from bptt.tasks.task import Task
from bptt.training import runs
from bptt.training.figures import picture


def plot(
    run_path: RunPath,
    out: Annotated[
        Path | None, typer.Option(help="The picture's file.", show_default="RUN/figure.png")
    ] = None,
    task: TaskFile = None,
    as_json: Json = False,
) -> None:
    """Draw a run's learning curve."""
    answer(as_json, *plot_run(run_path, out, class_of(task) if task else None))


PICTURES = ("png", "svg", "pdf")


def plot_run(path: Path, out: Path | None, own: type[Task] | None = None) -> Answer:
    """Draw a run's learning curve into a file."""
    if runs.on_data(path):
        from bptt.fitting.folder import load_model

        run: Any = load_model(path)
    else:
        run = load_run(path, own)
    if not run.records:
        raise BpttError(f"'{path}' has no record yet: go on with 'bptt train --resume {path}'")
    target = out or path / runs.FIGURE
    kind = target.suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise BpttError(
            f"'{target}' ends in '{target.suffix}': give a file that ends in "
            f"{quoted_list(f'.{each}' for each in PICTURES)}"
        )
    write_file(target, picture(run.figure(), kind))
    return {"figure": str(target), "records": len(run.records)}, f"figure  {target}"
