"""Files as sequences, by their ending.

.csv .tsv .txt .parquet    tables, see `bptt.sequences.frames`
.npz                       X or x, y, lengths, groups, ids, weights; or x_0, x_1, ... and y
.npy                       one array, mapped; y: another `.npy` file
.ts                        UCR and UEA archives
.wav                       a recording, mapped; y: another `.wav` file
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bptt.errors import BpttError, quoted_list
from bptt.sequences import arrays, audio, frames
from bptt.sequences.parts import Anything, Parts
from bptt.sequences.schema import Reading, Schema
from bptt.sequences.targets import Target
from bptt.sequences.ts_format import as_values, read_ts

TABLES = (".csv", ".tsv", ".txt", ".parquet")
ENDINGS = (*TABLES, ".npz", ".npy", ".ts", ".wav")
# What stands for a missing value in a text file; 'None' may be the name of a class.
NOTHING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "<NA>", "?"]


def read(path: str | Path, y: str | Path | None, reading: Reading, like: Schema | None) -> Parts:
    """The sequences of a file; y: a second file, of targets. Raises BpttError for a file that is
    not there or damaged, for another ending, and for every mistake in the data."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BpttError(f"'{path}' ends in '{ending}': {quoted_list(ENDINGS)} can be read")
    if not path.is_file():
        raise BpttError(f"there is no file '{path}'")
    if y is not None and ending not in (".npy", ".wav"):
        raise BpttError(f"y={str(y)!r}: only .npy and .wav files have their targets in another")
    where = f"'{path}'"
    if ending == ".wav":
        return _recording(path, y, reading)
    if ending == ".npy":
        parts = arrays.from_arrays(_array(path), None, None, reading, where)
        return parts if y is None else arrays.with_targets(parts, _array(Path(y)), None, like)
    if ending == ".npz":
        return _npz(path, reading, like)
    if ending == ".ts":
        return _ts(path, reading, like)
    return frames.from_frame(_table(path, reading), reading, like, where)


def read_table(path: str | Path, reading: Reading) -> Any:
    """A table's file as a data frame. Raises BpttError as `read`, and for a file of no table."""
    path = Path(path)
    if path.suffix.lower() not in TABLES:
        raise BpttError(f"'{path}' ends in '{path.suffix}': {quoted_list(TABLES)} are tables")
    if not path.is_file():
        raise BpttError(f"there is no file '{path}'")
    return _table(path, reading)


def _table(path: Path, reading: Reading) -> Any:
    return _parquet(path) if path.suffix.lower() == ".parquet" else _text(path, reading)


def _text(path: Path, reading: Reading) -> Any:
    """A text table; whole numbers stay whole where some are missing."""
    import pandas

    separator = "\t" if path.suffix.lower() == ".tsv" else reading.separator
    try:
        table = pandas.read_csv(
            path,
            sep=separator,
            decimal=reading.decimal,
            keep_default_na=False,
            na_values=NOTHING,
            dtype_backend="numpy_nullable",
            low_memory=False,
        )
    except pandas.errors.EmptyDataError:
        raise BpttError(f"'{path}' is empty") from None
    except (pandas.errors.ParserError, UnicodeDecodeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise BpttError(f"'{path}' is no table in text: {reason}") from None
    if len(table.columns) == 1:
        for other in ";\t,":
            if other != separator and other in str(table.columns[0]):
                raise BpttError(
                    f"'{path}' has its columns separated by {other!r}: give separator={other!r}"
                )
    return table


def _parquet(path: Path) -> Any:
    import pandas

    try:
        return pandas.read_parquet(path, dtype_backend="numpy_nullable")
    except ImportError:
        raise BpttError(
            f"'{path}' needs the package pyarrow: install it with pip install 'bptt[parquet]'"
        ) from None
    except (OSError, ValueError) as error:
        raise BpttError(f"'{path}' is no Parquet file: {str(error).splitlines()[0]}") from None


def _array(path: Path) -> Anything:
    """The array of a `.npy` file, mapped."""
    if not path.is_file():
        raise BpttError(f"there is no file '{path}'")
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> BpttError:
    told = str(error).lower()
    with path.open("rb") as file:
        known = file.read(6).startswith((b"\x93NUMPY", b"PK\x03\x04", b"\x80"))
    if not known:
        return BpttError(f"'{path}' is no {path.suffix} file")
    if "object" in told or "pickle" in told:
        return BpttError(
            f"'{path}' holds pickled objects, which can run anything and are not read: save "
            "X of all steps (N, D) with lengths, or arrays x_0, x_1, ..., in an .npz file"
        )
    return BpttError(f"'{path}' is no {path.suffix} file: {str(error).splitlines()[0]}")


def _npz(path: Path, reading: Reading, like: Schema | None) -> Parts:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None
    where = f"'{path}'"
    numbered = sorted(
        (name for name in stored if re.fullmatch(r"x_\d+", name)), key=lambda name: int(name[2:])
    )
    x = next((stored[name] for name in ("X", "x") if name in stored), None)
    lengths = stored.get("lengths")
    if numbered and x is None:
        parts = arrays.from_arrays([stored[name] for name in numbered], None, None, reading, where)
    elif x is None:
        raise BpttError(
            f"{where} holds {quoted_list(sorted(stored))}: "
            "'X' with 'lengths', or 'x_0', 'x_1', ..., and 'y' are read"
        )
    elif lengths is not None and x.ndim == 2 and x.shape[0] == int(np.sum(lengths)):
        parts = arrays.from_arrays(_cut(x, lengths), None, None, reading, where)
    else:
        parts = arrays.from_arrays(x, lengths, None, reading, where)
    y = stored.get("y", stored.get("Y"))
    return _with_extras(parts, y, stored, like)


def _cut(x: Anything, lengths: Anything) -> list[Anything]:
    """All sequences' rows (N, D) as a list."""
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise BpttError(f"lengths has shape {lengths.shape}: whole numbers (n,) are needed")
    return np.split(x, np.cumsum(lengths)[:-1])


def _with_extras(parts: Parts, y: Any, stored: dict[str, Any], like: Schema | None) -> Parts:
    n = len(parts.lengths)
    if y is not None:
        if y.ndim and len(y) == int(parts.lengths.sum()) != n:  # one a step, all in a row
            y = _cut(y, parts.lengths)
        parts = arrays.with_targets(parts, y, None, like)
    if "weights" in stored:
        weights = stored["weights"]
        if len(weights) == int(parts.lengths.sum()) != n:
            weights = _cut(weights, parts.lengths)
        parts = arrays.with_weights(parts, weights)
    return replace(
        parts,
        groups=arrays.ids_of(stored.get("groups"), "groups", n),
        ids=arrays.ids_of(stored.get("ids"), "ids", n),
    )


def _ts(path: Path, reading: Reading, like: Schema | None) -> Parts:
    sequences, labels, kind, _ = read_ts(path)
    parts = arrays.from_arrays(sequences, None, None, reading, f"'{path}'")
    if labels is None or kind is None:
        return parts
    return arrays.with_targets(parts, as_values(labels, kind, f"'{path}'"), None, like)


def _recording(path: Path, y: str | Path | None, reading: Reading) -> Parts:
    """A recording as one sequence, its target another."""
    heard = audio.read_wav(path)
    rate, samples, unit = heard
    names = ["left", "right"] if samples.shape[1] == 2 else None
    reading = msgspec.structs.replace(reading, single=True)
    parts = arrays.from_arrays(samples, None, names, reading, f"'{path}'")
    target = None
    if y is not None:
        if not Path(y).is_file():
            raise BpttError(f"there is no file '{y}'")
        wanted = audio.read_wav(Path(y))
        audio.same_recording(heard, wanted, y)
        outputs = tuple(f"y{channel}" for channel in range(wanted[1].shape[1]))
        names_y = outputs if len(outputs) > 1 else ("y",)
        target = Target(names_y, "numbers", "step", wanted[1], unit=wanted[2])
    return replace(parts, unit=unit, target=target, rate=rate)
