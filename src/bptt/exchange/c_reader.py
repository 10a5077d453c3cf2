"""The C file read back without a compiler: its numbers out of its text, run by NumPy in float32.

It takes the arrays, and from the heading what network they are of; it runs nothing of the file.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

Array = NDArray[np.floating]
F = np.float32

HEADING = re.compile(
    r"/\* (\w+): (elman (?:tanh|sigmoid|relu)|lstm|gru) [\d-]+, output (linear|sigmoid|softmax); "
)
ARRAY = r"static \w+_CONST (\w+) {name}_(\w+?)((?:\[\d+\])+) = \{{([^;]*)\}};"
NUMBER = re.compile(r"-?0x[0-9a-f.]+p[+-]?\d+(?=f)|-?\d+(?![0-9a-fx.])")
MOST_BYTES = 2**28


def c_arrays(text: str) -> dict[str, NDArray[Any]]:
    """The constant arrays of a file, by name without the file's own. Raises BpttError if the text
    is not such a file."""
    found: dict[str, NDArray[Any]] = {}
    own, _, _ = c_heading(text)
    for kind, name, sizes, body in re.findall(ARRAY.format(name=own), text):
        shape = tuple(int(size) for size in re.findall(r"\d+", sizes))
        numbers = NUMBER.findall(body)
        if int(np.prod(shape, dtype=object)) != len(numbers):
            raise BpttError(
                f"array {name} of the C file should have {shape} numbers: it is damaged"
            )
        if kind == "float":
            try:
                values: Any = np.array([float.fromhex(number) for number in numbers], np.float32)
            except (ValueError, OverflowError):
                raise BpttError(f"array {name} of the C file is damaged") from None
        else:
            values = np.array([int(number) for number in numbers], object).astype(np.int64)
        found[name] = values.reshape(shape)
    return found


def c_heading(text: str) -> tuple[str, str, str]:
    """Name, cell and output of a C file."""
    match = HEADING.match(text)
    if not match:
        raise BpttError("this is not a C file that bptt wrote: export the network again")
    return match[1], match[2], match[3]


def _fast_tanh(text: str) -> Any:
    """The file's own fraction, run in float32."""
    body = text[text.index("_tanh(float x)") :]
    body = body[: body.index("return")]
    numbers = {
        letter: [F(float.fromhex(n)) for n in re.findall(rf"{letter} = .*?(0x\S+?)f;", body)]
        for letter in "pq"
    }

    def function(x: Array) -> Array:
        x = np.clip(x, F(-8), F(8))
        s = x * x
        p, q = (np.full_like(x, numbers[letter][0]) for letter in "pq")
        for a, b in zip(numbers["p"][1:], numbers["q"][1:], strict=True):
            p, q = p * s + a, q * s + b
        return np.asarray(x * p / q, np.float32)

    return function


class Twin:
    """A player that does what the C file does; see `bptt.exchange.players.Player`."""

    def __init__(self, text: str) -> None:
        _, kind, self._output = c_heading(text)
        self._cell, _, self._activation = kind.partition(" ")
        self._a: Mapping[str, NDArray[Any]] = c_arrays(text)
        fast = "Math fast" in text[: text.index("*/")]
        self._tanh: Any = _fast_tanh(text) if fast and "_tanh(float x)" in text else np.tanh
        self._sigmoid: Any = self._half_tanh if fast else self._by_exp
        skip = re.search(r"i < (\d+); i\+\+\)\n        o\[i\] \+= x\[i\]", text)
        self._skip = int(skip[1]) if skip else 0
        if not {"U1", "W1", "b1", "V", "c"} <= set(self._a):
            raise BpttError("the C file lacks weights: it is damaged")
        self._layers = sum(re.fullmatch(r"W\d+", name) is not None for name in self._a)
        self.reset()

    def _half_tanh(self, x: Array) -> Array:
        return np.asarray(F(0.5) + F(0.5) * self._tanh(F(0.5) * x))

    def _by_exp(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(F(1) / (F(1) + np.exp(-x)))

    def reset(self) -> None:
        """See `Player.reset`."""
        H, count = self._a["W1"].shape[0], 2 if self._cell == "lstm" else 1
        states = self._a.get("initial", np.zeros(self._layers * count * H, np.float32))
        self._states = states.reshape(self._layers, count, H).copy()

    def keep(self) -> Any:
        """See `Player.keep`."""
        return self._states.copy()

    def put_back(self, state: Any) -> None:
        """See `Player.put_back`."""
        self._states = state.copy()

    def _advance(self, layer: int, x: Array) -> Array:
        U, W, b = (self._a[f"{letter}{layer + 1}"] for letter in "UWb")
        s: Any = self._states[layer]
        H = W.shape[0]
        hw = s[0] @ W
        a = b.copy()
        a[: U.shape[1]] += x @ U
        if self._cell == "gru":
            a[: 2 * H] += hw[: 2 * H]
            a[3 * H :] += hw[2 * H :]
            r, z = self._sigmoid(a[:H]), self._sigmoid(a[H : 2 * H])
            n = self._tanh(a[2 * H : 3 * H] + r * a[3 * H :])
            s[0] = n + z * (s[0] - n)
            return np.asarray(s[0])
        a += hw
        if self._cell == "lstm":
            i, f, g, o = np.split(a, 4)
            s[1] = self._sigmoid(f) * s[1] + self._sigmoid(i) * self._tanh(g)
            s[0] = self._sigmoid(o) * self._tanh(s[1])
        elif self._activation == "relu":
            s[0] = np.maximum(a, 0)
        else:
            s[0] = self._tanh(a) if self._activation == "tanh" else self._sigmoid(a)
        return np.asarray(s[0])

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        x = np.asarray(x, np.float32)
        if "input_shift" in self._a:
            x = (x - self._a["input_shift"]) * self._a["input_scale"]
        h = x
        for layer in range(self._layers):
            h = self._advance(layer, h)
        o = self._a["V"] @ h + self._a["c"]
        if self._output == "sigmoid":
            o = self._sigmoid(o)
        elif self._output == "softmax":
            e = np.exp(o - o.max())
            o = e / e.sum()
        o[: self._skip] += x[: self._skip]
        if "output_shift" in self._a:
            o = o * self._a["output_scale"] + self._a["output_shift"]
        return np.asarray(o)

    def run(self, x: Array) -> Array:
        """See `Player.run`."""
        return np.array([self.step(row) for row in x])
