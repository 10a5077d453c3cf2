"""What is multiplied in a walk: every product of a network, worked out once for its shapes.

`bptt.kernels.walk.steps` knows products by their numbers alone; where the matrices lie, what of
them is padded, split into gates, turned or packed, is here.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

from bptt.kernels.machine.strips import LANES, SHARED, SUMMED
from bptt.kernels.walk.matrices import PADDED, ROWS, SPREAD, Copy, Matrices
from bptt.kernels.walk.products import Base, Values, Weights
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

# What a layer's inputs consist of: where they lie, how many there are, and which is the first.
Inputs = list[tuple[Values, int, int]]

# Where each layer has its gates, the derivatives of its preactivations, its states and their
# derivatives, what reaches h from above, and W (for one row of units and for models, which are
# multiplied by it in the walk itself), forward and back; and the cell's own parameters.
BASES = 8
GATES, DELTAS, STATES, DS, DH, W_FORWARD, W_BACK, OWN = range(BASES)

# Gates that follow each other: the first gate of W, how many, and the plane of the first.
Run = tuple[int, int, int]


class Program(Matrices):
    """The products of a network. `bases` (layers, BASES), of which places of W are filled in here.

    A reverse direction counts its steps from the batch's last. Whatever joins both directions goes
    through the values of one of them from the last to the first (`Values.turned`)."""

    def __init__(
        self, structure: Structure, regime: str, v: dict[str, Any], room: Any,
        offsets: dict[str, int], bases: Any, inputs: list[Inputs], dx: bool,
        one_hot: bool, gradient: bool,
    ) -> None:  # fmt: skip
        super().__init__(structure, regime, v, room, offsets, one_hot, gradient)
        self.bases, self.inputs, self.dx = bases, inputs, dx
        tied, T, steps = structure.tied, int(v["T"]), int(v["steps"])
        # Of each version of a segment: its set of weights, and how many steps it has. The first
        # segment may be shorter.
        self.versions = [(0 if tied else s, steps) for s in range(int(v["versions"]))]
        self.versions[0] = 0, T - (int(v["segments"]) - 1) * steps
        self.add_up = tied and int(v["segments"]) > 1  # gradients are sums over the segments
        # The gates that the recurrent product feeds.
        self.runs: list[Run] = [(0, self.G, 0)]
        if self.K > self.G:
            self.runs = [(0, self.G - 1, 0), (self.G - 1, 1, self.K - 1)][self.G == 1 :]
        self.own = self._copy_own()
        for layer in range(structure.recurrences):
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

    # The products.

    def _versions(self, layer: int) -> list[tuple[int, int]]:
        """Those of a layer, whose sets of weights are those of the steps of the batch."""
        if self.structure.tied or not self._is_reverse(layer):
            return self.versions
        return [(self.sets - 1 - s, n) for s, n in self.versions]

    def _is_reverse(self, layer: int) -> bool:
        """Whether a layer goes from the last step to the first."""
        return layer % self.structure.directions == 1

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
        first_set = self._versions(layer)[0][0]
        bases[W_FORWARD], bases[W_BACK] = W.of(0, first_set).place, W_back.of(0, first_set).place
        a, d_step = Values(gates, gate_b, gate_t), Values(deltas, delta_b, gate_t)
        d = Values(deltas, gate_t, gate_t if v["all_deltas"] else 0, delta_b)
        self._start(layer, Values(states, b=state_b))
        self._input(layer, Values(gates, gate_t, gate_t, gate_b))
        # Short products the walk works out by itself; back but for a segment's first step, which
        # may be an odd one.
        versions = self._versions(layer)
        for reverse, (s, _) in product((False, True), versions):
            self.begin()
            for gate, count, plane in () if v["short"] else self.runs:
                self.apply(
                    a.at(plane * self.plane), count * self.Hw, W.of(gate, s),
                    Values(states, state_b, state_t), self.H, int(v["outer"]), add=True,
                    reverse=reverse,
                )  # fmt: skip
        for reverse, (s, _) in product((False, True), versions):
            self.begin()
            for gate, count, plane in self.runs[:: -1 if reverse else 1]:
                self._back_through(
                    W_back, s, gate, Values(ds, state_t), self.Hw, d_step.at(plane * self.plane),
                    count, int(v["outer"]), True, reverse,
                )  # fmt: skip
        for s, n in versions:
            self.begin()
            self._gradients(layer, s, d, Values(states, state_t, state_t, state_b), n)
        self._start_gradients(layer, Values(ds, state_t))
        self._input_back(layer, d)
        self._own_gradients(layer)

    def _copy_own(self) -> int:
        """Copies of the cell's own parameters as the equations read them, a row each, layer by
        layer: with the units in the lanes H numbers, padded with the last, which no equation
        fails on; otherwise a vector for each unit. Returns where."""
        row, H = int(self.v["own_row"]), self.H
        count = len(self.structure.equations.parameters)
        place = self.room.take(self.structure.recurrences * count * row)
        for layer in range(self.structure.recurrences):
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

    def _input(self, layer: int, a: Values) -> None:
        """The preactivations of a segment: the bias, and what the inputs add."""
        inputs, look_up = self.structure.layer_inputs(layer), self._looks_up(layer)
        U = self._forward(self.structure.name("U", layer), inputs, not look_up)
        biases = self._biases(self.structure.name("b", layer), self.K * self.Hw, self.sets)
        for s, n in self._versions(layer):
            self.begin()
            for x, count, first in self.inputs[layer]:
                depth, more = 0 if look_up else count, first > 0
                base = None if more else biases[s]
                self.apply(a, self.wide, U.of(0, s).rows(first), x, depth, n, base, add=more)
            if self.K > self.G:  # preactivations that the inputs do not feed
                bias = self.further(biases[s], self.wide)
                self.apply(a.at(self.G * self.plane), self.Hw, U, x, 0, n, bias)

    def _looks_up(self, layer: int) -> bool:
        """Whether a layer's inputs are numbers of one-hot ones."""
        return self.one_hot and layer < self.structure.directions

    def _input_back(self, layer: int, d: Values) -> None:
        """The derivative by the inputs of a segment, where somebody wants it."""
        v, structure, directions = self.v, self.structure, self.structure.directions
        reverse, name = self._is_reverse(layer), structure.name("U", layer)
        inputs = structure.layer_inputs(layer)
        # For each part of the inputs its derivative, which the reverse direction writes, and the
        # forward one adds to; the places it is written at, and the matrix.
        parts: list[tuple[Values, int, Weights]] = []
        if layer >= directions:
            below = (layer // directions - 1) * directions
            for k in range(directions):
                U = self._backward(name, inputs, k * self.H, self.H)
                parts.append((self._dh(below + k, reverse), self.Hw, U))
        elif self.dx:
            dx_t, T = int(v["dx_t"]), int(v["T"])
            dx = Values(int(v["dx"]), dx_t, dx_t, dx_t * T)
            wide = self.room.padded(inputs) if self.units else inputs
            parts.append((dx.turned(T) if reverse else dx, wide, self._backward(name, inputs)))
        for s, n in self._versions(layer):
            self.begin()
            for out, wide, U in parts:
                self._back_through(
                    U, s, 0, out, wide, d, self.G, n, directions == 2 and not reverse
                )

    def _dh(self, layer: int, reverse: bool) -> Values:
        """What reaches the states of a layer from above: of a segment, or, where directions are
        joined, of all steps, from the last to the first if asked in reverse."""
        v, T = self.v, int(self.v["T"])
        t = int(v["dh_t"])
        dh = Values(int(self.bases[layer][DH]), t, t if v["whole"] else 0, int(v["dh_b"]))
        return dh.turned(T) if reverse != self._is_reverse(layer) else dh

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
        structure, planes = self.structure, [(0, self.G, 0)]
        W = self._flat(structure.name("W", layer), "g", self.H)
        self._outer_planes(W.of(0, s), self.H, h, d, self.runs, n, self.add_up)
        if structure.bias:
            b = self._flat(structure.name("b", layer), "g", 1)
            b = b._replace(set=self.K * b.gate).of(0, s)
            ones = Values(int(self.v["ones"]))
            self._outer_planes(b, 1, ones, d, [(0, self.K, 0)], n, self.add_up)
        U = self._flat(structure.name("U", layer), "g", structure.layer_inputs(layer)).of(0, s)
        for x, count, first in () if self._looks_up(layer) else self.inputs[layer]:
            part = U._replace(place=U.place + first * U.row)
            self._outer_planes(part, count, x, d, planes, n, self.add_up)

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
        O, o_t = int(v["O"]), int(v["o_t"])  # noqa: E741
        versions = [(0, 1) for _ in self.versions] if last else self.versions
        sets = 1 if last else self.sets
        matrices, states = self._output_matrices(O, sets), self._top_states()
        x_b = int(v["T"]) * int(v["D"]) if self.units else 0
        o = Values(int(v["o"]), o_t, 0 if last else o_t, int(v["o_b"]))  # then their derivatives
        biases = self._biases("c", O, sets)
        for s, n in versions:
            self.begin()
            for k, ((V, _), h) in enumerate(zip(matrices, states, strict=True)):
                if self.units and O == 1:
                    base = Base(o.place, o.case, 1, 1) if k else biases[s]
                    self._one_output(o, base, V.of(0, s), h, n)
                else:
                    base_of = None if k else biases[s]
                    self.apply(o, O, V.of(0, s), h, self.H, n, base_of, add=k > 0)
            self._skip(o, Values(int(v["x"]), int(v["x_t"]), int(v["x_t"]), x_b), n)
        for s, n in versions:
            self.begin()
            for k, h in enumerate(states):
                self._output_gradients(s, k, o, h, n, self.add_up and not last)
            self._output_bias_gradient(s, o, n, self.add_up and not last)
        top = self.structure.recurrences - self.structure.directions
        for (s, n), (_, steps) in zip(versions, self.versions, strict=True):
            self.begin()
            for k, (_, V_back) in enumerate(matrices):
                dh = self._dh(top + k, reverse=last and k == 1)
                dh = dh.at((steps - n) * dh.case)
                self.apply(dh, self.Hw, V_back.of(0, s), o, O, n)
        dx_t = int(v["dx_t"])
        for _, n in versions:
            self.begin()
            if self.dx:
                self._skip(Values(int(v["dx"]), dx_t, dx_t, dx_t * int(v["T"])), o, n)

    def _top_states(self) -> list[Values]:
        """What the outputs read of the top layer, in each of its directions."""
        v, directions = self.v, self.structure.directions
        state_t, T, found = int(v["state_t"]), int(v["T"]), []
        for k in range(directions):
            top = int(self.bases[k - directions][STATES]) + int(v["masked"])  # what goes up
            if v["last"]:
                found.append(Values(top + T * state_t, state_t, 0, int(v["state_b"])))
                continue
            h = Values(top + state_t, state_t, state_t, int(v["state_b"]))
            found.append(h.turned(T) if k == 1 else h)
        return found

    def _skip(self, out: Values, x: Values, n: int) -> None:
        """out += x for the first features, those of a skip: a product with the unit matrix."""
        skip, w, place = self.structure.skip, self.weight, int(self.v["unit_matrix"])
        if skip:
            unit = Weights(place, w, w, skip * w)
            if self.units:
                unit = Weights(place, self.L, 0, self.room.padded(skip))
            self.apply(out, skip, unit, x, skip, n, add=True)

    def _output_gradients(self, s: int, k: int, do: Values, h: Values, n: int, add: bool) -> None:
        """Of the rows of V that are for direction k, over n steps."""
        O, w = int(self.v["O"]), self.weight  # noqa: E741
        V = int(self.v["g"]) + self.offsets["V"]
        V += (s * self.structure.features + k * self.H) * O * w
        if self.units and O > 1:
            self.outer(Weights(V, self.L, O, 1), self.H, h, do, O, n, add)
        else:  # of one output V is a row
            block = self.L if self.units else w
            self.outer(Weights(V, block, w, O * w), O, do, h, self.H, n, add)

    def _output_bias_gradient(self, s: int, do: Values, n: int, add: bool) -> None:
        """Of c, over n steps."""
        O, w = int(self.v["O"]), self.weight  # noqa: E741
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

    def _one_output(self, o: Values, base: Base, V: Weights, h: Values, n: int) -> None:
        """A single output of rows of units: products lane by lane, added up."""
        self.strips(
            SUMMED, 1, 0, base, rows=n, depth=self.Hw // self.L, out=o.place, out_row=o.case,
            out_col=1, out_t=o.t, out_b=o.b, x=h.place, x_block=h.case, x_row=h.case,
            x_step=self.L, x_t=h.t, x_b=h.b, p=V.place, p_col=0, p_step=self.L,
        )  # fmt: skip
