"""What a user says of a forecast, beside the training (`bptt.fitting.plan.Plan`)."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from bptt.arguments import check_types, whole
from bptt.errors import BpttError, quoted_list
from bptt.options import Option
from bptt.sequences.series import Names, Series

DIFFERENCES = ("auto", "none", "last", "season")


class ForecastPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A forecast.

    horizon: h, of how many steps. context: how many values are read before one, at most; where a
    series begins half as many are enough (0: a season, or twice the horizon if that is more, as far
    as the shortest series allows). season: how many steps a season has (0: as the frequency says,
    12 of months, 7 of days; 1, none, where the series have not three of them). difference: what the
    network's answer is added to: 'none', the mean of the series; 'last', the last value; 'season',
    the value a season before; 'auto', the one of them that alone is the best forecast of what is
    trained on. log: of the values' logarithm: changes are then shares. covariates: columns whose
    values are known ahead. stride: windows to learn from begin every so many steps. freq: the
    distance of times, as pandas writes it, or a number ('': as the times say).

    Raises BpttError for a value that is not allowed.
    """

    horizon: Annotated[int, Option("Steps to be forecast.")] = 1
    context: Annotated[int, Option("Values read before a forecast, at most; 0: by season.")] = 0
    season: Annotated[int, Option("Steps of a season; 0: by the frequency, 1: none.")] = 0
    difference: Annotated[
        str, Option("What answers are added to: auto, none (the mean), last or season.")
    ] = "auto"
    log: Annotated[bool, Option("Forecast the logarithm: changes are shares.")] = False
    covariates: Annotated[tuple[str, ...], Option("Columns whose values are known ahead.")] = ()
    stride: Annotated[int, Option("Windows to learn from begin every so many steps.")] = 1
    freq: Annotated[str, Option("Distance of times, D, MS, W-SUN, or a number.")] = ""

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("horizon", 1), ("context", 0), ("season", 0), ("stride", 1)):
            whole(name, getattr(self, name), least)
        if self.difference not in DIFFERENCES:
            raise BpttError(
                f"difference '{self.difference}' is not known: choose one of "
                f"{quoted_list(DIFFERENCES)}"
            )

    @property
    def least(self) -> int:
        """How many rows a window has at least."""
        return (self.context + 1) // 2

    @property
    def lag(self) -> int:
        """How far back the value is that is subtracted; 0: none is."""
        return {"none": 0, "last": 1, "season": self.season}[self.difference]

    @property
    def needed(self) -> int:
        """How many values a forecast needs before it."""
        return self.lag + self.least

    def plain(self) -> dict[str, Any]:
        """Plain values, for files."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    def settled(self, series: Series, best: Callable[["ForecastPlan"], str]) -> "ForecastPlan":
        """The same with what the data say in place of 0 and 'auto'; best: the difference, with the
        season known."""
        shortest = int(series.lengths.min())
        plan = self
        if not plan.season:
            season = series.frequency.season
            enough = shortest >= 3 * season + plan.horizon
            plan = msgspec.structs.replace(plan, season=season if enough else 1)
        if plan.difference == "auto":
            plan = msgspec.structs.replace(plan, difference=best(plan))
        if plan.difference == "season" and plan.season == 1:
            plan = msgspec.structs.replace(plan, difference="last")
        if not plan.context:
            room = (shortest - plan.lag - plan.horizon) // 2
            wanted = max(plan.season, 2 * plan.horizon, 8)
            plan = msgspec.structs.replace(plan, context=max(1, min(wanted, room)))
        return plan

    def check(self, series: Series, more: int = 0) -> None:
        """Raises BpttError for a series too short for a forecast and `more` values."""
        for number, length in enumerate(series.lengths):
            if length < self.needed + more:
                after = f" and {more} to compare with or to learn from" if more else ""
                raise BpttError(
                    f"series {series.name(number)} has {length} values: context {self.context} "
                    f"(half of it at least) and difference '{self.difference}' need {self.needed}"
                    f"{after}: give a smaller context or horizon, or leave the series out"
                )

    def names(self, names: Names) -> Names:
        """Names of columns, with the covariates."""
        return msgspec.structs.replace(names, covariates=self.covariates)
