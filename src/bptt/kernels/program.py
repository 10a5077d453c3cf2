"""What is multiplied in a walk: every product of a network, worked out once for its shapes.

`bptt.kernels.walk` knows products by their numbers alone; where the matrices lie, what of them is
padded, split into gates, turned or packed, is here.
"""

from itertools import product
from typing import Any, NamedTuple

from bptt.kernels.processor import TILE_ROWS
from bptt.kernels.products import Base, Products, Values, Weights
from bptt.kernels.strips import SUMMED
from bptt.structure import Structure

# The products of each layer, and, after all layers, of the outputs: of each as many as the segments
# of the walk have versions.
LAYER_PRODUCTS = 10
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
) = range(LAYER_PRODUCTS)
HEAD_PRODUCTS = 3
(
    OUTPUT,  # the output preactivations
    OUTPUT_GRADIENT,  # of V and c
    OUTPUT_BACK,  # the derivative by the top layer's states
) = range(HEAD_PRODUCTS)

# Where each layer has its gates, the derivatives of its preactivations, its states and their
# derivatives, and W (for one row of units and for models, which are multiplied by it in the walk
# itself), forward and back.
PARTS = 6
GATES, DELTAS, STATES, DS, W_FORWARD, W_BACK = range(PARTS)

# A weight matrix of more numbers than this is packed in panels (layout "samples").
PACKED = 4096


class Copy(NamedTuple):
    """A matrix in another order: turned, or, if `target_stride` is PANELS, packed in panels; or, if
    it is SPREAD, numbers as vectors that have them in every lane."""

    source: int
    stride: int
    rows: int
    columns: int
    target: int
    target_stride: int


COPY = len(Copy._fields)
PANELS, SPREAD = 0, -1


class Program(Products):
    """The products of a network. `parts` (layers, PARTS), of which places of W are filled in here;
    offsets: of the parameters in theta and in its gradient; room: hands out places."""

    def __init__(
        self, structure: Structure, regime: str, v: dict[str, Any], room: Any,
        offsets: dict[str, int], parts: Any, inputs: list[tuple[Values, int]], dx: bool,
        one_hot: bool, gradient: bool,
    ) -> None:  # fmt: skip
        super().__init__(structure, regime, v, room.vector)
        self.room, self.offsets, self.parts, self.inputs = room, offsets, parts, inputs
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
        # The gates that the recurrent product feeds, in runs: the first gate of W, how many, and
        # the plane of the first.
        self.runs = [(0, self.G, 0)]
        if self.K > self.G:
            self.runs = [(0, self.G - 1, 0), (self.G - 1, 1, self.K - 1)]
        # The same as they lie in W: where vectors of units are apart, each gate by itself.
        self.runs_of_W = self.runs
        if v["by_vectors"]:
            self.runs_of_W = [
                (first + k, 1, plane + k) for first, n, plane in self.runs for k in range(n)
            ]
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

    def _place(self, name: str, area: str = "theta") -> int:
        return int(self.v[area]) + self.offsets[name]

    def _gradient(self, name: str, row: int, col: int, gate: int = 0, per_set: int = 0) -> Weights:
        """A matrix of gradients: from one input's to the next, and from one output's."""
        block = self.L if self.units else row
        return Weights(self._place(name, "g"), block, row, col, gate, per_set)

    def _forward(self, name: str, inputs: int, packed: bool) -> Weights:
        """U or W as it is applied forward."""
        wide, gate = self.wide * self.weight, self.Hw * self.weight
        place, per_set = self._place(name), inputs * wide
        if self.units:
            return Weights(place, self.L, 0, wide, gate, per_set)
        packed = packed and not self.models and self.H % TILE_ROWS == 0
        if not packed or inputs * self.G * self.H <= PACKED:
            return Weights(place, self.weight, self.weight, wide, gate, per_set)
        target = self.room.take(self.sets * per_set)
        for s in range(self.sets):
            at = s * per_set
            self.copies.append(Copy(place + at, wide, inputs, wide, target + at, PANELS))
        return Weights(target, inputs, 1, TILE_ROWS, self.H * inputs, per_set)

    def _backward(self, name: str, inputs: int, forward: Weights) -> Weights:
        """U or W as it is applied to derivatives: turned where units are in the lanes, from where
        it is applied `forward`."""
        wide, gate = self.wide * self.weight, self.Hw * self.weight
        place, per_set = self._place(name), inputs * wide
        if not (self.units and self.gradient):
            return Weights(place, wide, wide, self.weight, gate, per_set)
        Iw = self.room.padded(inputs)
        each = self.H * Iw
        target = self.room.take(self.sets * self.G * each)
        # Columns that follow each other are turned at once.
        most = self.H if forward.block == self.L else self.L
        for s, g, first in product(range(self.sets), range(self.G), range(0, self.H, most)):
            source = forward.of(g, s).place + first // self.L * forward.block
            turned = target + ((s * self.G + g) * self.H + first) * Iw
            columns = min(most, self.H - first)
            self.copies.append(Copy(source, forward.step, inputs, columns, turned, Iw))
        return Weights(target, self.L, 0, Iw, each, self.G * each)

    def _recurrent(self, name: str, area: str) -> Weights:
        """W as it is applied forward, or its gradient. Of rows of units with several gates what a
        vector of units needs lies together: [vector of units][input][gate][lane]."""
        wide, gate = self.wide * self.weight, self.Hw * self.weight
        if self.v["by_vectors"]:
            step = self.G * self.L
            place, block = self._place(name, area), self.H * step
            return Weights(place, block, step, step, self.L, self.H * wide)
        if area == "theta":
            return self._forward(name, self.H, True)
        return self._gradient(name, wide, self.weight, gate, self.H * wide)

    def _bias_of(self, name: str, size: int, sets: int) -> list[Base]:
        """b, c or h0, of each set: what sums begin with."""
        place = self._place(name)
        if self.units:
            return [Base(place + s * size, 0, self.L) for s in range(sets)]
        if not self.models:
            target = self.room.take(sets * size * self.L)
            self.copies.append(Copy(place, 1, sets * size, 1, target, SPREAD))
            place = target
        return [Base(place + s * size * self.L, self.L) for s in range(sets)]

    def _biases(self, name: str, size: int, sets: int) -> list[Base]:
        return self._bias_of(name, size, sets) if self.structure.bias else [self.nothing] * sets

    # The products.

    def _back_through(
        self, w: Weights, s: int, gate: int, out: Values, features: int, d: Values, count: int,
        n: int, add: bool, reverse: bool = False,
    ) -> None:  # fmt: skip
        """out = (or +=) d M^T, from `count` gates' planes at d: in one product, or, where their
        rows are padded, in one for each."""
        pieces = range(count if self.Hw > self.H else 1)
        depth = count * self.H // len(pieces)
        for done, piece in enumerate(pieces[::-1] if reverse else pieces):
            self.apply(
                out, features, w.of(gate + piece, s), d.at(piece * self.plane), depth, n,
                add=add or done > 0, reverse=reverse,
            )  # fmt: skip

    def _layer(self, layer: int) -> None:
        """The products of one layer, in the order of their numbers."""
        v, parts = self.v, self.parts[layer]
        gates, deltas, states, ds = (int(parts[each]) for each in (GATES, DELTAS, STATES, DS))
        gate_t, gate_b, delta_b, state_t, state_b = (
            int(v[each]) for each in ("gate_t", "gate_b", "delta_b", "state_t", "state_b")
        )
        name = self.structure.name("W", layer)
        W = self._recurrent(name, "theta")
        W_back = self._backward(name, self.H, W)
        parts[W_FORWARD], parts[W_BACK] = W.place, W_back.place
        a, d_step = Values(gates, gate_b, gate_t), Values(deltas, delta_b, gate_t)
        d = Values(deltas, gate_t, gate_t if v["in_place"] else 0, delta_b)
        self._start(layer, Values(states, b=state_b))
        self._input(layer, Values(gates, gate_t, gate_t, gate_b))
        # Short products the walk works out by itself; back but for a segment's first step, which
        # may be an odd one.
        for reverse, (s, _) in product((False, True), self.versions):
            self.begin()
            for gate, count, plane in () if v["short"] else self.runs_of_W:
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
        out, wide = Values(int(v["dh"]), self.plane, b=int(v["dh_b"])), self.Hw
        if layer == 0:
            dx_t = int(v["dx_t"])
            out = Values(int(v["dx"]), dx_t, dx_t, dx_t * int(v["T"]))
            wide = self.room.padded(inputs) if self.units else inputs
        name, wanted = self.structure.name("U", layer), layer > 0 or self.dx
        if wanted:
            U = self._backward(name, inputs, self._forward(name, inputs, False))
        for s, n in self.versions:
            self.begin()
            if wanted:
                self._back_through(U, s, 0, out, wide, d, self.G, n, False)

    def _gradients(self, layer: int, s: int, d: Values, h: Values, n: int) -> None:
        """Of W, b and U, each over n steps."""
        structure, weight = self.structure, self.weight
        x, inputs = self.inputs[layer]
        wide, gate = self.wide * weight, self.Hw * weight
        W = self._recurrent(structure.name("W", layer), "g")
        for first, count, plane in self.runs_of_W:
            fed, width = d.at(plane * self.plane), count * self.Hw
            self.outer(W.of(first, s), self.H, h, fed, width, n, self.add_up)
        if structure.bias:
            width = self.K * self.Hw
            b = self._gradient(structure.name("b", layer), 0, weight, 0, width * weight)
            self.outer(b.of(0, s), 1, Values(int(self.v["ones"])), d, width, n, self.add_up)
        if not (self.one_hot and layer == 0):
            U = self._gradient(structure.name("U", layer), wide, weight, gate, inputs * wide)
            self.outer(U.of(0, s), inputs, x, d, self.wide, n, self.add_up)

    def _start(self, layer: int, state: Values) -> None:
        """h0 (and c0), or zero; for other versions than the first segment's nothing."""
        for version in range(len(self.versions)):
            self.begin()
            for k, letter in enumerate(self.structure.equations.states if version == 0 else ()):
                first = self.nothing
                if self.v["trainable"]:
                    name = self.structure.name(f"{letter}0", layer)
                    (first,) = self._bias_of(name, self.Hw, 1)
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
                    out = self._gradient(self.structure.name(f"{letter}0", layer), 0, self.weight)
                    d = Values(ds.place + k * self.plane, b=ds.case)
                    ones = Values(int(self.v["ones"]))
                    self.outer(out, 1, ones, d, self.Hw, 1 if used else 0)

    def _head(self) -> None:
        """V and c, forward, gradients, and back. With readout "last" only the last segment has
        outputs, and there is one set."""
        structure, v, last = self.structure, self.v, bool(self.v["last"])
        O, state_t, o_t = (int(v[each]) for each in ("O", "state_t", "o_t"))  # noqa: E741
        top = int(self.parts[-1][STATES]) + (int(v["T"]) if last else 1) * state_t
        h = Values(top, state_t, 0 if last else state_t, int(v["state_b"]))
        versions = [(0, 1) for _ in self.versions] if last else self.versions
        sets = 1 if last else self.sets
        V, V_back, V_gradient = self._output_matrices(O, sets)
        wide_O = self.room.padded(O) if self.units else O
        o = Values(int(v["o"]), o_t, 0 if last else o_t, int(v["o_b"]))  # then their derivatives
        biases = self._biases("c", wide_O, sets)
        for s, n in versions:
            self.begin()
            if self.units and O == 1:
                self._one_output(o, biases[s], V.of(0, s), h, n)
            else:
                self.apply(o, O, V.of(0, s), h, self.H, n, biases[s])
        add_up = self.add_up and not last
        for s, n in versions:
            self.begin()
            # Not of the padding, where h may be anything but V must stay zero.
            self.outer(V_gradient.of(0, s), O, o, h, self.H, n, add_up)
            if structure.bias:
                c = self._gradient("c", 0, self.weight, 0, wide_O * self.weight)
                self._bias_gradient(c.of(0, s), o, O, n, add_up)
        dh = Values(int(v["dh"]), self.plane, b=int(v["dh_b"]))
        for (s, n), (_, steps) in zip(versions, self.versions, strict=True):
            self.begin()
            self.apply(dh.at((steps - n) * self.plane), self.Hw, V_back.of(0, s), o, O, n)

    def _bias_gradient(self, c: Weights, do: Values, O: int, n: int, add: bool) -> None:  # noqa: E741
        """Of c. Of a single output of rows of units all cases lie together, as vectors."""
        if not (self.units and O == 1 and n == int(self.v["R"])):
            self.outer(c, 1, Values(int(self.v["ones"])), do, O, n, add)
            return
        self.strips(
            SUMMED, 1, 0, self.nothing, rows=1, depth=int(self.v["Cp"]) // self.L, out=c.place,
            out_row=0, out_col=1, x=do.place, x_block=0, x_row=0, x_step=self.L,
            p=int(self.v["ones"]), p_col=0, p_step=0,
        )  # fmt: skip

    def _output_matrices(self, O: int, sets: int) -> tuple[Weights, Weights, Weights]:  # noqa: E741
        """V forward, backward, and its gradient."""
        place, w = self._place("V"), self.weight
        if not self.units:
            per_set = self.H * O * w
            return (
                Weights(place, w, w, O * w, 0, per_set),
                Weights(place, O * w, O * w, w, 0, per_set),
                self._gradient("V", w, O * w, 0, per_set),
            )
        Hw, per_set = self.Hw, O * self.Hw
        back, gradient = (
            Weights(place, self.L, 0, Hw, 0, per_set),
            self._gradient("V", Hw, 0, 0, per_set),
        )
        if O == 1:  # a single row is its own transpose
            return Weights(place, self.L, 0, 1, 0, per_set), back, gradient
        Op = self.room.padded(O)
        target = self.room.take(sets * self.H * Op)
        for s in range(sets):
            self.copies.append(
                Copy(place + s * per_set, Hw, O, self.H, target + s * self.H * Op, Op)
            )
        return Weights(target, self.L, 0, Op, 0, self.H * Op), back, gradient

    def _one_output(self, o: Values, base: Base, V: Weights, h: Values, n: int) -> None:
        """A single output of rows of units: products lane by lane, added up."""
        self.strips(
            SUMMED, 1, 0, base, rows=n, depth=self.Hw // self.L, out=o.place, out_row=o.case,
            out_col=1, out_t=o.t, out_b=o.b, x=h.place, x_block=h.case, x_row=h.case,
            x_step=self.L, x_t=h.t, x_b=h.b, p=V.place, p_col=0, p_step=self.L,
        )  # fmt: skip
