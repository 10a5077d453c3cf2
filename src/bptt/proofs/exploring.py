"""The states that a network reaches, breadth first, merged where close: without a compiler.

Places T h (`bptt.proofs.metric`) are rounded to a grid of cells; of the states in a cell that ask
for the same answers only the first is kept.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.network.network import Network
from bptt.proofs.automaton import Automaton
from bptt.proofs.machine import Array, Machine
from bptt.proofs.metric import metric
from bptt.proofs.scout import answers, first_wrong, patterns

# Sizes of cells: the first, from one to the next; states kept at most.
LARGEST, SMALLER, MOST = 0.6, 0.65, 20_000
# Coordinates that are rounded: those in which places differ most.
ROUNDED = 8


@dataclass
class Explored:
    """states (N, n); after (N, K): the states that symbols lead to, as far as was looked, else -1;
    words: of the first wrong output, None if there was none; whole: nothing new was left."""

    states: Array
    after: NDArray[np.int64]
    word: list[int] | None
    whole: bool


def explore(
    machine: Machine, T: Array, size: float, most: int = MOST, labelled: bool = True
) -> Explored:
    """States that are reached from the start. labelled: they are told apart by the state of the
    automaton too, and the first wrong output ends the exploration."""
    K, automaton = machine.symbols, machine.automaton
    found: dict[bytes, int] = {}
    states, labels = [machine.start[None]], np.zeros(1, np.int64)
    parents: list[tuple[int, int]] = [(-1, -1)]
    after: list[NDArray[np.int64]] = []
    first, frontier = 0, machine.start[None]
    while len(frontier):
        symbols, up = np.tile(np.arange(K), len(frontier)), np.repeat(np.arange(len(frontier)), K)
        new = machine.step(frontier[up], symbols)
        if labelled:
            said = answers(machine.network, machine.outputs(new))
            miss = said != automaton.answers[labels[up], symbols]
            wrong = np.flatnonzero(miss.reshape(len(up), -1).any(axis=1))
            if wrong.size:
                word, at = [int(symbols[wrong[0]])], first + int(up[wrong[0]])
                while at > 0:
                    at, symbol = parents[at]
                    word.append(symbol)
                return Explored(np.concatenate(states), np.zeros((0, K), int), word[::-1], False)
            labels = automaton.after[labels[up], symbols]
        else:
            labels = np.zeros(len(up), np.int64)
        cells = np.floor(new @ T.T[:, :ROUNDED] / size).astype(np.int64)
        keys = np.concatenate([cells, labels[:, None]], axis=1)
        kept: list[int] = []
        target, count = np.zeros(len(up), np.int64), len(parents)
        for row, key in enumerate(map(bytes, np.ascontiguousarray(keys))):
            if key not in found:
                found[key] = count + len(kept)
                kept.append(row)
                parents.append((first + int(up[row]), int(symbols[row])))
            target[row] = found[key]
        after.append(target.reshape(-1, K))
        first, frontier, labels = count, new[kept], labels[kept]
        states.append(frontier)
        if len(parents) > most:
            break
    every = np.full((len(parents), K), -1, np.int64)
    known = np.concatenate(after)
    every[: len(known)] = known
    return Explored(np.concatenate(states), every, None, len(known) == len(every))


def wrong_word(network: Network, automaton: Automaton, seconds: float) -> list[int] | None:
    """A word on which the network is wrong, if one is found: among patterns, then among the states
    it reaches, in smaller and smaller cells until there are too many or time is up."""
    machine, end = Machine(network, automaton), time.process_time() + seconds
    words = patterns(machine.symbols)
    ends = first_wrong(network, automaton, words)
    if ends.min() < words.shape[1]:
        worst = int(ends.argmin())
        return [int(s) for s in words[worst][: int(ends[worst]) + 1]]
    T, size = metric(machine), LARGEST
    while time.process_time() < end:
        found = explore(machine, T, size)
        if found.word is not None or not found.whole:
            return found.word
        size *= SMALLER
    return None
