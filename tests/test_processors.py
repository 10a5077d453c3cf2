"""What the same seed gives the same bits for, and what is said of runs that move elsewhere.

Two processors are played by what NUMBA_CPU_FEATURES says, without the compiler, whose kernels
would otherwise be compiled for both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import bptt
from bptt.kernels.machine import processor
from bptt.studies import load
from bptt.training.moves import UNKNOWN, gone_on, kept, move

NARROW, WIDE = "16 bytes", "32 bytes"  # nothing is fused where nothing is compiled
FEATURES = {NARROW: "+sse2", WIDE: "+sse2,+avx,+fma"}
SCRIPT = Path(__file__).parent / "going_elsewhere.py"


def elsewhere(vectors: str, *arguments: object) -> str:
    """What the script prints on such a processor."""
    known = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": FEATURES[vectors]}
    environment = {**os.environ, **known, "NUMBA_DISABLE_JIT": "1", "BPTT_THREADS": "1"}
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(
        [*map(str, command)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The folder of all that began with narrow vectors and went on with wide ones; what was
    said."""
    folder = tmp_path_factory.mktemp("moved")
    elsewhere(NARROW, "begin", folder)
    theta = load_file(folder / "run" / "weights.safetensors")["W"]
    return folder, json.loads(elsewhere(WIDE, "go-on", folder)), theta


@pytest.mark.parametrize(
    ("features", "compiled", "words"),
    [
        ("+sse2", True, "16 bytes"),
        ("+avx", True, "32 bytes"),
        ("+avx,+fma", True, "32 bytes, fused"),
        ("+avx,+fma", False, "32 bytes"),
        ("+avx,+fma,+avx512f", True, "64 bytes, fused"),
    ],
)
def test_a_processor_is_named_by_its_vectors(monkeypatch, features, compiled, words):
    cached = (processor.description, processor.vector_bytes)
    for each in cached:
        each.cache_clear()
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    processor._arm.cache_clear()
    try:
        assert processor.arithmetic(compiled) == words
    finally:
        monkeypatch.undo()
        for each in (*cached, processor._arm):
            each.cache_clear()


def test_a_resumed_run_says_once_that_it_moves_and_goes_on(moved):
    folder, said, _ = moved
    assert said["run"]["err"].splitlines() == [move([NARROW], WIDE)]
    assert said["stayed"]["err"] == ""
    result = json.loads((folder / "run" / "result.json").read_text())
    assert (result["iteration"], result["arithmetic"]) == (12, [NARROW, WIDE])
    assert "vectors   16 bytes; then 32 bytes" in said["show"]["out"]
    assert bptt.load_run(folder / "run").training.arithmetic == [NARROW, WIDE]


def test_python_warns_in_the_same_words(moved):
    folder, said, _ = moved
    assert said["warned"] == [move([NARROW], WIDE)] * 2  # of a task, and of a data set
    result = json.loads((folder / "fit" / "result.json").read_text())
    assert (result["epoch"], result["arithmetic"]) == (4, [NARROW, WIDE])


def test_the_width_changes_last_digits_and_no_more(moved, tmp_path):
    _, _, narrow = moved
    elsewhere(WIDE, "train", tmp_path / "run")
    wide = load_file(tmp_path / "run" / "weights.safetensors")["W"]
    assert wide.tobytes() != narrow.tobytes()
    # 6 iterations of Adam, each of which moves a weight by at most about 0.005.
    np.testing.assert_allclose(wide, narrow, rtol=0, atol=1e-4)


def test_a_study_of_two_processors_says_so(moved):
    folder, said, _ = moved
    results = load(folder / "whole")
    counts = results.store.arithmetics()
    assert set(counts) == {NARROW, WIDE}
    assert sum(counts.values()) == len(results.frame) == 6
    assert set(results.frame["arithmetic"]) == {NARROW, WIDE}
    line = f"({counts[NARROW]} of {NARROW}, {counts[WIDE]} of {WIDE})"
    for command in ("merge", "report"):
        assert line in said[command]["out"]
    assert "with other vectors" not in said["alone"]["out"]
    page = (folder / "whole" / "report.html").read_text(encoding="utf-8")
    assert line in page
    assert "on vectors of 16 bytes, 32 bytes" in page


def test_what_earlier_versions_did_not_record_is_not_guessed():
    assert kept(None, 0) == []
    assert kept(None, 5) == [UNKNOWN]
    assert gone_on(kept(None, 5), WIDE) == [UNKNOWN, WIDE]
    assert move(kept(None, 5), WIDE) == ""
    assert move([NARROW, WIDE], WIDE) == move([], WIDE) == ""
