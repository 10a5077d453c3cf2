"""How data are to be read, and what was learned of them in training: plain values that JSON holds,
so that new data can be read the same way."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from bptt.errors import BpttError, quoted_list
from bptt.options import Option

KINDS = ("classes", "numbers")
PLACES = ("sequence", "step")
MISSING = ("error", "flag", "last")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of his data.

    id, time, group, weight: names of columns. features: the columns to learn from, in order
    (None: all that have no other role). target: one column, or several of numbers. categorical:
    columns that become one-hot although they hold numbers.
    kind: what the target is, 'classes' or 'numbers'; per: what has one, a 'sequence' or a 'step'.
    None: by the data, see `bptt.sequences.targets`.
    missing: what becomes of missing inputs, see `bptt.sequences.missing`.
    wide: a table has a row a sequence, one column a step. single: an array is one sequence (T, D).
    separator, decimal: of a CSV file.

    Raises BpttError for a value that is not allowed.
    """

    id: Annotated[str | None, Option("Column that tells sequences apart.")] = None
    time: Annotated[str | None, Option("Column that orders a sequence's rows.")] = None
    features: Annotated[
        tuple[str, ...] | None, Option("Columns to learn from; all others if none is named.")
    ] = None
    target: Annotated[tuple[str, ...], Option("Column to be learned, or several of numbers.")] = ()
    group: Annotated[str | None, Option("Column of whom or what a sequence is from.")] = None
    weight: Annotated[str | None, Option("Column of what a step counts.")] = None
    categorical: Annotated[
        tuple[str, ...], Option("Columns that become one-hot although they hold numbers.")
    ] = ()
    kind: Annotated[str | None, Option("The target holds classes or numbers.")] = None
    per: Annotated[str | None, Option("A sequence or a step has a target.")] = None
    missing: Annotated[str, Option("Missing inputs: error, flag or last.")] = "error"
    wide: Annotated[bool, Option("A row is a sequence, a column a step.")] = False
    single: Annotated[bool, Option("An array is one sequence (T, D).")] = False
    separator: Annotated[str, Option("Between the columns of a text file.")] = ","
    decimal: Annotated[str, Option("The decimal point of a text file.")] = "."

    def __post_init__(self) -> None:
        for name, allowed in (("kind", KINDS), ("per", PLACES), ("missing", MISSING)):
            value = getattr(self, name)
            if value not in allowed and not (value is None and name != "missing"):
                raise BpttError(
                    f"{name} {value!r} is not known: choose one of {quoted_list(allowed)}"
                )
        for name in ("separator", "decimal"):
            if len(getattr(self, name)) != 1:
                raise BpttError(f"{name} {getattr(self, name)!r} must be a single character")
        roles = [self.id, self.time, self.group, self.weight, *self.target, *(self.features or ())]
        named = [role for role in roles if role is not None]
        for name in named:
            # An id may be the group too: each sequence is then a group of its own.
            if named.count(name) > 1 and not (name == self.id == self.group):
                raise BpttError(f"column '{name}' has two roles: give each column one")


def names_of(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """One name, several or none as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)


class Column(msgspec.Struct, frozen=True):
    """An input column as it was trained on.

    categories: of a categorical column, one channel each. flagged: one more channel says where a
    value was missing.
    """

    name: str
    categories: tuple[str, ...] = ()
    flagged: bool = False

    @property
    def channels(self) -> list[str]:
        """The names of the column's own channels."""
        return [f"{self.name}={each}" for each in self.categories] or [self.name]


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a network trained on data needs to know to read other data like them.

    columns: the inputs. target, kind, per, classes: see `bptt.sequences.targets.Target`; kind and
    per are '' without a target. reading: how the user had them read.
    """

    columns: tuple[Column, ...]
    target: tuple[str, ...] = ()
    kind: str = ""
    per: str = ""
    classes: tuple[bool | int | float | str, ...] = ()
    reading: Reading = Reading()

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the D channels: the columns', then those that flag what was missing."""
        own = [channel for column in self.columns for channel in column.channels]
        return (*own, *(f"{column.name} missing" for column in self.columns if column.flagged))

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Which channels are numbers that scaling applies to (not one-hot, not a flag)."""
        own = [not column.categories for column in self.columns for _ in column.channels]
        return (*own, *(False for column in self.columns if column.flagged))

    def to_json(self) -> dict[str, Any]:
        """As plain values; `from_json` makes it again."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @staticmethod
    def from_json(plain: Any) -> "Schema":
        """What `to_json` gave. Raises BpttError for anything else."""
        try:
            return msgspec.convert(plain, Schema)
        except msgspec.ValidationError as error:
            raise BpttError(f"the description of the data is damaged: {error}") from None
