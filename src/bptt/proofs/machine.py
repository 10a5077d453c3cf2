"""A network and an automaton, laid out for the kernels of proofs, and as arrays to step through."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.proofs.automaton import Automaton
from bptt.proofs.tape import tape_of
from bptt.proofs.workspace import Workspace

Array = NDArray[np.float64]
# Of the network's arithmetic: half a unit in the last place of 1; functions are within 4 units in
# the last place (`bptt.kernels.machine.elementary`; twice that is allowed for); smaller numbers may
# be made zero.
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
ULP = {"float32": 2.0**-21, "float64": 2.0**-50}
FLUSH = {"float32": 2.0**-126, "float64": 2.0**-1022}
# An output must be this far from its threshold, so that p > 0.5 says the same as o > 0.
CLEAR = 1e-5
Head = tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]
# Cells of the grid in which balls are found, a power of 2.
GRID = 1 << 14
# Most numbers of a joint state.
MOST_STATES = 512


def check(network: Network, automaton: Automaton) -> None:
    """Raises BpttError where the question makes no sense for this network."""
    s = network.structure
    if not s.tied:
        raise BpttError(
            f"untied weights are made for {s.steps} steps and have no say about other lengths: "
            "prove a network with tied weights"
        )
    s.refuse_both_directions("proofs follow the state from step to step")
    if s.skip:
        raise BpttError("a network whose inputs are added to its outputs (skip) is not proved")
    ids = automaton.inputs.ndim == 1
    width = int(automaton.inputs.max()) + 1 if ids else automaton.inputs.shape[1]
    if width > s.inputs or (width < s.inputs and not ids):
        raise BpttError(f"the network has {s.inputs} inputs, the automaton {width}: they must fit")
    classes = automaton.answers.ndim == 2
    if s.head.classes != classes or not (classes or automaton.answers.shape[2] == s.outputs):
        wanted = "classes" if classes else f"{automaton.answers.shape[2]} bits"
        raise BpttError(
            f"the network has {s.outputs} {s.output} outputs, the automaton answers with {wanted}"
        )
    if classes and automaton.answers.max() >= s.outputs:
        raise BpttError(f"the automaton answers with class {automaton.answers.max()}, the network "
                        f"has {s.outputs}")  # fmt: skip
    if not np.isfinite(network.theta).all():
        raise BpttError("the network's weights are not finite: train again")
    if s.layers > 1 and s.equations.parameters:
        raise BpttError(
            f"cell '{s.equations.name}' has parameters of its own, by layer: one layer of it can "
            f"be followed in a proof, not {s.layers}"
        )
    n = s.layers * len(s.equations.states) * s.hidden
    if n > MOST_STATES:
        raise BpttError(f"the network's state has {n} numbers: at most {MOST_STATES} can be proved")


class Machine:
    """A network whose joint states (n,) are all states of all layers, one after the other:
    layer by layer, part by part (h, then c). Weights in float64, which holds them exactly.

    work: everything laid out for kernels; `balls` is how many there is room for.
    """

    def __init__(self, network: Network, automaton: Automaton) -> None:
        check(network, automaton)
        self.network, self.automaton = network, automaton
        s = self.structure = network.structure
        self.cell, self.tape = s.equations, tape_of(s.equations)
        self.parts, self.hidden, self.layers = len(self.cell.states), s.hidden, s.layers
        self.size = self.layers * self.parts * self.hidden
        self.weights = {k: v.astype(np.float64) for k, v in network.parameters.items()}
        self.start = self._start()
        self.symbols = len(automaton.symbols)
        self.V, self.c = self.weights["V"], self.weights.get("c", np.zeros(s.outputs))
        self.bias, self.terms = self._constants()

    def _start(self) -> Array:
        if self.structure.initial_state == "zeros":
            return np.zeros(self.size)
        names = [
            self.structure.name(f"{state}0", layer)
            for layer in range(self.layers)
            for state in self.cell.states
        ]
        return np.concatenate([self.weights[name] for name in names])

    def _constants(self) -> tuple[Array, Array]:
        """What a symbol and the biases add to preactivations, and the sizes of those terms:
        (layers, symbols, K, H)."""
        H, G = self.hidden, self.cell.gates
        K = len(self.cell.preactivations)
        bias = np.zeros((self.layers, self.symbols, K * H))
        terms = np.zeros_like(bias)
        for layer in range(self.layers):
            b = self.weights.get(self.structure.name("b", layer))
            if b is not None:
                bias[layer] += b
                terms[layer] += np.abs(b)
        U, x = self.weights[self.structure.name("U", 0)], self.automaton.inputs
        if x.ndim == 1:
            bias[0, :, : G * H] += U[x]
            terms[0, :, : G * H] += np.abs(U[x])
        else:
            bias[0, :, : G * H] += x.astype(np.float64) @ U
            terms[0, :, : G * H] += np.abs(x) @ np.abs(U)
        shape = (self.layers, self.symbols, K, H)
        return bias.reshape(shape), terms.reshape(shape)

    def matrices(self, layer: int) -> tuple[NDArray[np.int64], Array]:
        """Which numbers of the joint state feed a layer, and by which weights: (R,), (K, R, H).
        The layer below comes first, with the state that it has just taken."""
        H, G, K = self.hidden, self.cell.gates, len(self.cell.preactivations)
        own = np.arange(H) + layer * self.parts * H
        rows = own if self.layers == 1 else np.concatenate([own - self.parts * H, own])
        weights = np.zeros((K, len(rows), H))
        W = self.weights[self.structure.name("W", layer)]
        for gate, k in enumerate(self.cell.recurrent):
            weights[k, -H:] += W[:, gate * H : (gate + 1) * H]
        if layer:
            U = self.weights[self.structure.name("U", layer)]
            for gate in range(G):
                weights[gate, :H] += U[:, gate * H : (gate + 1) * H]
        return np.maximum(rows, 0), weights  # the first layer has none below: weights are 0

    def step(self, states: Array, symbols: NDArray[Any]) -> Array:
        """The next states of states (N, n) by symbols (N,), in float64."""
        new, H = states.copy(), self.hidden
        for layer in range(self.layers):
            rows, weights = self.matrices(layer)
            below = new[:, rows]
            a = tuple(below @ W + self.bias[layer][symbols, k] for k, W in enumerate(weights))
            first = layer * self.parts * H
            s = tuple(new[:, first + p * H : first + (p + 1) * H] for p in range(self.parts))
            own = [self._own(layer)] if self.cell.parameters else []
            for p, value in enumerate(self.cell.forward(a, s, *own)[1]):
                new[:, first + p * H : first + (p + 1) * H] = value
        return new

    def _own(self, layer: int) -> tuple[Array, ...]:
        """The cell's own parameters."""
        names = (self.structure.name(each.name, layer) for each in self.cell.parameters)
        return tuple(self.weights[name] for name in names)

    def outputs(self, states: Array) -> Array:
        """The output preactivations o (N, O) at states (N, n)."""
        top = (self.layers - 1) * self.parts * self.hidden
        return states[:, top : top + self.hidden] @ self.V + self.c

    def workspace(self, balls: int, words: int, deepest: int) -> Workspace:
        """All arrays of the kernels, filled with network and automaton: with room for so many
        balls, steps of words from a ball, and symbols of a word."""
        K = len(self.cell.preactivations)
        matrices = [self.matrices(layer) for layer in range(self.layers)]
        live = [any(m[1][k].any() for m in matrices) for k in range(K)]
        places = [k for k in range(K) if live[k]]
        linear = [(k, places.index(k), -1) for k in places if k in self.tape.used]
        linear += [(k, -1, k - K) for k in self.tape.used if k >= K]
        head = self._head()
        stack = deepest * self.symbols + 2
        work = Workspace(
            self._numbers(len(places), len(linear), head, balls, stack),
            self._integers(len(linear), head, balls, stack, words),
        )
        n, H = self.size, self.hidden
        work.m[:12] = (
            n, H, K, self.parts, self.layers, max(self.structure.inputs, H) + H + 5,
            4 * n + 4 * H + 64, self.symbols, 0, balls, stack, GRID,
        )  # fmt: skip
        for layer, (ids, weights) in enumerate(matrices):
            work["ROWS"][layer] = ids
            for at, k in enumerate(places):
                work["W"][layer, at] = weights[k]
                work["W_SIZES"][layer, at] = np.abs(weights[k])
            for at, (_, matrix, _) in enumerate(linear):
                norms = 1.0 if matrix < 0 else np.linalg.norm(work["W"][layer, matrix], axis=0)
                work["NORMS"][layer, at] = norms * (1 + 1e-12)
        unit = (UNIT[self.structure.dtype] + 4 * UNIT["float64"]) * 1.01
        flush, ulp = FLUSH[self.structure.dtype], ULP[self.structure.dtype]
        for name, value in (
            ("BIAS", self.bias), ("TERMS", self.terms), ("HEAD", head[0]), ("HEAD_SIZES", head[1]),
            ("ROUNDING", (unit, flush, ulp, CLEAR, n)), ("EACH", np.arange(n)),
            ("TAPE", self.tape.operations), ("OUT", self.tape.states), ("LINEAR", linear),
            ("CONDITIONS", head[2]), ("ANSWERS", head[3]), ("NEXT", self.automaton.after),
            ("LIVE", [places.index(k) if live[k] else -1 for k in range(K)]),
        ):  # fmt: skip
            work[name][...] = value
        for at, (slot, _, _) in enumerate(linear):
            work["A"][slot, at] = 1.0
        for number, constant in self.tape.constants.items():
            work["C"][number] = constant
        for number, place in self.tape.parameters.items():
            work["C"][number] = self._own(0)[place]
        return work

    def _numbers(
        self, live: int, linear: int, head: Head, balls: int, stack: int
    ) -> dict[str, tuple[int, ...]]:
        """The shapes of all arrays of numbers."""
        n, H, width, slots = self.size, self.hidden, self.parts * self.hidden, self.tape.size
        R, m, live = len(self.matrices(0)[0]), max(linear, 1), max(live, 1)
        return {
            "W": (self.layers, live, R, H), "W_SIZES": (self.layers, live, R, H),
            "BIAS": self.bias.shape, "TERMS": self.terms.shape, "NORMS": (self.layers, m, H),
            "HEAD": head[0].shape, "HEAD_SIZES": head[1].shape, "ROUNDING": (5,), "P": (n, n),
            "TT": (n, n), "C": (slots, H), "E": (slots, H), "A": (slots, m, H), "R": (slots, H),
            "S": (slots, H), "F": (3, H), "G": (m, m, H), "Y": (live, n, H), "BASE": (live, H),
            "SIZE": (live, H), "AW": (R, width), "YA": (n, width), "NEW": (width, width),
            "HEAD_Q": (H,), "HEAD_REACH": (H,), "QP": (n, n), "Z": (n,), "REACH": (R,),
            "CENTRE": (balls, n), "PLACE": (balls, n), "RADIUS": (balls,), "START_Q": (n, n),
            "STACK_C": (stack, n), "STACK_Q": (stack, n, n), "NOW_C": (n,), "NOW_Q": (n, n),
            "LIMITS": (8,),
        }  # fmt: skip

    def _integers(
        self, linear: int, head: Head, balls: int, stack: int, words: int
    ) -> dict[str, tuple[int, ...]]:
        """The shapes of all arrays of integers."""
        return {
            "TAPE": (len(self.tape.operations), 4), "OUT": (self.parts,),
            "LIVE": (len(self.cell.preactivations),), "LINEAR": (linear, 3),
            "ROWS": (self.layers, len(self.matrices(0)[0])), "EACH": (self.size,),
            "CONDITIONS": head[2].shape, "ANSWERS": head[3].shape,
            "NEXT": self.automaton.after.shape, "LABEL": (balls,), "PARENT": (balls,),
            "BY": (balls,), "HEADS": (GRID,), "FOLLOWING": (balls,), "STACK_STATE": (stack, 2),
            "RETURNS": (words + 2 * self.symbols,), "RESULT": (8,),
        }  # fmt: skip

    def _head(self) -> Head:
        """Conditions on the top layer's h: rows (F, H + 1), the constant last, the sizes of their
        terms, for each different answer a list (rows of it, signs), and the answers by number."""
        V, c = self.V, self.c
        if self.structure.head.classes:
            pairs = [(k, j) for k in range(len(c)) for j in range(k)]
            rows = np.array([[*(V[:, k] - V[:, j]), c[k] - c[j]] for k, j in pairs])
            sizes = np.array(
                [[*(abs(V[:, k]) + abs(V[:, j])), abs(c[k]) + abs(c[j])] for k, j in pairs]
            )
            flat = self.automaton.answers
            lists = [
                [(at, 1 if y == k else -1) for at, (k, j) in enumerate(pairs) if y in (k, j)]
                for y in range(len(c))
            ]
        else:
            rows = np.concatenate([V.T, (c - self.structure.head.threshold)[:, None]], axis=1)
            sizes = np.abs(np.concatenate([V.T, (np.abs(c) + 1)[:, None]], axis=1))
            bits = self.automaton.answers.reshape(-1, len(c))
            different, flat = np.unique(bits, axis=0, return_inverse=True)
            flat = flat.reshape(self.automaton.after.shape)
            lists = [[(o, 1 if bit else -1) for o, bit in enumerate(each)] for each in different]
        conditions = np.zeros((len(lists), 1 + 2 * max(map(len, lists))), np.int64)
        for at, each in enumerate(lists):
            conditions[at, 0] = len(each)
            conditions[at, 1 : 1 + 2 * len(each)] = np.array(each).reshape(-1)
        return rows.reshape(-1, self.hidden + 1), sizes.reshape(rows.shape), conditions, flat
