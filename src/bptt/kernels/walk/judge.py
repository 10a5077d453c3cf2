"""Outputs and losses of a batch, and the count of wrong outputs:
`bptt.network.recurrence.judge`, compiled.

Cases (a sample at a step) are in the lanes, outputs of a case lie Cp apart. The elementwise outputs
are the equations of `bptt.equations.outputs`; softmax, which couples the outputs of a case, is
written out here, equation (26).
"""

from typing import Any

from bptt.equations.functions import exp, log
from bptt.equations.outputs import (
    linear_absolute,
    linear_huber,
    linear_pinball,
    linear_squared,
    sigmoid_cross_entropy,
    sigmoid_squared,
)
from bptt.kernels.machine import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import constant, get, load, put, select, store, width, zero
from bptt.kernels.machine.transposes import transpose
from bptt.kernels.walk.regimes import Kind, by_kind, put_result, total

_linear, _sigmoid = part(linear_squared), part(sigmoid_cross_entropy)
_sigmoid_squared = part(sigmoid_squared)
_absolute, _huber, _pinball = part(linear_absolute), part(linear_huber), part(linear_pinball)


def _built_in_output(kind, plan, value, target, level):
    if plan.output == 0:
        return _linear(value, target)
    if plan.output == 1:
        return _sigmoid(value, target)
    if plan.output == 2:
        return _sigmoid_squared(value, target)
    if plan.output == 4:
        return _absolute(value, target)
    if plan.output == 5:
        return _huber(value, target)
    return _pinball(value, target, level)


def _output(kind: Kind) -> Any:
    if kind.output is None:
        return _built_in_output
    equation = part(kind.output.equation)
    return lambda kind, plan, value, target, level: equation(value, target)


# An elementwise output of a value, its loss, and the derivative of that by the value; level: of the
# quantile that the output is, where it is one.
output_of = by_kind(_output)


@part
def weigh_cases(plan, m, lengths, weights, weighted, scale, n, sample, apart):
    """What each case counts in the loss of iteration n (0 for those that do not), equation (35),
    and the lengths."""
    lanes_of = 1 if plan.length_b == 0 else width(m)
    for b in range(plan.B):
        length = get(lengths, sample + b * apart)
        for lane in range(lanes_of):
            at = plan.lengths + b * lanes_of + lane
            put(m, at, length)
            if plan.both:
                put(m, at + plan.lengths_apart, length - (plan.T - 1))
    for b in range(plan.B):
        length = get(lengths, sample + b * apart)
        factor = get(scale, n + b * apart if plan.lane else n)
        for t in range(plan.R):
            weight = factor
            if weighted:
                weight *= get(weights, (sample + b * apart) * plan.R + t)
            counts = plan.last or t < length
            place = plan.case_weights + b * plan.case_b + t * plan.case_t
            put(m, place, weight if counts else 0.0)


@part
def _elementwise(kind, plan, m, at, y, weight, alive):
    """One vector of cases: derivatives take the place of the preactivations. Returns losses and how
    many are wrong."""
    nothing = zero(m)
    one, loss, wrong = constant(nothing, 1.0), nothing, nothing
    threshold = constant(nothing, plan.threshold)
    for k in range(plan.O):
        i = k * plan.Cp
        value, target = load(m, at + i), load(m, y + i)
        level = constant(nothing, get(m, plan.levels + k))
        _, each, d = output_of(kind, plan, value, target, level)
        store(m, at + i, select(alive, d * weight, nothing))
        said = select(value > threshold, one, nothing)
        wanted = select(target > 0.5, one, nothing)
        wrong = wrong + select(said == wanted, nothing, one)
        loss = loss + each
    return loss, wrong


@part
def _exponentials(plan, m, at, p):
    """e^o of the outputs o of one vector of cases into p, o less the largest. Returns the largest
    output, which one that is, and the sum."""
    nothing = zero(m)
    largest, best = load(m, at), nothing
    for k in range(1, plan.O):
        value = load(m, at + k * plan.Cp)
        best = select(value > largest, constant(nothing, k), best)
        largest = select(value > largest, value, largest)
    s = nothing
    for k in range(plan.O):
        each = exp(load(m, at + k * plan.Cp) - largest)
        store(m, p + k * plan.Cp, each)
        s = s + each
    return largest, best, s


@part
def _softmax(plan, m, at, weights, alive, classes, first, stride, cases):
    """As `_elementwise`, for softmax. Lane l's class is classes[first + l stride], l < cases."""
    lanes, nothing = width(m), zero(m)
    one, weight = constant(nothing, 1.0), load(m, weights)
    for lane in range(cases):
        target = get(classes, first + lane * stride)
        put(m, plan.scratch + lane, target)
        put(m, plan.scratch + lanes + lane, get(m, at + target * plan.Cp + lane))
    largest, best, s = _exponentials(plan, m, at, at)
    share = weight / s
    for k in range(plan.O):
        each = load(m, at + k * plan.Cp)
        store(m, at + k * plan.Cp, select(alive, each * share, nothing))
    for lane in range(cases):
        place = at + get(classes, first + lane * stride) * plan.Cp + lane
        put(m, place, get(m, place) - get(m, weights + lane))
    wrong = select(best == load(m, plan.scratch), nothing, one)
    return log(s) + (largest - load(m, plan.scratch + lanes)), wrong


@part
def turn_outputs(plan, m):
    """Lay the rows of o with the cases in the lanes."""
    if plan.turned:
        transpose(m, plan.o, plan.O, plan.B * plan.R, plan.O, m, plan.oc, plan.Cp)


@part
def turn_back(plan, m):
    """The derivatives as rows again."""
    if plan.turned:
        transpose(m, plan.oc, plan.Cp, plan.O, plan.B * plan.R, m, plan.o, plan.O)


@part
def predict(kind, plan, m):
    """Outputs p alone of all cases."""
    for block in range(plan.blocks):
        for c in range(0, plan.Cp, width(m)):
            row = block * plan.O * plan.Cp + c
            if plan.output == 3:
                _, _, s = _exponentials(plan, m, plan.oc + row, plan.p + row)
                for i in range(row, row + plan.O * plan.Cp, plan.Cp):
                    store(m, plan.p + i, load(m, plan.p + i) / s)
            else:
                for i in range(row, row + plan.O * plan.Cp, plan.Cp):
                    value = load(m, plan.oc + i)
                    out, _, _ = output_of(kind, plan, value, value, value)
                    store(m, plan.p + i, out)


@part
def judge(kind, plan, m, classes, sample, apart, results, at):
    """Losses of all cases, what counts as wrong, and derivatives in the outputs' place.

    results: at `at` the loss, then wrong outputs, then samples without a wrong one; of models in
    the results of each.
    """
    lanes, nothing = width(m), zero(m)
    one = constant(nothing, 1.0)
    loss_sum, wrong_sum = nothing, nothing
    for block in range(plan.blocks):
        for c in range(0, plan.Cp, lanes):
            row = block * plan.O * plan.Cp + c
            weights = plan.case_weights + block * plan.Cp + c
            weight = load(m, weights)
            alive = weight > 0.0
            if plan.output == 3:
                first, stride, cases = sample * plan.R + c, 1, plan.B * plan.R - c
                if plan.case_b == 1:
                    first, stride = (sample + c * apart) * plan.R + block, apart * plan.R
                    cases = plan.B - c
                loss, wrong = _softmax(
                    plan, m, plan.oc + row, weights, alive, classes, first, stride,
                    min(cases, lanes),
                )  # fmt: skip
            else:
                loss, wrong = _elementwise(
                    kind, plan, m, plan.oc + row, plan.y + row, weight, alive
                )
            wrong = select(alive, wrong, nothing)
            loss_sum = loss_sum + select(alive, loss * weight, nothing)
            wrong_sum = wrong_sum + wrong
            before = nothing if block == 0 else load(m, plan.wrong + c)
            store(m, plan.wrong + c, before + wrong)
    put_result(kind, plan, m, results, at, apart, total(kind, loss_sum))
    put_result(kind, plan, m, results, at + 1, apart, total(kind, wrong_sum))
    exact_sum = nothing
    if plan.lane_cases == 1:
        for c in range(0, plan.Cp, lanes):
            right = select(load(m, plan.wrong + c) == nothing, one, nothing)
            exact_sum = exact_sum + right * load(m, plan.present + c)
        put_result(kind, plan, m, results, at + 2, apart, total(kind, exact_sum))
    else:
        exact = 0
        for b in range(plan.B):
            mistakes = 0.0
            for t in range(plan.lane_cases):
                mistakes += get(m, plan.wrong + b * plan.lane_cases + t)
            exact += 1 if mistakes == 0.0 else 0
        put(results, at + 2, exact)
