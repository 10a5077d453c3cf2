"""`bptt look`: figures of a run's network on one sequence, and the page to look inside."""

from pathlib import Path
from typing import Annotated

import typer

from bptt.api import load_run
from bptt.commands.answers import Answer, Json, RunPath, TaskFile, answer
from bptt.commands.own import class_of
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.lab.page import look
from bptt.lab.views import proof_of
from bptt.tasks.task import Task
from bptt.traces.figures import all_figures
from bptt.traces.trace import trace
from bptt.training import runs
from bptt.training.figures import png

PAGE = "look.html"


def look_command(
    run_path: RunPath,
    words: Annotated[
        str, typer.Option("--input", help="Which sequence: of an adder, as '93 + 87'.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="The page's file.", show_default=f"RUN/{PAGE}")
    ] = None,
    moments: Annotated[
        int | None, typer.Option(help="How many, of the training, which is done again for them.")
    ] = None,
    task: TaskFile = None,
    as_json: Json = False,
) -> None:
    """Look inside a run: figures, and a page with states and derivatives at every step."""
    own = class_of(task) if task else None
    answer(as_json, *look_inside(run_path, words, out, moments, own))


def look_inside(
    path: Path, words: str, out: Path | None, moments: int | None, own: type[Task] | None
) -> Answer:
    """Write the page and the figures; says where they are."""
    if path.is_dir() and runs.is_run(path):
        run = load_run(path, own)
        network, learnt = run.network, run.task
        proof = proof_of(network, learnt)
        page = look(run, words, moments=moments, proof=proof)
    else:
        network, found = runs.load_network(path, own=own)
        if found is None:
            raise BpttError(f"'{path}' names no task: give a run, or a task with --task")
        learnt = found
        proof = proof_of(network, learnt)
        page = look(network, words, task=learnt, proof=proof)
    target = out or (path if path.is_dir() else path.parent) / PAGE
    page.save(target)
    watched = learnt.watch(words)
    figures = {}
    traced = trace(network, watched.x, watched.y)
    for name, figure in all_figures(traced, proof=proof).items():
        figures[name] = target.with_name(f"{target.stem}-{name}.png")
        write_file(figures[name], png(figure))
    values = {
        "page": str(target), "moments": page.moments, "input": watched.title, "loss": traced.loss,
        "figures": {name: str(file) for name, file in figures.items()},
    }  # fmt: skip
    count = "1 moment" if page.moments == 1 else f"{page.moments} moments"
    lines = [
        f"{watched.title}: loss {traced.loss:.4g}",
        f"page    {target} ({count} of the training)",
        *(f"figure  {file}" for file in figures.values()),
    ]
    return values, "\n".join(lines)
