"""Forecasts of series: windows, baselines, intervals, comparisons and backtests."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bptt
from bptt import BpttError, Sequences
from bptt.fitting.forecasting.comparison import OURS
from bptt.fitting.forecasting.forecast import forecast_of
from bptt.fitting.forecasting.learning import backtest, trained
from bptt.fitting.forecasting.plan import ForecastPlan
from bptt.fitting.forecasting.windows import learning, settled
from bptt.fitting.plan import plan_of
from bptt.sequences.series import Names, series_of

QUICK = {"engine": "reference", "cell": "elman", "hidden": 4, "epochs": 6}
PLAN = plan_of(QUICK)


def wave(n, seed=0, season=12, size=1.0, noise=0.1):
    t = np.arange(n)
    return size * (
        5 + np.sin(2 * np.pi * t / season) + noise * np.random.default_rng(seed).normal(size=n)
    )


def months(n=72, names=("A", "B"), seed=0):
    """Two series of months, of different sizes."""
    return pd.concat(
        [
            pd.DataFrame({
                "unique_id": name, "ds": pd.date_range("2001-01-01", periods=n, freq="MS"),
                "y": wave(n, seed + k, size=10.0**k),
            })
            for k, name in enumerate(names)
        ],
        ignore_index=True,
    )  # fmt: skip


def made(data=None, training=PLAN, **options):
    series = series_of(months() if data is None else data)
    return trained(series, ForecastPlan(**{"horizon": 3, **options}), training)


# Windows.


@given(
    lengths=st.lists(st.integers(14, 30), min_size=1, max_size=3),
    horizon=st.integers(1, 4),
    context=st.integers(1, 5),
    season=st.integers(2, 4),
    difference=st.sampled_from(["none", "last", "season"]),
    log=st.booleans(),
    share=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_windows_against_loops(lengths, horizon, context, season, difference, log, share, seed):
    """What is read and to be said by every window, worked out value by value; what is held out
    comes last and after everything that is trained on."""
    rng = np.random.default_rng(seed)
    ys = [np.exp(rng.normal(size=n)) for n in lengths]
    plan = ForecastPlan(
        horizon=horizon, context=context, season=season, difference=difference, log=log
    )
    found = learning(series_of(ys), plan, share)
    lag = {"none": 0, "last": 1, "season": season}[difference]
    for part in filter(None, (found.train, found.held)):
        rows = part.sequences.X
        assert len(rows) == len(part.of)
        for k, (number, origin) in enumerate(zip(part.of, part.origins, strict=True)):
            z = np.log(ys[number]) if log else ys[number]
            scale = found.scales[number]
            begin = max(lag, origin - context + 1)
            read = []
            for t in range(begin, origin + 1):
                row = [(z[t] - scale.mean) / scale.deviation]
                if lag:
                    row.append((z[t] - z[t - lag]) / scale.spread)
                read.append(row)
            np.testing.assert_allclose(rows[k], read, rtol=1e-12)
            said = []
            for step in range(1, horizon + 1):
                base = scale.mean if not lag else z[origin + step - lag * math.ceil(step / lag)]
                said.append((z[origin + step] - base) / scale.spread)
            np.testing.assert_allclose(
                part.sequences.target.values[k], said, rtol=1e-10, atol=1e-12
            )
    for number, y in enumerate(ys):
        trained_on = found.train.origins[found.train.of == number]
        last = len(y)
        if found.held is not None:
            held = found.held.origins[found.held.of == number]
            assert held.tolist() == list(range(held[0], len(y) - horizon))
            last = held[0] + 1
        assert (trained_on + horizon < last).all()
        z = np.log(y[:last]) if log else y[:last]
        np.testing.assert_allclose(found.scales[number].mean, z.mean(), rtol=1e-12)
        if lag:
            changes = z[lag:] - z[:-lag]
            np.testing.assert_allclose(
                found.scales[number].spread, np.sqrt(np.mean(changes**2)), rtol=1e-12
            )


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("difference", ["none", "last", "season"])
def test_right_answers_become_the_true_values(monkeypatch, difference, log):
    """What was scaled and subtracted is undone: a network that says what it is to say is exact."""
    found = made(difference=difference, log=log)
    series = series_of(months())
    held = learning(series, found.plan, 0.2).held
    monkeypatch.setattr(found.model, "predict", lambda data: data.target.values)
    said = found.said(held, found.scales(series))[OURS]
    np.testing.assert_allclose(said, held.truth, rtol=1e-10)


def test_series_of_any_size_are_alike():
    """Scaled by themselves: the forecasts of 1000 y + 70 are 1000 times those of y, plus 70."""
    y = wave(60)
    a, b = (made(each, difference="last").predict()["yhat"] for each in (y, 1000 * y + 70))
    np.testing.assert_allclose(1000 * a + 70, b, rtol=1e-5)  # computed in float32


def test_what_is_held_out_changes_nothing_that_is_learned():
    y = wave(60)
    plan = ForecastPlan(horizon=3, context=6, season=12, difference="season")
    before = learning(series_of(y), plan, 0.2)
    first = before.held.origins[0]
    changed = np.concatenate([y[: first + 1], 50 + y[first + 1 :]])
    after = learning(series_of(changed), plan, 0.2)
    assert before.scales == after.scales
    for a, b in zip(before.train.sequences.X, after.train.sequences.X, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_the_data_decide():
    """The season of the frequency where there are three of them, the best baseline, the context."""
    plan = settled(ForecastPlan(horizon=3), series_of(months()))
    assert (plan.season, plan.difference, plan.context) == (12, "season", 12)
    plan = settled(ForecastPlan(horizon=3), series_of(months(30)))
    assert plan.season == 1
    rng = np.random.default_rng(0)
    assert settled(ForecastPlan(), series_of(rng.normal(size=90))).difference == "none"
    walk = rng.normal(size=90).cumsum()
    assert settled(ForecastPlan(), series_of(walk)).difference == "last"
    assert settled(ForecastPlan(season=12), series_of(wave(90))).difference == "season"


# Baselines and comparisons.


def by_hand(values, cutoff, horizon, season):
    """Naive and seasonal naive forecasts as one would write them down."""
    past = list(values[: cutoff + 1])
    naive, seasonal = [past[-1]] * horizon, []
    for _ in range(horizon):
        seasonal.append((past + seasonal)[-season])
    return naive, seasonal


@pytest.mark.parametrize("refit", [False, True])
def test_a_backtest_against_one_made_by_hand(refit):
    frame = months(72)
    found = backtest(
        series_of(frame), ForecastPlan(horizon=4, season=3, difference="last", context=5), PLAN,
        folds=3, step=2, refit=refit,
    )  # fmt: skip
    assert len(found.table) == 2 * 3 * 4
    total = {"yhat": [], "naive": [], "seasonal naive": [], "mean": []}
    for (name, cutoff), rows in found.table.groupby(["unique_id", "cutoff"]):
        own = frame[frame["unique_id"] == name]
        values, times = own["y"].to_numpy(), own["ds"].to_numpy()
        at = int(np.flatnonzero(times == np.datetime64(cutoff))[0])
        assert at in (72 - 4 - 1, 72 - 6 - 1, 72 - 8 - 1)
        naive, seasonal = by_hand(values, at, 4, 3)
        np.testing.assert_array_equal(rows["naive"], naive)
        np.testing.assert_array_equal(rows["seasonal naive"], seasonal)
        # One lag and half a context come first; of the forecasts the last fifth is held out.
        end = at if refit else 72 - 8 - 1
        known = range(4 - 1, end + 1 - 4)
        first = known[len(known) - round(0.2 * len(known))]
        np.testing.assert_allclose(rows["mean"], np.mean(values[: first + 1]), rtol=1e-12)
        np.testing.assert_array_equal(rows["y"], values[at + 1 : at + 5])
        np.testing.assert_array_equal(rows["ds"], times[at + 1 : at + 5])
        for column, errors in total.items():
            errors.append((rows[column] - rows["y"]).to_numpy())
    for column, errors in total.items():
        error = np.stack(errors)
        values = found.scores.loc[column]
        np.testing.assert_allclose(values["mae"], np.abs(error).mean(), rtol=1e-12)
        np.testing.assert_allclose(values["rmse"], np.sqrt((error**2).mean()), rtol=1e-12)
    y, p = found.table["y"], found.table["yhat"]
    np.testing.assert_allclose(
        found.scores.loc["yhat", "smape"], (200 * (y - p).abs() / (y.abs() + p.abs())).mean()
    )
    assert "3 cutoffs, trained " + ("anew before each" if refit else "before the first") in str(
        found
    )


def test_a_backtest_knows_nothing_of_what_comes_after():
    """Other values after the last cutoff change no forecast; trained once, other ones after the
    first change none of the network."""
    frame = months(72)
    plan = ForecastPlan(horizon=3)
    first = backtest(series_of(frame), plan, PLAN, folds=2).table
    changed = frame.copy()
    late = changed.groupby("unique_id").cumcount() >= 69
    changed.loc[late, "y"] *= 3
    second = backtest(series_of(changed), plan, PLAN, folds=2).table
    for column in ("yhat", "naive", "seasonal naive", "mean"):
        np.testing.assert_array_equal(first[column], second[column])


def test_mase_is_measured_by_the_seasonal_change_of_what_was_trained_on():
    frame = months(60, ("A",))
    found = made(frame, season=12, difference="season")
    y = frame["y"].to_numpy()
    held = learning(series_of(frame), found.plan, 0.2).held
    known = y[: held.origins[0] + 1]
    scale = np.abs(known[12:] - known[:-12]).mean()
    errors = found.score.errors[OURS]
    np.testing.assert_allclose(errors["mase"], errors["mae"] / scale, rtol=1e-10)


# Intervals.


def test_intervals_cover_as_often_as_they_say():
    """Noise around a wave: of fresh forecasts the share inside is the level's, but for chance: four
    deviations of a share of 300, about as many as do not overlap where least of them were."""
    rng = np.random.default_rng(3)
    t = np.arange(760)
    y = [np.sin(t / 3) + 0.5 * rng.normal(size=760) for _ in range(5)]
    found = made([each[:300] for each in y], plan_of(QUICK | {"validation": 0.5, "epochs": 4}))
    for level in (50, 80, 95):
        share = found.test(y, level=level)[0].coverage[f"inside {level} %"]
        p = level / 100
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 300), level


def test_intervals_of_logarithms_are_shares():
    found = made(months(72, ("A",)), log=True).predict(level=[50, 80])
    up, down = found["hi-80"] / found["yhat"], found["yhat"] / found["lo-80"]
    np.testing.assert_allclose(up, down, rtol=1e-9)
    assert (found["lo-80"] < found["lo-50"]).all()
    assert list(found.columns) == [
        "unique_id", "ds", "yhat", "lo-50", "hi-50", "lo-80", "hi-80"
    ]  # fmt: skip


def test_quantiles_stand_in_order():
    training = plan_of(QUICK | {"loss": "pinball", "quantiles": (0.1, 0.5, 0.9), "epochs": 20})
    found = made(training=training)
    table = found.predict()
    assert list(table.columns) == ["unique_id", "ds", "yhat", "q0.1", "q0.5", "q0.9"]
    assert (table["q0.1"] <= table["q0.5"]).all()
    assert (table["q0.5"] <= table["q0.9"]).all()
    np.testing.assert_array_equal(table["yhat"], table["q0.5"])
    coverage = found.test(months(120, seed=5))[0].coverage
    assert coverage["below q0.1"] < coverage["below q0.5"] < coverage["below q0.9"]
    with pytest.raises(BpttError, match=r"quantiles were trained, '0\.1', '0\.5', '0\.9'"):
        found.predict(level=80)


# What comes next.


def test_later_values_and_new_series_are_gone_on_with():
    frame = months(72)
    early = frame[frame["ds"] < "2006-01-01"]
    found = made(early)
    later = found.predict(data=frame[frame["ds"] >= "2006-01-01"])
    pd.testing.assert_frame_equal(later, found.predict(data=frame))
    assert later["ds"].iloc[0] == pd.Timestamp("2007-01-01")
    strange = frame.assign(unique_id=frame["unique_id"] + "x")
    assert set(found.predict(data=strange)["unique_id"]) == {"Ax", "Bx"}
    # What is tested begins after the training's end, however much of the past is given.
    long, _, columns = found.test(frame)
    short, _, _ = found.test(frame[frame["ds"] >= "2006-01-01"])
    assert long == short
    assert long.forecasts == len(columns[OURS]) == 2 * (12 - 3 + 1)
    with pytest.raises(BpttError, match=r"series 'A' has a gap: no row for 2006-01-01"):
        found.predict(data=frame[frame["ds"] >= "2006-02-01"])
    with pytest.raises(BpttError, match="has no 3 values after what was trained on"):
        found.test(early)


def test_covariates_are_known_ahead():
    """What only they can tell is learned, and their future has to be there."""
    rng = np.random.default_rng(0)
    n = 200
    kind = rng.choice(["none", "sale", "feast"], n)
    frame = pd.DataFrame({
        "ds": np.arange(n), "sale": kind, "heat": rng.normal(size=n), "noise": 0.1,
        "y": 10 + 5 * (kind == "sale") - 4 * (kind == "feast") + 0.1 * rng.normal(size=n),
    })  # fmt: skip
    names = Names(covariates=("sale", "heat"))
    past, next_ = frame[:190], frame[190:].drop(columns="y")
    plan = ForecastPlan(horizon=2, context=4, covariates=("sale", "heat"))
    training = plan_of(QUICK | {"epochs": 60})
    found = trained(series_of(past, names), plan, training)
    assert found.score.errors[OURS]["mae"] < 0.3 * found.score.errors["naive"]["mae"]
    table = found.predict(future=next_)
    np.testing.assert_allclose(table["yhat"], frame["y"][190:192], atol=1.5)
    shuffled = next_.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(found.predict(future=shuffled), table)
    for message, future in (
        (r"covariates \(sale, heat\) were trained with: give a table", None),
        ("future has no row of series 'y' for 191: the 2 steps after 189", next_[:1]),
        ("has no value 'party'", next_.assign(sale="party")),
        ("has no column 'heat'", next_.drop(columns="heat")),
        ("'heat' is missing", next_.assign(heat=np.nan)),
        ("future is a list: a data frame", [1]),
    ):
        with pytest.raises(BpttError, match=message):
            found.predict(future=future)
    with pytest.raises(BpttError, match="no covariates were trained with: leave future out"):
        made().predict(future=next_)


def test_what_was_learned_is_kept_without_a_pickle(tmp_path):
    found = made(months(), log=True)
    found.save(tmp_path / "model.safetensors")
    again = bptt.load_model(tmp_path / "model.safetensors", engine="reference")
    pd.testing.assert_frame_equal(again.predict(level=80), found.predict(level=80))
    assert again.prepared == found.prepared
    assert again.score == found.score
    by_number = made([wave(60), wave(70)])
    by_number.save(tmp_path / "b.safetensors")
    pd.testing.assert_frame_equal(
        bptt.load_model(tmp_path / "b.safetensors", engine="reference").predict(),
        by_number.predict(),
    )
    again.model.prepared["kept"] = [{"id": "A"}]
    again.save(tmp_path / "bad.safetensors")
    with pytest.raises(BpttError, match="damaged, train again"):
        bptt.load_model(tmp_path / "bad.safetensors")


def test_nothing_held_out():
    found = made(training=plan_of(QUICK | {"validation": 0.0}))
    assert found.score is None
    assert "nothing was held out" in str(found)
    with pytest.raises(BpttError, match="nothing was held out in training: intervals need"):
        found.predict(level=80)
    assert len(found.figure().axes) == 2


def test_a_constant_series_is_forecast_as_it_is():
    found = made([np.full(60, 7.0), wave(60)])
    table = found.predict(level=80)
    np.testing.assert_allclose(table["yhat"][:3], 7, rtol=0.2)
    assert np.isfinite(table.iloc[:, 2:].to_numpy()).all()


def test_the_training_agrees_with_its_parts():
    """`trained` is windows, `Fit` and `forecast_of`, nothing else."""
    from bptt.fitting import Fit

    series = series_of(months())
    plan = settled(ForecastPlan(horizon=3), series)
    learned = learning(series, plan, 0.2)
    work = Fit(PLAN, learned.train.sequences, learned.held.sequences)
    list(work.records())
    ours = forecast_of(work.model(), series, plan, learned)
    pd.testing.assert_frame_equal(ours.predict(), made().predict())


def test_figures_show_what_is_forecast():
    found = made(months(72, tuple("ABCDEF")))
    figure = found.figure()
    assert len(figure.axes) == 4
    (axes, *_) = figure.axes
    assert axes.get_title(loc="left") == "A"
    table = found.predict()
    line = axes.lines[1].get_ydata()
    np.testing.assert_allclose(line[1:], table["yhat"][:3])
    assert [each.get_text() for each in axes.get_legend().get_texts()] == [
        "80 % interval", "y", "forecast"
    ]  # fmt: skip
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("message", "make"),
    {
        "horizon 0 must be at least 1": lambda: made(horizon=0),
        "difference 'diff' is not known": lambda: made(difference="diff"),
        "h 4: 3 steps ahead were trained": lambda: made().predict(4),
        "h 0 must be at least 1": lambda: made().predict(0),
        "level 0.8 must": lambda: made().predict(level="80"),
        "level 100 is not allowed: per cent between 0 and 100": lambda: made().predict(level=100),
        r"an interval of 99 % needs 99 forecasts held out": lambda: made().predict(level=99),
        "series 'A' has 8 values: context 5": lambda: made(months(8), context=5, horizon=6),
        "nothing is left to learn from": lambda: made(
            months(12), context=2, horizon=3, difference="last",
            training=plan_of(QUICK | {"validation": 0.9}),
        ),
        "folds 0 must be at least 1": lambda: backtest(
            series_of(months()), ForecastPlan(), PLAN, folds=0
        ),
        "has 72 values: 40 folds of 3 steps and horizon 3 need more": lambda: backtest(
            series_of(months()), ForecastPlan(horizon=3), PLAN, folds=40
        ),
        "has no logarithm: leave log out": lambda: made(months().assign(y=-1.0), log=True),
        "context 2 and .* need": lambda: made(months(), context=2).predict(
            data=months(72).groupby("unique_id").head(1)
        ),
    }.items(),
)  # fmt: skip
def test_what_cannot_be_forecast_is_said_in_one_line(message, make):
    if message.startswith("level 0.8"):
        message = "level '80' must be a list"
    if message.startswith("context 2 and"):
        message = "series 'A' has 1 values: context 2 "
    with pytest.raises(BpttError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_sequences_and_frames_give_the_same(tmp_path):
    y = [wave(60), wave(50, seed=2)]
    frame = pd.DataFrame({
        "unique_id": np.repeat([0, 1], [60, 50]), "ds": [*range(60), *range(50)],
        "y": np.concatenate(y),
    })  # fmt: skip
    wanted = made(y).predict()
    for data in (
        Sequences(y),
        frame,
        frame.sample(frac=1, random_state=1).sort_values("unique_id", kind="stable"),
    ):
        pd.testing.assert_frame_equal(made(data).predict(), wanted)
