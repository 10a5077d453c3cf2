"""Sums of binary numbers as sequences, bit by bit, least significant bit first.

A worked example, 4 bits, 3 + 6 = 9, with room for the carry (5 steps):

    step            0  1  2  3  4
    a = 3           1  1  0  0  0     x[t] = (bit t of a, bit t of b)
    b = 6           0  1  1  0  0
    a + b = 9       1  0  0  1  0     y[t] = bit t of the sum
    carry to keep   0  1  1  0  0     what the network has to remember from step to step

Inside, numbers of any size are words of 32 bits, the lowest first, in two's complement.
"""

from collections.abc import Iterator, Sequence
from operator import index
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import check_types, instance, numbers, one_of, shown, whole
from bptt.errors import BpttError, BpttTypeError, quoted_list
from bptt.network.structure import DTYPES
from bptt.options import Option
from bptt.tasks.batches import Batches
from bptt.tasks.task import Task
from bptt.tasks.words import draw_words

Bits = NDArray[np.uint8]
Words = NDArray[np.uint32]
CARRIES = ("room", "wrap")
ORDERS = ("in_turn", "shuffled", "sliding")
# Up to this many steps operands are drawn as machine integers, beyond it word by word.
MACHINE_STEPS = 62
# More bits make Python's integers slow, and more pairs at a time fill the memory.
MOST_BITS, MOST_PAIRS = 10**7, 10**8
# How many pairs a stream draws at a time, at least.
DRAWN_AHEAD = 512
# SPREAD[octet] has bit i of the octet at bit 2i, so that a | b << 1 interleaves two numbers.
SPREAD = sum(((np.arange(256) >> i & 1) << 2 * i for i in range(8)), np.zeros(256, int)).astype(
    np.uint16
)


def words_of(numbers: NDArray[np.int64], steps: int) -> Words:
    """The lowest `steps` bits (at most 64) of each number as words, on a new last axis."""
    words = np.ascontiguousarray(numbers, "<i8").view("<u4").reshape(*numbers.shape, 2)
    return words[..., : (steps + 31) // 32]


def words_of_integer(number: int, steps: int) -> Words:
    """The lowest `steps` bits of an integer of any size as words."""
    octets = (number % (1 << steps)).to_bytes((steps + 31) // 32 * 4, "little")
    return np.frombuffer(octets, "<u4")


def add_words(a: Words, b: Words) -> Words:
    """The sum of two numbers given as words on the last axis, modulo 2 ** (32 * words)."""
    total: Words = a + b  # each word modulo 2 ** 32
    lost = total < a  # whether a word has wrapped before any carry comes in
    for word in range(1, a.shape[-1]):
        carry = lost[..., word - 1]
        total[..., word] += carry
        lost[..., word] |= carry & (total[..., word] == 0)
    return total


def octets_of(words: Words, steps: int) -> Bits:
    """As many octets (N, K) of the words (N, W) as hold `steps` bits."""
    return np.ascontiguousarray(words, "<u4").view(np.uint8)[:, : (steps + 7) // 8]


def patterned(rng: np.random.Generator, count: int, width: int, steps: int) -> Words:
    """Pairs of that many bits as words for so many steps: a third random, a third with long runs of
    a pair of bits, a third with short periods (`bptt.tasks.words`)."""
    symbols = draw_words(rng, count, width, 4)
    bits = np.zeros((count, 2, -(-steps // 32) * 32), np.uint8)
    bits[:, 0, :width], bits[:, 1, :width] = symbols >> 1, symbols & 1
    words: Words = np.packbits(bits, axis=-1, bitorder="little").view("<u4").astype(np.uint32)
    return words


class Sums(Task, frozen=True, kw_only=True):
    """The data of `bptt.Addition`, and its options, which are explained there."""

    bits: Annotated[int, Option("Bits of an operand.")] = 8
    signed: Annotated[bool, Option("Two's complement; sums wrap.")] = False
    carry: Annotated[str, Option("Unsigned: room (one step more) or wrap.")] = "room"
    low: Annotated[int | None, Option("The smallest operand; high goes with it.")] = None
    high: Annotated[int | None, Option("Operands are smaller than this.")] = None
    pairs: Annotated[int | None, Option("Train on so many pairs, drawn once.")] = None
    order: Annotated[str, Option("How these are gone through: in_turn, shuffled, sliding.")] = (
        "in_turn"
    )
    patterns: Annotated[bool, Option("Long runs and short periods in two thirds of the pairs.")] = (
        False
    )

    def __post_init__(self) -> None:
        check_types(self)
        whole("bits", self.bits, 1, MOST_BITS)
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
        if self.patterns and not (self.pairs is None and self.low is None):
            raise BpttError(
                "patterns are for fresh pairs of all numbers: leave them out, or pairs and low"
            )
        if self.low is not None and self.high is not None:
            if self.steps > MACHINE_STEPS:
                raise BpttError(f"low and high need at most {MACHINE_STEPS} steps: leave them out")
            smallest, largest = self.range_of(self.bits)
            if not smallest <= self.low < self.high <= largest + 1:
                raise BpttError(
                    f"operands from {self.low} up to {self.high} do not fit: "
                    f"numbers from {smallest} to {largest} have {self.bits} bits"
                )

    inputs = 2
    outputs = 1

    def config(self, data: bool = True) -> dict[str, Any]:
        """See `Task.config`. patterns came later: they are left out where there are none, so that
        what was written before has the same digests."""
        fields = super().config(data)
        if not self.patterns:
            del fields["patterns"]
        return fields

    @property
    def steps(self) -> int:
        """T: `bits`, and one more where the carry has room."""
        return self.steps_for(self.bits)

    def steps_for(self, bits: int) -> int:
        """How many steps a sum of operands of `bits` bits has."""
        bits = self._bits(bits)
        return bits if self.signed or self.carry == "wrap" else bits + 1

    def range_of(self, bits: int) -> tuple[int, int]:
        """The smallest and the largest operand of that many bits."""
        bits = self._bits(bits)
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.signed else (0, (1 << bits) - 1)

    def operand_range(self, bits: int | None = None) -> tuple[int, int]:
        """The smallest and the largest operand drawn: of `low` and `high` if they are given and
        `bits` is the task's own, else of all numbers of `bits` bits."""
        if self._bits(bits) == self.bits and self.low is not None and self.high is not None:
            return self.low, self.high - 1
        return self.range_of(self._bits(bits))

    def _bits(self, bits: int | None) -> int:
        """The task's own bits for None."""
        return self.bits if bits is None else whole("bits", bits, 1, MOST_BITS)

    def stream(self, seed: int, batch: int, dtype: str = "float32") -> "AdditionStream":
        """See `Task.stream`."""
        return AdditionStream(self, seed, batch, dtype)

    def draw_pairs(self, rng: np.random.Generator, count: int, bits: int | None = None) -> Words:
        """Random pairs, uniform over the operands' range, as words (count, 2, W) for `sequences`.

        The same generator gives the same pairs however many are drawn at a time.
        """
        instance("rng", rng, np.random.Generator, "a numpy.random.Generator")
        count, width = whole("count", count, 0, MOST_PAIRS), self._bits(bits)
        steps = self.steps_for(width)
        if steps <= MACHINE_STEPS:
            smallest, largest = self.operand_range(bits)
            return words_of(rng.integers(smallest, largest + 1, (count, 2)), steps)
        # Whole words of 32 bits: narrower ones would share words within a call, not between calls.
        words = rng.integers(0, 1 << 32, (count, 2, (steps + 31) // 32), np.uint32)
        if not self.signed:  # a signed number goes on to the left of its sign as it may
            words[..., -1] &= np.uint32((1 << (width - 32 * (words.shape[-1] - 1))) - 1)
        return words

    def sequences(self, operands: Words, bits: int | None = None) -> tuple[Bits, Bits]:
        """Inputs (N, T, 2) and targets (N, T, 1) of pairs as words (N, 2, W)."""
        steps = self.steps_for(self._bits(bits))
        shape = np.shape(instance("operands", operands, np.ndarray, "an array of 32-bit words"))
        if operands.dtype != np.uint32 or (len(operands) and shape[1:] != (2, -(-steps // 32))):
            raise BpttError(
                f"operands have shape {shape} and type {operands.dtype}: "
                f"(N, 2, {-(-steps // 32)}) uint32 is needed"
            )
        a, b = operands[:, 0], operands[:, 1]
        pairs = SPREAD.take(octets_of(a, steps)) | SPREAD.take(octets_of(b, steps)) << np.uint16(1)
        # Without an axis: along one, unpackbits is several times slower.
        x = np.unpackbits(pairs.astype("<u2", copy=False).view(np.uint8), bitorder="little")
        y = np.unpackbits(octets_of(add_words(a, b), steps).copy(), bitorder="little")
        padded = pairs.shape[-1] * 8
        return x.reshape(-1, padded, 2)[:, :steps], y.reshape(-1, padded, 1)[:, :steps]

    def encode(
        self, pairs: Sequence[tuple[int, int]], bits: int | None = None
    ) -> tuple[Bits, Bits]:
        """Inputs (B, T, 2) and targets (B, T, 1) of integer pairs of any size.

        bits: how many bits an operand has, by default the task's. Raises BpttError for a number
        that does not fit.
        """
        width, pairs = self._bits(bits), _pairs_of(pairs)
        smallest, largest = self.range_of(width)
        for number in (number for pair in pairs for number in pair):
            number = whole("operand", number)
            if not smallest <= number <= largest:
                raise BpttError(
                    f"{number} does not fit: {'signed' if self.signed else 'unsigned'} numbers of "
                    f"{width} bits go from {smallest} to {largest}; give more bits"
                    + ("" if number >= 0 or self.signed else ", or a signed network")
                )
        steps = self.steps_for(width)
        words = [[words_of_integer(int(number), steps) for number in pair] for pair in pairs]
        return self.sequences(np.array(words, "<u4").reshape(len(words), 2, -1), width)

    def bits_needed(self, a: int, b: int) -> int:
        """How many bits operands need so that a, b and, where the sum could wrap, a + b fit."""
        a, b = whole("a", a), whole("b", b)
        total = a + b
        if self.signed:
            return max((n if n >= 0 else ~n).bit_length() + 1 for n in (a, b, total))
        fits = (a, b, total) if self.carry == "wrap" else (a, b)
        return max(max(n.bit_length() for n in fits), 1)

    def decode(self, bits: ArrayLike) -> list[int]:
        """The integers of rows of bits (B, T), two's complement if the task is signed.

        Raises BpttError for what is neither 0 nor 1: of probabilities, ask for `p > 0.5`.
        """
        rows = np.atleast_2d(numbers("bits", bits))
        if rows.ndim != 2 or not rows.size:
            raise BpttError(f"bits have shape {rows.shape}: rows of bits (B, T) are needed")
        wrong = rows[(rows != 0) & (rows != 1)]
        if wrong.size:
            raise BpttError(f"{wrong[0]} is no bit: give 0 and 1, of probabilities p > 0.5")
        found = []
        for row in rows.astype(np.uint8):
            number = int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")
            found.append(number - (1 << row.size) if self.signed and row[-1] else number)
        return found

    def all_pairs(self) -> Iterator[tuple[Bits, Bits]]:
        """Inputs and targets of every pair of operands, for at most 8 bits, in 8 parts or fewer.

        Operands are those the task draws: all numbers of `bits` bits (65,536 pairs for 8 bits,
        signed or not), or those from `low` up to `high`.
        """
        if self.bits > 8:
            raise BpttError(f"all pairs of {self.bits}-bit numbers are too many: at most 8 bits")
        smallest, largest = self.operand_range()
        numbers = np.arange(smallest, largest + 1)
        for part in np.array_split(numbers, min(8, numbers.size)):
            grid = np.stack(np.meshgrid(part, numbers, indexing="ij"), axis=-1).reshape(-1, 2)
            yield self.sequences(words_of(grid, self.steps))

    def lowest_bits(self) -> Iterator[NDArray[np.int64]]:
        """For each step t of the task, the different values of the lowest t + 1 bits of the
        operands that it draws, sorted."""
        smallest, largest = self.operand_range()
        numbers = np.arange(smallest, largest + 1)
        for step in range(self.steps):
            yield np.unique(numbers & ((2 << step) - 1))

    def long_pairs(self, bits: int, count: int, seed: int) -> tuple[Bits, Bits]:
        """Inputs and targets of `count` random pairs of any number of bits, to test beyond the
        trained length; of the task's own number, operands are from `low` up to `high`."""
        seed = whole("seed", seed, 0)
        return self.sequences(self.draw_pairs(np.random.default_rng(seed), count, bits), bits)

    def pattern_pairs(self, bits: int, count: int, seed: int) -> tuple[Bits, Bits]:
        """Inputs and targets of `count` pairs of that many bits: a third random, a third with long
        runs of a pair of bits, a third with short periods (`bptt.tasks.words`)."""
        width, count = whole("bits", bits, 1, MOST_BITS), whole("count", count, 0, MOST_PAIRS)
        rng = np.random.default_rng(whole("seed", seed, 0))
        return self.sequences(patterned(rng, count, width, self.steps_for(width)), width)


def _pairs_of(pairs: Any) -> list[tuple[Any, Any]]:
    """Pairs as a list, once they are pairs."""
    try:
        found = [tuple(pair) for pair in pairs]
    except TypeError:
        raise BpttTypeError(f"pairs {shown(pairs)} must be pairs of whole numbers") from None
    for pair in found:
        if len(pair) != 2:
            raise BpttError(f"{shown(pair)} is no pair: give two whole numbers for each sum")
    if not found:
        raise BpttError("there are no pairs: give at least one, as [(3, 6)]")
    return found


def exact(predicted: Bits, y: Bits) -> float:
    """The share of sums with every bit right; arrays (B, T, 1)."""
    return float(np.mean((predicted == y).all(axis=(1, 2))))


def first_wrong_bit(predicted: Bits, y: Bits) -> int | None:
    """The lowest bit that is wrong in any of the sums, None if none is; arrays (B, T, 1)."""
    wrong = np.flatnonzero((predicted != y).any(axis=(0, 2)))
    return int(wrong[0]) if wrong.size else None


class AdditionStream:
    """The batches of an addition task; see `bptt.tasks.batches.Stream`."""

    def __init__(self, task: Sums, seed: int, batch: int, dtype: str) -> None:
        """As `Task.stream`."""
        self.task, self.dtype = task, one_of("dtype", dtype, DTYPES)
        self.batch, self.seed = whole("batch", batch, 1), whole("seed", seed, 0)
        self.iteration = 0
        self.rng = np.random.default_rng(seed)
        self.fixed: Words | None = None
        if task.pairs is not None:
            if batch > task.pairs:
                raise BpttError(
                    f"batch {batch} is larger than the {task.pairs} pairs: make it smaller"
                )
            self.fixed = task.draw_pairs(self.rng, task.pairs)
        self._draw_afresh()

    def _draw_afresh(self) -> None:
        """Nothing has been drawn ahead: the next pairs come from the generator as it stands."""
        self._ahead: Words = np.empty((0, 2, 1), np.uint32)
        self._used, self._before, self._block = 0, self.rng.bit_generator.state, -1

    def draw(self, iterations: int) -> Batches:
        """See `Stream.draw`."""
        batch = self.draw_many([self], whole("iterations", iterations, 0))
        return Batches(batch.x[0], batch.y[0])

    @staticmethod
    def draw_many(streams: Sequence[Any], iterations: int) -> Batches:
        """See `Stream.draw_many`: the pairs of each by itself, their bits together."""
        first = streams[0]
        operands = np.concatenate([stream._pairs(iterations) for stream in streams])
        x, y = first.task.sequences(operands)
        shape = (len(streams), iterations, first.batch, first.task.steps)
        return Batches(
            x.astype(first.dtype).reshape(*shape, 2), y.astype(first.dtype).reshape(*shape, 1)
        )

    def _pairs(self, iterations: int) -> Words:
        """The pairs of the next iterations, (iterations * B, 2, W)."""
        if self.task.patterns:
            operands = self._patterned(iterations * self.batch)
        elif self.fixed is None:
            operands = self._fresh(iterations * self.batch)
        else:
            operands = self.fixed[self._choice(len(self.fixed), iterations)]
        self.iteration += iterations
        return operands

    def _fresh(self, count: int) -> Words:
        """The next fresh pairs. They are drawn many at a time, for a call costs as much as
        hundreds of them."""
        left = self._ahead[self._used :]
        if count <= len(left):
            self._used += count
            return left[:count]
        self._before, self._used = self.rng.bit_generator.state, count - len(left)
        self._ahead = self.task.draw_pairs(self.rng, max(DRAWN_AHEAD, self._used))
        right = self._ahead[: self._used]
        return np.concatenate([left, right]) if len(left) else right

    def _patterned(self, count: int) -> Words:
        """The next pairs with patterns: in blocks with a generator of their own each, so that where
        the stream stands is a number."""
        at, parts = self.iteration * self.batch, []
        while count:
            block, first = divmod(at, DRAWN_AHEAD)
            if block != self._block:
                rng = np.random.default_rng([self.seed, block])
                self._ahead = patterned(rng, DRAWN_AHEAD, self.task.bits, self.task.steps)
                self._block = block
            parts.append(self._ahead[first : first + count])
            at, count = at + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts) if parts else self._ahead[:0]

    def _choice(self, pairs: int, iterations: int) -> NDArray[np.intp]:
        """Which of the fixed pairs the next iterations take (iterations * B,)."""
        iteration = np.arange(self.iteration, self.iteration + iterations)
        epoch, k = np.divmod(iteration, pairs // self.batch)
        stride = 1 if self.task.order == "sliding" else self.batch
        places = k[:, None] * stride + np.arange(self.batch)  # (iterations, B)
        if self.task.order == "shuffled":
            for number in np.unique(epoch):
                now = epoch == number
                # Of its own generator, so that an epoch's order depends on the seed alone.
                permutation = np.random.default_rng([self.seed, number]).permutation(pairs)
                places[now] = permutation[places[now]]
        return places.ravel()

    def state(self) -> dict[str, Any]:
        """See `Stream.state`."""
        rng = np.random.default_rng()  # as it would stand if nothing had been drawn ahead
        rng.bit_generator.state = self._before
        self.task.draw_pairs(rng, self._used)
        return {"iteration": self.iteration, "rng": rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Stream.restore`; on a stream of the same task, seed and batch."""
        try:
            iteration = index(state["iteration"])
            self.rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BpttError(f"the state of the data stream cannot be read: {error!r}") from None
        self._draw_afresh()
        if iteration < 0:
            raise BpttError(f"the data stream cannot stand at iteration {iteration}")
        self.iteration = iteration
