"""Noise and dropout in a walk that is disturbed as training is; in others there is nothing of them.

The numbers have been drawn before the walk (`bptt.kernels.walk.disturb`).
"""

from typing import Any

from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import get, load, store, width
from bptt.kernels.walk.program import BASES, DH, STATES
from bptt.kernels.walk.regimes import Kind, by_kind

# Noise on the states after a step, which lies `plan.noise` places behind them: added, and taken
# away again for the way back, whose equations know of none.


@part
def _plus_noise(m, place, state):
    return state + load(m, place)


@part
def _less_noise(m, place, state):
    return state - load(m, place)


def _on_states(change: Any, count: int) -> Any:
    """`change` on each of so many states."""

    @part
    def on_last(m, place, plane, states):
        return (change(m, place, states[0]),)

    if count == 1:
        return on_last
    on_others = _on_states(change, count - 1)

    @part
    def on_all(m, place, plane, states):
        return (
            change(m, place, states[0]),
            *on_others(m, place + plane, plane, states[1:count]),
        )

    return on_all


def _where_disturbed(change: Any) -> Any:
    def choose(kind: Kind) -> Any:
        if not kind.disturbed:
            return lambda kind, plan, m, place, states: states
        changed = _on_states(change, len(kind.cell.states))
        return lambda kind, plan, m, place, states: changed(
            m, place + plan.noise, plan.plane, states
        )

    return by_kind(choose)


add_noise, take_noise = _where_disturbed(_plus_noise), _where_disturbed(_less_noise)


# Dropout, in a disturbed walk: what goes up from a layer is its states times their masks, and so is
# what comes down; and of the inputs' derivative.


def _mask_forward(kind, plan, m, bases, layer, span):
    first, end, _ = span
    for b in range(plan.outer if plan.masked else 0):
        row = get(bases, BASES * layer + STATES) + b * plan.state_b
        for t in range(first + 1, end + 1):
            at = row + t * plan.state_t
            for i in range(at, at + plan.plane, width(m)):
                store(m, i + plan.masked, load(m, i) * load(m, i + plan.mask))


def _mask_backward(kind, plan, m, bases, layer, span):
    first, end, _ = span
    for b in range(plan.outer if plan.masked else 0):
        row = get(bases, BASES * layer + STATES) + b * plan.state_b + plan.mask
        above = get(bases, BASES * layer + DH) + b * plan.dh_b
        for t in range(first, end):
            mask = row + (t + 1) * plan.state_t
            dh = above + (t - (0 if plan.whole else first)) * plan.dh_t
            for i in range(0, plan.plane, width(m)):
                store(m, dh + i, load(m, dh + i) * load(m, mask + i))


def _mask_inputs_backward(kind, plan, m, layer, span):
    first, end, _ = span
    wanted = plan.input_rate > 0 and plan.want_dx and layer == 0
    for b in range(plan.outer if wanted else 0):
        for t in range(b * plan.T + first, b * plan.T + end):
            dx, mask = plan.dx + t * plan.dx_t, plan.x_mask + t * plan.x_t
            for i in range(0, plan.dx_t, width(m)):
                store(m, dx + i, load(m, dx + i) * load(m, mask + i))


mask_forward = by_kind(
    lambda kind: _mask_forward if kind.disturbed else lambda kind, plan, m, bases, layer, span: None
)
mask_backward = by_kind(
    lambda kind: (
        _mask_backward if kind.disturbed else lambda kind, plan, m, bases, layer, span: None
    )
)
mask_inputs_backward = by_kind(
    lambda kind: (
        _mask_inputs_backward if kind.disturbed else lambda kind, plan, m, layer, span: None
    )
)
