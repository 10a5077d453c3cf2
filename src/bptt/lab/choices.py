"""What can be chosen on the page, and the settings of a training made from it."""

from collections.abc import Mapping
from typing import Any

from bptt.equations.optimizers import RULES
from bptt.errors import BpttError, not_there
from bptt.lab.views import CELLS
from bptt.options import options_of
from bptt.tasks import BUILT_IN, DEFAULT, kind_of
from bptt.tasks.task import Task
from bptt.training.options import settings_for
from bptt.training.settings import Settings

# What the page may set of a training, with the type and, of numbers, the least and the most.
FIELDS: dict[str, tuple[type, float, float]] = {
    "hidden": (int, 1, 128), "learning_rate": (float, 1e-6, 100.0), "batch": (int, 1, 1000),
    "seed": (int, 0, 2**31), "iterations": (int, 1, 100_000), "clip_norm": (float, 1e-6, 1e6),
    "forget_bias": (float, -20.0, 20.0), "spectral_radius": (float, 0.0, 4.0),
}  # fmt: skip
MOST_OPTION, MOST_WORDS, MOST_TEXT = 10_000, 200, 4000
UNTIL = ("exact", "proved")
EVERY = 20


def tasks() -> list[dict[str, Any]]:
    """The tasks that there are, each with its options that are whole numbers and its preset."""
    found = []
    for name, each in BUILT_IN.items():
        kind = kind_of(name)
        provable = kind(**kind.example).automaton() is not None
        found.append({
            "name": name, "words": each.words, "options": _numbers(kind),
            "preset": _shown(kind.preset),
            "proving": {cell: _shown(kind.proving.get(cell, {})) for cell in CELLS if provable},
            "own_text": kind.example.get(_text_option(kind), ""),
        })  # fmt: skip
    return found


def _shown(preset: Mapping[str, Any]) -> dict[str, Any]:
    """What of a preset the page lets one choose."""
    return {name: preset[name] for name in ("cell", "optimizer", *FIELDS) if name in preset}


def _numbers(kind: type[Task]) -> dict[str, int]:
    """A task's options that are whole numbers, with their defaults."""
    return {
        name: each.default for name, each in options_of(kind).items()
        if each.type is int and type(each.default) is int
    }  # fmt: skip


def _text_option(kind: type[Task]) -> str:
    """A task's option that is a text to be learnt, or '' if it has none."""
    return next((name for name, value in kind.example.items() if isinstance(value, str)), "")


def page_choices(settings: Settings | None = None, own: Task | None = None) -> dict[str, Any]:
    """What the page offers: tasks, cells, optimizers, the user's own data, and the settings of a
    run if it shows one."""
    mine = [] if own is None else [{
        "name": own.name, "words": own.describe(), "options": {}, "preset": _shown(own.preset),
        "proving": {}, "own_text": "",
    }]  # fmt: skip
    return {
        "tasks": [*mine, *tasks()], "cells": list(CELLS), "optimizers": list(RULES),
        "task": DEFAULT if own is None else own.name,
        "limits": {name: [least, most] for name, (_, least, most) in FIELDS.items()},
        "run": None if settings is None else _of_run(settings),
    }  # fmt: skip


def _of_run(settings: Settings) -> dict[str, Any]:
    return {
        "task": settings.task.name, "describe": settings.task.describe(),
        "cell": settings.structure.equations.name, "hidden": settings.structure.hidden,
        "optimizer": settings.optimizer.kind, "learning_rate": settings.optimizer.learning_rate,
        "batch": settings.batch, "seed": settings.seed,
    }  # fmt: skip


def settings_from(chosen: Any, own: Task | None = None) -> Settings:
    """The settings of what was chosen on the page: a JSON object of task, options (whole numbers by
    name), text, cell, optimizer, until and FIELDS. spectral_radius: of W before training. own: the
    user's data, as the task 'data'. Raises BpttError, one line, for anything else."""
    if not isinstance(chosen, Mapping):
        raise BpttError("the settings must be an object")
    given = dict(chosen)
    task = _task_of(given, own)
    wanted: dict[str, Any] = {"record_every": EVERY}
    for key, allowed in (("cell", CELLS), ("optimizer", tuple(RULES)), ("until", UNTIL)):
        if key in given:
            value = given.pop(key)
            if not isinstance(value, str) or value not in allowed:
                raise not_there(key, f"{value!s:.40}", allowed)
            wanted[key] = value
    if wanted.pop("until", "exact") == "proved":
        wanted["proved"] = True
    for key, value in given.items():
        if key not in FIELDS:
            raise not_there("setting", f"{key!s:.40}", ["task", "options", "cell", *FIELDS])
        kind_of_number, least, most = FIELDS[key]
        right = type(value) is int or (kind_of_number is float and type(value) is float)
        if not right or not least <= value <= most:
            raise BpttError(f"{key} {value!r:.40} must be a number from {least:g} to {most:g}")
        wanted[key] = kind_of_number(value)
    if (radius := wanted.pop("spectral_radius", None)) is not None:
        # Every eigenvalue of an orthogonal matrix is 1 in size.
        wanted["initializers"] = {"W": f"orthogonal({radius!r})"}
    if not task.classes and task.output == "linear":
        wanted["exact"] = False  # numbers are never exactly right
    return settings_for(task, wanted)


def _task_of(given: dict[str, Any], own: Task | None) -> Task:
    """The task, whose keys are taken out of what was chosen."""
    name = given.pop("task", DEFAULT)
    options = given.pop("options", {})
    if own is not None and name == own.name:
        return own
    if not isinstance(name, str) or name not in BUILT_IN:
        raise not_there("task", f"{name!s:.40}", BUILT_IN)
    kind = kind_of(name)
    fields = dict(kind.example)
    if not isinstance(options, Mapping):
        raise BpttError("options must be an object")
    for key, value in options.items():
        if key not in _numbers(kind):
            raise not_there("option", f"{key!s:.40}", _numbers(kind))
        if type(value) is not int or not 0 <= value <= MOST_OPTION:
            raise BpttError(f"{key} {value!r:.40} must be a whole number, at most {MOST_OPTION:,}")
        fields[key] = value
    if "own_text" in given:
        option = _text_option(kind)
        if not option:
            raise BpttError(f"task '{name}' has no text of its own: leave it out")
        text = given.pop("own_text")
        if not isinstance(text, str) or not 2 <= len(text) <= MOST_TEXT:
            raise BpttError(f"text must have from 2 to {MOST_TEXT:,} characters")
        # A short one is read in shorter windows.
        window = fields.get("window", _numbers(kind)["window"])
        fields |= {option: text, "window": min(window, len(text) - 1)}
    return kind.from_config(fields)


def words_of(given: Any) -> str:
    """What was typed to be looked at. Raises BpttError for what is no text, or too long a one."""
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > MOST_WORDS:
        raise BpttError(f"input must be a text of at most {MOST_WORDS} characters")
    return given
