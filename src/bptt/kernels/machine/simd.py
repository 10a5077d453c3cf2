"""Operations on vectors of numbers (type `bptt.kernels.machine.vectors.Vec`), for use in kernels.

    width get put load store load_part store_part        memory
    broadcast splat zero                                            registers
    constant fma select absolute largest smallest with_sign_of      lane by lane
    vsum any_true                                                   across lanes

+ - * / and comparisons are written as usual. `c += v` is not there, because the NumPy arrays that
stand for vectors when the compiler is off would change in place: write `c = c + v`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from bptt.kernels.machine.vectors import (
    I64,
    MaskVec,
    Vec,
    call_llvm,
    common,
    convert,
    data_pointer,
    first_lanes,
    lanes,
    load_broadcast,
    load_vector,
    multiply_add,
    operation,
    store_vector,
    sums_of_lanes,
)


def _span(arr: Any, off: int, n: int) -> Any:
    """arr[off:off + n], inside the array."""
    if arr.ndim != 1 or not 0 <= off <= off + n <= arr.size:
        raise IndexError(f"elements {off}..{off + n} of an array of shape {arr.shape}")
    return arr[off : off + n]


def _define_width(_: Any, arr: Any) -> Any:
    return types.intp(arr), lambda context, builder, sig, args: ir.Constant(I64, lanes(arr.dtype))


@operation(_define_width)
def width(arr: Any) -> int:
    """How many of the array's elements a vector holds; a constant of the compiled code."""
    return lanes(arr.dtype)


def _define_get(_: Any, arr: Any, off: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.gep(data_pointer(context, builder, arr, args[0]), [args[1]]))

    return arr.dtype(arr, types.intp), generate


@operation(_define_get)
def get(arr: Any, off: int) -> Any:
    """One number. An index in brackets would be looked at for being negative, every time."""
    return _span(arr, off, 1)[0]


def _define_put(_: Any, arr: Any, off: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        builder.store(context.cast(builder, args[2], x, arr.dtype), builder.gep(base, [args[1]]))
        return context.get_dummy_value()

    return types.void(arr, types.intp, x), generate


@operation(_define_put)
def put(arr: Any, off: int, x: Any) -> None:
    """Write one number."""
    _span(arr, off, 1)[:] = x


def _define_load(_: Any, arr: Any, off: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        return load_vector(builder, base, args[1], context.get_value_type(sig.return_type))

    return Vec(arr.dtype)(arr, types.intp), generate


@operation(_define_load)
def load(arr: Any, off: int) -> Any:
    """The vector of the elements from off."""
    return _span(arr, off, width(arr)).copy()


def _define_store(_: Any, arr: Any, off: Any, v: Any) -> Any:
    if v != Vec(arr.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        store_vector(builder, base, args[1], args[2])
        return context.get_dummy_value()

    return types.void(arr, types.intp, v), generate


@operation(_define_store)
def store(arr: Any, off: int, v: Any) -> None:
    """Write a vector to the elements from off."""
    _span(arr, off, width(arr))[:] = v


def _define_load_part(_: Any, arr: Any, off: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        mask = first_lanes(builder, vector, args[2])
        base = data_pointer(context, builder, arr, args[0])
        return load_vector(builder, base, args[1], vector, mask)

    return Vec(arr.dtype)(arr, types.intp, types.intp), generate


@operation(_define_load_part)
def load_part(arr: Any, off: int, n: int) -> Any:
    """The first n lanes from memory (0 <= n <= width), zero in the others. Nothing beyond is
    read."""
    v = zero(arr)
    v[:n] = _span(arr, off, n)
    return v


def _define_store_part(_: Any, arr: Any, off: Any, v: Any, n: Any) -> Any:
    if v != Vec(arr.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = first_lanes(builder, args[2].type, args[3])
        base = data_pointer(context, builder, arr, args[0])
        store_vector(builder, base, args[1], args[2], mask)
        return context.get_dummy_value()

    return types.void(arr, types.intp, v, types.intp), generate


@operation(_define_store_part)
def store_part(arr: Any, off: int, v: Any, n: int) -> None:
    """Write the first n lanes (0 <= n <= width); nothing beyond is touched."""
    _span(arr, off, n)[:] = v[:n]


def _define_broadcast(_: Any, arr: Any, off: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = data_pointer(context, builder, arr, args[0])
        return load_broadcast(builder, base, args[1], context.get_value_type(sig.return_type))

    return Vec(arr.dtype)(arr, types.intp), generate


@operation(_define_broadcast)
def broadcast(arr: Any, off: int) -> Any:
    """One element of the array in every lane."""
    return np.full(width(arr), _span(arr, off, 1)[0])


def _define_zero(_: Any, arr: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(sig.return_type), None)

    return Vec(arr.dtype)(arr), generate


@operation(_define_zero)
def zero(arr: Any) -> Any:
    """Zero in every lane of a vector of the array's type."""
    return np.zeros(width(arr), arr.dtype)


def _define_splat(_: Any, x: Any) -> Any:
    if not isinstance(x, types.Float):
        return None
    return Vec(x)(x), lambda context, builder, sig, args: convert(
        context, builder, args[0], x, sig.return_type
    )


@operation(_define_splat)
def splat(x: Any) -> Any:
    """A number of type float32 or float64 in every lane."""
    return np.full(lanes(np.asarray(x).dtype), x)


# Lane by lane, on vectors and on numbers alike.


def _define_constant(_: Any, x: Any, value: Any) -> Any:
    kind = common(x)
    if kind is None or not isinstance(value, types.Number):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return convert(context, builder, args[1], sig.args[1], kind)

    return kind(x, value), generate


@operation(_define_constant)
def constant(x: Any, value: float) -> Any:
    """A number in the type of x."""
    return np.full_like(x, value)[()]


def _define_fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    kind = common(a, b, c)
    if kind is None:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = zip(args, sig.args, strict=True)
        return multiply_add(
            builder, *(convert(context, builder, each, of, kind) for each, of in pairs)
        )

    return kind(a, b, c), generate


@operation(_define_fma)
def fma(a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the processor can."""
    return a * b + c


def _define_select(_: Any, mask: Any, a: Any, b: Any) -> Any:
    kind = common(a, b)
    if kind is None and a == b and isinstance(a, types.Float):
        kind = a
    if kind is None or isinstance(mask, MaskVec) != isinstance(kind, Vec):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x = convert(context, builder, args[1], sig.args[1], kind)
        y = convert(context, builder, args[2], sig.args[2], kind)
        return builder.select(args[0], x, y)

    return kind(mask, a, b), generate


@operation(_define_select)
def select(mask: Any, a: Any, b: Any) -> Any:
    """a where the mask holds, else b. Of two numbers, a has the type of the result."""
    return np.where(mask, a, b)[()]


def _unary(name: str) -> Any:
    """The definition of an operation on one operand that LLVM has under this name."""

    def define(_: Any, x: Any) -> Any:
        kind = common(x)
        if kind is None:
            return None
        return kind(x), lambda context, builder, sig, args: call_llvm(
            builder, name, args[0].type, [args[0]]
        )

    return define


@operation(_unary("fabs"))
def absolute(x: Any) -> Any:
    """|x|."""
    return np.abs(x)


def _define_with_sign_of(_: Any, x: Any, sign: Any) -> Any:
    if x != sign or common(x) is None:
        return None
    return x(x, sign), lambda context, builder, sig, args: call_llvm(
        builder, "copysign", args[0].type, list(args)
    )


@operation(_define_with_sign_of)
def with_sign_of(x: Any, sign: Any) -> Any:
    """|x| with the sign of `sign`."""
    return np.copysign(x, sign)


# Across lanes. Halves are combined with halves, always in the same order.


def _emit_maximum(builder: Any, a: Any, b: Any) -> Any:
    larger = builder.select(builder.fcmp_ordered(">", a, b), a, b)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, larger)


def _emit_minimum(builder: Any, a: Any, b: Any) -> Any:
    smaller = builder.select(builder.fcmp_ordered("<", a, b), a, b)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, smaller)


def _define_vsum(_: Any, v: Any) -> Any:
    if not isinstance(v, Vec):
        return None
    return v.dtype(v), lambda context, builder, sig, args: sums_of_lanes(builder, args)[0]


@operation(_define_vsum)
def vsum(v: Any) -> Any:
    """The sum of the lanes, halves added to halves."""
    while v.size > 1:
        v = v[: v.size // 2] + v[v.size // 2 :]
    return v[0]


def _define_pair(emit: Any) -> Any:
    def define(_: Any, a: Any, b: Any) -> Any:
        kind = common(a, b)
        if kind is None:
            return None

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            x = convert(context, builder, args[0], sig.args[0], kind)
            return emit(builder, x, convert(context, builder, args[1], sig.args[1], kind))

        return kind(a, b), generate

    return define


@operation(_define_pair(_emit_maximum))
def largest(a: Any, b: Any) -> Any:
    """The larger of a and b; NaN if either is NaN."""
    return np.maximum(a, b)


@operation(_define_pair(_emit_minimum))
def smallest(a: Any, b: Any) -> Any:
    """The smaller of a and b; NaN if either is NaN."""
    return np.minimum(a, b)


def _define_any_true(_: Any, mask: Any) -> Any:
    if not isinstance(mask, MaskVec):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), generate


@operation(_define_any_true)
def any_true(mask: Any) -> bool:
    """Whether the mask holds in any lane."""
    return bool(np.any(mask))
