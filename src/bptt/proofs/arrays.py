"""Arrays of several axes in the flat ones of a workspace, in kernels.

`numbers` and `ints` are flat arrays where the compiler is off, pointers where it is on: an array
that a kernel makes of a pointer is a view that nobody counts references to.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import carray

from bptt.kernels.machine.compiler import OPTIONS
from bptt.kernels.machine.vectors import operation


def _define_alone(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@operation(_define_alone)
def alone() -> None:
    """Said first in a part: it is compiled once, and called, instead of once more wherever it is
    used. It takes half of the time to compile."""


def view1(numbers: Any, m: Any, name: int) -> Any:
    """An array of one axis."""
    return numbers[m[name] : m[name] + m[name + 1]]


def view2(numbers: Any, m: Any, name: int) -> Any:
    """An array of two axes."""
    at, a, b = m[name : name + 3]
    return numbers[at : at + a * b].reshape(a, b)


def view3(numbers: Any, m: Any, name: int) -> Any:
    """An array of three axes."""
    at, a, b, c = m[name : name + 4]
    return numbers[at : at + a * b * c].reshape(a, b, c)


def at3(numbers: Any, m: Any, name: int, index: int) -> Any:
    """One of the arrays of three axes that an array of four holds."""
    at, _, a, b, c = m[name : name + 5]
    at += index * a * b * c
    return numbers[at : at + a * b * c].reshape(a, b, c)


def _moved(context: Any, pointer: Any, places: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, places), generate


moved: Any = intrinsic(_moved)


@overload(view1, jit_options=OPTIONS)
def _view1(numbers, m, name):
    return lambda numbers, m, name: carray(moved(numbers, m[name]), m[name + 1])


@overload(view2, jit_options=OPTIONS)
def _view2(numbers, m, name):
    return lambda numbers, m, name: carray(moved(numbers, m[name]), (m[name + 1], m[name + 2]))


@overload(view3, jit_options=OPTIONS)
def _view3(numbers, m, name):
    return lambda numbers, m, name: carray(
        moved(numbers, m[name]), (m[name + 1], m[name + 2], m[name + 3])
    )


@overload(at3, jit_options=OPTIONS)
def _at3(numbers, m, name, index):
    return lambda numbers, m, name, index: carray(
        moved(numbers, m[name] + index * m[name + 2] * m[name + 3] * m[name + 4]),
        (m[name + 2], m[name + 3], m[name + 4]),
    )
