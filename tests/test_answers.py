"""Tables and comparisons of studies' results, on made-up results whose answers are known."""

import json
import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from study_results import made_up, made_up_curves

from bptt.errors import BpttError
from bptt.studies.answers import (
    by_value,
    learning_curves,
    longer_sums,
    not_told_apart,
    ranked,
    records,
    solved_curves,
    summary,
    varied_fields,
)
from bptt.studies.comparison import compare
from bptt.studies.words import median_interval, percent, verdicts


def results(rows, **columns):
    """Results of one setting from (status, iterations, loss) of each run."""
    frame = pd.DataFrame(rows, columns=["status", "iterations", "loss"])
    solved = frame["status"] == "solved"
    frame["solved_at"] = frame["iterations"].where(solved).astype("Int64")
    frame = frame.assign(setting=0, label="", seed=range(len(frame)), seconds=0.5, version="1")
    return frame.assign(**columns)


@pytest.fixture(scope="module")
def grid():
    chances = {2: (0, 0, 5000), 4: (0.6, 0.2, 9000), 8: (0.97, 0, 3000), 16: (1, 0, 1500)}
    return made_up([{"hidden": h, "chance": chance} for h, chance in chances.items()], 60)


def test_summary_of_one_setting():
    rows = [("solved", 100, 0.1)] * 3 + [("solved", 300, 0.2)] * 3
    rows += [("not solved", 1000, 2.0)] * 2 + [("diverged", 50, math.nan)] * 2
    (row,) = records(summary(results(rows)))
    assert (row["runs"], row["solved"], row["diverged"]) == (10, 6, 2)
    for status, count in (("solved", 6), ("diverged", 2)):
        theirs = binomtest(count, 10).proportion_ci(0.95, "wilson")
        found = [row[f"{status}_{name}"] for name in ("share", "low", "high")]
        assert found == pytest.approx([count / 10, theirs.low, theirs.high], abs=1e-12)
    assert (row["lower"], row["median"], row["upper"]) == (100, 300, None)
    # Wilson: 3 of 10 may be as many as 61 %, 6 of 10 as few as 31 %, so there is no upper end.
    assert (row["median_low"], row["median_high"]) == (100, None)
    assert row["loss"] == 0.2
    assert row["seconds"] == 5


@pytest.mark.parametrize(
    ("status", "median", "loss"),
    [("solved", 70, 0.5), ("not solved", None, 0.5), ("diverged", None, None)],
)
@pytest.mark.parametrize("seeds", [1, 2, 30])
def test_all_runs_alike(status, median, loss, seeds):
    (row,) = records(summary(results([(status, 70, 0.5)] * seeds)))
    assert (row["median"], row["lower"], row["upper"]) == (median,) * 3
    assert row["loss"] == loss
    assert row["solved_share"] == (status == "solved")
    assert 0 <= row["solved_low"] <= row["solved_share"] <= row["solved_high"] <= 1
    assert all(verdicts(summary(results([(status, 70, 0.5)] * seeds))))


def test_no_run_is_refused():
    with pytest.raises(BpttError, match=r"no finished run.*run it first"):
        summary(results([]))


def test_order_of_rows_does_not_matter(grid):
    shuffled = grid.sample(frac=1, random_state=3).reset_index(drop=True)
    pd.testing.assert_frame_equal(summary(shuffled), summary(grid))
    pd.testing.assert_frame_equal(solved_curves(shuffled), solved_curves(grid))
    pd.testing.assert_frame_equal(longer_sums(shuffled), longer_sums(grid))


def test_settings_that_are_missing_leave_no_hole(grid):
    some = grid[grid["setting"].isin([1, 3])]
    pd.testing.assert_frame_equal(summary(some), summary(grid).iloc[[1, 3]].reset_index(drop=True))


def test_curve_ends_in_the_share_of_the_table(grid):
    table, curve = summary(grid).set_index("setting"), solved_curves(grid)
    last = curve.groupby("setting").last()
    np.testing.assert_allclose(last["share"], table["solved_share"], atol=1e-12)
    # As no run was given up early, so does its interval.
    np.testing.assert_allclose(last["low"], table["solved_low"], atol=1e-12)
    np.testing.assert_allclose(last["high"], table["solved_high"], atol=1e-12)


def test_varied_fields_are_the_columns_that_results_do_not_have(grid):
    assert varied_fields(grid) == ["hidden"]
    assert "hidden" in summary(grid)


def test_ranking_and_what_cannot_be_told_apart(grid):
    table = summary(grid)
    assert ranked(table)["hidden"].tolist() == [16, 8, 4, 2]
    assert not_told_apart(table)["hidden"].tolist() == [8, 16]


def test_by_value_pools_the_other_fields():
    frame = made_up(
        [
            {"hidden": h, "rate": r, "chance": (1.0 * (h > 2), 0, 500)}
            for h in (2, 4)
            for r in (1, 2)
        ],
        10,
    )
    table = by_value(frame, "hidden")
    assert table["value"].tolist() == ["2", "4"]
    assert table["runs"].tolist() == [20, 20]
    assert table["solved"].tolist() == [0, 20]
    assert by_value(frame, "rate")["solved"].tolist() == [10, 10]


def test_by_value_cuts_many_numbers_into_ranges():
    frame = made_up([{"rate": 0.01 * k, "chance": (1.0, 0, 500)} for k in range(1, 101)], 3)
    table = by_value(frame, "rate")
    assert len(table) == 8
    assert table["runs"].sum() == 300
    assert table["value"].iloc[0].startswith("0.01 – ")


def test_by_value_has_a_place_for_no_value():
    frame = made_up([{"clip": c, "chance": (1.0, 0, 500)} for c in (None, 1.0)], 3)
    assert by_value(frame, "clip")["runs"].tolist() == [3, 3]


def test_longer_sums_are_of_the_networks_that_solved_the_task():
    rows = [("solved", 100, 0.1)] * 4 + [("not solved", 900, 1.0)]
    shares = [1.0, 1.0, 0.5, math.nan, 0.0]
    table = longer_sums(results(rows, exact_4x=shares, exact_16x=math.nan))
    (row,) = records(table)
    assert (row["times"], row["networks"], row["perfect"]) == (4, 3, 2)
    assert row["exact"] == pytest.approx(2.5 / 3)
    assert row["perfect_share"] == pytest.approx(2 / 3)
    assert 0 < row["exact_low"] < row["exact"] < row["exact_high"] < 1
    assert longer_sums(results(rows)).empty
    assert longer_sums(results(rows[-1:], exact_4x=1.0)).empty


def test_learning_curves_keep_the_solved_and_the_diverged():
    frame = results([("solved", 10, 1.0), ("not solved", 30, 5.0), ("diverged", 20, math.nan)])
    curves = pd.DataFrame(
        [(0, 10, 1.0), (1, 10, 8.0), (1, 20, 6.0), (1, 30, 5.0), (2, 10, 9.0)],
        columns=["seed", "iteration", "loss"],
    ).assign(setting=0)
    curves["wrong"] = curves["loss"] / 10
    table = learning_curves(frame, curves)
    assert table["iteration"].tolist() == [10, 20, 30]
    assert table["median"].tolist() == [8, 6, 5]  # of 1, 8, 9; then 1, 6, inf; then 1, 5, inf
    assert table["low"].tolist() == [1, 1, 1]
    assert table["high"].tolist() == [9, math.inf, math.inf]
    assert learning_curves(frame, curves, "wrong")["high"].tolist() == [0.9, 1, 1]


def test_a_run_that_diverged_before_its_first_record_counts():
    frame = results([("not solved", 10, 5.0), ("diverged", 3, math.nan), ("diverged", 3, math.nan)])
    curves = pd.DataFrame({"seed": [0], "iteration": [10], "loss": [5.0], "setting": [0]})
    assert learning_curves(frame, curves)["median"].tolist() == [math.inf]
    assert learning_curves(frame, curves.head(0)).empty


# Two settings


def test_comparison_says_what_differs(grid):
    found = compare(grid, "hidden=4", 3)
    assert found.first["hidden"] == 4
    assert found.solved.high < 0
    assert found.diverged.low > 0
    assert found.sentences[0].startswith("hidden=16 solves the task more often: 60 of 60 runs")
    assert found.sentences[1].startswith("hidden=4 diverges more often")
    assert found.sentences[2].startswith("hidden=16 solves it sooner")
    assert "60 of 60 runs against" in str(found)
    json.dumps(records(pd.DataFrame([found.as_dict()])), allow_nan=False)


def test_comparison_turned_round_says_the_same(grid):
    there, back = compare(grid, 1, 3), compare(grid, 3, 1)
    assert there.sentences == back.sentences
    assert float(there.sooner.estimate) == -float(back.sooner.estimate)


def test_comparison_of_equal_settings_tells_no_difference():
    frame = made_up([{"hidden": h, "chance": (0.9, 0, 2000)} for h in (3, 5)], 50)
    for sentence in compare(frame, 0, 1).sentences:
        assert sentence.startswith("No ")


def test_comparison_with_a_median_that_is_not_reached(grid):
    found = compare(grid, 0, 2)
    assert math.isnan(found.sooner.estimate)
    assert found.sentences[2].startswith("hidden=8 has solved the task in half of its runs after")
    assert found.sentences[2].endswith("hidden=2 does not in half of its runs.")
    frame = made_up([{"hidden": h, "chance": (0, 0, 2000)} for h in (3, 5)], 5)
    assert compare(frame, 0, 1).sentences[2].startswith("Neither solves the task in half")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("hidden=3", "0"), "setting 'hidden=3' is not known: give one number of 0 to 3"),
        (("7", "0"), "setting '7' is not known"),
        (("1", "hidden=4"), "'1' and 'hidden=4' are one setting: give two"),
        (("", "1"), "setting '' is not known"),
    ],
)
def test_comparison_refuses_what_it_cannot_find(grid, names, message):
    with pytest.raises(BpttError, match=message):
        compare(grid, *names)


def test_a_part_of_a_label_that_several_settings_have_is_refused():
    frame = made_up(
        [{"hidden": h, "rate": r, "chance": (1, 0, 500)} for h in (2, 20) for r in (1, 2)], 2
    )
    with pytest.raises(BpttError, match="setting 'hidden=2' is any of 2 settings"):
        compare(frame, "hidden=2", 3)
    assert compare(frame, "rate=2, hidden=2", "hidden=20, rate=1").first["setting"] == 1


# Words and plain values


def test_words_do_not_round_to_all_or_none():
    assert [percent(x) for x in (0, 1, 0.999, 0.001, 0.5, math.nan)] == [
        "0", "100", "99.9", "0.1", "50", "–",
    ]  # fmt: skip


def test_what_is_not_reached_is_a_dash():
    ends = {"median": math.inf, "median_low": math.inf, "median_high": math.inf}
    assert median_interval(ends) == "–"
    assert median_interval({**ends, "median_low": 1200}) == "– [1,200, –]"
    assert median_interval({"median": 1500, "median_low": 1200, "median_high": 1900}) == (
        "1,500 [1,200, 1,900]"
    )


def test_verdicts_put_the_best_first(grid):
    said = verdicts(summary(grid))
    assert said[0].startswith("4 settings, 240 runs: ")
    assert said[1].startswith("The best is hidden=16: 60 of 60 runs, 100 % [94, 100].")
    assert "1 other setting cannot be told" in said[3]
    assert said[4].endswith("in 1 of 4 settings.")


def test_tables_are_json():
    rows = [("diverged", 3, math.nan)]
    (row,) = json.loads(json.dumps(records(summary(results(rows))), allow_nan=False))
    assert row["median"] is None
    assert row["solved"] == 0


@pytest.mark.parametrize("alone", [False, True], ids=["settings", "runs of one setting"])
def test_time_grows_as_the_number_of_runs(alone):
    # Ten times the settings, or the runs of one, take about ten times as long: far from the hundred
    # times of a quadratic step. The best of three, as other work may get between.
    def seconds(factor):
        settings = 1 if alone else 300 * factor
        seeds = 1500 * factor if alone else 5
        rng = np.random.default_rng(1)
        count = settings * seeds
        frame = results(
            {"status": rng.choice(["solved", "not solved", "diverged"], count),
             "iterations": rng.integers(1, 200, count) * 100, "loss": rng.random(count)}
        )  # fmt: skip
        frame["setting"] = np.repeat(np.arange(settings), seeds)
        frame["label"] = "n=" + frame["setting"].astype(str)
        frame["exact_4x"] = frame["exact_64x"] = 1.0
        best = math.inf
        for _ in range(3):
            started = time.process_time()
            table = summary(frame)
            verdicts(table)
            solved_curves(frame)
            longer_sums(frame)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(40) / seconds(4) < 30


def test_made_up_curves_fit_their_results(grid):
    bands = learning_curves(grid, made_up_curves(grid, 1000))
    assert set(bands["setting"]) == {0, 1, 2, 3}
    assert (bands["low"] <= bands["median"]).all()
