"""int8 weights and a 16-bit state: how the numbers are chosen, and the arithmetic, bit for bit.

Every column of a weight matrix (what feeds one gate of one unit) has its own scale: its largest
entry becomes 127. Products are added up in 32 bits, turned into preactivations with 16 binary
places by one 64-bit multiplication a column, and rounded half up. h has 15 binary places; the
LSTM's c, inputs and outputs as many as the largest value over the training's data leaves. tanh is
a table of 257 values over 0 to 8 with lines between, sigmoid(a) = (1 + tanh(a / 2)) / 2.

An int8 state would destroy a network; int8 weights with a 16-bit state cost little.

`Numbers` is what a C file holds, `FixedTwin` does with integers what the C file does.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.model import Model
from bptt.exchange.players import Ours, softmax

Array = NDArray[Any]

PLACES = 16  # binary places of a preactivation
TABLE = np.minimum(np.round(np.tanh(np.arange(257) / 32) * 2**15), 2**15 - 1).astype(np.int64)
MARGIN = 1.25  # how much larger than over the training's data c and the outputs may become
MOST_FED = 512  # 127 * 32768 * 512 is just below 2^31


@dataclass
class Numbers:
    """What the arithmetic needs, by the names of the C file's arrays; and the shifts.

    places: of x, c and y, as exponents e of the range -2^e to 2^e; shifts: of each layer's and
    the output's multipliers.
    """

    cell: str
    output: str
    arrays: dict[str, Array]
    places: dict[str, int]
    shifts: list[int]
    skip: int = 0
    scaling: dict[str, Array] = field(default_factory=dict)


def exponent(largest: float, least: int) -> int:
    """The smallest e, at least `least`, with largest <= 2^e."""
    return max(least, int(np.ceil(np.log2(max(largest, 1e-9)))))


def _columns(weights: Array) -> tuple[Array, Array]:
    """int8 weights and the scale of each column (of the last axis)."""
    largest = np.abs(weights.astype(np.float64)).max(axis=0)
    scale = largest / 127
    whole = np.where(scale > 0, weights / np.where(scale > 0, scale, 1), 0)
    return np.round(whole).astype(np.int64), scale


def _multipliers(*scales: Array) -> tuple[list[Array], int]:
    """Scales as integers below 2^30 over 2^shift."""
    largest = max(float(scale.max(initial=0)) for scale in scales)
    shift = int(min(30, np.floor(np.log2((2**30 - 1) / max(largest, 1e-9)))))
    if shift < 1:
        raise BpttError(
            f"weights of {largest:g} times 127 are too large for int8: write float weights instead"
        )
    return [np.round(scale * 2.0**shift).astype(np.int64) for scale in scales], shift


def ranges(model: Model, inputs: Array) -> dict[str, float]:
    """The largest |x|, |c| and |output preactivation| over inputs (B, T, D), scaled."""
    found = {"x": 1e-9, "c": 0.0, "y": 1e-9}
    linear = Model(model.structure, model.weights, model.skip)
    player = Ours(linear, output=False)
    scaled = model.scaling.into(inputs) if model.scaling else inputs
    found["x"] = float(np.abs(scaled).max())
    for sequence in scaled:
        player.reset()
        for x in sequence:
            found["y"] = max(found["y"], float(np.abs(player.step(x)).max()))
            if model.structure.cell == "lstm":
                largest = max(float(np.abs(states[1]).max()) for states in player.states)
                found["c"] = max(found["c"], largest)
    return found


def quantised(model: Model, inputs: Array) -> Numbers:
    """int8 weights for a model, its ranges taken from inputs (B, T, D) like the training's.

    Raises BpttError for what has no place in it: relu, whose state has no bound; layers too wide.
    """
    s = model.structure
    if s.activation == "relu":
        raise BpttError("int8 needs a state between -1 and 1: 'relu' has no bound; use float")
    if max(s.inputs, s.hidden) > MOST_FED:
        raise BpttError(
            f"int8 has room for {MOST_FED} units and inputs: this network is {model.sizes}"
        )
    largest = ranges(model, inputs)
    places = {
        "x": exponent(largest["x"], -15),
        "c": exponent(largest["c"] * MARGIN, 0),
        "y": exponent(largest["y"] * MARGIN, -15),
    }
    if max(places.values()) > 14:
        raise BpttError(f"values up to {max(largest.values()):g} are too large for 16 bits")
    arrays: dict[str, Array] = {"tanh_table": TABLE}
    shifts = []
    for index in range(s.layers):
        U, W, b = model.layer(index)
        fed = places["x"] if index == 0 else 0
        U8, su = _columns(U)
        W8, sw = _columns(W)
        (mu, mw), shift = _multipliers(su * 2.0 ** (fed + 1), sw * 2.0)
        bias = np.round(np.clip(b.astype(np.float64), -255, 255) * 2**PLACES).astype(np.int64)
        named = {"U": U8, "W": W8, "mu": mu, "mw": mw, "b": bias}
        arrays.update({f"{name}{index + 1}": value for name, value in named.items()})
        shifts.append(shift)
    V, c = model.head
    V8, sv = _columns(V)
    up = 2.0 if s.output == "sigmoid" else 2.0 ** -places["y"]  # to 16 binary places, or y's
    (mv,), shift = _multipliers(sv * up)
    unit = 2.0**PLACES if s.output == "sigmoid" else 2.0 ** (15 - places["y"])
    bias = np.round(np.clip(c.astype(np.float64) * unit, -(2**24), 2**24)).astype(np.int64)
    arrays.update({"V": V8.T, "mv": mv, "c": bias})
    if s.initial_state == "trainable":
        arrays["initial"] = _initial(model, places["c"])
    scaling = {}
    if model.scaling:
        for name in ("input_shift", "input_scale", "output_shift", "output_scale"):
            scaling[name] = np.asarray(getattr(model.scaling, name), np.float32)
    return Numbers(s.cell if s.cell != "elman" else f"elman {s.activation}", s.output, arrays,
                   places, [*shifts, shift], model.skip, scaling)  # fmt: skip


def _initial(model: Model, c_places: int) -> Array:
    states = model.initial().astype(np.float64).copy()
    states[:, 0] *= 2**15
    states[:, 1:] *= 2.0 ** (15 - c_places)
    return np.clip(np.round(states), -(2**15) + 1, 2**15 - 1).astype(np.int64).reshape(-1)


def _rounded(value: Array, shift: int) -> Array:
    """value / 2^shift, halves up."""
    return value if shift == 0 else (value + (1 << (shift - 1))) >> shift


def _saturated(value: Array) -> Array:
    return np.clip(value, -32768, 32767)


class FixedTwin:
    """A player in integers, for any number of sequences side by side.

    `step_whole` takes and gives integers of 16 bits, (..., D) to (..., O); `step` numbers.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.n = numbers
        self.cell, _, self.activation = numbers.cell.partition(" ")
        self.layers = len(numbers.shifts) - 1
        self.H = numbers.arrays["W1"].shape[0]
        self.reset()

    def reset(self) -> None:
        """See `Player.reset`."""
        count = 2 if self.cell == "lstm" else 1
        flat = self.n.arrays.get("initial", np.zeros(self.layers * count * self.H, np.int64))
        self.states: Array = flat.reshape(self.layers, count, self.H).copy()

    def keep(self) -> Any:
        """See `Player.keep`."""
        return self.states.copy()

    def put_back(self, state: Any) -> None:
        """See `Player.put_back`."""
        self.states = state.copy()

    @staticmethod
    def tanh(a: Array) -> Array:
        """15 binary places from 16."""
        size = np.minimum(np.abs(a), 8 << PLACES)
        place = np.minimum(size >> 11, 255)
        low, high = TABLE[place], TABLE[place + 1]
        value = low + (((high - low) * (size - (place << 11)) + 1024) >> 11)
        return np.asarray(np.where(a < 0, -value, value))

    @classmethod
    def sigmoid(cls, a: Array) -> Array:
        """15 binary places from 16."""
        return np.asarray((32768 + cls.tanh(a >> 1)) >> 1)

    def _advance(self, layer: int, x: Array, states: list[Array]) -> list[Array]:
        array, shift, H = self.n.arrays, self.n.shifts[layer], self.H
        U, W, mu, mw, b = (array[f"{name}{layer + 1}"] for name in ("U", "W", "mu", "mw", "b"))
        into, fed = (x @ U) * mu, (states[0] @ W) * mw
        if self.cell == "gru":
            zero = np.zeros_like(fed[..., :H])
            into = np.concatenate([into, zero + 0 * into[..., :H]], -1)
            fed = np.concatenate([fed[..., : 2 * H], zero, fed[..., 2 * H :]], -1)
        a = np.clip(_rounded(into + fed, shift) + b, -(2**24), 2**24)
        parts = [a[..., k * H : (k + 1) * H] for k in range(a.shape[-1] // H)]
        if self.cell == "elman":
            return [self.tanh(a) if self.activation == "tanh" else self.sigmoid(a)]
        if self.cell == "gru":
            r, z = self.sigmoid(parts[0]), self.sigmoid(parts[1])
            n = self.tanh(parts[2] + ((r * parts[3]) >> 15))
            return [n + _rounded(z * (states[0] - n), 15)]
        i, f, g, o = (self.sigmoid(parts[0]), self.sigmoid(parts[1]), self.tanh(parts[2]),
                      self.sigmoid(parts[3]))  # fmt: skip
        places = self.n.places["c"]
        c = _saturated(_rounded(f * states[1] + _rounded(i * g, places), 15))
        return [_rounded(o * self.tanh(c << (1 + places)), 15), c]

    def step_whole(self, x: Array) -> Array:
        """One step in integers."""
        h, array, places = x, self.n.arrays, self.n.places
        found = []
        for layer in range(self.layers):
            states = self._advance(layer, h, [self.states[layer, k] for k in
                                              range(self.states.shape[1])])  # fmt: skip
            h = states[0]
            found.append(np.stack(states))
        self.states = np.stack(found)
        o = _rounded((h @ array["V"].T) * array["mv"], self.n.shifts[-1]) + array["c"]
        o = np.clip(o, -(2**24), 2**24)
        if self.n.output == "sigmoid":
            return np.asarray(self.sigmoid(o))
        if self.n.skip:
            up = places["x"] - places["y"]
            added = x[..., : self.n.skip] << up if up >= 0 else _rounded(x, -up)
            o[..., : self.n.skip] += added[..., : self.n.skip]
        return np.asarray(_saturated(o))

    def whole(self, x: Array) -> Array:
        """Inputs as integers, rounded half away from zero."""
        x = np.asarray(x, np.float32)
        if self.n.scaling:
            x = (x - self.n.scaling["input_shift"]) * self.n.scaling["input_scale"]
        v = x * np.float32(2.0 ** (15 - self.n.places["x"]))
        v = np.clip(v, np.float32(-32767), np.float32(32767))
        return np.trunc(v + np.where(v < 0, np.float32(-0.5), np.float32(0.5))).astype(np.int64)

    def numbers_of(self, y: Array) -> Array:
        """Outputs as numbers."""
        unit = -15 if self.n.output == "sigmoid" else self.n.places["y"] - 15
        p = y.astype(np.float32) * np.float32(2.0**unit)
        p = softmax(p) if self.n.output == "softmax" else p
        if self.n.scaling:
            p = p * self.n.scaling["output_scale"] + self.n.scaling["output_shift"]
        return np.asarray(p)

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        return self.numbers_of(self.step_whole(self.whole(x)))

    def run(self, x: Array) -> Array:
        """See `Player.run`; also (T, B, D), of B sequences side by side after `widen`."""
        return np.array([self.step(row) for row in x])

    def widen(self, count: int) -> None:
        """Go on with so many sequences side by side, all from the reset state."""
        self.reset()
        self.states = np.repeat(self.states[:, :, None], count, axis=2)
