"""A cell's equations as a list of operations, taken down by running them on symbols.

`bptt.equations.cells` and a user's own cell are run as they stand: nothing of a cell is written
here. Values are numbered: first the K preactivations, then the S states, then the cell's own
parameters, then constants and results, in the order in which they come up.
"""

import operator
from dataclasses import dataclass
from typing import Any

from bptt.equations.cells import Cell
from bptt.equations.tracing import Symbol, UnsupportedError
from bptt.errors import BpttError, quoted_list

# The operations that sets of values can go through (`bptt.proofs.forms`).
ADD, SUBTRACT, MULTIPLY, TANH, SIGMOID, RELU, EXP, LOG, SOFTPLUS, SQRT, RECIPROCAL = range(11)
FUNCTIONS = {
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": RELU,
    "exp": EXP,
    "log": LOG,
    "softplus": SOFTPLUS,
    "sqrt": SQRT,
}
OPERATIONS = {"add": ADD, "subtract": SUBTRACT, "multiply": MULTIPLY}


@dataclass(frozen=True)
class Tape:
    """operations: (code, result, first operand, second operand), the last -1 where there is one
    operand only; constants by their numbers; parameters: places of the cell's own parameters by the
    numbers of those that matter; states: the numbers of the S new states; used: the preactivations
    and states that matter; size: how many numbers there are."""

    operations: tuple[tuple[int, int, int, int], ...]
    constants: dict[int, float]
    parameters: dict[int, int]
    states: tuple[int, ...]
    used: tuple[int, ...]
    size: int


class _Recorder:
    """Gives out numbers and notes operations."""

    def __init__(self) -> None:
        self.count = 0
        self.operations: list[tuple[int, int, int, int]] = []
        self.constants: dict[int, float] = {}

    def new(self) -> "_Noted":
        self.count += 1
        return _Noted(self, self.count - 1)

    def constant(self, value: float) -> "_Noted":
        made = self.new()
        self.constants[made.number] = value
        return made

    def note(self, code: int, first: Any, second: Any = None) -> "_Noted":
        a = first if isinstance(first, _Noted) else self.constant(float(first))
        b = second if second is None or isinstance(second, _Noted) else None
        if second is not None and b is None:
            b = self.constant(float(second))
        made = self.new()
        self.operations.append((code, made.number, a.number, -1 if b is None else b.number))
        return made


class _Noted(Symbol):
    """A value that a recorder has numbered."""

    def __init__(self, recorder: _Recorder, number: int) -> None:
        self.recorder, self.number = recorder, number

    def call(self, name: str, values: tuple[Any, ...]) -> "_Noted":
        """The result of a function or operator, as one operation or as several."""
        note = self.recorder.note
        if name in FUNCTIONS:
            return note(FUNCTIONS[name], *values)
        if name in OPERATIONS:
            return note(OPERATIONS[name], *values)
        if name == "negative":
            return note(MULTIPLY, -1.0, self)
        if name == "divide":
            a, b = values
            if not isinstance(b, _Noted):
                return note(MULTIPLY, a, 1.0 / float(b))
            return note(MULTIPLY, a, note(RECIPROCAL, b))
        if name == "absolute":
            return note(ADD, note(RELU, self), note(RELU, note(MULTIPLY, -1.0, self)))
        if name in ("maximum", "minimum"):  # b + max(a - b, 0), b - max(b - a, 0)
            a, b = values
            if name == "maximum":
                return note(ADD, b, note(RELU, note(SUBTRACT, a, b)))
            return note(SUBTRACT, b, note(RELU, note(SUBTRACT, b, a)))
        if name == "zeros_like":
            return self.recorder.constant(0.0)
        raise BpttError(
            f"'{name}' cannot be followed in a proof: cells may use + - * / and "
            f"{quoted_list((*FUNCTIONS, 'absolute', 'maximum', 'minimum'))}"
        )


def tape_of(cell: Cell) -> Tape:
    """The operations of one step of a cell. Raises BpttError for one that cannot be followed."""
    recorder = _Recorder()
    a = tuple(recorder.new() for _ in cell.preactivations)
    s = tuple(recorder.new() for _ in cell.states)
    inputs = recorder.count
    own = tuple(recorder.new() for _ in cell.parameters)
    try:
        _, after = cell.forward(a, s, own) if own else cell.forward(a, s)
        states = tuple(operator.attrgetter("number")(each) for each in after)
    except (TypeError, AttributeError, UnsupportedError) as error:
        raise BpttError(
            f"cell '{cell.name}' cannot be followed in a proof: {error}; use the functions of "
            "bptt.equations.functions and + - * /"
        ) from None
    needed = set(states)
    operations = []
    for operation in reversed(recorder.operations):
        if operation[1] in needed:
            needed.update(each for each in operation[2:] if each >= 0)
            operations.append(operation)
    constants = {k: v for k, v in recorder.constants.items() if k in needed}
    used = tuple(k for k in range(inputs) if k in needed)
    parameters = {each.number: place for place, each in enumerate(own) if each.number in needed}
    return Tape(tuple(reversed(operations)), constants, parameters, states, used, recorder.count)
