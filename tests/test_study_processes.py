"""Studies and experiments as commands: two at once in a folder, signals, going on, progress."""

import contextlib
import json
import os
import re
import subprocess
import sys

import pandas
import pytest
from command_line import refused
from processes import finish, kill, start, terminated

from bptt.errors import BpttError
from bptt.studies import Study, load
from bptt.studies.store import LOCK, alone
from bptt.studies.study import merge

# Some seconds of work in records of a few milliseconds, so that there is time to interrupt it.
STUDY = """
seeds = 40
solved = {loss = 0.0}
verdict = false
[base]
bits = 2
hidden = 4
iterations = 150
record_every = 10
engine = "reference"
"""
EXPERIMENT = """
title = "A small adder"
question = "Does it run?"
network = "four units"
task = "addition"
[base]
bits = 2
hidden = 4
iterations = 150
record_every = 10
engine = "reference"
[[panels]]
name = "one"
question = "How many?"
seeds = 36
[[panels]]
name = "two"
question = "How many more?"
seeds = 4
settings = [{ name = "5", hidden = 5 }]
"""


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def timeless(folder):
    return load(folder).frame.drop(columns=["seconds", "version"])


def test_a_second_process_is_told_that_the_folder_is_in_use(toml, tmp_path, capsys):
    folder, words = tmp_path / "out", ["study", toml, "--out", tmp_path / "out", "--resume"]
    process = start([*words, "--workers", "1"], folder / "study.sqlite")
    try:
        said = refused(capsys, *words)
        assert f"'{folder}' is being worked on by another process: wait until" in said
        with pytest.raises(BpttError, match="is being worked on by another process"):
            merge([folder], folder)
        assert load(folder).study == Study.from_toml(toml)  # to read is allowed
        assert process.poll() is None
    finally:
        killed = kill(process)
    assert killed
    finish(start([*words, "--workers", "1"], folder / "study.sqlite"))  # no lock is left behind
    assert len(load(folder).frame) == 40


def test_the_lock_ends_with_its_block(tmp_path):
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        with alone(folder), pytest.raises(BpttError, match="by another process"), alone(folder):
            pass
    assert [path.name for path in folder.iterdir()] == [LOCK]
    (tmp_path / "file").write_text("")
    with pytest.raises(BpttError, match="cannot be used"), alone(tmp_path / "file"):
        pass


def test_a_folder_whose_process_was_killed_at_its_first_file_is_free(toml, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in (LOCK, ".study.json.abc123"):
        (folder / name).touch()
    finish(start(["study", toml, "--out", folder, "--workers", "1"], folder / "study.sqlite"))
    assert len(load(folder).frame) == 40


def test_sigterm_ends_a_study_so_that_it_can_go_on(toml, tmp_path):
    folder = tmp_path / "out"
    words = ["study", toml, "--out", folder, "--workers", "1"]
    process = start(words, folder / "study.sqlite")
    printed, errors = terminated(process, lambda: load(folder).store.done())
    assert process.returncode == 143
    assert errors == f"go on with: bptt study {toml} --resume --out {folder}\n"
    assert " runs are missing\n" in printed
    before = load(folder).frame.set_index("run")["seconds"]
    assert 0 < len(before) < 40
    finish(start([*words, "--resume"], folder / "study.sqlite"))
    after = load(folder).frame.set_index("run")["seconds"]
    assert after[before.index].equals(before)
    Study.from_toml(toml).run(tmp_path / "whole", workers=1)
    pandas.testing.assert_frame_equal(timeless(folder), timeless(tmp_path / "whole"))


def test_sigterm_ends_an_experiment_so_that_it_can_go_on(tmp_path):
    file, folder = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(EXPERIMENT)
    words = ["experiment", file, "--out", folder, "--workers", "1"]
    first = folder / "runs" / "study-1"
    process = start(words, first / "study.sqlite")
    printed, errors = terminated(process, lambda: load(first).store.done())
    assert process.returncode == 143
    assert errors == f"go on with: bptt experiment {file} --resume --out {folder}\n"
    assert "interrupted: " in printed
    assert not (folder / "report.html").exists()
    before = load(first).frame.set_index("run")["seconds"]
    process = start([*words, "--resume", "--json"], folder / "report.html")
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(printed)["runs"] == 40
    after = load(first).frame.set_index("run")["seconds"]
    assert len(before) > 0
    assert after[before.index].equals(before)


def shown_on_a_terminal(words):
    """What a command writes to standard error where that is a terminal."""
    terminal, end = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bptt", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=end, env={**os.environ, "TERM": "xterm", "COLUMNS": "99"},
    ) as process:  # fmt: skip
        os.close(end)
        written = b""
        with contextlib.suppress(OSError):  # a terminal ends with one when nobody writes any more
            while part := os.read(terminal, 10_000):
                written += part
    os.close(terminal)
    assert process.returncode == 0
    return written.decode()


def test_progress_is_shown_on_a_terminal(toml, tmp_path):
    words = ["study", toml, "--out", tmp_path / "out", "--workers", "1"]
    assert re.search(r" 0\.0 % solved  [\d.]+ runs/s .*\d/40 runs", shown_on_a_terminal(words))
    options = ["--engine", "reference", "--iterations", "60", "--record-every", "20", "--bits", "2"]
    words = ["train", "add", *options, "--no-stop-exact", "--out", tmp_path / "run"]
    assert re.search(r"loss [\d.]+  wrong +[\d.]+ % .*\d0/60", shown_on_a_terminal(words))
