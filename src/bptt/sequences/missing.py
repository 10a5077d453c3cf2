"""Missing inputs, and inputs that are not finite.

'error'  a missing input is an error that names sequence, step and channel
'flag'   it becomes 0 after scaling, the channel's mean, and a further channel says where
'last'   the sequence's last value stands in for it, and a further channel says where; before the
         first value it is the channel's mean

Only channels with something missing in training get such a further channel; a value missing
anywhere else is an error in new data.
"""

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.sequences.parts import Anything, Parts, blocks, mapped
from bptt.sequences.schema import Column

NOT_TRAINED = ", but nothing was in training: fill it"


def check_finite(parts: Parts, trained: bool) -> NDArray[np.bool_]:
    """(D,) which channels have a missing value. Raises BpttError for an infinite one, and for a
    missing one if `missing` is 'error'; trained: the data are for a trained network."""
    channels = parts.rows.shape[1]
    gaps = np.zeros(channels, np.bool_)
    if not np.issubdtype(parts.rows.dtype, np.inexact):
        return gaps
    for first, block in blocks(parts.rows, parts.starts, parts.lengths):
        if np.isfinite(block).all():
            continue
        infinite = np.argwhere(np.isinf(block))
        if len(infinite):
            row, channel = infinite[0]
            raise BpttError(
                f"{_place(parts, first + int(row), int(channel))} is {block[row, channel]}: "
                "finite numbers are needed"
            )
        holes = np.isnan(block)
        if parts.reading.missing == "error":
            row, channel = np.argwhere(holes)[0]
            raise BpttError(
                f"{_place(parts, first + int(row), int(channel))} is missing"
                + (
                    NOT_TRAINED
                    if trained
                    else ": fill it, or give missing='flag' or missing='last'"
                )
            )
        gaps |= holes.any(axis=0)
    return gaps


def _place(parts: Parts, row: int, channel: int) -> str:
    sequence, step = parts.place(row)
    names = [name for column in parts.columns for name in column.channels]
    return (
        f"{parts.source}: sequence {parts.name(sequence)}, step {step}, channel '{names[channel]}'"
    )


def filled(parts: Parts, known: tuple[Column, ...] | None) -> Parts:
    """Data whose missing inputs are dealt with: flags are further channels of `rows`, and what is
    NaN in them still is to be 0 after scaling.

    known: the columns trained on, where the data are for a trained network.
    """
    gaps = check_finite(parts, known is not None)
    own = [name for column in parts.columns for name in column.channels]
    edges = np.cumsum([0, *(len(column.channels) for column in parts.columns)])
    flagged = [bool(gaps[low:high].any()) for low, high in pairwise(edges)]
    if known is not None:
        for column, hole in zip(known, flagged, strict=True):
            if hole and not column.flagged:
                channel = own.index(column.channels[0])
                row = _first_gap(parts, channel)
                raise BpttError(f"{_place(parts, row, channel)} is missing{NOT_TRAINED}")
        flagged = [column.flagged for column in known]
    if not any(flagged):
        return parts
    if mapped(parts.rows) is not None:
        raise BpttError(
            f"{parts.source} is mapped from a file and has missing values: fill them in the file"
        )
    holes = np.isnan(parts.rows)
    extra = holes[:, [int(low) for low, flag in zip(edges[:-1], flagged, strict=True) if flag]]
    rows = carried(parts, holes) if parts.reading.missing == "last" else parts.rows
    columns = tuple(
        msgspec.structs.replace(column, flagged=flag)
        for column, flag in zip(parts.columns, flagged, strict=True)
    )
    return replace(parts, rows=np.hstack([rows, extra.astype(rows.dtype)]), columns=columns)


def _first_gap(parts: Parts, channel: int) -> int:
    for first, block in blocks(parts.rows, parts.starts, parts.lengths):
        found = np.flatnonzero(np.isnan(block[:, channel]))
        if found.size:
            return first + int(found[0])
    raise AssertionError("a gap that was seen is gone")


def carried(parts: Parts, holes: NDArray[np.bool_]) -> Anything:
    """`rows` with each missing value replaced by the last one before it in its sequence."""
    row = np.arange(len(holes))[:, None]
    source = np.maximum.accumulate(np.where(holes, -1, row), axis=0)  # last row with a value
    begin = np.zeros(len(holes), np.intp)
    begin[parts.starts] = parts.starts
    begin = np.maximum.accumulate(begin)[:, None]  # the first row of the row's sequence
    usable = source >= begin
    taken = np.take_along_axis(parts.rows, np.where(usable, source, row), axis=0)
    return np.where(usable, taken, parts.rows)
