"""What the views show of one moment of a training: arrays by name, all from one trace.

They are made in float64 by the reference, whatever engine trained, and handed over as float32.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.network.structure import Structure
from bptt.proofs.automaton import Automaton
from bptt.tasks.task import Task, Watched
from bptt.traces import derived
from bptt.traces.trace import Trace, trace

Arrays = dict[str, NDArray[Any]]

# A page can show no more, and a trace of it still takes a fraction of a second.
MOST_STEPS, MOST_HIDDEN = 128, 128
# Sequences whose states are drawn, besides the watched one, and up to which number of steps.
CLOUD, CLOUD_STEPS = 24, 24
CELLS = ("elman", "lstm", "gru")
MOST_BEGINNING = 1500
# Products and decompositions that would take longer than a picture may: not shown.
MOST_TRUNCATED, MOST_SINGULAR = 2_000_000, 3_000_000


class Looker:
    """Looks at networks of one structure on one sequence: `look` gives what the views show."""

    def __init__(self, task: Task, structure: Structure, words: str = "") -> None:
        """words: which sequence, see `Task.watch`. Raises BpttError for one that is too long."""
        self.task, self.structure = task, structure
        self.watched: Watched = task.watch(words)
        steps = self.watched.x.shape[1]
        if not 1 <= steps <= MOST_STEPS:
            raise BpttError(f"a sequence of {steps} steps: from 1 to {MOST_STEPS} can be looked at")
        if structure.hidden > MOST_HIDDEN:
            raise BpttError(f"hidden {structure.hidden}: at most {MOST_HIDDEN} can be looked at")
        rng = np.random.default_rng(0)
        self._cloud = _dense_rows(task, rng)
        self._automaton = task.automaton()

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
            "states": list(cell.states),
            "gates": _gate_names(s),
            "preactivations": list(cell.preactivations),
            "recurrent": list(cell.recurrent),
            "x": packed(_as_rows(self.watched.x[0], s.inputs)),
            "machine": None if machine is None else list(machine.names),
            "machineStates": None if states is None else [int(each) for each in states],
        }

    def beginnings(self) -> dict[str, list[float]]:
        """|d loss_T / d h_t| at every time, of the last answer alone, for each cell of the same
        size before any training."""
        found = {}
        for cell in CELLS:
            s = msgspec.structs.replace(self.structure, cell=cell, activation="tanh")
            if s.hidden * s.layers * self.watched.x.shape[1] > MOST_BEGINNING:
                return {}
            network = Network(s, seed=0, engine="reference")
            parts = derived.apart(trace(network, self.watched.x, self.watched.y))
            found[cell] = [float(each) for each in parts.credit()[-1]]
        return found

    def trace(self, theta: NDArray[Any]) -> Trace:
        """The trace of the watched sequence with these weights."""
        network = Network(self.structure, theta=theta, engine="reference")
        return trace(network, self.watched.x, self.watched.y)

    def look(self, theta: NDArray[Any]) -> Arrays:
        """Everything that the views show of a network with these weights."""
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
            arrays |= self._plane(theta)
        return arrays

    def _plane(self, theta: NDArray[Any]) -> Arrays:
        """States of the watched sequence and of others in the plane in which they differ most."""
        assert self._cloud is not None
        s = self.structure
        network = Network(s, theta=theta.astype(s.dtype), engine="reference")
        layers = [self._states(network, x) for x in (self._cloud, self.watched.x)]
        points = layers[0].reshape(-1, s.hidden)  # (B * (T + 1), H)
        mean = points.mean(axis=0)
        _, sizes, directions = np.linalg.svd(points - mean, full_matrices=False)
        plane = directions[:2].T
        # A direction has no sign: the same one at every moment, or paths would jump.
        plane = plane * np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1, 1)
        variance = sizes**2
        found: Arrays = {
            "cloud": (layers[0] - mean) @ plane,
            "path": (layers[1][0] - mean) @ plane,
            "explained": variance[:2] / (variance.sum() or 1),
        }
        if self._automaton is not None:
            found["cloudStates"] = np.array([states_of(self._automaton, x) for x in self._cloud])
        return found

    def _states(self, network: Network, x: NDArray[Any]) -> NDArray[np.float64]:
        """h of the top layer before and after every step, (B, T + 1, H)."""
        s = self.structure
        shape = x.shape[:2] if s.readout == "steps" else x.shape[:1]
        y = np.zeros(shape if s.head.classes else (*shape, s.outputs), np.int64)
        found: NDArray[np.float64] = trace(network, x, y)["states"][-1, 0]
        return found


def _dense_rows(task: Task, rng: np.random.Generator) -> NDArray[Any] | None:
    """Some sequences of the task, of equal length."""
    try:
        drawn = task.drawn(rng, CLOUD)
    except BpttError:  # a text too short for so many places to read it at
        return None
    x: NDArray[Any] = drawn.x
    if drawn.lengths is not None and np.min(drawn.lengths) < x.shape[1]:
        x = x[:, : int(np.min(drawn.lengths))]
    shown: NDArray[Any] = x[:, :CLOUD_STEPS]
    return shown


def _as_rows(x: NDArray[Any], inputs: int) -> NDArray[Any]:
    return np.eye(inputs)[x] if x.ndim == 1 else x


def _gate_names(structure: Structure) -> list[str]:
    cell = structure.equations
    if cell.gates_are_states:
        return list(cell.states)
    return [name if name != "q" else "q (part of n)" for name in cell.preactivations]


def _wrong(found: Trace) -> NDArray[Any]:
    """Which answers are wrong, (answers, O), 0 or 1."""
    head = found.structure.head
    if head.classes:
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
    """The automaton's states before and after every step of a sequence (T, D) or (T,)."""
    inputs = machine.inputs
    state, found = 0, [0]
    for row in x:
        symbols = np.flatnonzero((inputs == row).reshape(len(inputs), -1).all(axis=1))
        if not symbols.size:
            return None
        state = int(machine.after[state, symbols[0]])
        found.append(state)
    return np.array(found)


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """An array as JSON holds it: its shape, and its numbers as float32 in base64."""
    data = np.ascontiguousarray(array, "<f4")
    return {"shape": list(array.shape), "data": base64.b64encode(data.tobytes()).decode()}


def packed_all(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays by name, likewise."""
    return {name: packed(array) for name, array in arrays.items()}
