"""Streams, encodings, rights and limits: what a user's machine may be like."""

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import refused

import bptt
from bptt.commands.cli import run as command
from bptt.files import json_text
from bptt.kernels.machine import store as kernels
from bptt.studies import Study, load, store
from bptt.studies.store import Row, Store

OLD = Path(__file__).parent / "data" / "version-0.1.0"
WORDS = ["train", "add", "--engine", "reference", "--bits", "2", "--hidden", "3",
         "--iterations", "5", "--no-stop-exact"]  # fmt: skip


def bptt_process(*arguments, **options):
    """A command in a process of its own; it must leave no traceback."""
    environment = {**os.environ, **options.pop("env", {})}
    done = subprocess.run(
        [sys.executable, "-m", "bptt", *map(str, arguments)], capture_output=True, timeout=300,
        env=environment, **options,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """A run that has learnt a text of letters that ASCII does not have."""
    folder = tmp_path_factory.mktemp("run")
    task = bptt.Text(text="zażółć gęślą jaźń, " * 3, window=5)
    bptt.train(task, engine="reference", hidden=3, iterations=2).save(folder / "run")
    return folder / "run"


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0",
                                            "PYTHONCOERCECLOCALE": "0"}], ids=str
)  # fmt: skip
def test_letters_that_an_encoding_lacks_are_written_by_their_numbers(env, text_run):
    done = bptt_process("write", text_run, "--start", "g", "--length", "30", env=env)
    assert done.returncode == 0
    assert b"\\u" in done.stdout
    assert done.stdout.isascii()


def test_a_folder_whose_name_is_no_utf8(tmp_path):
    out = os.fsencode(tmp_path) + b"/\xff\xfe"
    done = subprocess.run(
        [sys.executable, "-m", "bptt", *WORDS, "--out", out], capture_output=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\udcff\\udcfe" in done.stdout
    assert b"config.json" in os.listdir(out)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_end_nothing(closed, tmp_path):
    words = " ".join([*WORDS, "--out", str(tmp_path / "run")])
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m bptt {words} {closed}"], capture_output=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "run" / "result.json").exists()


def test_standard_input_that_is_closed(tmp_path):
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m bptt train text - <&-"], capture_output=True,
        cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.decode().startswith("bptt: '-' cannot be read: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_stream_is_one_line(stream, text_run):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bptt", "show", text_run if stream == "stdout" else "none"],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}, timeout=300,
        )  # fmt: skip
    assert done.returncode == 2
    if stream == "stdout":
        assert done.stderr == b"bptt: the output cannot be written: No space left on device\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_run_under_nohup_is_not_interrupted(tmp_path):
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from bptt.training import training; before = training.Training.record;"
        "training.Training.record = lambda self: (os.kill(os.getpid(), signal.SIGINT),"
        " before(self))[1];"
        "from bptt.__main__ import main; import sys; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *WORDS, "--record-every", "1", "--out", tmp_path / "run"],
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert bptt.load_run(tmp_path / "run").reason == "iterations"


# --- files ---------------------------------------------------------------------------------------


def test_compiled_code_is_for_all_who_may_read_it(tmp_path, monkeypatch):
    shared, own = tmp_path / "shared", tmp_path / "own"
    monkeypatch.setattr(kernels, "folders", lambda: (shared, own))
    kernels.keep("code.o", b"shared code")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((shared / "code.o").stat().st_mode) == 0o666 & ~umask
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shared)
    kernels.keep("more.o", b"own code")  # another user's folder is read, and added to in one's own
    assert [path.name for path in own.iterdir()] == ["more.o"]
    assert (kernels.kept("code.o"), kernels.kept("more.o")) == (b"shared code", b"own code")
    assert kernels.kept("none.o") is None


def test_a_user_without_a_home_keeps_code_nowhere(monkeypatch):
    def no_home(*arguments, **options):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", no_home)
    kernels.folders.cache_clear()
    try:
        assert kernels.folders() == ()
        assert kernels.writable() is None
    finally:
        kernels.folders.cache_clear()


def test_a_report_that_cannot_be_written_is_said_all_the_same(tmp_path, capsys):
    folder = tmp_path / "study"
    shutil.copytree(OLD / "study", folder)
    (folder / "report.html").mkdir()  # what a read-only folder does, for any user
    assert command(["study", "report", str(folder)]) == 2
    printed = capsys.readouterr()
    assert "hidden=2" in printed.out
    assert printed.err.count("\n") == 1
    assert "cannot be written: " in printed.err
    assert "with --out" in printed.err
    assert command(["study", "report", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").exists()


@pytest.mark.parametrize(("name", "start"), [("x.svg", b"<?xml"), ("x.PDF", b"%PDF"),
                                             ("x.png", b"\x89PNG")])  # fmt: skip
def test_a_picture_is_of_the_kind_that_its_name_says(name, start, text_run, tmp_path, capsys):
    assert command(["plot", str(text_run), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_picture_of_another_kind_is_refused(text_run, tmp_path, capsys):
    said = refused(capsys, "plot", text_run, "--out", tmp_path / "x.jpeg")
    assert "ends in '.jpeg': give a file that ends in '.png', '.svg', '.pdf'" in said
    assert list(tmp_path.iterdir()) == []


# --- a reader of the database ---------------------------------------------------------------------


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A study, and a program that has fetched one row of its runs and does not go on."""
    monkeypatch.setattr(store, "WRITING_SECONDS", 0.05)
    monkeypatch.setattr(store, "LAST_SECONDS", 0.2)
    base = {"bits": 2, "hidden": 3, "iterations": 30, "engine": "reference"}
    Study(base=base, seeds=2).run(tmp_path / "out", workers=1)
    other = sqlite3.connect(tmp_path / "out" / "study.sqlite")
    other.execute("SELECT * FROM runs").fetchone()
    cursor = other.execute("SELECT * FROM runs")
    cursor.fetchone()
    yield Study(base=base, seeds=6), tmp_path / "out", cursor
    other.close()


def test_a_reader_keeps_no_run_from_being_saved(reader, capsys):
    study, folder, cursor = reader
    with pytest.raises(bptt.BpttError, match="is being read by another program: finished runs"):
        study.run(folder, resume=True, workers=1)
    assert "waiting for another program that is reading" in capsys.readouterr().err
    assert (folder / "study.waiting").exists()
    assert load(folder).missing == 0  # what waits is known
    cursor.close()
    before = {row.seed: row.values for row in load(folder).store.rows()}
    assert sorted(before) == list(range(6))
    results = study.run(folder, resume=True, workers=1)
    assert not (folder / "study.waiting").exists()
    assert {row.seed: row.values for row in results.store.rows()} == before  # nothing was redone


def test_a_reader_that_ends_in_time_is_waited_for(reader, monkeypatch):
    study, folder, cursor = reader
    monkeypatch.setattr(store, "LAST_SECONDS", 60.0)
    settled = Store.settle

    def settle(self, say, interrupted):
        settled(self, lambda words: cursor.close(), interrupted)

    monkeypatch.setattr(Store, "settle", settle)
    assert len(study.run(folder, resume=True, workers=1).frame) == 6
    assert not (folder / "study.waiting").exists()


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeds": 1_000_000_000}, "1,000,000,000 runs are too many: at most 10,000,000"),
        ({"seeds": [9223372036854775808, 1]}, "seeds [9223372036854775808, 1]"),
        ({"seeds": [-1]}, "seeds [-1]"),
        ({"grid": {f"initializers.{k}": list(range(9)) for k in "abcdefgh"}}, "430,467,210 runs"),
        ({"grid": {"hidden": [1] * 1000, "bits": [2] * 1001}}, "1,001,000 settings are too many"),
        ({"random": {"hidden": {"integer": [1, 9]}}, "draws": 10**9}, "settings are too many"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_a_declaration_that_is_too_large_is_refused_at_once(fields, said):
    with pytest.raises(bptt.BpttError) as caught:
        Study(**fields)
    assert said.replace("430,467,210 runs", "43,046,721 settings") in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--clip-norm", "inf", "clip_norm inf"), ("--clip-value", "nan", "clip_value nan"),
     ("--target-loss", "nan", "target_loss nan"), ("--smooth-loss", "inf", "smooth_loss inf"),
     ("--seconds", "-1", "seconds -1.0"), ("--out", "", "--out ''"),
     ("--learning-rate", "inf", "learning_rate inf")],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(option, value, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *WORDS, option, value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [{"accuracy": 2}, {"wrong": 5}, {"wrong": -1}, {"seconds": -1}])
def test_limits_out_of_range_are_refused(option):
    ((name, value),) = option.items()
    with pytest.raises(bptt.BpttError, match=f"{name} {value}"):
        bptt.train(bptt.Addition(bits=2), **option)


def test_a_plan_for_no_workers_is_refused(tmp_path, capsys):
    (tmp_path / "s.toml").write_text('[base]\nbits = 2\nengine = "reference"\n')
    said = refused(capsys, "study", tmp_path / "s.toml", "--plan", "--workers", "-3")
    assert "workers -3 must be at least 1" in said


def test_json_has_no_words_for_what_is_not_finite():
    values = {"loss": float("nan"), "rows": [(float("inf"), 1.5)], "name": "a"}
    assert json.loads(json_text(values)) == {"loss": None, "rows": [[None, 1.5]], "name": "a"}
    assert json.loads(json_text({"loss": 0.25}, 2)) == {"loss": 0.25}


def test_a_history_of_no_records_has_its_columns():
    run = bptt.train(bptt.Addition(bits=2), engine="reference", hidden=2, iterations=0)
    assert list(run.history["loss"]) == []


def test_weights_that_are_no_numbers_write_nothing():
    task = bptt.Text(text="abcab", window=2)
    network = bptt.Network(inputs=3, outputs=3, hidden=2, output="softmax",
                           loss="cross_entropy", engine="reference")  # fmt: skip
    assert len(bptt.write(network, task, "a", 5, 1e-320)) == 5
    network.theta[0] = np.nan
    with pytest.raises(bptt.BpttError, match="no finite numbers"):
        bptt.write(network, task, "a", 5)


def test_as_many_workers_as_processors_may_be_used():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "import bptt; print(bptt.Study(seeds=2, base={'bits': 2}).plan(measure=False).workers)"
    )
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    env = {name: value for name, value in os.environ.items() if name != "BPTT_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout == "1\n"


def test_rows_put_aside_are_rows(tmp_path):
    study = Study(seeds=1, base={"bits": 2})
    kept = Store(study, tmp_path / "out")
    values = ("solved", 10, 10, 0.5, 0.5, 0.0, 1.0, 16, 16, "", 0.1, "0", "32 bytes, fused")
    row = Row(study.expanded[0].digest, 0, values, [])
    kept.add([row])
    assert list(kept.rows()) == [row]
