"""Checks of equations by themselves: every derivative of a cell or an output against central
differences, before any network is made of them.

The equations are pointwise, so a few random units stand for all. A derivative of one of them by
one argument is asked for by the loss

    sum over units and states of weight * s_new        (of an output: the sum of its losses)

whose gradient the backward equation gives for ds_new = weight. A wrong entry names its argument:
`da.f` is the derivative by preactivation f, `ds.c` by the previous state c, `dp.peep` by a
parameter.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import shown, whole
from bptt.equations.cells import Cell
from bptt.equations.outputs import Output
from bptt.errors import BpttError
from bptt.network.gradient_check import GradientCheck, check_gradients

UNITS = 11
# How far twice the derivatives may be from those for twice ds_new.
LINEAR = 1e-9

Arrays = Mapping[str, NDArray[Any]]


def check_cell(cell: Cell, *, seed: int = 0, **options: Any) -> GradientCheck:
    """Check every derivative that a cell's backward equation gives: by each preactivation (da),
    previous state (ds) and parameter (dp), at random values of float64.

    seed: of the values. options: as of `bptt.check_gradients`. Print the result for a table; its
    `passed` says whether all is well. Raises BpttError if what is to be checked is no cell, the
    equations give NaN, or the derivatives are not proportional to ds_new, as sums over time need.

    >>> from bptt.equations.cells import LSTM
    >>> check_cell(LSTM).passed
    True
    """
    if not isinstance(cell, Cell):
        raise BpttError(f"{shown(cell)} is no Cell: give the object, as bptt.Cell(...)")
    rng = np.random.default_rng(whole("seed", seed, 0))
    names = {
        "a": cell.preactivations, "s": cell.states,
        "p": tuple(each.name for each in cell.parameters),
    }  # fmt: skip
    values = {
        f"d{letter}.{name}": rng.normal(size=UNITS) for letter in names for name in names[letter]
    }
    weights = tuple(rng.normal(size=UNITS) for _ in cell.states)

    def arguments(arrays: Arrays) -> tuple[tuple[NDArray[Any], ...], ...]:
        given = [tuple(arrays[f"d{letter}.{name}"] for name in names[letter]) for letter in names]
        return tuple(given if cell.parameters else given[:2])

    def loss(arrays: Arrays) -> float:
        _, s_new = cell.forward(*arguments(arrays))
        return float(sum((w * each).sum() for w, each in zip(weights, s_new, strict=True)))

    def derivatives(factor: float) -> dict[str, NDArray[Any]]:
        a, s, *p = arguments(values)
        gates, s_new = cell.forward(a, s, *p)
        found = cell.backward(gates, s, s_new, tuple(factor * each for each in weights), *p)
        flat = [each for part in found for each in part]
        return dict(zip(values, flat, strict=True))

    with np.errstate(all="ignore"):
        claimed = derivatives(1.0)
        _check_finite(f"cell '{cell.name}'", {**claimed, "forward": np.array(loss(values))})
        for name, twice in derivatives(2.0).items():
            if not np.allclose(twice, 2 * claimed[name], rtol=LINEAR, atol=LINEAR):
                raise BpttError(
                    f"cell '{cell.name}', backward: {name} is not proportional to ds_new: every "
                    "term of a derivative has one of ds_new as a factor"
                )
        return check_gradients(loss, values, claimed, **options)


def check_output(output: Output, *, seed: int = 0, **options: Any) -> GradientCheck:
    """Check the derivative `do` of an output's loss by o, at random values of float64 (for softmax,
    whose equation is not pointwise, at rows of several).

    seed, options and result: as of `check_cell`.

    >>> from bptt.equations.outputs import OUTPUTS
    >>> check_output(OUTPUTS["sigmoid", "squared"]).passed
    True
    """
    if not isinstance(output, Output):
        raise BpttError(f"{shown(output)} is no Output: give the object, as bptt.Output(...)")
    rng = np.random.default_rng(whole("seed", seed, 0))
    o = rng.normal(scale=2, size=(UNITS, 3))
    y: Any = rng.integers(0, 3, UNITS) if output.classes else rng.random((UNITS, 3))
    equation: Any = output.equation
    with np.errstate(all="ignore"):
        _, losses, do = equation(o, y)
        _check_finite(f"output '{output.name}'", {"loss": losses, "do": do})
        return check_gradients(
            lambda arrays: float(equation(arrays["do"], y)[1].sum()), {"do": o}, {"do": do},
            **options,
        )  # fmt: skip


def _check_finite(what: str, values: Arrays) -> None:
    for name, value in values.items():
        if not np.isfinite(value).all():
            bad = value.flat[np.flatnonzero(~np.isfinite(value))[0]]
            raise BpttError(f"{what}: {name} is {bad} for ordinary numbers: it must be finite")
