"""Networks and studies in other processes: forked after use, spawned, in pools, in plain scripts.

Each script runs in a process of its own, with two threads on any machine, and must end: a child
that waits for threads it has not inherited never would.
"""

import os
import subprocess
import sys

import pytest

from bptt.kernels.machine.library import COMPILER_OFF

pytestmark = pytest.mark.skipif(
    COMPILER_OFF, reason="it is the compiled kernels' threads; without them it would take minutes"
)

# Long enough to compile kernels on a busy machine; a hang is for ever.
SECONDS = 300

NETWORK = """
import os, sys
import numpy as np
import bptt

# A batch that is split over the threads.
network = bptt.Network(inputs=2, outputs=1, hidden=64, cell="lstm")
rng = np.random.default_rng(0)
x, y = rng.random((64, 9, 2)), rng.random((64, 9, 1))

BASE = {"bits": 2, "hidden": 3, "iterations": 30, "engine": "reference"}

def bits(_=0):
    return network.gradient(x, y).flat.tobytes()
"""

FORK = """
before = bits()
child = os.fork()
if not child:
    os._exit(0 if bits() == before else 3)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert bits() == before  # and the parent goes on
"""

POOL = """
import multiprocessing
if __name__ == "__main__":
    before = bits()
    with multiprocessing.get_context("METHOD").Pool(2) as pool:
        assert pool.map(bits, range(4)) == [before] * 4
"""

# A fork while another thread is in the middle of using networks, and holds locks of ours.
BUSY = """
import threading
stop = threading.Event()
def work():
    while not stop.is_set():
        bits()
        bptt.Network(inputs=2, outputs=1, hidden=3).predict(x)
thread = threading.Thread(target=work)
before = bits()
bptt.Network(inputs=2, outputs=1, hidden=3).predict(x)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(0 if bits() == before else 3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
stop.set()
thread.join()
"""

RESULTS = """
from concurrent.futures import ProcessPoolExecutor
def trained(seed):
    return bptt.train(bptt.Addition(bits=2), hidden=3, iterations=50, seed=seed)
def studied(seed):
    study = bptt.Study(base=BASE, seeds=[seed, seed + 1])
    return study.run(workers=2)
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        runs, results = list(pool.map(trained, range(3))), list(pool.map(studied, range(2)))
    for seed, run in enumerate(runs):
        assert (run.network.theta == trained(seed).network.theta).all()
        assert run.history.equals(run.history) and len(run.records) == 1
    assert [list(each.frame["seed"]) for each in results] == [[0, 1], [1, 2]]
"""

# In a daemonic process, which multiprocessing allows no children.
STUDY_IN_POOL = """
import multiprocessing
def studied(seeds):
    study = bptt.Study(base=BASE, seeds=seeds)
    return list(study.run(workers=2).frame["loss"])
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        found = pool.map(studied, [3, 3])
    assert found == [studied(3)] * 2
"""

WITHOUT_GUARD = """
import bptt
print("begun")
study = bptt.Study(base={"bits": 2, "hidden": 3, "iterations": 30, "engine": "reference"}, seeds=6)
print(len(study.run("out", workers=2).frame), "rows")
"""


def run_script(tmp_path, code, *options, **environment):
    """What a script prints; it must end well, and say nothing on standard error."""
    path = tmp_path / "script.py"
    path.write_text(code)
    done = subprocess.run(
        [sys.executable, *options, path], capture_output=True, text=True, timeout=SECONDS,
        cwd=tmp_path, env={**os.environ, "BPTT_THREADS": "2", **environment},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("code", [FORK, BUSY], ids=["after use", "while used"])
def test_a_forked_process_uses_a_network_that_its_parent_has_used(code, tmp_path):
    run_script(tmp_path, NETWORK + code)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_uses_a_network(method, tmp_path):
    run_script(tmp_path, NETWORK + POOL.replace("METHOD", method))


def test_runs_and_results_come_back_from_other_processes(tmp_path):
    run_script(tmp_path, NETWORK + "bits()\n" + RESULTS)


def test_a_study_within_a_pool_of_processes(tmp_path):
    run_script(tmp_path, NETWORK + STUDY_IN_POOL)


def test_a_script_with_a_study_needs_no_guard(tmp_path):
    assert run_script(tmp_path, WITHOUT_GUARD) == "begun\n6 rows\n"


def test_warnings_as_errors_change_nothing(tmp_path):
    run_script(tmp_path, WITHOUT_GUARD, "-W", "error", PYTHONWARNINGS="error")
