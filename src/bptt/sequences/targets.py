"""What is to be learned: a class or numbers, for each sequence or for each step.

                    a sequence has one          every step has one
    classes         a label (n,)                a label a step (N,)
    numbers         numbers (n, O)              numbers a step (N, O), also: what comes next

Text, booleans, categories and whole numbers are classes, other numbers are numbers, unless `kind`
says otherwise. A missing target (None, NaN, an empty cell) does not count: its weight in the loss
is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError, not_there, quoted_list
from bptt.sequences.schema import KINDS

Class = bool | int | float | str
# With more different whole numbers than these the user has to say what they are.
MOST_WHOLE_CLASSES = 50
# What pandas calls a column's values, and what they are as a target.
AS_NUMBERS = ("floating", "decimal", "mixed-integer-float")
AS_CLASSES = ("integer", "string", "boolean")


@dataclass(frozen=True)
class Target:
    """The targets of n sequences with N rows.

    values: for classes (n,) or (N,) class numbers, -1 where missing; for numbers (n, O) or (N, O),
    NaN where missing. classes: what the class numbers stand for, in order, as the user gave them.
    ahead: the target of a step is the value that many steps later in its sequence (1: what comes
    next); missing where the sequence has ended by then. unit: what a number in `values` is worth.
    """

    names: tuple[str, ...]
    kind: str
    per: str
    values: NDArray[Any]
    classes: tuple[Class, ...] = ()
    ahead: int = 0
    unit: float = 1.0

    @property
    def outputs(self) -> int:
        """O: how many classes, or how many numbers."""
        return len(self.classes) if self.kind == "classes" else int(self.values.shape[1])

    def missing(self) -> NDArray[np.bool_]:
        """(n,) or (N,): where a target, or one of its numbers, is missing."""
        if self.kind == "classes":
            return np.asarray(self.values < 0)
        if self.values.dtype.kind != "f":
            return np.zeros(len(self.values), np.bool_)
        return np.asarray(np.isnan(self.values).any(axis=1))


def coded(
    columns: Sequence[Any],
    names: tuple[str, ...],
    kind: str | None = None,
    classes: tuple[Class, ...] | None = None,
    where: str = "the data",
) -> tuple[str, NDArray[Any], tuple[Class, ...]]:
    """Columns of any values as class numbers or numbers: kind, values, classes (see `Target`).

    columns: one for each name, 1-D of any type. classes: those trained on, where the data are for
    a trained network. Raises BpttError for values that are no target, for infinite ones, and for a
    class that is none of `classes`.
    """
    kinds = [_kind(column, name, kind, where) for column, name in zip(columns, names, strict=True)]
    if len(columns) > 1 and (kind == "classes" or "classes" in kinds):
        if kind == "classes" or any(_holds(column) == "string" for column in columns):
            raise BpttError(f"targets {quoted_list(names)}: only one column can hold classes")
        kinds = ["numbers"] * len(columns)
    if kinds[0] == "numbers":
        values = np.stack([_numbers(each, name) for each, name in zip(columns, names, strict=True)])
        return "numbers", values.T.copy(), ()
    return ("classes", *_classes(columns[0], names[0], classes, kind is not None, where))


def _holds(column: Any) -> str:
    """pandas' word for what the values are."""
    import pandas

    column = _plain(column)
    return str(pandas.api.types.infer_dtype(column, skipna=True))


def _plain(column: Any) -> Any:
    """A pandas series; categories become the values they stand for."""
    import pandas

    series = pandas.Series(column)
    return series.astype(object) if isinstance(series.dtype, pandas.CategoricalDtype) else series


def _kind(column: Any, name: str, kind: str | None, where: str) -> str:
    """What a target column is: as `kind` says, else by its values."""
    found = _holds(column)
    if found == "empty":
        if kind is not None:
            return kind
        raise BpttError(f"target '{name}' of {where} has no value: fill it, or name another")
    if found in AS_NUMBERS or found in AS_CLASSES:
        if kind == "numbers" and found == "string":
            raise BpttError(
                f"target '{name}' holds text, {_first(column)!r}: "
                "make it numbers, or give kind='classes'"
            )
        return kind or KINDS[found in AS_NUMBERS]
    if found.startswith("mixed"):
        raise BpttError(
            f"target '{name}' of {where} mixes text and numbers ({_two_types(column)}): "
            "make them all text or all numbers"
        )
    raise BpttError(f"target '{name}' of {where} holds {found} values: text or numbers are needed")


def _first(column: Any) -> Any:
    return _plain(column).dropna().iloc[0]


def _two_types(column: Any) -> str:
    """Two values of different types, as evidence."""
    values = _plain(column).dropna()
    text = [value for value in values if isinstance(value, str)]
    rest = [value for value in values if not isinstance(value, str)]
    return " and ".join(repr(each[0]) for each in (text, rest) if each)


def _numbers(column: Any, name: str) -> NDArray[np.float64]:
    """Numbers with NaN where missing; infinite ones are an error."""
    numbers = _plain(column).to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isinf(numbers))
    if bad.size:
        raise BpttError(
            f"target '{name}' is {numbers[bad[0]]} in row {bad[0] + 1}: "
            "finite numbers are needed; leave unknown ones empty"
        )
    return np.asarray(numbers, np.float64)


def _classes(
    column: Any, name: str, known: tuple[Class, ...] | None, sure: bool, where: str
) -> tuple[NDArray[np.intp], tuple[Class, ...]]:
    """Class numbers, -1 where missing, and the classes."""
    import pandas

    series = _plain(column)
    if known is not None:
        codes = pandas.Index(list(known), dtype=object).get_indexer(series.astype(object))
        strange = np.flatnonzero((codes < 0) & series.notna().to_numpy())
        if strange.size:
            raise not_there("class", series.iloc[strange[0]], known, f"the training of '{name}'")
        return np.asarray(codes, np.intp), known
    codes, found = pandas.factorize(series, sort=True)
    if len(found) > MOST_WHOLE_CLASSES and not sure and _holds(series) == "integer":
        raise BpttError(
            f"target '{name}' of {where} holds {len(found):,} different whole numbers: "
            "say what they are, kind='classes' or kind='numbers'"
        )
    classes = tuple(each.item() if hasattr(each, "item") else each for each in found)
    return np.asarray(codes, np.intp), classes
