"""Training: a run gives records, and everything else consumes them.

Between two records all work is done by the engine, in calls short enough that an interrupt is
answered at once. How the iterations are cut into calls changes no number.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.engines import Chunk, Learner, initial_states
from bptt.evaluation import Verdict, evaluate
from bptt.network import Network
from bptt.settings import Settings
from bptt.tasks.task import Batch

# A call of the engine is to take about this long, and to need no more data than this.
CALL_SECONDS = 0.1
CALL_NUMBERS = 500_000
SMOOTHING = 0.999


@dataclass(frozen=True)
class Record:
    """What happened since the last record.

    iteration: how many have been done. loss: mean of the iterations' losses, in the network's
    reduction. loss_per_step: mean loss of one counted step, in nats (or squared units). wrong:
    share of wrong outputs; exact: share of sequences without one. gradient_norm: mean, before
    clipping. smooth_loss: see `bptt.settings.Stop`. seconds: time in training so far.
    """

    iteration: int
    loss: float
    loss_per_step: float
    wrong: float
    exact: float
    gradient_norm: float
    smooth_loss: float
    seconds: float


@dataclass(frozen=True)
class Divergence:
    """Where a run's numbers stopped being finite. The weights kept are those before it."""

    iteration: int
    what: str

    def __str__(self) -> str:
        return f"diverged at iteration {self.iteration}: {self.what}"

    @classmethod
    def from_text(cls, text: str) -> "Divergence | None":
        """What `str` made of one, read back; None for any other text."""
        match = re.fullmatch(r"diverged at iteration (\d+): (.*)", text)
        return cls(int(match[1]), match[2]) if match else None


@dataclass
class Pending:
    """Per-iteration results since the last record."""

    loss: list[float] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    exact: list[int] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def add(self, chunk: Chunk, steps: NDArray[np.integer]) -> None:
        """Append the iterations of a chunk."""
        for mine, new in (
            (self.loss, chunk.loss),
            (self.wrong, chunk.wrong),
            (self.exact, chunk.exact),
            (self.norm, chunk.norm),
            (self.steps, steps),
        ):
            mine.extend(new.tolist())


class Training:
    """A training run: `records()` does the work; the rest is its state.

    Attributes: settings, task, network, learner (weights and optimizer state), stream (the data),
    history (the records so far), seconds, divergence (None while all is well), verdict (None until
    tested), reason (why it ended, '' while it has not).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.task = settings.make_task()
        structure = settings.structure
        self.network = Network(
            structure,
            seed=np.random.default_rng([settings.seed, 0]),
            initializers=settings.initializers,
            forget_bias=settings.forget_bias,
            engine=settings.engine,
        )
        data_seed = int(np.random.default_rng([settings.seed, 1]).integers(1 << 62))
        self.stream = self.task.stream(data_seed, settings.batch, structure.dtype)
        theta = self.network.theta
        state = None
        if self.task.name == "text":
            state = initial_states(structure, theta, None, settings.batch)
        self.learner = Learner(theta, np.zeros_like(theta), np.zeros_like(theta), state)
        self.history: list[Record] = []
        self.pending = Pending()
        self.smooth_loss = self._loss_of_guessing()
        self.seconds = 0.0
        self.divergence: Divergence | None = None
        self.verdict: Verdict | None = None
        self.reason = ""
        self._iteration_seconds, self._warm = 0.0, False

    def _loss_of_guessing(self) -> float:
        """The loss of a network that gives every answer the same chance."""
        structure = self.settings.structure
        if structure.head.classes:
            per_step = math.log(structure.outputs)
        elif structure.loss == "cross_entropy":
            per_step = structure.outputs * math.log(2)
        else:
            per_step = structure.outputs / 8
        steps = self.task.steps if structure.readout == "steps" else 1
        factor = {"sum": self.settings.batch * steps, "sequence": steps, "mean": 1}
        return per_step * factor[structure.reduction]

    def records(self, interrupted: Callable[[], bool] = lambda: False) -> Iterator[Record]:
        """Train, giving a record every `record_every` iterations and at the end.

        `interrupted` is asked after every call of the engine; if it says so, training stops there,
        `reason` is 'interrupted', and a later call goes on from there. When the iterator is
        exhausted, `reason` tells why.
        """
        while True:
            # Asked first, so that a run resumed after its last record ends as it would have.
            self.reason = "" if self.pending.loss else self._why_stop()
            if self.reason:
                break
            goal = (len(self.history) + 1) * self.settings.record_every
            goal = min(goal, self.settings.iterations)
            while self.learner.iteration < goal and not self.divergence:
                self._call_engine(goal - self.learner.iteration)
                if interrupted() and self.learner.iteration < goal and not self.divergence:
                    self.reason = "interrupted"
                    return
            if self.pending.loss:
                self.history.append(self._record())
                yield self.history[-1]
            if interrupted() and not self.divergence:
                self.reason = "interrupted"
                return
        if self.verdict is None:
            self.verdict = evaluate(self.network, self.task)

    def _call_engine(self, most: int) -> None:
        """One call of the engine: as many iterations as take about CALL_SECONDS."""
        per_step = 2 if self.task.ids else self.task.inputs + self.task.outputs
        numbers = self.settings.batch * self.task.steps * per_step
        count = max(1, min(most, CALL_NUMBERS // numbers))
        if self._iteration_seconds:
            count = max(1, min(count, int(CALL_SECONDS / self._iteration_seconds)))
        else:
            count = min(count, 10)  # how long an iteration takes is not known yet
        before = _Snapshot(self)
        started = time.perf_counter()
        batch = self.stream.draw(count)
        chunk = self._train(batch)
        elapsed = time.perf_counter() - started
        if self._warm:  # the first call includes compilation
            self._iteration_seconds = elapsed / count
        self._warm = True
        if self._is_finite(chunk):
            self.pending.add(chunk, self._counted_steps(batch))
            self.seconds += elapsed
        else:
            self._find_divergence(before, batch)

    def _train(self, batch: Batch) -> Chunk:
        count, samples, steps = batch.x.shape[:3]
        lengths = batch.lengths
        if lengths is None:
            lengths = np.full((count, samples), steps, np.intp)
        reset = np.ones(count, np.bool_) if batch.reset is None else batch.reset
        structure, optimizer = self.settings.structure, self.settings.optimizer
        return self.network.engine.train(
            structure, optimizer, self.learner, batch.x, batch.y, lengths, reset
        )

    def _is_finite(self, chunk: Chunk) -> bool:
        """Whether losses, gradients and weights of a call are all finite numbers."""
        numbers = (chunk.loss, chunk.norm, self.learner.theta)
        return all(bool(np.isfinite(each).all()) for each in numbers)

    def _counted_steps(self, batch: Batch) -> NDArray[np.integer]:
        """How many steps of each iteration counted in the loss."""
        count, samples, steps = batch.x.shape[:3]
        if self.settings.structure.readout == "last":
            return np.full(count, samples)
        if batch.lengths is None:
            return np.full(count, samples * steps)
        counted: NDArray[np.integer] = batch.lengths.sum(axis=1)
        return counted

    def _find_divergence(self, before: "_Snapshot", batch: Batch) -> None:
        """Go through a bad call again, one iteration at a time, and stop before the bad one."""
        before.restore(self)
        for n in range(len(batch.x)):
            good = _Snapshot(self)
            one = Batch(
                batch.x[n : n + 1],
                batch.y[n : n + 1],
                None if batch.lengths is None else batch.lengths[n : n + 1],
                None if batch.reset is None else batch.reset[n : n + 1],
            )
            chunk = self._train(one)
            if self._is_finite(chunk):
                self.pending.add(chunk, self._counted_steps(one))
                continue
            finite = np.isfinite(self.learner.theta)
            if np.isfinite(chunk.norm).all() and np.isfinite(chunk.loss).all():
                name, index = self.settings.structure.layout().name_of(int(np.argmin(finite)))
                what = f"the update made {name}{list(index)} {self.learner.theta[~finite][0]}"
            else:
                good.restore(self)
                what = self._first_in_forward(one, chunk)
            good.restore(self)
            self.divergence = Divergence(good.iteration + 1, what)
            return

    def _first_in_forward(self, one: Batch, chunk: Chunk) -> str:
        """What is not finite first when the batch is walked: state, output, loss or gradient."""
        lengths = None if one.lengths is None else one.lengths[0]
        afresh = one.reset is None or bool(one.reset[0])
        state = None if afresh else self.learner.state
        found = self.network.forward(one.x[0], lengths, state)
        for name, values in (("state h", found.state), ("output o", found.o)):
            if not np.isfinite(values).all():
                return f"the {name} became {values[~np.isfinite(values)][0]}"
        if not np.isfinite(chunk.loss).all():
            return f"the loss became {chunk.loss[0]}"
        return f"the gradient's norm became {chunk.norm[0]}"

    def _record(self) -> Record:
        """A record of what is pending."""
        pending, self.pending = self.pending, Pending()
        outputs = 1 if self.settings.structure.head.classes else self.settings.structure.outputs
        for loss in pending.loss:
            self.smooth_loss = SMOOTHING * self.smooth_loss + (1 - SMOOTHING) * loss
        count, steps = len(pending.loss), sum(pending.steps)
        weight = {
            "sum": steps, "sequence": steps / self.settings.batch, "mean": count
        }[self.settings.structure.reduction]  # fmt: skip
        return Record(
            iteration=self.learner.iteration,
            loss=math.fsum(pending.loss) / count,
            loss_per_step=math.fsum(pending.loss) / weight,
            wrong=sum(pending.wrong) / (steps * outputs),
            exact=sum(pending.exact) / (count * self.settings.batch),
            gradient_norm=math.fsum(pending.norm) / count,
            smooth_loss=self.smooth_loss,
            seconds=self.seconds,
        )

    def _why_stop(self) -> str:
        """Why training ends after the last record; '' if it goes on."""
        stop, record = self.settings.stop, self.history[-1] if self.history else None
        if self.divergence:
            return "diverged"
        if record is not None:
            if stop.exact and record.wrong == 0:
                verdict = evaluate(self.network, self.task)
                if verdict.passed:
                    self.verdict = verdict
                    return "exact"
            if stop.loss is not None and record.loss <= stop.loss:
                return "loss"
            if stop.smooth_loss is not None and record.smooth_loss < stop.smooth_loss:
                return "smooth loss"
            if stop.seconds is not None and self.seconds >= stop.seconds:
                return "time"
        return "iterations" if self.learner.iteration >= self.settings.iterations else ""


class _Snapshot:
    """The learner's numbers at one moment."""

    def __init__(self, training: Training) -> None:
        learner = training.learner
        self.iteration = learner.iteration
        self._arrays: list[Any] = [
            None if a is None else a.copy()
            for a in (learner.theta, learner.s0, learner.s1, learner.state)
        ]

    def restore(self, training: Training) -> None:
        """Put the numbers back."""
        learner = training.learner
        learner.iteration = self.iteration
        current = (learner.theta, learner.s0, learner.s1, learner.state)
        for mine, then in zip(current, self._arrays, strict=True):
            if mine is not None:
                mine[:] = then
