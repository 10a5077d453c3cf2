"""Elementary functions of the equations, on NumPy arrays and scalars of any float type.

The cells, losses and optimizers are written with these names only, so that the same source
runs on arrays here, and compiled on numbers and on vectors of numbers in `bptt.kernels`, which
supplies compiled versions under the same names (`bptt.kernels.machine.elementary`).

A derivative stands right under its function and is written in terms of the function's *value*
y = f(x), because that is what backpropagation through time keeps:

    f_backward(y, dy) = dy * f'(x)
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from bptt.equations.tracing import Symbol

# A NumPy array or scalar here; inside a compiled kernel a number or a vector of numbers.
Value = Any

# What equations may call, by name; the two with `_backward` of tanh and sigmoid are arithmetic.
ELEMENTARY: dict[str, Callable[..., Value]] = {}


def elementary(function: Callable[..., Value]) -> Callable[..., Value]:
    """A function of these, which symbols are told of instead (`bptt.equations.tracing`)."""

    @wraps(function)
    def told(*values: Value) -> Value:
        for each in values:
            if isinstance(each, Symbol):
                return each.call(function.__name__, values)
        return function(*values)

    ELEMENTARY[function.__name__] = told
    return told


@elementary
def tanh(x: Value) -> Value:
    """y = tanh(x)."""
    return np.tanh(x)


def tanh_backward(y: Value, dy: Value) -> Value:
    """dx = dy (1 - y^2)."""
    return dy - dy * y * y


@elementary
def sigmoid(x: Value) -> Value:
    """y = 1 / (1 + exp(-x)), from exp(-|x|) so that nothing overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(y: Value, dy: Value) -> Value:
    """dx = dy y (1 - y)."""
    return dy * y - dy * y * y


@elementary
def relu(x: Value) -> Value:
    """y = max(x, 0); NaN stays NaN."""
    return np.maximum(x, 0)


@elementary
def relu_backward(y: Value, dy: Value) -> Value:
    """dx = dy where y > 0, else 0 (the derivative at 0 is taken as 0, as PyTorch does)."""
    return np.where(y > 0, dy, 0 * y)


@elementary
def exp(x: Value) -> Value:
    """y = e^x."""
    return np.exp(x)


@elementary
def log(x: Value) -> Value:
    """y = ln x, x > 0."""
    return np.log(x)


@elementary
def softplus(x: Value) -> Value:
    """y = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), which neither overflows nor becomes log(0)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@elementary
def sqrt(x: Value) -> Value:
    """y = the square root of x."""
    return np.sqrt(x)


@elementary
def maximum(a: Value, b: Value) -> Value:
    """The larger of a and b; NaN if either is NaN."""
    return np.maximum(a, b)


@elementary
def minimum(a: Value, b: Value) -> Value:
    """The smaller of a and b; NaN if either is NaN."""
    return np.minimum(a, b)


@elementary
def absolute(x: Value) -> Value:
    """y = |x|."""
    return np.abs(x)


@elementary
def where(condition: Value, a: Value, b: Value) -> Value:
    """a where a comparison holds, else b: `where(x > 1, 1, x)`."""
    return np.where(condition, a, b)


@elementary
def zeros_like(x: Value) -> Value:
    """Zero, in the shape of x."""
    return np.zeros_like(x)
