"""A call whose arguments are all kept in memory, for what is called over and over.

Handing 26 arguments over takes Python longer than many a step takes the kernel. Here a few lines of
machine code, made once for a signature, take them from an array of 64-bit words, make the call, and
copy blocks of memory afterwards:

    call(arguments, blocks, count)      blocks: (count, 3) addresses to and from, and bytes
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Self

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from bptt.kernels.machine.library import linked

WORD = ir.IntType(64)
# How the kinds of `library.Function` are handed over by the compiler's convention.
KINDS: dict[str, Any] = {
    "int64": WORD, "float64": ir.DoubleType(), "boolean": ir.IntType(8)
}  # fmt: skip


def _code(kinds: tuple[str, ...], name: str) -> str:
    """The function's text: call what is at `place` with the words, then copy the blocks."""
    module = ir.Module(name)
    pointer, byte = WORD.as_pointer(), ir.IntType(8)
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [WORD, pointer, pointer, WORD]),
                           name)  # fmt: skip
    place, words, blocks, count = function.args
    build = ir.IRBuilder(function.append_basic_block())
    result = build.alloca(WORD)
    types = [pointer, pointer, *(KINDS.get(kind, pointer) for kind in kinds)]
    values: list[Any] = [result, result]
    for number, kind in enumerate(types[2:]):
        word = build.load(build.gep(words, [WORD(number)]))
        if kind == WORD:
            values.append(word)
        elif kind == pointer:
            values.append(build.inttoptr(word, pointer))
        elif isinstance(kind, ir.DoubleType):
            values.append(build.bitcast(word, kind))
        else:
            values.append(build.trunc(word, kind))
    called = build.inttoptr(place, ir.FunctionType(ir.IntType(32), types).as_pointer())
    status = build.call(called, values)
    copy = module.declare_intrinsic("llvm.memcpy", [byte.as_pointer(), byte.as_pointer(), WORD])
    loop, body, end = (function.append_basic_block() for _ in range(3))
    before = build.block
    build.branch(loop)
    build.position_at_end(loop)
    index = build.phi(WORD)
    index.add_incoming(WORD(0), before)
    build.cbranch(build.icmp_unsigned("<", index, count), body, end)
    build.position_at_end(body)
    first = build.mul(index, WORD(3))
    to, source, size = (
        build.load(build.gep(blocks, [build.add(first, WORD(k))])) for k in range(3)
    )
    ends = [build.inttoptr(each, byte.as_pointer()) for each in (to, source)]
    build.call(copy, [*ends, size, ir.IntType(1)(0)])
    index.add_incoming(build.add(index, WORD(1)), body)
    build.branch(loop)
    build.position_at_end(end)
    build.ret(status)
    return str(module)


@cache
def _caller(kinds: tuple[str, ...]) -> Any:
    """The machine code for a signature, as a function of four words."""
    name = "call-stored-" + "-".join(kinds).replace("*", "s")
    place = linked(llvm.parse_assembly(_code(kinds, name)), name)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_uint64] * 4)
    return prototype(place)


def stored_call(
    place: int, kinds: Sequence[str], values: Sequence[Any], blocks: NDArray[np.int64]
) -> Callable[[], int]:
    """A call of the function at `place` without arguments. values: addresses and numbers of these
    kinds; blocks (n, 3): what is copied after each call. What they point to must stay."""
    words = np.zeros(len(values), np.int64)
    for number, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        if kind == "float64":
            words[number : number + 1].view(np.float64)[0] = value
        else:
            words[number] = 0 if value is None else int(value)
    table = np.ascontiguousarray(blocks, np.int64)
    caller = _caller(tuple(kinds))
    given = [ctypes.c_uint64(v) for v in (place, words.ctypes.data, table.ctypes.data, len(table))]
    return Stored(caller, *given).keeping(words, table)


class Stored(partial[int]):
    """A call with its arguments, and what these point to."""

    kept: tuple[Any, ...]

    def keeping(self, *kept: Any) -> Self:
        """The same, which keeps these alive."""
        self.kept = kept
        return self
