"""What a user says of a training on a data set, and the network that the data ask for."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bptt.equations.optimizers import Optimizer
from bptt.errors import BpttError, not_there, one_line
from bptt.network.structure import Structure
from bptt.sequences.schema import Schema


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on a data set.

    cell, activation, hidden, layers, initial_state, dtype: of the network, see
    `bptt.network.structure.Structure`. optimizer, learning_rate, weight_decay, clip_norm: see
    `bptt.equations.optimizers.Optimizer`. batch: sequences a minibatch. epochs: at most.
    validation: the share held out (0: none), see `bptt.sequences.splits.split`. patience: training
    ends when the validation loss has not become smaller for so many epochs (0: never). plateau:
    after so many epochs without a smaller one the rate is multiplied by `factor` (0: never).
    seconds: of training, at most. seed: fixes weights, split and order. engine: see
    `bptt.network.engines`.

    Raises BpttError for a value that is not allowed.
    """

    cell: str = "gru"
    activation: str = "tanh"
    hidden: int = 32
    layers: int = 1
    initial_state: str = "zeros"
    dtype: str = "float32"
    optimizer: str = "adam"
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    batch: int = 32
    epochs: int = 100
    validation: float = 0.2
    patience: int = 20
    plateau: int = 0
    factor: float = 0.5
    seconds: float | None = None
    seed: int = 0
    engine: str = "compiled"

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("epochs", 0), ("patience", 0), ("plateau", 0)):
            if getattr(self, name) < least:
                raise BpttError(f"{name} {getattr(self, name)} must be at least {least}")
        if not 0 <= self.validation < 1:
            raise BpttError(
                f"validation {self.validation} is not allowed: a share from 0 and below 1 is"
            )
        if not 0 < self.factor < 1:
            raise BpttError(f"factor {self.factor} is not allowed: between 0 and 1 is")
        if self.seed < 0:
            raise BpttError(f"seed {self.seed} must not be negative")
        self.rate_of(self.learning_rate)

    def rate_of(self, learning_rate: float) -> Optimizer:
        """The optimizer at a rate, which a plateau changes."""
        return Optimizer(
            kind=self.optimizer, learning_rate=learning_rate, weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )  # fmt: skip

    def structure(self, schema: Schema) -> Structure:
        """The network for data: softmax over the classes, or linear outputs with squared error; an
        answer from the last state, or at every step. Losses are averaged over weights."""
        classes = schema.kind == "classes"
        if classes and len(schema.classes) < 2:
            raise BpttError(
                f"target '{schema.target[0]}' has one class, {schema.classes[0]!r}: "
                "two are needed to learn from"
            )
        return Structure(
            inputs=len(schema.channels), hidden=self.hidden, layers=self.layers, cell=self.cell,
            activation=self.activation, initial_state=self.initial_state, dtype=self.dtype,
            outputs=len(schema.classes) if classes else len(schema.target),
            output="softmax" if classes else "linear",
            loss="cross_entropy" if classes else "squared", reduction="mean",
            readout="last" if schema.per == "sequence" else "steps",
        )  # fmt: skip


def plan_of(options: Mapping[str, Any]) -> Plan:
    """A plan of options. Raises BpttError for one that is not known or not allowed."""
    for name in options:
        if name not in Plan.__struct_fields__:
            raise not_there("option", name, Plan.__struct_fields__, "bptt.fit")
    try:
        return msgspec.convert(dict(options), Plan)
    except msgspec.ValidationError as error:
        raise one_line(error, "bptt.fit") from None
