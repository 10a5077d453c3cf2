"""`bptt data`, `train` by jobs, `score` and `predict`: from a file to predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import refused, said

from bptt import Sequences, load_model
from bptt.commands import DATA_JOBS
from bptt.commands.cli import run
from bptt.commands.data import advice
from bptt.commands.job_reports import interval
from bptt.commands.jobs import WORDS
from bptt.fitting.scores import Report, report
from bptt.sequences.audio import write_wav
from bptt.sequences.jobs import JOBS

QUICK = ["--engine", "reference", "--hidden", "4", "--cell", "elman", "--epochs", "4"]
ROLES = ["--id", "trial", "--time", "t"]
GAIT = [*ROLES, "--target", "gait", "--features", "force", "--features", "lamp"]


def table(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for trial in range(count):
        steps, gait = int(rng.integers(3, 8)), ["calm", "rising"][trial % 2]
        force = rng.normal(size=steps) + (np.arange(steps) if gait == "rising" else 0)
        rows += [
            (f"s{trial}", t, value, ["red", "blue"][trial % 3 == 0], gait, f"P{trial % 5}",
             "up" if value > 0 else "down")
            for t, value in enumerate(force)
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=["trial", "t", "force", "lamp", "gait", "person", "sign"])


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with two tables, in which the commands are run."""
    monkeypatch.chdir(tmp_path)
    table(30).to_csv("trials.csv", index=False)
    table(12, seed=1).to_csv("new.csv", index=False)
    return tmp_path


def answer(capsys, *arguments, code=0):
    assert run([*map(str, arguments), "--json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out)


def test_what_would_be_learned(shelf, capsys):
    text = said(capsys, "data", "trials.csv", *GAIT, "--group", "person")
    assert "30 sequences of 3 to 7 steps" in text
    assert "target gait: a class a sequence, 2 classes: 'calm' 15, 'rising' 15" in text
    assert "5 groups" in text
    values = answer(capsys, "data", "trials.csv", *GAIT)
    assert values["channels"] == ["force", "lamp=blue", "lamp=red"]
    assert (values["kind"], values["per"]) == ("classes", "sequence")


def test_from_a_table_to_predictions(shelf, capsys):
    """Classify: the verdict names the baseline and an interval; the predictions are those of
    Python, and the files of the folder those that the page on files lists."""
    text = said(capsys, "train", "classify", "trials.csv", *GAIT, *QUICK, "--group", "person")
    assert "right in validation (always the most frequent class: " in text
    assert " % [" in text
    place = shelf / "runs" / "classify-1"
    assert {path.name for path in place.iterdir()} == {
        "config.json", "weights.safetensors", "checkpoint.safetensors", "history.csv",
        "result.json", "figure.png", "confusion.png", "run.lock",
    }  # fmt: skip
    assert len(pd.read_csv(place / "history.csv")) == 4
    values = answer(capsys, "score", place, "new.csv")
    assert np.sum(values["confusion"]) == 12
    low, high = values["score"]["interval"]
    assert low <= values["accuracy"] <= high
    assert values["accuracy"] == pytest.approx(values["score"]["value"])
    text = said(capsys, "score", place, "new.csv")
    assert "balanced accuracy" in text
    assert "was \\ taken for" in text
    said(capsys, "predict", place, "new.csv", "--out", "p.csv")
    model, new = load_model(place), pd.read_csv("p.csv")
    data = Sequences.read("new.csv", like=model.schema)
    assert new["trial"].tolist() == data.ids.tolist()
    assert new["gait"].tolist() == model.predict(data).tolist()
    np.testing.assert_allclose(new["p(calm)"] + new["p(rising)"], 1, rtol=1e-5)  # float32
    # The target may be absent, and columns stand in any order.
    table(12, seed=1).drop(columns=["gait", "person"])[["t", "lamp", "force", "trial"]].to_csv(
        "bare.csv", index=False
    )
    said(capsys, "predict", place, "bare.csv", "--out", "q.csv")
    pd.testing.assert_frame_equal(pd.read_csv("q.csv"), new)
    for command in (["show", place], ["plot", place]):
        assert str(place) in said(capsys, *command) or command[0] == "show"


def test_a_label_for_each_step_and_a_number(shelf, capsys):
    sign = [*ROLES, "--target", "sign", "--features", "force"]
    values = answer(capsys, "train", "label", "trials.csv", *sign, *QUICK)
    assert values["validation"]["score"]["total"] > 6  # steps
    said(capsys, "predict", "runs/label-1", "new.csv")
    rows = pd.read_csv("predictions.csv")
    assert list(rows.columns) == ["trial", "t", "sign", "p(down)", "p(up)"]
    assert len(rows) == len(table(12, seed=1))
    force = [*ROLES, "--target", "force", "--features", "lamp"]
    quantiles = ["--loss", "pinball", "--quantiles", "0.1", "--quantiles", "0.9"]
    text = said(capsys, "train", "regress", "trials.csv", *force, *QUICK, *quantiles, "--out", "q")
    assert "the quantiles of the training alone" in text
    assert (shelf / "q" / "predicted.png").read_bytes().startswith(b"\x89PNG")
    said(capsys, "predict", "q", "new.csv")
    assert list(pd.read_csv("predictions.csv").columns) == [
        "trial",
        "t",
        "force q0.1",
        "force q0.9",
    ]


def test_a_recording_goes_in_and_out(shelf, capsys):
    t = np.arange(400)
    write_wav("dry.wav", 0.5 * np.sin(0.2 * t), 8000)
    write_wav("wet.wav", 0.3 * np.sin(0.2 * t), 8000)
    window = ["--window", "40", "--batch", "4", "--warm-up", "10"]
    said(capsys, "train", "regress", "dry.wav", "wet.wav", *QUICK, *window)
    said(capsys, "score", "runs/regress-1", "dry.wav", "wet.wav")
    said(capsys, "predict", "runs/regress-1", "dry.wav", "--out", "said.wav")
    assert Sequences.read("said.wav").lengths.tolist() == [400]


def test_resumed_by_the_command_line_to_the_same_bits(shelf, capsys):
    said(capsys, "train", "classify", "trials.csv", *GAIT, *QUICK, "--out", "whole")
    said(capsys, "train", "classify", "trials.csv", *GAIT, *QUICK, "--epochs", "2", "--out", "cut")
    config = json.loads((shelf / "cut" / "config.json").read_text())
    config["plan"]["epochs"] = 4
    (shelf / "cut" / "config.json").write_text(json.dumps(config))
    values = answer(capsys, "train", "--resume", "cut")
    assert values["epoch"] == 4
    np.testing.assert_array_equal(
        load_model("cut").network.theta, load_model("whole").network.theta
    )
    assert run(["train", "--resume", "cut"]) == 0
    assert "nothing was left to do (epochs)" in capsys.readouterr().err
    changed = pd.read_csv("trials.csv")
    changed.loc[3, "force"] += 1
    changed.to_csv("trials.csv", index=False)
    assert "the data are others than those 'cut' began with" in refused(
        capsys, "train", "--resume", "cut"
    )


def test_every_bad_input_is_told_in_one_line(shelf, capsys):
    """No such column, duplicates, text among numbers, decimal commas, classes of validation alone,
    a single one, no steps, other channels, unknown classes, infinite values, pickles."""
    said(capsys, "train", "classify", "trials.csv", *GAIT, *QUICK, "--out", "run")
    good = table(30)

    def with_(name, change):
        changed = good.astype(object)
        change(changed)
        changed.to_csv(name, index=False)
        return name

    def put(row, column, value):
        return lambda frame: frame.__setitem__(
            column, [value if n == row else each for n, each in enumerate(frame[column])]
        )

    train = ["train", "classify"]
    np.save("objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (shelf / "empty.csv").write_text("")
    with_("third.csv", put(0, "gait", "third"))
    with_("walk.csv", lambda frame: frame.__setitem__("gait", "walk"))
    with_("one.csv", lambda frame: frame.__setitem__("gait", "calm"))
    np.savez("zero.npz", X=np.zeros((2, 3, 1)), lengths=np.array([3, 0]), y=np.array([0, 1]))
    for message, arguments in (
        ("did you mean 'gait'?", [*train, "trials.csv", *ROLES, "--target", "gate"]),
        ("did you mean 'trial'?", [*train, "trials.csv", "--id", "trail", "--target", "gait"]),
        ("stands in rows 1 and 2", [*train, with_("a.csv", put(1, "t", 0)), *GAIT]),
        ("in row 3 the text 'much'", [*train, with_("b.csv", put(2, "force", "much")), *GAIT]),
        ("has decimal commas, '1,5'", [*train, with_("c.csv", put(2, "force", "1,5")), *GAIT]),
        ("is inf", [*train, with_("d.csv", put(2, "force", float("inf"))), *GAIT]),
        ("has no class 'walk'", [*train, "trials.csv", *GAIT, "--validation-data", "walk.csv"]),
        ("has one class, 'calm'", [*train, "one.csv", *GAIT]),
        ("sequence 1 has length 0", [*train, "zero.npz"]),
        ("is empty", [*train, "empty.csv"]),
        ("pickled objects", [*train, "objects.npy"]),
        ("there is no file 'none.csv'", [*train, "none.csv"]),
        ("has no class 'walk'", ["score", "run", "walk.csv"]),
        ("has no column 'force'", ["score", "run", with_("e.csv", lambda f: f.pop("force"))]),
        ("is no table", ["predict", "run", with_("f.csv", lambda f: f.pop("t")), "--out", "x.png"]),
        ("ends in '.png'", ["predict", "run", "new.csv", "--out", "x.png"]),
        ("has no target: name its column", [*train, "trials.csv", "--id", "trial"]),
        ("changes within", [*train, "trials.csv", *ROLES, "--target", "sign"]),
        ("is missing", [*train, with_("g.csv", put(2, "force", None)), *GAIT]),
        ("already holds a run", [*train, "trials.csv", *GAIT, "--out", "run"]),
        ("is no run on a data set", ["score", "nowhere", "new.csv"]),
        ("loss 'huber' is none of classes", [*train, "trials.csv", *GAIT, "--loss", "huber"]),
    ):
        line = refused(capsys, *arguments)
        if message == "is no table":  # no column of time any more
            assert "has no column 't'" in line
        elif message == "is no run on a data set":
            assert "'nowhere" in line
        else:
            assert message in line, (message, line)
    assert not (shelf / "runs").exists()  # nothing half-written
    frames = [path.name for path in shelf.iterdir() if path.name.startswith(".bptt")]
    assert frames == []


def test_jobs_are_known_to_who_draws():
    assert tuple(WORDS) == (*JOBS, "forecast") == DATA_JOBS


def test_where_another_method_is_better_it_is_said():
    few = Sequences(np.ones((8, 300)), ["a"] * 6 + ["b"] * 2)
    one, two = advice(few)
    assert "few data: class 'b' has 2 sequences" in one
    assert "long sequences: 300 steps in the median" in two
    assert advice(Sequences(np.ones((40, 20)), ["a", "b"] * 20)) == []


def test_measures_by_hand(shelf):
    model_data = Sequences.read(
        "trials.csv", id="trial", time="t", target="gait", features=["force"]
    )
    import bptt

    model = bptt.fit(model_data, engine="reference", hidden=3, epochs=1, cell="elman")
    found = report(model, model_data)
    said_, truth = model.predict(model_data), model_data.y
    right = said_ == truth
    assert found.values["accuracy"] == pytest.approx(right.mean())
    recalls = [right[truth == each].mean() for each in ("calm", "rising")]
    assert found.values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    for row, was in enumerate(found.classes):
        for column, taken in enumerate(found.classes):
            assert found.confusion[row, column] == ((truth == was) & (said_ == taken)).sum()
    # All right: the interval still has a width. One sequence: there is none.
    sure = Report(found.score, {}, np.ones(20), found.classes)
    low, high = interval(sure)
    assert 0.8 < low < high == 1
    assert interval(Report(found.score, {}, np.ones(1), found.classes)) is None
    errors = np.random.default_rng(0).exponential(size=200)
    low, high = interval(Report(found.score, {}, errors))
    assert low < np.sqrt(errors.mean()) < high < 1.3 * low
