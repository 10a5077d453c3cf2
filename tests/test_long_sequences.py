"""Truncated backpropagation in `fit`: windows with the state carried on, warm-up, and pieces of a
series side by side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Sequences, fit
from bptt.fitting import Fit
from bptt.fitting.judging import for_judging, judged
from bptt.fitting.plan import plan_of
from bptt.network.batch import Batch
from bptt.sequences.epochs import Epochs
from bptt.sequences.splits import places

SMALL = {"hidden": 3, "cell": "gru", "engine": "reference", "batch": 4, "epochs": 2}


def series(lengths, seed=0, per="step"):
    """Sequences whose channels are the sequence's number and the step; the target likewise."""
    rng = np.random.default_rng(seed)
    x = [np.stack([np.full(k, float(n)), np.arange(k)], axis=1) for n, k in enumerate(lengths)]
    y = [1000.0 * n + np.arange(k) for n, k in enumerate(lengths)]
    if per == "sequence":
        y = [each[-1] for each in y]
    return Sequences(x, y, kind="numbers", per=per, weights=rng.uniform(1, 2, len(x)))


lengths_of = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@given(lengths_of, st.integers(1, 5), st.integers(1, 13), st.integers(0, 9), st.booleans())
@settings(max_examples=40, deadline=None)
def test_windows_are_the_sequences_cut(lengths, batch, window, warm_up, whole):
    """Put together again, the windows of an epoch are its sequences; each target counts once, at
    its own step, but for those of the warm-up."""
    s = series(lengths, per="sequence" if whole else "step")
    epochs = Epochs(s, batch, 7, window=window, warm_up=warm_up)
    taken = dict.fromkeys(range(len(s)), 0)
    counted: dict[int, list[float]] = {n: [] for n in taken}
    rng = np.random.default_rng(1)
    while epochs.epoch == 0:
        many = epochs.draw(int(rng.integers(1, 5)))
        for n in range(len(many)):
            for x, y, k, w in zip(many.x[n], many.y[n], many.lengths[n], many.weights[n],
                                  strict=True):  # fmt: skip
                assert not x[k:].any()
                if not k:
                    assert not np.any(w)
                    continue
                number = int(x[0, 0])
                np.testing.assert_array_equal(x[:k, 1], taken[number] + np.arange(k))
                assert many.reset[n] == (taken[number] == 0)
                taken[number] += int(k)
                if whole:
                    assert (w > 0) == (taken[number] == s.lengths[number])
                    counted[number] += [float(y[0])] * bool(w)
                else:
                    counted[number] += y[:k][w[:k] > 0][:, 0].tolist()
    assert list(taken.values()) == s.lengths.tolist()
    for number, values in counted.items():
        first = lengths[number] - 1 if whole else warm_up
        assert values == [1000.0 * number + t for t in range(first, lengths[number])]


@given(lengths_of, st.integers(1, 30), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_pieces_side_by_side_judge_every_step_once(lengths, count, warm_up):
    s = series(lengths)
    cut = places(s, count, warm_up)
    assert len(cut) >= min(count, sum(lengths)) or len(cut) >= len(s)
    found: dict[int, list[int]] = {n: [] for n in range(len(s))}
    for piece in cut:
        found[int(piece[0, 0])] += piece[warm_up:, 1].astype(int).tolist()
    for number, steps in found.items():
        assert sorted(steps) == list(range(warm_up, lengths[number]))


def test_batches_of_a_mapped_file_are_those_of_memory(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = Sequences.read(tmp_path / "rows.npy", single=True).windows(37).next_step(ahead=3)
    held = Sequences(rows, single=True).windows(37).next_step(ahead=3)
    assert mapped.mapped > held.mapped
    scaling = held.scaling()
    one, two = (Epochs(s, 2, 3, scaling, window=8, warm_up=5) for s in (mapped, held))
    for _ in range(one.batches):
        ours, theirs = one.draw(3), two.draw(3)
        counted = theirs.weights > 0
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y[counted], theirs.y[counted])
        np.testing.assert_array_equal(ours.lengths, theirs.lengths)


def test_training_in_windows_by_hand():
    """The first batch of two windows, walked with Network.gradient, the state handed on."""
    s = series([10, 10, 10])
    options = {"window": 5, "batch": 3, "epochs": 1, "validation": 0, "optimizer": "sgd",
               "clip_norm": None, "learning_rate": 0.5, "dtype": "float64"}  # fmt: skip
    work = Fit(plan_of(SMALL | options), s)
    network, theta = work.network, work.network.theta.copy()
    (record,) = work.records()
    data = s.padded(work.epochs.order(0)[0], work.scaling, "float64")
    network.theta[:] = theta
    state, losses = None, []
    for first in (0, 5):
        part = slice(first, first + 5)
        found = network.gradient(
            data.x[:, part], data.y[:, part], state=state, weights=data.weights[:, part]
        )
        network.theta[:] = network.theta - 0.5 * found.flat
        state = found.final_state
        losses.append(found.loss)
    np.testing.assert_allclose(work.learner.theta, network.theta, rtol=1e-10)
    np.testing.assert_allclose(record.loss, np.mean(losses), rtol=1e-10)
    np.testing.assert_allclose(work.learner.state, state, rtol=1e-10)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_while_the_state_warms_up_no_step_is_taken(engine):
    s = series([12, 12])
    options = {"window": 4, "warm_up": 8, "batch": 2, "validation": 0, "epochs": 3}
    work = Fit(plan_of(SMALL | options | {"engine": engine}), s)
    start = work.learner.theta.copy()
    seen = []
    warm = work._warm_up
    work._warm_up = lambda some, windows: (seen.append(list(windows)), warm(some, windows))
    list(work.records())
    assert work.learner.iteration == 3  # one window of three
    assert sum(map(len, seen)) == 6
    assert (work.learner.theta != start).any()
    # The state that the third window of the first epoch began with: that of 8 steps.
    again = Fit(plan_of(SMALL | options | {"engine": engine}), s)
    some = again.epochs.draw(3)
    again._warm_up(some, range(2))
    x = s.padded(again.epochs.order(0)[0], again.scaling)
    whole = again.network.engine.forward(
        again.learner.theta, Batch(again.network.structure, x.x[:, :8])
    )
    np.testing.assert_allclose(again.learner.state, whole.state, rtol=1e-5, atol=1e-6)  # float32


@given(st.integers(0, 30), st.integers(0, 3))
@settings(max_examples=5, deadline=None)
def test_going_on_between_two_windows_gives_the_same_bits(calls, seed):
    s = series([30, 21, 25, 5, 17, 9], seed)
    options = SMALL | {"window": 6, "warm_up": 3, "batch": 2, "seed": seed, "epochs": 3}
    whole = Fit(plan_of(options), s)
    list(whole.records())
    count = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bptt.fitting.training.CALL_NUMBERS", 1)
        first = Fit(plan_of(options), s)
        list(first.records(lambda: next(count) >= calls))
    later = Fit(plan_of(options), s)
    later.restore(first.state())
    list(later.records())
    np.testing.assert_array_equal(later.learner.theta, whole.learner.theta)
    np.testing.assert_array_equal(later.best, whole.best)
    plain = [[getattr(r, n) for n in r.__struct_fields__[:-1]] for r in later.progress.history]
    assert plain == [
        [getattr(r, n) for n in r.__struct_fields__[:-1]] for r in whole.progress.history
    ]


def test_one_series_is_learned_in_pieces_and_judged_whole(monkeypatch):
    """What comes next of a sine; judged and predicted in windows as if walked at once."""
    t = np.arange(600)
    s = Sequences(np.sin(0.3 * t), single=True).next_step()
    model = fit(s, **SMALL | {"window": 20, "warm_up": 10, "batch": 8, "epochs": 30})
    assert model.score.value < 0.3 * model.score.baseline
    work = Fit(plan_of(SMALL | {"window": 20, "batch": 8}), s)
    assert len(work.epochs.sequences) == 8
    # Other windows of validation and prediction, in float32.
    whole, said = model.test(s), model.predict(s)[0]
    monkeypatch.setattr("bptt.fitting.judging.LONGEST", 50)
    assert for_judging(s, model.scaling, "float32", 10).window == 50
    np.testing.assert_allclose(model.test(s).loss, whole.loss, rtol=1e-4)
    np.testing.assert_allclose(model.predict(s)[0], said, rtol=1e-4, atol=1e-5)


def test_the_warm_up_is_not_judged():
    s = series([9, 7])
    model = fit(s, **SMALL | {"warm_up": 4, "validation": 0})
    assert model.test(s).total == 5 + 3
    epochs = for_judging(s, model.scaling, "float32", 0)
    assert judged(model.network, epochs, model.scaling, 0.0).total == 16
    with pytest.raises(BpttError, match="warm_up 9: no sequence is longer, up to 9 steps"):
        fit(s, **SMALL | {"warm_up": 9, "validation": 0})
