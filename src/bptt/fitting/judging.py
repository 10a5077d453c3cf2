"""How good a network is on sequences: loss, score, and the baseline to set beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.outputs import softmax_cross_entropy
from bptt.network.network import Network
from bptt.sequences import Scaling, Sequences
from bptt.sequences.epochs import Epochs

# Sequences that are walked at a time.
TOGETHER = 256


@dataclass(frozen=True)
class Score:
    """What came of a test. loss: the mean over the weights. value: the share of right answers
    ('accuracy'), or the root mean squared error in the units of the data ('rmse'). baseline: the
    same of who always says the most frequent class, or the mean, of the training. total: how many
    answers counted."""

    name: str
    value: float
    baseline: float
    loss: float
    total: int

    def __str__(self) -> str:
        rule = "the most frequent class" if self.name == "accuracy" else "the mean"
        if self.name == "accuracy":
            return f"{self.value:.1%} of {self.total:,} right ({rule} alone: {self.baseline:.1%})"
        return (
            f"root mean squared error {self.value:.4g} on {self.total:,} numbers "
            f"({rule} alone: {self.baseline:.4g})"
        )


@dataclass
class Sums:
    """Weighted sums over answers."""

    weight: float = 0.0
    loss: float = 0.0
    score: float = 0.0
    baseline: float = 0.0
    total: int = 0


def outputs(
    network: Network, sequences: Sequences, scaling: Scaling
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
    """The output preactivations o of all sequences, some at a time: which, and (B, T, O) or
    (B, O). The longest first, so that little is padding."""
    order = np.argsort(-sequences.lengths, kind="stable")
    for first in range(0, len(order), TOGETHER):
        places = order[first : first + TOGETHER]
        padded = sequences.padded(places, scaling, network.structure.dtype)
        yield places, network.forward(padded.x, padded.lengths).o


@np.errstate(all="ignore")  # what overflows is a result: not the best
def judged(network: Network, epochs: Epochs, scaling: Scaling, baseline: Any) -> Score:
    """A test on all sequences of `epochs`, not shuffled. baseline: the class number, or the scaled
    numbers, always said. Raises BpttError if nothing counts."""
    classes, sums = network.structure.head.classes, Sums()
    deviation = np.asarray(scaling.target_deviation or (1.0,))
    epochs.restore({"epoch": 0, "done": 0})
    for _ in range(epochs.batches):
        some = epochs.draw(1)
        x, y, w = some.x[0], some.y[0], some.weights[0].astype(np.float64)
        o = network.forward(x, some.lengths[0]).o
        if classes:
            _, losses, _ = softmax_cross_entropy(o, y)
            score, base = o.argmax(axis=-1) == y, y == baseline
        else:
            _, losses, _ = network.structure.head.equation(o, y)
            losses = losses.sum(axis=-1)
            score = (((o - y) * deviation) ** 2).mean(axis=-1)
            base = (((baseline - y) * deviation) ** 2).mean(axis=-1)
        counted = w > 0
        sums.weight += float(w.sum())
        sums.total += int(counted.sum())
        for name, values in (("loss", losses), ("score", score), ("baseline", base)):
            total = float((np.where(counted, values, 0) * w).sum(dtype=np.float64))
            setattr(sums, name, getattr(sums, name) + total)
    whole = max(sums.weight, np.finfo(np.float64).tiny)
    score, base = sums.score / whole, sums.baseline / whole
    if classes:
        return Score("accuracy", score, base, sums.loss / whole, sums.total)
    return Score("rmse", float(np.sqrt(score)), float(np.sqrt(base)), sums.loss / whole, sums.total)


def baseline_of(sequences: Sequences) -> Any:
    """What the baseline always says: the most frequent class number, or the mean, which is 0 after
    scaling."""
    target = sequences.target
    assert target is not None
    if target.kind != "classes":
        return 0.0
    weights, counts = np.zeros(len(target.classes)), sequences.padded()
    assert counts.y is not None
    assert counts.weights is not None
    np.add.at(weights, counts.y.ravel(), counts.weights.ravel())
    return int(weights.argmax())
