"""Compiled kernels as files: kept, damaged, compiled by other processes or here, and loaded."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from bptt.kernels.machine import library, store
from bptt.kernels.machine.library import COMPILER_OFF, Maker, address, load
from bptt.kernels.machine.store import keep, kept

needs_compiler = pytest.mark.skipif(COMPILER_OFF, reason="the compiler is off")

# A training of one iteration; says what it imported, how often it was compiled, and its weights.
TRAIN = """
import json, sys
import bptt
from bptt.kernels.machine import library, store
from bptt.kernels.walk import runner

{before}
told = []
library.listeners.append(told.append)
run = bptt.train(bptt.Addition(bits=2), cell="elman", activation="relu", hidden=8, iterations=1)
weights = run.network.theta.tobytes().hex()
print(json.dumps([sorted({{"numba", "scipy", "pandas"}} & set(sys.modules)), told, weights]))
"""


def train(cache, before=""):
    """What `TRAIN` says, in a fresh process with its kernels in the folder `cache` alone: the
    user's own, which may have them already, is another empty one."""
    own = {"XDG_CACHE_HOME": str(cache / "user"), "HOME": str(cache / "user")}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(before=textwrap.dedent(before))],
        env=os.environ | own | {"NUMBA_CACHE_DIR": str(cache)}, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for kernels."""
    monkeypatch.setattr(store, "folders", lambda: (tmp_path / "kernels",))
    return tmp_path / "kernels"


def test_what_is_kept_is_read_again(folder):
    assert kept("code.o") is None
    keep("code.o", b"content")
    assert kept("code.o") == b"content"
    assert [path.name for path in folder.iterdir()] == ["code.o"]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_a_damaged_file_is_as_none(damage, folder):
    keep("code.o", b"content")
    (folder / "code.o").write_bytes(damage)
    assert kept("code.o") is None
    assert address("code") is None


def test_a_file_cut_short_is_as_none(folder):
    keep("code.o", b"content" * 100)
    path = folder / "code.o"
    path.write_bytes(path.read_bytes()[:-1])
    assert kept("code.o") is None


NOBODY = Maker("a label", "raise SystemExit(1)", None, lambda name: keep(f"{name}.o", b"here"))


@pytest.mark.parametrize("there", [["begin"], ["train", "begin"], []])
def test_what_is_missing_is_compiled_and_no_more(there, folder, monkeypatch):
    """Here, if the processes that should do it end."""
    made, told = [], []

    def here(name):
        made.append(name)
        keep(f"{name}.o", b"code")

    maker = Maker("units-elman", "raise SystemExit(1)", None, here)
    for name in there:
        keep(f"{name}.o", b"code")
    monkeypatch.setattr(library, "listeners", [told.append])
    monkeypatch.setattr(library, "address", lambda name: 7 if kept(f"{name}.o") else None)
    assert load(["train", "begin"], maker) == [7, 7]
    assert made == [name for name in ("train", "begin") if name not in there]
    assert told == (["units-elman"] if made else [])


def test_what_cannot_be_written_is_kept_for_this_process(folder, monkeypatch):
    monkeypatch.setattr(store, "_unwritten", {})
    folder.write_text("a file where the folder should be")
    keep("code.o", b"content")
    assert kept("code.o") == b"content"


@needs_compiler
def test_compiled_once_by_other_processes_and_then_without_numba(tmp_path):
    modules, told, weights = train(tmp_path)
    assert told == ["units-elman-relu-float32"]
    assert "numba" not in modules
    assert train(tmp_path) == [[], [], weights]
    # One function that is damaged is compiled again.
    (entry,) = tmp_path.rglob("train-*.o")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    again = train(tmp_path)
    assert again[1:] == [["units-elman-relu-float32"], weights]
    assert len(entry.read_bytes()) == len(whole)


@needs_compiler
@pytest.mark.parametrize(
    "before",
    [
        pytest.param('runner.BUILDER = "raise SystemExit(1)"', id="builders that end"),
        pytest.param(
            "import pathlib; file = pathlib.Path(sys.executable) / 'no folder'; "
            "store.folders = lambda: (file,)",
            id="nowhere to write",
        ),
    ],
)
def test_compiles_by_itself_where_nobody_else_can(before, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    modules, told, _ = train(cache, before)
    assert told == ["units-elman-relu-float32"]
    assert "numba" in modules


@needs_compiler
def test_a_kernel_takes_no_array_of_another_kind():
    numbers = np.zeros((4, 6), np.float32)
    place = library._first(numbers, np.dtype(np.float32))
    assert place == numbers.ctypes.data
    with pytest.raises(TypeError, match="float32"):
        library._first(numbers, np.dtype(np.float64))
    with pytest.raises(TypeError, match="contiguous"):
        library._first(numbers[:, ::2], np.dtype(np.float32))


def test_the_folder_is_another_for_another_source_or_processor(tmp_path, monkeypatch):
    package = tmp_path / "bptt"
    (package / "equations").mkdir(parents=True)
    (package / "equations" / "cells.py").write_text("h = tanh(a)")
    monkeypatch.setattr(store, "PACKAGE", package)
    first = store._digest()
    assert store._digest() == first
    monkeypatch.setattr(store, "description", lambda: ("old", ""))
    assert store._digest() != first
    monkeypatch.undo()
    monkeypatch.setattr(store, "PACKAGE", package)
    (package / "equations" / "cells.py").write_text("h = sigmoid(a)")
    assert store._digest() != first


def test_a_worker_of_several_has_one_process_compile(monkeypatch, folder):
    started = []
    monkeypatch.setattr(library, "Builder", lambda maker: started.append(maker))
    monkeypatch.setattr(library, "threads", lambda: 2)
    monkeypatch.setattr(library, "MOST_BUILDERS", 3)
    assert len(library._builders(NOBODY)) == 2
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: "another")
    assert len(library._builders(NOBODY)) == 1


@pytest.mark.parametrize("executable", ["/nowhere/python", "", None])
def test_without_processes_nothing_is_asked_of_them(executable, monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(library, "MOST_BUILDERS", 3)
    assert library._builders(NOBODY) == []
