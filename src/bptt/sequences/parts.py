"""What every reader gives: rows of all sequences one after another, and where each one lies."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.sequences.schema import Column, Reading
from bptt.sequences.targets import Target

Anything = NDArray[Any]
Places = NDArray[np.intp]
# How many numbers are looked at at once where all are.
BLOCK_NUMBERS = 1 << 17


@dataclass(frozen=True)
class Parts:
    """The parts of a store of n sequences with N rows.

    rows: (N, D) values of any real type, perhaps mapped from a file. starts, lengths: (n,), where
    sequence i lies: rows[starts[i] : starts[i] + lengths[i]]; sequences may overlap. unit: what a
    number in `rows` is worth (1 / 32768 for the 16-bit samples of a recording).
    columns: the inputs' names and kinds. weights: (n,) what each sequence counts, step_weights:
    (N,) what each step does, or None. ids, groups: (n,) or None; times: (N,) or None. rate: samples
    a second of a recording. source: where the data come from, for messages. reading: what the user
    said of them.
    """

    rows: Anything
    starts: Places
    lengths: Places
    columns: tuple[Column, ...]
    reading: Reading
    target: Target | None = None
    weights: NDArray[np.float64] | None = None
    step_weights: NDArray[np.float64] | None = None
    ids: Anything | None = None
    groups: Anything | None = None
    times: Anything | None = None
    unit: float = 1.0
    rate: int | None = None
    source: str = "the data"

    def name(self, sequence: int) -> str:
        """How messages call a sequence: by its id, or its number from 0."""
        return f"'{self.ids[sequence]}'" if self.ids is not None else str(sequence)

    def place(self, row: int) -> tuple[int, int]:
        """The first sequence that a row belongs to, and the step."""
        inside = (self.starts <= row) & (row < self.starts + self.lengths)
        sequence = int(np.flatnonzero(inside)[0])
        return sequence, int(row - self.starts[sequence])


def lying_in_turn(lengths: Anything) -> tuple[Places, Places]:
    """starts and lengths of sequences that lie one after another."""
    lengths = np.asarray(lengths, np.intp)
    return np.cumsum(lengths) - lengths, lengths


def blocks(rows: Anything, starts: Places, lengths: Places) -> Iterator[tuple[int, Anything]]:
    """The rows of the sequences in blocks, each with the number of its first row.

    Sequences that lie one after another are taken together. Pages of a mapped file are given back
    after each block, so that the process stays small however large the file is.
    """
    if not len(starts):
        return
    size = max(1, BLOCK_NUMBERS // max(1, rows.shape[1]))
    order = np.argsort(starts, kind="stable")
    first, last = starts[order], (starts + lengths)[order]
    new = np.flatnonzero(first[1:] != last[:-1]) + 1
    for low, high in zip(first[[0, *new]], last[[*(new - 1), -1]], strict=True):
        for at in range(int(low), int(high), size):
            yield at, rows[at : min(at + size, int(high))]
            release(rows)


def even_blocks(rows: Anything, starts: Places, lengths: Places) -> Iterator[Anything]:
    """The same rows in blocks of one size: sums over them do not depend on where the sequences
    lie, or on what lies between them."""
    size = max(1, BLOCK_NUMBERS // max(1, rows.shape[1]))
    kept: list[Anything] = []
    count = 0
    for _, block in blocks(rows, starts, lengths):
        cut = size - count
        kept.append(np.array(block[:cut]))  # a copy: a mapped file's pages are given back
        count += len(kept[-1])
        if count == size:
            yield np.concatenate(kept)
            kept = [np.array(block[cut:])]
            count = len(kept[0])
    if count:
        yield np.concatenate(kept)


def mapped(rows: Anything) -> mmap.mmap | None:
    """The mapping that an array lies in, or None for one in memory."""
    base: Any = rows
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def release(rows: Anything) -> None:
    """Give the pages of a mapped file back; they are read again when needed."""
    mapping = mapped(rows)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


# Pages around a row that is read come along, of large ones in the page cache up to 2 MB.
PLACES_AT_ONCE = 16


def taken(rows: Anything, places: Places) -> Anything:
    """rows[places] of places (B, T), a new array; of a mapped file some sequences at a time, and
    its pages are given back: else a batch with many places would hold much of the file."""
    if mapped(rows) is None:
        return rows[places]
    found = np.empty((*places.shape, *rows.shape[1:]), rows.dtype)
    for first in range(0, len(places), PLACES_AT_ONCE):
        some = slice(first, first + PLACES_AT_ONCE)
        found[some] = rows[places[some]]
        release(rows)
    return found
