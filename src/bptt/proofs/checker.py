"""The independent check of a certificate: nothing of the search is used, only what the file holds.

A certificate has a network's weights, an automaton, a metric T, and balls {|T (h - p)| <= R} of
states, each with a state of the automaton as its label; ball 0 is the start, of radius 0. Checked
is that from any state of any ball every word has only right outputs up to a place where it is in a
ball again, of the right label. By induction on the length every output to every word is right.

Words are followed anew, all of a length together. A set is an ellipsoid {c + v : v' Q^-1 v <= 1}, a
value of a step is c + L v + [-e, e], L (..., n) over the whole state. e bounds curvature and what
the network's arithmetic rounds: sums in any order, fused or not, half a unit in the last place
each; functions within 8 units of 1; results too small for a normal number made zero. This file's
own float64 adds four of its half units to every operation, and NOISE to products of matrices.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from bptt.errors import BpttError

Array = NDArray[np.float64]
Stated = Callable[[dict[str, Any]], Any]
NOISE, CLEAR, UP = 1e-12, 1e-5, 1 + 1e-12
ARITHMETIC = {"float32": (2.0**-24, 2.0**-21, 2.0**-126), "float64": (2.0**-53, 2.0**-50, 0.0)}
LONGEST, MOST_SETS, AT_ONCE = 200, 60_000, 16


@dataclass
class Checked:
    """What a check came to: `words` steps of words were followed, of at most `longest` symbols."""

    claim: str
    network: str
    balls: int
    words: int
    longest: int
    weights: dict[str, NDArray[Any]]


class Form:
    """x = c + L v + [-e, e] for N sets at once: c, e (N, m), L (N, m, n)."""

    def __init__(self, c: Array, L: Array, e: Array, net: "Steps") -> None:
        self.c, self.L, self.e, self.net = c, L, e, net
        self.trace = net.trace
        self.e = e + 2.0**-48 * np.sqrt((L * L).sum(-1) * net.trace)  # L itself is rounded

    @cached_property
    def r(self) -> Array:
        """How far L v reaches."""
        square = np.maximum(self.net.square(self.L, self.L), 0)
        reach: Array = np.sqrt(square + NOISE * (self.L * self.L).sum(-1) * self.trace) * UP
        return reach

    @cached_property
    def size(self) -> Array:
        """How large |x| may be."""
        size: Array = np.abs(self.c) + self.r + self.e
        return size

    def plus(self, o: "Form", sign: float = 1.0) -> "Form":
        """x + o, or x - o."""
        e = self.e + o.e + self.net.unit * (self.size + o.size) + self.net.flush
        return Form(self.c + sign * o.c, self.L + sign * o.L, e * UP, self.net)

    def times(self, o: "Form") -> "Form":
        """Deviations x, y multiply to between (g - rs) / 2 and (g + rs) / 2, g = L_x Q L_y'."""
        g = self.net.square(self.L, o.L)
        e = self.r * o.r / 2 + self.e * o.size + o.e * (np.abs(self.c) + self.r)
        e = e + NOISE * np.sqrt((self.L**2).sum(-1) * (o.L**2).sum(-1)) * self.net.trace
        e = e + self.net.unit * self.size * o.size + self.net.flush
        L = self.c[..., None] * o.L + o.c[..., None] * self.L
        return Form(self.c * o.c + g / 2, L, e * UP, self.net)

    def curve(self, half: float) -> "Form":
        """tanh x, or with 1/2 the sigmoid (1 + tanh(x / 2)) / 2: tanh y - t - s (y - a) is extreme
        where |y - a| is largest, at a itself, and where the slope is s again, at -a."""
        a, rho = half * self.c, half * (self.r + self.e) * UP
        t = np.tanh(a)
        s = 1 - t * t
        ends = [np.tanh(a + rho) - t - s * rho, np.tanh(a - rho) - t + s * rho, 0 * a]
        ends.append(np.where(2 * np.abs(a) <= rho + 1e-12, 2 * (s * a - t), 0))
        low, high = np.min(ends, axis=0), np.max(ends, axis=0)
        e = (high - low) / 2 + 1e-14 * (4 + rho + np.abs(a))
        if half == 1:
            return Form(t + (low + high) / 2, s[..., None] * self.L, s * self.e + e
                        + self.net.ulp, self.net)  # fmt: skip
        s, t = s / 4, (1 + t + (low + high) / 2) / 2
        return Form(t, s[..., None] * self.L, s * self.e + e / 2 + self.net.ulp, self.net)

    def relu(self) -> "Form":
        """max(x, 0): x, 0, or between the chord through both ends and its parallel through 0."""
        c, rho = self.c, (self.r + self.e) * UP
        slope = np.where(c >= rho, 1.0, np.where(c <= -rho, 0.0, (c + rho) / np.maximum(2 * rho,
                         1e-300)))  # fmt: skip
        above = np.where(np.abs(c) >= rho, 0.0, slope * (rho - c))
        e = slope * self.e + above / 2 + 1e-15 * (np.abs(c) + rho)
        return Form(slope * c + above / 2, slope[..., None] * self.L, e * UP, self.net)


class Steps:
    """A network's step on sets of states: layer by layer, h then c, one after the other."""

    def __init__(self, shape: dict[str, Any], w: dict[str, Array], inputs: NDArray[Any]) -> None:
        self.cell, self.activation = shape["cell"], shape["activation"]
        self.layers, self.H = int(shape["layers"]), int(shape["hidden"])
        unit, self.ulp, self.flush = ARITHMETIC[shape["dtype"]]
        self.unit = 1.01 * (unit + 4 * 2.0**-53)
        self.w, self.inputs = w, inputs
        self.G, self.K = {"elman": (1, 1), "gru": (3, 4), "lstm": (4, 4)}[self.cell]
        self.parts = 2 if self.cell == "lstm" else 1
        self.n = self.layers * self.parts * self.H

    def named(self, letter: str, layer: int) -> str:
        """A layer's weights."""
        return letter if self.layers == 1 else f"{letter}.{layer + 1}"

    def start(self) -> Array:
        """The state before the first symbol."""
        names = [self.named(f"{s}0", k) for k in range(self.layers) for s in "hc"[: self.parts]]
        return np.concatenate([self.w.get(name, np.zeros(self.H)) for name in names])

    def square(self, L: Array, M: Array) -> Array:
        """L Q M' row by row."""
        found: Array = np.einsum("nmj,nmj->nm", L @ self.Q, M)
        return found

    def set(self, c: Array, Q: Array) -> None:
        """The sets that forms are about."""
        self.c, self.Q, self.trace = c, Q, np.trace(Q, axis1=1, axis2=2)[:, None]

    def block(self, first: int) -> Form:
        """H numbers of the state."""
        L = np.broadcast_to(np.eye(self.n)[first : first + self.H], (len(self.c), self.H, self.n))
        return Form(self.c[:, first : first + self.H], L, np.zeros((len(L), self.H)), self)

    def preactivation(self, k: int, layer: int, symbols: NDArray[Any]) -> Form:
        """a[k] = (x or the layer below) U[k] + h W[k] + b[k]; U feeds the first G, W all but the
        input's part of the GRU's n."""
        H, N = self.H, len(self.c)
        cut = slice(k * H, (k + 1) * H)
        c, L, terms, count = np.zeros((N, H)), np.zeros((H, self.n)), np.zeros((N, H)), 4
        b = self.w.get(self.named("b", layer))
        if b is not None:
            c, terms = c + b[cut], terms + np.abs(b[cut])
        own = layer * self.parts * H
        sources = [(own, "W", k if k < 2 or self.K == self.G else k - 1)]
        sources = [] if self.cell == "gru" and k == 2 else sources
        if layer and k < self.G:
            sources.append((own - self.parts * H, "U", k))
        for first, letter, gate in sources:
            M = self.w[self.named(letter, layer)][:, gate * H : (gate + 1) * H]
            x = self.block(first)
            c, terms, count = c + x.c @ M, terms + x.size @ np.abs(M), count + H
            L[:, first : first + H] += M.T
        if not layer and k < self.G:
            U, x = self.w[self.named("U", 0)][:, cut], self.inputs[symbols]
            if x.ndim == 1:
                c, terms = c + U[x], terms + np.abs(U[x])
            else:
                c, terms = c + x @ U, terms + np.abs(x) @ np.abs(U)
            count += len(U)
        e = (self.unit * terms + self.flush) * (count + 1) * UP
        return Form(c, np.broadcast_to(L, (N, H, self.n)), e, self)

    def new(self, layer: int, symbols: NDArray[Any]) -> list[Form]:
        """The cell's equations."""
        a = [self.preactivation(k, layer, symbols) for k in range(self.K)]
        own = layer * self.parts * self.H
        h = self.block(own)
        if self.cell == "elman":
            if self.activation == "relu":
                return [a[0].relu()]
            return [a[0].curve(1.0 if self.activation == "tanh" else 0.5)]
        if self.cell == "gru":
            r, z = a[0].curve(0.5), a[1].curve(0.5)
            n = a[2].plus(r.times(a[3])).curve(1.0)
            return [n.plus(z.times(h.plus(n, -1)))]
        i, f, g, o = a[0].curve(0.5), a[1].curve(0.5), a[2].curve(1.0), a[3].curve(0.5)
        c = f.times(self.block(own + self.H)).plus(i.times(g))
        return [o.times(c.curve(1.0)), c]

    def step(self, c: Array, Q: Array, symbols: NDArray[Any]) -> tuple[Array, Array]:
        """The sets after one symbol each."""
        for layer in range(self.layers):
            self.set(c, Q)
            forms, first = self.new(layer, symbols), layer * self.parts * self.H
            place = np.arange(first, first + self.parts * self.H)
            A = np.tile(np.eye(self.n), (len(c), 1, 1))
            A[:, place] = np.concatenate([x.L for x in forms], axis=1)
            e, c = np.zeros_like(c), c.copy()
            e[:, place] = np.concatenate([x.e for x in forms], axis=1)
            c[:, place] = np.concatenate([x.c for x in forms], axis=1)
            lost = NOISE * (A * A).sum((1, 2)) * self.trace[:, 0]
            Q = A @ Q @ np.swapaxes(A, 1, 2)
            # (1 + 1/t) Q + (1 + t) B holds the sum of an ellipsoid and B, one around the box e.
            total = e.sum(axis=1)
            t = (np.sqrt(np.maximum(np.trace(Q, axis1=1, axis2=2), 0) + lost) + 1e-30) / total
            Q = (1 + 1 / t)[:, None, None] * (Q + np.swapaxes(Q, 1, 2)) / 2
            box = ((1 + t) * total)[:, None] * e * (1 + 1e-9) + ((1 + 1 / t) * lost * 2)[:, None]
            Q[:, range(self.n), range(self.n)] += box
        return c, Q

    def margins(self, c: Array, Q: Array, right: NDArray[Any], classes: bool, at: float) -> Array:
        """By how much outputs are on the right side, for all states of the sets (N,)."""
        self.set(c, Q)
        h = self.block((self.layers - 1) * self.parts * self.H)
        V, constant = self.w["V"], self.w.get("c", np.zeros(self.w["V"].shape[1]))
        lost = self.unit * (h.size @ np.abs(V) + np.abs(constant) + 1) * (self.H + 5)
        least = np.full(len(c), np.inf)
        for k in range(len(constant)):
            if classes:  # the right class before class k
                v = V[:, right] - V[:, [k]]  # (H, N)
                gap = constant[right] - constant[k]
                fault = np.take_along_axis(lost, right[:, None], 1)[:, 0] + lost[:, k]
            else:
                v = np.where(right[:, k] > 0, 1.0, -1.0) * V[:, [k]]
                gap = np.where(right[:, k] > 0, 1.0, -1.0) * (constant[k] - at)
                fault = lost[:, k]
            l = np.einsum("hn,nhj->nj", v, h.L)[:, None]  # noqa: E741
            reach = np.sqrt(np.maximum(self.square(l, l), 0) + NOISE * (l * l).sum(-1) * self.trace)
            sure = (v.T * h.c).sum(axis=1) + gap - reach[:, 0] * UP - fault - CLEAR
            least = np.minimum(least, np.where(right == k, np.inf, sure) if classes else sure)
        return least


def refuse(why: str) -> BpttError:
    """The error of a certificate that proves nothing."""
    return BpttError(f"the certificate is refused: {why}; prove the network again")


def _read(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        (length,) = struct.unpack("<Q", content[:8])
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["bptt"])
        return load(content), about["proof"]
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error):
        raise BpttError("this is no certificate, or a damaged one: prove again") from None


def check_file(path: str | Path, stated: Stated | None = None) -> Checked:
    """Check a certificate's file. Raises BpttError if it proves nothing."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BpttError(
            f"'{path}' cannot be read: {error.strerror}; is it a certificate?"
        ) from None
    return check(content, stated)


def check(content: bytes, stated: Stated | None = None) -> Checked:
    """Check a certificate. stated: gives the automaton that the task of a configuration states,
    with which the certificate's own is compared. Raises BpttError if it proves nothing."""
    arrays, about = _read(content)
    try:
        if about["task"] is not None and stated is not None:
            asked = stated(about["task"])
            for name in ("inputs", "after", "answers"):
                if not np.array_equal(arrays[name], getattr(asked, name)):
                    raise refuse(f"its automaton's {name} are not those of the task")
            about["claim"] = asked.claim
        return _Check(arrays, about).run()
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise (error if isinstance(error, BpttError) else refuse(f"{error!r:.80}")) from None


class _Check:
    """One check."""

    def __init__(self, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
        self.about, self.shape = about, about["structure"]
        weights = {k[2:]: v for k, v in arrays.items() if k.startswith("w:")}
        types = {str(v.dtype) for v in weights.values()}
        strange = any(self.shape.get(name) for name in ("skip", "bidirectional"))
        known = self.shape["tied"] and not strange
        if not known or types != {self.shape["dtype"]}:
            raise refuse("its weights are not those of its network")
        self.weights = weights
        self.inputs, self.after, self.answers = (
            arrays[k] for k in ("inputs", "after", "answers")
        )  # fmt: skip
        self.p, self.R, self.label, self.T = (
            arrays[k] for k in ("centre", "radius", "label", "metric")
        )
        self.net = Steps(
            self.shape, {k: v.astype(np.float64) for k, v in weights.items()}, self.inputs
        )
        self.classes = self.shape["output"] == "softmax"
        self.at = 0.5 if self.shape["output"] == "linear" else 0.0

    def sound(self) -> Array:
        """That the balls are balls and the first is the start; the inverse of T."""
        n, B = self.net.n, len(self.label)
        if self.p.shape != (B, n) or self.R.shape != (B,) or self.T.shape != (n, n):
            raise refuse("its arrays do not fit the network")
        if not all(np.isfinite(x).all() for x in (self.p, self.R, self.T, *self.weights.values())):
            raise refuse("it holds numbers that are not finite")
        if not ((self.label >= 0) & (self.label < len(self.after))).all() or (self.R < 0).any():
            raise refuse("a ball's label or radius is none")
        if (self.p[0] != self.net.start()).any() or self.R[0] != 0 or self.label[0] != 0:
            raise refuse("ball 0 is not the start")
        inverse = np.linalg.inv(self.T)
        if not np.abs(self.T @ inverse - np.eye(n)).sum() < 1e-7:
            raise refuse("its metric is no metric")
        return inverse * (1 + 2e-7)

    def run(self) -> Checked:
        """Follow all words from all balls."""
        inverse, words, longest = self.sound(), 0, 0
        self.place = self.p @ self.T.T
        room = inverse @ inverse.T
        room += 1e-10 * np.trace(room) * np.eye(len(room))
        for first in range(0, len(self.label), AT_ONCE):
            ball = np.arange(first, min(first + AT_ONCE, len(self.label)))
            c, label = self.p[ball], self.label[ball]
            Q = room * (self.R[ball] ** 2)[:, None, None]
            for length in range(1, LONGEST + 1):
                c, Q, label = self.step(c, Q, label)
                words, longest = words + len(c), max(longest, length)
                out = ~self.returned(c, Q, label)
                c, Q, label = c[out], Q[out], label[out]
                if not len(c):
                    break
                if len(c) > MOST_SETS:
                    raise refuse("too many words do not return to its balls")
            else:
                raise refuse(f"a word of {LONGEST} symbols does not return to its balls")
        shape = self.shape
        network = f"{shape['cell']} {shape['hidden']}, {shape['layers']} layers, {shape['dtype']}"
        return Checked(self.about["claim"], network, len(self.label), words, longest, self.weights)

    def step(self, c: Array, Q: Array, label: NDArray[Any]) -> tuple[Array, Array, NDArray[Any]]:
        """All sets after each of all symbols, outputs looked at."""
        count, made = self.after.shape[1], []
        up, symbols = np.repeat(np.arange(len(c)), count), np.tile(np.arange(count), len(c))
        for some in np.array_split(np.arange(len(up)), len(up) // 512 + 1):
            s, u = symbols[some], up[some]
            made.append(self.net.step(c[u], Q[u], s))
            right = self.answers[label[u], s]
            sure = self.net.margins(*made[-1], right, self.classes, self.at)
            if not (sure > 0).all():
                raise refuse("an output is not certain")
        c, Q = (np.concatenate(each) for each in zip(*made, strict=True))
        return c, Q, self.after[label[up], symbols]

    def returned(self, c: Array, Q: Array, label: NDArray[Any]) -> NDArray[np.bool_]:
        """Which sets lie in a ball of their label, the start excepted."""
        M = self.T @ Q @ self.T.T
        lost = NOISE * (self.T**2).sum() * np.trace(Q, axis1=1, axis2=2)
        r = np.sqrt(np.sqrt((M * M).sum((1, 2))) + lost) * (1 + 1e-9)
        z = c @ self.T.T
        square = (z * z).sum(1)[:, None] + (self.place**2).sum(1) - 2 * z @ self.place.T
        room = np.where(self.label == label[:, None], self.R - np.sqrt(np.maximum(square, 0)), -1.0)
        room[:, 0] = -1
        best = room.argmax(axis=1)
        exact = np.linalg.norm(z - self.place[best], axis=1) * (1 + 1e-9) + 1e-11
        found: NDArray[np.bool_] = r + exact <= self.R[best]
        found &= (self.label[best] == label) & (best > 0)
        return found
