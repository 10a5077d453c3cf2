"""Tasks that a finite automaton states: their data, their test and their words follow from it."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import check_types, flag, instance, integers, items, shown, whole
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.options import Option
from bptt.proofs.automaton import Automaton
from bptt.proofs.scout import answers as said_by
from bptt.tasks.batches import Samples
from bptt.tasks.task import FRESH_SAMPLES, FRESH_SEED, SHOWN, Report, Shown, Task, Verdict
from bptt.tasks.words import Words, draw_words, kept_out

# The test tries every word where there are no more; so many at a time.
EVERY_WORD, BLOCK = 65_536, 8192
LONG_WORDS = 100  # of each length, for `longer`
MOST_STEPS = 10**6


class FiniteMemory(Task, frozen=True, kw_only=True):
    """A task whose right answers a finite automaton knows, at every step.

    A subclass says `automaton`, and how many `inputs` and `outputs` there are. Sequences are words
    of its symbols: a third are random, a third have long runs, a third short periods; symbols that
    lead to a state that the automaton never leaves are put off to a random step.
    The test is every word of `steps` symbols, where there are at most 65,536.
    """

    steps: Annotated[int, Option("Symbols in a training sequence.")] = 12

    lengthens = True
    output_name = "answers"
    sample_name = "words"
    preset: ClassVar[Mapping[str, Any]] = {
        "cell": "gru", "hidden": 8, "reduction": "sequence", "optimizer": "adam",
        "learning_rate": 0.01, "batch": 8, "iterations": 20_000, "record_every": 100,
    }  # fmt: skip

    # With several states to be told apart, noise and decay that suit two are too much.
    proving: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **Task.proving,
        "elman": {
            "optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.005, "noise": 0.1,
            "iterations": 40_000,
        },
        "gru": {"optimizer": "adamw", "noise": 0.3, "batch": 16},
    }  # fmt: skip

    def __post_init__(self) -> None:
        check_types(self)
        whole("steps", self.steps, 1, MOST_STEPS)

    def automaton(self) -> Automaton:
        """See `Task.automaton`."""
        raise self._missing("automaton")

    def answer(self, value: Any) -> str:
        """An answer as people read it: of bits (O,), or of a class."""
        return "".join(str(int(each)) for each in np.atleast_1d(value))

    def words(
        self, rng: np.random.Generator, count: int, steps: int | None = None
    ) -> tuple[Words, NDArray[np.int64]]:
        """Words as numbers of symbols (count, steps), and the right answers."""
        instance("rng", rng, np.random.Generator, "a numpy.random.Generator")
        count = whole("count", count, 0)
        steps = self.steps if steps is None else whole("steps", steps, 1, MOST_STEPS)
        automaton = self.automaton()
        drawn = draw_words(rng, count, steps, len(automaton.symbols))
        return kept_out(automaton, drawn, rng.integers(0, steps + 1, count))

    def samples(self, rng: np.random.Generator, count: int) -> Samples:
        """See `Task.samples`."""
        words, right = self.words(rng, count)
        return Samples(self.automaton().encode(words), right)

    def test(self, network: Network, give_up: bool = False) -> Verdict:
        """See `Task.test`: every word of `steps` symbols, or 1,000 where there are too many."""
        self.check_network(network)
        flag("give_up", give_up)
        symbols = len(self.automaton().symbols)
        every = self.steps * np.log(symbols) <= np.log(EVERY_WORD) + 1e-9
        if every:
            words = np.array([*product(range(symbols), repeat=self.steps)], np.int64)
        else:
            words, _ = self.words(np.random.default_rng(FRESH_SEED), FRESH_SAMPLES)
        right = 0
        for first in range(0, len(words), BLOCK):
            wrong = self._wrong(network, words[first : first + BLOCK])
            right += int((wrong == 0).sum())
            if give_up and wrong.any():
                break
        return Verdict(right, len(words), "words" if every else f"random {self.sample_name}")

    def _wrong(self, network: Network, words: Words) -> NDArray[np.intp]:
        """How many answers to each word (N, T) are wrong."""
        automaton = self.automaton()
        _, right = kept_out(automaton, words, np.zeros(len(words), np.int64))
        miss = said_by(network, network.forward(automaton.encode(words)).o) != right
        wrong: NDArray[np.intp] = miss.reshape(len(words), -1).sum(axis=1)
        return wrong

    @property
    def test_steps(self) -> int:
        """See `Task.test_steps`."""
        count = len(self.automaton().symbols) ** min(self.steps, 64)
        return self.steps * (count if count <= EVERY_WORD else FRESH_SAMPLES)

    def longer(self, network: Network, multiples: Sequence[int]) -> list[float]:
        """See `Task.longer`: of 100 words of each length, among them long runs and periods."""
        self.check_network(network)
        shares = []
        for each in items("multiples", multiples):
            steps = self.steps * whole("each of multiples", each, 1)
            words, _ = self.words(np.random.default_rng(1), LONG_WORDS, steps)
            shares.append(float((self._wrong(network, words) == 0).mean()))
        return shares

    def told(self, network: Network, word: list[int]) -> str:
        """See `Task.told`: the word, and the last answer to it."""
        self.check_network(network)
        automaton, symbols = self.automaton(), integers("word", word)
        most = len(automaton.symbols) - 1
        if symbols.ndim != 1 or not symbols.size or symbols.min() < 0 or symbols.max() > most:
            raise BpttError(f"word {shown(word)} must be numbers of symbols, from 0 to {most}")
        said = said_by(network, network.forward(automaton.encode(symbols[None])).o)[0, -1]
        right = automaton.run(symbols)[-1]
        return (
            f"after {''.join(automaton.symbols[s] for s in symbols.tolist())} the network says "
            f"{self.answer(said)}, right is {self.answer(right)}"
        )

    def show(self, network: Network, seed: int = 0) -> Shown:
        """See `Task.show`: a few words, with the network's answers at every step."""
        self.check_network(network)
        automaton = self.automaton()
        words, right = self.words(np.random.default_rng([whole("seed", seed, 0), 2]), SHOWN)
        said = said_by(network, network.forward(automaton.encode(words)).o)
        rows: list[dict[str, Any]] = []
        for word, mine, wanted in zip(words, said, right, strict=True):
            told, true = (" ".join(map(self.answer, each)) for each in (mine, wanted))
            rows.append(
                {"word": "".join(automaton.symbols[s] for s in word.tolist()), "answers": told,
                 "right": told == true, "true_answers": true}
            )  # fmt: skip
        width = max(len("word"), *(len(row["word"]) for row in rows))
        wide = max(len("network's answers"), *(len(row["answers"]) for row in rows))
        lines = [f"{'word':{width}}  {'network' + chr(39) + 's answers':{wide}}".rstrip()]
        for row in rows:
            state = "right" if row["right"] else f"wrong: {row['true_answers']}"
            lines.append(f"{row['word']:{width}}  {row['answers']:{wide}}  {state}")
        count = sum(row["right"] for row in rows)
        return Shown(rows, "\n".join(lines), f"{count} of {len(rows)} fresh words right")

    def report(self, network: Network, loss_per_step: float | None, seed: int = 0) -> Report:
        """See `Task.report`: a few words, as `show`."""
        found = self.show(network, seed)
        return Report({"words": found.rows}, ["", found.lines, ""])
