"""Running studies: numbers that do not depend on company, order or place; nothing lost."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pandas
import pytest
from kill_and_resume_study import DECLARATION, trials

from bptt.errors import BpttError
from bptt.network.network import engine_of
from bptt.studies import Study, load
from bptt.studies import cohort as cohort_module
from bptt.studies import execution as execution_module
from bptt.studies import expansion as expansion_module
from bptt.studies.cohort import Cohort, Member
from bptt.studies.study import merge
from bptt.studies.work import Unit, run_unit
from bptt.tasks.text.paragraph import PARAGRAPH
from bptt.training.training import Training

needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="the compiler is off"
)
ADDER = {"bits": 3, "hidden": 4, "batch": 2, "iterations": 90, "record_every": 20,
         "optimizer": "adam", "learning_rate": 0.05, "engine": "reference"}  # fmt: skip
# Settings of one shape: rates of which some diverge, iterations and records that do not match.
MIXED = Study(
    base=ADDER,
    settings=[
        {"learning_rate": 0.05},
        {"learning_rate": 0.1, "iterations": 130, "record_every": 25},
        {"learning_rate": 1e38, "iterations": 70},
        {"learning_rate": 0.1, "iterations": 400, "solved": {"loss": 1.2}},
    ],
    seeds=6,
    lengths=[2],
    curves=True,
)
TEXT = Study(
    task="text",
    base={"text": PARAGRAPH[:40], "window": 12, "hidden": 5, "iterations": 50, "record_every": 20,
          "engine": "reference"},
    settings=[
        {"learning_rate": 0.01},
        # The carried state grows fifteenfold a step, and overflows in the third window, in a call
        # that begins in the middle of the text.
        {"learning_rate": 0.0, "record_every": 2, "cell": "elman", "activation": "relu",
         "initializers": {"U": "constant(3)", "W": "constant(3)"}},
    ],
    seeds=4,
    curves=True,
)  # fmt: skip


def timeless(frame):
    return frame.drop(columns=["seconds", "version"])


def assert_same(one, other):
    pandas.testing.assert_frame_equal(timeless(one.frame), timeless(other.frame), check_exact=True)
    pandas.testing.assert_frame_equal(one.curves, other.curves, check_exact=True)


@pytest.fixture(scope="module")
def mixed():
    return MIXED.run(workers=1)


def members(study, runs, engine="reference"):
    """The runs (setting, seed) of a study, to be put into a cohort."""
    trainer, tester = engine_of(engine), engine_of(engine)
    settings = study.expanded
    for setting, seed in runs:
        each = settings[setting]
        yield Member(each.digest, each.settings.with_seed(seed), trainer, tester)


def outcome(member):
    """All that a run leaves, but for the time it took."""
    history = [replace(record, seconds=0.0) for record in member.history]
    learner = member.learner
    state = b"" if learner.state is None else learner.state.tobytes()
    bits = [learner.theta.tobytes(), learner.s0.tobytes(), state]
    return (history, bits, member.reason, member.solved_at, member.verdict, member.divergence)


def together(study, runs, width, engine="reference"):
    cohort = Cohort(members(study, runs, engine), width, 100)
    return {
        (member.digest, member.settings.seed): outcome(member) for member in cohort.ended()
    }  # fmt: skip


@pytest.mark.parametrize("study", [MIXED, TEXT], ids=["adder", "text"])
def test_a_run_is_the_same_in_any_company(study, monkeypatch):
    if study is TEXT:  # an LSTM and an Elman network are not trained side by side
        study = Study.from_dict(
            TEXT.as_dict()
            | {
                "settings": TEXT.settings[1:]
                + [
                    TEXT.settings[1]
                    | {"initializers": {"U": "normal", "W": "normal"}, "learning_rate": rate}
                    for rate in (0.01, 0.1)
                ]
            }
        )
    runs = [(n, seed) for n in range(len(study.expanded)) for seed in range(4)]
    expected = together(study, runs, 3)
    assert len(expected) == len(runs)
    shuffled = [runs[i] for i in np.random.default_rng(1).permutation(len(runs))]
    assert together(study, shuffled, 5) == expected
    assert together(study, shuffled, len(runs)) == expected
    alone = {}
    for each in runs:
        alone |= together(study, [each], 1)
    assert alone == expected
    monkeypatch.setattr(cohort_module, "COHORT_NUMBERS", 1)  # one iteration a call
    assert together(study, runs[::3], 2).items() <= expected.items()


@needs_compiler
def test_a_run_is_the_same_in_any_company_compiled():
    study = Study(
        base={**ADDER, "engine": "compiled", "optimizer": "sgd"},
        grid={"learning_rate": [0.05, 0.5, 1e38]},
        seeds=7,
    )
    runs = [(n, seed) for n in range(3) for seed in range(7)]
    expected = together(study, runs, 21, "compiled")
    assert len(expected) == 21
    assert together(study, runs[::-1], 5, "compiled") == expected
    assert together(study, runs[8:11], 1, "compiled").items() <= expected.items()


@pytest.mark.parametrize("study", [MIXED, TEXT], ids=["adder", "text"])
def test_a_run_of_a_study_is_a_training(study):
    # The reference engine trains one model after another, so that even the bits agree.
    for setting in study.expanded:
        for seed in range(3):
            training = Training(setting.settings.with_seed(seed))
            list(training.records())
            state = training.learner.state
            (member,) = Cohort(members(study, [(setting.number, seed)]), 1, 100).ended()
            assert outcome(member)[:3] == (
                [replace(record, seconds=0.0) for record in training.history],
                [
                    training.learner.theta.tobytes(),
                    training.learner.s0.tobytes(),
                    b"" if state is None else state.tobytes(),
                ],
                training.reason,
            )
            assert member.divergence == training.divergence
            if study is TEXT and setting.number == 1:
                assert str(member.divergence).startswith("diverged at iteration 3: the state h")
            if not member.divergence:
                assert member.verdict == training.verdict


def test_rows_say_what_became_of_each_run(mixed):
    frame = mixed.frame
    assert len(frame) == 24
    assert frame["run"].is_unique
    assert set(frame["status"]) == {"solved", "not solved", "diverged"}
    diverged = frame[frame["learning_rate"] == 1e38]
    assert set(diverged["status"]) == {"diverged"}
    assert diverged["what"].str.startswith("diverged at iteration ").all()
    assert diverged[["right", "total", "exact_2x"]].isna().all(axis=None)
    solved = frame[frame["status"] == "solved"]
    assert (solved["solved_at"] == solved["iterations"]).all()
    by_loss = frame[frame["setting"] == 3]
    assert ((by_loss["status"] == "solved") == (by_loss["loss"] <= 1.2)).all()
    unsolved = frame[frame["status"] == "not solved"]
    assert unsolved["solved_at"].isna().all()
    assert set(frame[frame["status"] != "diverged"]["total"]) == {64}
    assert list(frame["setting"]) == [n for n in range(4) for _ in range(6)]
    last = mixed.curves.groupby("run").last()
    assert list(frame["setting_iterations"].unique()) == [90, 130, 70, 400]
    joined = frame.set_index("run").loc[last.index]
    for name in ("loss", "wrong", "exact", "loss_per_step"):
        np.testing.assert_array_equal(joined[name], last[name])
    np.testing.assert_array_equal(joined["iterations"], last["iteration"])


def test_a_run_may_go_on_after_it_is_solved():
    base = {**ADDER, "iterations": 400, "learning_rate": 0.1}
    stopped = Study(base=base, solved={"loss": 1.2}, seeds=4).run(workers=1).frame
    gone_on = Study(base=base, solved={"loss": 1.2}, seeds=4, stop_when_solved=False)
    frame = gone_on.run(workers=1).frame
    assert list(frame["solved_at"]) == list(stopped["solved_at"])
    assert list(frame["status"]) == list(stopped["status"])
    assert "solved" in set(frame["status"])
    assert (frame["iterations"] == 400).all()
    assert (stopped["iterations"] < 400).any()


def test_processes_give_the_same_table(mixed, tmp_path):
    assert_same(MIXED.run(tmp_path / "two", workers=2), mixed)
    assert_same(load(tmp_path / "two"), mixed)


def test_units_of_any_size_give_the_same_table(mixed, monkeypatch):
    monkeypatch.setattr(execution_module, "LANES", 1)
    monkeypatch.setattr(execution_module, "UNIT_SECONDS", 1e-9)
    assert_same(MIXED.run(workers=1), mixed)


def test_a_unit_gives_what_is_finished_when_interrupted():
    setting = MIXED.expanded[0]
    unit = Unit([(setting.digest, setting.settings, list(range(5)))], True, True, [], False, False)
    assert len(run_unit(unit)) == 5
    assert run_unit(unit, lambda: True) == []


def test_resume_does_what_is_missing_and_only_that(mixed, tmp_path, monkeypatch):
    one = replace_study(MIXED, seeds=[0, 3])
    one.run(tmp_path, workers=1)
    with pytest.raises(BpttError, match="already holds a study"):
        one.run(tmp_path)
    trained = []
    original = run_unit

    def counted(unit, interrupted=lambda: False):
        trained.extend((digest, seed) for digest, _, seeds in unit.parts for seed in seeds)
        return original(unit, interrupted)

    monkeypatch.setattr("bptt.studies.workers.run_unit", counted)
    grown = replace_study(MIXED, seeds=6)
    assert_same(grown.run(tmp_path, workers=1, resume=True), mixed)
    assert len(trained) == len(set(trained)) == 16
    assert not {seed for _, seed in trained} & {0, 3}
    grown.run(tmp_path, workers=1, resume=True)
    assert len(trained) == 16


def replace_study(study, **fields):
    return Study.from_dict(study.as_dict() | fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeds": 1}, "seeds was 2 and is 1"),
        ({"base": {**ADDER, "hidden": 5}}, "base was"),
        ({"lengths": [3]}, "lengths was"),
        ({"verdict": False}, "verdict was True and is False"),
        ({"stop_when_solved": False}, "stop_when_solved was True and is False"),
        ({"curves": False}, "curves was True and is False"),
        ({"settings": [{"learning_rate": 0.2}]}, "settings was"),
        ({"solved": {"loss": 0.1}}, "solved was"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_study_that_was_declared_otherwise_is_not_resumed(fields, said, tmp_path):
    study = replace_study(MIXED, seeds=2, settings=MIXED.settings[:1])
    study.run(tmp_path, workers=1)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(BpttError) as caught:
        replace_study(study, **fields).run(tmp_path, resume=True)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "study.json").read_bytes() == before
    assert len(load(tmp_path).frame) == 2


def test_a_large_declaration_is_expanded_once(tmp_path, monkeypatch):
    replace_study(MIXED, seeds=1).run(tmp_path, workers=1)
    calls = []
    original = expansion_module.expand
    monkeypatch.setattr(
        expansion_module, "expand", lambda study: calls.append(study) or original(study)
    )
    assert len(load(tmp_path).frame) == 4
    assert len(calls) == 1


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BpttError, match="is not empty and holds no study"):
        MIXED.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(BpttError, match="is not a study"):
        load(tmp_path)
    TEXT.run(tmp_path / "text", workers=1)
    (tmp_path / "text" / "study.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(BpttError, match="cannot be used: file is not a database"):
        load(tmp_path / "text")


def test_shards_merged_are_the_whole(mixed, tmp_path):
    folders = [tmp_path / str(part) for part in (1, 2, 3)]
    parts = [
        MIXED.run(folder, workers=1, shard=(part, 3))
        for part, folder in enumerate(folders, start=1)
    ]
    names = [set(part.frame["run"]) for part in parts]
    assert all(names)
    assert sum(map(len, names)) == len(set.union(*names)) == 24
    some = merge(folders[:2], tmp_path / "whole")
    assert some.missing == len(names[2])
    assert_same(merge(folders[1:], tmp_path / "whole"), mixed)
    TEXT.run(tmp_path / "text", workers=1, shard=(1, 2))
    with pytest.raises(BpttError, match="holds another study than"):
        merge([folders[0], tmp_path / "text"], tmp_path / "both")
    with pytest.raises(BpttError, match="shard 4/3"):
        MIXED.run(shard=(4, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_what_is_finished(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(execution_module, "LANES", 1)
    monkeypatch.setattr(execution_module, "UNIT_SECONDS", 0.05)
    study = Study(base=ADDER, seeds=300, solved={"loss": 0.0}, verdict=False)

    def press():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if (tmp_path / "study.sqlite").exists() and len(load(tmp_path).store.done()) > 3:
                break
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    results = study.run(tmp_path, workers=workers)
    presser.join()
    assert results.reason == "interrupted"
    assert 3 < len(results.frame) < 300
    assert results.missing == 300 - len(results.frame)
    assert load(tmp_path).missing == results.missing


def test_a_budget_of_time_ends_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(execution_module, "LANES", 1)
    monkeypatch.setattr(execution_module, "UNIT_SECONDS", 0.05)
    study = Study(base=ADDER, seeds=300, seconds=0.3, solved={"loss": 0.0}, verdict=False)
    results = study.run(tmp_path, workers=1)
    assert results.reason == "time"
    assert 0 < len(results.frame) < 300


def test_killed_and_resumed_is_the_same_table():
    assert len(Study.from_dict(DECLARATION).expanded) > 1
    summary = trials(1)
    assert summary.same == 1
