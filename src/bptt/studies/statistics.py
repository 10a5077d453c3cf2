"""How sure a number over seeds is: shares, times to solve and differences, with intervals.

Everything rests on Wilson's interval of a share, so that all parts of a report agree: the curve
of the share solved by an iteration ends in the share and interval that the table gives.

    share             Wilson                                     `wilson`
    difference        the two intervals combined                 `difference`
    time to solve     Kaplan and Meier, Wilson at each time      `solved_by`
    its quantiles     where that curve and its band cross q      `solve_time`

Arrays in, arrays out: a hundred thousand settings cost one call. Nothing here knows of networks.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
# Shares are products of up to as many factors as there are runs; q = 0.5 must be met by 50 of 100.
ROUNDING = 1e-9


class Interval(NamedTuple):
    """An estimate and the two ends of its interval, as arrays of one shape."""

    estimate: Floats
    low: Floats
    high: Floats


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """z with P(|N(0, 1)| < z) = confidence; 1.96 for 95 %."""
    return float(ndtri((1 + confidence) / 2))


def wilson(count: ArrayLike, total: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The share p = count / total with Wilson's interval.

    The interval holds every share P that a test would not reject:

        (p - P)² <= z² P (1 - P) / n
        P = (p + z² / 2n ± z sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n)

    Unlike p ± z sqrt(p (1 - p) / n) it has a width when none or all are counted, and covers the
    true share about as often as it says from small n on. Nothing counted of nothing (n = 0) gives
    NaN in [0, 1].

    Neither number needs to be whole. `count` may be the sum of n values that each lie in [0, 1]:
    such values with mean m have at most the variance m (1 - m) of ones that are only 0 or 1, so
    the interval of their mean is never too narrow, and has a width when all of them are 1.

    Source: E. B. Wilson 1927, J. Am. Stat. Assoc. 22:209-212; R. G. Newcombe 1998, Statistics in
    Medicine 17:857-872, method 3.
    """
    n = np.asarray(total, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(count, np.float64) / n
    z2 = normal_quantile(confidence) ** 2
    known = np.where(n > 0, p, 0.5)
    middle = n * known + z2 / 2
    half = np.sqrt(z2 * (n * known * (1 - known) + z2 / 4))
    low, high = (middle - half) / (n + z2), (middle + half) / (n + z2)
    # Exactly 0 and 1 at the ends, where rounding leaves about 1e-17.
    return Interval(p, np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high))


def difference(first: Interval, second: Interval) -> Interval:
    """first - second of two independent estimates, with an interval made of their intervals:

        d    = e1 - e2
        low  = d - sqrt((e1 - l1)² + (h2 - e2)²)
        high = d + sqrt((h1 - e1)² + (e2 - l2)²)

    For two Wilson intervals this is Newcombe's hybrid score interval of a difference of shares; the
    same step serves any pair of estimates whose intervals need not be symmetric (medians).

    Source: R. G. Newcombe 1998, Statistics in Medicine 17:873-890, method 10; in general G. Y. Zou
    and A. Donner 2008, Statistics in Medicine 27:1693-1702.
    """
    e1, l1, h1 = (np.asarray(part, np.float64) for part in first)
    e2, l2, h2 = (np.asarray(part, np.float64) for part in second)
    with np.errstate(invalid="ignore"):  # infinite - infinite: nothing is known, NaN
        d = e1 - e2
        return Interval(d, d - np.hypot(e1 - l1, h2 - e2), d + np.hypot(h1 - e1, e2 - l2))


def solved_by(
    group: ArrayLike, time: ArrayLike, solved: ArrayLike, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """The share of runs that have solved the task by each time, group by group.

    group: (N,) numbers 0 .. G-1, each there at least once. time: (N,) when a run solved the task,
    or until when it was watched without solving it; infinite for a run that never will (it
    diverged: it stays among the others that have not solved, instead of being taken out as if
    it might still have). solved: (N,) which of the two.

    With d_i runs that solve at time t_i and n_i still watched and unsolved just before it:

        S(t) = product over t_i <= t of (1 - d_i / n_i)                   share not solved yet
        V(t) = S² sum over t_i <= t of d_i / (n_i (n_i - d_i))            Greenwood's variance
        n'   = S (1 - S) / V                                              effective number of runs
        share F = 1 - S, with Wilson's interval of n' F of n'

    While no run has been given up, n' is the number of runs and the interval is Wilson's of the
    runs solved so far. Where S = 0, V says nothing and n' stays what it was one time before.

    One row for each group and time with d_i > 0, and one before at time 0, in order; columns
    group, time, at_risk (n_i), solved (d_i), share, low, high.

    Source: E. L. Kaplan and P. Meier 1958, J. Am. Stat. Assoc. 53:457-481; K. J. Rothman 1978,
    J. Chronic Diseases 31:557-560 (the effective number).
    """
    group, time = np.asarray(group, np.intp), np.asarray(time, np.float64)
    events = np.asarray(solved, np.bool_)
    sizes = np.bincount(group)
    order = np.lexsort((time, group))
    group, time, events = group[order], time[order], events[order]
    # Each block is one group at one time; who is at risk is in it or after it.
    new = np.ones(group.size, np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (time[1:] != time[:-1])
    starts = np.flatnonzero(new)
    counts = np.add.reduceat(events, starts, dtype=np.intp) if starts.size else starts
    starts, counts = starts[counts > 0], counts[counts > 0]
    at_risk = np.cumsum(sizes)[group[starts]] - starts
    zeros = np.zeros(sizes.size)
    table = pd.DataFrame(
        {
            "group": np.concatenate([np.arange(sizes.size), group[starts]]),
            "time": np.concatenate([zeros - 1, time[starts]]),  # before a solution at time 0
            "at_risk": np.concatenate([sizes, at_risk]),
            "solved": np.concatenate([zeros.astype(np.intp), counts]),
        }
    ).sort_values(["group", "time"], ignore_index=True)
    table["time"] = table["time"].clip(lower=0)
    d, n = table["solved"], table["at_risk"]
    by_group = table["group"]
    unsolved = (1 - d / n).groupby(by_group).cumprod()
    spread = (d / (n * (n - d).where(n > d))).fillna(0).groupby(by_group).cumsum()
    share = 1 - unsolved
    effective = (share / (unsolved * spread)).where((unsolved > 0) & (spread > 0))
    effective = effective.fillna(n.where(table["time"].eq(0) & d.eq(0))).ffill()
    table["share"], table["low"], table["high"] = wilson(share * effective, effective, confidence)
    return table


def solve_time(curve: pd.DataFrame, share: float = 0.5) -> Interval:
    """When a share of the runs has solved the task, for each group of `solved_by`, with interval.

    The first time at which the curve has reached the share; the interval goes from the first time
    at which the upper end of its band has, to the first at which the lower end has passed it.
    Infinite: not reached. The median's interval holds the times at which a test would not reject
    that half have solved the task (of complete times: those between two order statistics).

    Source: R. Brookmeyer and J. Crowley 1982, Biometrics 38:29-41, with Wilson's test.
    """
    groups = curve["group"].iloc[-1] + 1 if len(curve) else 0
    ends = []
    for reached in (
        curve["share"] >= share - ROUNDING,
        curve["high"] >= share - ROUNDING,
        curve["low"] > share + ROUNDING,
    ):
        first = curve[reached].groupby("group")["time"].first()
        ends.append(first.reindex(range(groups), fill_value=math.inf).to_numpy(np.float64))
    return Interval(*ends)


def _rank(share: float, count: Any) -> Any:
    """The place, from 0, of the smallest value that at least `share` of `count` do not exceed."""
    return np.maximum(np.ceil(share * count - ROUNDING).astype(np.intp) - 1, 0)


def group_quantile(group: ArrayLike, value: ArrayLike, share: float = 0.5) -> Floats:
    """For each group 0 .. G-1 the smallest value that at least `share` of its values do not exceed.

    It is one of the values (nothing is interpolated), so infinite ones are allowed. NaN counts as
    infinite: a loss that is not a number is worse than any.
    """
    group, value = np.asarray(group, np.intp), np.asarray(value, np.float64)
    value = np.where(np.isnan(value), np.inf, value)
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    quantiles: Floats = value[np.lexsort((value, group))][starts + _rank(share, sizes)]
    return quantiles


def band(values: ArrayLike, low: float = 0.25, high: float = 0.75) -> Interval:
    """Median and two quantiles over the first axis of (runs, records): a curve and its band.

    Quantiles are values that occur, as in `group_quantile`; NaN counts as infinite. The band is
    where the runs between the two shares lie, not how sure the median is.
    """
    values = np.asarray(values, np.float64)
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=0)
    return Interval(*(ordered[_rank(share, len(ordered))] for share in (0.5, low, high)))
