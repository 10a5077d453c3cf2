"""Every optimizer against a textbook loop, schedules, clipping, and values that are not allowed."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bptt import BpttError, Optimizer, Schedule
from bptt.equations.optimizers import RULES, clip

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]
KINDS = sorted(RULES)


def run(
    optimizer: Optimizer, gradient: Gradient, theta: Vector, iterations: int, calls: int = 1
) -> Vector:
    """`iterations` updates, the coefficients worked out in that many calls."""
    s0, s1 = np.zeros_like(theta), np.zeros_like(theta)
    rule, done = optimizer.rule, 0
    for part in np.array_split(np.arange(iterations), calls):
        for row in optimizer.coefficients(done, len(part)):
            k = tuple(row)
            theta, s0 = rule.prepare(theta, s0, k)
            theta, s0, s1 = rule.update(theta, gradient(theta), s0, s1, k)
        done += len(part)
    return theta


def bowl(seed: int) -> tuple[Gradient, Vector, Vector]:
    """The gradient of a quadratic with curvatures 1 to 5, where it is least, and a start."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    hessian = q @ np.diag([1.0, 2.0, 3.0, 4.0, 5.0]) @ q.T
    lowest = rng.normal(size=5)
    return lambda theta: hessian @ (theta - lowest), lowest, lowest + rng.normal(size=5)


# Textbook loops, each written from its source, number by number


def textbook_sgd(g: Gradient, theta: list[float], o: Optimizer, rates: list[float]) -> list[float]:
    for rate in rates:
        slope = g(np.array(theta))
        theta = [p - rate * d for p, d in zip(theta, slope, strict=True)]
    return theta


def textbook_momentum(
    g: Gradient, theta: list[float], o: Optimizer, rates: list[float]
) -> list[float]:
    """Sutskever et al. 2013, equations 1 and 2."""
    velocity = [0.0] * len(theta)
    for rate in rates:
        slope = g(np.array(theta))
        velocity = [o.momentum * v - rate * d for v, d in zip(velocity, slope, strict=True)]
        theta = [p + v for p, v in zip(theta, velocity, strict=True)]
    return theta


def textbook_nesterov(
    g: Gradient, theta: list[float], o: Optimizer, rates: list[float]
) -> list[float]:
    """Sutskever et al. 2013, equations 3 and 4: the gradient at theta + mu v."""
    velocity = [0.0] * len(theta)
    for rate in rates:
        ahead = [p + o.momentum * v for p, v in zip(theta, velocity, strict=True)]
        slope = g(np.array(ahead))
        velocity = [o.momentum * v - rate * d for v, d in zip(velocity, slope, strict=True)]
        theta = [p + v for p, v in zip(theta, velocity, strict=True)]
    return theta


def textbook_rmsprop(
    g: Gradient, theta: list[float], o: Optimizer, rates: list[float]
) -> list[float]:
    """Hinton's lecture 6e, epsilon outside the root."""
    mean = [0.0] * len(theta)
    for rate in rates:
        slope = g(np.array(theta))
        for i, d in enumerate(slope):
            mean[i] = o.decay * mean[i] + (1 - o.decay) * d**2
            theta[i] -= rate * d / (math.sqrt(mean[i]) + o.epsilon)
    return theta


def textbook_rmsprop_nesterov(
    g: Gradient, theta: list[float], o: Optimizer, rates: list[float]
) -> list[float]:
    """Nesterov's look-ahead with the step of RMSprop in place of the gradient's."""
    mean, velocity = [0.0] * len(theta), [0.0] * len(theta)
    for rate in rates:
        slope = g(np.array(theta) + o.momentum * np.array(velocity))
        for i, d in enumerate(slope):
            mean[i] = o.decay * mean[i] + (1 - o.decay) * d**2
            step = rate * d / (math.sqrt(mean[i]) + o.epsilon)
            velocity[i] = o.momentum * velocity[i] - step
            theta[i] += velocity[i]
    return theta


def textbook_adagrad(
    g: Gradient, theta: list[float], o: Optimizer, rates: list[float]
) -> list[float]:
    """Duchi, Hazan & Singer 2011, the diagonal form."""
    total = [0.0] * len(theta)
    for rate in rates:
        slope = g(np.array(theta))
        for i, d in enumerate(slope):
            total[i] += d**2
            theta[i] -= rate * d / (math.sqrt(total[i]) + o.epsilon)
    return theta


def textbook_adam(g: Gradient, theta: list[float], o: Optimizer, rates: list[float]) -> list[float]:
    """Kingma & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019, algorithm 2."""
    decay = o.weight_decay if o.kind == "adamw" else 0.0
    first, second = [0.0] * len(theta), [0.0] * len(theta)
    for t, rate in enumerate(rates, start=1):
        slope = g(np.array(theta))
        for i, d in enumerate(slope):
            first[i] = o.beta1 * first[i] + (1 - o.beta1) * d
            second[i] = o.beta2 * second[i] + (1 - o.beta2) * d**2
            m_hat, v_hat = first[i] / (1 - o.beta1**t), second[i] / (1 - o.beta2**t)
            decayed = rate * decay * theta[i]
            theta[i] -= rate * m_hat / (math.sqrt(v_hat) + o.epsilon) + decayed
    return theta


TEXTBOOK = {
    "sgd": textbook_sgd,
    "momentum": textbook_momentum,
    "nesterov": textbook_nesterov,
    "rmsprop": textbook_rmsprop,
    "rmsprop_nesterov": textbook_rmsprop_nesterov,
    "adagrad": textbook_adagrad,
    "adam": textbook_adam,
    "adamw": textbook_adam,
}


def test_every_rule_has_a_textbook() -> None:
    assert TEXTBOOK.keys() == RULES.keys()


def test_which_states_a_rule_keeps() -> None:
    kept = {kind: " ".join(rule.states) for kind, rule in RULES.items()}
    assert kept == {
        "sgd": "", "momentum": "s0", "nesterov": "s0", "rmsprop": "s1",
        "rmsprop_nesterov": "s0 s1", "adagrad": "s0", "adam": "s0 s1", "adamw": "s0 s1",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_equals_textbook(kind: str, seed: int) -> None:
    """No setting at its default, the learning rate different at every iteration."""
    optimizer = Optimizer(
        kind=kind, learning_rate=0.07, momentum=0.8, decay=0.6, beta1=0.85, beta2=0.97,
        epsilon=0.01, weight_decay=0.3, schedule=Schedule(kind="step", every=1, factor=0.9),
    )  # fmt: skip
    gradient, _, start = bowl(seed)
    rates = [0.07 * 0.9**n for n in range(20)]
    expected = TEXTBOOK[kind](gradient, list(start), optimizer, rates)
    # 20 iterations of a few roundings each, on a problem that contracts
    np.testing.assert_allclose(
        run(optimizer, gradient, start, 20), expected, rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic(kind: str) -> None:
    """Bit for bit the same again, however the iterations are cut into calls."""
    optimizer = Optimizer(kind=kind, schedule=Schedule(kind="cosine", iterations=30, warmup=5))
    gradient, _, start = bowl(5)
    once = run(optimizer, gradient, start, 40)
    np.testing.assert_array_equal(run(optimizer, gradient, start, 40), once)
    np.testing.assert_array_equal(run(optimizer, gradient, start, 40, calls=7), once)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_converges(kind: str, seed: int) -> None:
    """On a quadratic, the learning rate run down so that signed steps settle as well."""
    optimizer = Optimizer(
        kind=kind, learning_rate=0.5 if kind == "adagrad" else 0.03, weight_decay=0.0,
        schedule=Schedule(kind="cosine", iterations=1000),
    )  # fmt: skip
    gradient, lowest, start = bowl(seed)
    assert np.abs(start - lowest).max() > 0.5
    assert np.abs(run(optimizer, gradient, start, 1000) - lowest).max() < 1e-3


def test_weight_decay_is_decoupled() -> None:
    """Where there is no gradient AdamW shrinks by lr wd an iteration; Adam stays."""
    start = np.array([1.0, -2.0])
    for kind, factor in (("adamw", (1 - 0.1 * 0.2) ** 3), ("adam", 1.0)):
        optimizer = Optimizer(kind=kind, learning_rate=0.1, weight_decay=0.2)
        np.testing.assert_allclose(
            run(optimizer, np.zeros_like, start, 3), start * factor, rtol=1e-15
        )


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_first_step_has_the_size_of_the_learning_rate(kind: str) -> None:
    """Bias correction: whatever the gradient's size, the first step is lr."""
    optimizer = Optimizer(kind=kind, learning_rate=0.01, weight_decay=0.0, epsilon=0.0)
    slope = np.array([1e-6, -3.0, 1e6])
    np.testing.assert_allclose(
        run(optimizer, lambda theta: slope, np.zeros(3), 1), -0.01 * np.sign(slope), rtol=1e-14
    )


# Schedules


def test_constant_schedule() -> None:
    assert Schedule().factors(np.arange(4)).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_step_schedule() -> None:
    factors = Schedule(kind="step", every=3, factor=0.5).factors(np.arange(8))
    assert factors.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_schedule() -> None:
    schedule = Schedule(kind="cosine", iterations=4, minimum=0.2)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)] + [0.2, 0.2]
    np.testing.assert_allclose(schedule.factors(np.arange(6)), expected, rtol=1e-15)
    assert schedule.factors(np.arange(5))[[0, 2]] == pytest.approx([1.0, 0.6], rel=1e-15)


@pytest.mark.parametrize("kind", Schedule.KINDS)
def test_warmup_multiplies(kind: str) -> None:
    """A quarter of the rate at first, all of it from the fourth iteration on."""
    n = np.arange(8)
    plain = Schedule(kind=kind, every=3, iterations=6).factors(n)
    warmed = Schedule(kind=kind, every=3, iterations=6, warmup=4).factors(n)
    np.testing.assert_allclose(warmed, plain * [0.25, 0.5, 0.75, 1, 1, 1, 1, 1], rtol=1e-15)


@given(
    kind=st.sampled_from(KINDS),
    schedule=st.sampled_from(Schedule.KINDS),
    cut=st.integers(0, 60),
    first=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_coefficients_do_not_depend_on_the_cut(
    kind: str, schedule: str, cut: int, first: int
) -> None:
    """What a resumed run reads is, bit for bit, what an uninterrupted one reads."""
    optimizer = Optimizer(kind=kind, schedule=Schedule(kind=schedule, warmup=20, every=7))
    whole = optimizer.coefficients(first, 61)
    parts = [optimizer.coefficients(first, cut), optimizer.coefficients(first + cut, 61 - cut)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert np.isfinite(whole).all()


# Clipping


@given(
    g=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9),
    value=st.floats(0.01, 100),
    norm=st.floats(0.01, 100),
)
@settings(deadline=None, derandomize=True)
def test_clipping(g: list[float], value: float, norm: float) -> None:
    """By value, then by norm; returned is the norm before either."""
    before = math.sqrt(math.fsum(d * d for d in g))
    by_value = [min(max(d, -value), value) for d in g]
    size = math.sqrt(math.fsum(d * d for d in by_value))
    expected = [d * min(1.0, norm / size) if size else d for d in by_value]
    found = np.array(g)
    assert clip(found, value, norm) == pytest.approx(before, rel=1e-14)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert math.sqrt((found**2).sum()) <= norm * (1 + 1e-14)
    assert np.abs(found).max() <= value


def test_no_clipping() -> None:
    """Without limits, and within them, not a bit changes."""
    g = np.array([3.0, -4.0, 1e-300])
    for limits in ((math.inf, math.inf), (4.0, math.inf), (math.inf, 5.0), (4.0, 5.0)):
        found = g.copy()
        assert clip(found, *limits) == 5.0
        np.testing.assert_array_equal(found, g)
    assert Optimizer().clips == (math.inf, math.inf)
    assert Optimizer(clip_value=1.5, clip_norm=2.5).clips == (1.5, 2.5)


def test_norm_of_float32_is_summed_in_float64() -> None:
    """1e30 squared is beyond float32; the gradient and its norm are not."""
    g = np.array([3e30, 4e30], np.float32)
    assert clip(g, math.inf, 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)
    assert g.dtype == np.float32


def test_clipping_hides_no_divergence() -> None:
    """A NaN stays, and the norm shows it."""
    for bad in (math.nan, math.inf):
        g = np.array([1.0, bad])
        with np.errstate(invalid="ignore"):
            norm = clip(g, math.inf, 1.0)
        assert not math.isfinite(norm)
    g = np.array([1.0, math.nan])
    assert math.isnan(clip(g, 1.0, 1.0))
    assert math.isnan(g[1])


# Values that are not allowed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "adamm"}, "'adamm' is not known: choose one of 'sgd', 'momentum'"),
        *(
            ({name: value}, f"{name} {value} must")
            for name in ("learning_rate", "epsilon", "weight_decay")
            for value in (-0.1, math.nan, math.inf)
        ),
        *(
            ({name: value}, f"{name} {value} must")
            for name in ("momentum", "decay", "beta1", "beta2")
            for value in (-0.1, 1.0, math.nan)
        ),
        *(
            ({name: value}, f"{name} {value} must be positive")
            for name in ("clip_value", "clip_norm")
            for value in (0.0, -1.0, math.nan)
        ),
    ],
)
def test_bad_optimizer(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BpttError) as caught:
        Optimizer(**options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "linear"},
        {"every": 0},
        {"iterations": 0},
        {"warmup": -1},
        {"kind": "step", "factor": -0.5},
        {"kind": "step", "factor": math.nan},
        {"kind": "cosine", "minimum": -0.1},
        {"kind": "cosine", "minimum": math.nan},
    ],
    ids=str,
)
def test_bad_schedule(options: dict[str, Any]) -> None:
    """A schedule is a finite factor that is not negative, whatever the iteration."""
    with pytest.raises(BpttError) as caught:
        Schedule(**options)
    assert "\n" not in str(caught.value)
    assert str(next(reversed(options.values()))) in str(caught.value)
