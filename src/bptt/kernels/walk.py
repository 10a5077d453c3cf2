"""Forward and backward through time, for any cell and layout: `bptt.recurrence`, compiled.

One pass over a batch. What can be done for many steps at once is one product over a segment of them
(inputs, outputs, and every gradient, formed from the segment's deltas after its walk back); inside
the walk are only the recurrent product and the cell's equations.
Products are known by their numbers (`bptt.kernels.program`): nothing here depends on shapes.

A walk through many steps is divided into segments, each small enough for the cache: forward from
the first to the last, all layers of each, and back the same way. Untied weights, a set for each
step, are as many segments of one step. A `span` is the first step of a segment, the first after it,
and which version of the products it has.
"""

from bptt.kernels.compiler import part
from bptt.kernels.products import MODELS
from bptt.kernels.program import (
    DELTAS,
    DS,
    GATES,
    GRADIENT,
    INPUT,
    INPUT_BACK,
    LAYER_PRODUCTS,
    NO_START_GRADIENT,
    OUTPUT,
    OUTPUT_BACK,
    OUTPUT_GRADIENT,
    PARTS,
    RECURRENT,
    RECURRENT_BACK,
    START,
    START_GRADIENT,
    STATES,
    W_BACK,
    W_FORWARD,
)
from bptt.kernels.regimes import (
    add,
    add_row,
    by_kind,
    by_regime,
    copy,
    feed,
    feed_back,
    keep_gates,
    read_gates,
    read_states,
    receive,
    scatter_row,
    step_backward,
    step_forward,
)
from bptt.kernels.simd import constant, get, load, select, store, width, zero
from bptt.kernels.tile import add_product_of_lanes, loads, multiply, stores


@part
def part_of(parts, layer, which):
    """A place of a layer (`bptt.kernels.program.PARTS`)."""
    return get(parts, PARTS * layer + which)


@part
def cell_forward(kind, plan, m, gates, states, a, t, alive):
    """The equations of a vector of cells at a step t, from the preactivations a: gates and the next
    state are written. alive: all these sequences have the step."""
    s = read_states(kind, m, states, plan.plane)
    a, after = step_forward(kind, a, s)
    keep_gates(kind, m, gates, plan.plane, a)
    if alive:
        stores(m, states + plan.state_t, plan.plane, after)
    else:
        keep_states(kind, plan, m, states + plan.state_t, after, s, t)


@part
def cell_backward(kind, plan, m, gates, deltas, states, ds, dh):
    """The same back, dh being all that reaches h besides ds: the derivatives da are written, ds
    moves from after the step to before."""
    plane = plan.plane
    d = receive(kind, read_states(kind, m, ds, plane), dh)
    a, s = read_gates(kind, m, gates, plane), read_states(kind, m, states, plane)
    a, d = step_backward(kind, a, s, read_states(kind, m, states + plan.state_t, plane), d)
    stores(m, deltas, plane, a)
    stores(m, ds, plane, d)


@part
def with_step(m, lengths, t):
    """The mask of the lanes whose sequences have a step t."""
    return load(m, lengths) > constant(zero(m), t)


def _kept_by_row(kind, plan, m, states, after, s, t):
    stores(m, states, plan.plane, s)


def _kept_by_lanes(kind, plan, m, states, after, s, t):
    alive = with_step(m, plan.lengths, t)
    for k in range(plan.S):
        store(m, states + k * plan.plane, select(alive, after[k], s[k]))


# The states after a step t that not every sequence has: those that do not have it keep theirs. (For
# samples `freeze` and `keep_where` do this: they are never asked for it here.)
keep_states = by_regime(_kept_by_row, _kept_by_row, _kept_by_lanes)


def _row_passed_over(kind, plan, m, gates, deltas, states, ds, dh, t):
    d = receive(kind, read_states(kind, m, ds, plan.plane), dh)
    for k in range(plan.K):
        store(m, deltas + k * plan.plane, zero(m))
    stores(m, ds, plan.plane, d)


def _lanes_passed_over(kind, plan, m, gates, deltas, states, ds, dh, t):
    d = receive(kind, read_states(kind, m, ds, plan.plane), dh)
    cell_backward(kind, plan, m, gates, deltas, states, ds, dh)
    nothing, alive = zero(m), with_step(m, plan.lengths, t)
    for k in range(plan.K):
        at = deltas + k * plan.plane
        store(m, at, select(alive, load(m, at), nothing))
    for k in range(plan.S):
        at = ds + k * plan.plane
        store(m, at, select(alive, load(m, at), d[k]))


# Back through a step t that not every sequence has: where a state was handed on, so is its
# derivative.
cell_passed_over = by_regime(_row_passed_over, _row_passed_over, _lanes_passed_over)


@part
def clear(m, place, size):
    """Zero for `size` numbers (up to whole vectors)."""
    nothing = zero(m)
    for i in range(0, size, width(m)):
        store(m, place + i, nothing)


@part
def keep_where(plan, m, lengths, t, values, rest):
    """Move derivatives by states at `values` to `rest` where there is no step t, leaving zero."""
    lanes = width(m)
    nothing = zero(m)
    for j in range(0, plan.S * plan.plane, plan.VV * lanes):
        for v in range(plan.VV):
            i = j + v * lanes
            x, alive = load(m, values + i), with_step(m, lengths + v * plan.length_v, t)
            store(m, values + i, select(alive, x, nothing))
            store(m, rest + i, select(alive, nothing, x))


@part
def freeze(plan, m, lengths, t, before, after):
    """The state of sequences without a step t stays as it was."""
    lanes = width(m)
    for j in range(0, plan.S * plan.plane, plan.VV * lanes):
        for v in range(plan.VV):
            i = j + v * lanes
            alive = with_step(m, lengths + v * plan.length_v, t)
            store(m, after + i, select(alive, load(m, after + i), load(m, before + i)))


@part
def span_of(plan, segment):
    """The span of a segment; see above."""
    end = plan.T - (plan.segments - 1 - segment) * plan.steps
    return max(end - plan.steps, 0), end, min(segment, plan.versions - 1)


@part
def of_layer(plan, layer, product, version):
    """The number of a layer's product."""
    return (layer * LAYER_PRODUCTS + product) * plan.versions + version


@part
def of_head(plan, product, version):
    """The number of a product of the outputs."""
    return (plan.layers * LAYER_PRODUCTS + product) * plan.versions + version


@part
def deltas_from(plan, first):
    """The step whose derivatives da lie first: of all that are kept, or of a segment."""
    return 0 if plan.in_place else first


@part
def recurrent(plan, layer, product, version, t):
    """The number of a recurrent product at step t, where it goes through memory. Every other step
    goes through W the other way round, so that it begins with what the step before has left in the
    nearest cache."""
    return of_layer(plan, layer, product + t % 2, version)


@part
def start_layer(plan, m, program, layer):
    """The states before the first step: h0, or zero."""
    for b in range(plan.outer):
        multiply(m, program, of_layer(plan, layer, START, 0), 0, b)


@part
def input_forward(kind, plan, m, program, parts, layer, span, ids, sample, apart):
    """The preactivations of a segment from the bias and the layer's inputs: b + x U."""
    first, end, version = span
    for b in range(plan.outer):
        multiply(m, program, of_layer(plan, layer, INPUT, version), first, b)
        if plan.one_hot and layer == 0:
            for t in range(first, end):
                to = part_of(parts, 0, GATES) + b * plan.gate_b + t * plan.gate_t
                rows, id_ = plan.table + t * plan.table_t, (sample + b) * plan.T + t
                add_row(kind, plan, m, rows, ids, id_, apart * plan.T, to)


def _row_goes_on(kind, plan, m, t, full):
    return full or get(m, plan.lengths) > t


def _lanes_go_on(kind, plan, m, t, full):
    return full


# Whether the one sequence there is, or all of them, are known to have a step t.
goes_on = by_regime(_row_goes_on, _row_goes_on, _lanes_go_on)


@part
def vectors_forward(kind, plan, m, gates, before, W, done, t, alive):
    """A step of all vectors of units from place `done` of their planes on."""
    lanes = width(m)
    for j in range(done, plan.plane, lanes):
        i = j if t % 2 == 0 else done + plan.plane - lanes - j  # see `recurrent`
        a = feed(kind, plan, m, read_gates(kind, m, gates + i, plan.plane), before, W, i)
        cell_forward(kind, plan, m, gates + i, before + i, a, t, alive)


@part
def fours_forward(kind, plan, m, gates, before, W, done, t, alive):
    """The same of models of a cell with one gate: four units read each h once."""
    lanes, row = width(m), plan.plane
    for i in range(0, row - 3 * lanes, 4 * lanes):
        a = loads(m, gates + i, lanes, 4)
        a = add_product_of_lanes(a, m, before, W + i, lanes, row, plan.H)
        for c in range(4):
            at = i + c * lanes
            cell_forward(kind, plan, m, gates + at, before + at, (a[c],), t, alive)
        done = i + 4 * lanes
    vectors_forward(kind, plan, m, gates, before, W, done, t, alive)


def _advance_of(kind):
    fours = kind.regime == MODELS and kind.cell.gates == 1
    return fours_forward if fours else vectors_forward


advance = by_kind(_advance_of)


@part
def back_at(kind, plan, m, gates, deltas, states, ds, d, i, t, alive):
    """The equations back of the vector at i, d being all that reaches h besides ds."""
    if alive:
        cell_backward(kind, plan, m, gates + i, deltas + i, states + i, ds + i, d)
    else:
        cell_passed_over(kind, plan, m, gates + i, deltas + i, states + i, ds + i, d, t)


@part
def vectors_backward(kind, plan, m, gates, deltas, states, ds, dh, W, done, fed, t, alive):
    """A step back of all vectors of units from place `done` of their planes on. fed: whether the
    step after it has fed back its derivatives."""
    for i in range(done, plan.plane, width(m)):
        d = (load(m, dh + i),)
        if fed:
            d = feed_back(kind, plan, m, d, deltas + plan.gate_t, W, i)
        back_at(kind, plan, m, gates, deltas, states, ds, d[0], i, t, alive)


@part
def fours_backward(kind, plan, m, gates, deltas, states, ds, dh, W, done, fed, t, alive):
    """The same of models: four units read each derivative once."""
    lanes = width(m)
    for i in range(0, plan.plane - 3 * lanes, 4 * lanes):
        d = loads(m, dh + i, lanes, 4)
        if fed:
            d = feed_back(kind, plan, m, d, deltas + plan.gate_t, W, i)
        for c in range(4):
            back_at(kind, plan, m, gates, deltas, states, ds, d[c], i + c * lanes, t, alive)
        done = i + 4 * lanes
    vectors_backward(kind, plan, m, gates, deltas, states, ds, dh, W, done, fed, t, alive)


retreat = by_regime(vectors_backward, vectors_backward, fours_backward)


# A layer's walk where recurrent products are added to what the cell's equations read: their sums
# do not go through memory, whose delay each step would wait for.


@part
def row_forward(kind, plan, m, program, parts, layer, span, full):
    """Forward through a segment."""
    first, end, _ = span
    gates = part_of(parts, layer, GATES) + first * plan.gate_t
    before = part_of(parts, layer, STATES) + first * plan.state_t
    W = part_of(parts, layer, W_FORWARD) + first * plan.W_t
    for t in range(first, end):
        advance(kind, plan, m, gates, before, W, 0, t, goes_on(kind, plan, m, t, full))
        gates, before = gates + plan.gate_t, before + plan.state_t


@part
def row_backward(kind, plan, m, program, parts, layer, span, full, to_start):
    """And back."""
    first, end, version = span
    gates = part_of(parts, layer, GATES) + (end - 1) * plan.gate_t
    deltas = part_of(parts, layer, DELTAS) + (end - 1 - deltas_from(plan, first)) * plan.gate_t
    states = part_of(parts, layer, STATES) + (end - 1) * plan.state_t
    ds, dh = part_of(parts, layer, DS), plan.dh + (end - 1 - first) * plan.plane
    W = part_of(parts, layer, W_BACK)
    for t in range(end - 1, first - 1, -1):
        alive = goes_on(kind, plan, m, t, full)
        retreat(kind, plan, m, gates, deltas, states, ds, dh, W, 0, t < end - 1, t, alive)
        gates, deltas = gates - plan.gate_t, deltas - plan.gate_t
        states, dh = states - plan.state_t, dh - plan.plane
    if first > 0 or to_start:
        number = of_layer(plan, layer, RECURRENT_BACK, version)
        multiply(m, program, number, first - deltas_from(plan, first), 0)


# A layer's walk in general: a recurrent product, then the equations.


@part
def steps_forward(kind, plan, m, program, parts, layer, span, full):
    """Forward through a segment."""
    first, end, version = span
    gates, states = part_of(parts, layer, GATES), part_of(parts, layer, STATES)
    for t in range(first, end):
        multiply(m, program, recurrent(plan, layer, RECURRENT, version, t), t, 0)
        for b in range(plan.outer):
            before = states + b * plan.state_b + t * plan.state_t
            here = gates + b * plan.gate_b + t * plan.gate_t
            for i in range(0, plan.plane, width(m)):
                a = read_gates(kind, m, here + i, plan.plane)
                cell_forward(kind, plan, m, here + i, before + i, a, t, True)
            if not full:
                lengths = plan.lengths + b * plan.length_b
                freeze(plan, m, lengths, t, before, before + plan.state_t)


@part
def steps_backward(kind, plan, m, program, parts, layer, span, full, to_start):
    """And back."""
    first, end, version = span
    gates, states = part_of(parts, layer, GATES), part_of(parts, layer, STATES)
    deltas, origin = part_of(parts, layer, DELTAS), deltas_from(plan, first)
    ds = part_of(parts, layer, DS)
    for t in range(end - 1, first - 1, -1):
        for b in range(plan.outer):
            ds_b, dh = ds + b * plan.state_t, plan.dh + b * plan.dh_b + (t - first) * plan.plane
            if not full:
                lengths = plan.lengths + b * plan.length_b
                held = plan.held + b * plan.state_t
                add(m, ds_b, dh, plan.plane)
                clear(m, dh, plan.plane)
                keep_where(plan, m, lengths, t, ds_b, held)
            here = gates + b * plan.gate_b + t * plan.gate_t
            to = deltas + b * plan.delta_b + (t - origin) * plan.gate_t
            before = states + b * plan.state_b + t * plan.state_t
            for i in range(0, plan.plane, width(m)):
                dh_i = load(m, dh + i)
                cell_backward(kind, plan, m, here + i, to + i, before + i, ds_b + i, dh_i)
        if t > 0 or to_start:
            number = recurrent(plan, layer, RECURRENT_BACK, version, t)
            multiply(m, program, number, t - origin, 0)
        if not full:
            add(m, ds, plan.held, plan.outer * plan.state_t)


def _forward_of_units(kind, plan, m, program, parts, layer, span, full):
    if plan.row_forward:
        row_forward(kind, plan, m, program, parts, layer, span, full)
    else:
        steps_forward(kind, plan, m, program, parts, layer, span, full)


def _backward_of_units(kind, plan, m, program, parts, layer, span, full, to_start):
    if plan.row_backward:
        row_backward(kind, plan, m, program, parts, layer, span, full, to_start)
    else:
        steps_backward(kind, plan, m, program, parts, layer, span, full, to_start)


# One layer's walk through a segment, and back: ds is carried from step to step, and the derivatives
# da are written.
recurrent_forward = by_regime(_forward_of_units, steps_forward, row_forward)
_recurrent_backward = by_regime(_backward_of_units, steps_backward, row_backward)


@part
def recurrent_backward(kind, plan, m, program, parts, layer, span, full, to_start):
    """One layer's walk back through a segment; behind the last step the derivative is zero."""
    if span[1] == plan.T:
        clear(m, part_of(parts, layer, DS), plan.outer * plan.state_t)
    _recurrent_backward(kind, plan, m, program, parts, layer, span, full, to_start)


@part
def layer_gradients(kind, plan, m, program, parts, layer, span, ids, sample, apart, own_state):
    """What a segment adds to the gradients of U, W, b and the initial state, as products
    over steps and samples."""
    first, end, version = span
    multiply(m, program, of_layer(plan, layer, GRADIENT, version), first, 0)
    if first == 0:
        start = START_GRADIENT if own_state else NO_START_GRADIENT
        multiply(m, program, of_layer(plan, layer, start, version), 0, 0)
    if plan.one_hot and layer == 0:
        for b in range(plan.outer):
            for t in range(first, end):
                d = part_of(parts, 0, DELTAS) + b * plan.delta_b
                d += (t - deltas_from(plan, first)) * plan.gate_t
                rows, id_ = plan.table_gradient + t * plan.table_t, (sample + b) * plan.T + t
                scatter_row(kind, plan, m, rows, ids, id_, apart * plan.T, d)


@part
def input_backward(plan, m, program, layer, span):
    """The derivative by the layer's inputs, da U^T: dh of the layer below, or dx."""
    first, _, version = span
    for b in range(plan.outer):
        multiply(m, program, of_layer(plan, layer, INPUT_BACK, version), first, b)


@part
def output_forward(plan, m, program, span):
    """The output preactivations: c + h V, from the top layer's states."""
    first, end, version = span
    if end == plan.T or not plan.last:
        for b in range(plan.outer):
            multiply(m, program, of_head(plan, OUTPUT, version), first, b)


@part
def output_backward(plan, m, program, span):
    """The gradients of V and c, and dh of the top layer."""
    first, end, version = span
    if plan.last:
        clear(m, plan.dh, plan.outer * plan.dh_b)
        if end < plan.T:
            return
    multiply(m, program, of_head(plan, OUTPUT_GRADIENT, version), first, 0)
    for b in range(plan.outer):
        multiply(m, program, of_head(plan, OUTPUT_BACK, version), first, b)


@part
def carry_over(plan, m, parts):
    """The states after the last step become those before the first."""
    for layer in range(plan.layers):
        for b in range(plan.outer):
            state = part_of(parts, layer, STATES) + b * plan.state_b
            copy(m, state, m, state + plan.T * plan.state_t, plan.state_t)
