"""Vectors in registers and memory, against NumPy. Products and transposes: tests/test_tile.py.

With the compiler off (NUMBA_DISABLE_JIT=1) the Python forms meet the same tests.
"""

import mmap
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba import config, errors, njit, types
from vectors import FLOATS, MARK, numbers, tolerance

from bptt.kernels.machine.arithmetic import (
    exponent,
    polynomial,
    root,
    significand,
    times_power_of_2,
)
from bptt.kernels.machine.simd import (
    absolute,
    any_true,
    broadcast,
    constant,
    fma,
    get,
    largest,
    load,
    load_part,
    put,
    select,
    smallest,
    splat,
    store,
    store_part,
    vsum,
    width,
    with_sign_of,
    zero,
)
from bptt.kernels.machine.tile import loads, stores
from bptt.kernels.machine.vectors import Vec, lanes

compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the compiler is off")
emulated_only = pytest.mark.skipif(not config.DISABLE_JIT, reason="the compiler is on")


@njit
def arithmetic(a, b, out):
    n, x, y = width(a), load(a, 1), load(b, 2)
    for k, each in enumerate((x + y, x - y, x * y, x / y, -x, 2 - x, 3.0 * y, x / 4)):
        store(out, k * n, each)


@FLOATS
def test_operators_round_as_numpy(dtype):
    a, b = numbers(1, 40, dtype), numbers(2, 40, dtype)
    n = lanes(dtype)
    out = np.full(8 * n, MARK, dtype)
    arithmetic(a, b, out)
    x, y = a[1 : 1 + n], b[2 : 2 + n]
    expected = [x + y, x - y, x * y, x / y, -x, 2 - x, 3 * y, x / 4]
    np.testing.assert_array_equal(out, np.concatenate(expected))


@njit
def mixed(a, out):
    n, x = width(a), load(a, 0)
    s = a[3]
    values = (
        1 - x * x,
        splat(s) * x,
        x + s,
        fma(x, s, 0.5),
        constant(x, 0.1) + zero(a),
        broadcast(a, 5),
        absolute(x),
        root(absolute(x)),
        with_sign_of(constant(x, 3.0), x),
    )
    for k, each in enumerate(values):
        store(out, k * n, each)


@FLOATS
def test_numbers_beside_vectors_take_their_type(dtype):
    a = numbers(3, 20, dtype)
    n, s = lanes(dtype), a[3]
    out = np.full(9 * n, MARK, dtype)
    mixed(a, out)
    x = a[:n]
    expected = [1 - x * x, s * x, x + s, x * s + dtype(0.5), np.full(n, 0.1), np.full(n, a[5])]
    expected += [abs(x), np.sqrt(abs(x)), np.copysign(3, x)]
    # One rounding more or less, where a product and a sum are fused.
    np.testing.assert_allclose(
        out, np.concatenate(expected).astype(dtype), rtol=0, atol=4 * np.finfo(dtype).eps
    )


@njit
def compare(a, b, out):
    n, x, y = width(a), load(a, 0), load(b, 0)
    masks = (x > y, x >= y, x < y, x <= y, x == y, x != y)
    for k, each in enumerate(masks):
        store(out, k * n, select(each, 1, zero(a)))
    store(out, 6 * n, largest(x, y))
    store(out, 7 * n, smallest(x, y))
    return any_true(x > y), any_true(x > 1e30)


@FLOATS
def test_comparisons_selection_and_nan(dtype):
    special = [1.0, 2.0, np.nan, np.inf]
    a = np.array([p for p in special for _ in special], dtype)
    b = np.array(special * 4, dtype)
    n = lanes(dtype)
    for start in range(0, a.size - n + 1, n):
        x, y = a[start : start + n].copy(), b[start : start + n].copy()
        out = np.full(8 * n, MARK, dtype)
        above, far = compare(x, y, out)
        with np.errstate(invalid="ignore"):
            masks = [x > y, x >= y, x < y, x <= y, x == y, x != y]
            expected = [*masks, np.maximum(x, y), np.minimum(x, y)]
        np.testing.assert_array_equal(out, np.concatenate(expected).astype(dtype))
        assert above == masks[0].any()
        assert far == (x == np.inf).any()


@njit
def choose(x, y):
    return select(x > y, x, y), largest(x, y), smallest(x, y), fma(x, y, y), constant(x, 0.5) * x


@FLOATS
def test_the_same_operations_on_numbers_keep_their_type(dtype):
    x, y = dtype(0.3), dtype(0.7)
    values = choose(x, y)
    assert values == pytest.approx((y, y, x, x * y + y, x / 2), rel=tolerance(dtype, 0))
    if not config.DISABLE_JIT:
        kind = types.float32 if dtype is np.float32 else types.float64
        assert choose.overloads[kind, kind].signature.return_type == types.UniTuple(kind, 5)


@njit
def across(a):
    return vsum(load(a, 0))


@FLOATS
def test_sum_across_lanes(dtype):
    n = lanes(dtype)
    for seed in range(20):
        a = numbers(seed, n, dtype)
        halves = a
        while halves.size > 1:
            m = halves.size // 2
            halves = halves[:m] + halves[m:]
        assert across(a) == halves[0]
    a[n - 2] = np.nan
    assert np.isnan(across(a))


@njit
def copy_part(src, at, dst, to, n):
    v = load_part(src, at, n)
    store_part(dst, to, v, n)
    return vsum(v)


@FLOATS
def test_parts_leave_their_neighbours_alone(dtype):
    n = lanes(dtype)
    src = numbers(4, 3 * n, dtype)
    for count in range(n + 1):
        dst = np.full(3 * n, MARK, dtype)
        total = copy_part(src, 1, dst, 3, count)
        np.testing.assert_array_equal(dst[3 : 3 + count], src[1 : 1 + count])
        assert (np.delete(dst, np.s_[3 : 3 + count]) == MARK).all()
        assert total == pytest.approx(src[1 : 1 + count].sum(), abs=tolerance(dtype, n))


GUARDED = """
import ctypes, mmap
import numpy as np
from numba import njit
from bptt.kernels.machine.simd import load_part, store_part

@njit
def double(a, at, n):
    v = load_part(a, at, n)
    store_part(a, at, v + v, n)

pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
first = np.frombuffer(pages, np.float32)
address = first.ctypes.data
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
end = mmap.PAGESIZE // 4
for n in range(4):
    first[end - n : end] = 1
    double(first, end - n, n)
    assert (first[end - n : end] == 2).all()
print("untouched")
"""


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@compiled_only
@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="needs POSIX memory protection")
def test_parts_do_not_touch_the_next_page():
    result = run("-c", GUARDED)
    assert result.stdout == "untouched\n", result


@pytest.mark.skipif(
    bool(config.DISABLE_JIT) or platform.machine() != "x86_64", reason="needs the compiler on x86"
)
def test_a_processor_with_no_more_than_its_base_instructions():
    """Parts, products and transposes again, on 16-byte vectors without fused multiply-add."""
    if os.environ.get("NUMBA_CPU_NAME") == "generic":
        pytest.skip("this is the run")
    chosen = ("-q", "-k", "neighbours or every_depth or deep or panels or transpose")
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    tiles = Path(__file__).with_name("test_tile.py")
    result = run("-m", "pytest", __file__, str(tiles), *chosen, **generic)
    assert result.returncode == 0, result.stdout


@njit
def series(a, out):
    x, n = load(a, 0), width(a)
    store(out, 0, polynomial(x, (1.0, -2.0, 3.0, 0.5, 0.25)))
    store(out, n, exponent(absolute(x)))
    store(out, 2 * n, significand(absolute(x)))


@FLOATS
def test_polynomial_and_parts_of_numbers(dtype):
    n = lanes(dtype)
    a = numbers(5, n, dtype) * dtype(10) ** (np.arange(n, dtype=dtype) % 4 - 2)
    out = np.zeros(3 * n, dtype)
    series(a, out)
    wide, coefficients = a.astype(np.longdouble), [1, -2, 3, 0.5, 0.25]
    size = np.polynomial.polynomial.polyval(abs(wide), np.abs(coefficients))
    error = out[:n] - np.polynomial.polynomial.polyval(wide, coefficients)
    assert (abs(error) <= 8 * np.finfo(dtype).eps * size).all()  # 8 roundings
    k, s = out[n : 2 * n], out[2 * n :]
    np.testing.assert_array_equal(np.ldexp(s, k.astype(int)), abs(a))
    assert ((s >= np.sqrt(0.5) * 0.999) & (s <= np.sqrt(2) * 1.001)).all()


@njit
def powers(a, b, out):
    store(out, 0, times_power_of_2(load(a, 0), load(b, 0)))


@FLOATS
@pytest.mark.parametrize("factor", [1.0, 0.71, -1.41])
def test_times_power_of_2(dtype, factor):
    n, shift = lanes(dtype), 1.5 * 2.0 ** (23 if dtype is np.float32 else 52)
    lowest = -126 if dtype is np.float32 else -1022
    small = int(abs(factor) < 1)  # its exponent is one less, so n goes from one more to one more
    for first in (lowest + small, -n // 2, 1 - lowest - n + 1 + small):
        exponents = np.arange(first, first + n)
        x, out = np.full(n, factor, dtype), np.zeros(n, dtype)
        powers(x, (exponents + shift).astype(dtype), out)
        np.testing.assert_array_equal(out, np.ldexp(x, exponents))


@njit
def roots(a, out):
    store(out, 0, root(load(a, 0)))


@FLOATS
def test_roots(dtype):
    """Of all mantissas of odd and even exponents (float32: each 35th), of small and large numbers,
    and of those that are their own roots."""
    n, kind = lanes(dtype), np.int32 if dtype is np.float32 else np.int64
    first, last = (int(np.array(each, dtype).view(kind)) for each in (1.0, 4.0))
    count = n * (30_000 if not config.DISABLE_JIT else 30)
    x = np.array([first + (last - first) * k // count for k in range(count)], kind).view(dtype)
    information = np.finfo(dtype)
    x = np.concatenate([x, x * information.tiny, x * (information.max / 4)])
    found = np.zeros_like(x)
    for at in range(0, x.size, n):
        roots(x[at : at + n], found[at : at + n])
    right = np.sqrt(x.astype(np.float64 if dtype is np.float32 else np.longdouble))
    # The last step's own roundings, of estimates too good for more; of one step in float32.
    units = 0.8 if dtype is np.float32 else 1.5
    assert (abs(found - right) < units * np.spacing(right.astype(dtype))).all()
    special = np.resize(np.array([0.0, np.inf, np.nan, -1.0], dtype), n)
    with np.errstate(invalid="ignore"):  # with the compiler off NumPy would warn of -1
        roots(special, out := np.zeros(n, dtype))
    np.testing.assert_array_equal(out, np.resize([0.0, np.inf, np.nan, np.nan], n))


@njit
def add_groups(a, b, out, stride):
    x, y = loads(a, 1, stride, 3), loads(b, 0, 2 * stride, 3)
    stores(out, 2, stride, (x[0] + y[0], x[1] + y[1], x[2] + y[2]))


@FLOATS
def test_tuples_of_vectors(dtype):
    n = lanes(dtype)
    stride = n + 3
    a, b = numbers(6, 6 * stride + n, dtype), numbers(7, 6 * stride + n, dtype)
    out = np.full(4 * stride + n, MARK, dtype)
    add_groups(a, b, out, stride)
    expected = np.full_like(out, MARK)
    for k in range(3):
        at = 1 + k * stride
        expected[at + 1 : at + 1 + n] = a[at : at + n] + b[2 * k * stride : 2 * k * stride + n]
    np.testing.assert_array_equal(out, expected)


@njit
def move(m, source, target):
    put(m, target, get(m, source))
    put(m, target + 1, 2 * get(m, source))
    store(m, target + 2, load(m, source) + broadcast(m, source))
    return width(m)


@FLOATS
def test_single_numbers(dtype):
    """Places near the beginning, and none wraps: 0 - 1 is not the last."""
    n = lanes(dtype)
    m = numbers(8, 4 * n + 2, dtype)
    expected = m.copy()
    expected[n], expected[n + 1] = m[0], 2 * m[0]
    expected[n + 2 : 2 * n + 2] = m[:n] + m[0]
    assert move(m, 0, n) == n
    np.testing.assert_array_equal(m, expected)


@compiled_only
def test_what_does_not_fit_is_refused():
    wrong = np.zeros(40), np.zeros(40, np.float32)
    with pytest.raises(errors.TypingError):
        copy_part(wrong[0], 0, wrong[1], 0, 1)


@emulated_only
def test_offsets_outside_the_array_are_noticed():
    for at in (-1, 40):
        with pytest.raises(IndexError, match="of an array of shape"):
            load(np.zeros(40), at)


def test_types_name_what_they_hold():
    assert Vec(types.float32).name == f"Vec(float32 x {lanes(np.float32)})"
    assert lanes(np.float32) == 2 * lanes(types.float64)


CACHED = """
from numba import njit
from bptt.equations.functions import tanh
from bptt.kernels.machine import elementary
from bptt.kernels.machine.simd import load, store, width
from bptt.kernels.machine.tile import multiply

@njit(cache=True, nogil=True)
def squash(v):
    return tanh(v)

@njit(cache=True, nogil=True)
def kernel(m, program):
    store(m, 0, squash(load(m, width(m))))
    multiply(m, program, 0, 0, 0)
"""

MAIN = """
import numpy as np
import cached
from vectors import strip_address
from bptt.kernels.walk.products import UNITS, Products
from bptt.kernels.machine.strips import codes_of
from bptt.kernels.machine.vectors import lanes
from bptt.network.structure import Structure
m, n = np.linspace(-1, 1, 96, dtype=np.float32), lanes("float32")
m[80:] = 0
builder = Products(Structure(inputs=1, outputs=1), UNITS, {"zeros": 80, "weight": 1}, n)
builder.begin()
builder.strips(0, 1, 0, builder.nothing, rows=2, depth=5, out=0, out_row=n, out_col=n, x=n,
               x_block=1, x_row=1, x_step=1, p=2 * n, p_col=n, p_step=1)
program = builder.table()
codes_of(program)[:] = [strip_address(number, "float32") for number in codes_of(program)]
cached.kernel(m, program)
print(sum(cached.kernel.stats.cache_hits.values()), m.tobytes().hex())
"""


@compiled_only
def test_compiled_code_is_found_again_by_another_process(tmp_path: Path):
    (tmp_path / "cached.py").write_text(textwrap.dedent(CACHED))
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found = []
    for _ in range(2):
        result = run("-c", MAIN, PYTHONPATH=path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert result.returncode == 0, result.stderr
        found.append(result.stdout.split())
    assert [hits for hits, _ in found] == ["0", "1"]
    assert found[0][1] == found[1][1]
