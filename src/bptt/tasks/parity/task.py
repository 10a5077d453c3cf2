"""The parity of a word of bits, at every step."""

from functools import cache

import numpy as np

from bptt.proofs.automaton import Automaton
from bptt.tasks.finite import FiniteMemory


class Parity(FiniteMemory, frozen=True, kw_only=True):
    """Whether the ones so far are odd in number: 1 if they are.

    steps: bits in a training sequence. A worked example:

        bit             0  1  1  0  1
        odd so far      0  1  0  0  1     what the network has to remember is the same

    Raises BpttError for a value that is not allowed.

    >>> Parity(steps=5).automaton().run([0, 1, 1, 0, 1])[:, 0]
    array([0, 1, 0, 0, 1])
    """

    name = "parity"
    command = "parity"
    inputs = outputs = 1

    def automaton(self) -> Automaton:
        """See `Task.automaton`: two states, even and odd."""
        return _automaton()


@cache
def _automaton() -> Automaton:
    after = np.array([[0, 1], [1, 0]])
    return Automaton(
        "knows the parity of every word of every length", ["0", "1"], np.array([[0], [1]]), after,
        after[:, :, None], ("even", "odd"),
    )  # fmt: skip
