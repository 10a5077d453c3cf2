"""The compiled engine: arrays of the public shapes in, kernels called, public shapes out."""

from collections.abc import Sequence

import numpy as np

from bptt.engines import Anything, Chunk, Forward, Gradient, Learner, initial_states
from bptt.kernels import training, walk
from bptt.kernels.plan import Plan, Work, make_plan, make_work
from bptt.optimizers import Optimizer
from bptt.parameters import Array
from bptt.structure import Structure


class CompiledEngine:
    """The engine that runs `bptt.kernels`. Keeps the arrays of the last sizes it worked on."""

    def __init__(self) -> None:
        self._key: object = None
        self._plan: Plan | None = None
        self._work: Work | None = None

    def _prepared(
        self, structure: Structure, x: Anything, want_gradient: bool, want_dx: bool
    ) -> tuple[Plan, Work]:
        """Plan and arrays for a batch x (B, T, ...)."""
        one_hot = x.ndim == 2
        key = (structure, x.shape[:2], one_hot, want_gradient, want_dx)
        if key != self._key or self._plan is None or self._work is None:
            self._plan = make_plan(structure, x.shape[0], x.shape[1], one_hot)
            self._work = make_work(structure, self._plan, want_gradient, want_dx and not one_hot)
            self._key = key
        return self._plan, self._work

    def _walk(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything | None,
        lengths: Anything,
        state: Array | None,
    ) -> tuple[float, Plan, Work]:
        """One batch forward, and backward if there are targets."""
        want_gradient = y is not None
        plan, work = self._prepared(structure, x, want_gradient, want_gradient)
        values, ids = _split(plan, x[None], structure.dtype)
        if y is None:
            rows = work.o.shape[0]
            y = np.zeros((plan.B, rows) if plan.output == 3 else (plan.B, rows, plan.O), np.int64)
            y = y[:, 0] if plan.last else y
        targets, classes = _split_targets(plan, y[None], structure.dtype)
        alive = np.arange(plan.T)[:, None] < lengths
        start = initial_states(structure, theta, state, plan.B)
        work.states[:, 0] = start.reshape(plan.layers, plan.S, -1)
        data = (values[0], ids[0], targets[0], classes[0], alive, bool(alive.all()))
        loss, _, _ = walk.walk(structure.equations, plan, theta, data, state is None, work)
        return float(loss), plan, work

    def forward(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Forward:
        """See `bptt.engines.Engine.forward`."""
        _, plan, work = self._walk(structure, theta, x, None, lengths, state)
        p, o = work.p.copy(), work.o.copy()
        if plan.last:
            return Forward(p[0], o[0], _final_state(plan, work))
        return Forward(np.swapaxes(p, 0, 1), np.swapaxes(o, 0, 1), _final_state(plan, work))

    def gradient(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Gradient:
        """See `bptt.engines.Engine.gradient`."""
        loss, plan, work = self._walk(structure, theta, x, y, lengths, state)
        dx = None
        if work.dx.size:
            dx = np.swapaxes(work.dx.reshape(plan.T, plan.B, plan.D), 0, 1).copy()
        ds = work.ds0.reshape(plan.layers, plan.S, plan.B, plan.H).copy()
        return Gradient(loss, work.g.copy(), dx, ds, _final_state(plan, work))

    def train(
        self,
        structure: Structure,
        optimizer: Optimizer,
        learner: Learner,
        x: Anything,
        y: Anything,
        lengths: Anything,
        reset: Anything,
    ) -> Chunk:
        """See `bptt.engines.Engine.train`."""
        count = len(x)
        plan, work = self._prepared(structure, x[0], True, False)
        values, ids = _split(plan, x, structure.dtype)
        targets, classes = _split_targets(plan, y, structure.dtype)
        full = bool((lengths == plan.T).all())
        alive = np.arange(plan.T)[:, None] < (lengths[:1] if full else lengths)[:, None]
        carry = learner.state is not None
        if learner.state is not None:
            work.states[:, 0] = learner.state.reshape(plan.layers, plan.S, -1)
        coefficients = optimizer.coefficients(learner.iteration, count).astype(structure.dtype)
        results = np.zeros((4, count))
        training.train(
            structure.equations, plan, optimizer.rule.code, optimizer.clips, coefficients,
            learner.theta, learner.s0, learner.s1, values, ids, targets, classes, alive, full,
            reset, carry, work, results,
        )  # fmt: skip
        if learner.state is not None:
            learner.state[:] = work.states[:, 0].reshape(learner.state.shape)
        learner.iteration += count
        loss, wrong, exact, norm = results
        return Chunk(loss, wrong.astype(np.int64), exact.astype(np.int64), norm)

    def train_many(
        self,
        structure: Structure,
        optimizers: Sequence[Optimizer],
        learners: Sequence[Learner],
        x: Anything,
        y: Anything,
        lengths: Anything,
        reset: Anything,
    ) -> list[Chunk]:
        """See `bptt.engines.Engine.train_many`."""
        return [
            self.train(structure, *each)
            for each in zip(optimizers, learners, x, y, lengths, reset, strict=True)
        ]


def _final_state(plan: Plan, work: Work) -> Array:
    """The states after the last step, (layers, S, B, H)."""
    return work.states[:, plan.T].reshape(plan.layers, plan.S, plan.B, plan.H).copy()


def _split(plan: Plan, x: Anything, dtype: str) -> tuple[Anything, Anything]:
    """Inputs (N, B, T, ...) as values (N, T, B*D) and ids (N, T, B); one of them is a dummy."""
    time_first = np.swapaxes(x, 1, 2)
    if plan.one_hot:
        return np.zeros((1, plan.T, 1), dtype), np.ascontiguousarray(time_first, np.int64)
    values = np.ascontiguousarray(time_first, dtype).reshape(len(x), plan.T, -1)
    return values, np.zeros((1, plan.T, 1), np.int64)


def _split_targets(plan: Plan, y: Anything, dtype: str) -> tuple[Anything, Anything]:
    """Targets (N, B, T, ...) as values (N, T, B, O) and classes (N, T, B), T = 1 for 'last'."""
    time_first = y[:, None] if plan.last else np.swapaxes(y, 1, 2)
    if plan.output == 3:
        return np.zeros((1, 1, 1, 1), dtype), np.ascontiguousarray(time_first, np.int64)
    return np.ascontiguousarray(time_first, dtype), np.zeros((1, 1, 1), np.int64)
