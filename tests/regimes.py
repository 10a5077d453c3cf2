"""What the tests of the compiled engine share: cases drawn over all options, and comparisons.

A case is a structure with data for it. `covering` draws cases so that every two values of two
options meet in at least one of them, which a few dozen do; the full product has millions.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt import Optimizer, Schedule, Structure
from bptt.equations.optimizers import RULES
from bptt.equations.outputs import OUTPUTS, REDUCTIONS
from bptt.kernels.machine.vectors import COMPILER_OFF
from bptt.network.batch import Batch
from bptt.network.engines import Chunk, Engine, Gradient, Learner

Options = dict[str, Any]
# Sums of at most a few thousand terms in float64, each rounded to 1e-16 of it; asked is 1e-10.
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
# Rules that divide by a gradient's size enlarge the rounding errors of the smallest ones: 1e-16
# of a gradient of 1e-6 is 1e-10 of a step.
CLOSE_IN_TRAINING = {"rtol": 1e-9, "atol": 1e-11}
N = 3  # iterations of a case's training
CHANCE = (11, 2**33 + 5)  # the seed and the iteration that a case's passes are disturbed by

# What every regime may be asked for. The last clips by value so far that the norm is within limits.
EVERYWHERE: dict[str, Sequence[Any]] = {
    "output": tuple(OUTPUTS),
    "reduction": REDUCTIONS,
    "readout": ("steps", "last"),
    "bias": (True, False),
    "one_hot": (True, False),
    "tied": (True, False),
    "layers": (1, 2, 3),
    "bidirectional": (False, True),
    "initial_state": ("zeros", "trainable"),
    "lengths": (True, False),
    "weights": (True, False),
    "noise": (0.0, 0.3),
    "skip": (0, 1),
    "dropout": (
        {}, {"dropout": 0.4}, {"input_dropout": 0.3},
        {"dropout": 0.4, "input_dropout": 0.3, "dropout_mask": "sequence"},
    ),
    "D": (1, 2, 7),
    "O": (1, 2, 5, 17),
    "T": (1, 2, 7, 9),
    "kind": tuple(RULES),
    "schedule": (
        Schedule(),
        Schedule(kind="step", every=2, factor=0.5),
        Schedule(kind="cosine", iterations=5, warmup=3, minimum=0.1),
    ),
    "clips": (
        {}, {"clip_value": 0.02}, {"clip_norm": 0.2}, {"clip_value": 0.02, "clip_norm": 0.2},
        {"clip_value": 1e-4, "clip_norm": 0.2},
    ),
}  # fmt: skip
# Cells that are compiled in tests; and what a case has where nothing else is wanted.
ELMAN, LSTM, GRU = ("elman", "tanh"), ("lstm", "tanh"), ("gru", "tanh")
COMPILED = (ELMAN, LSTM, GRU)
PLAIN = {
    "output": ("softmax", "cross_entropy"), "reduction": "mean", "readout": "steps", "bias": True,
    "one_hot": False, "tied": True, "layers": 1, "initial_state": "trainable", "lengths": True,
    "weights": False, "noise": 0.0, "dropout": {}, "skip": 0, "bidirectional": False,
    "D": 2, "H": 5, "O": 3, "T": 2, "kind": "momentum", "schedule": EVERYWHERE["schedule"][0],
    "clips": {},
}  # fmt: skip


def covering(options: Mapping[str, Sequence[Any]], seed: int) -> list[Options]:
    """Rows with a value of each option, such that every pair of values of two options occurs.

    Drawn greedily: of 40 random rows the one with the most pairs that did not occur yet.
    """
    rng = np.random.default_rng(seed)
    names = list(options)
    sizes = np.array([len(options[name]) for name in names])
    missing = {
        (i, a, j, b)
        for i, j in itertools.combinations(range(len(names)), 2)
        for a in range(sizes[i])
        for b in range(sizes[j])
    }
    rows = []
    while missing:
        i, a, j, b = min(missing)
        drawn = rng.integers(0, sizes, (40, len(names)))
        drawn[:, i], drawn[:, j] = a, b
        found = [missing & _pairs(row) for row in drawn]
        best = max(range(len(drawn)), key=lambda k: len(found[k]))
        missing -= found[best]
        rows.append({name: options[name][k] for name, k in zip(names, drawn[best], strict=True)})
    return rows


def _pairs(row: NDArray[Any]) -> set[tuple[int, int, int, int]]:
    return {(i, int(row[i]), j, int(row[j])) for i, j in itertools.combinations(range(len(row)), 2)}


@dataclass
class Case:
    """A structure, an optimizer, and data for N iterations."""

    structure: Structure
    optimizer: Optimizer
    theta: NDArray[Any]
    x: NDArray[Any]
    y: NDArray[Any]
    lengths: NDArray[Any]
    reset: NDArray[Any]
    state: NDArray[Any] | None
    weights: NDArray[Any] | None
    seed: int

    @property
    def batch(self) -> Batch:
        """The first batch."""
        weights = None if self.weights is None else self.weights[0]
        return Batch(
            self.structure, self.x[0], self.y[0], self.lengths[0], self.state, weights=weights,
            chance=CHANCE,
        )  # fmt: skip

    @property
    def data(self) -> Batch:
        """All iterations' batches."""
        s, x, y = self.structure, self.x, self.y
        return Batch(s, x, y, self.lengths, reset=self.reset, axes=1, weights=self.weights)


def inputs_of(structure: Structure, shape: tuple[int, ...], one_hot: bool, rng: Any) -> Any:
    """x of shape (..., B, T, D), or ids."""
    if one_hot:
        return rng.integers(0, structure.inputs, shape)
    return rng.normal(size=(*shape, structure.inputs))


def targets_of(structure: Structure, shape: tuple[int, ...], rng: Any) -> Any:
    """y of shape (..., B, T, O), or classes; without T for readout 'last'."""
    rows = shape if structure.readout == "steps" else shape[:-1]
    if structure.head.classes:
        return rng.integers(0, structure.outputs, rows)
    return rng.uniform(0, 1, (*rows, structure.outputs))


def lengths_of(shape: tuple[int, ...], T: int, rng: Any) -> NDArray[Any]:
    """Lengths of which one is 0 and, where there is room for it, one is T."""
    lengths = rng.integers(0, T + 1, shape)
    lengths.flat[-1] = T
    lengths.flat[0] = 0
    return lengths


def weights_of(structure: Structure, shape: tuple[int, ...], rng: Any) -> NDArray[Any]:
    """Weights of (N, B, T), without T for readout 'last', a third of them 0: in some iterations
    all, but not in the first."""
    rows = shape if structure.readout == "steps" else shape[:-1]
    weights = rng.uniform(0.1, 2, rows) * (rng.random(rows) > 1 / 3)
    weights[0].flat[-1] = 0.5
    return np.asarray(weights)


def case_of(key: tuple[str, str], row: Options, seed: int, dtype: str = "float64") -> Case:
    """The case of a row; no parameter is zero. Of options that the row lacks, the plain value."""
    row = {"carried": False, "iterations": N, **row}
    if not COMPILER_OFF and key != GRU:
        # A disturbed walk is a kernel of its own: it is compiled for one cell.
        row = row | {"noise": 0.0, "dropout": {}}
    rng = np.random.default_rng(seed)
    B, T, count = row["B"], row["T"], row["iterations"]
    # What goes past the network needs values, and an output at every step.
    skip = 0 if row["one_hot"] or row["readout"] == "last" else min(row["D"], row["O"])
    structure = Structure(
        skip=skip * row["skip"], cell=key[0], activation=key[1], inputs=row["D"],
        hidden=row["H"], outputs=row["O"],
        output=row["output"][0], loss=row["output"][1], tied=row["tied"],
        steps=0 if row["tied"] else T, layers=row["layers"], readout=row["readout"],
        bias=row["bias"], reduction=row["reduction"], initial_state=row["initial_state"],
        dtype=dtype, noise=row["noise"], bidirectional=row["bidirectional"], **row["dropout"],
    )  # fmt: skip
    optimizer = Optimizer(
        kind=row["kind"], learning_rate=0.02, weight_decay=0.1, schedule=row["schedule"],
        **row["clips"],
    )  # fmt: skip
    theta = rng.normal(size=structure.layout().size) / np.sqrt(structure.hidden + 2)
    states = len(structure.equations.states)
    state = rng.normal(size=(structure.recurrences, states, B, structure.hidden))
    lengths = lengths_of((count, B), T, rng) if row["lengths"] else np.full((count, B), T)
    x = inputs_of(structure, (count, B, T), row["one_hot"], rng)
    if not row["one_hot"]:
        x = x.astype(dtype)
    return Case(
        structure, optimizer, theta.astype(dtype), x, targets_of(structure, (count, B, T), rng),
        lengths, np.arange(count) % 3 == 1, state.astype(dtype) if row["carried"] else None,
        weights_of(structure, (count, B, T), rng) if row["weights"] else None, seed,
    )  # fmt: skip


def some(rows: list[Options], count: int, largest: int) -> list[Options]:
    """With the compiler off, where kernels are slow, a few rows of small networks."""
    if not COMPILER_OFF:
        return rows
    return [row | {"H": min(row["H"], largest), "T": min(row["T"], 2)} for row in rows[:count]]


def assert_same_gradient(one: Gradient, two: Gradient, **close: float) -> None:
    np.testing.assert_allclose(two.loss, one.loss, **close)
    np.testing.assert_allclose(two.flat, one.flat, **close)
    assert (one.x is None) == (two.x is None)
    if one.x is not None:
        np.testing.assert_allclose(two.x, one.x, **close)
    np.testing.assert_allclose(two.state, one.state, **close)
    np.testing.assert_allclose(two.final_state, one.final_state, **close)


def assert_same_pass(reference: Engine, compiled: Engine, case: Case) -> None:
    """Outputs within the sequences, final states, loss and all gradients."""
    one, two = (engine.forward(case.theta, case.batch) for engine in (reference, compiled))
    counted = np.ones(one.p.shape[:-1], np.bool_)
    if case.structure.readout == "steps":
        counted = np.arange(case.x.shape[2]) < case.lengths[0][:, None]
    np.testing.assert_allclose(two.p[counted], one.p[counted], **CLOSE)
    np.testing.assert_allclose(two.o[counted], one.o[counted], **CLOSE)
    np.testing.assert_allclose(two.state, one.state, **CLOSE)
    found = [
        engine.gradient(case.theta, case.batch, inputs=True) for engine in (reference, compiled)
    ]
    assert_same_gradient(found[0], found[1], **CLOSE)


def learner_of(case: Case, theta: NDArray[Any] | None = None) -> Learner:
    """A learner at the case's weights, or at others; it carries a state where that can be."""
    theta = case.theta if theta is None else theta
    carried = case.state is not None and not case.structure.bidirectional
    state = case.state.copy() if carried and case.state is not None else None
    zeros = np.zeros_like(theta)
    return Learner(theta.copy(), zeros.copy(), zeros, state, seed=case.seed)


def train(
    engine: Engine, case: Case, calls: Sequence[int] = (), learner: Learner | None = None
) -> tuple[Learner, Chunk]:
    """The case's iterations, in one call or in calls of those sizes; what they leave behind."""
    learner = learner_of(case) if learner is None else learner
    chunks, done = [], 0
    for count in calls or (len(case.x),):
        part = case.data[done : done + count]
        chunks.append(engine.train(case.optimizer, learner, part))
        done += count
    assert done == len(case.x)
    return learner, joined(chunks)


def data_of(models: Sequence[Case]) -> Batch:
    """The data of several models of one structure, side by side."""
    x, y, lengths, reset = (
        np.stack([getattr(case, name) for case in models])
        for name in ("x", "y", "lengths", "reset")
    )
    weights = [case.weights for case in models if case.weights is not None]
    stacked = np.stack(weights) if weights else None
    return Batch(models[0].structure, x, y, lengths, reset=reset, axes=2, weights=stacked)


def joined(chunks: list[Chunk]) -> Chunk:
    """What several calls left behind, as of one."""
    fields = ("loss", "wrong", "exact", "norm")
    return Chunk(*(np.concatenate([getattr(c, f) for c in chunks]) for f in fields))


def assert_same_training(
    one: tuple[Learner, Chunk], two: tuple[Learner, Chunk], **close: float
) -> None:
    """Weights, optimizer and carried state, and what is told of each iteration. Equal bits if no
    tolerance is given."""
    close = {"rtol": 0.0, "atol": 0.0, **close}
    assert two[0].iteration == one[0].iteration
    for name in ("theta", "s0", "s1"):
        np.testing.assert_allclose(getattr(two[0], name), getattr(one[0], name), **close)
    assert (one[0].state is None) == (two[0].state is None)
    if one[0].state is not None and two[0].state is not None:
        np.testing.assert_allclose(two[0].state, one[0].state, **close)
    np.testing.assert_allclose(two[1].loss, one[1].loss, **close)
    np.testing.assert_allclose(two[1].norm, one[1].norm, **close)
    np.testing.assert_array_equal(two[1].wrong, one[1].wrong)
    np.testing.assert_array_equal(two[1].exact, one[1].exact)
