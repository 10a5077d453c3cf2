"""A network one step at a time: the same numbers as all at once, and nothing made on the way."""

import numpy as np
import pytest
from memory import assert_nothing_is_kept_of_a_step

import bptt

CASES = [
    {"cell": "lstm", "hidden": 5, "layers": 2, "initial_state": "trainable"},
    {"cell": "lstm", "hidden": 16, "layers": 1},
    {"cell": "gru", "hidden": 7, "layers": 1, "dtype": "float64", "output": "softmax"},
]


def network(engine="compiled", seed=0, **options):
    softmax = options.get("output") == "softmax"
    options.setdefault("output", "linear")
    loss = "cross_entropy" if softmax else "squared"
    made = bptt.Network(inputs=3, outputs=2, engine=engine, loss=loss, **options)
    made.theta[:] = 0.4 * np.random.default_rng(seed).standard_normal(made.theta.size)
    return made


def steps_of(stream, x, batch):
    """Outputs of x (B, T, D), one step after the other, as `predict` has them."""
    rows = [x[0, t] if batch == 1 else x[:, t] for t in range(x.shape[1])]
    found = np.stack([stream.step(row).copy() for row in rows], axis=-2)
    return found[None] if batch == 1 else found


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("batch", [1, 3, 70])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['cell']}-{case['hidden']}")
def test_step_by_step_is_all_at_once(case, batch, engine):
    made = network(engine, **case)
    x = np.random.default_rng(1).standard_normal((batch, 12, 3)).astype(made.structure.dtype)
    close = {"rtol": 0, "atol": 1e-6 if made.structure.dtype == "float32" else 1e-13}
    wanted = made.predict(x)
    stream = made.stream(batch)
    np.testing.assert_allclose(steps_of(stream, x, batch), wanted, **close)
    stream.reset()
    np.testing.assert_allclose(steps_of(stream, x[:, :5], batch), wanted[:, :5], **close)
    kept = stream.state
    rest = steps_of(stream, x[:, 5:], batch)
    other = made.stream(batch)  # the state handed over to another
    other.state = kept
    np.testing.assert_array_equal(steps_of(other, x[:, 5:], batch), rest)
    stream.reset()
    whole = stream.run(x[0] if batch == 1 else x)
    np.testing.assert_allclose(whole if batch > 1 else whole[None], wanted, **close)
    np.testing.assert_allclose(stream.state, other.state, **close)


def test_two_streams_in_turns_do_not_disturb_each_other():
    made = network(**CASES[0])
    x = np.random.default_rng(2).standard_normal((2, 9, 3)).astype(np.float32)
    wanted = made.predict(x)
    streams = [made.stream(), made.stream()]
    found = [[s.step(x[k, t]).copy() for k, s in enumerate(streams)] for t in range(9)]
    np.testing.assert_allclose(np.array(found), np.swapaxes(wanted, 0, 1), atol=1e-6)


def test_the_weights_are_those_of_the_making():
    made = network(**CASES[0])
    stream = made.stream()
    x = np.ones(3, np.float32)
    before = stream.step(x).copy()
    made.theta[:] = 0
    stream.reset()
    np.testing.assert_array_equal(stream.step(x), before)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_numbers_of_one_hot_inputs(engine):
    made = network(engine, **CASES[0])
    ids = np.array([[0, 2, 1, 1, 0]])
    stream = made.stream(one_hot=True)
    found = np.array([stream.step(number).copy() for number in ids[0]])
    np.testing.assert_allclose(found, made.predict(ids)[0], atol=1e-6)
    with pytest.raises(bptt.BpttError, match="one-hot input 3"):
        stream.step(3)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_step_of_readout_last_is_the_output_of_a_sequence_that_ends_there(engine):
    made = network(engine, readout="last", **CASES[0])
    x = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    stream = made.stream()
    for t in range(4):
        np.testing.assert_allclose(
            stream.step(x[t]), made.predict(x[None, : t + 1])[0], atol=1e-6
        )  # fmt: skip


def test_nothing_is_kept_of_a_step():
    stream = network(**CASES[1]).stream()
    x = np.ones(3, np.float32)
    assert_nothing_is_kept_of_a_step(stream, x)


@pytest.mark.parametrize(
    ("x", "words"),
    [([1.0, 2.0], r"x has shape \(2,\): \(3,\) is needed"), ("no", "is needed for a step")],
)
def test_an_x_that_does_not_fit(x, words):
    with pytest.raises(bptt.BpttError, match=words):
        network(**CASES[0]).stream().step(x)


def test_what_cannot_be_streamed():
    untied = bptt.Network(inputs=1, outputs=1, hidden=3, tied=False, steps=4, engine="reference")
    with pytest.raises(bptt.BpttError, match="a stream has no end"):
        untied.stream()
    with pytest.raises(bptt.BpttError, match="batch 0 must be"):
        network("reference", **CASES[0]).stream(0)
    stream = network("reference", **CASES[0]).stream()
    with pytest.raises(bptt.BpttError, match=r"state has shape \(2, 2\)"):
        stream.state = np.zeros((2, 2))
