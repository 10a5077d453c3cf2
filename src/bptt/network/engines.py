"""What does the arithmetic: the interface of an engine, and what goes in and out.

There are two engines with the same methods and, within rounding, the same numbers: 'reference'
(`bptt.network.reference_engine`) runs `bptt.network.recurrence`, 'compiled'
(`bptt.kernels.engine`) the kernels, to which numbers too small to be normal are zero.

Data come as a `Batch`, which fits its structure; that weights and learners fit it is looked at by
each engine first, for they change while they are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bptt.equations.optimizers import Optimizer
from bptt.errors import BpttError, BpttTypeError
from bptt.network.batch import Anything, Batch, check_theta, state_shape
from bptt.network.disturbance import chance_of
from bptt.network.parameters import Array
from bptt.network.structure import Structure


@dataclass
class Forward:
    """Outputs p and o (B, T, O), or (B, O) with readout 'last'; final states (layers, S, B, H), see
    `bptt.network.batch.state_shape`."""

    p: Array
    o: Array
    state: Array


@dataclass
class Gradient:
    """Loss and gradients of one batch: by the flat parameters, x (None if it was not asked for, or
    is one-hot), the state."""

    loss: float
    flat: Array
    x: Array | None
    state: Array
    final_state: Array


@dataclass
class Chunk:
    """What N training iterations leave behind, one entry an iteration, in any type that holds it
    (the compiled engine's are all of the network's float type).

    loss: the loss of the batch before the update; wrong: wrong outputs; exact: samples without a
    wrong output; norm: the gradient's norm before clipping.
    """

    loss: Anything
    wrong: Anything
    exact: Anything
    norm: Anything


@dataclass
class Learner:
    """All that changes while a network trains, updated in place: weights, optimizer, carried state.

    theta, s0, s1: flat vectors. state (layers, S, B, H): what the next batch starts from, where
    the task carries state from batch to batch; None where every batch starts from the initial
    state. iteration: how many iterations have been done. seed: with the iteration fixes the random
    numbers of noise (`bptt.network.disturbance`).
    """

    theta: Array
    s0: Array
    s1: Array
    state: Array | None
    iteration: int = 0
    seed: int = 0

    def check(self, structure: Structure, batch: int) -> None:
        """Raises BpttError unless all arrays are a structure's, for batches of so many samples."""
        chance_of((self.seed, self.iteration))
        for name in ("theta", "s0", "s1"):
            values = getattr(self, name)
            check_theta(structure, values, name)
            if not values.flags.writeable:
                raise BpttError(f"{name} is read-only: a learner's numbers change; give a copy")
        state = self.state
        if state is None:
            return
        structure.refuse_both_directions("no state is carried from batch to batch")
        needed = state_shape(structure, batch)
        if not isinstance(state, np.ndarray):
            raise BpttTypeError(f"state is a {type(state).__name__}: an array is needed")
        if state.shape != needed or state.dtype != structure.dtype or not state.flags.writeable:
            raise BpttError(
                f"state has shape {state.shape} and type {state.dtype}: one to be written to of "
                f"{needed} {structure.dtype} is needed"
            )


class Engine(Protocol):
    """What an engine can do. Raises BpttError for weights and learners that do not fit."""

    @property
    def arithmetic(self) -> str:
        """What the last digits of its numbers depend on, besides what it is given: the processor's
        vectors, as '32 bytes, fused' (`bptt.kernels.machine.processor.arithmetic`), or 'NumPy'."""

    def forward(self, theta: Array, batch: Batch, go_on: bool = True) -> Forward:
        """Outputs and final states of a batch, which is not disturbed. go_on: whether the states
        are wanted; if not, those given are of no samples."""

    def loss(self, theta: Array, batch: Batch) -> float:
        """Loss of a batch."""

    def gradient(self, theta: Array, batch: Batch, inputs: bool = False) -> Gradient:
        """Loss and gradients of a batch; `inputs`: by x too."""

    def train(self, optimizer: Optimizer, learner: Learner, batch: Batch) -> Chunk:
        """N iterations, one for each of `batch` (axes 1); `learner` is updated in place.

        All N iterations are done whatever becomes of the numbers: divergence is for the caller to
        see.
        """

    def train_many(
        self, optimizers: Sequence[Optimizer], learners: Sequence[Learner], batch: Batch
    ) -> list[Chunk]:
        """`train` for M models of one structure side by side, each with its own data (axes 2).

        optimizers: M of one kind, each with its own numbers. A model's numbers do not depend on
        its neighbours, on M or on its place among them.
        """


def check_pass(theta: Any, batch: Any, judged: bool) -> None:
    """What every engine asks first of one pass: that the batch is of one, has targets if it is to
    be judged, and that the weights fit. Raises BpttError otherwise."""
    _check_batch(batch, 0, judged)
    check_theta(batch.structure, theta)


def check_training(optimizers: Sequence[Any], learners: Sequence[Any], batch: Any) -> None:
    """The same of training: of one model (axes 1) or of several (axes 2)."""
    axes = batch.axes if isinstance(batch, Batch) and batch.axes else 1
    _check_batch(batch, axes, True)
    models = len(batch) if axes == 2 else 1
    if not len(optimizers) == len(learners) == models:
        raise BpttError(
            f"data of {models} models need as many optimizers and learners, "
            f"not {len(optimizers)} and {len(learners)}"
        )
    for optimizer, learner in zip(optimizers, learners, strict=True):
        if not isinstance(optimizer, Optimizer) or not isinstance(learner, Learner):
            raise BpttTypeError(
                f"an Optimizer and a Learner are needed, not a {type(optimizer).__name__} and a "
                f"{type(learner).__name__}"
            )
        if optimizer.kind != optimizers[0].kind:
            raise BpttError(
                f"optimizers '{optimizer.kind}' and '{optimizers[0].kind}': models side by side "
                "have one kind"
            )
        learner.check(batch.structure, batch.lengths.shape[-1])


def _check_batch(batch: Any, axes: int, judged: bool) -> None:
    if not isinstance(batch, Batch):
        raise BpttTypeError(f"an engine takes a Batch, not a {type(batch).__name__}")
    if batch.axes != axes:
        raise BpttError(f"a batch of {axes} axes before its samples is needed, not {batch.axes}")
    if judged and batch.y is None:
        raise BpttError("the batch has no targets: make it with y")


def initial_states(structure: Structure, theta: Array, state: Array | None, batch: int) -> Array:
    """The states a batch starts from, (layers, S, B, H): those given, else h0, else zeros."""
    if state is not None:
        return state.astype(structure.dtype, copy=True)
    states = np.zeros(state_shape(structure, batch), structure.dtype)
    if structure.initial_state == "trainable":
        views = structure.layout().views(theta)
        for k in range(structure.recurrences):
            for index, name in enumerate(structure.equations.states):
                states[k, index] = views[structure.name(f"{name}0", k)]
    return states


ENGINES = ("compiled", "reference")
