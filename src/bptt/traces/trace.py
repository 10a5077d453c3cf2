"""A trace: every value of a batch's walk through time, and the loss's derivative by each of them.

The walk is the reference's, in float64 whatever the network's own type, so that small derivatives
are seen as they are and not as zero.

    time    0      1      2  ...    T         states: s_0 the initial one, s_t that after step t
    step       1      2     ...  T            inputs, preactivations, gates, outputs

In arrays both count from 0: step index t leads from time index t to time index t + 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import instance
from bptt.arguments import path as path_of
from bptt.equations.cells import Cell
from bptt.equations.outputs import Output
from bptt.equations.own import handed_in
from bptt.errors import BpttError, quoted_list
from bptt.network.batch import Batch
from bptt.network.engines import initial_states
from bptt.network.network import Network, structure_of
from bptt.network.parameters import Array
from bptt.network.recurrence import (
    Flow,
    backward,
    forward,
    input_product,
    judge,
    own_parameters,
    preactivations,
)
from bptt.network.recurrence import Trace as Walk
from bptt.network.structure import Structure
from bptt.training.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    import xarray

# 1 GB of float64 in any one array.
MOST_NUMBERS = 125_000_000

# What is in a trace: name -> its dimensions and what it is.
VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "x": (("sample", "step", "input"), "inputs; of one-hot inputs their numbers (sample, step)"),
    "exists": (("sample", "step"), "whether the sample has that step"),
    "a": (("layer", "preactivation", "sample", "step", "unit"), "preactivations, equation (1)"),
    "gates": (("layer", "gate", "sample", "step", "unit"), "what the cell's equations call gates"),
    "states": (("layer", "state", "sample", "time", "unit"), "states, the initial ones included"),
    "o": (("sample", "answer", "output"), "output preactivations, equation (22)"),
    "p": (("sample", "answer", "output"), "outputs"),
    "y": (("sample", "answer", "output"), "targets; of classes their numbers (sample, answer)"),
    "loss": (("sample", "answer"), "what each answer adds to the loss of the batch"),
    "do": (("sample", "answer", "output"), "dL/do"),
    "dabove": (
        ("layer", "sample", "step", "unit"),
        "the part of dL/dh after the step that comes from above: from the layer on top, or, in "
        "the top layer, from the step's own loss",
    ),
    "dstates": (
        ("layer", "state", "sample", "time", "unit"),
        "dL/ds, all of it: what comes from above and what comes back through later steps (an "
        "LSTM's c with its h held fixed, as in equation (13) before the sum)",
    ),
    "dpaths": (
        ("layer", "path", "state", "sample", "step", "unit"),
        "the parts of dL/ds before the step that come back through each state after it",
    ),
    "da": (("layer", "preactivation", "sample", "step", "unit"), "dL/da"),
    "dx": (("sample", "step", "input"), "dL/dx; not there for one-hot inputs"),
}


# What of a trace is arrays by name.
PARTS = ("arrays", "weights", "gradients")


@dataclass(frozen=True)
class Trace:
    """What `trace` gives: arrays by name, with names for their dimensions.

    `trace["da"]` is an array, `trace.dims("da")` names its axes, `trace.coords` says what stands
    along them, print it for a table of all. `loss` is the batch's, `gradients` those of the
    parameters `weights`, both in the network's own reduction.
    """

    structure: Structure
    weights: Mapping[str, Array]
    gradients: Mapping[str, Array]
    loss: float
    arrays: Mapping[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            raise BpttError(
                f"'{name}' is not in this trace: choose one of {quoted_list(self.arrays)}"
            )
        return self.arrays[name]

    def dims(self, name: str) -> tuple[str, ...]:
        """The names of an array's axes."""
        return VARIABLES[name][0][: self[name].ndim]

    @property
    def samples(self) -> int:
        """B."""
        return len(self["exists"])

    @property
    def steps(self) -> int:
        """T."""
        return int(self["exists"].shape[1])

    @cached_property
    def lengths(self) -> NDArray[np.intp]:
        """How many steps each sample has."""
        lengths: NDArray[np.intp] = self["exists"].sum(axis=1)
        return lengths

    @property
    def coords(self) -> dict[str, list[Any]]:
        """What stands along each dimension."""
        s, cell = self.structure, self.structure.equations
        gates = self["gates"].shape[1]
        named = len(cell.preactivations) == gates and not cell.gates_are_states
        names: dict[str, list[Any]] = {
            "sample": list(range(self.samples)),
            "step": list(range(1, self.steps + 1)),
            "time": list(range(self.steps + 1)),
            "answer": list(range(1, self.steps + 1)) if s.readout == "steps" else [self.steps],
            "layer": list(range(1, s.layers + 1)),
            "preactivation": list(cell.preactivations),
            "gate": list(cell.preactivations) if named else list(range(1, gates + 1)),
            "state": list(cell.states),
            "path": list(cell.states),
            "unit": list(range(s.hidden)),
            "input": list(range(s.inputs)),
            "output": list(range(s.outputs)),
        }
        if cell.gates_are_states and gates == len(cell.states):
            names["gate"] = list(cell.states)
        return names

    def __repr__(self) -> str:
        lines = [
            f"trace of {self.samples} samples of up to {self.steps} steps: loss {self.loss:.6g}",
            *(
                f"  {name:8} {', '.join(self.dims(name)):42} {VARIABLES[name][1]}"
                for name in VARIABLES
                if name in self.arrays
            ),
        ]
        return "\n".join(lines)

    def save(self, path: "str | PathLike[str]") -> None:
        """Write it as a safetensors file, which `load_trace` reads back, number by number.

        Raises BpttError if the file cannot be written.
        """
        tensors = {
            f"{part}/{name}": array for part in PARTS for name, array in getattr(self, part).items()
        }
        described = {"structure": self.structure.plain(), "loss": self.loss}
        write_tensors(path_of("path", path), tensors, {"trace": described})

    def to_xarray(self) -> "xarray.Dataset":
        """The same as a Dataset of xarray, which must be installed (the extra `xarray`)."""
        try:
            import xarray
        except ImportError:
            raise BpttError("xarray is not installed: pip install 'bptt[xarray]'") from None
        variables = {name: (self.dims(name), array) for name, array in self.arrays.items()}
        used = {dim for dims, _ in variables.values() for dim in dims}
        coords = {name: values for name, values in self.coords.items() if name in used}
        dataset = xarray.Dataset(variables, coords, {"loss": self.loss})
        for name in variables:
            dataset[name].attrs["description"] = VARIABLES[name][1]
        return dataset


def load_trace(
    path: "str | PathLike[str]", *, cell: Cell | None = None, output: Output | None = None
) -> Trace:
    """A trace that `Trace.save` has written. cell, output: of one's own, as of `bptt.load`.

    Raises BpttError, one line, for any other file.
    """
    tensors, metadata = read_tensors(file := path_of("path", path))
    described = metadata.get("trace") if isinstance(metadata, dict) else None
    if not isinstance(described, dict) or not isinstance(described.get("structure"), dict):
        raise BpttError(f"'{file}' holds no trace: give a file that Trace.save wrote")
    with handed_in(cell, output):
        structure = structure_of(described["structure"])
    parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in PARTS}
    for name in sorted(tensors):
        part, _, rest = name.partition("/")
        parts.get(part, {})[rest] = tensors[name]
    shapes, loss = structure.layout().shapes, described.get("loss")
    found = Trace(
        structure, parts["weights"], parts["gradients"],
        loss if isinstance(loss, float) else np.nan, parts["arrays"],
    )  # fmt: skip
    fits = all(
        {name: array.shape for name, array in parts[part].items()} == shapes
        for part in ("weights", "gradients")
    )
    if not fits or set(VARIABLES) - set(found.arrays) - {"dx"} or not _labelled(found):
        raise BpttError(f"'{file}' does not fit its own description: the file is damaged")
    return found


def _labelled(found: Trace) -> bool:
    """Whether every array has as many numbers along each axis as its axis has names."""
    known = set(found.arrays) <= set(VARIABLES)
    if not known or found["exists"].ndim != 2 or found["gates"].ndim != 5:
        return False
    sizes = {name: len(values) for name, values in found.coords.items()}
    return all(
        array.ndim == len(found.dims(name))
        and array.shape == tuple(sizes[dim] for dim in found.dims(name))
        for name, array in found.arrays.items()
    )


def trace(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    lengths: ArrayLike | None = None,
    state: ArrayLike | None = None,
) -> Trace:
    """Every value of a batch's way through a network and back, labelled.

    Arguments as of `Network.gradient`. Values past a sequence's end mean nothing; the derivatives
    there are 0. Raises BpttError for arguments that do not fit, or if an array of the trace had
    more than 125 million numbers.

    >>> import bptt
    >>> task = bptt.Addition(bits=3)
    >>> network = bptt.Network(inputs=2, outputs=1, hidden=4, cell="gru", seed=1)
    >>> found = trace(network, *task.encode([(3, 2), (7, 7)]))
    >>> found["da"].shape, found.dims("da")
    ((1, 4, 2, 4, 4), ('layer', 'preactivation', 'sample', 'step', 'unit'))
    """
    s = instance("network", network, Network, "a bptt.Network").structure
    s.refuse_both_directions("a trace follows one direction of time")
    double = msgspec.structs.replace(s, dtype="float64")
    if y is None:
        raise BpttError("y is None: a trace needs targets, for the derivatives of a loss")
    batch = Batch(double, x, y, lengths, state)
    count, steps = batch.x.shape[:2]
    cell = s.equations
    largest = count * (steps + 1) * s.hidden * s.layers
    largest *= max(len(cell.preactivations), len(cell.states) ** 2)
    if largest > MOST_NUMBERS:
        raise BpttError(
            f"a trace of {count} samples of {steps} steps would have {largest:,} numbers in one "
            f"array, more than {MOST_NUMBERS:,}: give fewer samples or steps"
        )
    with np.errstate(all="ignore"):
        return _walked(double, network.theta.astype(np.float64), batch)


def _walked(structure: Structure, theta: Array, batch: Batch) -> Trace:
    """The trace of a batch that fits."""
    steps, last = batch.x.shape[1], structure.readout == "last"
    weights = structure.layout().views(theta)
    exists = np.arange(steps) < batch.lengths[:, None]  # (B, T)
    initial = initial_states(structure, theta, batch.state, len(batch.x))
    x = np.swapaxes(batch.x, 0, 1)
    walk = forward(structure, weights, x, exists.T, [tuple(layer) for layer in initial])
    targets: NDArray[Any] = np.asarray(batch.y)
    targets = targets[:, None] if last else targets  # (B, answers, ...)
    y = np.swapaxes(targets, 0, 1)
    judged = judge(structure, walk, y)
    flows: list[Flow] = []
    gradients, dx, _ = backward(structure, weights, walk, judged.do, flows)
    if batch.state is not None:  # it stands in for the initial state's parameters
        for name in gradients:
            if name.partition(".")[0] in [f"{state}0" for state in structure.equations.states]:
                gradients[name][...] = 0
    arrays: dict[str, NDArray[Any]] = {
        "x": batch.x,
        "exists": exists,
        "a": _by_step([_preactivations(structure, weights, walk, n) for n in range(len(flows))]),
        "gates": _by_step([layer.gates for layer in walk.layers]),
        "states": _by_step([layer.states for layer in walk.layers]),
        "o": np.swapaxes(walk.o, 0, 1),
        "p": np.swapaxes(judged.p, 0, 1),
        "y": targets,
        "loss": np.swapaxes(judged.losses, 0, 1),
        "do": np.swapaxes(judged.do, 0, 1),
        "dabove": np.stack([np.swapaxes(flow.above, 0, 1) for flow in flows]),
        "dstates": _by_step([flow.states for flow in flows]),
        "da": _by_step([flow.da for flow in flows]),
    }
    if dx is not None:
        arrays["dx"] = np.swapaxes(dx, 0, 1)
    made = Trace(structure, weights, gradients, judged.loss, arrays)
    arrays["dpaths"] = np.stack([_paths(made, layer) for layer in range(structure.layers)])
    return made


def _by_step(layers: list[Any]) -> Array:
    """Layers of steps of tuples of (B, H) as (layers, tuple, B, steps, H)."""
    return np.moveaxis(np.array([[list(step) for step in layer] for layer in layers]), 1, 3)


def _preactivations(
    structure: Structure, weights: Mapping[str, Array], walk: Walk, layer: int
) -> list[tuple[Array, ...]]:
    """Each step's preactivations, which the walk does not keep: T times K of (B, H)."""
    cell, steps = structure.equations, walk.layers[layer]
    U, W = weights[structure.name("U", layer)], weights[structure.name("W", layer)]
    b = weights.get(structure.name("b", layer))
    h = np.array([s[0] for s in steps.states[:-1]])  # (T, B, H)
    T, B = h.shape[:2]
    if structure.tied:  # the same product for all steps: one
        x = steps.x.reshape(T * B, *steps.x.shape[2:])
        found = preactivations(cell, input_product(x, U), h.reshape(T * B, -1) @ W, b)
        return list(zip(*[each.reshape(T, B, -1) for each in found], strict=True))
    return [
        preactivations(cell, input_product(x, U[t]), h[t] @ W[t], None if b is None else b[t])
        for t, x in enumerate(steps.x)
    ]


def _paths(made: Trace, layer: int) -> Array:
    """dL/ds before each step by the state after it through which it comes back,
    (path, state, B, T, H): the way back is linear in what it starts from, equation (2)."""
    after = made["dstates"][layer][:, :, 1:]
    parts = []
    for path in range(len(after)):
        alone = [after[n] if n == path else np.zeros_like(after[n]) for n in range(len(after))]
        parts.append(step_back(made, layer, tuple(alone))[0])
    return np.where(made["exists"][..., None], np.stack(parts), 0)


def step_back(made: Trace, layer: int, ds: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    """All steps of a layer one step back, at once: from derivatives by the states after each,
    S of (..., B, T, H), those by the states before, (S, ..., B, T, H), and by the preactivations.
    """
    structure, cell = made.structure, made.structure.equations
    states, gates = made["states"][layer], made["gates"][layer]
    before, after = tuple(states[:, :, :-1]), tuple(states[:, :, 1:])
    own = own_parameters(structure, made.weights, layer)
    da, direct, *_ = cell.backward(tuple(gates), before, after, ds, *own)
    W = made.weights[structure.name("W", layer)]  # (H, G*H), untied (T, H, G*H)
    W = W if structure.tied else W[: made.steps]
    through = np.concatenate([da[k] for k in cell.recurrent], axis=-1)  # (..., B, T, G*H)
    by_h = through @ W.T if structure.tied else np.einsum("...tg,thg->...th", through, W)
    return np.stack([direct[0] + by_h, *(np.broadcast_to(d, by_h.shape) for d in direct[1:])]), da
