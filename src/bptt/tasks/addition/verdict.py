"""The test of an adder: every pair of operands where there are few, else random sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import instance, items, whole
from bptt.errors import BpttError
from bptt.floats import usual
from bptt.network.batch import Batch
from bptt.network.network import Network
from bptt.network.parameters import Array
from bptt.tasks.addition.data import Sums, exact, first_wrong_bit
from bptt.tasks.task import FRESH_SEED, Verdict

FRESH_SUMS = 1000
# Up to so many beginnings of pairs steps are walked together; and so many samples at a time.
FEW_BEGINNINGS = 1024
BLOCK = 16_384


def judge_sums(network: Network, task: Sums, give_up: bool = False) -> Verdict:
    """Every pair of operands up to 8 bits, else 1,000 random sums, the same at every call."""
    task.check_network(network)
    if task.bits <= 8:
        flags = exact_pairs(network, task, give_up)
        return Verdict(int(flags.sum()), flags.size, "pairs")
    flags = exact_sums(network, *_sums(task, task.bits, FRESH_SUMS, FRESH_SEED))
    return Verdict(int(flags.sum()), flags.size, "random sums")


def exact_pairs(network: Network, task: Sums, give_up: bool = False) -> NDArray[np.bool_]:
    """For each pair of operands the task draws, of at most 8 bits, whether every bit is right; in
    the order of their bits read as unsigned numbers.

    What a network does up to step t depends on the lowest t + 1 bits of the operands only: all
    pairs that agree in them are walked as one, and no further than to the first wrong bit, so that
    of the 9 steps of 65,536 pairs at most a third are to be done. give_up: end with the first block
    that is wrong for any pair.
    """
    if not network.structure.tied:  # each step has its weights; the walk starts from the first
        parts = [exact_sums(network, x, y) for x, y in task.all_pairs()]
        return np.concatenate(parts)
    right, state = np.ones(1, np.bool_), None
    stages = _stages(task, network.structure.dtype)
    for stage in stages:
        right, state = stage.walk(network, right, state, stage is not stages[-1], give_up)
        if give_up and not right.all():
            break
    return right


@dataclass(frozen=True)
class _Stage:
    """Some steps of all pairs, a row for each of the n beginnings that differ up to the last of
    these steps: inputs x (n, steps, 2), right answers y (steps, n), and the row of the stage before
    that a row goes on from (n,). It is walked in blocks of `block` rows."""

    x: NDArray[Any]
    y: NDArray[np.bool_]
    parents: NDArray[np.intp]
    block: int

    def walk(
        self,
        network: Network,
        right: NDArray[np.bool_],
        state: Array | None,
        go_on: bool,
        give_up: bool,
    ) -> tuple[NDArray[np.bool_], Array | None]:
        """Which rows are right, and with `go_on` the states (layers, S, n, H) after them, from
        those of the stage before."""
        s, block = network.structure, self.block
        alive = np.flatnonzero(right.take(self.parents))
        whole = alive.size == self.parents.size
        right, after = np.zeros(self.parents.size, np.bool_), None
        for first in range(0, alive.size, block):
            some = alive[first : first + block]
            count = some.size
            # Always a whole block: what is compiled and how it rounds may depend on its size.
            rows = some if count == block else np.resize(some, block)
            # Slices where nothing is left out: they need not be gathered.
            here = slice(first, first + count) if whole else some
            x = self.x[here] if whole and count == block else self.x.take(rows, axis=0)
            before = None if state is None else state.take(self.parents.take(rows), axis=2)
            found = network.engine.forward(network.theta, Batch(s, x, state=before), go_on)
            said = (found.o[:count, :, 0] > s.head.threshold).T
            right[here] = np.logical_and.reduce(said == self.y[:, here])
            if give_up and not right[here].all():
                break
            if go_on:
                if after is None:
                    after = np.zeros((*found.state.shape[:2], right.size, s.hidden), s.dtype)
                after[:, :, here] = found.state[:, :, :count]
        return right, after


@lru_cache(maxsize=8)
def _stages(task: Sums, dtype: str) -> list[_Stage]:
    """The steps of all pairs: many at once as long as the beginnings are few."""
    stages: list[_Stage] = []
    steps = list(task.lowest_bits())
    start, before = 0, np.zeros(1, np.int64)
    for end, numbers in enumerate(steps, 1):
        more = steps[end].size if end < task.steps else 0
        if more and (more == numbers.size or more**2 <= FEW_BEGINNINGS):
            continue
        parents = np.searchsorted(before, numbers & ((1 << start) - 1))
        a, b = (each.reshape(-1, 1) for each in np.meshgrid(numbers, numbers, indexing="ij"))
        places = np.arange(start, end)
        x = np.stack([a >> places & 1, b >> places & 1], axis=-1).astype(dtype)
        y = (a + b >> places & 1).astype(np.bool_).T.copy()
        rows = (parents[:, None] * before.size + parents).ravel()
        stages.append(_Stage(x, y, rows, min(len(x), BLOCK)))
        start, before = end, numbers
    return stages


@lru_cache(maxsize=8)
def _sums(
    task: Sums, bits: int, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`Sums.long_pairs`, kept for the next network that is tested on them."""
    return task.long_pairs(bits, count, seed)


@lru_cache(maxsize=8)
def _patterns(
    task: Sums, bits: int, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`Sums.pattern_pairs`, kept likewise; of the task's own length only sums that it may draw."""
    if bits == task.bits and task.low is not None:
        return task.long_pairs(bits, count, seed)
    return task.pattern_pairs(bits, count, seed)


@lru_cache(maxsize=64)
def sample_steps(task: Sums) -> int:
    """How many steps of how many samples `judge_sums` walks for a network that passes."""
    if task.bits > 8:
        return FRESH_SUMS * task.steps
    return sum(numbers.size**2 for numbers in task.lowest_bits())


def predicted_bits(network: Network, x: NDArray[Any]) -> NDArray[np.uint8]:
    """The bits (B, T, 1) that a network gives for inputs (B, T, 2)."""
    if network.structure.inputs != 2 or network.structure.outputs != 1:
        raise BpttError(
            f"this network has {network.structure.inputs} inputs and "
            f"{network.structure.outputs} outputs; an adder has 2 and 1: give an adder's run"
        )
    return (network.forward(x).o > network.structure.head.threshold).astype(np.uint8)


def exact_sums(network: Network, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """For each sum whether every bit is right."""
    right: NDArray[np.bool_] = (predicted_bits(network, x) == y).all(axis=(1, 2))
    return right


@dataclass(frozen=True)
class LengthResult:
    """Sums of `bits` bits: how many of `total` are exact, and the first bit that is ever wrong
    (None if there is none)."""

    bits: int
    right: int
    total: int
    first_wrong_bit: int | None


@usual
def length_generalisation(
    network: Network, task: Sums, lengths: Sequence[int], count: int = 100, seed: int = 1
) -> list[LengthResult]:
    """How an adder does on sums longer than it was trained on: on `count` of each of these numbers
    of bits, a third of them random, a third with long runs, a third with short periods, where
    networks fail that are right on random sums. What is right at every length, `bptt.prove` tells.
    Raises BpttError for a network that is no adder's."""
    instance("task", task, Sums, "a task of sums")
    instance("network", network, Network, "a bptt.Network")
    count, seed = whole("count", count, 1), whole("seed", seed, 0)
    results = []
    for bits in [whole("each of lengths", each, 1) for each in items("lengths", lengths)]:
        x, y = _patterns(task, bits, count, seed)
        predicted = predicted_bits(network, x)
        right = round(exact(predicted, y) * count)
        results.append(LengthResult(bits, right, count, first_wrong_bit(predicted, y)))
    return results
