"""Products and transposes of matrices in flat arrays, by tiles held in registers.

A tile is R rows by C vectors of sums. It walks the depth of a product once, and each number it
loads serves a whole row or column of the tile.

    sum[r, c] += sum over k < depth of X(r, k) P(c, k)
    X(r, k) = x[x_off + r x_row + k x_step]   one number for all lanes ("shared"), or a vector
    P(c, k) = the vector at p[p_off + c p_col + k p_step]
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from bptt.kernels.simd import load, load_part, store, store_part, width, zero
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
)

# The rows of a tile of TILE_COLUMNS vectors that leave room for the operands. Six would fit in 32
# registers too, but not with the next operands that the compiler loads ahead: then sums go through
# memory, at a third of the speed.
TILE_COLUMNS = 4
TILE_ROWS = 4 if registers() == 32 else 2
# Sums that go on side by side, because each waits about this many additions for its last one.
SUMS = 8


def _literal(*kinds: Any) -> bool:
    literals = (types.IntegerLiteral, types.BooleanLiteral)
    return all(isinstance(each, literals) for each in kinds)


def _at(builder: Any, off: Any, count: int, stride: Any) -> list[Any]:
    """off, off + stride, ..., `count` of them."""
    return [
        builder.add(off, builder.mul(stride, ir.Constant(I64, k))) if k else off
        for k in range(count)
    ]


def _define_loads(_: Any, arr: Any, off: Any, stride: Any, count: Any) -> Any:
    if not _literal(count):
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


def _define_zeros(_: Any, arr: Any, count: Any) -> Any:
    if not _literal(count):
        return None
    result = types.UniTuple(Vec(arr.dtype), count.literal_value)
    return result(arr, count), lambda context, builder, sig, args: ir.Constant(
        context.get_value_type(sig.return_type), None
    )


@operation(_define_zeros, literal=True)
def zeros(arr: Any, count: int) -> Any:
    """A tuple of `count` (a constant) vectors of zeros."""
    return (zero(arr),) * count


def _chains(tiles: int) -> int:
    """How many partial sums a place of a tile of this many places should have."""
    chains = 1
    while chains * tiles < SUMS:
        chains *= 2
    return chains


class _Tile:
    """Emits the instructions of one tile: R rows, C vectors, sums in LLVM variables that become
    registers. With several chains a place has several partial sums, each of every so many-th k."""

    def __init__(
        self, builder: Any, vector: Any, R: int, C: int, shared: bool, chains: int
    ) -> None:
        self.builder, self.vector, self.R, self.C, self.shared = builder, vector, R, C, shared
        self.chains = chains
        self.sums = [
            [cgutils.alloca_once(builder, vector) for _ in range(R * C)] for _ in range(self.chains)
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

    def accumulate(self, x: list[Any], p: list[Any], depth: Any) -> None:
        """Walk the depth: x is base, offset, row and step; p base, offset, column and step."""
        builder, n = self.builder, self.chains
        self.x_base, x_off, x_row, self.x_step = x
        self.p_base, p_off, p_col, self.p_step = p
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
                load_vector(builder, self.p_base, builder.add(place, p_off), self.vector)
                for place in self.p_places
            ]
            fetch = load_broadcast if self.shared else load_vector
            for r, place in enumerate(self.x_places):
                left = fetch(builder, self.x_base, builder.add(place, x_off), self.vector)
                for c in range(self.C):
                    total = self.sums[chain][r * self.C + c]
                    value = multiply_add(builder, left, right[c], builder.load(total))
                    builder.store(value, total)


# The arguments that say where X and P are.
PLACES = [types.intp] * 3


def _define_tile(
    _: Any, acc: Any, R: Any, C: Any, shared: Any, x: Any, x_off: Any, x_row: Any, x_step: Any,
    p: Any, p_off: Any, p_col: Any, p_step: Any, depth: Any,
) -> Any:  # fmt: skip
    vec = Vec(p.dtype)
    if not _literal(R, C, shared) or acc != types.UniTuple(vec, R.literal_value * C.literal_value):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(vec)
        rows, columns = R.literal_value, C.literal_value
        chains = _chains(rows * columns)
        tile = _Tile(builder, vector, rows, columns, shared.literal_value, chains)
        tile.start([builder.extract_value(args[0], k) for k in range(acc.count)])
        left = [data_pointer(context, builder, x, args[4]), *args[5:8]]
        right = [data_pointer(context, builder, p, args[8]), *args[9:12]]
        tile.accumulate(left, right, args[12])
        return context.make_tuple(builder, acc, tile.total())

    return acc(acc, R, C, shared, x, *PLACES, p, *PLACES, types.intp), generate


@operation(_define_tile, literal=True)
def tile(
    acc: Any, R: int, C: int, shared: bool, x: Any, x_off: int, x_row: int, x_step: int,
    p: Any, p_off: int, p_col: int, p_step: int, depth: int,
) -> Any:  # fmt: skip
    """acc[r C + c] + sum over k of X(r, k) P(c, k), a tuple; R, C and shared are constants."""
    n, sums = width(p), list(acc)
    for k in range(depth):
        for r in range(R):
            at = x_off + r * x_row + k * x_step
            left = x[at] if shared else load(x, at)[:n]
            for c in range(C):
                right = load(p, p_off + c * p_col + k * p_step)
                sums[r * C + c] = sums[r * C + c] + left * right
    return tuple(sums)


def _row_counts(C: int) -> tuple[int, ...]:
    """The heights of the tiles that cover any number of rows of C vectors, tallest first."""
    return (TILE_ROWS, 2, 1)[TILE_ROWS == 2 :] if C == TILE_COLUMNS else (4, 1)


class _Strip:
    """Emits the instructions of rows of C vectors: arguments as in `strip`, places as a base
    address, an offset and two strides."""

    def __init__(
        self, builder: Any, vector: Any, C: int, shared: bool,
        out: list[Any], x: list[Any], p: list[Any], depth: Any, accumulate: Any, last: Any,
    ) -> None:  # fmt: skip
        self.builder, self.vector, self.C, self.shared = builder, vector, C, shared
        self.out, self.x, self.p, self.depth, self.accumulate = out, x, p, depth, accumulate
        self.mask = None if last is None else first_lanes(builder, vector, last)

    def rows(self, R: int, first: Any, end: Any, chains: int) -> None:
        """Tiles of R rows, from the first row to the end."""
        builder, mask = self.builder, self.mask
        out, out_off, out_row, out_col = self.out
        x, x_off, x_row, x_step = self.x
        tile = _Tile(builder, self.vector, R, self.C, self.shared, chains)
        with cgutils.for_range_slice(builder, first, end, ir.Constant(I64, R), I64) as (r, _):
            places = [
                place
                for row in _at(builder, builder.add(out_off, builder.mul(r, out_row)), R, out_row)
                for place in _at(builder, row, self.C, out_col)
            ]
            tile.start([ir.Constant(self.vector, None)] * len(places))
            with builder.if_then(self.accumulate):
                tile.start([load_vector(builder, out, at, self.vector, mask) for at in places])
            x_first = builder.add(x_off, builder.mul(r, x_row))
            tile.accumulate([x, x_first, x_row, x_step], self.p, self.depth)
            for place, total in zip(places, tile.total(), strict=True):
                store_vector(builder, out, place, total, mask)


def _define_strip(
    _: Any, C: Any, partial: Any, shared: Any, last: Any,
    out: Any, out_off: Any, out_row: Any, out_col: Any, rows: Any,
    x: Any, x_off: Any, x_row: Any, x_step: Any,
    p: Any, p_off: Any, p_col: Any, p_step: Any, depth: Any, accumulate: Any,
) -> Any:  # fmt: skip
    vec = Vec(p.dtype)
    if not _literal(C, partial, shared) or vec != Vec(out.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        left = [data_pointer(context, builder, x, args[9]), *args[10:13]]
        right = [data_pointer(context, builder, p, args[13]), *args[14:17]]
        strip = _Strip(
            builder,
            context.get_value_type(vec),
            C.literal_value,
            shared.literal_value,
            [data_pointer(context, builder, out, args[4]), *args[5:8]],
            left,
            right,
            depth=args[17],
            accumulate=args[18],
            last=args[3] if partial.literal_value else None,
        )
        rows, none, one = args[8], ir.Constant(I64, 0), ir.Constant(I64, 1)
        single = builder.icmp_signed("==", rows, one)
        with builder.if_else(single) as (then, otherwise):
            with then:
                strip.rows(1, none, one, _chains(strip.C))
            with otherwise:
                done = none
                for R in _row_counts(strip.C):
                    left = builder.urem(builder.sub(rows, done), ir.Constant(I64, R))
                    until = builder.sub(rows, left)
                    strip.rows(R, done, until, 1)
                    done = until
        return context.get_dummy_value()

    return types.void(
        C, partial, shared, types.intp, out, *PLACES, types.intp, x, *PLACES, p, *PLACES,
        types.intp, types.boolean,
    ), generate  # fmt: skip


@operation(_define_strip, literal=True)
def strip(
    C: int, partial: bool, shared: bool, last: int,
    out: Any, out_off: int, out_row: int, out_col: int, rows: int,
    x: Any, x_off: int, x_row: int, x_step: int,
    p: Any, p_off: int, p_col: int, p_step: int, depth: int, accumulate: bool,
) -> None:  # fmt: skip
    """`rows` rows of C vectors (of only the first `last` lanes, if `partial`): the vector at
    out_off + r out_row + c out_col = its value before, if `accumulate`, or zero, + sum over k of
    X(r, k) P(c, k). C, partial and shared are constants.

    A single row is summed in several parts, for speed; a row among others is not, so that its
    numbers do not depend on how many others there are.
    """
    lanes = last if partial else width(out)
    for r in range(rows):
        places = [out_off + r * out_row + c * out_col for c in range(C)]
        acc = tuple(load_part(out, each, lanes) if accumulate else zero(out) for each in places)
        at = x_off + r * x_row
        acc = tile(acc, 1, C, shared, x, at, x_row, x_step, p, p_off, p_col, p_step, depth)
        for place, value in zip(places, acc, strict=True):
            store_part(out, place, value, lanes)


def _make_product(shared: bool) -> Any:
    """The product whose X(r, k) are numbers (shared) or vectors."""

    @njit(nogil=True, error_model="numpy")
    def product(
        out: Any, out_off: int, out_row: int, out_col: int, rows: int, columns: int,
        x: Any, x_off: int, x_row: int, x_step: int,
        p: Any, p_off: int, p_col: int, p_step: int, depth: int, accumulate: bool,
    ) -> None:  # fmt: skip
        lanes = width(out)
        vectors, c = columns // lanes, 0
        while c < vectors:
            o, q = out_off + c * out_col, p_off + c * p_col
            if c + 4 <= vectors:
                strip(4, False, shared, lanes, out, o, out_row, out_col, rows,
                      x, x_off, x_row, x_step, p, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 4
            elif c + 2 <= vectors:
                strip(2, False, shared, lanes, out, o, out_row, out_col, rows,
                      x, x_off, x_row, x_step, p, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 2
            else:
                strip(1, False, shared, lanes, out, o, out_row, out_col, rows,
                      x, x_off, x_row, x_step, p, q, p_col, p_step, depth, accumulate)  # fmt: skip
                c += 1
        last = columns - vectors * lanes
        if last > 0:
            o, q = out_off + vectors * out_col, p_off + vectors * p_col
            strip(1, True, shared, last, out, o, out_row, out_col, rows,
                  x, x_off, x_row, x_step, p, q, p_col, p_step, depth, accumulate)  # fmt: skip

    product.__doc__ = f"""out = (or, with `accumulate`, +=) X P: `rows` rows of `columns` numbers.

    Row r begins at out_off + r out_row, its vector c at out_col c further; X(r, k) are
    {"numbers" if shared else "vectors"}, and P must be padded to whole vectors.
    """
    return product


product_shared = _make_product(True)
product_lanes = _make_product(False)


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


@njit
def transpose(src, src_off, src_stride, rows, cols, dst, dst_off, dst_stride):
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
            dst[dst_off + c * dst_stride + r] = src[src_off + r * src_stride + c]
