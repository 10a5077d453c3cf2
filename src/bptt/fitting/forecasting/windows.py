"""Series as windows to learn from: what the network reads, and what it is to say.

Of a series z (its values, or their logarithm), with lag L and horizon h:

    read at step t     (z_t - m) / s;  with a lag (z_t - z_{t-L}) / d too;  c_t, ..., c_{t+h}
    to be said         (z_{t+k} - base_k) / d,   k = 1..h
    base_k             m;  with L = 1  z_t;  with a season  z_{t + k - L ceil(k / L)}

m and s are the mean and the standard deviation of the series, d the root mean square of
z_t - z_{t-L} (s without a lag), over what is trained on alone: series of any size are alike. c are
covariates, known ahead. So an answer of 0 is the forecast of a baseline: the mean, the last value,
that of a season before.

A window is the last `context` steps before a forecast, and all h steps are said at its end (direct
forecasts: Wen et al. 2017, A multi-horizon quantile recurrent forecaster, section 3.1). Held out
are the last forecasts of each series; what is trained on ends before they begin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.fitting.forecasting.plan import ForecastPlan
from bptt.sequences import Sequences
from bptt.sequences.frequency import shown
from bptt.sequences.parts import Parts
from bptt.sequences.schema import Column, Reading
from bptt.sequences.series import Series
from bptt.sequences.targets import Target

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Scale(msgspec.Struct, frozen=True):
    """Of a series m, s and d; naive: the mean absolute difference to a season before, in its units,
    by which its errors are measured (1 where there is none). level: the mean in its units."""

    mean: float
    deviation: float
    spread: float
    naive: float
    level: float


def transformed(y: Floats, plan: ForecastPlan, series: Series, number: int) -> Floats:
    """z of a series. Raises BpttError, which names series and time, where there is no logarithm."""
    if not plan.log:
        return y
    bad = np.flatnonzero(y <= 0)
    if bad.size:
        raise BpttError(
            f"series {series.name(number)} at {shown(series.times[number][bad[0]])}: "
            f"{y[bad[0]]:g} has no logarithm: leave log out, or give values above 0"
        )
    found: Floats = np.log(y)
    return found


def scale_of(y: Floats, z: Floats, plan: ForecastPlan) -> Scale:
    """m, s, d of what is trained on; 1 for a spread that is 0."""

    def or_one(value: float) -> float:
        return value if np.isfinite(value) and value > 1e-12 * (1 + abs(float(z.mean()))) else 1.0

    deviation = or_one(float(z.std()))
    spread = deviation
    if plan.lag:
        changes = z[plan.lag :] - z[: -plan.lag]
        spread = or_one(float(np.sqrt((changes**2).mean()))) if changes.size else deviation
    season = plan.season if len(y) > plan.season else 1
    steps = np.abs(y[season:] - y[:-season])
    naive = float(steps.mean()) if steps.size else 0.0
    naive = naive if naive > 0 else 1.0
    return Scale(float(z.mean()), deviation, spread, naive, float(y.mean()))


def base_of(z: Floats, origins: Places, plan: ForecastPlan, scale: Scale, lag: int) -> Floats:
    """(n, h): base_k of forecasts made after the steps `origins`."""
    if not lag:
        return np.full((len(origins), plan.horizon), scale.mean)
    k = np.arange(1, plan.horizon + 1)
    back = k - lag * -(-k // lag)
    base: Floats = z[origins[:, None] + back]
    return base


def channels(plan: ForecastPlan, covariates: Sequence[str]) -> tuple[str, ...]:
    """The names of what is read at a step."""
    own = ["y"] + ([f"y - y[-{plan.lag}]"] if plan.lag else [])
    ahead = [f"{name}[+{k}]" for k in range(plan.horizon + 1) for name in covariates]
    return (*own, *ahead)


def rows_of(z: Floats, known: Floats, plan: ForecastPlan, scale: Scale) -> Floats:
    """(T, D): what is read at each step; NaN in the first L steps, and where covariates are not
    known, which no window reaches."""
    columns = [(z - scale.mean) / scale.deviation]
    if plan.lag:
        changes = np.full(len(z), np.nan)
        changes[plan.lag :] = (z[plan.lag :] - z[: -plan.lag]) / scale.spread
        columns.append(changes)
    if known.shape[1]:
        ahead = np.full((len(z), plan.horizon + 1, known.shape[1]), np.nan)
        for k in range(plan.horizon + 1):
            part = known[k : k + len(z)]
            ahead[: len(part), k] = part
        return np.column_stack([*columns, ahead.reshape(len(z), -1)])
    return np.column_stack(columns)


def settled(plan: ForecastPlan, series: Series) -> ForecastPlan:
    """A plan in which nothing is left to the data any more."""
    return plan.settled(series, lambda known: best_difference(known, series))


def best_difference(plan: ForecastPlan, series: Series) -> str:
    """Which of the baselines alone is the best forecast of the first 80 % of the values."""
    errors = dict.fromkeys(("none", "last", "season"), 0.0)
    for number, y in enumerate(series.y):
        z = transformed(y, plan, series, number)[: max(3, int(0.8 * len(y)))]
        if len(z) <= plan.season + plan.horizon:
            continue
        scale = scale_of(y[: len(z)], z, msgspec.structs.replace(plan, difference="none"))
        origins = np.arange(plan.season, len(z) - plan.horizon)
        truth = z[origins[:, None] + np.arange(1, plan.horizon + 1)]
        for name, lag in (("none", 0), ("last", 1), ("season", plan.season)):
            error = np.abs(truth - base_of(z, origins, plan, scale, lag)).mean()
            errors[name] += float(error / scale.deviation)
    if not any(errors.values()):
        return "last"
    return min(errors, key=lambda name: errors[name])


@dataclass(frozen=True)
class Windows:
    """Forecasts to learn from, or to be tested on: n of them.

    sequences: what the network reads and is to say. of: (n,) whose; origins: (n,) after which of
    its steps; truth, base: (n, h), base in z."""

    sequences: Sequences
    of: Places
    origins: Places
    truth: Floats
    base: Floats


def windows_of(
    series: Series, plan: ForecastPlan, scales: Sequence[Scale], origins: Sequence[Places]
) -> Windows:
    """The windows before forecasts that are made after the steps `origins` of each series; where
    what follows is not known all of it, the answers are missing."""
    rows, starts, lengths, answers, truths, bases, offset = [], [], [], [], [], [], 0
    ahead = np.arange(1, plan.horizon + 1)
    for number, at in enumerate(origins):
        y, scale = series.y[number], scales[number]
        z = transformed(y, plan, series, number)
        rows.append(rows_of(z, series.known[number], plan, scale))
        size = np.minimum(plan.context, at - plan.lag + 1)
        starts.append(offset + at - size + 1)
        lengths.append(size)
        place = at[:, None] + ahead
        there, place = place < len(z), np.minimum(place, len(z) - 1)
        base = base_of(z, at, plan, scale, plan.lag)
        answers.append(np.where(there, (z[place] - base) / scale.spread, np.nan))
        truths.append(np.where(there, y[place], np.nan))
        bases.append(base)
        offset += len(z)
    names = [channel for column in series.columns for channel in column.channels]
    parts = Parts(
        np.concatenate(rows), np.concatenate(starts), np.concatenate(lengths),
        tuple(Column(name) for name in channels(plan, names)),
        Reading(kind="numbers", per="sequence"),
        target=Target(
            tuple(f"{series.names.target}[+{k}]" for k in ahead), "numbers", "sequence",
            np.concatenate(answers),
        ),
        source=series.source,
    )  # fmt: skip
    of = np.repeat(np.arange(len(series)), [len(at) for at in origins])
    return Windows(
        Sequences.of(parts), of, np.concatenate([*origins]), np.concatenate(truths),
        np.concatenate(bases),
    )  # fmt: skip


@dataclass(frozen=True)
class Learning:
    """What is learned from: windows to train on and held out (None: none is), and the scales."""

    train: Windows
    held: Windows | None
    scales: list[Scale]


def learning(series: Series, plan: ForecastPlan, share: float) -> Learning:
    """Windows to train on, and the last `share` of each series' forecasts held out. What the first
    ones are to say ends where the first forecast of the others is made.

    Raises BpttError for a series that is too short."""
    plan.check(series, plan.horizon + (1 if share else 0))
    scales, inside, outside = [], [], []
    for number, y in enumerate(series.y):
        origins = np.arange(plan.needed - 1, len(y) - plan.horizon)
        count = min(max(1, round(share * len(origins))), len(origins)) if share else 0
        cut = len(origins) - count
        outside.append(origins[cut:])
        last = int(origins[cut]) if count else len(y)
        inside.append(origins[origins + plan.horizon <= last][:: -plan.stride][::-1])
        z = transformed(y, plan, series, number)[: last + 1]
        scales.append(scale_of(y[: last + 1], z, plan))
    if not any(len(each) for each in inside):
        longest = int(series.lengths.max())
        raise BpttError(
            f"nothing is left to learn from: the longest series has {longest} values, and context "
            f"{plan.context}, horizon {plan.horizon} and what is held out need more: make them "
            "smaller"
        )
    held = windows_of(series, plan, scales, outside) if share else None
    return Learning(windows_of(series, plan, scales, inside), held, scales)
