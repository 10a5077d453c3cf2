"""Tasks make data and judge answers. They know nothing of networks, training or kernels."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bptt.errors import BpttError, one_line, quoted_list
from bptt.tasks.addition import Addition
from bptt.tasks.task import Batch, Stream, Task
from bptt.tasks.text import Text

TASKS: dict[str, type[Addition] | type[Text]] = {"addition": Addition, "text": Text}

__all__ = ["TASKS", "Addition", "Batch", "Stream", "Task", "Text", "task_from_config"]


def task_from_config(config: Mapping[str, Any]) -> Addition | Text:
    """The task that `config()` describes. Raises BpttError if it describes none."""
    if not isinstance(config, Mapping):
        raise BpttError(f"a task is described by a mapping, not by {config!r:.60}")
    fields = dict(config)
    name = fields.pop("task", None)
    if not isinstance(name, str) or name not in TASKS:
        raise BpttError(f"task '{name}' is not known: choose one of {quoted_list(TASKS)}")
    try:
        return msgspec.convert(fields, TASKS[name])
    except msgspec.ValidationError as error:
        raise one_line(error, f"task '{name}'") from None
