"""Compiled versions of `bptt.equations.functions`, for numbers and for vectors of numbers.

libm's tanh and exp take 12 to 14 ns and do not vectorise; these are a polynomial and a few bit
operations without a branch, written once for float32 and float64, numbers and vectors.

Most rest on expm1 of a reduced argument: z = n ln 2 + r with |r| <= ln(2)/2, ln 2 in two parts so
that n ln 2 is exact enough;

    e^r - 1 = r + r^2 (1/2 + r/6 + r^2/24 + ...)    to r^6 in float32, r^11 in float64
    e^z     = 2^n (1 + (e^r - 1)),  2^n written into the exponent bits.

Logarithms rest on ln s = 2 artanh(q) = 2 q (1 + q^2/3 + q^4/5 + ...), q = (s - 1) / (s + 1).
Series are economised: cut off at those terms they would need one to six more.

Errors are below 3 units in the last place for tanh, sigmoid and exp, 4 for log and softplus, over
the whole range (tests/test_elementary.py); of exp, sigmoid and softplus results too small to be
normal are zero, as all such numbers are in kernels (`bptt.kernels.machine.denormals`). NaN gives
NaN: results are limited by comparisons that let NaN through. Importing this module makes the names
of `bptt.equations.functions` callable from kernels.
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import zip_longest
from typing import Any, NamedTuple

from numba import types
from numba.extending import overload

from bptt.equations import functions
from bptt.kernels.machine.arithmetic import (
    exponent,
    polynomial,
    root,
    significand,
    times_power_of_2,
)
from bptt.kernels.machine.compiler import OPTIONS, part
from bptt.kernels.machine.simd import (
    absolute,
    constant,
    fma,
    largest,
    select,
    smallest,
    with_sign_of,
)
from bptt.kernels.machine.vectors import Vec

LOG2_E, LN2 = 1.4426950408889634, 0.6931471805599453


class Parameters(NamedTuple):
    """What differs between float32 and float64."""

    # Adding this to a number rounds it to a whole one, which then stands in the lowest bits.
    shift: float
    # ln 2 = high + low, the high part with enough trailing zeros that n * high is exact.
    ln2_high: float
    ln2_low: float
    # Whether that is needed for tanh: n ln 2 is wrong by n / 30 of a unit in the last place of 1
    # if ln 2 is one float32 (of a float64 n / 5), and n is large only where tanh is 1.
    tanh_in_one: bool
    # Terms of the series of e^r - 1 after r, and of artanh(q) after q.
    exp_terms: int
    softplus_terms: int
    log_terms: int
    # Beyond these tanh and sigmoid are 1 to the last place.
    tanh_limit: float
    sigmoid_limit: float
    # Below this e^x is too small to be normal, above it infinite: the logarithms of the smallest
    # normal and of the largest number, rounded to the inside.
    exp_low: float
    exp_high: float
    # The smallest normal number, and a power of 2 that makes normal numbers of smaller ones.
    tiny: float
    raising: float
    raised: float


SINGLE = Parameters(
    shift=1.5 * 2.0**23,
    ln2_high=0.693145751953125,
    ln2_low=1.4286068203094172e-06,
    tanh_in_one=True,
    exp_terms=5,
    softplus_terms=4,
    log_terms=3,
    tanh_limit=10.0,
    sigmoid_limit=20.0,
    exp_low=-87.33654,
    exp_high=88.72283,
    tiny=2.0**-126,
    raising=2.0**24,
    raised=24.0,
)
DOUBLE = Parameters(
    shift=1.5 * 2.0**52,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    tanh_in_one=False,
    exp_terms=10,
    softplus_terms=10,
    log_terms=7,
    tanh_limit=20.0,
    sigmoid_limit=40.0,
    exp_low=-708.3964185322641,
    exp_high=709.782712893384,
    tiny=2.0**-1022,
    raising=2.0**54,
    raised=54.0,
)


def economised(
    series: Iterable[Fraction], low: Fraction, high: Fraction, terms: int
) -> tuple[float, ...]:
    """Of c[0] + c[1] x + c[2] x^2 + ... (the first of infinitely many terms) a polynomial of fewer
    that comes near to it for low <= x <= high: the last term is replaced by the lower ones of the
    Chebyshev polynomial that has it, until so many are left. Worked out in exact numbers."""
    found = list(series)
    u = -(low + high) / (high - low), 2 / (high - low)  # x = low..high is u = -1..1
    chebyshev = [[Fraction(1)], list(u)]  # T_n(u) = 2 u T_(n-1)(u) - T_(n-2)(u), in powers of x
    while len(chebyshev) < len(found):
        last, none = chebyshev[-1], Fraction(0)
        pairs = zip([*last, none], [none, *last], strict=True)
        after = zip_longest((2 * (u[0] * a + u[1] * b) for a, b in pairs), chebyshev[-2])
        chebyshev.append([a - (b or none) for a, b in after])
    for t in chebyshev[: terms - 1 : -1]:
        share = found.pop() / t[-1]
        found = [a - share * b for a, b in zip(found, t, strict=False)]
    return tuple(float(c) for c in found)


def _exp_series(terms: int) -> tuple[float, ...]:
    """1/2, 1/6, 1/24, ...: what follows in e^r = 1 + r + r^2 (1/2 + r/6 + ...), |r| <= ln(2)/2."""
    series = (Fraction(1, math.factorial(k + 2)) for k in range(16))
    return economised(series, Fraction(-7, 20), Fraction(7, 20), terms)


def _artanh_series(most: Fraction, terms: int) -> tuple[float, ...]:
    """1/3, 1/5, ...: what follows 1 in artanh(q) / q as a polynomial of q^2 <= most."""
    return economised((Fraction(1, 2 * k + 3) for k in range(20)), Fraction(0), most, terms)


def _reduction(of: Parameters, f: float, in_one: bool) -> Any:
    """Of a number x the function that gives (n + shift, e^r - 1) of f x = n ln 2 + r. in_one:
    n is so small that ln 2 need not be in two parts."""
    shift = of.shift
    series = tuple(f ** (k + 2) * c for k, c in enumerate(_exp_series(of.exp_terms)))
    high, low, to_n = -of.ln2_high / f, -of.ln2_low / f, f * LOG2_E
    if in_one:
        high = -LN2 / f

    @part
    def reduced(x):
        shifted = fma(x, constant(x, to_n), constant(x, shift))
        n = shifted - constant(x, shift)
        r = fma(n, constant(x, high), x)  # r / f, in fact
        if not in_one:
            r = fma(n, constant(x, low), r)
        return shifted, fma(r * r, polynomial(r, series), r * constant(x, f))

    return reduced


def _exponential(of: Parameters) -> dict[str, Callable[..., Any]]:
    """The functions that rest on e^x, for one float type."""
    tanh_limit, sigmoid_limit = of.tanh_limit, of.sigmoid_limit
    exp_low, exp_high = of.exp_low, of.exp_high
    softplus_series = _artanh_series(Fraction(1, 9), of.softplus_terms)

    reduced, reduced_twice = _reduction(of, 1.0, False), _reduction(of, 2.0, of.tanh_in_one)

    def tanh(x):
        a, one = absolute(x), constant(x, 1.0)
        shifted, p = reduced_twice(a)
        scale = times_power_of_2(one, shifted)
        # (e^2a - 1) / (e^2a + 1). Limited last: nothing has to wait for that, as it would for a.
        y = fma(scale, p, scale - one) / fma(scale, p, scale + one)
        return with_sign_of(select(a > constant(x, tanh_limit), one, y), x)

    @part
    def exp_below_limit(x):
        shifted, p = reduced(x)
        y = times_power_of_2(p + constant(x, 1.0), shifted)
        return select(x < constant(x, exp_low), constant(x, 0.0), y)

    def exp(x):
        # Beyond the limit infinity, of NaN NaN.
        return select(x <= constant(x, exp_high), exp_below_limit(x), x * constant(x, math.inf))

    def sigmoid(x):
        one = constant(x, 1.0)
        shifted, p = reduced(-x)
        scale = times_power_of_2(one, shifted)
        y = one / fma(scale, p, scale + one)
        y = select(x > constant(x, sigmoid_limit), one, y)
        return select(x < constant(x, exp_low), constant(x, 0.0), y)

    def softplus(x):
        zero = constant(x, 0.0)
        e = exp_below_limit(-absolute(x))
        q = e / (constant(x, 2.0) + e)  # ln(1 + e) = 2 artanh(q), q <= 1/3
        q2 = q * q
        series = fma((q + q) * q2, polynomial(q2, softplus_series), q + q)
        return series + select(x < zero, zero, x)

    return {"tanh": tanh, "exp": exp, "sigmoid": sigmoid, "softplus": softplus}


def _logarithm(of: Parameters) -> dict[str, Callable[..., Any]]:
    """ln, for one float type."""
    ln2_high, ln2_low = of.ln2_high, of.ln2_low
    tiny, raising, raised = of.tiny, of.raising, of.raised
    series = _artanh_series(Fraction(3, 100), of.log_terms)

    def log(x):
        zero, one = constant(x, 0.0), constant(x, 1.0)
        small = x < constant(x, tiny)
        y = select(small, x * constant(x, raising), x)
        k = exponent(y) - select(small, constant(x, raised), zero)
        f = significand(y) - one
        q = f / (f + constant(x, 2.0))
        q2 = q * q
        value = fma((q + q) * q2, polynomial(q2, series), k * constant(x, ln2_low))
        value = fma(k, constant(x, ln2_high), value + (q + q))
        # ln 0 is -inf, ln inf inf, that of less NaN, and of NaN too.
        value = select(x < constant(x, math.inf), value, x)
        value = select(x == zero, constant(x, -math.inf), value)
        return select(x < zero, constant(x, math.nan), value)

    return {"log": log}


def _relu(x):
    zero = constant(x, 0.0)
    return select(x < zero, zero, x)


def _relu_backward(y, dy):
    zero = constant(y, 0.0)
    return select(y > zero, dy, zero * y)


# By float type.
FAMILIES: dict[Any, dict[str, Callable[..., Any]]] = {
    types.float32: _exponential(SINGLE) | _logarithm(SINGLE),
    types.float64: _exponential(DOUBLE) | _logarithm(DOUBLE),
}
# The same for both.
COMMON: dict[str, Callable[..., Any]] = {
    "relu": _relu,
    "relu_backward": _relu_backward,
    "sqrt": lambda x: root(x),
    "maximum": lambda a, b: largest(a, b),
    "minimum": lambda a, b: smallest(a, b),
    "zeros_like": lambda x: constant(x, 0.0),
    "absolute": lambda x: absolute(x),
}


def _find(name: str, kind: Any) -> Any:
    """The compiled function for arguments of a type; None if that is no float or vector."""
    dtype = kind.dtype if isinstance(kind, Vec) else kind
    return {**FAMILIES[dtype], **COMMON}[name] if dtype in FAMILIES else None


def _register_one_argument(name: str) -> None:
    overload(getattr(functions, name), jit_options=OPTIONS)(lambda x: _find(name, x))


def _register_two_arguments(name: str) -> None:
    overload(getattr(functions, name), jit_options=OPTIONS)(
        lambda a, b: _find(name, a) or _find(name, b)
    )


def _register() -> None:
    """Make the functions of `bptt.equations.functions` callable from kernels."""
    for name in (*FAMILIES[types.float32], "relu", "sqrt", "zeros_like", "absolute"):
        _register_one_argument(name)
    for name in ("maximum", "minimum"):
        _register_two_arguments(name)
    overload(functions.where, jit_options=OPTIONS)(
        lambda condition, a, b: lambda condition, a, b: select(condition, a, b)
    )
    overload(functions.relu_backward, jit_options=OPTIONS)(lambda y, dy: _find("relu_backward", y))
    for plain in (functions.tanh_backward, functions.sigmoid_backward):
        part(plain)  # pure arithmetic: compiled as it stands


_register()
