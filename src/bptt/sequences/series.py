"""`Series`: many regular series to be forecast, as users bring them.

    frame (unique_id, ds, y, covariates)    a row a series and time, in any order
    pandas series, or an array (T,)         one series
    array (n, T), list of (T_i,)            several, at the times 0, 1, 2, ...
    Sequences                               a sequence a series; channels are y and covariates

All have one frequency and no gap, no missing value, nothing twice.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError, not_there
from bptt.options import NOT_AN_OPTION, Option
from bptt.sequences import frames
from bptt.sequences.frequency import Frequency, frequency_of, shown
from bptt.sequences.parts import Parts
from bptt.sequences.schema import Column, Reading, Schema
from bptt.sequences.store import Sequences

Floats = NDArray[np.float64]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns are called: of what tells series apart, of times, of what is forecast, and
    of covariates, which are known ahead."""

    id: Annotated[str, Option("Column that tells series apart.")] = "unique_id"
    time: Annotated[str, Option("Column of times.")] = "ds"
    target: Annotated[str, Option("Column to be forecast.")] = "y"
    covariates: Annotated[tuple[str, ...], NOT_AN_OPTION] = ()

    def __post_init__(self) -> None:
        every = [self.id, self.time, self.target, *self.covariates]
        for name in every:
            if every.count(name) > 1:
                raise BpttError(f"column '{name}' has two roles: give each column one")


@dataclass(frozen=True)
class Series:
    """n series. ids: (n,) plain values; y: their values, each (T_i,); known: their covariates,
    each (T_i, K), K channels (text is one-hot); times: each (T_i,); columns: of the covariates."""

    ids: list[Any]
    y: list[Floats]
    known: list[Floats]
    times: list[Any]
    frequency: Frequency
    names: Names
    columns: tuple[Column, ...] = ()
    source: str = "the data"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.intp]:
        """(n,): how many values each series has."""
        return np.array([len(each) for each in self.y], np.intp)

    def name(self, number: int) -> str:
        """How messages call a series."""
        return f"'{self.ids[number]}'"

    def cut(self, lengths: Any) -> "Series":
        """The same with the first so many values of each; lengths: (n,)."""
        return replace(
            self,
            y=[each[:n] for each, n in zip(self.y, lengths, strict=True)],
            known=[each[:n] for each, n in zip(self.known, lengths, strict=True)],
            times=[each[:n] for each, n in zip(self.times, lengths, strict=True)],
        )

    def __str__(self) -> str:
        lengths = self.lengths
        low, high = int(lengths.min()), int(lengths.max())
        count = f"{len(self):,} series" + (f" of {low:,} to {high:,}" if low < high else "")
        each = "" if low < high else f" of {low:,}"
        begin, end = min(t[0] for t in self.times), max(t[-1] for t in self.times)
        known = ""
        if self.names.covariates:
            known = f", covariates {', '.join(self.names.covariates)}"
        return (
            f"{self.source}: {count}{each} values of {self.names.target}, {shown(begin)} to "
            f"{shown(end)}, steps of {self.frequency}{known}"
        )


def series_of(
    data: Any,
    names: Names | None = None,
    freq: str | float | None = None,
    like: "tuple[Column, ...] | None" = None,
    source: str = "the data",
) -> Series:
    """Series of anything that the head of this file lists; a `Series` as it is.

    like: the columns of covariates trained on, whose categories they must have. Raises BpttError,
    one line, for what is missing, twice, not regular, or no number.
    """
    names = names or Names()
    if isinstance(data, Series):
        return data
    if isinstance(data, Sequences):
        return _of_sequences(data, names, freq)
    if frames.is_frame(data):
        return _of_frame(data, names, freq, like, source)
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "index"):
        return _of_pandas(data, names, freq, source)
    return _of_arrays(data, names, freq, source)


def _of_frame(
    frame: Any, names: Names, freq: Any, like: "tuple[Column, ...] | None", source: str
) -> Series:
    table = frames.to_pandas(frame).rename(columns=str)
    parts = rows_of(table, names, (names.target, *names.covariates), like, source)
    return _of_parts(parts, names, freq)


def rows_of(table: Any, names: Names, columns: tuple[str, ...], like: Any, source: str) -> Parts:
    """A long table's columns as numbers, sorted by series and time. A table without a column that
    tells series apart is one series."""
    several = names.id in table.columns or names.id != Names().id
    known = None
    reading = Reading(
        id=names.id if several else None, time=names.time, features=columns, missing="flag"
    )
    if like is not None:
        first = tuple(Column(name) for name in columns if name == names.target)
        known = Schema(columns=(*first, *like), reading=reading)
    found = frames.from_frame(table, reading, known, source)
    if names.target in columns and found.columns[0].categories:
        raise BpttError(f"{source}: '{names.target}' holds text: numbers are forecast")
    if found.times is None or found.times.dtype.kind != "O":
        return found
    import pandas

    index = pandas.DatetimeIndex(found.times)
    if index.tz is not None:
        raise BpttError(
            f"{source}: time '{names.time}' has time zones: take them off, "
            "frame[time].dt.tz_localize(None)"
        )
    return replace(found, times=np.asarray(index))


def _of_parts(parts: Parts, names: Names, freq: Any) -> Series:
    places = [slice(int(s), int(s + n)) for s, n in zip(parts.starts, parts.lengths, strict=True)]
    ids = [names.target] if parts.ids is None else [plain(each) for each in parts.ids]
    times = [np.arange(p.stop - p.start) if parts.times is None else parts.times[p] for p in places]
    rows = np.asarray(parts.rows, np.float64) * parts.unit
    labels = [f"'{each}'" for each in ids]
    for place, label, at in zip(places, labels, times, strict=True):
        check_values(rows[place], parts, label, at)
    return Series(
        ids, [rows[p, 0] for p in places], [rows[p, 1:] for p in places], times,
        frequency_of(times, labels, freq), names, parts.columns[1:], parts.source,
    )  # fmt: skip


def plain(value: Any) -> Any:
    """An id as a value that JSON holds."""
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float) else str(value)


def check_values(rows: Floats, parts: Parts, label: str, times: Any) -> None:
    """Raises BpttError, which names series and time, for a value that is missing or infinite."""
    bad = np.argwhere(~np.isfinite(rows))
    if not len(bad):
        return
    row, channel = bad[0]
    owner = [column.name for column in parts.columns for _ in column.channels][channel]
    what = "missing" if np.isnan(rows[row, channel]) else str(rows[row, channel])
    raise BpttError(
        f"series {label} at {shown(times[row])}: '{owner}' is {what}: give a finite number, for "
        "example by frame.interpolate()"
    )


def _of_sequences(data: Sequences, names: Names, freq: Any) -> Series:
    """The channel of the target's name is y, the only or first one where none has it."""
    parts, own = data.parts, list(data.channels)
    if any(column.flagged for column in parts.columns):
        raise BpttError("these sequences had missing values filled: give them without, or a frame")
    y = own.index(names.target) if names.target in own else 0
    wanted = [y]
    for name in names.covariates:
        if name not in own:
            raise not_there("channel", name, own, parts.source)
        wanted.append(own.index(name))
    some = replace(
        parts, rows=parts.rows[:, wanted], columns=tuple(Column(own[place]) for place in wanted),
        ids=np.arange(len(data)) if parts.ids is None else parts.ids,
    )  # fmt: skip
    return _of_parts(some, names, freq)


def _of_pandas(series: Any, names: Names, freq: Any, source: str) -> Series:
    """A pandas series, its index the times."""
    import pandas

    if names.covariates:
        raise BpttError("a series has no covariates: give a frame with their columns")
    index = series.index
    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pandas.DatetimeIndex) and index.dtype.kind not in "iuf":
        raise BpttError(
            f"the index of the series holds {index.dtype} values: dates or numbers are needed"
        )
    name = names.target if series.name is None else str(series.name)
    own = msgspec.structs.replace(names, target=name if name not in (names.id, names.time) else "y")
    table = pandas.DataFrame({names.id: name, names.time: index, own.target: series.to_numpy()})
    return replace(_of_frame(table, own, freq, None, source), names=names)


def _of_arrays(data: Any, names: Names, freq: Any, source: str) -> Series:
    if names.covariates:
        raise BpttError("arrays have no covariates: give a frame with their columns")
    try:
        flat = np.asarray(data)
    except ValueError:
        flat = np.empty(0, object)
    if flat.dtype.kind in "fiub" and flat.ndim == 1 and flat.size:
        sequences = Sequences(flat, single=True, missing="flag")
    else:
        sequences = Sequences(data, missing="flag")
    if len(sequences.parts.columns) != 1:
        raise BpttError(
            f"each series has {len(sequences.parts.columns)} channels: give one, (T,) or (n, T), "
            "or a frame with covariates"
        )
    return _of_parts(
        replace(
            sequences.parts, rows=sequences.parts.rows[:, :1], source=source,
            columns=(Column(names.target),), ids=np.arange(len(sequences)),
        ),
        names, freq,
    )  # fmt: skip
