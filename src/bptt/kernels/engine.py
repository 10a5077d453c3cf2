"""The compiled engine: arrays of the public shapes in, kernels called, public shapes out."""

import numpy as np
from numpy.typing import NDArray

from bptt.engines import Anything, Chunk, Forward, Gradient, Learner, initial_states
from bptt.kernels import training, walk
from bptt.kernels.losses import judge
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
        self, structure: Structure, x: Anything, want_dx: bool
    ) -> tuple[Plan, Work]:
        """Plan and arrays for a batch x (B, T, ...)."""
        one_hot = x.ndim == 2
        key = (structure, x.shape[:2], one_hot, want_dx)
        if key != self._key or self._plan is None or self._work is None:
            self._plan = make_plan(structure, x.shape[0], x.shape[1], one_hot)
            self._work = make_work(structure, self._plan, want_dx and not one_hot)
            self._key = key
        return self._plan, self._work

    def _walk(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        lengths: Anything,
        state: Array | None,
        want_dx: bool,
    ) -> tuple[Plan, Work, tuple[Anything, Anything, NDArray[np.bool_], bool]]:
        plan, work = self._prepared(structure, x, want_dx)
        values, ids = _split(plan, x[None], structure.dtype)
        alive = np.arange(plan.T)[:, None] < lengths
        full = bool(alive.all())
        start = initial_states(structure, theta, state, plan.B)
        work.states[:, :, 0] = start.reshape(plan.layers, plan.S, -1)
        data = (values[0], ids[0], alive, full)
        walk.forward(structure.equations, plan, theta, *data, work)
        return plan, work, data

    def forward(
        self, structure: Structure, theta: Array, x: Anything, lengths: Anything, state: Array | None
    ) -> Forward:
        """See `bptt.engines.Engine.forward`."""
        plan, work, (_, _, alive, _) = self._walk(structure, theta, x, lengths, state, False)
        o = work.o.copy()
        y = np.zeros(o.shape if plan.output != 3 else (1, 1, 1), o.dtype)
        judge(plan, y, np.zeros(o.shape[:2], np.int64), alive, work)
        p = work.o.copy()
        final = work.states[:, :, plan.T].reshape(plan.layers, plan.S, plan.B, plan.H).copy()
        if plan.last:
            return Forward(p[0], o[0], final)
        return Forward(np.swapaxes(p, 0, 1), np.swapaxes(o, 0, 1), final)

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
        plan, work, data = self._walk(structure, theta, x, lengths, state, True)
        values, classes = _split_targets(plan, y[None], structure.dtype)
        loss, _, _ = judge(plan, values[0], classes[0], data[2], work)
        walk.backward(structure.equations, plan, theta, *data, state is None, work)
        sizes = (plan.layers, plan.S, plan.B, plan.H)
        dx = np.swapaxes(work.dx, 0, 1).copy() if work.dx.size else None
        return Gradient(
            float(loss),
            work.g.copy(),
            dx,
            work.ds0.reshape(sizes).copy(),
            work.states[:, :, plan.T].reshape(sizes).copy(),
        )

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
        plan, work = self._prepared(structure, x[0], False)
        values, ids = _split(plan, x, structure.dtype)
        targets, classes = _split_targets(plan, y, structure.dtype)
        full = bool((lengths == plan.T).all())
        alive = np.arange(plan.T)[:, None] < (lengths[:1] if full else lengths)[:, None]
        carry = learner.state is not None
        if learner.state is not None:
            work.states[:, :, 0] = learner.state.reshape(plan.layers, plan.S, -1)
        coefficients = optimizer.coefficients(learner.iteration, count).astype(structure.dtype)
        results = np.zeros((4, count))
        training.train(
            structure.equations, plan, optimizer.rule.code, optimizer.clips, coefficients,
            learner.theta, learner.s0, learner.s1, values, ids, targets, classes, alive, full,
            reset, carry, work, results,
        )  # fmt: skip
        if learner.state is not None:
            learner.state[:] = work.states[:, :, 0].reshape(learner.state.shape)
        learner.iteration += count
        loss, wrong, exact, norm = results
        return Chunk(loss, wrong.astype(np.int64), exact.astype(np.int64), norm)


def _split(plan: Plan, x: Anything, dtype: str) -> tuple[Anything, Anything]:
    """Inputs (N, B, T, ...) as values (N, T, B*D) and ids (N, T, B); the one not used is a dummy."""
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
