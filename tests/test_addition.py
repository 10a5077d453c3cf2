"""The addition task: its data, what is drawn when, and its judgement of answers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.tasks import Addition, Batches, task_from_config
from bptt.tasks.addition import AdditionStream, exact, first_wrong_bit
from bptt.tasks.addition import verdict as of_sums
from bptt.tasks.addition.verdict import exact_pairs, exact_sums, sample_steps
from bptt.tasks.task import evaluate

KINDS = {
    "room": {"carry": "room"},
    "wrap": {"carry": "wrap"},
    "signed": {"signed": True},
}
# 30..33 and 62..65 lie on either side of a word of 32 bits and of the change of drawing method.
WIDTHS = [1, 2, 3, 7, 8, 9, 16, 31, 32, 33, 60, 61, 62, 63, 64, 65, 97, 1000]

tasks = st.builds(
    lambda kind, bits, fixed: Addition(bits=bits, **KINDS[kind], **fixed),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from([1, 5, 8, 31, 33, 61, 62, 63, 64, 70]),
    st.sampled_from(
        [{}, {"pairs": 11}, {"pairs": 11, "order": "shuffled"}, {"pairs": 11, "order": "sliding"}]
    ),
)


def integer(bits, signed):
    """The integer of a row of bits, written independently of the package: a sum of powers."""
    weights = [1 << t for t in range(len(bits))]
    if signed:
        weights[-1] = -weights[-1]
    return sum(w * int(bit) for w, bit in zip(weights, bits, strict=True))


def right_sum(a, b, task, bits):
    if task.signed:
        half = 1 << (bits - 1)
        return (a + b + half) % (2 * half) - half
    return a + b if task.carry == "room" else (a + b) % (1 << bits)


def assert_same(one: Batches, other: Batches):
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.y, other.y)


def joined(batches):
    return Batches(np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches]))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_targets_are_the_sums_of_the_inputs(kind, bits):
    task = Addition(bits=bits, **KINDS[kind])
    batch = task.stream(seed=5, batch=3).draw(4)
    assert batch.x.shape == (4, 3, task.steps, 2)
    assert batch.y.shape == (4, 3, task.steps, 1)
    assert task.steps == bits + (kind == "room")
    assert batch.reset is None
    assert batch.lengths is None
    for x, y in zip(batch.x.reshape(12, -1, 2), batch.y.reshape(12, -1), strict=True):
        a, b = (integer(x[:, i], task.signed) for i in (0, 1))
        smallest, largest = task.range_of(bits)
        assert smallest <= a <= largest
        assert smallest <= b <= largest
        assert integer(y, task.signed) == right_sum(a, b, task, bits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_have_the_type_asked_for_and_lie_in_order(dtype):
    batch = Addition(bits=5).stream(1, 2, dtype).draw(3)
    for array in (batch.x, batch.y):
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert set(np.unique(array)) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "smallest", "largest"),
    [
        ({"bits": 8, "signed": True, "low": -128, "high": 128}, -128, 127),
        ({"bits": 8, "carry": "wrap", "low": 0, "high": 127}, 0, 126),
        ({"bits": 16, "carry": "wrap", "low": 0, "high": 1 << 15}, 0, (1 << 15) - 1),
        ({"bits": 8, "carry": "wrap", "low": 0, "high": 128}, 0, 127),
        ({"bits": 4}, 0, 15),
    ],
)
def test_operands_are_uniform_over_their_range(options, smallest, largest):
    task = Addition(**options)
    x = task.stream(3, 1).draw(20_000).x.reshape(-1, task.steps, 2)
    drawn = np.array([task.decode(x[..., i]) for i in (0, 1)])
    assert smallest <= drawn.min()
    assert drawn.max() <= largest
    if largest < 1000:
        assert set(drawn.ravel()) == set(range(smallest, largest + 1))
    # The standard error of the mean of 40,000 uniform numbers is width / sqrt(12 * 40,000); five.
    width = largest - smallest + 1
    assert abs(drawn.mean() - (smallest + largest) / 2) < 5 * width / np.sqrt(12 * drawn.size)
    # The two operands do not depend on each other: correlation 0, standard error 1 / sqrt(20,000).
    assert abs(np.corrcoef(drawn)[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("bits", [8, 70])
def test_seeds_give_different_data_and_the_same_seed_the_same(bits):
    task = Addition(bits=bits)
    one, same, other = (task.stream(seed, 2).draw(20) for seed in (1, 1, 2))
    assert_same(one, same)
    assert not np.array_equal(one.x, other.x)


@settings(max_examples=150, deadline=None)
@given(tasks, st.integers(0, 2**62), st.integers(1, 11), st.lists(st.integers(1, 9), max_size=6))
def test_the_data_do_not_depend_on_the_pieces_they_are_drawn_in(task, seed, batch, pieces):
    whole = task.stream(seed, batch).draw(sum(pieces) + 1)
    stream = task.stream(seed, batch)
    assert_same(joined([stream.draw(n) for n in [*pieces, 1]]), whole)


@settings(max_examples=100, deadline=None)
@given(tasks, st.integers(0, 2**62), st.integers(1, 11), st.integers(0, 30), st.integers(1, 30))
def test_a_restored_stream_goes_on_as_the_saved_one(task, seed, batch, before, after):
    stream = task.stream(seed, batch)
    stream.draw(before)
    state = json.loads(json.dumps(stream.state()))
    expected = stream.draw(after)
    fresh = task_from_config(json.loads(json.dumps(task.config()))).stream(seed, batch)
    fresh.restore(state)
    assert_same(fresh.draw(after), expected)
    stream.restore(state)  # and back, on the stream that has gone on
    assert_same(stream.draw(after), expected)


def test_fixed_pairs_in_turn_use_each_pair_once_an_epoch():
    task = Addition(bits=20, pairs=12)
    x = task.stream(1, 4).draw(6).x
    np.testing.assert_array_equal(x[:3], x[3:])
    assert len(np.unique(x[:3].reshape(12, -1), axis=0)) == 12


def test_shuffled_pairs_come_in_another_order_each_epoch():
    task = Addition(bits=20, pairs=12, order="shuffled")
    epochs = task.stream(1, 4).draw(9).x.reshape(3, 12, -1)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not np.array_equal(epochs[one], epochs[other])
        np.testing.assert_array_equal(*(np.unique(epochs[i], axis=0) for i in (one, other)))


def test_sliding_minibatches_use_only_the_first_119_of_2000_pairs():
    task = Addition(bits=16, carry="wrap", low=0, high=1 << 15, pairs=2000, order="sliding")
    x = task.stream(1, 100).draw(100).x
    np.testing.assert_array_equal(x[1][:-1], x[0][1:])  # batch k is pairs k .. k+99
    np.testing.assert_array_equal(x[20], x[0])  # an epoch is 20 batches
    in_turn = Addition(bits=16, carry="wrap", low=0, high=1 << 15, pairs=2000)
    pairs = in_turn.stream(1, 100).draw(20).x.reshape(2000, -1)
    assert {p.tobytes() for p in x.reshape(-1, 32)} == {p.tobytes() for p in pairs[:119]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_all_pairs_are_every_pair_once_with_the_right_sum(kind, bits):
    task = Addition(bits=bits, **KINDS[kind])
    seen = set()
    for x, y in task.all_pairs():
        a, b, total = task.decode(x[..., 0]), task.decode(x[..., 1]), task.decode(y[..., 0])
        assert total == [right_sum(*pair, task, bits) for pair in zip(a, b, strict=True)]
        seen.update(zip(a, b, strict=True))
    smallest, largest = task.range_of(bits)
    numbers = range(smallest, largest + 1)
    assert seen == {(a, b) for a in numbers for b in numbers}
    assert len(seen) == 4**bits


def test_all_pairs_of_a_range_are_those_of_the_range():
    task = Addition(bits=8, carry="wrap", low=0, high=127)
    parts = list(task.all_pairs())
    assert sum(len(x) for x, _ in parts) == 127**2
    assert max(max(task.decode(x[..., 0])) for x, _ in parts) == 126
    assert max(max(task.decode(y[..., 0])) for _, y in parts) == 252


def test_long_pairs_are_sums_of_any_length():
    task = Addition(bits=8)
    x, y = task.long_pairs(1000, 20, seed=1)
    assert x.shape == (20, 1001, 2)
    a, b = task.decode(x[..., 0]), task.decode(x[..., 1])
    assert task.decode(y[..., 0]) == [p + q for p, q in zip(a, b, strict=True)]
    assert max(a).bit_length() > 990
    np.testing.assert_array_equal(x, task.long_pairs(1000, 20, seed=1)[0])
    assert not np.array_equal(x, task.long_pairs(1000, 20, seed=2)[0])


def test_long_pairs_of_the_tasks_own_bits_keep_to_its_range():
    task = Addition(bits=16, carry="wrap", low=0, high=1 << 15)
    x, _ = task.long_pairs(16, 200, seed=1)
    assert not x[:, 15].any()
    x, _ = task.long_pairs(17, 200, seed=1)
    assert x[:, 15].any()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 150), st.data())
def test_encoded_pairs_decode_to_themselves_and_their_sum(kind, bits, data):
    task = Addition(bits=3, **KINDS[kind])
    numbers = st.integers(*task.range_of(bits))
    pairs = data.draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
    x, y = task.encode(pairs, bits)
    assert x.shape == (len(pairs), task.steps_for(bits), 2)
    decoded = zip(task.decode(x[..., 0]), task.decode(x[..., 1]), strict=True)
    assert list(decoded) == pairs
    assert task.decode(y[..., 0]) == [right_sum(a, b, task, bits) for a, b in pairs]


@given(st.sampled_from(sorted(KINDS)), st.integers(-(10**30), 10**30), st.integers(0, 10**30))
def test_the_bits_needed_are_enough_and_no_more(kind, a, b):
    task = Addition(**KINDS[kind])
    a = a if task.signed else abs(a)
    bits = task.bits_needed(a, b)
    _, y = task.encode([(a, b)], bits)
    assert task.decode(y[..., 0]) == [a + b]
    if bits > 1:
        smallest, largest = task.range_of(bits - 1)
        numbers = [a, b] if kind == "room" else [a, b, a + b]
        assert min(numbers) < smallest or max(numbers) > largest


def test_shares_of_exact_sums_and_the_first_wrong_bit():
    y = np.zeros((4, 5, 1), np.uint8)
    predicted = y.copy()
    assert exact(predicted, y) == 1
    assert first_wrong_bit(predicted, y) is None
    predicted[2, 3:] = predicted[1, 4] = 1
    assert exact(predicted, y) == 2 / 4
    assert first_wrong_bit(predicted, y) == 3


def test_a_task_is_made_again_from_its_configuration():
    task = Addition(bits=np.int64(9), signed=True, low=-5, high=np.int32(7), pairs=40)
    config = json.loads(json.dumps(task.config()))
    assert config["task"] == "addition"
    assert task_from_config(config) == task


BAD_OPTIONS = [
    ({"bits": 0}, "bits 0 must be at least 1"),
    ({"bits": 8.5}, "bits 8.5 must be a whole number"),
    ({"bits": None}, "bits None must be a whole number"),
    ({"carry": "extra"}, "carry 'extra' is not known: choose one of 'room', 'wrap'"),
    ({"order": "random"}, "order 'random' is not known"),
    ({"low": 0}, "low and high go together"),
    ({"low": 0, "high": 257}, "operands from 0 up to 257 do not fit"),
    ({"low": 5, "high": 5}, "operands from 5 up to 5 do not fit"),
    ({"low": -1, "high": 5}, "operands from -1 up to 5 do not fit"),
    ({"bits": 100, "low": 0, "high": 5}, "low and high need at most 62 steps"),
    ({"pairs": 0}, "pairs 0 must be at least 1"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(BpttError) as caught:
        Addition(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("signed", "pair", "message"),
    [
        (False, (256, 0), "256 does not fit: unsigned numbers of 8 bits go from 0 to 255; give"),
        (False, (0, -1), "-1 does not fit: unsigned numbers of 8 bits go from 0 to 255; give more"),
        (False, (0, -1), "or a signed network"),
        (True, (0, 128), "128 does not fit: signed numbers of 8 bits go from -128 to 127; give"),
        (True, (-129, 0), "-129 does not fit"),
    ],
)
def test_a_number_that_does_not_fit_is_named(signed, pair, message):
    with pytest.raises(BpttError, match=message):
        Addition(signed=signed).encode([(1, 2), pair])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: task.stream(1, 0), "batch 0 must be at least 1"),
        (lambda task: task.stream(1, 6), "batch 6 is larger than the 5 pairs"),
        (lambda task: list(task.all_pairs()), "all pairs of 9-bit numbers are too many"),
        (lambda task: task.encode([(1, 1)], 0), "bits 0 must be at least 1"),
        (lambda task: task.long_pairs(9, -1, 1), "count -1 must not be negative"),
        (lambda task: task.long_pairs(0, 1, 1), "bits 0 must be at least 1"),
        (lambda task: task.stream(1, 2).restore({}), "cannot be read"),
        (lambda task: task.stream(1, 2).restore({"iteration": 1, "rng": {}}), "cannot be read"),
        (lambda task: task.stream(1, 2).restore({"iteration": "x", "rng": {}}), "cannot be read"),
        (
            lambda task: task.stream(1, 2).restore({**task.stream(1, 2).state(), "iteration": -1}),
            "cannot stand at iteration -1",
        ),
    ],
)
def test_what_a_task_cannot_do_is_said(call, message):
    with pytest.raises(BpttError, match=message):
        call(Addition(bits=9, pairs=5))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "task None is not known: choose one of 'addition', 'text', 'parity'"),
        ({"task": "sorting"}, "task 'sorting' is not known"),
        ({"task": ["addition"]}, "is not known"),
        ([1], "described by a mapping"),
        ({"task": "addition", "bits": "8"}, "task 'addition': Expected `int`"),
        ({"task": "addition", "bits": 0}, "bits 0 must be at least 1"),
        ({"task": "addition", "bit": 8}, "task 'addition': .*unknown field `bit`"),
    ],
)
def test_a_bad_configuration_is_named(config, message):
    with pytest.raises(BpttError, match=message):
        task_from_config(config)


def pairs_of(task, batch):
    """The pairs of every iteration as integers, (N, B) pairs."""
    numbers = [task.decode(batch.x[..., i].reshape(-1, task.steps)) for i in (0, 1)]
    flat = list(zip(*numbers, strict=True))
    width = batch.x.shape[1]
    return [flat[n : n + width] for n in range(0, len(flat), width)]


@pytest.mark.parametrize("order", ["in_turn", "shuffled", "sliding"])
def test_a_batch_that_does_not_divide_the_pairs(order):
    whole = Addition(bits=12, pairs=11)
    first = pairs_of(whole, whole.stream(5, 11).draw(1))[0]
    assert len(set(first)) == 11
    task = Addition(bits=12, pairs=11, order=order)
    drawn = pairs_of(task, task.stream(5, 3).draw(30))  # 10 times through 3 batches of 3
    if order == "in_turn":
        assert drawn == [first[3 * (k % 3) : 3 * (k % 3) + 3] for k in range(30)]
    elif order == "sliding":
        assert drawn == [first[k % 3 : k % 3 + 3] for k in range(30)]
    else:
        times = [[*drawn[n], *drawn[n + 1], *drawn[n + 2]] for n in range(0, 30, 3)]
        assert all(len(set(through)) == 9 and set(through) < set(first) for through in times)
        assert len({tuple(through) for through in times}) == 10
        # What is left over is not the same two every time.
        assert len({frozenset(first) - frozenset(through) for through in times}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_operands_of_the_whole_range_fill_it_evenly(kind):
    task = Addition(bits=8, **KINDS[kind])
    smallest, largest = task.range_of(8)
    operands = [n for row in pairs_of(task, task.stream(3, 1).draw(20_000)) for n in row[0]]
    counts = np.histogram(operands, 16, (smallest, largest + 1))[0]
    # 40,000 draws into 16 equal parts: 2,500 each, six standard errors.
    np.testing.assert_allclose(counts, 2500, atol=6 * np.sqrt(2500))


@pytest.mark.parametrize("number", [1.5, 2.0, "3", None])
def test_only_whole_numbers_are_encoded(number):
    with pytest.raises(BpttError, match="must be a whole number"):
        Addition().encode([(number, 2)])


@pytest.mark.parametrize(
    "task",
    [
        Addition(bits=5),
        Addition(bits=4, signed=True),
        Addition(bits=4, carry="wrap", low=3, high=11),
        Addition(bits=6, low=0, high=33),
    ],
    ids=["carry", "signed", "range", "range with carry"],
)
@pytest.mark.parametrize(
    "options",
    [
        {"cell": "elman", "initial_state": "trainable"},
        {"cell": "lstm", "layers": 2},
        {"cell": "elman", "tied": False},
    ],
    ids=["elman", "lstm", "untied"],
)
def test_pairs_walked_by_their_beginnings_are_the_pairs(task, options):
    steps = {} if options.get("tied", True) else {"steps": task.steps}
    network = Network(
        inputs=2, outputs=1, hidden=4, engine="reference", seed=5, dtype="float64",
        initializers={"W": "normal(2)", "V": "normal(2)"}, **options, **steps,
    )  # fmt: skip
    low, high = task.operand_range()
    numbers = range(low, high + 1)
    x, y = task.encode([(a, b) for a in numbers for b in numbers])
    flags = exact_sums(network, x, y)
    if options.get("tied", True):  # in the order of the bits read as unsigned numbers
        modulus = 1 << task.steps
        order = sorted(
            range(len(flags)),
            key=lambda i: [(low + number) % modulus for number in divmod(i, len(numbers))],
        )
        flags = flags[order]
    found = exact_pairs(network, task)
    np.testing.assert_array_equal(found, flags)
    assert 0 < found.sum() < found.size
    assert not exact_pairs(network, task, give_up=True).all()
    assert evaluate(network, task).right == flags.sum()


def test_what_a_test_of_all_pairs_walks():
    # The beginnings of pairs of 2 bits: 4, 16, and for the carry 16 again.
    assert sample_steps(Addition(bits=2)) == 4 + 16 + 16
    assert sample_steps(Addition(bits=2, low=1, high=3)) == 4 + 4 + 4
    assert sample_steps(Addition(bits=9, signed=True)) == 1000 * 9


@pytest.mark.parametrize("block", [7, 64])
def test_pairs_that_are_right_do_not_depend_on_how_they_are_walked(block, monkeypatch):
    task = Addition(bits=5, signed=True)
    network = Network(
        inputs=2, outputs=1, hidden=4, engine="reference", seed=5, dtype="float64",
        initializers={"W": "normal(2)", "V": "normal(2)"},
    )  # fmt: skip
    expected = exact_pairs(network, task)
    monkeypatch.setattr(of_sums, "BLOCK", block)
    monkeypatch.setattr(of_sums, "FEW_BEGINNINGS", 16)
    of_sums._stages.cache_clear()
    try:
        assert len(of_sums._stages(task, "float64")) == 4  # of more than one block, but the first
        np.testing.assert_array_equal(exact_pairs(network, task), expected)
    finally:
        of_sums._stages.cache_clear()
    assert 0 < expected.sum() < expected.size


@pytest.mark.parametrize("options", [{}, {"pairs": 20, "order": "shuffled"}, {"bits": 70}])
def test_many_streams_are_drawn_as_each_by_itself(options):
    task = Addition(**options)
    streams = [task.stream(seed, 3, "float64") for seed in range(4)]
    alone = [task.stream(seed, 3, "float64") for seed in range(4)]
    for count in (1, 700, 5):  # more than is drawn ahead, and the rest of it
        together = AdditionStream.draw_many(streams, count)
        for model, stream in enumerate(alone):
            mine = stream.draw(count)
            np.testing.assert_array_equal(together[model].x, mine.x)
            np.testing.assert_array_equal(together[model].y, mine.y)
        assert [each.state() for each in streams] == [each.state() for each in alone]


def test_what_is_drawn_ahead_is_not_part_of_the_state():
    stream, again = (Addition().stream(7, 2) for _ in range(2))
    stream.draw(3)
    rng = np.random.default_rng(7)
    Addition().draw_pairs(rng, 6)
    assert stream.state() == {"iteration": 3, "rng": rng.bit_generator.state}
    again.draw(100)
    again.restore(stream.state())
    np.testing.assert_array_equal(again.draw(300).x, stream.draw(300).x)
    assert again.state() == stream.state()


@pytest.mark.parametrize("options", [{}, {"signed": True}, {"carry": "wrap"}])
@pytest.mark.parametrize("bits", [1, 8, 31, 32, 33, 70])
def test_patterns_of_pairs_have_their_sums(options, bits):
    task = Addition(bits=8, **options)
    x, y = task.pattern_pairs(bits, 60, seed=2)
    steps = task.steps_for(bits)
    assert x.shape == (60, steps, 2)
    for pair, total in zip(x, y, strict=True):
        a, b, said = (
            sum(int(bit) << place for place, bit in enumerate(column))
            for column in (pair[:, 0], pair[:, 1], total[:, 0])
        )
        assert said == (a + b) % (1 << steps)
    if steps > bits:
        assert not x[:, bits:].any()
    if bits == 70:  # a third have long runs of a pair of bits
        changes = (x[:, 1:bits] != x[:, : bits - 1]).any(axis=2).sum(axis=1)
        assert (changes < 20).sum() > 6
    again, _ = task.pattern_pairs(bits, 60, seed=2)
    np.testing.assert_array_equal(x, again)
