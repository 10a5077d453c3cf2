"""A network: its structure, its weights, and what one asks of it.

What it is given goes through `bptt.network.batch.Batch`, which checks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from bptt.arguments import flag, instance, reals, shown, whole
from bptt.errors import BpttError, one_line
from bptt.network.batch import Batch, check_theta
from bptt.network.engines import Engine, Forward
from bptt.network.initializers import initialize
from bptt.network.parameters import Array
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.streaming import Stream
from bptt.network.structure import Structure

# Samples that one stream takes a step: its buffers are made at once.
MOST_SIDE_BY_SIDE = 1_000_000


@dataclass(frozen=True)
class Gradients:
    """The loss of a batch and its derivatives.

    loss: in the network's reduction. parameters: by name, shaped as the parameters. x: shaped as
    the input, None if it was not asked for and for one-hot inputs. state: by the state the batch
    started from, (layers, S, B, H), see `Network.forward`. flat: `parameters` as one vector, in the
    order of `Network.theta`. final_state: the states after the last step, to start the next window
    from (truncated BPTT).
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
        self.structure = instance("structure", structure, Structure, "a bptt.Structure")
        self._engine: Engine = engine_of(engine)
        if theta is None:
            theta = initialize(structure, seed, initializers, forget_bias)
        self.theta = theta

    @property
    def theta(self) -> Array:
        """All parameters as one flat vector (P,), which may be written to; one that is put in its
        place is kept, not copied, if it has the network's float type."""
        return self._theta

    @theta.setter
    def theta(self, values: ArrayLike) -> None:
        flat = np.ascontiguousarray(reals("theta", values, self.structure.dtype))
        check_theta(self.structure, flat)
        self._theta: Array = flat

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name, as views of `theta`."""
        return self.structure.layout().views(self.theta)

    def __getitem__(self, name: str) -> Array:
        """One parameter by name, as a view."""
        parameters = self.parameters
        if not isinstance(name, str) or name not in parameters:
            raise BpttError(
                f"there is no parameter {shown(name)}: this network has {list(parameters)}"
            )
        return parameters[name]

    def __repr__(self) -> str:
        s = self.structure
        kind = f"{s.cell} ({s.activation})" if s.cell == "elman" else s.equations.name
        layers = "" if s.layers == 1 else f" x {s.layers} layers"
        layers += ", both directions" if s.bidirectional else ""
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
        A bidirectional network's states are (2 layers, S, B, H), each layer's forward direction
        and then its reverse one: what each begins and ends with, not for windows.
        """
        return self._engine.forward(self.theta, self._batch(x, None, lengths, state))

    def stream(self, batch: int = 1, one_hot: bool = False) -> Stream:
        """The network one step at a time, its state kept: see `bptt.network.streaming.Stream`.

        batch: how many samples go side by side. one_hot: inputs are given as their numbers.
        """
        count, numbers = whole("batch", batch, 1, MOST_SIDE_BY_SIDE), flag("one_hot", one_hot)
        return Stream(self._engine, self.structure, self.theta, count, numbers)

    def predict(
        self, x: ArrayLike, lengths: ArrayLike | None = None, state: ArrayLike | None = None
    ) -> Array:
        """The outputs p: (B, T, O), or (B, O) with readout 'last'."""
        batch = self._batch(x, None, lengths, state)
        return self._engine.forward(self.theta, batch, go_on=False).p

    def loss(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        chance: tuple[int, int] | None = None,
    ) -> float:
        """The loss of a batch, in nats or squared units, in the structure's reduction.

        weights: what each step of each sample counts; chance: of noise; see `gradient`.
        """
        batch = self._batch(x, y, lengths, state, weights, chance)
        return self._engine.loss(self.theta, batch)

    def gradient(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        inputs: bool = False,
        weights: ArrayLike | None = None,
        chance: tuple[int, int] | None = None,
    ) -> Gradients:
        """Loss and gradients by backpropagation through time.

        y: (B, T, O) values, (B, T) class numbers for softmax; with readout 'last' without the T.
        A state handed in stands in for a trainable h0, whose gradient is then 0.
        inputs: the derivative by x is wanted too, which takes memory of the size of x and time.
        weights: (B, T), or (B,) with readout 'last': what each step counts in the loss, from 0 (not
        at all: masks, missing targets), see `bptt.equations.outputs.loss_scale`; by default 1.
        Targets that do not count may be anything that is allowed as a target.
        chance: (seed, iteration), to disturb a network with noise as training of that seed does in
        that iteration; by default nothing is disturbed.
        """
        inputs = flag("inputs", inputs)
        batch = self._batch(x, y, lengths, state, weights, chance)
        found = self._engine.gradient(self.theta, batch, inputs)
        views = self.structure.layout().views(found.flat)
        return Gradients(found.loss, views, found.x, found.state, found.flat, found.final_state)

    def _batch(
        self,
        x: ArrayLike,
        y: ArrayLike | None,
        lengths: ArrayLike | None,
        state: ArrayLike | None,
        weights: ArrayLike | None = None,
        chance: tuple[int, int] | None = None,
    ) -> Batch:
        return Batch(self.structure, x, y, lengths, state, weights=weights, chance=chance)


def engine_of(name: str | Engine) -> Engine:
    """The engine of that name, or that engine. Raises BpttError for an unknown one."""
    if name == "reference":
        return ReferenceEngine()
    if name == "compiled":
        # Here, because importing the compiler takes a third of a second.
        from bptt.kernels.engine import CompiledEngine

        return CompiledEngine()
    if not isinstance(name, str) and all(
        callable(getattr(name, method, None)) for method in ("forward", "gradient", "train")
    ):
        return name
    raise BpttError(f"engine {shown(name)} is not known: choose 'compiled' or 'reference'")


def structure_of(settings: Mapping[str, Any]) -> Structure:
    """A structure from its fields. Raises BpttError for an unknown field or a wrong type."""
    try:
        return msgspec.convert(dict(settings), Structure)
    except msgspec.ValidationError as error:
        raise one_line(error, "network") from None
