"""One contender in a process of its own: `python -m benchmarks.worker CASES CONTENDER THREADS`.

CASES are names with commas between them. Prints one line of JSON for each. With --short nothing is
timed; with --growth time and peak memory of one run are measured (see `benchmarks.growth`).
"""

import argparse
import json
import os
import sys
from typing import Any

POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")


def limit_threads(threads: int) -> None:
    """Let every thread pool that is still to be made have that many threads.

    One thread also means one processor, for libraries that size their pools by it.
    """
    for pool in POOLS:
        os.environ[f"{pool}_NUM_THREADS"] = str(threads)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})


def entry(name: str, contender: str, threads: int, how: str) -> dict[str, Any]:
    """The JSON line of one case."""
    # Imported here because NumPy's thread pool reads its size when NumPy is first imported.
    from benchmarks import growth
    from benchmarks.cases import ALL
    from benchmarks.contender import WrongResultError, load, measure

    case = ALL[name]
    line: dict[str, Any] = {"case": name, "contender": contender, "threads": threads}
    module = load(contender)
    if module is None:
        return line | {"absent": "not written"}
    line["label"] = module.LABEL
    if reason := module.missing():
        return line | {"absent": reason}
    if not module.covers(case):
        return line | {"absent": "does not do this case"}
    line["versions"] = module.versions()
    try:
        if how == "growth":
            return line | growth.point(module, case, threads)
        return line | measure(module, case, threads, short=how == "short")
    except WrongResultError as wrong:
        return line | {"wrong": str(wrong)}


def main() -> None:
    """Measure, and print one JSON line for each case."""
    parser = argparse.ArgumentParser(prog="benchmarks.worker", description=__doc__)
    parser.add_argument("cases")
    parser.add_argument("contender")
    parser.add_argument("threads", type=int)
    parser.add_argument("--short", dest="how", action="store_const", const="short", default="time")
    parser.add_argument("--growth", dest="how", action="store_const", const="growth")
    options = parser.parse_args()
    limit_threads(options.threads)
    for name in options.cases.split(","):
        line = entry(name, options.contender, options.threads, options.how)
        print(json.dumps(line))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
