"""`Forecast`: what has been learned of series, and what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.arguments import whole
from bptt.errors import BpttError, not_there, quoted_list
from bptt.fitting.forecasting.comparison import (
    BASELINES,
    OURS,
    Comparison,
    baselines_of,
    compared,
    coverage_of,
)
from bptt.fitting.forecasting.intervals import (
    checked_levels,
    half_width,
    least_held,
    residuals_of,
)
from bptt.fitting.forecasting.plan import ForecastPlan
from bptt.fitting.forecasting.windows import (
    Learning,
    Scale,
    Windows,
    scale_of,
    transformed,
    windows_of,
)
from bptt.fitting.model import Model
from bptt.sequences.frequency import Frequency, shown
from bptt.sequences.schema import Column
from bptt.sequences.series import Names, Series, check_values, plain, rows_of, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


class Kept(msgspec.Struct, frozen=True):
    """The end of a series trained on, as far as a forecast needs it: its name, its last time and
    values, their covariates, and its scale."""

    id: str | int | float
    end: str | int | float
    values: tuple[float, ...]
    known: tuple[tuple[float, ...], ...]
    scale: Scale


class Prepared(msgspec.Struct, frozen=True):
    """What a model's file has besides the model's own. residuals: see `.intervals`."""

    plan: ForecastPlan
    names: Names
    frequency: Frequency
    columns: tuple[Column, ...]
    kept: tuple[Kept, ...]
    residuals: tuple[tuple[float, ...], ...] = ()
    score: Comparison | None = None


@dataclass
class Forecast:
    """A model that says what comes next; `bptt.RNNForecaster` and `bptt train forecast` make it,
    `bptt.load_model` reads it.

    model: the network with its records; prepared: how series become its inputs and its answers
    forecasts. score: of what was held out, beside the baselines, or None.
    """

    model: Model
    prepared: Prepared

    @property
    def plan(self) -> ForecastPlan:
        """What is forecast, of what."""
        return self.prepared.plan

    @property
    def score(self) -> Comparison | None:
        """The errors of what was held out in training, beside the baselines."""
        return self.prepared.score

    @property
    def history(self) -> "pandas.DataFrame":
        """The records of the training as a table."""
        return self.model.history

    def __str__(self) -> str:
        what = "nothing was held out" if self.score is None else self.score.line("in validation")
        plan = self.plan
        return f"{self.model.network!r}, {plan.horizon} steps ahead of {plan.context}; {what}"

    def figure(self, data: Any = None, level: Any = 80, future: Any = None) -> "Figure":
        """The end of up to four series, and the forecasts with their interval. data, level, future:
        as of `predict`; a level for which too few were held out is left out. Of `data` with
        covariates whose future is not given the last steps are forecast."""
        from bptt.fitting.forecasting.figures import forecast_figure

        series, trained = self.history_of(data), self.model.levels
        levels: tuple[float, ...] = ()
        if len(trained) > 1:
            low, high = f"q{trained[0]:g}", f"q{trained[-1]:g}"
            words = f"quantiles {trained[0]:g} to {trained[-1]:g}"
        else:
            levels = tuple(each for each in checked_levels(level)[:1] if self._has(each))
            low, high, words = (
                f"{start}{each:g}{end}"
                for each in levels or (0.0,)
                for start, end in (("lo-", ""), ("hi-", ""), ("", " % interval"))
            )
        if self.prepared.columns and future is None and data is not None:
            known = series.cut(series.lengths - self.plan.horizon)
            ahead = replace(known, known=series.known)
        else:
            known, ahead = series, self._with_future(series, future)
        columns = self._ahead(known, ahead, levels)
        band = (low, high, words) if low in columns else None
        return forecast_figure(series, known.lengths, self.plan, columns, band)

    def _has(self, level: float) -> bool:
        """Whether enough was held out for an interval of this level."""
        residuals = self.prepared.residuals
        return bool(residuals) and len(residuals[0]) >= least_held(level)

    # Series and what comes next.

    def history_of(self, data: Any = None) -> Series:
        """The series before the forecasts: those trained on, or others, as `predict` takes them.
        Raises BpttError for ones that do not go on where the training ended."""
        own, kept = self.prepared, self._kept()
        if data is None:
            return kept
        given = series_of(data, own.names, str(own.frequency), own.columns)
        places = {name: place for place, name in enumerate(kept.ids)}
        for number, name in enumerate(given.ids):
            place = places.get(name)
            if place is None or given.times[number][0] <= kept.times[place][-1]:
                continue  # a new series, or one with its own past
            both = (kept.times[place], given.times[number])
            times = np.concatenate([each.astype(both[0].dtype) for each in both])
            own.frequency.check(times, given.name(number))
            given.times[number] = times
            for ours, theirs in ((kept.y, given.y), (kept.known, given.known)):
                theirs[number] = np.concatenate([ours[place], theirs[number]])
        return given

    def _kept(self) -> Series:
        """The ends of the series trained on."""
        own = self.prepared
        times = [own.frequency.until(each.end, len(each.values)) for each in own.kept]
        known = [np.array(each.known, np.float64).reshape(len(each.values), -1)
                 for each in own.kept]  # fmt: skip
        return Series(
            [each.id for each in own.kept], [np.array(each.values) for each in own.kept], known,
            times, own.frequency, own.names, own.columns, "the training",
        )  # fmt: skip

    def scales(self, series: Series) -> list[Scale]:
        """Of each series the scale trained with; of a new one that of its own values."""
        own = {each.id: each.scale for each in self.prepared.kept}
        return [
            own[name] if name in own
            else scale_of(y, transformed(y, self.plan, series, number), self.plan)
            for number, (name, y) in enumerate(zip(series.ids, series.y, strict=True))
        ]  # fmt: skip

    def predict(
        self, h: int | None = None, *, level: Any = (), future: Any = None, data: Any = None
    ) -> "pandas.DataFrame":
        """What comes next: a table with the series' name, the time, and yhat.

        h: how many steps, at most (and by default) as many as were trained. level: per cent, one or
        several: columns lo-80 and hi-80 with the interval (see `.intervals`). Of a model of
        quantiles a column each, q0.1, and yhat is the middle one. future: a table with the
        covariates of the next steps, as many as were trained. data: the series to go on with, as
        trained on, new ones, or later values of them; by default those trained on, from their end.

        Raises BpttError for what cannot be asked of the model, and for series too short.
        """
        import pandas

        h = self.plan.horizon if h is None else whole("h", h, 1)
        if h > self.plan.horizon:
            raise BpttError(
                f"h {h}: {self.plan.horizon} steps ahead were trained: ask for as many, or train "
                "with a larger horizon"
            )
        levels = checked_levels(level)
        series = self.history_of(data)
        columns = self._ahead(series, self._with_future(series, future), levels)
        names = self.prepared.names
        table: dict[str, Any] = {
            names.id: [name for name in series.ids for _ in range(h)],
            names.time: np.concatenate(
                [series.frequency.after(each[-1], h) for each in series.times]
            ),
        }
        return pandas.DataFrame(
            table | {name: values[:, :h].ravel() for name, values in columns.items()}
        )

    def _ahead(self, series: Series, ahead: Series, levels: tuple[float, ...]) -> dict[str, Floats]:
        """What follows the ends of series, by column, each (n, h); ahead: the same with covariates
        of the next steps."""
        self.plan.check(series)
        ends = [np.array([length - 1]) for length in series.lengths]
        scales = self.scales(series)
        return self.said(windows_of(ahead, self.plan, scales, ends), scales, levels)

    def said(
        self, windows: Windows, scales: Sequence[Scale], levels: Sequence[float] = ()
    ) -> dict[str, Floats]:
        """The forecasts of windows by column, each (n, h), in the units of the data."""
        answers = self._answers(windows)
        spread = np.array([scales[each].spread for each in windows.of])[:, None]

        def units(answer: Floats) -> Floats:
            z: Floats = windows.base + spread * answer
            return np.exp(z) if self.plan.log else z

        trained, middle = self.model.levels, answers.shape[2] // 2
        found = {OURS: units(answers[..., middle])}
        if len(trained) > 1:
            if levels:
                raise BpttError(
                    f"quantiles were trained, {quoted_list(f'{q:g}' for q in trained)}, which are "
                    "the interval: leave level out"
                )
            for place, quantile in enumerate(trained):
                found[f"q{quantile:g}"] = units(answers[..., place])
        for level in levels:
            if not self.prepared.residuals:
                raise BpttError("nothing was held out in training: intervals need a validation")
            width = half_width(np.array(self.prepared.residuals), level)
            found[f"lo-{level:g}"] = units(answers[..., middle] - width)
            found[f"hi-{level:g}"] = units(answers[..., middle] + width)
        return found

    def _answers(self, windows: Windows) -> Floats:
        """(n, h, Q): the network's answers; of quantiles in order."""
        said = np.asarray(self.model.predict(windows.sequences), np.float64)
        shaped = said.reshape(len(windows.of), self.plan.horizon, len(self.model.levels))
        return np.sort(shaped, axis=2)

    def _with_future(self, series: Series, future: Any) -> Series:
        """The series with their covariates of the next steps."""
        own = self.prepared
        if not own.columns:
            if future is not None:
                raise BpttError("no covariates were trained with: leave future out")
            return series
        wanted = ", ".join(own.names.covariates)
        if future is None:
            raise BpttError(
                f"covariates ({wanted}) were trained with: give a table (future) with their values "
                f"of the next {self.plan.horizon} steps"
            )
        from bptt.sequences.frames import is_frame, to_pandas

        if not is_frame(future):
            raise BpttError(f"future is a {type(future).__name__}: a data frame is needed")
        table = to_pandas(future).rename(columns=str)
        parts = rows_of(table, own.names, own.names.covariates, own.columns, "future")
        places = {} if parts.ids is None else {plain(n): k for k, n in enumerate(parts.ids)}
        known = []
        for number, name in enumerate(series.ids):
            place = 0 if parts.ids is None and len(series) == 1 else places.get(name)
            if place is None:
                raise not_there("series", name, places, "future")
            begin, count = int(parts.starts[place]), int(parts.lengths[place])
            rows = np.asarray(parts.rows[begin : begin + count], np.float64)
            times: Any = parts.times[begin : begin + count] if parts.times is not None else []
            rows = self._next_rows(rows, times, series, number)
            check_values(rows, parts, series.name(number), self._next(series, number))
            known.append(np.concatenate([series.known[number], rows]))
        return replace(series, known=known)

    def _next(self, series: Series, number: int) -> Any:
        return series.frequency.after(series.times[number][-1], self.plan.horizon)

    def _next_rows(self, rows: Floats, times: Any, series: Series, number: int) -> Floats:
        """Those of the next steps, in order; times before and after them do not matter."""
        found = []
        for time in self._next(series, number):
            at = np.flatnonzero(times == time)
            if not at.size:
                raise BpttError(
                    f"future has no row of series {series.name(number)} for {shown(time)}: the "
                    f"{self.plan.horizon} steps after {shown(series.times[number][-1])} are needed"
                )
            found.append(rows[at[0]])
        return np.stack(found)

    # Comparisons.

    def compared(
        self, windows: Windows, series: Series, scales: Sequence[Scale], levels: Sequence[float]
    ) -> tuple[Comparison, dict[str, Floats]]:
        """Forecasts of windows whose answers are known beside the baselines, and all of them by
        column, each (n, h)."""
        columns = self.said(windows, scales, levels)
        each = [
            baselines_of(
                series.y[number], windows.origins[windows.of == number], self.plan.horizon,
                self.plan.season, scales[number].level,
            )
            for number in np.unique(windows.of)
        ]  # fmt: skip
        columns |= {name: np.concatenate([found[name] for found in each]) for name in each[0]}
        truth, coverage = windows.truth, coverage_of(windows.truth, columns, levels)
        scale = np.array([scales[each].naive for each in windows.of])
        said = {name: columns[name] for name in (OURS, *BASELINES) if name in columns}
        found = compared(truth, said, windows.of, windows.origins, scale, coverage)
        return found, columns

    def test(self, data: Any, level: Any = ()) -> tuple[Comparison, Windows, dict[str, Floats]]:
        """Every forecast of `data` whose steps are all known there: of series trained on those
        after the training's end, of others those of the second half, by the scale of the first.
        Raises BpttError where there is none."""
        series = self.history_of(data)
        scales = self.scales(series)
        ends = {each.id: time[-1] for each, time in
                zip(self.prepared.kept, self._kept().times, strict=True)}  # fmt: skip
        origins = []
        for number, name in enumerate(series.ids):
            times = series.times[number]
            first = max(self.plan.needed, self.plan.season) - 1
            if name in ends:
                first = max(first, int(np.searchsorted(times, ends[name])))
            else:
                y = series.y[number]
                first = max(first, len(y) // 2)
                z = transformed(y, self.plan, series, number)
                scales[number] = scale_of(y[: first + 1], z[: first + 1], self.plan)
            origins.append(np.arange(first, len(times) - self.plan.horizon))
        if not any(len(each) for each in origins):
            raise BpttError(
                f"{series.source} has no {self.plan.horizon} values after what was trained on: a "
                "test needs them"
            )
        windows = windows_of(series, self.plan, scales, origins)
        found, columns = self.compared(windows, series, scales, checked_levels(level))
        return found, windows, columns

    def save(self, path: str | Path) -> None:
        """Write it as a safetensors file, which `bptt.load_model` reads: no pickle. Raises
        BpttError if that cannot be."""
        self.model.save(path)


def forecast_of(model: Model, series: Series, plan: ForecastPlan, learned: Learning) -> Forecast:
    """The forecast of a model that was trained on `learned`, with its intervals and its score."""
    size = plan.context + plan.lag
    kept = tuple(
        Kept(
            name, _as_plain_time(times[-1]), tuple(map(float, y[-size:])),
            tuple(tuple(map(float, row)) for row in known[-size:]), scale,
        )
        for name, times, y, known, scale in zip(
            series.ids, series.times, series.y, series.known, learned.scales, strict=True
        )
    )  # fmt: skip
    prepared = Prepared(plan, series.names, series.frequency, series.columns, kept)
    found = Forecast(model, prepared)
    held = learned.held
    if held is not None:
        if len(model.levels) == 1:
            target = held.sequences.target
            assert target is not None
            errors = target.values - found._answers(held)[..., 0]
            rows = residuals_of(errors).tolist()
            prepared = msgspec.structs.replace(prepared, residuals=tuple(map(tuple, rows)))
            found.prepared = prepared
        score, _ = found.compared(held, series, learned.scales, ())
        found.prepared = msgspec.structs.replace(prepared, score=score)
    model.prepared = msgspec.to_builtins(found.prepared)
    return found


def _as_plain_time(time: Any) -> Any:
    return str(time) if isinstance(time, np.datetime64) else plain(time)


def forecast_from(model: Model) -> Forecast:
    """The forecast of a model that was read from a file. Raises BpttError if it is damaged, or
    was made for something else."""
    if model.prepared is None:
        raise BpttError("the model was not trained to forecast: bptt train forecast makes such")
    try:
        return Forecast(model, msgspec.convert(model.prepared, Prepared))
    except msgspec.ValidationError as error:
        raise BpttError(f"the model's file is damaged, train again: {error}") from None
