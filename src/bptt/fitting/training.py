"""Training by epochs: a record an epoch, the best weights put back, going on in mid-epoch.

An epoch trains on every sequence once, in minibatches of sequences of like length, and ends with
the validation loss. The weights with the smallest one are the result, however training ends. Where
nothing is held out they are the last.

Long sequences are walked in windows (`Plan.window`): truncated backpropagation through time, the
state carried from window to window and set back where a new sequence begins. A window in which
nothing counts, as while the state warms up, is walked forward alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from bptt.equations.optimizers import Optimizer
from bptt.errors import BpttError
from bptt.fitting.judging import Score, balanced, baseline_of, for_judging, judged, wanted
from bptt.fitting.model import Model
from bptt.fitting.plan import Plan
from bptt.network.batch import Batch
from bptt.network.engines import Learner, initial_states
from bptt.network.network import Network
from bptt.sequences import Sequences
from bptt.sequences.epochs import Epochs, Minibatches
from bptt.sequences.splits import places, split
from bptt.training import moves
from bptt.training.training import Pace

# A call of the engine gets at most so many numbers of data.
CALL_NUMBERS = 500_000


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
    best_loss: float | None = None
    waited: int = 0  # epochs since the rate was changed or a best one came
    seconds: float = 0.0
    since: float = 0.0  # seconds that the time limit does not count
    loss: float = 0.0  # of the epoch so far, times the weight
    weight: float = 0.0
    place: dict[str, int] = {}  # in the epochs
    diverged: bool = False
    history: list[EpochRecord] = []
    arithmetic: list[str] | None = None  # `bptt.training.moves`


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
        if data.target.ahead:
            plan.structure.refuse_both_directions("it would find there what comes next")
        if held is None and plan.validation:
            data, held = split(data, plan.validation, plan.seed)
        elif held is not None and held.schema != data.schema:
            held = _alike(held, data)
        self.plan, self.train, self.held = plan, data, held
        self.scaling = data.scaling()
        structure = plan.network(data.schema)
        self.network = Network(
            structure, seed=np.random.default_rng([plan.seed, 0]), engine=plan.engine
        )
        theta = self.network.theta.copy()
        self.learner = Learner(
            theta, np.zeros_like(theta), np.zeros_like(theta), None, seed=plan.seed
        )
        self.best = theta.copy()
        self.epochs = self._epochs()
        self._validation = None if held is None else for_judging(
            held, self.scaling, structure.dtype, plan.warm_up
        )  # fmt: skip
        self.progress = Progress(plan.optimizer.learning_rate)
        self.baseline = baseline_of(data, self.scaling, plan)
        self.reason = ""
        self.score: Score | None = None
        self._pace = Pace(CALL_NUMBERS)
        self._made: tuple[tuple[float, int], Optimizer] | None = None

    def _epochs(self) -> Epochs:
        """The minibatches to train on."""
        plan, data = self.plan, self.train
        if plan.window:
            data = places(data, plan.batch, plan.warm_up, plan.window)
        if plan.warm_up and data.schema.per == "step" and data.lengths.max() <= plan.warm_up:
            raise BpttError(
                f"warm_up {plan.warm_up}: no sequence is longer, up to {data.lengths.max()} steps: "
                "nothing would count"
            )
        if plan.class_weight:
            data = balanced(data)
        order = int(np.random.default_rng([plan.seed, 1]).integers(1 << 62))
        return Epochs(
            data, plan.batch, order, self.scaling, self.network.structure.dtype,
            window=plan.window, warm_up=plan.warm_up,
        )  # fmt: skip

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

    def move(self) -> str:
        """What is to be said where this goes on with another arithmetic than before; or ''."""
        return moves.move(self.progress.arithmetic or [], self.network.engine.arithmetic)

    def grant_time(self) -> None:
        """A training that goes on after it had used up its seconds has as many again."""
        if self._out_of_time():
            self.progress.since = self.progress.seconds

    def _out_of_time(self) -> bool:
        limit, now = self.plan.seconds, self.progress
        return limit is not None and now.seconds - now.since >= limit

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
        plan, structure = self.plan, self.network.structure
        steps = plan.window or int(self.train.lengths.max())
        numbers = plan.batch * steps * (structure.inputs + 1)
        some = self.epochs.draw(self._pace.count(self.epochs.batches, numbers))
        # Batches in which no target counts teach nothing, not even that time goes by.
        weight = some.weights.sum(axis=tuple(range(1, some.weights.ndim)), dtype=np.float64)
        counted = weight > 0
        started = time.perf_counter()
        if plan.window:
            edges = [0, *(np.flatnonzero(counted[1:] != counted[:-1]) + 1), len(counted)]
            for first, end in pairwise(edges):
                part = slice(first, end)
                if counted[first]:
                    self._learn(some, part, weight[part])
                else:
                    self._warm_up(some, range(first, end))
        elif counted.all():
            self._learn(some, slice(None), weight)
        elif counted.any():
            self._learn(some, counted, weight[counted])
        elapsed = time.perf_counter() - started
        self._pace.learn(elapsed, len(some))
        self.progress.seconds += elapsed

    def _warm_up(self, some: Minibatches, windows: range) -> None:
        """Walk windows in which nothing counts, for the state alone."""
        engine, structure, learner = self.network.engine, self.network.structure, self.learner
        for n in windows:
            state = None if some.reset[n] else learner.state
            batch = Batch(structure, some.x[n], lengths=some.lengths[n], state=state)
            learner.state = np.ascontiguousarray(engine.forward(learner.theta, batch).state)

    def _learn(self, some: Minibatches, which: Any, weight: Any) -> None:
        """Train on some of the minibatches, whose weights come to `weight`."""
        now, plan, structure = self.progress, self.plan, self.network.structure
        if now.diverged:
            return
        x, y, reset = some.x[which], some.y[which], some.reset[which]
        if plan.window and (self.learner.state is None or reset[0]):
            start = initial_states(structure, self.learner.theta, None, x.shape[1])
            self.learner.state = start
        batch = Batch(
            structure, x, wanted(y, structure.head, len(plan.levels)), some.lengths[which], axes=1,
            reset=reset if plan.window else None, weights=some.weights[which],
        )  # fmt: skip
        optimizer = self._optimizer(now.learning_rate, plan.decay_over * self.epochs.batches)
        before, engine = self.learner.theta.copy(), self.network.engine
        so_far = moves.kept(now.arithmetic, now.iteration)
        now.arithmetic = moves.gone_on(so_far, engine.arithmetic)
        chunk = engine.train(optimizer, self.learner, batch)
        loss = np.asarray(chunk.loss, np.float64)
        if not (np.isfinite(loss).all() and np.isfinite(self.learner.theta).all()):
            self.learner.theta[:] = before
            now.diverged = True
            return
        now.iteration = self.learner.iteration
        # One after another, so that the sum does not depend on how the work was cut.
        for each, counts in zip(loss.tolist(), weight.tolist(), strict=True):
            now.loss += each * counts
            now.weight += counts

    def _optimizer(self, rate: float, iterations: int) -> Optimizer:
        """The optimizer at a rate, made anew only when that changes."""
        known = (rate, iterations)
        if self._made is None or self._made[0] != known:
            self._made = known, self.plan.rate_of(*known)
        return self._made[1]

    def _record(self) -> EpochRecord:
        """The end of an epoch: validation, the best weights, the rate."""
        now, plan, rate = self.progress, self.plan, self.progress.learning_rate
        now.epoch += 1
        score = None
        if self._validation is not None:
            score = self._judge(self.learner.theta)
        better = score is None or now.best_loss is None or score.loss < now.best_loss
        if better:
            now.best_epoch, now.waited = now.epoch, 0
            now.best_loss = score.loss if score else None
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
        return judged(
            self.network, self._validation, self.scaling, self.baseline, len(self.plan.levels)
        )

    def _put_back(self) -> None:
        """The best weights into the network; those there are, if no epoch has ended yet."""
        best = self.best if self.progress.best_epoch else self.learner.theta
        self.network.theta[:] = best
        if self._validation is not None:
            self.score = self._judge(best)

    def state(self) -> dict[str, Any]:
        """Where training stands, from which `restore` goes on to the same bits: plain values and
        arrays."""
        self.progress.place = self.epochs.state()
        learner = self.learner
        arrays = {"theta": learner.theta, "s0": learner.s0, "s1": learner.s1, "best": self.best}
        if learner.state is not None:
            arrays["state"] = learner.state
        return {
            "progress": msgspec.to_builtins(self.progress),
            **{name: values.copy() for name, values in arrays.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken, in a training of the same plan and data. Raises BpttError
        for what is no state of one."""
        arrays = {"theta": self.learner.theta, "s0": self.learner.s0, "s1": self.learner.s1,
                  "best": self.best}  # fmt: skip
        try:
            progress = msgspec.convert(state["progress"], Progress)
            for name, values in arrays.items():
                if state[name].shape != values.shape or state[name].dtype != values.dtype:
                    raise BpttError(f"{name} is of another network")
                values[:] = state[name]
        except (msgspec.ValidationError, KeyError, AttributeError) as error:
            raise BpttError(f"this is no state of a training: {error}") from None
        self.epochs.restore(progress.place)
        self.progress = progress
        self.learner.iteration = progress.iteration
        carried = state.get("state")
        self.learner.state = None if carried is None else carried.copy()

    def model(self) -> Model:
        """What has been learned."""
        return Model(
            self.network, self.train.schema, self.scaling, self.baseline, self.plan.levels,
            self.plan.warm_up, list(self.progress.history), self.reason, self.progress.best_epoch,
            self.score,
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
