"""Transposes of matrices in flat arrays, a square of vectors at a time in registers.

A square of n vectors of n numbers is read row by row, its columns are gathered in log2 n rounds of
exchanging halves between pairs of registers, and they are written as rows.
"""

from typing import Any

import numpy as np
from numba import types

from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import get, load, put, store, width
from bptt.kernels.machine.vectors import (
    Vec,
    data_pointer,
    load_vector,
    operation,
    places_at,
    shuffle,
    store_vector,
)


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
            load_vector(builder, base, place, vector)
            for place in places_at(builder, args[1], n, args[2])
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
        for row, place in zip(rows, places_at(builder, args[4], n, args[5]), strict=True):
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
    for r in range(0 if c_end < cols else r_end, rows):
        for c in range(c_end if r < r_end else 0, cols):
            put(dst, dst_off + c * dst_stride + r, get(src, src_off + r * src_stride + c))
