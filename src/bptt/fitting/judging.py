"""How good a network is on sequences: loss, score, and the baseline to set beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.outputs import Output, softmax_cross_entropy
from bptt.fitting.plan import Plan
from bptt.network.network import Network
from bptt.sequences import Scaling, Sequences
from bptt.sequences.epochs import Epochs
from bptt.sequences.padding import padded

Floats = NDArray[np.float64]
# Sequences that are walked at a time, of the longest so many numbers, and of these so many steps.
TOGETHER, NUMBERS, LONGEST = 256, 2**21, 2**16
# Kernels walk fewer sequences than this in another order of sums. Short ones are filled up: then a
# prediction is the same to the bit alone and beside others, of networks with 8 to 64 units. A long
# one is rather walked fast.
ALONE, SHORT = 6, 1024
WORDS = {
    "accuracy": ("right", "the most frequent class"),
    "rmse": ("root mean squared error", "the mean"),
    "mae": ("mean absolute error", "the median"),
    "pinball": ("pinball loss", "the quantiles of the training"),
}


@dataclass(frozen=True)
class Score:
    """What came of a test. loss: the mean over the weights. value: the share of right answers
    ('accuracy'), or in the units of the data the root mean squared error ('rmse'), the mean
    absolute one ('mae', where that was trained) or the mean pinball loss ('pinball'). baseline: the
    same of who always says the most frequent class, or the mean, the median, the quantiles of the
    training. total: how many answers counted."""

    name: str
    value: float
    baseline: float
    loss: float
    total: int

    @property
    def rule(self) -> str:
        """What the baseline always says."""
        return WORDS[self.name][1]

    def __str__(self) -> str:
        what, rule = WORDS[self.name]
        if self.name == "accuracy":
            return f"{self.value:.1%} of {self.total:,} {what} ({rule} alone: {self.baseline:.1%})"
        return (
            f"{what} {self.value:.4g} on {self.total:,} numbers ({rule} alone: {self.baseline:.4g})"
        )


@dataclass
class Sums:
    """Weighted sums over answers."""

    weight: float = 0.0
    loss: float = 0.0
    score: float = 0.0
    baseline: float = 0.0
    total: int = 0


def walked_together(sequences: Sequences, channels: int) -> tuple[int, int]:
    """How many sequences are walked at a time, and in windows of how many steps (0: whole)."""
    longest = int(sequences.lengths.max())
    window = LONGEST if longest > LONGEST else 0
    count = max(1, min(TOGETHER, NUMBERS // (min(longest, LONGEST) * channels)))
    return count, window


def for_judging(sequences: Sequences, scaling: Scaling, dtype: str, warm_up: int) -> Epochs:
    """The sequences in turn, as `judged` takes them."""
    count, window = walked_together(sequences, len(scaling.mean))
    return Epochs(
        sequences, count, 0, scaling, dtype, shuffle=False, window=window, warm_up=warm_up
    )


def outputs(
    network: Network, sequences: Sequences, scaling: Scaling
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
    """The output preactivations o of all sequences, some at a time: which, and (B, T, O) or
    (B, O). The longest first, so that little is padding."""
    order = np.argsort(-sequences.lengths, kind="stable")
    count, window = walked_together(sequences, network.structure.inputs)
    for begin in range(0, len(order), count):
        some = order[begin : begin + count]
        state, parts, longest = None, [], int(sequences.lengths[some].max())
        own = len(some)
        if own < ALONE and longest <= SHORT:
            some = np.resize(some, ALONE)
        for first in range(0, longest, window or longest):
            x = padded(
                sequences.parts, some, scaling, network.structure.dtype, first, window or None
            )
            walked = network.forward(x.x, x.lengths, state)
            state = walked.state
            parts.append(walked.o)
        last = len(parts) == 1 or network.structure.readout == "last"
        yield some[:own], (parts[-1] if last else np.concatenate(parts, axis=1))[:own]


def wanted(y: Any, head: Output, levels: int) -> Any:
    """Targets as the outputs are: numbers once for each quantile."""
    return y if head.classes or levels == 1 else np.repeat(y, levels, axis=-1)


@np.errstate(all="ignore")  # what overflows is a result: not the best
def judged(
    network: Network, epochs: Epochs, scaling: Scaling, baseline: Any, levels: int = 1
) -> Score:
    """A test on all sequences of `epochs`, not shuffled. baseline: see `baseline_of`. levels: how
    many quantiles of each number are learned. Where nothing counts, all is 0."""
    sums, head, state = Sums(), network.structure.head, None
    name = score_of(head)
    baseline = np.asarray(baseline)
    epochs.restore({"epoch": 0, "done": 0})
    for _ in range(epochs.batches):
        some = epochs.draw(1)
        y, w = wanted(some.y[0], head, levels), some.weights[0].astype(np.float64)
        walked = network.forward(some.x[0], some.lengths[0], None if some.reset[0] else state)
        state = walked.state
        counted = w > 0
        sums.weight += float(w.sum())
        sums.total += int(counted.sum())
        for field, values in _judged(name, head, walked.o, y, baseline, scaling).items():
            total = float((np.where(counted, values, 0) * w).sum(dtype=np.float64))
            setattr(sums, field, getattr(sums, field) + total)
    whole = max(sums.weight, np.finfo(np.float64).tiny)
    score, base = sums.score / whole, sums.baseline / whole
    if name == "rmse":
        score, base = float(np.sqrt(score)), float(np.sqrt(base))
    return Score(name, score, base, sums.loss / whole, sums.total)


def score_of(head: Output) -> str:
    """What a network with this output is judged by, see `Score`."""
    if head.classes:
        return "accuracy"
    return {"absolute": "mae", "pinball": "pinball"}.get(head.loss, "rmse")


def _judged(
    name: str, head: Output, o: Any, y: Any, baseline: Any, scaling: Scaling
) -> dict[str, Any]:
    """Of each answer its loss, its score, and the baseline's."""
    if name == "accuracy":
        _, losses, _ = softmax_cross_entropy(o, y)
        return {"loss": losses, "score": o.argmax(axis=-1) == y, "baseline": y == baseline}
    deviation = np.repeat(scaling.target_deviation, o.shape[-1] // len(scaling.target_deviation))
    _, losses, _ = head.equation(o, y)
    found = {"loss": losses.sum(axis=-1)}
    for field, said in (("score", o), ("baseline", np.broadcast_to(baseline, o.shape))):
        if name == "pinball":
            each = head.equation(said.astype(o.dtype), y)[1] * deviation
        else:
            error = np.abs(said - y) * deviation
            each = error if name == "mae" else error**2
        found[field] = each.mean(axis=-1)
    return found


def baseline_of(sequences: Sequences, scaling: Scaling, plan: Plan) -> Any:
    """What the baseline always says: the most frequent class number; or scaled numbers, one an
    output: the mean, which is 0, with absolute error the median, or the quantiles."""
    target = sequences.target
    assert target is not None
    if target.kind != "classes":
        if plan.loss not in ("absolute", "pinball"):
            return 0.0
        y = scaling.targets(_answers(sequences).astype(np.float64) * target.unit)
        found = np.nanquantile(y, plan.levels, axis=0)  # (Q, O)
        return [float(each) for each in found.T.ravel()]
    weights = np.zeros(len(target.classes))
    codes, counts = _answers(sequences), _weights(sequences)
    known = codes >= 0
    np.add.at(weights, codes[known], counts[known])
    return int(weights.argmax())


def _rows_of(sequences: Sequences) -> NDArray[np.intp]:
    """The rows of all steps, sequence after sequence."""
    parts = sequences.parts
    ends = np.cumsum(parts.lengths)
    within = np.arange(int(ends[-1])) - np.repeat(ends - parts.lengths, parts.lengths)
    found: NDArray[np.intp] = np.repeat(parts.starts, parts.lengths) + within
    return found


def _answers(sequences: Sequences) -> NDArray[Any]:
    """The target's values of all sequences, or of all their steps, in turn."""
    target = sequences.target
    assert target is not None
    return target.values if target.per == "sequence" else target.values[_rows_of(sequences)]


def _weights(sequences: Sequences) -> Floats:
    """What each of these counts."""
    parts, target = sequences.parts, sequences.target
    assert target is not None
    each = np.ones(len(sequences)) if parts.weights is None else parts.weights
    if target.per == "sequence":
        return each
    steps: Floats = np.repeat(each, parts.lengths)
    return steps if parts.step_weights is None else steps * parts.step_weights[_rows_of(sequences)]


def balanced(sequences: Sequences) -> Sequences:
    """The same with weights such that all classes count alike, and together as much as before.
    Raises BpttError where numbers are learned."""
    from dataclasses import replace

    from bptt.errors import BpttError

    target, parts = sequences.target, sequences.parts
    assert target is not None
    if target.kind != "classes":
        raise BpttError("class_weight goes with classes, but numbers are learned: leave it out")
    codes, counts = _answers(sequences), _weights(sequences)
    known, each = codes >= 0, np.zeros(len(target.classes))
    np.add.at(each, codes[known], counts[known])
    there = each > 0
    factor = np.where(there, each.sum() / (there.sum() * np.where(there, each, 1)), 0.0)
    if target.per == "sequence":
        return Sequences.of(replace(parts, weights=counts * factor[np.maximum(codes, 0)]))
    steps = np.ones(len(parts.rows)) if parts.step_weights is None else parts.step_weights
    return Sequences.of(replace(parts, step_weights=steps * factor[np.maximum(target.values, 0)]))
