"""Results of studies made up for tests: the columns of the real ones, drawn from known chances."""

from typing import Any

import numpy as np
import pandas as pd


def made_up(settings: list[dict[str, Any]], seeds: int, budget: int = 20_000) -> pd.DataFrame:
    """Results of `seeds` runs of each setting.

    A setting has its varied fields and, under 'chance', (share solved, share diverged, median
    iteration); the median is that of the runs that solve. Records are 100 iterations apart.
    """
    rng = np.random.default_rng(11)
    parts = []
    for number, setting in enumerate(settings):
        solved, diverged, median = setting["chance"]
        varied = {name: value for name, value in setting.items() if name != "chance"}
        drawn = rng.random(seeds)
        status = np.where(drawn < solved, "solved", "not solved")
        status[drawn >= 1 - diverged] = "diverged"
        when = 100 * np.ceil(median * np.exp(0.4 * rng.standard_normal(seeds)) / 100)
        when = np.minimum(when, budget).astype(int)
        done = np.where(status == "not solved", budget, when)
        loss = np.where(status == "solved", 0.01, 2.0) * np.exp(rng.standard_normal(seeds))
        part = pd.DataFrame(
            {
                "run": [f"{number:06x}{seed:06x}" for seed in range(seeds)],
                "setting": number,
                "label": ", ".join(f"{name}={value}" for name, value in varied.items()),
                **varied,
                "seed": range(seeds),
                "status": status,
                "iterations": done,
                "solved_at": pd.array(when, "Int64"),
                "loss": np.where(status == "diverged", np.nan, loss),
                "loss_per_step": loss / 9,
                "wrong": np.where(status == "solved", 0.0, 0.2),
                "exact": np.where(status == "solved", 1.0, 0.3),
                "right": pd.array(np.where(status == "solved", 65_536, 20_000), "Int64"),
                "total": pd.array(np.full(seeds, 65_536), "Int64"),
                "what": np.where(status == "diverged", "loss is not finite", ""),
                "seconds": rng.random(seeds),
                "version": "0.1.0",
            }
        )
        part.loc[part["status"] != "solved", "solved_at"] = pd.NA
        for times, chance in ((2, 0.999), (4, 0.99), (16, 0.9), (64, 0.7)):
            share = np.where(rng.random(seeds) < chance, 1.0, rng.integers(0, 100, seeds) / 100)
            part[f"exact_{times}x"] = np.where(part["status"] == "solved", share, np.nan)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def made_up_curves(frame: pd.DataFrame, every: int = 100) -> pd.DataFrame:
    """Learning curves that fit: a loss that falls to the run's last, with a record to its end."""
    rng = np.random.default_rng(12)
    count = np.maximum(frame["iterations"] // every, 1).to_numpy()
    of_run = {name: np.repeat(frame[name], count) for name in ("run", "setting", "seed")}
    k = np.concatenate([np.arange(1, n + 1) for n in count])
    last = np.repeat(frame["loss"].fillna(5).to_numpy(), count)
    through = k / np.repeat(count, count)
    loss = 6 * (last / 6) ** through * np.exp(0.1 * rng.standard_normal(k.size))
    return pd.DataFrame(
        {**of_run, "iteration": k * every, "loss": loss, "loss_per_step": loss / 9,
         "wrong": 0.5 * (1 - through), "exact": through, "smooth_loss": loss}
    ).reset_index(drop=True)  # fmt: skip
