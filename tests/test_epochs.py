"""Splits for validation, and minibatches epoch after epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Sequences
from bptt.sequences.epochs import Epochs
from bptt.sequences.splits import split


def store(lengths, per="sequence", seed=0, **options):
    """Sequences whose first channel is their number, the second the step."""
    rng = np.random.default_rng(seed)
    x = [np.stack([np.full(k, float(n)), np.arange(k)], axis=1) for n, k in enumerate(lengths)]
    y = rng.integers(0, 3, len(x)) if per == "sequence" else [rng.random(k) for k in lengths]
    return Sequences(x, y, kind=None if per == "step" else "classes", **options)


lengths_of = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def drawn(epochs, count):
    """The next `count` batches one by one: of each the sequences' numbers, and its arrays."""
    found = []
    while len(found) < count:
        many = epochs.draw(count - len(found))
        for n in range(len(many)):
            there = many.lengths[n] > 0  # a batch may be filled up with sequences without a step
            assert not many.weights[n][~there].any()
            parts = (many.x[n], many.y[n], many.lengths[n])
            numbers = many.x[n, there, 0, 0].astype(int)
            found.append((numbers, *(each[there] for each in parts)))
    return found


@given(lengths_of, st.integers(1, 9), st.integers(0, 99), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_sequence_is_in_one_batch_of_an_epoch(lengths, batch, seed, shuffle):
    s = store(lengths)
    epochs = Epochs(s, batch, seed, shuffle=shuffle)
    for epoch in range(2):
        assert (epochs.epoch, epochs.done) == (epoch, 0)
        found = drawn(epochs, epochs.batches)
        together = np.concatenate([numbers for numbers, *_ in found])
        np.testing.assert_array_equal(np.sort(together), np.arange(len(s)))
        sizes = [len(numbers) for numbers, *_ in found]
        assert sum(size < batch for size in sizes) <= 1
        for numbers, x, y, own in found:
            np.testing.assert_array_equal(own, s.lengths[numbers])
            np.testing.assert_array_equal(y, s.target.values[numbers])
            for row, number, k in zip(x, numbers, own, strict=True):
                np.testing.assert_array_equal(row[:k], s[int(number)])
                assert not row[k:].any()


def test_orders_differ_between_epochs_and_seeds_and_are_the_same_again():
    s = store([5] * 40)
    orders = {
        (seed, epoch): np.concatenate(Epochs(s, 4, seed).order(epoch)).tolist()
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert np.concatenate(Epochs(s, 4, 2).order(1)).tolist() == orders[2, 1]


@given(lengths_of, st.integers(1, 9), st.integers(0, 40), st.lists(st.integers(1, 7), min_size=60))
@settings(max_examples=30, deadline=None)
def test_going_on_in_the_middle_of_an_epoch(lengths, batch, skip, calls):
    """However the batches are asked for, and wherever one comes back, they are the same."""
    s = store(lengths)
    whole = drawn(Epochs(s, batch, 3), skip + 12)
    first = Epochs(s, batch, 3)
    given_out = 0
    for most in calls:
        if given_out == skip:
            break
        given_out += len(first.draw(min(most, skip - given_out)))
    later = Epochs(s, batch, 3)
    later.restore(first.state())
    if given_out == skip:
        for one, two in zip(whole[skip:], drawn(later, 12), strict=True):
            for ours, theirs in zip(one, two, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_little_is_padding():
    rng = np.random.default_rng(0)
    s = store(rng.integers(10, 101, 1000))
    epochs = Epochs(s, 32, 0)
    longest = [int(s.lengths[places].max()) * len(places) for places in epochs.order(0)]
    # By the longest of each batch; batches of any lengths would have nearly twice the steps.
    assert sum(longest) < 1.1 * s.lengths.sum()
    shapes = {epochs.steps_of(places) for places in epochs.order(0)}
    assert len(shapes) <= 4
    assert all(epochs.steps_of(places) >= s.lengths[places].max() for places in epochs.order(0))


def test_batches_of_every_kind_are_what_padded_gives(tmp_path, monkeypatch):
    """Rows scaled once against sequences gathered by themselves, from memory and from a file."""
    monkeypatch.chdir(tmp_path)
    lengths = [3, 9, 1, 6, 6]
    steps = store(lengths, "step", weights=[np.arange(k) + 1.0 for k in lengths])
    numbers = Sequences(steps.X, np.random.default_rng(1).random((5, 2)), weights=[1, 2, 3, 4, 5])
    holes = [np.where(each == 2, np.nan, each) for each in steps.X]
    flagged = Sequences(holes, [1, 0, 1, None, 0], missing="flag")
    np.save("rows.npy", np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32))
    mapped = Sequences.read("rows.npy", single=True).windows(7).next_step(ahead=2)
    assert mapped.mapped
    weighed = Sequences(steps.X, steps.y, weights=[1.0, 2, 3, 4, 5])
    for s in (
        steps,
        numbers,
        flagged,
        mapped,
        weighed,
        Sequences(steps.X).windows(4, 2).next_step(),
    ):
        scaling = s.scaling()
        epochs = Epochs(s, 2, 5, scaling)
        for places in list(epochs.order(0)):
            many, alone = epochs.draw(1), s.padded(places, scaling)
            steps_of, own = alone.x.shape[1], len(places)
            np.testing.assert_array_equal(many.x[0, :own, :steps_of], alone.x)
            np.testing.assert_array_equal(many.lengths[0, :own], alone.lengths)
            assert not many.lengths[0, own:].any()
            assert not many.weights[0, own:].any()
            by_step = alone.weights.ndim > 1
            cut = (slice(own), slice(steps_of)) if by_step else slice(own)
            ours = many.weights[0][cut]
            np.testing.assert_array_equal(ours, alone.weights.astype(np.float32))
            counted = ours > 0
            np.testing.assert_array_equal(many.y[0][cut][counted], alone.y[counted])
            if alone.weights.ndim == 2:
                assert not many.weights[0][:, steps_of:].any()


def test_few_calls_make_an_epoch():
    """Batches of short sequences are handed over together, the last one filled up."""
    epochs = Epochs(store(np.random.default_rng(0).integers(7, 30, 270)), 32, 0)
    many = epochs.draw(100)
    assert (len(many), many.x.shape[1:], epochs.epoch) == (9, (32, 29, 2), 1)
    assert (many.lengths > 0).sum() == 270
    # Where sequences are long what a batch would be padded by costs more than a call.
    epochs = Epochs(store(np.random.default_rng(0).integers(100, 1001, 640)), 32, 0)
    shapes = {epochs.steps_of(places) for places in epochs.order(0)}
    assert len(shapes) == 4


def test_validation_that_is_one_batch_is_gathered_once():
    epochs = Epochs(store([3, 9, 4]), 8, 0, shuffle=False)
    first = epochs.draw(1)
    epochs.restore({"epoch": 0, "done": 0})
    assert epochs.draw(1) is first
    assert epochs.epoch == 1


def test_a_share_of_every_class_is_held_out():
    labels = np.repeat(["a", "b", "c", "d"], [50, 30, 5, 1])
    s = Sequences(np.ones((86, 3)), labels)
    train, held = split(s, 0.2, 1)
    assert len(held) == 17
    counts = dict(zip(*np.unique(held.y, return_counts=True), strict=True))
    assert counts == {"a": 10, "b": 6, "c": 1}  # the only 'd' stays in training
    assert set(train.y) == set("abcd")
    again, other = split(s, 0.2, 1)[1], split(s, 0.2, 2)[1]
    np.testing.assert_array_equal(again.parts.starts, held.parts.starts)
    assert (other.parts.starts != held.parts.starts).any()


@given(
    st.lists(st.integers(0, 4), min_size=3, max_size=60), st.floats(0.02, 0.9), st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_a_split_is_one_and_no_class_is_lost(labels, share, seed):
    s = Sequences(np.arange(len(labels) * 2.0).reshape(-1, 2), np.array(labels) * 2)
    if len(set(labels)) == len(labels):  # no class can spare a sequence
        with pytest.raises(BpttError, match="are too few to hold"):
            split(s, share, seed)
        return
    train, held = split(s, share, seed)
    assert len(held) >= 1
    together = np.sort(np.concatenate([train.parts.starts, held.parts.starts]))
    np.testing.assert_array_equal(together, s.parts.starts)
    assert set(train.target.values) == set(s.target.values)
    assert len(held) <= max(1, round(share * len(s)))


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(10), 7)
    s = Sequences(np.ones((70, 2)), rng.integers(0, 2, 70), groups=who)
    train, held = split(s, 0.25, 3)
    assert not set(train.groups) & set(held.groups)
    assert len(held) == 14
    only = Sequences(np.ones((4, 2)), ["a", "a", "b", "c"], groups=[1, 1, 2, 3])
    with pytest.raises(BpttError, match="each group has a class that no other has"):
        split(only, 0.25, 0)
    with pytest.raises(BpttError, match="there is one group, '1'"):
        split(Sequences(np.ones((4, 2)), groups=[1] * 4), 0.25, 0)


def test_windows_of_a_series_never_stand_on_both_sides():
    s = Sequences([np.ones((50, 1)) * n for n in range(5)], list("abaab")).windows(10, 3)
    train, held = split(s, 0.3, 0)
    assert not {each[0, 0] for each in train} & {each[0, 0] for each in held}


def test_the_end_of_a_series_is_held_out():
    s = Sequences(np.arange(20.0), single=True).next_step()
    train, held = split(s, 0.25, 0)
    np.testing.assert_array_equal(train[0][:, 0], np.arange(15))
    np.testing.assert_array_equal(held[0][:, 0], np.arange(15, 20))
    assert train.padded().weights.sum() == 14  # the next value of its last step is held out
    assert train.scaling().mean == (7.0,)


def test_mistakes_are_one_line():
    s = store([3, 4])
    for message, wrong in (
        ("validation 1.5 is not allowed", lambda: split(s, 1.5, 0)),
        ("batch 0 must be at least 1", lambda: Epochs(s, 0, 0)),
        ("have no target", lambda: Epochs(Sequences(s.X), 1, 0)),
        ("is no place in the epochs", lambda: Epochs(s, 1, 0).restore({"epoch": -1, "done": 0})),
        ("there are 2", lambda: Epochs(s, 1, 0).restore({"epoch": 0, "done": 2})),
        ("one target each cannot be cut", lambda: split(s[:1], 0.5, 0)),
        ("has 1 steps: too few", lambda: split(store([1], "step"), 0.5, 0)),
    ):
        with pytest.raises(BpttError) as error:
            wrong()
        assert message in str(error.value)
