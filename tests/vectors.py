"""What the tests of vectors and of products share: float types, random numbers, tolerances."""

import numpy as np
import pytest

from bptt.kernels.machine import library
from bptt.kernels.machine.compiler import build
from bptt.kernels.machine.strips import STRIPS, strip_name
from bptt.kernels.machine.tile import strip_piece

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# What untouched memory holds.
MARK = -77.0


def numbers(seed, size, dtype):
    return np.random.default_rng(seed).standard_normal(size).astype(dtype)


def tolerance(dtype, depth):
    """Each of depth + 1 roundings, and those of partial sums, of a sum of numbers about 1 to 10."""
    return 8 * (depth + 10) * float(np.finfo(dtype).eps)


def strip_address(number, dtype):
    """Where the code of the strips of this number is; compiled if it is not kept."""
    kind, (C, single) = number // len(STRIPS), STRIPS[number % len(STRIPS)]
    build(strip_piece(int(kind), C, single, dtype))
    return library.address(strip_name(number, dtype))
