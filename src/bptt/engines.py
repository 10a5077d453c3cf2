"""What does the arithmetic: the interface of an engine, and the NumPy reference as one.

There are two engines with the same methods and, within rounding, the same numbers: 'reference',
below, which runs `bptt.recurrence`, and 'compiled' (`bptt.kernels.engine`), which is looked up
when first asked for because importing the compiler takes a third of a second.

Arrays at this edge are (B, T, features), batch first, and already checked by `bptt.network`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.optimizers import Optimizer, clip
from bptt.parameters import Array
from bptt.recurrence import Judged, Trace, backward, forward, judge
from bptt.structure import Structure

Anything = NDArray[Any]


@dataclass
class Forward:
    """Outputs p and o (B, T, O), or (B, O) with readout 'last'; final states (layers, S, B, H)."""

    p: Array
    o: Array
    state: Array


@dataclass
class Gradient:
    """Loss and gradients of one batch: by the flat parameters, x (None if one-hot), the state."""

    loss: float
    flat: Array
    x: Array | None
    state: Array
    final_state: Array


@dataclass
class Chunk:
    """What N training iterations leave behind, one entry an iteration.

    loss: the loss of the batch before the update; wrong: wrong outputs; exact: samples without a
    wrong output; norm: the gradient's norm before clipping.
    """

    loss: NDArray[np.float64]
    wrong: NDArray[np.int64]
    exact: NDArray[np.int64]
    norm: NDArray[np.float64]


@dataclass
class Learner:
    """All that changes while a network trains, updated in place: weights, optimizer, carried state.

    theta, s0, s1: flat vectors. state (layers, S, B, H): what the next batch starts from, where
    the task carries state from batch to batch; None where every batch starts from the initial
    state. iteration: how many iterations have been done.
    """

    theta: Array
    s0: Array
    s1: Array
    state: Array | None
    iteration: int = 0


class Engine(Protocol):
    """What an engine can do."""

    def forward(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Forward:
        """Outputs and final states of a batch."""

    def gradient(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Gradient:
        """Loss and gradients of a batch."""

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
        """N iterations, one for each batch of x (N, B, T, ...); `learner` is updated in place.

        reset (N,): before this iteration the carried state is set back to the initial state. All N
        iterations are done whatever becomes of the numbers: divergence is for the caller to see.
        """


def initial_states(structure: Structure, theta: Array, state: Array | None, batch: int) -> Array:
    """The states a batch starts from, (layers, S, B, H): those given, else h0, else zeros."""
    shape = (structure.layers, len(structure.equations.states), batch, structure.hidden)
    if state is not None:
        return state.astype(structure.dtype, copy=True)
    states = np.zeros(shape, structure.dtype)
    if structure.initial_state == "trainable":
        views = structure.layout().views(theta)
        for layer in range(structure.layers):
            for index, name in enumerate(structure.equations.states):
                states[layer, index] = views[structure.name(f"{name}0", layer)]
    return states


# Overflow and NaN are results, which training looks for; NumPy need not warn of them.
_quiet = np.errstate(all="ignore")


class ReferenceEngine:
    """The engine that runs `bptt.recurrence`."""

    def _forward(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> tuple[Trace, Array]:
        steps = x.shape[1]
        alive = np.arange(steps)[:, None] < lengths  # (T, B)
        initial = initial_states(structure, theta, state, len(x))
        views = structure.layout().views(theta)
        trace = forward(
            structure, views, np.swapaxes(x, 0, 1), alive, [tuple(layer) for layer in initial]
        )
        return trace, np.array([layer.states[-1] for layer in trace.layers])

    def _judge(self, structure: Structure, trace: Trace, y: Anything) -> Judged:
        last = structure.readout == "last"
        return judge(structure, trace, y[None] if last else np.swapaxes(y, 0, 1))

    @_quiet
    def forward(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Forward:
        """See `Engine.forward`."""
        trace, final = self._forward(structure, theta, x, lengths, state)
        rows = trace.o.shape[:2]
        y = np.zeros(rows if structure.head.classes else trace.o.shape, np.intp)
        p = judge(structure, trace, y).p
        if structure.readout == "last":
            return Forward(p[0], trace.o[0], final)
        return Forward(np.swapaxes(p, 0, 1), np.swapaxes(trace.o, 0, 1), final)

    @_quiet
    def gradient(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> Gradient:
        """See `Engine.gradient`."""
        trace, final = self._forward(structure, theta, x, lengths, state)
        judged = self._judge(structure, trace, y)
        flat, dx, ds = self._backward(structure, theta, trace, judged.do, state is None)
        dx = None if dx is None else np.swapaxes(dx, 0, 1)
        return Gradient(judged.loss, flat, dx, ds, final)

    def _backward(
        self, structure: Structure, theta: Array, trace: Trace, do: Array, own_state: bool
    ) -> tuple[Array, Array | None, Array]:
        layout = structure.layout()
        gradients, dx, ds = backward(structure, layout.views(theta), trace, do)
        if not own_state:  # a state handed in stands in for h0, which then has no gradient
            for name in gradients:
                if name.partition(".")[0] in ("h0", "c0"):
                    gradients[name][...] = 0
        flat = np.concatenate([gradients[name].ravel() for name in layout.shapes])
        return flat, dx, np.array(ds)

    @_quiet
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
        """See `Engine.train`."""
        count = len(x)
        chunk = Chunk(
            np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count)
        )
        coefficients = optimizer.coefficients(learner.iteration, count).astype(structure.dtype)
        rule, carried = optimizer.rule, learner.state is not None
        for n in range(count):
            k = tuple(coefficients[n])
            learner.theta[:], learner.s0[:] = rule.prepare(learner.theta, learner.s0, k)
            state = learner.state if carried and not reset[n] else None
            trace, final = self._forward(structure, learner.theta, x[n], lengths[n], state)
            judged = self._judge(structure, trace, y[n])
            g, _, _ = self._backward(structure, learner.theta, trace, judged.do, state is None)
            chunk.loss[n], chunk.wrong[n] = judged.loss, judged.wrong
            chunk.exact[n], chunk.norm[n] = judged.exact, clip(g, *optimizer.clips)
            learner.theta[:], learner.s0[:], learner.s1[:] = rule.update(
                learner.theta, g, learner.s0, learner.s1, k
            )
            if carried:
                learner.state = final
        learner.iteration += count
        return chunk


ENGINES = ("compiled", "reference")


def engine_of(name: str) -> Engine:
    """The engine of that name. Raises BpttError for an unknown one."""
    if name == "reference":
        return ReferenceEngine()
    if name == "compiled":
        from bptt.kernels.engine import CompiledEngine

        return CompiledEngine()
    raise BpttError(f"engine '{name}' is not known: choose 'compiled' or 'reference'")
