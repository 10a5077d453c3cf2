"""The page: one HTML file with everything inside, live or with all its moments.

The modules of `static/` are put one after the other into one script, without their import and
export words: a page opened from a file may load no other file. For the same reason their names at
the top level differ from each other, which the tests see to.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import instance, text, whole
from bptt.arguments import path as path_of
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.lab.hunting import kept, mistakes
from bptt.lab.session import rounded
from bptt.lab.views import Looker, packed_all, proof_of
from bptt.mistakes.programs import PROGRAMS
from bptt.mistakes.table import source
from bptt.network.network import Network
from bptt.proofs.prove import Proof
from bptt.tasks.task import Task, Verdict
from bptt.training.records import Record
from bptt.training.settings import Settings
from bptt.training.training import Training

MODULES = (
    "data", "draw", "heat", "lines", "points", "machine",
    "stage", "credit", "flow", "luck", "weights", "gates", "states", "bugs", "lab",
)  # fmt: skip
MOMENTS = 60
# A training that takes longer is not repeated for its moments unless that is asked for.
REPEAT_SECONDS = 20.0
MOST_BYTES = 1_000_000
MOST_MOMENTS = 1000


@cache
def static(name: str) -> str:
    """A file of the page."""
    return files("bptt.lab").joinpath("static", name).read_text("utf-8")


@cache
def script() -> str:
    """All modules as one."""
    found = []
    for name in MODULES:
        source = re.sub(r'^import .* from "\./\w+\.js";\n', "", static(f"{name}.js"), flags=re.M)
        found.append(re.sub(r"^export ", "", source, flags=re.M))
    return "\n".join(found)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


@cache
def policy(live: bool) -> str:
    """What the page may do: run its one script, and, live, ask the server that it came from."""
    code = _hash(f"\n{script()}")
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {code}; style-src 'unsafe-inline'; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def page_html(title: str, start: Mapping[str, Any]) -> str:
    """The page as HTML. start: plain values, what it begins with."""
    plain = json.dumps(rounded(start), separators=(",", ":"), allow_nan=False)
    parts = {
        "policy": policy(bool(start["live"])), "title": html.escape(title),
        "style": static("lab.css"), "script": script(),
        # What could end the script is written so that it cannot.
        "start": plain.replace("<", "\\u003c").replace("\u2028", "\\u2028"),
    }  # fmt: skip
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], static("lab.html"))


class Page:
    """A training or a network to be looked at, as one HTML file that needs nothing beside it. In a
    notebook it shows itself, in a frame."""

    def __init__(self, content: str, title: str, moments: int) -> None:
        self._content, self.title, self.moments = content, title, moments

    def html(self) -> str:
        """The page."""
        return self._content

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the page as an HTML file. Raises BpttError if it cannot be written."""
        write_file(path_of("path", path), self._content.encode())

    def __repr__(self) -> str:
        return f"Page({self.title}, {self.moments} moments, {len(self._content):,} bytes)"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self._content)}" title="{html.escape(self.title)}" '
            'sandbox="allow-scripts" style="width: 100%; height: 900px; border: 0"></iframe>'
        )


def report(
    looker: Looker, moments: Mapping[int, NDArray[Any]], records: Iterable[Record],
    told: Mapping[str, Any], describe: str, proof: Proof | None = None,
) -> Page:  # fmt: skip
    """The page of some moments: weights by iteration. Of too many for a page of 1 MB some are left
    out, evenly; the first and the last stay. proof: of the last moment's network."""
    iterations = sorted(moments)
    balls = proof.balls if proof is not None and proof.verdict == "proved" else None
    if proof is not None and proof.verdict != "undecided":
        told = {**told, "proof": str(proof)}
    frames = {each: packed_all(looker.look(moments[each], balls)) for each in iterations[-1:]}
    start = _still(looker, iterations, records, told, describe)
    bare = len(page_html("", {**start, "still": {**start["still"], "frames": {}}}))
    last = frames[iterations[-1]]
    sets = len(json.dumps(last.get("sets")))  # these are of one moment alone
    each_takes = len(json.dumps(last)) - sets
    room = max(1, (MOST_BYTES - bare - sets - 20_000) // each_takes)
    if room < len(iterations):
        chosen = np.unique(np.linspace(0, len(iterations) - 1, room).round().astype(int))
        iterations = [iterations[n] for n in chosen] if room > 1 else iterations[-1:]
    start["still"]["moments"] = iterations
    start["still"]["frames"] = {
        str(each): frames.get(each) or packed_all(looker.look(moments[each])) for each in iterations
    }
    title = f"{describe}: {looker.watched.title}"
    return Page(page_html(f"bptt: {title}", start), title, len(iterations))


def _still(
    looker: Looker, iterations: list[int], records: Iterable[Record], told: Mapping[str, Any],
    describe: str,
) -> dict[str, Any]:  # fmt: skip
    rows = list(records)
    return {
        "live": False,
        "choices": {"tasks": [], "run": {}},
        "mistakes": mistakes(),
        "hunts": {
            "every": 20, "source": {cell: source(cell) for cell in PROGRAMS}, "kept": kept(),
        },
        "still": {
            "describe": describe,
            "info": {**looker.info(), "beginnings": looker.beginnings()},
            "seed": told.get("seed", 0), "moments": iterations, "frames": {},
            "news": {name: told.get(name, "") for name in
                     ("state", "verdict", "proof", "engine", "seconds")},
            "records": {
                "iterations": [record.iteration for record in rows],
                "losses": [record.loss_per_step for record in rows],
                "wrong": [record.wrong for record in rows],
                "norms": [record.gradient_norm for record in rows],
            },
        },
    }  # fmt: skip


def look(
    run: Any, words: str = "", *, moments: int | None = None, task: Task | None = None,
    proof: Proof | None = None,
) -> Page:  # fmt: skip
    """A page to look inside a training: how states go forward and derivatives come back, which loss
    reaches which state, weights, gates and states, at up to 60 moments of the training.

    run: a `bptt.Run`; or a network, whose task is then needed. words: which sequence is looked at:
    of two numbers to add, as '93 + 87'; see `Task.watch`. moments: how many; the training is done
    again for them, by default if it took less than 20 seconds, and left out if it ends with
    other weights, as it may on another machine. proof: what `bptt.prove` has found, whose sets of
    states are then shown; by default it is looked for during a second. Raises BpttError for an
    input that is none.

    In a notebook the page shows itself; `save` writes it as one HTML file.
    """
    text("words", words)
    if proof is not None:
        instance("proof", proof, Proof, "what bptt.prove gives")
    wanted = None if moments is None else whole("moments", moments, 1, MOST_MOMENTS)
    if isinstance(run, Network):
        if task is None:
            raise BpttError("a network alone names no task: give task=..., or a run")
        looker = Looker(task, run.structure, words)
        proof = proof_of(run, task) if proof is None else proof
        return report(looker, {0: run.theta}, [], {"state": "done"}, task.describe(), proof)
    training: Training | None = getattr(run, "training", None)
    if not isinstance(training, Training):
        raise BpttError("give a run, as bptt.train and bptt.load_run do, or a network")
    settings = training.settings
    looker = Looker(training.task, settings.structure, words)
    last = training.learner.iteration
    kept: dict[int, NDArray[Any]] = {last: training.network.theta}
    if wanted is None:
        wanted = MOMENTS if training.seconds < REPEAT_SECONDS else 1
    if wanted > 1 and last:
        kept |= moments_of(settings, last, training.network.theta, wanted) or {}
    verdict: Verdict | None = training.verdict
    told = {
        "state": training.reason, "verdict": str(training.divergence or verdict or training.reason),
        "engine": settings.engine, "seconds": training.seconds, "seed": settings.seed,
    }  # fmt: skip
    if proof is None and not training.divergence:
        proof = proof_of(training.network, training.task)
    return report(looker, kept, training.history, told, training.task.describe(), proof)


def moments_of(
    settings: Settings, last: int, theta: NDArray[Any], count: int
) -> dict[int, NDArray[Any]] | None:
    """The weights at some moments of a training of so many iterations, which is done again; None
    where it ends with other weights than `theta`, as it may on another machine."""
    training = Training(settings)
    found = {0: training.network.theta.copy()}
    for each in np.unique(np.linspace(0, last, count).round().astype(int)).tolist():
        training.advance(each - training.learner.iteration)
        found[each] = training.network.theta.copy()
        if training.divergence:
            break
    return found if np.array_equal(training.network.theta, theta) else None
