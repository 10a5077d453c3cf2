"""Products of matrices in one flat array, by tiles held in registers.

A tile is R rows by C vectors of sums. It walks the depth of a product once, and each number it
loads serves a whole row or column of the tile.

    out[r, c] = base[r, c] + sum over i < times, k < depth of X(r, k, i) P(c, k, i)
    X(r, k, i) = x + r x_row + k x_step + i x_time   one number for all lanes ("shared"), or a
                 vector ("lanes"); a matrix packed in panels has its blocks of TILE_ROWS rows
                 x_block a row apart
    P(c, k, i) = the vector at p + c p_col + k p_step + i p_time

Which numbers these are is worked out once, in Python: a strip (rows of C vectors, for some groups
of columns) is a row of integers in memory, and running it needs no more than where that row is, and
the step t and sample b that places are shifted by. So a product costs little more than its
arithmetic, and what runs the products need not know of shapes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from bptt.kernels.machine.compiler import Piece, part
from bptt.kernels.machine.processor import ROWS, TILE_ROWS, registers
from bptt.kernels.machine.simd import get, load, load_part, store, store_part, vsum, width, zero
from bptt.kernels.machine.strips import (
    LANES,
    SHARED,
    STRIP,
    STRIPS,
    SUMMED,
    Strip,
    strip_name,
    strip_number,
)
from bptt.kernels.machine.vectors import (
    FLAGS,
    I64,
    Vec,
    call_address,
    data_pointer,
    first_lanes,
    hidden,
    load_broadcast,
    load_vector,
    multiply_add,
    operation,
    places_at,
    repeat,
    store_vector,
    sums_of_lanes,
)

# Sums that go on side by side, because each waits about this many additions for its last one.
SUMS = 8
# Sums that stay in registers, beside what is multiplied.
MOST_SUMS = registers() // 2
# A product of so many steps is deep: preparing for many rows at a time does not count.
DEEP = 64


def _define_loads(_: Any, arr: Any, off: Any, stride: Any, count: Any) -> Any:
    if not isinstance(count, types.IntegerLiteral):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        vector = context.get_value_type(sig.return_type.dtype)
        places = places_at(builder, args[1], count.literal_value, args[2])
        vectors = [load_vector(builder, base, each, vector) for each in places]
        return context.make_tuple(builder, sig.return_type, vectors)

    result = types.UniTuple(Vec(arr.dtype), count.literal_value)
    return result(arr, types.intp, types.intp, count), generate


@operation(_define_loads, literal=True)
def loads(arr: Any, off: int, stride: int, count: int) -> Any:
    """A tuple of `count` (a constant) vectors, from off, off + stride, ..."""
    return tuple(load(arr, off + k * stride) for k in range(count))


def _define_stores(_: Any, arr: Any, off: Any, stride: Any, values: Any) -> Any:
    if not isinstance(values, types.UniTuple) or values.dtype != Vec(arr.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        for k, place in enumerate(places_at(builder, args[1], values.count, args[2])):
            store_vector(builder, base, place, builder.extract_value(args[3], k))
        return context.get_dummy_value()

    return types.void(arr, types.intp, types.intp, values), generate


@operation(_define_stores)
def stores(arr: Any, off: int, stride: int, values: Any) -> None:
    """Write a tuple of vectors to off, off + stride, ..."""
    for k, value in enumerate(values):
        store(arr, off + k * stride, value)


class _Tile:
    """Emits the instructions of one tile: R rows, C vectors, sums in LLVM variables that become
    registers. With several chains a place has several partial sums, each of every so many-th k."""

    def __init__(self, builder: Any, vector: Any, R: int, C: int, kind: int, chains: int) -> None:
        self.builder, self.vector, self.R, self.C = builder, vector, R, C
        self.fetch = load_broadcast if kind == SHARED else load_vector
        self.chains = chains
        self.sums = [
            [cgutils.alloca_once(builder, vector) for _ in range(R * C)] for _ in range(chains)
        ]

    def start(self, first: list[Any]) -> None:
        """Set the sums."""
        for k, chain in enumerate(self.sums):
            for value, place in zip(first, chain, strict=True):
                self.builder.store(value if k == 0 else ir.Constant(self.vector, None), place)

    def total(self) -> list[Any]:
        """The sums, chains added to chains by halves."""
        builder = self.builder
        chains = [[builder.load(place) for place in chain] for chain in self.sums]
        while len(chains) > 1:
            half = len(chains) // 2
            chains = [
                [builder.fadd(a, b, flags=FLAGS) for a, b in zip(low, high, strict=True)]
                for low, high in zip(chains[:half], chains[half:], strict=True)
            ]
        return chains[0]

    def accumulate(self, m: Any, of: dict[str, Any], x: Any, p: Any) -> None:
        """Walk the depth, as many times as there are, from these places."""
        builder = self.builder
        panels = [ir.Constant(I64, 0)]
        if self.R > TILE_ROWS:
            panels = places_at(
                builder, panels[0], self.R // TILE_ROWS,
                builder.mul(of["x_block"], ir.Constant(I64, TILE_ROWS)),
            )  # fmt: skip
        each = min(self.R, TILE_ROWS)
        rows = [row for panel in panels for row in places_at(builder, panel, each, of["x_row"])]
        columns = places_at(builder, ir.Constant(I64, 0), self.C, of["p_col"])
        self.rows, self.columns = (
            [builder.gep(m, [at]) for at in all_] for all_ in (rows, columns)
        )
        # Where the walk is. A step is an addition, so that what is left over after the loop needs
        # no products, which would all be worked out before the loop. It is hidden from the compiler
        # that rows and columns move alike: it would keep, and move, an address of each.
        self.walks = [
            (cgutils.alloca_once(builder, I64), of[step]) for step in ("x_step", "p_step")
        ]
        if "times" not in of:
            for (place, _), start in zip(self.walks, (x, p), strict=True):
                builder.store(start, place)
            self._walk(of["depth"])
            return
        starts = [cgutils.alloca_once_value(builder, place) for place in (x, p)]
        steps = [of[step] for step in ("x_time", "p_time")]
        with repeat(builder, of["times"]):
            for (place, _), start, step in zip(self.walks, starts, steps, strict=True):
                here = builder.load(start)
                builder.store(here, place)
                builder.store(builder.add(here, step), start)
            self._walk(of["depth"])

    def _walk(self, depth: Any) -> None:
        """Walk the depth once."""
        builder, n = self.builder, self.chains
        with repeat(builder, builder.ashr(depth, ir.Constant(I64, n.bit_length() - 1))):
            self._steps(range(n))
        # What is left is fewer than n: n / 2 if that many are left, then n / 4, each to chains of
        # their own.
        first = 0
        while n > 1:
            n //= 2
            bit = builder.and_(depth, ir.Constant(I64, n))
            with builder.if_then(builder.icmp_unsigned("!=", bit, ir.Constant(I64, 0))):
                self._steps(range(first, first + n))
            first += n

    def _steps(self, chains: range) -> None:
        """Add the products of the next steps to one chain each."""
        builder = self.builder
        for chain in chains:
            x_at, p_at = (builder.load(place) for place, _ in self.walks)
            right = [load_vector(builder, column, p_at, self.vector) for column in self.columns]
            for r, row in enumerate(self.rows):
                left = self.fetch(builder, row, x_at, self.vector)
                for c in range(self.C):
                    total = self.sums[chain][r * self.C + c]
                    value = multiply_add(builder, left, right[c], builder.load(total))
                    builder.store(value, total)
            for place, step in self.walks:
                after = builder.add(builder.load(place), step)
                builder.store(hidden(builder, after), place)


def _chains(tiles: int) -> int:
    """How many partial sums a place of a tile of this many places should have."""
    chains = 1
    while chains * tiles < SUMS:
        chains *= 2
    return chains


def _rows_of(columns: int) -> list[int]:
    """How many rows are done at a time, then how many of the rest. With two columns first twice as
    many, of products that are deep: what is loaded of a column then serves more sums."""
    rows = ROWS[columns]
    if columns > 1 and 2 * rows * columns * _chains(rows * columns) <= MOST_SUMS:
        rows *= 2
    return [rows >> k for k in range(rows.bit_length())]


class _Emitter:
    """Emits the instructions of rows of C vectors. `of`: the numbers of the strip, places shifted
    to where they are meant."""

    def __init__(
        self, builder: Any, vector: Any, C: int, kind: int, m: Any, of: dict[str, Any], mask: Any
    ) -> None:
        self.builder, self.vector, self.C, self.kind, self.m = builder, vector, C, kind, m
        self.of, self.mask = of, mask

    def _before(self, at: Any) -> Any:
        """What a sum begins with."""
        if self.kind != SUMMED:
            return load_vector(self.builder, self.m, at, self.vector, self.mask)
        return ir.Constant(self.vector, None)

    def _finish(self, outs: list[Any], bases: list[Any], totals: list[Any]) -> None:
        """Write sums."""
        builder, m = self.builder, self.m
        if self.kind != SUMMED:
            for out, total in zip(outs, totals, strict=True):
                store_vector(builder, m, out, total, self.mask)
            return
        sums = sums_of_lanes(builder, totals)
        for out, base, value in zip(outs, bases, sums, strict=True):
            before = builder.load(builder.gep(m, [base]))
            builder.store(builder.fadd(before, value), builder.gep(m, [out]))

    def _places(self, name: str, r: Any, R: int) -> list[Any]:
        """Of the places of a tile at row r."""
        builder, of = self.builder, self.of
        first = builder.add(of[name], builder.mul(r, of[name + "_row"]))
        return [
            place
            for row in places_at(builder, first, R, of[name + "_row"])
            for place in places_at(builder, row, self.C, of[name + "_col"])
        ]

    def rows(self, R: int, first: Any, end: Any) -> None:
        """Tiles of R rows, from the first row to the end."""
        builder, of = self.builder, self.of
        tile = _Tile(builder, self.vector, R, self.C, self.kind, _chains(ROWS[self.C] * self.C))
        with cgutils.for_range_slice(builder, first, end, ir.Constant(I64, R), I64) as (r, _):
            base = self._places("base", r, R)
            tile.start([self._before(at) for at in base])
            x = builder.add(of["x"], builder.mul(r, of["x_block"]))
            tile.accumulate(self.m, of, x, of["p"])
            self._finish(self._places("out", r, R), base, tile.total())

    def row(self) -> None:
        """One row, walked once."""
        of = {name: value for name, value in self.of.items() if name != "times"}
        tile = _Tile(self.builder, self.vector, 1, self.C, self.kind, _chains(self.C))
        base = places_at(self.builder, of["base"], self.C, of["base_col"])
        tile.start([self._before(at) for at in base])
        tile.accumulate(self.m, of, of["x"], of["p"])
        out = places_at(self.builder, of["out"], self.C, of["out_col"])
        self._finish(out, base, tile.total())


def _numbers(builder: Any, strip: Any) -> dict[str, Any]:
    """Read a strip."""
    return {
        name: builder.load(builder.gep(strip, [ir.Constant(I64, k)]))
        for k, name in enumerate(Strip._fields)
    }


def _shifted(builder: Any, of: dict[str, Any], t: Any, b: Any, column: Any) -> dict[str, Any]:
    """The numbers of a strip with its places at a step, sample and column."""
    shift = {
        name: builder.add(builder.mul(t, of[name + "_t"]), builder.mul(b, of[name + "_b"]))
        for name in ("out", "x", "p")
    }
    shift["base"] = builder.mul(shift["out"], of["moves"])
    for name in ("out", "base", "p"):
        shift[name] = builder.add(shift[name], builder.mul(column, of[name + "_col"]))
    return of | {name: builder.add(of[name], by) for name, by in shift.items()}


def _define_strip(
    _: Any, C: Any, single: Any, kind: Any, m: Any, program: Any, at: Any, t: Any, b: Any
) -> Any:
    literals = (types.IntegerLiteral, types.BooleanLiteral)
    if not all(isinstance(each, literals) for each in (C, single, kind)):
        return None
    columns, number = abs(C.literal_value), kind.literal_value

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(Vec(m.dtype))
        base = data_pointer(context, builder, m, args[3])
        strip = builder.gep(data_pointer(context, builder, program, args[4]), [args[5]])
        of = _numbers(builder, strip)
        mask = first_lanes(builder, vector, of["last"]) if C.literal_value < 0 else None
        none, one = (ir.Constant(I64, n) for n in (0, 1))

        def groups(numbers: dict[str, Any], emit: Callable[[_Emitter], None]) -> None:
            with cgutils.for_range_slice(builder, none, of["groups"], one, I64) as (group, _):
                column = builder.mul(group, ir.Constant(I64, columns))
                here = _shifted(builder, numbers, args[6], args[7], column)
                emit(_Emitter(builder, vector, columns, number, base, here, mask))

        if single.literal_value:
            groups(of, _Emitter.row)
            return context.get_dummy_value()
        done = none
        for R in _rows_of(columns):
            left = builder.urem(builder.sub(of["rows"], done), ir.Constant(I64, R))
            until = builder.sub(of["rows"], left)
            if ROWS[columns] < R:
                deep = builder.icmp_signed(">=", of["depth"], ir.Constant(I64, DEEP))
                until = builder.select(deep, until, done)
            rows = partial(_Emitter.rows, R=R, first=done, end=until)
            with builder.if_then(builder.icmp_signed("<", done, until)):
                # Told that this is another strip, the compiler works out what so many rows at a
                # time need here, not at the beginning for all.
                groups(_numbers(builder, hidden(builder, strip)), rows)
            done = until
        return context.get_dummy_value()

    integer = types.intp
    return types.void(C, single, kind, m, program, integer, integer, integer), generate


@operation(_define_strip, literal=True)
def strip(C: int, single: bool, kind: int, m: Any, program: Any, at: int, t: int, b: int) -> None:
    """Run the strip that lies at program[at]: `groups` groups of C columns, a vector each (or, with
    C = -1, of the `last` first lanes of one).

    C, single and kind (a number of `KINDS`) are constants. Of kind "summed", X and P are vectors
    and the lanes of each sum are added up to one number. A single row, walked once, is summed in
    more parts, for speed, than a row among others, whose numbers do not depend on how many others
    there are.
    """
    s = Strip(*(int(each) for each in program[at : at + STRIP]))
    lanes = s.last if C < 0 else width(m)
    shift = t * s.out_t + b * s.out_b
    for r in range(1 if single else s.rows):
        for c in range(s.groups * abs(C)):
            out, total = s.out + shift + r * s.out_row + c * s.out_col, zero(m)
            base = s.base + s.moves * shift + r * s.base_row + c * s.base_col
            if kind != SUMMED:
                total = load_part(m, base, lanes)
            x = s.x + t * s.x_t + b * s.x_b
            x += r // TILE_ROWS * TILE_ROWS * s.x_block + r % TILE_ROWS * s.x_row
            p = s.p + t * s.p_t + b * s.p_b + c * s.p_col
            for i, k in np.ndindex(1 if single else s.times, s.depth):
                left = x + k * s.x_step + i * s.x_time
                right = load(m, p + k * s.p_step + i * s.p_time)
                total = total + (m[left] if kind == SHARED else load(m, left)) * right
            if kind == SUMMED:
                m[out] = m[base] + vsum(total)
            else:
                store_part(m, out, total, lanes)


def _define_row(kind: int) -> Any:
    """The definition of a product of one row, of a kind of strips."""

    def define(
        _: Any, first: Any, m: Any, x: Any, p: Any, p_col: Any, p_step: Any, depth: Any
    ) -> Any:
        if not isinstance(first, types.UniTuple):
            return None
        C = first.count

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = context.get_value_type(first.dtype)
            of = dict(zip(("p_col", "p_step", "depth"), args[4:], strict=True))
            x_step = vector.count if kind == LANES else 1
            of |= {"x_row": ir.Constant(I64, 0), "x_step": ir.Constant(I64, x_step)}
            # Rows of models are few units, and go on side by side.
            chains = min(_chains(C), 2) if kind == LANES else _chains(C)
            tile = _Tile(builder, vector, 1, C, kind, chains)
            tile.start(cgutils.unpack_tuple(builder, args[0], C))
            tile.accumulate(data_pointer(context, builder, m, args[1]), of, args[2], args[3])
            return context.make_tuple(builder, sig.return_type, tile.total())

        return first(first, m, *[types.intp] * 5), generate

    return define


@operation(_define_row(SHARED))
def add_product(first: Any, m: Any, x: int, p: int, p_col: int, p_step: int, depth: int) -> Any:
    """A tuple of vectors, first[c] + the sum over k < depth of m[x + k] times the vector at
    p + c p_col + k p_step: a product of one row whose sums stay in registers."""
    return tuple(
        sum((m[x + k] * load(m, p + c * p_col + k * p_step) for k in range(depth)), value)
        for c, value in enumerate(first)
    )


@operation(_define_row(LANES))
def add_product_of_lanes(
    first: Any, m: Any, x: int, p: int, p_col: int, p_step: int, depth: int
) -> Any:
    """The same with vectors on both sides: vector k at x + k times the width of one."""
    vectors = range(x, x + depth * width(m), width(m))
    return tuple(
        sum((load(m, at) * load(m, p + c * p_col + k * p_step) for k, at in enumerate(vectors)),
            value)
        for c, value in enumerate(first)
    )  # fmt: skip


def strip_piece(kind: int, C: int, single: bool, dtype: str) -> Piece:
    """The strips of a kind: each is compiled by itself and called by its address."""

    def code(m: Any, program: Any, t: int, b: int) -> None:
        strip(C, single, kind, m, program, 0, t, b)

    integers = [types.CPointer(types.int64), types.intp, types.intp]
    taken = (types.CPointer(getattr(types, dtype)), *integers)
    return Piece(strip_name(strip_number(kind, C, single), dtype), code, taken)


def _define_call(_: Any, m: Any, program: Any, at: Any, t: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, m, args[0])
        here = builder.gep(data_pointer(context, builder, program, args[1]), [args[2]])
        call_address(builder, builder.load(here), [base, here, *args[3:]])
        return context.get_dummy_value()

    return types.void(m, program, types.intp, types.intp, types.intp), generate


@operation(_define_call)
def call_strip(m: Any, program: Any, at: int, t: int, b: int) -> None:
    """Run the strip that lies at program[at] by its own code."""
    kind, (C, single) = program[at] // len(STRIPS), STRIPS[program[at] % len(STRIPS)]
    strip(C, single, kind, m, program, at, t, b)


@part
def multiply(m: Any, program: Any, number: int, t: int, b: int) -> None:
    """The product of that number, at step t and sample b: its strips, one after the other.

    program: where the strips of each product begin, and after those of the last one end, then the
    strips.
    """
    at, end = get(program, number), get(program, number + 1)
    while at < end:
        call_strip(m, program, at, t, b)
        at += STRIP
