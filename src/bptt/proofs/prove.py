"""Whether a network does what an automaton asks at every length: proved, wrong or undecided."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bptt.arguments import instance, positive, shown, whole
from bptt.errors import BpttError, BpttTypeError
from bptt.network.network import Network
from bptt.network.structure import Structure
from bptt.proofs import native
from bptt.proofs.automaton import Automaton
from bptt.proofs.exploring import wrong_word
from bptt.proofs.machine import Machine
from bptt.proofs.metric import rate
from bptt.proofs.scout import (
    OUT_OF_TIME,
    Counterexample,
    Words,
    counterexample,
    first_wrong,
    long_words,
    patterns,
)

if TYPE_CHECKING:
    from bptt.proofs.search import Balls, Found, Report

# Steps of words after which a proof is no quick one: about a third of a second for 16 units.
QUICK = 30_000
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


def check_provable(structure: Structure, task: Any) -> None:
    """Raises BpttError where no network of this structure could be proved for a task."""
    stated(task)
    structure.refuse_both_directions("proofs follow the state from step to step")
    if not structure.tied:
        raise BpttError(
            "untied weights are made for a number of steps and have no say about other lengths: "
            "leave out 'proved', or tie them"
        )


def scout(network: Network, task: Any, seconds: float = 0.5) -> Proof:
    """Look for a word on which a network is wrong: among words of runs and periods, then breadth
    first among the states that it reaches, merged where they are close. Wrong, or undecided: that
    nothing was found proves nothing.

    task: one that states its automaton, or an `Automaton`. Raises BpttError for a network that the
    question makes no sense for.
    """
    automaton = stated(task)
    structure = instance("network", network, Network, "a bptt.Network").structure
    structure.refuse_both_directions("words are searched by the states that they lead to")
    positive("seconds", seconds)
    word = wrong_word(network, automaton, seconds)
    answer = None if word is None else _wrong(network, task, automaton, word, seconds)
    why = "no wrong answer was found where runs, periods and the states reached were searched"
    return answer or Proof("undecided", automaton.claim, automaton, why=why)


def quickly(network: Network, task: Any) -> Proof | None:
    """What can be said in about a second, without compiling anything: the answer of `prove` where
    its kernels are there from before, else that of `scout`; None where there is no question."""
    s = network.structure
    if not s.tied or s.bidirectional or isinstance(task, Automaton) or task.automaton() is None:
        return None
    return prove(network, task, steps=QUICK) if native.ready() else scout(network, task)


def proved_quickly(network: Network, task: Any) -> bool:
    """Whether `prove` proves a network in `QUICK` steps: the same answer on every machine that
    gives the network the same numbers. Its kernels are compiled if need be."""
    automaton = stated(task)
    if _among(network, automaton, patterns(len(automaton.symbols))) is not None:
        return False
    return _searched(Machine(network, automaton), task.config(), {"steps": QUICK})[1] is not None


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
    steps: int | None = None,
) -> Proof:
    """Prove that a network is right at every length, or find a word on which it is wrong.

    task: one that states its automaton (`Addition`, ...), or an `Automaton`. seconds: of processor
    time, about, beside that of compiling and of the check of what was found. report: called with
    what is being done, how much of it is done, and of how many. stop: called now and then; the
    search ends once it returns True. steps: of words that are followed, at most, so that the answer
    does not depend on the machine's speed. Raises BpttError for a network or task that the question
    makes no sense for.
    """
    automaton = stated(task)
    instance("network", network, Network, "a bptt.Network")
    positive("seconds", seconds)
    for name, function in (("report", report), ("stop", stop)):
        if function is not None and not callable(function):
            raise BpttTypeError(f"{name} {shown(function)} must be a function")
    if steps is not None:
        whole("steps", steps, 1)
    config = None if isinstance(task, Automaton) else task.config()
    machine, symbols = Machine(network, automaton), len(automaton.symbols)
    word = _among(network, automaton, patterns(symbols))
    answer = None if word is None else _wrong(network, task, automaton, word, seconds)
    if answer:
        return answer
    found, made = _searched(
        machine, config, {"seconds": seconds, "report": report, "stop": stop, "steps": steps}
    )
    if found.word is not None:
        answer = _wrong(network, task, automaton, found.word, seconds)
        if answer:
            return answer
        found.why = "an output is as near to its threshold as rounding reaches"
    elif made is None and network.structure.readout == "steps":
        word = _among(network, automaton, long_words(symbols))
        answer = None if word is None else _wrong(network, task, automaton, word, seconds)
        if answer:
            return answer
    return Proof(
        "undecided" if made is None else "proved", automaton.claim, automaton, found.balls, made,
        why=found.why, least=found.least, steps=found.steps,
        rate=rate(machine) if made is None else float("nan"),
    )  # fmt: skip


def _among(network: Network, automaton: Automaton, words: Words) -> list[int] | None:
    """A word on which the network is wrong, if there is one among these or their beginnings."""
    ends = first_wrong(network, automaton, words)
    worst = int(ends.argmin())
    if ends[worst] == words.shape[1]:
        return None
    return [int(s) for s in words[worst][: int(ends[worst]) + 1]]


def _searched(
    machine: Machine, config: Any, limits: dict[str, Any]
) -> tuple["Found", bytes | None]:
    """What a search comes to, and the certificate of a proof that the checker accepts."""
    # Here, because the search imports the compiler, which takes a third of a second.
    from bptt.proofs import checker
    from bptt.proofs.certificate import certificate
    from bptt.proofs.search import Search

    found = Search(machine, **limits).run()
    if not found.complete:
        return found, None
    made = certificate(machine, found.balls, config)
    try:
        checker.check(made)
    except BpttError as error:
        found.why = f"sets of states were found, but {error}"
        return found, None
    return found, made


def example(network: Network, task: Any, automaton: Automaton, found: Counterexample) -> str:
    """A wrong word in the task's own words, or symbol by symbol."""
    told = "" if isinstance(task, Automaton) else task.told(network, found.word)
    if told:
        return str(told)
    word = " ".join(automaton.symbols[s] for s in found.word)
    said, right = (np.atleast_1d(x[-1]).tolist() for x in (found.said, found.right))
    return f"after {word} the network answers {said}, right is {right}"
