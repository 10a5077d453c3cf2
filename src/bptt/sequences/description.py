"""What was understood of the data, in words: what printing `Sequences` and `bptt data` say."""

from typing import Any

import numpy as np

from bptt.sequences.parts import Parts
from bptt.sequences.targets import Target

# How many names or classes a line lists.
MOST_LISTED = 12
# A step of a time column this much longer than the usual one is a gap.
GAP = 1.5


def described(parts: Parts) -> str:
    """Counts, lengths, channels, targets, groups, times and what is missing, a line each."""
    lines = [_sizes(parts), _channels(parts), *_target(parts, parts.target)]
    if parts.groups is not None:
        lines.append(f"{_count(len(np.unique(parts.groups)), 'group')}")
    if parts.weights is not None or parts.step_weights is not None:
        per = "sequence" if parts.weights is not None else "step"
        lines.append(f"weights: one a {per}")
    if parts.times is not None:
        lines.append(_times(parts))
    flagged = [column.name for column in parts.columns if column.flagged]
    if flagged:
        how = {"flag": "the mean", "last": "the last value"}[parts.reading.missing]
        lines.append(f"missing in {_listed(flagged)}: {how} stands in, a channel says where")
    else:
        lines.append("nothing missing")
    return "\n".join(lines)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "es" if word.endswith("ss") else "s")


def _listed(names: Any) -> str:
    shown = [str(name) for name in names[:MOST_LISTED]]
    return ", ".join(shown) + (
        f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    )


def _sizes(parts: Parts) -> str:
    lengths = parts.lengths
    low, high = int(lengths.min()), int(lengths.max())
    steps = f"{low:,} to {high:,} steps" if low < high else _count(low, "step")
    median = f" (median {np.median(lengths):g})" if low < high else ""
    rate = ""
    if parts.rate:
        rate = f", {int(lengths.sum()) / parts.rate:,.1f} s at {parts.rate:,} samples a second"
    each = _count(len(lengths), "sequence")
    return f"{parts.source}: {each} of {steps}{median}, {int(lengths.sum()):,} steps in all{rate}"


def _channels(parts: Parts) -> str:
    own = [name for column in parts.columns for name in column.channels]
    flags = [f"{column.name} missing" for column in parts.columns if column.flagged]
    names = own + flags
    line = f"{_count(len(names), 'channel')}: {_listed(names)}"
    one_hot = [column.name for column in parts.columns if column.categories]
    return line + (f" (one-hot: {_listed(one_hot)})" if one_hot else "")


def _target(parts: Parts, target: Target | None) -> list[str]:
    if target is None:
        return ["no target"]
    name = f"target {_listed(target.names)}"
    missing = _uncounted(parts, target)
    tail = f"; {missing:,} missing, which do not count" if missing else ""
    if target.kind == "classes":
        values = target.values if target.per == "sequence" else _own(parts, target)
        counts = np.bincount(values[values >= 0], minlength=len(target.classes))
        each = [f"{cls!r} {count:,}" for cls, count in zip(target.classes, counts, strict=True)]
        classes = _count(len(target.classes), "class")
        return [f"{name}: a class a {target.per}, {classes}: {_listed(each)}{tail}"]
    what = "a number" if target.outputs == 1 else f"{target.outputs} numbers"
    if target.ahead:
        return [f"{name}: what comes {_count(target.ahead, 'step')} later"]
    values = target.values if target.per == "sequence" else _own(parts, target)
    low, high = np.nanmin(values) * target.unit, np.nanmax(values) * target.unit
    return [f"{name}: {what} a {target.per}, from {low:g} to {high:g}{tail}"]


def _rows(parts: Parts) -> Any:
    """Which rows belong to a sequence: a slice where all do, as they mostly do, else a mask."""
    if int(parts.lengths.sum()) == len(parts.rows):
        return slice(None)
    return _inside(len(parts.rows), parts.starts, parts.lengths)


def _inside(rows: int, starts: Any, lengths: Any) -> Any:
    """(rows,): which rows lie in one of the stretches."""
    change = np.zeros(rows + 1, np.intp)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + lengths, -1)
    return np.cumsum(change[:-1]) > 0


def _own(parts: Parts, target: Target) -> Any:
    return target.values[_rows(parts)]


def _uncounted(parts: Parts, target: Target) -> int:
    if target.ahead:
        return 0
    missing = target.missing()
    return int((missing if target.per == "sequence" else missing[_rows(parts)]).sum())


def _times(parts: Parts) -> str:
    """The usual distance of two steps, and where it is longer."""
    times, name = np.asarray(parts.times), parts.reading.time
    inner = _inside(len(times), parts.starts, parts.lengths - 1)[:-1]  # a step from here
    steps = np.diff(times)[inner]
    if not steps.size:
        return f"time '{name}': one step a sequence"
    usual = np.median(steps.astype(np.float64 if steps.dtype.kind != "m" else np.int64))
    longer = steps.astype(np.float64) > GAP * usual
    line = f"time '{name}': a step is {_duration(usual, steps.dtype)}"
    if not longer.any():
        return f"{line}, no gaps"
    at = int(np.flatnonzero(inner)[np.argmax(steps)])
    sequence, step = parts.place(at)
    longest = _duration(float(steps.max().astype(np.float64)), steps.dtype)
    return (
        f"{line}, {_count(int(longer.sum()), 'gap')} "
        f"(the longest {longest}, in sequence {parts.name(sequence)} after step {step})"
    )


def _duration(value: float, dtype: Any) -> str:
    if dtype.kind != "m":
        return f"{value:g}"
    import pandas

    span = np.array(int(value), dtype)
    return str(pandas.Timedelta(span.item())).removesuffix(" 00:00:00")
