"""One step of a network on a set of states, compiled.

A set is the ellipsoid {centre + v : v^T Q^-1 v <= 1} of joint states: all states of all layers, one
after the other. Its extent in a direction l is sqrt(l^T Q l). A layer's step makes of centre + v

    centre' + A v + an error of at most e     (`bptt.proofs.forms`), so that with a > 0
    Q' = (1 + 1/a) A Q A^T + (1 + a) sum(e) diag(e)                                        (1)

holds what comes out: the second matrix is that of an ellipsoid around the box of e, and the sum of
two ellipsoids lies in (1) for every a. Layer after layer is done so, each on the joint state. What
the first layer makes of a set before it reads a symbol is worked out once for all symbols.

Everything lies in two arrays, of integers and of numbers, which `bptt.proofs.workspace` lays out;
a kernel takes `m`, the places of all arrays. The set is in NOW_C and NOW_Q.
"""

import math

from bptt.kernels.machine.compiler import part
from bptt.proofs import workspace as w
from bptt.proofs.arrays import alone, at3, view1, view2, view3
from bptt.proofs.forms import U64, UP, run, run_points, spread
from bptt.proofs.products import dot, product


@part
def size_of(Q):
    """A bound of the norm of Q, and so of every |v|^2: its trace, Q being positive."""
    total = 0.0
    for i in range(Q.shape[0]):
        total += Q[i, i]
    return max(total, 0.0) * (1 + 1e-11)


@part
def only_matrix(ints, m):
    """Whether all that matters of a state is one product with a matrix, as in an Elman cell."""
    linear = view2(ints, m, w.LINEAR)
    return linear.shape[0] == 1 and linear[0, 1] >= 0 and m[w.STATES] == 1


@part
def prepared(layer, numbers, ints, m):
    """What a layer makes of the set before it reads a symbol: by matrix k the products BASE = c W_k
    and SIZE (of the sizes of its terms), Y = Q W_k; G, and of preactivations and states R and S, by
    equation (2) of `bptt.proofs.forms`; and NEW = W^T Q W where there is but one matrix."""
    alone()
    c, Q = view1(numbers, m, w.NOW_C), view2(numbers, m, w.NOW_Q)
    reach, new = view1(numbers, m, w.REACH), view2(numbers, m, w.NEW)
    ids = view2(ints, m, w.ROWS)[layer]
    n, H, R, live, every = Q.shape[0], m[w.H], ids.shape[0], m[w.Y + 1], m[w.EACH]
    rows = m[w.ROWS] + layer * R
    for r in range(R):
        i = ids[r]
        reach[r] = abs(c[i]) + math.sqrt(max(Q[i, i], 0.0)) * UP
    for k in range(live):
        place = (layer * live + k) * R * H
        W, sizes = (m[w.W] + place, H, every), (m[w.W_SIZES] + place, H, every)
        y = m[w.Y] + k * n * H
        product((y, H), (n, H, R), (m[w.NOW_Q], n, 1, rows), W, False, numbers, ints)
        one, c_rows, reaches = (1, H, R), (m[w.NOW_C], 0, 1, rows), (m[w.REACH], 0, 1, every)
        product((m[w.BASE] + k * H, H), one, c_rows, W, False, numbers, ints)
        product((m[w.SIZE] + k * H, H), one, reaches, sizes, False, numbers, ints)
    if only_matrix(ints, m):
        W = m[w.W] + layer * live * R * H
        product((m[w.NEW], H), (H, H, R), (W, 1, H, every), (m[w.Y], H, rows), True, numbers, ints)
        for j in range(H):
            for l in range(j):  # noqa: E741
                new[l, j] = new[j, l]
    gathered(layer, Q, numbers, ints, m)
    noise, width = precision(Q, m)
    for k in range(m[w.K] + m[w.STATES]):
        spread(k, layer, noise, width, numbers, m)


@part
def precision(Q, m):
    """What bounds the error of products with Q, and a bound of |v|."""
    size = size_of(Q)
    return m[w.TERMS_SUMMED] * U64 * size, math.sqrt(size)


@part
def gathered(layer, Q, numbers, ints, m):
    """The products G by equation (2) of `bptt.proofs.forms`."""
    alone()
    G, Y, new = view3(numbers, m, w.G), view3(numbers, m, w.Y), view2(numbers, m, w.NEW)
    linear = view2(ints, m, w.LINEAR)  # (slot, matrix or -1, part of the state or -1)
    ids = view2(ints, m, w.ROWS)[layer]
    H = m[w.H]
    first = layer * m[w.STATES] * H
    if only_matrix(ints, m):
        for j in range(H):
            G[0, 0, j] = new[j, j]
        return
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
            else:
                for j in range(H):
                    if a >= 0:
                        G[i, l, j] = Y[a, q + j, j]
                    elif b >= 0:
                        G[i, l, j] = Y[b, p + j, j]
                    else:
                        G[i, l, j] = Q[p + j, q + j]
            for j in range(H):
                G[l, i, j] = G[i, l, j]


@part
def inputs(layer, symbol, width, c, numbers, ints, m):
    """C and E of preactivations and states, in the tape's first places; their A is there from the
    beginning."""
    C, E, S = view2(numbers, m, w.C), view2(numbers, m, w.E), view2(numbers, m, w.S)
    bias = at3(numbers, m, w.BIAS, layer)  # (symbols, K, H)
    terms = at3(numbers, m, w.TERMS, layer)
    base, sizes = view2(numbers, m, w.BASE), view2(numbers, m, w.SIZE)
    live = view1(ints, m, w.LIVE)  # by preactivation: its matrix, or -1
    rounding = view1(numbers, m, w.ROUNDING)
    unit, flush = rounding[0] * m[w.DEPTH], rounding[1] * m[w.DEPTH]
    H, K = m[w.H], m[w.K]
    first = layer * m[w.STATES] * H
    for k in range(K):
        matrix = live[k]
        for j in range(H):
            C[k, j] = bias[symbol, k, j]
            E[k, j] = terms[symbol, k, j]
        if matrix >= 0:
            for j in range(H):
                C[k, j] += base[matrix, j]
                E[k, j] += sizes[matrix, j]
        for j in range(H):
            E[k, j] = (unit * E[k, j] + flush + 8.0 * U64 * width * S[k, j]) * UP
    for p in range(m[w.STATES]):
        for j in range(H):
            C[K + p, j] = c[first + p * H + j]
            E[K + p, j] = 8.0 * U64 * width * S[K + p, j] * UP


@part
def outer_product(layer, Q, numbers, ints, m):
    """A Q A^T, and A Q for the other layers' states, in place of what Q has for this layer's."""
    alone()
    A, Y, YA = view3(numbers, m, w.A), view3(numbers, m, w.Y), view2(numbers, m, w.YA)
    AW, new = view2(numbers, m, w.AW), view2(numbers, m, w.NEW)
    out, linear = view1(ints, m, w.OUT), view2(ints, m, w.LINEAR)
    R, H, parts, n = AW.shape[0], m[w.H], m[w.STATES], Q.shape[0]
    first, width = layer * parts * H, parts * H
    YA[:, :], AW[:, :] = 0.0, 0.0
    for p in range(parts):
        for i in range(linear.shape[0]):
            matrix, state = linear[i, 1], first + linear[i, 2] * H
            a = A[out[p], i]
            if matrix >= 0:
                W = at3(numbers, m, w.W, layer)[matrix]
                for g in range(n):
                    for j in range(H):
                        YA[g, p * H + j] += a[j] * Y[matrix, g, j]
                for r in range(R):
                    for j in range(H):
                        AW[r, p * H + j] += a[j] * W[r, j]
            else:
                for g in range(n):
                    for j in range(H):
                        YA[g, p * H + j] += a[j] * Q[g, state + j]
    product(
        (m[w.NEW], width), (width, width, R), (m[w.AW], 1, width, m[w.EACH]),
        (m[w.YA], width, m[w.ROWS] + layer * R), True, numbers, ints,
    )  # fmt: skip
    for p in range(parts):
        for i in range(linear.shape[0]):
            if linear[i, 1] < 0:
                state = first + linear[i, 2] * H
                for j in range(H):
                    a_j = A[out[p], i, j]
                    for l in range(p * H + j + 1):  # noqa: E741
                        new[p * H + j, l] += a_j * YA[state + j, l]
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
def scaled(layer, Q, numbers, ints, m):
    """What `outer_product` does where A is a diagonal matrix times one that `prepared` has used."""
    a, new = view3(numbers, m, w.A)[view1(ints, m, w.OUT)[0], 0], view2(numbers, m, w.NEW)
    Y = view3(numbers, m, w.Y)[0]
    n, H = Q.shape[0], m[w.H]
    first = layer * H
    for i in range(H):
        for j in range(H):
            Q[first + i, first + j] = a[i] * a[j] * new[i, j]
    for g in range(n):
        if g < first or g >= first + H:
            for j in range(H):
                Q[g, first + j] = a[j] * Y[g, j]
                Q[first + j, g] = a[j] * Y[g, j]


@part
def layer_image(layer, symbol, c, Q, numbers, ints, m):
    """Centre and Q after one layer's step, in place. `prepared(layer, ...)` has been done."""
    C, E, S = view2(numbers, m, w.C), view2(numbers, m, w.E), view2(numbers, m, w.S)
    out = view1(ints, m, w.OUT)
    H, parts, n = m[w.H], m[w.STATES], Q.shape[0]
    first = layer * parts * H
    noise, width = precision(Q, m)
    inputs(layer, symbol, width, c, numbers, ints, m)
    run(layer, noise, width, numbers, ints, m)
    if only_matrix(ints, m):
        scaled(layer, Q, numbers, ints, m)
    else:
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
def image(symbol, numbers, ints, m):
    """Centre and Q after a step, in place. `prepared(0, ...)` has been done for them."""
    alone()
    c, Q = view1(numbers, m, w.NOW_C), view2(numbers, m, w.NOW_Q)
    for layer in range(m[w.LAYERS]):
        if layer:
            prepared(layer, numbers, ints, m)
        layer_image(layer, symbol, c, Q, numbers, ints, m)


@part
def step(symbol, numbers, ints, m):
    """The state in NOW_C after a step, in place."""
    alone()
    c, C = view1(numbers, m, w.NOW_C), view2(numbers, m, w.C)
    out, live = view1(ints, m, w.OUT), view1(ints, m, w.LIVE)
    H, parts, K, R, matrices = m[w.H], m[w.STATES], m[w.K], m[w.ROWS + 2], m[w.Y + 1]
    for layer in range(m[w.LAYERS]):
        bias = at3(numbers, m, w.BIAS, layer)
        x = (m[w.NOW_C], 0, 1, m[w.ROWS] + layer * R)
        for k in range(K):
            for j in range(H):
                C[k, j] = 0.0
            if live[k] >= 0:
                W = (m[w.W] + (layer * matrices + live[k]) * R * H, H, m[w.EACH])
                product((m[w.C] + k * H, H), (1, H, R), x, W, False, numbers, ints)
            for j in range(H):
                C[k, j] += bias[symbol, k, j]
        first = layer * parts * H
        for p in range(parts):
            for j in range(H):
                C[K + p, j] = c[first + p * H + j]
        run_points(numbers, ints, m)
        for p in range(parts):
            for j in range(H):
                c[first + p * H + j] = C[out[p], j]


@part
def margin(label, symbol, exactly, numbers, ints, m):
    """By how much the least certain output on the set is right; below 0: it may be wrong.

    Every answer is a list of conditions f . h + constant > 0 on the top layer's h. exactly: at the
    centre alone, without rounding, for a state that is known.
    """
    alone()
    c, Q = view1(numbers, m, w.NOW_C), view2(numbers, m, w.NOW_Q)
    conditions = view2(ints, m, w.CONDITIONS)  # (answer, 1 + 2 x conditions)
    answer = view2(ints, m, w.ANSWERS)[label, symbol]
    rows, sizes = view2(numbers, m, w.HEAD), view2(numbers, m, w.HEAD_SIZES)
    rounding, reach = view1(numbers, m, w.ROUNDING), view1(numbers, m, w.HEAD_REACH)
    H, n, each, q = m[w.H], m[w.N], m[w.EACH], m[w.HEAD_Q]
    top = (m[w.LAYERS] - 1) * m[w.STATES] * H
    unit, size = rounding[0] * (H + 5), 0.0
    if not exactly:
        size = size_of(Q)
        for i in range(H):
            reach[i] = abs(c[top + i]) + math.sqrt(max(Q[top + i, top + i], 0.0))
    least = math.inf
    for at in range(conditions[answer, 0]):
        f = conditions[answer, 1 + 2 * at]
        sign = float(conditions[answer, 2 + 2 * at])
        row = m[w.HEAD] + f * (H + 1)
        value, lost = rows[f, H] + dot(row, m[w.NOW_C] + top, H, numbers), 0.0
        if not exactly:
            P = (m[w.NOW_Q] + top * n + top, n, each)
            product((q, H), (1, H, H), (row, 0, 1, each), P, False, numbers, ints)
            terms = sizes[f, H] + dot(m[w.HEAD_SIZES] + f * (H + 1), m[w.HEAD_REACH], H, numbers)
            square = max(dot(q, row, H, numbers), 0.0)
            square += m[w.TERMS_SUMMED] * U64 * size * dot(row, row, H, numbers)
            lost = (math.sqrt(square) + unit * terms + rounding[1] * (H + 5)) * UP + rounding[3]
        least = min(least, sign * value - lost)
    return least


@part
def radius(numbers, ints, m):
    """A bound of the longest half axis of Q in the metric T: the fourth root of the trace of
    (T Q T^T)^2, which is that of (Q P)^2, P = T^T T.

    With B = tr Q |T|^2 products are off by at most 4 n units of B^2 in that trace, its n^2 terms
    by as many; a root of a sum is at most the sum of roots.
    """
    alone()
    Q, Z, n = view2(numbers, m, w.NOW_Q), view2(numbers, m, w.QP), m[w.N]
    product(
        (m[w.QP], n), (n, n, n), (m[w.NOW_Q], n, 1, m[w.EACH]), (m[w.P], n, m[w.EACH]), False,
        numbers, ints,
    )  # fmt: skip
    total, diagonal = 0.0, 0.0
    for i in range(n):
        a = b = c = d = 0.0
        j = 0
        while j + 4 <= i:
            a += Z[i, j] * Z[j, i]
            b += Z[i, j + 1] * Z[j + 1, i]
            c += Z[i, j + 2] * Z[j + 2, i]
            d += Z[i, j + 3] * Z[j + 3, i]
            j += 4
        while j < i:
            a += Z[i, j] * Z[j, i]
            j += 1
        total += (a + b) + (c + d)
        diagonal += Z[i, i] * Z[i, i]
    norm = view1(numbers, m, w.ROUNDING)[4]  # |T|^2
    lost = math.sqrt((n * n + 8 * n + 64) * U64) * norm * size_of(Q)
    return math.sqrt(math.sqrt(max(2.0 * total + diagonal, 0.0)) + lost) * (1 + 1e-11)
