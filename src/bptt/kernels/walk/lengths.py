"""Which sequences have a step, and what becomes of the others in it."""

from bptt.kernels.machine.compiler import part
from bptt.kernels.machine.simd import any_true, constant, get, load, select, store, width, zero
from bptt.kernels.walk.regimes import by_regime

# A reverse direction of a layer, which `plan.both` says that there is, counts its steps from the
# batch's last: its sequences begin late. So of its lengths T - 1 is taken away, and lengths are
# compared with -t: a sequence of n steps has the step T - 1 - t where n - (T - 1) > -t.


@part
def reverse_of(plan, layer):
    """1 for a reverse direction, or 0."""
    return layer & plan.both


@part
def lengths_of(plan, reverse):
    """Where the lengths are that go with `counted`."""
    return plan.lengths + reverse * plan.lengths_apart


@part
def counted(reverse, t):
    """What lengths are compared with at a step."""
    return t - 2 * t * reverse


@part
def step_of_batch(plan, reverse, t):
    """The step of the batch that is a direction's step t."""
    return t + reverse * (plan.T - 1 - 2 * t)


@part
def with_step(m, lengths, t):
    """The mask of the lanes whose sequences have a step t."""
    return load(m, lengths) > constant(zero(m), t)


def _row_has(kind, m, lengths, t):
    return get(m, lengths) > t


def _lanes_have(kind, m, lengths, t):
    return False


# Whether all sequences of a row of values are known to have a step t: its one sample, or those in
# its lanes.
has_step = by_regime(_row_has, _lanes_have, _lanes_have)


def _rows_are_over(kind, plan, m, lengths, t):
    over = True
    for b in range(plan.outer):
        over = over and get(m, lengths + b * plan.length_b) <= t
    return over


def _lanes_are_over(kind, plan, m, lengths, t):
    over = True
    for v in range(plan.VV):
        over = over and not any_true(with_step(m, lengths + v * plan.length_v, t))
    return over


# Whether no sequence has a step t, which is then passed over.
is_over = by_regime(_rows_are_over, _lanes_are_over, _lanes_are_over)


@part
def hold(plan, m, lengths, t, ds, dh, held):
    """Move derivatives by states and dh to `held` where there is no step t, leaving zero."""
    lanes, nothing = width(m), zero(m)
    for j in range(0, plan.S * plan.plane, plan.VV * lanes):
        for v in range(plan.VV):
            i, alive = j + v * lanes, with_step(m, lengths + v * plan.length_v, t)
            x = load(m, ds + i)
            store(m, ds + i, select(alive, x, nothing))
            if j < plan.plane:
                d = load(m, dh + i)
                store(m, dh + i, select(alive, d, nothing))
                x = x + d
            store(m, held + i, select(alive, nothing, x))


@part
def freeze(plan, m, lengths, t, before, after):
    """The state of sequences without a step t stays as it was."""
    lanes = width(m)
    for j in range(0, plan.S * plan.plane, plan.VV * lanes):
        for v in range(plan.VV):
            i = j + v * lanes
            alive = with_step(m, lengths + v * plan.length_v, t)
            store(m, after + i, select(alive, load(m, after + i), load(m, before + i)))
