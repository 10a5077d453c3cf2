"""Forecasts beside baselines: errors, the interval of their difference, and what follows from it.

    naive             the last value                      y_t
    seasonal naive    the value of a season before        y_{t + k - s ceil(k / s)}
    mean              of the series' values that were trained on

mae, rmse    mean absolute, root mean squared error
smape        mean of 2 |y - p| / (|y| + |p|), in per cent (Makridakis 1993)
mase         mean of |y - p| / mean |y_t - y_{t-s}| over what was trained on (Hyndman and Koehler
             2006, Int. J. of Forecasting 22:679-688, eq. 3.3): below 1 is better than the seasonal
             naive forecast of one step was there

Forecasts made one after another overlap and err alike. What is drawn anew for an interval are
therefore blocks of as many forecasts in a row of a series as the horizon has steps (Carlstein 1986,
Annals of Statistics 14:1171-1179), and of the errors of both sides in the same blocks.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
# With fewer blocks no interval is told; from fewer windows little can be learned.
LEAST_BLOCKS, FEW_WINDOWS = 5, 100
OURS, NAIVE, SEASONAL, MEAN = "yhat", "naive", "seasonal naive", "mean"
BASELINES = (NAIVE, SEASONAL, MEAN)


class Comparison(msgspec.Struct, frozen=True):
    """Forecasts and baselines on the same values.

    measure: by which they are compared, 'mae' of one series, else 'mase', so that large series do
    not decide alone. errors: of each forecaster by name its mae, rmse, smape, mase. interval: 95 %,
    of our error. best: the best baseline. ratio, ratio_interval: our error by its. coverage: the
    share of values inside the interval of each level, or below each quantile. forecasts, series,
    blocks: how many.
    """

    measure: str
    errors: dict[str, dict[str, float]]
    best: str
    ratio: float
    interval: tuple[float, float] | None
    ratio_interval: tuple[float, float] | None
    coverage: dict[str, float]
    forecasts: int
    series: int
    blocks: int

    @property
    def value(self) -> float:
        """Our error."""
        return self.errors[OURS][self.measure]

    @property
    def outcome(self) -> str:
        """'better' or 'worse' than the best baseline, or 'unclear'."""
        low, high = self.ratio_interval or (0.0, np.inf)
        return "better" if high < 1 else "worse" if low > 1 else "unclear"

    def line(self, where: str) -> str:
        """The error with its interval, the baselines beside it, in a line."""
        name = {"mae": "mean absolute error", "mase": "mean absolute scaled error"}[self.measure]
        band = "" if self.interval is None else " [{:.4g}, {:.4g}]".format(*self.interval)
        beside = ", ".join(
            f"{each} {values[self.measure]:.4g}"
            for each, values in self.errors.items() if each != OURS
        )  # fmt: skip
        return (
            f"{name} {self.value:.4g}{band} of {self.forecasts:,} forecasts {where}; {beside}: "
            f"{self._difference()}"
        )

    def _difference(self) -> str:
        change = 100 * (self.ratio - 1)
        word = "less" if change <= 0 else "more"
        band = ""
        if self.ratio_interval is not None:
            ends = sorted(np.sign(change or -1) * 100 * (np.array(self.ratio_interval) - 1))
            band = " [{:.1f}, {:.1f}]".format(*ends)
        return f"{abs(change):.1f} % {word} than {self.best}{band}"

    def advice(self, windows: int | None = None) -> list[str]:
        """Where a recurrent network is the wrong tool, or cannot be judged; windows: how many there
        were to learn from."""
        found = []
        other = "exponential smoothing (statsmodels' ETSModel) or ARIMA are made for such series"
        if self.outcome == "worse":
            found.append(f"{self.best} is better here and needs no training: use it; {other}")
        elif self.outcome == "unclear" and self.ratio_interval is not None:
            found.append(
                f"not clearly better than {self.best}, which needs no training: use that; {other}"
            )
        if self.ratio_interval is None:
            found.append(
                f"too few to judge: {self.blocks} times {self.forecasts // max(1, self.blocks)} "
                f"forecasts that overlap; with {LEAST_BLOCKS} an interval is told: give more "
                "values or series, a smaller horizon, or hold more out"
            )
        if windows is not None and windows < FEW_WINDOWS:
            found.append(f"few data: {windows} windows to learn from; {other}")
        return found


def baselines_of(
    y: Floats, origins: NDArray[np.intp], horizon: int, season: int, mean: float
) -> dict[str, Floats]:
    """The baselines' forecasts of a series (T,) after the steps `origins`, by name, each (n, h)."""
    k = np.arange(1, horizon + 1)
    found = {
        name: y[origins[:, None] + k - lag * -(-k // lag)]
        for name, lag in ((NAIVE, 1), (SEASONAL, season)) if name == NAIVE or season > 1
    }  # fmt: skip
    return {**found, MEAN: np.full((len(origins), horizon), mean)}


def errors_of(truth: Floats, said: Floats, scale: Floats) -> dict[str, float]:
    """mae, rmse, smape, mase of forecasts (n, h); scale: (n,), by what mase divides."""
    error = np.abs(truth - said)
    size = np.abs(truth) + np.abs(said)
    relative = np.where(size > 0, 2 * error / np.where(size > 0, size, 1), 0.0)
    return {
        "mae": float(error.mean()), "rmse": float(np.sqrt((error**2).mean())),
        "smape": float(100 * relative.mean()), "mase": float((error / scale[:, None]).mean()),
    }  # fmt: skip


def coverage_of(
    truth: Floats, columns: dict[str, Floats], levels: Sequence[float]
) -> dict[str, float]:
    """The share of values inside the interval of each level, and below each quantile."""
    inside = {
        f"inside {level:g} %": (columns[f"lo-{level:g}"] <= truth)
        & (truth <= columns[f"hi-{level:g}"])
        for level in levels
    }
    below = {f"below {name}": truth <= values for name, values in columns.items() if name[0] == "q"}
    return {name: float(each.mean()) for name, each in (inside | below).items()}


def compared(
    truth: Floats,
    said: dict[str, Floats],
    of: Any,
    origins: Any,
    scale: Floats,
    coverage: dict[str, float],
) -> Comparison:
    """said: forecasts (n, h) by name, `OURS` among them; of, origins: (n,), of which series, made
    after which step; scale: (n,), see `errors_of`."""
    errors = {name: errors_of(truth, each, scale) for name, each in said.items()}
    several = len(np.unique(of)) > 1
    measure = "mase" if several else "mae"
    best = min((name for name in said if name != OURS), key=lambda name: errors[name][measure])
    by = scale[:, None] if several else 1.0
    ours, theirs = (np.abs(truth - said[name]) / by for name in (OURS, best))
    block = _blocks(of, origins, truth.shape[1])
    count = int(block.max()) + 1
    # What is rounding beside the values is no error to divide by.
    least = 1e-12 * (1 + float(np.abs(truth / by).mean()))
    interval = ratio_interval = None
    if count >= LEAST_BLOCKS:
        sums = [np.bincount(block, each.sum(axis=1), count) for each in (ours, theirs)]
        sizes = np.bincount(block, minlength=count) * truth.shape[1]
        drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
        a, b, n = (each[drawn].sum(axis=1) for each in (*sums, sizes))
        interval = _middle(a / n)
        ratio_interval = _middle(np.maximum(a / n, least) / np.maximum(b / n, least))
    ratio = float(max(ours.mean(), least) / max(theirs.mean(), least))
    return Comparison(
        measure, errors, best, ratio, interval, ratio_interval, coverage, len(truth),
        len(np.unique(of)), count,
    )  # fmt: skip


def _middle(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _blocks(of: Any, origins: Any, horizon: int) -> NDArray[np.intp]:
    """(n,) the number of each forecast's block, all numbers from 0 there."""
    of, origins = np.asarray(of), np.asarray(origins)
    _, of = np.unique(of, return_inverse=True)
    first = np.full(int(of.max()) + 1, np.iinfo(np.intp).max)
    np.minimum.at(first, of, origins)
    within = (origins - first[of]) // horizon
    _, found = np.unique(np.stack([of, within], axis=1), axis=0, return_inverse=True)
    return np.asarray(found, np.intp).ravel()
