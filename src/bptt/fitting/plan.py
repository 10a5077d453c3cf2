"""What a user says of a training on a data set, and the network that the data ask for."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from bptt.arguments import check_types, whole
from bptt.equations.optimizers import Optimizer
from bptt.equations.own import as_text
from bptt.errors import BpttError, not_there, one_line, quoted_list
from bptt.network.engines import ENGINES
from bptt.network.structure import Structure
from bptt.options import NOT_AN_OPTION, Declared, Option, options_of
from bptt.sequences.schema import Schema

Kind = TypeVar("Kind", bound=msgspec.Struct)

# Losses of numbers to be learned; of classes there is cross-entropy.
LOSSES = ("squared", "absolute", "huber", "pinball")
CLASS_WEIGHTS = ("", "balanced")
# Of the network and its loss these follow from the data.
BY_DATA = ("output", "loss", "quantiles", "reduction", "tied")
USUAL = Structure(
    inputs=1, outputs=1, cell="gru", hidden=32, output="linear", loss="squared", reduction="mean"
)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on a data set.

    structure: the network, whose inputs, outputs and loss follow from the data. optimizer: see
    `bptt.equations.optimizers.Optimizer`. loss: of numbers to be learned. quantiles: levels, with
    loss 'pinball'; each number to be learned has an output of each level. batch: sequences a
    minibatch. window: sequences are walked in windows of so many steps, the state carried from one
    to the next (truncated backpropagation through time; 0: whole); where there are fewer than
    `batch` sequences they are cut, and the pieces walked side by side. warm_up: so many first steps
    after the state was set back do not count. epochs: at most. validation: the share held out (0:
    none), see `bptt.sequences.splits.split`. patience: training ends when the validation loss has
    not become smaller for so many epochs (0: never). plateau: after so many epochs without a
    smaller one the rate is multiplied by `factor` (0: never). decay_over: the rate falls to zero
    along half a cosine over so many epochs (0: it does not). seconds: of training, at most.
    class_weight: 'balanced': each class counts as much as every other. seed: fixes weights, split
    and order. engine: see `bptt.network.engines`.

    Raises BpttError for a value that is not allowed.
    """

    structure: Annotated[Structure, NOT_AN_OPTION] = USUAL
    optimizer: Annotated[Optimizer, NOT_AN_OPTION] = Optimizer(
        kind="adam", learning_rate=0.01, clip_norm=1.0
    )
    loss: Annotated[str, Option("Of numbers: squared, absolute, huber or pinball.")] = ""
    quantiles: Annotated[
        tuple[float, ...], Option("Levels of the quantiles, with loss pinball.")
    ] = ()
    class_weight: Annotated[str, Option("balanced: each class counts as much as every other.")] = ""
    batch: Annotated[int, Option("Sequences a minibatch, or places side by side.")] = 32
    window: Annotated[int, Option("Steps a window, the state carried on; 0: whole.")] = 0
    warm_up: Annotated[int, Option("First steps of a sequence that do not count.")] = 0
    epochs: Annotated[int, Option("Epochs at most.")] = 100
    validation: Annotated[float, Option("The share held out.")] = 0.2
    patience: Annotated[
        int, Option("Epochs without a smaller validation loss, then stop; 0: never.")
    ] = 20
    plateau: Annotated[int, Option("Epochs without one, then a smaller rate; 0: never.")] = 0
    factor: Annotated[float, Option("How much smaller.")] = 0.5
    decay_over: Annotated[
        int, Option("Epochs over which the rate falls along a cosine; 0: it does not.")
    ] = 0
    seconds: Annotated[float | None, Option("Seconds of training at most.")] = None
    seed: Annotated[int, Option("Fixes weights, what is held out, and order.")] = 0
    engine: Annotated[str, Option("compiled, or reference for plain NumPy.")] = "compiled"

    def __post_init__(self) -> None:
        check_types(self)
        leasts = {"batch": 1, "epochs": 0, "patience": 0, "plateau": 0, "window": 0, "warm_up": 0,
                  "decay_over": 0, "seed": 0}  # fmt: skip
        for name, least in leasts.items():
            whole(name, getattr(self, name), least)
        if not 0 <= self.validation < 1:
            raise BpttError(
                f"validation {self.validation} is not allowed: a share from 0 and below 1 is"
            )
        if not 0 < self.factor < 1:
            raise BpttError(f"factor {self.factor} is not allowed: between 0 and 1 is")
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            raise BpttError(f"seconds {self.seconds} must be a finite number, not negative")
        for name, allowed in (
            ("loss", ("", *LOSSES, "cross_entropy")), ("class_weight", CLASS_WEIGHTS),
            ("engine", ENGINES),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise BpttError(
                    f"{name} '{getattr(self, name)}' is not known: "
                    f"choose one of {quoted_list(each for each in allowed if each)}"
                )
        if self.window:
            self.structure.refuse_both_directions("no state is carried from window to window")
        if self.quantiles and self.loss != "pinball":
            raise BpttError("quantiles go with loss 'pinball'")

    def rate_of(self, learning_rate: float, iterations: int) -> Optimizer:
        """The optimizer at a rate, which a plateau changes; iterations: of `decay_over` epochs."""
        schedule = self.optimizer.schedule
        if self.decay_over:
            schedule = msgspec.structs.replace(schedule, kind="cosine", iterations=iterations)
        return msgspec.structs.replace(
            self.optimizer, learning_rate=learning_rate, schedule=schedule
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of the quantiles; one that stands for none where no quantiles are learned."""
        if self.loss != "pinball":
            return (0.5,)
        return self.quantiles or (0.5,)

    def network(self, schema: Schema) -> Structure:
        """The network for data: softmax over the classes, or linear outputs; an answer from the
        last state, or at every step. Losses are averaged over weights. Raises BpttError for a
        loss that does not go with the data, and for a single class."""
        classes = schema.kind == "classes"
        if classes and len(schema.classes) < 2:
            raise BpttError(
                f"target '{schema.target[0]}' has one class, {schema.classes[0]!r}: "
                "two are needed to learn from"
            )
        if self.loss and (self.loss == "cross_entropy") != classes:
            what, allowed = ("classes", ["cross_entropy"]) if classes else ("numbers", LOSSES)
            raise BpttError(
                f"loss '{self.loss}' is none of {what}, which target '{schema.target[0]}' holds: "
                f"choose one of {quoted_list(allowed)}"
            )
        outputs = len(schema.classes) if classes else len(schema.target) * len(self.levels)
        return changed(
            self.structure, inputs=len(schema.channels), outputs=outputs,
            output="softmax" if classes else "linear",
            loss="cross_entropy" if classes else self.loss or "squared",
            quantiles=self.levels * len(schema.target) if self.loss == "pinball" else (),
            readout="last" if schema.per == "sequence" else "steps",
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """Plain values, for files."""
        built: dict[str, Any] = msgspec.to_builtins(self, enc_hook=as_text)
        return built


# The options of the network, of the optimizer, and of the training.
GROUPS: dict[str, dict[str, Declared]] = {
    "structure": {
        name: each for name, each in options_of(Structure).items() if name not in BY_DATA
    },
    "optimizer": options_of(Optimizer),
    "plan": options_of(Plan),
}
OPTIONS = {name: each for group in GROUPS.values() for name, each in group.items()}


def changed(settings: Kind, **fields: Any) -> Kind:
    """Settings with other values of some fields. Raises BpttError for one that is not allowed."""
    try:
        return msgspec.convert({**msgspec.structs.asdict(settings), **fields}, type(settings))
    except msgspec.ValidationError as error:
        raise one_line(error, "bptt.fit") from None


def plan_of(options: Mapping[str, Any]) -> Plan:
    """A plan of options in one flat list; None leaves what is usual. Raises BpttError for one that
    is not known or not allowed."""
    parts: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in options.items():
        group = next((each for each, known in GROUPS.items() if name in known), None)
        if group is None:
            raise not_there("option", name, OPTIONS, "bptt.fit")
        if value is not None:
            parts[group][GROUPS[group][name].field] = value
    structure = changed(Plan().structure, **parts["structure"])
    optimizer = changed(Plan().optimizer, **parts["optimizer"])
    return Plan(structure=structure, optimizer=optimizer, **parts["plan"])


def plan_from_plain(values: Any) -> Plan:
    """A plan from plain values, as config.json has them. Raises BpttError for any others."""
    try:
        return msgspec.convert(values, Plan)
    except msgspec.ValidationError as error:
        raise one_line(error, "the training") from None
