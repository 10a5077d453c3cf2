"""Forward and backward through time, for any cell and layout: `bptt.recurrence`, compiled.

One pass over a batch. What can be done for all steps at once is one product over all of them
(inputs, outputs, and every gradient: the deltas of all steps are kept, and each weight gradient is
formed after the walk); inside the walk are only the recurrent product and the cell's equations.
Untied weights, a set for each step, are the same with as many sets of one step.
"""

from bptt.kernels.compiler import part
from bptt.kernels.layout import (
    B_FORWARD,
    B_GRADIENT,
    C_FORWARD,
    C_GRADIENT,
    LAYER_VIEWS,
    S_FORWARD,
    S_GRADIENT,
    U_BACKWARD,
    U_FORWARD,
    U_GRADIENT,
    V_BACKWARD,
    V_FORWARD,
    V_GRADIENT,
    VIEW,
    W_BACKWARD,
    W_FORWARD,
    W_GRADIENT,
)
from bptt.kernels.regimes import (
    add_rows,
    apply,
    copy,
    outer,
    read_gates,
    read_states,
    receive,
    scatter_rows,
    step_backward,
    step_forward,
)
from bptt.kernels.simd import get, load, select, store, width, zero
from bptt.kernels.tile import stores


@part
def cells_forward(kind, plan, m, gates, states):
    """The cell's equations at one step: preactivations become gates, the next state is written."""
    lanes, plane, after = width(m), plan.plane, states + plan.state_t
    for i in range(0, plan.plane, lanes):
        a, s = read_gates(kind, m, gates + i, plane), read_states(kind, m, states + i, plane)
        a, s = step_forward(kind, a, s)
        stores(m, gates + i, plane, a)
        stores(m, after + i, plane, s)


@part
def cells_backward(kind, plan, m, gates, states, ds, dh):
    """The same back: gates become their derivatives da, ds moves from after the step to before."""
    lanes, plane, after = width(m), plan.plane, states + plan.state_t
    for i in range(0, plan.plane, lanes):
        d = receive(kind, read_states(kind, m, ds + i, plane), load(m, dh + i))
        a, s = read_gates(kind, m, gates + i, plane), read_states(kind, m, states + i, plane)
        a, d = step_backward(kind, a, s, read_states(kind, m, after + i, plane), d)
        stores(m, gates + i, plane, a)
        stores(m, ds + i, plane, d)


@part
def clear(m, place, size):
    """Zero for `size` numbers (up to whole vectors)."""
    nothing = zero(m)
    for i in range(0, size, width(m)):
        store(m, place + i, nothing)


@part
def add(m, place, other, size):
    """m[place + i] += m[other + i] for i < size, a whole number of vectors."""
    for i in range(0, size, width(m)):
        store(m, place + i, load(m, place + i) + load(m, other + i))


@part
def keep_where(plan, m, mask, values, rest, size):
    """Move what lies at `values` where the mask is 0 to `rest`, leaving zero."""
    lanes = width(m)
    nothing = zero(m)
    for j in range(0, size, plan.VV * lanes):
        for v in range(plan.VV):
            i = j + v * lanes
            x, alive = load(m, values + i), load(m, mask + v * plan.mask_v) > 0.5
            store(m, values + i, select(alive, x, nothing))
            store(m, rest + i, select(alive, nothing, x))


@part
def freeze(plan, m, mask, before, after):
    """Where the mask is 0 the state stays as it was."""
    lanes = width(m)
    for j in range(0, plan.state_t, plan.VV * lanes):
        for v in range(plan.VV):
            i = j + v * lanes
            alive = load(m, mask + v * plan.mask_v) > 0.5
            store(m, after + i, select(alive, load(m, after + i), load(m, before + i)))


@part
def at_shift(views, v, gate, s):
    """What to add to a matrix's place for its columns from a gate on, in set s."""
    return gate * get(views, VIEW * v + 4) + s * get(views, VIEW * v + 5)


@part
def input_forward(kind, codes, plan, m, views, parts, layer, ids, sample, apart):
    """The preactivations of all steps from the bias and the layer's inputs: b + x U."""
    first, sets, G = layer * LAYER_VIEWS, plan.sets, plan.G
    per = plan.T // sets
    U, b_row = first + U_FORWARD, first + B_FORWARD
    for b in range(plan.outer):
        gates = get(parts, 7 * layer) + b * plan.gate_b
        x = get(parts, 7 * layer + 3) + b * get(parts, 7 * layer + 5)
        x_t = get(parts, 7 * layer + 4)
        for s in range(sets):
            out = gates + s * plan.gate_t
            apply(
                kind, codes, plan, m, views, b_row, at_shift(views, b_row, 0, s), out, plan.gate_t,
                plan.K * plan.Hw, plan.ones, 0, plan.bias, per, False,
            )  # fmt: skip
            if plan.one_hot and layer == 0:
                for t in range(s * per, s * per + per):
                    add_rows(
                        kind, codes, plan, m, views, U, at_shift(views, U, 0, s), ids,
                        (sample + b) * plan.T + t, apart * plan.T, gates + t * plan.gate_t,
                        G * plan.Hw,
                    )  # fmt: skip
            else:
                apply(
                    kind, codes, plan, m, views, U, at_shift(views, U, 0, s), out, plan.gate_t,
                    G * plan.Hw, x + s * x_t, x_t, get(parts, 7 * layer + 6), per, True,
                )  # fmt: skip


@part
def recurrent_forward(kind, codes, plan, m, views, parts, layer, full):
    """The walk through time of one layer: a_t += h_(t-1) W, then the cell's equations."""
    gates, states = get(parts, 7 * layer), get(parts, 7 * layer + 1)
    W, tied = layer * LAYER_VIEWS + W_FORWARD, plan.sets == 1
    for t in range(plan.T):
        for run in range(plan.runs):
            gate = 0 if run == 0 else plan.G - 1
            count = plan.G if plan.runs == 1 else (plan.G - 1 if run == 0 else 1)
            place = gate if run == 0 else plan.K - 1
            apply(
                kind, codes, plan, m, views, W, at_shift(views, W, gate, 0 if tied else t),
                gates + t * plan.gate_t + place * plan.plane, plan.gate_b, count * plan.Hw,
                states + t * plan.state_t, plan.state_b, plan.H, plan.outer, True,
            )  # fmt: skip
        for b in range(plan.outer):
            before = states + b * plan.state_b + t * plan.state_t
            cells_forward(kind, plan, m, gates + b * plan.gate_b + t * plan.gate_t, before)
            if not full:
                mask = plan.mask + b * plan.mask_b + t * plan.mask_t
                freeze(plan, m, mask, before, before + plan.state_t)


@part
def back_through(
    kind, codes, plan, m, views, v, shift, gate, out, out_c, features, d, d_c, count, n, acc
):
    """out += d M^T, from `count` gates' planes at d: in one product, or, where their rows are
    padded, in one for each."""
    pieces = 1 if plan.merge else count
    depth = count * plan.H // pieces
    for piece in range(pieces):
        apply(
            kind, codes, plan, m, views, v, shift + at_shift(views, v, gate + piece, 0), out, out_c,
            features, d + piece * plan.plane, d_c, depth, n, acc or piece > 0,
        )  # fmt: skip


@part
def recurrent_backward(kind, codes, plan, m, views, parts, layer, full, to_start):
    """The walk back: ds is carried from step t + 1 to t, gates become derivatives in place."""
    gates, states = get(parts, 7 * layer), get(parts, 7 * layer + 1)
    ds = get(parts, 7 * layer + 2)
    W, tied = layer * LAYER_VIEWS + W_BACKWARD, plan.sets == 1
    clear(m, ds, plan.outer * plan.state_t)
    for t in range(plan.T - 1, -1, -1):
        for b in range(plan.outer):
            ds_b, dh = ds + b * plan.state_t, plan.dh + b * plan.dh_b + t * plan.plane
            if not full:
                mask = plan.mask + b * plan.mask_b + t * plan.mask_t
                held = plan.held + b * plan.state_t
                add(m, ds_b, dh, plan.plane)
                clear(m, dh, plan.plane)
                keep_where(plan, m, mask, ds_b, held, plan.state_t)
            cells_backward(
                kind, plan, m, gates + b * plan.gate_b + t * plan.gate_t,
                states + b * plan.state_b + t * plan.state_t, ds_b, dh,
            )  # fmt: skip
        for run in range(plan.runs if t > 0 or to_start else 0):
            gate = 0 if run == 0 else plan.G - 1
            count = plan.G if plan.runs == 1 else (plan.G - 1 if run == 0 else 1)
            place = gate if run == 0 else plan.K - 1
            back_through(
                kind, codes, plan, m, views, W, at_shift(views, W, 0, 0 if tied else t), gate, ds,
                plan.state_t, plan.Hw, gates + t * plan.gate_t + place * plan.plane, plan.gate_b,
                count, plan.outer, True,
            )  # fmt: skip
        if not full:
            add(m, ds, plan.held, plan.outer * plan.state_t)


@part
def layer_gradients(kind, codes, plan, m, views, parts, layer, ids, sample, apart):
    """The gradients of U, W and b, each in one product over the steps of a set (and samples)."""
    first, sets, G, T = layer * LAYER_VIEWS, plan.sets, plan.G, plan.T
    per = T // sets
    U, W, b_row = first + U_GRADIENT, first + W_GRADIENT, first + B_GRADIENT
    for b in range(plan.outer):
        x = get(parts, 7 * layer + 3) + b * get(parts, 7 * layer + 5)
        x_t, more = get(parts, 7 * layer + 4), b > 0
        for s in range(sets):
            d = get(parts, 7 * layer) + b * plan.gate_b + s * plan.gate_t
            h = get(parts, 7 * layer + 1) + b * plan.state_b + s * plan.state_t
            for run in range(plan.runs):
                gate = 0 if run == 0 else G - 1
                count = G if plan.runs == 1 else (G - 1 if run == 0 else 1)
                place = gate if run == 0 else plan.K - 1
                outer(
                    kind, codes, plan, m, views, W, at_shift(views, W, gate, s), h, plan.state_t,
                    plan.H, d + place * plan.plane, plan.gate_t, count * plan.Hw, per, more,
                )  # fmt: skip
            if plan.bias:
                outer(
                    kind, codes, plan, m, views, b_row, at_shift(views, b_row, 0, s), plan.ones, 0,
                    1, d, plan.gate_t, plan.K * plan.Hw, per, more,
                )  # fmt: skip
            if plan.one_hot and layer == 0:
                for t in range(per):
                    scatter_rows(
                        kind, codes, plan, m, views, U, at_shift(views, U, 0, s), ids,
                        (sample + b) * T + s * per + t, apart * plan.T, d + t * plan.gate_t,
                        G * plan.Hw,
                    )  # fmt: skip
            else:
                outer(
                    kind, codes, plan, m, views, U, at_shift(views, U, 0, s), x + s * x_t, x_t,
                    get(parts, 7 * layer + 6), d, plan.gate_t, G * plan.Hw, per, more,
                )  # fmt: skip


@part
def input_backward(kind, codes, plan, m, views, parts, layer):
    """The derivative by the layer's inputs, da U^T: dh of the layer below, or dx."""
    v, per = layer * LAYER_VIEWS + U_BACKWARD, plan.T // plan.sets
    inputs = get(parts, 7 * layer + 6)
    out, out_t, out_b = plan.dh, plan.plane, plan.dh_b
    if layer == 0:
        out, out_t, out_b = plan.dx, plan.dx_t, plan.dx_t * plan.T
    for b in range(plan.outer):
        for s in range(plan.sets):
            back_through(
                kind, codes, plan, m, views, v, at_shift(views, v, 0, s), 0,
                out + b * out_b + s * out_t, out_t, inputs,
                get(parts, 7 * layer) + b * plan.gate_b + s * plan.gate_t, plan.gate_t, plan.G,
                per, False,
            )  # fmt: skip


@part
def carry_over(plan, m, parts):
    """The states after the last step become those before the first."""
    for layer in range(plan.layers):
        for b in range(plan.outer):
            state = get(parts, 7 * layer + 1) + b * plan.state_b
            copy(m, state, m, state + plan.T * plan.state_t, plan.state_t)


@part
def start_layer(kind, codes, plan, m, views, parts, layer):
    """The states before the first step: h0, or zero."""
    for b in range(plan.outer):
        state = get(parts, 7 * layer + 1) + b * plan.state_b
        for s in range(plan.S):
            apply(
                kind, codes, plan, m, views, layer * LAYER_VIEWS + S_FORWARD + s, 0,
                state + s * plan.plane, 0, plan.Hw, plan.ones, 0, plan.trainable, 1, False,
            )  # fmt: skip


@part
def start_gradient(kind, codes, plan, m, views, parts, layer, own_state):
    """The gradient of h0: the sum over samples of ds before the first step."""
    for s in range(plan.S if plan.trainable else 0):
        v = layer * LAYER_VIEWS + S_GRADIENT + s
        outer(
            kind, codes, plan, m, views, v, 0, plan.ones, 0, 1,
            get(parts, 7 * layer + 2) + s * plan.plane, plan.state_t, plan.Hw,
            plan.outer if own_state else 0, False,
        )  # fmt: skip


@part
def output_forward(kind, codes, plan, m, views, parts):
    """The output preactivations: c + h V, from the top layer's states."""
    row, R = plan.layers * LAYER_VIEWS, plan.R
    V, c = row + V_FORWARD, row + C_FORWARD
    sets = 1 if plan.last else plan.sets
    top, per = get(parts, 7 * plan.layers - 6), R // sets
    first = plan.T - R + 1
    for b in range(plan.outer):
        for s in range(sets):
            out = plan.o + b * plan.o_b + s * plan.o_t
            h = top + b * plan.state_b + (first + s) * plan.state_t
            apply(
                kind, codes, plan, m, views, c, at_shift(views, c, 0, s), out, plan.o_t, plan.O,
                plan.ones, 0, plan.bias, per, False,
            )  # fmt: skip
            apply(
                kind, codes, plan, m, views, V, at_shift(views, V, 0, s), out, plan.o_t, plan.O,
                h, plan.state_t, plan.H, per, True,
            )  # fmt: skip


@part
def output_backward(kind, codes, plan, m, views, parts):
    """The gradients of V and c, and dh of the top layer."""
    row, R = plan.layers * LAYER_VIEWS, plan.R
    V, V_back, c = row + V_GRADIENT, row + V_BACKWARD, row + C_GRADIENT
    sets = 1 if plan.last else plan.sets
    top, per = get(parts, 7 * plan.layers - 6), R // sets
    first = plan.T - R
    for b in range(plan.outer):
        dh = plan.dh + b * plan.dh_b
        clear(m, dh, first * plan.plane)
        for s in range(sets):
            do = plan.do + b * plan.o_b + s * plan.o_t
            h = top + b * plan.state_b + (first + s + 1) * plan.state_t
            outer(
                kind, codes, plan, m, views, V, at_shift(views, V, 0, s), do, plan.o_t, plan.O,
                h, plan.state_t, plan.H, per, b > 0,
            )  # fmt: skip
            if plan.bias:
                outer(
                    kind, codes, plan, m, views, c, at_shift(views, c, 0, s), plan.ones, 0, 1,
                    do, plan.o_t, plan.O, per, b > 0,
                )  # fmt: skip
            apply(
                kind, codes, plan, m, views, V_back, at_shift(views, V_back, 0, s),
                dh + (first + s) * plan.plane, plan.plane, plan.Hw, do, plan.o_t, plan.O, per,
                False,
            )  # fmt: skip
