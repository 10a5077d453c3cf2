"""The largest errors of the C file's fast tanh and sigmoid: over some, or all, float32 numbers."""

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

import bptt
from bptt.exchange.c_compiler import compiled
from bptt.exchange.c_source import c_source
from bptt.exchange.model import model_of

# Without and with multiplications and additions made into one, each rounding less.
ROUNDINGS = (("-O2",), ("-O3", "-ffp-contract=fast", "-march=native"))
WORST = r"""
static double true_tanh(double x)
{
    const double size = fabs(x);
    if (size < 0x1p-10)
        return x - x * x * x / 3; /* the next term is below 1e-12 of x */
    return size < 16 ? tanh(x) : x > 0 ? 1 : -1; /* to 1e-13 */
}

/* The largest errors of net_tanh and net_sigmoid over the float32 numbers whose bits are
   from, from + by, ... below to, and over their opposites; whether tanh is odd and of NaN NaN. */
int worst(uint32_t from, uint32_t to, uint32_t by, double found[2]);
int worst(uint32_t from, uint32_t to, uint32_t by, double found[2])
{
    uint32_t bits;
    int right = 1;
    for (bits = from; bits < to; bits += by) {
        float x, t;
        double a, b, c;
        memcpy(&x, &bits, sizeof x);
        t = net_tanh(x);
        if (bits > 0x7f800000) {
            right &= t != t;
            continue;
        }
        right &= net_tanh(-x) == -t;
        a = fabs((double)t - true_tanh(x));
        c = 0.5 + 0.5 * true_tanh(0.5 * (double)x);
        b = fabs((double)net_sigmoid(x) - c);
        c = fabs((double)net_sigmoid(-x) - (1 - c));
        found[0] = a > found[0] ? a : found[0];
        found[1] = b > found[1] ? b : found[1];
        found[1] = c > found[1] ? c : found[1];
    }
    return right;
}
"""


def worst_errors(options: Sequence[str], by: int) -> tuple[float, float]:
    """The largest errors of tanh and sigmoid, compiled with the options; by: 1 for all numbers."""
    network = bptt.Network(
        inputs=1, outputs=1, hidden=2, cell="lstm", output="linear", loss="squared",
        engine="reference",
    )  # fmt: skip
    library = compiled(c_source(model_of(network), "net", "fast") + WORST, *options)

    def part(ends: tuple[int, int]) -> tuple[float, ...]:
        found = (ctypes.c_double * 2)()
        if not library.worst(*(ctypes.c_uint32(n) for n in (*ends, by)), found):
            raise ArithmeticError("fast tanh is not odd, or not NaN of NaN")
        return tuple(found)

    ends = [k << 27 for k in range(16)] + [(1 << 31) - 1]  # half of all: the rest are opposites
    with ThreadPoolExecutor() as pool:
        of_tanh, of_sigmoid = np.max(list(pool.map(part, pairwise(ends))), axis=0)
    return float(of_tanh), float(of_sigmoid)


def main() -> None:
    """All float32 numbers, three minutes of processor time."""
    for options in ROUNDINGS:
        of_tanh, of_sigmoid = worst_errors(options, 1)
        print(f"{' '.join(options)}: tanh {of_tanh:.2e}, sigmoid {of_sigmoid:.2e}", flush=True)


if __name__ == "__main__":
    main()
