"""Finite automata with answers: what a task asks for, symbol by symbol, stated as a whole.

A task whose right answers depend on a finite memory can say so: which symbols there are, which
states the memory has, how a symbol changes it, and what the answer is. Networks can then be proved
to be right for sequences of every length (`bptt.proofs`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import integers, items, numbers, text
from bptt.errors import BpttError


@dataclass(frozen=True, eq=False)
class Automaton:
    """A Mealy machine over the symbols that a network reads.

    claim: what a network that follows it does, as 'adds every pair of every length'. symbols: their
    names. inputs: what the network reads for each, (symbols, D) values, or (symbols,) numbers of
    one-hot inputs. after (states, symbols): the next state. answers: the right answer after each
    symbol, (states, symbols, O) bits, or (states, symbols) classes. State 0 is the start. names: of
    the states.

    Raises BpttError for tables that do not fit each other.
    """

    claim: str
    symbols: Sequence[str]
    inputs: NDArray[Any]
    after: NDArray[np.int64]
    answers: NDArray[np.int64]
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        text("claim", self.claim)
        for name, numbers_of in (("inputs", numbers), ("after", integers), ("answers", integers)):
            array = numbers_of(name, getattr(self, name)).copy()
            object.__setattr__(self, name, array if name == "inputs" else array.astype(np.int64))
        for name in ("symbols", "names"):
            object.__setattr__(self, name, tuple(items(name, getattr(self, name))))
        S, K = self.after.shape if self.after.ndim == 2 else (0, 0)
        if not (S and K and self.answers.shape[:2] == (S, K) and self.inputs.shape[:1] == (K,)):
            raise BpttError(
                f"automaton: after {self.after.shape}, answers {self.answers.shape} and inputs "
                f"{self.inputs.shape} do not fit: (states, symbols), (states, symbols, ...) and "
                "(symbols, ...) are needed"
            )
        if len(self.symbols) != K:
            raise BpttError(f"automaton: {len(self.symbols)} names for {K} symbols: give one each")
        if self.after.min() < 0 or self.after.max() >= S:
            raise BpttError(f"automaton: after must name states from 0 to {S - 1}")
        if not self.names:
            object.__setattr__(self, "names", tuple(str(state) for state in range(S)))

    @property
    def size(self) -> int:
        """How many states there are."""
        return len(self.after)

    def run(self, word: ArrayLike) -> NDArray[np.int64]:
        """The right answers to a word of symbol numbers: (T, O) bits or (T,) classes."""
        state, answers = 0, []
        for symbol in np.asarray(word, np.int64).tolist():
            answers.append(self.answers[state, symbol])
            state = int(self.after[state, symbol])
        return np.array(answers, np.int64).reshape(len(answers), *self.answers.shape[2:])

    def encode(self, words: ArrayLike) -> NDArray[Any]:
        """What a network reads for words (B, T) of symbol numbers: (B, T, D), or (B, T) ids."""
        return self.inputs[np.asarray(words, np.int64)]

    def minimised(self) -> "Automaton":
        """The smallest automaton with the same answers: states that no word tells apart are one,
        those that no word reaches are left out (Moore, "Gedanken-experiments on sequential
        machines", 1956)."""
        reached = [0]
        for state in reached:
            reached += [int(s) for s in dict.fromkeys(self.after[state]) if s not in reached]
        place = {state: at for at, state in enumerate(reached)}
        after = np.array([[place[int(s)] for s in self.after[state]] for state in reached])
        answers = self.answers[reached]
        block = np.unique(answers.reshape(len(reached), -1), axis=0, return_inverse=True)[1]
        block = block.reshape(-1)
        while True:
            rows = np.concatenate([block[:, None], block[after]], axis=1)
            finer = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
            if finer.max() == block.max():
                break
            block = finer
        order = {int(b): at for at, b in enumerate(dict.fromkeys(block.tolist()))}
        first = [int(np.flatnonzero(block == b)[0]) for b in order]
        return Automaton(
            self.claim,
            self.symbols,
            self.inputs,
            np.array([[order[int(block[s])] for s in after[state]] for state in first]),
            answers[first],
            tuple(self.names[reached[state]] for state in first),
        )

    def same_as(self, other: "Automaton") -> bool:
        """Whether both answer every word alike (both are minimised first)."""
        a, b = self.minimised(), other.minimised()
        return np.array_equal(a.after, b.after) and np.array_equal(a.answers, b.answers)


def adder() -> Automaton:
    """Binary addition, lowest bits first: the state is the carry."""
    bits = np.array([(a, b) for a in (0, 1) for b in (0, 1)])
    total = bits.sum(axis=1)[None] + np.arange(2)[:, None]  # (carry, symbol)
    return Automaton(
        "adds every pair of every length",
        [f"{a}+{b}" for a, b in bits],
        bits,
        total // 2,
        (total % 2)[:, :, None],
        ("no carry", "carry"),
    )
