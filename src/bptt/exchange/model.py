"""A network on its way in or out: structure, weights, and what a file may need besides.

Legend: D inputs, H hidden, G gates per unit, K preactivations per unit, O outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.cells import CELLS
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.network.structure import Structure
from bptt.sequences.scaling import Scaling

Array = NDArray[np.floating]
Floats = NDArray[np.float64]


# The outputs that files know, and the loss that one that came in is given.
LOSSES = {"linear": "squared", "sigmoid": "cross_entropy", "softmax": "cross_entropy"}


@dataclass(frozen=True)
class Affine:
    """What is done to the data before and after the network, as multiplications and additions.

    The network is given (x - input_shift) * input_scale, both (D,); what it gives is turned into
    output * output_scale + output_shift, both (O,).
    """

    input_shift: Floats
    input_scale: Floats
    output_shift: Floats
    output_scale: Floats

    def into(self, x: Array) -> Array:
        """x (..., D) as the network is given it."""
        return np.asarray((x - self.input_shift) * self.input_scale)

    def out(self, p: Array) -> Array:
        """p (..., O) as the caller is given it."""
        return np.asarray(p * self.output_scale + self.output_shift)


def affine(scaling: Scaling | Affine | None, outputs: int) -> Affine | None:
    """The scaling of sequences as multiplications and additions."""
    if scaling is None or isinstance(scaling, Affine):
        return scaling
    mean, deviation = np.asarray(scaling.mean), np.asarray(scaling.deviation)
    shift = np.asarray(scaling.target_mean or np.zeros(outputs))
    scale = np.asarray(scaling.target_deviation or np.ones(outputs))
    return Affine(mean, 1 / deviation, shift, scale)


@dataclass(frozen=True)
class Model:
    """A network with its surroundings.

    structure: tied, float32. weights: by the names of `Structure.layout`, float32. skip: the first
    `skip` inputs are added to the outputs one by one (guitar effects learn the difference).
    scaling: or None. classes: names of the outputs, or (). ids: inputs are one-hot numbers.
    notes: what a file says besides (sample rate, gains, maker), by name.
    """

    structure: Structure
    weights: Mapping[str, NDArray[np.float32]]
    skip: int = 0
    scaling: Affine | None = None
    classes: tuple[str, ...] = ()
    ids: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, index: int) -> tuple[Array, Array, Array]:
        """U (D, G*H), W (H, G*H) and b (K*H) of a layer, or of one of its directions, by the number
        of its recurrence (`Structure.name`); b is zero where there is none."""
        s = self.structure
        U, W = self.weights[s.name("U", index)], self.weights[s.name("W", index)]
        b = self.weights.get(s.name("b", index))
        if b is None:
            b = np.zeros(len(s.equations.preactivations) * s.hidden, np.float32)
        return U, W, b

    @property
    def head(self) -> tuple[Array, Array]:
        """V (H or 2 H, O) and c (O); c is zero where there is none."""
        c = self.weights.get("c")
        return self.weights["V"], np.zeros(self.structure.outputs, np.float32) if c is None else c

    def initial(self) -> NDArray[np.float32]:
        """The states before the first step, (layers, S, H); in both directions (2 layers, S, H)."""
        s = self.structure
        states = np.zeros((s.recurrences, len(s.equations.states), s.hidden), np.float32)
        if s.initial_state == "trainable":
            for k in range(s.recurrences):
                for index, letter in enumerate(s.equations.states):
                    states[k, index] = self.weights[s.name(f"{letter}0", k)]
        return states

    @property
    def kind(self) -> str:
        """The cell in words: 'lstm', 'elman relu'."""
        s = self.structure
        return f"{s.cell} {s.activation}" if s.cell == "elman" else s.cell

    @property
    def sizes(self) -> str:
        """'1-16-1'; with layers '1-16-16-1'."""
        s = self.structure
        return "-".join(map(str, (s.inputs, *[s.hidden] * s.layers, s.outputs)))


def model_of(network: Network, **surroundings: Any) -> Model:
    """A network as it goes out, in float32; `surroundings`: the other fields of `Model`.

    Raises BpttError for a network that no format can hold: untied weights, a user's own cell.
    """
    s = network.structure
    if not s.tied:
        raise BpttError(
            "this network has a set of weights for every step (untied): "
            "no format has room for that; train a tied one"
        )
    names = [cell for cell, _ in CELLS]
    if not isinstance(s.cell, str) or s.cell not in names or s.output not in LOSSES:
        what = f"cell {s.cell!s:.40}" if s.output in LOSSES else f"output {s.output!s:.40}"
        raise BpttError(
            f"{what} is a user's own, which no format knows: built in are {sorted(set(names))} and "
            f"{sorted(LOSSES)}"
        )
    weights = {name: np.asarray(p, np.float32) for name, p in network.parameters.items()}
    large = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if large:
        raise BpttError(f"parameter {large[0]} holds numbers that are not finite: train again")
    if s.skip:
        scaled = surroundings.get("scaling") is not None or surroundings.get("skip")
        if s.output != "linear" or scaled:
            raise BpttError(
                "this network's inputs are added to its outputs (skip): files have room for that "
                "with a linear output, without scaling and no other skip"
            )
        surroundings["skip"], s = s.skip, _with(s, skip=0)
    _fitting(s, surroundings)
    scaling = surroundings.get("scaling")
    if scaling is not None:  # what a file holds of it
        single = {name: np.asarray(v, np.float32) for name, v in vars(scaling).items()}
        surroundings["scaling"] = Affine(**{k: v.astype(np.float64) for k, v in single.items()})
    with_type = _with(s, dtype="float32")
    return Model(with_type, weights, **surroundings)


def _fitting(s: Structure, surroundings: Mapping[str, Any]) -> None:
    """Raises BpttError for surroundings that are not of a network with this structure."""
    skip, classes = surroundings.get("skip", 0), surroundings.get("classes", ())
    if skip not in range(min(s.inputs, s.outputs) + 1):
        raise BpttError(
            f"skip {skip}: 0 to {min(s.inputs, s.outputs)} are possible, for the network has "
            f"{s.inputs} inputs and {s.outputs} outputs"
        )
    if classes and len(classes) != s.outputs:
        raise BpttError(f"{len(classes)} class names for {s.outputs} outputs: give one for each")
    scaling = surroundings.get("scaling")
    if scaling is None:
        return
    for name, value in vars(scaling).items():
        size = s.inputs if name.startswith("input") else s.outputs
        if np.shape(value) != (size,) or not np.isfinite(value).all():
            raise BpttError(f"the scaling's {name} must be {size} finite numbers, one for each")


def _with(structure: Structure, **changes: Any) -> Structure:
    fields = {name: getattr(structure, name) for name in structure.__struct_fields__}
    return Structure(**{**fields, **changes})


def network_of(model: Model, engine: str = "compiled") -> Network:
    """A network as it came in. Skip and scaling are the caller's to add."""
    shapes = model.structure.layout().shapes
    theta = np.concatenate([model.weights[name].ravel() for name in shapes])
    return Network(model.structure, theta=theta, engine=engine)


def folded(model: Model) -> Model:
    """The same function with its scaling in the weights, for files that have no room for it.

    (x - m) k U + b = x (k U) + (b - (m k) U), and (h V + c) S + M = h (V S) + (c S + M):
    in float64, rounded once. Raises BpttError where that cannot be: the scaled output is made from
    o by a function, or has the input added.
    """
    s, scaling = model.structure, model.scaling
    if scaling is None:
        return model
    scales_output = bool(np.any(scaling.output_scale != 1) or np.any(scaling.output_shift != 0))
    if model.skip or (scales_output and s.output != "linear"):
        what = "the input added" if model.skip else f"the output '{s.output}'"
        raise BpttError(
            f"scaling cannot be put into the weights beside {what}: write c, wasm, numpy or onnx"
        )
    structure = _with(s, bias=True)
    wide = {name: np.asarray(w, np.float64) for name, w in model.weights.items()}
    for k in range(s.recurrences):
        b = structure.name("b", k)
        wide.setdefault(b, np.zeros(structure.layout().shapes[b]))
    into = scaling.input_shift * scaling.input_scale
    for k in range(s.directions):
        first, bias = s.name("U", k), structure.name("b", k)
        wide[bias] = wide[bias].copy()
        wide[bias][: wide[first].shape[1]] -= into @ wide[first]
        wide[first] = scaling.input_scale[:, None] * wide[first]
    c = wide.get("c", np.zeros(s.outputs))
    wide["c"] = c * scaling.output_scale + scaling.output_shift
    wide["V"] = wide["V"] * scaling.output_scale
    weights = {name: wide[name].astype(np.float32) for name in structure.layout().shapes}
    if not all(np.isfinite(w).all() for w in weights.values()):
        raise BpttError("the scaling is too large for weights in float32: write c, numpy or onnx")
    return replace(model, structure=structure, weights=weights, scaling=None)


LayerWeights = tuple[Array, Array, Array | None]


def assembled(
    cell: str,
    activation: str,
    layers: Sequence[LayerWeights],
    head: tuple[Array, Array | None],
    *,
    states: Array | None = None,
    output: str = "linear",
    readout: str = "steps",
    bidirectional: bool = False,
    **surroundings: Any,
) -> Model:
    """A model from the parameters of its layers, (U, W, b or None) each, and of its output.

    bidirectional: each layer has two, the forward direction's and the reverse one's. states
    (layers, S, H): the initial ones, or None for zeros. Raises BpttError for layers that do
    not fit each other, or for numbers that are not finite.
    """
    H, V, c = layers[0][1].shape[0], head[0], head[1]
    bias = c is not None or any(b is not None for _, _, b in layers)
    trainable = states is not None and bool(np.any(states))
    if output not in LOSSES:
        raise BpttError(f"output '{output}' is not known: choose 'linear', 'sigmoid' or 'softmax'")
    structure = Structure(
        inputs=layers[0][0].shape[0], outputs=V.shape[1], hidden=H, cell=cell,
        layers=len(layers) // (2 if bidirectional else 1), bidirectional=bidirectional,
        activation=activation, output=output, loss=LOSSES[output], readout=readout, bias=bias,
        initial_state="trainable" if trainable else "zeros",
    )  # fmt: skip
    _fitting(structure, surroundings)
    shapes = structure.layout().shapes
    found: dict[str, Array] = {"V": V}
    for index, (U, W, b) in enumerate(layers):
        found[structure.name("U", index)], found[structure.name("W", index)] = U, W
        if b is not None:
            found[structure.name("b", index)] = b
        if trainable and states is not None:
            for k, letter in enumerate(structure.equations.states):
                found[structure.name(f"{letter}0", index)] = states[index, k]
    if c is not None:
        found["c"] = c
    weights = {}
    for name, shape in shapes.items():
        value = np.asarray(found.get(name, np.zeros(shape)), np.float32)
        if value.shape != shape:
            raise BpttError(
                f"the file's {name} has shape {value.shape}, where {shape} is needed: all layers "
                "must be of one size, and follow each other"
            )
        if not np.isfinite(value).all():
            raise BpttError(f"the file's {name} holds numbers that are not finite: it is damaged")
        weights[name] = np.ascontiguousarray(value)
    return Model(structure, weights, **surroundings)


def without(model: Model, **changes: Any) -> Model:
    """The model with other surroundings."""
    return replace(model, **changes)
