"""Declarations of studies: what they expand to, what they refuse, what a plan says."""

import json
import math
import re
import tomllib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bptt.commands.cli import run
from bptt.errors import BpttError
from bptt.studies import Panel, Study
from bptt.studies.expansion import groups_of, varied_fields
from bptt.tasks import Addition, Text

SMALL = {"bits": 3, "hidden": 4, "engine": "reference", "iterations": 60, "record_every": 20}


def labels(study):
    return [each.label for each in study.expanded]


def test_a_study_without_variation_is_one_setting():
    (only,) = Study(base=SMALL, seeds=3).expanded
    assert (only.number, only.label, only.panel) == (0, "", "")
    assert only.settings.iterations == 60
    assert only.settings.task.bits == 3
    assert only.settings.stop.exact


def test_a_grid_is_every_combination_in_the_order_declared():
    study = Study(base=SMALL, grid={"hidden": [2, 3], "optimizer": ["sgd", "adam"]})
    assert labels(study) == [
        "hidden=2, optimizer=sgd", "hidden=2, optimizer=adam",
        "hidden=3, optimizer=sgd", "hidden=3, optimizer=adam",
    ]  # fmt: skip
    assert varied_fields(study) == ["hidden", "optimizer"]
    assert [each.settings.structure.hidden for each in study.expanded] == [2, 2, 3, 3]


def test_explicit_settings_have_names_and_may_differ_in_anything():
    study = Study(
        base=SMALL,
        settings=[
            {"name": "slow", "learning_rate": 0.01, "iterations": 500},
            {"name": "fast", "learning_rate": 0.1, "solved": {"loss": 0.5}},
        ],
        grid={"hidden": [2, 5]},
    )
    found = study.expanded
    assert labels(study) == ["slow, hidden=2", "slow, hidden=5", "fast, hidden=2", "fast, hidden=5"]
    assert [each.settings.iterations for each in found] == [500, 500, 60, 60]
    assert [each.settings.stop.loss for each in found] == [None, None, 0.5, 0.5]
    assert [each.settings.stop.exact for each in found] == [True, True, False, False]
    assert [each.value("iterations") for each in found] == [500, 500, 60, 60]


def test_panels_have_bases_grids_and_criteria_of_their_own():
    study = Study(
        base=SMALL,
        panels=[
            Panel(name="size", grid={"hidden": [2, 8]}),
            Panel(name="rate", base={"hidden": 8}, grid={"learning_rate": [0.01, 1.0]},
                  solved={"accuracy": 0.9}),
        ],
    )  # fmt: skip
    found = study.expanded
    assert [(each.panel, each.label) for each in found] == [
        ("size", "hidden=2"), ("size", "hidden=8"),
        ("rate", "learning_rate=0.01"), ("rate", "learning_rate=1"),
    ]  # fmt: skip
    assert [each.settings.stop.accuracy for each in found] == [None, None, 0.9, 0.9]
    assert [each.value("hidden") for each in found] == [2, 8, 8, 8]
    # hidden 8 with the preset's rate 0.01 stands in both panels, but is solved otherwise.
    assert found[1].digest != found[2].digest


def test_equal_settings_are_the_same_runs():
    study = Study(base=SMALL, settings=[{"name": "once"}, {"name": "again"}, {"hidden": 5}])
    once, again, other = study.expanded
    assert once.digest == again.digest != other.digest
    assert [len(group) for group in groups_of(study.expanded)] == [1, 1]


def test_a_field_may_name_one_entry_of_a_table():
    study = Study(
        base={**SMALL, "initializers": {"U": "normal"}, "schedule": {"kind": "step"}},
        grid={"initializers.W": ["orthogonal", "normal(2)"], "schedule.every": [10, 20]},
    )
    last = study.expanded[-1]
    assert last.label == "initializers.W=normal(2), schedule.every=20"
    assert last.settings.initializers == {"U": "normal", "W": "normal(2)"}
    assert last.settings.optimizer.schedule.kind == "step"
    assert last.value("schedule.every") == 20
    assert last.value("initializers.W") == "normal(2)"


def test_shapes_that_differ_are_different_groups():
    same = {"learning_rate": [0.1, 0.2], "iterations": [50, 60], "initializers.U": ["normal"]}
    assert len(groups_of(Study(base=SMALL, grid=same).expanded)) == 1
    for name, values in {
        "hidden": [2, 3], "bits": [3, 4], "batch": [1, 2], "optimizer": ["sgd", "adam"],
        "clip_norm": [1.0, 2.0], "dtype": ["float32", "float64"],
    }.items():  # fmt: skip
        assert len(groups_of(Study(base=SMALL, grid={name: values}).expanded)) == 2, name


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_random_points_are_in_their_ranges_and_stay_where_more_are_drawn(seed, few, more):
    def study(draws):
        return Study(
            base=SMALL,
            random={
                "learning_rate": {"log_uniform": [1e-3, 1.0]},
                "hidden": {"integer": [2, 4]},
                "momentum": {"uniform": [0.5, 0.9]},
                "activation": {"choice": ["tanh", "relu"]},
            },
            draws=draws,
            draws_seed=seed,
        )

    found = study(few).expanded
    assert [each.options for each in found] == [
        each.options for each in study(few + more).expanded[:few]
    ]
    for each in found:
        assert 1e-3 <= each.options["learning_rate"] <= 1
        assert each.options["hidden"] in (2, 3, 4)
        assert 0.5 <= each.options["momentum"] <= 0.9
        assert each.options["activation"] in ("tanh", "relu")


def test_random_ranges_are_used_evenly():
    study = Study(
        base=SMALL, random={"learning_rate": {"log_uniform": [1e-4, 1.0]}, "bits": {"integer":
        [1, 4]}}, draws=400,
    )  # fmt: skip
    found = study.expanded
    logs = np.log10([each.options["learning_rate"] for each in found])
    # Uniform in (-4, 0): mean -2, standard deviation of the mean 4 / sqrt(12 * 400) = 0.058.
    assert abs(logs.mean() + 2) < 4 * 0.058
    counts = np.bincount([each.options["bits"] for each in found], minlength=5)[1:]
    assert counts.min() > 100 - 4 * math.sqrt(400 * 0.25 * 0.75)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(1e-4, 10), min_size=1, max_size=4, unique=True),
    st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_numbers_labels_and_digests_are_each_a_settings_own(hidden, rates, draws):
    random = {"epsilon": {"uniform": [1e-9, 1e-6]}} if draws else {}
    study = Study(
        base=SMALL, grid={"hidden": hidden, "learning_rate": rates}, random=random, draws=draws
    )
    found = study.expanded
    assert len(found) == len(hidden) * len(rates) * max(draws, 1)
    assert [each.number for each in found] == list(range(len(found)))
    assert len({each.digest for each in found}) == len(found)
    assert Study.from_dict(json.loads(json.dumps(study.as_dict()))) == study


def test_a_task_and_numpys_numbers_may_be_given():
    study = Study(
        task=Addition(bits=np.int64(5), signed=True),
        base={"hidden": np.int32(3)},
        grid={"learning_rate": np.array([0.5, 0.25])},
        seeds=range(3, 6),
    )
    assert study.task == "addition"
    assert (study.base["bits"], study.base["hidden"]) == (5, 3)
    assert study.seed_list() == [3, 4, 5]
    assert study.expanded[1].settings.task.signed is True
    json.dumps(study.as_dict())
    text = Study(task=Text(text="to be or not", window=4))
    assert text.expanded[0].settings.structure.outputs == len(set("to be or not"))


REFUSED = [
    ({"task": "sorting"}, "task 'sorting' is not known"),
    ({"base": {"hiden": 4}}, "'hiden' is not known: did you mean 'hidden'? choose of ac"),
    ({"grid": {"window": [4]}}, "field 'window' is not known"),
    ({"grid": {"hidden": []}}, "grid hidden is empty"),
    ({"grid": {"hidden": 4}}, "grid {'hidden': 4}: Expected"),
    ({"grid": {"hidden": [2, 0]}}, "setting 'hidden=0': hidden 0 must be at least 1"),
    ({"grid": {"hidden": ["many"]}}, "setting 'hidden=many': hidden 'many': expected int, got str"),
    ({"base": {"learning_rate": "high"}}, "learning_rate 'high': expected float, got str"),
    ({"base": {"optimizer": "sdg"}}, "optimizer 'sdg' is not known: choose one of 'sgd'"),
    ({"base": {"iterations": 0}}, "iterations 0 must be at least 1"),
    ({"base": {"cell": "lstm", "activation": "relu"}}, "activation 'relu' is not one of"),
    ({"base": {"forget_bias": 1.0}}, "forget_bias 1.0 needs an LSTM"),
    ({"base": {"initializers": {"Q": "normal"}}}, "initialiser for 'Q'"),
    ({"base": {"initializers.W": "orthonormal"}}, "initialiser 'orthonormal' is not known"),
    ({"base": {"batch": 10, "pairs": 5}}, "batch 10 is larger than the 5 pairs"),
    ({"base": {"seed": 3}}, "'seed' cannot be set for single settings"),
    ({"base": {"exact": True}}, "'exact' cannot be set for single settings"),
    ({"grid": {"seconds": [1.0]}}, "'seconds' cannot be set for single settings"),
    ({"seeds": 0}, "seeds 0: a count of at least 1"),
    ({"seeds": [1, 1]}, "seeds [1, 1]: a count"),
    ({"seeds": [-1]}, "seeds [-1]: a count"),
    ({"seeds": 1.5}, "seeds 1.5: Expected"),
    ({"solved": "nearly"}, "solved 'nearly' is not known: give 'exact'"),
    ({"solved": {"loss": -1.0}}, "solved loss -1.0 must be a number, not negative"),
    ({"solved": {"accuracy": 1.5}}, "solved accuracy 1.5 is a share"),
    ({"solved": {"loss": 1.0, "wrong": 0.0}}, "is not known: give 'exact'"),
    ({"random": {"hidden": {"integer": [4, 2]}}, "draws": 3}, "random hidden: integer [4, 2] must"),
    ({"random": {"hidden": {"integer": [1.5, 2]}}, "draws": 3}, "two integers"),
    ({"random": {"learning_rate": {"log_uniform": [0, 1]}}, "draws": 3}, "two positive numbers"),
    ({"random": {"learning_rate": {"normal": [0, 1]}}, "draws": 3}, "is not known: give one of"),
    ({"random": {"optimizer": {"choice": []}}, "draws": 3}, "must be a list of values"),
    ({"random": {"hidden": {"integer": [2, 4]}}}, "draws 0 and 1 random ranges"),
    ({"draws": 3}, "draws 3 and 0 random ranges"),
    ({"grid": {"hidden": [3]}, "random": {"hidden": {"integer": [2, 4]}}, "draws": 1},
     "'hidden' is in the grid and among the random"),
    ({"lengths": [0]}, "lengths [0] must be different multiples"),
    ({"seconds": 0}, "seconds 0.0 must be positive"),
    ({"panels": [{"grid": {"hidden": [2]}}]}, "panels need names of their own"),
    ({"panels": [{"name": "a"}], "grid": {"hidden": [2]}}, "put them there"),
    ({"seeds": 20_000_000}, "20,000,000 runs are too many"),
    ({"curve": True}, "study field 'curve' is not known: did you mean 'curves'? choose of base, "),
    ({"task": "text", "base": {"text": "abc", "tied": False, "window": 2}}, "untied weights"),
    ({"task": "text", "base": {"text": "abc"}}, "window 40 is longer than the text allows"),
    ({"task": "text", "base": {"text": "abcd", "window": 2}, "lengths": [2]},
     "lengths [2] are for tasks with longer sequences, and 'text' has none"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_before_anything_runs(fields, said):
    with pytest.raises(BpttError) as caught:
        Study.from_dict(fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_text_becomes_part_of_the_declaration(tmp_path):
    (tmp_path / "words.txt").write_text("to be or not to be")
    (tmp_path / "study.toml").write_text(
        'task = "text"\nseeds = 2\n[base]\nwindow = 4\nfile = "words.txt"\n[grid]\nhidden = [3]\n'
    )
    study = Study.from_toml(tmp_path / "study.toml")
    assert study.base == {"window": 4, "text": "to be or not to be"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seeds = ", "is not TOML: "),
        (b"\xff\xfe", "is not TOML: "),
        (b'task = "text"\n[base]\nfile = "nowhere.txt"\n', "nowhere.txt' cannot be read"),
        (b"sedes = 3\n", "study field 'sedes' is not known: did you mean 'seeds'?"),
        (b"[base]\nhidden = 0\n", "hidden 0 must be at least 1"),
    ],
)
def test_a_bad_file_is_one_line(content, said, tmp_path, capsys):
    (tmp_path / "study.toml").write_bytes(content)
    for words in ([], ["--plan"]):
        assert run(["study", str(tmp_path / "study.toml"), *words]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert said in printed.err
        assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "study.toml"]


DOCUMENT = (Path(__file__).parent.parent / "docs" / "studies.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_documents_example_runs_and_is_the_python_one(tmp_path):
    path = tmp_path / "adders.toml"
    path.write_text(EXAMPLES[0])
    study = Study.from_toml(path)
    assert len(study.expanded) == 6
    call = re.search(r"study = bptt\.(Study\(.*?^\))", DOCUMENT, re.DOTALL | re.MULTILINE)[1]
    assert eval(call, {"Study": Study}) == study
    quick = {**study.base, "engine": "reference", "iterations": 60, "record_every": 30}
    small = Study.from_dict(study.as_dict() | {"base": quick, "seeds": 2})
    frame = small.run(tmp_path / "out", workers=1).frame
    described = {name for row in re.findall(r"^\| (`.*?) \|", section("The table"), re.MULTILINE)
                 for name in re.findall(r"`(\w+)`", row)}  # fmt: skip
    asked_for = {"panel", "setting_iterations", "setting_loss", "every_length"}
    assert described - asked_for <= {*frame} | {"iterations"}
    assert set(frame) - described == {"hidden", "learning_rate", "exact_4x"}
    (refusal,) = re.findall(r"```text\nbptt: '.*?': (.*)\n```", DOCUMENT)
    with pytest.raises(BpttError) as caught:
        Study.from_dict(study.as_dict() | {"grid": {"hidden": [0], "learning_rate": [0.01]}})
    assert str(caught.value) == refusal


def section(title):
    return DOCUMENT.split(f"## {title}\n")[1].split("\n## ")[0]


# The one over data needs its file: tests/test_study_data.py.
@pytest.mark.parametrize("example", [each for each in EXAMPLES[1:] if "[data]" not in each])
def test_the_documents_other_declarations_are_valid(example):
    assert len(Study.from_dict(tomllib.loads(example)).expanded) > 1


def test_the_document_has_every_field():
    fields = re.findall(r"^\| (`.*?) \|", section("What can be declared"), re.MULTILINE)
    named = [name for cell in fields for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(Study.__struct_fields__) == sorted(named[: len(Study.__struct_fields__)])


def test_the_plan_counts_and_estimates(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(
        'seeds = 5\n[base]\nengine = "reference"\nbits = 3\niterations = 1000\n'
        "[grid]\nhidden = [2, 3]\nlearning_rate = [0.1, 0.2]\n"
    )
    assert run(["study", "--plan", "--json", str(path), "--workers", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["settings"], found["seeds"], found["workers"]) == (20, 4, 5, 2)
    assert [group["runs"] for group in found["groups"]] == [10, 10]
    assert [group["iterations"] for group in found["groups"]] == [10_000, 10_000]
    assert all(group["measured"] and group["seconds"] > 0 for group in found["groups"])
    assert found["seconds"] == pytest.approx(sum(g["seconds"] for g in found["groups"]) / 2)
    assert run(["study", str(path), "--plan"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("20 runs: 4 settings x 5 seeds, in 2 groups of equal shapes\n")
    assert "by a short timing of 2 of 2 groups" in printed
    assert list(tmp_path.iterdir()) == [path]  # nothing has been run
    modelled = Study.from_toml(path).plan(workers=1, measure=False)
    assert modelled.source == "by the model of docs/studies.md"
    assert modelled.seconds > 0
