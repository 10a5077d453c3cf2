"""What tests/fuzz_cases.py puts in: what fits, and how it is spoiled."""

import math
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = tuple[str, Callable[[], Any], bool | None]
SMALL = "--small" in sys.argv
CELLS = (("elman", "tanh"), ("elman", "relu"), ("lstm", "tanh"), ("gru", "tanh"))
OUTPUTS = (
    ("linear", "squared"), ("sigmoid", "squared"), ("sigmoid", "cross_entropy"),
    ("softmax", "cross_entropy"),
)  # fmt: skip
NONSENSE: tuple[Any, ...] = (
    None, -1, 0, 1, 2, 7, 1.5, -0.1, math.nan, math.inf, 10**30, "x", "", "1", b"x", [], [1, [2]],
    ["a", 1], {}, {"a": 1}, (), (1, 2), True, int, object(), len, np.int64(3), np.float32(0.5),
    np.array([1, 2]), np.zeros((0, 2)), np.zeros((2, 3, 1)), np.array("x"), 1j, "\0", "é" * 3, [[]],
    [(3, 6)], [(1, 2, 3)], [math.nan], np.array([None]), np.array(["a"]), slice(2), Path("none"),
)  # fmt: skip


def structure_fields(rng: random.Random) -> dict[str, Any]:
    """Of a structure that may be made."""
    cell, activation = CELLS[0] if SMALL else rng.choice(CELLS)
    output, loss = rng.choice(OUTPUTS)
    tied = rng.random() < 0.8
    return {
        "inputs": rng.choice((1, 2, 3, 27)), "outputs": rng.choice((1, 2, 5, 27)),
        "hidden": rng.choice((1, 3, 5, 8, 17)), "layers": rng.choice((1, 1, 2)), "cell": cell,
        "activation": activation, "output": output, "loss": loss,
        "readout": rng.choice(("steps", "steps", "last")), "bias": rng.random() < 0.8,
        "tied": tied, "steps": 0 if tied else rng.randint(1, 6),
        "initial_state": rng.choice(("zeros", "trainable")),
        "reduction": rng.choice(("sum", "sequence", "mean")),
        "dtype": "float32" if SMALL else rng.choice(("float32", "float64")),
        "bidirectional": rng.random() < 0.1,
    }  # fmt: skip


def random_structure(rng: random.Random, **fixed: Any) -> Any:
    from bptt import Structure

    return Structure(**{**structure_fields(rng), **fixed})


def generator(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.randrange(1 << 32))


def arrays_for(rng: random.Random, s: Any, lead: tuple[int, ...], T: int) -> dict[str, Any]:
    """x, y, lengths, state that fit, of batches (..., B)."""
    draw, (*more, B) = generator(rng), lead
    one_hot = rng.random() < 0.4
    rows = (*lead, T) if s.readout == "steps" else lead
    shape = (s.recurrences, len(s.equations.states), B, s.hidden)
    given: dict[str, Any] = {
        "x": draw.integers(0, s.inputs, (*lead, T))
        if one_hot
        else draw.normal(size=(*lead, T, s.inputs)),
        "y": draw.integers(0, s.outputs, rows)
        if s.head.classes
        else draw.uniform(size=(*rows, s.outputs)),
        "lengths": draw.integers(0, T + 1, lead) if rng.random() < 0.5 else None,
        "state": draw.normal(size=shape) if not more and rng.random() < 0.5 else None,
    }
    return given


def spoiled(rng: random.Random, value: Any) -> tuple[Any, bool | None]:
    """A value changed at random; whether what is made of it may still fit (True: it does as before;
    False: it never does; None: who knows)."""
    if rng.random() < 0.15 or not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return rng.choice(NONSENSE), None
    kind = rng.randrange(13)
    axis = rng.randrange(value.ndim) if value.ndim else 0
    if kind == 0:
        return value[None], False
    if kind == 1 and value.size:
        return value.take(0, axis=axis), None
    if kind == 2 and value.ndim:
        return np.concatenate([value, value], axis=axis), None
    if kind == 3 and value.size:
        return value.take(range(value.shape[axis] - 1), axis=axis), None
    if kind == 4:
        wrong = value.copy()
        number = np.array(rng.choice((-1, 99, 2**31, -(2**62), 2**62)))
        with np.errstate(all="ignore"):  # what does not fit the type is cut off
            wrong.flat[rng.randrange(value.size) if value.size else slice(0)] = number.astype(
                value.dtype
            )
        return wrong, None
    if kind == 5:
        return value.astype(rng.choice(("U3", "S2", "complex64", "object", "M8[s]"))), False
    if kind == 6:
        with np.errstate(all="ignore"):  # what does not fit the type is what is wanted
            return value.astype(rng.choice(("u1", "i2", "f2", "f8", "?", "u8", "longdouble"))), None
    if kind == 7:
        return value.T, None
    if kind == 8:
        return value.tolist(), True
    if kind == 9:
        return np.repeat(value, 2, axis=0)[::2], True
    if kind == 10:
        return value.astype(value.dtype.newbyteorder()), True
    if kind == 11:
        around = np.zeros(value.nbytes + 1, np.uint8)[1:]
        other = around.view(value.dtype).reshape(value.shape)
        other[...] = value
        other.flags.writeable = False
        return other, True
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return value * rng.choice((np.nan, np.inf, 1e300)), None


def changed(rng: random.Random, given: dict[str, Any]) -> bool | None:
    """Change none, one or two of the values; whether they still fit, where that can be said."""
    fits: bool | None = True
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        name = rng.choice(list(given))
        given[name], still = spoiled(rng, given[name])
        fits = fits and still if fits is not False else False
    return fits


TEXTS = ("abcdefghijklmnopqrstuvwxyz " * 3, "to be or not to be", "aab")


def random_task(rng: random.Random) -> Any:
    from bptt import Addition, Text

    if rng.random() < 0.5:
        signed = rng.random() < 0.3
        carry = rng.choice(("room", "wrap"))
        return Addition(bits=rng.choice((1, 2, 4)), signed=signed, carry=carry)
    text = rng.choice(TEXTS)
    return Text(text=text, window=rng.randint(1, min(5, len(text) - 1)))


def of_task(task: Any) -> dict[str, Any]:
    """Structure fields that fit a task."""
    text = type(task).__name__ == "Text"
    output, loss = OUTPUTS[3] if text else OUTPUTS[2]
    return {
        "inputs": task.inputs, "outputs": task.outputs, "output": output, "loss": loss,
        "readout": "steps", "tied": True, "steps": 0,
    }  # fmt: skip


def fitting(rng: random.Random, task: Any) -> tuple[Any, bool]:
    """A structure for a task, and whether it fits: judged by what the fields say, here."""
    right = of_task(task)
    fields = {**structure_fields(rng), **right}
    for name in rng.sample(sorted(right), rng.choice((0, 1, 1, 2))):
        fields[name] = structure_fields(rng)[name]
        if name in ("output", "loss"):
            fields["output"], fields["loss"] = rng.choice(OUTPUTS)
        if name in ("tied", "steps"):
            fields["tied"] = rng.random() < 0.3
            fields["steps"] = 0 if fields["tied"] else rng.choice((task.steps, 1, 9))
    if rng.random() < 0.1:
        fields["inputs"] = rng.choice((200, 100_000))
    classes = fields["output"] == "softmax"
    text = type(task).__name__ == "Text"
    fits = (
        (fields["inputs"], fields["outputs"]) == (task.inputs, task.outputs)
        and fields["readout"] == "steps"
        and classes == text
        and (fields["tied"] or (fields["steps"] == task.steps and not text))
        and not fields["bidirectional"]
    )
    return random_structure(rng, **fields), fits


_trained: dict[bool, Path] = {}


def trained(text: bool) -> Path:
    """A run's folder, unfinished, to be spoiled."""
    import bptt

    if text not in _trained:
        task = bptt.Text(text=TEXTS[1], window=3) if text else bptt.Addition(bits=2)
        options = {"cell": "elman", "hidden": 3, "iterations": 4, "record_every": 2}
        run = bptt.train(task, **options, exact=False)
        _trained[text] = Path("text" if text else "add").absolute()
        run.save(_trained[text])
    return _trained[text]


def spoil_json(rng: random.Random, value: Any) -> Any:
    """Something in nested plain values changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        return {**value, name: spoil_json(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], spoil_json(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, int) and rng.random() < 0.6:
        return rng.choice((value + 1, 2 * value + 1, 50_000, 100, 0, -1))
    plain = (
        None,
        -1,
        0,
        3,
        1.5,
        "x",
        "",
        [],
        {},
        True,
        10**30,
        "softmax",
        "last",
        "gru",
        "float64",
    )
    return rng.choice(plain)
