"""Training by epochs: a record an epoch, the best weights put back, going on in mid-epoch.

An epoch trains on every sequence once, in minibatches of sequences of like length, and ends with
the validation loss. The weights with the smallest one are the result, however training ends. Where
nothing is held out they are the last.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from bptt.arguments import instance
from bptt.errors import BpttError
from bptt.fitting.judging import Score, baseline_of, judged
from bptt.fitting.model import Model
from bptt.fitting.plan import Plan, plan_of
from bptt.network.batch import Batch
from bptt.network.engines import Learner
from bptt.network.network import Network
from bptt.sequences import Sequences
from bptt.sequences.epochs import Epochs
from bptt.sequences.splits import split
from bptt.training.interrupts import interrupts

# A call of the engine gets at most so many numbers of data.
CALL_NUMBERS = 500_000
# Sequences of a batch of the validation.
VALIDATION_BATCH = 256


class EpochRecord(msgspec.Struct, frozen=True):
    """What there is to say after an epoch, counted from 1.

    loss: the mean of the training losses, each before its update. val_loss, val_score: on what is
    held out (None without that); the score is an accuracy, or a root mean squared error in the
    units of the data. best: whether it was the best so far. learning_rate: of this epoch. seconds:
    of training so far.
    """

    epoch: int
    iteration: int
    loss: float
    val_loss: float | None
    val_score: float | None
    best: bool
    learning_rate: float
    seconds: float


class Progress(msgspec.Struct):
    """All plain values that change while training goes on."""

    learning_rate: float
    epoch: int = 0
    iteration: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    waited: int = 0  # epochs since the rate was changed or a best one came
    seconds: float = 0.0
    loss: float = 0.0  # of the epoch so far, times the weight
    weight: float = 0.0
    place: dict[str, int] = {}  # in the epochs
    diverged: bool = False
    history: list[EpochRecord] = []


class Fit:
    """A training on a data set; `records()` does the work.

    data: to train on, of which the plan's share is held out, unless `held` is given.

    Attributes: plan, train, held (None: nothing is held out), network (its weights are the best
    once `records` has ended), scaling, progress, reason (why it ended, '' while it has not:
    'epochs', 'patience', 'time', 'interrupted', 'diverged'), baseline, score (of the best weights
    on what is held out).

    Raises BpttError for data that cannot be learned from.
    """

    def __init__(self, plan: Plan, data: Sequences, held: Sequences | None = None) -> None:
        if data.target is None:
            raise BpttError("the sequences have no target: nothing can be learned of them")
        if held is None and plan.validation:
            data, held = split(data, plan.validation, plan.seed)
        elif held is not None and held.schema != data.schema:
            held = _alike(held, data)
        self.plan, self.train, self.held = plan, data, held
        self.scaling = data.scaling()
        structure = plan.structure(data.schema)
        self.network = Network(
            structure, seed=np.random.default_rng([plan.seed, 0]), engine=plan.engine
        )
        theta = self.network.theta.copy()
        self.learner = Learner(theta, np.zeros_like(theta), np.zeros_like(theta), None)
        self.best = theta.copy()
        order = int(np.random.default_rng([plan.seed, 1]).integers(1 << 62))
        self.epochs = Epochs(data, plan.batch, order, self.scaling, structure.dtype)
        self._validation = None if held is None else Epochs(
            held, VALIDATION_BATCH, 0, self.scaling, structure.dtype, shuffle=False
        )  # fmt: skip
        self.progress = Progress(plan.learning_rate)
        self.baseline = baseline_of(data)
        self.reason = ""
        self.score: Score | None = None

    def records(self, interrupted: Callable[[], bool] = lambda: False) -> Iterator[EpochRecord]:
        """Train, giving a record an epoch. `interrupted` is asked after every call of the engine;
        if it says so training stops there, and a later call goes on from there. However it ends,
        the network then has the best weights."""
        now = self.progress
        try:
            while not (reason := self._why_stop()):
                self.reason = ""
                while self.epochs.epoch == now.epoch and not now.diverged:
                    self._call_engine()
                    if interrupted() and self.epochs.epoch == now.epoch:
                        reason = "interrupted"
                        return
                    if self._out_of_time():
                        break
                if now.diverged or self.epochs.epoch == now.epoch:
                    continue
                yield self._record()
                if interrupted():
                    reason = "interrupted"
                    return
        finally:
            self.reason = reason
            self._put_back()

    def _out_of_time(self) -> bool:
        return self.plan.seconds is not None and self.progress.seconds >= self.plan.seconds

    def _why_stop(self) -> str:
        now = self.progress
        if now.diverged:
            return "diverged"
        if now.epoch >= self.plan.epochs:
            return "epochs"
        if self._out_of_time():
            return "time"
        patient = self.held is not None and self.plan.patience
        if patient and now.epoch - now.best_epoch >= patient:
            return "patience"
        return ""

    def _call_engine(self) -> None:
        """The next minibatches, as many as one call takes."""
        now, structure = self.progress, self.network.structure
        steps = int(self.train.lengths.max())
        most = max(1, CALL_NUMBERS // (self.plan.batch * steps * (structure.inputs + 1)))
        some = self.epochs.draw(most)
        # Batches in which no target counts teach nothing, not even that time goes by.
        axes = tuple(range(1, some.weights.ndim))
        weight = some.weights.sum(axis=axes, dtype=np.float64)
        counted = weight > 0
        if not counted.any():
            return
        started = time.perf_counter()
        batch = Batch(
            structure, some.x[counted], some.y[counted], some.lengths[counted], axes=1,
            weights=some.weights[counted],
        )  # fmt: skip
        optimizer = self.plan.rate_of(now.learning_rate)
        before = self.learner.theta.copy()
        chunk = self.network.engine.train(optimizer, self.learner, batch)
        loss = np.asarray(chunk.loss, np.float64)
        now.seconds += time.perf_counter() - started
        if not (np.isfinite(loss).all() and np.isfinite(self.learner.theta).all()):
            self.learner.theta[:] = before
            now.diverged = True
            return
        now.iteration = self.learner.iteration
        now.loss += float((loss * weight[counted]).sum())
        now.weight += float(weight.sum())

    def _record(self) -> EpochRecord:
        """The end of an epoch: validation, the best weights, the rate."""
        now, plan, rate = self.progress, self.plan, self.progress.learning_rate
        now.epoch += 1
        score = None
        if self._validation is not None:
            score = self._judge(self.learner.theta)
        better = score is None or score.loss < now.best_loss
        if better:
            now.best_epoch, now.waited = now.epoch, 0
            now.best_loss = score.loss if score else float("inf")
            self.best[:] = self.learner.theta
        else:
            now.waited += 1
            if plan.plateau and now.waited >= plan.plateau:
                now.learning_rate, now.waited = rate * plan.factor, 0
        loss = now.loss / now.weight if now.weight else float("nan")
        now.loss = now.weight = 0.0
        record = EpochRecord(
            now.epoch, now.iteration, loss, score.loss if score else None,
            score.value if score else None, better, rate, now.seconds,
        )  # fmt: skip
        now.history.append(record)
        return record

    def _judge(self, theta: Any) -> Score:
        assert self._validation is not None
        self.network.theta[:] = theta
        return judged(self.network, self._validation, self.scaling, self.baseline)

    def _put_back(self) -> None:
        """The best weights into the network; those there are, if no epoch has ended yet."""
        best = self.best if self.progress.best_epoch else self.learner.theta
        self.network.theta[:] = best
        if self._validation is not None:
            self.score = self._judge(best)

    def state(self) -> dict[str, Any]:
        """Where training stands, from which `restore` goes on to the same bits: plain values and
        arrays, which can be pickled."""
        self.progress.place = self.epochs.state()
        arrays = {"theta": self.learner.theta, "s0": self.learner.s0, "s1": self.learner.s1}
        return {
            "progress": msgspec.to_builtins(self.progress),
            "best": self.best.copy(),
            **{name: values.copy() for name, values in arrays.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken, in a training of the same plan and data."""
        self.progress = msgspec.convert(state["progress"], Progress)
        self.epochs.restore(self.progress.place)
        self.learner.iteration = self.progress.iteration
        self.best[:] = state["best"]
        for name in ("theta", "s0", "s1"):
            getattr(self.learner, name)[:] = state[name]

    def model(self) -> Model:
        """What has been learned."""
        return Model(
            self.network, self.train.schema, self.scaling, self.baseline,
            list(self.progress.history), self.reason, self.progress.best_epoch, self.score,
        )  # fmt: skip


def _alike(held: Sequences, data: Sequences) -> Sequences:
    """Validation data whose classes are numbered as those of the training. Raises BpttError for
    other channels, for another target, and for a class that training has not."""
    own, wanted = held.schema, data.schema
    if own.channels != wanted.channels:
        raise BpttError(
            f"the validation data have the channels {', '.join(own.channels[:8])}, those trained "
            f"on {', '.join(wanted.channels[:8])}: read them with like="
        )
    if (own.kind, own.per, own.target) != (wanted.kind, wanted.per, wanted.target):
        raise BpttError(
            "the validation data have another target than those trained on: read them with like="
        )
    return held.recoded(wanted.classes)


def fit(data: Sequences, validation_data: Sequences | None = None, **options: Any) -> Model:
    """Train a network on sequences and give the model.

    options: those of `bptt.fitting.plan.Plan`: cell, hidden, layers, learning_rate, batch, epochs,
    validation, patience, plateau, seconds, seed and others. Ctrl-C ends training; the model then
    has the best weights so far.

    Raises BpttError for an option that is not known, and for data that cannot be learned from.
    """
    if not isinstance(data, Sequences):
        raise BpttError(
            f"a {type(data).__name__} cannot be learned from: make bptt.Sequences of it"
        )
    if validation_data is not None:
        instance("validation_data", validation_data, Sequences, "bptt.Sequences")
    work = Fit(plan_of(options), data, validation_data)
    with interrupts() as received:
        for _ in work.records(lambda: bool(received)):
            pass
    return work.model()
