"""Addition of binary numbers, bit by bit, least significant bit first.

A worked example, 4 bits, 3 + 6 = 9, with room for the carry (5 steps):

    step            0  1  2  3  4
    a = 3           1  1  0  0  0     x[t] = (bit t of a, bit t of b)
    b = 6           0  1  1  0  0
    a + b = 9       1  0  0  1  0     y[t] = bit t of the sum
    carry to keep   0  1  1  0  0     what the network has to remember from step to step
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError, quoted_list
from bptt.tasks.task import Batch

Bits = NDArray[np.uint8]
CARRIES = ("room", "wrap")
ORDERS = ("in_turn", "shuffled", "sliding")
# Beyond this many steps numbers are drawn bit by bit instead of as machine integers.
WORD = 62


def bits_of(numbers: NDArray[np.int64], steps: int) -> Bits:
    """The lowest `steps` bits (at most 62) of each number, two's complement, on a new last axis."""
    octets = np.ascontiguousarray(numbers, "<i8").view(np.uint8).reshape(*numbers.shape, 8)
    used = np.ascontiguousarray(octets[..., : (steps + 7) // 8])
    flat = np.unpackbits(used, bitorder="little")  # along an axis it is several times slower
    return flat.reshape(*numbers.shape, -1)[..., :steps]


def bits_of_integer(number: int, steps: int) -> Bits:
    """The lowest `steps` bits of an integer of any size, two's complement."""
    octets = (number % (1 << steps)).to_bytes((steps + 7) // 8, "little")
    return np.unpackbits(np.frombuffer(octets, np.uint8), count=steps, bitorder="little")


def add_bits(a: Bits, b: Bits) -> Bits:
    """The sum of two numbers given as bits on the last axis, modulo 2 ** steps."""
    total = np.empty_like(a)
    carry = np.zeros(a.shape[:-1], np.uint8)
    for t in range(a.shape[-1]):
        s = a[..., t] + b[..., t] + carry
        total[..., t], carry = s & 1, s >> 1
    return total


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task of adding two binary numbers.

    bits: how many bits an operand has. signed: operands are two's complement and the sum wraps.
    carry: for unsigned numbers, 'room' adds one step, so that every sum fits; 'wrap' has `bits`
    steps and the sum is taken modulo 2 ** bits. low, high: operands are uniform in [low, high);
    by default all numbers of `bits` bits. pairs: train on that many fixed pairs instead of on
    fresh ones; order: in which batches go through them: 'in_turn', 'shuffled' anew each time
    through, or 'sliding' (batch k is pairs k..k+B-1, a published fault kept for comparison).

    Raises BpttError for a value that is not allowed.

    >>> task = Addition(bits=4)
    >>> x, y = task.encode([(3, 6)])
    >>> x[0, :, 0], y[0, :, 0]
    (array([1, 1, 0, 0, 0], dtype=uint8), array([1, 0, 0, 1, 0], dtype=uint8))
    >>> task.decode(y[..., 0])
    [9]
    """

    bits: int = 8
    signed: bool = False
    carry: str = "room"
    low: int | None = None
    high: int | None = None
    pairs: int | None = None
    order: str = "in_turn"

    def __post_init__(self) -> None:
        if self.bits < 1:
            raise BpttError(f"bits {self.bits} must be at least 1")
        for name, allowed in (("carry", CARRIES), ("order", ORDERS)):
            if getattr(self, name) not in allowed:
                raise BpttError(
                    f"{name} '{getattr(self, name)}' is not known: "
                    f"choose one of {quoted_list(allowed)}"
                )
        if (self.low is None) != (self.high is None):
            raise BpttError("low and high go together: give both or neither")
        if self.pairs is not None and self.pairs < 1:
            raise BpttError(f"pairs {self.pairs} must be at least 1; leave it out for fresh pairs")
        if self.low is not None and self.high is not None:
            if self.steps > WORD:
                raise BpttError(f"low and high need at most {WORD} steps: leave them out")
            smallest, largest = self.range_of(self.bits)
            if not smallest <= self.low < self.high <= largest + 1:
                raise BpttError(
                    f"operands from {self.low} up to {self.high} do not fit: "
                    f"numbers from {smallest} to {largest} have {self.bits} bits"
                )

    name = "addition"
    inputs = 2
    outputs = 1
    output = "sigmoid"

    @property
    def steps(self) -> int:
        """T: `bits`, and one more where the carry has room."""
        return self.steps_for(self.bits)

    def steps_for(self, bits: int) -> int:
        """How many steps a sum of operands of `bits` bits has."""
        return bits if self.signed or self.carry == "wrap" else bits + 1

    def range_of(self, bits: int) -> tuple[int, int]:
        """The smallest and the largest operand of that many bits."""
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.signed else (0, (1 << bits) - 1)

    def config(self) -> dict[str, Any]:
        """See `Task.config`."""
        return {"task": self.name, **msgspec.structs.asdict(self)}

    def stream(self, seed: int, batch: int, dtype: str = "float32") -> "AdditionStream":
        """See `Task.stream`."""
        return AdditionStream(self, seed, batch, dtype)

    def draw_pairs(self, rng: np.random.Generator, count: int, bits: int | None = None) -> Bits:
        """Random pairs as bits (count, 2, T), uniform over the operands' range."""
        steps = self.steps_for(bits or self.bits)
        if steps <= WORD:
            low, largest = self.range_of(bits or self.bits)
            high = largest + 1
            if bits is None and self.low is not None and self.high is not None:
                low, high = self.low, self.high
            return bits_of(rng.integers(low, high, (count, 2)), steps)
        # Whole words of 32 bits: narrower ones would share words within a call, not between calls.
        drawn = rng.integers(0, 1 << 32, (count, 2, (steps + 31) // 32), np.uint32).astype("<u4")
        operands = np.unpackbits(drawn.view(np.uint8), axis=-1, count=steps, bitorder="little")
        if steps > (bits or self.bits):
            operands[..., -1] = 0  # the carry's step
        return operands

    @staticmethod
    def sequences(operands: Bits) -> tuple[Bits, Bits]:
        """Inputs (..., T, 2) and targets (..., T, 1) of pairs (..., 2, T)."""
        total = add_bits(operands[..., 0, :], operands[..., 1, :])
        return np.swapaxes(operands, -1, -2), total[..., None]

    def encode(
        self, pairs: Sequence[tuple[int, int]], bits: int | None = None
    ) -> tuple[Bits, Bits]:
        """Inputs (B, T, 2) and targets (B, T, 1) of integer pairs of any size.

        bits: how many bits an operand has, by default the task's. Raises BpttError for a number
        that does not fit.
        """
        bits = bits or self.bits
        smallest, largest = self.range_of(bits)
        for number in (number for pair in pairs for number in pair):
            if not smallest <= number <= largest:
                raise BpttError(
                    f"{number} does not fit: {'signed' if self.signed else 'unsigned'} numbers of "
                    f"{bits} bits go from {smallest} to {largest}; give more bits"
                    + ("" if number >= 0 or self.signed else ", or a signed network")
                )
        steps = self.steps_for(bits)
        operands = [[bits_of_integer(number, steps) for number in pair] for pair in pairs]
        return self.sequences(np.array(operands, np.uint8).reshape(-1, 2, steps))

    def bits_needed(self, a: int, b: int) -> int:
        """How many bits operands need so that a, b and, where the sum could wrap, a + b fit."""
        total = a + b
        if self.signed:
            return max((n if n >= 0 else ~n).bit_length() + 1 for n in (a, b, total))
        fits = (a, b, total) if self.carry == "wrap" else (a, b)
        return max(max(n.bit_length() for n in fits), 1)

    def decode(self, bits: ArrayLike) -> list[int]:
        """The integers of rows of bits (B, T), two's complement if the task is signed."""
        numbers = []
        for row in np.atleast_2d(np.asarray(bits, np.uint8)):
            number = int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")
            numbers.append(number - (1 << row.size) if self.signed and row[-1] else number)
        return numbers

    def all_pairs(self) -> Iterator[tuple[Bits, Bits]]:
        """Inputs and targets of every pair of operands, for at most 8 bits, in 8 parts or fewer."""
        if self.bits > 8:
            raise BpttError(f"all pairs of {self.bits}-bit numbers are too many: at most 8 bits")
        smallest, largest = self.range_of(self.bits)
        numbers = np.arange(smallest, largest + 1)
        for part in np.array_split(numbers, min(8, numbers.size)):
            grid = np.stack(np.meshgrid(part, numbers, indexing="ij"), axis=-1).reshape(-1, 2)
            yield self.sequences(bits_of(grid, self.steps))

    def long_pairs(self, bits: int, count: int, seed: int) -> tuple[Bits, Bits]:
        """Inputs and targets of `count` random pairs of any number of bits, to test beyond the
        trained length."""
        return self.sequences(self.draw_pairs(np.random.default_rng(seed), count, bits))


def wrong_bits(predicted: Bits, y: Bits) -> float:
    """The share of wrong bits."""
    return float(np.mean(predicted != y))


def exact(predicted: Bits, y: Bits) -> float:
    """The share of sums with every bit right; arrays (B, T, 1)."""
    return float(np.mean((predicted == y).all(axis=(1, 2))))


class AdditionStream:
    """The batches of an addition task; see `bptt.tasks.task.Stream`."""

    def __init__(self, task: Addition, seed: int, batch: int, dtype: str) -> None:
        if batch < 1:
            raise BpttError(f"batch {batch} must be at least 1")
        self.task, self.batch, self.dtype = task, batch, dtype
        self.rng = np.random.default_rng(seed)
        self.position = 0
        self.fixed: Bits | None = None
        if task.pairs is not None:
            if batch > task.pairs:
                raise BpttError(
                    f"batch {batch} is larger than the {task.pairs} pairs: make it smaller"
                )
            self.fixed = task.draw_pairs(self.rng, task.pairs)
            self.shuffle = np.random.default_rng(self.rng.integers(1 << 62))
            self.permutation = self._next_order()

    def _next_order(self) -> NDArray[np.intp]:
        if self.task.order == "shuffled":
            return self.shuffle.permutation(self.task.pairs or 0)
        return np.arange(self.task.pairs or 0)

    def draw(self, iterations: int) -> Batch:
        """See `Stream.draw`."""
        if self.fixed is None:
            operands = self.task.draw_pairs(self.rng, iterations * self.batch)
        else:
            operands = np.concatenate([self._minibatch(self.fixed) for _ in range(iterations)])
        x, y = self.task.sequences(operands)
        steps = self.task.steps
        shape = (iterations, self.batch, steps)
        return Batch(
            x.astype(self.dtype).reshape(*shape, 2), y.astype(self.dtype).reshape(*shape, 1)
        )

    def _minibatch(self, fixed: Bits) -> Bits:
        per_epoch = len(fixed) // self.batch
        if self.position == per_epoch:
            self.position = 0
            self.permutation = self._next_order()
        stride = 1 if self.task.order == "sliding" else self.batch
        start = self.position * stride
        self.position += 1
        return fixed[self.permutation[start : start + self.batch]]

    def state(self) -> dict[str, Any]:
        """See `Stream.state`."""
        state: dict[str, Any] = {"position": self.position, "rng": self.rng.bit_generator.state}
        if self.fixed is not None:
            state["shuffle"] = self.shuffle.bit_generator.state
            state["permutation"] = self.permutation.tolist()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """See `Stream.restore`."""
        try:
            self.rng.bit_generator.state = state["rng"]
            self.position = int(state["position"])
            if self.fixed is not None:
                self.shuffle.bit_generator.state = state["shuffle"]
                self.permutation = np.array(state["permutation"], np.intp)
        except (KeyError, TypeError, ValueError) as error:
            raise BpttError(f"the state of the data stream cannot be read: {error}") from None
