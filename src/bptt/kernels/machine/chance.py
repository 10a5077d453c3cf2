"""Compiled versions of `bptt.equations.chance`, with the same bits: four vectors of random numbers,
for four steps that follow each other.

The lanes are units, samples, or models with seeds and iterations of their own: `chances` holds a
word of the key, the other one, and the iteration, each for all lanes.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from bptt.equations import chance
from bptt.kernels.machine.compiler import exact_part
from bptt.kernels.machine.vectors import (
    I32,
    I64,
    Vec,
    call_llvm,
    data_pointer,
    lanes,
    load_vector,
    operation,
    splat_value,
)

F32 = ir.FloatType()


class _Emitter:
    """Makes the instructions, with constants of the types at hand."""

    def __init__(self, builder: Any, count: int) -> None:
        self.builder = builder
        self.wide, self.whole, self.real = (ir.VectorType(each, count) for each in (I64, I32, F32))

    def all(self, kind: Any, value: Any) -> Any:
        """A constant in all lanes."""
        value = float(np.float32(value)) if kind == self.real else int(value)
        return ir.Constant(kind, [value] * kind.count)

    def word(self, value: Any) -> Any:
        """The lowest 32 bits."""
        return self.builder.and_(value, self.all(self.wide, chance.WORD))

    def above(self, value: Any, bits: int) -> Any:
        """Without the lowest bits."""
        return self.builder.lshr(value, self.all(self.wide, bits))

    def philox(self, counter: list[Any], key: list[Any]) -> list[Any]:
        """See `chance.philox`."""
        xor, mul = self.builder.xor, self.builder.mul
        c0, c1, c2, c3 = counter
        k0, k1 = key
        m0, m1 = (self.all(self.wide, each) for each in chance.MULTIPLIERS)
        w0, w1 = (self.all(self.wide, each) for each in chance.WEYL)
        for _ in range(chance.ROUNDS):
            p0, p1 = mul(c0, m0), mul(c2, m1)
            c0, c2 = xor(xor(self.above(p1, 32), c1), k0), xor(xor(self.above(p0, 32), c3), k1)
            c1, c3 = self.word(p1), self.word(p0)
            k0, k1 = (self.word(self.builder.add(k, w)) for k, w in ((k0, w0), (k1, w1)))
        return [c0, c1, c2, c3]

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        """Horner's rule."""
        total = self.all(self.real, coefficients[0])
        for each in coefficients[1:]:
            total = self.builder.fadd(self.builder.fmul(total, x), self.all(self.real, each))
        return total

    def number(self, value: Any) -> Any:
        """Whole numbers as float32."""
        return self.builder.sitofp(self.builder.trunc(value, self.whole), self.real)

    def log_of_share(self, word: Any) -> Any:
        """See `chance.log_of_share`."""
        b, all_of = self.builder, self.all
        number = self.number(b.or_(self.above(word, 8), all_of(self.wide, 1)))
        bits = b.bitcast(number, self.whole)
        above = b.sub(bits, all_of(self.whole, chance.ROOT_OF_HALF))
        power = b.sitofp(b.ashr(above, all_of(self.whole, 23)), self.real)
        power = b.fsub(power, all_of(self.real, 24))
        z = b.bitcast(b.sub(bits, b.and_(above, all_of(self.whole, -1 << 23))), self.real)
        z = b.fsub(z, all_of(self.real, 1))
        square = b.fmul(z, z)
        y = b.fmul(b.fmul(self.polynomial(z, chance.LOG), z), square)
        y = b.fadd(y, b.fmul(power, all_of(self.real, chance.LN2_REST)))
        y = b.fsub(y, b.fmul(all_of(self.real, 0.5), square))
        return b.fadd(b.fadd(z, y), b.fmul(power, all_of(self.real, chance.LN2)))

    def bit(self, word: Any, number: int) -> Any:
        """Whether a bit is set."""
        found = self.builder.and_(word, self.all(self.wide, 1 << number))
        return self.builder.icmp_unsigned("!=", found, self.all(self.wide, 0))

    def pair(self, one: Any, two: Any) -> list[Any]:
        """See `chance.pair`."""
        b, real = self.builder, self.real
        log = b.fmul(self.all(real, -2), self.log_of_share(one))
        radius = call_llvm(b, "sqrt", real, [log])
        part = b.or_(b.and_(two, self.all(self.wide, 0xFFFFFF)), self.all(self.wide, 1))
        part = b.sub(part, self.all(self.wide, 1 << 23))
        angle = b.fmul(self.number(part), self.all(real, chance.ANGLE))
        z = b.fmul(angle, angle)
        sine = b.fmul(b.fmul(self.polynomial(z, chance.SIN), z), angle)
        sine = b.fadd(sine, angle)
        cosine = b.fmul(b.fmul(self.polynomial(z, chance.COS), z), z)
        cosine = b.fsub(cosine, b.fmul(self.all(real, 0.5), z))
        cosine = b.fadd(cosine, self.all(real, 1))
        mirrored = self.bit(two, 24)
        sign = b.select(self.bit(two, 25), b.fneg(radius), radius)
        x, y = b.select(mirrored, sine, cosine), b.select(mirrored, cosine, sine)
        return [b.fmul(x, sign), b.fmul(y, sign)]


def _words(context: Any, builder: Any, sig: Any, args: Any) -> tuple[_Emitter, list[Any]]:
    """The words of all lanes."""
    count = lanes(sig.args[0].dtype)
    emit = _Emitter(builder, count)
    wide, chances = emit.wide, data_pointer(context, builder, sig.args[1], args[1])
    later, group, sample, last, unit, sample_apart, unit_apart, stream = (
        splat_value(builder, wide, each) for each in args[2:10]
    )
    k0, k1, iteration = (
        load_vector(builder, chances, ir.Constant(I64, k * count), wide) for k in range(3)
    )
    iteration = builder.add(iteration, later)
    lane = ir.Constant(wide, list(range(count)))
    sample = builder.add(sample, builder.mul(lane, sample_apart))
    sample = builder.select(builder.icmp_signed("<", sample, last), sample, last)
    unit = builder.add(unit, builder.mul(lane, unit_apart))
    high = builder.shl(emit.above(iteration, 32), emit.all(wide, chance.GROUP_BITS))
    counter = [iteration, builder.or_(high, group), sample, builder.add(unit, stream)]
    return emit, emit.philox([emit.word(each) for each in counter], [k0, k1])


def _of(finish: Any, m: Any, *given: Any) -> Any:
    """The signature and code of an operation: `finish` makes four vectors of float32 of four
    words and of the arguments that are its own."""
    result: Any = types.UniTuple
    result = result(Vec(m.dtype), chance.GROUP)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit, words = _words(context, builder, sig, args)
        values, wanted = finish(emit, words, args[10:]), context.get_value_type(result.dtype)
        if wanted != emit.real:
            values = [builder.fpext(each, wanted) for each in values]
        return context.make_tuple(builder, result, values)

    return result(m, *given), generate


def _finish_normal(emit: _Emitter, words: list[Any], own: list[Any]) -> list[Any]:
    deviation = splat_value(emit.builder, emit.real, emit.builder.fptrunc(own[0], F32))
    found = [*emit.pair(*words[:2]), *emit.pair(*words[2:])]
    return [emit.builder.fmul(each, deviation) for each in found]


def _finish_kept(emit: _Emitter, words: list[Any], own: list[Any]) -> list[Any]:
    b = emit.builder
    rate, one = own[0], ir.Constant(ir.DoubleType(), 1)
    least = call_llvm(b, "nearbyint", rate.type, [b.fmul(rate, ir.Constant(rate.type, 2**32))])
    least = splat_value(b, emit.wide, b.fptoui(least, I64))
    factor = b.fptrunc(b.fdiv(one, b.fsub(one, rate)), F32)
    factor = splat_value(b, emit.real, factor)
    nothing = emit.all(emit.real, 0)
    return [b.select(b.icmp_unsigned(">=", word, least), factor, nothing) for word in words]


def _words_of(
    m: Any, chances: Any, later: int, group: int, sample: int, last: int, unit: int,
    sample_apart: int, unit_apart: int, stream: int,
) -> Any:  # fmt: skip
    """As `_words`, in NumPy."""
    count = lanes(m.dtype)
    lane = np.arange(count)
    k0, k1, iteration = chances[: 3 * count].reshape(3, count)
    samples = np.minimum(sample + lane * sample_apart, last)
    units = unit + lane * unit_apart
    return chance.philox(
        chance.counter_of(iteration + later, group, samples, units, stream), (k0, k1)
    )


def _define_normal(
    _: Any, m: Any, chances: Any, later: Any, group: Any, sample: Any, last: Any, unit: Any,
    sample_apart: Any, unit_apart: Any, stream: Any, deviation: Any,
) -> Any:  # fmt: skip
    return _of(_finish_normal, m, chances, *[types.intp] * 8, types.float64)


@operation(_define_normal)
def _normal(
    m: Any, chances: Any, later: int, group: int, sample: int, last: int, unit: int,
    sample_apart: int, unit_apart: int, stream: int, deviation: float,
) -> Any:  # fmt: skip
    words = _words_of(
        m, chances, later, group, sample, last, unit, sample_apart, unit_apart, stream
    )
    return tuple(each.astype(m.dtype) for each in chance.normal(words, deviation))


@exact_part
def normal(
    m: Any, chances: Any, later: int, group: int, sample: int, last: int, unit: int,
    sample_apart: int, unit_apart: int, stream: int, deviation: float,
) -> Any:  # fmt: skip
    """`chance.normal` at the steps from 4 * group, `later` iterations after that of `chances`. The
    first lane is of that sample and unit; the others' are so far apart, samples none beyond the
    `last`. m: an array of the numbers' type."""
    return _normal(
        m, chances, later, group, sample, last, unit, sample_apart, unit_apart, stream, deviation
    )  # fmt: skip


def _define_kept(
    _: Any, m: Any, chances: Any, later: Any, group: Any, sample: Any, last: Any, unit: Any,
    sample_apart: Any, unit_apart: Any, stream: Any, rate: Any,
) -> Any:  # fmt: skip
    return _of(_finish_kept, m, chances, *[types.intp] * 8, types.float64)


@operation(_define_kept)
def kept(
    m: Any, chances: Any, later: int, group: int, sample: int, last: int, unit: int,
    sample_apart: int, unit_apart: int, stream: int, rate: float,
) -> Any:  # fmt: skip
    """`chance.kept`, likewise."""
    words = _words_of(
        m, chances, later, group, sample, last, unit, sample_apart, unit_apart, stream
    )
    return tuple(each.astype(m.dtype) for each in chance.kept(words, rate))
