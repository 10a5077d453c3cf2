"""Columns of tables as numbers: number columns checked, texts one-hot, times ordered."""

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError, not_there
from bptt.sequences.schema import Column

if TYPE_CHECKING:
    import pandas as pd

# A text column with more different texts than these is rather a name or a note than a category.
MOST_CATEGORIES = 100
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")


def pick(table: "pd.DataFrame", name: str, where: str) -> "pd.Series[Any]":
    """A column by its name. Raises BpttError, with the nearest name, if there is none."""
    if name not in table.columns:
        raise not_there("column", name, table.columns, where)
    found: pd.Series[Any] = table[name]
    return found


def inputs_of(
    series: "pd.Series[Any]", name: str, where: str, categorical: bool, known: Column | None
) -> tuple[NDArray[Any], Column]:
    """An input column as channels (N, C), NaN where missing, and what kind of column it is.

    known: the column trained on, where the data are for a trained network. Raises BpttError for
    text in a number column, decimal commas, dates, too many categories, and for a category that
    was not in training.
    """
    import pandas

    if categorical or (known is not None and known.categories):
        return _one_hot(series, name, where, known)
    if isinstance(series.dtype, pandas.CategoricalDtype):
        return _one_hot(series.astype(object), name, where, known)
    found = pandas.api.types.infer_dtype(series, skipna=True)
    if found == "empty" and known is None:
        raise BpttError(f"{where}: column '{name}' has no value: leave it out of the features")
    if found in ("integer", "floating", "boolean", "decimal", "mixed-integer-float", "empty"):
        return _numbers(series)[:, None], Column(name)
    if found not in ("string", "mixed", "mixed-integer"):
        raise BpttError(
            f"{where}: column '{name}' holds {found} values, which are no features: "
            f"name it with time=, or leave it out of the features"
        )
    text = series.dropna()
    numbers = pandas.to_numeric(text, errors="coerce")
    strange = text[numbers.isna()]
    commas = strange.astype(str).map(lambda value: bool(DECIMAL_COMMA.fullmatch(value)))
    if len(strange) and commas.all():
        raise BpttError(
            f"{where}: column '{name}' has decimal commas, '{strange.iloc[0]}': give decimal=','"
        )
    if len(strange) == len(text) and known is None:
        return _one_hot(series, name, where, known)
    if len(strange):
        row = int(np.flatnonzero(series.notna())[np.flatnonzero(numbers.isna())[0]]) + 1
        raise BpttError(
            f"{where}: column '{name}' holds numbers, but in row {row} the text "
            f"'{strange.iloc[0]}': leave the cell empty if it is unknown, "
            f"or give categorical='{name}'"
        )
    return _numbers(pandas.to_numeric(series))[:, None], Column(name)


def _numbers(series: "pd.Series[Any]") -> NDArray[Any]:
    """Numbers in float32 if they are that, else in float64; NaN where missing."""
    kind = np.float32 if series.dtype == np.float32 else np.float64
    return series.to_numpy(kind, na_value=np.nan)


def _one_hot(
    series: "pd.Series[Any]", name: str, where: str, known: Column | None
) -> tuple[NDArray[Any], Column]:
    """A channel for each category, in sorted order; all NaN where the value is missing."""
    import pandas

    text = series.map(str, na_action="ignore")
    if known is None:
        codes, found = pandas.factorize(text, sort=True)
        if len(found) > MOST_CATEGORIES:
            raise BpttError(
                f"{where}: column '{name}' holds {len(found):,} different texts, "
                f"'{found[0]}' and so on: leave it out of the features, "
                f"or name it with id=, group= or time= (at most {MOST_CATEGORIES} are categories)"
            )
        column = Column(name, tuple(str(each) for each in found))
    else:
        column = known
        codes = pandas.Index(list(known.categories)).get_indexer(pandas.Index(text))
        strange = text[(codes < 0) & text.notna().to_numpy()]
        if len(strange):
            raise not_there(
                "value", strange.iloc[0], known.categories, f"{where}: in training column '{name}'"
            )
    channels = np.eye(len(column.categories), dtype=np.float32)[codes]
    channels[np.asarray(codes) < 0] = np.nan
    return channels, column


def times_of(series: "pd.Series[Any]", name: str, where: str) -> "pd.Series[Any]":
    """A time column as numbers or dates, text read as dates. Raises BpttError for what is neither,
    and for a missing time."""
    import pandas

    holes = np.flatnonzero(series.isna())
    if holes.size:
        raise BpttError(f"{where}: time '{name}' is missing in row {holes[0] + 1}: fill it")
    found = pandas.api.types.infer_dtype(series)
    if found in ("integer", "floating", "decimal", "datetime64", "datetime", "timedelta64"):
        return series
    if found in ("string", "date", "period"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # dates of no one format
                return pandas.to_datetime(series.astype(str))
        except (ValueError, OverflowError, UserWarning) as error:
            reason = str(error).split(".")[0].split("\n")[0]
            raise BpttError(f"{where}: time '{name}' is no date everywhere: {reason}") from None
    raise BpttError(f"{where}: time '{name}' holds {found} values: numbers or dates are needed")
