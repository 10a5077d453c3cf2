"""Minibatches of a data set, epoch after epoch, of sequences of like length.

In each epoch every sequence is in one batch. The order is drawn anew: sequences are shuffled, those
of a pool of some batches sorted by length, cut into batches, and the batches shuffled. So little of
a batch is padding, and what stands together changes from epoch to epoch. An epoch's order depends
on the seed and its number alone: a place in it is two integers.

Long sequences are walked in windows: truncated backpropagation through time. Then a batch is given
several times, the next `window` steps of all its sequences each time, and the state is to be
carried from one to the next; `reset` says where a new batch begins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.sequences.padding import flat, padded
from bptt.sequences.parts import Anything
from bptt.sequences.scaling import Scaling
from bptt.sequences.store import Sequences

# Of so many batches sequences are sorted by length.
POOL = 16
NONE = -1  # the place of no sequence
# Batches are padded to one of so many numbers of steps, but to one alone where sequences are short:
# their data can be handed over together, and engines keep what they made for a shape. A call costs
# about as much as so many steps that no sequence of a batch has.
SHAPES, SHORT = 4, 256


@dataclass(frozen=True)
class Minibatches:
    """N minibatches of one shape: x (N, B, T, D), y class numbers (N, B) or (N, B, T), or numbers
    with a last axis O, lengths (N, B), weights (N, B) or (N, B, T). reset (N,): where the state is
    set back, because the minibatch does not go on with the sequences of the one before."""

    x: Anything
    y: Anything
    lengths: NDArray[np.intp]
    weights: NDArray[Any]
    reset: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


class Epochs:
    """A place in the endless row of epochs of a data set.

    sequences: with a target. batch: B; the last batch of an epoch may have fewer. scaling: of
    inputs and targets. shuffle: where False, batches are the sequences in turn (for validation).
    window: of how many steps windows are (0: sequences are given whole). warm_up: so many first
    steps of each sequence do not count.

    Attributes: epoch, from 0; done, how many of its batches have been given; batches, how many an
    epoch has, each window counted.
    """

    def __init__(
        self,
        sequences: Sequences,
        batch: int,
        seed: int,
        scaling: Scaling | None = None,
        dtype: str = "float32",
        shuffle: bool = True,
        window: int = 0,
        warm_up: int = 0,
    ) -> None:
        if sequences.target is None:
            raise BpttError("the sequences have no target: nothing can be learned of them")
        if batch < 1:
            raise BpttError(f"batch {batch} must be at least 1")
        self.sequences, self.batch, self.seed, self.shuffle = sequences, batch, seed, shuffle
        self._scaling, self._dtype = scaling, dtype
        self.window, self.warm_up = window, warm_up
        self.epoch, self.done = 0, 0
        self._longest = int(sequences.lengths.max())
        self._order: tuple[int, list[Any]] = (-1, [])
        self._rows = None if sequences.mapped else _Rows(sequences, scaling, dtype)
        self._kept: Minibatches | None = None  # of epochs of one batch that is always the same

    @property
    def batches(self) -> int:
        """How many batches the epoch has, each window counted."""
        if not self.window:
            return -(-len(self.sequences) // self.batch)
        return len(self._windows(self.epoch))

    def _windows(self, epoch: int) -> list[tuple[NDArray[np.intp], int]]:
        """The batches of an epoch, and at which step of its sequences each begins."""
        order = self.order(epoch)
        if not self.window:
            return [(places, 0) for places in order]
        longest = (int(self.sequences.lengths[places].max()) for places in order)
        return [
            (places, first)
            for places, steps in zip(order, longest, strict=True)
            for first in range(0, steps, self.window)
        ]

    def order(self, epoch: int) -> list[NDArray[np.intp]]:
        """The sequences of each batch of an epoch."""
        if self._order[0] != epoch:
            self._order = epoch, self._new_order(epoch)
        return self._order[1]

    def _new_order(self, epoch: int) -> list[NDArray[np.intp]]:
        lengths = self.sequences.lengths
        if not self.shuffle:
            # The longest first, so that validation too has little padding.
            places = np.argsort(-lengths, kind="stable")
            return [places[at : at + self.batch] for at in range(0, len(places), self.batch)]
        rng = np.random.default_rng([self.seed, epoch])
        places = rng.permutation(len(lengths))
        found = []
        for first in range(0, len(places), POOL * self.batch):
            pool = places[first : first + POOL * self.batch]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            sizes = [self.batch] * (len(pool) // self.batch)
            if len(pool) % self.batch:  # the batch with fewer than B is one of any length
                sizes.insert(int(rng.integers(len(sizes) + 1)), len(pool) % self.batch)
            found += np.split(pool, np.cumsum(sizes)[:-1])
        return [found[place] for place in rng.permutation(len(found))]

    def steps_of(self, places: NDArray[np.intp]) -> int:
        """To how many steps T a batch of these sequences is padded."""
        if self.window:
            return self.window
        lengths = self.sequences.lengths
        longest, own = self._longest, int(lengths[places].max())
        if self.shuffle and longest <= SHORT:
            return longest
        quarters = -(-own * SHAPES // longest)  # rounded up
        return -(-longest * quarters // SHAPES)

    def draw(self, most: int) -> Minibatches:
        """The next batches, at most so many, of one epoch and one shape: perhaps fewer. A batch of
        fewer than B sequences is filled up with some that have no step."""
        if self._kept is not None:
            self.epoch += 1
            return self._kept
        windows = self._windows(self.epoch)
        taken = windows[self.done : self.done + most]
        steps = [self.steps_of(places) for places, _ in taken]
        taken = [(self._filled(places), first) for places, first in taken]
        shapes = [(len(places), long) for (places, _), long in zip(taken, steps, strict=True)]
        alike = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), len(shapes))
        places = np.stack([places for places, _ in taken[:alike]])
        first = np.array([first for _, first in taken[:alike]])
        found = self._gather(places, first, shapes[0][1])
        self.done += alike
        if self.done == len(windows):
            self.epoch, self.done = self.epoch + 1, 0
            if len(windows) == 1 and not self.shuffle:
                self._kept = found
        return found

    def _filled(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """A batch of B places, NONE where there is no sequence. In windows, where a state is
        carried on, in validation and from a file the last batch is as small as it is."""
        more = self.batch - len(places)
        if not self.shuffle or self.window or self._rows is None or self.batches == 1:
            more = 0
        return np.pad(places, (0, more), constant_values=NONE) if more else places

    def _gather(self, places: NDArray[np.intp], first: NDArray[np.intp], steps: int) -> Minibatches:
        """Batches of the sequences `places` (N, B), padded to `steps`, from their steps `first`
        (N,) on."""
        if self._rows is not None:
            found = self._rows.gather(places, first, steps)
        else:
            found = self._gather_mapped(places, first, steps)
        if self.warm_up and found.weights.ndim == 3:
            cold = first[:, None] + np.arange(steps) < self.warm_up  # (N, T)
            found.weights[np.broadcast_to(cold[:, None], found.weights.shape)] = 0
        return found

    def _gather_mapped(
        self, places: NDArray[np.intp], first: NDArray[np.intp], steps: int
    ) -> Minibatches:
        each = np.repeat(first, places.shape[1])
        window = steps if self.window else None
        found = padded(
            self.sequences.parts, places.ravel(), self._scaling, self._dtype, each, window
        )
        assert found.y is not None
        assert found.weights is not None
        more = steps - found.x.shape[1]

        def shaped(values: Anything, by_step: bool) -> Anything:
            if by_step:
                width = [(0, 0), (0, more), *[(0, 0)] * (values.ndim - 2)]
                values = np.pad(values, width)
            return values.reshape(*places.shape, *values.shape[1:])

        by_step = found.weights.ndim == 2
        return Minibatches(
            shaped(found.x, True),
            shaped(found.y, by_step),
            found.lengths.reshape(places.shape),
            shaped(found.weights, by_step).astype(self._dtype),
            first == 0,
        )

    def state(self) -> dict[str, int]:
        """The place, as plain values."""
        return {"epoch": self.epoch, "done": self.done}

    def restore(self, state: Any) -> None:
        """Go to where `state` was taken, on epochs of the same sequences, batch and seed. Raises
        BpttError for a state that cannot be one."""
        place: list[Any] = []
        if isinstance(state, dict):
            place = [state.get(name) for name in ("epoch", "done")]
        if not place or not all(type(each) is int and each >= 0 for each in place):
            raise BpttError(f"{state!r:.60} is no place in the epochs of a data set")
        if place[1] >= self.batches:
            raise BpttError(
                f"batch {place[1]} of an epoch cannot be gone to: there are {self.batches}"
            )
        self.epoch, self.done = place


class _Rows:
    """All rows as batches need them, scaled once, with a row of padding at the end: a batch is
    then rows taken by their numbers."""

    def __init__(self, sequences: Sequences, scaling: Scaling | None, dtype: str) -> None:
        parts, target = sequences.parts, sequences.target
        assert target is not None
        self.starts, self.lengths, self.each = parts.starts, parts.lengths, parts.weights
        self.per_step, self.ahead, self.dtype = target.per == "step", target.ahead, dtype
        self.x, self.y, self.weights = flat(parts, target, scaling, dtype)

    def gather(self, places: NDArray[np.intp], first: NDArray[np.intp], steps: int) -> Minibatches:
        """See `Epochs._gather`."""
        whole = self.lengths[places] - first[:, None]  # from the window's first step on
        whole[places == NONE] = 0
        lengths = np.clip(whole, 0, steps)
        t = np.arange(steps)
        start = (self.starts[places] + first[:, None])[..., None]
        row = np.where(t < lengths[..., None], start + t, len(self.x) - 1)
        at = row if self.per_step else places
        weights = self.weights.take(at)
        if not self.per_step:
            weights[(whole <= 0) | (whole > steps)] = 0
        elif self.ahead:
            weights[t + self.ahead >= whole[..., None]] = 0
        if self.each is not None:
            weights *= self.each[places].reshape(*places.shape, *[1] * self.per_step)
        x, y = self.x.take(row, axis=0), self.y.take(at, axis=0)
        return Minibatches(x, y, lengths, weights.astype(self.dtype), first == 0)
