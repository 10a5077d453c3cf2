"""Sequences from tables: roles of columns, order, one-hot columns, and every mistake."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Sequences


def table():
    """Three trials with a number, a text, a label and a person."""
    return pd.DataFrame(
        {
            "trial": np.repeat([30, 10, 20], [4, 3, 5]),
            "t": [0, 1, 2, 3, 0, 1, 5, 0, 1, 2, 3, 4],
            "x": np.arange(12) / 2,
            "side": list("lrlrlrlrlrlr"),
            "label": np.repeat(["walk", "run", "walk"], [4, 3, 5]),
            "who": np.repeat(["A", "B", "A"], [4, 3, 5]),
        }
    )


ROLES = {"id": "trial", "time": "t", "target": "label", "group": "who"}


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(order):
    s = Sequences.from_frame(table().iloc[order], **ROLES)
    ids = list(dict.fromkeys(table()["trial"].iloc[order]))
    assert list(s.ids) == ids  # in order of first appearance
    whole = Sequences.from_frame(table(), **ROLES)
    for place, each in enumerate(ids):
        there = list(whole.ids).index(each)
        np.testing.assert_array_equal(s[place], whole[there])
        assert s.y[place] == whole.y[there]
        assert s.groups[place] == whole.groups[there]
        np.testing.assert_array_equal(s.times[place], whole.times[there])


def test_what_a_table_becomes():
    s = Sequences.from_frame(table(), **ROLES)
    assert s.channels == ("x", "side=l", "side=r")
    np.testing.assert_array_equal(s[1], [[2, 1, 0], [2.5, 0, 1], [3, 1, 0]])
    assert s.y.tolist() == ["walk", "run", "walk"]
    assert s.scaling().deviation[1:] == (1, 1)  # one-hot channels stay 0 and 1
    assert str(s).splitlines() == [
        "the table: 3 sequences of 3 to 5 steps (median 4), 12 steps in all",
        "3 channels: x, side=l, side=r (one-hot: side)",
        "target label: a class a sequence, 2 classes: 'run' 1, 'walk' 2",
        "2 groups",
        "time 't': a step is 1, 1 gap (the longest 4, in sequence '10' after step 1)",
        "nothing missing",
    ]


def test_targets_of_steps_and_several_targets():
    frame = table().assign(state=list("abababababab"), force=np.arange(12) / 3, power=1.5)
    labels = Sequences.from_frame(frame, id="trial", target="state", features="x")
    assert (labels.target.kind, labels.target.per) == ("classes", "step")
    assert labels.y[1].tolist() == ["a", "b", "a"]
    two = Sequences.from_frame(frame, id="trial", target=["force", "power"], features=["x"])
    assert (two.target.kind, two.target.per, two.target.outputs) == ("numbers", "step", 2)
    every = Sequences.from_frame(frame, id="trial", target="label", per="step", features="x")
    assert every.target.per == "step"
    one = Sequences.from_frame(frame, target="force", time=None, features="x")
    assert len(one) == 1
    assert one.target.per == "step"  # one sequence's target would be one number


def test_missing_targets_stay_whole_numbers():
    frame = table().assign(stage=pd.array([1, 2, None] * 4, "Int64"))
    s = Sequences.from_frame(frame, id="trial", target="stage", features="x")
    assert s.classes == (1, 2)
    assert s.padded().weights.sum() == 8
    assert "4 missing, which do not count" in str(s)
    constant = frame.assign(label=frame["label"].where(frame["t"] == 0))
    s = Sequences.from_frame(constant, **ROLES, features="x")
    assert s.y.tolist() == ["walk", "run", "walk"]  # the one value that each has


def test_weights_of_rows_and_of_sequences():
    frame = table().assign(w=np.arange(12) % 3, v=np.repeat([1, 2, 3], [4, 3, 5]))
    steps = Sequences.from_frame(
        frame.assign(y=0.5 * frame["x"]), id="trial", target="y", weight="w"
    )
    np.testing.assert_array_equal(steps.padded([1]).weights, [[1, 2, 0]])
    each = Sequences.from_frame(frame, **ROLES, weight="v", features="x")
    np.testing.assert_array_equal(each.padded().weights, [1, 2, 3])
    with pytest.raises(BpttError, match="weight 'w' changes within sequence 0, which has one"):
        Sequences.from_frame(frame, **ROLES, weight="w", features="x")


def test_numbers_as_categories_and_booleans_as_numbers():
    frame = table().assign(gear=[1, 2, 3] * 4, on=[True, False] * 6)
    s = Sequences.from_frame(frame, id="trial", features=["gear", "on"], categorical="gear")
    assert s.channels == ("gear=1", "gear=2", "gear=3", "on")
    np.testing.assert_array_equal(s[0][:2], [[1, 0, 0, 1], [0, 1, 0, 0]])
    kept = Sequences.from_frame(
        table().assign(side=table()["side"].astype("category")), id="trial", features="side"
    )
    assert kept.channels == ("side=l", "side=r")


def test_missing_cells():
    frame = table()
    frame.loc[[1, 2], "x"] = np.nan
    frame.loc[5, "side"] = None
    with pytest.raises(BpttError, match="sequence '30', step 1, channel 'x' is missing: fill it"):
        Sequences.from_frame(frame, **ROLES)
    s = Sequences.from_frame(frame, **ROLES, missing="last")
    assert s.channels == ("x", "side=l", "side=r", "x missing", "side missing")
    np.testing.assert_array_equal(s[0][:, 0], [0, 0, 0, 1.5])
    np.testing.assert_array_equal(s[1][:, 1:3], [[1, 0], [1, 0], [1, 0]])
    np.testing.assert_array_equal(s[1][:, 4], [0, 1, 0])
    new = Sequences.from_frame(table(), like=s)
    assert new.channels == s.channels


def test_dates_are_read_and_gaps_named():
    days = pd.to_datetime("2026-01-01") + pd.to_timedelta([0, 1, 2, 6, 7], "D")
    frame = pd.DataFrame({"ds": days, "y": np.arange(5.0)})
    text = frame.assign(ds=days.strftime("%Y-%m-%d"))
    for each in (frame, text, frame.iloc[::-1], text.iloc[::-1]):
        s = Sequences.from_frame(each, time="ds", features="y")
        np.testing.assert_array_equal(s[0][:, 0], np.arange(5))
        assert "a step is 1 day" in str(s)
        assert "1 gap (the longest 4 days, in sequence 0 after step 2)" in str(s)
    months = pd.DataFrame({"ds": pd.date_range("2026-01-01", periods=9, freq="MS"), "y": 1.0})
    assert "no gaps" in str(Sequences.from_frame(months, time="ds"))  # 28 to 31 days


def test_wide_tables():
    frame = pd.DataFrame(
        {
            "label": ["a", "b", "a"],
            "t0": [1, 2, 3.0],
            "t1": [4, np.nan, 5],
            "t2": [np.nan, 6, 7],
            "t3": [np.nan, np.nan, 8],
        }
    )
    with pytest.raises(BpttError, match="sequence 1, step 1, channel 'value' is missing"):
        Sequences.from_frame(frame, wide=True, target="label")
    s = Sequences.from_frame(frame, wide=True, target="label", missing="flag")
    np.testing.assert_array_equal(s.lengths, [2, 3, 4])  # empty cells at the end are no steps
    np.testing.assert_array_equal(s[1][:, 1], [0, 1, 0])
    assert s.y.tolist() == ["a", "b", "a"]
    longer = frame.assign(t4=[1.0, 1, 1]).bfill(axis=1)
    assert len(Sequences.from_frame(longer.drop(columns="label"), wide=True)) == 3
    new = Sequences.from_frame(frame.drop(columns="label"), like=s)
    assert new.target is None
    assert new.channels == s.channels


def test_lists_of_frames():
    frames = [each.drop(columns="trial") for _, each in table().groupby("trial", sort=False)]
    s = Sequences(frames, features=["x"], target="label")
    assert s.y.tolist() == ["walk", "run", "walk"]
    given_y = Sequences([each[["x"]] for each in frames], [1.5, 2.5, 3.5])
    assert given_y.y.tolist() == [1.5, 2.5, 3.5]
    np.testing.assert_array_equal(given_y[1], s[1])
    assert len(Sequences([each[["x"]] for each in frames], like=given_y)) == 3
    with pytest.raises(BpttError, match="frame 1 and frame 0 differ in column 'x'"):
        Sequences([frames[0], frames[1].drop(columns="x")])
    with pytest.raises(BpttError, match="sequence 1 has no steps"):
        Sequences([frames[0], frames[1].iloc[:0]])


def test_arrow_tables_are_read_as_pandas_frames():
    pytest.importorskip("narwhals")
    pa = pytest.importorskip("pyarrow")
    whole = table().assign(stage=pd.array([1, 2, None] * 4, "Int64"))
    ours = Sequences.from_frame(pa.Table.from_pandas(whole), **ROLES | {"target": "stage"})
    theirs = Sequences.from_frame(whole, **ROLES | {"target": "stage"})
    assert str(ours) == str(theirs)
    np.testing.assert_array_equal(ours.padded().x, theirs.padded().x)


def test_other_frames_without_narwhals(monkeypatch):
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(BpttError, match="a Table needs the package narwhals: install it"):
        Sequences.from_frame(pa.table({"x": [1.0]}))


def test_new_data_are_read_as_those_trained_on():
    s = Sequences.from_frame(table(), **ROLES)
    new = Sequences.from_frame(table().drop(columns="label").assign(extra=1), like=s)
    assert new.channels == s.channels
    assert new.target is None
    shuffled = table()[["label", "who", "side", "x", "t", "trial"]]
    np.testing.assert_array_equal(Sequences.from_frame(shuffled, like=s)[0], s[0])


def changed(column, row, value):
    frame = table().astype(object)
    frame.loc[row, column] = value
    return frame.infer_objects()


def notes():
    return pd.DataFrame({"trial": 1, "note": [f"number {n}" for n in range(200)]})


TRAINED = Sequences.from_frame(table(), **ROLES)
FLAT = {key: ROLES[key] for key in ("id", "time")}
MISTAKES = {
    "has no column 'trail': did you mean 'trial'?": (table(), ROLES | {"id": "trail"}),
    "has no column 'Label': did you mean 'label'?": (table(), ROLES | {"target": "Label"}),
    "has no column 'speed': there are 'trial', 't'": (table(), ROLES | {"features": "speed"}),
    "has no column 'lef'": (table(), {"categorical": "lef"}),
    "column 'x' has two roles": (table(), {"id": "x", "target": "x"}),
    "time 1 of trial '10' stands in rows 6 and 7": (changed("t", 6, 1), ROLES),
    "name the column that tells them apart: id=": (table(), {"time": "t"}),
    "column 'x' holds numbers, but in row 3 the text 'n.a.'": (changed("x", 2, "n.a."), ROLES),
    "column 'x' has decimal commas, '1,5': give decimal=','": (
        table().assign(x="1,5"),
        ROLES,
    ),
    "column 'x' has no value": (table().assign(x=None), ROLES),
    "column 'when' holds datetime64 values": (
        table().assign(when=pd.Timestamp("2026-01-01")),
        ROLES,
    ),
    "holds 200 different texts, 'number 0' and so on": (notes(), {"id": "trial"}),
    "time 't' is missing in row 5": (changed("t", 4, None), ROLES),
    "id 'trial' is missing in row 5": (changed("trial", 4, None), ROLES),
    "time 't' holds boolean values": (table().assign(t=True), ROLES),
    "time 't' is no date everywhere": (table().assign(t="soon"), ROLES),
    "group 'who' changes within sequence 0": (changed("who", 1, "C"), ROLES),
    "group 'who' is missing in row 2": (changed("who", 1, None), ROLES),
    "target 'label' changes within sequence 1": (
        changed("label", 5, "stand"),
        ROLES | {"per": "sequence"},
    ),
    "weight 'x' is -0.5 in row 1": (table().assign(x=-0.5), FLAT | {"weight": "x"}),
    "all weights in 'x' are 0": (table().assign(x=0), FLAT | {"weight": "x", "target": "label"}),
    "sequence '30', step 3, channel 'x' is inf": (changed("x", 3, np.inf), ROLES),
    "target 'x' is -inf in row 4": (changed("x", 3, -np.inf), FLAT | {"target": "x"}),
    "has no rows": (table().iloc[:0], ROLES),
    "has two columns 'x'": (pd.concat([table(), table()[["x"]]], axis=1), ROLES),
    "has no feature columns": (table()[["trial", "t"]], FLAT),
    "and no time column: leave time out": (table(), {"wide": True, "time": "t"}),
    "has one target a sequence: leave per out": (table(), {"wide": True, "per": "step"}),
    "the sequence in row 2 has no steps": (
        pd.DataFrame({"a": [1.0, np.nan], "b": [2.0, np.nan]}),
        {"wide": True},
    ),
    "trained on 'x', but it has no column 'x'": (table().drop(columns="x"), {"like": TRAINED}),
    "in training column 'side' has no value 'left'": (
        changed("side", 0, "left"),
        {"like": TRAINED},
    ),
    "the training of 'label' has no class 'Walk': did you mean 'walk'?": (
        table().assign(label="Walk"),
        {"like": TRAINED},
    ),
    "channel 'x' is missing, but nothing was in training": (
        changed("x", 0, None),
        {"like": TRAINED},
    ),
    "holds numbers, but in row 1 the text 'a lot'": (changed("x", 0, "a lot"), {"like": TRAINED}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_line(message):
    frame, options = MISTAKES[message]
    with pytest.raises(BpttError) as error:
        Sequences.from_frame(frame, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_frame_needs_its_own_door():
    with pytest.raises(BpttError, match=r"Sequences\.from_frame"):
        Sequences(table())
