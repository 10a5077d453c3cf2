"""Studies over users' data: folds, runs, going on, changed files, and what is said of scores."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from command_line import refused, said
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bptt import BpttError, Sequences, Study
from bptt.fitting import Fit
from bptt.fitting.plan import plan_of
from bptt.sequences.splits import folds
from bptt.studies import Data, load
from bptt.studies import execution as execution_module
from bptt.studies.comparison import compare
from bptt.studies.scores import corrected, paired, summary, verdicts
from bptt.studies.study import merge
from bptt.studies.trial import SCORED
from bptt.studies.work import Unit, run_unit

QUICK = {"cell": "elman", "hidden": 3, "epochs": 2, "engine": "reference", "batch": 16}
GRID = {"learning_rate": [0.05, 0.001]}


def made(count=24, seed=0, groups=None):
    """Sequences of 3 to 6 steps; their class is whether they rise."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(3 + n % 4, 2)) + (n % 2) * np.arange(3 + n % 4)[:, None]
         for n in range(count)]  # fmt: skip
    return Sequences(x, np.array(["flat", "rising"])[np.arange(count) % 2], groups=groups)


def table(sequences, path):
    """The same as a CSV file, row by row."""
    rows = [
        {"trial": n, "t": t, "a": row[0], "b": row[1], "kind": y}
        for n, (x, y) in enumerate(zip(sequences.X, sequences.y, strict=True))
        for t, row in enumerate(x)
    ]
    pandas.DataFrame(rows).to_csv(path, index=False)


TOML = """
seeds = 2
curves = true
[data]
file = "trials.csv"
job = "classify"
id = "trial"
time = "t"
target = "kind"
folds = 3
[base]
cell = "elman"
hidden = 3
epochs = 2
engine = "reference"
batch = 16
[grid]
learning_rate = [0.05, 0.001]
"""


@pytest.fixture
def toml(tmp_path):
    table(made(), tmp_path / "trials.csv")
    path = tmp_path / "trials.toml"
    path.write_text(TOML)
    return path


def timeless(results):
    return results.frame.drop(columns=["seconds", "version", "arithmetic"])


def assert_same(one, other):
    pandas.testing.assert_frame_equal(timeless(one), timeless(other), check_exact=True)
    pandas.testing.assert_frame_equal(one.curves, other.curves, check_exact=True)


def study(data, **fields):
    return Study(**{"data": data, "base": QUICK, "grid": GRID, "seeds": 2, "curves": True} | fields)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=4, max_size=30), st.integers(2, 4), st.integers(0, 99),
    st.booleans(), st.integers(0, 6),
)  # fmt: skip
def test_folds_part_the_data_evenly(classes, count, seed, stratified, groups):
    names = [f"g{n % (count + groups)}" for n in range(len(classes))] if groups else None
    data = Sequences([np.zeros((2, 1))] * len(classes), [f"c{each}" for each in classes],
                     groups=names)  # fmt: skip
    if names and len(set(names)) < count:
        with pytest.raises(BpttError, match=f"folds {count} is not allowed: from 2 to"):
            folds(data, count, seed, stratified)
        return
    found = folds(data, count, seed, stratified)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(classes)))
    again = folds(data, count, seed, stratified)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    if names:
        sets = [{names[place] for place in each} for each in found]
        assert sum(map(len, sets)) == len(set(names))
        assert all(sets)
        return
    assert max(map(len, found)) - min(map(len, found)) <= 1
    if stratified:
        for each in set(classes):
            here = [sum(classes[place] == each for place in fold) for fold in found]
            assert max(here) - min(here) <= 1


def test_other_seeds_part_the_data_otherwise():
    data = made()
    assert len({str([each.tolist() for each in folds(data, 3, seed)]) for seed in range(9)}) == 9


def test_groups_are_parted_even_in_classes():
    """Groups of one class each, where folds of equal size alone may hold one class only."""
    groups = np.repeat(np.arange(12), 4)
    data = Sequences([np.zeros((2, 1))] * 48, [f"c{group % 2}" for group in groups], groups=groups)
    for seed in range(5):
        for fold in folds(data, 3, seed):
            assert np.bincount(groups[fold] % 2).tolist() == [8, 8]


def test_a_run_is_a_training_on_the_other_folds():
    data = made()
    frame = study({"sequences": data, "folds": 3}).run(workers=1).frame
    row = frame[(frame["setting"] == 1) & (frame["fold"] == 2) & (frame["seed"] == 1)].iloc[0]
    held = folds(data, 3, 1)[2]
    rest = np.setdiff1d(np.arange(len(data)), held)
    work = Fit(plan_of({**QUICK, "learning_rate": 0.001, "seed": 1}), data[rest])
    for _ in work.records():
        pass
    score = work.model().test(data[held])
    assert (row["score"], row["baseline"], row["test_loss"], row["tested"]) == (
        score.value, score.baseline, score.loss, 8,
    )  # fmt: skip
    assert (row["measure"], row["status"], row["epochs"]) == ("accuracy", "trained", 2)
    assert row["val_loss"] == min(each.val_loss for each in work.progress.history)


def test_a_file_and_processes_give_the_table_of_sequences_in_memory(toml, tmp_path):
    from_file = Study.from_toml(toml)
    handed = study({"sequences": made(), "folds": 3})
    # The same data, whose names of channels and targets are part of what a model knows.
    assert from_file.data.about.sequences == handed.data.about.sequences == 24
    one, two = from_file.run(workers=1), from_file.run(tmp_path / "out", workers=2)
    assert_same(one, two)
    assert_same(load(tmp_path / "out"), one)
    there = handed.run(workers=1)
    same = ["setting", "fold", "seed", "score", "loss", "val_loss", "best_epoch"]
    pandas.testing.assert_frame_equal(one.frame[same], there.frame[same], check_exact=True)
    assert list(one.frame["fold"]) == [0, 0, 1, 1, 2, 2] * 2
    assert len(one.curves) == 12 * 2


def test_resume_does_what_is_missing_and_only_that(toml, tmp_path, monkeypatch):
    whole, done = Study.from_toml(toml).run(workers=1), []
    monkeypatch.setattr(execution_module, "UNIT_SECONDS", 1e-9)  # a unit a run

    def counted(unit, interrupted=lambda: False):
        done.extend((digest, seed) for digest, _, seeds in unit.parts for seed in seeds)
        return run_unit(unit, interrupted)

    monkeypatch.setattr("bptt.studies.workers.run_unit", counted)
    out = tmp_path / "out"
    first = Study.from_toml(toml).run(out, workers=1, shard=(1, 2))
    assert 0 < len(done) < 12
    assert first.missing == 0
    assert load(out).missing == 12 - len(done)
    results = Study.from_toml(toml).run(out, workers=1, resume=True)
    assert len(done) == len(set(done)) == 12
    assert_same(results, whole)
    grown = toml.with_name("grown.toml")
    grown.write_text(TOML.replace("seeds = 2", "seeds = 3"))
    assert len(Study.from_toml(grown).run(out, workers=1, resume=True).frame) == 18
    assert len(done) == 18


def test_a_unit_gives_what_is_finished_when_interrupted():
    each = study(made()).expanded[0]
    asked = []
    unit = Unit([(each.digest, each.settings, [0])], True, True, [], False, False)
    (alone,) = run_unit(unit, lambda: asked.append(1))
    calls = iter([False] * (len(asked) + 2) + [True] * 99)
    unit = Unit([(each.digest, each.settings, [0, 1, 2])], True, True, [], False, False)
    # What is handed in goes with the work.
    (row,) = run_unit(pickle.loads(pickle.dumps(unit)), lambda: next(calls))
    at = list(SCORED).index("seconds")
    assert row.seed == 0
    assert row.values[:at] == alone.values[:at]


def test_a_changed_file_is_noticed(toml, tmp_path, capsys):
    out = tmp_path / "out"
    Study.from_toml(toml).run(out, workers=1, shard=(1, 2))
    kept = Study.from_toml(toml)
    csv = tmp_path / "trials.csv"
    before = csv.read_text()
    csv.write_text(before.replace(",flat\n", ",rising\n", 3))  # the first trial
    error = refused(capsys, "study", toml, "--out", out, "--resume")
    assert f"'trials.csv' has changed since the study in '{out}' began" in error
    # A worker reads the file where it lies.
    unit = Unit([(s.digest, s.settings, [0]) for s in kept.expanded[:1]], True, True, [], False,
                False)  # fmt: skip
    with pytest.raises(BpttError, match=r"'trials.csv' has changed since the study was declared"):
        run_unit(pickle.loads(pickle.dumps(unit)))
    # Written anew with the same numbers, it is the same.
    frame = pandas.read_csv(csv)
    csv.write_text(before)
    frame = pandas.read_csv(csv)
    frame.sample(frac=1, random_state=0).sort_values("trial", kind="stable").to_csv(csv)
    text = TOML.replace("folds = 3", 'folds = 3\nfeatures = ["a", "b"]')
    toml.write_text(text)
    assert Study.from_toml(toml).data.about.digest == kept.data.about.digest


def test_what_was_handed_in_is_needed_to_go_on_but_not_to_read(tmp_path):
    handed = study(made())
    handed.run(tmp_path / "out", workers=1, shard=(1, 3))
    again = load(tmp_path / "out")
    assert again.missing > 0
    with pytest.raises(BpttError, match="declare it again with them"):
        again.study.run(tmp_path / "out", workers=1, resume=True)
    changed = made()
    changed.parts.rows[3, 1] += 1e-9
    with pytest.raises(BpttError, match="the data have changed since the study in"):
        study(changed).run(tmp_path / "out", workers=1, resume=True)
    assert study(made()).run(tmp_path / "out", workers=1, resume=True).missing == 0


def test_shards_merge(toml, tmp_path):
    each = Study.from_toml(toml)
    for k in (1, 2):
        each.run(tmp_path / f"part{k}", workers=1, shard=(k, 2))
    whole = merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "whole")
    assert_same(whole, each.run(workers=1))


@pytest.mark.filterwarnings("default")  # Dask's own threads and sockets may still be closing
def test_a_cluster_gives_the_same_table(toml):
    distributed = pytest.importorskip("distributed")
    each = Study.from_toml(toml)
    options = {"n_workers": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert_same(each.run(client=client), each.run(workers=1))


def test_test_data_of_their_own():
    train, test = made(), made(10, seed=5)
    results = study((train, test), seeds=3, curves=False).run(workers=1)
    frame = results.frame
    assert set(frame["fold"]) == {0}
    assert set(frame["tested"]) == {10}
    first = frame[frame["setting"] == 0]["score"]
    row = summary(frame).iloc[0]
    low, high = stats.t.interval(0.95, 2, first.mean(), stats.sem(first))
    if first.std() > 0:
        assert (row["score_low"], row["score_high"]) == pytest.approx((low, high))
    assert "the test data, 3 seeds" in verdicts(frame)[0]


def test_numbers_and_a_label_a_step():
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(4 + n % 3, 1)) for n in range(20)]
    numbers = Sequences(x, [float(each.sum()) for each in x])
    frame = study(numbers, base={**QUICK, "loss": "absolute"}).run(workers=1).frame
    assert set(frame["measure"]) == {"mae"}
    assert "mean absolute error" in verdicts(frame)[0]
    labels = Sequences(x, [np.where(each[:, 0] > 0, "up", "down") for each in x])
    frame = study(labels, grid={}, seeds=1).run(workers=1).frame
    assert frame["tested"].sum() == sum(map(len, x))
    assert len(summary(frame)) == 1


def test_the_interval_is_nadeaus_and_bengios():
    """Against the formula written out, and against scipy where nothing is to be corrected."""
    d = np.array([0.02, 0.01, 0.04, -0.01, 0.03, 0.02])
    variance = (1 / 6 + 1 / 2) * d.var(ddof=1)
    half = stats.t.ppf(0.975, 5) * np.sqrt(variance)
    assert corrected(d, 3) == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))
    plain = stats.t.interval(0.95, 5, d.mean(), stats.sem(d))
    assert tuple(corrected(d, 1))[1:] == pytest.approx(plain)
    assert corrected([*d, np.nan], 3) == corrected(d, 3)
    assert np.isnan(corrected([0.5], 5).low)


def test_differences_are_of_pairs():
    """Settings that differ by a hair on every fold are told apart, however folds differ."""
    frame = study(made()).run(workers=1).frame
    rng = np.random.default_rng(0)
    hard = {key: rng.uniform(0.5, 0.9) for key in zip(frame["fold"], frame["seed"], strict=True)}
    frame["score"] = [
        hard[fold, seed] + 0.01 * (setting == 0) + rng.normal(0, 1e-4)
        for setting, fold, seed in zip(frame["setting"], frame["fold"], frame["seed"], strict=True)
    ]
    apart = paired(frame, 0, 1)
    assert apart.estimate == pytest.approx(0.01, abs=3e-4)
    assert apart.low > 0.009
    found = compare(frame, 1, 0)
    assert found.apart.estimate == pytest.approx(-apart.estimate)
    assert found.sentences[1] == "learning_rate=0.05 is better."
    assert re.fullmatch(
        r"learning_rate=0\.05 [\d.]+ \[[\d.]+, [\d.]+\], learning_rate=0\.001 [\d.]+ "
        r"\[[\d.]+, [\d.]+\]; difference \+1\.0 \[[\d.]+, [\d.]+\]\.",
        compare(frame, 0, 1).sentences[0],
    )
    frame["measure"] = "rmse"  # of errors the smaller one is better
    assert compare(frame, 0, 1).sentences[1] == "learning_rate=0.001 is better."


def test_the_command_line(toml, capsys, tmp_path):
    out = tmp_path / "out"
    plan = said(capsys, "study", toml, "--plan", "--workers", 2)
    assert plan.startswith("12 runs: 2 settings x 3 folds x 2 seeds, in 1 groups of equal shapes\n")
    assert not out.exists()
    printed = said(capsys, "study", toml, "--out", out, "--workers", 1)
    assert printed.startswith("12 runs: 12 trained (100.0 %), 0 diverged (0.0 %)\n")
    report = said(capsys, "study", "report", out)
    assert "% right" in report
    assert "difference" in report
    page = (out / "report.html").read_text()
    assert "Learning curves" in page
    assert (out / "figures" / "scores.png").exists()
    values = json.loads(said(capsys, "study", "report", out, "--json"))
    assert [each["runs"] for each in values["settings"]] == [6, 6]
    compared = json.loads(said(capsys, "study", "compare", out, 0, 1, "--json"))
    assert set(compared["apart"]) == {"estimate", "low", "high"}
    said(capsys, "study", "export", out, "--to", tmp_path / "runs.csv")
    assert len(pandas.read_csv(tmp_path / "runs.csv")) == 12


REFUSED = [
    ('target = "kind"', 'target = "kin"', "has no column 'kin': did you mean 'kind'?"),
    ('file = "trials.csv"', 'file = "trails.csv"', "trails.csv"),
    ('file = "trials.csv"', 'flie = "trials.csv"', "data has no field 'flie': did you mean 'file'"),
    ('job = "classify"', 'job = "clasify"', "bptt has no job 'clasify': did you mean 'classify'?"),
    ('target = "kind"', "", "has no target: name its column with 'target'"),
    ("folds = 3", "folds = 25", "folds 25 is not allowed: from 2 to the number of sequences, 24"),
    ("folds = 3", "folds = 1", "folds 1 is not allowed"),
    ("folds = 3", "folds = 0", "nothing to test on: give 'folds' or 'test'"),
    ("folds = 3", 'folds = 3\ntest = "trials.csv"', "folds and a test: give one of them"),
    ("folds = 3", 'folds = "many"', "folds"),
    ("folds = 3", 'missing = "no"', "missing 'no' is not known: choose one of 'error'"),
    ("seeds = 2", 'seeds = 2\nsolved = "proved"', "solved 'proved' is of tasks, but this study"),
    ("seeds = 2", "seeds = 2\nlengths = [2]", "lengths"),
    ("seeds = 2", 'seeds = 2\ntask = "text"', "a study has a task or data"),
    ("hidden = 3", "hiden = 3", "field 'hiden' is not known: did you mean 'hidden'?"),
    ("hidden = 3", "hidden = 0", "hidden 0 must be at least 1"),
    ("hidden = 3", "seed = 3", "'seed' cannot be set for single settings"),
    ("hidden = 3", 'loss = "huber"', "loss 'huber' is none of classes"),
    ("hidden = 3", "validation = 1.5", "validation 1.5 is not allowed"),
    ("learning_rate = [0.05, 0.001]", 'cell = ["gru", "grru"]', "setting 'cell=grru': cell 'grru'"),
    ("seeds = 2", "seeds = 2000000", "12,000,000 runs are too many"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "instead", "message"), REFUSED, ids=lambda each: each[:30])
def test_what_cannot_be_is_refused_in_one_line(line, instead, message, toml, capsys, tmp_path):
    toml.write_text(TOML.replace(line, instead))
    assert message in refused(capsys, "study", toml, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "a table with 'file', bptt.Sequences, or two of them"),
        ({"sequences": [1, 2]}, "data need bptt.Sequences as 'sequences'"),
        ({"folds": 3}, "data need a 'file'"),
        (Sequences([[1.0, 2.0]] * 9), "the data has no target"),
        ((made(), Sequences([[[1.0, 2.0]]] * 9)), "the test data have no target"),
    ],
)  # fmt: skip
def test_what_python_cannot_give_is_refused(data, message):
    with pytest.raises(BpttError, match=message):
        study(data)


def test_the_documents_example_is_valid(tmp_path):
    document = (Path(__file__).parent.parent / "docs" / "studies.md").read_text()
    (example,) = re.findall(r"```toml\n(# vowels.toml.*?)```", document, re.DOTALL)
    rows = [{"take": n, "t": t, "x": float(t * n % 7), "speaker": f"s{n % 5}"}
            for n in range(30) for t in range(4)]  # fmt: skip
    pandas.DataFrame(rows).to_csv(tmp_path / "vowels.csv", index=False)
    (tmp_path / "vowels.toml").write_text(example)
    assert len(Study.from_toml(tmp_path / "vowels.toml").expanded) == 10
    fields = {name for cell in re.findall(r"^\| (`.*?) \|", document.split("| In `data`")[1], re.M)
              for name in re.findall(r"`(\w+)`", cell)}  # fmt: skip
    assert {*Data.__struct_fields__} - {"folder", "known"} <= fields
