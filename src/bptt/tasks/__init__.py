"""Tasks make data and judge answers: `task` says what a task is, and each has a folder.

The tasks that are built in stand here and nowhere else. Their classes are imported when first used.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from bptt.errors import BpttError, BpttTypeError, quoted_list

if TYPE_CHECKING:
    from bptt.tasks.addition.task import Addition
    from bptt.tasks.addition.verdict import length_generalisation
    from bptt.tasks.batches import Batches, Samples, Stream
    from bptt.tasks.modulo.task import Modulo
    from bptt.tasks.parity.task import Parity
    from bptt.tasks.task import Task, Verdict, evaluate
    from bptt.tasks.text.task import Text
    from bptt.tasks.text.writing import write
    from bptt.tasks.tomita.task import Tomita


class BuiltIn(NamedTuple):
    """A built-in task: where its class is, and what the command line lists without importing it.

    command, words: of `bptt train COMMAND`; commands: the task's own, with words."""

    home: str
    kind: str
    command: str
    words: str
    commands: Mapping[str, str] = {}


# By their names in files and studies.
BUILT_IN = {
    "addition": BuiltIn(
        "addition.task", "Addition", "add", "Train a network to add two binary numbers.",
        {"add": "Add two integers with a trained network."},
    ),
    "text": BuiltIn(
        "text.task", "Text", "text", "Train a network to write a text, character by character.",
        {"write": "Write text with a trained network."},
    ),
    "parity": BuiltIn(
        "parity.task", "Parity", "parity", "Train a network to say whether ones are odd in number.",
    ),
    "modulo": BuiltIn(
        "modulo.task", "Modulo", "modulo", "Train a network to count ones modulo k.",
    ),
    "tomita": BuiltIn(
        "tomita.task", "Tomita", "tomita", "Train a network on one of Tomita's regular languages.",
    ),
}  # fmt: skip
# The task of a study that names none.
DEFAULT = "addition"

_HOMES = {
    **{each.kind: each.home for each in BUILT_IN.values()},
    "Batches": "batches",
    "Samples": "batches",
    "Stream": "batches",
    "Task": "task",
    "Verdict": "task",
    "evaluate": "task",
    "length_generalisation": "addition.verdict",
    "write": "text.writing",
}

__all__ = [
    "BUILT_IN",
    "DEFAULT",
    "Addition",
    "Batches",
    "BuiltIn",
    "Modulo",
    "Parity",
    "Samples",
    "Stream",
    "Task",
    "Text",
    "Tomita",
    "Verdict",
    "evaluate",
    "kind_of",
    "length_generalisation",
    "task_from_config",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bptt.tasks' has no attribute {name!r}")
    return getattr(import_module(f"bptt.tasks.{_HOMES[name]}"), name)


def kind_of(name: Any, own: "type[Task] | None" = None) -> "type[Task]":
    """The class of the task of that name: a built-in one, or one's own, which is handed in.

    Raises BpttError for a name that is neither's.
    """
    if own is not None and own.name == name:
        return own
    if isinstance(name, str) and name in BUILT_IN:
        found = BUILT_IN[name]
        kind: type[Task] = getattr(import_module(f"bptt.tasks.{found.home}"), found.kind)
        return kind
    from bptt.arguments import shown  # here: NumPy is not needed to list commands

    if own is not None:
        raise BpttError(f"the task is '{name}', not '{own.name}': hand in that one")
    raise BpttError(
        f"task {shown(name)} is not known: choose one of {quoted_list(BUILT_IN)}; "
        "one of your own has to be handed in, as task=..."
    )


def task_from_config(config: Mapping[str, Any], own: "Task | type[Task] | None" = None) -> "Task":
    """The task that `Task.config` describes. own: a task of one's own, or its class, which a
    description may name; nothing is imported for it.

    Raises BpttError if it describes none, or another task than the one that is handed in.
    """
    if not isinstance(config, Mapping):
        raise BpttError(f"a task is described by a mapping, not by {config!r:.60}")
    fields = dict(config)
    name = fields.pop("task", None)
    kind = own if own is None or isinstance(own, type) else type(own)
    if kind is not None and not hasattr(kind, "from_config"):
        from bptt.arguments import shown

        raise BpttTypeError(f"task {shown(own)} must be a bptt.Task, or its class")
    found = kind_of(name, kind)
    if own is None or isinstance(own, type):
        return found.from_config(fields)
    if own.config() != {**config}:
        raise BpttError(f"the task handed in is not the one described: {_difference(own, config)}")
    return own


def _difference(own: "Task", config: Mapping[str, Any]) -> str:
    """The first value in which a task and a description differ."""
    mine = own.config()
    for name in dict.fromkeys([*mine, *config]):
        if mine.get(name) != config.get(name):
            return f"its {name} is {mine.get(name)!r:.40}, there it is {config.get(name)!r:.40}"
    return "they differ"
