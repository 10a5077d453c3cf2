"""What every task has: the shape of its data, a stream of batches, and a description of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
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

    def filled(self, axes: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """lengths and reset, made where they are None; `axes`: how many axes there are up to B."""
        lead = self.x.shape[:axes]
        lengths, reset = self.lengths, self.reset
        if lengths is None:
            lengths = np.full(lead, self.x.shape[axes], np.intp)
        return lengths, np.ones(lead[:-1], np.bool_) if reset is None else reset

    def __getitem__(self, place: int | slice) -> "Batch":
        """Some of the iterations, by a slice; or, by a number, the data of one of the models that
        `Stream.draw_many` has put together."""
        lengths, reset = self.lengths, self.reset
        return Batch(
            self.x[place],
            self.y[place],
            None if lengths is None else lengths[place],
            None if reset is None else reset[place],
        )


def stacked(batches: Sequence[Batch]) -> Batch:
    """The batches of M models of equal shapes as one: every array has a new first axis M."""
    lengths = [batch.lengths for batch in batches if batch.lengths is not None]
    resets = [batch.reset for batch in batches if batch.reset is not None]
    return Batch(
        np.stack([batch.x for batch in batches]),
        np.stack([batch.y for batch in batches]),
        np.stack(lengths) if lengths else None,
        np.stack(resets) if resets else None,
    )


class Stream(Protocol):
    """A place in a task's endless data. The data of iteration k depend on the seed and k alone,
    not on how many iterations are drawn at once."""

    def draw(self, iterations: int) -> Batch:
        """The next iterations' data."""

    @staticmethod
    def draw_many(streams: Sequence[Any], iterations: int) -> Batch:
        """The next iterations of M streams of this kind whose batches have equal shapes: every
        array has a first axis M, and each stream's data are those that `draw` gives."""

    def state(self) -> dict[str, Any]:
        """Where the stream stands, as plain values that JSON can hold (integers of any size)."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken, on a stream of the same task, seed and batch.

        Raises BpttError for a state that cannot be one.
        """


class Task(Protocol):
    """A task, as training and files see it."""

    @property
    def name(self) -> str:
        """The task's name in configurations, a key of `bptt.tasks.TASKS`."""

    @property
    def inputs(self) -> int:
        """D: how many inputs a step has; for one-hot inputs, how many different ones."""

    @property
    def outputs(self) -> int:
        """O: how many outputs a step has, or how many classes."""

    @property
    def steps(self) -> int:
        """T: how many steps a training sequence has."""

    @property
    def output(self) -> str:
        """The output function that suits the task."""

    @property
    def ids(self) -> bool:
        """Whether x and y are integers (one-hot inputs, classes) instead of values."""

    def stream(self, seed: int, batch: int, dtype: str) -> Stream:
        """The task's data from the beginning, in batches of `batch` samples.

        The same seed and batch give the same data; values have the type `dtype`.
        """

    def config(self) -> dict[str, Any]:
        """What `bptt.tasks.task_from_config` needs to make the task again."""
