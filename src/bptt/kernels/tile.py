"""Products and transposes of matrices in one flat array, by tiles held in registers.

A tile is R rows by C vectors of sums. It walks the depth of a product once, and each number it
loads serves a whole row or column of the tile.

    sum[r, c] += sum over k < depth of X(r, k) P(c, k)
    X(r, k) = x + r x_row + k x_step   one number for all lanes ("shared"), or a vector ("lanes")
              (a matrix packed in panels has its blocks of TILE_ROWS rows x_block a row apart)
    P(c, k) = the vector at p + c p_col + k p_step

Every matrix is a place in one array m, so that a product has few arguments.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from bptt.kernels.simd import get, load, load_part, put, store, store_part, vsum, width, zero
from bptt.kernels.vectors import (
    FLAGS,
    I64,
    Vec,
    data_pointer,
    first_lanes,
    load_broadcast,
    load_vector,
    multiply_add,
    operation,
    registers,
    shuffle,
    store_vector,
    sum_of_lanes,
)

# The rows of a tile, of up to four vectors each: as many as leave room for the operands in the
# registers. Six rows of four vectors would fit too, but not with the next operands that the
# compiler loads ahead: then sums go through memory, at a third of the speed.
TILE_ROWS = 4 if registers() == 32 else 2
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
        x_off, x_row, self.x_step = x
        p_off, p_col, self.p_step = p
        self.x_places = _at(builder, x_off, self.R, x_row)
        self.p_places = _at(builder, p_off, self.C, p_col)
        whole = builder.and_(depth, ir.Constant(I64, -n))
        step = ir.Constant(I64, n)
        zero_index = ir.Constant(I64, 0)
        with cgutils.for_range_slice(builder, zero_index, whole, step, intp=I64) as (k, _):
            self._steps(k, range(n))
        # What is left is fewer than n: n / 2 if that many are left, then n / 4, each to chains of
        # their own.
        first = 0
        while n > 1:
            n //= 2
            bit = builder.and_(depth, ir.Constant(I64, n))
            with builder.if_then(builder.icmp_unsigned("!=", bit, zero_index)):
                done = builder.and_(depth, ir.Constant(I64, -2 * n))
                self._steps(done, range(first, first + n))
            first += n

    def _steps(self, k: Any, chains: range) -> None:
        """Add the products of k, k + 1, ... to one chain each."""
        builder = self.builder
        for i, chain in enumerate(chains):
            at = builder.add(k, ir.Constant(I64, i)) if i else k
            x_off, p_off = builder.mul(at, self.x_step), builder.mul(at, self.p_step)
            right = [
                load_vector(builder, self.m, builder.add(place, p_off), self.vector)
                for place in self.p_places
            ]
            for r, place in enumerate(self.x_places):
                left = self.fetch(builder, self.m, builder.add(place, x_off), self.vector)
                for c in range(self.C):
                    total = self.sums[chain][r * self.C + c]
                    value = multiply_add(builder, left, right[c], builder.load(total))
                    builder.store(value, total)


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
    _: Any, C: Any, partial: Any, kind: Any, last: Any, m: Any, out: Any, out_row: Any,
    out_col: Any, rows: Any, x: Any, x_block: Any, x_row: Any, x_step: Any, p: Any, p_col: Any,
    p_step: Any, depth: Any, accumulate: Any,
) -> Any:  # fmt: skip
    literals = (types.IntegerLiteral, types.BooleanLiteral)
    if not all(isinstance(each, literals) for each in (C, partial, kind)):
        return None
    columns, name = C.literal_value, KINDS[kind.literal_value]

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(Vec(m.dtype))
        mask = first_lanes(builder, vector, args[3]) if partial.literal_value else None
        base = data_pointer(context, builder, m, args[4])
        none, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
        operands = (args[5:8], args[9:13], args[13:16], args[16], args[17], mask)
        strip = _Strip(builder, vector, columns, name, base, operands)
        rows = args[8]
        with builder.if_else(builder.icmp_signed("==", rows, one)) as (then, otherwise):
            with then:
                strip.rows(1, none, one, _chains(columns))
            with otherwise:
                done = none
                for R in (TILE_ROWS, 1):
                    left = builder.urem(builder.sub(rows, done), ir.Constant(I64, R))
                    until = builder.sub(rows, left)
                    strip.rows(R, done, until, _chains(TILE_ROWS * columns))
                    done = until
        return context.get_dummy_value()

    places = [types.intp] * 3
    return types.void(
        C, partial, kind, types.intp, m, *places, types.intp, types.intp, *places, *places,
        types.intp, types.boolean,
    ), generate  # fmt: skip


@operation(_define_strip, literal=True)
def strip(
    C: int, partial: bool, kind: int, last: int, m: Any, out: int, out_row: int, out_col: int,
    rows: int, x: int, x_block: int, x_row: int, x_step: int, p: int, p_col: int, p_step: int,
    depth: int, accumulate: bool,
) -> None:  # fmt: skip
    """`rows` rows of C vectors (of only the first `last` lanes, if `partial`): the vector at
    out + r out_row + c out_col = its value before, if `accumulate`, or zero, + the sum over k of
    X(r, k) P(c, k). C, partial and kind (a number of `KINDS`) are constants. Of kind "summed", X
    and P are vectors and the lanes of each sum are added up to one number.

    A single row is summed in several parts, for speed; a row among others is not, so that its
    numbers do not depend on how many others there are.
    """
    name = KINDS[kind]
    lanes = last if partial else width(m)
    for r in range(rows):
        for c in range(C):
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


def _make_product(kind: int) -> Any:
    """The product of this kind (a number of `KINDS`)."""

    @njit(nogil=True, error_model="numpy")
    def product(
        m: Any, out: int, out_row: int, out_col: int, rows: int, vectors: int, last: int,
        x: int, x_block: int, x_row: int, x_step: int, p: int, p_col: int, p_step: int,
        depth: int, accumulate: bool,
    ) -> None:  # fmt: skip
        c = 0
        while c < vectors:
            o, q = out + c * out_col, p + c * p_col
            if c + 4 <= vectors:
                strip(4, False, kind, 0, m, o, out_row, out_col, rows,
                      x, x_block, x_row, x_step, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 4
            elif c + 2 <= vectors:
                strip(2, False, kind, 0, m, o, out_row, out_col, rows,
                      x, x_block, x_row, x_step, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 2
            else:
                strip(1, False, kind, 0, m, o, out_row, out_col, rows,
                      x, x_block, x_row, x_step, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 1
        if last > 0:
            strip(1, True, kind, last, m, out + c * out_col, out_row, out_col, rows, x, x_block,
                  x_row, x_step, p + c * p_col, p_col, p_step, depth, accumulate)  # fmt: skip

    return product


# out = (or, with `accumulate`, +=) X P: `rows` rows of `vectors` columns and, if `last` > 0, `last`
# lanes of one more. Row r begins at out + r out_row, its column c out_col c further.
product_shared = _make_product(0)
product_lanes = _make_product(1)
product_summed = _make_product(2)


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


@njit(nogil=True, error_model="numpy")
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
