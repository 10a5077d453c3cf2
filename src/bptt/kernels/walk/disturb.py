"""Random numbers of an iteration into the workspace: `bptt.network.disturbance`, compiled.

It is compiled by itself, once for all cells, and called by its address. Which numbers they are
depends on the iteration, the layer, the sample, the step and the unit, not on the regime.
"""

from typing import Any

from bptt.equations.chance import GROUP, LAYER_BITS, MASK, UNITS_BITS
from bptt.kernels.machine.chance import kept, normal
from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import get, load, load_part, store, store_part, width
from bptt.kernels.walk.program import BASES, STATES
from bptt.kernels.walk.regimes import by_regime

LAYER, PURPOSE = 1 << UNITS_BITS, 1 << (UNITS_BITS + LAYER_BITS)
INPUTS = MASK * PURPOSE  # the stream of the masks of the first layer's inputs


@part
def store_steps(m, place, apart, values, count, steps):
    """Write the first `count` lanes of a group's vectors, of as many steps as there are."""
    store_part(m, place, values[0], count)
    if steps > 1:
        store_part(m, place + apart, values[1], count)
    if steps > 2:
        store_part(m, place + 2 * apart, values[2], count)
    if steps > 3:
        store_part(m, place + 3 * apart, values[3], count)


def _filler(draw: Any) -> Any:
    """Fills the rows of some steps, at most of a group: `units` numbers for each sample, drawn with
    that number (a deviation, or a rate). t_apart, b_apart: how far steps and samples are apart."""

    def in_units(
        kind, plan, m, chances, n, stream, place, t_apart, b_apart, units, group, steps, number
    ):  # units in the lanes, a sample after the other
        for b in range(plan.B):
            sample, row = plan.first_sample + b, place + b * b_apart
            for i in range(0, units, width(m)):
                values = draw(m, chances, n, group, sample, sample, i, 0, 1, stream, number)
                store_steps(m, row + i, t_apart, values, min(units - i, width(m)), steps)

    def in_lanes(
        kind, plan, m, chances, n, stream, place, t_apart, b_apart, units, group, steps, number
    ):  # samples, of which the last one is repeated; or models, of one sample each
        first, apart = plan.first_sample, 1 - plan.lane
        last = first + (plan.B - 1) * apart
        for unit in range(units):
            for i in range(0, plan.Bp, width(m)):
                values = draw(m, chances, n, group, first + i, last, unit, apart, 0, stream, number)
                at = place + unit * plan.Bp + i
                store_steps(m, at, t_apart, values, width(m), steps)

    return by_regime(in_units, in_lanes, in_lanes)


fill_noise, fill_mask = _filler(normal), _filler(kept)


@part
def repeat_row(plan, m, place, t_apart, b_apart, count):
    """The first step's row at all others too."""
    for b in range(plan.outer):
        row = place + b * b_apart
        for i in range(0, count, width(m)):
            some = min(count - i, width(m))
            values = load_part(m, row + i, some)
            for t in range(1, plan.T):
                store_part(m, row + t * t_apart + i, values, some)


@part
def masks(kind, plan, m, chances, n, stream, place, t_apart, b_apart, units, rate, once):
    """A mask at every step, or, `once`, the same at all."""
    for first in range(0, 1 if once else plan.T, GROUP):
        fill_mask(
            kind, plan, m, chances, n, stream, place + first * t_apart, t_apart, b_apart, units,
            first // GROUP, 1 if once else plan.T - first, rate,
        )  # fmt: skip
    if once:
        repeat_row(plan, m, place, t_apart, b_apart, units * plan.Bp)


def disturb(kind, plan, m, bases, chances, n):
    """The noise of iteration n on all states, the masks of what goes up, and the inputs times
    theirs (beside the inputs themselves, which a skip hands on). A reverse direction's states lie
    from the last step to the first, and its units come after those of the forward one."""
    for each in range(plan.layers):
        layer, reverse = each >> plan.both, each & plan.both
        apart = plan.state_t * (1 - 2 * reverse)
        after = get(bases, BASES * each + STATES)
        after += plan.T * plan.state_t if reverse else plan.state_t
        for k in range(plan.S if plan.deviation > 0 else 0):
            stream = k * PURPOSE + layer * LAYER + reverse * plan.H
            place = after + plan.noise + k * plan.plane
            for first in range(0, plan.T, GROUP):
                fill_noise(
                    kind, plan, m, chances, n, stream, place + first * apart, apart,
                    plan.state_b, plan.H, first // GROUP, plan.T - first, plan.deviation,
                )  # fmt: skip
        if plan.rate > 0:
            # From the last state alone there is one way up, whatever the number of steps.
            once = plan.once or (plan.last and each + plan.both >= plan.layers - 1)
            masks(
                kind, plan, m, chances, n, INPUTS + (layer + 1) * LAYER + reverse * plan.H,
                after + plan.mask, apart, plan.state_b, plan.H, plan.rate, once,
            )  # fmt: skip
    if plan.input_rate > 0:
        masks(
            kind, plan, m, chances, n, INPUTS, plan.x_mask, plan.x_t, plan.T * plan.x_t, plan.D,
            plan.input_rate, plan.once,
        )  # fmt: skip
        for i in range(0, plan.outer * plan.T * plan.x_t, width(m)):
            x = load(m, plan.x + i)
            store(m, plan.x_masked + i, x * load(m, plan.x_mask + i))
