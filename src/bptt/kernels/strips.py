"""What is known of strips (`bptt.kernels.tile`) without the compiler: their numbers and names."""

from functools import cache
from typing import NamedTuple

from bptt.kernels import library

KINDS = ("shared", "lanes", "summed")
SHARED, LANES, SUMMED = range(3)
# The strips that there are, of each kind; C and single.
STRIPS = tuple((C, single) for single in (False, True) for C in (4, 1, -1))


class Strip(NamedTuple):
    """What a strip is, in the order in which it lies in memory.

    code: `strip_code`. groups: of C columns each. last: how many lanes, of a part of a vector.
    Places and strides as above; `_t` and `_b` are what a step and a sample further is. The base
    moves with `out` if `moves` is 1.
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


def strip_name(kind: int, C: int, single: bool, dtype: str) -> str:
    """The name that the code of strips of a kind is kept under."""
    return f"strip-{KINDS[kind]}-{STRIPS.index((C, single))}-{dtype}"


@cache
def strip_code(kind: int, C: int, single: bool, dtype: str) -> int:
    """The address of the code of strips of a kind; with the compiler off, a number for it."""
    if library.COMPILER_OFF:
        return kind * len(STRIPS) + STRIPS.index((C, single))
    place = library.address(strip_name(kind, C, single, dtype))
    if place is None:  # not a part of the kernel that was loaded
        from bptt.kernels.compiler import address_of
        from bptt.kernels.tile import strip_piece

        place = address_of(strip_piece(kind, C, single, dtype))
    return place
