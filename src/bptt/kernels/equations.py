"""How equations written elsewhere get into a kernel.

A kernel takes a `Cell` as an argument. To the compiler every cell is a type of its own, so a
kernel is compiled once per cell with that cell's equations in place; nothing is looked up while
it runs. Optimizers and outputs are few and small: a kernel holds them all and picks by number.
"""

from typing import Any

from numba import types
from numba.extending import (
    NativeValue,
    models,
    overload,
    register_jitable,
    register_model,
    typeof_impl,
    unbox,
)

from bptt.cells import CELLS, Cell
from bptt.kernels import elementary  # noqa: F401  registers the compiled functions


class CellType(types.Opaque):
    """The type of one particular cell."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.cell_key = key
        super().__init__(name=f"Cell({key[0]}, {key[1]})")

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return CELLS[self.cell_key]


register_model(CellType)(models.OpaqueModel)


@typeof_impl.register(Cell)
def _type_of_cell(value: Cell, context: Any) -> CellType:
    return CellType(next(key for key, cell in CELLS.items() if cell is value))


@unbox(CellType)
def _unbox_cell(typ: Any, value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


def step_forward(cell: Cell, a: Any, s: Any) -> Any:
    """`cell.forward`, callable from kernels."""
    return cell.forward(a, s)


@overload(step_forward)
def _step_forward(cell, a, s):
    equation = register_jitable(cell.cell.forward)
    return lambda cell, a, s: equation(a, s)


def step_backward(cell: Cell, gates: Any, s: Any, s_new: Any, ds_new: Any) -> Any:
    """`cell.backward`, callable from kernels."""
    return cell.backward(gates, s, s_new, ds_new)


@overload(step_backward)
def _step_backward(cell, gates, s, s_new, ds_new):
    equation = register_jitable(cell.cell.backward)
    return lambda cell, gates, s, s_new, ds_new: equation(gates, s, s_new, ds_new)


def _reader(count: int) -> Any:
    """A function that reads x[0, i], ..., x[count - 1, i] into a tuple."""
    items = "".join(f"x[{k}, i], " for k in range(count))
    return eval(f"lambda x, i: ({items})")


def _writer(count: int) -> Any:
    """A function that writes a tuple to x[0, i], ..., x[count - 1, i]."""
    lines = "".join(f"    x[{k}, i] = values[{k}]\n" for k in range(count))
    scope: dict[str, Any] = {}
    exec(f"def write(x, i, values):\n{lines}", scope)
    return scope["write"]


READERS = {count: register_jitable(_reader(count)) for count in range(1, 9)}
WRITERS = {count: register_jitable(_writer(count)) for count in range(1, 9)}


def read_gates(cell: Cell, x: Any, i: int) -> Any:
    """Column i of x (K, n) as a tuple of the cell's K preactivations."""
    return READERS[len(cell.preactivations)](x, i)


@overload(read_gates)
def _read_gates(cell, x, i):
    read = READERS[len(cell.cell.preactivations)]
    return lambda cell, x, i: read(x, i)


def read_states(cell: Cell, x: Any, i: int) -> Any:
    """Column i of x (S, n) as a tuple of the cell's S states."""
    return READERS[len(cell.states)](x, i)


@overload(read_states)
def _read_states(cell, x, i):
    read = READERS[len(cell.cell.states)]
    return lambda cell, x, i: read(x, i)


def write(x: Any, i: int, values: Any) -> None:
    """Write a tuple to column i of x."""
    WRITERS[len(values)](x, i, values)


@overload(write)
def _write(x, i, values):
    assign = WRITERS[len(values)]
    return lambda x, i, values: assign(x, i, values)
