"""Tasks: what a user's own has to say, and that nothing outside the folder of tasks names one."""

import ast
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest

import bptt
from bptt.commands import cli
from bptt.errors import BpttError
from bptt.tasks import BUILT_IN, kind_of, task_from_config
from bptt.training import runs
from bptt.training.settings import settings_from_dict


class Parity(bptt.Task):
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


OWN = {"parity": (Parity, {"steps": 4}), "most": (Most, {"symbols": 2, "steps": 4})}


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
    task = made("parity")
    settings = bptt.Settings(task=task, structure=bptt.Structure(inputs=1, outputs=1))
    assert settings.task is task
    assert settings.as_dict()["task"] == {"task": "parity", "steps": 4}
    assert settings_from_dict(settings.as_dict(), Parity) == settings


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
        (lambda: bptt.train(Parity), "is a class: make a task of it"),
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
            lambda: bptt.train(Parity(), output="softmax"),
            "output 'softmax' does not suit the task 'parity'.*'linear', 'sigmoid'",
        ),
        (
            lambda: bptt.train(Most(), output="sigmoid"),
            "output 'sigmoid' does not suit the task 'most'.*'softmax'",
        ),
        (
            lambda: bptt.Settings(task=Parity(), structure=bptt.Structure(inputs=2, outputs=1)),
            "inputs 2 does not fit the task 'parity': 1 is needed",
        ),
        (lambda: bptt.train(Parity(), hiden=3), "option 'hiden' is not known: did you mean 'hidd"),
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
    "stacked", "Shown", "Stream", "Task", "Verdict", "evaluate", "kind_of", "task_from_config",
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
