"""Words of symbols that try a memory: random ones, long runs, short periods, mixed.

Random words alone hold no long runs, and many a network that has learnt from them, or is tested on
them, is wrong where one symbol comes again and again.
"""

import numpy as np
from numpy.typing import NDArray

from bptt.proofs.automaton import Automaton

Words = NDArray[np.int64]
# Periods have at most so many symbols.
LONGEST_PERIOD = 6


def draw_words(
    rng: np.random.Generator, count: int, steps: int, symbols: int, mixed: bool = True
) -> Words:
    """Words (count, steps) of symbol numbers. mixed: by chance of three kinds: random; runs, in
    which a symbol repeats the one before with a chance that is the word's own, from 0 to 1; and
    beginnings of a few random symbols with a short period after them. Else all are random."""
    words = rng.integers(0, symbols, (count, steps))
    if not mixed or not steps:
        return words
    kind = rng.integers(0, 3, count)
    repeats = rng.random((count, steps)) < rng.random(count)[:, None]
    repeats[:, 0], places = False, np.arange(steps)
    first = np.maximum.accumulate(np.where(repeats, 0, places), axis=1)  # of its run
    period = rng.integers(1, LONGEST_PERIOD + 1, count)[:, None]
    begin = np.minimum(rng.integers(0, steps, count), rng.integers(0, steps, count))[:, None]
    again = np.where(places < begin, places, begin + (places - begin) % period)
    source = np.where(kind[:, None] == 0, places, np.where(kind[:, None] == 1, first, again))
    return np.take_along_axis(words, source, axis=1)


def kept_out(
    automaton: Automaton, words: Words, until: NDArray[np.int64]
) -> tuple[Words, NDArray[np.int64]]:
    """Words of which symbols before step `until` (N,) are changed, as few as need be, so that the
    automaton does not come to a state that it never leaves; and the answers to them (N, T, ...).

    Of a language that a wrong symbol ends for good, random words show nothing else.
    """
    after = automaton.after
    traps = (after == np.arange(automaton.size)[:, None]).all(axis=1)
    words, state = words.copy(), np.zeros(len(words), np.int64)
    answers = np.empty((*words.shape, *automaton.answers.shape[2:]), np.int64)
    for t in range(words.shape[1]):
        for _ in range(1, after.shape[1] if traps.any() else 1):
            lost = (t < until) & traps[after[state, words[:, t]]] & ~traps[state]
            words[lost, t] = (words[lost, t] + 1) % after.shape[1]
        answers[:, t] = automaton.answers[state, words[:, t]]
        state = after[state, words[:, t]]
    return words, answers
