"""Products and transposes of matrices in one flat array, against NumPy.

With the compiler off (NUMBA_DISABLE_JIT=1) the Python forms meet the same tests;
tests/test_simd.py runs some of them on a processor with 16-byte vectors.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from vectors import FLOATS, MARK, numbers, tolerance

from bptt.kernels.simd import pointer_to, width
from bptt.kernels.tile import KINDS, TILE_ROWS, product, strip, strip_addresses, transpose
from bptt.kernels.vectors import lanes


@njit
def multiply(
    codes, kind, m, out, out_row, out_col, rows, vectors, last, x, x_block, x_row, x_step, p, p_col,
    p_step, depth, accumulate,
):  # fmt: skip
    product(
        pointer_to(codes), kind, pointer_to(m), out, out_row, out_col, rows, vectors, last, x,
        x_block, x_row, x_step, p, p_col, p_step, depth, accumulate,
    )  # fmt: skip


SHARED, LANES, SUMMED = range(3)


def product_of(kind, dtype, rows, vectors, last, depth, accumulate, gap=0, panels=False, seed=0):
    """Multiply random matrices that lie in one array, `gap` numbers between all of their parts;
    everything but the product must be as before, and the product as its definition has it."""
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
    out = gap
    x = out + rows * out_row + n + gap
    p = x + (rows * max(x_row, x_block) + (depth + TILE_ROWS) * x_step + n)
    m = numbers(seed, p + columns * (p_col + n) + depth * (p_step + n) + 2 * n, dtype)
    before = m.astype(np.longdouble)
    r, c, k, lane = np.ogrid[:rows, :columns, :depth, :n]
    first = r // TILE_ROWS * TILE_ROWS
    left = x + (first * x_block + (r - first) * x_row) + k * x_step + lane * (kind != SHARED)
    right = p + c * p_col + k * p_step + lane
    sums = (before[left] * before[right]).sum(axis=2)  # (rows, columns, lanes)
    places = out + r[..., 0] * out_row + c[..., 0] * out_col + (lane[:, :, 0] if kind < 2 else 0)
    sums = sums.sum(axis=-1, keepdims=True) if kind == SUMMED else sums
    expected = before.copy()
    keep = np.ones(places.shape, np.bool_)
    keep[:, vectors:, last:] = False
    expected[places[keep]] = (sums + (before[places] if accumulate else 0))[keep]
    codes = strip_addresses((0, 1, 2), np.dtype(dtype).name)
    multiply(
        codes, kind, m, out, out_row, out_col, rows, vectors, last, x, x_block, x_row, x_step, p,
        p_col, p_step, depth, accumulate,
    )  # fmt: skip
    written = np.zeros(m.size, np.bool_)
    written[places[keep]] = True
    np.testing.assert_array_equal(m[~written], before[~written].astype(dtype))
    terms = depth * (n if kind == SUMMED else 1)
    np.testing.assert_allclose(m[written], expected[written], 0, tolerance(dtype, terms))


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES, SUMMED], ids=KINDS)
def test_products_of_every_depth(kind, dtype):
    """Depths that leave every number of steps after whole rounds of the partial sums."""
    n = lanes(dtype)
    for depth in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 37):
        for rows, vectors, last in (
            (1, 1, 0), (1, 4, 0), (1, 6, 1), (TILE_ROWS, 5, 0), (TILE_ROWS + 1, 4, n - 1), (3, 0, 2)
        ):  # fmt: skip
            for accumulate in (False, True):
                part = last if kind == SHARED else 0
                if vectors + part:
                    product_of(kind, dtype, rows, vectors, part, depth, accumulate, gap=depth % 3)


@FLOATS
@settings(max_examples=60, deadline=None)
@given(
    kind=st.integers(0, 2),
    rows=st.integers(1, 13),
    vectors=st.integers(1, 9),
    last=st.integers(0, 15),
    depth=st.integers(0, 37),
    gap=st.integers(0, 5),
    accumulate=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_product_of_any_shape(dtype, kind, rows, vectors, last, depth, gap, accumulate, seed):
    part = last % lanes(dtype) if kind == SHARED else 0
    product_of(kind, dtype, rows, vectors, part, depth, accumulate, gap, seed=seed)


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES], ids=KINDS[:2])
def test_products_of_matrices_packed_in_panels(kind, dtype):
    for blocks, vectors, depth in ((1, 1, 1), (2, 5, 7), (3, 4, 16)):
        for accumulate in (False, True):
            product_of(kind, dtype, blocks * TILE_ROWS, vectors, 0, depth, accumulate, panels=True)


@FLOATS
@pytest.mark.parametrize("kind", [SHARED, LANES], ids=KINDS[:2])
@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_a_row_of_a_product_does_not_depend_on_its_place(dtype, vectors, kind):
    """Whether 23 rows are computed together or 2 or 3 at a time, so that a batch may be split."""
    n, depth, rows = lanes(dtype), 19, 23
    wide = 1 if kind == SHARED else n
    columns, codes = vectors * n, strip_addresses((0, 1, 2), np.dtype(dtype).name)
    x, p = rows * columns, rows * columns + rows * depth * wide
    results = []
    for step in (rows, 2, 3):
        m = numbers(1, p + depth * columns, dtype)
        for first in range(0, rows - 1, step):
            count = min(step, rows - first)
            count += rows - first - count == 1  # never one row: that is computed in another order
            row = depth * wide
            multiply(
                codes, kind, m, first * columns, columns, n, count, vectors, 0, x + first * row,
                row, row, wide, p, n, columns, depth, False,
            )  # fmt: skip
        results.append(m)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@njit
def strips(m, last, x, p, depth, accumulate):
    """Sizes that `product` does not use: groups of 2 and 3, a part of vectors of lanes."""
    n = width(m)
    strip(2, False, 0, m, 0, 2, 0, 4 * n, n, 3, x, depth, depth, 1, p, n, 4 * n, depth, accumulate)
    out = 12 * n
    strip(3, True, 2, m, 0, 1, out, 0, 1, 1, x, 0, 0, n, p, n, 4 * n, depth, accumulate)
    strip(-1, True, 1, m, last, 1, out + 3, 0, n, 1, x, 0, 0, n, p, n, 4 * n, depth, accumulate)


@FLOATS
@pytest.mark.parametrize("accumulate", [False, True])
def test_strips_of_any_constants(dtype, accumulate):
    n, depth = lanes(dtype), 11
    x, p = 14 * n, 14 * n + depth * n
    m = numbers(3, p + depth * 4 * n, dtype)
    before = m.astype(np.longdouble)
    left, right = before[x:p].reshape(depth, n), before[p:].reshape(depth, 4, n)
    expected = before * (np.arange(m.size) >= (0 if accumulate else 13 * n + 2))
    shared = before[x : x + 3 * depth].reshape(3, depth)
    expected[: 12 * n] += np.einsum("rk,kcn->rcn", shared, right).ravel()
    expected[12 * n : 12 * n + 3] += np.einsum("kn,kcn->c", left, right[:, :3])
    part = slice(12 * n + 3, 13 * n + 2)
    expected[part] += np.einsum("kn,kn->n", left, right[:, 0])[: n - 1]
    strips(m, n - 1, x, p, depth, accumulate)
    np.testing.assert_allclose(m, expected, rtol=0, atol=tolerance(dtype, depth * n))


@njit
def turn(src, src_off, src_stride, rows, columns, dst, dst_off, dst_stride):
    transpose(
        pointer_to(src), src_off, src_stride, rows, columns, pointer_to(dst), dst_off, dst_stride
    )


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
