"""What is said of forecasts beside baselines, and the width of intervals, by their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError
from bptt.fitting.forecasting.comparison import OURS, compared
from bptt.fitting.forecasting.intervals import half_width, residuals_of


def comparison(ours, theirs, n=60, horizon=2, seed=0, series=1):
    """Forecasts with errors of these sizes."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, horizon))
    said = {OURS: truth + ours * rng.normal(size=truth.shape),
            "naive": truth + theirs * rng.normal(size=truth.shape)}  # fmt: skip
    of = np.arange(n) % series
    return compared(truth, said, of, np.arange(n) // series, np.full(n, 2.0), {})


def test_the_verdict_names_the_baseline_and_says_when_it_is_better():
    good, bad, same = comparison(0.5, 1.0), comparison(1.0, 0.5), comparison(1.0, 1.0)
    assert (good.outcome, bad.outcome, same.outcome) == ("better", "worse", "unclear")
    low, high = good.interval
    assert low < good.value < high
    assert good.ratio_interval[0] < good.ratio < good.ratio_interval[1] < 1
    assert "% less than naive [" in good.line("here")
    assert good.advice() == []
    assert bad.advice()[0].startswith("naive is better here and needs no training: use it")
    assert "ETSModel" in bad.advice()[0]
    assert same.advice()[0].startswith("not clearly better than naive")
    few = comparison(0.5, 1.0, n=8)
    assert few.interval is few.ratio_interval is None
    assert few.outcome == "unclear"
    assert few.advice(30) == [
        "too few to judge: 4 times 2 forecasts that overlap; with 5 an interval is told: give more "
        "values or series, a smaller horizon, or hold more out",
        "few data: 30 windows to learn from; exponential smoothing (statsmodels' ETSModel) or "
        "ARIMA are made for such series",
    ]
    several = comparison(0.5, 1.0, series=3)
    assert several.measure == "mase"
    np.testing.assert_allclose(several.value, several.errors[OURS]["mae"] / 2)


def test_a_baseline_without_an_error():
    truth = np.full((30, 1), 7.0)
    for off, ratio, outcome in ((1e-3, None, "worse"), (0.0, 1.0, "unclear")):
        said = {OURS: truth + off, "naive": truth}
        found = compared(truth, said, np.zeros(30), np.arange(30), np.ones(30), {})
        assert np.isfinite([found.ratio, *found.ratio_interval]).all()
        assert found.outcome == outcome
        assert ratio in (None, found.ratio)


def test_forecasts_in_a_row_are_drawn_together():
    """Errors that are alike for as many forecasts as the horizon has steps give the interval of
    their blocks, wider than that of forecasts one by one."""
    rng = np.random.default_rng(1)
    each = np.repeat(np.abs(rng.normal(size=40)), 5)
    truth = np.zeros((200, 5))
    said = {OURS: np.tile(each[:, None], 5), "naive": np.ones((200, 5))}
    found = compared(truth, said, np.zeros(200), np.arange(200), np.ones(200), {})
    assert found.blocks == 40
    half = 1.96 * each[::5].std() / np.sqrt(40)
    np.testing.assert_allclose(np.diff(found.interval)[0], 2 * half, rtol=0.2)  # 2,000 drawn


@given(st.integers(1, 60), st.integers(1, 99), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_width_of_an_interval_by_its_definition(n, level, seed):
    """At least (n + 1) p of the n + 1 places that a new error could take are inside."""
    errors = np.random.default_rng(seed).normal(size=(n, 2))
    residuals = residuals_of(errors)
    if (n + 1) * level > 100 * n:
        with pytest.raises(BpttError, match=f"needs {math.ceil(level / (100 - level))} forecasts"):
            half_width(residuals, level)
        return
    width = half_width(residuals, level)
    for step in range(2):
        inside = np.abs(errors[:, step]) <= width[step]
        smaller = np.abs(errors[:, step]) < width[step]
        assert inside.sum() * 100 >= (n + 1) * level > smaller.sum() * 100
