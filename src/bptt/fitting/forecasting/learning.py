"""Training a forecast, and backtests: trained and tested as it would have been in the past."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import flag, whole
from bptt.errors import BpttError
from bptt.fitting.forecasting.comparison import (
    BASELINES,
    NAIVE,
    OURS,
    Comparison,
    compared,
    coverage_of,
)
from bptt.fitting.forecasting.forecast import Forecast, forecast_of
from bptt.fitting.forecasting.intervals import checked_levels
from bptt.fitting.forecasting.plan import ForecastPlan
from bptt.fitting.forecasting.windows import Windows, learning, settled, windows_of
from bptt.fitting.plan import Plan
from bptt.fitting.training import Fit
from bptt.sequences.series import Series

if TYPE_CHECKING:
    import pandas

Floats = NDArray[np.float64]


def trained(series: Series, plan: ForecastPlan, training: Plan) -> Forecast:
    """A forecast trained on series, of each of which the last share is held out. Raises BpttError
    for series too short, or that cannot be learned from."""
    plan = settled(plan, series)
    learned = learning(series, plan, training.validation)
    held = None if learned.held is None else learned.held.sequences
    work = Fit(training, learned.train.sequences, held)
    for _ in work.records():
        pass
    return forecast_of(work.model(), series, plan, learned)


@dataclass(frozen=True)
class Backtest:
    """A backtest. table: a row a series, cutoff (the last time that was known) and step ahead: the
    series' name, the time, cutoff, y, yhat, the baselines, and intervals or quantiles. comparison:
    the errors beside the baselines. refit: whether trained anew before each cutoff."""

    table: "pandas.DataFrame"
    comparison: Comparison
    folds: int
    refit: bool

    def __str__(self) -> str:
        how = "trained anew before each" if self.refit else "trained before the first"
        where = f"in a backtest ({self.folds} cutoffs, {how})"
        lines = [self.comparison.line(where), *self.comparison.advice()]
        lines += [f"{name}: {share:.1%}" for name, share in self.comparison.coverage.items()]
        return "\n".join(lines)

    @property
    def scores(self) -> "pandas.DataFrame":
        """A row a forecaster: mae, rmse, smape, mase (see `.comparison`)."""
        import pandas

        return pandas.DataFrame(self.comparison.errors).T


def backtest(
    series: Series,
    plan: ForecastPlan,
    training: Plan,
    folds: int = 5,
    step: int | None = None,
    refit: bool = False,
    level: Any = (),
) -> Backtest:
    """Forecasts from `folds` cutoffs, `step` steps apart (by default the horizon), the last one the
    horizon before the end: each knows what stands before it and nothing else.

    refit: train anew before each cutoff; else once, before the first. Raises BpttError for series
    too short for that.
    """
    folds, h = whole("folds", folds, 1), plan.horizon
    step = h if step is None else whole("step", step, 1)
    refit, levels = flag("refit", refit), checked_levels(level)
    before = [series.lengths - h - step * (folds - 1 - fold) for fold in range(folds)]
    short = np.flatnonzero(before[0] < 1)
    if short.size:
        raise BpttError(
            f"series {series.name(int(short[0]))} has {series.lengths[short[0]]} values: {folds} "
            f"folds of {step} steps and horizon {h} need more: give fewer folds"
        )
    found, model = [], None
    for lengths in before:
        if model is None or refit:
            model = trained(series.cut(lengths), plan, training)
        scales = model.scales(series)
        windows = windows_of(series, model.plan, scales, [np.array([n - 1]) for n in lengths])
        _, columns = model.compared(windows, series, scales, levels)
        scale = np.array([each.naive for each in scales])
        found.append((windows, columns, scale))
    return _gathered(series, found, levels, folds, refit)


def _gathered(
    series: Series,
    found: list[tuple[Windows, dict[str, Floats], Floats]],
    levels: tuple[float, ...],
    folds: int,
    refit: bool,
) -> Backtest:
    """What came of all cutoffs as one table and one comparison."""
    # Of a fold that has no season the seasonal forecast is the naive one.
    names = list(dict.fromkeys(name for _, columns, _ in found for name in columns))
    columns = {
        name: np.concatenate([each.get(name, each[NAIVE]) for _, each, _ in found])
        for name in names
    }
    of = np.concatenate([windows.of for windows, _, _ in found])
    origins = np.concatenate([windows.origins for windows, _, _ in found])
    truth = np.concatenate([windows.truth for windows, _, _ in found])
    scale = np.concatenate([each for _, _, each in found])
    said = {name: columns[name] for name in (OURS, *BASELINES) if name in columns}
    comparison = compared(truth, said, of, origins, scale, coverage_of(truth, columns, levels))
    return Backtest(table_of(series, of, origins, truth, columns), comparison, folds, refit)


def table_of(
    series: Series, of: Any, origins: Any, truth: Floats, columns: dict[str, Floats]
) -> "pandas.DataFrame":
    """Forecasts as a table, see `Backtest`; in the order of series and cutoffs."""
    import pandas

    names, h = series.names, truth.shape[1]
    order = np.lexsort((origins, of))
    of, origins = of[order], origins[order]
    cutoffs = [series.times[s][o] for s, o in zip(of, origins, strict=True)]
    times = [series.times[s][o + 1 : o + 1 + h] for s, o in zip(of, origins, strict=True)]
    return pandas.DataFrame(
        {
            names.id: [series.ids[each] for each in of for _ in range(h)],
            names.time: np.concatenate(times),
            "cutoff": np.repeat(np.array(cutoffs), h),
            names.target: truth[order].ravel(),
            **{name: values[order].ravel() for name, values in columns.items()},
        }
    )
