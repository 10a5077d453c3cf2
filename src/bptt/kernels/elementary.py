"""Compiled versions of `bptt.functions` for float32 and float64 numbers.

libm's tanh and exp take 12 to 14 ns and do not vectorise; these are a polynomial and a few bit
operations without a branch, so a loop over them runs at 0.5 (float32) to 1.3 ns (float64) a number.

All rest on expm1 of a reduced argument: z = n ln 2 + r with |r| <= ln(2)/2, ln 2 in two parts so
that n ln 2 is exact enough;

    e^r - 1 = r + r^2 (1/2 + r/6 + r^2/24 + ...)    degree 7 in float32, 13 in float64
    e^z     = 2^n (1 + (e^r - 1)),  2^n written into the exponent bits.

Error below 3 units in the last place over the whole range (tests/test_elementary.py). NaN gives
NaN: arguments are clamped by comparisons that let NaN through.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload, register_jitable

from bptt import functions
from bptt.kernels.compiler import STRICT

OPTIONS = {"fastmath": STRICT, "error_model": "numpy"}
F4, F8, I4, I8 = np.float32, np.float64, np.int32, np.int64

LOG2_E = 1.4426950408889634
# ln 2 = high + low, the high part with enough trailing zeros that n * high is exact.
LN2_HIGH_4, LN2_LOW_4 = F4(0.693145751953125), F4(1.4286068203094172e-06)
LN2_HIGH_8, LN2_LOW_8 = 0.6931471803691238, 1.9082149292705877e-10

strict = njit(**OPTIONS)


@strict
def _expm1_reduced_4(z):
    """(n, e^r - 1) of z = n ln 2 + r, float32."""
    n = np.rint(z * F4(LOG2_E))
    r = (z - n * LN2_HIGH_4) - n * LN2_LOW_4
    tail = F4(1 / 6) + r * (F4(1 / 24) + r * (F4(1 / 120) + r * (F4(1 / 720) + r * F4(1 / 5040))))
    return n, r + (r * r) * (F4(0.5) + r * tail)


@strict
def _expm1_reduced_8(z):
    """(n, e^r - 1) of z = n ln 2 + r, float64."""
    n = np.rint(z * LOG2_E)
    r = (z - n * LN2_HIGH_8) - n * LN2_LOW_8
    tail = 1 / 479001600 + r * (1 / 6227020800)
    tail = 1 / 3628800 + r * (1 / 39916800 + r * tail)
    tail = 1 / 40320 + r * (1 / 362880 + r * tail)
    tail = 1 / 720 + r * (1 / 5040 + r * tail)
    tail = 1 / 6 + r * (1 / 24 + r * (1 / 120 + r * tail))
    return n, r + (r * r) * (0.5 + r * tail)


@strict
def _power_of_2_4(n):
    return I4((I4(n) + I4(127)) << I4(23)).view(np.float32)


@strict
def _power_of_2_8(n):
    return I8((I8(n) + I8(1023)) << I8(52)).view(np.float64)


def _family(F: Any, reduced: Any, power_of_2: Any, tanh_limit: float, exp_low: float, exp_high: float,
            log_terms: int) -> dict[str, Callable[..., Any]]:  # fmt: skip
    """The functions of one float type. Beyond `tanh_limit` tanh is 1 to the last place; below
    `exp_low` e^x is 0, above `exp_high` infinite."""
    one, two, zero, half, top = F(1), F(2), F(0), F(0.5), F(tanh_limit)
    low, high = F(exp_low), F(exp_high)
    odd = tuple(F(1 / (2 * k + 1)) for k in range(log_terms))

    @strict
    def tanh(x):
        a = abs(x)
        a = top if a > top else a
        n, p = reduced(two * a)
        scale = power_of_2(n)
        e = scale * p + (scale - one)  # e^2a - 1
        return math.copysign(e / (e + two), x)

    @strict
    def exp(x):
        z = low if x < low else (high if x > high else x)
        n, p = reduced(z)
        m = np.rint(n * half)  # in two factors: 2^n itself may be out of range
        return (p + one) * power_of_2(m) * power_of_2(n - m)

    @strict
    def sigmoid(x):
        e = exp(-abs(x))
        return (one if x >= zero else e) / (one + e)

    @strict
    def softplus(x):
        e = exp(-abs(x))
        q = e / (two + e)  # ln(1 + e) = 2 artanh(q), q <= 1/3
        q2 = q * q
        series = zero
        for k in range(log_terms - 1, -1, -1):
            series = series * q2 + odd[k]
        return (zero if x < zero else x) + two * q * series

    return {
        "tanh": tanh,
        "exp": exp,
        "sigmoid": sigmoid,
        "softplus": softplus,
        "log": njit(lambda x: math.log(x), **OPTIONS),
        "sqrt": njit(lambda x: math.sqrt(x), **OPTIONS),
        "relu": njit(lambda x: zero if x < zero else x, **OPTIONS),
        "relu_backward": njit(lambda y, dy: dy if y > zero else zero * y, **OPTIONS),
        "maximum": njit(lambda a, b: b if (b > a or b != b) else a, **OPTIONS),
        "minimum": njit(lambda a, b: b if (b < a or b != b) else a, **OPTIONS),
        "zeros_like": njit(lambda x: zero, **OPTIONS),
    }


FAMILIES = {
    types.float32: _family(F4, _expm1_reduced_4, _power_of_2_4, 10.0, -104.0, 89.0, 8),
    types.float64: _family(F8, _expm1_reduced_8, _power_of_2_8, 20.0, -746.0, 710.0, 17),
}


def _register(name: str) -> None:
    """Make `bptt.functions.<name>` callable from kernels."""
    plain = getattr(functions, name)
    if name in FAMILIES[types.float32]:
        if name in ("relu_backward", "maximum", "minimum"):

            @overload(plain, jit_options=OPTIONS)
            def two_arguments(a, b):
                compiled = FAMILIES[a][name]
                return lambda a, b: compiled(a, b)

        else:

            @overload(plain, jit_options=OPTIONS)
            def one_argument(x):
                compiled = FAMILIES[x][name]
                return lambda x: compiled(x)

    else:  # pure arithmetic: compiled as it stands
        register_jitable(plain)


for _name in (*FAMILIES[types.float32], "tanh_backward", "sigmoid_backward"):
    _register(_name)
