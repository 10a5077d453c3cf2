"""Intervals of forecasts by split conformal prediction.

Of n forecasts that were held out the errors r_1 <= ... <= r_n of step k are known, |z - z_hat| / d,
in units of each series' own spread. The interval of level p is z_hat -+ d r_j, j = ceil((n + 1) p):
were a new forecast's error drawn like these, it would be inside with a probability of at least p
(Vovk, Gammerman and Shafer 2005; Lei et al. 2018, J. Am. Stat. Assoc. 113:1094-1111, section 2.2).
Series change, so no interval of a forecast is sure: a backtest says how many values were inside.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import items, real
from bptt.errors import BpttError

Floats = NDArray[np.float64]
MOST_KEPT = 1000


def residuals_of(errors: Floats) -> Floats:
    """(h, n): of each step its errors (n, h) in order; of many forecasts some, evenly over time."""
    if len(errors) > MOST_KEPT:
        errors = errors[np.linspace(0, len(errors) - 1, MOST_KEPT).round().astype(np.intp)]
    return np.sort(np.abs(errors), axis=0).T.copy()


def checked_levels(level: Any) -> tuple[float, ...]:
    """Levels in per cent, one or several. Raises BpttError for one that is not between."""
    given: Iterable[Any] = [level] if isinstance(level, int | float) else items("level", level)
    found = tuple(real("level", each, "in per cent") for each in given)
    for each in found:
        if not 0 < each < 100:
            raise BpttError(f"level {each:g} is not allowed: per cent between 0 and 100 are, as 80")
    return found


def least_held(level: float) -> int:
    """How many forecasts have to be held out for an interval of a level: those with
    ceil((n + 1) p) <= n."""
    return math.ceil(level / (100 - level) - 1e-9)


def half_width(residuals: Floats, level: float) -> Floats:
    """(h,) r_j of each step. Raises BpttError where too few forecasts were held out."""
    n = residuals.shape[1]
    place = math.ceil((n + 1) * level / 100 - 1e-9)
    if place > n:
        raise BpttError(
            f"an interval of {level:g} % needs {least_held(level)} forecasts held out, but {n} "
            "were: give a larger validation share, or a lower level"
        )
    width: Floats = residuals[:, place - 1]
    return width
