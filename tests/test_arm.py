"""Kernels compiled for ARM, run by an emulator: right numbers in every layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from arm_kernels import CASES, missing

SCRIPT = Path(__file__).parent / "arm_kernels.py"
# Sums of at most a few hundred terms, each rounded to 6e-8 (1e-16) of it, and functions within 3
# units in the last place. (Found were at most 2e-7 and 2e-16.)
CLOSE = {"float32": 3e-6, "float64": 1e-14}


@pytest.fixture(scope="module")
def found():
    """How far numbers are off the reference's, by case; one process, which compiles each kind of
    kernel once (some 40 s of processor time)."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        pytest.skip("the compiler is off")
    if missing():
        pytest.skip(f"ARM cannot be emulated here: there is no {missing()}")
    command = [sys.executable, str(SCRIPT), *CASES]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_vectors_are_those_of_arm(found):
    assert found["arithmetic"] == "16 bytes, fused"
    assert found["rows"] == 4  # of 32 registers


@pytest.mark.parametrize("name", CASES)
def test_numbers_on_arm_are_those_of_the_reference(found, name):
    close = CLOSE[CASES[name].get("dtype", "float32")]
    assert len(found[name]) == (1 if "models" in CASES[name] else 4)
    for what, off in found[name].items():
        assert off < close, what
