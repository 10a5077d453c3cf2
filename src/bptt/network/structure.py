"""What a network consists of: its structure, and from it the shapes of all parameters."""

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from bptt.arguments import check_types, text, whole
from bptt.equations.cells import Cell, cell_of
from bptt.equations.chance import MASK, UNITS_BITS
from bptt.equations.outputs import (
    PINBALL,
    REDUCTIONS,
    Output,
    levels_of,
    output_of,
    quantile_output,
)
from bptt.equations.own import as_field, as_text
from bptt.errors import BpttError, quoted_list
from bptt.network.parameters import Layout
from bptt.options import NOT_AN_OPTION, Option

READOUTS = ("steps", "last")
INITIAL_STATES = ("zeros", "trainable")
DTYPES = ("float32", "float64")
# 4 GB of float32; training keeps four such vectors.
MOST_PARAMETERS = 10**9
MOST_LAYERS = 100
# Less noise would be no number that kernels know, more is nothing but noise.
LEAST_NOISE, MOST_NOISE = 1e-12, 1e3
# Options that came after the first version, with what they are where they are off: files of then,
# and digests of studies, have none of them.
LATER: dict[str, Any] = {
    "quantiles": (), "noise": 0.0, "dropout": 0.0, "input_dropout": 0.0, "dropout_mask": "step",
    "skip": 0, "bidirectional": False,
}  # fmt: skip
MASKS = ("step", "sequence")


class Structure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The structure of a network.

    inputs D, hidden H, outputs O; `layers` recurrent layers on top of each other, each of `cell`.
    cell, output: names, or a `bptt.Cell` and a `bptt.Output` of your own, which has its loss.
    activation: of the Elman cell ('tanh', 'sigmoid', 'relu').
    output, loss: see `bptt.equations.outputs.OUTPUTS`; reduction: see
    `bptt.equations.outputs.loss_scale`. quantiles: see `bptt.equations.outputs.levels_of`.
    readout: 'steps' (an output at every step) or 'last' (one, from each sample's final state).
    bias: with b and c, or without. tied: the same weights at every step, or, if not, a set of
    weights U, W, b, V, c for each of `steps` steps. initial_state: 'zeros', or 'trainable'.
    dtype: 'float32' or 'float64'. noise: the standard deviation of the Gaussian noise that training
    adds to all states after every step (`bptt.equations.chance`); 0 for none. input_dropout,
    dropout: the shares of the inputs, and of the states on their way up to the next layer or the
    outputs, that training drops; dropout_mask: others at every 'step', or the same in all steps of
    a 'sequence'. skip: the first `skip` inputs are added to the preactivations of the first
    `skip` outputs: what is learned is the difference.
    """

    inputs: Annotated[int, NOT_AN_OPTION]
    outputs: Annotated[int, NOT_AN_OPTION]
    hidden: Annotated[int, Option("Hidden units.")] = 16
    layers: Annotated[int, Option("Recurrent layers.")] = 1
    cell: Annotated[str, Option("elman, lstm or gru.")] = "elman"
    activation: Annotated[str, Option("Of the Elman cell: tanh, sigmoid or relu.")] = "tanh"
    output: Annotated[str, Option("sigmoid, linear or, for classes, softmax.")] = "sigmoid"
    loss: Annotated[
        str,
        Option("cross_entropy or squared; linear: squared, absolute, huber or pinball."),
    ] = "cross_entropy"
    quantiles: Annotated[
        tuple[float, ...], Option("Levels of the quantiles, one an output: with loss pinball.")
    ] = ()
    reduction: Annotated[
        str, Option("Losses: sum, mean per sequence (sequence) or mean of all (mean).")
    ] = "sum"
    readout: Annotated[str, NOT_AN_OPTION] = "steps"
    bias: Annotated[bool, Option("Biases b and c.")] = True
    tied: Annotated[bool, Option("The same weights at every step.", flags="--tied/--untied")] = True
    steps: Annotated[int, NOT_AN_OPTION] = 0
    initial_state: Annotated[str, Option("zeros or trainable.")] = "zeros"
    dtype: Annotated[str, Option("float32 or float64.")] = "float32"
    noise: Annotated[
        float, Option("Standard deviation of Gaussian noise on the states, in training.")
    ] = 0.0
    dropout: Annotated[
        float, Option("Share of the states dropped between layers and before the output.")
    ] = 0.0
    input_dropout: Annotated[float, Option("Share of the inputs dropped, in training.")] = 0.0
    dropout_mask: Annotated[
        str, Option("What is dropped: others at every step, or the same in a sequence.")
    ] = "step"
    skip: Annotated[int, Option("So many first inputs are added to the outputs, one by one.")] = 0
    bidirectional: Annotated[
        bool, Option("Layers walk each sequence forward and in reverse, from its end.")
    ] = False

    def __post_init__(self) -> None:
        check_types(self, "cell", "output")
        for name in ("inputs", "outputs", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise BpttError(f"{name} {getattr(self, name)} must be at least 1")
        if self.layers > MOST_LAYERS:
            raise BpttError(f"layers {self.layers} is too many: at most {MOST_LAYERS}")
        cell = cell_of(self.cell, self.activation)
        output = output_of(self.output, self.loss)
        msgspec.structs.force_setattr(self, "cell", as_field(cell))
        msgspec.structs.force_setattr(self, "output", as_field(output))
        if output.code == PINBALL:
            levels_of(self.quantiles, self.outputs)
        elif self.quantiles:
            raise BpttError(f"quantiles go with loss 'pinball', not with '{output.loss}'")
        if not output.built_in:
            msgspec.structs.force_setattr(self, "loss", output.loss)
        for name, allowed in (
            ("reduction", REDUCTIONS),
            ("readout", READOUTS),
            ("initial_state", INITIAL_STATES),
            ("dtype", DTYPES),
            ("dropout_mask", MASKS),
        ):
            if getattr(self, name) not in allowed:
                raise BpttError(
                    f"{name} '{getattr(self, name)}' is not known: "
                    f"choose one of {quoted_list(allowed)}"
                )
        self._check_disturbance()
        self._check_skip()
        if not self.tied and self.steps < 1:
            raise BpttError("an untied network needs `steps`, the number of steps it is made for")
        if self.layout().size > MOST_PARAMETERS:
            raise BpttError(
                f"a network with hidden {self.hidden} and layers {self.layers} has "
                f"{self.layout().size:,} parameters: make it smaller, "
                f"at most {MOST_PARAMETERS:,} are allowed"
            )

    def _check_skip(self) -> None:
        """Raises BpttError for a way past the network that cannot be."""
        if not 0 <= self.skip <= min(self.inputs, self.outputs):
            raise BpttError(
                f"skip {self.skip} is not allowed: from 0 to {min(self.inputs, self.outputs)}, as "
                f"there are {self.inputs} inputs and {self.outputs} outputs"
            )
        if self.skip and self.readout == "last":
            raise BpttError(
                "skip adds the inputs to the outputs step by step: readout 'last' has one output "
                "for all steps; leave skip out"
            )

    def _check_disturbance(self) -> None:
        """Raises BpttError for noise and dropout that cannot be."""
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise BpttError(
                    f"{name} {getattr(self, name)} is not allowed: a share from 0 and below 1 is"
                )
        if self.input_dropout and self.inputs >= 2**UNITS_BITS:
            raise BpttError(f"input_dropout is for less than {2**UNITS_BITS:,} inputs")
        if not (self.noise == 0 or LEAST_NOISE <= self.noise <= MOST_NOISE):
            raise BpttError(
                f"noise {self.noise} is not allowed: 0, or a standard deviation from "
                f"{LEAST_NOISE:g} to {MOST_NOISE:g}"
            )
        if self.noise and len(self.equations.states) > MASK:
            raise BpttError(
                f"cell '{self.equations.name}' has {len(self.equations.states)} states: "
                f"at most {MASK} can have noise"
            )

    @property
    def equations(self) -> Cell:
        """The cell's equations."""
        return cell_of(self.cell, self.activation)

    @property
    def head(self) -> Output:
        """The output function and loss."""
        output = output_of(self.output, self.loss)
        if output.code == PINBALL:
            return quantile_output(levels_of(self.quantiles, self.outputs))
        return output

    @property
    def directions(self) -> int:
        """In how many directions a layer walks: 1, or 2."""
        return 2 if self.bidirectional else 1

    @property
    def recurrences(self) -> int:
        """How many recurrences there are: one a layer, or, of a bidirectional network, two. Those
        of a layer follow each other, the forward one first."""
        return self.layers * self.directions

    @property
    def features(self) -> int:
        """What a layer hands up at each step: H numbers, or, in two directions, 2 H."""
        return self.hidden * self.directions

    def refuse_both_directions(self, what: str) -> None:
        """Raises BpttError if the network is bidirectional; what: is asked of it, in words."""
        if self.bidirectional:
            raise BpttError(
                f"a bidirectional network reads each sequence from its end too: {what}; leave "
                "bidirectional out"
            )

    def layer_inputs(self, recurrence: int) -> int:
        """How many inputs a recurrence has: D in the first layer, `features` in the others."""
        first = whole("recurrence", recurrence, 0) < self.directions
        return self.inputs if first else self.features

    def name(self, letter: str, recurrence: int) -> str:
        """A recurrence's parameter: 'U', or with several layers 'U.1', 'U.2', ...; of a reverse
        direction 'U.reverse', or 'U.1.reverse'."""
        text("letter", letter)
        layer, reverse = divmod(whole("recurrence", recurrence, 0), self.directions)
        name = letter if self.layers == 1 else f"{letter}.{layer + 1}"
        return f"{name}.reverse" if reverse else name

    def layout(self) -> Layout:
        """Names and shapes of all parameters, in their order in the flat vector.

        Per recurrence U (D, G*H), W (H, G*H), b (K*H), and h0 (H) (and c0 (H) for the LSTM) where
        the initial state is trainable; then V (H, O) and c (O), where for H and, above the first
        layer, for D a bidirectional network has 2 H. Untied, U, W, b, V and c have a
        leading axis of `steps`; with readout 'last' there is one V and c all the same. Parameters
        of the cell's own come after h0, (H) or, shared, (1), the same at all steps; last of all
        those that are not trained.
        """
        return layout_of(self)

    def plain(self) -> dict[str, Any]:
        """Plain values, for files: of equations of your own their text, and of the options `LATER`
        those that are not off."""
        built: dict[str, Any] = msgspec.to_builtins(self, enc_hook=as_text)
        off = LATER.items()
        return {name: value for name, value in built.items() if (name, value) not in off}


@lru_cache(maxsize=256)
def layout_of(structure: Structure) -> Layout:
    """See `Structure.layout`."""
    cell, h, name = structure.equations, structure.hidden, structure.name
    lead = () if structure.tied else (structure.steps,)
    shapes: dict[str, tuple[int, ...]] = {}
    fixed: dict[str, tuple[int, ...]] = {}
    for k in range(structure.recurrences):
        shapes[name("U", k)] = (*lead, structure.layer_inputs(k), cell.gates * h)
        shapes[name("W", k)] = (*lead, h, cell.gates * h)
        if structure.bias:
            shapes[name("b", k)] = (*lead, len(cell.preactivations) * h)
        if structure.initial_state == "trainable":
            for state in cell.states:
                shapes[name(f"{state}0", k)] = (h,)
        for own in cell.parameters:
            wanted = shapes if own.trained else fixed
            wanted[name(own.name, k)] = (1 if own.shared else h,)
    head = lead if structure.readout == "steps" else ()
    shapes["V"] = (*head, structure.features, structure.outputs)
    if structure.bias:
        shapes["c"] = (*head, structure.outputs)
    return Layout({**shapes, **fixed}, len(fixed))
