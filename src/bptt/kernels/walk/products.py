"""How the regimes multiply: products of matrices and values, as strips.

This is where the regimes differ. A matrix is applied to n cases (steps or samples),

    units          out[case] = base + x[case] M    rows of tiles are cases, lanes outputs
    samples, models  out = base + M^T x            rows are outputs, lanes samples or models

and its gradient is the sum over steps, and samples, of x^T d. What is next to each other, padded,
or packed decides here which strips there are.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt.kernels.machine.strips import LANES, SHARED, STRIP, SUMMED, Strip, strip_number
from bptt.network.structure import Structure

# The regimes; what they are is told in `bptt.kernels.walk.workspace`.
UNITS, SAMPLES, MODELS = "units", "samples", "models"
# A matrix of units of more bytes than this is too large for the nearer caches. Few cases go through
# it some rows at a time, each from its beginning to its end, which the processor sees coming and
# fetches ahead. Rows that are a power of two apart share few places in the nearest cache: no more
# than 8.
STREAMED, ROWS, FEW_CASES = 2**19, 8, 6


class Values(NamedTuple):
    """Where values lie: those of the first case, and how far apart those of the cases of one
    product, of steps (that a product is shifted by) and of samples are."""

    place: int
    case: int = 0
    t: int = 0
    b: int = 0

    def at(self, further: int) -> "Values":
        """The same, some places further."""
        return self._replace(place=self.place + further)

    def turned(self, steps: int) -> "Values":
        """Those of so many steps from the last to the first."""
        last = self.place + (steps - 1) * self.t
        return self._replace(place=last, case=-self.case, t=-self.t)


class Weights(NamedTuple):
    """Where a matrix lies: its first number, and how far apart its outputs (in blocks and in
    rows), inputs, gates and sets are."""

    place: int
    block: int
    row: int
    step: int
    gate: int = 0
    set: int = 0

    def of(self, gate: int, s: int) -> "Weights":
        """Its columns from a gate on, of set s."""
        return self._replace(place=self.place + gate * self.gate + s * self.set)

    def rows(self, first: int) -> "Weights":
        """From an input on."""
        return self._replace(place=self.place + first * self.step)


class Base(NamedTuple):
    """What sums begin with: a place, strides as of `Strip`, and whether it moves with `out`."""

    place: int
    row: int = 0
    col: int = 0
    moves: int = 0


class Products:
    """Collects strips. `v` are the numbers of the plan, L the width of a vector."""

    def __init__(self, structure: Structure, regime: str, v: dict[str, Any], vector: int) -> None:
        self.structure, self.v, self.L = structure, v, vector
        self.units, self.models = regime == UNITS, regime == MODELS
        self.weight = int(v["weight"])  # how far apart successive weights lie
        self.products: list[list[Strip]] = []
        self.nothing = Base(int(v["zeros"]))

    def table(self) -> NDArray[np.int64]:
        """Where the strips of each product begin, and the strips."""
        counts = np.array([len(strips) for strips in self.products], np.int64)
        first = len(self.products) + 1
        starts = first + STRIP * np.concatenate([[0], np.cumsum(counts)])
        strips = np.array([row for strips in self.products for row in strips], np.int64)
        return np.concatenate([starts.astype(np.int64), strips.reshape(-1)])

    def begin(self) -> None:
        """Go on with the next product."""
        self.products.append([])

    def strips(
        self, kind: int, vectors: int, last: int, base: Base, reverse: bool = False, **numbers: int
    ) -> None:  # fmt: skip
        """Add a product of `vectors` columns and, if `last` > 0, `last` lanes of one more."""
        if reverse:
            for name in ("x", "p"):
                numbers[name] += (numbers["depth"] - 1) * numbers[f"{name}_step"]
                numbers[f"{name}_step"] *= -1
        single = numbers["rows"] == 1 and "times" not in numbers
        fours, rest = divmod(vectors, 4)
        for C, first, groups in ((4, 0, fours), (rest, 4 * fours, 1), (-1, vectors, 1)):
            if groups == 0 or C == 0 or (C < 0 and last == 0):
                continue
            here = numbers | {
                "out": numbers["out"] + first * numbers["out_col"],
                "p": numbers["p"] + first * numbers["p_col"],
            }
            strip = Strip(
                code=strip_number(kind, C, single), groups=groups, last=last,
                base=base.place + first * base.col, base_row=base.row, base_col=base.col,
                moves=base.moves, **here,
            )  # fmt: skip
            self.products[-1].append(strip)

    # A matrix applied to n cases.

    def apply(
        self, out: Values, features: int, w: Weights, x: Values, depth: int, n: int,
        base: Base | None = None, add: bool = False, reverse: bool = False,
    ) -> None:  # fmt: skip
        """out = (or, with `add`, +=) base + x M for `features` outputs, `depth` inputs; with
        `reverse` from the last input to the first."""
        if self.units:
            own = Base(out.place, out.case, self.L, 1)  # go on from what is there
            base = base or (own if add else self.nothing)
            size = depth * features * np.dtype(self.structure.dtype).itemsize
            at_once = ROWS if size > STREAMED and n < FEW_CASES else max(depth, 1)
            firsts = range(0, max(depth, 1), at_once)
            for first in firsts[::-1] if reverse else firsts:
                self.strips(
                    SHARED, features // self.L, features % self.L, base, rows=n,
                    depth=min(at_once, depth - first), out=out.place, out_row=out.case,
                    out_col=self.L, out_t=out.t, out_b=out.b, x=x.place + first, x_block=x.case,
                    x_row=x.case, x_step=1, x_t=x.t, x_b=x.b, p=w.place + first * w.step,
                    p_col=w.block, p_step=w.step, reverse=reverse,
                )  # fmt: skip
                base = own
            return
        # Columns are the vectors of a case, case by case, or the cases, vector by vector: whichever
        # are more.
        Bp, VV = int(self.v["Bp"]), int(self.v["VV"])
        (out_col, out_next), (x_col, x_next) = (self.L, out.case), (self.L, x.case)
        columns, times = VV, n
        if n > VV:
            columns, times = n, VV
            out_col, out_next, x_col, x_next = out_next, out_col, x_next, x_col
        for i in range(times):
            place = out.place + i * out_next
            self.strips(
                LANES if self.models else SHARED, columns, 0,
                base or (Base(place, Bp, out_col, 1) if add else self.nothing), rows=features,
                depth=depth, out=place, out_row=Bp, out_col=out_col, out_t=out.t, out_b=out.b,
                x=w.place, x_block=w.block, x_row=w.row, x_step=w.step,
                p=x.place + i * x_next, p_col=x_col, p_step=Bp, p_t=x.t, p_b=x.b, reverse=reverse,
            )  # fmt: skip

    def further(self, base: Base, features: int) -> Base:
        """What the outputs that come after so many others begin with."""
        step = base.row if not self.units else 1 if base.col else 0
        return base._replace(place=base.place + features * step)

    # The gradient of a matrix.

    def outer(
        self, out: Weights, n: int, x: Values, d: Values, features: int, steps: int,
        add: bool = False,
    ) -> None:  # fmt: skip
        """out = (or, with `add`, +=) the sum over steps, and samples, of x (n inputs) times d
        (`features` outputs); `case` of x and d is from one step to the next."""
        column = out.block if self.units else out.step
        base = Base(out.place, out.row, column) if add else self.nothing
        if self.units:
            B = int(self.v["outer"])
            samples: Any = {"times": B, "x_time": x.b, "p_time": d.b} if B > 1 else {}
            self.strips(
                SHARED, features // self.L, features % self.L, base, rows=n, depth=steps,
                out=out.place, out_row=out.row, out_col=column,
                x=x.place, x_block=1, x_row=1, x_step=x.case, x_t=x.t,
                p=d.place, p_col=self.L, p_step=d.case, p_t=d.t, **samples,
            )  # fmt: skip
            return
        Bp = int(self.v["Bp"])
        self.strips(
            LANES if self.models else SUMMED, features, 0, base, rows=n, depth=steps,
            out=out.place, out_row=out.row, out_col=column,
            x=x.place, x_block=Bp, x_row=Bp, x_step=x.case, x_time=self.L, x_t=x.t,
            p=d.place, p_col=Bp, p_step=d.case, p_time=self.L, p_t=d.t, times=int(self.v["VV"]),
        )  # fmt: skip
