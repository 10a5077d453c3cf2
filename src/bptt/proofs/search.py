"""The search for a proof: balls of states from which every word leads back into balls.

Claim of a finished set: ball 0 is the start, with radius 0; from any state of any ball, every word
has only right outputs until, sooner or later, it is in a ball whose label is the automaton's state.
By induction on the length every output to every word is right.

1. Explore: breadth first from the start, keeping states that are not near one kept. Every centre is
   a state that the network reaches, with its word: a wrong output there is a counterexample.
2. Calibrate: follow the words of a few balls; where more than one in twenty fails, all balls get
   smaller and the exploration is done again.
3. Work list: follow the words of every ball. Where a set has shrunk to a part of the radius and is
   in no ball, a ball is made. A ball that fails is made smaller, and those that return to it are
   looked at again.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bptt.proofs import follow as f
from bptt.proofs import native
from bptt.proofs import workspace as w
from bptt.proofs.machine import Array, Machine
from bptt.proofs.metric import metric
from bptt.proofs.scout import OUT_OF_TIME

LARGEST, SMALLEST, SMALLER = 0.6, 0.003, 0.65  # radii: the first, the last, from one to the next
SHRUNK, GROW = 0.35, 8.0  # see `bptt.proofs.follow`
MOST_BALLS, MOST_STEPS, TRIED_STEPS, DEEPEST = 40_000, 20_000, 3_000, 40
EXPLORED = 15_000  # most balls of an exploration
WHY = {
    f.OUTPUT: "an output comes too near to its threshold",
    f.GROWTH: "sets of states grow",
    f.WORDS: "too many words are needed until states are near known ones again",
    f.DEEP: "words are too long until states are near known ones again",
    f.FULL: "too many different states are reached",
}


@dataclass
class Balls:
    """Centres (B, n), radii (B,), labels (B,); `metric` T."""

    centre: Array
    radius: Array
    label: NDArray[np.int64]
    metric: Array

    def __len__(self) -> int:
        return len(self.label)


@dataclass
class Found:
    """What a search came to. balls: of a finished proof, or as far as it went. word: a word whose
    last output is wrong, as float64 has it; complete: the balls are a proof."""

    balls: Balls
    complete: bool = False
    word: list[int] | None = None
    why: str = ""
    steps: int = 0
    deepest: int = 0
    least: float = float("inf")
    failures: dict[str, int] = field(default_factory=dict)


Report = Callable[[str, int, int], None]


class Search:
    """One search. seconds: of processor time, without that of compiling; steps: of words at most,
    about, so that the answer does not depend on the machine's speed. report: told what is done,
    with balls that are finished and balls in all. stop: asked now and then whether to end."""

    def __init__(
        self,
        machine: Machine,
        seconds: float = np.inf,
        report: Report | None = None,
        stop: Callable[[], bool] | None = None,
        steps: int | None = None,
    ) -> None:
        native.prepare()
        self.machine, self.steps = machine, steps
        self.end = time.process_time() + seconds
        self.report, self.stop = report or (lambda *_: None), stop or (lambda: False)
        self.work = machine.workspace(MOST_BALLS, MOST_STEPS, DEEPEST)
        self.T = metric(machine)
        inverse = np.linalg.inv(self.T)
        work, slack = self.work, np.abs(self.T @ inverse - np.eye(machine.size)).sum() + 1e-9
        work["P"][...], work["TT"][...] = self.T.T @ self.T, self.T.T
        # A deviation v with |T v| <= 1 is inverse w with |w| <= 1 / (1 - slack).
        work["START_Q"][...] = inverse @ inverse.T / (1 - slack) ** 2
        work["START_Q"][np.diag_indices(machine.size)] += 1e-12 * np.trace(work["START_Q"])
        work["ROUNDING"][4] = (self.T**2).sum() * (1 + 1e-12)
        self.result, self.limits = work["RESULT"], work["LIMITS"]
        self.limits[f.GROW], self.limits[f.SHRUNK] = GROW, SHRUNK
        self.limits[f.SYMBOLS_MOST], self.limits[f.LEAST] = DEEPEST, np.inf
        self.rng = np.random.default_rng(0)
        self.found = Found(self.balls())

    @property
    def count(self) -> int:
        """How many balls there are."""
        return int(self.work.m[w.COUNT])

    def balls(self) -> Balls:
        """The balls as they are."""
        k = self.count
        work = self.work
        return Balls(
            work["CENTRE"][:k].copy(), work["RADIUS"][:k].copy(), work["LABEL"][:k].copy(), self.T
        )

    def over(self) -> bool:
        """Whether time is up, or the user wants to end."""
        if self.stop():
            self.found.why = "it was interrupted"
        elif time.process_time() > self.end or (
            self.steps is not None and self.result[f.STEPS] > self.steps
        ):
            self.found.why = OUT_OF_TIME
        return bool(self.found.why)

    def explore(self, size: float) -> bool:
        """Step 1, with balls of that radius; False at a wrong output, or with too many balls."""
        work = self.work
        self.limits[f.CELL] = self.limits[f.LARGEST] = size
        work.m[w.COUNT], work.m[w.MOST] = 1, EXPLORED
        work["CENTRE"][0] = self.machine.start
        work["PLACE"][0] = self.T @ self.machine.start
        work["RADIUS"][0], work["LABEL"][0], work["PARENT"][0] = 0, 0, -1
        native.run(f.CLEAR, 0, work)
        native.run(f.EXPLORE, 0, work)
        work.m[w.MOST] = MOST_BALLS
        self.report("states reached", self.count, self.count)
        if self.result[f.STATUS] == f.WRONG:
            word, ball = [int(self.result[f.SYMBOL])], int(self.result[f.BALL])
            while ball > 0:
                word.append(int(work["BY"][ball]))
                ball = int(work["PARENT"][ball])
            self.found.word = word[::-1]
            return False
        if self.result[f.STATUS] == f.FULL:
            self.found.why = WHY[f.FULL]
            return False
        return True

    def follow(self, ball: int, steps: int) -> int:
        """All words from a ball; how it ended."""
        self.limits[f.WORDS_MOST] = steps
        native.run(f.FOLLOW, ball, self.work)
        return int(self.result[f.STATUS])

    def calibrate(self, size: float) -> float:
        """Step 2: the radius to begin with, 0 if there is none."""
        while not self.over():
            if not self.explore(size):
                return 0
            some = self.rng.choice(np.arange(1, self.count), min(20, self.count - 1), replace=False)
            failed = 0
            for at, ball in enumerate(some):
                status = self.follow(int(ball), TRIED_STEPS)
                if status == f.FULL:
                    self.found.why = WHY[status]
                    return 0
                failed += status != f.DONE
                if failed > 1 + at // 20 or failed > len(some) // 20 + (len(some) < 20):
                    break
            else:
                return size
            size *= SMALLER
            if size < SMALLEST:
                self.found.why = WHY[status]
                return 0
        return 0

    def finished(self) -> Found:
        """What has been found, with all numbers."""
        found = self.found
        found.balls, found.steps = self.balls(), int(self.result[f.STEPS])
        found.deepest, found.least = int(self.result[f.DEEPEST]), float(self.limits[f.LEAST])
        return found

    def run(self) -> Found:
        """Explore, calibrate, and work through the list."""
        size = LARGEST
        while not self.found.why:
            size = self.calibrate(size)
            if not size:
                break
            if self.through():
                self.found.complete = True
                break
            size *= SMALLER
        return self.finished()

    def through(self) -> bool:
        """Step 3; False where time is up, or where so many fail that all should be smaller."""
        queue, waiting = deque(range(self.count)), set(range(self.count))
        into: dict[int, set[int]] = {}
        failures, returns, sizes = 0, self.work["RETURNS"], self.work["RADIUS"]
        while queue:
            if self.over():
                return False
            ball, before = queue.popleft(), self.count
            waiting.discard(ball)
            status = self.follow(ball, MOST_STEPS)
            fresh = range(before, self.count)
            queue.extend(fresh)
            waiting.update(fresh)
            if status == f.DONE:
                for other in np.unique(returns[: self.result[f.RETURNED]]).tolist():
                    into.setdefault(other, set()).add(ball)
                self.report("balls", self.count - len(queue), self.count)
                continue
            failures += 1
            self.found.failures[WHY[status]] = self.found.failures.get(WHY[status], 0) + 1
            sizes[ball] *= SMALLER
            if status == f.FULL or sizes[ball] < SMALLEST or ball == 0:
                self.found.why = WHY[status]
                return False
            if failures > max(5, self.count // 12):
                return False
            again = ({ball} | into.pop(ball, set())) - waiting
            queue.extend(sorted(again))
            waiting |= again
        return True
