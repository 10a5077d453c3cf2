"""The training loop: N iterations in one call, without returning to Python.

The same function, with bases of its work left out, is the forward pass, the gradient, and the
update alone (for a batch whose shards were walked by several threads), so that one compilation
serves all.
"""

from functools import cache
from typing import Any

from numba import types

from bptt.equations.optimizers import COEFFICIENTS, OWN_AHEAD, RULES, Rule, look_ahead
from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.denormals import denormals_as, denormals_to_zero
from bptt.kernels.machine.processor import TILE_ROWS
from bptt.kernels.machine.simd import (
    any_true,
    broadcast,
    constant,
    get,
    load,
    load_part,
    put,
    select,
    store,
    store_part,
    width,
    zero,
)
from bptt.kernels.machine.transposes import transpose
from bptt.kernels.machine.vectors import call_address, operation
from bptt.kernels.walk.disturb import disturb
from bptt.kernels.walk.judge import judge, predict, turn_back, turn_outputs, weigh_cases
from bptt.kernels.walk.matrices import COPY, PADDED, PANELS, ROWS, TURNED
from bptt.kernels.walk.noise import mask_backward, mask_forward, mask_inputs_backward
from bptt.kernels.walk.regimes import (
    by_kind,
    coefficient,
    copy,
    put_result,
    root_of_total,
    transfer,
)
from bptt.kernels.walk.signature import (
    ASSESS,
    BACKWARD,
    BEGIN,
    DISTURB,
    FORWARD,
    JUDGE,
    PREPARE,
    RESULTS,
    UPDATE,
    UPDATES,
)
from bptt.kernels.walk.steps import (
    carry_over,
    clear,
    clear_own,
    input_backward,
    input_forward,
    layer_gradients,
    layers_of,
    output_backward,
    output_forward,
    recurrent_backward,
    recurrent_forward,
    skip_backward,
    span_of,
    start_layer,
)

# The numbers of the rules that look ahead.
LOOK_AHEAD = (OWN_AHEAD, *(rule.code for rule in RULES.values() if rule.looks_ahead))


@part
def prepare(kind, plan, rule, m, k, row):
    """What happens before the gradient is taken."""
    if rule in LOOK_AHEAD:
        ks = coefficients(kind, k, m, row)
        for i in range(0, plan.size, width(m)):
            count = min(plan.size - i, width(m))
            theta, s0 = load_part(m, plan.theta + i, count), load_part(m, plan.s0 + i, count)
            theta, s0 = _look_ahead(theta, s0, ks)
            store_part(m, plan.theta + i, theta, count)
            store_part(m, plan.s0 + i, s0, count)


@part
def coefficients(kind, k, m, row):
    """The numbers of an iteration, as vectors."""
    at = COEFFICIENTS * row
    return (
        coefficient(kind, k, m, at), coefficient(kind, k, m, at + 1),
        coefficient(kind, k, m, at + 2), coefficient(kind, k, m, at + 3),
        coefficient(kind, k, m, at + 4), coefficient(kind, k, m, at + 5),
        coefficient(kind, k, m, at + 6), coefficient(kind, k, m, at + 7),
    )  # fmt: skip


_look_ahead = part(look_ahead)


@part
def squares_of(plan, m, factor):
    """The sum of the squares of the gradient times a factor, in every lane its own."""
    even, odd = zero(m), zero(m)
    for i in range(0, plan.size, 2 * width(m)):
        g0, g1 = load(m, plan.g + i) * factor, load(m, plan.g + i + width(m)) * factor
        even, odd = even + g0 * g0, odd + g1 * g1
    return even + odd


@part
def norm_of(kind, plan, m, squares):
    """The Euclidean norm of the gradient, given the sums of its squares; where these would
    overflow, from smaller numbers."""
    norm, large = root_of_total(kind, squares), constant(squares, 1e18)
    if any_true(norm > large):
        squares = squares_of(plan, m, constant(norm, 2.0**-60))
        smaller = root_of_total(kind, squares) * constant(norm, 2.0**60)
        norm = select(norm > large, smaller, norm)
    return norm


@part
def clip(kind, plan, m, clip_value, clip_norm):
    """`bptt.equations.optimizers.clip`: by value, then by norm; returns the norm before."""
    one = constant(zero(m), 1.0)
    norm = norm_of(kind, plan, m, squares_of(plan, m, one))
    clipped = norm
    if clip_value < 1e300:
        limit = constant(norm, clip_value)
        for i in range(0, plan.size, width(m)):
            g = load(m, plan.g + i)
            g = select(g > limit, limit, g)
            store(m, plan.g + i, select(g < -limit, -limit, g))
        clipped = norm_of(kind, plan, m, squares_of(plan, m, one))
    if clip_norm < 1e300:
        limit = constant(norm, clip_norm)
        factor = select(clipped > limit, limit / clipped, one)
        for i in range(0, plan.size, width(m)):
            store(m, plan.g + i, load(m, plan.g + i) * factor)
    return norm


@part
def _load_whole(m, place, count):
    return load(m, place)


@part
def _store_whole(m, place, v, count):
    store(m, place, v)


@cache
def updater(of: Rule) -> Any:
    """The update of every parameter by a rule; only the states that the rule keeps are there."""
    rule, kept = part(of.update), of.states
    s0_kept, s1_kept = "s0" in kept, "s1" in kept

    def on_vector(read: Any, write: Any) -> Any:
        @part
        def update_vector(plan, m, ks, i, count):  # gives the squares of the gradient
            theta, g = read(m, plan.theta + i, count), read(m, plan.g + i, count)
            s0 = read(m, plan.s0 + i, count) if s0_kept else g
            s1 = read(m, plan.s1 + i, count) if s1_kept else g
            theta, s0, s1 = rule(theta, g, s0, s1, ks)
            write(m, plan.theta + i, theta, count)
            if s0_kept:
                write(m, plan.s0 + i, s0, count)
            if s1_kept:
                write(m, plan.s1 + i, s1, count)
            return g * g

        return update_vector

    update_whole = on_vector(_load_whole, _store_whole)
    update_some = on_vector(load_part, store_part)

    # number: what `update` finds this by
    @part
    def update_all(kind, plan, number, clip_value, clip_norm, m, k, row, apart, results):
        norm, clips = zero(m), clip_value < 1e300 or clip_norm < 1e300
        if clips:
            norm = clip(kind, plan, m, clip_value, clip_norm)
        ks = coefficients(kind, k, m, row)
        # Two sums, which do not wait for each other.
        even, odd, lanes = zero(m), zero(m), width(m)
        pairs = plan.size // (2 * lanes) * 2 * lanes
        for i in range(0, pairs, 2 * lanes):
            even = even + update_whole(plan, m, ks, i, lanes)
            odd = odd + update_whole(plan, m, ks, i + lanes, lanes)
        left = plan.size - pairs  # borrowed arrays end anywhere
        if left > 0:
            even = even + update_some(plan, m, ks, pairs, min(left, lanes))
        if left > lanes:
            odd = odd + update_some(plan, m, ks, pairs + lanes, left - lanes)
        if not clips:
            norm = norm_of(kind, plan, m, even + odd)
        put_result(kind, plan, m, results, RESULTS * row + 3, apart, norm)

    return update_all


# By the numbers of the rules.
RULE_OF = {rule.code: rule for rule in RULES.values()}


def update(
    kind: Any, plan: Any, rule: int, clip_value: float, clip_norm: float, m: Any, k: Any, row: int,
    apart: int, results: Any,
) -> None:  # fmt: skip
    """The update of every parameter by the rule of that number, with the compiler off; compiled,
    the rule's own function is called."""
    of = RULE_OF[rule] if kind.rule is None else kind.rule
    updater(of)(kind, plan, rule, clip_value, clip_norm, m, k, row, apart, results)


@part
def copy_rows(m, source, stride, rows, columns, target, target_stride):
    """A matrix whose rows are further apart, and padded to whole vectors."""
    lanes = width(m)
    if columns <= lanes:  # by far the most of them; their mask is one
        for r in range(rows):
            store(m, target + r * target_stride, load_part(m, source + r * stride, columns))
        return
    for r in range(rows):
        copy(m, target + r * target_stride, m, source + r * stride, columns)


@part
def pack(m, source, stride, rows, columns, target):
    """A matrix in panels of TILE_ROWS columns: a vector of a row after the other, so that its
    panels are written in order."""
    wide, count = max(width(m), TILE_ROWS), min(width(m), TILE_ROWS)
    for first in range(0, columns, wide):
        for r in range(rows):
            for c in range(first, min(first + wide, columns), count):
                at = c % TILE_ROWS
                place = target + (c - at) * rows + r * TILE_ROWS + at
                store_part(m, place, load_part(m, source + r * stride + c, count), count)


@part
def copy_weights(plan, m, copies):
    """The weights in the other orders that the walk wants them in."""
    for i in range(plan.copies):
        at = i * COPY
        order, source, stride = get(copies, at), get(copies, at + 1), get(copies, at + 2)
        rows, columns = get(copies, at + 3), get(copies, at + 4)
        target, target_stride = get(copies, at + 5), get(copies, at + 6)
        if order == ROWS:
            copy_rows(m, source, stride, rows, columns, target, target_stride)
        elif order == TURNED:
            transpose(m, source, stride, rows, columns, m, target, target_stride)
        elif order == PANELS:
            pack(m, source, stride, rows, columns, target)
        elif order == PADDED:
            copy(m, target, m, source, columns)
            for i in range(columns, target_stride):
                put(m, target + i, get(m, source + columns - 1))
        else:
            for r in range(rows):
                store(m, target + r * width(m), broadcast(m, source + r * stride))


# What has nothing to do with the cell is compiled by itself, once for all cells, and called by its
# address.


@part
def begin(
    kind, plan, rule, work, m, copies, k, n, x, y, given, full, lengths, weights, weighted, scale,
    sample, apart,
):  # fmt: skip
    """Before the walk: look ahead, copies of the weights, the data, the weights of the cases."""
    if work & PREPARE:
        prepare(kind, plan, rule, m, k, n)
        copy_weights(plan, m, copies)
    if work & FORWARD:
        transfer(kind, plan, m, x, y, given, sample, apart)
        if (work & JUDGE and (n == 0 or weighted)) or not full:
            weigh_cases(plan, m, lengths, weights, weighted, scale, n, sample, apart)


@part
def assess(kind, plan, work, m, classes, sample, apart, results, n):
    """Between the ways: outputs, and losses and their derivatives."""
    turn_outputs(plan, m)
    if work & JUDGE:
        judge(kind, plan, m, classes, sample, apart, results, RESULTS * n)
        turn_back(plan, m)
    else:
        predict(kind, plan, m)


# In the order of their names in `bptt.kernels.walk.signature`.
FUNCTIONS = (begin, assess, update, disturb)


def _define_call(_: Any, address: Any, which: Any, arguments: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = [builder.extract_value(args[2], i) for i in range(len(arguments.types))]
        call_address(builder, args[0], values)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, arguments), generate


@operation(_define_call)
def call_routine(address: int, which: int, arguments: tuple[Any, ...]) -> None:
    """Call the routine at an address; `which` is its place in the table."""
    FUNCTIONS[which](*arguments)


def _disturb_by_address(kind, regime, codes, plan, m, bases, chances, n):
    call_routine(get(codes, DISTURB), DISTURB, (regime, plan, m, bases, chances, n))


# Random numbers, where there are any.
disturb_walk = by_kind(
    lambda kind: (
        _disturb_by_address
        if kind.disturbed
        else lambda kind, regime, codes, plan, m, bases, chances, n: None
    )
)


@part
def walk_forward(kind, plan, m, program, bases, ids, sample, apart, full, own_state):
    """All layers and the outputs, stage by stage, through all segments of each."""
    for stage in range(plan.stages):
        begin_layer, end_layer = layers_of(plan, stage)
        for segment in range(plan.segments):
            span = span_of(plan, segment)
            for layer in range(begin_layer, end_layer):
                if own_state and segment == 0:
                    start_layer(plan, m, program, layer)
                input_forward(kind, plan, m, program, bases, layer, span, ids, sample, apart)
                recurrent_forward(kind, plan, m, program, bases, layer, span, full)
                mask_forward(kind, plan, m, bases, layer, span)
            if stage == plan.stages - 1:
                output_forward(plan, m, program, span)


@part
def walk_backward(kind, plan, m, program, bases, ids, sample, apart, full, own_state):
    """And back, the other way round."""
    to_start = plan.trainable or plan.to_start
    for stage in range(plan.stages - 1, -1, -1):
        begin_layer, end_layer = layers_of(plan, stage)
        for segment in range(plan.segments - 1, -1, -1):
            span = span_of(plan, segment)
            if stage == plan.stages - 1:
                output_backward(plan, m, program, bases, span)
            for layer in range(end_layer - 1, begin_layer - 1, -1):
                mask_backward(kind, plan, m, bases, layer, span)
                recurrent_backward(kind, plan, m, program, bases, layer, span, full, to_start)
                layer_gradients(
                    kind, plan, m, program, bases, layer, span, ids, sample, apart, own_state
                )
                if layer > plan.both or plan.want_dx:
                    input_backward(plan, m, program, layer, span)
                    mask_inputs_backward(kind, plan, m, layer, span)
            if plan.want_dx and stage == 0:
                skip_backward(plan, m, program, span)


def train(
    kind, regime, codes, plan, work, m, program, bases, copies, rule, clip_value, clip_norm, k,
    count, x, ids, y, given, classes, lengths, full, weights, weighted, scale, apart, chances,
    reset, carry, results,
):  # fmt: skip
    """`count` iterations; see `bptt.kernels.walk.signature`."""
    before = denormals_to_zero()
    for n in range(count):
        sample = n if plan.lane else n * plan.B
        call_routine(
            get(codes, BEGIN), BEGIN,
            (regime, plan, rule, work, m, copies, k, n, x, y, given, full, lengths, weights,
             weighted, scale, sample, apart),
        )  # fmt: skip
        own_state = not carry or get(reset, n) != 0
        if work & FORWARD:
            disturb_walk(kind, regime, codes, plan, m, bases, chances, n)
            walk_forward(kind, plan, m, program, bases, ids, sample, apart, full, own_state)
            call_routine(
                get(codes, ASSESS), ASSESS,
                (regime, plan, work, m, classes, sample, apart, results, n),
            )  # fmt: skip
        if work & BACKWARD:
            clear(m, plan.clear, plan.cleared)
            clear_own(kind, plan, m)
            walk_backward(kind, plan, m, program, bases, ids, sample, apart, full, own_state)
        if work & UPDATE:
            call_routine(
                get(codes, UPDATES), UPDATES,
                (regime, plan, rule, clip_value, clip_norm, m, k, n, apart, results),
            )  # fmt: skip
        if carry and work & BACKWARD:
            carry_over(plan, m, bases)
    denormals_as(before)
