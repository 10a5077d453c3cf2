"""The machine that a network has become: its states merged, its answers written down, minimised."""

from dataclasses import dataclass

import numpy as np

from bptt.network.network import Network
from bptt.proofs.automaton import Automaton
from bptt.proofs.exploring import LARGEST, SMALLER, explore
from bptt.proofs.machine import Machine
from bptt.proofs.metric import metric
from bptt.proofs.scout import answers, patterns

# States of an exploration, radii tried, and random words (count, symbols) to compare with.
MOST, TRIED, WORDS = 3000, 8, (300, 60)
ROWS = 40  # of a table: more are not read


@dataclass(frozen=True)
class Extracted:
    """machine: minimised. states: how many states of the network it was made of. agreeing: the
    share of `words` words (random ones, runs and periods) that the network answers as it does."""

    machine: Automaton
    states: int
    agreeing: float
    words: int

    def table(self) -> str:
        """The machine as text: a row a state, a column a symbol, answers behind the slash; of a
        large one the first rows."""
        m = self.machine
        shown = range(m.size if m.size <= ROWS else ROWS)
        cells = [
            [f"{m.names[int(m.after[s, k])]} / {told(m, s, k)}" for k in range(len(m.symbols))]
            for s in shown
        ]
        rows = [["state", *m.symbols], *([m.names[s], *cells[s]] for s in shown)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        left = m.size - len(shown)
        return "\n".join([*lines, f"... and {left:,} more states"] if left else lines)

    def dot(self) -> str:
        """The machine in Graphviz's language, symbols that lead the same way on one arrow."""
        m = self.machine
        lines = ["digraph machine {", "  rankdir=LR;", '  start [shape=point]; start -> "0";']
        lines += [f'  "{s}" [label="{m.names[s]}", shape=circle];' for s in range(m.size)]
        for (s, t), words in arrows(m).items():
            label = "\\n".join(words)
            lines.append(f'  "{s}" -> "{t}" [label="{label}"];')
        return "\n".join([*lines, "}"])


def told(machine: Automaton, state: int, symbol: int) -> str:
    """The answer to a symbol in a state: bits, or a class."""
    return "".join(str(int(v)) for v in np.atleast_1d(machine.answers[state, symbol]))


def arrows(machine: Automaton) -> dict[tuple[int, int], list[str]]:
    """By state and next state the symbols that lead there, with the answers."""
    found: dict[tuple[int, int], list[str]] = {}
    for s in range(machine.size):
        for k, name in enumerate(machine.symbols):
            pair = s, int(machine.after[s, k])
            found.setdefault(pair, []).append(f"{name} / {told(machine, s, k)}")
    return found


def extract(network: Network, automaton: Automaton, seed: int = 0) -> Extracted:
    """The smallest machine found that answers as the network does; of the automaton only the
    symbols are used. Where no machine agrees on all words, the one that agrees on most."""
    machine, best = Machine(network, automaton), None
    T, size = metric(machine), LARGEST
    rng = np.random.default_rng(seed)
    words = [rng.integers(0, machine.symbols, WORDS), patterns(machine.symbols)[:2000]]
    said = [answers(network, network.forward(automaton.encode(each)).o) for each in words]
    for _ in range(TRIED):
        found = explore(machine, T, size, MOST, labelled=False)
        count = len(found.states)
        K = machine.symbols
        up, symbols = np.repeat(np.arange(count), K), np.tile(np.arange(K), count)
        replies = answers(network, machine.outputs(machine.step(found.states[up], symbols)))
        after = np.where(found.after < 0, np.arange(count)[:, None], found.after)
        made = Automaton(
            automaton.claim, automaton.symbols, automaton.inputs, after,
            replies.reshape(count, K, *replies.shape[1:]),
        ).minimised()  # fmt: skip
        named = Automaton(
            made.claim, made.symbols, made.inputs, made.after, made.answers,
            tuple(str(s) for s in range(made.size)),
        )  # fmt: skip
        right = sum(
            np.array_equal(named.run(word), reply)
            for each, replied in zip(words, said, strict=True)
            for word, reply in zip(each, replied, strict=True)
        )
        total = sum(map(len, words))
        if best is None or right / total > best.agreeing:
            best = Extracted(named, count, right / total, total)
        if right == total or not found.whole:
            break
        size *= SMALLER
    assert best is not None
    return best
