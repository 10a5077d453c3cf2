"""Forward and backward through time, for any cell: `bptt.recurrence`, compiled.

The cell's equations come in as an argument (`bptt.kernels.equations`) and run on vectors of units.
Everything else is a product of packed weights (`bptt.kernels.tile`) with the rows of a step, or,
where nothing has to wait for the step before, with the rows of all steps at once: the inputs' part
of the preactivations, the gradients of the weights, and what goes down to the layer below. Untied
weights are the same with one step at a time. A gate's values and later its derivative stand where
its preactivation stood, so that a step keeps K + S numbers a unit and no more.
"""

from bptt.kernels.compiler import STRICT, kernel
from bptt.kernels.equations import read_gates, read_states, step_backward, step_forward
from bptt.kernels.losses import judge
from bptt.kernels.products import (
    add_packed_rows,
    add_to_rows,
    fill_rows,
    outer,
    pack,
    pack_transposed,
    sum_rows,
)
from bptt.kernels.simd import load, store, width, zero
from bptt.kernels.tile import product_shared, stores
from bptt.kernels.vectors import kept_apart


@kernel(fastmath=STRICT)
def pack_weights(plan, theta, work):
    """Pack all weights that the walk will need."""
    kept_apart()
    H, Hp, GH = plan.H, plan.Hp, plan.G * plan.H
    back = work.g.size > 0
    for layer in range(plan.layers):
        inputs = plan.D if layer == 0 else H
        inputs_padded = plan.Dp if layer == 0 else Hp
        U, W = plan.where[layer, 0], plan.where[layer, 1]
        for one in range(plan.sets * plan.G):
            s, gate = one // plan.G, one % plan.G
            from_U, from_W = U + s * inputs * GH + gate * H, W + s * H * GH + gate * H
            to = plan.packed[layer]
            pack(theta, from_U, GH, inputs, H, work.packed, to[0] + one * inputs * Hp)
            pack(theta, from_W, GH, H, H, work.packed, to[1] + one * H * Hp)
            if back:
                pack_transposed(theta, from_W, GH, H, H, work.packed, to[2] + one * H * Hp)
            if back and (layer > 0 or work.dx.size > 0):
                place = to[3] + one * H * inputs_padded
                pack_transposed(theta, from_U, GH, inputs, H, work.packed, place)
    for s in range(plan.V_sets):
        start, O = plan.V + s * H * plan.O, plan.O  # noqa: E741
        pack(theta, start, O, H, O, work.packed, plan.packed_V + s * H * plan.Op)
        if back:
            pack_transposed(theta, start, O, H, O, work.packed, plan.packed_VT + s * O * Hp)


@kernel(fastmath=STRICT)
def step_of_cell(cell, size, gates, a, a_stride, states, s, s_new, s_stride):
    """The forward equations at every unit of a step: preactivations at `a` become gates."""
    kept_apart()
    for i in range(0, size, width(gates)):
        values, new = step_forward(
            cell,
            read_gates(cell, gates, a + i, a_stride),
            read_states(cell, states, s + i, s_stride),
        )
        stores(gates, a + i, a_stride, values)
        stores(states, s_new + i, s_stride, new)


@kernel(fastmath=STRICT)
def step_back_of_cell(cell, size, gates, a, a_stride, states, s, s_new, s_stride, ds, new, old):
    """The backward equations at every unit of a step: gates at `a` become da, ds at `old` is set."""
    kept_apart()
    for i in range(0, size, width(gates)):
        da, before = step_backward(
            cell,
            read_gates(cell, gates, a + i, a_stride),
            read_states(cell, states, s + i, s_stride),
            read_states(cell, states, s_new + i, s_stride),
            read_states(cell, ds, new + i, size),
        )
        stores(gates, a + i, a_stride, da)
        stores(ds, old + i, size, before)


@kernel(fastmath=STRICT)
def keep_ended(lengths, t, Hp, count, values, old, new, stride):
    """Samples whose sequence has ended before step t keep what is at `old` at `new` too."""
    kept_apart()
    for b in range(lengths.size):
        if t >= lengths[b]:
            for state in range(count):
                for j in range(0, Hp, width(values)):
                    at = state * stride + b * Hp + j
                    store(values, new + at, load(values, old + at))


@kernel(fastmath=STRICT)
def clear_ended(lengths, t, Hp, count, values, place, stride):
    """Samples whose sequence has ended before step t have no part in the values at `place`."""
    kept_apart()
    for b in range(lengths.size):
        if t >= lengths[b]:
            for k in range(count):
                for j in range(0, Hp, width(values)):
                    store(values, place + k * stride + b * Hp + j, zero(values))


@kernel(fastmath=STRICT)
def input_part(plan, layer, theta, x, ids, below, work, gates_at):
    """Biases and inputs' part of all preactivations of a layer."""
    kept_apart()
    Hp, H, n = plan.Hp, plan.H, plan.n
    rows, slot = plan.T * plan.B // plan.sets, plan.T * plan.B * plan.Hp
    inputs = plan.D if layer == 0 else H
    b = plan.where[layer, 2]
    for s in range(plan.sets):
        at = gates_at + s * rows * Hp
        for k in range(plan.K):
            start = b + (s * plan.K + k) * H if b >= 0 else -1
            fill_rows(theta, start, H, rows, work.gates, at + k * slot, Hp)
        for gate in range(plan.G):
            panel = plan.packed[layer, 0] + (s * plan.G + gate) * inputs * Hp
            place = at + gate * slot
            if layer > 0:
                product_shared(
                    work.gates, place, Hp, n, rows, Hp, work.states, below + s * rows * Hp, Hp, 1,
                    work.packed, panel, inputs * n, n, inputs, True,
                )  # fmt: skip
            elif plan.one_hot:
                add_packed_rows(
                    ids, s * rows, rows, work.packed, panel, inputs, Hp, work.gates, place
                )
            else:
                product_shared(
                    work.gates, place, Hp, n, rows, Hp, x, s * rows * inputs, inputs, 1,
                    work.packed, panel, inputs * n, n, inputs, True,
                )  # fmt: skip


@kernel(fastmath=STRICT)
def layer_forward(cell, plan, layer, theta, x, ids, lengths, full, work):
    """Walk one layer forward."""
    kept_apart()
    B, T, H, Hp, G, K, n = plan.B, plan.T, plan.H, plan.Hp, plan.G, plan.K, plan.n
    step = B * Hp
    slot, state = T * step, (T + 1) * step
    gates_at, states_at = layer * K * slot, layer * plan.S * state
    input_part(plan, layer, theta, x, ids, states_at - plan.S * state + step, work, gates_at)
    for t in range(T):
        a, s = gates_at + t * step, states_at + t * step
        for gate in range(G):
            k = gate if gate < G - 1 else K - 1
            one = (t if plan.sets > 1 else 0) * G + gate
            product_shared(
                work.gates, a + k * slot, Hp, n, B, Hp, work.states, s, Hp, 1,
                work.packed, plan.packed[layer, 1] + one * H * Hp, H * n, n, H, True,
            )  # fmt: skip
        step_of_cell(cell, step, work.gates, a, slot, work.states, s, s + step, state)
        if not full:
            keep_ended(lengths, t, Hp, plan.S, work.states, s, s + step, state)


@kernel(fastmath=STRICT)
def layer_backward(cell, plan, layer, lengths, full, work):
    """Walk one layer backward from work.dh: gates become da; the initial states' ds0 is set."""
    kept_apart()
    B, T, H, Hp, G, K, n = plan.B, plan.T, plan.H, plan.Hp, plan.G, plan.K, plan.n
    step = B * Hp
    slot, state = T * step, (T + 1) * step
    gates_at, states_at = layer * K * slot, layer * plan.S * state
    new, old = 0, plan.S * step
    work.ds[:] = 0
    for t in range(T - 1, -1, -1):
        a, s = gates_at + t * step, states_at + t * step
        for i in range(0, step, n):
            total = load(work.ds, new + i) + load(work.dh, t * step + i)
            store(work.ds, new + i, total)
        step_back_of_cell(
            cell, step, work.gates, a, slot, work.states, s, s + step, state, work.ds, new, old
        )
        if not full:
            clear_ended(lengths, t, Hp, K, work.gates, a, slot)
        for gate in range(G):
            k = gate if gate < G - 1 else K - 1
            one = (t if plan.sets > 1 else 0) * G + gate
            product_shared(
                work.ds, old, Hp, n, B, Hp, work.gates, a + k * slot, Hp, 1,
                work.packed, plan.packed[layer, 2] + one * H * Hp, H * n, n, H, True,
            )  # fmt: skip
        if not full:
            keep_ended(lengths, t, Hp, plan.S, work.ds, new, old, step)
        new, old = old, new
    for i in range(0, plan.S * step, n):
        store(work.ds0, layer * plan.S * step + i, load(work.ds, new + i))


@kernel(fastmath=STRICT)
def weight_gradients(plan, layer, x, ids, work):
    """dU, dW and db of a layer from its da, summed over the steps that share a set."""
    kept_apart()
    H, Hp, G, K, GH = plan.H, plan.Hp, plan.G, plan.K, plan.G * plan.H
    rows, step = plan.T * plan.B // plan.sets, plan.B * plan.Hp
    slot, state = plan.T * step, (plan.T + 1) * step
    gates_at, states_at = layer * K * slot, layer * plan.S * state
    inputs = plan.D if layer == 0 else H
    below = states_at - plan.S * state + step
    for s in range(plan.sets):
        first = s * rows * Hp
        U = plan.where[layer, 0] + s * inputs * GH
        W = plan.where[layer, 1] + s * H * GH
        if layer == 0 and plan.one_hot:
            work.g[U : U + inputs * GH] = 0
        for gate in range(G):
            k = gate if gate < G - 1 else K - 1
            d, d_h = gates_at + gate * slot + first, gates_at + k * slot + first
            outer(
                work.states, states_at + first, Hp, H, work.gates, d_h, Hp, H, rows,
                work.g, W + gate * H, GH,
            )  # fmt: skip
            start = U + gate * H
            if layer > 0:
                outer(
                    work.states, below + first, Hp, H, work.gates, d, Hp, H, rows,
                    work.g, start, GH,
                )  # fmt: skip
            elif plan.one_hot:
                add_to_rows(ids, s * rows, rows, work.gates, d, Hp, H, work.g, start, GH)
            else:
                outer(
                    x, s * rows * inputs, inputs, inputs, work.gates, d, Hp, H, rows,
                    work.g, start, GH,
                )  # fmt: skip
        b = plan.where[layer, 2]
        for k in range(K):
            if b >= 0:
                d, start = gates_at + k * slot + first, b + (s * K + k) * H
                sum_rows(work.gates, d, Hp, rows, H, work.g, start, False)


@kernel(fastmath=STRICT)
def input_gradient(plan, layer, work, out, inputs, padded, stride):
    """out (T*B rows, `stride` apart) = sum over gates of da U^T."""
    kept_apart()
    H, Hp, G, n = plan.H, plan.Hp, plan.G, plan.n
    rows, slot = plan.T * plan.B // plan.sets, plan.T * plan.B * plan.Hp
    for s in range(plan.sets):
        for gate in range(G):
            panel = plan.packed[layer, 3] + (s * G + gate) * H * padded
            product_shared(
                out, s * rows * stride, stride, n, rows, inputs,
                work.gates, (layer * plan.K + gate) * slot + s * rows * Hp, Hp, 1,
                work.packed, panel, H * n, n, H, gate > 0,
            )  # fmt: skip


@kernel(fastmath=STRICT)
def output_forward(plan, theta, h, work):
    """The output preactivations o from the top layer's h, by equation (22)."""
    kept_apart()
    H, O, n = plan.H, plan.O, plan.n  # noqa: E741
    rows = plan.B if plan.last else plan.T * plan.B // plan.V_sets
    for s in range(plan.V_sets):
        place = s * rows * O
        start = plan.c + s * O if plan.c >= 0 else -1
        fill_rows(theta, start, O, rows, work.o, place, O)
        product_shared(
            work.o, place, O, n, rows, O, work.states, h + s * rows * plan.Hp, plan.Hp, 1,
            work.packed, plan.packed_V + s * H * plan.Op, H * n, n, H, True,
        )  # fmt: skip


@kernel(fastmath=STRICT)
def output_backward(plan, h, work):
    """dV, dc and dh of the top layer from work.do."""
    kept_apart()
    H, Hp, O, n = plan.H, plan.Hp, plan.O, plan.n  # noqa: E741
    rows, first = plan.T * plan.B // plan.V_sets, 0
    if plan.last:
        rows, first = plan.B, (plan.T - 1) * plan.B * Hp
        work.dh[:] = 0
    for s in range(plan.V_sets):
        place = s * rows * O
        outer(
            work.states, h + s * rows * Hp, Hp, H, work.do, place, O, O, rows,
            work.g, plan.V + s * H * O, O,
        )  # fmt: skip
        if plan.c >= 0:
            sum_rows(work.do, place, O, rows, O, work.g, plan.c + s * O, False)
        product_shared(
            work.dh, first + s * rows * Hp, Hp, n, rows, Hp, work.do, place, O, 1,
            work.packed, plan.packed_VT + s * O * Hp, O * n, n, O, False,
        )  # fmt: skip


@kernel(fastmath=STRICT)
def walk(cell, plan, theta, data, own_state, work):
    """One batch forward, judged, and, if `work` has room for a gradient, backward.

    Returns loss, wrong, exact. data: x (T*B*D), ids (T*B), y (T*B*O), classes (T*B), lengths (B) and
    whether all have T steps, T = 1 for y and classes with readout 'last'. work.states holds the
    initial states at step 0; outputs p, states and the gradient are left in `work`. own_state: the
    batch starts from the network's own initial state, so that a trainable one has a gradient.
    """
    x, ids, y, classes, lengths, full = data
    pack_weights(plan, theta, work)
    for layer in range(plan.layers):
        layer_forward(cell, plan, layer, theta, x, ids, lengths, full, work)
    step = plan.B * plan.Hp
    top = (plan.layers - 1) * plan.S * (plan.T + 1) * step
    top += (plan.T if plan.last else 1) * step
    output_forward(plan, theta, top, work)
    judged = judge(plan, y, classes, lengths, work)
    if work.g.size == 0:
        return judged
    output_backward(plan, top, work)
    for layer in range(plan.layers - 1, -1, -1):
        layer_backward(cell, plan, layer, lengths, full, work)
        weight_gradients(plan, layer, x, ids, work)
        for state in range(plan.S):
            place = plan.where[layer, 3 + state]
            if place >= 0:
                rows = plan.B if own_state else 0
                ds0 = (layer * plan.S + state) * step
                sum_rows(work.ds0, ds0, plan.Hp, rows, plan.H, work.g, place, False)
        if layer > 0:
            input_gradient(plan, layer, work, work.dh, plan.Hp, plan.Hp, plan.Hp)
        elif work.dx.size > 0:
            input_gradient(plan, layer, work, work.dx, plan.D, plan.Dp, plan.D)
    return judged
