"""A batch that fits a network: the one door through which data go to an engine.

Compiled code looks at no shape, and reads wherever a number of a class, an input or a length points
to. So engines take no data but a `Batch`, which has checked them against the structure, and no
weights but those that `check_theta` or `Learner.check` has looked at.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import instance, integers, numbers, reals, whole
from bptt.errors import BpttError, BpttTypeError
from bptt.network.disturbance import Chance, chance_of
from bptt.network.parameters import Array
from bptt.network.structure import Structure

Anything = NDArray[Any]
# The first axes of the data of one pass, of N iterations, and of N iterations of M models.
AXES = (("batch",), ("iterations", "batch"), ("models", "iterations", "batch"))


@dataclass(frozen=True, eq=False, init=False)
class Batch:
    """Data that fit a structure, in the types that engines work on.

    Of one pass (axes 0): x (B, T, D) values, or (B, T) numbers of one-hot inputs; y (B, T, O)
    values, or (B, T) classes, without T for readout 'last', None where nothing is judged;
    lengths (B,), by default T each; weights (B, T), what each step counts in the loss, without T
    for readout 'last', by default 1; state (layers, S, B, H) (`state_shape`) that the batch starts
    from, by default the network's own; chance (seed, iteration): disturbed as training of that seed
    is in that iteration (`bptt.network.disturbance`), by default not.
    Of training (axes 1): all with a first axis of N iterations; no state, no chance; reset (N,),
    True where the state carried from the iteration before is set back, by default everywhere. Of M
    models trained side by side (axes 2): with a first axis of M.

    Past a sequence's end x and y may hold anything; it is not looked at.
    Raises BpttError for what does not fit.
    """

    structure: Structure
    x: Anything
    y: Anything | None
    lengths: NDArray[np.int64]
    weights: Array | None
    state: Array | None
    reset: NDArray[np.bool_]
    axes: int
    chance: Chance | None

    def __init__(
        self,
        structure: Structure,
        x: ArrayLike,
        y: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        axes: int = 0,
        weights: ArrayLike | None = None,
        chance: tuple[int, int] | None = None,
    ) -> None:
        instance("structure", structure, Structure, "a bptt.Structure")
        axes = whole("axes", axes, 0, 2)
        x = _inputs(structure, x, axes)
        lead, steps = x.shape[: axes + 1], x.shape[axes + 1]  # lead: (..., B)
        ended = None  # (..., B, T): past the sequence's end; None if all have T steps
        if lengths is None:
            counts = np.full(lead, steps, np.int64)
        else:
            counts = _lengths(lengths, lead, steps)
            if counts.min() < steps:
                ended = np.arange(steps) >= counts[..., None]
        self.__dict__.update(
            structure=structure,
            axes=axes,
            chance=chance_of(chance),
            x=_without_padding(
                "x has one-hot input", x, ended, x.ndim == axes + 2, structure.inputs
            ),
            y=None if y is None else _targets(structure, y, (*lead, steps), ended),
            lengths=counts,
            weights=None
            if weights is None
            else _weights(structure, weights, (*lead, steps), ended),
            state=None if state is None else _state(structure, state, lead),
            reset=np.ones(lead[:-1], np.bool_) if reset is None else _reset(reset, lead[:-1]),
        )

    @property
    def one_hot(self) -> bool:
        """Whether x holds numbers of inputs that are 1, all others being 0."""
        return self.x.ndim == self.axes + 2

    def _with(self, **fields: Any) -> "Batch":
        """The same with parts of its arrays, which need not be checked again."""
        part = object.__new__(Batch)
        part.__dict__.update(self.__dict__)
        part.__dict__.update(fields)
        return part

    def _map(self, place: Any) -> dict[str, Any]:
        y, weights = (None if each is None else each[place] for each in (self.y, self.weights))
        return {"x": self.x[place], "y": y, "lengths": self.lengths[place], "weights": weights}

    def __len__(self) -> int:
        """B, N or M: the length of the first axis."""
        return len(self.x)

    def __getitem__(self, place: Any) -> "Batch":
        """Some iterations or models, by a slice; one iteration or model, by its number, which has
        an axis less. Of one pass some samples, by a slice. Raises BpttError if none are left."""
        if not len(np.atleast_1d(self.lengths[place])):
            raise BpttError(f"{place} leaves nothing of a batch of {len(self)}")
        if self.axes == 0:
            state = None if self.state is None else self.state[:, :, place]
            return self._with(**self._map(place), state=state)
        axes = self.axes - (not isinstance(place, slice | list))
        return self._with(**self._map(place), reset=self.reset[place], axes=axes)

    def window(self, first: int, end: int, state: Array | None) -> "Batch":
        """Steps first..end of a pass without targets, started from that state."""
        lengths = np.clip(self.lengths - first, 0, end - first)
        return self._with(
            x=self.x[:, first:end], y=None, weights=None, lengths=lengths, state=state
        )

    def starting_from(self, state: Array | None, chance: Chance | None = None) -> "Batch":
        """The same pass from another state (layers, S, B, H), disturbed so."""
        return self._with(state=state, chance=chance)


def written_out(batch: Batch) -> bool:
    """Whether a walk with masks needs the one-hot inputs of a batch written out."""
    return batch.one_hot and batch.structure.input_dropout > 0


def as_disturbed(batch: Batch) -> Batch:
    """A batch that masks can be applied to: where inputs are dropped, one-hot ones are written
    out."""
    if not written_out(batch):
        return batch
    return batch._with(x=np.eye(batch.structure.inputs, dtype=batch.structure.dtype)[batch.x])


def state_shape(structure: Structure, batch: int) -> tuple[int, int, int, int]:
    """(layers, S, B, H): of the states of a batch; of a bidirectional network (2 layers, S, B, H),
    each layer's forward direction and then its reverse one."""
    return structure.recurrences, len(structure.equations.states), batch, structure.hidden


def check_theta(structure: Structure, theta: Any, name: str = "theta") -> None:
    """Raises BpttError unless `theta` is a flat vector of a structure's parameters, or of what an
    optimizer keeps of each."""
    size = structure.layout().size
    if not isinstance(theta, np.ndarray):
        raise BpttTypeError(f"{name} is a {type(theta).__name__}: an array is needed")
    if theta.shape != (size,) or theta.dtype != structure.dtype:
        raise BpttError(
            f"{name} has shape {theta.shape} and type {theta.dtype}: ({size},) {structure.dtype} "
            "is needed"
        )


def _inputs(structure: Structure, x: ArrayLike, axes: int) -> Anything:
    """x as an array of the right shape; numbers of one-hot inputs are not looked at yet."""
    found = numbers("x", x)
    D = structure.inputs
    one_hot = found.ndim == axes + 2 and found.dtype.kind in "ui"
    if one_hot and structure.skip:
        raise BpttError("skip adds inputs to outputs: give values x, not numbers of one-hot inputs")
    if not one_hot and (found.ndim != axes + 3 or found.shape[-1] != D):
        first = ", ".join(AXES[axes])
        raise BpttError(
            f"x has shape {found.shape}: ({first}, steps, {D}) is needed, "
            f"or ({first}, steps) integers for one-hot inputs"
        )
    if 0 in found.shape:
        raise BpttError(f"x has shape {found.shape}: at least one sample and one step are needed")
    steps = found.shape[axes + 1]
    if not structure.tied and steps > structure.steps:
        raise BpttError(
            f"x has {steps} steps, but the untied weights are made for {structure.steps}: "
            "give at most that many, or use a tied network"
        )
    return found if one_hot else reals("x", found, structure.dtype)


def _lengths(lengths: ArrayLike, lead: tuple[int, ...], steps: int) -> NDArray[np.int64]:
    found = integers("lengths", lengths)
    if found.shape != lead:
        raise BpttError(f"lengths has shape {found.shape}: {lead} is needed, one a sequence of x")
    low, high = found.min(), found.max()
    if low < 0 or high > steps:
        raise BpttError(
            f"length {low if low < 0 else high} is not between 0 and the {steps} steps of x"
        )
    return found.astype(np.int64)


def _without_padding(
    what: str, values: Anything, ended: NDArray[np.bool_] | None, whole: bool, count: int
) -> Anything:
    """Values (..., B, T, features), or whole numbers (..., B, T) that must lie below `count`, with
    zeros past the ends of the sequences: a product with zero would not take away a NaN there."""
    if ended is not None:
        values = np.where(ended if whole else ended[..., None], values.dtype.type(0), values)
    if not whole:
        return values
    low, high = values.min(), values.max()
    if low < 0 or high >= count:
        raise BpttError(
            f"{what} {low if low < 0 else high}: numbers from 0 to {count - 1} are allowed"
        )
    # A copy: what has been looked at stays as it is.
    return values.astype(np.int64)


def _targets(
    structure: Structure, y: ArrayLike, rows: tuple[int, ...], ended: NDArray[np.bool_] | None
) -> Anything:
    if structure.readout == "last":  # of the state after the last step, whatever the length
        rows, ended = rows[:-1], None
    classes = structure.head.classes
    needed = rows if classes else (*rows, structure.outputs)
    found = numbers("y", y)
    if found.shape != needed:
        what = "class numbers" if classes else "values"
        raise BpttError(f"y has shape {found.shape}: {what} {needed} are needed")
    if classes:
        return _without_padding("y has class", integers("y", found), ended, True, structure.outputs)
    return reals("y", found, structure.dtype)


def _weights(
    structure: Structure,
    weights: ArrayLike | None,
    rows: tuple[int, ...],
    ended: NDArray[np.bool_] | None,
) -> Array | None:
    """Weights of all steps, 0 past the ends of the sequences."""
    if weights is None:
        return None
    if structure.readout == "last":
        rows, ended = rows[:-1], None
    found = reals("weights", weights, structure.dtype)
    if found.shape != rows:
        raise BpttError(f"weights has shape {found.shape}: {rows} is needed, one a target")
    if not found.any():
        raise BpttError("all weights are 0: nothing would count")
    # A copy: what has been looked at stays as it is.
    found = found.copy() if ended is None else np.where(ended, found.dtype.type(0), found)
    strange = ~(np.isfinite(found) & (found >= 0))
    if strange.any():
        raise BpttError(f"weight {found[strange][0]} is not allowed: finite numbers from 0 are")
    return found


def _state(structure: Structure, state: ArrayLike, lead: tuple[int, ...]) -> Array:
    found = reals("state", state, structure.dtype)
    needed = state_shape(structure, lead[-1])
    if found.shape != needed or len(lead) > 1:
        raise BpttError(f"state has shape {found.shape}: (layers, S, B, H) {needed} is needed")
    return found


def _reset(reset: ArrayLike, lead: tuple[int, ...]) -> NDArray[np.bool_]:
    found = numbers("reset", reset)
    if found.shape != lead or found.dtype.kind == "f":
        raise BpttError(
            f"reset has shape {found.shape} and type {found.dtype}: truth values {lead} are needed"
        )
    return found.astype(np.bool_)
