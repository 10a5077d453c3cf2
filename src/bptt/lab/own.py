"""The user's own sequences as a task of the lab: drawn at random, and judged on those held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import flag, text, whole
from bptt.errors import BpttError
from bptt.lab.views import MOST_STEPS
from bptt.network.network import Network
from bptt.sequences import Scaling, Sequences
from bptt.sequences.splits import split
from bptt.tasks.batches import Samples
from bptt.tasks.task import Task, Verdict, Watched

# The share that is held out, by the same draw at every seed: seeds are then compared on the same.
HELD = 0.2
MOST_ROWS = 12  # channels that stand above the stage


@dataclass(frozen=True)
class Errors(Verdict):
    """The root mean squared error of numbers, beside that of who always says the mean."""

    error: float = 0.0
    baseline: float = 0.0

    def __str__(self) -> str:
        return (
            f"root mean squared error {self.error:.4g} on {self.total:,} held-out {self.what} "
            f"(the mean alone: {self.baseline:.4g})"
        )


class OwnData(Task, frozen=True):
    """A file of sequences as a task; `of` makes it of data that have been read.

    train, held: the sequences, with targets. scaling: of `train`.
    """

    train: Any
    held: Any
    scaling: Any
    longest: int

    name = "data"
    preset: ClassVar[Mapping[str, Any]] = {
        "cell": "gru", "hidden": 16, "reduction": "mean", "optimizer": "adam",
        "learning_rate": 0.01, "clip_norm": 1.0, "batch": 16, "iterations": 3000,
    }  # fmt: skip

    @classmethod
    def of(cls, data: Sequences) -> Self:
        """Raises BpttError for data that the lab cannot show: without a target, with a missing one
        or with weights, and with a target for sequences that are too long."""
        target = data.target
        if target is None:
            raise BpttError(
                "the data have no target: name its column with --target, or give a file of targets"
            )
        if data.parts.weights is not None or data.parts.step_weights is not None:
            raise BpttError("in the lab all sequences count alike: leave out --weight")
        if target.per == "sequence":
            data = data[~target.missing()]
            if not len(data):
                raise BpttError("no sequence has a target: nothing can be learned")
        elif target.missing().any():
            raise BpttError(
                f"{int(target.missing().sum())} steps have no target: fill them, or use "
                "'bptt train', where they do not count"
            )
        longest = int(data.lengths.max())
        if longest > MOST_STEPS:
            if target.per == "sequence":
                raise BpttError(
                    f"a sequence of {longest:,} steps: the lab shows at most {MOST_STEPS}; take "
                    "every n-th step, or use 'bptt train'"
                )
            data, longest = data.windows(MOST_STEPS), MOST_STEPS
        train, held = split(data, HELD, 0)
        return cls(train, held, train.scaling(), longest)

    @property
    def schema(self) -> Any:
        """What the data hold."""
        return self.train.schema

    @property
    def inputs(self) -> int:
        """See `Task.inputs`."""
        return len(self.schema.channels)

    @property
    def outputs(self) -> int:
        """See `Task.outputs`."""
        found: int = self.train.target.outputs
        return found

    @property
    def classes(self) -> bool:  # type: ignore[override]
        """See `Task`."""
        return bool(self.schema.kind == "classes")

    @property
    def steps(self) -> int:
        """See `Task.steps`."""
        return self.longest

    @property
    def readout(self) -> str:
        """See `Task.readout`."""
        return "last" if self.schema.per == "sequence" else "steps"

    @property
    def output(self) -> str:
        """See `Task.output`."""
        return "softmax" if self.classes else "linear"

    @property
    def test_steps(self) -> int:
        """See `Task.test_steps`."""
        return int(self.held.lengths.sum())

    def config(self, data: bool = True) -> dict[str, Any]:
        """See `Task.config`: what the data are, not the data."""
        return {"task": self.name, "sequences": len(self.train) + len(self.held)}

    def describe(self) -> str:
        """See `Task.describe`."""
        sequences = len(self.train) + len(self.held)
        return f"{', '.join(self.schema.target)} of {sequences:,} sequences of one's own"

    def samples(self, rng: np.random.Generator, count: int) -> Samples:
        """See `Task.samples`: sequences to train on, each as likely as every other."""
        return self._padded(self.train, rng.integers(0, len(self.train), count))

    def _padded(self, sequences: Sequences, some: NDArray[Any]) -> Samples:
        """Sequences side by side, scaled, padded to the longest of all."""
        scaling: Scaling = self.scaling
        found = sequences.padded(some, scaling)
        more = self.longest - found.x.shape[1]
        x = np.pad(found.x, ((0, 0), (0, more), (0, 0)))
        assert found.y is not None
        y = found.y
        if self.readout == "steps":
            y = np.pad(y, ((0, 0), (0, more), *((0, 0),) * (y.ndim - 2)))
        return Samples(x, y, found.lengths)

    def test(self, network: Network, give_up: bool = False) -> Verdict:
        """See `Task.test`: on what was held out."""
        self.check_network(network)
        flag("give_up", give_up)
        drawn = self._padded(self.held, np.arange(len(self.held)))
        o, y = network.forward(drawn.x, drawn.lengths).o, np.asarray(drawn.y)
        there = np.ones(len(y), np.bool_)
        if self.readout == "steps":
            assert drawn.lengths is not None
            there = np.arange(self.longest) < drawn.lengths[:, None]
        what = "sequences" if self.readout == "last" else "steps"
        if self.classes:
            right = (o.argmax(axis=-1) == y)[there]
            return Verdict(int(right.sum()), right.size, f"held-out {what}")
        deviation = np.asarray(self.scaling.target_deviation)
        sizes = [float(np.sqrt((each[there] ** 2).mean())) for each in
                 ((o - y) * deviation, y * deviation)]  # fmt: skip
        return Errors(0, int(there.sum()) * self.outputs, "numbers", *sizes)

    def watch(self, words: str = "") -> Watched:
        """See `Task.watch`: the number of a sequence that was held out."""
        number = text("words", words).strip() or "0"
        if not (number.isascii() and number.isdigit() and int(number[:9]) < len(self.held)):
            raise BpttError(
                f"input '{words:.40}' must be the number of a held-out sequence, from 0 to "
                f"{len(self.held) - 1}"
            )
        place = whole("words", int(number), 0)
        drawn = self._padded(self.held, np.array([place]))
        assert drawn.lengths is not None
        steps = int(drawn.lengths[0])
        x, y = drawn.x[:, :steps], drawn.y[:, :steps] if self.readout == "steps" else drawn.y
        plain = x[0] * np.asarray(self.scaling.deviation) + np.asarray(self.scaling.mean)
        rows = [
            (name, [f"{value:.3g}" for value in plain[:, n]])
            for n, name in enumerate(self.schema.channels[:MOST_ROWS])
        ]
        target = self.schema.target
        if self.classes:
            names = [str(each) for each in self.schema.classes]
            rows.append((target[0], [names[int(each)] for each in np.atleast_1d(y[0])]))
            units = None
        else:
            names, units = [], (self.scaling.target_mean, self.scaling.target_deviation)
            told = self.scaling.undone(np.atleast_2d(y[0]))
            rows += [(name, [f"{v:.3g}" for v in told[:, n]]) for n, name in enumerate(target)]
        return Watched(x, y, f"held-out sequence {place}", rows, names, units)
