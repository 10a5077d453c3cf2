"""The `.ts` files of the UCR and UEA archives of time series.

    # a comment                                 % or # begin one
    @problemName Vowels                         header: words after @, in any case
    @classLabel true a b c                      or @targetLabel true, for numbers
    @timeStamps false
    @data
    1.0,2.0,?:0.1,0.2,0.3:a                     channels after each other, then the label
    (0,1.0),(2,1.5):(0,0.1),(2,0.3):b           the same with time stamps

`?` and NaN are missing. Channels of a sequence have the same steps; sequences need not. Time stamps
give the order and are kept no further. Source: www.timeseriesclassification.com and
www.sktime.net, "the .ts file format".
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

STAMPED = re.compile(r"\(([^()]*)\)")
MISSING = ("?", "nan", "")


def read_ts(path: Path) -> tuple[list[NDArray[np.float64]], list[str] | None, str | None, str]:
    """Sequences (T_i, D), labels as text or None, what they are ('classes', 'numbers' or None) and
    the problem's name. Raises BpttError, with the line, for a file that is none of this kind."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BpttError(f"'{path}' is no text in UTF-8") from None
    header: dict[str, list[str]] = {}
    cases: list[tuple[int, str]] = []
    data = False
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#%":
            continue
        if data:
            cases.append((number, line))
        elif line[0] == "@":
            word, *values = line[1:].split()
            data = word.lower() == "data"
            header[word.lower()] = values
        else:
            raise BpttError(f"'{path}' line {number}: '{line[:30]}' stands before @data")
    if not cases:
        raise BpttError(f"'{path}' has no sequences: after @data a line each is needed")
    kind = _kind(header)
    stamped = _yes(header, "timestamps")
    sequences, labels = [], []
    for number, line in cases:
        where = f"'{path}' line {number}"
        *channels, label = line.split(":") if kind else (*line.split(":"), "")
        if not channels:
            raise BpttError(f"{where}: ':' and a label are needed after the values")
        read = [(_stamped if stamped else _plain)(channel, where) for channel in channels]
        steps = {len(channel) for channel in read}
        if len(steps) > 1:
            raise BpttError(f"{where}: its channels have {min(steps)} to {max(steps)} steps")
        sequences.append(np.stack(read, axis=1))
        if sequences[-1].shape[1] != sequences[0].shape[1]:
            raise BpttError(
                f"{where}: {len(read)} channels, but the first sequence has {sequences[0].shape[1]}"
            )
        labels.append(label.strip())
    name = " ".join(header.get("problemname", [])) or path.stem
    return sequences, labels if kind else None, kind, name


def _yes(header: dict[str, list[str]], word: str) -> bool:
    return [value.lower() for value in header.get(word, [])[:1]] == ["true"]


def _kind(header: dict[str, list[str]]) -> str | None:
    if _yes(header, "classlabel"):
        return "classes"
    return "numbers" if _yes(header, "targetlabel") else None


def _number(text: str, where: str) -> float:
    text = text.strip()
    if text.lower() in MISSING:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise BpttError(f"{where}: '{text[:30]}' is no number") from None


def _plain(channel: str, where: str) -> NDArray[np.float64]:
    values = channel.split(",")
    try:
        return np.array(values, np.float64)
    except ValueError:
        return np.array([_number(value, where) for value in values])


def _stamped(channel: str, where: str) -> NDArray[np.float64]:
    """The values of (time, value) pairs in the order of time; dates compare as text."""
    pairs: list[tuple[Any, float]] = []
    for pair in STAMPED.findall(channel):
        time, comma, value = pair.rpartition(",")
        if not comma:
            raise BpttError(f"{where}: '({pair[:30]})' is no pair of time and value")
        pairs.append((time.strip(), _number(value, where)))
    if not pairs:
        raise BpttError(f"{where}: pairs (time,value) are needed, as @timeStamps says")
    try:
        order = np.argsort([float(time) for time, _ in pairs], kind="stable")
    except ValueError:
        order = np.argsort([time for time, _ in pairs], kind="stable")
    return np.array([pairs[place][1] for place in order])


def as_values(labels: list[str], kind: str, where: str) -> list[Any]:
    """Labels as classes (text) or numbers; '?' is missing."""
    if kind == "classes":
        return [None if label == "?" else label for label in labels]
    return [_number(label, f"the target in {where}") for label in labels]
