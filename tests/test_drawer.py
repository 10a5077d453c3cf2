"""A training's figure: drawn by another process, and by this one where that fails."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import start, wait_until

import bptt
from bptt.api import Run
from bptt.commands import training_run as command_train
from bptt.commands.cli import run
from bptt.commands.drawer import SIGNATURE, Drawer, drawer_for
from bptt.processes import helper
from bptt.training import runs

SHORT = ["train", "add", "--bits", "3", "--hidden", "3", "--engine", "reference", "--iterations",
         "60", "--record-every", "20", "--no-stop-exact"]  # fmt: skip


@pytest.fixture
def spied(monkeypatch):
    """What the drawers of a test gave, in order."""
    given = []
    png = Drawer.png

    def spy(self):
        given.append(png(self))
        return given[-1]

    monkeypatch.setattr(Drawer, "png", spy)
    return given


def short_run(task, **options):
    return bptt.train(task, engine="reference", iterations=40, record_every=10, **options)


def figure(folder):
    return (folder / runs.FIGURE).read_bytes()


@pytest.mark.parametrize(
    "trained",
    [
        pytest.param(lambda: short_run(bptt.Addition(bits=3), hidden=3), id="adder"),
        pytest.param(
            lambda: short_run(bptt.Addition(bits=2), output="linear", loss="squared"), id="squared"
        ),
        pytest.param(
            lambda: short_run(bptt.Text(text="the cat sat on the mat, ü", window=7), hidden=5),
            id="text",
        ),
    ],
)
def test_the_other_process_draws_the_same_bytes(trained):
    shown: Run = trained()
    drawer = Drawer()
    drawer.begin(shown.curve())
    assert drawer.png() == shown._repr_png_()


def test_a_loss_that_is_no_number_can_be_handed_over():
    shown = short_run(bptt.Addition(bits=3), hidden=3)
    shown.records[-1] = shown.records[-1].__class__(40, *[float("nan")] * 7)
    shown.records[0] = shown.records[0].__class__(10, *[np.inf] * 7)
    drawer = Drawer()
    drawer.begin(shown.curve())
    assert drawer.png() == shown._repr_png_()


def test_a_training_takes_the_picture_of_the_other_process(tmp_path, spied, capsys):
    assert run([*SHORT, "--out", str(tmp_path)], Drawer()) == 0
    assert spied == [figure(tmp_path)]
    assert figure(tmp_path) == bptt.load_run(tmp_path)._repr_png_()
    # And so does one that is resumed.
    assert run(["train", "--resume", str(tmp_path)], Drawer()) == 0
    assert spied[1] == figure(tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("raise SystemExit(1)", id="fails"),
        pytest.param("import os\nos.abort()", id="is killed"),
        pytest.param("sys.stdin.readline()\nprint('no picture')", id="says something else"),
        pytest.param("import time\ntime.sleep(600)", id="hangs"),
        pytest.param(
            "sys.stdout.buffer.write(b'\\x89PNG\\r\\n')\nraise SystemExit(1)", id="dies writing"
        ),
    ],
)
def test_without_the_other_process_there_is_the_same_figure(
    code, tmp_path, spied, capsys, monkeypatch
):
    monkeypatch.setattr("bptt.commands.drawer.CODE", code)
    monkeypatch.setattr("bptt.commands.drawer.DRAWING_SECONDS", 0.5)
    assert run([*SHORT, "--out", str(tmp_path)], Drawer()) == 0
    assert spied == [None]
    assert figure(tmp_path) == bptt.load_run(tmp_path)._repr_png_()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("executable", ["/nowhere/python", "", None])
def test_where_no_process_can_be_started_there_is_none(executable, monkeypatch):
    monkeypatch.setattr("bptt.commands.drawer.threads", lambda: 2)
    monkeypatch.setattr(sys, "executable", executable)
    assert drawer_for(SHORT) is None


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        pytest.param(["train", "add", "--help"], 2, id="help"),
        pytest.param(["show", "train"], 2, id="another command"),
        pytest.param([], 2, id="nothing"),
        pytest.param(SHORT, 1, id="one processor"),
    ],
)
def test_started_only_for_a_training_and_where_it_helps(arguments, threads, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("bptt.commands.drawer.threads", lambda: threads)
    monkeypatch.setattr("bptt.commands.drawer.helper", never)
    assert drawer_for(arguments) is None
    if threads == 2:
        with pytest.raises(AssertionError):
            drawer_for(SHORT)


def test_the_library_starts_no_process(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(subprocess, "Popen", never)
    short_run(bptt.Addition(bits=3), hidden=3).save(tmp_path)
    assert figure(tmp_path).startswith(SIGNATURE)


def test_a_long_training_does_not_keep_it_waiting(tmp_path, spied, capsys, monkeypatch):
    monkeypatch.setattr(command_train, "PATIENCE_SECONDS", 0.0)
    drawer = Drawer()
    assert run([*SHORT, "--out", str(tmp_path)], drawer) == 0
    assert drawer._process.wait(timeout=60) == 0
    assert spied == []
    assert figure(tmp_path) == bptt.load_run(tmp_path)._repr_png_()


def test_more_records_than_a_pipe_holds_wait_for_nobody(monkeypatch):
    monkeypatch.setattr("bptt.commands.drawer.CODE", "import time\ntime.sleep(600)")
    monkeypatch.setattr("bptt.commands.drawer.DRAWING_SECONDS", 0.5)
    drawer = Drawer()
    drawer.begin({"history": list(range(200_000))})
    assert drawer.png() is None


def test_signals_for_the_whole_group_leave_it_alone():
    with helper("print('up', flush=True)\nprint(sys.stdin.readline())") as process:
        assert process.stdout.readline() == b"up\n"
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        out, _ = process.communicate(b"here", timeout=60)
    assert (process.returncode, out) == (0, b"here\n")


def test_a_helper_imports_what_we_would(tmp_path, monkeypatch):
    (tmp_path / "somewhere_else.py").write_text("said = 'found'")
    monkeypatch.syspath_prepend(tmp_path)
    with helper("import somewhere_else\nprint(somewhere_else.said)") as process:
        assert process.communicate(timeout=60)[0] == b"found\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_has_its_figure(number, code, tmp_path):
    arguments = [*SHORT, "--iterations", "1000000", "--record-every", "10", "--out", tmp_path,
                 "--checkpoint-seconds", "0"]  # fmt: skip
    process = start(arguments, tmp_path / runs.CHECKPOINT)
    try:
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors == f"go on with: bptt train --resume {tmp_path}\n"
    drawn = figure(tmp_path)
    assert drawn == bptt.load_run(tmp_path)._repr_png_()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc what is running")
@pytest.mark.parametrize("end", ["os.abort()", "raise SystemExit", "drawer.close()"])
def test_it_does_not_outlive_the_command(end):
    code = f"""
import os, time
from bptt.commands.drawer import Drawer
drawer = Drawer()
print(drawer._process.pid, flush=True)
input()
{end}
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        state = Path(f"/proc/{int(process.stdout.readline())}/stat")

        def running():
            try:
                return state.read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:  # it has ended, and its parent has taken note
                return False

        assert running()
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: not running())
    finally:
        process.kill()
        process.communicate()
