"""Training: a run gives records, and everything else consumes them.

Between two records all work is done by the engine, in calls short enough that an interrupt is
answered at once. How the iterations are cut into calls changes no number.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bptt.floats import usual
from bptt.network.batch import Batch
from bptt.network.engines import Chunk, Engine, Learner, initial_states
from bptt.network.network import Network
from bptt.proofs import native
from bptt.proofs.prove import proved_quickly
from bptt.tasks.batches import Batches
from bptt.tasks.task import Task, Verdict
from bptt.training import moves
from bptt.training.records import (
    Divergence,
    Pending,
    Record,
    counted_steps,
    reached,
    summarise,
)
from bptt.training.settings import Settings

# A call of the engine is to take about this long, and to need no more data than this.
CALL_SECONDS = 0.1
# Proofs are tried when there are so many times the iterations of the last time.
PROOF_GROWTH = 1.25
CALL_NUMBERS = 500_000


class Pace:
    """How many iterations a call of the engine does, learnt from the calls before.

    a_call: how long it is to take. seconds: what an iteration of one model took in the last call; 0
    while that is not known.
    """

    def __init__(self, most_numbers: int, a_call: float = CALL_SECONDS) -> None:
        self.most_numbers, self.a_call = most_numbers, a_call
        self.seconds, self._warm = 0.0, False

    def count(self, most: int, numbers: int, models: int = 1) -> int:
        """At most `most`; `numbers`: the data of one iteration of one of the models."""
        count = min(most, self.most_numbers // (numbers * models))
        # Few as long as it is not known how long an iteration takes.
        known = int(self.a_call / (self.seconds * models)) if self.seconds else 10
        return max(1, min(count, known))

    def learn(self, seconds: float, count: int, models: int = 1) -> None:
        """A call of that many iterations took that long."""
        if self._warm:  # the first call includes compilation
            self.seconds = seconds / (count * models)
        self._warm = True


def numbers_a_step(task: Task) -> int:
    """How many numbers a step of a sequence and its answer have."""
    return (1 if task.one_hot else task.inputs) + (1 if task.classes else task.outputs)


class Training:
    """A training run: `records()` does the work; the rest is its state.

    engine: that of the settings, where it exists already and is to be shared. call_seconds: how
    long a call of the engine is to take, and an interrupt to wait; it changes no number.

    Attributes: settings, task, network, learner (weights and optimizer state), stream (the data),
    history (the records so far), seconds, divergence (None while all is well), verdict (None until
    tested), reason (why it ended, '' while it has not), arithmetic (`bptt.training.moves`).
    """

    @usual
    def __init__(
        self, settings: Settings, engine: Engine | None = None, call_seconds: float = CALL_SECONDS
    ) -> None:
        self.settings = settings
        self.task: Task = settings.task
        structure = settings.structure
        self.network = Network(
            structure,
            seed=np.random.default_rng([settings.seed, 0]),
            initializers=settings.initializers,
            forget_bias=settings.forget_bias,
            engine=engine or settings.engine,
        )
        data_seed = int(np.random.default_rng([settings.seed, 1]).integers(1 << 62))
        self.stream = self.task.stream(data_seed, settings.batch, structure.dtype)
        theta = self.network.theta
        state = None
        if self.task.carries_state:
            state = initial_states(structure, theta, None, settings.batch)
        self.learner = Learner(
            theta, np.zeros_like(theta), np.zeros_like(theta), state, seed=settings.seed
        )
        self.history: list[Record] = []
        self.smooth_loss = self._loss_of_guessing()
        self.pending = Pending(self.smooth_loss)
        self.seconds, self._since = 0.0, 0.0
        self.divergence: Divergence | None = None
        self.verdict: Verdict | None = None
        self.reason = ""
        self.arithmetic: list[str] = []
        self._pace = Pace(CALL_NUMBERS, call_seconds)

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
        if self.settings.stop.proved:
            native.begin()
        while True:
            # Asked first, so that a run resumed after its last record ends as it would have.
            self.reason = "" if self.pending else self.why_stop()
            if self.reason:
                break
            goal = self.learner.iteration + self.until_record()
            while self.learner.iteration < goal and not self.divergence:
                self._call_engine(goal - self.learner.iteration)
                if interrupted() and self.learner.iteration < goal and not self.divergence:
                    self.reason = "interrupted"
                    return
            if self.pending:
                yield self.record()
            if interrupted() and not self.divergence:
                self.reason = "interrupted"
                return
        if self.verdict is None:
            self.verdict = self.task.test(self.network)

    def advance(self, iterations: int) -> None:
        """Do so many iterations, or as many as there are before numbers diverge, without a record;
        they count in the next one."""
        goal = self.learner.iteration + iterations
        while self.learner.iteration < goal and not self.divergence:
            self._call_engine(goal - self.learner.iteration)

    def move(self) -> str:
        """What is to be said where this goes on with another arithmetic than before; or ''."""
        return moves.move(self.arithmetic, self.network.engine.arithmetic)

    def grant_time(self) -> None:
        """A run that goes on after it had used up its seconds has as many again."""
        limit = self.settings.stop.seconds
        if limit is not None and self.seconds >= limit:
            self._since = self.seconds

    def until_record(self) -> int:
        """How many iterations there are to the next record."""
        every, done = self.settings.record_every, self.learner.iteration
        return min(every - done % every, self.settings.iterations - done)

    def at_record(self) -> bool:
        """Whether a record is due after the last iteration done."""
        done = self.learner.iteration
        return done % self.settings.record_every == 0 or done == self.settings.iterations

    def numbers_an_iteration(self) -> int:
        """How much data an iteration needs."""
        return self.settings.batch * self.task.steps * numbers_a_step(self.task)

    @usual
    def _call_engine(self, most: int) -> None:
        """One call of the engine: as many iterations as take about CALL_SECONDS."""
        count = self._pace.count(most, self.numbers_an_iteration())
        before, stream = _Snapshot(self), copy.copy(self.stream)
        started = time.perf_counter()
        try:
            batches = self.stream.draw(count)
            chunk = self._train(batches)
        except BaseException:  # a second Ctrl-C: the engine may have changed some numbers already
            before.restore(self)
            self.stream.restore(stream.state())
            raise
        elapsed = time.perf_counter() - started
        self._pace.learn(elapsed, count)
        if self._is_finite(chunk):
            self._add(chunk, batches)
            self.seconds += elapsed
        else:
            before.restore(self)
            self.find_divergence(batches)

    def batch(self, batches: Batches, axes: int = 1) -> Batch:
        """What a task has given, checked against the network; with axes 2 for models like it."""
        return Batch(
            self.settings.structure, batches.x, batches.y, batches.lengths,
            reset=batches.reset, axes=axes,
        )  # fmt: skip

    def _train(self, batches: Batches) -> Chunk:
        """The iterations of these batches by the engine."""
        optimizer, engine = self.settings.optimizer, self.network.engine
        self.arithmetic = moves.gone_on(self.arithmetic, engine.arithmetic)
        return engine.train(optimizer, self.learner, self.batch(batches))

    def _is_finite(self, chunk: Chunk) -> bool:
        """Whether losses, gradients and weights of a call are all finite numbers."""
        numbers = (chunk.loss, chunk.norm, self.learner.theta)
        return all(bool(np.isfinite(each).all()) for each in numbers)

    def _add(self, chunk: Chunk, batches: Batches) -> None:
        """Keep a call's results for the next record."""
        shape = batches.x.shape[:3]
        steps = counted_steps(self.settings.structure, shape, batches.lengths)
        self.pending.add(chunk, steps)

    def find_divergence(self, batches: Batches) -> None:
        """Of batches of which one spoils a number, do those before the first that does."""
        start = _Snapshot(self)

        def after(count: int) -> Chunk:
            start.restore(self)
            return self._train(batches[:count])

        chunk = after(len(batches.x))
        bad = np.flatnonzero(~(np.isfinite(chunk.loss) & np.isfinite(chunk.norm)))
        # Weights that are not finite stay so: the first time can be found by halving. Before the
        # iterations `good` they are finite, after `spoilt` they are not, or its loss is not.
        good, spoilt = 0, int(bad[0]) + 1 if bad.size else len(batches.x)
        while spoilt - good > 1:
            middle = (good + spoilt) // 2
            after(middle)
            if np.isfinite(self.learner.theta).all():
                good = middle
            else:
                spoilt = middle
        start.restore(self)
        if good:
            well = batches[:good]
            self._add(self._train(well), well)
        self._name_divergence(batches[good : good + 1])

    def _name_divergence(self, one: Batches) -> None:
        """Find out what an iteration spoils first, without doing it."""
        before = _Snapshot(self)
        chunk = self._train(one)
        theta = self.learner.theta.copy()
        before.restore(self)
        finite = np.isfinite(theta)
        if np.isfinite(chunk.norm).all() and np.isfinite(chunk.loss).all():
            name, index = self.settings.structure.layout().name_of(int(np.argmin(finite)))
            what = f"the update made {name}{list(index)} {theta[~finite][0]}"
        else:
            what = self._first_in_forward(one, chunk)
        self.divergence = Divergence(self.learner.iteration + 1, what)

    def _first_in_forward(self, one: Batches, chunk: Chunk) -> str:
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

    @usual
    def record(self) -> Record:
        """Make a record of what is pending."""
        totals = self.pending.whole()
        columns = summarise(self.settings.structure, self.settings.batch, totals)
        self.take_record({name: float(column[0]) for name, column in columns.items()})
        self.pending = Pending(self.smooth_loss)
        return self.history[-1]

    def take_record(self, values: dict[str, float]) -> None:
        """The next record, from the values that `summarise` gives."""
        self.smooth_loss = values["smooth_loss"]
        self.history.append(
            Record(iteration=self.learner.iteration, seconds=self.seconds, **values)
        )

    def proof_due(self) -> bool:
        """Whether a proof is to be tried at the last record: when iterations have grown by
        `PROOF_GROWTH` since the last time, and when they are done. A function of their number
        alone, so that a run that was interrupted tries again where it would have."""
        now, settings = self.learner.iteration, self.settings
        before = (now - 1) // settings.record_every * settings.record_every
        powers = [math.floor(math.log(max(each, 1), PROOF_GROWTH)) for each in (before, now)]
        return powers[1] > powers[0] or now >= settings.iterations

    def why_stop(self) -> str:
        """Why training ends after the last record; '' if it goes on."""
        stop = self.settings.stop
        if self.divergence:
            return "diverged"
        if self.history:
            record = self.history[-1]
            # Noise may spoil outputs in training that are right without it.
            exact = stop.exact and record.wrong == 0
            if self.proof_due() if stop.proved else exact:
                verdict = self.task.test(self.network, give_up=True)
                if verdict.passed and (not stop.proved or proved_quickly(self.network, self.task)):
                    self.verdict = verdict
                    return "proved" if stop.proved else "exact"
            reason = reached(stop, record, self._since)
            if reason:
                return reason
        return "iterations" if self.learner.iteration >= self.settings.iterations else ""


class _Snapshot:
    """The learner's numbers at one moment: those that training changes."""

    def __init__(self, training: Training) -> None:
        learner, kept = training.learner, training.settings.optimizer.rule.states
        self.iteration = learner.iteration
        self._arrays: dict[str, Any] = {
            name: getattr(learner, name).copy()
            for name in ("theta", *kept, *(["state"] if learner.state is not None else []))
        }

    def restore(self, training: Training) -> None:
        """Put the numbers back."""
        training.learner.iteration = self.iteration
        for name, then in self._arrays.items():
            getattr(training.learner, name)[:] = then
