"""Values of a step as forms, unit by unit: the operations of a cell on sets of states.

For a state x = centre + v of a set every value of unit j of the step is written

    value = c[j] + sum over i of A[i, j] d[i, j] + an error of at most E[j]                (1)

where d[i, j] = B_i[j] v are deviations of the unit's *inputs* i: its preactivations and its own
previous states. Equations are pointwise, so no value of a unit depends on anything else; a form
has m numbers where it would have n, one for each number of the state. Over the ellipsoid
v^T Q^-1 v <= 1 a sum of d with weights A ranges over +-R,

    R[j] = sqrt(sum over i, l of A[i, j] A[l, j] G[i, l, j]),   G[i, l, j] = B_i[j] Q B_l[j]^T  (2)

E holds, for every operation, the curvature that (1) leaves out, the rounding of the network's own
arithmetic (`unit` of every result, in any order of sums, fused or not; `ulp` for functions;
`flush` where small results become zero), and the rounding of this file's arithmetic in float64.
What is known to lie to one side of the tangent moves the centre by half of it and counts half.

Kernels: compiled, or run as they stand where the compiler is off. All arrays are float64; the last
axis has the H units.
"""

import math

from bptt.equations.functions import exp, log, sigmoid, softplus, sqrt, tanh
from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import absolute, fma, largest, load_part, store_part, width, zero
from bptt.proofs import workspace as w
from bptt.proofs.arrays import alone, view1, view2, view3
from bptt.proofs.tape import (
    ADD,
    EXP,
    LOG,
    MULTIPLY,
    RECIPROCAL,
    RELU,
    SIGMOID,
    SOFTPLUS,
    SQRT,
    SUBTRACT,
    TANH,
)

U64 = 2.0**-53
# A function of ours in float64 is within 8 units in the last place
# (`bptt.kernels.machine.elementary`).
OURS = 16 * U64
UP = 1 + 1e-13  # a positive number of a few operations, rounded up


@part
def applied(code, x, y, count, numbers):
    """The function of that code of `count` numbers from x on, written from y on."""
    alone()
    lanes = width(numbers)
    for j in range(0, count, lanes):
        some = min(lanes, count - j)
        v = load_part(numbers, x + j, some)
        if code == TANH:
            v = tanh(v)
        elif code == SIGMOID:
            v = sigmoid(v)
        elif code == EXP:
            v = exp(v)
        elif code == LOG:
            v = log(v)
        elif code == SOFTPLUS:
            v = softplus(v)
        elif code == SQRT:
            v = sqrt(v)
        store_part(numbers, y + j, v, some)


@part
def spread(k, layer, noise, width_of, numbers, m):
    """R of a value k by (2), and S = sum over i of |A[i]| |B_i|, by which rounding is measured.
    `noise` bounds the relative error of G and the size of Q, `width_of` is a bound of |v|."""
    alone()
    lanes, H, many = width(numbers), m[w.H], m[w.G + 1]
    weights, norms = m[w.A] + k * many * H, m[w.NORMS] + layer * many * H
    for j in range(0, H, lanes):
        some = min(lanes, H - j)
        square = size = zero(numbers)
        for i in range(many):
            a = load_part(numbers, weights + i * H + j, some)
            size = fma(absolute(a), load_part(numbers, norms + i * H + j, some), size)
            row = m[w.G] + i * many * H + j
            half = 0.5 * a * load_part(numbers, row + i * H, some)
            for l in range(i):  # noqa: E741
                b = load_part(numbers, weights + l * H + j, some)
                half = fma(b, load_part(numbers, row + l * H, some), half)
            square = fma(2.0 * a, half, square)
        size = size * UP
        reach = sqrt(fma(noise * size, size, largest(square, 0.0))) * UP
        store_part(numbers, m[w.R] + k * H + j, reach, some)
        store_part(numbers, m[w.S] + k * H + j, size, some)
        # The weights A are rounded too: each by a few units, which `width_of` Q multiplies.
        error = load_part(numbers, m[w.E] + k * H + j, some)
        store_part(numbers, m[w.E] + k * H + j, fma(8.0 * U64 * width_of, size, error), some)


@part
def add(k, x, y, sign, numbers, m):
    """value k = x + sign y."""
    alone()
    C, E = view2(numbers, m, w.C), view2(numbers, m, w.E)
    A, R, rounding = view3(numbers, m, w.A), view2(numbers, m, w.R), view1(numbers, m, w.ROUNDING)
    unit, flush = rounding[0], rounding[1]
    many, H = A.shape[1], A.shape[2]
    for j in range(H):
        size = abs(C[x, j]) + R[x, j] + E[x, j] + abs(C[y, j]) + R[y, j] + E[y, j]
        C[k, j] = C[x, j] + sign * C[y, j]
        E[k, j] = (E[x, j] + E[y, j] + unit * size) * UP + flush
    for i in range(many):
        for j in range(H):
            A[k, i, j] = A[x, i, j] + sign * A[y, i, j]


@part
def multiply(k, x, y, noise, width_of, numbers, m):
    """value k = x y. Of two deviations a = A_x d and b = A_y d over the ellipsoid the product
    ranges over (g +- R_x R_y) / 2 with g = A_x G A_y, the eigenvalues of the quadratic form."""
    alone()
    lanes, H, many = width(numbers), m[w.H], m[w.G + 1]
    rounding = view1(numbers, m, w.ROUNDING)
    A = m[w.A]
    for j in range(0, H, lanes):
        some, at, to = min(lanes, H - j), x * H + j, y * H + j
        a, b = load_part(numbers, m[w.C] + at, some), load_part(numbers, m[w.C] + to, some)
        r, q = load_part(numbers, m[w.R] + at, some), load_part(numbers, m[w.R] + to, some)
        s, t = load_part(numbers, m[w.S] + at, some), load_part(numbers, m[w.S] + to, some)
        e, f = load_part(numbers, m[w.E] + at, some), load_part(numbers, m[w.E] + to, some)
        g = zero(numbers)
        for i in range(many):
            row, total = m[w.G] + i * many * H + j, zero(numbers)
            left = load_part(numbers, A + (x * many + i) * H + j, some)
            right = load_part(numbers, A + (y * many + i) * H + j, some)
            for l in range(many):  # noqa: E741
                weight = load_part(numbers, A + (y * many + l) * H + j, some)
                total = fma(weight, load_part(numbers, row + l * H, some), total)
            g = fma(left, total, g)
            store_part(numbers, A + (k * many + i) * H + j, fma(a, right, b * left), some)
        one, two = absolute(a) + r, absolute(b) + q + f
        error = 0.5 * r * q + noise * s * t + e * two + f * one
        error = error + 8.0 * U64 * width_of * (absolute(a) * t + absolute(b) * s)
        error = (error + rounding[0] * (one + e) * two) * UP + rounding[1]
        store_part(numbers, m[w.C] + k * H + j, fma(a, b, 0.5 * g), some)
        store_part(numbers, m[w.E] + k * H + j, error, some)


@part
def curve(k, x, half, numbers, m):
    """Value k = tanh(x), or with half = 1/2 the sigmoid (1 + tanh(x / 2)) / 2, by a tangent.

    On a distance rho to both sides of a the deviation tanh(y) - t - s (y - a) from the tangent is
    extreme at an end, at a (zero), or where the slope is s again: at -a.
    """
    alone()
    C, E, S = view2(numbers, m, w.C), view2(numbers, m, w.E), view2(numbers, m, w.S)
    R, F, ulp = view2(numbers, m, w.R), view2(numbers, m, w.F), view1(numbers, m, w.ROUNDING)[2]
    H = C.shape[1]
    for j in range(H):
        a, rho = half * C[x, j], half * (R[x, j] + E[x, j]) * UP
        F[0, j], F[1, j], F[2, j] = a, a + rho, a - rho
    applied(TANH, m[w.F], m[w.F], 3 * H, numbers)
    for j in range(H):
        a, rho = half * C[x, j], half * (R[x, j] + E[x, j]) * UP
        t = F[0, j]
        s = 1.0 - t * t
        up, down = F[1, j] - t - s * rho, F[2, j] - t + s * rho
        low, high = min(up, down, 0.0), max(up, down, 0.0)
        again = 2.0 * (s * a - t) if 2.0 * abs(a) <= rho * (1.0 + 1e-12) + 1e-12 else 0.0
        low, high = min(low, again), max(high, again)
        error = 0.5 * (high - low) + OURS * (4.0 + rho + abs(a))
        C[k, j] = t + 0.5 * (low + high)
        if half == 1.0:
            E[k, j] = (s * E[x, j] + error + ulp) * UP
        else:
            s = 0.25 * s
            C[k, j] = 0.5 + 0.5 * C[k, j]
            E[k, j] = (s * E[x, j] + 0.5 * error + ulp + OURS) * UP
        S[k, j] = s


@part
def bent(k, x, code, numbers, m):
    """Value k = relu, exp, log, softplus, a root or the reciprocal of x, by a tangent. A value
    outside of the function's range gives an infinite error."""
    alone()
    C, E, S = view2(numbers, m, w.C), view2(numbers, m, w.E), view2(numbers, m, w.S)
    R, F, ulp = view2(numbers, m, w.R), view2(numbers, m, w.F), view1(numbers, m, w.ROUNDING)[2]
    H = C.shape[1]
    if code not in (RELU, RECIPROCAL):
        for j in range(H):
            c, rho = C[x, j], (R[x, j] + E[x, j]) * UP
            end = rho if code == EXP else c if code == SOFTPLUS else (c - rho) * (1.0 - 1e-15)
            inside = code in (EXP, SOFTPLUS) or c > rho
            F[0, j], F[1, j] = c if inside else 1.0, max(end, 1e-300) if inside else 1.0
            if code == SOFTPLUS:
                F[1, j] = c
        applied(code, m[w.F], m[w.F], H, numbers)
        second = SIGMOID if code == SOFTPLUS else code
        applied(second, m[w.F] + H, m[w.F] + H, H, numbers)
    for j in range(H):
        c, rho = C[x, j], (R[x, j] + E[x, j]) * UP
        here, there = F[0, j], F[1, j]
        value, slope, low, high = 0.0, 0.0, 0.0, math.inf
        if code == RELU:
            if c - rho >= 0.0:
                value, slope, high = c, 1.0, 0.0
            elif c + rho <= 0.0:
                high = 0.0
            else:  # between 0 and x the chord is above, and the chord's parallel through 0 below
                slope = (c + rho) / (2.0 * rho)
                value, high = slope * c, slope * (rho - c) * UP
        elif code == EXP:
            value = slope = here
            high = value * (there - 1.0 - rho) + OURS * value * there
        elif code == SOFTPLUS:  # its second derivative is between 0 and 1/4
            value, slope, high = here, there, 0.125 * rho * rho
        elif code == LOG:
            if c > rho:
                value, slope, high = here, 1.0 / c, 0.0
                low = min(there - value + rho / c, 0.0)
        elif code == SQRT:
            if c > rho:
                value, slope, high = here, 0.5 / here, 0.0
                low = min(there - value + rho * slope, 0.0)
        elif code == RECIPROCAL and abs(c) > rho:
            value = 1.0 / c
            slope, bend = -value * value, rho * rho / (c * c * (abs(c) - rho) * (1.0 - 1e-14))
            low, high = (0.0, bend) if c > 0.0 else (-bend, 0.0)
        size = abs(value) + abs(slope) * rho + abs(low) + abs(high)
        lost = OURS * (size + rho * abs(slope))
        if code != RELU:
            lost += ulp * max(size, 1e-300)
        # f(x) - value - slope (x - c) is in [low, high].
        C[k, j] = value + 0.5 * (low + high)
        E[k, j] = (abs(slope) * E[x, j] + 0.5 * (high - low) + lost) * UP
        S[k, j] = slope


@part
def sloped(k, x, numbers, m):
    """The weights of a value whose slopes are in S[k]."""
    A, S = view3(numbers, m, w.A), view2(numbers, m, w.S)
    for i in range(A.shape[1]):
        for j in range(A.shape[2]):
            A[k, i, j] = S[k, j] * A[x, i, j]


@part
def run(layer, noise, width_of, numbers, ints, m):
    """All operations of the tape, (code, result, operand, operand) each. C, E, A, R and S of the
    inputs are there; those of all results are made. width_of: see `spread`."""
    tape = view2(ints, m, w.TAPE)
    for at in range(tape.shape[0]):
        code, k, x, y = tape[at, 0], tape[at, 1], tape[at, 2], tape[at, 3]
        if code in (ADD, SUBTRACT):
            add(k, x, y, 1.0 if code == ADD else -1.0, numbers, m)
        elif code == MULTIPLY:
            multiply(k, x, y, noise, width_of, numbers, m)
        else:
            if code in (TANH, SIGMOID):
                curve(k, x, 1.0 if code == TANH else 0.5, numbers, m)
            else:
                bent(k, x, code, numbers, m)
            sloped(k, x, numbers, m)
        spread(k, layer, noise, width_of, numbers, m)


@part
def run_points(numbers, ints, m):
    """All operations of the tape on numbers alone."""
    tape, C = view2(ints, m, w.TAPE), view2(numbers, m, w.C)
    H = C.shape[1]
    for at in range(tape.shape[0]):
        code, k, x, y = tape[at, 0], tape[at, 1], tape[at, 2], tape[at, 3]
        if code in (ADD, SUBTRACT, MULTIPLY, RELU, RECIPROCAL):
            for j in range(H):
                a, b = C[x, j], C[max(y, 0), j]
                if code == ADD:
                    a = a + b
                elif code == SUBTRACT:
                    a = a - b
                elif code == MULTIPLY:
                    a = a * b
                elif code == RELU:
                    a = max(a, 0.0)
                else:
                    a = 1.0 / a
                C[k, j] = a
        else:
            applied(code, m[w.C] + x * H, m[w.C] + k * H, H, numbers)
