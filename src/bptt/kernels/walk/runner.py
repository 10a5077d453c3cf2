"""A batch's walk through the kernels: arrays of the public shapes in and out, shards, threads."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.chance import seed_words
from bptt.equations.optimizers import Optimizer, rule_of
from bptt.equations.outputs import loss_scale
from bptt.equations.own import Equations
from bptt.kernels.machine.library import COMPILER_OFF, Function, Maker, load
from bptt.kernels.machine.processor import lanes
from bptt.kernels.machine.strips import codes_of, strip_name
from bptt.kernels.walk.products import MODELS, SAMPLES, UNITS
from bptt.kernels.walk.program import DS, STATES
from bptt.kernels.walk.signature import (
    ARGUMENTS,
    BACKWARD,
    FORWARD,
    JUDGE,
    PREPARE,
    RESULTS,
    ROUTINES,
    UPDATE,
    Key,
    key_of,
)
from bptt.kernels.walk.workspace import Shape, Workspace, workspaces, zeros
from bptt.network.batch import Anything, Batch, as_disturbed
from bptt.network.disturbance import Chance
from bptt.network.engines import Learner
from bptt.network.parameters import Array
from bptt.processes import after_fork, threads

# Overflow and NaN are results.
_quiet = np.errstate(all="ignore")

# A batch is split if a step of it takes at least this many multiplications, and into at most so
# many shards. How it is split depends on shapes alone: sums are the same on any number of threads.
SHARD_WORK = 250_000
MOST_SHARDS = 16
# The shards' gradients may have so many numbers, or as many as the gates and states of all steps.
GRADIENT_NUMBERS = 2**20


# Whether this thread is one of the pool's.
_here = threading.local()


def _enter() -> None:
    _here.in_pool = True


@cache
def pool() -> ThreadPoolExecutor:
    """The threads; kernels release the interpreter's lock."""
    return ThreadPoolExecutor(threads(), thread_name_prefix="bptt", initializer=_enter)


after_fork(lambda: pool.cache_clear())


def each(function: Any, items: list[Any]) -> list[Any]:
    """`function` of every item, on all threads, in order. What a thread of the pool asks for it
    does itself: nobody might be free."""
    if len(items) == 1 or threads() == 1 or getattr(_here, "in_pool", False):
        return [function(item) for item in items]
    return list(pool().map(function, items))


def shards(shape: Shape, vector: int) -> list[tuple[int, int]]:
    """The ranges of samples that are walked apart."""
    structure, B = shape.structure, shape.B
    inputs = 1 if shape.one_hot else structure.inputs
    work = B * structure.equations.gates * structure.features * (structure.hidden + inputs)
    vectors = -(-B // vector)
    if shape.regime == UNITS or work < SHARD_WORK or vectors < 2:
        return [(0, B)]
    values = B * shape.T * structure.equations.kept * structure.recurrences * structure.hidden
    gradients = max(values, GRADIENT_NUMBERS) // structure.layout().size
    most = min(1 << max(gradients.bit_length() - 1, 1), MOST_SHARDS)  # a power of two, for threads
    count = min(vectors if vectors < 4 else vectors // 2, most)
    size = -(-vectors // count) * vector
    return [(first, min(first + size, B)) for first in range(0, B, size)]


BUILDER = """
sys.modules["scipy"] = None  # Numba takes a while to import it, for linear algebra
from bptt.kernels.walk.builder import serve
serve()
"""


def _maker(key: Key) -> Maker:
    """Who compiles the functions of a kernel."""
    request = json.dumps({
        name: value.plain() if isinstance(value, Equations) and not value.built_in else value
        for name, value in key._asdict().items()
    })  # fmt: skip

    def here(name: str) -> None:
        from bptt.kernels.walk.builder import build

        build(request, name)

    cell = key.equations.name
    return Maker("-".join((key.regime, cell, key.activation, key.dtype)), BUILDER, request, here)


def _kernel(key: Key, workspaces: Sequence[Workspace]) -> tuple[Any, tuple[Any, Any], Anything]:
    """What a walk calls, and the first arguments of it: kinds and addresses. In the programs of
    the workspaces addresses of strips are put in place of their numbers."""
    if not COMPILER_OFF:
        codes = [codes_of(space.program) for space in workspaces]
        numbers = np.unique(np.concatenate(codes))
        strips, own = [strip_name(int(number), key.dtype) for number in numbers], key.names()
        train, assess, begin, *more = load([*own, *strips], _maker(key))
        more, strips_at = more[: len(own) - 3], more[len(own) - 3 :]
        disturb = more.pop(0) if key.disturbed else 0
        for each_codes in codes:
            each_codes[:] = np.array(strips_at, np.int64)[np.searchsorted(numbers, each_codes)]
        routines = np.array([begin, assess, *(more or [0]), disturb], np.int64)
        return Function(train, ARGUMENTS, key.dtype), (None, None), routines
    from bptt.kernels.walk.loop import train as walk
    from bptt.kernels.walk.regimes import Kind

    rule = rule_of(key.rule) if key.rule else None
    own_rule = rule if rule is not None and not rule.built_in else None
    kinds = (
        Kind(key.regime, (key.cell, key.activation), disturbed=key.disturbed),
        Kind(key.regime, None, key.own_output, own_rule),
    )
    return _quiet(walk), kinds, np.zeros(len(ROUTINES), np.int64)


class Runner:
    """Workspaces for one shape of batch, and what goes in and out of them."""

    def __init__(self, shape: Shape) -> None:
        self.shape, structure = shape, shape.structure
        self.parameters = ("theta", *shape.optimizer_states)  # what a learner has and changes
        self.dtype = np.dtype(structure.dtype)
        self.ranges = shards(shape, lanes(structure.dtype))
        self.workspaces = workspaces(shape, self.ranges)
        key = key_of(structure, shape.regime, shape.optimizer, shape.disturbed)
        self.kernel, self.kinds, self.codes = _kernel(key, self.workspaces)
        self.fixed = [self._fixed(space) for space in self.workspaces]
        self.borrowed: dict[str, Array] = {}
        self.gradient = self._new_gradient() if shape.optimizer else np.empty(0, self.dtype)

    def _fixed(self, space: Workspace) -> tuple[Any, ...]:
        """The arguments of a kernel that are the same at every call."""
        arrays = {
            "codes": self.codes, "plan": space.plan, "m": space.m, "program": space.program,
            "bases": space.bases.reshape(-1), "copies": space.copies.reshape(-1),
        }  # fmt: skip
        return tuple(arrays.values()) if COMPILER_OFF else self.kernel.fixed(**arrays)

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays."""
        return self.workspaces[0].m.nbytes + self.gradient.nbytes

    # Parameters and states.

    def write_learner(self, learner: Learner) -> None:
        """Put weights and optimizer state into the workspaces."""
        for place in self.parameters:
            self.write(place, getattr(learner, place))
        if self.shape.borrows:
            self.write("g", self.gradient)

    def read_learner(self, learner: Learner) -> None:
        """The other way round."""
        for place in self.parameters:
            self.read(place, getattr(learner, place))

    def _models(self, place: str) -> Array:
        """The parameters of all models (regime "models"), a view (P, lanes)."""
        space = self.workspaces[0]
        start, size = space.values[place], self.shape.structure.layout().size
        return space.m[start : start + size * space.L].reshape(size, space.L)

    def write_learners(self, learners: Sequence[Learner]) -> None:
        """Put a model in each lane; what is left of the vector stays zero."""
        for place in self.parameters:
            models = self._models(place)
            models[:] = 0
            flat = np.concatenate([getattr(learner, place) for learner in learners])
            models[:, : len(learners)] = flat.reshape(len(learners), -1).T

    def read_learners(self, learners: Sequence[Learner]) -> None:
        """The other way round."""
        for place in self.parameters:
            for learner, values in zip(learners, self._models(place).T, strict=False):
                getattr(learner, place)[:] = values

    def _flat(self, place: str) -> Array:
        """Parameters, or what goes with them ('theta', 's0', 's1', 'g'): flat, where they are."""
        if self.shape.borrows:
            return self.borrowed[place]
        start = self.workspaces[0].values[place]
        return self.workspaces[0].m[start : start + self.shape.structure.layout().size]

    def write(self, place: str, flat: Array) -> None:
        """Let the workspaces have parameters, or what goes with them."""
        if not self.shape.borrows:
            self._flat(place)[:] = flat
            return
        self.borrowed[place] = np.require(flat, self.dtype, ["C", "A", "W"])
        for space in self.workspaces:
            space.borrow(place, self.borrowed[place])

    def read(self, place: str, flat: Array) -> None:
        """The other way round: what the walk has made of them."""
        if self._flat(place) is not flat:
            flat[:] = self._flat(place)

    def _new_gradient(self) -> Array:
        """An array for a borrowed gradient: whole pairs of vectors (see `training.squares_of`)."""
        return zeros(self.workspaces[0].size if self.shape.borrows else 0, self.dtype)

    def write_gradient(self) -> None:
        """Let the workspaces have an array for a gradient that is the caller's in the end."""
        if self.shape.borrows:
            self.write("g", self._new_gradient())

    def read_gradient(self) -> Array:
        """The gradient (P,)."""
        g = self._flat("g")[: self.shape.structure.layout().size]
        return g if self.shape.borrows else g.copy()

    def states(self, t: int) -> Iterator[tuple[int, int, int, Array]]:
        """The states before step t: first and last sample, layer, and a view (S, B, H) of m."""
        for space, (start, end) in zip(self.workspaces, self.ranges, strict=True):
            for layer in range(self.shape.structure.recurrences):
                yield (
                    start,
                    end,
                    layer,
                    self._rows(space, int(space.bases[layer, STATES]), t, True),
                )

    def _rows(self, space: Workspace, place: int, t: int, of_states: bool) -> Array:
        """A view (S, B, H) of states at `place`, or, with T + 1 of them, of those before step t."""
        v, B, H = space.values, space.shape.B, self.shape.structure.hidden
        rows = v["T"] + 1 if of_states else 1
        S, outer = v["S"], v["outer"]
        flat = space.m[place : place + outer * rows * v["state_t"]]
        row = flat.reshape(outer, rows, v["state_t"])[:, t, : S * v["plane"]]
        if self.shape.regime == UNITS:
            return row.reshape(outer, S, v["Hw"])[:, :, :H].transpose(1, 0, 2)
        return row.reshape(S, H, v["Bp"])[:, :, :B].transpose(0, 2, 1)

    def write_states(self, state: Array) -> None:
        """Put the states (layers, S, B, H) that a batch starts from into the workspaces."""
        for space in self.workspaces:  # between rows too, where a diverged run may have left NaN
            outer, per_step = space.values["outer"], space.values["state_t"]
            for place in space.bases[:, STATES]:
                rows = space.m[place : place + outer * space.values["state_b"]]
                rows.reshape(outer, -1, per_step)[:, 0] = 0
        for start, end, layer, view in self.states(0):
            view[:] = state[layer, :, start:end]
        if self.shape.regime == SAMPLES:  # lanes without a sample repeat the last one
            for space in self.workspaces:
                for place in space.bases[:, STATES]:
                    rows = space.m[place : place + space.values["S"] * space.values["plane"]]
                    rows = rows.reshape(-1, space.values["Bp"])
                    rows[:, space.shape.B :] = rows[:, space.shape.B - 1, None]

    def read_states(self, t: int, wanted: bool = True) -> Array:
        """The states (layers, S, B, H) before step t; of no samples if they are not wanted."""
        structure = self.shape.structure
        S, B = len(structure.equations.states), self.shape.B if wanted else 0
        state = np.empty((structure.recurrences, S, B, structure.hidden), self.dtype)
        for start, end, layer, view in self.states(t) if wanted else ():
            state[layer, :, start:end] = view
        return state

    def read_state_gradient(self) -> Array:
        """The derivative (layers, S, B, H) by the states that the batch started from."""
        structure = self.shape.structure
        ds = self.read_states(0)
        for space, (start, end) in zip(self.workspaces, self.ranges, strict=True):
            for layer in range(structure.recurrences):
                ds[layer, :, start:end] = self._rows(space, int(space.bases[layer, DS]), 0, False)
        return ds

    # Values.

    def views_of(self, place: str) -> list[Array]:
        """'p' or 'oc' (B, R, O) of the samples of each workspace, where they are."""
        parts = []
        for space in self.workspaces:
            v, B = space.values, space.shape.B
            flat = space.m[v[place] : v[place] + v["blocks"] * v["O"] * v["Cp"]]
            if self.shape.regime == UNITS:
                cases = flat.reshape(v["O"], v["Cp"])[:, : B * v["R"]]
                parts.append(cases.reshape(v["O"], B, v["R"]).transpose(1, 2, 0))
            else:
                cases = flat.reshape(v["R"], v["O"], v["Bp"])
                parts.append(cases[:, :, :B].transpose(2, 0, 1))
        return parts

    def read_outputs(self, place: str) -> Array:
        """'p' or 'oc' (B, R, O) of all cases."""
        return np.concatenate(self.views_of(place))

    def read_dx(self) -> Array:
        """The derivative (B, T, D) by the inputs."""
        parts = []
        for space in self.workspaces:
            v, B = space.values, space.shape.B
            flat = space.m[v["dx"] : v["dx"] + v["outer"] * v["T"] * v["dx_t"]]
            if self.shape.regime == UNITS:
                parts.append(flat.reshape(B, v["T"], v["dx_t"])[:, :, : v["D"]])
            else:
                parts.append(flat.reshape(v["T"], v["D"], v["Bp"])[:, :, :B].transpose(2, 0, 1))
        return np.concatenate(parts)

    # Work.

    def call(
        self, index: int, work: int, data: "Data", n: int, carry: bool, optimizer: Optimizer,
        k: Array, apart: int = 1,
    ) -> Array:  # fmt: skip
        """Call the kernel for n iterations of the workspace of that number; gives results
        (n, RESULTS), of models (lanes, n, RESULTS)."""
        lanes_of = (self.workspaces[0].L,) if self.shape.regime == MODELS else ()
        results = np.zeros((*lanes_of, n, RESULTS), self.dtype)
        codes, plan, *arrays = self.fixed[index]
        self.kernel(
            *self.kinds, codes, plan, work, *arrays, optimizer.rule.code, *optimizer.clips,
            k.reshape(-1), data.reset.size, data.x, data.ids, data.y, data.y.size > 0,
            data.classes, data.lengths, data.full, data.weights, data.weights.size > 0, data.scale,
            apart, data.chances, data.reset, carry, results.reshape(-1),
        )  # fmt: skip
        return results

    def walk(self, work: int, data: "Data", carry: bool, optimizer: Optimizer, k: Array) -> Array:
        """Go through the iterations of `data` (x of N batches, B samples each); results
        (N, RESULTS)."""
        N = len(data.reset)
        if len(self.workspaces) == 1:
            return self.call(0, work, data.flat(), N, carry, optimizer, k)
        results = np.zeros((N, RESULTS))
        for n in range(N):
            results[n] = self._walk_shards(work, data, n, carry, optimizer, k[n : n + 1])
        return results

    @_quiet
    def _walk_shards(
        self, work: int, data: "Data", n: int, carry: bool, optimizer: Optimizer, k: Array
    ) -> Anything:
        """One iteration, shard by shard; gradients and losses are added up in their order."""
        nothing = data.part(n, 0, 0)
        self.call(0, PREPARE, nothing, 1, False, optimizer, k)

        def pass_of_all(passes: int) -> list[Array]:
            def one(index: int) -> Array:
                part = data.part(n, *self.ranges[index])
                return self.call(index, passes, part, 1, carry, optimizer, k)

            return each(one, list(range(len(self.workspaces))))

        ways = [FORWARD | JUDGE | BACKWARD]
        if self.shape.borrows:  # the first one's gradient takes the place of packed weights
            ways = [FORWARD | JUDGE, BACKWARD]
        found, *_ = [pass_of_all(work & way) for way in ways if work & way]
        results: Array = np.sum([row[0].astype(np.float64) for row in found], axis=0)
        if work & BACKWARD:
            size = self.shape.structure.layout().size
            g = self._flat("g")[:size]
            for space in self.workspaces[1:]:
                at = space.values["g"]
                g += space.m[at : at + size]
        if work & UPDATE:
            last = self.call(0, UPDATE, nothing, 1, False, optimizer, k)
            results[3] = last[0, 3]
        return results


class Data:
    """A batch's arrays as kernels want them: x or ids (N, B, T, ...), y or classes (N, B, R, ...),
    lengths (N, B), weights (N, B, R), empty where every case counts 1, scale and reset (N,), where
    one pass has N 1, and of M models N and B stand for M and N. chances: see `chances_of`.
    """

    def __init__(self, batch: Batch, judged: bool = True, chances: Sequence[Chance] = ()) -> None:
        """judged: whether the targets are wanted. chances: of the first iteration, one, or of M
        models M; none where nothing is disturbed."""
        self.chances = chances_of(chances, batch.structure.dtype)
        batch = as_disturbed(batch) if chances else batch
        dtype, classes = batch.structure.dtype, batch.structure.head.classes

        def lead(values: Anything) -> Anything:
            one = values[None] if batch.axes == 0 else values
            return np.ascontiguousarray(one[:, :, 0] if batch.axes == 2 else one)

        x, self.lengths = lead(batch.x), lead(batch.lengths)
        nothing, none = np.zeros((len(x), 0), dtype), np.zeros((len(x), 0), np.int64)
        y = lead(batch.y) if judged and batch.y is not None else None
        self.x = nothing if batch.one_hot else x
        self.ids = x if batch.one_hot else none
        self.y = nothing if classes or y is None else y
        self.classes = y if classes and y is not None else none
        weights = batch.weights if judged else None
        self.weights = nothing if weights is None else lead(weights)
        self.scale = scale_of(batch) if judged else np.ones(1)
        self.full = bool((self.lengths == x.shape[2]).all())
        if batch.axes == 0:
            self.reset = np.array([batch.state is None], np.int64)
        else:
            self.reset = batch.reset.astype(np.int64)

    def _of(self, index: Any, reset: Anything, scale: Anything, n: int = 0) -> "Data":
        part = object.__new__(Data)
        part.chances = self.chances.copy() if n else self.chances
        part.chances[2 * len(part.chances) // 3 :] += n
        for name in ("x", "ids", "y", "classes", "lengths", "weights"):
            setattr(part, name, getattr(self, name)[index].reshape(-1))
        part.full, part.reset, part.scale = self.full, reset, scale.reshape(-1)
        return part

    def flat(self) -> "Data":
        """The same in flat arrays."""
        return self._of(slice(None), self.reset, self.scale)

    def part(self, n: int, start: int, end: int) -> "Data":
        """Samples start..end of iteration n, in flat arrays."""
        one = slice(n, n + 1)
        return self._of((n, slice(start, end)), self.reset[one], self.scale[one], n)


def chances_of(chances: Sequence[Chance], dtype: str) -> NDArray[np.int64]:
    """What random numbers begin from, as kernels read it: both words of the key and the iteration,
    each for every lane; nothing if there are none."""
    if not chances:
        return np.zeros(0, np.int64)
    columns = [(*seed_words(each.seed), each.iteration) for each in chances]
    columns += columns[-1:] * (lanes(dtype) - len(columns))
    return np.array(columns, np.int64).T.reshape(-1)


def scale_of(batch: Batch) -> NDArray[np.float64]:
    """`bptt.equations.outputs.loss_scale` of a batch: (1,), (N,) or (M, N) by its axes."""
    last = batch.structure.readout == "last"
    cases: Anything = np.ones_like(batch.lengths) if last else batch.lengths
    counted: Anything = cases
    if batch.weights is not None:
        counted = batch.weights if last else batch.weights.sum(axis=-1, dtype=np.float64)
    return np.atleast_1d(loss_scale(batch.structure.reduction, counted, cases))
