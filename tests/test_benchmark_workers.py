"""The benchmark's workers: time limits, failures, turns, and how their answers are gathered."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks is not part of the installed package

jobs: Any = importlib.import_module("benchmarks.jobs")
report: Any = importlib.import_module("benchmarks.report")

# Contenders of one's own: quick to time, and each with a fault.
COMMON = """
import os, subprocess, sys, time
import benchmarks.contender
from benchmarks.numpy_reports import covers, missing, versions
from benchmarks import numpy_reports
benchmarks.contender.RUN_SECONDS = 0.001
LABEL = "one's own"
def forms(case, threads):
    return [{"way": 1}, {"way": 2}]
def prepare(case, problem, threads, form):
    if form["way"] == 2:
        fault()
    return numpy_reports.prepare(case, problem, threads, {})
"""
SLOW = """
def fault():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    with open(os.environ["CHILD"], "w") as file:
        file.write(str(child.pid))
    time.sleep(1000)
"""
CRASHING = """
def fault():
    raise ValueError("no memory | left")
"""
WRONG = """
def fault():
    real = numpy_reports.Report.elman_backward
    def forgetful(self, step, dh, dc):
        back, dc = real(self, step, dh, dc)
        return 0.9 * back, dc
    numpy_reports.Report.elman_backward = forgetful
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a worker time elman-online-3 for a contender with that fault; gives its line."""
    (tmp_path / "extra").mkdir()
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT / "src")]))
    monkeypatch.setenv("CHILD", str(tmp_path / "child"))

    def run(source: str, limit: float = 60.0) -> Any:
        (tmp_path / "extra" / "own.py").write_text(COMMON + source)
        return results_of(jobs.Job("time", ("elman-online-3",), "extra.own", 1), limit=limit)[0]

    return run


def results_of(*group: Any, limit: float = 60.0) -> list[Any]:
    """The last line of each case of these jobs."""
    last = {jobs.key(line): line for lines in jobs.work(group, limit) for line in lines}
    return list(last.values())


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true answer; fails if there is none within half a minute."""
    for _ in range(600):
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_a_form_that_never_answers_is_ended_and_said_so(work: Any, tmp_path: Path) -> None:
    line = work(SLOW, limit=6.0)
    assert line["late"] == "no answer within 6 s (way 2)"
    assert line["form"] == "way 1"
    assert line["seconds"] > 0, "what was measured before is kept"
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not is_running(child))  # what the worker started is ended with it
    assert not jobs.bad([line], short=False), "a slow peer is no error"
    assert jobs.bad([line], short=True), "a check that did not end is one"
    assert jobs.bad([line | {"contender": "ours"}], short=False)
    assert report.cell(line, None).endswith("s")
    assert "elman-online-3, one's own: no answer within 6 s (way 2)." in "".join(
        report.notes([line])
    )


def test_ending_the_benchmark_ends_its_worker(work: Any, tmp_path: Path) -> None:
    (tmp_path / "extra" / "own.py").write_text(COMMON + SLOW)
    command = [sys.executable, "-m", "benchmarks", "--only", "elman-online-3"]
    command += ["--contenders", "extra.own", "--out", str(tmp_path / "out")]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    child = wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    running.terminate()
    assert running.wait(30) == 128 + signal.SIGTERM
    wait_for(lambda: not is_running(int(child)))


def test_a_contender_that_crashes_has_failed(work: Any) -> None:
    line = work(CRASHING)
    assert line["failed"] == "ValueError: no memory | left (way 2)"
    assert jobs.bad([line], short=False)
    assert report.cell(line, None) == "failed: ValueError: no memory / left (way 2)"


def test_a_wrong_gradient_is_found_before_it_is_timed(work: Any) -> None:
    line = work(WRONG)
    assert "seconds" not in line
    assert "error" in line["wrong"]
    assert "way 2" in line["wrong"]
    assert jobs.bad([line], short=False)
    assert report.cell(line, None).startswith("wrong: ")


def test_a_worker_tells_who_is_absent(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = work("def missing(): return 'own is not installed'")
    assert line["absent"] == "own is not installed"
    assert not jobs.bad([line], short=True)
    assert jobs.bad([line | {"contender": "ours"}], short=True)
    (line,) = results_of(jobs.Job("short", ("elman-online-3",), "no_such_module", 1))
    assert line["absent"] == "not written"
    (line,) = results_of(jobs.Job("short", ("lstm-text-64",), "c_floor", 1))
    assert "absent" in line


COUNTED = """
import pathlib
def fault():
    pass
class Counted:
    def __init__(self, work, way):
        self.work, self.way, self.result = work, way, work.result
    def run(self):
        with open(os.environ["CHILD"], "a") as file:
            file.write(f"{os.getpid()} {self.way}\\n")
        self.work.run()
        time.sleep(0.04 * self.way)  # far more than a busy machine delays
plain = prepare
def prepare(case, problem, threads, form):
    return Counted(plain(case, problem, threads, form), form["way"])
benchmarks.contender.clock = lambda threads: time.perf_counter
"""


def test_contenders_of_a_case_take_turns(
    work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "TURNS", 4)
    work(COUNTED)  # writes the module
    (tmp_path / "child").unlink()
    job = jobs.Job("time", ("elman-online-3",), "extra.own", 1)
    # The same twice, and one who dies between them.
    (tmp_path / "extra" / "dying.py").write_text(COMMON + CRASHING)
    dying = jobs.Job("time", ("elman-online-3",), "extra.dying", 1)
    answers = [line for lines in jobs.work([job, dying, job], 60) for line in lines]
    assert ["compared" in line for line in answers] == [False] * 3 + [True] * 3
    assert [line["repeats"] for line in answers] == [3, 3, 3, 4, 3, 4]
    assert answers[-1]["form"] == "way 1"
    assert "failed" in answers[-2]
    runs = [line.split() for line in (tmp_path / "child").read_text().splitlines()]
    one, other = dict.fromkeys(process for process, _ in runs)
    # One run that is not counted and one that is, of the better way, first one's and then the
    # other's.
    assert runs[-16:] == [[one, "1"], [one, "1"], [other, "1"], [other, "1"]] * 4


def test_a_contender_that_is_late_in_its_turn_keeps_its_first_answer(
    work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "TURNS", 1000)
    line = work(COUNTED, limit=4.0)
    assert line["compared"]
    # A turn takes 20 ms at least, and all of them together 4 s at most.
    assert 1 <= line["repeats"] <= 200
    assert "late" not in line


def test_a_worker_measures_growth(work: Any) -> None:
    job = jobs.Job("growth", ("growth-steps-64", "growth-models-10"), "numpy_reports", 1)
    for line in results_of(job):
        assert line["error"] < 1e-4
        assert line["seconds"] > 0
        assert line["arrays"] > 0
    (line,) = results_of(jobs.Job("memory", ("memory-elman-minibatch",), "numpy_reports", 1))
    assert line["peak"] > 0.8 * line["arrays"], "it keeps the states of 64 samples at least"
    assert "seconds" not in line


def test_the_last_whole_line_of_a_case_counts() -> None:
    job = jobs.Job("time", ("elman-online-3",), "jax_loop", 1)
    first = json.dumps({"case": "elman-online-3", "seconds": 2.0}) + "\n"
    second = json.dumps({"case": "elman-online-3", "seconds": 1.0}) + "\n"
    trying = json.dumps({"case": "elman-online-3", "trying": "unroll 8"}) + "\n"

    def gathered(output: str, late: str = "", why: str = "") -> Any:
        (line,) = jobs.gather(job, output, late, why)
        return line

    assert gathered(trying + first + "a warning\n" + second)["seconds"] == 1.0
    assert "failed" not in gathered(trying + first)
    assert gathered(first + second[:-1])["seconds"] == 2.0, "cut off by the worker's end"
    assert gathered(first + trying, late="late")["late"] == "late (unroll 8)"
    assert gathered("", why="Killed")["failed"] == "Killed"
    assert gathered("")["failed"] == "no answer"
    assert "late" not in gathered(first, late="late"), "all its work was done"
