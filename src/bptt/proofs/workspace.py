"""Where everything that kernels of proofs work on lies, in one array of integers and one of
numbers: the network, the automaton, the balls, and room to work in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Sizes: `m` holds each at its number.
N, H, K, STATES, LAYERS, DEPTH, TERMS_SUMMED, SYMBOLS, COUNT, MOST, STACKED, CELLS = range(12)

# Arrays: `m` holds the place of each at its number and its shape behind it, up to five numbers.
_NUMBERS = (
    "W", "W_SIZES", "BIAS", "TERMS", "NORMS", "HEAD", "HEAD_SIZES", "ROUNDING", "P", "TT", "C", "E",
    "A", "R", "S", "F", "G", "Y", "BASE", "SIZE", "AW", "YA", "NEW", "HEAD_Q", "HEAD_REACH", "QP",
    "Z", "REACH", "CENTRE", "PLACE", "RADIUS", "START_Q", "STACK_C", "STACK_Q", "NOW_C", "NOW_Q",
    "LIMITS",
)  # fmt: skip
_INTEGERS = (
    "TAPE", "OUT", "LIVE", "LINEAR", "ROWS", "EACH", "CONDITIONS", "ANSWERS", "NEXT",
    "LABEL", "PARENT", "BY", "HEADS", "FOLLOWING", "STACK_STATE", "RETURNS", "RESULT",
)  # fmt: skip
_PLACES = {name: 16 + 5 * at for at, name in enumerate((*_NUMBERS, *_INTEGERS))}
(
    W, W_SIZES, BIAS, TERMS, NORMS, HEAD, HEAD_SIZES, ROUNDING, P, TT, C, E,
    A, R, S, F, G, Y, BASE, SIZE, AW, YA, NEW, HEAD_Q, HEAD_REACH, QP, Z,
    REACH,
    CENTRE, PLACE, RADIUS, START_Q, STACK_C, STACK_Q, NOW_C, NOW_Q, LIMITS,
    TAPE, OUT, LIVE, LINEAR, ROWS, EACH, CONDITIONS, ANSWERS, NEXT,
    LABEL, PARENT, BY, HEADS, FOLLOWING, STACK_STATE, RETURNS, RESULT,
) = _PLACES.values()  # fmt: skip


class Workspace:
    """All arrays by name, as views of `numbers` and `integers`; `m` tells kernels where they are.

    >>> work = Workspace({"C": (3, 4)}, {"OUT": (2,)})
    >>> work["C"][2, 3] = 1.0
    >>> float(work.numbers[-1])
    1.0
    """

    def __init__(
        self, numbers: dict[str, tuple[int, ...]], integers: dict[str, tuple[int, ...]]
    ) -> None:
        self.m = np.zeros(16 + 5 * len(_PLACES), np.int64)
        self._views: dict[str, NDArray[Any]] = {}
        self.numbers = self._laid_out(numbers, np.float64)
        self.integers = self._laid_out(integers, np.int64)

    def _laid_out(self, shapes: dict[str, tuple[int, ...]], dtype: type) -> NDArray[Any]:
        sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
        flat: NDArray[Any] = np.zeros(sum(sizes.values()), dtype)
        at = 0
        for name, shape in shapes.items():
            place = _PLACES[name]
            self.m[place : place + 1 + len(shape)] = (at, *shape)
            self._views[name] = flat[at : at + sizes[name]].reshape(shape)
            at += sizes[name]
        return flat

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._views[name]
