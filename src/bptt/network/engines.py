"""What does the arithmetic: the interface of an engine, and what goes in and out.

There are two engines with the same methods and, within rounding, the same numbers: 'reference'
(`bptt.network.reference_engine`) runs `bptt.network.recurrence`, 'compiled'
(`bptt.kernels.engine`) the kernels, to which numbers too small to be normal are zero.

Arrays at this edge are (B, T, features), batch first, and already checked by
`bptt.network.network`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.equations.optimizers import Optimizer
from bptt.network.parameters import Array
from bptt.network.structure import Structure

Anything = NDArray[Any]


@dataclass
class Forward:
    """Outputs p and o (B, T, O), or (B, O) with readout 'last'; final states (layers, S, B, H)."""

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
        go_on: bool = True,
    ) -> Forward:
        """Outputs and final states of a batch. go_on: whether the states are wanted; if not, those
        given are of no samples."""

    def loss(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything,
        lengths: Anything,
        state: Array | None,
    ) -> float:
        """Loss of a batch."""

    def gradient(
        self,
        structure: Structure,
        theta: Array,
        x: Anything,
        y: Anything,
        lengths: Anything,
        state: Array | None,
        inputs: bool = False,
    ) -> Gradient:
        """Loss and gradients of a batch; `inputs`: by x too."""

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
        """`train` for M models of one structure side by side, each with its own data.

        x (M, N, B, T, ...), y, lengths (M, N, B), reset (M, N); optimizers: M of one kind, each
        with its own numbers. A model's numbers do not depend on its neighbours, on M or on its
        place among them.
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


ENGINES = ("compiled", "reference")
