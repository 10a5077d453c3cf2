"""What is said of predictions beside the truth: shares and errors, per class and per sequence."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.fitting.judging import Score
from bptt.fitting.model import Model
from bptt.sequences import Sequences

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Report:
    """A test in full.

    score: see `Score`. values: accuracy, balanced accuracy (the mean over classes of the share of
    each found) and F1 (the mean over classes of the harmonic mean of precision and recall), or
    mae, rmse and r2 (1 less the squared error by that of the mean of the test). classes, confusion:
    (K, K), how often class k was taken for class l, weights not counted. each: of each sequence its
    share of right answers, or its mean squared error. truth, said: numbers (N, O), of all that
    counted; of quantiles the middle one.
    """

    score: Score
    values: dict[str, float]
    each: Floats
    classes: tuple[Any, ...] = ()
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    truth: Floats = field(default_factory=lambda: np.empty((0, 0)))
    said: Floats = field(default_factory=lambda: np.empty((0, 0)))


def report(model: Model, data: Sequences) -> Report:
    """Test a model on sequences with answers. Raises BpttError as `Model.test`, and where no answer
    is known."""
    score = model.test(data)
    if not score.total:
        raise BpttError("no target is known and counts: a test needs answers")
    sequences = model.as_trained(data)
    said, truth = model.predict(sequences), sequences.y
    if model.schema.per == "sequence":
        said, truth = [np.array([each]) for each in said], [np.array([each]) for each in truth]
    cut = model.warm_up if model.schema.per == "step" else 0
    pairs = [(p[cut:], y[cut:]) for p, y in zip(said, truth, strict=True)]
    return (_classes if model.schema.kind == "classes" else _numbers)(model, score, pairs)


def _classes(model: Model, score: Score, pairs: list[tuple[Any, Any]]) -> Report:
    classes = model.schema.classes
    places = {name: place for place, name in enumerate(classes)}
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    each = []
    for said, truth in pairs:
        known = [(places[y], places[p]) for p, y in zip(said, truth, strict=True) if y is not None]
        if known:
            rows, columns = np.array(known).T
            np.add.at(confusion, (rows, columns), 1)
            each.append(float((rows == columns).mean()))
    right, real, taken = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    there = real > 0
    recall = right[there] / real[there]
    f1 = 2 * right / np.maximum(real + taken, 1)
    values = {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float(recall.mean()),
        "f1": float(f1[there | (taken > 0)].mean()),
    }
    return Report(score, values, np.array(each), classes, confusion)


def _numbers(model: Model, score: Score, pairs: list[tuple[Any, Any]]) -> Report:
    outputs, middle = len(model.schema.target), len(model.levels) // 2
    all_said, all_truth, each = [], [], []
    for said, truth in pairs:
        if len(model.levels) > 1:
            said = said[..., middle]
        p, y = (np.asarray(v, np.float64).reshape(len(truth), outputs) for v in (said, truth))
        known = ~np.isnan(y).any(axis=1)
        if known.any():
            all_said.append(p[known])
            all_truth.append(y[known])
            each.append(float(((p[known] - y[known]) ** 2).mean()))
    p, y = np.concatenate(all_said), np.concatenate(all_truth)
    error = p - y
    spread = ((y - y.mean(axis=0)) ** 2).sum()
    values = {
        "mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean())),
        "r2": float(1 - (error**2).sum() / spread) if spread > 0 else float("nan"),
    }  # fmt: skip
    return Report(score, values, np.array(each), truth=y, said=p)
