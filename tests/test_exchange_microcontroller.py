"""The C file on an emulated Cortex-M4: the same numbers, in 64 KB of flash and 4 KB of memory."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from exchange_networks import network

from bptt.exchange.c_fixed import c_fixed_source, read_numbers
from bptt.exchange.c_source import c_source
from bptt.exchange.fixed import FixedTwin, quantised
from bptt.exchange.model import model_of
from bptt.exchange.players import Ours

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks is not part of the package
microcontroller: Any = importlib.import_module("benchmarks.microcontroller")
pytestmark = pytest.mark.skipif(
    bool(microcontroller.missing()), reason=f"Cortex-M4: {microcontroller.missing()}"
)
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_on_a_microcontroller.py"
# Multiplications and additions alone, each read, done and counted: below this it cannot be. Above:
# ten instructions each, and 250 for each of the functions (newlib's tanhf and expf take about so).
PRODUCTS = {("gru", 8): 8 * 8 * 3 + 3 * 8 + 8, ("lstm", 16): 16 * 16 * 4 + 4 * 16 + 16}
FUNCTIONS = {("gru", 8): 3 * 8, ("lstm", 16): 5 * 16}


@pytest.mark.parametrize("math", ["exact", "fast", "int8"])
@pytest.mark.parametrize(("cell", "hidden"), [("gru", 8), ("lstm", 16)])
def test_it_fits_and_gives_the_same_numbers(cell, hidden, math):
    model = model_of(network(cell, sizes=(1, hidden, 1)))
    x = np.random.default_rng(0).uniform(-1, 1, (40, 1)).astype(np.float32)
    if math == "int8":
        text = c_fixed_source(model, quantised(model, x[None]), "net")
        wanted, close = FixedTwin(read_numbers(text)).run(x)[:, 0], 0
    else:
        text, close = c_source(model, "net", math), 2e-6  # float32, as on any machine
        wanted = Ours(model).run(x)[:, 0]
    found = microcontroller.run(text, x[None])
    np.testing.assert_allclose(found.outputs[0, :, 0], wanted, rtol=0, atol=close)
    assert found.flash <= microcontroller.FLASH
    assert found.variables + found.stack + 4 * model.initial().size <= microcontroller.MEMORY
    key = (cell, hidden)
    assert PRODUCTS[key] < found.instructions < 10 * PRODUCTS[key] + 250 * FUNCTIONS[key]
    weights = sum(w.size for w in model.weights.values())
    width = 1 if math == "int8" else 4
    # (Single numbers go into the code.)
    assert 0.9 * weights * width < found.constants < weights * width + 2000


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="trains on 1,198 digits: needs the compiler")
def test_digits_are_told_there_as_in_python(tmp_path):
    pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--epochs", "5", "--cases", "20"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (share,) = re.findall(r"^([\d.]+)% of 599 held out are right", done.stdout, re.MULTILINE)
    assert float(share) > 30  # a guess is right in a tenth
    (right,) = re.findall(
        r"^20 of them in flash; right in Python: (\d+)", done.stdout, re.MULTILINE
    )
    rows = re.findall(r"^(exact|fast|int8) +(\d+) +(\d+)", done.stdout, re.MULTILINE)
    assert [math for math, *_ in rows] == ["exact", "fast", "int8"]
    for math, there, same in rows:
        # Of the whole numbers one case in ten may lie so near two classes that it goes over.
        off = 2 if math == "int8" else 0
        assert int(same) >= 20 - off
        assert abs(int(there) - int(right)) <= off


def test_the_example_says_in_one_line_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, env={**os.environ, "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    wanted = "no Cortex-M4: arm-none-eabi-gcc and qemu-system-arm not installed\n"
    assert done.stderr == wanted
    assert not list(tmp_path.iterdir())
