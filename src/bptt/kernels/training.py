"""The training loop: N iterations in one call, without returning to Python."""

import math

import numpy as np
from numba.extending import register_jitable

from bptt.kernels import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.compiler import STRICT, kernel
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
    if rule == 2 or rule == 4:
        for i in range(theta.size):
            theta[i], s0[i] = _look_ahead(theta[i], s0[i], k)


@kernel(fastmath=STRICT)
def update(rule, theta, g, s0, s1, k):
    """The update of every parameter by the rule of that number (`bptt.optimizers.RULES`)."""
    for i in range(theta.size):
        if rule == 0:
            theta[i], s0[i], s1[i] = _sgd(theta[i], g[i], s0[i], s1[i], k)
        elif rule == 1:
            theta[i], s0[i], s1[i] = _momentum(theta[i], g[i], s0[i], s1[i], k)
        elif rule == 2:
            theta[i], s0[i], s1[i] = _nesterov(theta[i], g[i], s0[i], s1[i], k)
        elif rule == 3:
            theta[i], s0[i], s1[i] = _rmsprop(theta[i], g[i], s0[i], s1[i], k)
        elif rule == 4:
            theta[i], s0[i], s1[i] = _rmsprop_nesterov(theta[i], g[i], s0[i], s1[i], k)
        elif rule == 5:
            theta[i], s0[i], s1[i] = _adagrad(theta[i], g[i], s0[i], s1[i], k)
        else:
            theta[i], s0[i], s1[i] = _adam(theta[i], g[i], s0[i], s1[i], k)


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


@kernel
def start_states(plan, theta, work):
    """Set the initial states to h0, or to zero where there is none."""
    for layer in range(plan.layers):
        for state in range(plan.S):
            row, place = work.states[layer, 0, state], plan.where[layer, 3 + state]
            for b in range(plan.B):
                for j in range(plan.H):
                    row[b * plan.H + j] = theta[place + j] if place >= 0 else 0


@kernel
def train(
    cell, plan, rule, clips, coefficients, theta, s0, s1, x, ids, y, classes, alive, full, reset,
    carry, work, results,
):  # fmt: skip
    """N iterations. results (4, N): loss, wrong, exact, norm of each.

    x (N, T, B*D), ids (N, T, B), y (N, T, B, O), classes (N, T, B), alive (N, T, B); those that do
    not apply have N = 1 and are not read. carry: an iteration starts from the state that the one
    before ended in, which `work.states[:, 0]` holds at the start and at the end of the call,
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
        alive_n = alive[0 if full else n]
        data = (
            x[n if dense else 0], ids[0 if dense else n],
            y[n if valued else 0], classes[0 if valued else n], alive_n, full,
        )  # fmt: skip
        loss, wrong, exact = walk(cell, plan, theta, data, own_state, work)
        results[0, n], results[1, n], results[2, n] = loss, wrong, exact
        results[3, n] = clip(work.g, clips[0], clips[1])
        update(rule, theta, work.g, s0, s1, k)
        if carry:
            work.states[:, 0] = work.states[:, plan.T]
