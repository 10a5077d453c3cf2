"""One step of a network on a set of states, compiled.

A set is the ellipsoid {centre + v : v^T Q^-1 v <= 1} of joint states: all states of all layers, one
after the other. Its extent in a direction l is sqrt(l^T Q l). A layer's step makes of centre + v

    centre' + A v + an error of at most e     (`bptt.proofs.forms`), so that with a > 0
    Q' = (1 + 1/a) A Q A^T + (1 + a) sum(e) diag(e)                                        (1)

holds what comes out: the second matrix is that of an ellipsoid around the box of e, and the sum of
two ellipsoids lies in (1) for every a. Layer after layer is done so, each on the joint state.

Everything lies in two arrays, of integers and of numbers, which `bptt.proofs.workspace` lays out;
a kernel takes `m`, the places of all arrays.
"""

import math

from bptt.kernels.machine.compiler import part
from bptt.proofs import workspace as w
from bptt.proofs.arrays import at3, view1, view2, view3
from bptt.proofs.forms import U64, UP, run, run_points, spread


@part
def product(X, ids, W, Y, half):
    """Y[i] = the sum over r of X[i, ids[r]] W[r]: rows of X by columns of W, four at a time.
    half: of a symmetric product, columns up to the diagonal (and at most three more)."""
    depth, every = W.shape
    for i in range(Y.shape[0]):
        columns = min(every, (i | 3) + 1) if half else every
        for j in range(columns):
            Y[i, j] = 0.0
        r = 0
        while r + 4 <= depth:
            a, b, c, d = X[i, ids[r]], X[i, ids[r + 1]], X[i, ids[r + 2]], X[i, ids[r + 3]]
            for j in range(columns):
                Y[i, j] += a * W[r, j] + b * W[r + 1, j] + c * W[r + 2, j] + d * W[r + 3, j]
            r += 4
        while r < depth:
            a = X[i, ids[r]]
            for j in range(columns):
                Y[i, j] += a * W[r, j]
            r += 1


@part
def size_of(Q):
    """A bound of the norm of Q, and so of every |v|^2: its trace, Q being positive."""
    total = 0.0
    for i in range(Q.shape[0]):
        total += Q[i, i]
    return max(total, 0.0) * (1 + 1e-11)


@part
def preactivations(layer, symbol, c, Q, numbers, ints, m):
    """C and E of the preactivations, in the tape's first places."""
    C, E = view2(numbers, m, w.C), view2(numbers, m, w.E)
    bias = at3(numbers, m, w.BIAS, layer)  # (symbols, K, H)
    terms = at3(numbers, m, w.TERMS, layer)
    live = view1(ints, m, w.LIVE)  # by preactivation: its matrix, or -1
    ids = view2(ints, m, w.ROWS)[layer]
    reach = view1(numbers, m, w.REACH)
    rounding = view1(numbers, m, w.ROUNDING)
    unit, flush = rounding[0] * m[w.DEPTH], rounding[1] * m[w.DEPTH]
    H = C.shape[1]
    for r in range(ids.shape[0]):
        i = ids[r]
        reach[r] = abs(c[i]) + math.sqrt(max(Q[i, i], 0.0)) * UP
    for k in range(live.shape[0]):
        for j in range(H):
            C[k, j] = bias[symbol, k, j]
            E[k, j] = terms[symbol, k, j]
        if live[k] >= 0:
            W = at3(numbers, m, w.W, layer)[live[k]]
            for r in range(ids.shape[0]):
                x, size = c[ids[r]], reach[r]
                for j in range(H):
                    C[k, j] += x * W[r, j]
                    E[k, j] += size * abs(W[r, j])
        for j in range(H):
            E[k, j] = (unit * E[k, j] + flush) * UP


@part
def inputs(layer, c, Q, numbers, ints, m):
    """The states as forms (A of all inputs is there from the beginning), and the products G by
    equation (2) of `bptt.proofs.forms`."""
    C, E = view2(numbers, m, w.C), view2(numbers, m, w.E)
    G, Y = view3(numbers, m, w.G), view3(numbers, m, w.Y)
    linear = view2(ints, m, w.LINEAR)  # (slot, matrix or -1, part of the state or -1)
    ids = view2(ints, m, w.ROWS)[layer]
    H, K = C.shape[1], m[w.K]
    first = layer * m[w.STATES] * H
    for p in range(m[w.STATES]):
        for j in range(H):
            C[K + p, j] = c[first + p * H + j]
            E[K + p, j] = 0.0
    for i in range(linear.shape[0]):
        for l in range(i + 1):  # noqa: E741
            a, b = linear[i, 1], linear[l, 1]
            p, q = first + linear[i, 2] * H, first + linear[l, 2] * H
            if a >= 0 and b >= 0:
                W = at3(numbers, m, w.W, layer)[b]
                for j in range(H):
                    G[i, l, j] = 0.0
                for r in range(ids.shape[0]):
                    for j in range(H):
                        G[i, l, j] += Y[a, ids[r], j] * W[r, j]
            elif a >= 0:
                for j in range(H):
                    G[i, l, j] = Y[a, q + j, j]
            elif b >= 0:
                for j in range(H):
                    G[i, l, j] = Y[b, p + j, j]
            else:
                for j in range(H):
                    G[i, l, j] = Q[p + j, q + j]
            for j in range(H):
                G[l, i, j] = G[i, l, j]


@part
def prepared(layer, Q, numbers, ints, m):
    """Y[k] = Q W_k for the matrices of the layer, the same for all symbols."""
    Y = view3(numbers, m, w.Y)
    ids = view2(ints, m, w.ROWS)[layer]
    W = at3(numbers, m, w.W, layer)
    for k in range(Y.shape[0]):
        product(Q, ids, W[k], Y[k], False)


@part
def outer_product(layer, Q, numbers, ints, m):
    """A Q A^T, A Q and the errors for the layer's new states, in place of those in Q."""
    A, Y, YA = view3(numbers, m, w.A), view3(numbers, m, w.Y), view2(numbers, m, w.YA)
    AT, picked = view2(numbers, m, w.AT), view2(numbers, m, w.PICKED)
    new = view2(numbers, m, w.NEW)
    out, linear = view1(ints, m, w.OUT), view2(ints, m, w.LINEAR)
    ids = view2(ints, m, w.ROWS)[layer]
    H, parts, n = A.shape[2], m[w.STATES], Q.shape[0]
    first, width = layer * parts * H, parts * H
    for i in range(n):
        for j in range(width):
            YA[i, j] = 0.0
    for j in range(width):
        for r in range(ids.shape[0]):
            AT[j, r] = 0.0
    for p in range(parts):
        for i in range(linear.shape[0]):
            matrix, state = linear[i, 1], first + linear[i, 2] * H
            a = A[out[p], i]
            if matrix >= 0:
                W = at3(numbers, m, w.W, layer)[matrix]
                for g in range(n):
                    for j in range(H):
                        YA[g, p * H + j] += a[j] * Y[matrix, g, j]
                for r in range(ids.shape[0]):
                    for j in range(H):
                        AT[p * H + j, r] += a[j] * W[r, j]
            else:
                for g in range(n):
                    for j in range(H):
                        YA[g, p * H + j] += a[j] * Q[g, state + j]
    for r in range(ids.shape[0]):  # together, for one product
        for l in range(width):  # noqa: E741
            picked[r, l] = YA[ids[r], l]
    product(AT, view1(ints, m, w.EACH), picked, new, True)
    for p in range(parts):
        for i in range(linear.shape[0]):
            if linear[i, 1] < 0:
                state = first + linear[i, 2] * H
                for j in range(H):
                    a = A[out[p], i, j]
                    for l in range(p * H + j + 1):  # noqa: E741
                        new[p * H + j, l] += a * YA[state + j, l]
    for j in range(width):
        for l in range(j + 1):  # noqa: E741
            Q[first + j, first + l] = new[j, l]
            Q[first + l, first + j] = new[j, l]
    for g in range(n):
        if g < first or g >= first + width:
            for j in range(width):
                Q[g, first + j] = YA[g, j]
                Q[first + j, g] = YA[g, j]


@part
def layer_image(layer, symbol, c, Q, numbers, ints, m):
    """Centre and Q after one layer's step, in place. Y of the layer must be there."""
    C, E, A = view2(numbers, m, w.C), view2(numbers, m, w.E), view3(numbers, m, w.A)
    R, S, G = view2(numbers, m, w.R), view2(numbers, m, w.S), view3(numbers, m, w.G)
    norms = view3(numbers, m, w.NORMS)[layer]
    rounding, tape = view1(numbers, m, w.ROUNDING), view2(ints, m, w.TAPE)
    out = view1(ints, m, w.OUT)
    H, parts, n, K = C.shape[1], m[w.STATES], Q.shape[0], m[w.K]
    first, size = layer * parts * H, size_of(Q)
    noise, width = m[w.TERMS_SUMMED] * U64 * size, math.sqrt(size)
    preactivations(layer, symbol, c, Q, numbers, ints, m)
    inputs(layer, c, Q, numbers, ints, m)
    for k in range(K + parts):
        spread(k, C, E, A, R, S, G, norms, noise, width)
    run(tape, C, E, A, R, S, G, norms, rounding, noise, width)
    outer_product(layer, Q, numbers, ints, m)
    total, square = 0.0, 1.0
    for p in range(parts):
        for j in range(H):
            c[first + p * H + j] = C[out[p], j]
            total += E[out[p], j]
            square += S[out[p], j] * S[out[p], j]
    trace = 0.0
    for i in range(n):
        trace += Q[i, i]
    lost = noise * square * UP
    q = math.sqrt(max(trace, 0.0)) + 1e-30
    share = 1.0 + total / q
    for i in range(n):
        for j in range(n):
            Q[i, j] *= share
        Q[i, i] += lost * share
    for p in range(parts):
        for j in range(H):
            Q[first + p * H + j, first + p * H + j] += (total + q) * E[out[p], j] * (1 + 1e-11)


@part
def image(symbol, c, Q, numbers, ints, m):
    """Centre and Q after a step, in place. `prepared(0, Q, ...)` has been done for this Q."""
    for layer in range(m[w.LAYERS]):
        if layer:
            prepared(layer, Q, numbers, ints, m)
        layer_image(layer, symbol, c, Q, numbers, ints, m)


@part
def step(symbol, c, numbers, ints, m):
    """The state after a step, in place."""
    C = view2(numbers, m, w.C)
    tape, out = view2(ints, m, w.TAPE), view1(ints, m, w.OUT)
    live = view1(ints, m, w.LIVE)
    H, parts, K = C.shape[1], m[w.STATES], m[w.K]
    for layer in range(m[w.LAYERS]):
        bias = at3(numbers, m, w.BIAS, layer)
        ids = view2(ints, m, w.ROWS)[layer]
        for k in range(K):
            for j in range(H):
                C[k, j] = bias[symbol, k, j]
            if live[k] >= 0:
                W = at3(numbers, m, w.W, layer)[live[k]]
                for r in range(ids.shape[0]):
                    x = c[ids[r]]
                    for j in range(H):
                        C[k, j] += x * W[r, j]
        first = layer * parts * H
        for p in range(parts):
            for j in range(H):
                C[K + p, j] = c[first + p * H + j]
        run_points(tape, C)
        for p in range(parts):
            for j in range(H):
                c[first + p * H + j] = C[out[p], j]


@part
def margin(label, symbol, c, Q, numbers, ints, m, exactly):
    """By how much the least certain output on a set is right; below 0: it may be wrong.

    Every answer is a list of conditions f . h + constant > 0 on the top layer's h. exactly: at the
    centre alone, without rounding, for a state that is known.
    """
    conditions = view2(ints, m, w.CONDITIONS)  # (answer, 1 + 2 x conditions)
    answer = view2(ints, m, w.ANSWERS)[label, symbol]
    rows, sizes = view2(numbers, m, w.HEAD), view2(numbers, m, w.HEAD_SIZES)
    rounding = view1(numbers, m, w.ROUNDING)
    H = rows.shape[1] - 1
    top = (m[w.LAYERS] - 1) * m[w.STATES] * H
    unit, q = rounding[0] * (H + 5), view1(numbers, m, w.HEAD_Q)
    size = 0.0 if exactly else size_of(Q)
    least = math.inf
    for at in range(conditions[answer, 0]):
        f = conditions[answer, 1 + 2 * at]
        sign = float(conditions[answer, 2 + 2 * at])
        value, terms, square, norm = rows[f, H], sizes[f, H], 0.0, 0.0
        for i in range(H):
            value += rows[f, i] * c[top + i]
        lost = 0.0
        if not exactly:
            for j in range(H):
                q[j] = 0.0
            for i in range(H):
                a = rows[f, i]
                norm += a * a
                terms += sizes[f, i] * (abs(c[top + i]) + math.sqrt(max(Q[top + i, top + i], 0.0)))
                for j in range(H):
                    q[j] += a * Q[top + i, top + j]
            for j in range(H):
                square += rows[f, j] * q[j]
            square = max(square, 0.0) + m[w.TERMS_SUMMED] * U64 * size * norm
            lost = (math.sqrt(square) + unit * terms + rounding[1] * (H + 5)) * UP + rounding[3]
        least = min(least, sign * value - lost)
    return least


@part
def radius(Q, T, numbers, ints, m):
    """A bound of the longest half axis in the metric T: the fourth root of tr (T Q T^T)^2."""
    n, each = Q.shape[0], view1(ints, m, w.EACH)
    TQ, Z = view2(numbers, m, w.TQ), view2(numbers, m, w.TQT)
    product(T, each, Q, TQ, False)
    product(TQ, each, view2(numbers, m, w.TT), Z, True)
    total, diagonal = 0.0, 0.0
    for i in range(n):
        a = b = c = d = 0.0
        j = 0
        while j + 4 <= i:
            a += Z[i, j] * Z[i, j]
            b += Z[i, j + 1] * Z[i, j + 1]
            c += Z[i, j + 2] * Z[i, j + 2]
            d += Z[i, j + 3] * Z[i, j + 3]
            j += 4
        while j < i:
            a += Z[i, j] * Z[i, j]
            j += 1
        total += (a + b) + (c + d)
        diagonal += Z[i, i] * Z[i, i]
    norm = view1(numbers, m, w.ROUNDING)[4]  # |T|^2
    lost = m[w.TERMS_SUMMED] * U64 * norm * size_of(Q)
    return math.sqrt(math.sqrt(2.0 * total + diagonal) + lost) * (1 + 1e-11)
