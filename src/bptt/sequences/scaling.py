"""Scaling: each channel, and each number to be learned, to mean 0 and standard deviation 1.

    m = mean of the values,  s = standard deviation (divided by their number)
    x' = (x - m) / s,  of a constant channel x' = x - m

Fitted on the steps trained on alone: padding, missing values, validation and test do not enter.
One-hot channels and flags stay 0 and 1. Means and deviations are gathered in float64, in blocks,
by the pairwise update of Chan, Golub and LeVeque 1983 (The American Statistician 37:242-247,
eq. 2.1).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.sequences.parts import Anything

Floats = NDArray[np.float64]


class Scaling(msgspec.Struct, frozen=True):
    """Means and standard deviations: of the D inputs, and of the O numbers to be learned (empty
    where classes are learned)."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()

    def inputs(self, x: Anything) -> Anything:
        """x (..., D) scaled, in its own float type; missing values become 0."""
        mean, deviation = np.asarray(self.mean, x.dtype), np.asarray(self.deviation, x.dtype)
        scaled: Anything = (x - mean) / deviation
        np.nan_to_num(scaled, copy=False, nan=0.0)
        return scaled

    def targets(self, y: Anything) -> Anything:
        """Numbers to be learned (..., O) scaled, for classes as they are."""
        if not self.target_mean:
            return y
        mean = np.asarray(self.target_mean, y.dtype)
        scaled: Anything = (y - mean) / np.asarray(self.target_deviation, y.dtype)
        return scaled

    def undone(self, p: Anything) -> Floats:
        """Predicted numbers (..., O) in the units of the data."""
        if not self.target_mean:
            return np.asarray(p, np.float64)
        deviation, mean = np.asarray(self.target_deviation), np.asarray(self.target_mean)
        plain: Floats = np.asarray(p, np.float64) * deviation + mean
        return plain


def moments(blocks: Iterator[Anything], channels: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel over blocks (N_i, D), NaN left out; a constant
    channel's, or an empty one's, deviation is 1."""
    count, mean, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for block in blocks:
        values = np.array(block, np.float64)
        there = ~np.isnan(values)
        n = there.sum(axis=0)
        middle = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
        values -= middle
        values[~there] = 0
        spread = np.einsum("nd,nd->d", values, values)
        total = np.maximum(count + n, 1)
        gap = middle - mean
        squares += spread + gap**2 * count * n / total
        mean += gap * n / total
        count += n
    deviation = np.sqrt(squares / np.maximum(count, 1))
    # What rounding leaves of a constant channel is not a spread.
    constant = deviation <= 1e-12 * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def as_plain(values: Any) -> tuple[float, ...]:
    """An array as a tuple of Python's numbers."""
    return tuple(float(each) for each in values)
