"""The bug hunt as the page asks for it: a mistake's symptoms, and its name when one has guessed.

A page without a server has all hunts of one network inside, `static/hunts.json`, for they take a
minute to compute: `python docs/hunts.py` writes them.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from bptt.arguments import one_of, whole
from bptt.errors import BpttError
from bptt.lab.views import packed
from bptt.mistakes.hunt import BugHunt, bug_hunt
from bptt.mistakes.programs import PROGRAMS, Arrays
from bptt.mistakes.table import known
from bptt.network.network import Network

TRAINED = 800


KEPT_SEED = 1


def hunt_of(asked: dict[str, Any]) -> BugHunt:
    """The hunt that a page asks for: by cell, and name or seed. Raises BpttError for no such."""
    cell = one_of("cell", asked.get("cell"), PROGRAMS)
    name, seed = asked.get("name"), whole("seed", asked.get("seed", 0), 0, 2**31)
    if name is not None and not isinstance(name, str):
        raise BpttError("name must be a text")
    return bug_hunt(seed, cell=cell, name=name or None)


def symptoms(asked: dict[str, Any]) -> dict[str, Any]:
    """Where the gradient check sees the mistake: |claimed - right| of every parameter and of x, and
    from which step on; the program's text; the names it may have."""
    hunt = hunt_of(asked)
    check = hunt.check()
    failed = [each.name for each in check.parameters if each.failed]
    return {
        "cell": hunt.cell, "choices": [*known(hunt.cell), "none"], "source": hunt.source,
        "failed": failed,
        "passed": check.passed, "firstWrongStep": check.first_wrong_step,
        "steps": hunt.x.shape[1], "samples": hunt.x.shape[0],
        "off": {
            name: packed(np.atleast_2d(values.max(axis=0).T if name == "x" else values))
            for name, values in how_wrong(hunt).items()
        },
    }  # fmt: skip


def how_wrong(hunt: BugHunt) -> Arrays:
    """|claimed - right| of every entry of every parameter's gradient and of x's, relative to the
    largest right one."""
    claimed = hunt.gradients()
    right = Network(hunt.network.structure, theta=hunt.network.theta, engine="reference")
    found = right.gradient(hunt.x, hunt.y, inputs=True)
    assert found.x is not None
    truth = {**found.parameters, "x": found.x}
    size = {name: float(np.abs(values).max()) or 1.0 for name, values in truth.items()}
    return {name: np.abs(claimed[name] - truth[name]) / size[name] for name in truth}


def answered(asked: dict[str, Any]) -> dict[str, Any]:
    """Whether a guess is right; and, right or not, what it was."""
    hunt, guess = hunt_of(asked), asked.get("guess")
    if not isinstance(guess, str) or guess not in [*hunt.choices, "none"]:
        raise BpttError("guess must be one of the choices")
    found = _solution(hunt)
    return {"right": guess == found["name"], **found}


def _solution(hunt: BugHunt) -> dict[str, Any]:
    """What the mistake is."""
    solution = hunt.solution
    name = "none" if solution is None else solution.name
    words = "there is no mistake" if solution is None else solution.words
    change = None if solution is None else solution.changes[hunt.cell]
    return {
        "name": name, "words": words,
        "seen": "" if solution is None else solution.seen,
        "wrongLine": "" if change is None else change.wrong,
        "rightLine": "" if change is None else change.right,
        "equation": None if change is None else change.equation,
    }  # fmt: skip


def trained(asked: dict[str, Any]) -> dict[str, Any]:
    """What the mistake does to a training: losses of the wrong and of the right one."""
    hunt = hunt_of(asked)
    found = hunt.trainings(TRAINED, seed=1)
    return {"every": 20, "planted": found["planted"], "right": found["right"]}


def computed(cell: str, name: str) -> dict[str, Any]:
    """All that a page without a server tells of a mistake."""
    asked = {"cell": cell, "name": name, "seed": KEPT_SEED}
    found = symptoms(asked)
    del found["source"], found["choices"]
    losses = [float(f"{loss:.4g}") for loss in trained(asked)["planted"]]
    return {**found, **_solution(hunt_of(asked)), "planted": losses}


@cache
def kept() -> dict[str, Any]:
    """What `computed` gave, by cell and name."""
    text = files("bptt.lab").joinpath("static", "hunts.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def mistakes() -> dict[str, list[str]]:
    """The names of what can be planted, by cell; 'none' is the right backward pass."""
    return {cell: [*known(cell), "none"] for cell in PROGRAMS}
