"""Arithmetic that elementary functions and optimizers are made of, on vectors and on numbers.

    root                                        square roots
    polynomial                                  sums of powers
    times_power_of_2 exponent significand       the parts of a floating-point number

Roots of whole vectors of AVX-512 begin with the processor's estimate; powers of 2 are additions to
the bits of an exponent.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from bptt.kernels.machine.simd import constant
from bptt.kernels.machine.vectors import (
    I32,
    I64,
    call_llvm,
    common,
    convert,
    multiply_add,
    operation,
)

# The instructions that estimate 1 / sqrt(x), by the type of x: vectors of AVX-512.
ESTIMATES = {
    "<16 x float>": "llvm.x86.avx512.rsqrt14.ps.512",
    "<8 x double>": "llvm.x86.avx512.rsqrt14.pd.512",
}


def _emit_root(builder: Any, x: Any) -> Any:
    """The root by the processor's divider, which takes 12 cycles for 16 numbers (24 for 8 of
    float64) and is wanted for what comes after; or from an estimate of 1 / sqrt(x) to 14 bits,
    each step of Newton's doubling them."""
    name = ESTIMATES.get(str(x.type))
    if name is None:
        return call_llvm(builder, "sqrt", x.type, [x])
    count = x.type.count
    mask = ir.IntType(count)
    kind = ir.FunctionType(x.type, [x.type, x.type, mask])
    estimate = cgutils.get_or_insert_function(builder.module, kind, name)
    y = builder.call(estimate, [x, ir.Constant(x.type, None), ir.Constant(mask, -1)])
    half = ir.Constant(x.type, [0.5] * count)
    s, h = builder.fmul(x, y), builder.fmul(half, y)  # near sqrt(x) and 1 / (2 sqrt(x))
    for _ in range(16 // count):
        error = multiply_add(builder, builder.fneg(s), h, half)
        s, h = multiply_add(builder, s, error, s), multiply_add(builder, h, error, h)
    # 0 and infinity, which are their own roots: 0 times infinity is NaN.
    return builder.select(builder.fcmp_ordered("==", x, builder.fadd(x, x)), x, s)


def _define_root(_: Any, x: Any) -> Any:
    kind = common(x)
    if kind is None:
        return None
    return kind(x), lambda context, builder, sig, args: _emit_root(builder, args[0])


@operation(_define_root)
def root(x: Any) -> Any:
    """The square root of x >= 0: of a vector of AVX-512 within 1.5 units in the last place, else
    rounded correctly."""
    return np.sqrt(x)


def _integers(kind: Any) -> Any:
    """The LLVM integers as wide as a float or vector type, and how many bits of its numbers are the
    mantissa."""
    if isinstance(kind, ir.VectorType):
        element, mantissa = _integers(kind.element)
        return ir.VectorType(element, kind.count), mantissa
    return (I32, 23) if kind == ir.FloatType() else (I64, 52)


def _integer_constant(kind: Any, value: int) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def _define_bits(emit: Any) -> Any:
    """The definition of an operation on the bits of x: `emit` is given the builder, x, x as
    integers, a function that makes constants of them, and the bits of the mantissa."""

    def define(_: Any, x: Any) -> Any:
        kind = common(x)
        if kind is None:
            return None

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            integers, mantissa = _integers(args[0].type)
            bits = builder.bitcast(args[0], integers)
            return emit(builder, args[0], bits, lambda n: _integer_constant(integers, n), mantissa)

        return kind(x), generate

    return define


def _bits(x: Any) -> tuple[Any, Any, int]:
    """The bits of x as integers, their type, and the bits of the mantissa."""
    if x.dtype == np.float32:
        return x.view(np.int32), np.int32, 23
    return x.view(np.int64), np.int64, 52


def _define_times_power_of_2(_: Any, x: Any, shifted: Any) -> Any:
    if x != shifted or common(x) is None:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integers, mantissa = _integers(args[0].type)
        bits, n = (builder.bitcast(each, integers) for each in args)
        n = builder.shl(n, _integer_constant(integers, mantissa))
        return builder.bitcast(builder.add(bits, n), args[0].type)

    return x(x, shifted), generate


@operation(_define_times_power_of_2)
def times_power_of_2(x: Any, shifted: Any) -> Any:
    """x 2^n, given n + 1.5 2^m (m = 23 or 52 mantissa bits), whose lowest bits are n. x and the
    result are normal numbers; of others, anything."""
    (bits, kind, m), n = _bits(x), _bits(shifted)[0]
    return (bits + (n << kind(m))).view(x.dtype)


def _square_root_of_half(m: int) -> int:
    """The bits of the square root of 1/2."""
    half = np.sqrt(np.float32(0.5) if m == 23 else np.float64(0.5))
    return int(_bits(half)[0])


def _emit_exponent(builder: Any, x: Any, bits: Any, number: Any, m: int) -> Any:
    above = builder.sub(bits, number(_square_root_of_half(m)))
    return builder.sitofp(builder.ashr(above, number(m)), x.type)


@operation(_define_bits(_emit_exponent))
def exponent(x: Any) -> Any:
    """k of x = s 2^k with s from sqrt(1/2) to sqrt(2), for normal x > 0."""
    bits, kind, m = _bits(x)
    return ((bits - kind(_square_root_of_half(m))) >> kind(m)).astype(x.dtype)


def _emit_significand(builder: Any, x: Any, bits: Any, number: Any, m: int) -> Any:
    above = builder.sub(bits, number(_square_root_of_half(m)))
    above = builder.and_(above, number(-1 << m))
    return builder.bitcast(builder.sub(bits, above), x.type)


@operation(_define_bits(_emit_significand))
def significand(x: Any) -> Any:
    """s of x = s 2^k with s from sqrt(1/2) to sqrt(2), for normal x > 0."""
    bits, kind, m = _bits(x)
    above = (bits - kind(_square_root_of_half(m))) & kind(-1 << m)
    return (bits - above).view(x.dtype)


def _define_polynomial(_: Any, x: Any, coefficients: Any) -> Any:
    kind = common(x)
    if kind is None or not isinstance(coefficients, types.UniTuple):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        terms = [
            convert(context, builder, builder.extract_value(args[1], k), coefficients.dtype, kind)
            for k in range(coefficients.count)
        ]
        power = args[0]
        while len(terms) > 1:
            pairs = [
                multiply_add(builder, high, power, low)
                for low, high in zip(terms[::2], terms[1::2], strict=False)
            ]
            terms = pairs + terms[2 * len(pairs) :]
            power = builder.fmul(power, power, flags=("contract", "nsz"))
        return terms[0]

    return kind(x, coefficients), generate


@operation(_define_polynomial)
def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """c[0] + c[1] x + c[2] x^2 + ..., pairs first (Estrin), which waits less than Horner's rule."""
    terms = [constant(x, each) for each in coefficients]
    while len(terms) > 1:
        pairs = [low + high * x for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        x = x * x
    return terms[0]
