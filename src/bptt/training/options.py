"""All options of a training in one flat list, and where each of them goes."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from bptt.arguments import shown
from bptt.equations.optimizers import Optimizer
from bptt.errors import BpttError, BpttTypeError
from bptt.network.structure import Structure
from bptt.options import Declared, options_of, unknown
from bptt.tasks.task import Task
from bptt.training.settings import Settings, Stop, check_task, settings_of

# The options of the network, of the optimizer, of when to stop, and of the run itself.
STRUCTURE, OPTIMIZER = options_of(Structure), options_of(Optimizer)
STOP, RUN = options_of(Stop), options_of(Settings)
GROUPS: dict[str, dict[str, Declared]] = {
    "structure": STRUCTURE, "optimizer": OPTIMIZER, "stop": STOP, "run": RUN,
}  # fmt: skip
OPTIONS: dict[str, Declared] = {**STRUCTURE, **OPTIMIZER, **STOP, **RUN}


def described() -> str:
    """All options in lines, for a docstring: name, meaning, default."""
    lines = []
    for each in OPTIONS.values():
        default = "" if each.default is None else f" (default {written(each.default)})"
        lines.append(f"    {each.name}: {each.words}{default}")
    return "Options, where the task's preset has no other default:\n\n" + "\n".join(lines) + "\n"


def written(default: Any) -> str:
    """A default as it is read."""
    return repr(getattr(default, "kind", default))


def keywords(signature: inspect.Signature) -> inspect.Signature:
    """A signature with all options in place of `**options`, for help and completion; None, their
    default, stands for the preset's value."""
    first = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                          annotation=each.type | None)
        for each in OPTIONS.values()
    ]  # fmt: skip
    return signature.replace(parameters=[*first, *options])


def own_options(kind: type[Task]) -> dict[str, Declared]:
    """A task's own options. Raises BpttError if one has the name of a training's."""
    found = options_of(kind)
    for name in found:
        if name in OPTIONS:
            raise BpttError(
                f"the task '{kind.name}' has an option '{name}', which training has too: "
                "give its field another name"
            )
    return found


def settings_for(task: Task, options: Mapping[str, Any]) -> Settings:
    """The task's preset with `options` put in place; None leaves the preset's value. Where training
    is to go on until the network is proved, what suits that is put over the preset
    (`Task.proving`).

    Options are those of OPTIONS, in one flat list. Raises BpttError for an unknown option or a
    value that is not allowed.
    """
    check_task(task)
    for name in options:
        if name not in OPTIONS:
            raise unknown("option", name, OPTIONS)
    for name, value in options.items():
        if isinstance(value, np.ndarray):
            raise BpttTypeError(f"{name} {shown(value)} is an array: a single value is needed")
    given = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in options.items()
        if value is not None
    }
    preset = {"output": task.output, **task.preset}
    if given.get("proved"):
        cell = given.get("cell", preset.get("cell", STRUCTURE["cell"].default))
        preset |= task.proving.get(getattr(cell, "name", cell), {})
    chosen = {**preset, **given}
    parts: dict[str, dict[str, Any]] = {
        "structure": {
            "inputs": task.inputs, "outputs": task.outputs, "readout": task.readout,
        },
        "optimizer": {}, "stop": {}, "run": {},
    }  # fmt: skip
    for name, value in chosen.items():
        group = next(each for each, known in GROUPS.items() if name in known)
        parts[group][GROUPS[group][name].field] = value
    structure = parts["structure"]
    if structure.get("tied") is False:
        structure["steps"] = task.steps
    if structure["output"] == "linear" and "loss" not in given:
        structure["loss"] = "squared"
    return settings_of({"task": task, **parts.pop("run"), **parts})
