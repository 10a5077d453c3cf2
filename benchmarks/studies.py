"""What studies cost: the hyperparameter study of 40 million iterations, and very many short runs.

python -m benchmarks.studies grid [SEEDS]     the grid of the published hyperparameter study
python -m benchmarks.studies many [RUNS]      a 3-unit adder on so many seeds
python -m benchmarks.studies report [N]       the report of 100,000 made-up runs of N settings

The first two print one JSON object: runs, iterations, seconds of wall time and of the processors,
runs and iterations a second, size of the database, the largest memory, in megabytes, of this
process while it ran them, of its workers, and of this process with the table of all runs, and what
`bptt study report` then takes; the last prints that alone.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bptt.studies import Panel, Study
from bptt.studies.store import Row, Store

REPORTED = 100_000

NORMAL = {"U": "normal", "W": "normal", "V": "normal"}


def matrices(initializer: str) -> dict[str, str]:
    """The same initialiser for all matrices."""
    return dict.fromkeys("UWV", initializer)


def grid(seeds: int) -> Study:
    """The published study: one question a panel, every run to its last iteration."""
    rates = {0.01: 50_000, 0.1: 20_000, 0.5: 10_000, 1.0: 10_000, 2.0: 10_000}
    return Study(
        base={
            "bits": 8, "carry": "wrap", "low": 0, "high": 128, "bias": False, "optimizer": "sgd",
            "activation": "sigmoid", "loss": "squared", "reduction": "sequence",
            "learning_rate": 0.1, "initializers": NORMAL, "iterations": 10_000, "hidden": 8,
        },
        panels=[
            Panel(name="hidden", base={"iterations": 20_000},
                  grid={"hidden": [2, 4, 8, 16, 32, 64]}),
            Panel(name="std", grid={"initializers": [
                matrices(f"normal({std})") for std in (0.1, 0.5, 1, 2, 5)]}),
            Panel(name="rate", settings=[
                {"learning_rate": rate, "iterations": count} for rate, count in rates.items()]),
            Panel(name="initializer", base={"hidden": 16, "learning_rate": 0.2}, grid={
                "initializers": [matrices(n) for n in ("normal", "lecun_normal", "he_normal")]}),
            Panel(name="tanh", base={"hidden": 16, "activation": "tanh", "learning_rate": 0.075},
                  grid={"initializers": [matrices(n) for n in ("normal", "lecun_normal")]}),
            Panel(name="relu", base={"hidden": 16, "activation": "relu", "iterations": 20_000},
                  grid={"initializers": [matrices(n) for n in ("normal", "he_normal")]}),
        ],
        seeds=seeds, solved={"loss": 0.05}, stop_when_solved=False, verdict=False, curves=True,
    )  # fmt: skip


def many(runs: int) -> Study:
    """A 3-unit adder on very many seeds."""
    return Study(
        base={"bits": 8, "hidden": 3, "iterations": 2000, "learning_rate": 0.02}, seeds=runs
    )


def measured(study: Study) -> dict[str, Any]:
    """Run a study in a temporary folder, with all cores."""
    with tempfile.TemporaryDirectory() as name:
        before, started = processor_seconds(), time.perf_counter()
        results = study.run(Path(name) / "study")
        seconds, worked = time.perf_counter() - started, processor_seconds() - before
        size = sum(path.stat().st_size for path in (Path(name) / "study").iterdir())
        peak = {
            "self": peak_megabytes(resource.RUSAGE_SELF),
            "worker": peak_megabytes(resource.RUSAGE_CHILDREN),
        }
        frame = results.frame
        peak["self with the table"] = peak_megabytes(resource.RUSAGE_SELF)
        report = reported(Path(name) / "study")
    # Two panels may share a setting, which is trained once.
    trained = frame.drop_duplicates("run")
    iterations = int(trained["iterations"].sum())
    return {
        "runs": len(trained), "iterations": iterations, "seconds": round(seconds, 2),
        "processor_seconds": round(worked, 2), "runs_a_second": round(len(trained) / seconds, 1),
        "iterations_a_second": round(iterations / seconds),
        "database_megabytes": round(size / 1e6, 2), "peak_megabytes": peak,
        "status": frame["status"].value_counts().to_dict(), "report": report,
    }  # fmt: skip


def reported(folder: Path) -> dict[str, float]:
    """What `bptt study report` takes in a process of its own, in seconds."""
    before, started = processor_seconds(), time.perf_counter()
    command = [sys.executable, "-m", "bptt", "study", "report", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, worked = time.perf_counter() - started, processor_seconds() - before
    return {"seconds": round(seconds, 2), "processor_seconds": round(worked, 2)}


def peak_megabytes(who: int) -> float:
    """The most memory that this process, or one that it has waited for, has had."""
    return round(resource.getrusage(who).ru_maxrss / 1024, 1)


def processor_seconds() -> float:
    """What this process and those that it has waited for have taken of the processors."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def made_up(settings: int, folder: Path) -> None:
    """A study of REPORTED runs whose results are drawn at random, with a share solved of its own
    for each setting."""
    ranges = {"learning_rate": {"log_uniform": [1e-3, 1]}, "hidden": {"integer": [3, 32]}}
    seeds = max(1, REPORTED // settings)
    study = Study(base={"bits": 8, "iterations": 2000}, random=ranges, draws=settings, seeds=seeds)
    store, rng = Store(study, folder), np.random.default_rng(0)
    rows = []
    for setting in store.settings:
        chance = rng.random()
        for seed, drawn in enumerate(rng.random(seeds)):
            solved = 100 * int(rng.integers(1, 20)) if drawn < 0.9 * chance else None
            status = (
                "solved" if solved else "diverged" if drawn > 1 - 0.05 * chance else "not solved"
            )
            values = (status, solved or 2000, solved, float(drawn), float(drawn) / 9, 0.1, 0.5,
                      65_536, 65_536, "", 0.003, "made up")  # fmt: skip
            rows.append(Row(setting.digest, seed, values, []))
    store.add(rows)
    store.close()


def main() -> None:
    """Measure what the command line asks for."""
    kinds = {"grid": (grid, 100), "many": (many, 100_000), "report": (None, 20_000)}
    make, count = kinds[sys.argv[1]]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else count
    if make is not None:
        found = measured(make(count))
    else:
        with tempfile.TemporaryDirectory() as name:
            made_up(count, Path(name) / "study")
            found = reported(Path(name) / "study")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
