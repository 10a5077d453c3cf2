"""The training loop: N iterations in one call, without returning to Python."""

import math

import numpy as np
from numba.extending import register_jitable

from bptt.kernels import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.compiler import STRICT, kernel
from bptt.kernels.products import fill_rows
from bptt.kernels.simd import load, load_part, store, store_part, width
from bptt.kernels.walk import walk
from bptt.optimizers import (
    adagrad_update,
    adam_update,
    look_ahead,
    momentum_update,
    nesterov_update,
    rmsprop_nesterov_update,
    rmsprop_update,
    sgd_update,
)

_look_ahead = register_jitable(look_ahead)
_sgd, _momentum, _nesterov = map(register_jitable, (sgd_update, momentum_update, nesterov_update))
_rmsprop, _rmsprop_nesterov = map(register_jitable, (rmsprop_update, rmsprop_nesterov_update))
_adagrad, _adam = map(register_jitable, (adagrad_update, adam_update))


@kernel(fastmath=STRICT)
def prepare(rule, theta, s0, k):
    """What happens before the gradient is taken."""
    if rule != 2 and rule != 4:
        return
    for i in range(0, theta.size, width(theta)):
        used = min(width(theta), theta.size - i)
        value, velocity = _look_ahead(load_part(theta, i, used), load_part(s0, i, used), k)
        store_part(theta, i, value, used)
        store_part(s0, i, velocity, used)


@kernel(fastmath=STRICT)
def update(rule, theta, g, s0, s1, k):
    """The update of every parameter by the rule of that number (`bptt.optimizers.RULES`)."""
    for i in range(0, theta.size, width(theta)):
        used = min(width(theta), theta.size - i)
        value, slope = load_part(theta, i, used), load_part(g, i, used)
        a, b = load_part(s0, i, used), load_part(s1, i, used)
        if rule == 0:
            value, a, b = _sgd(value, slope, a, b, k)
        elif rule == 1:
            value, a, b = _momentum(value, slope, a, b, k)
        elif rule == 2:
            value, a, b = _nesterov(value, slope, a, b, k)
        elif rule == 3:
            value, a, b = _rmsprop(value, slope, a, b, k)
        elif rule == 4:
            value, a, b = _rmsprop_nesterov(value, slope, a, b, k)
        elif rule == 5:
            value, a, b = _adagrad(value, slope, a, b, k)
        else:
            value, a, b = _adam(value, slope, a, b, k)
        store_part(theta, i, value, used)
        store_part(s0, i, a, used)
        store_part(s1, i, b, used)


@kernel
def norm_of(g):
    """The Euclidean norm, summed in float64."""
    total = 0.0
    for i in range(g.size):
        total += np.float64(g[i]) * np.float64(g[i])
    return math.sqrt(total)


@kernel(fastmath=STRICT)
def clip(g, clip_value, clip_norm):
    """`bptt.optimizers.clip`: by value, then by norm; returns the norm before."""
    norm = norm_of(g)
    clipped = norm
    if clip_value < np.inf:
        limit = g.dtype.type(clip_value)
        for i in range(g.size):
            g[i] = limit if g[i] > limit else (-limit if g[i] < -limit else g[i])
        clipped = norm_of(g)
    if clipped > clip_norm:
        factor = g.dtype.type(clip_norm / clipped)
        for i in range(g.size):
            g[i] *= factor
    return norm


@kernel(fastmath=STRICT)
def start_states(plan, theta, work):
    """Set the initial states to h0, or to zero where there is none."""
    step = plan.B * plan.Hp
    for one in range(plan.layers * plan.S):
        start = plan.where[one // plan.S, 3 + one % plan.S]
        place = one * (plan.T + 1) * step
        fill_rows(theta, start, plan.H, plan.B, work.states, place, plan.Hp)


@kernel(fastmath=STRICT)
def carry_states(plan, work):
    """The states after the last step become the initial ones of the next batch."""
    step = plan.B * plan.Hp
    for one in range(plan.layers * plan.S):
        first = one * (plan.T + 1) * step
        for i in range(0, step, plan.n):
            store(work.states, first + i, load(work.states, first + plan.T * step + i))


@kernel(fastmath=STRICT)
def train(
    cell, plan, rule, clips, coefficients, theta, s0, s1, x, ids, y, classes, lengths, full, reset,
    carry, work, results,
):  # fmt: skip
    """N iterations. results (4, N): loss, wrong, exact, norm of each.

    x (N, T*B*D), ids (N, T*B), y (N, T*B*O padded), classes (N, T*B), lengths (N, B); those that do
    not apply have one row and are not read. carry: an iteration starts from the state that the one
    before ended in, which `work.states` holds at step 0 at the start and at the end of the call,
    except where `reset` sets it back.
    """
    dense, valued = not plan.one_hot, plan.output != 3
    for n in range(coefficients.shape[0]):
        row = coefficients[n]
        k = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        prepare(rule, theta, s0, k)
        own_state = not carry or reset[n]
        if own_state:
            start_states(plan, theta, work)
        data = (
            x[n if dense else 0], ids[0 if dense else n],
            y[n if valued else 0], classes[0 if valued else n], lengths[0 if full else n], full,
        )  # fmt: skip
        loss, wrong, exact = walk(cell, plan, theta, data, own_state, work)
        results[0, n], results[1, n], results[2, n] = loss, wrong, exact
        results[3, n] = clip(work.g, clips[0], clips[1])
        update(rule, theta, work.g, s0, s1, k)
        if carry:
            carry_states(plan, work)
