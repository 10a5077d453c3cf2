"""Products of matrices and of vectors in a workspace, by tiles of sums that stay in registers."""

from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import (
    broadcast,
    fma,
    get,
    load_part,
    store_part,
    vsum,
    width,
    zero,
)
from bptt.proofs.arrays import alone


@part
def product(Y, shape, X, P, half, numbers, ints):
    """Y[i, j] = the sum over r < depth of X(i, r) P(r, j), for i < rows and j < columns.

    Y: (place, from row to row); shape: (rows, columns, depth); X: (place, from row to row, from
    number to number, place of indices), so that X(i, r) lies at place + i row + index[r] number;
    P: (place, from row to row, place of indices). half: of a symmetric product, columns up to the
    diagonal (and a few more).
    """
    alone()
    rows, columns, depth = shape
    y, y_row = Y
    x, x_row, x_step, x_ids = X
    p, p_step, p_ids = P
    lanes, last = width(numbers), rows - 1
    for i in range(0, rows, 4):
        # Rows beyond the last are the last once more.
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        x0, x1, x2, x3 = x + i * x_row, x + i1 * x_row, x + i2 * x_row, x + i3 * x_row
        for j in range(0, min(columns, i + 4) if half else columns, 2 * lanes):
            one = min(lanes, columns - j)
            two = max(0, min(lanes, columns - j - lanes))
            gap = lanes if two else 0
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero(numbers)
            for r in range(depth):
                at = p + p_step * get(ints, p_ids + r) + j
                by = x_step * get(ints, x_ids + r)
                u, v = load_part(numbers, at, one), load_part(numbers, at + gap, two)
                c = broadcast(numbers, x0 + by)
                a0, b0 = fma(c, u, a0), fma(c, v, b0)
                c = broadcast(numbers, x1 + by)
                a1, b1 = fma(c, u, a1), fma(c, v, b1)
                c = broadcast(numbers, x2 + by)
                a2, b2 = fma(c, u, a2), fma(c, v, b2)
                c = broadcast(numbers, x3 + by)
                a3, b3 = fma(c, u, a3), fma(c, v, b3)
            store_part(numbers, y + i * y_row + j, a0, one)
            store_part(numbers, y + i1 * y_row + j, a1, one)
            store_part(numbers, y + i2 * y_row + j, a2, one)
            store_part(numbers, y + i3 * y_row + j, a3, one)
            store_part(numbers, y + i * y_row + j + gap, b0, two)
            store_part(numbers, y + i1 * y_row + j + gap, b1, two)
            store_part(numbers, y + i2 * y_row + j + gap, b2, two)
            store_part(numbers, y + i3 * y_row + j + gap, b3, two)


@part
def dot(x, y, count, numbers):
    """The sum of the products of the `count` numbers from x and from y on."""
    alone()
    lanes, total = width(numbers), zero(numbers)
    for j in range(0, count, lanes):
        some = min(lanes, count - j)
        total = fma(load_part(numbers, x + j, some), load_part(numbers, y + j, some), total)
    return vsum(total)
