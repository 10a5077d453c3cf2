"""`bptt train forecast`, `forecast` and `score`: from a table to what comes next."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import refused, said

import bptt
from bptt.commands.cli import run

QUICK = ["--engine", "reference", "--hidden", "4", "--cell", "elman", "--epochs", "4"]
ROLES = ["--id", "shop", "--time", "month", "--target", "sales", "--horizon", "3"]
TRAIN = ["train", "forecast", "sales.csv", *ROLES, *QUICK]


def table(n=72):
    t, rng = np.arange(n), np.random.default_rng(0)
    return pd.concat([
        pd.DataFrame({
            "shop": shop, "month": pd.date_range("2010-01-01", periods=n, freq="MS"),
            "sales": (size * (5 + np.sin(t * np.pi / 6) + 0.1 * rng.normal(size=n))).round(3),
            "promo": rng.integers(0, 2, n),
        })
        for shop, size in (("A", 1), ("B", 30))
    ])  # fmt: skip


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with tables, in which the commands are run: what is trained on, and later values."""
    monkeypatch.chdir(tmp_path)
    whole = table()
    whole[whole["month"] < "2015-01-01"].to_csv("sales.csv", index=False)
    whole[whole["month"] >= "2015-01-01"].to_csv("later.csv", index=False)
    whole.to_csv("whole.csv", index=False)
    return tmp_path


def answer(capsys, *arguments):
    assert run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_from_a_table_to_what_comes_next(shelf, capsys):
    text = said(capsys, *TRAIN)
    assert "'sales.csv': 2 series of 60 values of sales, 2010-01-01 to 2014-12-01" in text
    assert "season 12, context 12, difference season" in text
    assert "mean absolute scaled error " in text
    assert "; naive " in text
    assert " than seasonal naive [" in text
    place = shelf / "runs" / "forecast-1"
    assert {path.name for path in place.iterdir()} == {
        "config.json", "weights.safetensors", "checkpoint.safetensors", "history.csv",
        "result.json", "figure.png", "forecast.png", "predicted.png", "run.lock",
    }  # fmt: skip
    assert len(pd.read_csv(place / "history.csv")) == 4
    result = json.loads((place / "result.json").read_text())
    assert set(result["validation"]["errors"]) == {"yhat", "naive", "seasonal naive", "mean"}
    text = said(capsys, "forecast", place, "--level", "80", "--out", "f.csv")
    assert text.rstrip().endswith("forecasts  f.csv")
    found = pd.read_csv("f.csv", parse_dates=["month"])
    wanted = bptt.load_model(place).predict(level=80)
    np.testing.assert_allclose(found["hi-80"], wanted["hi-80"])
    assert found["month"].tolist() == wanted["month"].tolist()
    values = answer(capsys, "forecast", place, "later.csv", "--horizon", "1")
    assert [(row["shop"], row["month"]) for row in values["forecast"]] == [
        ("A", "2016-01-01"), ("B", "2016-01-01")
    ]  # fmt: skip
    # Later values alone, or after those trained on: the same test.
    scored = answer(capsys, "score", place, "later.csv")
    assert scored == answer(capsys, "score", place, "whole.csv")
    assert scored["forecasts"] == 2 * (12 - 3 + 1)
    assert "% " in said(capsys, "score", place, "later.csv")
    shown = said(capsys, "show", place)
    assert "target    sales, 3 steps ahead" in shown
    assert "score     mean absolute scaled error" in shown
    assert str(place) in said(capsys, "plot", place)


def test_covariates_on_the_command_line(shelf, capsys):
    said(capsys, *TRAIN, "--covariates", "promo", "--out", "run")
    assert (shelf / "run" / "forecast.png").exists()
    said(capsys, "forecast", "run", "--future", "later.csv")
    assert "covariates (promo) were trained with" in refused(capsys, "forecast", "run")


def test_resumed_to_the_same_bits(shelf, capsys):
    said(capsys, *TRAIN, "--out", "all")
    said(capsys, *TRAIN, "--epochs", "2", "--out", "cut")
    config = json.loads((shelf / "cut" / "config.json").read_text())
    assert config["data"]["prepared"]["plan"]["difference"] == "season"  # settled by the data
    config["plan"]["epochs"] = 4
    (shelf / "cut" / "config.json").write_text(json.dumps(config))
    assert answer(capsys, "train", "--resume", "cut")["epoch"] == 4
    one, other = (bptt.load_model(each) for each in ("cut", "all"))
    np.testing.assert_array_equal(one.model.network.theta, other.model.network.theta)
    pd.testing.assert_frame_equal(one.predict(level=50), other.predict(level=50))
    changed = pd.read_csv("sales.csv")
    changed.loc[3, "sales"] += 1
    changed.to_csv("sales.csv", index=False)
    line = refused(capsys, "train", "--resume", "cut")
    assert "the data are others than those 'cut' began with" in line


def test_every_bad_input_is_told_in_one_line(shelf, capsys):
    said(capsys, *TRAIN, "--out", "run")
    frame = pd.read_csv("sales.csv")
    frame.drop(index=5).to_csv("gap.csv", index=False)
    pd.concat([frame, frame[:1]]).to_csv("twice.csv", index=False)
    frame.groupby("shop").head(4).to_csv("short.csv", index=False)
    np.save("a.npy", np.zeros(9))
    train = ["train", "forecast"]
    for message, arguments in (
        ("series 'A' has a gap: no row for 2010-06-01", [*train, "gap.csv", *ROLES]),
        ("time 2010-01-01 of shop 'A' stands in rows 1 and", [*train, "twice.csv", *ROLES]),
        ("did you mean 'sales'?", [*train, "sales.csv", *ROLES[:4], "--target", "sale"]),
        ("series 'A' has 4 values", [*train, "short.csv", *ROLES, "--context", "9"]),
        ("there is no file 'none.csv'", [*train, "none.csv"]),
        ("'.parquet' are tables", [*train, "a.npy"]),
        ("already holds a run", [*TRAIN, "--out", "run"]),
        ("difference 'x' is not known", [*TRAIN, "--difference", "x"]),
        ("loss 'cross_entropy' is none of numbers", [*TRAIN, "--loss", "cross_entropy"]),
        ("h 4: 3 steps ahead were trained", ["forecast", "run", "--horizon", "4"]),
        ("forecasts are written as .csv", ["forecast", "run", "--out", "f.png"]),
        ("has no 3 values after what was trained on", ["score", "run", "sales.csv"]),
        ("says what comes next: bptt forecast run", ["predict", "run", "later.csv"]),
        ("no covariates were trained with", ["forecast", "run", "--future", "later.csv"]),
        ("stands in the file itself", ["score", "run", "later.csv", "later.csv"]),
    ):
        assert message in refused(capsys, *arguments), message
    other = ["--target", "sales", "--features", "promo", "--out", "other"]
    said(capsys, "train", "regress", "sales.csv", *other, *QUICK)
    assert "was not trained to forecast" in refused(capsys, "forecast", "other")
    assert not (shelf / "runs").exists()
