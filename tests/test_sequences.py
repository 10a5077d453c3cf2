"""Sequences from arrays and lists: what is understood, cut, scaled and padded."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Sequences
from bptt.sequences import Scaling, Schema
from bptt.sequences.parts import blocks
from bptt.sequences.scaling import moments


def ragged(seed=0, lengths=(3, 7, 1, 4), channels=2):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(steps, channels)) for steps in lengths]


lists = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 99)
).map(lambda drawn: ragged(drawn[2], drawn[0], drawn[1]))


@given(lists)
@settings(max_examples=40, deadline=None)
def test_what_goes_in_comes_out(x):
    s = Sequences(x, np.arange(len(x)) / 2)
    assert len(s) == len(x)
    for ours, theirs in zip(s.X, x, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    padded = s.padded(dtype="float64")
    steps = max(map(len, x))
    assert padded.x.shape == (len(x), steps, x[0].shape[1])
    for row, array in zip(padded.x, x, strict=True):
        np.testing.assert_array_equal(row[: len(array)], array)
        assert not row[len(array) :].any()
    np.testing.assert_array_equal(padded.lengths, [len(each) for each in x])


@given(lists, st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_padded_array_is_the_list_it_was_made_of(x, more):
    """Whatever lies beyond the ends, NaN and infinity too, and however much of it there is."""
    steps = max(map(len, x)) + more
    array = np.full((len(x), steps, x[0].shape[1]), np.nan)
    array[:, -1:] = np.inf
    for row, each in zip(array, x, strict=True):
        row[: len(each)] = each
    lengths = np.array([len(each) for each in x])
    padded, listed = Sequences(array, lengths=lengths), Sequences(x)
    scaling = padded.scaling()
    assert scaling == listed.scaling()
    ours, theirs = padded.padded(scaling=scaling), listed.padded(scaling=scaling)
    np.testing.assert_array_equal(ours.x, theirs.x)


def test_parts_share_rows_and_keep_what_belongs_to_them():
    x = ragged()
    y = ["a", "b", None, "a"]
    s = Sequences(x, y, groups=[1, 1, 2, 2], ids=list("wxyz"), weights=[1, 2, 3, 4])
    part = s[[3, 0]]
    assert np.shares_memory(part[0], s[3])
    assert list(part.y) == ["a", "a"]
    assert list(part.ids) == ["z", "w"]
    assert list(part.groups) == [2, 1]
    np.testing.assert_array_equal(part.padded().weights, [4, 1])
    np.testing.assert_array_equal(s.padded([2, 1]).weights, [0, 2])  # a missing class: no weight
    assert list(s[s.lengths > 2].ids) == ["w", "x", "z"]
    assert list(s[1:3].ids) == ["x", "y"]
    with pytest.raises(IndexError):
        s[4]
    assert [len(each) for each in s] == [3, 7, 1, 4]


def test_the_four_kinds_of_answer():
    x = ragged()
    labels = [np.array(["up", "down"])[(np.arange(len(each)) % 2)] for each in x]
    cases = [
        (["a", "b", "a", "a"], "classes", "sequence", 2),
        ([True, False, True, True], "classes", "sequence", 2),
        ([5, 7, 9, 5], "classes", "sequence", 3),
        ([0.5, 1, 2, 3], "numbers", "sequence", 1),
        (np.ones((4, 3)) / 2, "numbers", "sequence", 3),
        (labels, "classes", "step", 2),
        ([each[:, 0] for each in x], "numbers", "step", 1),
        (x, "numbers", "step", 2),
    ]
    for y, kind, per, outputs in cases:
        target = Sequences(x, y).target
        assert (target.kind, target.per, target.outputs) == (kind, per, outputs)
    assert Sequences(x, [5, 7, 9, 5], kind="numbers").target.kind == "numbers"
    s = Sequences(x, labels)
    for ours, theirs in zip(s.y, labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    square = np.arange(20.0).reshape(4, 5)
    assert Sequences(square, square).target.per == "step"
    assert Sequences(square, square, per="sequence").target.outputs == 5
    assert Sequences(square, square[..., None]).target.per == "step"


def test_padded_targets_and_weights_of_steps():
    x = ragged(lengths=(2, 3))
    s = Sequences(x, [["a", "b"], [None, "b", "a"]], weights=[[1, 2], [3, 4, 5]])
    padded = s.padded()
    np.testing.assert_array_equal(padded.y, [[0, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(padded.weights, [[1, 2, 0], [0, 4, 5]])
    numbers = Sequences(x, [[0.5, np.nan], [1.5, 2.5, 3.5]])
    padded = numbers.padded()
    np.testing.assert_array_equal(padded.y[..., 0], [[0.5, 0, 0.0], [1.5, 2.5, 3.5]])
    np.testing.assert_array_equal(padded.weights, [[1, 0, 0], [1, 1, 1]])


def test_what_comes_next_is_the_same_sequence_later():
    x = ragged()
    for ahead in (1, 2):
        s = Sequences(x).next_step(ahead=ahead)
        padded = s.padded(dtype="float64")
        for b, each in enumerate(x):
            steps = max(len(each) - ahead, 0)
            np.testing.assert_array_equal(padded.y[b, :steps], each[ahead:])
            np.testing.assert_array_equal(padded.weights[b], np.arange(7) < steps)
            np.testing.assert_array_equal(s.y[b][:steps], each[ahead:])
            assert np.isnan(s.y[b][steps:]).all()
    one = Sequences(x, features=["a", "b"]).next_step("b")
    assert one.target.names == ("b",)
    np.testing.assert_array_equal(one.padded().y[0, :2, 0], x[0][1:, 1].astype(np.float32))
    with pytest.raises(BpttError, match="the data has no channel 'c'"):
        Sequences(x, features=["a", "b"]).next_step("c")
    with pytest.raises(BpttError, match="ahead 7 leaves no target: sequences have up to 7 steps"):
        Sequences(x).next_step(ahead=7)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_windows_cover_their_sequences_and_stay_in_groups(lengths, steps, stride):
    x = ragged(1, lengths, 1)
    s = Sequences(x, np.arange(len(x)))
    w = s.windows(steps, stride)
    for number, each in enumerate(x):
        own = w[w.groups == number]
        starts = range(0, len(each), stride)
        # None begins after one that has reached the end.
        expected = [each[a : a + steps] for a in starts if not a or a - stride + steps < len(each)]
        assert len(own) == len(expected)
        for ours, theirs in zip(own.X, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert set(own.y.tolist()) == {number}
        if stride <= steps:
            assert sum(map(len, own.X)) >= len(each)


def test_scaling_is_fitted_on_the_given_steps_alone():
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(steps, 3)) * [1, 100, 0] + [5, -1e6, 7] for steps in (5, 9, 2)]
    s = Sequences(x, rng.normal(size=(3, 2)) * [1, 50] + [0, 3])
    train = s[:2]
    scaling = train.scaling()
    rows = np.concatenate(x[:2])
    np.testing.assert_allclose(scaling.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.deviation[:2], rows.std(axis=0)[:2], rtol=1e-9)
    assert scaling.deviation[2] == 1  # a constant channel is only moved
    padded = train.padded(scaling=scaling, dtype="float64")
    inside = np.concatenate([padded.x[0, :5], padded.x[1]])
    np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(inside.std(axis=0), [1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(scaling.undone(padded.y), s.y[:2], rtol=1e-6)
    assert Sequences(x, list("aba")).scaling().target_mean == ()


@given(st.integers(0, 99), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_moments_in_blocks_are_moments_of_all(seed, size):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(37, 3)) * [1, 1e-3, 1e4] + [0, 1e3, 0]
    rows[rng.random(rows.shape) < 0.1] = np.nan
    mean, deviation = moments((rows[a : a + size] for a in range(0, 37, size)), 3)
    np.testing.assert_allclose(mean, np.nanmean(rows, axis=0), rtol=1e-10)
    # 1e-3 beside 1e3 leaves ten digits of the deviation.
    np.testing.assert_allclose(deviation, np.nanstd(rows, axis=0), rtol=1e-8)


def test_blocks_give_every_row_of_the_sequences_once(monkeypatch):
    monkeypatch.setattr("bptt.sequences.parts.BLOCK_NUMBERS", 6)
    rows = np.arange(40).reshape(20, 2)
    starts, lengths = np.array([12, 0, 3]), np.array([8, 3, 5])
    found = list(blocks(rows, starts, lengths))
    np.testing.assert_array_equal(
        np.concatenate([block for _, block in found]), rows[[*range(8), *range(12, 20)]]
    )
    assert all(block[0, 0] == 2 * first for first, block in found)
    assert max(len(block) for _, block in found) == 3


@pytest.mark.parametrize("how", ["flag", "last"])
def test_missing_inputs_are_flagged(how):
    nan = np.nan
    x = [
        np.array([[nan, 1.0], [2, 1], [nan, 3]]),
        np.array([[4.0, 1], [nan, 2]]),
        np.array([[nan, 1.0], [3, 1]]),
    ]
    s = Sequences(x, list("aba"), missing=how)
    assert s.channels == ("x0", "x1", "x0 missing")
    scaling = s.scaling()
    assert scaling.deviation[2] == 1
    padded = s.padded(scaling=scaling, dtype="float64").x
    np.testing.assert_array_equal(padded[..., 2], [[1, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert np.isfinite(padded).all()
    if how == "flag":
        assert scaling.mean[0] == 3  # of 2, 4 and 3
        np.testing.assert_array_equal(np.sign(padded[..., 0]), [[0, -1, 0], [1, 0, 0], [0, 0, 0]])
    else:  # never from the sequence before
        assert padded[0, 0, 0] == padded[2, 0, 0] == 0
        assert padded[0, 2, 0] == padded[0, 1, 0]
        assert padded[1, 1, 0] == padded[1, 0, 0]
    whole = Sequences([np.ones((2, 2))], like=s)  # the flag is there, though nothing is missing
    assert whole.channels == s.channels
    with pytest.raises(BpttError, match="sequence 0, step 1, channel 'x1' is missing, but nothing"):
        Sequences([np.array([[1, 1], [1, nan]])], like=s)


def test_the_schema_survives_json_and_reads_alike():
    s = Sequences(ragged(), [True, False, True, True], features=["up", "down"])
    schema = Schema.from_json(json.loads(json.dumps(s.schema.to_json())))
    assert schema == s.schema
    assert schema.classes == (False, True)
    again = Sequences(ragged(5), [False, False, True, False], like=schema)
    assert again.channels == ("up", "down")
    np.testing.assert_array_equal(again.target.values, [0, 0, 1, 0])
    only = Sequences(ragged(5), [True] * 4, like=s)  # one class is enough for a score
    np.testing.assert_array_equal(only.target.values, [1] * 4)
    with pytest.raises(BpttError, match="damaged"):
        Schema.from_json({"columns": 3})
    scaling = s.scaling()
    assert isinstance(scaling, Scaling)


def test_stores_can_be_copied_and_pickled():
    s = Sequences(ragged(), list("abca"))
    for other in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s)):
        assert str(other) == str(s)
        np.testing.assert_array_equal(other.padded().x, s.padded().x)


def test_channels_first_by_name_only():
    x = ragged()
    s = Sequences.from_channels_first([each.T for each in x], list("abab"))
    for ours, theirs in zip(s.X, x, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    cube = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Sequences.from_channels_first(cube)[1], cube[1].T)
    np.testing.assert_array_equal(Sequences(cube)[1], cube[1])
    with pytest.raises(BpttError, match="from_channels_first"):
        Sequences([each.T for each in x])


def test_printing_says_what_was_understood():
    s = Sequences(ragged(), ["a", "b", None, "a"], groups=[1, 1, 2, 2], weights=[1, 1, 2, 1])
    assert str(s).splitlines() == [
        "the data: 4 sequences of 1 to 7 steps (median 3.5), 15 steps in all",
        "2 channels: x0, x1",
        "target y: a class a sequence, 2 classes: 'a' 2, 'b' 1; 1 missing, which do not count",
        "2 groups",
        "weights: one a sequence",
        "nothing missing",
    ]
    assert "no target" in str(Sequences(ragged()))
    assert "3 numbers a sequence, from 0 to 2" in str(
        Sequences(ragged(), np.arange(12).reshape(4, 3) % 3, kind="numbers")
    )
    assert repr(s).startswith("<Sequences: the data: 4 sequences")


X = ragged()
INFINITE = [np.ones((2, 2)), np.array([[1, 2], [3, np.inf]])]
HOLE = [np.ones((2, 2)), np.array([[1, 2], [np.nan, 3]])]
MISTAKES = {
    "holds text": lambda: Sequences([["a", "b"]]),
    "sequence 1 holds text or objects": lambda: Sequences([[1.0], [None, 2.0]]),
    "sequence 1 is empty, shape (0, 2)": lambda: Sequences([np.ones((2, 2)), np.ones((0, 2))]),
    "x holds no sequences": lambda: Sequences([]),
    "x is a float": lambda: Sequences(3.0),
    "single=True for one sequence": lambda: Sequences(np.ones(5)),
    "sequence 1 has shape (2, 3) and sequence 0 (4, 2)": lambda: Sequences(
        [np.ones((4, 2)), np.ones((2, 3))]
    ),
    "sequence 1, step 1, channel 'x1' is inf": lambda: Sequences(INFINITE),
    "sequence 1, step 1, channel 'x0' is missing: fill it": lambda: Sequences(HOLE),
    "sequence 'b', step 1, channel 'lead' is missing": lambda: Sequences(
        HOLE, ids=["a", "b"], features=["lead", "v"]
    ),
    "sequence 1 has length 6: from 1 to 5": lambda: Sequences(np.ones((2, 5, 1)), lengths=[2, 6]),
    "sequence 0 has length 0": lambda: Sequences(np.ones((2, 5, 1)), lengths=[0, 5]),
    "lengths go with one padded array": lambda: Sequences(X, lengths=[1, 2, 3, 4]),
    "y has 3 targets for 4 sequences": lambda: Sequences(X, [1, 2, 3]),
    "y has 2 targets for the 3 steps of sequence 0": lambda: Sequences(
        X, [[0.5] * 2, [0.5] * 7, [0.5], [0.5] * 4]
    ),
    "mixes text and numbers ('a' and 1)": lambda: Sequences(X, ["a", 1, "b", 2]),
    "has no value": lambda: Sequences(X, [None] * 4),
    "target 'y' is inf in row 2": lambda: Sequences(X, [0.5, np.inf, 1, 1]),
    "holds text, 'a': make it numbers": lambda: Sequences(X, list("abab"), kind="numbers"),
    "only one column can hold classes": lambda: Sequences(X, np.ones((4, 2)), kind="classes"),
    "60 different whole numbers": lambda: Sequences(np.ones((60, 3)), np.arange(60)),
    "kind 'class' is not known: choose one of 'classes', 'numbers'": lambda: Sequences(
        X, list("abab"), kind="class"
    ),
    "missing 'drop' is not known": lambda: Sequences(X, missing="drop"),
    "1 features are named, but there are 2 channels": lambda: Sequences(X, features=["a"]),
    "there are 3 weights for 4 sequences": lambda: Sequences(X, weights=[1, 2, 3]),
    "weight -1.0 is not allowed": lambda: Sequences(X, weights=[1, 2, 3, -1]),
    "all weights are 0": lambda: Sequences(X, weights=[0, 0, 0, 0]),
    "weights are a step's, but the targets a sequence's": lambda: Sequences(
        X, list("abab"), weights=[[1] * len(each) for each in X]
    ),
    "groups has shape (2,) for 4 sequences": lambda: Sequences(X, groups=[1, 2]),
    "the data has 2 channels, but 3 were trained on": lambda: Sequences(
        X, like=Sequences(np.ones((2, 3, 3)))
    ),
    "the training of 'y' has no class 'walkng': did you mean 'walking'?": lambda: Sequences(
        X, ["walkng"] * 4, like=Sequences(X, ["walking", "running"] * 2)
    ),
    "windows of 0 steps": lambda: Sequences(X).windows(0),
    "no sequences are asked for": lambda: Sequences(X).padded([]),
    "like=3: a schema": lambda: Sequences(X, like=3),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_line(message):
    with pytest.raises(BpttError) as error:
        MISTAKES[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
