"""The type of a vector of numbers in Numba kernels, and how operations on it are made.

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

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numba.np.numpy_support import as_dtype

from bptt.kernels.machine import processor
from bptt.kernels.machine.library import COMPILER_OFF

FLAGS = ("contract", "nsz")
I32 = ir.IntType(32)
I64 = ir.IntType(64)


def lanes(dtype: Any) -> int:
    """How many numbers of a float type (NumPy's or Numba's) one vector holds."""
    return processor.lanes(as_dtype(dtype) if isinstance(dtype, types.Type) else dtype)


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
        if COMPILER_OFF:
            return function
        define.__name__ = function.__name__
        define.__qualname__ = function.__qualname__
        define.__doc__ = function.__doc__
        return intrinsic(prefer_literal=literal)(define)

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


def sums_of_lanes(builder: Any, values: list[Any]) -> list[Any]:
    """The sum of each vector's lanes, halves added to halves: of two vectors at once, whose sums
    lie in the halves of one, and so on. Of as many vectors as have lanes that is one addition and
    two shuffles each, where by itself each takes log2 as many."""
    n = values[0].type.count
    if len(values) > n:
        return sums_of_lanes(builder, values[:n]) + sums_of_lanes(builder, values[n:])
    count, width = len(values), n  # of lanes whose sum is one that is wanted
    while width > 1:
        alone = len(values) == 1
        values = values + values[-1:] if len(values) % 2 and not alone else values
        half, wanted = width // 2, []
        for k in range(0, len(values), 2):
            a, b = values[k], values[-1 if alone else k + 1]
            first = range(0, a.type.count * (1 if alone else 2), width)
            low = [lane for start in first for lane in range(start, start + half)]
            parts = (shuffle(builder, a, b, [lane + by for lane in low]) for by in (0, half))
            wanted.append(builder.fadd(*parts))
        values, width = wanted, half
    return [builder.extract_element(values[0], ir.Constant(I32, k)) for k in range(count)]


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


def hidden(builder: Any, value: Any) -> Any:
    """The same value, of which the compiler does not know that it is."""
    same = ir.InlineAsm(ir.FunctionType(value.type, [value.type]), "", "=r,0")
    return builder.call(same, [value])


@contextmanager
def repeat(builder: Any, count: Any) -> Iterator[None]:
    """A loop of `count` rounds, without a counter. The compiler is kept from seeing how many rounds
    there will be: it would unroll the loop, for which there are not enough registers."""
    with builder.if_then(builder.icmp_signed(">", count, ir.Constant(I64, 0))):
        before = builder.block
        body, after = builder.append_basic_block("round"), builder.append_basic_block("rounds.end")
        builder.branch(body)
        builder.position_at_end(body)
        left = builder.phi(I64)
        left.add_incoming(count, before)
        yield
        rest = hidden(builder, builder.sub(left, ir.Constant(I64, 1)))
        left.add_incoming(rest, builder.block)
        builder.cbranch(builder.icmp_signed(">", rest, ir.Constant(I64, 0)), body, after)
        builder.position_at_end(after)


def call_address(builder: Any, address: Any, values: list[Any]) -> None:
    """Call a function that `compiler.build` compiled. Numba's functions have two places for
    results first and give a status; these have no result and cannot fail."""
    place = cgutils.alloca_once(builder, ir.IntType(8).as_pointer())
    results = [builder.bitcast(place, ir.IntType(8).as_pointer()), place]
    values = [
        builder.zext(each, ir.IntType(8)) if each.type == ir.IntType(1) else each for each in values
    ]
    kind = ir.FunctionType(I32, [each.type for each in (*results, *values)])
    builder.call(builder.inttoptr(address, kind.as_pointer()), [*results, *values])


def data_pointer(context: Any, builder: Any, array: Any, value: Any) -> Any:
    """The address of an array's first element. A pointer is its own."""
    if isinstance(array, types.CPointer):
        return value
    return context.make_array(array)(context, builder, value).data


def load_vector(builder: Any, base: Any, off: Any, vector: ir.VectorType, mask: Any = None) -> Any:
    """The vector at an element offset; with a mask those lanes alone, zero in the others."""
    place = builder.bitcast(builder.gep(base, [off]), vector.as_pointer())
    if mask is None:
        return builder.load(place, align=element_bytes(vector))
    align = ir.Constant(I32, element_bytes(vector))
    values = [place, align, mask, ir.Constant(vector, None)]
    return call_llvm(builder, "masked.load", vector, values, vector, place.type)


def store_vector(builder: Any, base: Any, off: Any, value: Any, mask: Any = None) -> None:
    """Store a vector at an element offset; with a mask those lanes alone."""
    place = builder.bitcast(builder.gep(base, [off]), value.type.as_pointer())
    if mask is None:
        builder.store(value, place, align=element_bytes(value.type))
        return
    align = ir.Constant(I32, element_bytes(value.type))
    values = [value, place, align, mask]
    call_llvm(builder, "masked.store", ir.VoidType(), values, value.type, place.type)


def places_at(builder: Any, off: Any, count: int, stride: Any) -> list[Any]:
    """off, off + stride, ..., `count` of them."""
    return [
        builder.add(off, builder.mul(stride, ir.Constant(I64, k))) if k else off
        for k in range(count)
    ]


def load_broadcast(builder: Any, base: Any, off: Any, vector: ir.VectorType) -> Any:
    """One element in every lane."""
    return splat_value(builder, vector, builder.load(builder.gep(base, [off])))


def element_bytes(vector: ir.VectorType) -> int:
    """The size of one lane."""
    return 4 if vector.element == ir.FloatType() else 8


def first_lanes(builder: Any, vector: ir.VectorType, n: Any) -> Any:
    """The mask of the first n lanes."""
    numbers = ir.VectorType(I64, vector.count)
    index = ir.Constant(numbers, list(range(vector.count)))
    return builder.icmp_signed("<", index, splat_value(builder, numbers, n))


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


def _emit_arithmetic(name: str) -> Callable[[Any, Any, Any], Any]:
    def emit(builder: Any, a: Any, b: Any) -> Any:
        return getattr(builder, name)(a, b, flags=FLAGS)

    return emit


def _emit_comparison(sign: str) -> Callable[[Any, Any, Any], Any]:
    """A comparison that fails where one side is NaN, != excepted."""

    def emit(builder: Any, a: Any, b: Any) -> Any:
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, a, b)

    return emit


def _register_operators() -> None:
    for symbol, name in (
        (operator.add, "fadd"),
        (operator.sub, "fsub"),
        (operator.mul, "fmul"),
        (operator.truediv, "fdiv"),
    ):
        _register_binary(symbol, _emit_arithmetic(name), lambda kind: kind)
    for symbol, sign in (
        (operator.gt, ">"),
        (operator.ge, ">="),
        (operator.lt, "<"),
        (operator.le, "<="),
        (operator.eq, "=="),
        (operator.ne, "!="),
    ):
        _register_binary(symbol, _emit_comparison(sign), lambda kind: MaskVec(kind.dtype))

    @type_callable(operator.neg)
    def typing(context: Any) -> Any:
        return lambda a: a if isinstance(a, Vec) else None

    @lower_builtin(operator.neg, Vec)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fneg(args[0])


_register_operators()
