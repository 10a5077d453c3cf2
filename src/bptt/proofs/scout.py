"""Words on which a network is wrong: looked for, replayed on the network, and made short."""

import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.network.network import Network
from bptt.proofs.automaton import Automaton

Words = NDArray[np.int64]
# All words of as many symbols are tried as there are this many of, at most.
EVERY_WORD = 4**10
BLOCK = 65_536
# Periods are repeated for this many symbols, then followed by others for as many again.
REPEATED = 24
MOST_PATTERNS = 8000

# Why a search ends that could have gone on.
OUT_OF_TIME = "time is up"


@dataclass(frozen=True)
class Counterexample:
    """A word on which the network is wrong, for the first time at its last symbol. said, right:
    the network's answers and the right ones, (T, O) bits or (T,) classes. searched: up to so many
    symbols every word was tried and found right, one that is `len(word)` long or shorter excepted.
    """

    word: list[int]
    said: NDArray[np.int64]
    right: NDArray[np.int64]
    searched: int

    @property
    def shortest(self) -> bool:
        """Whether no shorter word is wrong."""
        return len(self.word) <= self.searched + 1


def answers(network: Network, o: NDArray[Any]) -> NDArray[np.int64]:
    """A network's answers from its output preactivations o: bits, or classes."""
    if network.structure.head.classes:
        said: NDArray[np.int64] = o.argmax(axis=-1).astype(np.int64)
    else:
        said = (o > network.structure.head.threshold).astype(np.int64)
    return said


def first_wrong(network: Network, automaton: Automaton, words: Words) -> NDArray[np.int64]:
    """For each word (N, T) the step at which the network is first wrong, T if it never is."""
    steps = network.structure.readout == "steps"
    wrong = np.zeros(words.shape, np.bool_)
    state = np.zeros(len(words), np.int64)
    x = automaton.encode(words)
    if steps:
        said = answers(network, network.forward(x).o)
        for t in range(words.shape[1]):
            miss = said[:, t] != automaton.answers[state, words[:, t]]
            wrong[:, t] = miss.reshape(len(words), -1).any(axis=1)
            state = automaton.after[state, words[:, t]]
    else:  # an output after the last step only: every beginning is a word of its own
        for t in range(words.shape[1]):
            said = answers(network, network.forward(x[:, : t + 1]).o)[:, -1]
            miss = said != automaton.answers[state, words[:, t]]
            wrong[:, t] = miss.reshape(len(words), -1).any(axis=1)
            state = automaton.after[state, words[:, t]]
    found: NDArray[np.int64] = np.where(wrong.any(axis=1), wrong.argmax(axis=1), words.shape[1])
    return found


def patterns(symbols: int) -> Words:
    """Words of a repeated beginning and a repeated end: runs of one symbol and short periods, the
    long memories that random words do not try."""
    periods: list[tuple[int, ...]] = []
    for length in range(1, 4):
        more = [p for p in product(range(symbols), repeat=length) if len(set(p)) > 1 or length == 1]
        if periods and (len(periods) + len(more)) ** 2 > MOST_PATTERNS:
            break
        periods += more
    rows = np.array([np.resize(p, REPEATED) for p in periods])
    first, last = np.divmod(np.arange(len(rows) ** 2), len(rows))
    # Beginnings of different lengths, so that ends begin at different places.
    words = np.concatenate([rows[first], rows[last]], axis=1)
    short = 1 + (np.arange(len(words)) * 7) % REPEATED
    places = np.arange(words.shape[1]) + (REPEATED - short)[:, None]
    return np.take_along_axis(words, np.minimum(places, words.shape[1] - 1), axis=1)


def long_words(symbols: int, count: int = 1000, length: int = 1000) -> Words:
    """Random words in which a symbol repeats the one before with a chance that is the word's own,
    from 0 to 1; the same at every call."""
    rng, places = np.random.default_rng(11), np.arange(length)
    words = rng.integers(0, symbols, (count, length))
    repeats = rng.random((count, length)) < rng.random(count)[:, None]
    repeats[:, 0] = False
    first = np.maximum.accumulate(np.where(repeats, 0, places), axis=1)  # of its run
    return np.take_along_axis(words, first, axis=1)


def counterexample(
    network: Network, automaton: Automaton, word: list[int], seconds: float = 2.0
) -> Counterexample | None:
    """A word replayed on the network, and if that is wrong a word that is as short as can be
    found; None if the network is right. seconds: for trying all short words."""
    at = int(first_wrong(network, automaton, np.array([word]))[0])
    if at == len(word):
        return None
    word = _shortened(network, automaton, word[: at + 1])
    found, searched = every_word(network, automaton, len(word) - 1, seconds)
    word = found or word
    x = automaton.encode(np.array([word]))
    said = answers(network, network.forward(x).o)[0]
    return Counterexample(word, said, automaton.run(word), searched)


def _shortened(network: Network, automaton: Automaton, word: list[int]) -> list[int]:
    """A wrong word without the pieces that it is wrong without."""
    piece = max(len(word) // 2, 1)
    while piece:
        starts = range(len(word) - piece)
        cut = [[*word[:at], *word[at + piece :]] for at in starts]
        ends = first_wrong(network, automaton, np.array(cut)) if cut and cut[0] else np.array([])
        if len(ends) and ends.min() < len(word) - piece:
            best = int(ends.argmin())
            word = cut[best][: int(ends[best]) + 1]
            piece = min(piece, max(len(word) // 2, 1))
        else:
            piece //= 2
    return word


def every_word(
    network: Network, automaton: Automaton, most: int, seconds: float
) -> tuple[list[int] | None, int]:
    """The first wrong word among all of up to `most` symbols (and up to `EVERY_WORD` words, and as
    time goes), or None; and up to how many symbols all words are right."""
    if network.structure.readout != "steps":
        return None, 0
    end, count = time.process_time() + seconds, len(automaton.symbols)
    layers: list[tuple[NDArray[Any] | None, NDArray[np.int64], NDArray[np.int64]]]
    layers = [(None, np.zeros(1, np.int64), np.zeros((1, 0), np.int64))]
    for length in range(1, most + 1):
        if count**length > EVERY_WORD:
            return None, length - 1
        after: list[tuple[NDArray[Any] | None, NDArray[np.int64], NDArray[np.int64]]] = []
        for before, state, words in layers:
            symbols = np.tile(np.arange(count), len(state))
            up = np.repeat(np.arange(len(state)), count)
            found = network.forward(
                automaton.encode(symbols[:, None]),
                state=None if before is None else before[:, :, up],
            )
            miss = answers(network, found.o)[:, 0] != automaton.answers[state[up], symbols]
            wrong = np.flatnonzero(miss.reshape(len(up), -1).any(axis=1))
            if wrong.size:
                at = int(wrong[0])
                return [*words[up[at]].tolist(), int(symbols[at])], length - 1
            if time.process_time() > end:
                return None, length - 1
            if count ** (length + 1) <= EVERY_WORD and length < most:
                new = np.concatenate([words[up], symbols[:, None]], axis=1)
                ahead = automaton.after[state[up], symbols]
                for some in range(0, len(up), BLOCK):
                    cut = slice(some, some + BLOCK)
                    after.append((found.state[:, :, cut], ahead[cut], new[cut]))
        layers = after
    return None, most
