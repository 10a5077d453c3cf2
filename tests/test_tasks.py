"""Tasks: what a user's own has to say, and that nothing outside the folder of tasks names one."""

import ast
import contextlib
import doctest
import inspect
import io
import json
import pickle
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec
import numpy as np
import pytest
from command_line import refused, said

import bptt
import bptt.studies
from bptt.commands import cli
from bptt.commands.train import task_command
from bptt.errors import BpttError
from bptt.tasks import BUILT_IN, kind_of, task_from_config
from bptt.training import runs
from bptt.training.options import OPTIONS, own_options
from bptt.training.settings import settings_from_dict


class Oddness(bptt.Task):
    """At every step, whether the ones so far are odd in number."""

    steps: int = 6
    inputs = outputs = 1

    def samples(self, rng, count):
        x = rng.integers(0, 2, (count, self.steps, 1))
        return x, x.cumsum(axis=1) % 2


class Most(bptt.Task):
    """Of a ragged sequence of symbols, which came most often; the first of them where several."""

    symbols: int = 3
    steps: int = 5
    one_hot = classes = True
    readout = "last"

    @property
    def inputs(self):
        return self.symbols

    outputs = inputs

    def samples(self, rng, count):
        x = rng.integers(0, self.symbols, (count, self.steps))
        lengths = rng.integers(1, self.steps + 1, count)
        alive = np.arange(self.steps) < lengths[:, None]
        counts = ((x[..., None] == np.arange(self.symbols)) & alive[..., None]).sum(axis=1)
        return x, counts.argmax(axis=1), lengths


OWN = {"oddness": (Oddness, {"steps": 4}), "most": (Most, {"symbols": 2, "steps": 4})}


def made(name):
    """A task of one's own, and the same from its description."""
    kind, fields = OWN[name]
    return kind(**fields)


@pytest.mark.parametrize("name", [*BUILT_IN, *OWN])
def test_a_task_is_a_value(name):
    own = OWN[name][0] if name in OWN else None
    kind = kind_of(name, own)
    first, second = (kind(**(OWN[name][1] if own else kind.example)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert pickle.loads(pickle.dumps(first)) == first
    assert task_from_config(first.config(), own) == first
    with pytest.raises(AttributeError):
        first.steps = 3


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_list_of_tasks_agrees_with_the_tasks(name):
    kind, listed = kind_of(name), BUILT_IN[name]
    assert (kind.name, kind.command) == (name, listed.command)
    assert {each.name: each.words for each in kind.commands} == listed.commands


@pytest.mark.parametrize("name", [*BUILT_IN, *OWN])
@pytest.mark.parametrize("batch", [1, 3, 600])
def test_a_stream_does_not_depend_on_how_it_is_drawn(name, batch):
    task = made(name) if name in OWN else kind_of(name)(**kind_of(name).example)
    if task.carries_state and batch > 3:
        pytest.skip("a paragraph has no 600 windows")
    whole = task.stream(7, batch).draw(9)
    parted, other = task.stream(7, batch), task.stream(7, batch)
    parts = [parted.draw(count) for count in (1, 5)]
    state = parted.state()
    parts.append(parted.draw(3))
    other.draw(4)
    other.restore(state)
    again = other.draw(3)
    for field in ("x", "y", "lengths", "reset"):
        values = getattr(whole, field)
        if values is None:
            assert getattr(again, field) is None
            continue
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, field) for part in parts]), values
        )
        np.testing.assert_array_equal(getattr(again, field), values[6:])
    many = task.stream(7, batch).draw_many([task.stream(7, batch), task.stream(8, batch)], 2)
    np.testing.assert_array_equal(many.x[0], whole.x[:2])


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_a_task_of_ones_own_is_learnt_saved_and_resumed(name, engine, tmp_path):
    task = made(name)
    options = {"engine": engine, "hidden": 6, "iterations": 60, "record_every": 20, "seed": 3}
    run = bptt.train(task, exact=False, **options)
    assert run.task is task
    assert run.settings.structure.readout == task.readout
    assert run.verdict.total == 1000
    run.save(tmp_path / "run")
    text = r"task '\w+' is not known.*handed in, as task="
    for load in (bptt.load, bptt.load_run, bptt.resume):
        with pytest.raises(BpttError, match=text):
            load(tmp_path / "run")
    for handed in (task, type(task)):
        assert bptt.load_run(tmp_path / "run", task=handed).task == task
        network = bptt.load(tmp_path / "run", task=handed)
        np.testing.assert_array_equal(network.theta, run.network.theta)
    with pytest.raises(BpttError, match="the task handed in is not the one described: its steps"):
        bptt.load(tmp_path / "run", task=msgspec.structs.replace(task, steps=3))


def test_a_run_of_ones_own_task_goes_on_to_the_same_weights(tmp_path):
    task = made("most")
    options = {"iterations": 50, "record_every": 30, "exact": False, "hidden": 3}
    whole = bptt.train(task, **options)
    settings = whole.settings
    training = bptt.api.Training(settings)
    seen = iter([False, False, True])
    for _ in training.records(lambda: next(seen, True)):
        pass
    assert 0 < training.learner.iteration < 50
    runs.save(tmp_path / "run", training)
    again = bptt.resume(tmp_path / "run", task=Most)
    np.testing.assert_array_equal(again.network.theta, whole.network.theta)


def test_settings_hold_the_task_itself():
    task = made("oddness")
    settings = bptt.Settings(task=task, structure=bptt.Structure(inputs=1, outputs=1))
    assert settings.task is task
    assert settings.as_dict()["task"] == {"task": "oddness", "steps": 4}
    assert settings_from_dict(settings.as_dict(), Oddness) == settings


class Unfinished(bptt.Task):
    inputs = 1
    steps = 2


class Crooked(bptt.Task):
    inputs = outputs = 1
    steps = 3
    one_hot: bool = False
    x: tuple = ()
    y: tuple = ()

    def samples(self, rng, count):
        return np.array([*self.x] * count), np.array([*self.y] * count)


class addition(bptt.Task):  # noqa: N801
    inputs = outputs = steps = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bptt.train(Unfinished()), "the task 'unfinished' has no 'outputs'"),
        (lambda: bptt.train(addition()), "the name 'addition' is a built-in task's"),
        (lambda: bptt.train(Oddness), "is a class: make a task of it"),
        (lambda: bptt.train("addition"), "task 'addition' is no bptt.Task"),
        (
            lambda: bptt.train(Crooked(x=[[1, 0]], y=[[[1]] * 3]), batch=1),
            r"x of shape \(512, 2\): \(512, 3, 1\) is needed",
        ),
        (
            lambda: bptt.train(Crooked(one_hot=True, x=[[0, 0, 4]], y=[[[1]] * 3]), batch=1),
            "x has one-hot input 4: numbers from 0 to 0 are allowed",
        ),
        (
            lambda: bptt.train(Oddness(), output="softmax"),
            "output 'softmax' does not suit the task 'oddness'.*'linear', 'sigmoid'",
        ),
        (
            lambda: bptt.train(Most(), output="sigmoid"),
            "output 'sigmoid' does not suit the task 'most'.*'softmax'",
        ),
        (
            lambda: bptt.Settings(task=Oddness(), structure=bptt.Structure(inputs=2, outputs=1)),
            "inputs 2 does not fit the task 'oddness': 1 is needed",
        ),
        (lambda: bptt.train(Oddness(), hiden=3), "option 'hiden' is not known: did you mean 'hidd"),
    ],
)
def test_a_task_that_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(BpttError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


SOURCE = Path(bptt.__file__).parent
# What may be taken from the folder of tasks by who is outside it.
NEUTRAL = {
    "BUILT_IN", "DEFAULT", "Batches", "Command", "FromFile", "Report", "SampleStream", "Samples",
    "stacked", "Shown", "Stream", "Task", "Verdict", "Watched", "evaluate", "kind_of",
    "task_from_config",
}  # fmt: skip


def named(path):
    """Where a file names a task: as a text, or by taking something of it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and node.value in BUILT_IN:
            yield node.lineno, node.value
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bptt.tasks"):
            for name in node.names:
                if name.name not in NEUTRAL:
                    yield node.lineno, name.name
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in {each.kind for each in BUILT_IN.values()} - {"Text"}:
                yield node.lineno, name


def test_nothing_outside_the_tasks_names_one():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] != "tasks"
        for line, name in named(path)
        if path != SOURCE / "__init__.py"  # the public face
    ]
    assert found == []
    assert any(named(SOURCE / "__init__.py"))  # it would be seen


def test_the_list_of_commands_says_what_they_say():
    """The list is made without importing them."""
    for name, (place, words) in {**cli.BEFORE, **cli.AFTER}.items():
        made = cli._made(name, place)
        assert made.help.split("\n\n")[0].replace("\n", " ").strip() == words, name


TOP = Path(__file__).resolve().parent.parent


def loaded(path):
    """A Python file as a module, under its name."""
    specification = spec_from_file_location(path.stem, path)
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_table_of_options_is_what_is_declared():
    page = loaded(TOP / "docs" / "options.py").page()
    assert (TOP / "docs" / "options.md").read_text("utf-8") == page  # python docs/options.py


def test_the_docstring_and_the_keywords_of_train_are_the_options():
    keywords = set(inspect.signature(bptt.train).parameters) - {"task"}
    assert keywords == set(OPTIONS)
    assert all(f"    {name}: {each.words}" in bptt.train.__doc__ for name, each in OPTIONS.items())


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_has_a_flag(name):
    kind = kind_of(name)
    command = task_command(kind, "")
    flags = {each.name for each in command.params}
    given = {file.field for file in kind.files.values()}
    wanted = ({*OPTIONS, *own_options(kind)} | set(kind.files)) - set(kind.fixed) - given
    assert wanted <= flags
    assert not flags & {*kind.fixed, *given}


@pytest.fixture
def brackets(tmp_path, monkeypatch):
    """The task of docs/tasks.md, as a user has it: in a file of his own, beside his work."""
    code = re.search(
        r"```python\n(# file: pairs.py\n.*?)```", (TOP / "docs/tasks.md").read_text(), re.S
    )
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pairs.py").write_text(code[1])
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield loaded(folder / "pairs.py").Brackets
    sys.modules.pop("pairs", None)


def test_the_page_on_tasks_of_ones_own(brackets):
    names = {}
    blocks = re.findall(
        r"```python\n(?!# file)(.*?)```\n(?:\n```text\n(.*?)```)?",
        (TOP / "docs/tasks.md").read_text(),
        re.S,
    )
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        checker = doctest.OutputChecker()
        assert checker.check_output(shown, printed.getvalue(), doctest.ELLIPSIS), printed.getvalue()
    assert len(blocks) == 4


def test_a_task_of_ones_own_in_a_study_on_two_workers(brackets):
    from pairs import Brackets

    base = {"iterations": 60, "record_every": 20, "engine": "reference", "batch": 2}
    study = bptt.Study(task=Brackets(pairs=2), base=base, grid={"hidden": [2, 3]}, seeds=2)
    two = study.run("study", workers=2, progress=False).frame
    one = study.run(workers=1, progress=False).frame
    kept = ["run", "hidden", "seed", "status", "loss", "right"]
    assert two[kept].equals(one[kept])
    again = bptt.studies.load("study", task=Brackets)
    assert again.missing == 0
    assert again.frame[kept].equals(one[kept])
    with pytest.raises(BpttError, match="task 'brackets' is not known"):
        bptt.studies.load("study")


def test_a_task_that_only_the_script_has_is_trained_in_its_own_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import bptt\n"
        "class Own(bptt.Task):\n"
        "    inputs = outputs = steps = 1\n"
        "    def samples(self, rng, count):\n"
        "        x = rng.integers(0, 2, (count, 1, 1))\n"
        "        return x, x\n"
        "study = bptt.Study(task=Own, base={'iterations': 5, 'engine': 'reference'}, seeds=4)\n"
        "assert len(study.run(workers=1).frame) == 4\n"
        "assert len(study.run(workers=2).frame) == 4\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_gradient_on_a_task_of_ones_own():
    for name in OWN:
        task = made(name)
        drawn = task.stream(0, 3, "float64").draw(1)
        network = bptt.Network(
            inputs=task.inputs, outputs=task.outputs, output=task.output, readout=task.readout,
            hidden=3, cell="gru", dtype="float64", engine="reference",
        )  # fmt: skip
        lengths = None if drawn.lengths is None else drawn.lengths[0]
        assert bptt.check_network(network, drawn.x[0], drawn.y[0], lengths).passed


def test_a_task_of_ones_own_on_the_command_line(brackets, capsys):
    words = ["--pairs", "2", "--iterations", "40", "--engine", "reference", "--hidden", "3"]
    more = ["--schedule", "kind=step", "--schedule", "every=10", "--initializers", "W=zeros"]
    said(capsys, "train", "pairs.py:Brackets", *words, *more, "--no-stop-exact")
    folder = Path("runs/brackets-1")
    settings = json.loads((folder / "config.json").read_text())
    assert settings["task"] == {"task": "brackets", "pairs": 2}
    assert settings["optimizer"]["schedule"]["every"] == 10
    assert settings["initializers"] == {"W": "zeros"}
    assert "brackets (pairs 2)" in said(capsys, "show", folder, "--task", "pairs.py:Brackets")
    for refusal, expected in (
        (["show", folder], "task 'brackets' is not known"),
        (["train", "--resume", folder], "task 'brackets' is not known"),
        (["train", "pairs.py:Bracket"], "'pairs.py' has no task 'Bracket': it has Brackets"),
        (["train", "nowhere.py:Own"], "'nowhere.py' is not there"),
        (["train", "pairs.py:Brackets", "--schedule", "step"], "--schedule 'step' must be NAME="),
        (["train", "pairs.py:Brackets", "--schedule", "kind=steps"], "schedule 'steps'"),
    ):
        assert expected in refused(capsys, *refusal)
    (folder / "checkpoint.safetensors").unlink()  # as if killed before the first one
    (folder / "result.json").unlink()
    said(capsys, "train", "--resume", folder, "--task", "pairs.py:Brackets")
    assert json.loads((folder / "result.json").read_text())["iteration"] == 40
