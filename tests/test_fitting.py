"""Training on a data set by epochs, and the model that comes of it."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bptt
from bptt import BpttError, Sequences, fit, load_model
from bptt.equations.outputs import softmax_cross_entropy
from bptt.fitting import Fit
from bptt.fitting.judging import judged
from bptt.fitting.plan import plan_of
from bptt.sequences.epochs import Epochs

SMALL = {"hidden": 4, "cell": "elman", "engine": "reference", "batch": 8, "epochs": 6}


def signs(count=60, seed=0, **options):
    """Sequences of 2 to 6 steps; the class is the sign of their sum."""
    rng = np.random.default_rng(seed)
    x = [rng.normal([5.0, 0.0], size=(steps, 2)) for steps in rng.integers(2, 7, count)]
    y = [["minus", "plus"][int((each[:, 0] - 5).sum() > 0)] for each in x]
    return Sequences(x, y, **options)


def sums(count=40, seed=1):
    """At every step the sum of the inputs so far, in other units."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(steps, 1)) for steps in rng.integers(2, 7, count)]
    return Sequences(x, [100 * each[:, 0].cumsum() + 1000 for each in x])


def work(data=None, held=None, **options):
    return Fit(plan_of({**SMALL, **options}), signs() if data is None else data, held)


def test_classes_are_learned_and_come_back_by_their_names():
    model = fit(signs(120), **SMALL | {"epochs": 25})
    test = signs(200, seed=9)
    score = model.test(test)
    assert score.value > 0.75 > 0.65 > score.baseline
    said = model.predict(test)
    assert set(said) <= {"minus", "plus"}
    np.testing.assert_allclose(np.mean(said == test.y), score.value)
    p = model.predict_proba(test)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)  # float32
    np.testing.assert_array_equal(np.array(["minus", "plus"])[p.argmax(axis=1)], said)
    np.testing.assert_array_equal(model.predict(test.X), said)
    assert "right (the most frequent class alone: " in str(model)


def test_numbers_come_back_in_their_units():
    data = sums(100)
    model = fit(data, **SMALL | {"epochs": 25})
    test = sums(50, seed=5)
    score, said = model.test(test), model.predict(test)
    assert [len(each) for each in said] == test.lengths.tolist()
    errors = np.concatenate(said) - np.concatenate(test.y)
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), score.value, rtol=1e-4)  # float32
    assert score.value < 0.5 * score.baseline
    assert abs(np.concatenate(said).mean() - 1000) < 100
    with pytest.raises(BpttError, match="numbers were learned, which have no probabilities"):
        model.predict_proba(test)


def test_labels_of_steps():
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(steps, 1)) for steps in rng.integers(2, 7, 120)]
    data = Sequences(x, [np.where(each[:, 0] > 0, "up", "down") for each in x])
    model = fit(data, **SMALL | {"epochs": 25})
    said = model.predict(data)
    assert [len(each) for each in said] == data.lengths.tolist()
    assert np.mean(np.concatenate(said) == np.concatenate(data.y)) > 0.9
    assert model.predict_proba(data)[3].shape == (data.lengths[3], 2)


def test_the_best_weights_are_put_back_however_it_ends():
    """After the last epoch, with patience, at a time limit, and interrupted in mid-epoch."""

    def check(job):
        best = min(job.progress.history, key=lambda record: record.val_loss)
        assert job.progress.best_epoch == best.epoch
        assert [r.best for r in job.progress.history].count(True) >= 1
        again = judged(job.network, job._validation, job.scaling, job.baseline)
        np.testing.assert_allclose(again.loss, best.val_loss, rtol=1e-12)
        assert job.score.loss == again.loss

    # A rate so large that the loss goes up again.
    job = work(epochs=12, learning_rate=0.3)
    assert len(list(job.records())) == 12
    assert (job.reason, job.progress.best_epoch < 12) == ("epochs", True)
    check(job)
    job = work(epochs=100, learning_rate=0.3, patience=3)
    list(job.records())
    assert job.reason == "patience"
    assert job.progress.epoch == job.progress.best_epoch + 3
    check(job)
    job = work(learning_rate=0.3, epochs=50)
    job._pace.most_numbers = 1  # a batch a call
    for record in job.records(lambda: job.progress.epoch == 7 and job.epochs.done > 0):
        assert record.epoch <= 7
    assert job.reason == "interrupted"
    assert job.progress.best_epoch > 0
    check(job)
    job = work(learning_rate=0.3, epochs=50)
    for record in job.records():
        if record.epoch == 5:
            job.plan = plan_of(SMALL | {"seconds": 1e-9})
    assert job.reason == "time"
    check(job)
    unfinished = work(seconds=1e-9, epochs=3)
    unfinished._pace.most_numbers = 1
    assert not list(unfinished.records())
    assert unfinished.reason == "time"
    np.testing.assert_array_equal(unfinished.network.theta, unfinished.learner.theta)


def test_nothing_held_out_gives_the_last_weights():
    job = work(validation=0, epochs=4)
    records = list(job.records())
    assert [record.val_loss for record in records] == [None] * 4
    np.testing.assert_array_equal(job.network.theta, job.learner.theta)
    assert job.model().score is None
    assert "no validation" in str(job.model())


@given(st.integers(0, 40), st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_going_on_in_the_middle_of_an_epoch_gives_the_same_bits(calls, seed):
    """Interrupted after any number of engine calls, pickled, and gone on with in another Fit."""

    def plain(record):
        return [getattr(record, name) for name in record.__struct_fields__ if name != "seconds"]

    data = signs(40)
    options = {"seed": seed, "epochs": 5, "plateau": 1, "learning_rate": 0.1}
    whole = work(data, **options)
    list(whole.records())
    first, count = work(data, **options), iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bptt.fitting.training.CALL_NUMBERS", 1)
        list(first.records(lambda: next(count) >= calls))
    later = work(data, **options)
    later.restore(pickle.loads(pickle.dumps(first.state())))
    list(later.records())
    assert later.reason == whole.reason
    np.testing.assert_array_equal(later.network.theta, whole.network.theta)
    np.testing.assert_array_equal(later.learner.s1, whole.learner.s1)
    ours, theirs = (each.progress.history for each in (later, whole))
    for one, two in zip(ours, theirs, strict=True):
        # Sums of losses are added up in other portions.
        np.testing.assert_allclose(plain(one)[2], plain(two)[2], rtol=1e-12)
        assert plain(one)[:2] + plain(one)[3:] == plain(two)[:2] + plain(two)[3:]


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, two, other = (fit(signs(), **SMALL, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.network.theta, two.network.theta)
    assert (one.network.theta != other.network.theta).any()
    assert one.history.drop(columns="seconds").equals(two.history.drop(columns="seconds"))


def test_records_by_hand():
    """The first epoch's losses, with weights and a missing label, from the network as it was."""
    data = signs(20, weights=np.arange(20) % 3 + 0.5)
    job = work(data, batch=64, epochs=1, validation=0.25)
    start = job.network.theta.copy()
    (record,) = job.records()
    train, held = job.train.padded(scaling=job.scaling), job.held.padded(scaling=job.scaling)

    def loss(padded, theta):
        job.network.theta[:] = theta
        o = job.network.forward(padded.x, padded.lengths).o
        _, losses, _ = softmax_cross_entropy(o, padded.y)
        right = o.argmax(axis=1) == padded.y
        return [np.average(each, weights=padded.weights) for each in (losses, right)]

    # float32 sums of about 20 terms.
    np.testing.assert_allclose(record.loss, loss(train, start)[0], rtol=1e-5)
    expected = loss(held, job.best)
    np.testing.assert_allclose([record.val_loss, record.val_score], expected, rtol=1e-5)
    assert (record.epoch, record.iteration, record.best) == (1, 1, True)


def test_the_rate_falls_on_a_plateau():
    job = work(epochs=15, learning_rate=0.5, plateau=2, factor=0.1, patience=0)
    records = list(job.records())
    rate, waited = 0.5, 0
    for record in records:
        assert record.learning_rate == rate
        waited = 0 if record.best else waited + 1
        if waited == 2:
            rate, waited = rate * 0.1, 0
    assert rate < 0.5


def test_scaling_knows_nothing_of_what_is_held_out():
    job = work()
    assert job.scaling == job.train.scaling()
    assert job.scaling != signs().scaling()
    assert len(job.train) + len(job.held) == 60


def test_groups_are_not_divided_and_given_validation_data_are_used():
    job = work(signs(groups=np.arange(60) // 6))
    assert not set(job.train.groups) & set(job.held.groups)
    own = work(signs(30), signs(12, seed=5), validation=0)
    assert (len(own.train), len(own.held)) == (30, 12)
    turned = signs(12, seed=5)
    only = turned[[place for place in range(12) if turned.y[place] == "plus"]]
    recoded = Sequences(only.X, only.y)  # where 'plus' is class 0
    assert work(signs(30), recoded).held.classes == ("minus", "plus")
    assert set(work(signs(30), recoded).held.target.values) == {1}


def test_missing_labels_do_not_count():
    data = signs(40)
    labels = data.y.astype(object)
    hidden = labels.copy()
    hidden[::3] = None
    known = np.array([label is not None for label in hidden])
    all_missing = Sequences(data.X, hidden)
    job = work(all_missing, validation=0, batch=1, epochs=2)
    list(job.records())
    assert job.learner.iteration == 2 * known.sum()  # no step is taken for nothing


def test_a_model_is_saved_with_all_it_takes_to_use_it(tmp_path):
    frame_of = signs(60)
    model = fit(frame_of, **SMALL)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors", engine="reference")
    new = signs(30, seed=7)
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    assert again.schema == model.schema
    assert again.test(new).value == model.test(new).value
    plain = bptt.Network(inputs=1, outputs=1, engine="reference")
    from bptt.training.runs import save_network

    save_network(tmp_path / "plain.safetensors", plain, None)
    with pytest.raises(BpttError, match=r"use bptt\.load"):
        load_model(tmp_path / "plain.safetensors")
    assert bptt.load(tmp_path / "model.safetensors").theta.size == model.network.theta.size


def test_the_order_of_predictions_is_that_of_the_data():
    data = signs(50)
    model = fit(data, **SMALL | {"epochs": 1})
    p, order = model.predict_proba(data), np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(model.predict_proba(data[order]), p[order])


def test_a_training_that_diverges_ends_with_its_best_weights():
    job = work(sums(), learning_rate=1e30, epochs=20, optimizer="sgd", clip_norm=None)
    list(job.records())
    assert job.reason == "diverged"
    assert np.isfinite(job.network.theta).all()


def test_mistakes_are_one_line():
    data = signs(12)
    one = Sequences(data.X, ["a"] * 12)
    three = Sequences(data.X, list("abc") * 4)
    model = fit(data, **SMALL | {"epochs": 1})
    renamed = Sequences(data.X, features=["u", "v"])
    for message, wrong in (
        ("bptt.fit has no option 'hiden': did you mean 'hidden'?", lambda: fit(data, hiden=3)),
        ("epochs", lambda: fit(data, epochs="many")),
        ("batch 0 must be at least 1", lambda: fit(data, batch=0)),
        ("validation 1.0 is not allowed", lambda: fit(data, validation=1.0)),
        ("factor 1.0 is not allowed", lambda: fit(data, factor=1.0)),
        ("seed -1", lambda: fit(data, seed=-1)),
        ("target 'y' has one class, 'a'", lambda: fit(one, **SMALL)),
        ("have no target", lambda: fit(Sequences(data.X), **SMALL)),
        ("a list cannot be learned from", lambda: fit(data.X)),
        ("the training of 'y' has no class 'a'", lambda: fit(data, three, **SMALL)),
        ("the validation data have the channels u, v", lambda: fit(data, renamed, **SMALL)),
        ("another target", lambda: fit(data, Sequences(data.X), **SMALL)),
        ("has 1 channels, but 2 were trained on", lambda: model.predict(np.ones((2, 3, 1)))),
        ("the data have 2 channels, u, v, those trained on 2, x0", lambda: model.predict(renamed)),
        ("the data have no target", lambda: model.test(Sequences(data.X))),
        ("the training of 'y' has no class 'a'", lambda: model.test(three)),
    ):
        with pytest.raises(BpttError) as error:
            wrong()
        assert message in str(error.value), message
        assert "\n" not in str(error.value)


def test_validation_does_not_depend_on_how_it_is_cut():
    job = work(epochs=1)
    list(job.records())
    small = Epochs(job.held, 2, 0, job.scaling, "float32", shuffle=False)
    one = judged(job.network, small, job.scaling, job.baseline)
    np.testing.assert_allclose(one.loss, job.score.loss, rtol=1e-5)  # float32, other sums
    assert one.total == len(job.held)


def test_a_prediction_is_the_same_alone_and_beside_others():
    data = signs(30)
    model = fit(data, **SMALL | {"epochs": 1, "engine": "compiled", "hidden": 12})
    p = model.predict_proba(data)
    for count in (1, 2, 5, 7, 17):
        np.testing.assert_array_equal(model.predict_proba(data[:count]), p[:count])
