"""What the tests of vectors and of products share: float types, random numbers, tolerances."""

import numpy as np
import pytest

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# What untouched memory holds.
MARK = -77.0


def numbers(seed, size, dtype):
    return np.random.default_rng(seed).standard_normal(size).astype(dtype)


def tolerance(dtype, depth):
    """Each of depth + 1 roundings, and those of partial sums, of a sum of numbers about 1 to 10."""
    return 8 * (depth + 10) * float(np.finfo(dtype).eps)
