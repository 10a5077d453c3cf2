"""Series as users bring them: read alike whatever holds them, or refused in one line."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Sequences
from bptt.sequences.frequency import Frequency, frequency_of
from bptt.sequences.series import Names, series_of


def frame(n=24, freq="MS", names=("A", "B")):
    times = [*pd.date_range("2001-01-07", periods=n, freq=freq)]
    return pd.DataFrame({
        "unique_id": np.repeat(names, n), "ds": times * len(names),
        "y": np.arange(len(names) * n) + 0.5,
    })  # fmt: skip


OFFSETS = {"MS": 12, "ME": 12, "QS-JAN": 4, "YS-JAN": 1, "W-SUN": 52, "D": 7, "B": 5, "h": 24,
           "2h": 12, "15min": 4, "s": 60}  # fmt: skip


@given(st.sampled_from([*OFFSETS]), st.integers(6, 40), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_dates_go_on_as_they_stood(unit, n, ahead):
    times = pd.date_range("2001-01-07", periods=n + ahead, freq=unit)
    found = frequency_of([times[:n].to_numpy()], ["'A'"])
    assert found.after(times[n - 1], ahead).tolist() == times[n:].to_numpy().tolist()
    assert Frequency(unit).season == OFFSETS[unit]


@given(
    st.sampled_from(["MS", "W-SUN", "D", "h", 1, 5, 0.25]), st.integers(8, 60), st.data()
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_gap_is_named_by_series_and_time(unit, n, data):
    """Of a row taken out from inside its time is told; an end may be missing."""
    if isinstance(unit, str):
        times = pd.date_range("2001-01-07", periods=n, freq=unit).to_numpy()
    else:
        times = 3 + unit * np.arange(n)
    gone = data.draw(st.integers(1, n - 2))
    table = pd.DataFrame({"unique_id": "A", "ds": times, "y": 1.0}).drop(index=gone)
    with pytest.raises(BpttError, match="series 'A' has a gap: no row for ") as error:
        series_of(table)
    shown = (
        str(times[gone].astype("datetime64[s]")) if isinstance(unit, str) else f"{times[gone]:g}"
    )
    shown = shown.removesuffix("T00:00:00").replace("T", " ")
    assert f"no row for {shown} " in str(error.value)
    if gone > 2:  # of which the distance can be seen
        assert len(series_of(table.iloc[:gone]).y[0]) == gone


def test_the_same_series_in_every_form():
    y = [np.arange(9.0) ** 2, np.arange(7.0)]
    table = pd.DataFrame({
        "unique_id": [0] * 9 + [1] * 7, "ds": [*range(9), *range(7)], "y": np.concatenate(y)
    })  # fmt: skip
    channels = [np.column_stack([np.zeros(len(each)), each]) for each in y]
    shuffled = table.sample(frac=1, random_state=0).sort_values("unique_id")
    forms = [
        y, [each.tolist() for each in y], Sequences(y), table, shuffled,
        Sequences(channels, features=["other", "y"]),
    ]  # fmt: skip
    for form in forms:
        found = series_of(form)
        assert found.ids == [0, 1]
        for ours, theirs in zip(found.y, y, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert found.frequency == Frequency("", 1.0)
    own = table.rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    renamed = series_of(own, Names(id="shop", time="day", target="sales"))
    np.testing.assert_array_equal(renamed.y[1], y[1])
    (alone,) = series_of(y[0]).y
    np.testing.assert_array_equal(alone, y[0])
    assert series_of(np.stack([y[0], y[0]])).lengths.tolist() == [9, 9]
    assert series_of(table[table["unique_id"] == 0].drop(columns="unique_id")).ids == ["y"]


def test_pandas_series_have_their_times_in_the_index():
    days = pd.Series([1, 2, 3, 5], pd.date_range("2020-01-01", periods=4), name="births")
    found = series_of(days)
    objects = pd.DataFrame({"ds": days.index.astype(object), "y": days.to_numpy()})
    np.testing.assert_array_equal(series_of(objects).times[0], found.times[0])
    assert (found.ids, str(found.frequency)) == (["births"], "D")
    quarters = pd.Series(np.arange(5.0), pd.period_range("2000Q1", periods=5, freq="Q"))
    assert series_of(quarters).frequency.season == 4
    years = pd.Series(np.arange(4.0), [1990, 1992, 1994, 1996])
    assert series_of(years).frequency == Frequency("", 2.0)
    assert "1 series of 4 values of y, 2020-01-01 to 2020-01-04, steps of D" in str(found)


def test_covariates_become_channels():
    table = frame(6).assign(heat=np.arange(12), kind=["a", "b", "c"] * 4)
    found = series_of(table, Names(covariates=("heat", "kind")))
    assert [column.channels for column in found.columns] == [
        ["heat"],
        ["kind=a", "kind=b", "kind=c"],
    ]
    np.testing.assert_array_equal(found.known[1][:, 0], np.arange(6, 12))
    assert found.known[0][:3, 1:].tolist() == np.eye(3).tolist()
    assert "covariates heat, kind" in str(found)


def put(column, row, value):
    table = frame().astype({column: object})
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("message", "data", "options"),
    [
        ("of unique_id 'A' stands in rows 1 and 2: keep one of them",
         put("ds", 1, pd.Timestamp("2001-02-01")), {}),
        ("series 'A' at 2001-04-01: 'y' is missing: give a finite number", put("y", 2, None), {}),
        ("series 'B' at 2001-02-01: 'y' is inf", put("y", 24, np.inf), {}),
        ("holds numbers, but in row 3 the text 'much'", put("y", 2, "much"), {}),
        ("has decimal commas, '1,5'", put("y", 2, "1,5"), {}),
        ("'y' holds text: numbers are forecast", frame().assign(y="a"), {}),
        ("id 'unique_id' is missing in row 3", put("unique_id", 2, None), {}),
        ("time 'ds' is missing in row 3", put("ds", 2, None), {}),
        ("has no column 'ds'", frame().drop(columns="ds"), {}),
        ("did you mean 'y'?", frame(), {"names": Names(target="Y")}),
        ("has no column 'shop'", frame(), {"names": Names(id="shop")}),
        ("has no column 'promo'", frame(), {"names": Names(covariates=("promo",))}),
        ("freq 'often' is no frequency of dates", frame(), {"freq": "often"}),
        ("is not regular: 2001-02-01 does not fit steps of W-SUN", frame(), {"freq": "W-SUN"}),
        ("has 2 times, too few to see their distance", frame(2), {}),
        ("is not regular: 2000-01-01, 2000-01-02, 2000-01-10",
         frame(3).assign(ds=[*pd.to_datetime(["2000-01-01", "2000-01-02", "2000-01-10"])] * 2), {}),
        ("time 'ds' has time zones: take them off",
         frame().assign(ds=frame()["ds"].dt.tz_localize("UTC")), {}),
        ("has no rows", frame()[:0], {}),
        ("series 'A' is not regular: 1, 2, ...", pd.DataFrame(
            {"unique_id": "A", "ds": [1, 2, 4, 8, 16, 32], "y": 1.0}), {}),
        ("freq 'x' is no step of the times", pd.DataFrame({"ds": [1, 2], "y": 1.0}), {"freq": "x"}),
        ("each series has 2 channels", np.zeros((3, 4, 2)), {}),
        ("arrays have no covariates", [1.0, 2.0], {"names": Names(covariates=("a",))}),
        ("a series has no covariates", pd.Series([1.0]), {"names": Names(covariates=("a",))}),
        ("the index of the series holds str", pd.Series([1.0], ["a"]), {}),
        ("x holds no sequences", [], {}),
        ("has no channel 'promo'", Sequences([[1.0, 2.0]]),
         {"names": Names(covariates=("promo",))}),
        ("had missing values filled", Sequences([[1.0, np.nan]], missing="last"), {}),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_in_one_line(message, data, options):
    if message.startswith("the index") and pd.__version__ < "3":
        message = "the index of the series holds object"
    with pytest.raises(BpttError) as error:
        series_of(data, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_column_has_one_role():
    with pytest.raises(BpttError, match="column 'y' has two roles"):
        Names(covariates=("y",))
