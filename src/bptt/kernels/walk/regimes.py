"""What differs between the regimes while a kernel runs: what the lanes are.

A kernel takes a `Kind` (a regime and a cell) as an argument. To the compiler every kind is a type
of its own, so a kernel is compiled once per kind with that cell's equations and that regime's
products in place; nothing is looked up while it runs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.extending import (
    NativeValue,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from bptt.equations.cells import Cell, cell_of
from bptt.equations.functions import sqrt
from bptt.equations.optimizers import Rule
from bptt.equations.outputs import Output
from bptt.kernels.machine import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.machine.compiler import OPTIONS, part
from bptt.kernels.machine.simd import (
    broadcast,
    get,
    load,
    load_part,
    put,
    select,
    splat,
    store,
    store_part,
    vsum,
    width,
)
from bptt.kernels.machine.tile import add_product, add_product_of_lanes, loads, multiply, stores
from bptt.kernels.machine.transposes import transpose
from bptt.kernels.walk.products import MODELS, SAMPLES, UNITS
from bptt.kernels.walk.signature import RESULTS


class Kind(NamedTuple):
    """A regime (a name of `bptt.kernels.walk.products`) and a cell with its activation, or none; of
    routines that call a user's own output or rule, that. disturbed: whether the walk is, as in
    training (`bptt.network.disturbance`)."""

    regime: str
    cell_key: tuple[str, str] | None = None
    output: Output | None = None
    rule: Rule | None = None
    disturbed: bool = False

    @property
    def cell(self) -> Cell:
        """The cell."""
        assert self.cell_key is not None
        return cell_of(*self.cell_key)


class KindType(types.Opaque):
    """The type of one particular kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        own = (
            *(kind.cell_key or ()), kind.output or "", kind.rule or "", str(kind.disturbed),
        )  # fmt: skip
        super().__init__(name=f"Kind({kind.regime}, {', '.join(own)})")


register_model(KindType)(models.OpaqueModel)


@typeof_impl.register(Kind)
def _type_of_kind(value: Kind, context: Any) -> KindType:
    return KindType(value)


@unbox(KindType)
def _unbox_kind(typ: Any, value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


def by_kind(choose: Callable[[Kind], Any]) -> Any:
    """A function whose first argument is a kind: for each it is the function `choose(kind)`."""

    def function(kind: Any, *args: Any) -> Any:
        return choose(kind)(kind, *args)

    @overload(function, strict=False, jit_options=OPTIONS)
    def _compiled(kind: Any, *args: Any) -> Any:
        return choose(kind.kind)

    return function


def by_regime(units: Any, samples: Any, models: Any) -> Any:
    """A function that is one of three, by the regime."""
    table = {UNITS: units, SAMPLES: samples, MODELS: models}
    return by_kind(lambda kind: table[kind.regime])


# The cell's equations and values.


def _forward_of(kind: Kind) -> Any:
    equation = part(kind.cell.forward)
    if kind.cell.parameters:
        return lambda kind, a, s, p: equation(a, s, p)
    return lambda kind, a, s, p: equation(a, s)


def _backward_of(kind: Kind) -> Any:
    equation = part(kind.cell.backward)
    if kind.cell.parameters:
        return lambda kind, gates, s, s_new, ds_new, p: equation(gates, s, s_new, ds_new, p)

    def without_parameters(kind, gates, s, s_new, ds_new, p):
        da, ds = equation(gates, s, s_new, ds_new)
        return da, ds, p

    return without_parameters


def _reader(count: int) -> Any:
    return lambda kind, m, off, stride: loads(m, off, stride, count)


step_forward = by_kind(_forward_of)
step_backward = by_kind(_backward_of)
read_gates = by_kind(lambda kind: _reader(len(kind.cell.preactivations)))
read_states = by_kind(lambda kind: _reader(len(kind.cell.states)))


def _keeper(kind: Kind) -> Any:
    if kind.cell.gates_are_states and not kind.disturbed:
        return lambda kind, m, off, stride, gates: None
    return lambda kind, m, off, stride, gates: stores(m, off, stride, gates)


# Write a step's gates, unless they are its states.
keep_gates = by_kind(_keeper)


# A cell's own parameters, as vectors, and the sums of their derivatives: of each a row (see
# `bptt.kernels.walk.workspace`).


def _parameter_reader(kind: Kind) -> Any:
    count = len(kind.cell.parameters)
    if count == 0:
        return lambda kind, plan, m, place: ()
    return lambda kind, plan, m, place: loads(m, place, plan.own_row, count)


read_parameters = by_kind(_parameter_reader)


@part
def _nothing_more(plan, m, place, dp):
    pass


def _adder_of(k: int, rest: Any) -> Any:
    """Adds dp[k], then what `rest` adds."""

    @part
    def add_one(plan, m, place, dp):
        at = place + k * plan.own_row
        store(m, at, load(m, at) + dp[k])
        rest(plan, m, place, dp)

    return add_one


def _derivative_adder(kind: Kind) -> Any:
    chain = _nothing_more
    for k in kind.cell.trained:
        chain = _adder_of(k, chain)
    return lambda kind, plan, m, place, dp: chain(plan, m, place, dp)


# Add derivatives dp by a vector of units to the sums; of parameters that are not trained there are
# none.
add_derivatives = by_kind(_derivative_adder)


# Numbers of an iteration: one for all lanes, or one for each model.


def _coefficient_shared(kind, k, m, at):
    return broadcast(k, at)


def _coefficient_models(kind, k, m, at):
    return load(k, at * width(m))


coefficient = by_regime(_coefficient_shared, _coefficient_shared, _coefficient_models)


def _total_shared(kind, v):
    return splat(vsum(v))


def _total_models(kind, v):
    return v


# The sum over the lanes, in every lane; of models, each lane's own.
total = by_regime(_total_shared, _total_shared, _total_models)


def _root_shared(kind, v):
    return splat(sqrt(vsum(v)))


def _root_models(kind, v):
    return sqrt(v)


# Its square root.
root_of_total = by_regime(_root_shared, _root_shared, _root_models)


def _put_shared(kind, plan, m, results, at, apart, v):
    store_part(results, at, v, 1)


def _put_models(kind, plan, m, results, at, apart, v):
    store(m, plan.scratch, v)
    for lane in range(width(m)):
        put(results, at + lane * RESULTS * apart, get(m, plan.scratch + lane))


# Write a number that is the same in all lanes; of models, a number each to results of its own.
put_result = by_regime(_put_shared, _put_shared, _put_models)


# Add `dh` to the first of the states' derivatives.


def _receive_of(kind: Kind) -> Any:
    count = len(kind.cell.states)
    if count == 1:
        return lambda kind, ds, dh: (ds[0] + dh,)
    return lambda kind, ds, dh: (ds[0] + dh, *ds[1:count])


receive = by_kind(_receive_of)


# One-hot inputs: a row of U is added to the values at `to`, or what is at `d` to that row of the
# gradient. With samples or models in the lanes each lane has a row of its own. `table` is where
# row 0 is, ids[first] (and of further lanes ids[first + stride], ...) which row.


@part
def add(m, place, other, size):
    """m[place + i] += m[other + i] for i < size, a whole number of vectors."""
    for i in range(0, size, width(m)):
        store(m, place + i, load(m, place + i) + load(m, other + i))


@part
def add_planes(m, place, apart, other, other_apart, count, size):
    """Add `count` rows of `size` numbers to others, the rows of each so far apart."""
    lanes = width(m)
    for g in range(count):
        for i in range(0, size, lanes):
            at, some = place + g * apart + i, min(size - i, lanes)
            more = load_part(m, other + g * other_apart + i, some)
            store_part(m, at, load_part(m, at, some) + more, some)


def _add_row_units(kind, plan, m, table, ids, first, stride, to):
    row = table + get(ids, first) * plan.table_row
    add_planes(m, to, plan.Hw, row, plan.H, plan.G, plan.H)


def _add_row_in_lanes(kind, plan, m, table, ids, first, stride, to):
    for b in range(plan.B if plan.lane else plan.Bp):  # as in `_transfer_in_lanes`
        id_ = get(ids, first + min(b, plan.B - 1) * stride)
        row = table + id_ * plan.table_row + b * plan.lane
        for j in range(plan.G * plan.H):
            at = to + j * plan.Bp + b
            put(m, at, get(m, at) + get(m, row + j * plan.weight))


add_row = by_regime(_add_row_units, _add_row_in_lanes, _add_row_in_lanes)


def _scatter_row_units(kind, plan, m, table, ids, first, stride, d):
    row = table + get(ids, first) * plan.table_row
    add_planes(m, row, plan.H, d, plan.Hw, plan.G, plan.H)


def _scatter_row_in_lanes(kind, plan, m, table, ids, first, stride, d):
    for b in range(plan.B):
        row = table + get(ids, first + b * stride) * plan.table_row + b * plan.lane
        for j in range(plan.G * plan.H):
            at = row + j * plan.weight
            put(m, at, get(m, at) + get(m, d + j * plan.Bp + b))


scatter_row = by_regime(_scatter_row_units, _scatter_row_in_lanes, _scatter_row_in_lanes)


# Recurrent products: what h adds to the preactivations, and what their derivatives add to ds. In
# general one is a product as others are (`multiply`). What is short is worked out here, sums in
# registers: of one row of units, and of models, whose lanes have weights of their own. `i` is where
# in a plane the vector is that they are for.


def _fed_units(kind, plan, m, a, h, W, i):
    return add_product(a, m, h, W + i, plan.Hw, plan.G * plan.Hw, plan.H)


def _fed_models(kind, plan, m, a, h, W, i):
    plane = plan.plane
    return add_product_of_lanes(a, m, h, W + i, plane, plan.G * plane, plan.H)


_fed = by_regime(_fed_units, _fed_units, _fed_models)


def _feed_of(kind: Kind) -> Any:
    if len(kind.cell.preactivations) == kind.cell.gates:
        return lambda kind, plan, m, a, h, W, i: _fed(kind, plan, m, a, h, W, i)

    last = kind.cell.gates - 1  # the gate that has one of its own, as the GRU's last
    if last == 0:

        def feed_one(kind, plan, m, a, h, W, i):
            return a[0], _fed(kind, plan, m, (a[1],), h, W, i)[0]

        return feed_one

    def feed(kind, plan, m, a, h, W, i):
        fed = _fed(kind, plan, m, (*a[:last], a[last + 1]), h, W, i)
        return (*fed[:last], a[last], fed[last])

    return feed


# The preactivations `a` of a vector of units, and h W added where the hidden state feeds them.
feed = by_kind(_feed_of)


@part
def fed_plane(plan, g):
    """How far the plane of the preactivation that gate g of W feeds is from the first."""
    return (g if g < plan.G - 1 else plan.K - 1) * plan.plane


def _back_units(kind, plan, m, d, da, W, i):
    for g in range(plan.G):
        fed = da + fed_plane(plan, g)
        d = add_product(d, m, fed, W + g * plan.H * plan.Hw + i, width(m), plan.Hw, plan.H)
    return d


def _back_models(kind, plan, m, d, da, W, i):
    row, lanes = plan.G * plan.plane, width(m)
    for g in range(plan.G):
        fed = da + fed_plane(plan, g)
        at = W + (i * plan.G + g * lanes) * plan.H
        d = add_product_of_lanes(d, m, fed, at, row, lanes, plan.H)
    return d


# The derivatives d by a vector of units (of models by one unit, or by several in a row), and da W^T
# added.
feed_back = by_regime(_back_units, _back_units, _back_models)


# All vectors of units of a row, at a step t. W is gone through the other way round at every other
# step (see `recurrent` in `walk.py`), but for models, whose W stays in the nearest cache.


def _row(kind, plan, m, gates, before, W, done, t):
    lanes = width(m)
    for j in range(done, plan.plane, lanes):
        i = j if t % 2 == 0 else done + plan.plane - lanes - j
        a = feed(kind, plan, m, read_gates(kind, m, gates + i, plan.plane), before, W, i)
        stores(m, gates + i, plan.plane, a)


def _feed_some(count: int) -> Any:
    """So many units at a time, which read each h once; gives where the rest begins."""

    @part
    def some(plan, m, gates, before, W, done):
        lanes = width(m)
        while done + count * lanes <= plan.plane:
            a = loads(m, gates + done, lanes, count)
            a = add_product_of_lanes(a, m, before, W + done, lanes, plan.plane, plan.H)
            stores(m, gates + done, lanes, a)
            done += count * lanes
        return done

    return some


_feed_fours, _feed_pairs = _feed_some(4), _feed_some(2)


def _row_of_fours(kind, plan, m, gates, before, W, done, t):
    done = _feed_fours(plan, m, gates, before, W, done)
    done = _feed_pairs(plan, m, gates, before, W, done)
    _rest_of_row(kind, plan, m, gates, before, W, done, t)


_rest_of_row = part(_row)
_feed_row = by_kind(
    lambda kind: (
        _row_of_fours if kind.regime == MODELS and len(kind.cell.preactivations) == 1 else _row
    )
)


# The recurrent product of a step, `number` among the products if it is one of them.


def _step_maybe_short(kind, plan, m, program, number, gates, before, W, t):
    if plan.short:
        _feed_row(kind, plan, m, gates, before, W, 0, t)
    else:
        multiply(m, program, number, t, 0)


def _step_of_samples(kind, plan, m, program, number, gates, before, W, t):
    multiply(m, program, number, t, 0)


feed_step = by_regime(_step_maybe_short, _step_of_samples, _step_maybe_short)


# The data of an iteration into m.


@part
def copy(m, place, source, off, count):
    """m[place + i] = source[off + i] for i < count, and zero up to whole vectors."""
    lanes = width(m)
    for i in range(0, count, lanes):
        store(m, place + i, load_part(source, off + i, min(count - i, lanes)))


def _transfer_units(kind, plan, m, x, y, given, sample, apart):
    if not plan.one_hot:
        copy(m, plan.x, x, sample * plan.T * plan.D, plan.B * plan.T * plan.D)
    if plan.output != 3 and given:
        rows = plan.B * plan.R
        if plan.turned:
            transpose(y, sample * plan.R * plan.O, plan.O, rows, plan.O, m, plan.y, plan.Cp)
        else:
            copy(m, plan.y, y, sample * plan.R, rows)


def _transfer_in_lanes(kind, plan, m, x, y, given, sample, apart):
    lanes, row = width(m), plan.T * plan.D
    at_once = row if plan.x_t == plan.D * plan.Bp else plan.D  # or steps are apart
    for first in range(0, 0 if plan.one_hot else row, at_once):
        place = plan.x + first // plan.D * plan.x_t
        transpose(x, sample * row + first, apart * row, plan.B, at_once, m, place, plan.Bp)
        # Lanes without a sample repeat the last one: from zeros values may overflow where those of
        # samples do not, and infinity times a derivative of 0 is NaN.
        if plan.Bp > plan.B and plan.lane == 0:
            present = load(m, plan.present + plan.Bp - lanes) > 0.5
            for at in range(place, place + at_once * plan.Bp, plan.Bp):
                last, repeated = at + plan.Bp - lanes, broadcast(m, at + plan.B - 1)
                store(m, last, select(present, load(m, last), repeated))
    if plan.output != 3 and given:
        row = plan.R * plan.O
        transpose(y, sample * row, apart * row, plan.B, row, m, plan.y, plan.Bp)


transfer = by_regime(_transfer_units, _transfer_in_lanes, _transfer_in_lanes)
