"""A network: its structure, its weights, and what one asks of it.

This is where arrays are checked. Everything below works on arrays that are known to be right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError, one_line
from bptt.network.engines import Engine, Forward
from bptt.network.initializers import initialize
from bptt.network.parameters import Array
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure


@dataclass(frozen=True)
class Gradients:
    """The loss of a batch and its derivatives.

    loss: in the network's reduction. parameters: by name, shaped as the parameters. x: shaped as
    the input, None if it was not asked for and for one-hot inputs. state: by the state the batch
    started from, (layers, S, B, H). flat: `parameters` as one vector, in the order of
    `Network.theta`. final_state: the states after the last step, to start the next window from
    (truncated BPTT).
    """

    loss: float
    parameters: dict[str, Array]
    x: Array | None
    state: Array
    flat: Array
    final_state: Array


class Network:
    """A recurrent network: Elman, LSTM or GRU layers and an output layer.

    >>> network = Network(inputs=2, outputs=1, hidden=5, cell="gru", seed=3)
    >>> network.predict(np.zeros((4, 7, 2))).shape
    (4, 7, 1)

    The keyword arguments are those of `bptt.network.structure.Structure`. initializers and
    forget_bias: see `bptt.network.initializers.initialize`. engine: 'compiled', or
    'reference'
    for plain NumPy, or an engine that networks share.
    Raises BpttError for a value that is not allowed.

    Attributes: `structure`; `theta`, all parameters as one flat vector; `parameters`, the same
    as named views (U, W, b, h0, V, c: shapes in `Structure.layout`).
    """

    def __init__(
        self,
        structure: Structure | None = None,
        *,
        seed: int | np.random.Generator = 0,
        initializers: Mapping[str, str] | None = None,
        forget_bias: float = 0.0,
        engine: str | Engine = "compiled",
        theta: Array | None = None,
        **settings: Any,
    ) -> None:
        if structure is None:
            structure = structure_of(settings)
        elif settings:
            raise BpttError(f"give a structure or its fields, not both: {sorted(settings)[0]}")
        self.structure = structure
        self._engine: Engine = engine_of(engine) if isinstance(engine, str) else engine
        layout = structure.layout()
        if theta is None:
            theta = initialize(structure, seed, initializers, forget_bias)
        elif theta.shape != (layout.size,):
            raise BpttError(f"theta has shape {theta.shape}: ({layout.size},) is needed")
        self.theta: Array = np.ascontiguousarray(theta, structure.dtype)

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name, as views of `theta`."""
        return self.structure.layout().views(self.theta)

    def __getitem__(self, name: str) -> Array:
        """One parameter by name, as a view."""
        parameters = self.parameters
        if name not in parameters:
            raise BpttError(f"there is no parameter '{name}': this network has {list(parameters)}")
        return parameters[name]

    def __repr__(self) -> str:
        s = self.structure
        kind = f"{s.cell} ({s.activation})" if s.cell == "elman" else s.cell
        layers = "" if s.layers == 1 else f" x {s.layers} layers"
        return (
            f"Network({s.inputs} -> {kind} {s.hidden}{layers} -> {s.outputs} {s.output}, "
            f"{self.theta.size} parameters, {s.dtype})"
        )

    @property
    def engine(self) -> Engine:
        """What does the arithmetic."""
        return self._engine

    def forward(
        self, x: ArrayLike, lengths: ArrayLike | None = None, state: ArrayLike | None = None
    ) -> Forward:
        """Outputs p, output preactivations o and the final state of a batch.

        x (B, T, D), or (B, T) integers for one-hot inputs; lengths (B,) for sequences of different
        lengths, padded to T; state (layers, S, B, H), as `Forward.state` of the batch before:
        a long sequence can be walked in windows. Outputs past a sequence's end mean nothing.
        """
        x, lengths, state = self._checked(x, lengths, state)
        return self._engine.forward(self.structure, self.theta, x, lengths, state)

    def predict(
        self, x: ArrayLike, lengths: ArrayLike | None = None, state: ArrayLike | None = None
    ) -> Array:
        """The outputs p: (B, T, O), or (B, O) with readout 'last'."""
        x, lengths, state = self._checked(x, lengths, state)
        return self._engine.forward(self.structure, self.theta, x, lengths, state, go_on=False).p

    def loss(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
    ) -> float:
        """The loss of a batch, in nats or squared units, in the structure's reduction."""
        x, lengths, state = self._checked(x, lengths, state)
        y = self._targets(y, x.shape[:2])
        return self._engine.loss(self.structure, self.theta, x, y, lengths, state)

    def gradient(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        inputs: bool = False,
    ) -> Gradients:
        """Loss and gradients by backpropagation through time.

        y: (B, T, O) values, (B, T) class numbers for softmax; with readout 'last' without the T.
        A state handed in stands in for a trainable h0, whose gradient is then 0.
        inputs: the derivative by x is wanted too, which takes memory of the size of x and time.
        """
        x, lengths, state = self._checked(x, lengths, state)
        y = self._targets(y, x.shape[:2])
        found = self._engine.gradient(self.structure, self.theta, x, y, lengths, state, inputs)
        views = self.structure.layout().views(found.flat)
        return Gradients(found.loss, views, found.x, found.state, found.flat, found.final_state)

    def _checked(
        self, x: ArrayLike, lengths: ArrayLike | None, state: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[np.intp], Array | None]:
        """The arguments as arrays of the right type and shape."""
        s = self.structure
        x = np.asarray(x)
        if x.ndim == 2 and np.issubdtype(x.dtype, np.integer):
            if x.size and not (x.min() >= 0 and x.max() < s.inputs):
                raise BpttError(
                    f"one-hot input {x.min() if x.min() < 0 else x.max()}: "
                    f"numbers from 0 to {s.inputs - 1} are allowed"
                )
            x = np.require(x, np.intp, "A")
        elif x.ndim == 3 and x.shape[2] == s.inputs:
            x = np.require(x, s.dtype, "A")
        else:
            raise BpttError(
                f"x has shape {x.shape}: (batch, steps, {s.inputs}) is needed, "
                "or (batch, steps) integers for one-hot inputs"
            )
        batch, steps = x.shape[:2]
        if batch < 1 or steps < 1:
            raise BpttError(f"x has shape {x.shape}: at least one sample and one step are needed")
        if not s.tied and steps > s.steps:
            raise BpttError(
                f"x has {steps} steps, but the untied weights are made for {s.steps}: "
                "give at most that many, or use a tied network"
            )
        checked = self._lengths(lengths, batch, steps)
        if lengths is not None and x.ndim == 3:  # padding may hold anything, NaN too
            ended = np.arange(steps) >= checked[:, None]  # (B, T)
            x = np.where(ended[..., None], x.dtype.type(0), x) if ended.any() else x
        return x, checked, self._state(state, batch)

    def _lengths(self, lengths: ArrayLike | None, batch: int, steps: int) -> NDArray[np.intp]:
        if lengths is None:
            return np.full(batch, steps, np.intp)
        checked = np.asarray(lengths)
        if checked.shape != (batch,) or not np.issubdtype(checked.dtype, np.integer):
            raise BpttError(f"lengths has shape {checked.shape}: {batch} integers are needed")
        if checked.min() < 0 or checked.max() > steps:
            bad = checked.min() if checked.min() < 0 else checked.max()
            raise BpttError(f"length {bad} is not between 0 and the {steps} steps of x")
        return checked.astype(np.intp)

    def _state(self, state: ArrayLike | None, batch: int) -> Array | None:
        if state is None:
            return None
        s = self.structure
        needed = (s.layers, len(s.equations.states), batch, s.hidden)
        checked = np.asarray(state, s.dtype)
        if checked.shape != needed:
            raise BpttError(
                f"state has shape {checked.shape}: (layers, S, B, H) {needed} is needed"
            )
        return checked

    def _targets(self, y: ArrayLike, rows: tuple[int, ...]) -> NDArray[Any]:
        s = self.structure
        y = np.asarray(y)
        rows = rows if s.readout == "steps" else rows[:1]
        needed = rows if s.head.classes else (*rows, s.outputs)
        if y.shape != needed:
            raise BpttError(f"y has shape {y.shape}: {needed} is needed")
        if not s.head.classes:
            return np.require(y, s.dtype, "A")
        if not np.issubdtype(y.dtype, np.integer):
            raise BpttError(f"y has type {y.dtype}: class numbers must be integers")
        if y.size and not (y.min() >= 0 and y.max() < s.outputs):
            bad = y.min() if y.min() < 0 else y.max()
            raise BpttError(f"class {bad} in y: numbers from 0 to {s.outputs - 1} are allowed")
        return np.require(y, np.intp, "A")


def engine_of(name: str) -> Engine:
    """The engine of that name. Raises BpttError for an unknown one."""
    if name == "reference":
        return ReferenceEngine()
    if name == "compiled":
        # Here, because importing the compiler takes a third of a second.
        from bptt.kernels.engine import CompiledEngine

        return CompiledEngine()
    raise BpttError(f"engine '{name}' is not known: choose 'compiled' or 'reference'")


def structure_of(settings: Mapping[str, Any]) -> Structure:
    """A structure from its fields. Raises BpttError for an unknown field or a wrong type."""
    try:
        return msgspec.convert(dict(settings), Structure)
    except msgspec.ValidationError as error:
        raise one_line(error, "network") from None
