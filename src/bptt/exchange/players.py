"""Players: what runs a network one step at a time, whatever file it came out of.

A player is what a check compares. `Ours` runs the reference equations in float64; the others run
a file's weights as they lie in the file, by the equations in that library's documents, in float64
too: they share no line with what wrote the file.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.equations.functions import relu, sigmoid, tanh
from bptt.errors import BpttError
from bptt.exchange.model import Model
from bptt.network.recurrence import preactivations

Array = NDArray[np.floating]
States = list[tuple[Array, ...]]


class Player(Protocol):
    """What a check asks of a file that runs."""

    def reset(self) -> None:
        """Go to the state before the first step."""

    def keep(self) -> Any:
        """The state, to be put back later."""

    def put_back(self, state: Any) -> None:
        """Go on from a state that was kept."""

    def step(self, x: Array) -> Array:
        """One step: x (D,) to the outputs (O,)."""

    def run(self, x: Array) -> Array:
        """Many steps at once: x (T, D) to the outputs (T, O)."""


def softmax(o: Array) -> Array:
    """e^o over its sum."""
    e = np.exp(o - o.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda o: o, "sigmoid": sigmoid, "softmax": softmax, "tanh": tanh, "relu": relu
}  # fmt: skip


class Layers:
    """Recurrent layers on top of each other, then a head: how all players in NumPy work.

    layers: for each a function (input part, states) -> new states, the first of which is handed
    on, and a function from inputs (T, D) to their part, done for many steps at once. both: a layer
    has two of each, for the steps from the first to the last and from the last to the first; such a
    player has no `step`. last: the head then reads what either ends with, alone.
    """

    def __init__(
        self,
        parts: Sequence[Callable[[Array], Array]],
        steps: Sequence[Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]],
        head: Callable[[Array, Array], Array],
        initial: States,
        both: bool = False,
        last: bool = False,
    ) -> None:
        self.directions, self.last = 2 if both else 1, both and last
        self.parts, self.steps, self.head = parts, steps, head
        self.initial = [tuple(np.asarray(s, np.float64) for s in layer) for layer in initial]
        self.states: States = list(self.initial)

    def reset(self) -> None:
        """See `Player.reset`."""
        self.states = list(self.initial)

    def keep(self) -> Any:
        """See `Player.keep`."""
        return [tuple(s.copy() for s in layer) for layer in self.states]

    def put_back(self, state: Any) -> None:
        """See `Player.put_back`."""
        self.states = [tuple(layer) for layer in state]

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        h: Array = np.asarray(x, np.float64)
        for index, (part, advance) in enumerate(zip(self.parts, self.steps, strict=True)):
            self.states[index] = advance(part(h), self.states[index])
            h = self.states[index][0]
        return np.asarray(self.head(h, np.asarray(x, np.float64)))

    def run(self, x: Array) -> Array:
        """See `Player.run`: layer by layer, the products of all steps' inputs first."""
        x = np.asarray(x, np.float64)
        h: Array = x
        for first in range(0, len(self.parts), self.directions):
            found = [self._walked(first + k, h, k == 1) for k in range(self.directions)]
            h = np.concatenate(found, axis=1)
        if self.last:
            ends = self.states[-self.directions :]
            h = np.concatenate([states[0] for states in ends])[None]
        return np.asarray(self.head(h, x))

    def _walked(self, index: int, h: Array, reverse: bool) -> Array:
        """What one of the layers makes of inputs (T, D): (T, H)."""
        order, seen = -1 if reverse else 1, []
        for u in self.parts[index](h)[::order]:
            self.states[index] = self.steps[index](u, self.states[index])
            seen.append(self.states[index][0])
        return np.array(seen[::order])


class Ours(Layers):
    """The network itself, in float64: the equations of `bptt.equations.cells`."""

    def __init__(self, model: Model, output: bool = True) -> None:
        s, cell = model.structure, model.structure.equations
        layers = [model.layer(index) for index in range(s.recurrences)]
        U, W, b = ([np.asarray(each[k], np.float64) for each in layers] for k in range(3))

        def part(index: int) -> Callable[[Array], Array]:
            return lambda x: np.asarray(x @ U[index])

        def advance(index: int) -> Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]:
            def one(u: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
                rows = tuple(state[None] for state in states)
                a = preactivations(cell, u[None], rows[0] @ W[index], b[index])
                with np.errstate(all="ignore"):
                    return tuple(state[0] for state in cell.forward(a, rows)[1])

            return one

        V, c = (np.asarray(each, np.float64) for each in model.head)
        scaling, skip = model.scaling, model.skip
        function = ACTIVATIONS[s.output if output else "linear"]

        def head(h: Array, x: Array) -> Array:
            p = function(h @ V + c)
            if skip:
                p[..., :skip] += x[..., :skip]
            return scaling.out(p) if scaling else p

        initial = [tuple(layer) for layer in model.initial()]
        numbers = range(s.recurrences)
        super().__init__(
            [part(k) for k in numbers], [advance(k) for k in numbers], head, initial,
            s.bidirectional, s.readout == "last",
        )  # fmt: skip
        self.scaling = scaling

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        return super().step(self.scaling.into(x) if self.scaling else x)

    def run(self, x: Array) -> Array:
        """See `Player.run`."""
        return super().run(self.scaling.into(x) if self.scaling else x)


# Others' layers, by the equations in their own documents. Each gives the input's part and the step.

Cell = tuple[Callable[[Array], Array], Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]]


def torch_cell(
    kind: str, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, activation: str = "tanh"
) -> Cell:
    """torch.nn.RNN, LSTM, GRU: rows of w are gates, `W x + b` (documentation of torch.nn)."""
    H = w_hh.shape[1]

    def rnn(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        return (ACTIVATIONS[activation](u + w_hh @ s[0] + b_hh),)

    def lstm(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        a = (u + w_hh @ s[0] + b_hh).reshape(4, H)
        c = sigmoid(a[1]) * s[1] + sigmoid(a[0]) * tanh(a[2])
        return sigmoid(a[3]) * tanh(c), c

    def gru(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        v = (w_hh @ s[0] + b_hh).reshape(3, H)
        a = u.reshape(3, H)
        r, z = sigmoid(a[0] + v[0]), sigmoid(a[1] + v[1])
        return ((1 - z) * tanh(a[2] + r * v[2]) + z * s[0],)

    steps = {"elman": rnn, "lstm": lstm, "gru": gru}
    return (lambda x: x @ w_ih.T + b_ih), steps[kind]


def keras_cell(
    kind: str, kernel: Array, recurrent: Array, bias: Array, activation: str = "tanh"
) -> Cell:
    """keras.layers.SimpleRNN, LSTM, GRU (reset_after=True): columns are gates, `x K + b`.

    LSTM i, f, c, o; GRU z, r, h with bias (2, 3H): of the input's product and the state's.
    """
    H = recurrent.shape[0]
    first, second = (bias[0], bias[1]) if kind == "gru" else (bias, np.zeros_like(bias))

    def simple(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        return (ACTIVATIONS[activation](u + s[0] @ recurrent),)

    def lstm(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        z = u + s[0] @ recurrent
        z0, z1, z2, z3 = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        carry = sigmoid(z1) * s[1] + sigmoid(z0) * tanh(z2)
        return sigmoid(z3) * tanh(carry), carry

    def gru(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        inner = s[0] @ recurrent + second
        z = sigmoid(u[:H] + inner[:H])
        r = sigmoid(u[H : 2 * H] + inner[H : 2 * H])
        candidate = tanh(u[2 * H :] + r * inner[2 * H :])
        return (z * s[0] + (1 - z) * candidate,)

    steps = {"elman": simple, "lstm": lstm, "gru": gru}
    return (lambda x: x @ kernel + first), steps[kind]


def onnx_cell(kind: str, W: Array, R: Array, B: Array, activation: str = "tanh") -> Cell:
    """ONNX operators RNN, LSTM (i, o, f, c) and GRU (z, r, h, linear_before_reset=1).

    W (G*H, D), R (G*H, H), B (2*G*H) = [Wb, Rb] of one direction (onnx Operators.md).
    """
    H = R.shape[1]
    size = R.shape[0]
    Wb, Rb = B[:size], B[size:]

    def rnn(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        return (ACTIVATIONS[activation](u + R @ s[0] + Rb),)

    def lstm(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        i, o, f, c = np.split(u + R @ s[0] + Rb, 4)
        C = sigmoid(f) * s[1] + sigmoid(i) * tanh(c)
        return sigmoid(o) * tanh(C), C

    def gru(u: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        z = sigmoid(u[:H] + R[:H] @ s[0] + Rb[:H])
        r = sigmoid(u[H : 2 * H] + R[H : 2 * H] @ s[0] + Rb[H : 2 * H])
        h = tanh(u[2 * H :] + r * (R[2 * H :] @ s[0] + Rb[2 * H :]))
        return ((1 - z) * h + z * s[0],)

    steps = {"elman": rnn, "lstm": lstm, "gru": gru}
    return (lambda x: x @ W.T + Wb), steps[kind]


def dense_head(weight: Array, bias: Array, output: str, skip: int = 0) -> Any:
    """p = f(h W + b), the first `skip` inputs added."""
    if output not in ACTIVATIONS:
        raise BpttError(f"the output's activation '{output}' is not known")

    def head(h: Array, x: Array) -> Array:
        p = ACTIVATIONS[output](h @ weight + bias)
        if skip:
            p = p + 0.0
            p[..., :skip] += x[..., :skip]
        return np.asarray(p)

    return head


def played(
    cells: Sequence[Cell], head: Any, kind: str, hidden: Sequence[int], states: Any = None,
    both: bool = False, last: bool = False,
) -> Layers:  # fmt: skip
    """A player from layers; states: initial ones, layer by layer, or None for zeros. both, last:
    see `Layers`."""
    count = 2 if kind == "lstm" else 1
    initial: States = [tuple(np.zeros(H) for _ in range(count)) for H in hidden]
    if states is not None:
        initial = [tuple(np.asarray(s) for s in layer) for layer in states]
    parts, steps = [part for part, _ in cells], [step for _, step in cells]
    return Layers(parts, steps, head, initial, both, last)
