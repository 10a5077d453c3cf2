"""What the views show of one moment of a training: arrays by name, all from one trace.

They are made in float64 by the reference, whatever engine trained, and handed over as float32.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.network.engines import initial_states
from bptt.network.network import Network
from bptt.network.recurrence import forward
from bptt.network.structure import Structure
from bptt.proofs.automaton import Automaton
from bptt.proofs.extraction import arrows
from bptt.proofs.prove import Proof, quickly
from bptt.proofs.shadow import shadows
from bptt.tasks.batches import Samples
from bptt.tasks.task import Task, Watched
from bptt.traces import derived
from bptt.traces.trace import Trace, trace

if TYPE_CHECKING:
    from bptt.proofs.search import Balls

Arrays = dict[str, NDArray[Any]]

# A page can show no more, and a trace of it still takes a fraction of a second.
MOST_STEPS, MOST_HIDDEN = 128, 128
# Sequences whose states are drawn, besides the watched one, and up to which number of steps.
CLOUD, CLOUD_STEPS = 24, 24
MOST_SETS = 3000  # of a proof, that are drawn
CELLS = ("elman", "lstm", "gru")
MOST_BEGINNING = 1500
# Products and decompositions that would take longer than a picture may: not shown.
MOST_TRUNCATED, MOST_SINGULAR = 2_000_000, 3_000_000


class Looker:
    """Looks at networks of one structure on one sequence: `look` gives what the views show."""

    def __init__(
        self, task: Task, structure: Structure, words: str = "",
        initializers: Mapping[str, str] | None = None, forget_bias: float = 0.0,
    ) -> None:  # fmt: skip
        """words: which sequence, see `Task.watch`. initializers, forget_bias: what weights are
        drawn by, for `beginnings`. Raises BpttError for a sequence that is too long."""
        self.task, self.structure = task, structure
        self._drawn = {"W": w} if (w := (initializers or {}).get("W")) else {}
        self._forget_bias = forget_bias
        self.watched: Watched = task.watch(words)
        steps = self.watched.x.shape[1]
        if not 1 <= steps <= MOST_STEPS:
            raise BpttError(f"a sequence of {steps} steps: from 1 to {MOST_STEPS} can be looked at")
        if structure.hidden > MOST_HIDDEN:
            raise BpttError(f"hidden {structure.hidden}: at most {MOST_HIDDEN} can be looked at")
        self._automaton = task.automaton()
        self._cloud = _cloud_of(task)
        self._remembered = None
        if self._cloud is not None and self._automaton is not None:
            told = [states_of(self._automaton, x) for x in self._cloud.x]
            self._remembered = None if any(each is None for each in told) else np.array(told)

    def info(self) -> dict[str, Any]:
        """What is the same at every moment: names, and the watched sequence."""
        s, cell, machine = self.structure, self.structure.equations, self._automaton
        states = None if machine is None else states_of(machine, self.watched.x[0])
        return {
            "title": self.watched.title,
            "rows": [[name, list(texts)] for name, texts in self.watched.rows],
            "steps": self.watched.x.shape[1],
            "cell": s.equations.name,
            "activation": s.activation,
            "hidden": s.hidden,
            "layers": s.layers,
            "inputs": s.inputs,
            "outputs": s.outputs,
            "readout": s.readout,
            "classes": s.head.classes,
            "numbers": numbers(s),
            "names": list(self.watched.names),
            "units": [list(each) for each in self.watched.units or ()],
            "states": list(cell.states),
            "gates": _gate_names(s),
            "preactivations": list(cell.preactivations),
            "recurrent": list(cell.recurrent),
            "x": packed(_as_rows(self.watched.x[0], s.inputs)),
            "machine": None if machine is None else drawn_machine(machine),
            "machineStates": None if states is None else [int(each) for each in states],
            "cloudStates": None if self._remembered is None else packed(self._remembered),
        }

    def beginnings(self) -> dict[str, list[float]]:
        """|d loss_T / d h_t| at every time, of the last answer alone, for each cell of the same
        size before any training; W, and an LSTM's forget bias, drawn as the settings say."""
        found = {}
        for cell in CELLS:
            s = msgspec.structs.replace(self.structure, cell=cell, activation="tanh")
            if s.hidden * s.layers * self.watched.x.shape[1] > MOST_BEGINNING:
                return {}
            bias = self._forget_bias if cell == "lstm" else 0.0
            network = Network(
                s, seed=0, engine="reference", initializers=self._drawn, forget_bias=bias
            )
            parts = derived.apart(trace(network, self.watched.x, self.watched.y))
            found[cell] = [float(each) for each in parts.credit()[-1]]
        return found

    def trace(self, theta: NDArray[Any]) -> Trace:
        """The trace of the watched sequence with these weights."""
        network = Network(self.structure, theta=theta, engine="reference")
        return trace(network, self.watched.x, self.watched.y)

    def look(self, theta: NDArray[Any], balls: "Balls | None" = None) -> Arrays:
        """Everything that the views show of a network with these weights. balls: the sets of
        states by which it was proved, if it was."""
        found, s = self.trace(theta), self.structure
        arrays: Arrays = {
            "p": found["p"][0], "wrong": _wrong(found), "sure": _sure(found),
            "loss": found["loss"][0],
            "states": found["states"][-1, :, 0], "dstates": found["dstates"][-1, :, 0],
            "gates": found["gates"][-1, :, 0], "a": found["a"][-1, :, 0],
            "dabove": found["dabove"][-1, 0],
        }  # fmt: skip
        parts = derived.apart(found)
        arrays["credit"] = parts.credit()
        weights_size = s.hidden**2 * s.equations.gates * found.steps**2
        if weights_size < MOST_TRUNCATED and found["da"].any():
            arrays["truncated"] = parts.truncated()
        norms = derived.gradient_norms(found)
        arrays["norms"] = np.array([values[0] for values in norms.values()])
        if found.steps * (s.hidden * len(s.equations.states)) ** 3 < MOST_SINGULAR:
            arrays["singular"] = derived.singular_values(found, s.layers - 1)[:, [0, -1]]
        weights, gradients = found.weights, found.gradients
        for letter in "UWb":
            name = s.name(letter, s.layers - 1)
            if name in weights:
                arrays[letter], arrays[f"d{letter}"] = weights[name], gradients[name]
        for name in "Vc":
            if name in weights:
                arrays[name], arrays[f"d{name}"] = weights[name], gradients[name]
        if s.tied:
            values = np.array(list(derived.eigenvalues(found, s.layers - 1).values()))
            arrays["eigenvalues"] = np.stack([values.real, values.imag], axis=-1)
        if s.hidden > 1 and self._cloud is not None:
            arrays |= self._plane(theta, found["states"][-1, 0, 0], balls)
        return arrays

    def _plane(self, theta: NDArray[Any], path: NDArray[Any], balls: "Balls | None") -> Arrays:
        """States of the watched sequence and of others, and the sets of a proof, in a plane: see
        `derived.plane_apart`."""
        assert self._cloud is not None
        s = self.structure
        states = self._states(theta, self._cloud)
        points = states.reshape(-1, s.hidden)  # (B * (T + 1), H)
        mean = points.mean(axis=0)
        groups = None if self._remembered is None else self._remembered.ravel()
        plane = derived.plane_apart(points - mean, groups)
        variance = ((points - mean) @ plane).var(axis=0)
        found: Arrays = {
            "cloud": (states - mean) @ plane,
            "path": (path - mean) @ plane,
            "explained": variance / (points.var(axis=0).sum() or 1),
        }
        if balls is not None:
            seen = shadows(balls, s, plane, mean)
            sets = np.column_stack([seen.centre, seen.radius, seen.label])
            found |= {
                "sets": sets[:MOST_SETS],
                "setForm": seen.form,
                "setCount": np.array([len(sets)]),
            }
        return found

    def _states(self, theta: NDArray[Any], some: Samples) -> NDArray[np.float64]:
        """h of the top layer before and after every step, (B, T + 1, H); past a sequence's end it
        stays what it was."""
        s = msgspec.structs.replace(self.structure, dtype="float64")
        theta, x = theta.astype(np.float64), np.swapaxes(some.x, 0, 1)
        steps = np.arange(len(x))[:, None]
        alive = steps < (np.full(x.shape[1], len(x)) if some.lengths is None else some.lengths)
        initial = initial_states(s, theta, None, x.shape[1])
        with np.errstate(all="ignore"):
            walk = forward(s, s.layout().views(theta), x, alive, [tuple(h) for h in initial])
        return np.array([state[0] for state in walk.layers[-1].states]).swapaxes(0, 1)


def proof_of(network: Network, task: Task) -> Proof | None:
    """What `quickly` says; None too for a network that the question makes no sense for."""
    try:
        return quickly(network, task)
    except BpttError:
        return None


def _cloud_of(task: Task) -> Samples | None:
    """Some sequences of the task, of at most `CLOUD_STEPS` steps."""
    try:
        drawn = task.drawn(np.random.default_rng(0), CLOUD)
    except BpttError:  # a text too short for so many places to read it at
        return None
    x = np.asarray(drawn.x)[:, :CLOUD_STEPS]
    if not task.one_hot:
        x = x.astype(np.float64)
    return Samples(x, drawn.y, drawn.lengths)


def drawn_machine(machine: Automaton) -> dict[str, Any]:
    """An automaton as the page draws it: its states' names, and arrows (from, to, symbols with the
    right answers)."""
    return {
        "names": list(machine.names),
        "arrows": [[s, t, words] for (s, t), words in arrows(machine).items()],
    }


def _as_rows(x: NDArray[Any], inputs: int) -> NDArray[Any]:
    return np.eye(inputs)[x] if x.ndim == 1 else x


def _gate_names(structure: Structure) -> list[str]:
    cell = structure.equations
    if cell.gates_are_states:
        return list(cell.states)
    return [name if name != "q" else "q (part of n)" for name in cell.preactivations]


def numbers(structure: Structure) -> bool:
    """Whether the outputs are numbers, which are near or far and never right or wrong."""
    return not structure.head.classes and structure.output == "linear"


def _wrong(found: Trace) -> NDArray[Any]:
    """Which answers are wrong, (answers, O), 0 or 1."""
    head = found.structure.head
    if numbers(found.structure):
        wrong = np.zeros_like(found["o"][0])
    elif head.classes:
        wrong = (found["o"][0].argmax(axis=-1) != found["y"][0])[:, None]
    else:
        wrong = (found["o"][0] > head.threshold) != (found["y"][0] > 0.5)
    return np.asarray(wrong, np.float64)


def _sure(found: Trace) -> NDArray[Any]:
    """What the bar under each answer shows, (answers,): of classes the right one's probability, of
    one output its value, of several the share that is right."""
    p, y = found["p"][0], found["y"][0]
    if found.structure.head.classes:
        return np.asarray(np.take_along_axis(p, y[:, None].astype(np.intp), axis=1)[:, 0])
    return np.asarray(p[:, 0] if p.shape[1] == 1 else 1 - _wrong(found).mean(axis=1))


def states_of(machine: Automaton, x: NDArray[Any]) -> NDArray[np.intp] | None:
    """The automaton's states before and after every step of a sequence (T, D) or (T,); None if it
    has no symbol for one of the steps."""
    inputs = machine.inputs.reshape(len(machine.inputs), -1)
    same = (x.reshape(len(x), 1, -1) == inputs).all(axis=2)  # (T, symbols)
    if not same.any(axis=1).all():
        return None
    after, found = machine.after.tolist(), [0]
    for symbol in same.argmax(axis=1).tolist():
        found.append(after[found[-1]][symbol])
    return np.array(found)


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """An array as JSON holds it: its shape, and its numbers as float32 in base64."""
    data = np.ascontiguousarray(array, "<f4")
    return {"shape": list(array.shape), "data": base64.b64encode(data.tobytes()).decode()}


def packed_all(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays by name, likewise."""
    return {name: packed(array) for name, array in arrays.items()}
