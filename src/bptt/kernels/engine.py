"""The compiled engine: arrays of the public shapes in, kernels called, public shapes out."""

import math
from typing import Any

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
        if y is None:
            rows = (plan.B,) if plan.last else (plan.B, plan.T)
            y = np.zeros(rows if plan.output == 3 else (*rows, plan.O), np.int64)
        values, ids = _split(plan, x[None], structure.dtype)
        targets, classes = _split_targets(plan, y[None], structure.dtype)
        start = initial_states(structure, theta, state, plan.B)
        _states(plan, work)[:, :, 0, :, : plan.H] = start
        full = bool((lengths == plan.T).all())
        data = (values[0], ids[0], targets[0], classes[0], lengths.astype(np.int64), full)
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
        p, o = (_outputs(plan, each) for each in (work.p, work.o))
        return Forward(p, o, _final_state(plan, work))

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
        if not plan.one_hot:
            dx = np.swapaxes(work.dx.reshape(plan.T, plan.B, plan.D), 0, 1).copy()
        size = plan.layers * plan.S * plan.B * plan.Hp
        ds = work.ds0[:size].reshape(plan.layers, plan.S, plan.B, plan.Hp)
        return Gradient(loss, work.g.copy(), dx, ds[..., : plan.H].copy(), _final_state(plan, work))

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
        carry = learner.state is not None
        if learner.state is not None:
            _states(plan, work)[:, :, 0, :, : plan.H] = learner.state
        coefficients = optimizer.coefficients(learner.iteration, count).astype(structure.dtype)
        results = np.zeros((4, count))
        training.train(
            structure.equations, plan, optimizer.rule.code, optimizer.clips, coefficients,
            learner.theta, learner.s0, learner.s1, values, ids, targets, classes,
            np.ascontiguousarray(lengths, np.int64), full, reset, carry, work, results,
        )  # fmt: skip
        if learner.state is not None:
            learner.state[:] = _states(plan, work)[:, :, 0, :, : plan.H]
        learner.iteration += count
        loss, wrong, exact, norm = results
        return Chunk(loss, wrong.astype(np.int64), exact.astype(np.int64), norm)


def _states(plan: Plan, work: Work) -> Array:
    """The states as (layers, S, T + 1, B, Hp), a view."""
    sizes = (plan.layers, plan.S, plan.T + 1, plan.B, plan.Hp)
    return work.states[: math.prod(sizes)].reshape(sizes)


def _final_state(plan: Plan, work: Work) -> Array:
    """The states after the last step, (layers, S, B, H)."""
    return _states(plan, work)[:, :, plan.T, :, : plan.H].copy()


def _outputs(plan: Plan, flat: Array) -> Array:
    """A flat array of outputs as (B, T, O), or (B, O) with readout 'last'."""
    rows = 1 if plan.last else plan.T
    outputs = flat[: rows * plan.B * plan.O].reshape(rows, plan.B, plan.O).copy()
    return outputs[0] if plan.last else np.swapaxes(outputs, 0, 1)


def _split(plan: Plan, x: Anything, dtype: str) -> tuple[Anything, Anything]:
    """Inputs (N, B, T, ...) as values (N, T*B*D) and ids (N, T*B); one of them is a dummy."""
    time_first = np.swapaxes(x, 1, 2)
    if plan.one_hot:
        return np.zeros((1, 1), dtype), _rows(time_first, np.int64, 0)
    return _rows(time_first, dtype, plan.n), np.zeros((1, 1), np.int64)


def _split_targets(plan: Plan, y: Anything, dtype: str) -> tuple[Anything, Anything]:
    """Targets (N, B, T, ...) as values (N, T*B*O) and classes (N, T*B), T = 1 for 'last'."""
    time_first = y[:, None] if plan.last else np.swapaxes(y, 1, 2)
    if plan.output == 3:
        return np.zeros((1, 1), dtype), _rows(time_first, np.int64, 0)
    return _rows(time_first, dtype, plan.n), np.zeros((1, 1), np.int64)


def _rows(values: Anything, dtype: Any, spare: int) -> Anything:
    """(N, ...) as (N, rest), with room after each row to read one vector too far."""
    flat = values.reshape(len(values), -1)
    rows = np.zeros((len(flat), flat.shape[1] + spare), dtype)
    rows[:, : flat.shape[1]] = flat
    return rows
