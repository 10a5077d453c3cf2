"""`bptt train`: a command for every task, whose flags are the options as they were declared."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bptt.commands import jobs
from bptt.commands.answers import Json, TaskFile
from bptt.commands.lazy import LazyCommand, LazyGroup, together
from bptt.errors import BpttError
from bptt.tasks import BUILT_IN

if TYPE_CHECKING:
    from bptt.tasks.task import Task

# What may be chosen of a training that goes on until the network is proved by itself.
FREE = {"hidden", "seed", "record_every"}
PANELS = {"structure": "Network", "optimizer": "Optimizer", "stop": "When to stop", "run": "Run"}
Out = Annotated[
    Path | None,
    typer.Option(
        help="The run's folder.", show_default="runs/TASK-N, the next free N", rich_help_panel="Run"
    ),
]
CheckpointSeconds = Annotated[
    float, typer.Option(help="Seconds between checkpoints.", rich_help_panel="Run")
]
NAMES = ", ".join(f"'{each.command}'" for each in BUILT_IN.values())
JOBS = ", ".join(f"'{name}'" for name in jobs.WORDS)
WORDS = (
    f"Train a network: {NAMES} or FILE.py:TASK of your own; {JOBS} a file of sequences; or go on "
    "with a run: --resume RUN."
)


class TaskCommands(LazyGroup):
    """A command for each built-in task, and for one's own by FILE.py:TASK."""

    def lazy(self) -> dict[str, LazyCommand]:
        """See `LazyGroup.lazy`."""
        return together(_commands(), jobs.commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """See `LazyGroup.get_command`."""
        if ".py:" in cmd_name:
            return task_command(own_kind(cmd_name), "Train a network for a task of your own.")
        return super().get_command(ctx, cmd_name)


def _commands() -> Iterator[tuple[str, str, Any]]:
    for name, each in BUILT_IN.items():
        yield each.command, each.words, partial(_built_in, name, each.words)


def _built_in(name: str, words: str) -> Any:
    """The command of a built-in task."""
    from bptt.tasks import kind_of

    return task_command(kind_of(name), words)


def own_kind(place: str) -> "type[Task]":
    """The class of a task of one's own, by FILE.py:TASK. The file is run, as the user has named it.

    Raises BpttError if there is no such file, or no such class in it."""
    from bptt.commands.own import class_of

    return class_of(place)


def task_command(kind: "type[Task]", words: str) -> Any:
    """The command that trains a kind of task."""
    from bptt.commands import flags
    from bptt.training.options import GROUPS, own_options

    own = {
        name: each
        for name, each in own_options(kind).items()
        if name not in {file.field for file in kind.files.values()}
    }
    kept = {
        group: {name: each for name, each in options.items() if name not in kind.fixed}
        for group, options in GROUPS.items()
    }
    parameters = [
        flags.parameter("context", typer.Context),
        *(
            flags.parameter(name, Annotated[Path, typer.Argument(help=file.words)])
            for name, file in kind.files.items()
        ),
        *flags.flags(own, "Task", {}),
    ]
    for group, options in kept.items():
        parameters += flags.flags(options, PANELS[group], kind.preset)
    parameters += [
        flags.parameter("out", Out, None),
        flags.parameter("checkpoint_seconds", CheckpointSeconds, 1.0),
        flags.parameter("as_json", Json, False),
    ]

    def run(
        context: typer.Context, out: Path | None, checkpoint_seconds: float, as_json: bool,
        **values: Any,
    ) -> int:  # fmt: skip
        from bptt.commands.training_run import train_and_report

        fields = {own[name].field: value for name, value in flags.given(own, values).items()}
        for name, file in kind.files.items():
            fields[file.field] = file.read(values[name])
        options: dict[str, Any] = {}
        for group in kept.values():
            options |= flags.given(group, values)
        if kind.until_proved and not options.keys() - FREE:
            options["proved"] = True
        return train_and_report(
            kind.from_config(fields), options, out, kind.command, checkpoint_seconds, as_json,
            context.obj,
        )  # fmt: skip

    return flags.command(kind.command, words, run, parameters)


app = typer.Typer(cls=TaskCommands, help=WORDS, add_completion=False)


@app.callback(invoke_without_command=True, help=WORDS)
def train(
    context: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
    task: TaskFile = None,
    as_json: Json = False,
) -> int | None:
    """Train a network, or go on with a run."""
    if context.invoked_subcommand:
        if resume:
            raise BpttError("--resume goes on with a run as it was: leave out the task")
        return None
    if not resume:
        raise BpttError(f"nothing to train: give {NAMES}, {JOBS}, FILE.py:TASK or --resume RUN")
    from bptt.training import runs

    if runs.on_data(resume):
        return jobs.resume_job(resume, as_json)
    from bptt.commands.training_run import resume_and_report

    return resume_and_report(resume, as_json, context.obj, own_kind(task) if task else None)
