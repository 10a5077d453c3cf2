"""The command line: the list of commands, each imported when it runs, and how errors are said."""

import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer

from bptt.commands import train
from bptt.commands.drawer import Drawer
from bptt.commands.lazy import LazyCommand, LazyGroup, together
from bptt.errors import BpttError
from bptt.tasks import BUILT_IN

# Where each command is, and what the list says of it. A name ending in '_app' is a group.
BEFORE = {
    "train": ("train.app", train.WORDS),
    "study": (
        "study.app",
        "Train many settings, each on many seeds: 'bptt study FILE.toml'; then 'report'.",
    ),
    "experiment": (
        "experiment.experiment_command",
        "Run a published experiment, or one of your own: published against measured.",
    ),
}  # fmt: skip
DATA = {
    "data": ("data.make", "Say what would be learned from a file of sequences."),
    "score": ("using.score", "Say how good a run's model is on a file with answers."),
    "predict": ("using.predict", "Write what a run's model says of a file of sequences."),
    "forecast": ("forecasts.forecast", "Say what comes next in the series of a run."),
}
AFTER = {
    "check": (
        "check.check", "Check every gradient against central differences; exit 1 if any fails."
    ),
    "prove": (
        "prove.prove_command",
        "Prove that a network is right at every length: exit 0 proved, 1 wrong, 3 undecided.",
    ),
    "show": ("show.show", "Show what a run is, how it ended and what it can do."),
    "plot": ("plot.plot", "Draw a run's learning curve."),
    "look": (
        "looking.look_command",
        "Look inside a run: figures, and a page with states and derivatives at every step.",
    ),
    "lab": ("lab.make", "Open a page on which networks train while you look; ends with Ctrl-C."),
    "export": (
        "export.export",
        "Write a network as C or another program's file, verified; exit 1, no file if it differs.",
    ),
    "import": (
        "importing.import_command",
        "Read another program's network, verified; nothing of the file is run.",
    ),
}  # fmt: skip


class Commands(LazyGroup):
    """All commands; those of tasks stand between the others."""

    def lazy(self) -> dict[str, LazyCommand]:
        """See `LazyGroup.lazy`."""
        return together(_listed(BEFORE), _of_tasks(), _listed(DATA), _listed(AFTER))


def _listed(commands: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str, Any]]:
    for name, (place, words) in commands.items():
        yield name, words, partial(_made, name, place)


def _of_tasks() -> Iterator[tuple[str, str, Any]]:
    for task, each in BUILT_IN.items():
        for name, words in each.commands.items():
            yield name, words, partial(_own, task, name)


def _made(name: str, place: str) -> Any:
    """The command at a place: 'module.function', 'module.app' for a group, or 'module.make', which
    makes it."""
    module, _, attribute = place.rpartition(".")
    found = getattr(import_module(f"bptt.commands.{module}"), attribute)
    if attribute == "make":
        return found()
    if isinstance(found, typer.Typer):
        group = typer.main.get_command(found)
        group.name = name
        return group
    app = typer.Typer(add_completion=False)
    app.command(name)(found)
    return typer.main.get_command(app)


def _own(task: str, name: str) -> Any:
    from bptt.commands.own import own_command

    return own_command(task, name)


app = typer.Typer(
    cls=Commands,
    name="bptt",
    help="Train small recurrent networks by backpropagation through time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def run(arguments: list[str], drawer: Drawer | None = None) -> int:
    """Run one command; returns the exit code. Bad input is one line on standard error, code 2.

    drawer: who draws the figure of a training, if not this process.
    """
    command = typer.main.get_command(app)
    try:
        if "--out=" in arguments or ("--out", "") in pairwise(arguments):
            raise BpttError("--out '' names no folder: give a name, or leave it out")
        code = command.main(arguments, prog_name="bptt", standalone_mode=False, obj=drawer)
        return code if isinstance(code, int) else 0
    except BpttError as error:
        print(f"bptt: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(
            f"bptt: {str(error) or 'not enough memory'}: make the network smaller", file=sys.stderr
        )
        return 2
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        line = " ".join(message().split()).rstrip(".")
        if line:
            print(f"bptt: {line}{_given(error, arguments)}; see 'bptt --help'", file=sys.stderr)
        return 2


def _given(error: Exception, arguments: list[str]) -> str:
    """The value that an option was given, which the parser's message leaves out."""
    names = getattr(getattr(error, "param", None), "opts", [])
    for name, value in pairwise(arguments):
        if name in names:
            return f", but '{value}' was given"
    return ""


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from bptt.version import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def top(
    wanted: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train small recurrent networks by backpropagation through time."""
