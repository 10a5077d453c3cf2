"""The compiled engine: arrays of the public shapes in, kernels called, public shapes out."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bptt.equations.optimizers import COEFFICIENTS, Optimizer
from bptt.kernels.machine.library import COMPILER_OFF
from bptt.kernels.machine.processor import arithmetic, lanes
from bptt.kernels.stream import CompiledStepper
from bptt.kernels.walk.products import MODELS
from bptt.kernels.walk.runner import Data, Runner, each
from bptt.kernels.walk.signature import BACKWARD, FORWARD, JUDGE, PREPARE, TRAIN
from bptt.kernels.walk.workspace import Shape, goes_side_by_side, regime_for
from bptt.network.batch import Anything, Batch, written_out
from bptt.network.disturbance import Chance, disturbed
from bptt.network.engines import (
    Chunk,
    Forward,
    Gradient,
    Learner,
    check_pass,
    check_training,
)
from bptt.network.parameters import Array
from bptt.network.structure import Structure
from bptt.processes import brief_lock

# Of the last so many shapes arrays are kept, or of fewer if they have more bytes than this.
KEPT = 16
KEPT_BYTES = 2**28
# A forward pass walks as many samples at once as have this many values in all steps, or of fewest
# samples as many steps: they stay in the processor's cache, and few calls are made.
AT_ONCE, FEWEST_SAMPLES, FEWEST_STEPS = 2**18, 64, 16
# What stands for one where nothing is updated.
NO_OPTIMIZER = Optimizer()

# Held while runners are taken and given back, of any engine.
_lock = brief_lock()


class CompiledEngine:
    """The engine that runs `bptt.kernels`. Keeps the arrays of the last shapes it worked on."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Shape, list[Runner]] = OrderedDict()

    @property
    def arithmetic(self) -> str:
        """See `bptt.network.engines.Engine`."""
        return arithmetic(compiled=not COMPILER_OFF)

    def __reduce__(self) -> tuple[Any, ...]:
        """What it keeps is not copied and not pickled."""
        return CompiledEngine, ()

    def _take(self, shape: Shape) -> Runner:
        """A runner of that shape that nobody else uses."""
        with _lock:
            free = self._kept.setdefault(shape, [])
            self._kept.move_to_end(shape)
            if free:
                return free.pop()
        return Runner(shape)

    def _give_back(self, runner: Runner) -> None:
        runner.borrowed.clear()
        with _lock:
            self._kept.setdefault(runner.shape, []).append(runner)
            self._kept.move_to_end(runner.shape)
            while len(self._kept) > 1 and (len(self._kept) > KEPT or self._size() > KEPT_BYTES):
                self._kept.popitem(last=False)

    def _size(self) -> int:
        """The bytes of all arrays that are kept."""
        runners = [runner for free in self._kept.values() for runner in free]
        return sum(runner.nbytes for runner in runners)

    def _shape(self, batch: Batch, **wanted: Any) -> Shape:
        """The shape of a pass, or of the iterations of one model."""
        structure, (B, T) = batch.structure, batch.x.shape[batch.axes : batch.axes + 2]
        regime = regime_for(structure, B, wanted.get("gradient", True))
        one_hot = _takes_numbers(batch, wanted.get("disturbed", False))
        return Shape(structure, regime, B, T, one_hot, **wanted)

    def forward(self, theta: Array, batch: Batch, go_on: bool = True) -> Forward:
        """See `bptt.network.engines.Engine.forward`."""
        check_pass(theta, batch, judged=False)
        batch = batch.starting_from(batch.state)  # not disturbed
        structure, (B, T) = batch.structure, batch.x.shape[:2]
        values = structure.equations.kept * structure.recurrences * structure.hidden
        count = -(-AT_ONCE // (FEWEST_SAMPLES * values * T)) * FEWEST_SAMPLES  # whole vectors
        steps = max(AT_ONCE // (values * min(B, count)), FEWEST_STEPS)
        parts = [
            self._forward_in_windows(theta, batch[first : first + count], go_on, steps)
            for first in range(0, B, count)
        ]
        return parts[0] if len(parts) == 1 else _joined(parts, 0)

    def _forward_in_windows(self, theta: Array, batch: Batch, go_on: bool, steps: int) -> Forward:
        """Each window of so many steps from the states that the one before left. Untied weights
        are walked through from the first, and both directions from both ends."""
        structure, T, state = batch.structure, batch.x.shape[1], batch.state
        if not structure.tied or structure.bidirectional or steps >= T:
            return self._forward(theta, batch, go_on)
        steps = -(-T // -(-T // steps))
        parts = []
        for first in range(0, T, steps):
            end = min(first + steps, T)
            part = self._forward(theta, batch.window(first, end, state), go_on or end < T)
            parts.append(part)
            state = part.state
        return _joined(parts, 1) if structure.readout == "steps" else parts[-1]

    def _forward(self, theta: Array, batch: Batch, go_on: bool) -> Forward:
        runner = self._take(self._shape(batch, gradient=False))
        self._walk(runner, FORWARD, theta, batch)
        p, o = runner.read_outputs("p"), runner.read_outputs("oc")
        final = runner.read_states(batch.x.shape[1], go_on)
        self._give_back(runner)
        if batch.structure.readout == "last":
            return Forward(p[:, 0], o[:, 0], final)
        return Forward(p, o, final)

    def _walk(self, runner: Runner, work: int, theta: Array, batch: Batch) -> Anything:
        """One batch, without an optimizer; gives the kernel's results."""
        runner.write("theta", theta)
        if batch.state is not None:
            runner.write_states(batch.state)
        data = Data(batch, judged=bool(work & JUDGE), chances=chances_of_pass(batch))
        k = np.zeros((1, COEFFICIENTS), runner.dtype)
        return runner.walk(PREPARE | work, data, batch.state is not None, NO_OPTIMIZER, k)

    def stepper(
        self, structure: Structure, theta: Array, batch: int, one_hot: bool
    ) -> CompiledStepper:
        """A network one step at a time: see `bptt.network.streaming.Stepper`."""
        return CompiledStepper(structure, theta, batch, one_hot)

    def loss(self, theta: Array, batch: Batch) -> float:
        """See `bptt.network.engines.Engine.loss`."""
        check_pass(theta, batch, judged=True)
        shape = self._shape(batch, disturbed=bool(chances_of_pass(batch)))
        runner = self._take(replace(shape, gradient=False))
        results = self._walk(runner, FORWARD | JUDGE, theta, batch)
        self._give_back(runner)
        return float(results[0, 0])

    def gradient(self, theta: Array, batch: Batch, inputs: bool = False) -> Gradient:
        """See `bptt.network.engines.Engine.gradient`."""
        check_pass(theta, batch, judged=True)
        inputs = inputs and not batch.one_hot
        disturbs = bool(chances_of_pass(batch))
        runner = self._take(self._shape(batch, dx=inputs, to_start=True, disturbed=disturbs))
        runner.write_gradient()
        results = self._walk(runner, FORWARD | JUDGE | BACKWARD, theta, batch)
        found = Gradient(
            float(results[0, 0]), runner.read_gradient(), runner.read_dx() if inputs else None,
            runner.read_state_gradient(), runner.read_states(batch.x.shape[1]),
        )  # fmt: skip
        self._give_back(runner)
        return found

    def train(self, optimizer: Optimizer, learner: Learner, batch: Batch) -> Chunk:
        """See `bptt.network.engines.Engine.train`."""
        check_training([optimizer], [learner], batch)
        return self._train(optimizer, learner, batch)

    def _train(self, optimizer: Optimizer, learner: Learner, batch: Batch) -> Chunk:
        chances = chances_in_training(batch.structure, [learner])
        shape = self._shape(batch, optimizer=optimizer.kind, disturbed=bool(chances))
        runner = self._take(shape)
        runner.write_learner(learner)
        if learner.state is not None:
            runner.write_states(learner.state)
        k = optimizer.coefficients(learner.iteration, len(batch)).astype(runner.dtype)
        data = Data(batch, chances=chances)
        results = runner.walk(TRAIN, data, learner.state is not None, optimizer, k)
        runner.read_learner(learner)
        if learner.state is not None:
            learner.state[:] = runner.read_states(0)
        learner.iteration += len(batch)
        self._give_back(runner)
        return Chunk(*results.T)

    def train_many(
        self, optimizers: Sequence[Optimizer], learners: Sequence[Learner], batch: Batch
    ) -> list[Chunk]:
        """See `bptt.network.engines.Engine.train_many`: small models in the lanes of a
        vector, others one a thread."""
        check_training(optimizers, learners, batch)
        structure, carried = batch.structure, any(learner.state is not None for learner in learners)
        if carried or not goes_side_by_side(structure, batch.x.shape[2]):
            return each(
                lambda m: self._train(optimizers[m], learners[m], batch[m]),
                list(range(len(learners))),
            )
        size = lanes(structure.dtype)
        alike: dict[tuple[float, float], list[int]] = {}  # a block is clipped alike
        for m, optimizer in enumerate(optimizers):
            alike.setdefault(optimizer.clips, []).append(m)
        blocks = [
            group[at : at + size] for group in alike.values() for at in range(0, len(group), size)
        ]

        numbers = _Numbers(structure.dtype, batch.x.shape[1])
        chunks: dict[int, Chunk] = {}

        def train_block(block: list[int]) -> None:
            # Neighbours' data are taken as they lie, without a copy.
            together = block[-1] - block[0] == len(block) - 1
            some: Any = slice(block[0], block[-1] + 1) if together else block
            results = self._train_block(
                optimizers[block[0]], [learners[m] for m in block],
                numbers.of([(optimizers[m], learners[m].iteration) for m in block]), batch[some],
            )  # fmt: skip
            chunks.update(
                (m, Chunk(*columns.T)) for m, columns in zip(block, results, strict=False)
            )

        each(train_block, blocks)
        return [chunks[m] for m in range(len(learners))]

    def _train_block(
        self, optimizer: Optimizer, learners: Sequence[Learner], numbers: Array, batch: Batch
    ) -> Anything:
        """As many models as a vector has lanes, or fewer, with their optimizers' numbers
        (`_Numbers.of`); the kernel's results (lanes, N, RESULTS)."""
        M, N, _, T = batch.x.shape[:4]
        chances = chances_in_training(batch.structure, learners)
        shape = Shape(
            batch.structure, MODELS, M, T, _takes_numbers(batch, bool(chances)),
            optimizer=optimizer.kind, disturbed=bool(chances),
        )  # fmt: skip
        runner = self._take(shape)
        runner.write_learners(learners)
        data = Data(batch, chances=chances).flat()
        data.reset = np.ones(N, np.int64)
        results = runner.call(0, TRAIN, data, N, False, optimizer, numbers, apart=N)
        runner.read_learners(learners)
        for learner in learners:
            learner.iteration += N
        self._give_back(runner)
        return results


def _takes_numbers(batch: Batch, disturbs: bool) -> bool:
    """Whether a walk is given numbers of one-hot inputs."""
    return batch.one_hot and not (disturbs and written_out(batch))


def chances_of_pass(batch: Batch) -> list[Chance]:
    """What the random numbers of a pass are; none if it is not disturbed."""
    return [batch.chance] if batch.chance and disturbed(batch.structure) else []


def chances_in_training(structure: Structure, learners: Sequence[Learner]) -> list[Chance]:
    """What the next iteration's random numbers of each learner are; none if nothing is
    disturbed."""
    if not disturbed(structure):
        return []
    return [Chance(learner.seed, learner.iteration) for learner in learners]


def _joined(parts: Sequence[Forward], axis: int) -> Forward:
    """What the parts of a batch gave: samples (axis 0), or windows of steps (1), whose last states
    are those of all."""
    p, o = (np.concatenate([getattr(part, name) for part in parts], axis) for name in ("p", "o"))
    if axis == 1:
        return Forward(p, o, parts[-1].state)
    return Forward(p, o, np.concatenate([part.state for part in parts], axis=2))


class _Numbers:
    """The numbers of optimizers for N iterations, a model in each lane. Most blocks of a study have
    the same as the block before, which are worked out once."""

    def __init__(self, dtype: str, N: int) -> None:
        self._dtype, self._N = dtype, N
        self._last: tuple[Sequence[tuple[Optimizer, int]], Array] = [], np.empty(0)

    def of(self, block: Sequence[tuple[Optimizer, int]]) -> Array:
        """Those of models with these optimizers, which have done so many iterations: (N,
        COEFFICIENTS, lanes)."""
        before, numbers = self._last  # threads may change it: each looks once
        if block != before:
            numbers = self._work_out(block)
            self._last = block, numbers
        return numbers

    def _work_out(self, block: Sequence[tuple[Optimizer, int]]) -> Array:
        alike: dict[tuple[Optimizer, int], list[int]] = {}
        for lane, model in enumerate(block):
            alike.setdefault(model, []).append(lane)
        k = np.zeros((self._N, COEFFICIENTS, lanes(self._dtype)), self._dtype)
        for (optimizer, iteration), some in alike.items():
            lanes_of: Any = some if len(alike) > 1 else slice(None)
            numbers = optimizer.coefficients(iteration, self._N).astype(self._dtype)
            k[:, :, lanes_of] = numbers[:, :, None]
        return k
