"""The experiments: declarations, runs and reports."""

import json
import os
import re
import signal
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

import bptt
from bptt.commands.cli import run as run_cli
from bptt.errors import BpttError
from bptt.experiments import NAMES, declared, find
from bptt.experiments.declaration import Experiment, Quick
from bptt.experiments.drawing import _flow
from bptt.experiments.examples import check_parameters, show
from bptt.experiments.measures import (
    CONFIRMED,
    NOT_JUDGED,
)
from bptt.experiments.running import run

# Small enough for the reference engine, with everything an experiment can have.
SMALL = """
title = "A small adder"
question = "Does it run?"
network = "three units"
task = "addition"
[base]
bits = 3
hidden = 3
iterations = 6
record_every = 2
engine = "reference"
[gradient_check]
at = "sizes/3"
published = "no errors"
samples = 2
[example]
at = "sizes/3"
[[panels]]
name = "sizes"
question = "How many?"
seeds = 3
quick = { seeds = 2, iterations = 4 }
settings = [{ name = "3" }, { name = "4", hidden = 4, iterations = 8 }]
[[panels]]
name = "rates"
question = "How fast?"
seeds = 2
grid = { learning_rate = [0.01, 0.1] }
[[lines]]
what = "It solves the task"
published = "7.25 of 8"
where = "figure 1"
checks = [{ measure = "share", at = "sizes/3", at_least = 0.5 }]
[[figures]]
name = "runs"
kind = "runs"
caption = "Runs."
curves = [{ value = "loss", label = "loss", scale = "log" }]
[[figures]]
name = "bands"
kind = "multiples"
caption = "Bands."
curves = [{ value = "wrong", label = "wrong bits (%)" }]
[[figures]]
name = "solved"
kind = "solved"
caption = "Solved."
[[faults]]
fault = "a published fault"
mended = "mended here"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def plain(small: Path) -> Path:
    """The same without figures, which take longest."""
    before, _, after = SMALL.partition("[[figures]]")
    small.write_text(before + after[after.index("[[faults]]") :])
    return small


# --- declarations -------------------------------------------------------------------------------

PUBLISHED = {
    "signed-adder/runs/as published": {
        "task": {"bits": 8, "signed": True},
        "structure": {"hidden": 16, "tied": False, "steps": 8, "output": "linear",
                      "loss": "squared", "reduction": "sequence", "activation": "tanh"},
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "run": {"batch": 1, "iterations": 30_000, "record_every": 1000},
    },
    "online-adder/runs/as published": {
        "task": {"bits": 8, "low": 0, "high": 127, "carry": "wrap"},
        "structure": {"hidden": 16, "tied": True, "output": "sigmoid", "loss": "cross_entropy",
                      "activation": "tanh"},
        "optimizer": {"kind": "sgd", "learning_rate": 0.008},
        "run": {"batch": 1, "iterations": 20_000,
                "initializers": {"U": "uniform(1)", "W": "uniform(1)", "V": "uniform(1)"}},
    },
    "minibatch-adder/runs/as published, with its faulty order": {
        "task": {"bits": 16, "low": 0, "high": 2**15, "pairs": 2000, "order": "sliding",
                 "carry": "wrap"},
        "structure": {"hidden": 3, "initial_state": "trainable", "loss": "cross_entropy",
                      "reduction": "mean", "activation": "tanh"},
        "optimizer": {"kind": "rmsprop_nesterov", "learning_rate": 0.05, "decay": 0.5,
                      "momentum": 0.8, "epsilon": 1e-6},
        "run": {"batch": 100, "iterations": 100},
    },
    "hyperparameter-study/learning rate/0.01": {
        "task": {"bits": 8, "low": 0, "high": 128, "carry": "wrap"},
        "structure": {"hidden": 8, "bias": False, "output": "sigmoid", "loss": "squared",
                      "reduction": "sequence", "activation": "sigmoid"},
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
        "run": {"batch": 1, "iterations": 50_000, "record_every": 100},
    },
    "text-lstm/published rule/as published": {
        "task": {"window": 40, "newlines": "space", "rest": "drop"},
        "structure": {"cell": "lstm", "hidden": 64, "reduction": "sequence"},
        "optimizer": {"kind": "adagrad", "learning_rate": 0.05, "epsilon": 1e-8,
                      "clip_value": 1.0},
        "run": {"batch": 1, "iterations": 20_000},
    },
}  # fmt: skip


@pytest.mark.parametrize("place", PUBLISHED)
def test_published_settings(place: str) -> None:
    name, _, rest = place.partition("/")
    settings = find(name).settings(rest)
    wanted = PUBLISHED[place]
    for part, where in (
        ("task", settings.task),
        ("structure", settings.structure),
        ("optimizer", settings.optimizer),
        ("run", settings),
    ):
        for field, value in wanted[part].items():
            assert getattr(where, field) == value, (part, field)


def test_every_panel_of_the_study_is_there() -> None:
    places = [place for place, _ in find("hyperparameter-study").places()]
    for panel, names in {
        "hidden size": ("2", "4", "8", "16", "32", "64"),
        "initial std": ("0.1", "0.5", "1", "2", "5"),
        "learning rate": ("0.01", "0.1", "0.5", "1.0", "2.0"),
        "initializer": ("normal", "xavier", "he"),
        "tanh": ("normal", "xavier"),
        "relu": ("normal", "he"),
    }.items():
        assert [place for place in places if place.startswith(f"{panel}/")] == [
            f"{panel}/{name}" for name in names
        ]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("signed-adder", ["3 of 3"]),
        ("online-adder", ["7.8 to 7.9"]),
        ("minibatch-adder", ["5 of 5"]),
        ("text-lstm", ["17,550", "0.099974"]),
    ],
)
def test_published_numbers_are_there(name: str, numbers: list[str]) -> None:
    lines = " ".join(line.published for line in find(name).lines)
    assert all(number in lines for number in numbers)


@pytest.mark.parametrize("name", NAMES)
def test_declarations_say_what_they_must(name: str) -> None:
    experiment = find(name)
    assert experiment.faults
    assert all(panel.seeds >= 10 for panel in experiment.panels)
    assert all(line.published and line.where for line in experiment.lines)


def test_text_may_be_given_and_quick_changes_only_what_it_says(tmp_path: Path) -> None:
    experiment = find("text-lstm")
    text = "to be or not to be, that is the question here and everywhere"
    (tmp_path / "text").write_text(text)
    changed = experiment.changed(seeds=3, quick=True, file=tmp_path / "text")
    assert changed.settings("recommended/as recommended").task.text == text
    assert {panel.seeds for panel in changed.panels} == {3}
    assert changed.settings("published rule/as published").iterations == 1000
    assert experiment.changed() == experiment


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "A small', 'titel = "A small', "titel"),
        ("hidden = 3", "hiden = 3", "hiden"),
        ('at = "sizes/3", at_least', 'at = "sizes/5", at_least', "'sizes/5' is not a setting"),
        ('measure = "share"', 'measure = "shares"', "'shares'"),
        (", at_least = 0.5", "", "at_least, at_most"),
        ('kind = "runs"', 'kind = "run"', "'run'"),
        ('at = "sizes/3"\n[[p', 'at = "sizes/3"\nshow = "sums"\n[[p', "show"),
        ('{ name = "4", hidden', '{ name = "3", hidden', "each once"),
        ('name = "rates"', 'name = "sizes"', "each once"),
        ('kind = "solved"', 'kind = "solved"\nat = ["nothing"]', "'nothing'"),
        ("bits = 3", "bits = 0", "bits 0"),
        ('title = "', "title = ", "not TOML"),
        ('value = "loss"', 'value = "los"', "'los'"),
        ('kind = "solved"', 'kind = "runs"', "'solved': 'curves'"),
    ],
)
def test_a_bad_declaration_is_one_line(small: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL
    small.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(BpttError) as caught:
        run(declared(small), declared(small), workers=1).figures  # noqa: B018
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- runs and reports ---------------------------------------------------------------------------


def test_an_experiment_of_ones_own(small: Path, tmp_path: Path) -> None:
    outcome = bptt.experiment(small, workers=1)
    assert len(outcome.frame) == 3 * 2 + 2 * 2
    assert set(outcome.groups) == {
        "sizes/3", "sizes/4", "rates/learning_rate=0.01", "rates/learning_rate=0.1",
    }  # fmt: skip
    assert list(outcome.groups["sizes/4"].curves["iteration"].unique()) == [2, 4, 6, 8]
    found = outcome.tables
    assert {"published", "sizes", "rates", "all runs", "gradient check", "example"} == set(found)
    first = found["published"].iloc[0]
    assert (first["verdict"], first["published"]) == (CONFIRMED, "no errors")
    assert found["sizes"]["runs"].tolist() == [3, 3]
    assert len(found["example"]) == 5
    assert set(outcome.figures) == {"runs", "bands", "solved"}
    names = {path.name for path in outcome.save(tmp_path / "out")}
    assert names == {"report.html", "report.md", "runs.csv", "runs.png", "bands.png", "solved.png"}
    for report in ("report.html", "report.md"):
        text = (tmp_path / "out" / report).read_text()
        parts = ["A small adder", "7.25 of 8", "a published fault", "bptt experiment small"]
        for part in [*parts, *found["published"]["verdict"]]:
            assert part in text, part
    html = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)  # nothing beside it, no network
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 10


def test_quick_and_resume(small: Path, tmp_path: Path) -> None:
    outcome = bptt.experiment(small, quick=True, folder=tmp_path / "runs", workers=1)
    assert outcome.frame.groupby("panel")["iterations"].max().to_dict() == {"sizes": 4, "rates": 6}
    assert outcome.judged[0][0] == NOT_JUDGED
    again = bptt.experiment(small, quick=True, folder=tmp_path / "runs", resume=True, workers=1)
    pd.testing.assert_frame_equal(outcome.frame, again.frame)  # seconds too: nothing was run


@pytest.mark.parametrize("name", NAMES)
def test_each_published_experiment_runs_to_its_report(name: str, tmp_path: Path) -> None:
    full = find(name)
    tiny = Quick(seeds=1, iterations=3)
    panels = [msgspec.structs.replace(panel, quick=tiny) for panel in full.panels]
    base = {**full.base, "engine": "reference", "record_every": 1}
    cut: Experiment = msgspec.structs.replace(full, panels=panels, base=base).changed(quick=True)
    check = full.gradient_check and msgspec.structs.replace(full.gradient_check, entries=2)
    # The example of the whole run is tested by itself.
    cut = msgspec.structs.replace(cut, example=None, gradient_check=check)
    outcome = run(cut, full, quick=True, workers=1)
    assert {judged for judged, _ in outcome.judged} <= {NOT_JUDGED}
    paths = outcome.save(tmp_path)
    assert {path.stem for path in paths if path.suffix == ".png"} == {
        figure.name for figure in full.figures
    }
    text = (tmp_path / "report.md").read_text()
    for part in [line.what for line in full.lines] + [fault.fault for fault in full.faults]:
        assert part in text
    json.dumps(bptt.experiments.reporting.as_dict(outcome))


def test_gradients_are_checked_entry_by_entry(small: Path) -> None:
    settings = declared(small).settings("sizes/3")
    whole = check_parameters(settings, 2, None)
    assert whole.passed
    assert {each.name: each.entries for each in whole.parameters} == {
        name: int(np.prod(shape)) for name, shape in settings.structure.layout().shapes.items()
    }
    few = check_parameters(settings, 2, 2)
    assert max(each.entries for each in few.parameters) == 2


def text_experiment(path: Path) -> Experiment:
    """The small experiment, on a text; without lines and figures."""
    text = SMALL.split('{ name = "4"')[0] + "]\n"
    for old, new in (
        ('at = "sizes/3"\n[[p', 'at = "sizes/3"\nevery = 2\n[[p'),
        ('task = "addition"', 'task = "text"'),
        ("bits = 3", 'text = "abcabd"\nwindow = 3'),
    ):
        text = text.replace(old, new)
    path.write_text(text)
    return declared(path)


def test_a_text_is_sampled_on_the_way(tmp_path: Path) -> None:
    experiment = text_experiment(tmp_path / "text.toml")
    assert experiment.example is not None
    shown = show(experiment, experiment.example, lambda: False)
    assert shown.table["iteration"].tolist() == [2, 4, 6]
    assert all(text.startswith("a") and len(text) == 6 for text in shown.table["text"])
    assert "iteration 4" in shown.lines
    assert "after 6 iterations" in shown.sentence


def test_an_interrupt_shows_the_state(tmp_path: Path) -> None:
    experiment = text_experiment(tmp_path / "text.toml")
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 1

    assert experiment.example is not None
    shown = show(experiment, experiment.example, after_two)
    assert "interrupted after" in shown.sentence
    assert len(shown.table) < 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_experiment_is_no_report(
    number: int, code: int, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from bptt.studies.study import Study

    whole = Study.run

    def stopped(self: Study, *arguments: object, **options: object) -> object:
        results = whole(self, *arguments, **options)  # type: ignore[arg-type]
        os.kill(os.getpid(), number)
        return results

    monkeypatch.setattr(Study, "run", stopped)
    monkeypatch.chdir(tmp_path)
    assert run_cli(["experiment", str(plain), "--workers", "1"]) == code
    out, err = capsys.readouterr()
    assert "interrupted: 6 runs are finished" in out
    assert f"go on with: bptt experiment {plain} --resume" in err
    assert not (tmp_path / "experiments" / "small" / "report.html").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run_cli(["experiment", str(plain), "--workers", "1", "--resume"]) == 0
    assert (tmp_path / "experiments" / "small" / "report.html").exists()


# --- command line -------------------------------------------------------------------------------


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["experiment"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(NAMES)
    assert run_cli(["experiment", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["experiments"]
    assert [row["name"] for row in rows] == list(NAMES)


def test_json_is_one_object(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["experiment", str(plain), "--json", "--seeds", "2", "--out", str(out)]
    assert run_cli([*arguments, "--workers", "1"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["runs"] == 8
    assert values["tables"]["published"][1]["published"] == "7.25 of 8"
    assert run_cli(arguments) == 2
    assert "already holds an experiment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "choose one of 'signed-adder'"),
        (["nope.toml"], "'nope.toml' cannot be read"),
        (["signed-adder", "--seeds", "0"], "seeds 0 must be at least 1"),
        (["signed-adder", "--file", __file__], "learns no file"),
        (["text-lstm", "--file", "nowhere.txt"], "'nowhere.txt' cannot be read"),
        (["signed-adder", "--seeds", "many"], "'many' was given"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_cli(["experiment", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_small_multiples_fill_rows() -> None:
    assert _flow([3, 2, 2, 7], 6) == [
        [(0, 0), (0, 1), (0, 2)],
        [(0, 3), (0, 4)],
        [(1, 0), (1, 1)],
        [(2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 0)],
    ]
