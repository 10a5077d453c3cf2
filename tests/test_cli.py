"""The command line: what it prints, its exit codes, bad input, signals, kills."""

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, said
from kill_and_resume import trials
from safetensors.numpy import load_file

from bptt.api import resume
from bptt.commands.cli import run
from bptt.equations.outputs import OUTPUTS
from bptt.errors import BpttError
from bptt.training import runs

needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="the compiler is off"
)
# What is said on a machine where nobody has trained such a network yet.
COMPILES = "compiling kernels for this kind of network: once on this machine\n"
QUICK = ["--engine", "reference", "--hidden", "5", "--iterations", "25", "--record-every", "10"]
SENTENCE = "the cat sat on the mat, the rat ran; 🙂 so be it"


def bptt(*arguments, stdin=None, timeout=100):
    """One command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bptt", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def answer(capsys, *arguments, code=0):
    """One command in this process with --json: its object, the only thing on standard output."""
    assert run([*map(str, arguments), "--json"]) == code
    printed = capsys.readouterr()
    assert printed.err in ("", COMPILES) or printed.err.startswith("nothing was left to do (")
    assert printed.out.count("\n") == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    value = json.loads(printed.out, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A text file and three short runs: unsigned, signed, text."""
    home = tmp_path_factory.mktemp("shelf")
    (home / "text.txt").write_text(SENTENCE, encoding="utf-8")
    kinds = {"unsigned": ["add"], "signed": ["add", "--signed", "--bits", "5"],
             "text": ["text", str(home / "text.txt"), "--window", "9"]}  # fmt: skip
    for name, words in kinds.items():
        assert run(["train", *words, *QUICK, "--out", str(home / name)]) == 0
    return home


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(folder):
    return {name: array.tobytes() for name, array in load_file(folder / runs.WEIGHTS).items()}


# --- what the commands answer --------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_train_add_as_json(signed, here, capsys):
    extra = ["--signed"] if signed else []
    value = answer(capsys, "train", "add", "--bits", "3", *QUICK, *extra, "--out", "mine")
    assert value["run"] == "mine"
    assert (value["reason"], value["iteration"]) == ("iterations", 25)
    assert value["verdict"]["total"] == 64
    assert len(value["sums"]) == 5
    for each in value["sums"]:
        total = each["a"] + each["b"]
        assert each["true_sum"] == ((total + 4) % 8 - 4 if signed else total)
        assert each["right"] == (each["sum"] == each["true_sum"])
        assert int(each["a_bits"], 2) % 8 == each["a"] % 8
        assert int(each["sum_bits"], 2) % 8 == each["sum"] % 8
    assert {path.name for path in (here / "mine").iterdir()} == {
        "config.json", "history.csv", "weights.safetensors", "checkpoint.safetensors",
        "result.json", "figure.png", "run.lock",
    }  # fmt: skip
    assert [path.name for path in here.iterdir()] == ["mine"]


def test_train_add_for_people(here, capsys):
    text = said(capsys, "train", "add", "--bits", "3", *QUICK)
    assert "of 64 pairs after 25 iterations" in text
    assert str(Path("runs") / "add-1" / "figure.png") in text
    rows = [line for line in text.splitlines() if re.match(r" *[01]{4} ", line)]
    assert len(rows) == 5
    for row in rows:
        a_bits, b_bits, sum_bits, a, b, total, *state = row.split()
        assert (int(a_bits, 2), int(b_bits, 2), int(sum_bits, 2)) == (int(a), int(b), int(total))
        assert state == (["right"] if int(a) + int(b) == int(total)
                         else ["wrong:", str(int(a) + int(b))])  # fmt: skip
    said(capsys, "train", "add", "--bits", "3", *QUICK)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["add-1", "add-2"]


def test_train_text_as_json_and_for_people(shelf, here, capsys):
    value = answer(capsys, "train", "text", shelf / "text.txt", "--window", "9", *QUICK)
    assert value["run"] == str(Path("runs") / "text-1")
    assert value["verdict"]["total"] == len(SENTENCE) - 1
    assert value["bits_per_character"] == pytest.approx(value["loss_per_step"] / math.log(2))
    assert len(value["sample"]) == 200
    text = said(capsys, "train", "text", shelf / "text.txt", "--window", "9", *QUICK)
    assert "nats" in text
    assert f"{len(SENTENCE) - 1} characters" in text


def test_add_as_json_and_for_people(shelf, capsys):
    value = answer(capsys, "add", shelf / "unsigned", 29733, 235)
    assert (value["a"], value["b"], value["true_sum"]) == ("29733", "235", str(29733 + 235))
    assert value["right"] == (value["sum"] == value["true_sum"])
    assert value["bits"] == 15
    assert (value["first_wrong_bit"] is None) == value["right"]
    text = said(capsys, "add", shelf / "unsigned", 29733, 235)
    assert text.startswith(f"29733 + 235 = {value['sum']} ")
    assert ("right" in text) == value["right"]


@pytest.mark.parametrize(("a", "b"), [("-5", "3"), ("5", "-16"), ("-7", "-8"), ("+4", "-0")])
def test_add_takes_negative_numbers(a, b, shelf, capsys):
    value = answer(capsys, "add", shelf / "signed", a, b)
    assert (int(value["a"]), int(value["b"])) == (int(a), int(b))
    assert int(value["true_sum"]) == int(a) + int(b)


@pytest.mark.parametrize("bits", [1000, 20_000])
def test_add_takes_very_long_numbers(bits, shelf, capsys):
    a, b = 2**bits - 1, 2 ** (bits - 1) + 12345
    digits = []
    for number in (a, b, a + b):  # Python writes at most 4,300 digits at once
        parts = []
        while number:
            number, part = divmod(number, 10**1000)
            parts.append(f"{part:01000d}")
        digits.append("".join(reversed(parts)).lstrip("0"))
    value = answer(capsys, "add", shelf / "unsigned", *digits[:2])
    assert [value["a"], value["b"], value["true_sum"]] == digits
    assert value["bits"] == bits
    # A wrong bit is named where it is: below it all bits agree.
    if value["first_wrong_bit"] is not None:
        assert 0 <= value["first_wrong_bit"] <= bits


@needs_compiler
def test_a_solved_adder_adds_thousands_of_bits_and_says_so(here, capsys):
    value = answer(capsys, "train", "add", "--out", "solved")
    assert value["reason"] == "proved"
    assert (value["verdict"]["right"], value["verdict"]["total"]) == (65_536, 65_536)
    assert all(each["right"] for each in value["sums"])
    assert value["every_length"]["verdict"] == "proved"
    assert "checked" in said(capsys, "prove", "--check", value["every_length"]["certificate"])
    value = answer(capsys, "add", "solved", 29733, 235)
    assert (value["sum"], value["right"], value["first_wrong_bit"]) == ("29968", True, None)
    assert said(capsys, "add", "solved", "1", "2") == "1 + 2 = 3   right\n"


def test_write(shelf, capsys):
    value = answer(
        capsys, "write", shelf / "text", "--start", "the", "--length", "50", "--seed", "4"
    )
    assert value["start"] == "the"
    assert len(value["text"]) == 50
    assert set(value["text"]) <= set(SENTENCE)
    assert value["temperature"] == 1
    text = said(capsys, "write", shelf / "text", "--start", "the", "--length", "50", "--seed", "4")
    assert text == f"the{value['text']}\n"
    other = answer(
        capsys, "write", shelf / "text", "--start", "the", "--length", "50", "--seed", "5"
    )
    assert other["text"] != value["text"]
    cold = [
        answer(capsys, "write", shelf / "text", "--temperature", "0", "--seed", seed)["text"]
        for seed in (1, 2)
    ]
    assert cold[0] == cold[1]
    assert len(cold[0]) == 200
    assert answer(capsys, "write", shelf / "text", "--length", "0")["text"] == ""


def test_check_of_a_cell(capsys):
    value = answer(capsys, "check", "--cell", "gru")
    assert value["passed"] is True
    assert value["worst_error"] < 1e-6
    kinds = {(row["output"], row["loss"], row["tied"], row["layers"]) for row in value["checks"]}
    assert len(kinds) == len(value["checks"]) == len(OUTPUTS) * 2 * 2
    assert {row["cell"] for row in value["checks"]} == {"gru"}


def test_a_failed_check_exits_with_1(capsys, monkeypatch):
    import bptt.network.recurrence

    real = bptt.network.recurrence.backward

    def wrong(structure, weights, trace, do):
        gradients, *rest = real(structure, weights, trace, do)
        gradients["V"][...] *= 1.001
        return gradients, *rest

    monkeypatch.setattr("bptt.network.reference_engine.backward", wrong)
    monkeypatch.setattr("bptt.commands.check.OUTPUTS", [("linear", "squared")])  # one is enough
    value = answer(capsys, "check", "--cell", "lstm", code=1)
    assert value["passed"] is False
    assert all(row["worst"].startswith("V[") for row in value["checks"])
    assert "FAILED at V[" in said(capsys, "check", "--cell", "lstm", code=1)


@pytest.mark.parametrize("name", ["unsigned", "text"])
def test_show(name, shelf, capsys):
    value = answer(capsys, "show", shelf / name)
    assert value["run"] == str(shelf / name)
    assert value["settings"]["iterations"] == 25
    assert value["reason"] == "iterations"
    assert value["verdict"]["right"] <= value["verdict"]["total"]
    text = said(capsys, "show", shelf / name)
    assert "25 iterations" in text
    assert "learning rate" in text
    one = answer(capsys, "show", shelf / name / "weights.safetensors")
    assert "Network(" in one["network"]


def test_show_of_an_unfinished_run_says_how_to_go_on(shelf, tmp_path, capsys):
    (tmp_path / runs.CONFIG).write_bytes((shelf / "unsigned" / runs.CONFIG).read_bytes())
    assert f"bptt train --resume {tmp_path}" in said(capsys, "show", tmp_path)


def test_plot(shelf, tmp_path, capsys):
    value = answer(capsys, "plot", shelf / "text", "--out", tmp_path / "curve.png")
    assert value == {"figure": str(tmp_path / "curve.png"), "records": 3}
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "figure.png" in said(capsys, "plot", shelf / "text")


def test_a_diverged_run_exits_with_1_and_says_so_ever_after(here, capsys):
    words = ["train", "add", *QUICK, "--optimizer", "sgd", "--learning-rate", "3", "--activation",
             "relu", "--output", "linear", "--iterations", "300"]  # fmt: skip
    value = answer(capsys, *words, "--out", "one", code=1)
    assert value["reason"] == "diverged"
    assert re.match(r"diverged at iteration \d+: the ", value["divergence"])
    text = said(capsys, *words, "--out", "two", code=1)
    assert value["divergence"] in text
    assert "smaller learning rate" in text
    assert value["divergence"] in said(capsys, "show", "one")
    assert "smaller learning rate" in refused(capsys, "train", "--resume", "one")
    with pytest.raises(BpttError, match="smaller learning rate"):
        resume("one")


def test_resume_of_a_finished_run_changes_nothing(shelf, tmp_path, capsys):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (shelf / "unsigned").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    value = answer(capsys, "train", "--resume", folder)
    assert (value["reason"], value["iteration"]) == ("iterations", 25)
    assert weights(folder) == weights(shelf / "unsigned")
    assert (folder / runs.HISTORY).read_bytes() == (shelf / "unsigned" / runs.HISTORY).read_bytes()


# --- bad input -----------------------------------------------------------------------------------

BAD = [
    (["train"], "nothing to train", "--resume"),
    (["train", "multiply"], "multiply", "--help"),
    (["sing"], "sing", "--help"),
    (["train", "add", "--cell", "transformer"], "'transformer'", "'lstm'"),
    (["train", "add", "--activation", "swish"], "'swish'", "'relu'"),
    (["train", "add", "--optimizer", "lbfgs"], "'lbfgs'", "'adam'"),
    (["train", "add", "--dtype", "float16"], "'float16'", "'float64'"),
    (["train", "add", "--engine", "cuda"], "'cuda'", "'compiled'"),
    (["train", "add", "--carry", "keep"], "'keep'", "'wrap'"),
    (["train", "add", "--output", "tanh"], "tanh", "'sigmoid'"),
    (["train", "add", "--loss", "hinge"], "hinge", "'cross_entropy'"),
    (["train", "add", "--initial-state", "ones"], "'ones'", "'trainable'"),
    (["train", "add", "--bits", "0"], "bits 0", "at least 1"),
    (["train", "add", "--bits", "eight"], "eight", "--help"),
    (["train", "add", "--hidden", "0"], "hidden 0", "at least 1"),
    (["train", "add", "--hidden", "100000000"], "100000000", "smaller"),
    (["train", "add", "--layers", "-1"], "layers -1", "at least 1"),
    (["train", "add", "--batch", "0"], "batch 0", "at least 1"),
    (["train", "add", "--record-every", "0"], "record_every 0", "at least 1"),
    (["train", "add", "--iterations", "-1"], "iterations -1", "negative"),
    (["train", "add", "--seed", "-1"], "seed -1", "negative"),
    (["train", "add", "--learning-rate", "-1"], "learning_rate -1", "negative"),
    (["train", "add", "--learning-rate", "nan"], "learning_rate nan", "finite"),
    (["train", "add", "--learning-rate", "fast"], "fast", "--help"),
    (["train", "add", "--clip-norm", "0"], "clip_norm 0", "positive"),
    (["train", "add", "--fast"], "--fast", "--help"),
    (["train", "add", "more"], "more", "--help"),
    (["train", "add", "--out", "FILE/run"], "text.txt", "--out"),
    (["train", "add", "--out", "FILE"], "text.txt", "--out"),
    (["train", "add", "--out", "/proc/nowhere/run"], "/proc/nowhere", "--out"),
    (["train", "text"], "'file'", "--help"),
    (["train", "text", "none.txt"], "none.txt", "give a text file"),
    (["train", "text", "."], "'.'", "give a text file"),
    (["train", "text", "EMPTY"], "0 characters", "at least 2"),
    (["train", "text", "LATIN"], "not UTF-8", "convert it"),
    (["train", "text", "FILE", "--window", "47"], "window 47", "at most 46"),
    (["train", "text", "FILE", "--window", "0"], "window 0", "at least 1"),
    (["train", "text", "FILE", "--window", "9", "--batch", "48"], "batch 48", "smaller"),
    (["train", "text", "FILE", "--window", "9", "--newlines", "cut"], "'cut'", "'space'"),
    (["train", "--resume", "none"], "none", "not a run"),
    (["train", "--resume", "FILE"], "text.txt", "not a run"),
    (["train", "--resume", "UNSIGNED", "add"], "--resume", "leave out the task"),
    (["train", "add", *QUICK, "--out", "UNSIGNED"], "already holds a run", "--resume"),
    (["add", "UNSIGNED", "1"], "'b'", "--help"),
    (["add", "UNSIGNED", "1", "x"], "'x'", "whole numbers"),
    (["add", "UNSIGNED", "1", "2.5"], "'2.5'", "whole numbers"),
    (["add", "UNSIGNED", "1", "--bogus"], "--bogus", ""),
    (["add", "UNSIGNED", "1", ""], "''", "whole numbers"),
    (["add", "UNSIGNED", "1", "-2"], "-2 is negative", "--signed"),
    (["add", "UNSIGNED", "1", "9" * 40_000], "40000 digits", "at most"),
    (["add", "TEXT", "1", "2"], "text", "'addition' is needed"),
    (["add", "none", "1", "2"], "none", "is it a run"),
    (["add", "FILE", "1", "2"], "text.txt", "give another"),
    (["add", "EMPTY", "1", "2"], "empty.txt", "give another"),
    (["write", "UNSIGNED"], "addition", "'text' is needed"),
    (["write", "TEXT", "--start", ""], "empty", "at least one character"),
    (["write", "TEXT", "--start", "the Z"], "'Z' (position 5)", "vocabulary"),
    (["write", "TEXT", "--length", "-1"], "length -1", "negative"),
    (["write", "TEXT", "--temperature", "-1"], "temperature -1", "0 or more"),
    (["write", "TEXT", "--temperature", "nan"], "temperature nan", "0 or more"),
    (["write", "TEXT", "--seed", "-1"], "seed -1", "negative"),
    (["check", "--cell", "transformer"], "'transformer'", "'gru'"),
    (["check", "--engine", "cuda"], "'cuda'", "'reference'"),
    (["show", "none"], "none", ""),
    (["show", "FILE"], "text.txt", "give another"),
    (["plot", "none"], "none", "not a run"),
    (["plot", "UNSIGNED", "--out", "FILE/curve.png"], "text.txt", "another folder"),
    (["plot", "UNSIGNED", "--out", "/proc/nowhere.png"], "/proc/nowhere.png", "another folder"),
]


@pytest.mark.parametrize(("words", "value", "remedy"), BAD, ids=lambda each: str(each)[:70])
def test_bad_input_is_one_line_and_leaves_nothing(words, value, remedy, shelf, here, capsys):
    (shelf / "empty.txt").write_bytes(b"")
    (shelf / "latin.txt").write_bytes("café au lait".encode("latin-1"))
    before = {path: path.stat().st_mtime_ns for path in shelf.rglob("*")}
    places = {"FILE": "text.txt", "EMPTY": "empty.txt", "LATIN": "latin.txt",
              "UNSIGNED": "unsigned", "TEXT": "text"}  # fmt: skip
    for name, place in places.items():
        words = [re.sub(rf"^{name}\b", str(shelf / place), word) for word in words]
    line = refused(capsys, *words)
    assert value in line
    assert remedy in line
    assert list(here.rglob("*")) == []
    assert {path: path.stat().st_mtime_ns for path in shelf.rglob("*")} == before


def full_disc(monkeypatch, after):
    """From the given fsync on, the disc is full."""
    count, real = [0], os.fsync

    def fsync(handle):
        count[0] += 1
        if count[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("after", range(0, 12))
def test_a_full_disc_is_one_line_and_leaves_only_whole_files(after, here, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        full_disc(patch, after)
        assert run(["train", "add", "--bits", "3", *QUICK, "--out", "mine",
                    "--checkpoint-seconds", "0"]) == 2  # fmt: skip
    # A checkpoint that cannot be written ends no training: that is said first, and once.
    *first, line = capsys.readouterr().err.replace(COMPILES, "").splitlines()
    assert not first or (len(first) == 1 and "training goes on without a checkpoint" in first[0])
    assert line.startswith("bptt: ")
    assert "No space left on device" in line
    assert "--out" in line
    assert not [path for path in (here / "mine").iterdir() if path.name.startswith(".")]
    if (here / "mine" / runs.CONFIG).exists():  # then it can be gone on with
        value = answer(capsys, "train", "--resume", "mine")
        whole = answer(capsys, "train", "add", "--bits", "3", *QUICK, "--out", "whole")
        assert value["loss"] == whole["loss"]
        assert weights(here / "mine") == weights(here / "whole")


# --- as a process --------------------------------------------------------------------------------


def test_as_a_process_json_and_nothing_else(tmp_path):
    done = bptt("train", "add", "--bits", "3", *QUICK, "--out", tmp_path / "run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["iteration"] == 25
    done = bptt("train", "text", "-", "--window", "9", *QUICK, "--out", tmp_path / "text",
                stdin=SENTENCE)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert str(tmp_path / "text") in done.stdout
    done = bptt("train", "add", "--bits", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    ["import bptt", "from bptt.commands.cli import run; run(['--help'])"],
    ids=["import", "help"],
)
def test_what_is_asked_first_imports_nothing_heavy(line):
    code = f"import sys\n{line}\nheavy = {{'numpy', 'numba', 'matplotlib', 'pandas'}}\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print(heavy & {*sys.modules} or 'none')"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "none"


def test_help_and_version():
    from bptt import __version__

    assert bptt("--version").stdout == f"{__version__}\n"
    done = bptt("--help")
    assert done.returncode == 0
    for command in ("train", "add", "write", "check", "show", "plot"):
        assert command in done.stdout


LONG = ["train", "add", "--engine", "reference", "--hidden", "5", "--bits", "3", "--iterations",
        "2500", "--record-every", "100", "--no-stop-exact", "--optimizer", "adam"]  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_so_that_it_can_go_on(number, code, tmp_path, capsys):
    assert run([*LONG, "--out", str(tmp_path / "whole")]) == 0
    capsys.readouterr()
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "bptt", *LONG, "--out", str(folder), "--checkpoint-seconds", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while process.poll() is None and not (folder / runs.CHECKPOINT).exists():
            time.sleep(0.005)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "interrupted after" in out
    assert err == f"go on with: bptt train --resume {folder}\n"
    result = json.loads((folder / runs.RESULT).read_text())
    assert result["reason"] == "interrupted"
    assert 0 < result["iteration"] < 2500
    value = answer(capsys, "train", "--resume", folder)
    assert (value["reason"], value["iteration"]) == ("iterations", 2500)
    assert weights(folder) == weights(tmp_path / "whole")
    checkpoints = [load_file(each / runs.CHECKPOINT) for each in (folder, tmp_path / "whole")]
    for name in ("theta", "s0", "s1"):
        np.testing.assert_array_equal(*(each[name] for each in checkpoints))


@needs_compiler
def test_killed_at_random_moments_and_resumed_gives_the_same_weights():
    summary = trials(5, seed=1)
    assert summary.killed >= 3  # a moment may fall after the end on a machine that is busy
    assert summary.same == summary.killed
