"""One weight a sequence and step in the loss: what it means, in both engines.

Kernels against the reference with weights: tests/test_regimes.py, tests/test_side_by_side.py.
"""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Network
from bptt.equations.outputs import OUTPUTS, REDUCTIONS, loss_scale

B, T, D, H, O = 4, 5, 2, 3, 3  # noqa: E741
LENGTHS = np.array([5, 0, 3, 1])


def network_of(readout, reduction, output=("softmax", "cross_entropy"), engine="reference"):
    return Network(
        inputs=D, hidden=H, outputs=O, output=output[0], loss=output[1], readout=readout,
        reduction=reduction, dtype="float64", initial_state="trainable", engine=engine, seed=1,
    )  # fmt: skip


def data_of(network, seed=0, count=B):
    rng = np.random.default_rng(seed)
    rows = (count, T) if network.structure.readout == "steps" else (count,)
    x = rng.normal(size=(count, T, D))
    classes = network.structure.head.classes
    y = rng.integers(0, O, rows) if classes else rng.random((*rows, O))
    weights = rng.uniform(0.1, 2, rows) * (rng.random(rows) > 0.3)
    weights.flat[0] = 1
    return x, y, weights


CASES = pytest.mark.parametrize(
    ("readout", "reduction"), [(o, r) for o in ("steps", "last") for r in REDUCTIONS]
)


@CASES
def test_the_loss_by_hand(readout, reduction):
    network = network_of(readout, reduction)
    x, y, weights = data_of(network)
    o = network.forward(x, LENGTHS).o
    log_p = o - np.log(np.exp(o).sum(axis=-1, keepdims=True))
    losses = -np.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    if readout == "steps":
        counted = np.arange(T) < LENGTHS[:, None]
        weights = np.where(counted, weights, 0)
        each = weights.sum(axis=1)[LENGTHS > 0] / LENGTHS[LENGTHS > 0]
    else:
        each = weights
    divisor = {"sum": 1, "sequence": each.sum(), "mean": weights.sum()}[reduction]
    expected = (losses * weights).sum() / divisor
    np.testing.assert_allclose(network.loss(x, y, LENGTHS, weights=weights), expected, rtol=1e-12)


@CASES
@pytest.mark.parametrize("output", OUTPUTS, ids="-".join)
def test_the_gradient_by_central_differences(readout, reduction, output):
    network = network_of(readout, reduction, output)
    x, y, weights = data_of(network, 3)
    found = network.gradient(x, y, LENGTHS, weights=weights)
    step = 1e-5
    for place in range(0, network.theta.size, 3):
        losses = []
        for sign in (1, -1):
            network.theta[place] += sign * step
            losses.append(network.loss(x, y, LENGTHS, weights=weights))
            network.theta[place] -= sign * step
        # The error of a central difference is about step^2 and 1e-16 / step: 1e-10.
        np.testing.assert_allclose(
            found.flat[place], (losses[0] - losses[1]) / (2 * step), rtol=1e-6, atol=1e-9
        )


@CASES
def test_a_sample_of_weight_3_counts_as_three(readout, reduction):
    network = network_of(readout, reduction)
    x, y, _ = data_of(network, 1)
    times = np.array([3, 1, 0, 2])
    weights = np.broadcast_to(times[:, None], (B, T)) if readout == "steps" else times
    often = np.repeat(np.arange(B), times)
    once = network.gradient(x, y, LENGTHS, weights=weights)
    thrice = network.gradient(x[often], y[often], LENGTHS[often])
    np.testing.assert_allclose(once.loss, thrice.loss, rtol=1e-12)
    np.testing.assert_allclose(once.flat, thrice.flat, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("reduction", ["sequence", "mean"])
def test_a_common_factor_changes_no_mean(reduction):
    """So class weights do not change the learning rate."""
    network = network_of("steps", reduction)
    x, y, weights = data_of(network, 2)
    one = network.gradient(x, y, LENGTHS, weights=weights)
    eight = network.gradient(x, y, LENGTHS, weights=8 * weights)
    np.testing.assert_array_equal(one.flat, eight.flat)  # 8 is a power of two: no rounding
    assert one.loss == eight.loss


ENGINES = pytest.mark.parametrize("engine", ["reference", "compiled"])


@ENGINES
@CASES
def test_weights_of_1_change_no_bit(engine, readout, reduction):
    network = network_of(readout, reduction, engine=engine)
    x, y, weights = data_of(network, 4)
    plain = network.gradient(x, y, LENGTHS)
    ones = network.gradient(x, y, LENGTHS, weights=np.ones_like(weights))
    assert plain.loss == ones.loss
    np.testing.assert_array_equal(plain.flat, ones.flat)


@ENGINES
@pytest.mark.parametrize("count", [B, 9])
def test_what_weighs_nothing_may_be_anything(engine, count):
    """Missing targets, NaN where targets are values; padding of any kind, and more of it.

    More padding changes no bit of the reference. The compiled engine adds up the steps' gradients
    in groups that depend on T: equal within the rounding of sums of 40 terms, 1e-16 each.
    """
    network = network_of("steps", "mean", ("linear", "squared"), engine)
    x, y, weights = data_of(network, 5, count)
    lengths = np.resize(LENGTHS, count)
    plain = network.gradient(x, y, lengths, weights=weights)
    y[weights == 0] = np.nan
    more = ((0, 0), (0, 4), (0, 0))
    wide_x, wide_y = np.pad(x, more, constant_values=np.nan), np.pad(y, more)
    wide_weights = np.pad(weights, more[:2], constant_values=7.0)
    same = network.gradient(x, y, lengths, weights=weights)
    wide = network.gradient(wide_x, wide_y, lengths, weights=wide_weights)
    for found, close in ((same, 0.0), (wide, 0.0 if engine == "reference" else 1e-13)):
        np.testing.assert_allclose(found.loss, plain.loss, rtol=close, atol=0)
        np.testing.assert_allclose(found.flat, plain.flat, rtol=close, atol=close)


@given(st.integers(0, 10**6), st.sampled_from(REDUCTIONS))
@settings(max_examples=50, deadline=None)
def test_the_scale_of_a_batch(seed, reduction):
    rng = np.random.default_rng(seed)
    cases = rng.integers(0, 4, (2, 5))
    weights = rng.random((2, 5)) * (cases > 0)
    scale = loss_scale(reduction, weights, cases)
    for found, w, n in zip(scale, weights, cases, strict=True):
        each = sum(a / b for a, b in zip(w, n, strict=True) if b)
        whole = {"sum": 1.0, "sequence": each, "mean": w.sum()}[reduction]
        np.testing.assert_allclose(found, 1 / whole if whole else 0, rtol=1e-12)


def test_weights_that_are_refused():
    network = network_of("steps", "mean")
    x, y, weights = data_of(network)
    negative, infinite = weights.copy(), weights.copy()
    negative[0, 0], infinite[0, 0] = -1, np.inf
    for message, value in (
        (r"weights has shape \(4,\): \(4, 5\) is needed", weights[:, 0]),
        ("weight -1.0 is not allowed", negative),
        ("weight inf is not allowed", infinite),
        ("all weights are 0", 0 * weights),
    ):
        with pytest.raises(BpttError, match=message):
            network.loss(x, y, weights=value)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_pinball_loss_by_hand_and_the_quantiles_it_learns(engine):
    """The mean over targets is smallest where shares 0.1, 0.5 and 0.9 of them lie below."""
    levels, rng = (0.1, 0.5, 0.9), np.random.default_rng(3)
    network = Network(
        inputs=1, outputs=3, hidden=1, output="linear", loss="pinball", quantiles=levels,
        reduction="mean", dtype="float64", engine=engine, seed=2,
    )  # fmt: skip
    x, drawn = rng.normal(size=(2, 6, 1)), rng.exponential(size=(2, 6, 1))
    y = np.repeat(drawn, 3, axis=2)
    e = y - network.forward(x).o
    by_hand = np.where(e > 0, np.multiply(levels, e), (np.array(levels) - 1) * e)
    np.testing.assert_allclose(network.loss(x, y), by_hand.sum() / 12, rtol=1e-12)
    # The same constant for all: the states are zero, only c is looked at.
    network.theta[:] = 0
    many = rng.exponential(size=(1, 1001, 1))
    network["c"][:] = np.quantile(many, levels)
    found = network.gradient(np.zeros_like(many), np.repeat(many, 3, axis=2))
    # One target of 1,001 lies on the quantile itself, where the slope jumps by 1.
    np.testing.assert_allclose(found.parameters["c"], 0, atol=1.01 / 1001)
    network["c"][:] = 0
    found = network.gradient(np.zeros_like(many), np.repeat(many, 3, axis=2))
    np.testing.assert_allclose(found.parameters["c"], [-0.1, -0.5, -0.9], rtol=1e-9)


def test_levels_of_quantiles():
    def network(outputs, **options):
        return Network(inputs=1, outputs=outputs, output="linear", engine="reference", **options)

    spread = network(3, loss="pinball").structure
    assert spread.head.levels == (0.25, 0.5, 0.75)
    assert pickle.loads(pickle.dumps(spread.head)).levels == (0.25, 0.5, 0.75)
    for message, options in (
        ("2 quantiles for 1 outputs", {"loss": "pinball", "quantiles": (0.1, 0.9)}),
        ("quantile 1.0 is not allowed", {"loss": "pinball", "quantiles": (1.0,)}),
        ("quantiles go with loss 'pinball', not with 'huber'",
         {"loss": "huber", "quantiles": (0.5,)}),
    ):  # fmt: skip
        with pytest.raises(BpttError, match=message):
            network(1, **options)
