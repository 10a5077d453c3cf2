"""What a user's pointwise equations are: traced once, as a list of operations.

Equations are called with a `Symbol` for each argument. A symbol remembers what is done with it, so
that constants, helper functions and closures, however they are written, come out as one list of
operations on numbers: it is the same for the same mathematics on every Python and machine, so a
digest of it tells one set of equations from another; and it is a source of its own, from which
kernels are compiled anywhere without the user's module.

    >>> from bptt.equations.functions import tanh
    >>> print(trace(lambda a, s: 0.5 * tanh(a[0]) + s, {"a": 1, "s": None}))
    def equation(a, s):
        v0 = tanh(a[0])
        v1 = 0.5 * v0
        v2 = v1 + s
        return v2
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bptt.errors import BpttError

ALLOWED = (
    "+ - * /, ** with a small whole number or 0.5, comparisons within where(), numbers, "
    "and the functions of bptt.functions"
)
OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=",
}  # fmt: skip
COMPARISONS = ("greater", "greater_equal", "less", "less_equal")
# NumPy's functions by their names here.
SAME = {
    "tanh": "tanh", "exp": "exp", "log": "log", "sqrt": "sqrt", "maximum": "maximum",
    "minimum": "minimum", "absolute": "absolute", "fabs": "absolute",
}  # fmt: skip
LARGEST_POWER = 8


class UnsupportedError(Exception):
    """What a user's equation does that cannot be compiled."""


class Graph:
    """The operations on symbols, each once, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.nodes: list[str] = []  # source of each: an argument, or an operation on others
        self.needs: list[tuple[int, ...]] = []
        self._found: dict[str, int] = {}

    def add(self, text: str, needs: tuple[int, ...] = (), mask: bool = False) -> "Symbol":
        """The symbol of an operation; one that was there before is that one."""
        if text not in self._found:
            self._found[text] = len(self.nodes)
            self.nodes.append(text)
            self.needs.append(needs)
        return Symbol(self, self._found[text], mask)


def _text(value: Any) -> str:
    """A symbol or number as an operand."""
    if isinstance(value, Symbol):
        return value.text
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise UnsupportedError(f"it computes with a {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise UnsupportedError(f"it computes with the number {number}")
    return f"({number!r})" if number < 0 else repr(number)


class Symbol:
    """Stands for a number, or for an array of numbers, that is not known yet."""

    def __init__(self, graph: Graph, index: int, mask: bool = False) -> None:
        self.graph, self.index, self.mask = graph, index, mask

    @property
    def text(self) -> str:
        """Its name in the source."""
        given = not self.graph.needs[self.index]
        return self.graph.nodes[self.index] if given else f"v{self.index}"

    def call(self, name: str, values: tuple[Any, ...]) -> "Symbol":
        """A function of `bptt.equations.functions`, or an operator, of these values."""
        symbols = [each for each in values if isinstance(each, Symbol)]
        masks = [isinstance(each, Symbol) and each.mask for each in values]
        if masks != [name == "where" and k == 0 for k in range(len(values))]:
            raise UnsupportedError("a comparison stands elsewhere than first in where()")
        if name == "where" and len(symbols) == 1:
            (first, *_), (_, one, other) = self.graph.needs[symbols[0].index], values
            like = Symbol(self.graph, first)
            values = (symbols[0], like.call("zeros_like", (like,)) + one, other)
            symbols.append(values[1])
        texts = [_text(each) for each in values]
        if name in OPERATORS:
            text = f"{texts[0]} {OPERATORS[name]} {texts[1]}"
        else:
            text = f"{name}({', '.join(texts)})" if name != "negative" else f"-{texts[0]}"
        needs = tuple(each.index for each in symbols)
        return self.graph.add(text, needs, name in COMPARISONS)

    def __array_ufunc__(self, ufunc: Any, method: str, *values: Any, **options: Any) -> "Symbol":
        name = {**OPERATORS, **SAME, "negative": "-"}.get(ufunc.__name__)
        if name is None or method != "__call__" or options:
            raise UnsupportedError(f"it calls numpy.{ufunc.__name__}")
        return self.call(SAME.get(ufunc.__name__, ufunc.__name__), values)

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise UnsupportedError(f"it calls numpy.{function.__name__}")

    def __pow__(self, power: Any) -> "Symbol":
        if power == 0.5:
            return self.call("sqrt", (self,))
        if not isinstance(power, int | float) or power not in range(1, LARGEST_POWER + 1):
            raise UnsupportedError(f"it takes a power of {power!r}")
        result = self
        for _ in range(int(power) - 1):
            result = result * self
        return result

    def __bool__(self) -> bool:
        raise UnsupportedError("it decides by a value (if, and, or, min, max): use where()")

    def __float__(self) -> float:
        raise UnsupportedError("it makes a plain number of a value (math., float())")

    __int__ = __index__ = __complex__ = __float__

    def __iter__(self) -> Any:
        raise UnsupportedError("it goes through a value as if it were a tuple")

    def __getitem__(self, index: Any) -> Any:
        raise UnsupportedError(f"it takes element {index!r} of a value")

    def __abs__(self) -> "Symbol":
        return self.call("absolute", (self,))

    def __pos__(self) -> "Symbol":
        return self

    def __neg__(self) -> "Symbol":
        return self.call("negative", (self,))

    def __add__(self, other: Any) -> "Symbol":
        return self.call("add", (self, other))

    def __radd__(self, other: Any) -> "Symbol":
        return self.call("add", (other, self))

    def __sub__(self, other: Any) -> "Symbol":
        return self.call("subtract", (self, other))

    def __rsub__(self, other: Any) -> "Symbol":
        return self.call("subtract", (other, self))

    def __mul__(self, other: Any) -> "Symbol":
        return self.call("multiply", (self, other))

    def __rmul__(self, other: Any) -> "Symbol":
        return self.call("multiply", (other, self))

    def __truediv__(self, other: Any) -> "Symbol":
        return self.call("divide", (self, other))

    def __rtruediv__(self, other: Any) -> "Symbol":
        return self.call("divide", (other, self))

    def __gt__(self, other: Any) -> "Symbol":
        return self.call("greater", (self, other))

    def __ge__(self, other: Any) -> "Symbol":
        return self.call("greater_equal", (self, other))

    def __lt__(self, other: Any) -> "Symbol":
        return self.call("less", (self, other))

    def __le__(self, other: Any) -> "Symbol":
        return self.call("less_equal", (self, other))


def _results(value: Any, where: str, shape: Any) -> Any:
    """What an equation gave, as symbols in tuples of the wanted shape: None for one value, or a
    tuple of shapes or a number of values, with names for the message."""
    if shape is None:
        if not isinstance(value, Symbol):
            raise UnsupportedError(
                f"{where} is {value!r:.40}, not computed from its arguments; "
                "for zero give zeros_like() of one"
            )
        if value.mask:
            raise UnsupportedError(f"{where} is a comparison")
        return value
    if not isinstance(value, tuple | list):
        raise UnsupportedError(f"{where} is one value, not a tuple of {len(shape)}")
    if len(value) != len(shape):
        raise UnsupportedError(
            f"{where} has {len(value)} values, not {len(shape)}: {', '.join(shape)}"
        )
    return tuple(_results(each, name, inner) for each, (name, inner) in zip(
        value, shape.items(), strict=True))  # fmt: skip


def trace(
    equation: Callable[..., Any], arguments: Mapping[str, int | None],
    results: Mapping[str, Any] | None = None, what: str = "the equation",
) -> str:  # fmt: skip
    """Trace an equation: the source of a function `equation` with those arguments, which calls
    `bptt.equations.functions`. arguments: their names, and how many values each is a tuple of
    (None: it is one value); results: likewise, by name, what it should give.

    Raises BpttError, one line that begins with `what`, if it does not give that, or does what
    cannot be compiled.
    """
    graph = Graph()
    given: list[Any] = []
    for name, count in arguments.items():
        if count is None:
            given.append(graph.add(name))
        else:
            given.append(tuple(graph.add(f"{name}[{k}]") for k in range(count)))
    try:
        value = equation(*given)
        if results is not None:
            value = _results(value, "what it returns", results)
    except BpttError:
        raise
    except Exception as error:  # whatever a user's function may raise
        why = error if isinstance(error, UnsupportedError) else f"{type(error).__name__}: {error}"
        why = " ".join(str(why).split())
        raise BpttError(f"{what}: {why}; allowed are {ALLOWED}") from None
    return _source(graph, list(arguments), value)


def _leaves(value: Any) -> list[Symbol]:
    return [value] if isinstance(value, Symbol) else [s for each in value for s in _leaves(each)]


def _written(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, Symbol):
        return names[value.index]
    inside = ", ".join(_written(each, names) for each in value)
    return f"({inside},)" if len(value) == 1 else f"({inside})"


def _source(graph: Graph, arguments: list[str], value: Any) -> str:
    """The function that gives `value`, of the operations that it needs."""
    needed = {symbol.index for symbol in _leaves(value)}
    for index in reversed(range(len(graph.nodes))):
        if index in needed:
            needed.update(graph.needs[index])
    steps = [index for index in sorted(needed) if graph.needs[index]]
    names = {index: Symbol(graph, index).text for index in needed}
    names |= {index: f"v{number}" for number, index in enumerate(steps)}

    def renamed(text: str) -> str:
        return re.sub(r"\bv(\d+)\b", lambda match: names[int(match[1])], text)

    lines = [f"def equation({', '.join(arguments)}):"]
    lines += [f"    {names[index]} = {renamed(graph.nodes[index])}" for index in steps]
    return "\n".join([*lines, f"    return {_written(value, names)}"])
