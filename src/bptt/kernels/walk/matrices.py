"""Where matrices and vectors of parameters lie, as products read them: as they are, or as copies in
another order."""

from math import prod
from typing import Any, NamedTuple

from bptt.kernels.machine.processor import TILE_ROWS
from bptt.kernels.walk.products import Base, Products, Weights
from bptt.network.structure import Structure

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


class Matrices(Products):
    """The parameters of a network. offsets: of the parameters in theta and in its gradient; room:
    hands out places.

    A layer of these is a recurrence: of a bidirectional network each direction is one."""

    def __init__(
        self, structure: Structure, regime: str, v: dict[str, Any], room: Any,
        offsets: dict[str, int], one_hot: bool, gradient: bool,
    ) -> None:  # fmt: skip
        super().__init__(structure, regime, v, room.vector)
        self.room, self.offsets, self.one_hot, self.gradient = room, offsets, one_hot, gradient
        self.sets = 1 if structure.tied else int(v["T"])
        self.G, self.K, self.H, self.Hw, self.plane = (
            int(v[each]) for each in ("G", "K", "H", "Hw", "plane")
        )
        self.wide = self.G * self.Hw
        self.copies: list[Copy] = []
        # Where the parameters lie that are applied as rows of H numbers: where they are, or padded.
        self.places = {name: int(v["theta"]) + offset for name, offset in offsets.items()}
        if self.Hw > self.H:
            self._pad_rows()

    def _pad_rows(self) -> None:
        """Rows of H numbers that are no whole vectors are applied from a copy in which they are:
        one of all that lie next to each other."""
        others = {"c"} | ({"V"} if int(self.v["O"]) > 1 else set())
        layers = range(self.structure.recurrences)
        others |= {name for layer in layers for name in self._own(layer)}
        if self.one_hot:  # rows of U are looked up where they are
            others |= {self.structure.name("U", k) for k in range(self.structure.directions)}
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

    def _backward(self, name: str, inputs: int, first: int = 0, count: int = 0) -> Weights:
        """U or W as it is applied to derivatives: turned where units are in the lanes. If `count`,
        for so many inputs from the first."""
        flat, count = self._flat(name, "theta", inputs), count or inputs
        flat = flat._replace(place=flat.place + first * flat.row)
        if not (self.units and self.gradient):
            return Weights(flat.place, flat.row, flat.row, flat.step, flat.gate, flat.set)
        Iw = self.room.padded(count)
        each = self.H * Iw
        target = self.room.take(self.sets * self.G * each)
        for s in range(self.sets):
            source, turned = flat.of(0, s).place, target + s * self.G * each
            self.copies.append(Copy(TURNED, source, flat.row, count, flat.row, turned, Iw))
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

    def _output_matrices(self, O: int, sets: int) -> list[tuple[Weights, Weights]]:  # noqa: E741
        """The rows of V for each direction of the top layer, forward and backward."""
        place, w, H, Hw = self.places["V"], self.weight, self.H, self.Hw
        F, halves = self.structure.features, range(self.structure.directions)
        if not self.units:
            here = [(place + k * H * O * w, F * O * w) for k in halves]
            return [
                (Weights(at, w, w, O * w, 0, per_set), Weights(at, O * w, O * w, w, 0, per_set))
                for at, per_set in here
            ]
        if O == 1:  # a single row is its own transpose
            here = [(place + k * Hw, len(halves) * Hw) for k in halves]
            return [
                (Weights(at, self.L, 0, 1, 0, per_set), Weights(at, self.L, 0, Hw, 0, per_set))
                for at, per_set in here
            ]
        forward, width = place, self.room.padded(O)
        if width > O:
            forward = self.room.take(sets * F * width)
            self.copies.append(Copy(ROWS, place, O, sets * F, O, forward, width))
        found = []
        for k in halves:
            turned = self.room.take(sets * O * Hw)
            for s in range(sets if self.gradient else 0):
                source = place + (s * F + k * H) * O
                self.copies.append(Copy(TURNED, source, O, H, O, turned + s * O * Hw, Hw))
            forth = Weights(forward + k * H * width, self.L, 0, width, 0, F * width)
            found.append((forth, Weights(turned, self.L, 0, Hw, 0, O * Hw)))
        return found
