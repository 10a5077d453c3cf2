"""A run's folder: what it holds, how it is written, and what becomes of files that are not ours."""

import csv
import json
import os
import pickle
import stat
import struct
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from bptt import Network, api
from bptt.errors import BpttError
from bptt.tasks import Addition, Text
from bptt.training import runs
from bptt.training.options import settings_for
from bptt.training.training import Training

FILES = {
    "config.json", "history.csv", "weights.safetensors", "checkpoint.safetensors", "result.json",
    "figure.png", "run.lock",
}  # fmt: skip
UMASK = os.umask(0o022)
os.umask(UMASK)
TEXT = Text(text="the cat sat on the mat, the rat ran.", window=9)


def short_run(task=None, **options):
    sizes = {"engine": "reference", "hidden": 4, "iterations": 12, "record_every": 5}
    training = Training(settings_for(task or Addition(bits=3), {**sizes, **options}))
    for _ in training.records():
        pass
    return api.Run(training)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished run; tests copy from it and leave it alone."""
    path = tmp_path_factory.mktemp("runs") / "add-1"
    short_run().save(path)
    return path


def timeless(record):
    """A record without the one thing that differs from run to run."""
    return replace(record, seconds=0.0)


def one_line(caught):
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# --- what a folder holds -------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Addition(bits=3), TEXT], ids=["addition", "text"])
def test_a_folder_holds_what_it_should_and_nothing_else(task, tmp_path):
    run = short_run(task)
    run.save(tmp_path / "deep" / "run")
    path = tmp_path / "deep" / "run"
    assert {each.name for each in path.iterdir()} == FILES
    assert runs.settings_from_dict(json.loads((path / "config.json").read_text())) == run.settings
    result = json.loads((path / "result.json").read_text())
    assert (result["reason"], result["iteration"]) == ("iterations", 12)
    assert result["verdict"] == run.verdict.as_dict()
    assert result["parameters"] == run.network.theta.size
    assert (path / "figure.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with (path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [record.iteration for record in run.records] == [5, 10, 12]
    for row, record in zip(rows, run.records, strict=True):
        assert {name: float(value) for name, value in row.items()} == asdict(record)
    assert set(from_safetensors((path / "weights.safetensors").read_bytes())) == set(
        run.network.parameters
    )
    for each in path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o666 & ~UMASK


def test_a_folder_says_how_a_run_diverged(tmp_path):
    run = short_run(optimizer="sgd", learning_rate=3.0, activation="relu", output="linear",
                    iterations=200)  # fmt: skip
    assert run.reason == "diverged"
    run.save(tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["reason"] == "diverged"
    assert result["divergence"] == str(run.training.divergence)
    network, _ = runs.load_network(tmp_path, "reference")
    np.testing.assert_array_equal(network.theta, run.network.theta)
    assert str(api.load_run(tmp_path)) == str(run)


# --- weights there and back ----------------------------------------------------------------------

STRUCTURES = [
    {"cell": "elman", "activation": "relu"},
    {"cell": "lstm", "layers": 2, "initial_state": "trainable"},
    {"cell": "gru", "dtype": "float64", "bias": False},
    {"tied": False},
]


@pytest.mark.parametrize(
    ("task", "options"),
    # An untied network is made for so many steps and cannot read a whole text.
    [(Addition(bits=3, signed=True), options) for options in STRUCTURES]
    + [(TEXT, options) for options in STRUCTURES[:-1]],
)
def test_a_network_comes_back_with_its_task(task, options, tmp_path):
    run = short_run(task, **options, iterations=1)
    path = tmp_path / "some.safetensors"
    runs.save_network(path, run.network, task)
    network, again = runs.load_network(path, "reference")
    assert network.structure == run.network.structure
    assert network.theta.dtype == run.network.theta.dtype
    np.testing.assert_array_equal(network.theta, run.network.theta)
    assert type(again) is type(task)
    x = TEXT.encode("the cat")[None] if task is TEXT else task.encode([(1, -2)])[0]
    np.testing.assert_array_equal(network.predict(x), run.network.predict(x))
    if task is TEXT:
        assert again.vocabulary == TEXT.vocabulary
        assert again.decode(again.encode("rat")) == "rat"
    else:
        assert again == task


def test_a_network_without_a_task(tmp_path):
    network = Network(inputs=3, outputs=2, hidden=5, engine="reference")
    path = tmp_path / "weights"
    runs.save_network(path, network, None)
    again, task = runs.load_network(path, "reference")
    assert task is None
    np.testing.assert_array_equal(again.theta, network.theta)
    with pytest.raises(BpttError) as caught:
        runs.load_task_network(path, Addition)
    assert "no task" in one_line(caught)


def test_metadata_can_be_read_by_anyone(folder):
    content = (folder / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["bptt"])
    from bptt import __version__

    assert metadata["version"] == __version__
    assert metadata["structure"]["hidden"] == 4
    assert metadata["task"]["task"] == "addition"


def test_another_task_is_named(folder, tmp_path):
    with pytest.raises(BpttError) as caught:
        runs.load_task_network(folder, Text)
    message = one_line(caught)
    assert str(folder) in message
    assert "addition" in message
    assert "'text'" in message


# --- going on ------------------------------------------------------------------------------------


def test_without_a_checkpoint_a_run_starts_from_its_settings(tmp_path):
    run = short_run(seed=5)
    runs.save_settings(tmp_path, run.settings)
    training = runs.load_training(tmp_path)
    assert training.learner.iteration == 0
    for _ in training.records():
        pass
    np.testing.assert_array_equal(training.network.theta, run.network.theta)


def test_a_checkpoint_brings_everything_back(folder):
    run, training = short_run(), runs.load_training(folder)
    np.testing.assert_array_equal(training.network.theta, run.network.theta)
    for name in ("theta", "s0", "s1"):
        np.testing.assert_array_equal(
            getattr(training.learner, name), getattr(run.training.learner, name)
        )
    assert training.learner.theta is training.network.theta
    assert training.stream.state() == run.training.stream.state()
    assert [timeless(each) for each in training.history] == [timeless(each) for each in run.records]
    assert training.smooth_loss == run.training.smooth_loss
    assert training.learner.iteration == 12


def test_no_run_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BpttError) as caught:
            runs.load_training(path)
        assert str(path) in one_line(caught)
        with pytest.raises(BpttError) as caught:
            runs.load_network(path)
        assert "cannot be read" in one_line(caught)


# --- damaged, foreign and hostile files ----------------------------------------------------------


class Trap:
    """Unpickling this would make a file: proof that code was run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def metadata_file(tensors, text):
    return to_safetensors(tensors, {"bptt": text})


NOT_OURS = {
    "empty": b"",
    "a few zeros": bytes(7),
    "zeros": bytes(100),
    "a header longer than the file": struct.pack("<Q", 1 << 62) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 5) + b"{[,]}",
    "a header that nests": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "text": b"A network with memory reads one letter at a time.\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "a zip": b"PK\x03\x04" + bytes(64),
    "a pickle": pickle.dumps({"theta": [1.0, 2.0]}),
    "another library's": to_safetensors({"U": np.zeros((2, 4), np.float32)}),
    "another's metadata": to_safetensors({"U": np.zeros(3, np.float32)}, {"format": "pt"}),
    **{
        f"metadata {text[:20]}": metadata_file({"theta": np.zeros(2, np.float32)}, text)
        for text in (
            "", "{", "null", "7", "[]", "{}", '"text"', "NaN", '{"structure": 5}',
            '{"settings": 5}', '{"structure": {}}', '{"settings": {}}', "[" * 100_000,
            '{"settings": {"task": {}, "structure": {"inputs": 2, "outputs": 1}}}',
            '{"structure": {"inputs": 0, "outputs": 1}}',
            '{"structure": {"inputs": 2, "outputs": 1, "cell": "transformer"}}',
            '{"structure": {"inputs": 2, "outputs": 1, "surprise": 1}}',
            '{"structure": {"inputs": "two", "outputs": 1}}',
        )
    },
}  # fmt: skip


def loads_or_complains(folder, name):
    """Load a file; anything but success or a BpttError of one line is a failure of the test."""
    message = None
    try:
        if name == runs.WEIGHTS:
            runs.load_network(folder / name, "reference")
        else:
            runs.load_training(folder)
    except BpttError as error:
        message = str(error)
    assert message is None or (message and "\n" not in message)
    return message is None


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS.keys())
@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.CHECKPOINT])
def test_a_file_that_is_not_ours_is_refused_in_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert not loads_or_complains(tmp_path, name)


@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.CHECKPOINT])
def test_a_pickle_is_never_run(name, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "made")))
    assert not loads_or_complains(tmp_path, name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.CHECKPOINT])
def test_a_truncated_file_is_refused_wherever_it_ends(name, folder, tmp_path):
    content = (folder / name).read_bytes()
    ends = {*range(0, 16), *range(16, len(content), 101), len(content) - 1}
    for end in sorted(ends):
        (tmp_path / name).write_bytes(content[:end])
        assert not loads_or_complains(tmp_path, name), end
    (tmp_path / name).write_bytes(content + b"\0")
    assert not loads_or_complains(tmp_path, name)
    (tmp_path / name).write_bytes(content)
    assert loads_or_complains(tmp_path, name)


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data())
@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.CHECKPOINT])
def test_a_file_with_other_bytes_in_it_loads_or_is_refused(name, folder, tmp_path, data):
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    loads_or_complains(tmp_path, name)


def rewritten(path, change_tensors=lambda t: None, change_metadata=lambda m: None):
    """One of our files with its tensors or its metadata changed."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["bptt"])
    tensors = dict(from_safetensors(content))
    change_tensors(tensors)
    change_metadata(metadata)
    return to_safetensors(tensors, {"bptt": json.dumps(metadata)})


TENSORS = {
    "shape": lambda t, name: t.update({name: t[name].reshape(1, *t[name].shape)}),
    "size": lambda t, name: t.update({name: t[name][..., :-1].copy()}),
    "float64": lambda t, name: t.update({name: t[name].astype(np.float64)}),
    "int32": lambda t, name: t.update({name: t[name].astype(np.int32)}),
    "missing": lambda t, name: t.pop(name),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS.keys())
@pytest.mark.parametrize(
    ("name", "tensor"),
    [(runs.WEIGHTS, "U"), (runs.WEIGHTS, "c"), (runs.CHECKPOINT, "theta"), (runs.CHECKPOINT, "s1")],
)
def test_arrays_of_another_shape_or_type_are_refused(name, tensor, change, folder, tmp_path):
    (tmp_path / name).write_bytes(rewritten(folder / name, lambda t: change(t, tensor)))
    assert not loads_or_complains(tmp_path, name)


HOSTILE = [
    (runs.WEIGHTS, ["structure", "hidden"], 5),
    (runs.WEIGHTS, ["structure", "hidden"], 10**30),
    (runs.WEIGHTS, ["structure", "layers"], 2),
    (runs.WEIGHTS, ["structure", "dtype"], "float16"),
    (runs.WEIGHTS, ["structure", "cell"], ["elman"]),
    (runs.WEIGHTS, ["task", "task"], ["addition"]),
    (runs.WEIGHTS, ["task", "task"], "__import__('os')"),
    (runs.WEIGHTS, ["task", "bits"], "8"),
    (runs.WEIGHTS, ["task", "surprise"], 1),
    (runs.WEIGHTS, ["task"], {"task": "text", "text": "another task", "window": 3}),
    (runs.CHECKPOINT, ["settings", "structure", "hidden"], 5),
    (runs.CHECKPOINT, ["settings", "structure", "hidden"], 10**9),
    (runs.CHECKPOINT, ["settings", "structure", "inputs"], 3),
    (runs.CHECKPOINT, ["settings", "task", "pairs"], 10**15),
    (runs.CHECKPOINT, ["settings", "seed"], -1),
    (runs.CHECKPOINT, ["settings", "optimizer", "kind"], "lbfgs"),
    (runs.CHECKPOINT, ["settings", "initializers"], {"U": "__import__('os')"}),
    (runs.CHECKPOINT, ["settings", "record_every"], 0),
    (runs.CHECKPOINT, ["iteration"], "twelve"),
    (runs.CHECKPOINT, ["iteration"], -12),
    (runs.CHECKPOINT, ["iteration"], float("inf")),
    (runs.CHECKPOINT, ["iteration"], None),
    (runs.CHECKPOINT, ["stream"], None),
    (runs.CHECKPOINT, ["stream"], {"iteration": float("inf"), "rng": {}}),
    (runs.CHECKPOINT, ["stream", "rng", "state"], {"state": -1, "inc": 1}),
    (runs.CHECKPOINT, ["stream", "rng", "bit_generator"], "MT19937"),
]


@pytest.mark.parametrize(("name", "where", "value"), HOSTILE, ids=repr)
def test_metadata_that_does_not_fit_is_refused(name, where, value, folder, tmp_path):
    def change(metadata):
        for key in where[:-1]:
            metadata = metadata[key]
        metadata[where[-1]] = value

    (tmp_path / name).write_bytes(rewritten(folder / name, change_metadata=change))
    assert not loads_or_complains(tmp_path, name)


# What version 0.1.0 had there, when records were metadata.
OLD = Path(__file__).parent / "data" / "version-0.1.0" / "text"
HOSTILE_OLD = [
    (["history"], None),
    (["history"], {}),
    (["pending"], []),
    (["pending"], {"loss": 5}),
    (["pending"], {"loss": ["a"]}),
    (["pending"], {"loss": [1.0]}),
    (["smooth_loss"], "low"),
    (["seconds"], {}),
    (["history"], [7]),
    (["history"], [{"iteration": "five"}]),
    (["pending", "loss"], []),
    (["pending", "steps"], {}),
]


@pytest.mark.parametrize(("where", "value"), HOSTILE_OLD, ids=repr)
def test_old_metadata_that_do_not_fit_are_refused(where, value, tmp_path):
    def change(metadata):
        for key in where[:-1]:
            metadata = metadata[key]
        metadata[where[-1]] = value

    path = tmp_path / runs.CHECKPOINT
    path.write_bytes((OLD / runs.CHECKPOINT).read_bytes())
    assert loads_or_complains(tmp_path, runs.CHECKPOINT)
    path.write_bytes(rewritten(OLD / runs.CHECKPOINT, change_metadata=change))
    assert not loads_or_complains(tmp_path, runs.CHECKPOINT)


RECORDS = {
    "history of fewer numbers": ("history", lambda array: array[:, :-1].copy()),
    "history of another type": ("history", lambda array: array.astype(np.float32)),
    "no history": ("history", lambda array: array[:0].copy()),
    "history of one axis": ("history", np.ravel),
    "pending of fewer numbers": ("pending", lambda array: np.zeros((4, 1))),
    "more pending": ("pending", lambda array: np.zeros((5, 3))),
    "sums of fewer numbers": ("sums", lambda array: array[:-1].copy()),
    "sums of more iterations": ("sums", lambda array: array + 1),
    "sums that are none": ("sums", lambda array: np.full_like(array, np.nan)),
    "an iteration that is none": ("history", lambda array: np.full_like(array, np.inf)),
}


@pytest.mark.parametrize(("name", "change"), RECORDS.values(), ids=RECORDS.keys())
def test_records_that_do_not_fit_are_refused(name, change, folder, tmp_path):
    def changed(tensors):
        tensors[name] = change(tensors[name])

    path = tmp_path / runs.CHECKPOINT
    path.write_bytes(rewritten(folder / runs.CHECKPOINT, changed))
    assert not loads_or_complains(tmp_path, runs.CHECKPOINT)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"task": 5}', b"{}"]
)
def test_a_damaged_configuration_is_refused(content, tmp_path):
    (tmp_path / runs.CONFIG).write_bytes(content)
    with pytest.raises(BpttError) as caught:
        runs.load_training(tmp_path)
    one_line(caught)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"verdict": {}}', b'{"verdict": {"right": "x", "total": [], "what": 3}}'],
)
def test_a_damaged_result_is_refused(content, folder, tmp_path):
    for name in (runs.CONFIG, runs.CHECKPOINT):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / runs.RESULT).write_bytes(content)
    with pytest.raises(BpttError) as caught:
        str(api.load_run(tmp_path))
    one_line(caught)


def test_a_run_and_its_figure_show_themselves_in_a_notebook():
    run = short_run()
    for shown in (run, run.figure()):
        assert shown._repr_png_().startswith(b"\x89PNG")
    assert run.history._repr_html_().count("<tr") == len(run.records) + 1
