"""`RNNForecaster` as an estimator of scikit-learn, and what users do with it."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

import bptt  # noqa: E402
from bptt import BpttError, RNNForecaster, Sequences  # noqa: E402

SMALL = {"hidden": 4, "cell": "elman", "engine": "reference", "epochs": 6, "random_state": 0}


def sales(n=60):
    """Two shops by month, with a column that is known ahead."""
    t, rng = np.arange(n), np.random.default_rng(0)
    promo = rng.integers(0, 2, n)
    return pd.concat([
        pd.DataFrame({
            "shop": shop, "month": pd.date_range("2010-01-01", periods=n, freq="MS"),
            "sales": size * (5 + np.sin(t * np.pi / 6) + promo + 0.1 * rng.normal(size=n)),
            "promo": promo,
        })
        for shop, size in (("A", 1), ("B", 30))
    ], ignore_index=True)  # fmt: skip


def forecaster(**options):
    return RNNForecaster(
        **{**SMALL, "horizon": 3, "id": "shop", "time": "month", "target": "sales", **options}
    )


def test_parameters_are_those_of_an_estimator():
    f = forecaster(covariates=("promo",))
    assert clone(f).get_params() == f.get_params()
    assert f.get_params()["horizon"] == 3
    f.set_params(horizon=5, hidden=2)
    assert (f.horizon, f.hidden) == (5, 2)
    assert repr(f).startswith("RNNForecaster(cell='elman', covariates=('promo',)")
    assert not {"missing", "window", "warm_up"} & set(f.get_params())
    with pytest.raises(TypeError, match="unexpected keyword argument 'window'"):
        RNNForecaster(window=3)
    with pytest.raises(ValueError, match="Invalid parameter 'horizons'"):
        f.set_params(horizons=3)
    for call in (f.predict, f.figure, lambda: f.save("x"), lambda: f.history_):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(BpttError, match="has no stream"):
        f.stream()


def test_fitted_it_forecasts_in_the_users_terms(tmp_path):
    frame = sales()
    f = forecaster().fit(frame[frame["month"] < "2014-10-01"])
    table = f.predict(2, level=80)
    assert list(table.columns) == ["shop", "month", "yhat", "lo-80", "hi-80"]
    assert table["shop"].tolist() == ["A", "A", "B", "B"]
    assert table["month"].iloc[0] == pd.Timestamp("2014-10-01")
    assert ((table["lo-80"] < table["yhat"]) & (table["yhat"] < table["hi-80"])).all()
    assert len(f.history_) == f.n_iter_ == 6
    assert f.network_.structure.outputs == 3
    assert {"naive", "seasonal naive"} < set(f.forecast_.score.errors)
    f.save(tmp_path / "f.safetensors")
    read = bptt.load_model(tmp_path / "f.safetensors", engine="reference")
    pd.testing.assert_frame_equal(read.predict(2, level=80), table)
    for other in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        pd.testing.assert_frame_equal(other.predict(2, level=80), table)
    pd.testing.assert_frame_equal(f.predict(data=frame), read.predict(data=frame))


def test_the_same_random_state_gives_the_same_bits():
    frame = sales()

    def weights(state, **options):
        return forecaster(**options, random_state=state).fit(frame).network_.theta

    np.testing.assert_array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))
    a, b = (weights(np.random.RandomState(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    f = forecaster().fit(frame)
    before = f.predict()
    first, second = f.backtest(frame, folds=2), f.backtest(frame, folds=2)
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(f.predict(), before)


def test_covariates_and_quantiles_by_parameters():
    frame = sales()
    early = frame[frame["month"] < "2014-10-01"]
    future = frame[frame["month"] >= "2014-10-01"].drop(columns="sales")
    f = forecaster(covariates="promo", loss="pinball", quantiles=(0.1, 0.9)).fit(early)
    assert list(f.predict(future=future).columns) == ["shop", "month", "yhat", "q0.1", "q0.9"]
    found = f.backtest(frame, folds=2)
    assert {"below q0.1", "below q0.9"} == set(found.comparison.coverage)
    assert list(found.table.columns) == [
        "shop", "month", "cutoff", "sales", "yhat", "q0.1", "q0.9", "naive",
        "seasonal naive", "mean",
    ]  # fmt: skip
    with pytest.raises(BpttError, match="covariates are columns of the frame y"):
        f.fit(early, future)


def test_plain_arrays_and_sequences():
    y = np.sin(np.arange(60) * np.pi / 6)
    plain = RNNForecaster(**SMALL, horizon=2)
    table = plain.fit(y).predict()
    assert table["ds"].tolist() == [60, 61]
    pd.testing.assert_frame_equal(table, plain.fit(Sequences(y, single=True)).predict())
    assert plain.fit(pd.Series(y, name="wave")).predict()["unique_id"].tolist() == ["wave"] * 2
