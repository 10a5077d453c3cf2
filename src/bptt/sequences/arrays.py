"""Arrays and lists of arrays as sequences, and their targets.

    list of (T_i, D) or (T_i,)    sequences of any lengths
    (n, T, D), with lengths       sequences padded to T; what lies beyond a length is not looked at
    (n, T)                        n sequences of one channel
    (T, D) or (T,) with single    one sequence

Channels first, (n, D, T), looks the same and is never guessed: `Sequences.from_channels_first`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.sequences.parts import Anything, Parts, lying_in_turn
from bptt.sequences.schema import Column, Reading, Schema
from bptt.sequences.targets import Target, coded


def from_arrays(
    x: Any, lengths: Any, names: Sequence[str] | None, reading: Reading, source: str
) -> Parts:
    """The inputs of arrays as parts; `names`: of the channels."""
    if isinstance(x, np.ndarray) and x.dtype != object:
        rows, starts, sizes = _from_array(x, lengths, reading.single)
    else:
        if lengths is not None:
            raise BpttError("lengths go with one padded array, not with a list: leave them out")
        rows, starts, sizes = _from_list(x)
    if names is None:
        names = [f"x{channel}" for channel in range(rows.shape[1])]
    if len(names) != rows.shape[1]:
        raise BpttError(f"{len(names)} features are named, but there are {rows.shape[1]} channels")
    return Parts(rows, starts, sizes, tuple(map(Column, names)), reading, source=source)


def _numbers(x: Any, what: str) -> Anything:
    """An array of numbers in a type that NumPy computes with; never a copy of one that is."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise BpttError(f"{what} is ragged: give an array (steps, channels)") from None
    if array.dtype.kind not in "fiub":
        kind = "text or objects" if array.dtype.kind in "OUS" else f"{array.dtype} values"
        raise BpttError(f"{what} holds {kind}: numbers are needed")
    return array


def _from_array(x: Anything, lengths: Any, single: bool) -> tuple[Anything, Any, Any]:
    x = _numbers(x, "x")
    if single:
        if x.ndim not in (1, 2) or not x.size:
            raise BpttError(f"x has shape {x.shape}: one sequence is (steps, channels) or (steps,)")
        return x.reshape(len(x), -1), *lying_in_turn(np.array([len(x)]))
    if x.ndim not in (2, 3) or not x.size:
        more = ", or single=True for one sequence" if x.ndim == 1 else ""
        raise BpttError(
            f"x has shape {x.shape}: (sequences, steps, channels), (sequences, steps) "
            f"or a list of arrays (steps, channels) is needed{more}"
        )
    n, steps = x.shape[:2]
    rows = x.reshape(n * steps, -1)  # a view, of a mapped file too
    starts, full = lying_in_turn(np.full(n, steps))
    if lengths is None:
        return rows, starts, full
    sizes = np.asarray(lengths)
    if sizes.shape != (n,) or sizes.dtype.kind not in "iu":
        raise BpttError(f"lengths has shape {sizes.shape}: {n} whole numbers are needed")
    bad = np.flatnonzero((sizes < 1) | (sizes > steps))
    if bad.size:
        raise BpttError(
            f"sequence {bad[0]} has length {sizes[bad[0]]}: from 1 to {steps} steps are there"
        )
    return rows, starts, sizes.astype(np.intp)


def _from_list(x: Any) -> tuple[Anything, Any, Any]:
    try:
        arrays = [_numbers(each, f"sequence {number}") for number, each in enumerate(x)]
    except TypeError:
        raise BpttError(
            f"x is a {type(x).__name__}: a list of arrays (steps, channels) or an array is needed"
        ) from None
    if not arrays:
        raise BpttError("x holds no sequences")
    for number, array in enumerate(arrays):
        if array.ndim not in (1, 2):
            raise BpttError(
                f"sequence {number} has shape {array.shape}: "
                "(steps, channels) or (steps,) is needed"
            )
        if not array.size:
            raise BpttError(f"sequence {number} is empty, shape {array.shape}: leave it out")
    flat = [array.reshape(len(array), -1) for array in arrays]
    widths = [array.shape[1] for array in flat]
    if len(set(widths)) > 1:
        odd = next(number for number, width in enumerate(widths) if width != widths[0])
        first_axes = {len(array) for array in arrays}
        hint = (
            ": if the channels come first, use Sequences.from_channels_first"
            if len(first_axes) == 1 and arrays[0].ndim == 2
            else ": all sequences need the same channels"
        )
        raise BpttError(
            f"sequence {odd} has shape {arrays[odd].shape} and sequence 0 {arrays[0].shape}, "
            f"read as (steps, channels){hint}"
        )
    rows = flat[0] if len(flat) == 1 else np.concatenate(flat)
    return rows, *lying_in_turn(np.array([len(array) for array in flat]))


def channels_last(x: Any) -> Any:
    """(n, D, T), or a list of (D, T_i), with the channels on the last axis."""
    if isinstance(x, np.ndarray) and x.dtype != object:
        if x.ndim != 3:
            raise BpttError(
                f"x has shape {x.shape}: channels first is (sequences, channels, steps)"
            )
        return np.swapaxes(x, 1, 2)
    arrays = [_numbers(each, f"sequence {number}") for number, each in enumerate(x)]
    for number, array in enumerate(arrays):
        if array.ndim != 2:
            raise BpttError(
                f"sequence {number} has shape {array.shape}: (channels, steps) is needed"
            )
    return [array.T for array in arrays]


def with_targets(parts: Parts, y: Any, names: Sequence[str] | None, like: Schema | None) -> Parts:
    """`parts` with the targets y: (n,) or (n, O), one a sequence; or one a step: a list of (T_i,)
    or (T_i, O), or (n, T) or (n, T, O)."""
    n, steps = len(parts.lengths), int(parts.lengths.max())
    per = like.per if like is not None and like.per else parts.reading.per
    values, per = _targets(parts, y, n, steps, per)
    width = values.shape[1]
    if names is None:
        names = ["y"] if width == 1 else [f"y{output}" for output in range(width)]
    if len(names) != width:
        raise BpttError(f"{len(names)} targets are named, but y has {width}")
    known = like.classes if like is not None and like.kind == "classes" else None
    kind, coded_values, classes = coded(
        list(values.T),
        tuple(names),
        like.kind if like is not None and like.kind else parts.reading.kind,
        known,
        parts.source,
    )
    return replace(parts, target=Target(tuple(names), kind, per, coded_values, classes))


def _targets(parts: Parts, y: Any, n: int, steps: int, per: str | None) -> tuple[NDArray[Any], str]:
    """y as (n, O) or (N, O) of any type, and what has one."""
    lists = not isinstance(y, np.ndarray) or y.dtype == object
    if lists and len(y) == n and all(np.ndim(each) and not isinstance(each, str) for each in y):
        if per == "sequence" or (per is None and _one_row_each(y, parts)):
            return np.array([_column(each) for each in y]).reshape(n, -1), "sequence"
        return _ragged(parts, y), "step"
    values = _column(y)
    if len(values) != n:
        raise BpttError(f"y has {len(values)} targets for {n} sequences: give one each")
    if values.ndim == 1 or per == "sequence" or (per is None and values.shape[1] != steps):
        if values.ndim > 2:
            raise BpttError(
                f"y has shape {values.shape} for {n} sequences of up to {steps} steps: "
                "(n,) or (n, outputs) for one a sequence, (n, steps) or (n, steps, outputs)"
            )
        return values.reshape(n, -1), "sequence"
    if values.shape[1] != steps:
        raise BpttError(f"y has {values.shape[1]} steps, but x has {steps}")
    return _ragged(
        parts, [row[:length] for row, length in zip(values, parts.lengths, strict=True)]
    ), "step"


def _one_row_each(y: Any, parts: Parts) -> bool:
    """Whether lists of numbers, all of one length that no sequence has, are one row a sequence."""
    sizes = {len(each) for each in y}
    return len(sizes) == 1 and not sizes & set(parts.lengths.tolist())


def _column(y: Any) -> NDArray[Any]:
    """An array of any type; missing values in lists of text stay what they are."""
    if isinstance(y, np.ndarray):
        return y
    if hasattr(y, "to_numpy"):
        return np.asarray(y.to_numpy())
    values = np.asarray(y, object)
    text = any(each is None or isinstance(each, str) for each in values.flat)
    return values if text else np.asarray(y)


def _ragged(parts: Parts, y: Sequence[Any]) -> NDArray[Any]:
    """A target for each step of each sequence as (N, O), in the rows' places."""
    each = [_column(part) for part in y]
    for number, part in enumerate(each):
        if len(part) != parts.lengths[number]:
            raise BpttError(
                f"y has {len(part)} targets for the {parts.lengths[number]} steps of sequence "
                f"{parts.name(number)}: give one a step, None or NaN where it is unknown"
            )
    flat = np.concatenate([part.reshape(len(part), -1) for part in each])
    if len(flat) == len(parts.rows):
        return flat
    # Padded rows have no target.
    hole = None if flat.dtype.kind not in "f" else np.nan
    values = np.full((len(parts.rows), flat.shape[1]), hole, flat.dtype if hole else object)
    places = [np.arange(s, s + k) for s, k in zip(parts.starts, parts.lengths, strict=True)]
    values[np.concatenate(places)] = flat
    return values


def with_weights(parts: Parts, weights: Any) -> Parts:
    """`parts` with weights (n,), one a sequence, or (n, T) or a list of (T_i,), one a step.

    Raises BpttError for negative ones, ones that are not finite, and if all are 0.
    """
    n = len(parts.lengths)
    if len(weights) != n:
        raise BpttError(f"there are {len(weights)} weights for {n} sequences: give one each")
    if all(np.ndim(each) == 0 for each in weights):
        values = _weights(np.asarray(weights, np.float64))
        return replace(parts, weights=values)
    if parts.target is not None and parts.target.per == "sequence":
        raise BpttError("weights are a step's, but the targets a sequence's: give one weight each")
    cut = [np.asarray(row)[:length] for row, length in zip(weights, parts.lengths, strict=True)]
    values = _weights(np.concatenate(cut).astype(np.float64))
    if len(values) < len(parts.rows):
        values = _ragged(parts, cut)[:, 0].astype(np.float64)
    return replace(parts, step_weights=values)


def _weights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        raise BpttError(f"weight {values[bad[0]]} is not allowed: numbers from 0 are")
    if not values.any():
        raise BpttError("all weights are 0: nothing would count")
    return values


def check_alike(parts: Parts, like: Schema) -> None:
    """Raises BpttError if arrays have other channels than those trained on."""
    if len(parts.columns) != len(like.columns):
        raise BpttError(
            f"{parts.source} has {len(parts.columns)} channels, but {len(like.columns)} "
            "were trained on: give the same ones in the same order"
        )


def ids_of(values: Any, what: str, n: int) -> Anything | None:
    """ids or groups as an array (n,). Raises BpttError for another number of them."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (n,):
        raise BpttError(f"{what} has shape {array.shape} for {n} sequences: give one each")
    return array
