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
def spread(k, C, E, A, R, S, G, norms, noise, width):
    """R of a value k by (2), and S = sum over i of |A[i]| |B_i|, by which rounding is measured.
    `noise` bounds the relative error of G and the size of Q."""
    m, H = A.shape[1], A.shape[2]
    for j in range(H):
        R[k, j] = 0.0
        S[k, j] = 0.0
    for i in range(m):
        for j in range(H):
            a = A[k, i, j]
            S[k, j] += abs(a) * norms[i, j]
            R[k, j] += a * a * G[i, i, j]
        for l in range(i):  # noqa: E741
            for j in range(H):
                R[k, j] += 2.0 * A[k, i, j] * A[k, l, j] * G[i, l, j]
    for j in range(H):
        s = S[k, j] * UP
        S[k, j] = s
        R[k, j] = math.sqrt(max(R[k, j], 0.0) + noise * s * s) * UP
        # The weights A are rounded too: each by a few units, which `width` of Q multiplies.
        E[k, j] += 8.0 * U64 * s * width


@part
def add(k, x, y, sign, C, E, A, R, rounding):
    """value k = x + sign y."""
    unit, flush = rounding[0], rounding[1]
    m, H = A.shape[1], A.shape[2]
    for j in range(H):
        size = abs(C[x, j]) + R[x, j] + E[x, j] + abs(C[y, j]) + R[y, j] + E[y, j]
        C[k, j] = C[x, j] + sign * C[y, j]
        E[k, j] = (E[x, j] + E[y, j] + unit * size) * UP + flush
    for i in range(m):
        for j in range(H):
            A[k, i, j] = A[x, i, j] + sign * A[y, i, j]


@part
def multiply(k, x, y, C, E, A, R, S, G, rounding, noise, width):
    """value k = x y. Of two deviations a = A_x d and b = A_y d over the ellipsoid the product
    ranges over (g +- R_x R_y) / 2 with g = A_x G A_y, the eigenvalues of the quadratic form."""
    unit, flush = rounding[0], rounding[1]
    m, H = A.shape[1], A.shape[2]
    for j in range(H):
        a, b, r, q = C[x, j], C[y, j], R[x, j], R[y, j]
        g = 0.0
        for i in range(m):
            for l in range(m):  # noqa: E741
                g += A[x, i, j] * A[y, l, j] * G[i, l, j]
        fault = noise * S[x, j] * S[y, j]
        e, f = E[x, j], E[y, j]
        size = (abs(a) + r + e) * (abs(b) + q + f)
        C[k, j] = a * b + 0.5 * g
        error = 0.5 * r * q + fault + e * (abs(b) + q + f) + f * (abs(a) + r)
        error += 8.0 * U64 * width * (abs(a) * S[y, j] + abs(b) * S[x, j])
        E[k, j] = (error + unit * size) * UP + flush
    for i in range(m):
        for j in range(H):
            A[k, i, j] = C[x, j] * A[y, i, j] + C[y, j] * A[x, i, j]


@part
def tangent(k, x, j, value, slope, low, high, ulp, C, E, S):
    """Value k of unit j from x by a tangent: f(x) - value - slope (x - c) is in [low, high]. What
    the network's function is off by is in `ulp`."""
    C[k, j] = value + 0.5 * (low + high)
    E[k, j] = (abs(slope) * E[x, j] + 0.5 * (high - low) + ulp) * UP
    S[k, j] = slope


@part
def curve(k, x, half, C, E, A, R, S, rounding):
    """Value k = tanh(x), or with half = 1/2 the sigmoid (1 + tanh(x / 2)) / 2.

    On a distance rho to both sides of a the deviation tanh(y) - t - s (y - a) from the tangent is
    extreme at an end, at a (zero), or where the slope is s again: at -a.
    """
    ulp = rounding[2]
    H = A.shape[2]
    for j in range(H):
        a, rho = half * C[x, j], half * (R[x, j] + E[x, j]) * UP
        t = tanh(a)
        s = 1.0 - t * t
        up = tanh(a + rho) - t - s * rho
        down = tanh(a - rho) - t + s * rho
        low, high = min(up, down, 0.0), max(up, down, 0.0)
        again = 2.0 * (s * a - t) if 2.0 * abs(a) <= rho * (1.0 + 1e-12) + 1e-12 else 0.0
        low, high = min(low, again), max(high, again)
        ours = OURS * (4.0 + rho + abs(a))
        C[k, j] = t + 0.5 * (low + high)
        error = 0.5 * (high - low) + ours
        if half == 1.0:
            E[k, j] = (s * E[x, j] + error + ulp) * UP
        else:
            s = 0.25 * s
            C[k, j] = 0.5 + 0.5 * C[k, j]
            E[k, j] = (s * E[x, j] + 0.5 * error + ulp + OURS) * UP
        S[k, j] = s


@part
def bent(k, x, code, C, E, R, S, rounding):
    """Value k = relu, exp, log, softplus, a root or the reciprocal of x. A value outside of the
    function's range gives an infinite error."""
    ulp = rounding[2]
    H = C.shape[1]
    for j in range(H):
        c, rho = C[x, j], (R[x, j] + E[x, j]) * UP
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
            value = exp(c)
            slope, high = value, value * (exp(rho) - 1.0 - rho) + OURS * value * exp(rho)
        elif code == SOFTPLUS:  # its second derivative is between 0 and 1/4
            value, slope, high = softplus(c), sigmoid(c), 0.125 * rho * rho
        elif code == LOG:
            if c > rho:
                value, slope, high = log(c), 1.0 / c, 0.0
                low = log((c - rho) * (1.0 - 1e-15)) - value + rho / c
                low = min(low, 0.0)
        elif code == SQRT:
            if c > rho:
                value = sqrt(c)
                slope, high = 0.5 / value, 0.0
                low = min(sqrt((c - rho) * (1.0 - 1e-15)) - value + rho * slope, 0.0)
        elif code == RECIPROCAL and abs(c) > rho:
            value = 1.0 / c
            slope, bend = -value * value, rho * rho / (c * c * (abs(c) - rho) * (1.0 - 1e-14))
            low, high = (0.0, bend) if c > 0.0 else (-bend, 0.0)
        size = abs(value) + abs(slope) * rho + abs(low) + abs(high)
        exact = 0.0 if code == RELU else 1.0
        tangent(
            k, x, j, value, slope, low, high,
            exact * ulp * max(size, 1e-300) + OURS * (size + rho * abs(slope)), C, E, S,
        )  # fmt: skip


@part
def sloped(k, x, A, S):
    """The weights of a value whose slopes are in S[k]."""
    for i in range(A.shape[1]):
        for j in range(A.shape[2]):
            A[k, i, j] = S[k, j] * A[x, i, j]


@part
def run(tape, C, E, A, R, S, G, norms, rounding, noise, width):
    """All operations of a tape, (code, result, operand, operand) each. C, E, A, R and S of the
    inputs are there; those of all results are made. width bounds |v|."""
    for at in range(tape.shape[0]):
        code, k, x, y = tape[at, 0], tape[at, 1], tape[at, 2], tape[at, 3]
        if code == ADD:
            add(k, x, y, 1.0, C, E, A, R, rounding)
        elif code == SUBTRACT:
            add(k, x, y, -1.0, C, E, A, R, rounding)
        elif code == MULTIPLY:
            multiply(k, x, y, C, E, A, R, S, G, rounding, noise, width)
        else:
            if code == TANH:
                curve(k, x, 1.0, C, E, A, R, S, rounding)
            elif code == SIGMOID:
                curve(k, x, 0.5, C, E, A, R, S, rounding)
            else:
                bent(k, x, code, C, E, R, S, rounding)
            sloped(k, x, A, S)
        spread(k, C, E, A, R, S, G, norms, noise, width)


@part
def run_points(tape, C):
    """All operations of a tape on numbers alone."""
    H = C.shape[1]
    for at in range(tape.shape[0]):
        code, k, x, y = tape[at, 0], tape[at, 1], tape[at, 2], tape[at, 3]
        for j in range(H):
            a = C[x, j]
            if code == ADD:
                a = a + C[y, j]
            elif code == SUBTRACT:
                a = a - C[y, j]
            elif code == MULTIPLY:
                a = a * C[y, j]
            elif code == TANH:
                a = tanh(a)
            elif code == SIGMOID:
                a = sigmoid(a)
            elif code == RELU:
                a = max(a, 0.0)
            elif code == EXP:
                a = exp(a)
            elif code == LOG:
                a = log(a)
            elif code == SOFTPLUS:
                a = softplus(a)
            elif code == SQRT:
                a = sqrt(a)
            else:
                a = 1.0 / a
            C[k, j] = a
