"""The regular distance of a series' times: found, checked, and gone on with.

Dates: an offset of pandas, 'D', 'MS' (starts of months), 'W-SUN', '2h'. Numbers: what is added from
one to the next. A series with a gap is refused: what comes next has to be one step later.
"""

import re
import warnings
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

Times = NDArray[Any]
# By what an offset's name begins with: how many of its steps are a season.
SEASONS = {
    "Y": 1, "A": 1, "B": 5, "BM": 12, "BQ": 4, "BY": 1, "Q": 4, "M": 12, "W": 52, "D": 7, "h": 24,
    "min": 60, "s": 60,
}  # fmt: skip
# Of a series with a gap the distance is that of so many times in a row.
IN_A_ROW = 20


class Frequency(msgspec.Struct, frozen=True):
    """unit: pandas' word for the distance of dates, '' for numbers; step: of numbers."""

    unit: str = ""
    step: float = 1.0

    def __str__(self) -> str:
        return self.unit or f"{self.step:g}"

    @property
    def season(self) -> int:
        """How many steps are a season by custom: 12 months, 7 days, 24 hours; 1 where there is
        none."""
        if not self.unit:
            return 1
        found = re.match(r"(\d*)([A-Za-z]+)", self.unit)
        count, name = (int(found[1] or 1), found[2]) if found else (1, "")
        for length in range(len(name), 0, -1):
            if name[:length] in SEASONS:
                whole = SEASONS[name[:length]]
                return whole // count if whole % count == 0 else 1
        return 1

    def after(self, last: Any, count: int) -> Times:
        """The `count` times that come after `last`."""
        if not self.unit:
            return self._from(last, np.arange(1, count + 1))
        import pandas

        return np.asarray(pandas.date_range(last, periods=count + 1, freq=self.unit)[1:])

    def until(self, last: Any, count: int) -> Times:
        """The `count` times that end with `last`."""
        if not self.unit:
            return self._from(last, np.arange(1 - count, 1))
        import pandas

        return np.asarray(pandas.date_range(end=last, periods=count, freq=self.unit))

    def _from(self, time: Any, steps: Times) -> Times:
        """Whole numbers stay whole where the step is one."""
        step = int(self.step) if float(self.step).is_integer() else self.step
        found: Times = np.asarray(time) + step * steps
        return found

    def check(self, times: Times, name: str) -> None:
        """Raises BpttError, which names the series and the time, for a gap and for a time that is
        not one step after the one before."""
        if self.unit:
            import pandas

            expected = np.asarray(pandas.date_range(times[0], periods=len(times), freq=self.unit))
            wrong = np.flatnonzero(expected != times)
        else:
            expected = times[0] + self.step * np.arange(len(times))
            wrong = np.flatnonzero(np.abs(expected - times) > 1e-6 * abs(self.step))
        if not wrong.size:
            return
        at = int(wrong[0])
        if at and times[at] > expected[at]:
            raise BpttError(
                f"series {name} has a gap: no row for {shown(expected[at])} (steps of {self}, next "
                f"is {shown(times[at])}): add the rows that are missing, with values"
            )
        raise BpttError(
            f"series {name} is not regular: {shown(times[at])} does not fit steps of {self}"
            + (f" after {shown(times[at - 1])}" if at else "")
            + ": give rows at equal steps, or another freq"
        )


def shown(time: Any) -> str:
    """A time as messages show it: of midnight the day alone."""
    if isinstance(time, np.datetime64):
        text = str(time.astype("datetime64[s]"))
        return text.removesuffix("T00:00:00").replace("T", " ")
    return f"{time:g}" if isinstance(time, float | np.floating) else str(time)


def frequency_of(
    series: list[Times], names: list[str], given: str | float | None = None
) -> Frequency:
    """The frequency that all series have: as `given`, or that of the longest one.

    Raises BpttError where there is none, and for a gap in any series.
    """
    longest = max(range(len(series)), key=lambda number: len(series[number]))
    times = series[longest]
    if times.dtype.kind == "M":
        found = Frequency(_offset(given) if given else _inferred(times, names[longest]))
    else:
        found = Frequency("", _step(times, names[longest], given))
    for each, name in zip(series, names, strict=True):
        found.check(each, name)
    return found


def _offset(given: Any) -> str:
    from pandas.tseries.frequencies import to_offset

    try:
        return str(to_offset(given).freqstr)
    except (ValueError, TypeError, AttributeError):
        raise BpttError(
            f"freq {given!r} is no frequency of dates: give pandas' word for it, 'D', 'MS', 'W-SUN'"
        ) from None


def _inferred(times: Times, name: str) -> str:
    """pandas' word for the distance of dates: of all of them, or of some in a row."""
    import pandas

    if len(times) < 3:
        raise BpttError(
            f"series {name} has {len(times)} times, too few to see their distance: give freq"
        )
    index = pandas.DatetimeIndex(times)
    size = max(3, min(IN_A_ROW, len(times) // 2))
    pieces = [index, *(index[at : at + size] for at in range(0, len(times) - size + 1, size // 2))]
    for piece in pieces:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that pandas will give offsets instead of words
            found = pandas.infer_freq(piece)
        if found is not None:
            return str(getattr(found, "freqstr", found))
    raise BpttError(
        f"series {name} is not regular: {shown(times[0])}, {shown(times[1])}, {shown(times[2])}, "
        "...: give rows at equal steps, or freq"
    )


def _step(times: Times, name: str, given: Any) -> float:
    if given:
        try:
            step = float(given)
        except (TypeError, ValueError):
            step = 0.0
        if not (np.isfinite(step) and step > 0):
            raise BpttError(f"freq {given!r} is no step of the times, which are numbers: give one")
        return step
    if len(times) < 2:
        return 1.0
    steps, counts = np.unique(np.diff(times.astype(np.float64)), return_counts=True)
    if len(steps) > len(times) // 2 and np.ptp(steps) > 1e-6 * steps.max():
        raise BpttError(
            f"series {name} is not regular: {shown(times[0])}, {shown(times[1])}, ...: give rows "
            "at equal steps, or freq"
        )
    return float(steps[counts.argmax()])
