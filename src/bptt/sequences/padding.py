"""Sequences side by side in one array, as networks take them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.sequences.parts import Anything, Parts, taken
from bptt.sequences.scaling import Scaling
from bptt.sequences.targets import Target


@dataclass(frozen=True)
class Padded:
    """Some sequences side by side, as a network takes them.

    x: (B, T, D), T the longest one's steps, 0 beyond the others' ends. y: class numbers (B,) or
    (B, T), or numbers (B, O) or (B, T, O); 0 where missing; None without targets. lengths: (B,).
    weights: (B,) or (B, T), what each target counts; 0 where it is missing or there is no step.
    """

    x: Anything
    y: Anything | None
    lengths: NDArray[np.intp]
    weights: NDArray[np.float64] | None


def padded(
    parts: Parts,
    some: NDArray[np.intp],
    scaling: Scaling | None,
    dtype: str,
    first: Any = 0,
    steps: int | None = None,
) -> Padded:
    """The sequences `some` (B,) of `parts`, scaled; of each the window of `steps` steps that begins
    at its step `first`, a number or (B,): of a sequence that has ended by then, no step. A target
    of the whole sequence stands in the window in which it ends."""
    whole = parts.lengths[some] - first  # from the window's first step on
    lengths = whole if steps is None else np.clip(whole, 0, steps)
    starts = parts.starts[some] + first
    t = np.arange(int(lengths.max()))
    inside = t < lengths[:, None]  # (B, T)
    row = starts[:, None] + np.minimum(t, lengths[:, None] - 1)
    row = np.where(lengths[:, None] > 0, row, 0)
    x = _inputs(taken(parts.rows, row), parts.unit, scaling, dtype)
    x[~inside] = 0
    target = parts.target
    if target is None:
        return Padded(x, None, lengths, None)
    if target.per == "sequence":
        ends = (whole > 0) & (whole == lengths)
        values, counts = target.values[some], ends.astype(np.float64)
    else:
        there = inside & (t + target.ahead < whole[:, None])
        values = taken(target.values, np.where(there, row + target.ahead, row))
        counts = there.astype(np.float64)
    y, known = _answers(values, target, scaling, dtype)
    if parts.weights is not None:
        counts *= parts.weights[some].reshape(-1, *[1] * (counts.ndim - 1))
    if parts.step_weights is not None:
        counts *= parts.step_weights[row]
    return Padded(x, y, lengths, np.where(known, counts, 0.0))


def flat(
    parts: Parts, target: Target, scaling: Scaling | None, dtype: str
) -> tuple[Anything, Anything, NDArray[np.float64]]:
    """All rows as batches need them: inputs (N + 1, D), targets and what these count, (N + 1, ...)
    by row or (n, ...) by sequence. The last row is one of padding. A row's target is that of
    `target.ahead` rows later; weights of whole sequences are left out."""

    def with_padding(values: Any) -> Anything:
        return np.concatenate([values, np.zeros_like(values[:1])])

    x = with_padding(_inputs(_rows_of_sequences(parts), parts.unit, scaling, dtype))
    if target.per == "sequence":
        y, known = _answers(target.values, target, scaling, dtype)
        return x, y, known.astype(np.float64)
    y, known = _answers(np.roll(target.values, -target.ahead, axis=0), target, scaling, dtype)
    counts = known.astype(np.float64)
    if parts.step_weights is not None:
        counts *= parts.step_weights
    return x, with_padding(y), with_padding(counts)


def _rows_of_sequences(parts: Parts) -> Anything:
    """The rows, 0 where they belong to no sequence: these may hold anything."""
    steps = np.zeros(len(parts.rows) + 1, np.intp)
    np.add.at(steps, parts.starts, 1)
    np.add.at(steps, parts.starts + parts.lengths, -1)
    inside = np.cumsum(steps)[:-1] > 0
    return parts.rows if inside.all() else np.where(inside[:, None], parts.rows, 0)


def _inputs(rows: Any, unit: float, scaling: Scaling | None, dtype: str) -> Anything:
    x = _worth(rows, unit)
    x = np.nan_to_num(x, nan=0.0) if scaling is None else scaling.inputs(x)
    return x.astype(dtype, copy=False)


def _worth(values: Any, unit: float) -> Anything:
    """Values in the units of the data, in float32 where that holds them as they are, else in
    float64; always a new array."""
    small = (
        values.dtype.kind in "iub" and values.dtype.itemsize <= 2
    ) or values.dtype == np.float32
    numbers: Anything = values.astype(np.float32 if small else np.float64)
    if unit != 1:
        numbers *= numbers.dtype.type(unit)
    return numbers


def _answers(
    values: Anything, target: Target, scaling: Scaling | None, dtype: str
) -> tuple[Anything, Anything]:
    """Targets with 0 where they are missing, and where they are not."""
    if target.kind == "classes":
        return np.maximum(values, 0), values >= 0
    y = _worth(values, target.unit)
    known = np.logical_not(np.isnan(y).any(axis=-1))
    y = y if scaling is None else scaling.targets(y)
    return np.where(known[..., None], y, 0).astype(dtype), known
