"""What a user waits for: the command line in fresh processes, and a whole training.

First training: every cache folder (compiled kernels, fonts) is empty, as on a machine where bptt
has just been installed; later ones find the caches. What the operating system has in memory is
not thrown out.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

TITLES = {
    "help": "`bptt --help`",
    "first": "`bptt train add`, the first on a machine: compiles, trains, tests, draws",
    "later": "`bptt train add`, later ones",
    "one-iteration": "`bptt train add --iterations 1`, later ones: start-up and test alone",
    "loop": "an iteration of `bptt.train`, Elman H 16, T 8, SGD, its data drawn (CPU time)",
}
CACHES = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME")
TRAIN = ("train", "add", "--seed", "0")
REPEATS = {"help": 7, "first": 3, "later": 5, "one-iteration": 5}


def command(arguments: tuple[str, ...], folder: Path, caches: Path | None) -> tuple[float, str]:
    """Wall seconds of one command in a fresh process in the folder, and all it said."""
    environment = dict(os.environ)
    # Where Python may not keep what it compiles, it compiles our modules at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if "PYTHONPATH" in environment:  # its entries may be relative to where we are
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).resolve()) for entry in entries)
    if caches is not None:
        environment |= {name: str(caches / name.lower()) for name in CACHES}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bptt", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    spent = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return spent, done.stdout + done.stderr


def summary(name: str, spent: list[float], **more: Any) -> dict[str, Any]:
    """The entry of one kind of waiting."""
    return {"case": name, "seconds": statistics.median(spent), "repeats": len(spent), **more}


def measure(short: bool) -> Iterator[dict[str, Any]]:
    """All of it; if short, once each, with the user's own caches and without the first training."""
    repeats: Mapping[str, int] = dict.fromkeys(REPEATS, 1) if short else REPEATS
    with tempfile.TemporaryDirectory() as name:
        folder, caches = Path(name), None

        def several(kind: str, *arguments: str) -> dict[str, Any]:
            command(arguments, folder, caches)  # one that is not counted
            spent = [command(arguments, folder, caches)[0] for _ in range(repeats[kind])]
            return summary(kind, spent)

        yield several("help", "--help")
        if not short:
            firsts = []
            for n in range(repeats["first"]):
                caches = folder / f"caches-{n}"
                for each in CACHES:
                    (caches / each.lower()).mkdir(parents=True)
                firsts.append(command(TRAIN, folder, caches))
            told = all("compil" in said.lower() for _, said in firsts)
            yield summary("first", [spent for spent, _ in firsts], says_it_compiles=told)
        yield several("later", *TRAIN)
        yield several("one-iteration", *TRAIN, "--iterations", "1")
    yield summary("loop", loop(5_000 if short else 200_000))


def loop(iterations: int) -> list[float]:
    """CPU seconds of an iteration of a whole training, from record to record."""
    import bptt
    from bptt.training.options import settings_for
    from bptt.training.training import Training

    every = iterations // 20
    options = {
        "cell": "elman", "hidden": 16, "optimizer": "sgd", "learning_rate": 0.01,
        "iterations": iterations, "record_every": every, "exact": False, "seed": 0,
    }  # fmt: skip
    training = Training(settings_for(bptt.Addition(bits=7), options))
    records = training.records()  # not to its end, where the network is tested
    times = [time.process_time() for _ in range(iterations // every) if next(records)]
    # The first records hold compilation and the search for a good length of a call.
    return [(after - before) / every for before, after in pairwise(times[4:])]
