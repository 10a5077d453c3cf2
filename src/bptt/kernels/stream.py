"""A compiled network one step at a time: one call of the kernel on buffers that stay.

The weights are copied into the orders in which they are read once, when the stream is made; a step
is then a copy of x, one call, and a copy of each layer's new states to where the next step looks
for them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.optimizers import COEFFICIENTS, Optimizer
from bptt.kernels.machine.library import COMPILER_OFF
from bptt.kernels.machine.stored import stored_call
from bptt.kernels.walk.program import STATES
from bptt.kernels.walk.runner import Data, Runner
from bptt.kernels.walk.signature import ARGUMENTS, FORWARD, PREPARE, RESULTS
from bptt.kernels.walk.workspace import Shape, regime_for
from bptt.network.batch import Batch
from bptt.network.parameters import Array
from bptt.network.structure import Structure

NO_OPTIMIZER = Optimizer()


class CompiledStepper:
    """See `bptt.network.streaming.Stepper`."""

    def __init__(self, structure: Structure, theta: Array, batch: int, one_hot: bool) -> None:
        regime = regime_for(structure, batch, False)
        shape = Shape(structure, regime, batch, 1, one_hot, gradient=False)
        self._runner = runner = Runner(shape)
        self._theta = theta.copy()  # some layouts read it where it is
        runner.write("theta", self._theta)
        x = np.zeros((batch, 1), np.int64) if one_hot else np.zeros((batch, 1, structure.inputs))
        states = (structure.layers, len(structure.equations.states), batch, structure.hidden)
        data = Data(Batch(structure, x, state=np.zeros(states, structure.dtype)), judged=False)
        self._data, self._k = data, np.zeros((1, COEFFICIENTS), runner.dtype)
        runner.walk(PREPARE | FORWARD, data, True, NO_OPTIMIZER, self._k)
        whole = data.flat()
        self.x = whole.ids if one_hot else whole.x.reshape(batch, structure.inputs)
        self._whole = whole
        # One space's outputs are a view of its memory; of several they are copied together.
        self._single = len(runner.workspaces) == 1
        self._outputs = runner.views_of("p")
        self.y = self._outputs[0][:, 0] if self._single else np.concatenate(self._outputs)[:, 0]
        # One step: from `x` to `y`.
        self.step = self._bound() if self._single and not COMPILER_OFF else self._unbound

    def _bound(self) -> Callable[[], Any]:
        """The kernel with all its arguments, and then the copy of the states."""
        runner, data = self._runner, self._whole
        self._results = np.zeros(RESULTS * runner.workspaces[0].L, runner.dtype)
        codes, plan, *arrays = runner.fixed[0]
        words = runner.kernel.words(
            *runner.kinds, codes, plan, FORWARD, *arrays, NO_OPTIMIZER.rule.code,
            *NO_OPTIMIZER.clips, self._k.reshape(-1), 1, data.x, data.ids, data.y, False,
            data.classes, data.lengths, data.full, data.weights, False, data.scale, 1, data.chances,
            data.reset, True, self._results,
        )  # fmt: skip
        kinds = list(ARGUMENTS.values())
        return stored_call(runner.kernel.place, kinds, words, self._blocks())

    def _blocks(self) -> NDArray[np.int64]:
        """Where each layer's states of each block of rows go, come from, and their bytes."""
        space, found = self._runner.workspaces[0], []
        v, width = space.values, space.m.itemsize
        row = v["state_t"] * width
        for place in space.bases[:, STATES]:
            for outer in range(v["outer"]):
                to = space.m.ctypes.data + (int(place) + outer * 2 * v["state_t"]) * width
                found.append((to, to + row, row))
        return np.array(found, np.int64)

    def _unbound(self) -> None:
        runner = self._runner
        runner.walk(FORWARD, self._data, True, NO_OPTIMIZER, self._k)
        for before, after in zip(runner.states(0), runner.states(1), strict=True):
            before[3][...] = after[3]
        if not self._single:
            np.concatenate([each[:, 0] for each in self._outputs], out=self.y)

    def read(self) -> Array:
        """The states (layers, S, B, H)."""
        return self._runner.read_states(0)

    def write(self, state: Array) -> None:
        """Go on from these states."""
        self._runner.write_states(state)
