"""Products and transposes of matrices in one flat array, by tiles held in registers.

A tile is R rows by C vectors of sums. It walks the depth of a product once, and each number it
loads serves a whole row or column of the tile.

    sum[r, c] += sum over k < depth of X(r, k) P(c, k)
    X(r, k) = x + r x_row + k x_step   one number for all lanes ("shared"), or a vector ("lanes")
              (a matrix packed in panels has its blocks of TILE_ROWS rows x_block a row apart)
    P(c, k) = the vector at p + c p_col + k p_step

Every matrix is a place in one array m, so that a product has few arguments.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from bptt.kernels.compiler import Piece, address_of, inlined, part
from bptt.kernels.library import COMPILER_OFF
from bptt.kernels.processor import TILE_ROWS
from bptt.kernels.simd import get, load, load_part, put, store, store_part, vsum, width, zero
from bptt.kernels.vectors import (
    FLAGS,
    I64,
    Vec,
    call_address,
    data_pointer,
    first_lanes,
    load_broadcast,
    load_vector,
    multiply_add,
    operation,
    repeat,
    shuffle,
    store_vector,
    sum_of_lanes,
)

# Sums that go on side by side, because each waits about this many additions for its last one.
SUMS = 8
KINDS = ("shared", "lanes", "summed")


def _at(builder: Any, off: Any, count: int, stride: Any) -> list[Any]:
    """off, off + stride, ..., `count` of them."""
    return [
        builder.add(off, builder.mul(stride, ir.Constant(I64, k))) if k else off
        for k in range(count)
    ]


def _define_loads(_: Any, arr: Any, off: Any, stride: Any, count: Any) -> Any:
    if not isinstance(count, types.IntegerLiteral):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        vector = context.get_value_type(sig.return_type.dtype)
        places = _at(builder, args[1], count.literal_value, args[2])
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
        for k, place in enumerate(_at(builder, args[1], values.count, args[2])):
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

    def __init__(self, builder: Any, vector: Any, R: int, C: int, kind: str, chains: int) -> None:
        self.builder, self.vector, self.R, self.C = builder, vector, R, C
        self.fetch = load_broadcast if kind == "shared" else load_vector
        self.chains = chains
        self.sums = [
            [cgutils.alloca_once(builder, vector) for _ in range(R * C)] for _ in range(chains)
        ]

    def start(self, acc: list[Any]) -> None:
        """Set the sums."""
        for k, chain in enumerate(self.sums):
            for value, place in zip(acc, chain, strict=True):
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

    def accumulate(self, m: Any, x: list[Any], p: list[Any], depth: Any) -> None:
        """Walk the depth: x is place, row and step; p place, column and step."""
        builder, n = self.builder, self.chains
        self.m = m
        (x_off, x_row, x_step), (p_off, p_col, p_step) = x, p
        self.rows = _at(builder, ir.Constant(I64, 0), self.R, x_row)
        self.columns = _at(builder, ir.Constant(I64, 0), self.C, p_col)
        # Where the walk is. A step is an addition, so that what is left over after the loop needs
        # no products, which would all be worked out before the loop.
        self.walks = [(cgutils.alloca_once(builder, I64), step) for step in (x_step, p_step)]
        for (place, _), start in zip(self.walks, (x_off, p_off), strict=True):
            builder.store(start, place)
        zero_index = ir.Constant(I64, 0)
        with repeat(builder, builder.ashr(depth, ir.Constant(I64, n.bit_length() - 1))):
            self._steps(range(n))
        # What is left is fewer than n: n / 2 if that many are left, then n / 4, each to chains of
        # their own.
        first = 0
        while n > 1:
            n //= 2
            bit = builder.and_(depth, ir.Constant(I64, n))
            with builder.if_then(builder.icmp_unsigned("!=", bit, zero_index)):
                self._steps(range(first, first + n))
            first += n

    def _steps(self, chains: range) -> None:
        """Add the products of the next steps to one chain each."""
        builder = self.builder
        for chain in chains:
            x_at, p_at = (builder.load(place) for place, _ in self.walks)
            right = [
                load_vector(builder, self.m, builder.add(p_at, column), self.vector)
                for column in self.columns
            ]
            for r, row in enumerate(self.rows):
                left = self.fetch(builder, self.m, builder.add(x_at, row), self.vector)
                for c in range(self.C):
                    total = self.sums[chain][r * self.C + c]
                    value = multiply_add(builder, left, right[c], builder.load(total))
                    builder.store(value, total)
            for place, step in self.walks:
                builder.store(builder.add(builder.load(place), step), place)


def _chains(tiles: int) -> int:
    """How many partial sums a place of a tile of this many places should have."""
    chains = 1
    while chains * tiles < SUMS:
        chains *= 2
    return chains


class _Strip:
    """Emits the instructions of rows of C vectors: arguments as in `strip`, in lists."""

    def __init__(self, builder: Any, vector: Any, C: int, kind: str, m: Any, args: Any) -> None:
        self.builder, self.vector, self.C, self.kind, self.m = builder, vector, C, kind, m
        self.out, self.x, self.p, self.depth, self.accumulate, self.mask = args

    def _before(self, places: list[Any]) -> list[Any]:
        """The vectors that sums begin with, where they are added to."""
        if self.kind == "summed":
            return [ir.Constant(self.vector, None)] * len(places)
        return [load_vector(self.builder, self.m, at, self.vector, self.mask) for at in places]

    def _finish(self, places: list[Any], totals: list[Any]) -> None:
        """Write the sums."""
        builder = self.builder
        for at, total in zip(places, totals, strict=True):
            if self.kind != "summed":
                store_vector(builder, self.m, at, total, self.mask)
                continue
            place = builder.gep(self.m, [at])
            nothing = ir.Constant(self.vector.element, 0)
            before = builder.select(self.accumulate, builder.load(place), nothing)
            builder.store(builder.fadd(before, sum_of_lanes(builder, total)), place)

    def rows(self, R: int, first: Any, end: Any, chains: int) -> None:
        """Tiles of R rows, from the first row to the end."""
        builder = self.builder
        out_off, out_row, out_col = self.out
        x_off, x_block, x_row, x_step = self.x
        tile = _Tile(builder, self.vector, R, self.C, self.kind, chains)
        with cgutils.for_range_slice(builder, first, end, ir.Constant(I64, R), I64) as (r, _):
            places = [
                place
                for row in _at(builder, builder.add(out_off, builder.mul(r, out_row)), R, out_row)
                for place in _at(builder, row, self.C, out_col)
            ]
            tile.start([ir.Constant(self.vector, None)] * len(places))
            with builder.if_then(self.accumulate):
                tile.start(self._before(places))
            at = builder.add(x_off, builder.mul(r, x_block))
            tile.accumulate(self.m, [at, x_row, x_step], self.p, self.depth)
            self._finish(places, tile.total())


def _define_strip(
    _: Any, C: Any, single: Any, kind: Any, m: Any, last: Any, groups: Any, out: Any, out_row: Any,
    out_col: Any, rows: Any, x: Any, x_block: Any, x_row: Any, x_step: Any, p: Any, p_col: Any,
    p_step: Any, depth: Any, accumulate: Any,
) -> Any:  # fmt: skip
    literals = (types.IntegerLiteral, types.BooleanLiteral)
    if not all(isinstance(each, literals) for each in (C, single, kind)):
        return None
    columns, name = abs(C.literal_value), KINDS[kind.literal_value]
    partial = C.literal_value < 0

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(Vec(m.dtype))
        mask = first_lanes(builder, vector, args[4]) if partial else None
        base = data_pointer(context, builder, m, args[3])
        none, one, width = (ir.Constant(I64, n) for n in (0, 1, columns))
        groups, out, out_row, out_col, rows, x, x_block, x_row, x_step = args[5:14]
        p, p_col, p_step, depth, accumulate = args[14:]
        with cgutils.for_range_slice(builder, none, groups, one, I64) as (group, _):
            c = builder.mul(group, width)
            here = builder.add(out, builder.mul(c, out_col))
            right = builder.add(p, builder.mul(c, p_col))
            operands = (
                [here, out_row, out_col], [x, x_block, x_row, x_step], [right, p_col, p_step],
                depth, accumulate, mask,
            )  # fmt: skip
            strip = _Strip(builder, vector, columns, name, base, operands)
            if single.literal_value:
                strip.rows(1, none, one, _chains(columns))
            else:
                done = none
                for R in (TILE_ROWS, 1):
                    left = builder.urem(builder.sub(rows, done), ir.Constant(I64, R))
                    until = builder.sub(rows, left)
                    strip.rows(R, done, until, _chains(TILE_ROWS * columns))
                    done = until
        return context.get_dummy_value()

    integers = [types.intp] * 14
    return types.void(C, single, kind, m, *integers, types.boolean), generate


@operation(_define_strip, literal=True)
def strip(
    C: int, single: bool, kind: int, m: Any, last: int, groups: int, out: int, out_row: int,
    out_col: int, rows: int, x: int, x_block: int, x_row: int, x_step: int, p: int, p_col: int,
    p_step: int, depth: int, accumulate: bool,
) -> None:  # fmt: skip
    """`groups` groups of C columns, a vector each (or, with C = -1, of the `last` first lanes of
    one): out + r out_row + c out_col = its value before, if `accumulate`, or zero, + the sum over k
    of X(r, k) P(c, k), for r < rows.

    C, single and kind (a number of `KINDS`) are constants. Of kind "summed", X and P are vectors
    and the lanes of each sum are added up to one number. A single row is summed in more parts, for
    speed, than a row among others, whose numbers do not depend on how many others there are.
    """
    name = KINDS[kind]
    lanes = last if C < 0 else width(m)
    for r in range(1 if single else rows):
        for c in range(groups * abs(C)):
            place, total = out + r * out_row + c * out_col, zero(m)
            if accumulate and name != "summed":
                total = load_part(m, place, lanes)
            for k in range(depth):
                at = x + r // TILE_ROWS * TILE_ROWS * x_block + r % TILE_ROWS * x_row + k * x_step
                left = m[at] if name == "shared" else load(m, at)
                total = total + left * load(m, p + c * p_col + k * p_step)
            if name == "summed":
                m[place] = (m[place] if accumulate else 0) + vsum(total)
            else:
                store_part(m, place, total, lanes)


# The strips that there are, for each kind; C and single. Each is compiled by itself and called by
# its address: as a part of the kernels that use it, it would be optimised again with each.
STRIPS = tuple((C, single) for single in (False, True) for C in (4, 1, -1))

STRIP_COUNT = len(KINDS) * len(STRIPS)


def _strip_piece(kind: int, C: int, single: bool, number: int, dtype: str) -> Piece:
    """One strip of the table."""

    def code(
        m: Any, last: int, groups: int, out: int, out_row: int, out_col: int, rows: int, x: int,
        x_block: int, x_row: int, x_step: int, p: int, p_col: int, p_step: int, depth: int,
        accumulate: bool,
    ) -> None:  # fmt: skip
        strip(C, single, kind, m, last, groups, out, out_row, out_col, rows, x, x_block, x_row,
              x_step, p, p_col, p_step, depth, accumulate)  # fmt: skip

    numbers, integers = types.CPointer(getattr(types, dtype)), [types.intp] * 14
    place = kind * len(STRIPS) + number
    name = f"strip-{KINDS[kind]}-{number}-{dtype}"
    return Piece(name, place, code, (numbers, *integers, types.boolean))


def strip_pieces(kinds: tuple[int, ...], dtype: str) -> list[Piece]:
    """The strips of these kinds."""
    return [
        _strip_piece(kind, C, single, number, dtype)
        for kind in kinds
        for number, (C, single) in enumerate(STRIPS)
        if C > 0 or kind == 0
    ]


@cache
def strip_addresses(kinds: tuple[int, ...], dtype: str) -> NDArray[np.int64]:
    """Where the strips of these kinds are; a kernel is given this."""
    table = np.zeros(STRIP_COUNT, np.int64)
    for piece in strip_pieces(kinds, dtype) if not COMPILER_OFF else ():
        table[piece.place] = address_of(piece)
    return table


def _define_call(
    _: Any, address: Any, which: Any, m: Any, last: Any, groups: Any, out: Any, out_row: Any,
    out_col: Any, rows: Any, x: Any, x_block: Any, x_row: Any, x_step: Any, p: Any, p_col: Any,
    p_step: Any, depth: Any, accumulate: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, m, args[2])
        call_address(builder, args[0], [base, *args[3:]])
        return context.get_dummy_value()

    integers = [types.intp] * 14
    return types.void(types.intp, types.intp, m, *integers, types.boolean), generate


@operation(_define_call)
def call_strip(
    address: int, which: int, m: Any, last: int, groups: int, out: int, out_row: int, out_col: int,
    rows: int, x: int, x_block: int, x_row: int, x_step: int, p: int, p_col: int, p_step: int,
    depth: int, accumulate: bool,
) -> None:  # fmt: skip
    """Call the strip at an address; `which` is its place in the table of addresses."""
    kind, (C, single) = which // len(STRIPS), STRIPS[which % len(STRIPS)]
    strip(C, single, kind, m, last, groups, out, out_row, out_col, rows, x, x_block, x_row, x_step,
          p, p_col, p_step, depth, accumulate)  # fmt: skip


@inlined
def product(
    codes: Any, kind: int, m: Any, out: int, out_row: int, out_col: int, rows: int, vectors: int,
    last: int, x: int, x_block: int, x_row: int, x_step: int, p: int, p_col: int, p_step: int,
    depth: int, accumulate: bool,
) -> None:  # fmt: skip
    """out = (or, with `accumulate`, +=) X P: `rows` rows of `vectors` columns and, if `last` > 0,
    `last` lanes of one more. Row r begins at out + r out_row, its column c out_col c further.
    """
    at = kind * 6 + (3 if rows == 1 else 0)
    fours = vectors // 4
    c = 4 * fours
    if fours > 0:
        call_strip(get(codes, at), at, m, 0, fours, out, out_row, out_col, rows, x, x_block, x_row,
                   x_step, p, p_col, p_step, depth, accumulate)  # fmt: skip
    if vectors > c:
        call_strip(get(codes, at + 1), at + 1, m, 0, vectors - c, out + c * out_col, out_row,
                   out_col, rows, x, x_block, x_row, x_step, p + c * p_col, p_col, p_step, depth,
                   accumulate)  # fmt: skip
    if last > 0:
        call_strip(get(codes, at + 2), at + 2, m, last, 1, out + vectors * out_col, out_row,
                   out_col, rows, x, x_block, x_row, x_step, p + vectors * p_col, p_col, p_step,
                   depth, accumulate)  # fmt: skip


def _define_transpose_block(
    _: Any, src: Any, src_off: Any, src_stride: Any, dst: Any, dst_off: Any, dst_stride: Any
) -> Any:
    vec = Vec(src.dtype)
    if vec != Vec(dst.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector, n = context.get_value_type(vec), vec.lanes
        base = data_pointer(context, builder, src, args[0])
        rows = [
            load_vector(builder, base, place, vector) for place in _at(builder, args[1], n, args[2])
        ]
        # Each round exchanges one bit of the row number with the same bit of the lane number.
        bit = n // 2
        while bit:
            low = [lane if not lane & bit else n + lane - bit for lane in range(n)]
            high = [lane + bit if not lane & bit else n + lane for lane in range(n)]
            for k in range(n):
                if not k & bit:
                    a, b = rows[k], rows[k + bit]
                    rows[k] = shuffle(builder, a, b, low)
                    rows[k + bit] = shuffle(builder, a, b, high)
            bit //= 2
        base = data_pointer(context, builder, dst, args[3])
        for row, place in zip(rows, _at(builder, args[4], n, args[5]), strict=True):
            store_vector(builder, base, place, row)
        return context.get_dummy_value()

    return types.void(src, types.intp, types.intp, dst, types.intp, types.intp), generate


@operation(_define_transpose_block)
def transpose_block(
    src: Any, src_off: int, src_stride: int, dst: Any, dst_off: int, dst_stride: int
) -> None:
    """dst[dst_off + c dst_stride + r] = src[src_off + r src_stride + c], r and c < width."""
    n = width(src)
    rows = [load(src, src_off + r * src_stride) for r in range(n)]
    for c in range(n):
        store(dst, dst_off + c * dst_stride, np.array([row[c] for row in rows]))


@part
def transpose(
    src: Any, src_off: int, src_stride: int, rows: int, cols: int,
    dst: Any, dst_off: int, dst_stride: int,
) -> None:  # fmt: skip
    """dst[dst_off + c dst_stride + r] = src[src_off + r src_stride + c], r < rows, c < cols."""
    n = width(src)
    r_end, c_end = rows // n * n, cols // n * n
    for r in range(0, r_end, n):
        for c in range(0, c_end, n):
            transpose_block(
                src, src_off + r * src_stride + c, src_stride,
                dst, dst_off + c * dst_stride + r, dst_stride,
            )  # fmt: skip
    for r in range(rows):
        for c in range(c_end if r < r_end else 0, cols):
            put(dst, dst_off + c * dst_stride + r, get(src, src_off + r * src_stride + c))
