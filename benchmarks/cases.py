"""The cases: what is computed, on which data, from which weights.

Legend: M models, N iterations, B batch, T steps, D inputs, H hidden, G gates, O outputs.
Weights are in the layout of the product: U (D, G*H), W (H, G*H), b (K*H), V (H, O), c (O), with
LSTM gates i f g o, and GRU gates r z n with reset after the product and b = (r, z, n, q), where q
is the bias of the hidden state's part of n. The initial state is zero in every iteration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, Array]

GATES = {"elman": 1, "lstm": 4, "gru": 3}
BIASES = {"elman": 1, "lstm": 4, "gru": 4}
# Values per unit and step that BPTT must keep for the walk back: states and gates.
# (The GRU's fourth gate is q, the hidden state's part of n.)
KEPT = {"elman": 1, "lstm": 6, "gru": 5}
OPTIMIZER_STATES = {"none": 0, "sgd": 0, "adagrad": 1, "rmsprop_nesterov": 2}


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    optimizer: 'none' computes gradients only (of one batch, from the weights as given);
    'sgd':              theta -= lr g
    'adagrad':          m += g^2,  theta -= lr g / (sqrt(m) + eps)
    'rmsprop_nesterov': v *= mu, theta += v; then with g there: m = rho m + (1 - rho) g^2,
                        step = lr g / (sqrt(m) + eps), v -= step, theta -= step
    output: 'sigmoid' with binary cross-entropy, 'softmax' with cross-entropy, 'linear' with half
    the squared error. reduction: losses of all steps and samples 'sum'med, or their 'mean'.
    tokens: inputs are one-hot, given as numbers (softmax targets always are).
    check: iterations after which weights are compared with the oracle. most: iterations to time
    at most in one go. models: networks trained at once, each on data of its own.
    threads: 1 is timed in CPU time, more in wall time.
    """

    name: str
    title: str
    cell: str
    batch: int
    steps: int
    inputs: int
    hidden: int
    outputs: int
    output: str
    reduction: str
    optimizer: str
    learning_rate: float = 0.0
    decay: float = 0.0
    momentum: float = 0.0
    epsilon: float = 0.0
    scale: float = 0.3
    tokens: bool = False
    models: int = 1
    threads: int = 1
    dtype: str = "float32"
    check: int = 20
    most: int = 20_000

    @property
    def trains(self) -> bool:
        """Whether weights are updated, or only gradients taken."""
        return self.optimizer != "none"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one model's parameters."""
        gates, biases = GATES[self.cell], BIASES[self.cell]
        return {
            "U": (self.inputs, gates * self.hidden),
            "W": (self.hidden, gates * self.hidden),
            "b": (biases * self.hidden,),
            "V": (self.hidden, self.outputs),
            "c": (self.outputs,),
        }

    def kept_bytes(self) -> int:
        """Bytes BPTT must keep: states, gates and outputs of a window, weights, gradients,
        optimizer states; of all models."""
        window = self.batch * self.steps * (KEPT[self.cell] * self.hidden + self.outputs)
        parameters = sum(int(np.prod(shape)) for shape in self.shapes().values())
        copies = 2 + OPTIMIZER_STATES[self.optimizer]
        return self.models * (window + copies * parameters) * np.dtype(self.dtype).itemsize

    def short(self) -> "Case":
        """The same work, small: for checking, not for timing."""
        big = self.hidden > 64
        return replace(
            self,
            batch=min(self.batch, 5) if big else self.batch,
            steps=min(self.steps, 7) if big else self.steps,
            inputs=min(self.inputs, 6) if big else self.inputs,
            hidden=32 if big else self.hidden,
            models=min(self.models, 18),
            check=min(self.check, 5),
            most=5,
        )


@dataclass(frozen=True)
class Problem:
    """Data and initial weights of a case.

    weights: by name, each (M, ...). x: (M, N, B, T, D), or numbers (M, N, B, T) for tokens.
    y: (M, N, B, T, O), or classes (M, N, B, T) for softmax.
    """

    weights: Weights
    x: Array
    y: Array

    @property
    def iterations(self) -> int:
        """N, the number of training iterations the data lasts for."""
        return int(self.x.shape[1])


def problem(case: Case, iterations: int, seed: int = 0) -> Problem:
    """Weights and the data of that many iterations, from a seed."""
    random = np.random.default_rng(seed)
    weights = {
        name: (random.standard_normal((case.models, *shape)) * case.scale).astype(case.dtype)
        for name, shape in case.shapes().items()
    }
    rows = (case.models, iterations, case.batch, case.steps)
    if case.tokens:
        text = random.integers(0, case.inputs, (*rows[:-1], case.steps + 1), dtype=np.int32)
        x, y = text[..., :-1], text[..., 1:]
    elif case.output == "sigmoid":
        x, y = _sums(random, rows, case.dtype)
    else:
        x = random.standard_normal((*rows, case.inputs)).astype(case.dtype)
        y = random.standard_normal((*rows, case.outputs)).astype(case.dtype)
    return Problem(weights, np.ascontiguousarray(x), np.ascontiguousarray(y))


def _sums(random: np.random.Generator, rows: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    """Bits of two numbers, lowest first, (..., T, 2), and of their sum, (..., T, 1)."""
    a = random.integers(0, 2, rows, dtype=np.int8)
    b = random.integers(0, 2, rows, dtype=np.int8)
    total = np.empty(rows, np.int8)
    carry = np.zeros(rows[:-1], np.int8)
    for t in range(rows[-1]):
        digit = a[..., t] + b[..., t] + carry
        total[..., t] = digit & 1
        carry = digit >> 1
    return np.stack([a, b], axis=-1).astype(dtype), total[..., None].astype(dtype)


def _elman(hidden: int, **options: Any) -> Case:
    """An Elman adder trained online by gradient descent."""
    defaults: dict[str, Any] = {
        "name": f"elman-online-{hidden}",
        "title": f"Elman online, H {hidden}, T 8",
        "cell": "elman",
        "batch": 1,
        "steps": 8,
        "inputs": 2,
        "hidden": hidden,
        "outputs": 1,
        "output": "sigmoid",
        "reduction": "sum",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        # Larger weights make training chaotic: float32's rounding then grows past any tolerance.
        "scale": min(0.3, hidden**-0.5),
        "most": 100_000,
    }
    return Case(**(defaults | options))


def _many(hidden: int, models: int = 128, **options: Any) -> Case:
    """Many such adders at once."""
    return _elman(
        hidden,
        **{
            "name": f"elman-{models}-models-{hidden}",
            "title": f"Elman online, H {hidden}, T 8, {models} at once, per model",
            "models": models,
            "threads": 2,
            "most": 2_000,
        }
        | options,
    )


def _gradient(cell: str, hidden: int, batch: int, steps: int, inputs: int, **options: Any) -> Case:
    """Forward and backward of one batch, with a linear readout and half the squared error."""
    defaults: dict[str, Any] = {
        "name": f"{cell}-gradient-{hidden}",
        "title": f"{cell.upper()} gradient, H {hidden}, B {batch}, T {steps}, D {inputs}",
        "cell": cell,
        "batch": batch,
        "steps": steps,
        "inputs": inputs,
        "hidden": hidden,
        "outputs": 1,
        "output": "linear",
        "reduction": "mean",
        "optimizer": "none",
        "scale": hidden**-0.5,
        "threads": 2,
        "check": 1,
        "most": 1,
    }
    return Case(**(defaults | options))


MINIBATCH = _elman(
    3,
    name="elman-minibatch-3",
    title="Elman, H 3, B 100, T 16, RMSprop with look-ahead",
    batch=100,
    steps=16,
    reduction="mean",
    optimizer="rmsprop_nesterov",
    learning_rate=0.02,
    decay=0.5,
    momentum=0.8,
    epsilon=1e-6,
    most=2_000,
)

TEXT = Case(
    name="lstm-text-64",
    title="LSTM on text, H 64, T 40, B 1, one-hot 34, Adagrad",
    cell="lstm",
    batch=1,
    steps=40,
    inputs=34,
    hidden=64,
    outputs=34,
    output="softmax",
    reduction="sum",
    optimizer="adagrad",
    learning_rate=0.01,
    epsilon=1e-8,
    scale=0.2,
    tokens=True,
    check=5,
    most=2_000,
)

CASES: tuple[Case, ...] = (
    *(_elman(hidden) for hidden in (3, 8, 16, 32, 64)),
    _elman(
        16,
        name="elman-online-16-float64",
        title="Elman online, H 16, T 8, float64",
        dtype="float64",
    ),
    *(_many(hidden) for hidden in (3, 8, 16, 32)),
    *(_many(16, models, most=200_000 // models, check=5) for models in (1, 8, 32, 1024)),
    MINIBATCH,
    TEXT,
    _gradient("lstm", 128, 32, 64, 64),
    _gradient("lstm", 512, 64, 128, 128),
    _gradient("gru", 128, 32, 64, 64),
)


# The optimizer that keeps most.
OPTIMIZER = {
    key: getattr(MINIBATCH, key)
    for key in ("optimizer", "learning_rate", "decay", "momentum", "epsilon")
}


def growth(sizes: Sequence[int], kind: str) -> list[Case]:
    """Cases that differ in one size only: 'steps', 'hidden', 'batch' or 'models'."""
    made = []
    for size in sizes:
        name = f"growth-{kind}-{size}"
        if kind == "models":  # as many iterations as a study does in a call of the engine
            case = _many(16, size, name=name, title=name, threads=1, most=200, check=2, **OPTIMIZER)
        else:
            shape = {"hidden": 64, "batch": 16, "steps": 64, "inputs": 16} | {kind: size}
            case = _gradient("lstm", **shape, name=name, title=name, threads=1)
        made.append(case)
    return made


GROWTH: dict[str, list[Case]] = {
    "steps": growth((16, 64, 256, 1024, 4096), "steps"),
    "hidden": growth((16, 64, 256, 1024), "hidden"),
    "batch": growth((1, 4, 16, 64, 256, 1024), "batch"),
    "models": growth((1, 10, 100, 1_000, 10_000), "models"),
}


def _memory(cell: str, words: str, hidden: int, **shape: int) -> Case:
    """An adder of which one iteration is trained, whose arrays are large."""
    name = f"memory-{cell}-{words.replace(',', '').replace(' ', '-')}"
    shown = "Elman" if cell == "elman" else cell.upper()
    options = {"name": name, "title": f"{shown}, {words}", "cell": cell, "most": 1, "check": 2}
    return _elman(hidden, **options, **OPTIMIZER, **shape)


# Of every cell: a long sequence, a minibatch, weights that take more than the values of the steps
# (of one sample and of a batch), and many models.
MEMORY: tuple[Case, ...] = tuple(
    case
    for cell in GATES
    for case in (
        _memory(cell, "long sequence", 64, steps=65_536),
        _memory(cell, "minibatch", 64, steps=1_024, batch=64),
        _memory(cell, "large weights", 1_024),
        _memory(cell, "minibatch, large weights", 1_024, batch=256),
        _memory(cell, "many models", 16, models=5_000),
    )
)

ALL: dict[str, Case] = {
    case.name: case
    for case in (*CASES, *MEMORY, *(case for cases in GROWTH.values() for case in cases))
}
