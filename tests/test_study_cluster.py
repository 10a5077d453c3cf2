"""Studies on a Dask cluster, and the command line of studies."""

import builtins
import json
import os
import signal
import subprocess
import sys
import time

import pandas
import pytest
from processes import wait_until

from bptt.commands.cli import run
from bptt.studies import Study, load
from bptt.studies import execution as execution_module

TOML = """
seeds = 20
lengths = [2]
[base]
bits = 3
hidden = 4
engine = "reference"
iterations = 100
batch = 2
[grid]
learning_rate = [0.02, 1e38]
"""


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TOML)
    return path


def table(results):
    return results.frame.drop(columns=["seconds", "version"])


# Dask's own threads and sockets may still be closing when a test ends.
@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_table_and_survives_a_lost_worker(toml, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(execution_module, "LANES", 1)
    monkeypatch.setattr(execution_module, "UNIT_SECONDS", 0.2)
    study = Study.from_toml(toml)
    local = table(study.run(workers=1))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        there = table(study.run(client=client))
        pandas.testing.assert_frame_equal(there, local, check_exact=True)
        address = client.scheduler.address
        victim = next(iter(client.run(os.getpid).values()))
        words = [sys.executable, "-m", "bptt", "study", str(toml), "--scheduler", address,
                 "--out", str(tmp_path / "lost")]  # fmt: skip
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: (tmp_path / "lost" / "study.sqlite").exists())
        wait_until(lambda: any(client.processing().values()))
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
        assert victim not in client.run(os.getpid).values()
    pandas.testing.assert_frame_equal(table(load(tmp_path / "lost")), local, check_exact=True)


def test_a_scheduler_that_is_not_there_is_one_line(toml, tmp_path, capsys):
    pytest.importorskip("distributed")
    arguments = ["study", str(toml), "--out", str(tmp_path / "out"), "--scheduler"]
    assert run([*arguments, "nonsense://x"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("bptt: there is no Dask scheduler at 'nonsense://x'")
    assert printed.err.count("\n") == 1


def test_dask_may_be_missing(toml, tmp_path, capsys, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **more):
        if name == "distributed":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    arguments = ["--out", str(tmp_path / "out"), "--scheduler", "tcp://localhost:1"]
    assert run(["study", str(toml), *arguments]) == 2
    assert capsys.readouterr().err == "bptt: Dask is not installed: pip install 'bptt[dask]'\n"
    assert not (tmp_path / "out").exists()


def test_a_study_is_run_resumed_sharded_and_merged(toml, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["study", str(toml), "--workers", "1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["folder"] == "studies/study"
    assert (values["runs"], values["diverged"], values["missing"]) == (40, 20, 0)
    assert run(["study", "run", str(toml)]) == 2
    assert "already holds a study" in capsys.readouterr().err
    assert run(["study", "--resume", str(toml)]) == 0
    assert "40 runs: " in capsys.readouterr().out
    for part in (1, 2):
        assert run(["study", str(toml), "--shard", f"{part}/2", "--workers", "1"]) == 0
    folders = [f"studies/study-{part}-of-2" for part in (1, 2)]
    assert run(["study", "merge", *folders, "--out", "studies/merged"]) == 0
    assert "40 runs: " in capsys.readouterr().out
    whole, merged = (table(load(f"studies/{name}")) for name in ("study", "merged"))
    pandas.testing.assert_frame_equal(whole, merged, check_exact=True)


def test_a_setting_in_two_panels_is_counted_once(tmp_path, capsys):
    path = tmp_path / "two.toml"
    path.write_text(
        'seeds = 3\n[base]\nengine = "reference"\nbits = 2\niterations = 5\n'
        '[[panels]]\nname = "a"\ngrid = {hidden = [2, 3]}\n'
        '[[panels]]\nname = "b"\ngrid = {hidden = [3, 4]}\n'
    )
    out = tmp_path / "out"
    assert run(["study", str(path), "--out", str(out), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 9
    assert len(load(out).frame) == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "3"], "shard '3' must be K/N"),
        (["--shard", "3/2"], "shard '3/2' must be K/N"),
        (["--workers", "0"], "workers 0 must be at least 1"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "give --scheduler or --workers"),
        (["--worker", "2"], "--worker"),
    ],
)
def test_bad_options_are_one_line(words, said, toml, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["study", str(toml), *words]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "studies").exists()


def test_ctrl_c_says_how_to_go_on(toml, tmp_path):
    toml.write_text(TOML.replace("iterations = 100", "iterations = 5000"))
    command = [sys.executable, "-m", "bptt", "study", str(toml), "--out", str(tmp_path / "out"),
               "--workers", "2"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: (tmp_path / "out" / "study.sqlite").exists())
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == f"go on with: bptt study {toml} --resume --out {tmp_path / 'out'}\n"
    assert " runs are missing\n" in printed


def test_help_lists_the_commands(capsys):
    assert run(["study", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "bptt study FILE.toml" in printed
    assert "merge" in printed
