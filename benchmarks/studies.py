"""What studies cost: the hyperparameter study of 40 million iterations, and very many short runs.

python -m benchmarks.studies grid [SEEDS]     the grid of the published hyperparameter study
python -m benchmarks.studies many [RUNS]      a 3-unit adder on so many seeds

Each prints one JSON object: runs, iterations, seconds of wall time, runs and iterations a second,
size of the database, and the largest memory of this process and of its workers, in megabytes.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bptt.studies import Panel, Study

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
        started = time.perf_counter()
        results = study.run(Path(name) / "study")
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (Path(name) / "study").iterdir())
        frame = results.frame
    # Two panels may share a setting, which is trained once.
    trained = frame.drop_duplicates("run")
    peak = {
        who: resource.getrusage(number).ru_maxrss / 1024
        for who, number in (("self", resource.RUSAGE_SELF), ("worker", resource.RUSAGE_CHILDREN))
    }
    iterations = int(trained["iterations"].sum())
    return {
        "runs": len(trained), "iterations": iterations, "seconds": round(seconds, 2),
        "runs_a_second": round(len(trained) / seconds, 1),
        "iterations_a_second": round(iterations / seconds),
        "database_megabytes": round(size / 1e6, 2), "peak_megabytes": peak,
        "status": frame["status"].value_counts().to_dict(),
    }  # fmt: skip


def main() -> None:
    """Measure what the command line asks for."""
    kinds = {"grid": (grid, 100), "many": (many, 100_000)}
    make, count = kinds[sys.argv[1]]
    print(json.dumps(measured(make(int(sys.argv[2]) if len(sys.argv) > 2 else count)), indent=2))


if __name__ == "__main__":
    main()
