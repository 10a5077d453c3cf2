"""Forward and backward through time, for any cell and regime: `bptt.network.recurrence`,
compiled.

One pass over a batch. What can be done for many steps at once is one product over a segment of them
(inputs, outputs, and every gradient, formed from the segment's deltas after its walk back); inside
the walk are only the recurrent product and the cell's equations.
Products are known by their numbers (`bptt.kernels.walk.program`): nothing here depends on shapes.

A walk through many steps is divided into segments, each small enough for the cache: forward from
the first to the last, all layers of each, and back the same way. Untied weights, a set for each
step, are as many segments of one step. A `span` is the first step of a segment, the first after it,
and which version of the products it has.
"""

from typing import Any

from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import get, load, store, width, zero
from bptt.kernels.machine.tile import add_product, loads, multiply, stores
from bptt.kernels.walk.lengths import (
    counted,
    freeze,
    has_step,
    hold,
    is_over,
    lengths_of,
    reverse_of,
    step_of_batch,
)
from bptt.kernels.walk.noise import add_noise, take_noise
from bptt.kernels.walk.products import MODELS, SAMPLES, UNITS
from bptt.kernels.walk.program import (
    BASES,
    DELTAS,
    DH,
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
    OWN,
    OWN_GRADIENT,
    RECURRENT,
    RECURRENT_BACK,
    SKIP_BACK,
    START,
    START_GRADIENT,
    STATES,
    W_BACK,
    W_FORWARD,
)
from bptt.kernels.walk.regimes import (
    add,
    add_derivatives,
    add_row,
    by_kind,
    copy,
    feed,
    feed_back,
    feed_step,
    keep_gates,
    read_gates,
    read_parameters,
    read_states,
    receive,
    scatter_row,
    step_backward,
    step_forward,
)


@part
def base_of(bases, layer, which):
    """A place of a layer (`bptt.kernels.walk.program.BASES`)."""
    return get(bases, BASES * layer + which)


@part
def cell_forward(kind, plan, m, gates, states, own, a):
    """The equations of a vector of cells, from the preactivations a: gates and the next state are
    written. own: where its own parameters are."""
    s, p = read_states(kind, m, states, plan.plane), read_parameters(kind, plan, m, own)
    a, after = step_forward(kind, a, s, p)
    keep_gates(kind, m, gates, plan.plane, a)
    after = add_noise(kind, plan, m, states + plan.state_t, after)
    stores(m, states + plan.state_t, plan.plane, after)


@part
def cell_backward(kind, plan, m, gates, deltas, states, ds, own, dh):
    """The same back, dh being all that reaches h besides ds: the derivatives da are written, ds
    moves from after the step to before, and those by its own parameters are added up."""
    plane = plan.plane
    d = receive(kind, read_states(kind, m, ds, plane), dh)
    a, s = read_gates(kind, m, gates, plane), read_states(kind, m, states, plane)
    after, p = (
        read_states(kind, m, states + plan.state_t, plane),
        read_parameters(kind, plan, m, own),
    )
    after = take_noise(kind, plan, m, states + plan.state_t, after)
    a, d, dp = step_backward(kind, a, s, after, d, p)
    stores(m, deltas, plane, a)
    stores(m, ds, plane, d)
    add_derivatives(kind, plan, m, own + plan.own_sums, dp)


@part
def clear(m, place, size):
    """Zero for `size` numbers (up to whole vectors)."""
    nothing = zero(m)
    for i in range(0, size, width(m)):
        store(m, place + i, nothing)


@part
def span_of(plan, segment):
    """The span of a segment; see above."""
    end = plan.T - (plan.segments - 1 - segment) * plan.steps
    return max(end - plan.steps, 0), end, min(segment, plan.versions - 1)


@part
def layers_of(plan, stage):
    """The first layer of a stage, and the first after it."""
    first = stage * plan.stage_layers
    return first, min(first + plan.stage_layers, plan.layers)


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
    return 0 if plan.all_deltas else first


@part
def above_from(plan, first):
    """The step whose derivatives dh from above lie first, likewise."""
    return 0 if plan.whole else first


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
def input_forward(kind, plan, m, program, bases, layer, span, ids, sample, apart):
    """The preactivations of a segment from the bias and the layer's inputs: b + x U."""
    first, end, version = span
    for b in range(plan.outer):
        multiply(m, program, of_layer(plan, layer, INPUT, version), first, b)
        if plan.one_hot and layer <= plan.both:
            reverse = reverse_of(plan, layer)
            for t in range(first, end):
                to = base_of(bases, layer, GATES) + b * plan.gate_b + t * plan.gate_t
                at = step_of_batch(plan, reverse, t)
                rows = plan.table + reverse * plan.table_apart + at * plan.table_t
                id_ = (sample + b) * plan.T + at
                add_row(kind, plan, m, rows, ids, id_, apart * plan.T, to)


# The equations of a step, of all rows of values, forward after the recurrent product, back before
# it. What short products add is kept in registers between product and equations, where each step
# would wait for the delay of memory: forward of a row of units that is one vector (by itself, for
# the compiler makes faster code of it than of a loop), back of short rows and of models, of which
# four units read each derivative once.


def _cells_forward(kind, plan, m, gates, before, own, W):  # products added
    for i in range(0, plan.plane, width(m)):
        a = read_gates(kind, m, gates + i, plan.plane)
        cell_forward(kind, plan, m, gates + i, before + i, own + i, a)


_row_of_cells = part(_cells_forward)


def _units_forward(kind, plan, m, gates, before, own, W):
    if plan.one_vector:
        a = feed(kind, plan, m, read_gates(kind, m, gates, plan.plane), before, W, 0)
        cell_forward(kind, plan, m, gates, before, own, a)
        return
    for b in range(0 if plan.two_vectors else plan.outer):
        _row_of_cells(kind, plan, m, gates + b * plan.gate_b, before + b * plan.state_b, own, W)
    if plan.two_vectors:
        _two_forward(kind, plan, m, gates, before, own, W)


def _pair_forward(kind, plan, m, gates, before, own, W):  # two vectors, which read each h once
    lanes = width(m)
    a = add_product(loads(m, gates, lanes, 2), m, before, W, lanes, plan.Hw, plan.H)
    cell_forward(kind, plan, m, gates, before, own, a[:1])
    cell_forward(kind, plan, m, gates + lanes, before + lanes, own + lanes, a[1:])


_two_forward = by_kind(
    lambda kind: _pair_forward if len(kind.cell.preactivations) == 1 else _cells_forward
)


def _units_of_samples_forward(kind, plan, m, gates, before, own, W):
    lanes = width(m)
    for unit in range(plan.H):
        for i in range(unit * plan.Bp, unit * plan.Bp + plan.Bp, lanes):
            a = read_gates(kind, m, gates + i, plan.plane)
            cell_forward(kind, plan, m, gates + i, before + i, own + unit * lanes, a)


def _rows_forward_of(kind: Any) -> Any:
    samples = _units_of_samples_forward if kind.cell.parameters else _cells_forward
    return {UNITS: _units_forward, SAMPLES: samples, MODELS: _cells_forward}[kind.regime]


rows_forward = by_kind(_rows_forward_of)


def _backward_of_some(count: int) -> Any:
    """Back, from place `done` of the planes on, so many vectors at a time, which read each
    derivative once; gives where the rest begins. fed: what the derivatives of the step after it add
    has still to be added."""

    @part
    def some(kind, plan, m, gates, deltas, before, ds, dh, own, W, done, fed):
        lanes = width(m)
        while done + count * lanes <= plan.plane:
            d = loads(m, dh + done, lanes, count)
            if fed:
                d = feed_back(kind, plan, m, d, deltas + plan.gate_t, W, done)
            for c in range(count):
                at = done + c * lanes
                to = deltas + at
                cell_backward(kind, plan, m, gates + at, to, before + at, ds + at, own + at, d[c])
            done += count * lanes
        return done

    return some


_backward, _pairs_backward, _fours_backward = (_backward_of_some(count) for count in (1, 2, 4))


def _units_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, fed):
    if plan.one_vector:
        d = (load(m, dh),)
        if fed:
            d = feed_back(kind, plan, m, d, deltas + plan.gate_t, W, 0)
        cell_backward(kind, plan, m, gates, deltas, before, ds, own, d[0])
        return
    if plan.two_back:
        _pairs_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, 0, fed)
        return
    for b in range(plan.outer):
        _backward(
            kind, plan, m, gates + b * plan.gate_b, deltas + b * plan.delta_b,
            before + b * plan.state_b, ds + b * plan.state_t, dh + b * plan.dh_b, own, W, 0,
            fed,
        )  # fmt: skip


def _samples_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, fed):
    for i in range(0, plan.plane, width(m)):
        d = load(m, dh + i)
        cell_backward(kind, plan, m, gates + i, deltas + i, before + i, ds + i, own, d)


def _units_of_samples_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, fed):
    lanes = width(m)
    for unit in range(plan.H):
        at = own + unit * lanes
        for i in range(unit * plan.Bp, unit * plan.Bp + plan.Bp, lanes):
            d = load(m, dh + i)
            cell_backward(kind, plan, m, gates + i, deltas + i, before + i, ds + i, at, d)


def _models_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, fed):
    done = _fours_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, 0, fed)
    done = _pairs_backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, done, fed)
    _backward(kind, plan, m, gates, deltas, before, ds, dh, own, W, done, fed)


def _rows_backward_of(kind: Any) -> Any:
    samples = _units_of_samples_backward if kind.cell.parameters else _samples_backward
    table = {UNITS: _units_backward, SAMPLES: samples, MODELS: _models_backward}
    return table[kind.regime]


rows_backward = by_kind(_rows_backward_of)


# The cell's own parameters: sums of derivatives begin with zero, and are added up over the units
# and samples that share a parameter.


def _clear_own(kind, plan, m):
    clear(m, plan.own_clear, plan.own_cleared)


def _own_gradient(kind, plan, m, program, layer, version):
    multiply(m, program, of_layer(plan, layer, OWN_GRADIENT, version), 0, 0)


clear_own = by_kind(lambda kind: _clear_own if kind.cell.trained else lambda kind, plan, m: None)
own_gradient = by_kind(
    lambda kind: (
        _own_gradient if kind.cell.trained else lambda kind, plan, m, program, layer, version: None
    )
)


@part
def recurrent_forward(kind, plan, m, program, bases, layer, span, full):
    """One layer's walk through a segment."""
    first, end, version = span
    gates, states = base_of(bases, layer, GATES), base_of(bases, layer, STATES)
    reverse = reverse_of(plan, layer)
    W = base_of(bases, layer, W_FORWARD) + counted(reverse, first) * plan.W_t
    own, all_lengths = base_of(bases, layer, OWN), lengths_of(plan, reverse)
    for t in range(first, end):
        here, before, at = gates + t * plan.gate_t, states + t * plan.state_t, counted(reverse, t)
        if not full and is_over(kind, plan, m, all_lengths, at):
            for b in range(plan.outer):
                row = before + b * plan.state_b
                copy(m, row + plan.state_t, m, row, plan.state_t)
            continue
        if not (plan.one_vector or plan.two_vectors):
            number = recurrent(plan, layer, RECURRENT, version, t)
            feed_step(kind, plan, m, program, number, here, before, W, t)
        rows_forward(kind, plan, m, here, before, own, W)
        for b in range(0 if full else plan.outer):
            lengths, row = all_lengths + b * plan.length_b, before + b * plan.state_b
            if not has_step(kind, m, lengths, at):
                freeze(plan, m, lengths, at, row, row + plan.state_t)


@part
def recurrent_backward(kind, plan, m, program, bases, layer, span, full, to_start):
    """And back: ds is carried from step to step, and the derivatives da are written. Behind the
    last step the derivative is zero; where a state was handed on, so is its derivative."""
    first, end, version = span
    gates, states = base_of(bases, layer, GATES), base_of(bases, layer, STATES)
    deltas, origin = base_of(bases, layer, DELTAS), deltas_from(plan, first)
    lowest = above_from(plan, first)
    ds, above = base_of(bases, layer, DS), base_of(bases, layer, DH)
    reverse = reverse_of(plan, layer)
    W = base_of(bases, layer, W_BACK) + counted(reverse, first) * plan.W_t
    own, all_lengths = base_of(bases, layer, OWN), lengths_of(plan, reverse)
    if end == plan.T:
        clear(m, ds, plan.outer * plan.state_t)
    # What short products add to ds waits for the step before. Not where that may be one that a
    # sequence does not have, though it has this one: ds is then put aside whole.
    waits = plan.short_back and (full or reverse == 0)
    for t in range(end - 1, first - 1, -1):
        dh = above + (t - lowest) * plan.dh_t
        to, at = deltas + (t - origin) * plan.gate_t, counted(reverse, t)
        if not full and is_over(kind, plan, m, all_lengths, at):
            for b in range(plan.outer):
                add(m, ds + b * plan.state_t, dh + b * plan.dh_b, plan.plane)
                clear(m, to + b * plan.delta_b, plan.gate_t)
            continue
        for b in range(0 if full else plan.outer):
            lengths, row = all_lengths + b * plan.length_b, b * plan.state_t
            if not has_step(kind, m, lengths, at):
                hold(plan, m, lengths, at, ds + row, dh + b * plan.dh_b, plan.held + row)
        here, before = gates + t * plan.gate_t, states + t * plan.state_t
        fed = waits and t < end - 1
        rows_backward(kind, plan, m, here, to, before, ds, dh, own, W, fed)
        if (t > 0 or to_start) and (t == first or not waits):
            number = recurrent(plan, layer, RECURRENT_BACK, version, t)
            multiply(m, program, number, t - origin, 0)
        for b in range(0 if full else plan.outer):
            row = b * plan.state_t
            if not has_step(kind, m, all_lengths + b * plan.length_b, at):
                add(m, ds + row, plan.held + row, plan.state_t)


@part
def layer_gradients(kind, plan, m, program, bases, layer, span, ids, sample, apart, own_state):
    """What a segment adds to the gradients of U, W, b and the initial state, as products
    over steps and samples."""
    first, end, version = span
    multiply(m, program, of_layer(plan, layer, GRADIENT, version), first, 0)
    if first == 0:
        start = START_GRADIENT if own_state else NO_START_GRADIENT
        multiply(m, program, of_layer(plan, layer, start, version), 0, 0)
        own_gradient(kind, plan, m, program, layer, version)
    if plan.one_hot and layer <= plan.both:
        reverse = reverse_of(plan, layer)
        for b in range(plan.outer):
            for t in range(first, end):
                d = base_of(bases, layer, DELTAS) + b * plan.delta_b
                d += (t - deltas_from(plan, first)) * plan.gate_t
                at = step_of_batch(plan, reverse, t)
                rows = plan.table_gradient + reverse * plan.table_apart + at * plan.table_t
                id_ = (sample + b) * plan.T + at
                scatter_row(kind, plan, m, rows, ids, id_, apart * plan.T, d)


@part
def input_backward(plan, m, program, layer, span):
    """The derivative by the layer's inputs, da U^T: dh of the layer below, or dx."""
    first, _, version = span
    for b in range(plan.outer):
        multiply(m, program, of_layer(plan, layer, INPUT_BACK, version), first, b)


@part
def skip_backward(plan, m, program, span):
    """What inputs that are added to the outputs add to their derivative, of a segment."""
    first, _, version = span
    for b in range(plan.outer):
        multiply(m, program, of_head(plan, SKIP_BACK, version), first, b)


@part
def output_forward(plan, m, program, span):
    """The output preactivations: c + h V, from the top layer's states."""
    first, end, version = span
    if end == plan.T or not plan.last:
        for b in range(plan.outer):
            multiply(m, program, of_head(plan, OUTPUT, version), first, b)


@part
def output_backward(plan, m, program, bases, span):
    """The gradients of V and c, and dh of the top layer."""
    first, end, version = span
    if plan.last:
        if end == plan.T or not plan.whole:
            for layer in range(plan.layers - 1 - plan.both, plan.layers):
                clear(m, base_of(bases, layer, DH), plan.outer * plan.dh_b)
        if end < plan.T:
            return
    multiply(m, program, of_head(plan, OUTPUT_GRADIENT, version), first, 0)
    for b in range(plan.outer):
        multiply(m, program, of_head(plan, OUTPUT_BACK, version), first, b)


@part
def carry_over(plan, m, bases):
    """The states after the last step become those before the first."""
    for layer in range(plan.layers):
        for b in range(plan.outer):
            state = base_of(bases, layer, STATES) + b * plan.state_b
            copy(m, state, m, state + plan.T * plan.state_t, plan.state_t)
