"""Runs that end, are gone on with, and are wanted by several processes at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import refused
from processes import finish, kill, start

import bptt
from bptt.commands.cli import run as command
from bptt.training import records, runs

SMALL = {"engine": "reference", "bits": 2, "hidden": 3}
WORDS = ["train", "add", "--engine", "reference", "--bits", "2", "--hidden", "3", "--no-stop-exact"]
TASK = bptt.Addition(bits=2)


def trained(**options):
    return bptt.train(TASK, **{"engine": "reference", "hidden": 3, "exact": False, **options})


def test_a_run_that_used_up_its_seconds_has_as_many_again(tmp_path):
    run = trained(seconds=1e-6, iterations=60, record_every=20)
    run.save(tmp_path)
    assert (run.reason, len(run.records)) == ("time", 1)
    assert len(bptt.resume(run).records) == 2
    assert len(bptt.resume(tmp_path).records) == 2
    assert bptt.load_run(tmp_path).reason == "time"  # to look at it changes nothing


def test_a_run_that_has_ended_says_how_it_can_go_on(tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["--iterations", "40", "--record-every", "20", "--out", folder]
    assert command([*map(str, [*WORDS, *words])]) == 0
    capsys.readouterr()
    assert command(["train", "--resume", str(folder)]) == 0
    said = capsys.readouterr().err
    assert "nothing was left to do (iterations): to go on, change 'iterations' or 'stop'" in said
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "iterations": 60}))
    assert command(["train", "--resume", str(folder)]) == 0
    assert capsys.readouterr().err == ""
    whole = bptt.train(runs.settings_from_dict({**config, "iterations": 60}))
    gone_on = bptt.load_run(folder)
    np.testing.assert_array_equal(gone_on.network.theta, whole.network.theta)
    assert [each.iteration for each in gone_on.records] == [20, 40, 60]


@pytest.mark.parametrize(
    ("where", "value"),
    [(["seed"], 4), (["structure", "hidden"], 5), (["optimizer", "learning_rate"], 0.5),
     (["task", "signed"], True), (["batch"], 2), (["record_every"], 10)],
    ids=str,
)  # fmt: skip
def test_other_changes_of_a_run_s_settings_are_refused(where, value, tmp_path, capsys):
    trained(iterations=10).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    inner = config
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = refused(capsys, "train", "--resume", tmp_path)
    assert f"{'.'.join(where)} was " in said
    assert f" and is {value!r}): put that back" in said


def test_a_run_that_is_being_trained_is_nobody_else_s(tmp_path, capsys):
    folder = tmp_path / "run"
    words = [*WORDS, "--iterations", "1000000", "--record-every", "10", "--out", folder,
             "--checkpoint-seconds", "0"]  # fmt: skip
    process = start(words, folder / "checkpoint.safetensors")
    try:
        for given in (["train", "--resume", folder], [*WORDS, "--out", folder]):
            said = refused(capsys, *given)
            assert f"'{folder}' is being trained by another process: wait" in said
        with pytest.raises(bptt.BpttError, match="is being trained by another process"):
            trained(iterations=1).save(folder)
        assert bptt.load_run(folder).records  # to look is allowed
        assert process.poll() is None
    finally:
        killed = kill(process)
    assert killed
    config = json.loads((folder / "config.json").read_text())
    config["iterations"] = bptt.load_run(folder).training.learner.iteration + 10
    (folder / "config.json").write_text(json.dumps(config))
    finish(start(["train", "--resume", folder], folder / "result.json"))  # no lock is left behind


def test_processes_that_begin_at_once_have_folders_of_their_own(tmp_path):
    words = [sys.executable, "-m", "bptt", *WORDS, "--iterations", "5", "--json"]
    processes = [
        subprocess.Popen([*words, "--seed", str(seed)], cwd=tmp_path, stdout=subprocess.PIPE)
        for seed in range(6)
    ]
    found = [json.loads(process.communicate()[0])["run"] for process in processes]
    assert sorted(found) == [f"runs/add-{number}" for number in range(1, 7)]
    for seed, folder in enumerate(found):
        again = bptt.load_run(tmp_path / folder)
        assert again.settings.seed == seed
        assert len(list((tmp_path / folder).iterdir())) == 7


@pytest.mark.parametrize("name", ["history.csv", "figure.png", "config.json", "notes.txt"])
def test_files_of_others_are_not_written_over(name, tmp_path, capsys):
    (tmp_path / name).write_text("{}")
    said = refused(capsys, *WORDS, "--iterations", "1", "--out", tmp_path)
    assert f"'{tmp_path}' is not empty and holds no run (it has '{name}'): choose another" in said
    with pytest.raises(bptt.BpttError, match="holds no run"):
        trained(iterations=1).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "{}"


def test_a_run_of_its_own_is_saved_again(tmp_path):
    for seed in (1, 2):
        trained(iterations=1, seed=seed).save(tmp_path)
        assert bptt.load_run(tmp_path).settings.seed == seed


def test_a_checkpoint_that_cannot_be_written_ends_no_training(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise bptt.BpttError("no room")

    monkeypatch.setattr(runs.checkpoints, "save", fail)
    words = ["--iterations", "40", "--record-every", "10", "--checkpoint-seconds", "0"]
    code = command([*map(str, [*WORDS, *words, "--out", tmp_path / "run"])])
    assert (code, capsys.readouterr().err) == (
        2, "bptt: no room; training goes on without a checkpoint\nbptt: no room\n"
    )  # fmt: skip
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"weights.safetensors", "result.json", "config.json"} <= left
    assert json.loads((tmp_path / "run" / "result.json").read_text())["iteration"] == 40


def test_a_network_that_cannot_be_written_is_kept_elsewhere(tmp_path, monkeypatch):
    run = trained(iterations=1)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "file").touch()
    with pytest.raises(bptt.BpttError, match="the network has been kept in") as caught:
        runs.save(tmp_path / "file" / "run", run.training)
    kept = Path(str(caught.value).split("kept in '")[1].rstrip("'"))
    assert tmp_path in kept.parents
    np.testing.assert_array_equal(bptt.load(kept).theta, run.network.theta)


def test_results_between_records_take_no_more_room_than_a_block(monkeypatch):
    monkeypatch.setattr(records, "BLOCK", 8)
    options = {"iterations": 100, "record_every": 100}
    run = trained(**options)
    assert run.training.pending.rest.shape == (5, 0)
    seen = []
    training = bptt.Run(trained(**options, seconds=None).training).training
    training = type(training)(run.settings)
    for _ in training.records(lambda: seen.append(training.pending.rest.shape[1]) or False):
        pass
    assert max(seen) < 8
    monkeypatch.undo()
    whole = trained(**options)
    for name in ("loss", "loss_per_step", "wrong", "exact", "gradient_norm", "smooth_loss"):
        expected = getattr(whole.records[0], name)
        assert getattr(run.records[0], name) == pytest.approx(expected, rel=1e-12), name


def test_no_file_s_header_grows_with_the_text(tmp_path):
    # A safetensors header holds 100 MB; a text of that size takes minutes, this one shows the same.
    text = "the cat sat on the mat. " * 10_000
    task = bptt.Text(text=text, window=3)
    run = bptt.train(task, engine="reference", hidden=2, iterations=2, batch=1, exact=False)
    runs.save(tmp_path, run.training)
    assert (tmp_path / "weights.safetensors").stat().st_size < 10_000
    assert (tmp_path / "checkpoint.safetensors").stat().st_size < 10_000
    again = runs.load_training(tmp_path)
    assert again.task == task
    np.testing.assert_array_equal(again.network.theta, run.network.theta)


def test_a_run_is_written_by_the_umask(tmp_path):
    code = "import os, sys; os.umask(0o027); from bptt.__main__ import main; main(sys.argv[1:])"
    words = [*WORDS, "--iterations", "1", "--out", str(tmp_path / "run")]
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
    for path in (tmp_path / "run").iterdir():
        assert (path.name, path.stat().st_mode & 0o777) == (path.name, 0o640)
    assert os.stat(tmp_path / "run").st_mode & 0o777 == 0o750
