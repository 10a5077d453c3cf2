"""Numbers too small to be normal (below 1e-38; in float64 2e-308) are zero while a kernel runs.

An optimizer's moment that no gradient feeds any more, of a dead relu or of a letter that is not
read, decays to the smallest such numbers and stays there: 0.9 times 4 units in the last place is 4
units again. Intel's processors take some 150 cycles for each instruction that meets one. What
decides is a register of the thread, so it is set back when the kernel ends.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from bptt.kernels.machine.vectors import I32, I64, operation

MACHINE = platform.machine().lower()
X86, ARM = MACHINE in ("x86_64", "amd64"), MACHINE in ("aarch64", "arm64")
# Results, and on x86 by a bit of its own operands, become zero; elsewhere nothing is changed.
ZERO = 0x8040 if X86 else 1 << 24 if ARM else 0


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [each.type for each in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _read(builder: Any) -> Any:
    """The register."""
    if ARM:
        return _call(builder, "llvm.aarch64.get.fpcr", I64)
    if not X86:
        return ir.Constant(I64, 0)
    place = cgutils.alloca_once(builder, I32)
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), pointer)
    return builder.zext(builder.load(place), I64)


def _write(builder: Any, value: Any) -> None:
    if ARM:
        _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), value)
    elif X86:
        place = cgutils.alloca_once(builder, I32)
        builder.store(builder.trunc(value, I32), place)
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), pointer)


def _define_to_zero(_: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        before = _read(builder)
        _write(builder, builder.or_(before, ir.Constant(I64, ZERO)))
        return before

    return types.int64(), generate


@operation(_define_to_zero)
def denormals_to_zero() -> int:
    """From now on such numbers are zero. Returns what `denormals_as` sets back."""
    return 0


def _define_as(_: Any, before: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@operation(_define_as)
def denormals_as(before: int) -> None:
    """As they were before."""
