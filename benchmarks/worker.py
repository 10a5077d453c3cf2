"""One contender in a process of its own.

    python -m benchmarks.worker KIND CASES CONTENDER THREADS

CASES are names with commas between them. Prints lines of JSON, any number for a case: a later one
replaces those before. KIND: 'time', which prints READY when all forms were tried, and then times
the best again for each line of its input; 'short', which checks and times nothing;
'growth', 'memory' and 'endurance' (see `benchmarks.growth`), 'use' (see `benchmarks.use`), the last
two also with '-short'.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
READY = "ready"
ENDURANCE = {"endurance": 1_000_000, "endurance-short": 100_000}


def limit_threads(threads: int) -> None:
    """Let every thread pool that is still to be made have that many threads; 0 changes nothing.

    One thread also means one processor, for libraries that size their pools by it.
    """
    if threads == 0:
        return
    for pool in POOLS:
        os.environ[f"{pool}_NUM_THREADS"] = str(threads)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})


def findings(kind: str, name: str, contender: str, threads: int) -> Iterator[dict[str, Any]]:
    """The JSON lines of one case; an empty one each time that another turn may be asked for."""
    # Imported here because NumPy's thread pool reads its size when NumPy is first imported.
    from benchmarks import growth
    from benchmarks.cases import ALL
    from benchmarks.contender import WrongResultError, check, load, measure, words

    module = load(contender)
    if module is None:
        yield {"absent": "not written"}
        return
    shared: dict[str, Any] = {"label": module.LABEL}
    if reason := module.missing():
        yield shared | {"absent": reason}
        return
    shared["versions"] = module.versions()
    if kind in ENDURANCE:
        yield shared | growth.endurance(module, name, ENDURANCE[kind])
        return
    case = ALL[name]
    if not module.covers(case):
        yield shared | {"absent": "does not do this case"}
        return
    try:
        if kind == "growth":
            yield shared | growth.point(module, case, threads)
        elif kind == "memory":
            yield shared | growth.keeping(module, case, threads)
        elif kind == "short":
            small = case.short()
            form = module.forms(small, threads)[0]
            yield shared | {"error": check(module, small, threads, form), "form": words(form)}
        else:
            for found in measure(module, case, threads):
                yield shared | found if "seconds" in found else found
    except WrongResultError as wrong:
        yield shared | {"wrong": str(wrong)}


def main() -> None:
    """Measure, and print the lines."""
    kind, names, contender, number = sys.argv[1:]
    threads = int(number)
    limit_threads(threads)

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    if kind.startswith("use"):
        from benchmarks import use

        for found in use.measure(short=kind != "use"):
            say({"threads": threads} | found)
        return
    for name in names.split(","):
        for found in findings(kind, name, contender, threads):
            if found:
                say({"case": name, "threads": threads} | found)
                continue
            print(READY, flush=True)
            if not sys.stdin.readline():
                return


if __name__ == "__main__":
    main()
