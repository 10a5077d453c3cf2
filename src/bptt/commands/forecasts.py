"""`bptt train forecast` and `bptt forecast`: what is their own beside the other jobs (`.jobs`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from bptt.commands import flags
from bptt.commands.answers import Json, RunPath, answer
from bptt.commands.job_reports import Tested
from bptt.errors import BpttError
from bptt.files import replacing
from bptt.fitting import Fit, Plan
from bptt.fitting.folder import Source, load_model
from bptt.fitting.forecasting import Forecast, ForecastPlan
from bptt.fitting.forecasting.comparison import Comparison
from bptt.fitting.forecasting.forecast import forecast_from, forecast_of
from bptt.fitting.forecasting.windows import Learning, learning, settled
from bptt.options import options_of
from bptt.sequences.files import read_table
from bptt.sequences.schema import Reading
from bptt.sequences.series import Names, Series, series_of

NAMES, ABOUT = options_of(Names), options_of(ForecastPlan)
TEXT = {name: each for name, each in options_of(Reading).items()
        if name in ("separator", "decimal")}  # fmt: skip
# So many rows of a forecast are printed at most.
MOST_ROWS = 24


class SeriesGiven(NamedTuple):
    """The series of a run, its plan with what they say, the windows, and the source that says so
    too: a run that is resumed has the same ones."""

    series: Series
    plan: ForecastPlan
    learned: Learning
    source: Source


def parameters() -> list[Any]:
    """The flags of `bptt train forecast` beside those of every training."""
    return [
        *flags.flags(NAMES | TEXT, "Data", {}),
        *flags.flags(ABOUT, "Forecast", {}),
    ]  # fmt: skip


def source(path: Path, values: Mapping[str, Any], plan: Plan) -> Source:
    """Where the series come from, and what is to be forecast of them."""
    about = flags.given(ABOUT, values)
    if "covariates" in about:
        about["covariates"] = tuple(about["covariates"])
    wanted = ForecastPlan(**about)
    names = wanted.names(Names(**flags.given(NAMES, values)))
    return Source(
        files=(str(path),), folder=str(Path.cwd()), reading=Reading(**flags.given(TEXT, values)),
        job="forecast", prepared={
            "plan": wanted.plain(), "names": msgspec.to_builtins(names),
            "validation": plan.validation,
        },
    )  # fmt: skip


def read_series(source: Source) -> SeriesGiven:
    """The series of a run's file, cut into windows. Raises BpttError for what is wrong with it."""
    about = source.prepared
    try:
        plan = msgspec.convert(about["plan"], ForecastPlan)
        names = msgspec.convert(about["names"], Names)
        share = msgspec.convert(about["validation"], float)
    except (KeyError, msgspec.ValidationError) as error:
        raise BpttError(f"the run's config.json does not say what is forecast: {error}") from None
    series = series_of_file(source.place(source.files[0]), source.reading, names, plan.freq)
    plan = settled(plan, series)
    source = msgspec.structs.replace(source, prepared={**about, "plan": plan.plain()})
    return SeriesGiven(series, plan, learning(series, plan, share), source)


def series_of_file(
    path: str | Path, reading: Reading, names: Names, freq: str, like: Any = None
) -> Series:
    """The series of a table's file."""
    return series_of(read_table(path, reading), names, freq, like, f"'{path}'")


def tested(work: Fit, given: SeriesGiven) -> Tested:
    """The forecasts of what was held out, beside the baselines."""
    from bptt.fitting.figures import predicted

    found = forecast_of(work.model(), given.series, given.plan, given.learned)
    held, score = given.learned.held, found.score
    pictures = {"forecast.png": found.figure(given.series)}
    windows = len(given.learned.train.of)
    what = (
        f"{given.series}; season {given.plan.season}, context {given.plan.context}, difference "
        f"{given.plan.difference}, {windows:,} windows to learn from"
    )
    if held is None or score is None:
        nothing = "nothing was held out: 'bptt score' with later values says how good it is"
        return Tested(found.model, {}, [what, nothing], [], pictures)
    said = found.said(held, given.learned.scales)["yhat"]
    pictures["predicted.png"] = predicted(
        held.truth.reshape(-1, 1), said.reshape(-1, 1), "in validation"
    )
    return Tested(
        found.model, {"validation": plain(score)}, [what, score.line("in validation")],
        score.advice(windows), pictures,
    )  # fmt: skip


def plain(score: Comparison) -> dict[str, Any]:
    """A comparison as plain values."""
    values: dict[str, Any] = msgspec.to_builtins(score)
    return {**values, "outcome": score.outcome}


def of_run(path: Path) -> Forecast:
    """The forecast of a run. Raises BpttError for a run of another kind."""
    return forecast_from(load_model(path))


def reading_of(path: Path) -> Reading:
    """How the file of a run was read: others like it are read so too."""
    from bptt.fitting.folder import source_of

    return source_of(path).reading if path.is_dir() else Reading()


def series_like(forecast: Forecast, run_path: Path, path: Path) -> Series:
    """The series of a file, read as those trained on."""
    own = forecast.prepared
    return series_of_file(
        path, reading_of(run_path), own.names, str(own.frequency), own.columns or None
    )


def score(run_path: Path, path: Path) -> tuple[dict[str, Any], str]:
    """A run's forecasts of a file's later values, or of other series, beside the baselines."""
    forecast = of_run(run_path)
    found, _, _ = forecast.test(series_like(forecast, run_path, path))
    rows = [
        f"{name}: " + ", ".join(f"{measure} {value:.4g}" for measure, value in values.items())
        for name, values in found.errors.items()
    ]
    return plain(found), "\n".join([found.line(f"of '{path}'"), *rows, *found.advice()])


def forecast(
    run_path: RunPath,
    path: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Later values, or other series.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps, at most those trained.", show_default="as trained")
    ] = None,
    level: Annotated[
        list[float] | None, typer.Option(help="Per cent of an interval; several times for more.")
    ] = None,
    future: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The covariates of the next steps.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .csv file for the forecasts.")] = None,
    as_json: Json = False,
) -> None:
    """Say what comes next in the series of a run, with intervals."""
    found = of_run(run_path)
    data = None if path is None else series_like(found, run_path, path)
    ahead = None if future is None else read_table(future, reading_of(run_path))
    table = found.predict(horizon, level=level or (), future=ahead, data=data)
    if out is not None:
        if out.suffix.lower() != ".csv":
            raise BpttError(f"'{out}' ends in '{out.suffix}': forecasts are written as .csv")
        with replacing(out) as temporary:
            table.to_csv(temporary, index=False)
    values: dict[str, Any] = {"out": None if out is None else str(out), "rows": len(table)}
    if as_json:
        times = table.columns[1]
        rows = table.astype({times: str} if table[times].dtype.kind == "M" else {})
        values["forecast"] = rows.to_dict("records")
    text = table.head(MOST_ROWS).to_string(index=False)
    if len(table) > MOST_ROWS:
        text += f"\n... {len(table):,} rows" + ("" if out else ": --out FILE.csv has them all")
    answer(as_json, values, text + (f"\nforecasts  {out}" if out else ""))
