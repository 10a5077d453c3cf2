"""Batches of sequences, and streams of them: what training reads of a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import integers, one_of, reals, whole
from bptt.errors import BpttError
from bptt.network.structure import DTYPES

# How many samples `SampleStream` draws at a time, at least.
DRAWN_AHEAD = 512


@dataclass(frozen=True)
class Batches:
    """The data of N iterations.

    x: (N, B, T, D) values, or (N, B, T) integers for one-hot inputs. y: (N, B, T, O) values, or
    (N, B, T) class numbers. lengths: (N, B), or None where every sequence has T steps. reset:
    (N,), True where the state carried from the iteration before must be set back; None where no
    state is carried and every iteration starts afresh.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    lengths: NDArray[np.intp] | None = None
    reset: NDArray[np.bool_] | None = None

    def __getitem__(self, place: int | slice) -> "Batches":
        """Some of the iterations, by a slice; or, by a number, the data of one of the models that
        `Stream.draw_many` has put together."""
        lengths, reset = self.lengths, self.reset
        return Batches(
            self.x[place],
            self.y[place],
            None if lengths is None else lengths[place],
            None if reset is None else reset[place],
        )


def stacked(batches: Sequence[Batches]) -> Batches:
    """The batches of M models of equal shapes as one: every array has a new first axis M."""
    lengths = [batch.lengths for batch in batches if batch.lengths is not None]
    resets = [batch.reset for batch in batches if batch.reset is not None]
    return Batches(
        np.stack([batch.x for batch in batches]),
        np.stack([batch.y for batch in batches]),
        np.stack(lengths) if lengths else None,
        np.stack(resets) if resets else None,
    )


def joined(batches: Sequence[Batches]) -> Batches:
    """Batches that follow each other as one."""
    lengths = [batch.lengths for batch in batches if batch.lengths is not None]
    resets = [batch.reset for batch in batches if batch.reset is not None]
    return Batches(
        np.concatenate([batch.x for batch in batches]),
        np.concatenate([batch.y for batch in batches]),
        np.concatenate(lengths) if lengths else None,
        np.concatenate(resets) if resets else None,
    )


class Samples(NamedTuple):
    """B sequences with their answers: x and y as in `Batches`, without its first axis; lengths
    (B,), or None where every sequence has T steps."""

    x: NDArray[Any]
    y: NDArray[Any]
    lengths: NDArray[np.intp] | None = None


class Stream(Protocol):
    """A place in a task's endless data. The data of iteration k depend on the seed and k alone,
    not on how many iterations are drawn at once."""

    def draw(self, iterations: int) -> Batches:
        """The next iterations' data."""

    @staticmethod
    def draw_many(streams: Sequence[Any], iterations: int) -> Batches:
        """The next iterations of M streams of this kind whose batches have equal shapes: every
        array has a first axis M, and each stream's data are those that `draw` gives."""

    def state(self) -> dict[str, Any]:
        """Where the stream stands, as plain values that JSON can hold (integers of any size)."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken, on a stream of the same task, seed and batch.

        Raises BpttError for a state that cannot be one.
        """


class SampleStream:
    """The stream of a task that makes samples: see `Stream`.

    Samples are drawn for several iterations at a time, each time with a generator of its own, so
    that where the stream stands is a number.
    """

    def __init__(self, task: Any, seed: int, batch: int, dtype: str) -> None:
        """As `Task.stream`."""
        self.task, self.dtype = task, one_of("dtype", dtype, DTYPES)
        self.batch, self.seed = whole("batch", batch, 1), whole("seed", seed, 0)
        self.iteration = 0
        self._together = max(1, DRAWN_AHEAD // batch)
        self._block, self._drawn = -1, Batches(np.empty(0), np.empty(0))

    def draw(self, iterations: int) -> Batches:
        """See `Stream.draw`."""
        parts, end = [], self.iteration + iterations
        while self.iteration < end:
            block, first = divmod(self.iteration, self._together)
            if block != self._block:
                self._drawn, self._block = self._make(block), block
            last = min(self._together, first + end - self.iteration)
            parts.append(self._drawn[first:last])
            self.iteration += last - first
        return parts[0] if len(parts) == 1 else joined(parts)

    def _make(self, block: int) -> Batches:
        """The iterations of that block."""
        count = self._together * self.batch
        rng = np.random.default_rng([self.seed, block])
        x, y, lengths = self._checked(Samples(*self.task.samples(rng, count)), count)
        shape = (self._together, self.batch)
        return Batches(
            x.reshape(*shape, *x.shape[1:]), y.reshape(*shape, *y.shape[1:]),
            None if lengths is None else lengths.reshape(shape),
        )  # fmt: skip

    def _checked(self, drawn: Samples, count: int) -> Samples:
        """The samples in the types that engines take. Raises BpttError, naming what is wrong."""
        task = self.task
        x = integers("x", drawn.x) if task.one_hot else reals("x", drawn.x, self.dtype)
        y = integers("y", drawn.y) if task.classes else reals("y", drawn.y, self.dtype)
        rows = (count, task.steps)
        answers = rows if task.readout == "steps" else rows[:1]
        for name, array, needed in (
            ("x", x, rows if task.one_hot else (*rows, task.inputs)),
            ("y", y, answers if task.classes else (*answers, task.outputs)),
        ):
            if array.shape != needed:
                raise BpttError(
                    f"the samples of the task '{task.name}' have {name} of shape {array.shape}: "
                    f"{needed} is needed"
                )
        if drawn.lengths is None:
            return Samples(x, y)
        lengths = integers("lengths", drawn.lengths)
        if lengths.shape != (count,) or lengths.min() < 1 or lengths.max() > task.steps:
            raise BpttError(
                f"the samples of the task '{task.name}' have lengths {lengths!r:.60}: {count} "
                f"integers from 1 to {task.steps} are needed"
            )
        return Samples(x, y, lengths.astype(np.intp))

    @staticmethod
    def draw_many(streams: Sequence[Any], iterations: int) -> Batches:
        """See `Stream.draw_many`."""
        return stacked([stream.draw(iterations) for stream in streams])

    def state(self) -> dict[str, Any]:
        """See `Stream.state`."""
        return {"iteration": self.iteration}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Stream.restore`."""
        try:
            iteration = index(state["iteration"])
        except (KeyError, TypeError) as error:
            raise BpttError(f"the state of the data stream cannot be read: {error!r}") from None
        if iteration < 0:
            raise BpttError(f"the data stream cannot stand at iteration {iteration}")
        self.iteration = iteration
