"""The estimators beside scikit-learn: its own checks, and what users do with them."""

import copy
import os
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    GroupKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

import bptt  # noqa: E402
from bptt import BpttError, RNNClassifier, RNNRegressor, RNNTagger  # noqa: E402

needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="the compiler is off"
)
SMALL = {"hidden": 4, "cell": "elman", "engine": "reference", "epochs": 10, "random_state": 0}
MINIBATCHES = (
    "minibatches are drawn anew in each epoch: a sequence there twice is in two of them, one of "
    "weight 2 in one"
)
EXPECTED = {"check_sample_weight_equivalence_on_dense_data": MINIBATCHES}


def ups(count=60, seed=0):
    """Ragged sequences, those that rise and those that fall."""
    rng = np.random.default_rng(seed)
    y = np.array(["fall", "rise"])[rng.integers(0, 2, count)]
    X = [
        (np.arange(k) * (1.0 if label == "rise" else -1.0) + rng.normal(size=k))[:, None]
        for k, label in zip(rng.integers(3, 9, count), y, strict=True)
    ]
    return X, y


# As many epochs as their toy data need. Compiled kernels alone give the same bits whatever the
# order of a batch and the place of an array in memory: NumPy's products do not.
@needs_compiler
@pytest.mark.parametrize(
    "estimator",
    [
        RNNClassifier(hidden=8, epochs=40, random_state=0),
        RNNRegressor(epochs=60, batch=8, learning_rate=0.02, validation=0.0, random_state=0),
    ],
    ids=["classifier", "regressor"],
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke and catch warnings of their own
def test_scikit_learns_own_checks(estimator):
    results = check_estimator(estimator, expected_failed_checks=EXPECTED, on_fail=None)
    failed = [
        (each["check_name"], str(each["exception"])[:300])
        for each in results if each["status"] == "failed"
    ]  # fmt: skip
    assert failed == []
    assert sum(each["status"] == "passed" for each in results) > 40


def test_lists_of_any_lengths_are_classified_and_cross_validated():
    X, y = ups()
    who = np.arange(60) // 6
    clf = RNNClassifier(**SMALL)
    scores = cross_val_score(clf, X, y, cv=GroupKFold(3), groups=who, scoring="balanced_accuracy")
    assert scores.mean() > 0.8
    p = cross_val_predict(clf, X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    search = GridSearchCV(clf, {"hidden": [2, 4]}, cv=3, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.8
    calibrated = CalibratedClassifierCV(clf, cv=3).fit(X, y)
    assert (calibrated.predict(X) == y).mean() > 0.8


def test_in_a_pipeline():
    X, y = ups()
    twice = make_pipeline(
        FunctionTransformer(lambda X: [2 * each for each in X]), RNNClassifier(**SMALL)
    )
    assert (twice.fit(X, y).predict(X) == y).mean() > 0.8
    rng = np.random.default_rng(0)
    table = rng.normal(size=(120, 4))
    target = table.sum(axis=1)
    flat = make_pipeline(StandardScaler(), RNNRegressor(**SMALL | {"epochs": 150}))
    flat.set_output(transform="pandas")
    assert flat.fit(table, target).score(table, target) > 0.5


def test_the_same_random_state_gives_the_same_bits_and_copies_predict_alike():
    X, y = ups()
    one, two = (RNNClassifier(**SMALL).fit(X, y) for _ in range(2))
    other = clone(one).set_params(random_state=1).fit(X, y)
    drawn = RNNClassifier(**SMALL | {"random_state": np.random.RandomState(5)}).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert (one.predict_proba(X) != other.predict_proba(X)).any()
    assert (one.predict_proba(X) != drawn.predict_proba(X)).any()
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        np.testing.assert_array_equal(again.predict_proba(X), one.predict_proba(X))
    order = np.random.default_rng(1).permutation(len(X))
    permuted = one.predict_proba([X[place] for place in order])
    np.testing.assert_array_equal(permuted, one.predict_proba(X)[order])


@pytest.mark.parametrize(
    "options",
    [
        {"noise": 0.5}, {"dropout": 0.5}, {"input_dropout": 0.5},
        {"input_dropout": 0.5, "dropout_mask": "sequence"}, {"decay_over": 10},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_training_is_disturbed_by_and_its_decay_are_parameters(options):
    X, y = ups()
    plain, one, two = (RNNClassifier(**SMALL | own).fit(X, y) for own in ({}, options, options))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert (one.predict_proba(X) != plain.predict_proba(X)).any()


def test_what_is_fitted(tmp_path):
    X, y = ups()
    clf = RNNClassifier(**SMALL).fit(X, y)
    assert clf.classes_.tolist() == ["fall", "rise"]
    assert list(clf.history_["epoch"]) == list(range(1, clf.n_iter_ + 1))
    assert clf.history_["val_loss"].notna().all()
    assert isinstance(clf.network_, bptt.Network)
    assert len(clf.scaler_.mean) == clf.n_features_in_ == 1
    clf.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        bptt.load_model(tmp_path / "model.safetensors", engine="reference").predict(X),
        clf.predict(X),
    )
    held = ups(20, seed=1)
    with_data = RNNClassifier(**SMALL).fit(X, y, validation_data=held)
    assert with_data.model_.score.total == 20
    groups = RNNClassifier(**SMALL).fit(X, y, groups=np.arange(60) // 6)
    assert groups.model_.score.total == 12


def test_weights_and_classes():
    X, y = ups()
    weights = np.where(y == "fall", 1.0, 0.0)
    weights[:3] = 1
    some = weights > 0
    kept = [each for each, keep in zip(X, some, strict=True) if keep]
    if len(set(y[some])) == 2:
        one = RNNClassifier(**SMALL).fit(X, y, sample_weight=weights)
        two = RNNClassifier(**SMALL).fit(kept, y[some])
        np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-4)
    seldom = np.where(np.arange(60) % 10 == 0, "b", "a")
    balanced = RNNClassifier(**SMALL, class_weight="balanced").fit(X, seldom)
    plain = RNNClassifier(**SMALL).fit(X, seldom)
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1
    with sklearn.config_context(enable_metadata_routing=True):
        routed = RNNClassifier(**SMALL).set_fit_request(sample_weight=True)
        routed.set_score_request(sample_weight=True)
        scores = cross_val_score(routed, X, y, cv=3, params={"sample_weight": np.ones(60)})
    assert np.isfinite(scores).all()


def test_numbers_and_quantiles():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5, 2))
    y = np.stack([X.sum(axis=(1, 2)), 10 + X[:, :, 0].sum(axis=1)], axis=1)
    reg = RNNRegressor(**SMALL | {"epochs": 80}).fit(X, y)
    assert reg.predict(X).shape == (80, 2)
    assert reg.score(X, y) > 0.7
    low = RNNRegressor(**SMALL, loss="pinball", quantiles=(0.1, 0.5, 0.9)).fit(X, y[:, 0])
    assert low.predict_quantiles(X).shape == (80, 3)
    np.testing.assert_array_equal(low.predict(X), low.predict_quantiles(X)[:, 1])
    with pytest.raises(BpttError, match="learns no quantiles"):
        reg.predict_quantiles(X)


def test_labels_of_steps_and_a_stream():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(k, 1)) for k in rng.integers(2, 9, 60)]
    Y = [np.where(each[:, 0] > 0, "up", "down").astype(object) for each in X]
    Y[0][0] = None
    tag = RNNTagger(**SMALL | {"epochs": 30}).fit(X, Y)
    said = tag.predict(X)
    assert [len(each) for each in said] == [len(each) for each in X]
    assert tag.score(X, Y) > 0.9
    assert tag.classes_.tolist() == ["down", "up"]
    assert tag.predict_proba(X)[3].shape == (len(X[3]), 2)
    stream = tag.stream()
    assert [stream.step(x) for x in X[5]] == said[5].tolist()
    pickle.loads(pickle.dumps(tag)).predict(X)


def test_mistakes_are_told():
    X, y = ups()
    clf = RNNClassifier(**SMALL).fit(X, y)
    for message, wrong in (
        ("has 2 channels, but 1 were trained on", lambda: clf.predict([np.ones((4, 2))])),
        ("Found input variables with inconsistent", lambda: clf.fit(X, y[:5])),
        ("channel 'x0' is missing", lambda: clf.fit([*X[1:], np.full((3, 1), np.nan)], y)),
        ("1 class", lambda: clf.fit(X, ["a"] * 60)),
        ("cell 'gruu' is not known", lambda: RNNClassifier(cell="gruu").fit(X, y)),
        ("at least one non-zero", lambda: clf.fit(X, y, sample_weight=np.zeros(60))),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
