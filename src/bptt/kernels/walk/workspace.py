"""Where everything lies: the regimes of a walk, chosen by shapes, and one array that holds it all.

A walk works on one flat array m: weights, gradient, optimizer state (parameters and what goes with
them in the order of the flat vector; large ones stay where their owner has them), and the values of
all steps. A kernel is given places in m and strides, so that the three regimes differ in numbers
alone:

    units    lanes are hidden units. One or few samples: each weight is read once and used once,
             so weights are read as vectors, W also turned for the way back; rows that are not
             whole vectors are applied from copies that are (`Program`).
             A row of values: K planes (or S states) of H numbers, padded to whole vectors.
    samples  lanes are samples, weights single numbers: each weight read serves a vector of samples.
             Features are not padded, the batch is; large matrices are packed in panels.
             A row of values: K planes of H features of Bp samples.
    models   lanes are models of the same structure, one sample each; a weight is a vector.
             A row of values: K planes of H features of one vector.

A "case" is one column of a product: a step, or a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.equations.optimizers import rule_of
from bptt.kernels.machine.library import COMPILER_OFF
from bptt.kernels.machine.processor import PAIRS, lanes
from bptt.kernels.walk.matrices import COPY
from bptt.kernels.walk.products import MODELS, SAMPLES, UNITS, Values
from bptt.kernels.walk.program import (
    BASES,
    DELTAS,
    DH,
    DS,
    GATES,
    STATES,
    Inputs,
    Program,
)
from bptt.network.batch import Anything
from bptt.network.parameters import Array
from bptt.network.structure import Structure

# A batch of fewer samples than this is walked with the units in the lanes.
FEW_SAMPLES = 6
# The numbers of hidden units that a forward pass of many samples has in the lanes.
FORWARD_UNITS = (8, 65)
# The vectors of units that one row is worked out by itself for.
ROW_VECTORS = 2
# A segment of a walk has so many steps as have a layer's inputs and derivatives in this many bytes
# of the cache, because each tile of a gradient goes through them again; but enough for sums of so
# many vectors or rows, or a gradient's numbers would be read and written too often.
CACHE = 2**18
FEWEST_SUMMED = 32
# Steps' gates and states, and inputs that are turned, are no multiple of so many bytes apart (a
# vector stays free behind each step if they would be): a gradient goes through the same numbers of
# all steps, which would share a few sets of the cache, and push each other out of it.
ALIASING = 1024
# The fields of a learner that have a number for each parameter; places of the same names hold them.
PARAMETERS = ("theta", "s0", "s1")
# Parameters of so many bytes, their optimizer's states and their gradient are not copied into m but
# borrowed: used where their owner has them, whose memory would be needed twice. Few numbers are
# copied in no time, and lie at the beginning of a cache line then.
BORROWED = 2**20
# Before it is known where they are, borrowed arrays stand for multiples of this.
FAR = 2**44
# The fields of a plan that are no whole numbers.
FLOATS = ("threshold", "deviation", "rate", "input_rate")
# The layers' widest that several models are walked side by side for.
SIDE_BY_SIDE = 16


def regime_for(structure: Structure, batch: int, gradient: bool = True) -> str:
    """The regime that serves a network and batch best, by shapes alone.

    Without a gradient rows of units do as well where they fill vectors and W stays in the cache;
    most networks are trained so, and nothing more needs to be compiled to test them.
    """
    if batch < FEW_SAMPLES:
        return UNITS
    forward = not gradient and structure.hidden in range(*FORWARD_UNITS)
    return UNITS if forward else SAMPLES


def goes_side_by_side(structure: Structure, batch: int) -> bool:
    """Whether models of this structure are walked in the lanes of a vector."""
    return batch == 1 and structure.hidden <= SIDE_BY_SIDE


@dataclass(frozen=True)
class Shape:
    """What a workspace is made for: T steps, B samples or models; which derivatives are wanted (by
    the weights, by x, by the initial state); the optimizer's rule, as `Optimizer.kind`, if there is
    one; whether it is disturbed as training is."""

    structure: Structure
    regime: str
    B: int
    T: int
    one_hot: bool
    gradient: bool = True
    dx: bool = False
    to_start: bool = False
    optimizer: str = ""
    disturbed: bool = False

    @property
    def borrows(self) -> bool:
        """Whether arrays of parameters are borrowed. Models are interleaved, and without the
        compiler nothing outside of m can be reached."""
        if COMPILER_OFF or self.regime == MODELS:
            return False
        numbers = self.structure.layout().size
        return numbers * np.dtype(self.structure.dtype).itemsize >= BORROWED

    @property
    def optimizer_states(self) -> tuple[str, ...]:
        """Which states of the optimizer there are."""
        return rule_of(self.optimizer).states if self.optimizer else ()


class Places:
    """Hands out places in the flat array, each at the beginning of a vector."""

    def __init__(self, vector: int, start: int = 0) -> None:
        self.vector, self.size = vector, start

    def padded(self, n: int) -> int:
        """n, up to whole vectors."""
        return -(-n // self.vector) * self.vector

    def take(self, n: int) -> int:
        """The place of n numbers."""
        place = self.size
        self.size += self.padded(n)
        return place


def _record(values: dict[str, Any]) -> Any:
    """The values as attributes of one thing that kernels are handed by its address."""
    if COMPILER_OFF:  # a record in Python would take T and size for its own transpose and size
        return SimpleNamespace(**values)
    names = sorted(values)
    kinds = ["f8" if name in FLOATS else "i8" for name in names]
    row = tuple(values[name] for name in names)
    return np.array([row], dtype=list(zip(names, kinds, strict=True)))


def zeros(n: int, dtype: Any) -> Array:
    """n zeros, at the beginning of a cache line."""
    size = n * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


class Workspace:
    """The array of a walk, and the numbers that say what is where.

    first: the workspace of a batch's first shard, whose array this one shares, and in it the
    weights and the optimizer's state; `allocate` comes after the last shard. Where the shape says
    so these and the first shard's gradient are arrays of their own: then `borrow` tells which.

    Attributes: plan (a record of sizes, places and strides), program (the products: see
    `bptt.kernels.walk.program`), copies (rows of `matrices.Copy`), bases (layers, `program.BASES`),
    m (the array).
    """

    m: NDArray[np.floating]

    def __init__(
        self, shape: Shape, first: "Workspace | None" = None, first_sample: int = 0
    ) -> None:
        self.shape, self.first, self.first_sample = shape, first, first_sample
        self.L = lanes(shape.structure.dtype)
        self.room: Places = first.room if first else Places(self.L)
        self.values: dict[str, Any] = {}
        self._sizes()
        self._parameters()
        self._values_of_steps()
        self._cases()
        self._program()
        self.plan = _record(self.values)
        self._find_borrowed()

    def allocate(self) -> None:
        """Make the array, at the beginning of a cache line, or take that of the first shard."""
        dtype = np.dtype(self.shape.structure.dtype)
        if self.first:
            self.m = self.first.m
        else:
            # Reading vectors may go beyond the last number.
            self.m = zeros(self.room.size + 2 * self.L, dtype)
        for name, count in (
            ("ones", self.room.padded(self.values["Bp"])),
            ("present", self.shape.B),
            ("units", self.values["H"] if self.values["own_row"] else 0),
        ):
            place = self.values[name]
            self.m[place : place + count] = 1
        row, w = int(self.values["unit_row"]), int(self.values["weight"])
        for k in range(self.shape.structure.skip):
            place = self.values["unit_matrix"] + k * (row + 1) * w
            self.m[place : place + w] = 1
        if self.values["both"]:  # lanes without a sample have no steps
            place = self.values["lengths"] + self.values["lengths_apart"]
            self.m[place : place + self.values["lengths_apart"]] = -self.shape.T
        levels = self.shape.structure.head.levels
        self.m[self.values["levels"] : self.values["levels"] + len(levels)] = levels

    def _sizes(self) -> None:
        """Sizes and the strides of rows of values."""
        shape, v = self.shape, self.values
        structure, cell, head = shape.structure, shape.structure.equations, shape.structure.head
        B, T, H = shape.B, shape.T, structure.hidden
        K, S = len(cell.preactivations), len(cell.states)
        units = shape.regime == UNITS
        R = T if structure.readout == "steps" else 1
        v.update(
            B=B, T=T, D=structure.inputs, H=H, O=structure.outputs,
            G=cell.gates, K=K, S=S, R=R, layers=structure.recurrences, one_hot=shape.one_hot,
            output=head.code,
            threshold=head.threshold,
            last=structure.readout == "last",
            want_dx=shape.dx, to_start=shape.to_start,
            first_sample=self.first_sample, deviation=structure.noise,
            rate=structure.dropout, input_rate=structure.input_dropout,
            once=structure.dropout_mask == "sequence",
        )  # fmt: skip
        # Layers go through a segment one after the other, the outputs last: one stage. Where both
        # directions are joined each goes through all segments first: a stage each, and one for the
        # outputs.
        whole = structure.bidirectional
        v.update(
            both=1 if whole else 0, whole=whole, stages=v["layers"] + 1 if whole else 1,
            stage_layers=1 if whole else v["layers"],
        )  # fmt: skip
        # Hw: what a plane of H units spans in a row of weights. weight: how far apart these are.
        Bp = 1 if units else self.room.padded(B)
        Hw = self.room.padded(H) if units else H
        plane = Hw * Bp
        outer = B if units else 1
        models, one = shape.regime == MODELS, units and B == 1
        v.update(
            Bp=Bp, Hw=Hw, plane=plane, outer=outer,
            VV=(Hw if units else Bp) // self.L,
            gate_t=self._apart(K * plane), state_t=self._apart(S * plane),
            weight=self.L if models else 1,
            trainable=structure.initial_state == "trainable",
            # Whether recurrent products are short, forward and back: the walk works them out by
            # itself. A number of h of one row of units that is read for one vector of weights at a
            # time is worth it for few vectors.
            short=models or (one and cell.gates * Hw <= ROW_VECTORS * self.L),
            short_back=models or (one and Hw <= ROW_VECTORS * self.L),
            one_vector=one and Hw == self.L,
            two_vectors=one and Hw == 2 * self.L and K == 1 and PAIRS,
            two_back=one and Hw == 2 * self.L and PAIRS,
            lane=1 if models else 0,
            length_b=self.L if units else 0, length_v=0 if units else self.L,
        )  # fmt: skip
        v.update(gate_b=T * v["gate_t"], state_b=(T + 1) * v["state_t"])
        self._segments()
        # Derivatives take the place of the gates; where these are states, which others still need
        # on the way back, they lie apart, of one segment.
        in_place = shape.disturbed or not cell.gates_are_states
        delta_b = v["gate_b"] if in_place else (T if whole else v["steps"]) * v["gate_t"]
        v.update(in_place=in_place, all_deltas=in_place or whole, delta_b=delta_b)
        if not in_place:
            v["gate_b"] = v["state_b"]

    def _apart(self, n: int) -> int:
        """How far steps are apart that have n numbers each (`ALIASING`)."""
        return n if n * np.dtype(self.shape.structure.dtype).itemsize % ALIASING else n + self.L

    def _segments(self) -> None:
        """Into how many segments of how many steps the walk is divided: of equal steps but for the
        first, which may have fewer. Untied weights have a segment for each set.

        versions: the products of segment s are those of version s, or of the last version."""
        v, structure, T = self.values, self.shape.structure, self.shape.T
        widest = max(structure.layer_inputs(layer) for layer in range(structure.recurrences))
        cases, summed = int(v["outer"] * v["Bp"]), v["outer"]
        if self.shape.regime != UNITS:
            summed = v["VV"]
        numbers = (widest + (1 + int(v["K"])) * structure.hidden) * cases
        most = CACHE // (numbers * np.dtype(structure.dtype).itemsize)
        most = max(most, -(-FEWEST_SUMMED // summed)) if structure.tied else 1
        segments = -(-T // most)
        steps = -(-T // segments)
        segments = -(-T // steps)
        versions = 1 if T % steps == 0 else 2
        v.update(
            segments=segments, steps=steps, versions=versions if structure.tied else T,
        )  # fmt: skip

    def _parameters(self) -> None:
        """Theta, optimizer state and gradient: in the order of the flat vector."""
        layout, v = self.shape.structure.layout(), self.values
        self.offsets = {name: at.start * v["weight"] for name, at in layout.slices.items()}
        self.size = -(-layout.size * v["weight"] // (2 * self.L)) * 2 * self.L
        wanted = {"theta", *self.shape.optimizer_states, *(["g"] if self.shape.gradient else [])}
        for number, name in enumerate((*PARAMETERS, "g")):
            if self.first and name != "g":
                v[name] = self.first.values[name]
            elif self.shape.borrows and not self.first:
                v[name] = (number + 1) * FAR
            else:
                v[name] = self.room.take(self.size if name in wanted else 0)
        v["size"] = layout.size if self.shape.borrows else self.size
        if layout.fixed:  # what comes last is not trained
            v["size"] = layout.trained * v["weight"]
        # Samples are multiplied forward by packed weights, and back by those in theta: large ones
        # are packed where their gradients come to lie afterwards. (None: -1.)
        shared = self.shape.borrows and self.shape.regime == SAMPLES and "g" in wanted
        v["packed"] = (self.first or self).values["g"] if shared else -1

    def _find_borrowed(self) -> None:
        """Which numbers of program, plan, bases and copies are places in borrowed arrays, and where
        in these."""
        self._borrowed: dict[str, list[tuple[Anything, Anything, Anything]]] = {}
        if not self.shape.borrows:
            return
        others = (table.reshape(-1) for table in (self.bases, self.copies))
        tables = (self.program, self.plan.view(np.int64), *others)
        for number, name in enumerate((*PARAMETERS, "g")):
            places = [(table, np.flatnonzero(table // FAR == number + 1)) for table in tables]
            self._borrowed[name] = [(table, at, table[at] % FAR) for table, at in places]

    def borrow(self, name: str, array: Array) -> None:
        """Use this array (contiguous, of the network's type) for the parameters, or what goes with
        them, of that name."""
        place = (array.ctypes.data - self.m.ctypes.data) // array.itemsize
        for table, at, inside in self._borrowed[name]:
            table[at] = inside + place

    def _program(self) -> None:
        """The products, and the matrices that they want in another order."""
        v, shape = self.values, self.shape
        # Every shard's program wants the same copies: they are the first one's.
        self.copied: int = self.first.copied if self.first else self.room.size
        room = Places(self.L, self.copied) if self.first else self.room
        program = Program(
            shape.structure, shape.regime, v, room, self.offsets, self.bases, self.inputs,
            shape.dx, shape.one_hot, shape.gradient,
        )  # fmt: skip
        self.program = program.table()
        self.copies = np.array(program.copies, np.int64).reshape(-1, COPY)
        v["copies"] = len(self.copies)
        v["own_sums"] -= program.own
        table, *others = (
            self.offsets[shape.structure.name("U", k)] for k in range(shape.structure.directions)
        )
        v["table"], v["table_gradient"] = v["theta"] + table, v["g"] + table
        v["table_apart"] = sum(others) - table if others else 0  # the reverse direction's
        v["table_row"] = v["G"] * v["H"] * v["weight"]
        tied, rows = shape.structure.tied, v["D"] * v["table_row"]
        v["table_t"] = 0 if tied else rows
        v["W_t"] = 0 if tied else v["H"] * v["G"] * v["plane"]
        # Where gradients begin with zero: those that are added up over segments, and the rows of U
        # that one-hot inputs may look up.
        v["clear"], v["cleared"] = v["g"], v["size"]
        if not program.add_up:
            v["clear"] = v["table_gradient"]
            rows = (1 if tied else shape.T) * rows + v["table_apart"]
            v["cleared"] = rows if shape.one_hot else 0

    def _values_of_steps(self) -> None:
        """The values of all steps, and the inputs of each layer: where, and how many."""
        structure, v, take = self.shape.structure, self.values, self.room.take
        T, D, Bp = (int(v[each]) for each in ("T", "D", "Bp"))
        units, outer = self.shape.regime == UNITS, int(v["outer"])
        gradient = self.shape.gradient
        v["ones"], v["zeros"], skip = take(Bp), take(self.L), structure.skip
        v["unit_row"] = self.room.padded(skip) if units else skip
        v["unit_matrix"] = take(skip * v["unit_row"] * v["weight"])
        # A row of a parameter of the cell's own, or of the sums of its derivatives.
        parameters = len(structure.equations.parameters)
        v["own_row"] = (v["Hw"] if units else v["H"] * self.L) if parameters else 0
        own = structure.recurrences * parameters * v["own_row"]
        v["own_cleared"] = own if gradient else 0
        v["own_clear"], v["units"] = take(v["own_cleared"]), take(v["own_row"])
        v["own_sums"] = v["own_clear"]  # less the place of the parameters: see `_program`
        # Inputs of whole vectors alone: others are turned many steps at a time.
        v["x_t"] = self._apart(D * Bp) if not units and D % self.L == 0 else D * Bp
        v["x"] = take(0 if self.shape.one_hot else T * v["x_t"] * outer)
        # Derivatives that lie apart take the place of dh. Those of the layer below are worked out
        # from them: it has another.
        v["dh_t"] = v["plane"] if v["in_place"] else v["gate_t"]
        v["dh_b"] = (T if v["whole"] else v["steps"]) * v["dh_t"]
        ways, one = structure.directions, structure.layers == 1
        places = ways * (1 if one or (v["in_place"] and not v["whole"]) else 2)
        dh = [take(outer * v["dh_b"] if gradient else 0) for _ in range(places)]
        wide = self.room.padded(D) if units else D * Bp
        v["dx"], v["dx_t"] = take(outer * T * wide if self.shape.dx else 0), wide
        v["held"] = take(outer * v["state_t"] if gradient else 0)
        self.bases: NDArray[np.int64] = np.zeros((structure.recurrences, BASES), np.int64)
        self.inputs: list[Inputs] = []
        source = Values(v["x"], v["x_t"], v["x_t"], T * D if units else 0)
        # Of a disturbed walk: noise, and, where something is dropped on the way up, masks and
        # masked states, each so far behind the states that they belong to.
        disturbed = self.shape.disturbed
        apart = self.room.padded(outer * v["state_b"])
        dropped = disturbed and structure.dropout > 0
        v["noise"] = apart if disturbed else 0
        v["mask"], v["masked"] = (2 * apart, 3 * apart) if dropped else (0, 0)
        x_dropped = disturbed and structure.input_dropout > 0
        numbers = T * v["x_t"] * outer if x_dropped else 0
        v["x_mask"], v["x_masked"] = take(numbers), take(numbers)
        if x_dropped:
            source = source._replace(place=v["x_masked"])
        going_up: list[Values] = []  # of the layers so far
        for layer in range(structure.recurrences):
            self.inputs.append(self._inputs_of(layer, source, going_up))
            states, state_t = take(outer * v["state_b"]), v["state_t"]
            take(max(v["noise"], v["masked"]))
            gates = take(outer * v["gate_b"]) if v["in_place"] else states + state_t
            dh_here = dh[layer % places]
            deltas = gates if v["in_place"] else dh_here
            ds = take(outer * state_t if gradient else 0)
            self.bases[layer, [GATES, DELTAS, STATES, DS, DH]] = gates, deltas, states, ds, dh_here
            up = Values(states + v["masked"] + state_t, state_t, state_t, v["state_b"])
            going_up.append(up)

    def _inputs_of(self, layer: int, x: Values, going_up: list[Values]) -> Inputs:
        """A layer's inputs: x, or what goes up from the layer below, in all its directions; what is
        of another direction than the layer from its last step to its first."""
        structure, T = self.shape.structure, self.shape.T
        ways, H = structure.directions, structure.hidden
        reverse = layer % ways == 1
        if layer < ways:
            return [(x.turned(T) if reverse else x, structure.inputs, 0)]
        first = (layer // ways - 1) * ways
        below = enumerate(going_up[first : first + ways])
        return [(h.turned(T) if reverse != (k == 1) else h, H, k * H) for k, h in below]

    def _cases(self) -> None:
        """Outputs: rows (o), and the same with the cases in the lanes (oc, p, y): [block][O][Cp],
        where one block holds all cases (regime "units") or one step's. Derivatives take the place
        of what they are derivatives by."""
        v, take, shape = self.values, self.room.take, self.shape
        B, R, O, Bp = (int(v[each]) for each in ("B", "R", "O", "Bp"))  # noqa: E741
        units = shape.regime == UNITS
        Cp, blocks = (self.room.padded(B * R), 1) if units else (Bp, R)
        size = blocks * O * Cp
        turned = units and O > 1
        v.update(
            Cp=Cp, blocks=blocks, turned=turned, o_t=O * Bp, o_b=R * O if units else 0,
            case_b=R if units else 1, case_t=1 if units else Bp, lane_cases=R if units else 1,
        )  # fmt: skip
        v["o"] = take(size)
        v["oc"] = take(size) if turned else v["o"]
        v["p"] = take(0 if shape.gradient else size)
        v["y"] = take(0 if shape.structure.head.classes else size)
        v["case_weights"] = take(blocks * Cp)
        v["wrong"], v["scratch"], v["present"] = take(Cp), take(2 * self.L), take(Cp)
        v["levels"] = take(O)  # of quantiles
        count = B * self.L if units else Bp
        v["lengths"] = take(count)  # in vectors; exact up to 2^24 steps
        # Of reverse directions: what is above -t where the sequence has the step that comes as t.
        v["lengths_apart"] = take(count) - v["lengths"] if v["both"] else 0


def plan_of_nothing(regime: str, dtype: str) -> Any:
    """A plan, for its type, which is that of all plans."""
    structure = Structure(inputs=1, outputs=1, hidden=1, dtype=dtype)
    return Workspace(Shape(structure, regime, 1, 1, False)).plan


def workspaces(shape: Shape, ranges: Sequence[tuple[int, int]]) -> list[Workspace]:
    """A workspace for each range of samples, in one array."""
    made: list[Workspace] = []
    for start, end in ranges:
        made.append(Workspace(replace(shape, B=end - start), made[0] if made else None, start))
    for each in made:
        each.allocate()
    return made
