"""Vectors of numbers as values inside Numba kernels, fitted by LLVM to any processor.

A `Vec` of float32 or float64 is as wide as the processor's registers: `lanes(dtype)` numbers. Code
over it is ordinary code (`y = 1 - x * x`), may be used on numbers as well, and costs one
instruction an operation. Kernels hold flat C-contiguous arrays and address them by element offset;
offsets neither wrap nor are checked.

Every operation is written twice, side by side: as a Python function on NumPy arrays, which says
what it does and takes over when the compiler is off (NUMBA_DISABLE_JIT=1; there bounds are
checked), and as the LLVM instructions that do it. Rounding is that of the written order: products
and sums may be fused (contract), signed zeros are not kept (nsz), nothing is reordered, NaN and
infinity keep their meaning.
"""

import functools
import operator
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numba.np.numpy_support import as_dtype

FLAGS = ("contract", "nsz")
I32 = ir.IntType(32)
I64 = ir.IntType(64)


@functools.cache
def _features() -> frozenset[str]:
    """The features of the processor that Numba compiles for."""
    text = cpu_target.target_context.codegen().magic_tuple()[2]
    return frozenset(each[1:] for each in text.split(",") if each.startswith("+"))


@functools.cache
def vector_bytes() -> int:
    """The size of one vector register."""
    return 64 if "avx512f" in _features() else 32 if "avx" in _features() else 16


@functools.cache
def registers() -> int:
    """How many vector registers there are."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return 32 if arm or "avx512f" in _features() else 16


def lanes(dtype: Any) -> int:
    """How many numbers of a float type (NumPy's or Numba's) one vector holds."""
    kind = as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
    return vector_bytes() // int(kind.itemsize)


class Vec(types.Type):
    """The type of a vector of floats."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = lanes(dtype)
        super().__init__(f"Vec({dtype} x {self.lanes})")


class MaskVec(types.Type):
    """The type of a vector of truth values, one for each lane of a `Vec`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = lanes(dtype)
        super().__init__(f"MaskVec({dtype} x {self.lanes})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vec: Vec) -> None:
        element = manager.lookup(vec.dtype).get_value_type()
        super().__init__(manager, vec, ir.VectorType(element, vec.lanes))


@register_model(MaskVec)
class _MaskVecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: MaskVec) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


def operation(define: Callable[..., Any], *, literal: bool = False) -> Callable[..., Any]:
    """Decorate a Python function with `define(typing_context, *argument_types)`, which gives the
    compiled operation's signature and code; `literal` keeps constant arguments' values in their
    types."""

    def decorate(function: Callable[..., Any]) -> Any:
        if config.DISABLE_JIT:
            return function
        define.__name__ = function.__name__
        define.__qualname__ = function.__qualname__
        define.__doc__ = function.__doc__
        compiled = intrinsic(prefer_literal=literal)(define)
        compiled.emulation = function
        return compiled

    return decorate


# What the code generators share.


def splat_value(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    """A vector with the same value in every lane."""
    empty = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, empty, mask)


def shuffle(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    """The lanes of a followed by those of b, picked in this order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), order))


def convert(context: Any, builder: Any, value: Any, source: Any, target: Any) -> Any:
    """A number or vector as a value of the type `target`, a Vec or a float type."""
    if source == target:
        return value
    if not isinstance(target, Vec):
        return context.cast(builder, value, source, target)
    number = context.cast(builder, value, source, target.dtype)
    return splat_value(builder, context.get_value_type(target), number)


def common(*kinds: Any) -> Any:
    """The type of a result of several operands: Vec if one is, else their float type, else None."""
    vectors = {each for each in kinds if isinstance(each, Vec)}
    if len(vectors) > 1 or not all(isinstance(each, (Vec, types.Number)) for each in kinds):
        return None
    if vectors:
        return vectors.pop()
    return next((each for each in kinds if isinstance(each, types.Float)), None)


def call_llvm(builder: Any, name: str, result: Any, values: list[Any], *suffixes: Any) -> Any:
    """Call an LLVM intrinsic; suffixes are the types its name is overloaded by."""
    function = ir.FunctionType(result, [each.type for each in values])
    full = ".".join(["llvm", name, *(_suffix(each) for each in suffixes or (result,))])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), values)


def _suffix(kind: Any) -> str:
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    if isinstance(kind, ir.PointerType):
        return "p0" if kind.is_opaque else f"p0{_suffix(kind.pointee)}"
    return {"float": "f32", "double": "f64"}.get(str(kind), str(kind))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c: fused where the processor can, a product and a sum where it cannot."""
    return call_llvm(builder, "fmuladd", c.type, [a, b, c])


def data_pointer(context: Any, builder: Any, array: Any, value: Any) -> Any:
    """The address of an array's first element."""
    return context.make_array(array)(context, builder, value).data


def load_vector(builder: Any, base: Any, off: Any, vector: ir.VectorType) -> Any:
    """The vector at an element offset."""
    place = builder.bitcast(builder.gep(base, [off]), vector.as_pointer())
    return builder.load(place, align=element_bytes(vector))


def store_vector(builder: Any, base: Any, off: Any, value: Any) -> None:
    """Store a vector at an element offset."""
    place = builder.bitcast(builder.gep(base, [off]), value.type.as_pointer())
    builder.store(value, place, align=element_bytes(value.type))


def load_broadcast(builder: Any, base: Any, off: Any, vector: ir.VectorType) -> Any:
    """One element in every lane."""
    return splat_value(builder, vector, builder.load(builder.gep(base, [off])))


def element_bytes(vector: ir.VectorType) -> int:
    """The size of one lane."""
    return 4 if vector.element == ir.FloatType() else 8


def _first_lanes(builder: Any, vector: ir.VectorType, n: Any) -> Any:
    """The mask of the first n lanes."""
    numbers = ir.VectorType(I64, vector.count)
    index = ir.Constant(numbers, list(range(vector.count)))
    return builder.icmp_signed("<", index, splat_value(builder, numbers, n))


# Memory.


def _span(arr: Any, off: int, n: int) -> Any:
    """arr[off:off + n], all of it inside the array."""
    if arr.ndim != 1 or not 0 <= off <= off + n <= arr.size:
        raise IndexError(f"elements {off}..{off + n} of an array of shape {arr.shape}")
    return arr[off : off + n]


def _define_width(_: Any, arr: Any) -> Any:
    return types.intp(arr), lambda context, builder, sig, args: ir.Constant(I64, lanes(arr.dtype))


@operation(_define_width)
def width(arr: Any) -> int:
    """How many of the array's elements a vector holds; a constant of the compiled code."""
    return lanes(arr.dtype)


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
        base = builder.gep(data_pointer(context, builder, arr, args[0]), [args[1]])
        place = builder.bitcast(base, vector.as_pointer())
        mask = _first_lanes(builder, vector, args[2])
        align = ir.Constant(I32, element_bytes(vector))
        values = [place, align, mask, ir.Constant(vector, None)]
        return call_llvm(builder, "masked.load", vector, values, vector, place.type)

    return Vec(arr.dtype)(arr, types.intp, types.intp), generate


@operation(_define_load_part)
def load_part(arr: Any, off: int, n: int) -> Any:
    """The first n lanes from memory (n from 0 to all), zero in the others; nothing beyond is read."""
    v = zero(arr)
    v[:n] = _span(arr, off, n)
    return v


def _define_store_part(_: Any, arr: Any, off: Any, v: Any, n: Any) -> Any:
    if v != Vec(arr.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[2].type
        base = builder.gep(data_pointer(context, builder, arr, args[0]), [args[1]])
        place = builder.bitcast(base, vector.as_pointer())
        mask = _first_lanes(builder, vector, args[3])
        align = ir.Constant(I32, element_bytes(vector))
        values = [args[2], place, align, mask]
        call_llvm(builder, "masked.store", ir.VoidType(), values, vector, place.type)
        return context.get_dummy_value()

    return types.void(arr, types.intp, v, types.intp), generate


@operation(_define_store_part)
def store_part(arr: Any, off: int, v: Any, n: int) -> None:
    """Write the first n lanes (n from 0 to all); nothing beyond is touched."""
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


# Operators. A number beside a vector becomes a vector of the vector's type, so that 1 - y * y and
# 0.5 * x keep their type.


def _register_binary(symbol: Any, emit: Callable[[Any, Any, Any], Any], result: Any) -> None:
    @type_callable(symbol)
    def typing(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            kind = common(a, b)
            return result(kind) if isinstance(kind, Vec) else None

        return typer

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = common(*sig.args)
        pair = zip(args, sig.args, strict=True)
        return emit(builder, *(convert(context, builder, each, of, kind) for each, of in pair))

    for kinds in ((Vec, Vec), (Vec, types.Number), (types.Number, Vec)):
        lower_builtin(symbol, *kinds)(lower)


def _register_operators() -> None:
    for symbol, name in (
        (operator.add, "fadd"),
        (operator.sub, "fsub"),
        (operator.mul, "fmul"),
        (operator.truediv, "fdiv"),
    ):
        _register_binary(
            symbol,
            lambda builder, a, b, name=name: getattr(builder, name)(a, b, flags=FLAGS),
            lambda kind: kind,
        )
    for symbol, sign in (
        (operator.gt, ">"),
        (operator.ge, ">="),
        (operator.lt, "<"),
        (operator.le, "<="),
        (operator.eq, "=="),
    ):
        _register_binary(
            symbol,
            lambda builder, a, b, sign=sign: builder.fcmp_ordered(sign, a, b),
            lambda kind: MaskVec(kind.dtype),
        )
    _register_binary(
        operator.ne,
        lambda builder, a, b: builder.fcmp_unordered("!=", a, b),
        lambda kind: MaskVec(kind.dtype),
    )

    @type_callable(operator.neg)
    def typing(context: Any) -> Any:
        return lambda a: a if isinstance(a, Vec) else None

    @lower_builtin(operator.neg, Vec)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fneg(args[0])


_register_operators()
