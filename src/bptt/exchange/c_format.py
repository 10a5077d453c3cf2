"""The format `c`: written, compiled where there is a compiler, and read back without one."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.c_compiler import Compiled, compiled, compiler
from bptt.exchange.c_fixed import c_fixed_source, read_numbers
from bptt.exchange.c_reader import Twin, c_heading
from bptt.exchange.c_source import c_source
from bptt.exchange.fixed import FixedTwin, quantised
from bptt.exchange.model import Model
from bptt.exchange.players import Ours, Player
from bptt.exchange.verification import Checked, compare, inputs_like

Array = NDArray[np.floating]
# float32's rounding of every weight and sum; what the fast functions may add to it.
ROUNDING, FAST_ROUNDING = 2.0**-24, 4.2e-7
CALIBRATION_STEPS = 2000


def write(
    model: Model, *, name: str = "net", math: str = "exact", quantize: str | None = None,
    inputs: Array | None = None,
) -> bytes:  # fmt: skip
    """The file. quantize: 'int8', whose ranges are taken from `inputs` (B, T, D)."""
    if quantize is None:
        return c_source(model, name, math).encode()
    if quantize != "int8":
        raise BpttError(f"quantize '{quantize}' is not known: choose 'int8', or leave it out")
    if math != "exact":
        raise BpttError("int8 has tables for tanh: leave --math out")
    if inputs is None:
        raise BpttError("int8 needs inputs like the training's, to take ranges from: give inputs=")
    return c_fixed_source(model, quantised(model, inputs), name).encode()


def _library(text: str, model: Model, known: bool) -> tuple[Callable[[], Compiled] | None, str]:
    """A maker of players that run the compiled file, and by what it was compiled.

    known: the text is ours. The program of any other is compared first: no stranger's is run.
    """
    if compiler() is None:
        return None, "no C compiler here: read back by Python"
    if not known:
        return None, "its program is not as this version writes it: not run, read by Python"
    s = model.structure
    name, _, _ = c_heading(text)
    width = 2 if "Weights int8" in text else 4
    library = compiled(text)
    sizes = (s.inputs, s.outputs, width * model.initial().size)
    command = " ".join((compiler() or ("",))[-2:]).split("/")[-1]
    return lambda: Compiled(library, name, sizes), f"compiled by {command} and run"


def _program(text: str) -> str:
    """All of a file but the numbers in its arrays and the digest of them."""
    return re.sub(r"= \{[^;]*\};|sha256 of the weights \w+", "", text)


def check(model: Model, content: bytes, inputs: Array | None = None, ours: bool = False) -> Checked:
    """Set a C file against the network; `ours`: it was written just now."""
    text = content.decode("ascii", "replace")
    name, _, _ = c_heading(text)
    if "Weights int8" in text:
        return _check_fixed(model, text, inputs, ours)
    fast = "Math fast" in text[: text.index("*/")]
    size = FAST_ROUNDING if fast else ROUNDING
    known = ours or _program(text) == _program(
        c_source(model, name, "fast" if fast else "exact")
    )  # fmt: skip
    make, words = _library(text, model, known)
    twin = compare(model, lambda: Twin(text), 1e-5, inputs, words, amplified=size, steps=100)
    if make is None or not twin.passed:
        return twin
    run = compare(model, make, 1e-5, inputs, words, amplified=size)
    selftest = make().selftest()
    worst = max(run.worst, selftest) if run.worst == run.worst else run.worst
    return Checked(worst, run.steps, run.limit, f"{words}, its self-test gives {selftest:.1e}")


def _check_fixed(model: Model, text: str, inputs: Array | None, ours: bool) -> Checked:
    """int8: every whole number of the compiled file must be the twin's, and the twin's restart
    and hand-over must hold; how far off the numbers are is what `figures` says."""
    numbers = read_numbers(text)
    name, _, _ = c_heading(text)
    known = ours or _program(text) == _program(c_fixed_source(model, numbers, name))
    make, words = _library(text, model, known)
    worst, steps = 0.0, 0
    for x in inputs_like(model, inputs):
        twin = FixedTwin(numbers)
        wanted = twin.run(x)
        players: list[Player] = [FixedTwin(numbers)] + ([make()] if make else [])
        for player in players:
            half = len(x) // 3
            first = player.run(x[:half])
            state = player.keep()
            player.run(x)
            player.put_back(state)
            rest = np.array([player.step(row) for row in x[half:]])
            player.reset()
            again = player.run(x)
            for found in (np.concatenate([first, rest]), again):
                worst = max(worst, float(np.abs(found - wanted).max()))
                steps += len(x)
    # Whole numbers are equal; of a softmax the float32 exponentials may differ in the last places.
    limit = 1e-5 if model.structure.output == "softmax" else 0.0
    return Checked(worst, steps, limit, f"{words}, equal to the arithmetic in Python")


def figures(model: Model, content: bytes, inputs: Array, targets: Any) -> tuple[str, float, float]:
    """The task's own figure before and after int8: its name, and per cent of both.

    inputs (B, T, D), targets (B, T, O) or classes (B, T). Linear: error-to-signal ratio
    sum (y - p)^2 / sum y^2; else the share of wrong outputs.
    """
    twin, found = FixedTwin(read_numbers(content.decode("ascii", "replace"))), []
    twin.widen(len(inputs))
    after = np.swapaxes(twin.run(np.swapaxes(inputs, 0, 1)), 0, 1)
    player = Ours(model)
    for sequence in inputs:
        player.reset()
        found.append(player.run(sequence))
    before, y = np.array(found), np.asarray(targets)
    if model.structure.readout == "last":
        before, after = before[:, -1], after[:, -1]
    if model.structure.output == "linear":
        power = float((y.astype(np.float64) ** 2).sum())
        ratio = [100 * float(((p - y) ** 2).sum()) / power for p in (before, after)]
        return "error-to-signal ratio", ratio[0], ratio[1]
    if model.structure.output == "softmax":
        wrong = [100 * float((p.argmax(-1) != y).mean()) for p in (before, after)]
    else:
        wrong = [100 * float(((p > 0.5) != (y > 0.5)).mean()) for p in (before, after)]
    return "wrong outputs", wrong[0], wrong[1]
