"""Outputs and losses of a batch, and the count of wrong outputs: `bptt.recurrence.judge`, compiled.

The elementwise outputs are the equations of `bptt.outputs`; softmax, which couples the outputs of a
row, is written out here, equation (26).
"""

import math

import numpy as np
from numba.extending import register_jitable

from bptt.functions import exp
from bptt.kernels import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.compiler import STRICT, kernel
from bptt.outputs import linear_squared, sigmoid_cross_entropy, sigmoid_squared

EQUATIONS = tuple(
    register_jitable(each) for each in (linear_squared, sigmoid_cross_entropy, sigmoid_squared)
)
_linear, _sigmoid, _sigmoid_squared = EQUATIONS


@kernel(fastmath=STRICT)
def _elementwise(output, threshold, weight, o, y, p, do):
    """One step of one sample: p and do are set. Returns the loss and how many are wrong."""
    loss, wrong = 0.0, 0
    for k in range(o.size):
        value, target = o[k], y[k]
        if output == 0:
            p[k], each, d = _linear(value, target)
        elif output == 1:
            p[k], each, d = _sigmoid(value, target)
        else:
            p[k], each, d = _sigmoid_squared(value, target)
        wrong += (value > threshold) != (target > 0.5)
        loss += each
        do[k] = d * weight
    return loss, wrong


@kernel(fastmath=STRICT)
def _softmax(weight, o, target, p, do):
    """The same for softmax: o (O) and the number of the target class."""
    m, best = o[0], 0
    for k in range(1, o.size):
        if o[k] > m or m != m:
            m, best = o[k], k
    at_target = o[target]
    s = m - m
    for k in range(o.size):
        p[k] = exp(o[k] - m)
        s += p[k]
    for k in range(o.size):
        p[k] = p[k] / s
        do[k] = p[k] * weight
    do[target] -= weight
    return np.float64(m - at_target) + math.log(np.float64(s)), 1 if best != target else 0


@kernel
def judge(plan, y, classes, alive, work):
    """work.p and work.do are set; returns loss, wrong outputs, and samples without one.

    y (T, B, O) values, or classes (T, B); alive (T, B). With readout 'last' T is 1 here.
    """
    rows, B = work.o.shape[0], plan.B
    counted = B
    if not plan.last:
        counted = 0
        for t in range(rows):
            for b in range(B):
                counted += alive[t, b]
    weight = 1.0
    if plan.reduction == 1:
        weight = 1.0 / B
    elif plan.reduction == 2:
        weight = 1.0 / max(counted, 1)
    scale = work.o.dtype.type(weight)
    loss, wrong, exact = 0.0, 0, 0
    for b in range(B):
        wrong_here = 0
        for t in range(rows):
            o, p, do = work.o[t, b], work.p[t, b], work.do[t, b]
            if plan.output == 3:
                each, mistakes = _softmax(scale, o, classes[t, b], p, do)
            else:
                each, mistakes = _elementwise(plan.output, plan.threshold, scale, o, y[t, b], p, do)
            if plan.last or alive[t, b]:
                loss += each
                wrong_here += mistakes
            else:
                do[:] = 0
        wrong += wrong_here
        exact += wrong_here == 0
    return loss * weight, wrong, exact
