"""Packing of weights, and the sums of the walk that are not matrix products.

The matrix products themselves are `bptt.kernels.tile.product_shared`.
"""

from bptt.kernels.compiler import STRICT, kernel
from bptt.kernels.simd import load, load_part, store, store_part, width, zero
from bptt.kernels.tile import product_shared, transpose_block
from bptt.kernels.vectors import kept_apart

# How many rows of a long sum are taken at once, so that they stay in the cache.
DEPTH = 256


@kernel(fastmath=STRICT)
def pack(theta, start, stride, rows, columns, packed, place):
    """Panels of the matrix (rows, columns) whose row r begins at start + r * stride."""
    kept_apart()
    n = width(theta)
    for panel in range((columns + n - 1) // n):
        used = min(n, columns - panel * n)
        for r in range(rows):
            at = start + r * stride + panel * n
            if used == n:
                store(packed, place, load(theta, at))
            else:
                store(packed, place, load_part(theta, at, used))
            place += n


@kernel(fastmath=STRICT)
def pack_transposed(theta, start, stride, rows, columns, packed, place):
    """Panels of the transposed matrix, (columns, rows); `packed` was zero before its first use."""
    kept_apart()
    n = width(theta)
    for panel in range((rows + n - 1) // n):
        used = min(n, rows - panel * n)
        first = start + panel * n * stride
        whole = columns // n * n if used == n else 0
        for c in range(0, whole, n):
            transpose_block(theta, first + c, stride, packed, place + c * n, n)
        for c in range(whole, columns):
            for r in range(used):
                packed[place + c * n + r] = theta[first + r * stride + c]
        place += columns * n


@kernel(fastmath=STRICT)
def fill_rows(theta, start, columns, rows, out, place, stride):
    """Every row of out becomes theta[start:start+columns], or zero where start is negative."""
    kept_apart()
    n = width(out)
    for first in range(0, columns, n):
        used = min(n, columns - first)
        value = zero(out)
        if start >= 0:
            value = load_part(theta, start + first, used)
        for r in range(rows):
            store_part(out, place + r * stride + first, value, used)


@kernel(fastmath=STRICT)
def sum_rows(values, place, stride, rows, columns, g, start, accumulate):
    """g[start + j] (+)= sum over rows of values[place + row * stride + j]."""
    kept_apart()
    n = width(g)
    for first in range(0, columns, n):
        used = min(n, columns - first)
        total = zero(g)
        if accumulate:
            total = load_part(g, start + first, used)
        for r in range(rows):
            total = total + load(values, place + r * stride + first)
        store_part(g, start + first, total, used)


@kernel(fastmath=STRICT)
def add_packed_rows(ids, first, rows, packed, panel, depth, Hp, out, place):
    """The product with one-hot inputs: out[row] += the packed matrix's row ids[first + row]."""
    kept_apart()
    n = width(out)
    for r in range(rows):
        for j in range(0, Hp, n):
            row = panel + j * depth + ids[first + r] * n
            at = place + r * Hp + j
            store(out, at, load(out, at) + load(packed, row))


@kernel(fastmath=STRICT)
def add_to_rows(ids, first, rows, d, place, Hp, columns, g, start, stride):
    """The gradient of a matrix that one-hot inputs chose rows of: g[ids[row]] += d[row]."""
    kept_apart()
    n = width(g)
    for r in range(rows):
        for j in range(0, columns, n):
            used = min(n, columns - j)
            at = start + ids[first + r] * stride + j
            total = load_part(g, at, used) + load(d, place + r * Hp + j)
            store_part(g, at, total, used)


@kernel(fastmath=STRICT)
def outer(x, x_off, x_stride, rows, d, d_off, d_stride, columns, depth, g, start, stride):
    """g[i, j] = sum over k of x[k, i] d[k, j], i < rows, j < columns, k < depth."""
    kept_apart()
    n = width(g)
    for k in range(0, depth, DEPTH):
        product_shared(
            g, start, stride, n, rows, columns,
            x, x_off + k * x_stride, 1, x_stride,
            d, d_off + k * d_stride, n, d_stride, min(DEPTH, depth - k), k > 0,
        )  # fmt: skip
