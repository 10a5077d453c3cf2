"""A network one step at a time, its state kept between the steps.

The arithmetic is done by an engine's stepper, on buffers that stay where they are: a step in Python
costs a call, not the building of arrays.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError
from bptt.network.batch import Batch
from bptt.network.engines import Engine, initial_states
from bptt.network.parameters import Array
from bptt.network.structure import Structure


class Stepper(Protocol):
    """What an engine does for a stream: `step` goes from the buffer x (B, D), or (B,) numbers of
    one-hot inputs, to the buffer y (B, O)."""

    x: NDArray[Any]
    y: Array

    def step(self) -> Any:
        """One step of the stream."""

    def read(self) -> Array:
        """The states (layers, S, B, H), a copy."""

    def write(self, state: Array) -> None:
        """Go on from these states."""


class ReferenceStepper:
    """A stepper for any engine: a forward pass of one step."""

    def __init__(
        self, engine: Engine, structure: Structure, theta: Array, batch: int, one_hot: bool
    ) -> None:
        self._engine, self._structure, self._theta = engine, structure, theta.copy()
        shape = (batch,) if one_hot else (batch, structure.inputs)
        self.x = np.zeros(shape, np.int64 if one_hot else structure.dtype)
        self.y = np.zeros((batch, structure.outputs), structure.dtype)
        self._state = initial_states(structure, self._theta, None, batch)

    def step(self) -> None:
        """See `Stepper.step`."""
        batch = Batch(self._structure, self.x[:, None], state=self._state)
        found = self._engine.forward(self._theta, batch)
        self.y[...] = found.p if self._structure.readout == "last" else found.p[:, 0]
        self._state = found.state

    def read(self) -> Array:
        """See `Stepper.read`."""
        return self._state.copy()

    def write(self, state: Array) -> None:
        """See `Stepper.write`."""
        self._state = state.copy()


class Stream:
    """A network one step at a time: `Network.stream` makes it.

    >>> from bptt.network.network import Network
    >>> network = Network(inputs=2, outputs=1, hidden=5, seed=3, engine="reference")
    >>> stream = network.stream()
    >>> y = stream.step([0.5, -1.0])
    >>> y.shape, stream.state.shape
    ((1,), (1, 1, 1, 5))

    The weights are those that the network had when the stream was made. With readout 'last' a
    step's output is that of a sequence that ends there. A stream is for one thread at a time.
    """

    def __init__(
        self, engine: Engine, structure: Structure, theta: Array, batch: int, one_hot: bool
    ) -> None:
        structure.refuse_both_directions("a stream has no end")
        if not structure.tied:
            raise BpttError("a stream has no end, untied weights are for so many steps: use tied")
        self._engine, self._structure, self._theta = engine, structure, theta.copy()
        self._batch = batch
        make = getattr(engine, "stepper", None)
        self._stepper: Stepper = (
            make(structure, self._theta, self._batch, one_hot)
            if make
            else ReferenceStepper(engine, structure, self._theta, self._batch, one_hot)
        )
        self._one_hot = one_hot
        # Views without the axis of samples where there is one sample.
        self._x = self._stepper.x[0] if batch == 1 and not one_hot else self._stepper.x
        self._y = self._stepper.y[0] if batch == 1 else self._stepper.y
        self._go, self._start = self._stepper.step, self._initial()
        self.reset()

    def _initial(self) -> Array:
        return initial_states(self._structure, self._theta, None, self._batch)

    def step(self, x: ArrayLike) -> Array:
        """One step: x (D,), of several samples (B, D), to the outputs (O,) or (B, O); for one-hot
        inputs a number or (B,).

        The outputs are always the same array, which the next step writes to: copy what is to stay.
        Raises BpttError for an x of another shape, or a number that is no input's.
        """
        try:
            self._x[...] = x
        except (ValueError, TypeError):
            raise BpttError(
                f"x has shape {np.shape(x)}: {self._x.shape} is needed for a step"
            ) from None
        if self._one_hot:
            self._check_numbers()
        self._go()
        return self._y

    def _check_numbers(self) -> None:
        wrong = (self._x < 0) | (self._x >= self._structure.inputs)
        if wrong.any():
            bad = int(self._x[wrong][0])
            self._x[...] = 0
            raise BpttError(
                f"one-hot input {bad}: numbers from 0 to {self._structure.inputs - 1} are allowed"
            )

    def run(self, block: ArrayLike) -> Array:
        """Many steps at once: block (T, D), of several samples (B, T, D), to the outputs (T, O) or
        (B, T, O); one-hot numbers without the D. A new array; the state goes on from its end."""
        x = np.asarray(block)
        x = x[None] if self._batch == 1 else x
        batch = Batch(self._structure, x, state=self.state)
        if len(batch) != self._batch or batch.one_hot != self._one_hot:
            raise BpttError(f"block has shape {np.shape(block)}: {self._batch} samples are needed")
        if self._structure.readout == "last":
            raise BpttError("a network with readout 'last' has no output at every step: use step")
        found = self._engine.forward(self._theta, batch)
        self._stepper.write(found.state)
        return found.p[0] if self._batch == 1 else found.p

    def reset(self) -> None:
        """Go to the state before the first step."""
        self._stepper.write(self._start)

    @property
    def state(self) -> Array:
        """The state (layers, S, B, H), a copy: keep it, and put it back by assigning it."""
        return self._stepper.read()

    @state.setter
    def state(self, state: ArrayLike) -> None:
        given = np.asarray(state, self._structure.dtype)
        if given.shape != self._start.shape:
            raise BpttError(f"state has shape {given.shape}: {self._start.shape} is needed")
        self._stepper.write(given)
