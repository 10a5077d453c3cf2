"""What is multiplied in a walk: every product of a network, worked out once for its shapes.

`bptt.kernels.walk.steps` knows products by their numbers alone; where the matrices lie, what of
them is padded, split into gates, turned or packed, is here.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from bptt.kernels.machine.processor import TILE_ROWS
from bptt.kernels.machine.strips import LANES, SHARED, SUMMED
from bptt.kernels.walk.products import Base, Products, Values, Weights
from bptt.network.structure import Structure

# The products of each layer, and, after all layers, of the outputs: of each as many as the segments
# of the walk have versions.
LAYER_PRODUCTS = 11
(
    START,  # the states before the first step
    INPUT,  # the preactivations of a segment from the bias and the inputs
    RECURRENT,  # at an even step, what h adds to them
    RECURRENT_ODD,  # at an odd step: the same, going through W the other way round
    RECURRENT_BACK,  # at an even step, what the derivatives of its preactivations add to ds
    RECURRENT_BACK_ODD,  # at an odd step, likewise
    GRADIENT,  # of W, b and U
    START_GRADIENT,  # of the initial states
    NO_START_GRADIENT,  # of initial states that were not used
    INPUT_BACK,  # the derivative by the layer's inputs
    OWN_GRADIENT,  # of the cell's own parameters, from the sums over the steps
) = range(LAYER_PRODUCTS)
HEAD_PRODUCTS = 4
(
    OUTPUT,  # the output preactivations
    OUTPUT_GRADIENT,  # of V and c
    OUTPUT_BACK,  # the derivative by the top layer's states
    SKIP_BACK,  # what the inputs that are added to the outputs add to their derivative
) = range(HEAD_PRODUCTS)

# Where each layer has its gates, the derivatives of its preactivations, its states and their
# derivatives, what reaches h from above, and W (for one row of units and for models, which are
# multiplied by it in the walk itself), forward and back; and the cell's own parameters.
BASES = 8
GATES, DELTAS, STATES, DS, DH, W_FORWARD, W_BACK, OWN = range(BASES)

# A weight matrix of more numbers than this is packed in panels (regime "samples").
PACKED = 4096


# Other orders that weights are wanted in: rows, further apart and padded with zeros; turned; packed
# in panels; each number in every lane of a vector; or a row padded with its last number.
ROWS, TURNED, PANELS, SPREAD, PADDED = range(5)


class Copy(NamedTuple):
    """A matrix in another order. Its rows (TURNED its columns) are `target_stride` apart in it."""

    order: int
    source: int
    stride: int
    rows: int
    columns: int
    target: int
    target_stride: int = 0


COPY = len(Copy._fields)

# Gates that follow each other: the first gate of W, how many, and the plane of the first.
Run = tuple[int, int, int]


class Program(Products):
    """The products of a network. `bases` (layers, BASES), of which places of W are filled in here;
    offsets: of the parameters in theta and in its gradient; room: hands out places."""

    def __init__(
        self, structure: Structure, regime: str, v: dict[str, Any], room: Any,
        offsets: dict[str, int], bases: Any, inputs: list[tuple[Values, int]], dx: bool,
        one_hot: bool, gradient: bool,
    ) -> None:  # fmt: skip
        super().__init__(structure, regime, v, room.vector)
        self.room, self.offsets, self.bases, self.inputs = room, offsets, bases, inputs
        self.one_hot, self.dx, self.gradient = one_hot, dx, gradient
        tied, T, steps = structure.tied, int(v["T"]), int(v["steps"])
        self.sets = 1 if tied else T
        # Of each version of a segment: its set of weights, and how many steps it has. The first
        # segment may be shorter.
        self.versions = [(0 if tied else s, steps) for s in range(int(v["versions"]))]
        self.versions[0] = 0, T - (int(v["segments"]) - 1) * steps
        self.add_up = tied and int(v["segments"]) > 1  # gradients are sums over the segments
        self.G, self.K, self.H, self.Hw, self.plane = (
            int(v[each]) for each in ("G", "K", "H", "Hw", "plane")
        )
        self.wide = self.G * self.Hw
        self.copies: list[Copy] = []
        # Where the parameters lie that are applied as rows of H numbers: where they are, or padded.
        self.places = {name: int(v["theta"]) + offset for name, offset in offsets.items()}
        if self.Hw > self.H:
            self._pad_rows()
        # The gates that the recurrent product feeds.
        self.runs: list[Run] = [(0, self.G, 0)]
        if self.K > self.G:
            self.runs = [(0, self.G - 1, 0), (self.G - 1, 1, self.K - 1)][self.G == 1 :]
        self.own = self._copy_own()
        for layer in range(structure.layers):
            self._layer(layer)
        self._head()
        if not gradient:
            self._drop_back()

    def _drop_back(self) -> None:
        """Leave out the products of the way back, whose code would have to be compiled too."""
        versions = len(self.versions)
        head = len(self.products) - HEAD_PRODUCTS * versions
        for number, strips in enumerate(self.products):
            product = number % (LAYER_PRODUCTS * versions) // versions
            if number >= head:
                forward = (number - head) // versions == OUTPUT
            else:
                forward = product in (START, INPUT, RECURRENT, RECURRENT_ODD)
            if not forward:
                strips.clear()

    # Where parameters lie.

    def _pad_rows(self) -> None:
        """Rows of H numbers that are no whole vectors are applied from a copy in which they are:
        one of all that lie next to each other."""
        others = {"c"} | ({"V"} if int(self.v["O"]) > 1 else set())
        others |= {name for layer in range(self.structure.layers) for name in self._own(layer)}
        if self.one_hot:  # rows of U are looked up where they are
            others.add(self.structure.name("U", 0))
        for name, shape in self.structure.layout().shapes.items():
            if name in others:
                continue
            rows, place = prod(shape) // self.H, self.places[name]
            target = self.room.take(rows * self.Hw)
            last = self.copies[-1] if self.copies else Copy(ROWS, -1, 0, 0, 0, 0)
            if place == last.source + last.rows * self.H:
                self.copies[-1] = last._replace(rows=last.rows + rows)
            else:
                self.copies.append(Copy(ROWS, place, self.H, rows, self.H, target, self.Hw))
            self.places[name] = target

    def _own(self, layer: int) -> list[str]:
        """The names of the cell's own parameters of a layer."""
        return [self.structure.name(each.name, layer) for each in
                self.structure.equations.parameters]  # fmt: skip

    def _copy_own(self) -> int:
        """Copies of the cell's own parameters as the equations read them, a row each, layer by
        layer: with the units in the lanes H numbers, padded with the last, which no equation
        fails on; otherwise a vector for each unit. Returns where."""
        row, H = int(self.v["own_row"]), self.H
        count = len(self.structure.equations.parameters)
        place = self.room.take(self.structure.layers * count * row)
        for layer in range(self.structure.layers):
            self.bases[layer, OWN] = place + layer * count * row
            for k, parameter in enumerate(self.structure.equations.parameters):
                source = self.places[self._own(layer)[k]]
                target, apart = int(self.bases[layer, OWN]) + k * row, 0 if parameter.shared else 1
                if self.models:
                    copy = Copy(ROWS, source, apart * self.L, H, self.L, target, self.L)
                elif self.units and not parameter.shared:
                    copy = Copy(PADDED, source, 1, 1, H, target, row)
                else:
                    copy = Copy(SPREAD, source, apart, row // self.L, 1, target)
                self.copies.append(copy)
        return int(place)

    def _own_gradients(self, layer: int) -> None:
        """Of the cell's own parameters, from sums over the steps: summed up over samples in the
        lanes, and of those that units share over the units."""
        sums, L = int(self.bases[layer, OWN]) + int(self.v["own_sums"]) - self.own, self.L
        ones, row = int(self.v["ones"]), int(self.v["own_row"])
        for version in range(len(self.versions)):
            self.begin()
            for k, parameter in enumerate(self.structure.equations.parameters):
                if version > 0 or not parameter.trained:
                    continue
                place = int(self.v["g"]) + self.offsets[self._own(layer)[k]]
                x, p = ones, sums + k * row
                kind = LANES if self.models else SUMMED
                vectors, last, depth, p_col, x_step, p_step = self.H, 0, 1, L, 0, 0
                out_col = self.weight
                if parameter.shared:
                    vectors, depth, p_col, p_step = 1, row // L, 0, L
                    if self.units:  # the units that there are
                        x, x_step = int(self.v["units"]), L
                elif self.units:
                    kind, vectors, last, out_col = SHARED, self.H // L, self.H % L, L
                self.strips(
                    kind, vectors, last, self.nothing, rows=1, depth=depth, out=place, out_row=0,
                    out_col=out_col, x=x, x_block=0, x_row=0, x_step=x_step, p=p, p_col=p_col,
                    p_step=p_step,
                )  # fmt: skip

    def _flat(self, name: str, area: str, inputs: int) -> Weights:
        """U, W or b as it lies in theta, or its gradient in g."""
        weight = self.weight
        wide, gate = self.G * self.H * weight, self.H * weight
        place, block = int(self.v[area]) + self.offsets[name], self.L if self.units else wide
        return Weights(place, block, wide, weight, gate, inputs * wide)

    def _forward(self, name: str, inputs: int, packed: bool) -> Weights:
        """U or W as it is applied forward."""
        wide, gate = self.wide * self.weight, self.Hw * self.weight
        place, per_set = self.places[name], inputs * wide
        if self.units:
            return Weights(place, self.L, 0, wide, gate, per_set)
        packed = packed and not self.models and self.H % TILE_ROWS == 0
        if not packed or inputs * self.G * self.H <= PACKED:
            return Weights(place, self.weight, self.weight, wide, gate, per_set)
        target = int(self.v["packed"]) + self.offsets[name]
        if self.v["packed"] < 0:
            target = self.room.take(self.sets * per_set)
        for s in range(self.sets):
            at = s * per_set
            self.copies.append(Copy(PANELS, place + at, wide, inputs, wide, target + at))
        return Weights(target, inputs, 1, TILE_ROWS, self.H * inputs, per_set)

    def _backward(self, name: str, inputs: int) -> Weights:
        """U or W as it is applied to derivatives: turned where units are in the lanes."""
        flat = self._flat(name, "theta", inputs)
        if not (self.units and self.gradient):
            return Weights(flat.place, flat.row, flat.row, flat.step, flat.gate, flat.set)
        Iw = self.room.padded(inputs)
        each = self.H * Iw
        target = self.room.take(self.sets * self.G * each)
        for s in range(self.sets):
            source, turned = flat.of(0, s).place, target + s * self.G * each
            self.copies.append(Copy(TURNED, source, flat.row, inputs, flat.row, turned, Iw))
        return Weights(target, self.L, 0, Iw, each, self.G * each)

    def _bias_of(self, place: int, size: int, sets: int) -> list[Base]:
        """b, c or h0, of each set: what sums begin with."""
        if self.units:
            return [Base(place + s * size, 0, self.L) for s in range(sets)]
        if not self.models:
            target = self.room.take(sets * size * self.L)
            self.copies.append(Copy(SPREAD, place, 1, sets * size, 1, target))
            place = target
        return [Base(place + s * size * self.L, self.L) for s in range(sets)]

    def _biases(self, name: str, size: int, sets: int) -> list[Base]:
        if not self.structure.bias:
            return [self.nothing] * sets
        return self._bias_of(self.places[name], size, sets)

    # The products.

    def _back_through(
        self, w: Weights, s: int, gate: int, out: Values, features: int, d: Values, count: int,
        n: int, add: bool, reverse: bool = False,
    ) -> None:  # fmt: skip
        """out = (or +=) d M^T, from `count` gates' planes at d: in one product, or, where their
        rows are padded, in one for each."""
        planes = range(count if self.Hw > self.H else 1)
        depth = count * self.H // len(planes)
        for done, plane in enumerate(planes[::-1] if reverse else planes):
            self.apply(
                out, features, w.of(gate + plane, s), d.at(plane * self.plane), depth, n,
                add=add or done > 0, reverse=reverse,
            )  # fmt: skip

    def _layer(self, layer: int) -> None:
        """The products of one layer, in the order of their numbers."""
        v, bases = self.v, self.bases[layer]
        gates, deltas, states, ds = (int(bases[each]) for each in (GATES, DELTAS, STATES, DS))
        gate_t, gate_b, delta_b, state_t, state_b = (
            int(v[each]) for each in ("gate_t", "gate_b", "delta_b", "state_t", "state_b")
        )
        name = self.structure.name("W", layer)
        W, W_back = self._forward(name, self.H, True), self._backward(name, self.H)
        bases[W_FORWARD], bases[W_BACK] = W.place, W_back.place
        a, d_step = Values(gates, gate_b, gate_t), Values(deltas, delta_b, gate_t)
        d = Values(deltas, gate_t, gate_t if v["in_place"] else 0, delta_b)
        self._start(layer, Values(states, b=state_b))
        self._input(layer, Values(gates, gate_t, gate_t, gate_b))
        # Short products the walk works out by itself; back but for a segment's first step, which
        # may be an odd one.
        for reverse, (s, _) in product((False, True), self.versions):
            self.begin()
            for gate, count, plane in () if v["short"] else self.runs:
                self.apply(
                    a.at(plane * self.plane), count * self.Hw, W.of(gate, s),
                    Values(states, state_b, state_t), self.H, int(v["outer"]), add=True,
                    reverse=reverse,
                )  # fmt: skip
        for reverse, (s, _) in product((False, True), self.versions):
            self.begin()
            for gate, count, plane in self.runs[:: -1 if reverse else 1]:
                self._back_through(
                    W_back, s, gate, Values(ds, state_t), self.Hw, d_step.at(plane * self.plane),
                    count, int(v["outer"]), True, reverse,
                )  # fmt: skip
        for s, n in self.versions:
            self.begin()
            self._gradients(layer, s, d, Values(states, state_t, state_t, state_b), n)
        self._start_gradients(layer, Values(ds, state_t))
        self._input_back(layer, d)
        self._own_gradients(layer)

    def _input(self, layer: int, a: Values) -> None:
        """The preactivations of a segment: the bias, and what the inputs add."""
        x, inputs = self.inputs[layer]
        look_up = self.one_hot and layer == 0
        U = self._forward(self.structure.name("U", layer), inputs, not look_up)
        biases = self._biases(self.structure.name("b", layer), self.K * self.Hw, self.sets)
        for s, n in self.versions:
            self.begin()
            depth = 0 if look_up else inputs
            self.apply(a, self.wide, U.of(0, s), x, depth, n, biases[s])
            if self.K > self.G:  # preactivations that the inputs do not feed
                first = self.further(biases[s], self.wide)
                self.apply(a.at(self.G * self.plane), self.Hw, U, x, 0, n, first)

    def _input_back(self, layer: int, d: Values) -> None:
        """The derivative by the inputs of a segment, where somebody wants it."""
        v, inputs = self.v, self.inputs[layer][1]
        out, wide = self._dh(layer - 1), self.Hw
        if layer == 0:
            dx_t = int(v["dx_t"])
            out = Values(int(v["dx"]), dx_t, dx_t, dx_t * int(v["T"]))
            wide = self.room.padded(inputs) if self.units else inputs
        name, wanted = self.structure.name("U", layer), layer > 0 or self.dx
        if wanted:
            U = self._backward(name, inputs)
        for s, n in self.versions:
            self.begin()
            if wanted:
                self._back_through(U, s, 0, out, wide, d, self.G, n, False)

    def _dh(self, layer: int) -> Values:
        """What reaches the states of a layer from above, of a segment."""
        return Values(int(self.bases[layer][DH]), int(self.v["dh_t"]), b=int(self.v["dh_b"]))

    def _outer_planes(
        self, w: Weights, inputs: int, x: Values, d: Values, runs: Sequence[Run], n: int, add: bool
    ) -> None:  # fmt: skip
        """Of planes of derivatives: in one product, or, where their rows are padded, in one for
        each."""
        if self.Hw > self.H:
            runs = [(gate + k, 1, plane + k) for gate, n, plane in runs for k in range(n)]
        for gate, count, plane in runs:
            fed, features = d.at(plane * self.plane), count * self.H
            self.outer(w.of(gate, 0), inputs, x, fed, features, n, add)

    def _gradients(self, layer: int, s: int, d: Values, h: Values, n: int) -> None:
        """Of W, b and U, each over n steps."""
        structure, (x, inputs), planes = self.structure, self.inputs[layer], [(0, self.G, 0)]
        W = self._flat(structure.name("W", layer), "g", self.H)
        self._outer_planes(W.of(0, s), self.H, h, d, self.runs, n, self.add_up)
        if structure.bias:
            b = self._flat(structure.name("b", layer), "g", 1)
            b = b._replace(set=self.K * b.gate).of(0, s)
            ones = Values(int(self.v["ones"]))
            self._outer_planes(b, 1, ones, d, [(0, self.K, 0)], n, self.add_up)
        if not (self.one_hot and layer == 0):
            U = self._flat(structure.name("U", layer), "g", inputs)
            self._outer_planes(U.of(0, s), inputs, x, d, planes, n, self.add_up)

    def _start(self, layer: int, state: Values) -> None:
        """h0 (and c0), or zero; for other versions than the first segment's nothing."""
        for version in range(len(self.versions)):
            self.begin()
            for k, letter in enumerate(self.structure.equations.states if version == 0 else ()):
                first = self.nothing
                if self.v["trainable"]:
                    place = self.places[self.structure.name(f"{letter}0", layer)]
                    (first,) = self._bias_of(place, self.Hw, 1)
                nowhere = Weights(0, 0, 0, 0)
                self.apply(state.at(k * self.plane), self.Hw, nowhere, state, 0, 1, first)

    def _start_gradients(self, layer: int, ds: Values) -> None:
        """Of h0: the sum over samples of ds before the first step, or zero if it was not used."""
        for used in (True, False):
            for version in range(len(self.versions)):
                self.begin()
                for k, letter in enumerate(self.structure.equations.states):
                    if version > 0 or not self.v["trainable"]:
                        continue
                    out = self._flat(self.structure.name(f"{letter}0", layer), "g", 1)
                    d = Values(ds.place + k * self.plane, b=ds.case)
                    ones = Values(int(self.v["ones"]))
                    self.outer(out, 1, ones, d, self.H, 1 if used else 0)

    def _head(self) -> None:
        """V and c, forward, gradients, and back. With readout "last" only the last segment has
        outputs, and there is one set."""
        v, last = self.v, bool(self.v["last"])
        O, state_t, o_t = (int(v[each]) for each in ("O", "state_t", "o_t"))  # noqa: E741
        top = int(self.bases[-1][STATES]) + (int(v["T"]) if last else 1) * state_t
        top += int(v["masked"])  # what of the states goes up
        h = Values(top, state_t, 0 if last else state_t, int(v["state_b"]))
        versions = [(0, 1) for _ in self.versions] if last else self.versions
        sets = 1 if last else self.sets
        V, V_back = self._output_matrices(O, sets)
        x_b = int(v["T"]) * int(v["D"]) if self.units else 0
        o = Values(int(v["o"]), o_t, 0 if last else o_t, int(v["o_b"]))  # then their derivatives
        biases = self._biases("c", O, sets)
        for s, n in versions:
            self.begin()
            if self.units and O == 1:
                self._one_output(o, biases[s], V.of(0, s), h, n)
            else:
                self.apply(o, O, V.of(0, s), h, self.H, n, biases[s])
            self._skip(o, Values(int(v["x"]), int(v["x_t"]), int(v["x_t"]), x_b), n)
        for s, n in versions:
            self.begin()
            self._output_gradients(s, o, h, n, self.add_up and not last)
        dh = self._dh(-1)
        for (s, n), (_, steps) in zip(versions, self.versions, strict=True):
            self.begin()
            self.apply(dh.at((steps - n) * dh.case), self.Hw, V_back.of(0, s), o, O, n)
        dx_t = int(v["dx_t"])
        for _, n in versions:
            self.begin()
            if self.dx:
                self._skip(Values(int(v["dx"]), dx_t, dx_t, dx_t * int(v["T"])), o, n)

    def _skip(self, out: Values, x: Values, n: int) -> None:
        """out += x for the first features, those of a skip: a product with the unit matrix."""
        skip, w, place = self.structure.skip, self.weight, int(self.v["unit_matrix"])
        if skip:
            unit = Weights(place, w, w, skip * w)
            if self.units:
                unit = Weights(place, self.L, 0, self.room.padded(skip))
            self.apply(out, skip, unit, x, skip, n, add=True)

    def _output_gradients(self, s: int, do: Values, h: Values, n: int, add: bool) -> None:
        """Of V and c, over n steps."""
        O, w = int(self.v["O"]), self.weight  # noqa: E741
        V = int(self.v["g"]) + self.offsets["V"] + s * self.H * O * w
        if self.units and O > 1:
            self.outer(Weights(V, self.L, O, 1), self.H, h, do, O, n, add)
        else:  # of one output V is a row
            block = self.L if self.units else w
            self.outer(Weights(V, block, w, O * w), O, do, h, self.H, n, add)
        if not self.structure.bias:
            return
        c = int(self.v["g"]) + self.offsets["c"] + s * O * w
        if not (self.units and O == 1 and n == int(self.v["R"])):
            ones, block = Values(int(self.v["ones"])), self.L if self.units else 0
            self.outer(Weights(c, block, 0, w), 1, ones, do, O, n, add)
            return
        # Of a single output of rows of units all cases lie together, as vectors.
        self.strips(
            SUMMED, 1, 0, self.nothing, rows=1, depth=int(self.v["Cp"]) // self.L, out=c,
            out_row=0, out_col=1, x=do.place, x_block=0, x_row=0, x_step=self.L,
            p=int(self.v["ones"]), p_col=0, p_step=0,
        )  # fmt: skip

    def _output_matrices(self, O: int, sets: int) -> tuple[Weights, Weights]:  # noqa: E741
        """V forward and backward."""
        place, w = self.places["V"], self.weight
        if not self.units:
            per_set = self.H * O * w
            forth = Weights(place, w, w, O * w, 0, per_set)
            return forth, Weights(place, O * w, O * w, w, 0, per_set)
        Hw = self.Hw
        if O == 1:  # a single row is its own transpose
            return Weights(place, self.L, 0, 1, 0, Hw), Weights(place, self.L, 0, Hw, 0, Hw)
        forward, width = place, self.room.padded(O)
        if width > O:
            forward = self.room.take(sets * self.H * width)
            self.copies.append(Copy(ROWS, place, O, sets * self.H, O, forward, width))
        turned = self.room.take(sets * O * Hw)
        for s in range(sets if self.gradient else 0):
            source = place + s * self.H * O
            self.copies.append(Copy(TURNED, source, O, self.H, O, turned + s * O * Hw, Hw))
        return (
            Weights(forward, self.L, 0, width, 0, self.H * width),
            Weights(turned, self.L, 0, Hw, 0, O * Hw),
        )

    def _one_output(self, o: Values, base: Base, V: Weights, h: Values, n: int) -> None:
        """A single output of rows of units: products lane by lane, added up."""
        self.strips(
            SUMMED, 1, 0, base, rows=n, depth=self.Hw // self.L, out=o.place, out_row=o.case,
            out_col=1, out_t=o.t, out_b=o.b, x=h.place, x_block=h.case, x_row=h.case,
            x_step=self.L, x_t=h.t, x_b=h.b, p=V.place, p_col=0, p_step=self.L,
        )  # fmt: skip
