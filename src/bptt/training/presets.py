"""The settings that `bptt train` and `bptt.train` start from, task by task.

The adder's were chosen so that every one of 20 seeds is exact on all pairs, the text's so that a
paragraph is soon known by heart; docs/log.md has the runs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bptt.errors import BpttError
from bptt.tasks import Addition, Text
from bptt.training.settings import Settings, settings_from_dict

PRESETS: dict[str, dict[str, Any]] = {
    "addition": {
        "structure": {"cell": "elman", "hidden": 16, "reduction": "sequence"},
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "batch": 1,
        "iterations": 20_000,
        "record_every": 100,
    },
    "text": {
        "structure": {"cell": "lstm", "hidden": 64, "reduction": "sequence"},
        "optimizer": {"kind": "adam", "learning_rate": 0.005, "clip_norm": 5.0},
        "batch": 1,
        "iterations": 20_000,
        "record_every": 100,
    },
}

# Where a keyword of `settings_for` goes.
STRUCTURE = (
    "cell", "hidden", "layers", "activation", "output", "loss", "reduction", "bias", "tied",
    "initial_state", "dtype",
)  # fmt: skip
OPTIMIZER = (
    "learning_rate", "momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay", "clip_value",
    "clip_norm", "schedule",
)  # fmt: skip
STOP = ("exact", "target_loss", "smooth_loss", "accuracy", "wrong", "seconds")
TOP = (
    "batch", "iterations", "record_every", "seed", "engine", "initializers", "forget_bias",
)  # fmt: skip


def settings_for(task: Addition | Text, options: Mapping[str, Any]) -> Settings:
    """The task's preset with `options` put in place; None leaves the preset's value.

    Options are the fields of `Structure`, `Optimizer` (`optimizer` for its kind), `Stop`
    (`target_loss` for its loss) and `Settings`, in one flat list. Raises BpttError for an unknown
    option or a value that is not allowed.
    """
    preset = PRESETS[task.name]
    values: dict[str, Any] = {**preset, "task": task.config(), "stop": {}}
    structure = {
        "inputs": task.inputs, "outputs": task.outputs, "output": task.output,
        **preset["structure"],
    }  # fmt: skip
    optimizer = dict(preset["optimizer"])
    for name, given in options.items():
        if given is None:
            continue
        value = given.item() if isinstance(given, np.generic) else given
        if name in STRUCTURE:
            structure[name] = value
        elif name in OPTIMIZER:
            optimizer[name] = value
        elif name == "optimizer":
            optimizer["kind"] = value
        elif name in STOP:
            values["stop"]["loss" if name == "target_loss" else name] = value
        elif name in TOP:
            values[name] = value
        else:
            known = (*STRUCTURE, "optimizer", *OPTIMIZER, *STOP, *TOP)
            raise BpttError(f"option '{name}' is not known: choose of {', '.join(sorted(known))}")
    if structure.get("tied") is False:
        if isinstance(task, Text):
            raise BpttError(
                "untied weights cannot write a text longer than a window: use tied ones"
            )
        structure["steps"] = task.steps
    if structure["output"] == "linear" and options.get("loss") is None:
        structure["loss"] = "squared"
    return settings_from_dict({**values, "structure": structure, "optimizer": optimizer})
