"""Tomita's seven languages over 0 and 1 (M. Tomita, "Dynamic construction of finite automata from
examples using hill-climbing", Proc. 4th Annual Conf. of the Cognitive Science Society, 1982), as
the smallest automata: for each state, where 0 and 1 lead, and whether a word that ends there is in
the language. State 0 is the start.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from bptt.proofs.automaton import Automaton


class Language(NamedTuple):
    """words: what is in it. after: for each state the next one by 0 and by 1. within: the states of
    words that are in it."""

    words: str
    after: tuple[tuple[int, int], ...]
    within: tuple[int, ...]


LANGUAGES = {
    1: Language("only ones", ((1, 0), (1, 1)), (0,)),
    2: Language("10 again and again", ((2, 1), (0, 2), (2, 2)), (0,)),
    3: Language(
        "no odd run of zeros after an odd run of ones",
        # 0: even ones; 1: odd ones; 2, 3: odd and even zeros after odd ones; 4: lost.
        ((0, 1), (2, 0), (3, 4), (2, 1), (4, 4)),
        (0, 1, 3),
    ),
    4: Language("no three zeros in a row", ((1, 0), (2, 0), (3, 0), (3, 3)), (0, 1, 2)),
    5: Language(
        "an even number of zeros and an even number of ones",
        ((1, 2), (0, 3), (3, 0), (2, 1)),
        (0,),
    ),
    6: Language(
        "as many zeros as ones, but for a multiple of three", ((1, 2), (2, 0), (0, 1)), (0,)
    ),
    7: Language(
        "zeros, then ones, then zeros, then ones",
        ((0, 1), (2, 1), (2, 3), (4, 3), (4, 4)),
        (0, 1, 2, 3),
    ),
}


@cache
def language(number: int) -> Automaton:
    """The automaton of a language: after each symbol, whether the word so far is in it."""
    found = LANGUAGES[number]
    after = np.array(found.after)
    return Automaton(
        f"knows which words of every length are in Tomita's language {number}", ["0", "1"],
        np.array([[0], [1]]), after, np.isin(after, found.within).astype(np.int64)[:, :, None],
    )  # fmt: skip
