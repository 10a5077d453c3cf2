"""The figure of a forecast: the end of the series, what comes next, and its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bptt.fitting.forecasting.plan import ForecastPlan
from bptt.floats import usual
from bptt.sequences.series import Series
from bptt.training.figures import BLUE, ORANGE, ShownFigure

# So many series are drawn at most; of each so many values for a step that is forecast.
MOST_SERIES, PAST = 4, 6


@usual
def forecast_figure(
    series: Series,
    known: NDArray[np.intp],
    plan: ForecastPlan,
    columns: Mapping[str, Any],
    band: tuple[str, str, str] | None,
) -> Figure:
    """The end of some series and what follows. known: (n,) after how many values it does; columns:
    forecasts by name, (n, h); band: the names of the interval's ends, and what it is called."""
    shown, h = min(len(series), MOST_SERIES), plan.horizon
    figure = ShownFigure(figsize=(8.2, 1.2 + 2.4 * shown), layout="constrained")
    FigureCanvasAgg(figure)
    for number, axes in enumerate(figure.subplots(shown, 1, squeeze=False)[:, 0]):
        at = int(known[number]) - 1
        past = slice(max(0, at - max(PAST * h, 2 * plan.season, 24)), None)
        y, times = series.y[number], series.times[number]
        ahead = series.frequency.after(times[at], h)
        # Drawn from the last value on, so that no gap looks like one in the data.
        line = np.concatenate([times[at : at + 1], ahead.astype(times.dtype)])
        said = {name: [y[at], *each[number]] for name, each in columns.items()}
        if band:
            low, high, words = band
            axes.fill_between(line, said[low], said[high], color=ORANGE, alpha=0.2, linewidth=0,
                              label=words)  # fmt: skip
        axes.plot(times[past], y[past], color=BLUE, linewidth=1.3, label=series.names.target)
        axes.plot(line, said["yhat"], color=ORANGE, linewidth=1.6, label="forecast")
        axes.set_title(str(series.ids[number]), loc="left", fontsize=11)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if not number:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=3)
    return figure
