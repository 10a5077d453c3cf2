"""Intervals of shares, differences and times: published numbers, SciPy, and edges."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import CensoredData, binomtest, ecdf

from bptt.studies.statistics import (
    band,
    difference,
    group_quantile,
    solve_time,
    solved_by,
    wilson,
)

Z = 1.959963984540054  # of 95 %, from tables
# Freireich et al. 1963, remission of leukaemia under 6-mercaptopurine, in weeks; 0: still in
# remission when last seen. The worked example of Cox and Oakes 1984 and of many textbooks.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
ENDED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_numbers(count, total, low, high):
    found = wilson(count, total)
    assert round(float(found.low), 4) == low
    assert round(float(found.high), 4) == high


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(drawn):
    count, total = drawn
    theirs = binomtest(count, total).proportion_ci(0.95, method="wilson")
    ours = wilson(count, total)
    # Both are a dozen float64 operations on numbers up to 400.
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=1e-12)
    assert 0 <= ours.low <= ours.estimate <= ours.high <= 1


def test_wilson_of_nothing_is_everything():
    found = wilson(0, 0)
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (0, 1)


def test_wilson_of_all_and_none_ends_exactly():
    found = wilson([0, 7], [7, 7])
    assert found.low[0] == 0
    assert found.high[1] == 1


@pytest.mark.parametrize(
    ("a", "n", "b", "m", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10.
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_difference_of_shares_gives_newcombes_numbers(a, n, b, m, low, high):
    found = difference(wilson(a, n), wilson(b, m))
    assert float(found.estimate) == pytest.approx(a / n - b / m, abs=1e-15)
    assert round(float(found.low), 4) == low
    assert round(float(found.high), 4) == high


@given(st.integers(0, 30), st.integers(0, 20))
def test_difference_turned_round_is_its_negative(a, b):
    x, y = wilson(a, 30), wilson(b, 20)
    there, back = difference(x, y), difference(y, x)
    assert [there.low, there.high] == [-back.high, -back.low]


def test_difference_of_what_is_not_reached_is_not_known():
    found = difference(
        *(
            type(wilson(1, 2))(*each)
            for each in ((math.inf, 3.0, math.inf), (math.inf, 2.0, math.inf))
        )
    )
    assert math.isnan(found.estimate)


def test_survival_gives_the_textbooks_numbers():
    curve = solved_by([0] * 21, WEEKS, ENDED)
    assert curve["time"].tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    assert curve["at_risk"].tolist() == [21, 21, 17, 15, 12, 11, 7, 6]
    survival = (1 - curve["share"]).round(3).tolist()
    assert survival == [1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    median = solve_time(curve)
    assert median.estimate.tolist() == [23]
    assert math.isinf(median.high[0])


def test_band_of_a_censored_curve_is_the_score_tests():
    # Rothman's interval holds the shares P with (F - P)² <= z² P (1 - P) / n', where F (1 - F) / n'
    # is Greenwood's variance, here added up by hand.
    curve = solved_by([0] * 21, WEEKS, ENDED)
    row = curve[curve["time"] == 13].iloc[0]
    greenwood = 3 / (21 * 18) + 1 / (17 * 16) + 1 / (15 * 14) + 1 / (12 * 11)
    unsolved = 18 / 21 * 16 / 17 * 14 / 15 * 11 / 12
    effective = (1 - unsolved) / (unsolved * greenwood)

    def test(p):
        return (1 - unsolved - p) ** 2 - Z**2 * p * (1 - p) / effective

    assert row["low"] == pytest.approx(brentq(test, 1e-9, 1 - unsolved), abs=1e-9)
    assert row["high"] == pytest.approx(brentq(test, 1 - unsolved, 1 - 1e-9), abs=1e-9)


runs = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), min_size=1, max_size=60
)


@given(runs)
@settings(deadline=None)
def test_curves_of_groups_are_scipys_of_each(drawn):
    frame = pd.DataFrame(drawn, columns=["group", "time", "solved"])
    frame["group"] = pd.factorize(frame["group"])[0]
    curve = solved_by(frame["group"], frame["time"], frame["solved"])
    for group, part in frame.groupby("group"):
        mine = curve[curve["group"] == group]
        solved, censored = part[part["solved"]]["time"], part[~part["solved"]]["time"]
        theirs = ecdf(CensoredData(uncensored=solved, right=censored)).sf
        at = theirs.evaluate(mine["time"].to_numpy()[1:])
        # A product of at most 60 factors, each rounded once.
        np.testing.assert_allclose(1 - mine["share"].to_numpy()[1:], at, atol=1e-13)
        assert mine["time"].tolist()[1:] == sorted(set(solved))
        assert (mine["low"] <= mine["share"] + 1e-12).all()
        assert (mine["high"] >= mine["share"] - 1e-12).all()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=120), st.sampled_from([0.25, 0.5, 0.75]))
@settings(deadline=None)
def test_complete_times_give_order_statistics_and_wilson(times, share):
    curve = solved_by(np.zeros(len(times)), times, np.ones(len(times)))
    found = solve_time(curve, share)
    assert found.estimate[0] == np.quantile(times, share, method="inverted_cdf")
    by_now = wilson([sum(t <= x for t in times) for x in curve["time"]], len(times))
    np.testing.assert_allclose(curve["low"], by_now.low, atol=1e-9)
    np.testing.assert_allclose(curve["high"], by_now.high, atol=1e-9)
    assert found.low[0] <= found.estimate[0] <= found.high[0]


def test_median_of_a_hundred_lies_between_the_41st_and_the_60th():
    # 60 of 100 is (60 - 50) / 5 = 2 standard deviations from a half, 59 is 1.8: with 1.96, a time
    # by which 60 or more, or 40 or fewer, have solved the task is no median.
    found = solve_time(solved_by(np.zeros(100), np.arange(1, 101), np.ones(100)))
    assert (found.low[0], found.estimate[0], found.high[0]) == (41, 50, 60)


def test_half_of_many_runs_is_half_in_spite_of_rounding():
    for n in range(2, 400, 2):
        curve = solved_by(np.zeros(n), np.arange(n), np.ones(n))
        assert solve_time(curve).estimate[0] == n // 2 - 1


def test_who_never_solves_counts_to_the_end():
    # Of 10 runs 4 solve at 10 and 3 diverge at 5, never to solve: 4 of 10, not 4 of 7.
    time = [10] * 4 + [math.inf] * 3 + [20] * 3
    curve = solved_by([0] * 10, time, [1] * 4 + [0] * 6)
    assert curve["share"].iloc[-1] == pytest.approx(0.4)
    assert np.isinf(solve_time(curve).estimate[0])


def test_one_run_says_little():
    found = solve_time(solved_by([0], [300], [1]))
    assert (found.low[0], found.estimate[0]) == (0, 300)
    assert math.isinf(found.high[0])


def test_all_at_once_and_none():
    found = solve_time(solved_by([0] * 20 + [1] * 3, [100] * 23, [1] * 20 + [0] * 3))
    assert [float(end[0]) for end in found] == [100, 100, 100]
    assert all(math.isinf(end[1]) for end in found[:1])


def test_median_intervals_hold_the_true_median_as_often_as_they_say():
    rng = np.random.default_rng(5)
    samples, n, budget = 2000, 25, 1500.0
    drawn = rng.exponential(1000, (samples, n))
    time = np.minimum(drawn, budget).ravel()
    group = np.repeat(np.arange(samples), n)
    found = solve_time(solved_by(group, time, (drawn < budget).ravel()))
    truth = 1000 * math.log(2)
    held = ((found.low <= truth) & (truth < found.high)).mean()
    # 2,000 samples: a standard deviation of 0.005; order statistics of 25 cannot do 95 % exactly.
    assert 0.935 < held < 0.985


def test_intervals_of_differences_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(6)
    a, b = rng.binomial(40, 0.9, 4000), rng.binomial(60, 0.7, 4000)
    found = difference(wilson(a, 40), wilson(b, 60))
    held = ((found.low <= 0.2) & (found.high >= 0.2)).mean()
    assert 0.935 < held < 0.97  # 4,000 samples: a standard deviation of 0.0034


def test_quantiles_of_groups_are_values_that_occur():
    value = [3, 1, 2, math.nan, 5, math.inf]
    assert group_quantile([0, 0, 0, 1, 1, 1], value).tolist() == [2, math.inf]
    assert group_quantile([0, 0, 0, 1, 1, 1], value, 0.25).tolist() == [1, 5]


def test_band_is_median_and_quartiles_with_what_is_not_a_number_last():
    found = band([[1, 1], [2, math.nan], [3, math.nan], [4, math.nan]])
    assert [part.tolist() for part in found] == [[2, math.inf], [1, 1], [3, math.inf]]
