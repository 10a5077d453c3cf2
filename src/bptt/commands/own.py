"""Tasks on the command line: their own commands, and tasks of one's own by FILE.py:TASK."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.commands import flags
from bptt.commands.answers import Json, RunPath, answer
from bptt.errors import BpttError
from bptt.options import options_of
from bptt.tasks import kind_of
from bptt.tasks.task import Task
from bptt.training import runs


def class_of(place: str) -> type[Task]:
    """See `bptt.commands.train.own_kind`."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise BpttError(f"'{file}' is not there: give FILE.py:TASK, with the task's class")
    specification = spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)  # where pickle looks for its classes
    try:
        specification.loader.exec_module(module)
    except BpttError:
        raise
    except Exception as error:
        line = " ".join(str(error).split())
        raise BpttError(f"'{file}' cannot be run: {type(error).__name__}: {line}") from None
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        found = [
            each for each, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Task) and value is not Task
        ]  # fmt: skip
        raise BpttError(
            f"'{file}' has no task '{name}'" + (f": it has {', '.join(found)}" if found else "")
        )
    return kind


def own_command(task: str, name: str) -> Any:
    """The command of that name of a built-in task: `bptt NAME RUN ...`."""
    kind = kind_of(task)
    command = next(each for each in kind.commands if each.name == name)
    options = {} if command.options is None else options_of(command.options)
    parameters = [
        flags.parameter("run_path", RunPath),
        *(
            flags.parameter(each.lower(), Annotated[str, typer.Argument(help=words)])
            for each, words in command.arguments
        ),
        *flags.flags(options, "Options", {}),
        flags.parameter("as_json", Json, False),
    ]

    def run(run_path: Path, as_json: bool, **values: Any) -> None:
        network, learnt = runs.load_task_network(run_path, kind)
        arguments = [values[each.lower()] for each, _ in command.arguments]
        if command.options is not None:
            given = flags.given(options, values)
            arguments.append(
                command.options(**{options[each].field: value for each, value in given.items()})
            )
        answer(as_json, *command.run(learnt, network, *arguments))

    # Arguments may be negative numbers, which are no options.
    return flags.command(
        name, command.words, run, parameters, ignore_unknown_options=bool(command.arguments)
    )
