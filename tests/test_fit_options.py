"""Losses, quantiles, class weights and folders of `bptt.fit`."""

import json

import numpy as np
import pytest

import bptt
from bptt import BpttError, Sequences, fit, load_model
from bptt.fitting import Fit, folder
from bptt.fitting.judging import balanced
from bptt.fitting.plan import plan_of
from bptt.training import runs

SMALL = {"hidden": 4, "cell": "elman", "engine": "reference", "batch": 8, "epochs": 4}


def skewed(count=300, seed=0):
    """A number that no input tells: exponential, in units of 10."""
    rng = np.random.default_rng(seed)
    return Sequences(rng.normal(size=(count, 3)), 10 * rng.exponential(size=count))


def test_quantiles_come_back_in_the_units_of_the_data():
    data = skewed()
    model = fit(data, **SMALL | {"loss": "pinball", "quantiles": (0.1, 0.9), "epochs": 40})
    said = model.predict(data)
    assert said.shape == (300, 2)
    below = (data.y[:, None] < said).mean(axis=0)
    np.testing.assert_allclose(below, [0.1, 0.9], atol=0.08)
    score = model.test(data)
    e = data.y[:, None] - said
    by_hand = np.maximum(np.multiply([0.1, 0.9], e), np.multiply([-0.9, -0.1], e)).mean()
    np.testing.assert_allclose(score.value, by_hand, rtol=1e-4)  # float32
    two = Sequences(np.ones((6, 3)), np.arange(12.0).reshape(6, 2))
    both = fit(two, **SMALL | {"loss": "pinball", "quantiles": (0.1, 0.5, 0.9), "validation": 0})
    assert both.predict(two).shape == (6, 2, 3)
    assert both.network.structure.quantiles == (0.1, 0.5, 0.9) * 2


def test_absolute_error_is_judged_beside_the_median():
    data = skewed()
    model = fit(data, **SMALL | {"loss": "absolute", "validation": 0})
    score = model.test(data)
    assert score.name == "mae"
    median = np.abs(data.y - np.median(data.y)).mean()
    np.testing.assert_allclose(score.baseline, median, rtol=1e-4)  # float32
    np.testing.assert_allclose(score.value, np.abs(model.predict(data) - data.y).mean(), rtol=1e-4)
    assert "the median alone" in str(score)


def test_balanced_classes_count_alike():
    labels = ["often"] * 30 + ["seldom"] * 10
    data = Sequences(np.ones((40, 3)), labels, weights=np.arange(40.0) + 1)
    weights = balanced(data).parts.weights
    sums = [weights[np.array(labels) == each].sum() for each in ("often", "seldom")]
    np.testing.assert_allclose(sums, data.parts.weights.sum() / 2)
    steps = Sequences([[1.0, 2, 3], [4.0]], [["a", "a", None], ["b"]])
    np.testing.assert_allclose(balanced(steps).padded().weights, [[0.75, 0.75, 0], [1.5, 0, 0]])
    with pytest.raises(BpttError, match="class_weight goes with classes"):
        fit(skewed(), **SMALL | {"class_weight": "balanced"})


def test_a_folder_is_gone_on_with_to_the_same_bits(tmp_path, monkeypatch):
    data = skewed(60)
    whole = fit(data, out=tmp_path / "whole", **SMALL)
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {
        "config.json", "weights.safetensors", "checkpoint.safetensors", "history.csv",
        "result.json", "figure.png", "run.lock",
    }  # fmt: skip
    # Interrupted within the second epoch.
    monkeypatch.setattr("bptt.fitting.training.CALL_NUMBERS", 1)
    work = Fit(plan_of(SMALL), data)
    asked = iter(range(10**6))
    for _ in work.records(lambda: work.progress.epoch == 1 and next(asked) >= 2):
        pass
    assert work.reason == "interrupted"
    folder.save(tmp_path / "cut", work, folder.Source())
    assert load_model(tmp_path / "cut").reason == "interrupted"
    again = fit(data, out=tmp_path / "cut", resume=True)
    np.testing.assert_array_equal(again.network.theta, whole.network.theta)
    assert again.reason == "epochs"
    read = load_model(tmp_path / "cut")
    assert [record.loss for record in read.records] == [record.loss for record in whole.records]
    assert (read.score, read.best_epoch) == (whole.score, whole.best_epoch)
    assert bptt.load(tmp_path / "cut").theta.size == whole.network.theta.size
    # More epochs may be asked for, another network may not.
    config = tmp_path / "cut" / runs.CONFIG
    plain = json.loads(config.read_text())
    plain["plan"]["epochs"] = 5
    config.write_text(json.dumps(plain))
    assert len(fit(data, out=tmp_path / "cut", resume=True).records) == 5
    plain["plan"]["batch"] = 5
    config.write_text(json.dumps(plain))
    with pytest.raises(BpttError, match="trained with another plan than"):
        fit(data, out=tmp_path / "cut", resume=True)


def test_mistakes_are_one_line(tmp_path):
    data, other = skewed(40), skewed(40, seed=1)
    fit(data, out=tmp_path / "run", **SMALL | {"epochs": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    classes = Sequences(np.ones((6, 2)), list("ababab"))
    for message, wrong in (
        ("already holds a run", lambda: fit(data, out=tmp_path / "run", **SMALL)),
        ("is not empty and holds no run", lambda: fit(data, out=tmp_path / "mine", **SMALL)),
        ("the data are others than those", lambda: fit(other, out=tmp_path / "run", resume=True)),
        ("is no run on a data set", lambda: fit(data, out=tmp_path / "none", resume=True)),
        ("give no options", lambda: fit(data, out=tmp_path / "run", resume=True, hidden=3)),
        ("give no options", lambda: fit(data, resume=True)),
        ("loss 'cross_entropy' is none of numbers", lambda: fit(data, loss="cross_entropy")),
        ("loss 'huber' is none of classes", lambda: fit(classes, loss="huber")),
        ("loss 'hubber' is not known", lambda: fit(data, loss="hubber")),
        ("quantiles go with loss 'pinball'", lambda: fit(data, quantiles=(0.5,))),
        ("quantile 2.0 is not allowed", lambda: fit(data, loss="pinball", quantiles=(2.0,))),
        ("window -1 must not be negative", lambda: fit(data, window=-1)),
        ("seconds -1.0 must be a finite number", lambda: fit(data, seconds=-1.0)),
        ("cell 'grru' is not known", lambda: fit(data, cell="grru")),
        ("learning_rate -1.0 must be", lambda: fit(data, learning_rate=-1.0)),
    ):
        with pytest.raises(BpttError) as error:
            wrong()
        assert message in str(error.value), (message, error.value)
        assert "\n" not in str(error.value)
