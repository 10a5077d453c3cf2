"""What training leaves behind: records, and where a run's numbers stopped being finite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.network.engines import Chunk
from bptt.network.structure import Structure
from bptt.training.settings import Stop

SMOOTHING = 0.999
# Results of iterations are added up by blocks of this many since the last record: then they need no
# more room, however far apart records are, and how iterations are cut into calls changes no number.
BLOCK = 2**14


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
class Totals:
    """What whole blocks of iterations since their last records come to, for M runs of one
    structure.

    count (M,): how many iterations; sums (5, M): of loss, wrong outputs, exact samples, gradient
    norm and counted steps; smooth (M,): the smoothed loss.
    """

    count: NDArray[np.int64]
    sums: NDArray[np.float64]
    smooth: NDArray[np.float64]

    @classmethod
    def begin(cls, smooth: Sequence[float]) -> "Totals":
        """Of no iterations, after records with these smoothed losses."""
        return cls(
            np.zeros(len(smooth), np.int64), np.zeros((5, len(smooth))), np.array(smooth, float)
        )

    def begin_again(self, rows: Any, smooth: float | Sequence[float]) -> None:
        """The runs of these rows begin, or have had a record."""
        self.count[rows], self.sums[:, rows], self.smooth[rows] = 0, 0, smooth

    def add(self, numbers: NDArray[np.float64], rows: Any = slice(None)) -> None:
        """Add a block (5, M, N) of the runs of these rows. A run's sums do not depend on its
        neighbours: each is over a row by itself."""
        loss, count = numbers[0], numbers.shape[2]
        # s = 0.999 s + 0.001 loss, N times over.
        decay = SMOOTHING ** np.arange(count, -1.0, -1.0)  # (N + 1,)
        new = (1 - SMOOTHING) * (loss * decay[1:]).sum(axis=1)
        self.smooth[rows] = decay[0] * self.smooth[rows] + new
        self.sums[:, rows] += numbers.sum(axis=2)
        self.count[rows] += count

    def row(self, row: int) -> "Totals":
        """One run's, as a copy."""
        return Totals(*(each[..., row : row + 1].copy() for each in vars(self).values()))

    def rows(self, rows: Any) -> "Totals":
        """Those of some runs."""
        return Totals(*(each[..., rows] for each in vars(self).values()))


class Pending:
    """The iterations of a run since its last record: what whole blocks come to, and the results
    (5, N) of those after them."""

    def __init__(self, totals: Totals | float, rest: NDArray[np.float64] | None = None) -> None:
        """Of no iterations after a record with that smoothed loss, or of these."""
        self.totals = Totals.begin([totals]) if isinstance(totals, float) else totals
        self.rest = np.empty((5, 0)) if rest is None else rest

    def __len__(self) -> int:
        return int(self.totals.count[0]) + len(self.rest[0])

    def add(self, chunk: Chunk, steps: NDArray[np.integer]) -> None:
        """Add the iterations of a chunk."""
        self.add_numbers(
            np.array([chunk.loss, chunk.wrong, chunk.exact, chunk.norm, steps], np.float64)
        )

    def add_numbers(self, numbers: NDArray[np.float64]) -> None:
        """Add iterations (5, N)."""
        rest = np.concatenate([self.rest, numbers], axis=1)
        while rest.shape[1] >= BLOCK:
            self.totals.add(rest[:, None, :BLOCK])
            rest = rest[:, BLOCK:].copy()
        self.rest = rest

    def whole(self) -> Totals:
        """What all iterations come to; none are pending then."""
        if self.rest.size:
            self.totals.add(self.rest[:, None])
            self.rest = self.rest[:, :0]
        return self.totals


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


def summarise(structure: Structure, batch: int, totals: Totals) -> dict[str, NDArray[np.float64]]:
    """The records of M runs of one structure, a column of (M,) for each field of `Record` that
    follows from the iterations. totals: of all iterations since the records before."""
    count, (loss, wrong, exact, norm, counted) = totals.count, totals.sums
    outputs = 1 if structure.head.classes else structure.outputs
    weight = {
        "sum": counted, "sequence": counted / batch, "mean": count
    }[structure.reduction]  # fmt: skip
    return {
        "loss": loss / count,
        "loss_per_step": loss / weight,
        "wrong": wrong / (counted * outputs),
        "exact": exact / (count * batch),
        "gradient_norm": norm / count,
        "smooth_loss": totals.smooth.copy(),
    }


def reached(stop: Stop, record: Record, since: float = 0.0) -> str:
    """Which of the limits that a record alone can tell of has been reached; '' if none. since: how
    many seconds of training do not count."""
    if stop.loss is not None and record.loss <= stop.loss:
        return "loss"
    if stop.smooth_loss is not None and record.smooth_loss < stop.smooth_loss:
        return "smooth loss"
    if stop.accuracy is not None and record.exact >= stop.accuracy:
        return "accuracy"
    if stop.wrong is not None and record.wrong <= stop.wrong:
        return "wrong"
    if stop.seconds is not None and record.seconds - since >= stop.seconds:
        return "time"
    return ""
