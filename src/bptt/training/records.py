"""What training leaves behind: records, and where a run's numbers stopped being finite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.network.engines import Chunk
from bptt.network.structure import Structure
from bptt.training.settings import Stop

SMOOTHING = 0.999


@dataclass(frozen=True)
class Record:
    """What happened since the last record.

    iteration: how many have been done. loss: mean of the iterations' losses, in the network's
    reduction. loss_per_step: mean loss of one counted step, in nats (or squared units). wrong:
    share of wrong outputs; exact: share of sequences without one. gradient_norm: mean, before
    clipping. smooth_loss: see `bptt.training.settings.Stop`. seconds: time in training
    so far.
    """

    iteration: int
    loss: float
    loss_per_step: float
    wrong: float
    exact: float
    gradient_norm: float
    smooth_loss: float
    seconds: float


@dataclass(frozen=True)
class Divergence:
    """Where a run's numbers stopped being finite. The weights kept are those before it."""

    iteration: int
    what: str

    def __str__(self) -> str:
        return f"diverged at iteration {self.iteration}: {self.what}"

    @classmethod
    def from_text(cls, text: str) -> "Divergence | None":
        """What `str` made of one, read back; None for any other text."""
        match = re.fullmatch(r"diverged at iteration (\d+): (.*)", text)
        return cls(int(match[1]), match[2]) if match else None


@dataclass
class Pending:
    """Per-iteration results since the last record."""

    loss: list[float] = field(default_factory=list)
    wrong: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def add(self, chunk: Chunk, steps: NDArray[np.integer]) -> None:
        """Append the iterations of a chunk."""
        for mine, new in (
            (self.loss, chunk.loss),
            (self.wrong, chunk.wrong),
            (self.exact, chunk.exact),
            (self.norm, chunk.norm),
            (self.steps, steps),
        ):
            mine.extend(new.tolist())

    def numbers(self) -> NDArray[np.float64]:
        """As `summarise` takes them: (5, 1, N)."""
        rows = (self.loss, self.wrong, self.exact, self.norm, self.steps)
        return np.array(rows, np.float64)[:, None]


def counted_steps(structure: Structure, shape: Sequence[int], lengths: Any) -> NDArray[np.int64]:
    """How many steps of each iteration count in the loss; shape (..., N, B, T), the result
    (..., N); lengths (..., N, B) or None."""
    *lead, samples, steps = shape
    if structure.readout == "last":
        return np.full(lead, samples)
    if lengths is None:
        return np.full(lead, samples * steps)
    counted: NDArray[np.int64] = lengths.sum(axis=-1)
    return counted


def summarise(
    structure: Structure, batch: int, numbers: NDArray[np.float64], smooth: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The records of M runs of one structure, a column of (M,) for each field of `Record` that
    follows from the iterations.

    numbers (5, M, N): loss, wrong outputs, exact samples, gradient norm and counted steps of the N
    iterations since the last record; smooth (M,): the smoothed loss before them. A run's record
    does not depend on its neighbours: every sum is over a row by itself.
    """
    loss, wrong, exact, norm, steps = numbers  # (M, N) each
    count = loss.shape[1]
    outputs = 1 if structure.head.classes else structure.outputs
    total, counted = loss.sum(axis=1), steps.sum(axis=1)
    weight = {
        "sum": counted, "sequence": counted / batch, "mean": np.float64(count)
    }[structure.reduction]  # fmt: skip
    # s = 0.999 s + 0.001 loss, N times over.
    decay = SMOOTHING ** np.arange(count, -1.0, -1.0)  # (N + 1,)
    smoothed = decay[0] * smooth + (1 - SMOOTHING) * (loss * decay[1:]).sum(axis=1)
    return {
        "loss": total / count,
        "loss_per_step": total / weight,
        "wrong": wrong.sum(axis=1) / (counted * outputs),
        "exact": exact.sum(axis=1) / (count * batch),
        "gradient_norm": norm.sum(axis=1) / count,
        "smooth_loss": smoothed,
    }


def reached(stop: Stop, record: Record) -> str:
    """Which of the limits that a record alone can tell of has been reached; '' if none."""
    if stop.loss is not None and record.loss <= stop.loss:
        return "loss"
    if stop.smooth_loss is not None and record.smooth_loss < stop.smooth_loss:
        return "smooth loss"
    if stop.accuracy is not None and record.exact >= stop.accuracy:
        return "accuracy"
    if stop.wrong is not None and record.wrong <= stop.wrong:
        return "wrong"
    if stop.seconds is not None and record.seconds >= stop.seconds:
        return "time"
    return ""
