"""What is known of strips (`bptt.kernels.machine.tile`) without the compiler: numbers and names."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KINDS = ("shared", "lanes", "summed")
SHARED, LANES, SUMMED = range(3)
# The strips that there are, of each kind; C and single.
STRIPS = tuple((C, single) for single in (False, True) for C in (4, 3, 2, 1, -1))


class Strip(NamedTuple):
    """What a strip is, in the order in which it lies in memory.

    code: where its code is, or its `strip_number`. groups: of C columns each. last: how many lanes,
    of a part of a vector. Places and strides are those of `bptt.kernels.machine.tile`; `_t` and
    `_b` are what a step and a sample further is. The base moves with `out` if `moves` is 1.
    """

    code: int
    rows: int
    groups: int
    depth: int
    out: int
    out_row: int
    out_col: int
    base: int
    base_row: int
    base_col: int
    x: int
    x_block: int
    x_row: int
    x_step: int
    p: int
    p_col: int
    p_step: int
    out_t: int = 0
    out_b: int = 0
    moves: int = 0
    x_t: int = 0
    x_b: int = 0
    p_t: int = 0
    p_b: int = 0
    times: int = 1
    x_time: int = 0
    p_time: int = 0
    last: int = 0


STRIP = len(Strip._fields)


def strip_number(kind: int, C: int, single: bool) -> int:
    """What stands for the code of strips of a kind until it is known where that is."""
    return kind * len(STRIPS) + STRIPS.index((C, single))


def strip_name(number: int, dtype: str) -> str:
    """The name that the code of strips of a kind is kept under."""
    (C, single), kind = STRIPS[number % len(STRIPS)], KINDS[number // len(STRIPS)]
    columns = "part" if C < 0 else str(C)
    return f"strip-{kind}-{columns}-{'row' if single else 'rows'}-{dtype}"


def codes_of(program: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes of all strips of a program (`products.Builder.table`), a view."""
    return program[program[0] :].reshape(-1, STRIP)[:, 0]
