"""Products and transposes of matrices in one flat array, against NumPy.

With the compiler off (NUMBA_DISABLE_JIT=1) the Python forms meet the same tests;
tests/test_simd.py runs some of them on a processor with 16-byte vectors.
"""

from types import FunctionType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from vectors import FLOATS, MARK, numbers, strip_address, tolerance

from bptt.kernels.machine.library import COMPILER_OFF
from bptt.kernels.machine.processor import TILE_ROWS
from bptt.kernels.machine.simd import load, width
from bptt.kernels.machine.strips import KINDS, LANES, SHARED, STRIP, SUMMED, Strip, codes_of
from bptt.kernels.machine.tile import (
    DEEP,
    add_product,
    add_product_of_lanes,
    multiply,
    stores,
    strip,
)
from bptt.kernels.machine.transposes import transpose
from bptt.kernels.machine.vectors import lanes
from bptt.kernels.walk.loop import copy_rows, pack
from bptt.kernels.walk.products import UNITS, Base, Products
from bptt.network.structure import Structure


@njit
def run(m, program, number, t, b):
    multiply(m, program, number, t, b)


def finished(builder):
    """The program, with addresses in place of strips' numbers."""
    program = builder.table()
    codes = codes_of(program)
    if not COMPILER_OFF:
        codes[:] = [strip_address(number, builder.structure.dtype) for number in codes]
    return program


def builder_of(dtype, zeros):
    structure = Structure(inputs=1, outputs=1, dtype=np.dtype(dtype).name)
    builder = Products(structure, UNITS, {"zeros": zeros, "weight": 1}, lanes(dtype))
    builder.begin()
    return builder


def written_alone(m, before, places, sums, atol):
    """These places hold these sums, and everything else is as before."""
    written = np.zeros(m.size, np.bool_)
    written[places] = True
    expected = before.copy()
    expected[places] = sums
    np.testing.assert_array_equal(m[~written], before[~written].astype(m.dtype))
    np.testing.assert_allclose(m[written], expected[written], rtol=0, atol=atol)


def product_of(
    kind, dtype, rows, vectors, last, depth, start, gap=0, panels=False, times=1, t=0, b=0, seed=0
):
    """Multiply random matrices that lie in one array, `gap` numbers between all of their parts;
    everything but the product must be as before, and the product as its definition has it.

    start: what sums begin with, "nothing", "out" or "bias".
    """
    n, columns = lanes(dtype), vectors + (last > 0)
    x_wide = 1 if kind == SHARED else n
    x_step, x_row = x_wide + gap, depth * (x_wide + gap) + gap
    x_block = x_row
    if panels:
        x_step, x_row, x_block = TILE_ROWS * x_wide, x_wide, depth * x_wide
    p_col = n + gap if gap % 2 else depth * n + gap
    p_step = columns * (n + gap) + gap if gap % 2 else n
    out_col = 1 + gap if kind == SUMMED else n + gap
    out_row = columns * out_col + gap
    x_time = rows * max(x_row, x_block) + (depth + TILE_ROWS) * x_step + n
    p_time = columns * (p_col + n) + depth * (p_step + n)
    # Places are told without the shifts of this step and sample.
    strides = {"out_t": 3, "out_b": 5, "x_t": 2, "x_b": 7, "p_t": 11, "p_b": 1}
    out = gap + 2 * n
    x = out + rows * out_row + n + gap
    p = x + times * x_time
    bias = p + times * p_time
    told = {
        name: place - t * strides[name + "_t"] - b * strides[name + "_b"]
        for name, place in (("out", out), ("x", x), ("p", p))
    }
    m = numbers(seed, bias + (columns + 2) * n + rows, dtype)
    m[:n] = 0
    before = m.astype(np.longdouble)
    base = {
        "nothing": Base(0), "out": Base(told["out"], out_row, out_col, 1), "bias": Base(bias, 1, n)
    }[start]  # fmt: skip
    builder = builder_of(dtype, 0)
    builder.strips(
        kind, vectors, last, base, rows=rows, depth=depth, **told, **strides, out_row=out_row,
        out_col=out_col, x_block=x_block, x_row=x_row, x_step=x_step, p_col=p_col, p_step=p_step,
        **({} if times == 1 else {"times": times, "x_time": x_time, "p_time": p_time}),
    )  # fmt: skip
    r, c, k, i, lane = np.ogrid[:rows, :columns, :depth, :times, :n]
    first = r // TILE_ROWS * TILE_ROWS
    left = x + (first * x_block + (r - first) * x_row) + k * x_step + i * x_time
    right = p + c * p_col + k * p_step + i * p_time + lane
    sums = (before[left + lane * (kind != SHARED)] * before[right]).sum(axis=(2, 3))
    r, c, lane = np.ogrid[:rows, :columns, : 1 if kind == SUMMED else n]
    places = out + r * out_row + c * out_col + lane
    sums = sums.sum(axis=-1, keepdims=True) if kind == SUMMED else sums
    if start == "out":
        sums = sums + before[places]
    elif start == "bias":
        sums = sums + before[bias + r + c * n + lane]
    keep = np.ones(places.shape, np.bool_)
    keep[:, vectors:, last:] = False
    run(m, finished(builder), 0, t, b)
    terms = times * depth * (n if kind == SUMMED else 1)
    written_alone(m, before, places[keep], sums[keep], tolerance(dtype, terms))


STARTS = ("nothing", "out", "bias")


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES, SUMMED], ids=KINDS)
def test_products_of_every_depth(kind, dtype):
    """Depths that leave every number of steps after whole rounds of the partial sums."""
    n = lanes(dtype)
    for depth in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 37):
        for rows, vectors, last in (
            (1, 1, 0), (1, 4, 0), (1, 6, 1), (TILE_ROWS, 5, 0), (TILE_ROWS + 1, 4, n - 1), (3, 0, 2)
        ):  # fmt: skip
            for start in STARTS:
                part = last if kind == SHARED else 0
                if vectors + part:
                    product_of(kind, dtype, rows, vectors, part, depth, start, gap=depth % 3)


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES, SUMMED], ids=KINDS)
def test_deep_products(kind, dtype):
    """With two columns more rows at a time, then rests of all sizes."""
    for rows in (2, 2 * TILE_ROWS, 4 * TILE_ROWS - 1):
        for vectors, start in zip((2, 6, 3), STARTS, strict=True):
            product_of(kind, dtype, rows, vectors, 0, DEEP + rows % 2, start, gap=rows % 3)


@FLOATS
@settings(max_examples=60, deadline=None)
@given(
    kind=st.integers(0, 2),
    rows=st.integers(1, 13),
    vectors=st.integers(1, 9),
    last=st.integers(0, 15),
    depth=st.integers(0, 37),
    gap=st.integers(0, 5),
    start=st.sampled_from(STARTS),
    times=st.integers(1, 3),
    t=st.integers(0, 3),
    b=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_product_of_any_shape(
    dtype, kind, rows, vectors, last, depth, gap, start, times, t, b, seed
):
    part = last % lanes(dtype) if kind == SHARED else 0
    product_of(
        kind, dtype, rows, vectors, part, depth, start, gap, times=times, t=t, b=b, seed=seed
    )


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES], ids=KINDS[:2])
def test_products_of_matrices_packed_in_panels(kind, dtype):
    # The last is deep: then two columns have more rows at a time.
    for blocks, vectors, depth in ((1, 1, 1), (2, 5, 7), (3, 4, 16), (5, 6, DEEP + 1)):
        for start in STARTS:
            product_of(kind, dtype, blocks * TILE_ROWS, vectors, 0, depth, start, panels=True)


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES], ids=KINDS[:2])
@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("depth", [19, DEEP + 3])
def test_a_row_of_a_product_does_not_depend_on_its_place(dtype, depth, vectors, kind):
    """Whether 23 rows are computed together or 2 or 3 at a time, so that a batch may be split."""
    n, rows = lanes(dtype), 23
    wide = 1 if kind == SHARED else n
    columns = vectors * n
    x = rows * columns
    p = x + rows * depth * wide
    zeros = p + depth * columns
    results = []
    for step in (rows, 2, 3):
        m = np.append(numbers(1, zeros, dtype), np.zeros(n, dtype))
        for first in range(0, rows - 1, step):
            count = min(step, rows - first)
            count += rows - first - count == 1  # never one row: that is computed in another order
            row = depth * wide
            builder = builder_of(dtype, zeros)
            builder.strips(
                kind, vectors, 0, builder.nothing, rows=count, depth=depth, out=first * columns,
                out_row=columns, out_col=n, x=x + first * row, x_block=row, x_row=row, x_step=wide,
                p=p, p_col=n, p_step=columns,
            )  # fmt: skip
            run(m, finished(builder), 0, 0, 0)
        results.append(m)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@njit
def strips(m, program, step):
    """Sizes that no product uses: groups of 2 and 3, a part of vectors of lanes."""
    strip(2, False, 0, m, program, 0, 0, 0)
    strip(3, True, 2, m, program, step, 0, 0)
    strip(-1, True, 1, m, program, 2 * step, 0, 0)


@FLOATS
@pytest.mark.parametrize("add", [False, True])
def test_strips_of_any_constants(dtype, add):
    n, depth = lanes(dtype), 11
    zeros, x, p = 14 * n, 15 * n, 15 * n + depth * n
    m = numbers(3, p + depth * 4 * n, dtype)
    m[zeros:x] = 0
    before = m.astype(np.longdouble)
    left, right = before[x:p].reshape(depth, n), before[p:].reshape(depth, 4, n)
    expected = before * (np.arange(m.size) >= (0 if add else 13 * n + 2))
    shared = before[x : x + 3 * depth].reshape(3, depth)
    expected[: 12 * n] += np.einsum("rk,kcn->rcn", shared, right).ravel()
    expected[12 * n : 12 * n + 3] += np.einsum("kn,kcn->c", left, right[:, :3])
    part = slice(12 * n + 3, 13 * n + 2)
    expected[part] += np.einsum("kn,kn->n", left, right[:, 0])[: n - 1]
    common = {"code": 0, "depth": depth, "x": x, "p": p, "p_col": n, "p_step": 4 * n}
    rows = []
    for out, more in (
        (0, {"rows": 3, "groups": 2, "out_row": 4 * n, "out_col": n, "x_block": depth,
             "x_row": depth, "x_step": 1}),
        (12 * n, {"rows": 1, "groups": 1, "out_row": 0, "out_col": 1, "x_step": n}),
        (12 * n + 3, {"rows": 1, "groups": 1, "out_row": 0, "out_col": n, "x_step": n,
                      "last": n - 1}),
    ):  # fmt: skip
        base = out if add else zeros
        numbers_of = {"x_block": 0, "x_row": 0, "out": out, "base": base} | common | more
        own = (numbers_of["out_row"], numbers_of["out_col"]) if add else (0, 0)
        rows.append(Strip(**numbers_of, base_row=own[0], base_col=own[1]))
    strips(m, np.array(rows, np.int64).reshape(-1), STRIP)
    np.testing.assert_allclose(m, expected, rtol=0, atol=tolerance(dtype, depth * n))


def row_by(product):
    """What adds a product of one row to three vectors."""

    @njit
    def add_row(m, out, x, p, columns, depth):
        n = width(m)
        first = load(m, out), load(m, out + n), load(m, out + 2 * n)
        stores(m, out, n, product(first, m, x, p, n, columns * n, depth))

    return add_row


NUMBERS_LEFT, VECTORS_LEFT = row_by(add_product), row_by(add_product_of_lanes)


@FLOATS
@pytest.mark.parametrize("by_lanes", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 7, 8, 16, 21])
def test_a_product_in_registers(dtype, by_lanes, depth):
    n, columns = lanes(dtype), 4
    each = n if by_lanes else 1  # numbers of the left side that a step takes
    x, p = 5 * n, 5 * n + depth * each
    m = numbers(4, p + depth * columns * n, dtype)
    expected = m.astype(np.longdouble)
    left, right = expected[x:p].reshape(depth, each), expected[p:].reshape(depth, columns, n)
    left = np.broadcast_to(left, (depth, n))
    expected[n : 4 * n] += np.einsum("kn,kcn->cn", left, right[:, :3]).ravel()
    (VECTORS_LEFT if by_lanes else NUMBERS_LEFT)(m, n, x, p, columns, depth)
    np.testing.assert_allclose(m, expected, rtol=0, atol=tolerance(dtype, depth))


@njit
def turn(src, src_off, src_stride, rows, columns, dst, dst_off, dst_stride):
    transpose(src, src_off, src_stride, rows, columns, dst, dst_off, dst_stride)


@FLOATS
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 40), columns=st.integers(0, 40), gap=st.integers(0, 3))
def test_transpose_of_any_shape(dtype, rows, columns, gap):
    src = numbers(1, (rows + 1) * (columns + gap) + gap, dtype)
    dst = np.full((columns + 1) * (rows + gap) + gap, MARK, dtype)
    turn(src, gap, columns + gap, rows, columns, dst, gap, rows + gap)
    expected = np.full_like(dst, MARK)
    for r, c in np.ndindex(rows, columns):
        expected[gap + c * (rows + gap) + r] = src[gap + r * (columns + gap) + c]
    np.testing.assert_array_equal(dst, expected)


@FLOATS
@pytest.mark.parametrize("height", [1, 2, 4, 16])
@pytest.mark.parametrize(("rows", "panels"), [(3, 5), (5, 20), (1, 1)])
def test_packing_in_panels_of_any_height(dtype, height, rows, panels):
    """Also of more rows than a vector has lanes, which are those of float64 on ARM."""
    packed = njit(FunctionType(pack.__code__, pack.__globals__ | {"TILE_ROWS": height}))
    cols, stride, target = panels * height, panels * height + 3, 700 * height
    m = numbers(1, target + rows * cols + lanes(dtype), dtype)
    before = m.copy()
    packed(m, 7, stride, rows, cols, target)
    r, c = np.ogrid[:rows, :cols]
    places = target + (c // height * rows + r) * height + c % height
    written_alone(m, before, places, before[7 + r * stride + c], 0)


@njit
def spread_rows(m, source, stride, rows, columns, target, target_stride):
    copy_rows(m, source, stride, rows, columns, target, target_stride)


@FLOATS
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 9), columns=st.integers(1, 40), gap=st.integers(0, 3))
def test_rows_are_padded_with_zeros(dtype, rows, columns, gap):
    """To whole vectors, which may be further apart."""
    padded = -(-columns // lanes(dtype)) * lanes(dtype)
    stride, target_stride = columns + gap, padded + gap
    target = rows * stride + 5
    m = numbers(1, target + rows * target_stride + lanes(dtype), dtype)
    before = m.copy()
    spread_rows(m, 3, stride, rows, columns, target, target_stride)
    r, c = np.ogrid[:rows, :padded]
    wanted = np.where(c < columns, before[3 + r * stride + np.minimum(c, columns - 1)], 0)
    written_alone(m, before, target + r * target_stride + c, wanted, 0)
