"""The compiled elementary functions against the same in extended precision, dense and special.

Errors are counted in units in the last place (ulp) of the right result; below the smallest normal
number the unit is the smallest subnormal number.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numba import config, njit, types

from bptt.equations import functions
from bptt.kernels.machine.elementary import COMMON, FAMILIES, economised

# With the compiler off the same source runs in Python, a thousand times slower.
COMPILED = not config.DISABLE_JIT
POINTS = 400_000 if COMPILED else 300

EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
REFERENCE: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "exp": np.exp,
    "sigmoid": lambda x: np.where(
        x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x)))
    ),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
}
DTYPES = ("float32", "float64")
NAMES = tuple(REFERENCE)
# In ulp. The worst of 10 million points of each: tanh 2.83 (in float32 of all numbers from 3e-5 to
# 11), sigmoid 2.41, exp 1.11, softplus 2.7.
BOUND = {"tanh": 3.0, "sigmoid": 3.0, "exp": 2.0, "softplus": 4.0}
# Where e^x is neither 0 nor infinite, with a margin on both sides
RANGE = {"float32": (-110.0, 95.0), "float64": (-760.0, 720.0)}

_loops: dict[tuple[str, str], Any] = {}


def scalar_of(name: str, dtype: str) -> Any:
    """The function of one number, or of two, as kernels know it."""
    if COMPILED:
        return getattr(functions, name)  # the compiler puts its own in its place
    return {**FAMILIES[getattr(types, dtype)], **COMMON}[name]


def compiled(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    """The compiled function, number by number."""
    scalar = scalar_of(name, dtype)
    if (name, dtype) not in _loops:

        @njit
        def loop(x: Any, y: Any) -> None:
            for i in range(x.size):
                y[i] = scalar(x[i])

        _loops[name, dtype] = loop
    y = np.empty_like(x)
    with np.errstate(all="ignore"):  # with the compiler off NumPy would warn of overflow
        _loops[name, dtype](x, y)
    return y


def compiled_pairs(name: str, dtype: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The compiled function of two arguments, pair by pair."""
    scalar = scalar_of(name, dtype)

    @njit
    def loop(a: Any, b: Any, y: Any) -> None:
        for i in range(a.size):
            y[i] = scalar(a[i], b[i])

    y = np.empty_like(a)
    with np.errstate(all="ignore"):
        loop(a, b, y)
    return y


def reference(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    """The right value: in float64 for float32, in extended precision for float64."""
    wide = x.astype(np.float64 if dtype == "float32" else np.longdouble)
    with np.errstate(all="ignore"):
        return np.asarray(REFERENCE[name](wide))


def errors(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    """Errors in ulp."""
    right = reference(name, dtype, x)
    unit = np.spacing(np.abs(right).astype(dtype)).astype(right.dtype)
    return np.abs(compiled(name, dtype, x).astype(right.dtype) - right) / unit


def bit_patterns(dtype: str, count: int) -> np.ndarray:
    """Numbers of either sign, evenly spread over all exponents from the subnormal ones up."""
    integer = "int32" if dtype == "float32" else "int64"
    top = int(np.array(np.finfo(dtype).max).view(integer))
    positive = np.array([top * k // count for k in range(count)], integer).view(dtype)
    return np.concatenate([positive, -positive])


def finite_results(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    """The arguments at which the right result is a finite number of the type, and of the functions
    that rest on e^x a normal one or 0."""
    with np.errstate(over="ignore"):
        right = reference(name, dtype, x)
        found = np.isfinite(right.astype(dtype))
    return x[found & ((name == "tanh") | (right == 0) | (right >= np.finfo(dtype).tiny))]


def needs_extended(dtype: str) -> None:
    if dtype == "float64" and not EXTENDED:
        pytest.skip("long double is no wider than double on this machine")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_error_over_the_range(name: str, dtype: str) -> None:
    """Dense over the range, denser near zero, with normal results."""
    needs_extended(dtype)
    low, high = RANGE[dtype]
    x = np.concatenate([
        np.linspace(low, high, POINTS), np.linspace(-25, 25, POINTS),
        np.linspace(-1, 1, POINTS // 4),
    ]).astype(dtype)  # fmt: skip
    x = finite_results(name, dtype, x)
    found = errors(name, dtype, x)
    worst = int(np.argmax(found))
    assert found[worst] < BOUND[name], f"{found[worst]:.2f} ulp at {x[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_error_over_all_exponents(name: str, dtype: str) -> None:
    """From the smallest subnormal argument to the largest number, both signs."""
    needs_extended(dtype)
    x = finite_results(name, dtype, bit_patterns(dtype, POINTS // 4))
    found = errors(name, dtype, x)
    worst = int(np.argmax(found))
    assert found[worst] < BOUND[name], f"{found[worst]:.2f} ulp at {x[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "sigmoid", "softplus"])
def test_results_too_small_to_be_normal_are_zero(name: str, dtype: str) -> None:
    """From the smallest normal number on down, with the last normal results still right."""
    edge = math.log(float(np.finfo(dtype).tiny))
    x = np.linspace(1.2 * edge, edge * (1 + 1e-6), POINTS // 4).astype(dtype)
    assert (compiled(name, dtype, x) == 0).all()
    x = np.nextafter(np.array(edge, dtype), 0, dtype=dtype) * np.ones(1, dtype)
    for _ in range(4):
        found, right = compiled(name, dtype, x), reference(name, dtype, x)
        np.testing.assert_allclose(found, right.astype(dtype), rtol=4 * np.finfo(dtype).eps)
        x = np.nextafter(x, 0, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_arguments(name: str, dtype: str) -> None:
    """Infinities and zeros give the limits, exactly but for ln 2; NaN gives NaN."""
    limits = {
        "tanh": (-1.0, 1.0, -0.0, 0.0),
        "exp": (0.0, math.inf, 1.0, 1.0),
        "sigmoid": (0.0, 1.0, 0.5, 0.5),
        "softplus": (0.0, math.inf, math.log(2), math.log(2)),
    }
    expected = np.array(limits[name])
    x = np.array([-math.inf, math.inf, -0.0, 0.0], dtype)
    found = compiled(name, dtype, x)
    # the one limit here that is no number of the type: within the bound, as everywhere
    close = expected == math.log(2)
    np.testing.assert_array_equal(found[~close], expected[~close].astype(dtype))
    np.testing.assert_allclose(found[close], math.log(2), rtol=3 * np.finfo(dtype).eps)
    if COMPILED:  # Python's int() refuses NaN, which the machine's conversion does not
        nan = np.array([math.nan, -math.nan], dtype)
        assert np.isnan(compiled(name, dtype, nan)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow(dtype: str) -> None:
    """e^x is finite up to the logarithm of the largest number, then infinite."""
    edge = np.array([math.log(float(np.finfo(dtype).max))], dtype)
    below, above = edge * np.array(1 - 1e-4, dtype), edge * np.array(1 + 1e-4, dtype)
    assert np.isfinite(compiled("exp", dtype, below)).all()
    assert np.isinf(compiled("exp", dtype, above)).all()
    huge = np.array([1e30, np.finfo(dtype).max], dtype)
    assert np.isinf(compiled("exp", dtype, huge)).all()
    assert (compiled("exp", dtype, -huge) == 0).all()
    np.testing.assert_array_equal(compiled("softplus", dtype, huge), huge)
    assert (compiled("softplus", dtype, -huge) == 0).all()
    np.testing.assert_array_equal(compiled("tanh", dtype, huge), np.ones(2, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranges_and_symmetry(dtype: str) -> None:
    """tanh is odd and never beyond 1, sigmoid between 0 and 1: backward passes rely on it."""
    x = np.concatenate([np.linspace(-800, 800, POINTS), np.linspace(-20, 20, POINTS)]).astype(dtype)
    tanh, sigmoid = compiled("tanh", dtype, x), compiled("sigmoid", dtype, x)
    assert np.abs(tanh).max() == 1
    np.testing.assert_array_equal(compiled("tanh", dtype, -x), -tanh)
    assert sigmoid.min() >= 0
    assert sigmoid.max() == 1
    assert (compiled("softplus", dtype, x) >= np.maximum(x, 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_minimum_relu(dtype: str) -> None:
    """As NumPy's, NaN included."""
    values = np.array([-math.inf, -1.5, -0.0, 0.0, 2.5, math.inf, math.nan], dtype)
    found = compiled("relu", dtype, values)
    np.testing.assert_array_equal(found, functions.relu(values))
    a, b = (each.ravel() for each in np.meshgrid(values, values))
    for name in ("maximum", "minimum"):
        expected = getattr(functions, name)(a, b)
        np.testing.assert_array_equal(compiled_pairs(name, dtype, a, b), expected)
    with np.errstate(invalid="ignore"):  # 0 * infinity
        expected = functions.relu_backward(a, b)
    np.testing.assert_array_equal(compiled_pairs("relu_backward", dtype, a, b), expected)
    # NaN on either side is not lost, but where the unit is off
    y, dy = np.array([[math.nan, 1.0, -1.0], [1.0, math.nan, math.nan]], dtype)
    found = compiled_pairs("relu_backward", dtype, y, dy)
    assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize("terms", range(2, 8))
def test_economised_series(terms: int) -> None:
    """Of as many terms a polynomial that errs by a part of what the series does if cut off, on
    intervals around 0 and beside it, and on no point more than at the ends by much."""
    x = np.linspace(-1, 1, 401)
    series = [Fraction(1, math.factorial(k)) for k in range(20)]
    for low, high in ((-1, 1), (0, 1)):
        where = x[x >= low]
        c = economised(series, Fraction(low), Fraction(high), terms)
        assert len(c) == terms
        error = np.abs(np.polynomial.polynomial.polyval(where, c) - np.exp(where))
        cut_off = np.polynomial.polynomial.polyval(where, [float(a) for a in series[:terms]])
        # T_n has a leading term of 2^(n-1) on an interval of length 2, of 2^(2n-1) on one of 1.
        gained = 2.0 ** ((terms - 1) * (1 if low else 2))
        assert error.max() < 1.3 * np.abs(cut_off - np.exp(where)).max() / gained
        assert error.max() < 2 * max(error[0], error[-1])


@pytest.mark.parametrize("name", NAMES)
def test_numpy_functions_agree(name: str) -> None:
    """The reference engine's own functions, which NumPy's library computes."""
    needs_extended("float64")
    x = np.linspace(-40, 40, 2001)
    right = reference(name, "float64", x)
    np.testing.assert_allclose(
        getattr(functions, name)(x), right.astype(np.float64), rtol=1e-15, atol=1e-300
    )
