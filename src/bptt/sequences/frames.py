"""Tables as sequences: long (a row a step) and wide (a row a sequence).

    long    id  time  x1   x2   label            wide   label  t0   t1   t2
            A   0     0.1  3.0  walk                    walk   0.1  0.2  0.4
            A   1     0.2  3.1  walk                    run    0.3  0.1          (two steps)
            B   0     0.3  2.9  run

Long: rows are sorted by time within each id; ids stay in order of first appearance, and need not
lie together. Wide: one channel; empty cells at the end of a row are no steps, others are missing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.sequences.columns import inputs_of, pick, times_of
from bptt.sequences.frequency import shown
from bptt.sequences.parts import Parts, lying_in_turn
from bptt.sequences.schema import Column, Reading, Schema
from bptt.sequences.targets import Target, coded

if TYPE_CHECKING:
    import pandas as pd

# The column that tells the frames of a list apart.
NUMBER = "number of the frame"


def is_frame(value: Any) -> bool:
    """Whether a value is a table of pandas, polars or arrow, without importing any of them."""
    home = type(value).__module__.partition(".")[0]
    return home in ("pandas", "polars", "pyarrow") and hasattr(value, "columns")


def to_pandas(frame: Any) -> "pd.DataFrame":
    """A pandas data frame of any eager frame. Raises BpttError for anything else."""
    import pandas

    if isinstance(frame, pandas.DataFrame):
        return frame
    try:
        import narwhals
    except ModuleNotFoundError:
        raise BpttError(
            f"a {type(frame).__name__} needs the package narwhals: install it, "
            "or give a pandas data frame"
        ) from None
    try:
        table = narwhals.from_native(frame, eager_only=True)
    except TypeError:
        raise BpttError(f"{type(frame).__name__} is no data frame: give one of pandas") from None
    # Lists keep whole numbers whole where some are missing, which NumPy's arrays do not.
    return pandas.DataFrame(
        {
            name: pandas.Series(table[name].to_list(), dtype="Int64")
            if table[name].dtype.is_integer() and table[name].null_count()
            else table[name].to_numpy()
            for name in table.columns
        }
    )


def from_frame(
    frame: Any, reading: Reading, like: Schema | None = None, where: str = "the table"
) -> Parts:
    """The sequences of a table. Raises BpttError for every mistake in it that can be seen."""
    table = to_pandas(frame)
    if not len(table):
        raise BpttError(f"{where} has no rows")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise BpttError(f"{where} has two columns '{twice[0]}': rename one")
    if like is not None:  # who uses a model need not know what counted, and whom from, in training
        absent = {
            role: None for role in ("group", "weight")
            if getattr(reading, role) not in (None, *table.columns)
        }  # fmt: skip
        reading = msgspec.structs.replace(reading, **absent)
    table = table.rename(columns=str)
    return (_wide if reading.wide else _long)(table, reading, like, where)


def from_frames(frames: Sequence[Any], reading: Reading, like: Schema | None) -> Parts:
    """A list of tables, each one sequence."""
    import pandas

    if reading.id is not None or reading.wide:
        raise BpttError("each frame of a list is one sequence: leave id and wide out")
    tables = [to_pandas(frame).rename(columns=str) for frame in frames]
    for number, table in enumerate(tables):
        if not len(table):
            raise BpttError(f"sequence {number} has no steps: leave it out")
        if set(table.columns) != set(tables[0].columns):
            odd = sorted(set(table.columns) ^ set(tables[0].columns))[0]
            raise BpttError(f"frame {number} and frame 0 differ in column '{odd}': name it alike")
    whole = pandas.concat(tables, ignore_index=True)
    whole[NUMBER] = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return _long(whole, reading, like, "the frames", NUMBER)


def _roles(table: "pd.DataFrame", reading: Reading, like: Schema | None, where: str) -> list[str]:
    """The feature columns."""
    if like is not None:
        features = [column.name for column in like.columns]
        for name in features:
            if name not in table.columns:
                pick(table, name, f"{where}: trained on '{name}', but it")
        return features
    if reading.features is not None:
        return list(reading.features)
    roles = {reading.id, reading.time, reading.group, reading.weight, *reading.target, NUMBER}
    return [name for name in table.columns if name not in roles]


def _order(
    table: "pd.DataFrame", reading: Reading, by: str | None, where: str
) -> tuple[NDArray[np.intp], NDArray[np.intp], Any, Any]:
    """Rows in the order of sequences and time, lengths, ids, and the times in that order."""
    import pandas

    if by is None:
        codes, ids = np.zeros(len(table), np.intp), None
    else:
        holes = np.flatnonzero(pick(table, by, where).isna())
        if holes.size:
            raise BpttError(f"{where}: id '{by}' is missing in row {holes[0] + 1}: fill it")
        codes, found = pandas.factorize(table[by])
        ids = np.asarray(found)
    if reading.time is None:
        order = np.argsort(codes, kind="stable")
        return order, np.bincount(codes), ids, None
    times = times_of(pick(table, reading.time, where), reading.time, where).to_numpy()
    order = np.lexsort((times, codes))
    same = (codes[order][1:] == codes[order][:-1]) & (times[order][1:] == times[order][:-1])
    if same.any():
        at = int(np.flatnonzero(same)[0])
        first, second = sorted((int(order[at]) + 1, int(order[at + 1]) + 1))
        of = (
            f"of {by} '{ids[codes[order[at]]]}'"
            if ids is not None and by != NUMBER
            else "(if there are several sequences, name the column that tells them apart: id=)"
        )
        raise BpttError(
            f"{where}: time {shown(times[order[at]])} {of} stands in rows {first} and {second}: "
            "keep one of them"
        )
    return order, np.bincount(codes), ids, times[order]


def _long(
    table: "pd.DataFrame",
    reading: Reading,
    like: Schema | None,
    where: str,
    by: str | None = None,
) -> Parts:
    for name in reading.categorical:
        pick(table, name, where)
    features = _roles(table, reading, like, where)
    if not features:
        raise BpttError(f"{where} has no feature columns: name them with features=")
    order, lengths, ids, times = _order(table, reading, by or reading.id, where)
    known = {column.name: column for column in like.columns} if like else {}
    arrays, columns = [], []
    for name in features:
        series = pick(table, name, where)
        array, column = inputs_of(series, name, where, name in reading.categorical, known.get(name))
        arrays.append(array)
        columns.append(column)
    starts, lengths = lying_in_turn(lengths)
    target = _target(table, reading, like, where, order, starts)
    each, steps = _weights(table, reading, where, order, starts, target)
    return Parts(
        np.hstack(arrays)[order],
        starts,
        lengths,
        tuple(columns),
        reading,
        target=target,
        weights=each,
        step_weights=steps,
        ids=None if by == NUMBER else ids,
        groups=_constant(table, reading.group, "group", where, order, starts),
        times=times,
        source=where,
    )


def _target(
    table: "pd.DataFrame",
    reading: Reading,
    like: Schema | None,
    where: str,
    order: NDArray[np.intp],
    starts: NDArray[np.intp],
) -> Target | None:
    """The target columns, one value a sequence where they are constant in each."""
    names = reading.target
    if like is not None and any(name not in table.columns for name in names):
        return None  # new data need no answers
    if not names:
        return None
    columns = [pick(table, name, where) for name in names]
    classes = like.classes if like is not None and like.kind == "classes" else None
    kind, values, classes = coded(
        columns, names, like.kind if like else reading.kind, classes, where
    )
    values = values[order]
    per = like.per if like is not None else reading.per
    constant, first = _first_values(values, starts)
    if per is None:
        per = "sequence" if constant is None and len(starts) > 1 else "step"
    if per == "sequence":
        if constant is not None:
            raise BpttError(
                f"{where}: target '{names[0]}' changes within sequence {constant}: "
                "give per='step', or make it the same in all its rows"
            )
        values = first
    return Target(names, kind, per, values, classes)


def _first_values(
    values: NDArray[Any], starts: NDArray[np.intp]
) -> tuple[int | None, NDArray[Any]]:
    """The first sequence in which values that are not missing differ (None: none does), and the
    first value of each sequence that is not missing."""
    missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
    table = values.reshape(len(values), -1)
    holes = missing.reshape(len(values), -1)
    low = np.minimum.reduceat(np.where(holes, np.inf, table), starts, axis=0)
    high = np.maximum.reduceat(np.where(holes, -np.inf, table), starts, axis=0)
    differ = np.flatnonzero((low < high).any(axis=1))
    none = -1 if values.dtype.kind != "f" else np.nan
    first = np.where(np.isfinite(low), low, none).astype(values.dtype)
    return (int(differ[0]) if differ.size else None), first.reshape(-1, *values.shape[1:])


def _weights(
    table: "pd.DataFrame",
    reading: Reading,
    where: str,
    order: NDArray[np.intp],
    starts: NDArray[np.intp],
    target: Target | None,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """The weight column, a weight a sequence where there is a target a sequence, else a step."""
    name = reading.weight
    if name is None or (target is None and name not in table.columns):
        return None, None
    channels, _ = inputs_of(pick(table, name, where), name, where, False, Column(name))
    weights = np.asarray(channels[order, 0], np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise BpttError(
            f"{where}: weight '{name}' is {weights[bad[0]]} in row {order[bad[0]] + 1}: "
            "numbers from 0 are needed"
        )
    if not weights.any():
        raise BpttError(f"{where}: all weights in '{name}' are 0: nothing would count")
    if target is None or target.per == "step":
        return None, weights
    changing, first = _first_values(weights, starts)
    if changing is not None:
        raise BpttError(
            f"{where}: weight '{name}' changes within sequence {changing}, "
            "which has one target: give it one weight"
        )
    return first, None


def _constant(
    table: "pd.DataFrame",
    name: str | None,
    what: str,
    where: str,
    order: NDArray[np.intp],
    starts: NDArray[np.intp],
) -> Any:
    """A column that has one value in each sequence, as that value (n,)."""
    import pandas

    if name is None:
        return None
    series = pick(table, name, where)
    codes, found = pandas.factorize(series)
    if (codes < 0).any():
        raise BpttError(f"{where}: {what} '{name}' is missing in row {np.argmin(codes) + 1}")
    changing, first = _first_values(codes[order], starts)
    if changing is not None:
        raise BpttError(f"{where}: {what} '{name}' changes within sequence {changing}")
    return np.asarray(found)[first]


def _wide(table: "pd.DataFrame", reading: Reading, like: Schema | None, where: str) -> Parts:
    if reading.time is not None:
        raise BpttError("a wide table has a row a sequence and no time column: leave time out")
    single = one_each(reading)
    steps = list(reading.features) if reading.features is not None else []
    if not steps:
        roles = {reading.id, reading.group, reading.weight, *reading.target}
        steps = [name for name in table.columns if name not in roles]
    if not steps:
        raise BpttError(f"{where} has no columns for steps")
    cells = [
        inputs_of(pick(table, name, where), name, where, False, Column(name))[0] for name in steps
    ]
    values = np.hstack(cells)  # (n, most steps)
    there = ~np.isnan(values)
    lengths = values.shape[1] - np.argmax(there[:, ::-1], axis=1)
    empty = np.flatnonzero(~there.any(axis=1))
    if empty.size:
        raise BpttError(f"{where}: the sequence in row {empty[0] + 1} has no steps: leave it out")
    rows = values[np.arange(values.shape[1]) < lengths[:, None]][:, None]
    starts, lengths = lying_in_turn(lengths)
    order = each = np.arange(len(table))
    target = _target(table, single, like, where, order, each)
    return Parts(
        rows,
        starts,
        lengths,
        (Column("value"),),
        reading,
        target=target,
        weights=_weights(table, reading, where, order, each, target)[0],
        ids=None if reading.id is None else pick(table, reading.id, where).to_numpy(),
        groups=_constant(table, reading.group, "group", where, order, each),
        source=where,
    )


def one_each(reading: Reading) -> Reading:
    """The reading of a wide table's target: it always has one a sequence."""
    if reading.per == "step":
        raise BpttError("a wide table has one target a sequence: leave per out")
    return msgspec.structs.replace(reading, per="sequence")
