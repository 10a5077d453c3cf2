"""Counting modulo k, at every step."""

from functools import cache
from typing import Annotated

import numpy as np

from bptt.arguments import whole
from bptt.options import Option
from bptt.proofs.automaton import Automaton
from bptt.tasks.finite import FiniteMemory

MOST = 64  # the largest k: a larger one is no small network's


class Modulo(FiniteMemory, frozen=True, kw_only=True):
    """How many ones there have been, modulo k: one of k classes at every step.

    k: what is counted up to. steps: bits in a training sequence. A worked example, k = 3:

        bit             1  1  0  1  1
        ones modulo 3   1  2  2  0  1     what the network has to remember is the same

    Raises BpttError for a value that is not allowed.

    >>> Modulo(k=3).automaton().run([1, 1, 0, 1, 1])
    array([1, 2, 2, 0, 1])
    """

    k: Annotated[int, Option("What is counted up to: ones modulo k.")] = 5

    name = "modulo"
    command = "modulo"
    classes = True
    inputs = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("k", self.k, 2, MOST)

    @property
    def outputs(self) -> int:
        """O: a class for each remainder."""
        return self.k

    def automaton(self) -> Automaton:
        """See `Task.automaton`: a state for each remainder."""
        return _automaton(self.k)

    def describe(self) -> str:
        """See `Task.describe`."""
        return f"ones modulo {self.k}, in words of {self.steps} bits"


@cache
def _automaton(k: int) -> Automaton:
    after = (np.arange(k)[:, None] + np.arange(2)) % k
    return Automaton(
        f"counts ones modulo {k} in every word of every length", ["0", "1"], np.array([[0], [1]]),
        after, after,
    )  # fmt: skip
