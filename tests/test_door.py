"""One door: nothing reaches compiled code that does not fit; what does not is told in one line.

Reports from outside, one of a kind, and a short run of tests/fuzz_the_door.py.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guard_pages
import numpy as np
import pytest
from fuzz_the_door import FINE, run

import bptt
from bptt.kernels.engine import CompiledEngine
from bptt.network.batch import Batch
from bptt.network.engines import Learner
from bptt.network.reference_engine import ReferenceEngine

LETTERS = "abcdefghijklmnopqrstuvwxyz " * 20


def settings(task: Any, **structure: Any) -> bptt.Settings:
    return bptt.Settings(task=task, structure=bptt.Structure(**structure), iterations=200)


REPORTS: dict[str, tuple[Callable[[], Any], str]] = {
    "a text with linear outputs": (
        lambda: bptt.train(bptt.Text(text=LETTERS), output="linear", iterations=200), "softmax",
    ),
    "a text with sigmoid outputs": (
        lambda: bptt.train(bptt.Text(text=LETTERS), output="sigmoid", iterations=200), "softmax",
    ),
    "sums with softmax": (
        lambda: bptt.train(bptt.Addition(bits=8), output="softmax", iterations=200), "'sigmoid'",
    ),
    "100,000 inputs": (
        lambda: settings(bptt.Addition(bits=8), inputs=100_000, outputs=1), "inputs 100000",
    ),
    "3 inputs": (lambda: settings(bptt.Addition(bits=8), inputs=3, outputs=1), "inputs 3"),
    "2 characters of 27": (
        lambda: settings(bptt.Text(text=LETTERS), inputs=2, outputs=2, output="softmax"),
        "inputs 2",
    ),
    "sums with readout last": (
        lambda: settings(bptt.Addition(bits=8), inputs=2, outputs=1, readout="last"),
        "readout 'last'",
    ),
    "a network of 3 inputs": (
        lambda: bptt.evaluate(bptt.Network(inputs=3, outputs=1), bptt.Addition(bits=4)), "inputs 3",
    ),
    "a network of 200 inputs": (
        lambda: bptt.evaluate(bptt.Network(inputs=200, outputs=1), bptt.Addition(bits=4)),
        "inputs 200",
    ),
    "a network with softmax and readout last": (
        lambda: bptt.evaluate(
            bptt.Network(inputs=2, outputs=1, output="softmax", readout="last"),
            bptt.Addition(bits=4),
        ),
        "readout 'last'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("report", REPORTS)
def test_what_does_not_fit_is_told_in_one_line(report: str) -> None:
    call, words = REPORTS[report]
    with pytest.raises(bptt.BpttError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"inputs": 50_000}, {"outputs": 2}, {"output": "softmax"}])
@pytest.mark.parametrize("file", ["config.json", "checkpoint.safetensors", "weights.safetensors"])
def test_a_foreign_file_does_not_come_in(
    file: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    """Whose task and network do not fit each other, though its tensors may fit its network."""
    from safetensors.numpy import load_file, save_file

    bptt.train(bptt.Addition(bits=2), hidden=3, iterations=2, exact=False).save(tmp_path)
    if file == "config.json":
        values = json.loads((tmp_path / file).read_text())
        values["structure"] |= changed
        (tmp_path / file).write_text(json.dumps(values))
        (tmp_path / "checkpoint.safetensors").unlink()
    else:
        content = (tmp_path / file).read_bytes()
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["bptt"])
        tensors = load_file(tmp_path / file)
        (metadata.get("settings") or metadata)["structure"] |= changed
        shapes = bptt.Structure(**(metadata.get("settings") or metadata)["structure"]).layout()
        if file.startswith("weights"):
            tensors = {name: np.zeros(each, "f4") for name, each in shapes.shapes.items()}
        else:
            tensors = {name: np.zeros(shapes.size, "f4") for name in tensors}
        save_file(tensors, tmp_path / file, {"bptt": json.dumps(metadata)})
    read = bptt.load if file.startswith("weights") else bptt.resume
    with pytest.raises(bptt.BpttError, match=r"does not (fit|suit) the task|other settings"):
        read(tmp_path)


@pytest.mark.parametrize("kind", [CompiledEngine, ReferenceEngine])
def test_engines_take_nothing_unchecked(kind: Any) -> None:
    engine, structure = kind(), bptt.Structure(inputs=2, outputs=1, hidden=3)
    batch = Batch(structure, np.zeros((1, 1, 4, 2)), np.zeros((1, 1, 4, 1)), axes=1)
    size = structure.layout().size
    good = [np.zeros(size, "f4") for _ in range(3)]
    optimizer = bptt.Optimizer()
    engine.train(optimizer, Learner(*good, None), batch)
    for place in range(3):
        for wrong in (np.zeros(size - 1, "f4"), np.zeros(size), np.zeros((1, size), "f4"), None):
            learner = Learner(*[*good[:place], wrong, *good[place + 1 :]], None)
            with pytest.raises(bptt.BpttError, match=("theta", "s0", "s1")[place]):
                engine.train(optimizer, learner, batch)
    for state in (np.zeros((1, 1, 2, 3), "f4"), np.zeros((1, 1, 1, 3)), 3):
        with pytest.raises(bptt.BpttError, match="state"):
            engine.train(optimizer, Learner(*good, state), batch)
    for wrong in (batch.x, None, batch[0]):
        with pytest.raises(bptt.BpttError, match=r"Batch|axes"):
            engine.train(optimizer, Learner(*good, None), wrong)
    with pytest.raises(bptt.BpttError, match="targets"):
        engine.loss(good[0], Batch(structure, np.zeros((1, 4, 2))))
    with pytest.raises(bptt.BpttError, match="models"):
        engine.train_many([optimizer] * 2, [Learner(*good, None)] * 2, batch)


def test_a_batch_stays_what_was_checked() -> None:
    """Numbers of inputs and classes are copies, and no field can be put in a field's place."""
    structure = bptt.Structure(inputs=3, outputs=3, output="softmax")
    x = np.zeros((2, 4), np.int64)
    batch = Batch(structure, x, x)
    x[:] = 99
    assert batch.x.max() == 0
    assert batch.y is not None
    assert batch.y.max() == 0
    with pytest.raises(AttributeError):
        batch.x = x  # type: ignore[misc]


GUARDED = """
import ctypes, numpy, os, sys
import guard_pages
guard_pages.guard()
arrays = [numpy.arange(5.0) for _ in range(64)]
for array in arrays:
    if (array.ctypes.data % guard_pages.PAGE == 0) == (sys.argv[1] == "before"):
        assert array.sum() == 10.0 and array.copy().tolist() == list(range(5))
        print("begun", flush=True)
        place = array.ctypes.data + (-8 if sys.argv[1] == "before" else array.nbytes)
        ctypes.c_double.from_address(place).value
        print("lived", flush=True)
        os._exit(0)
"""


@pytest.mark.skipif(not guard_pages.POSSIBLE, reason="needs the compiler, and Linux")
@pytest.mark.parametrize("where", ["before", "behind"])
def test_guard_pages_find_what_is_read_out_of_bounds(where: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", GUARDED, where], cwd=Path(__file__).parent, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert found.stdout == "begun\n", found
    assert found.returncode == -11


@pytest.mark.skipif(not guard_pages.POSSIBLE, reason="needs the compiler, and Linux")
def test_whatever_comes_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Random inputs, mostly wrong, with arrays between guard pages, for about 25 seconds; by
    themselves and for longer: `python tests/fuzz_the_door.py`."""
    counts = run(25, 20_000_003, ["--small"])
    assert not [kind for kind in counts if kind not in FINE], capsys.readouterr().out
    assert counts["right"] > 0
    assert counts["refused"] > 0
