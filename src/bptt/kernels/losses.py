"""Outputs and losses of a batch, and the count of wrong outputs: `bptt.recurrence.judge`, compiled.

The elementwise outputs are the equations of `bptt.outputs`; softmax, which couples the outputs of a
row, is written out here, equation (26).
"""

from numba.extending import register_jitable

from bptt.functions import exp, log
from bptt.kernels import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.compiler import STRICT, kernel
from bptt.kernels.simd import (
    constant,
    load,
    load_part,
    select,
    splat,
    store,
    store_part,
    width,
    zero,
)
from bptt.kernels.vectors import kept_apart
from bptt.outputs import linear_squared, sigmoid_cross_entropy, sigmoid_squared

EQUATIONS = tuple(
    register_jitable(each) for each in (linear_squared, sigmoid_cross_entropy, sigmoid_squared)
)
_linear, _sigmoid, _sigmoid_squared = EQUATIONS


@kernel(fastmath=STRICT)
def elementwise(plan, weight, y, work):
    """The elementwise outputs: work.p, do, losses and wrong of every output."""
    kept_apart()
    threshold, scale = work.o.dtype.type(plan.threshold), work.o.dtype.type(weight)
    none = zero(y)
    half, one = constant(none, 0.5), constant(none, 1.0)
    rows = plan.B if plan.last else plan.T * plan.B
    for i in range(0, rows * plan.O, width(y)):
        o, target = load(work.o, i), load(y, i)
        if plan.output == 0:
            p, loss, do = _linear(o, target)
        elif plan.output == 1:
            p, loss, do = _sigmoid(o, target)
        else:
            p, loss, do = _sigmoid_squared(o, target)
        said = select(o > splat(threshold), one, none)
        right = select(target > half, one, none)
        store(work.wrong, i, (said - right) * (said - right))
        store(work.p, i, p)
        store(work.losses, i, loss)
        store(work.do, i, do * scale)


@kernel(fastmath=STRICT)
def softmax_row(weight, O, place, target, work):  # noqa: N803
    """The same for one row of softmax outputs; loss and wrong are kept in the row's first place."""
    kept_apart()
    o, p, do, n = work.o, work.p, work.do, width(work.o)
    m, best = o[place], 0
    for k in range(1, O):
        if o[place + k] > m or m != m:
            m, best = o[place + k], k
    for k in range(0, O, n):
        e = exp(load_part(o, place + k, min(n, O - k)) - m)
        store_part(p, place + k, e, min(n, O - k))
    s = m - m
    for k in range(O):
        s += p[place + k]
    for k in range(0, O, n):
        share = load_part(p, place + k, min(n, O - k)) / s
        store_part(p, place + k, share, min(n, O - k))
        store_part(do, place + k, share * weight, min(n, O - k))
    do[place + target] -= weight
    work.losses[place] = m - o[place + target] + log(s)
    work.wrong[place] = 1 if best != target else 0


@kernel(fastmath=STRICT)
def judge(plan, y, classes, lengths, work):
    """Outputs, loss and its derivative of a batch; returns loss, wrong outputs, exact samples.

    y (T*B*O) values, or classes (T*B); with readout 'last' T is 1 here.
    """
    kept_apart()
    rows, B, O = 1 if plan.last else plan.T, plan.B, plan.O  # noqa: N806, E741
    counted = B
    if not plan.last:
        counted = 0
        for b in range(B):
            counted += lengths[b]
    weight = 1.0
    if plan.reduction == 1:
        weight = 1.0 / B
    elif plan.reduction == 2:
        weight = 1.0 / max(counted, 1)
    each = O
    if plan.output == 3:
        each = 1
        for row in range(rows * B):
            softmax_row(work.o.dtype.type(weight), O, row * O, classes[row], work)
    else:
        elementwise(plan, weight, y, work)
    loss, wrong, exact = 0.0, 0, 0
    for b in range(B):
        mistakes = 0
        for t in range(rows):
            place = (t * B + b) * O
            if plan.last or t < lengths[b]:
                for k in range(place, place + each):
                    loss += work.losses[k]
                    mistakes += work.wrong[k] != 0
            else:
                work.do[place : place + O] = 0
        wrong += mistakes
        exact += mistakes == 0
    return loss * weight, wrong, exact
