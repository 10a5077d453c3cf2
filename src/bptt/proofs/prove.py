"""Whether a network does what an automaton asks at every length: proved, wrong or undecided."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bptt.arguments import instance, positive, shown
from bptt.errors import BpttError, BpttTypeError
from bptt.network.network import Network
from bptt.proofs import native
from bptt.proofs.automaton import Automaton
from bptt.proofs.exploring import wrong_word
from bptt.proofs.machine import Machine
from bptt.proofs.metric import rate
from bptt.proofs.scout import OUT_OF_TIME, Counterexample, counterexample, first_wrong, patterns

if TYPE_CHECKING:
    from bptt.proofs.search import Balls, Report

SLOW = 0.9  # a network whose deviations shrink by less than that a step forgets slowly


@dataclass
class Proof:
    """The answer. verdict: 'proved', 'wrong' or 'undecided'.

    proved: `certificate` is a file's content that `bptt prove --check` accepts. wrong:
    `counterexample`, replayed on the network. undecided: `why`. balls: the proof, or as far as it
    went; states: how many different states were reached; least: the smallest |o| among them; rate:
    by what a deviation of the state is multiplied in a step where it lasts longest.
    """

    verdict: str
    claim: str
    automaton: Automaton
    balls: "Balls | None" = None
    certificate: bytes | None = None
    counterexample: Counterexample | None = None
    why: str = ""
    rate: float = float("nan")
    least: float = float("nan")
    steps: int = 0
    example: str = ""

    @property
    def code(self) -> int:
        """The exit code of `bptt prove`: 0, 1 or 3."""
        return {"proved": 0, "wrong": 1, "undecided": 3}[self.verdict]

    def __str__(self) -> str:
        if self.verdict == "proved":
            assert self.balls is not None
            return f"{self.claim}: proved with {len(self.balls)} sets of states"
        if self.verdict == "wrong":
            found = self.counterexample
            assert found is not None
            short = "the shortest there is" if found.shortest else "the shortest found"
            return f"wrong: {self.example} ({short}, {len(found.word)} symbols)"
        return f"undecided: {self.why}; {self.advice}"

    @property
    def advice(self) -> str:
        """What to do about an undecided network."""
        if not np.isfinite(self.rate):
            return "give it more time (--seconds)"
        if self.rate >= SLOW:
            return (
                f"it forgets slowly (a deviation of its state may last: {self.rate:.2f} a step): "
                "train it longer, or with fewer units"
            )
        more = "give it more time (--seconds), or " if self.why == OUT_OF_TIME else ""
        return f"it forgets ({self.rate:.2f} a step): {more}train it on, or another seed"


def stated(task: Any) -> Automaton:
    """The automaton that a task states. Raises BpttError if it states none."""
    if isinstance(task, Automaton):
        return task
    states = getattr(task, "automaton", None)
    automaton = None if isinstance(task, type) or not callable(states) else states()
    if not isinstance(automaton, Automaton):
        raise BpttError(
            f"task {shown(getattr(task, 'name', task))} states no automaton, so there is nothing "
            "to prove: give a task with a finite memory, as addition, or a bptt.Automaton"
        )
    return automaton


def scout(network: Network, task: Any, seconds: float = 0.5) -> Proof:
    """Look for a word on which a network is wrong: among words of runs and periods, then breadth
    first among the states that it reaches, merged where they are close. Wrong, or undecided: that
    nothing was found proves nothing.

    task: one that states its automaton, or an `Automaton`. Raises BpttError for a network that the
    question makes no sense for.
    """
    automaton = stated(task)
    instance("network", network, Network, "a bptt.Network")
    positive("seconds", seconds)
    word = wrong_word(network, automaton, seconds)
    answer = None if word is None else _wrong(network, task, automaton, word, seconds)
    why = "no wrong answer was found where runs, periods and the states reached were searched"
    return answer or Proof("undecided", automaton.claim, automaton, why=why)


def quickly(network: Network, task: Any, seconds: float = 1.0) -> Proof | None:
    """What can be said in about a second, without compiling anything: the answer of `prove` where
    its kernels are there from before, else that of `scout`; None where there is no question."""
    if not network.structure.tied or isinstance(task, Automaton) or task.automaton() is None:
        return None
    return prove(network, task, seconds) if native.ready() else scout(network, task)


def _wrong(
    network: Network, task: Any, automaton: Automaton, word: list[int], seconds: float
) -> Proof | None:
    """The verdict on a word that is wrong, as the network itself has it; None if it is right."""
    found = counterexample(network, automaton, word, min(2.0, seconds))
    if found is None:
        return None
    told = example(network, task, automaton, found)
    return Proof("wrong", automaton.claim, automaton, counterexample=found, example=told)


def prove(
    network: Network,
    task: Any,
    seconds: float = 60.0,
    report: "Report | None" = None,
    stop: Callable[[], bool] | None = None,
) -> Proof:
    """Prove that a network is right at every length, or find a word on which it is wrong.

    task: one that states its automaton (`Addition`, ...), or an `Automaton`. seconds: of processor
    time, about. Raises BpttError for a network or task that the question makes no sense for.
    """
    automaton = stated(task)
    instance("network", network, Network, "a bptt.Network")
    positive("seconds", seconds)
    for name, function in (("report", report), ("stop", stop)):
        if function is not None and not callable(function):
            raise BpttTypeError(f"{name} {shown(function)} must be a function")
    config = None if isinstance(task, Automaton) else task.config()
    # Here, because the search imports the compiler, which takes a third of a second.
    from bptt.proofs import checker
    from bptt.proofs.certificate import certificate
    from bptt.proofs.search import Search

    machine = Machine(network, automaton)
    words = patterns(machine.symbols)
    ends = first_wrong(network, automaton, words)
    if ends.min() < words.shape[1]:
        worst = int(ends.argmin())
        word = [int(s) for s in words[worst][: int(ends[worst]) + 1]]
        answer = _wrong(network, task, automaton, word, seconds)
        if answer:
            return answer
    found = Search(machine, seconds, report, stop).run()
    if found.word is not None:
        answer = _wrong(network, task, automaton, found.word, seconds)
        if answer:
            return answer
        found.why = "an output is as near to its threshold as rounding reaches"
    made = None
    if found.complete:
        made = certificate(machine, found.balls, config)
        checker.check(made)
    return Proof(
        "proved" if found.complete else "undecided", automaton.claim, automaton, found.balls, made,
        why=found.why, least=found.least, steps=found.steps,
        rate=float("nan") if found.complete else rate(machine),
    )  # fmt: skip


def example(network: Network, task: Any, automaton: Automaton, found: Counterexample) -> str:
    """A wrong word in the task's own words, or symbol by symbol."""
    told = "" if isinstance(task, Automaton) else task.told(network, found.word)
    if told:
        return str(told)
    word = " ".join(automaton.symbols[s] for s in found.word)
    said, right = (np.atleast_1d(x[-1]).tolist() for x in (found.said, found.right))
    return f"after {word} the network answers {said}, right is {right}"
