"""The engine that runs `bptt.network.recurrence`: plain NumPy, to read and to compare
with."""

from collections.abc import Sequence

import numpy as np

from bptt.equations.optimizers import Optimizer, clip
from bptt.network.batch import Anything, Batch, as_disturbed
from bptt.network.disturbance import Chance, masks_of, noise_of
from bptt.network.engines import (
    Chunk,
    Forward,
    Gradient,
    Learner,
    check_pass,
    check_training,
    initial_states,
)
from bptt.network.parameters import Array
from bptt.network.recurrence import Judged, Trace, backward, forward, judge
from bptt.network.structure import Structure

# Overflow and NaN are results, which training looks for; NumPy need not warn of them.
_quiet = np.errstate(all="ignore")


class ReferenceEngine:
    """The engine that runs `bptt.network.recurrence`."""

    arithmetic = "NumPy"

    def _forward(self, theta: Array, batch: Batch) -> tuple[Trace, Array]:
        structure, steps = batch.structure, batch.x.shape[1]
        if batch.chance is not None:
            batch = as_disturbed(batch)
        alive = np.arange(steps)[:, None] < batch.lengths  # (T, B)
        initial = initial_states(structure, theta, batch.state, len(batch))
        views = structure.layout().views(theta)
        trace = forward(
            structure, views, np.swapaxes(batch.x, 0, 1), alive,
            [tuple(layer) for layer in initial],
            noise_of(structure, batch.chance, steps, len(batch)),
            masks_of(structure, batch.chance, steps, len(batch)),
        )  # fmt: skip
        return trace, np.array([layer.states[-1] for layer in trace.layers])

    def _judge(self, batch: Batch, trace: Trace) -> Judged:
        assert batch.y is not None  # `check_pass` has seen it
        last = batch.structure.readout == "last"

        def time_first(values: Anything) -> Anything:
            return values[None] if last else np.swapaxes(values, 0, 1)

        weights = None if batch.weights is None else time_first(batch.weights)
        return judge(batch.structure, trace, time_first(batch.y), weights)

    @_quiet
    def forward(self, theta: Array, batch: Batch, go_on: bool = True) -> Forward:
        """See `Engine.forward`."""
        check_pass(theta, batch, judged=False)
        batch = batch.starting_from(batch.state)  # not disturbed
        structure = batch.structure
        trace, final = self._forward(theta, batch)
        final = final if go_on else final[:, :, :0]
        rows = trace.o.shape[:2]
        y = np.zeros(rows if structure.head.classes else trace.o.shape, np.intp)
        p = judge(structure, trace, y).p
        if structure.readout == "last":
            return Forward(p[0], trace.o[0], final)
        return Forward(np.swapaxes(p, 0, 1), np.swapaxes(trace.o, 0, 1), final)

    @_quiet
    def loss(self, theta: Array, batch: Batch) -> float:
        """See `Engine.loss`."""
        check_pass(theta, batch, judged=True)
        trace, _ = self._forward(theta, batch)
        return self._judge(batch, trace).loss

    @_quiet
    def gradient(self, theta: Array, batch: Batch, inputs: bool = False) -> Gradient:
        """See `Engine.gradient`."""
        check_pass(theta, batch, judged=True)
        structure = batch.structure
        trace, final = self._forward(theta, batch)
        judged = self._judge(batch, trace)
        flat, dx, ds = self._backward(structure, theta, trace, judged.do, batch.state is None)
        dx = np.swapaxes(dx, 0, 1) if inputs and dx is not None and not batch.one_hot else None
        return Gradient(judged.loss, flat, dx, ds, final)

    def _backward(
        self, structure: Structure, theta: Array, trace: Trace, do: Array, own_state: bool
    ) -> tuple[Array, Array | None, Array]:
        layout = structure.layout()
        gradients, dx, ds = backward(structure, layout.views(theta), trace, do)
        starts = [f"{state}0" for state in structure.equations.states]
        if not own_state:  # a state handed in stands in for h0, which then has no gradient
            for name in gradients:
                if name.partition(".")[0] in starts:
                    gradients[name][...] = 0
        flat = np.concatenate([gradients[name].ravel() for name in layout.shapes])
        return flat, dx, np.array(ds)

    @_quiet
    def train(self, optimizer: Optimizer, learner: Learner, batch: Batch) -> Chunk:
        """See `Engine.train`."""
        check_training([optimizer], [learner], batch)
        structure, count = batch.structure, len(batch)
        chunk = Chunk(
            np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count)
        )
        coefficients = optimizer.coefficients(learner.iteration, count).astype(structure.dtype)
        rule, carried = optimizer.rule, learner.state is not None
        size = structure.layout().trained
        for n in range(count):
            k = tuple(coefficients[n])
            theta, s0, s1 = learner.theta[:size], learner.s0[:size], learner.s1[:size]
            theta[:], s0[:] = rule.prepare(theta, s0, k)
            state = learner.state if carried and not batch.reset[n] else None
            one = batch[n].starting_from(state, Chance(learner.seed, learner.iteration + n))
            trace, final = self._forward(learner.theta, one)
            judged = self._judge(one, trace)
            g, _, _ = self._backward(structure, learner.theta, trace, judged.do, state is None)
            chunk.loss[n], chunk.wrong[n] = judged.loss, judged.wrong
            chunk.exact[n], chunk.norm[n] = judged.exact, clip(g, *optimizer.clips)
            theta[:], s0[:], s1[:] = rule.update(theta, g[:size], s0, s1, k)
            if carried:
                learner.state = final
        learner.iteration += count
        return chunk

    def train_many(
        self, optimizers: Sequence[Optimizer], learners: Sequence[Learner], batch: Batch
    ) -> list[Chunk]:
        """See `bptt.network.engines.Engine.train_many`: one model after another."""
        check_training(optimizers, learners, batch)
        return [
            self.train(optimizer, learner, batch[m])
            for m, (optimizer, learner) in enumerate(zip(optimizers, learners, strict=True))
        ]
