"""What differs between the layouts: how a matrix is applied, and how its gradient is formed.

A kernel takes a `Kind` (a layout and a cell) as an argument. To the compiler every kind is a type
of its own, so a kernel is compiled once per kind with that cell's equations and that layout's
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

from bptt.cells import CELLS, Cell
from bptt.kernels import elementary  # noqa: F401  registers the compiled functions
from bptt.kernels.compiler import OPTIONS, part
from bptt.kernels.layout import MODELS, SAMPLES, UNITS, VIEW
from bptt.kernels.simd import (
    broadcast,
    get,
    load,
    load_part,
    put,
    splat,
    store,
    store_part,
    vsum,
    width,
)
from bptt.kernels.tile import loads, product, transpose


class Kind(NamedTuple):
    """A layout (a name of `bptt.kernels.layout`) and a cell (a key of `CELLS`), or no cell."""

    regime: str
    cell_key: tuple[str, str] | None

    @property
    def cell(self) -> Cell:
        """The cell."""
        assert self.cell_key is not None
        return CELLS[self.cell_key]


class KindType(types.Opaque):
    """The type of one particular kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        super().__init__(name=f"Kind({kind.regime}, {', '.join(kind.cell_key or ())})")


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
    """A function that is one of three, by the layout."""
    table = {UNITS: units, SAMPLES: samples, MODELS: models}
    return by_kind(lambda kind: table[kind.regime])


# The cell's equations and values.


def _forward_of(kind: Kind) -> Any:
    equation = part(kind.cell.forward)
    return lambda kind, a, s: equation(a, s)


def _backward_of(kind: Kind) -> Any:
    equation = part(kind.cell.backward)
    return lambda kind, gates, s, s_new, ds_new: equation(gates, s, s_new, ds_new)


def _reader(count: int) -> Any:
    return lambda kind, m, off, stride: loads(m, off, stride, count)


step_forward = by_kind(_forward_of)
step_backward = by_kind(_backward_of)
read_gates = by_kind(lambda kind: _reader(len(kind.cell.preactivations)))
read_states = by_kind(lambda kind: _reader(len(kind.cell.states)))


# A matrix applied to `n` cases, out_c and x_c apart: out = (or +=) x M. `v` is the row of `views`
# that describes M, `shift` what is added to its place; there are `features` outputs and `depth`
# inputs.


def _apply_units(
    kind, codes, plan, m, views, v, shift, out, out_c, features, x, x_c, depth, n, accumulate
):
    at, lanes = VIEW * v, width(m)
    w, step = get(views, at) + shift, get(views, at + 3)
    product(
        codes, 0, m, out, out_c, lanes, n, features // lanes, features % lanes,
        x, x_c, x_c, 1, w, lanes, step, depth, accumulate,
    )  # fmt: skip


def _apply_in_lanes(number: int) -> Any:
    """The same where samples or models are in the lanes."""

    def apply(
        kind, codes, plan, m, views, v, shift, out, out_c, features, x, x_c, depth, n, accumulate
    ):
        at, lanes, Bp = VIEW * v, width(m), plan.Bp
        w, block, row, step = (
            get(views, at) + shift, get(views, at + 1), get(views, at + 2), get(views, at + 3)
        )  # fmt: skip
        # One case: its vectors are the columns. Several: the cases are, vector by vector.
        times, columns, x_col, out_col = plan.VV, n, x_c, out_c
        if n == 1:
            times, columns, x_col, out_col = 1, plan.VV, lanes, lanes
        for i in range(times):
            product(
                codes, number, m, out + i * lanes, Bp, out_col, features, columns, 0,
                w, block, row, step, x + i * lanes, x_col, Bp, depth, accumulate,
            )  # fmt: skip

    return apply


apply = by_regime(_apply_units, _apply_in_lanes(0), _apply_in_lanes(1))


# How many steps' values of a matrix with more numbers than this are multiplied at once.
LARGE = 2**17
STEPS_AT_ONCE = 16


# The gradient of such a matrix: sum over `times` of x (n inputs, x_t apart) times d (`features`
# outputs, d_t apart), and over the samples in the lanes.


def _outer_units(
    kind, codes, plan, m, views, v, shift, x, x_t, n, d, d_t, features, times, accumulate
):
    at, lanes = VIEW * v, width(m)
    out, row = get(views, at) + shift, get(views, at + 1)
    product(
        codes, 0, m, out, row, lanes, n, features // lanes, features % lanes,
        x, 1, 1, x_t, d, lanes, d_t, times, accumulate,
    )  # fmt: skip


def _outer_in_lanes(number: int) -> Any:
    """The same where samples (which are added up) or models (which are not) are in the lanes."""

    def outer(
        kind, codes, plan, m, views, v, shift, x, x_t, n, d, d_t, features, times, accumulate
    ):
        at, lanes, Bp = VIEW * v, width(m), plan.Bp
        out, row, col = get(views, at) + shift, get(views, at + 1), get(views, at + 2)
        # Of a large matrix some steps at a time, whose values stay in the cache.
        count = STEPS_AT_ONCE if n * features > LARGE else times
        for first in range(0, max(times, 1), max(count, 1)):
            for i in range(plan.VV):
                product(
                    codes, number, m, out, row, col, n, features, 0,
                    x + i * lanes + first * x_t, Bp, Bp, x_t,
                    d + i * lanes + first * d_t, Bp, d_t, min(count, times - first),
                    accumulate or i > 0 or first > 0,
                )  # fmt: skip

    return outer


outer = by_regime(_outer_units, _outer_in_lanes(2), _outer_in_lanes(1))


# The kinds of products that a layout needs (numbers of `tile.KINDS`).
PRODUCTS = {UNITS: (0,), SAMPLES: (0, 2), MODELS: (1,)}


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


def _put_shared(kind, results, at, v):
    store_part(results, at, v, 1)


def _put_models(kind, results, at, v):
    store(results, at * width(results), v)


# Write a number that is the same in all lanes; of models, a number each.
put_result = by_regime(_put_shared, _put_shared, _put_models)


# Add `dh` to the first of the states' derivatives.


def _receive_of(kind: Kind) -> Any:
    if len(kind.cell.states) == 1:
        return lambda kind, ds, dh: (ds[0] + dh,)
    return lambda kind, ds, dh: (ds[0] + dh, ds[1])


receive = by_kind(_receive_of)


# One-hot inputs: row `ids[id]` of U is added to the values at `out`, or what is at `d` to that row
# of the gradient. With samples or models in the lanes each lane has a row of its own.


def _add_rows_units(kind, codes, plan, m, views, v, shift, ids, first, stride, out, features):
    at = get(ids, first) * get(views, VIEW * v + 3)
    apply(kind, codes, plan, m, views, v, shift + at, out, 0, features, plan.ones, 0, 1, 1, True)


def _add_rows_in_lanes(kind, codes, plan, m, views, v, shift, ids, first, stride, out, features):
    w = get(views, VIEW * v) + shift
    for b in range(plan.B):
        row = w + get(ids, first + b * stride) * get(views, VIEW * v + 3) + b * plan.lane
        for j in range(features):
            at = out + j * plan.Bp + b
            put(m, at, get(m, at) + get(m, row + j * plan.weight))


add_rows = by_regime(_add_rows_units, _add_rows_in_lanes, _add_rows_in_lanes)


def _scatter_rows_units(kind, codes, plan, m, views, v, shift, ids, first, stride, d, features):
    at = get(ids, first) * get(views, VIEW * v + 1)
    outer(kind, codes, plan, m, views, v, shift + at, plan.ones, 0, 1, d, 0, features, 1, True)


def _scatter_rows_in_lanes(kind, codes, plan, m, views, v, shift, ids, first, stride, d, features):
    g = get(views, VIEW * v) + shift
    for b in range(plan.B):
        row = g + get(ids, first + b * stride) * get(views, VIEW * v + 1) + b * plan.lane
        for j in range(features):
            at = row + j * plan.weight
            put(m, at, get(m, at) + get(m, d + j * plan.Bp + b))


scatter_rows = by_regime(_scatter_rows_units, _scatter_rows_in_lanes, _scatter_rows_in_lanes)


# The data of an iteration into m.


@part
def copy(m, place, source, off, count):
    """m[place + i] = source[off + i] for i < count."""
    lanes = width(m)
    for i in range(0, count, lanes):
        n = min(count - i, lanes)
        store_part(m, place + i, load_part(source, off + i, n), n)


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
    if not plan.one_hot:
        row = plan.T * plan.D
        transpose(x, sample * row, apart * row, plan.B, row, m, plan.x, plan.Bp)
    if plan.output != 3 and given:
        row = plan.R * plan.O
        transpose(y, sample * row, apart * row, plan.B, row, m, plan.y, plan.Bp)


transfer = by_regime(_transfer_units, _transfer_in_lanes, _transfer_in_lanes)
