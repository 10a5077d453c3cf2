"""Forward and backward through time, for any cell: `bptt.recurrence`, compiled.

The cell's equations come in as an argument (`bptt.kernels.equations`). Everything that is the same
for every step is a product over one step's batch (`bptt.kernels.products`). A gate's values and
later its derivative stand where its preactivation stood, so that a step keeps K + S arrays of
B*H numbers and no more.
"""

from bptt.kernels.compiler import STRICT, kernel
from bptt.kernels.equations import read_gates, read_states, step_backward, step_forward, write
from bptt.kernels.losses import judge
from bptt.kernels.products import (
    add_outer,
    add_outer_rows,
    add_product,
    add_product_transposed,
    add_rows,
    add_sum,
    fill_bias,
)


@kernel(fastmath=STRICT)
def step_of_cell(cell, a, s, s_new):
    """The forward equations at every unit of every sample: a (K, n) becomes gates, s_new is set."""
    for i in range(a.shape[1]):
        gates, new = step_forward(cell, read_gates(cell, a, i), read_states(cell, s, i))
        write(a, i, gates)
        write(s_new, i, new)


@kernel(fastmath=STRICT)
def step_back_of_cell(cell, gates, s, s_new, ds_new, ds):
    """The backward equations at every unit: gates (K, n) becomes da, ds (S, n) is set."""
    for i in range(gates.shape[1]):
        da, before = step_backward(
            cell,
            read_gates(cell, gates, i),
            read_states(cell, s, i),
            read_states(cell, s_new, i),
            read_states(cell, ds_new, i),
        )
        write(gates, i, da)
        write(ds, i, before)


@kernel
def keep_ended(alive, H, old, new):
    """Samples whose sequence has ended keep `old` (S, B*H) instead of `new`."""
    for b in range(alive.shape[0]):
        if not alive[b]:
            for state in range(old.shape[0]):
                for j in range(b * H, b * H + H):
                    new[state, j] = old[state, j]


@kernel
def clear_ended(alive, H, values):
    """Samples whose sequence has ended have no part in `values` (K, B*H)."""
    for b in range(alive.shape[0]):
        if not alive[b]:
            for k in range(values.shape[0]):
                for j in range(b * H, b * H + H):
                    values[k, j] = 0


@kernel
def layer_forward(cell, plan, layer, theta, x, ids, below, alive, full, gates, states):
    """Walk one layer forward.

    Its input is x (T, B*D), or ids (T, B) of one-hot inputs, in the first layer; in the others the
    h of `below`, the states of the layer below.
    """
    B, H, G, K = plan.B, plan.H, plan.G, plan.K
    U, W, b = plan.where[layer, 0], plan.where[layer, 1], plan.where[layer, 2]
    inputs = plan.D if layer == 0 else H
    width = G * H
    for t in range(plan.T):
        a, s, s_new = gates[t], states[t], states[t + 1]
        row = x[t] if layer == 0 and not plan.one_hot else below[t + 1, 0]
        for k in range(K):
            fill_bias(theta, b + t * plan.b_set + k * H if b >= 0 else -1, B, H, a[k])
        for gate in range(G):
            k = gate if gate < G - 1 else K - 1
            start = U + t * plan.U_set * inputs
            if layer == 0 and plan.one_hot:
                add_rows(ids[t], B, theta, start, width, gate * H, H, a[gate])
            else:
                add_product(row, B, inputs, theta, start, width, gate * H, H, a[gate])
            add_product(s[0], B, H, theta, W + t * plan.W_set, width, gate * H, H, a[k])
        step_of_cell(cell, a, s, s_new)
        if not full:
            keep_ended(alive[t], H, s, s_new)


@kernel
def layer_backward(cell, plan, layer, theta, x, ids, below, alive, full, gates, states, work):
    """Walk one layer backward from work.dh: gates become da, gradients are added to work.g."""
    B, H, G, K = plan.B, plan.H, plan.G, plan.K
    U, W, b = plan.where[layer, 0], plan.where[layer, 1], plan.where[layer, 2]
    inputs = plan.D if layer == 0 else H
    width = G * H
    ds_new, ds = work.ds[0], work.ds[1]
    ds_new[:] = 0
    for t in range(plan.T - 1, -1, -1):
        a, s = gates[t], states[t]
        row = x[t] if layer == 0 and not plan.one_hot else below[t + 1, 0]
        for j in range(B * H):
            ds_new[0, j] += work.dh[t, j]
        step_back_of_cell(cell, a, s, states[t + 1], ds_new, ds)
        if not full:
            clear_ended(alive[t], H, a)
        for gate in range(G):
            k = gate if gate < G - 1 else K - 1
            set_U, set_W = U + t * plan.U_set * inputs, W + t * plan.W_set
            add_product_transposed(a[k], B, H, theta, set_W, width, gate * H, H, ds[0])
            add_outer(s[0], B, H, a[k], H, work.g, set_W, width, gate * H)
            if layer == 0 and plan.one_hot:
                add_outer_rows(ids[t], B, a[gate], H, work.g, set_U, width, gate * H)
            else:
                add_outer(row, B, inputs, a[gate], H, work.g, set_U, width, gate * H)
        if b >= 0:
            for k in range(K):
                add_sum(a[k], B, H, work.g, b + t * plan.b_set + k * H)
        if not full:
            keep_ended(alive[t], H, ds_new, ds)
        ds_new, ds = ds, ds_new
    work.ds0[layer] = ds_new


@kernel
def input_gradient(plan, layer, theta, gates, dx):
    """dx (T, B*I) = sum over gates of da U^T, for all steps."""
    H, G, U = plan.H, plan.G, plan.where[layer, 0]
    inputs = plan.D if layer == 0 else H
    dx[:] = 0
    for t in range(plan.T):
        for gate in range(G):
            start = U + t * plan.U_set * inputs
            add_product_transposed(
                gates[t, gate], plan.B, H, theta, start, G * H, gate * H, inputs, dx[t]
            )


@kernel
def output_forward(plan, theta, states, work):
    """The output preactivations o from the top layer's states, by equation (22)."""
    first = plan.T - work.o.shape[0]
    for t in range(work.o.shape[0]):
        o = work.o[t].reshape(-1)
        start = plan.c + t * plan.c_set if plan.c >= 0 else -1
        fill_bias(theta, start, plan.B, plan.O, o)
        V = plan.V + t * plan.V_set
        add_product(states[first + t + 1, 0], plan.B, plan.H, theta, V, plan.O, 0, plan.O, o)


@kernel
def output_backward(plan, theta, states, work):
    """dV, dc and dh of the top layer from work.do."""
    B, H, O = plan.B, plan.H, plan.O  # noqa: E741
    work.dh[:] = 0
    first = plan.T - work.do.shape[0]
    for t in range(work.do.shape[0]):
        do = work.do[t].reshape(-1)
        V = plan.V + t * plan.V_set
        add_outer(states[first + t + 1, 0], B, H, do, O, work.g, V, O, 0)
        if plan.c >= 0:
            add_sum(do, B, O, work.g, plan.c + t * plan.c_set)
        add_product_transposed(do, B, O, theta, V, O, 0, H, work.dh[first + t])


@kernel
def walk(cell, plan, theta, data, own_state, work):
    """One batch forward, judged, and, if `work` has room for a gradient, backward.

    Returns loss, wrong, exact.

    data: x (T, B*D), ids (T, B), y (T, B, O), classes (T, B), alive (T, B) and whether all are
    alive. work.states[:, 0] holds the initial states; outputs p, states and the gradient are left
    in `work`. own_state: the batch starts from the network's own initial state, so that a trainable
    one has a gradient.
    """
    x, ids, y, classes, alive, full = data
    for layer in range(plan.layers):
        below = work.states[max(layer - 1, 0)]
        layer_forward(
            cell, plan, layer, theta, x, ids, below, alive, full, work.gates[layer],
            work.states[layer],
        )  # fmt: skip
    top = work.states[plan.layers - 1]
    output_forward(plan, theta, top, work)
    judged = judge(plan, y, classes, alive, work)
    if work.g.size == 0:
        return judged
    work.g[:] = 0
    output_backward(plan, theta, top, work)
    for layer in range(plan.layers - 1, -1, -1):
        below = work.states[max(layer - 1, 0)]
        gates = work.gates[layer]
        layer_backward(
            cell, plan, layer, theta, x, ids, below, alive, full, gates, work.states[layer], work
        )
        for state in range(plan.S):
            place = plan.where[layer, 3 + state]
            if own_state and place >= 0:
                add_sum(work.ds0[layer, state], plan.B, plan.H, work.g, place)
        if layer > 0:
            input_gradient(plan, layer, theta, gates, work.dh)
        elif work.dx.size:
            input_gradient(plan, layer, theta, gates, work.dx)
    return judged
