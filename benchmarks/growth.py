"""Growth: time and peak memory against steps, hidden, batch and number of models.

`python -m benchmarks.growth [CONTENDER]` measures every point and fits

    time = a size^p,   memory = a size^q

by least squares in log-log.

Memory is the growth of the process's peak while the work is prepared and run, over what was
resident before, which held the imports, the data and a tiny run. `arrays` is what BPTT must keep
(`Case.kept_bytes`). Every point is measured twice, each in a process of its own, and the second
is reported: it finds compiled kernels in the cache. --endurance trains a million iterations and
tells what memory grew after the first tenth.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import ALL, GROWTH, Case, problem
from benchmarks.contender import Contender, check, load, seconds

SMALLEST = 4 << 20  # bytes; less than this is the allocator's noise and takes no part in a fit
TIME_POINTS = 3  # exponents are those of the largest sizes: small ones measure overhead
ENDURANCE_CASE = "elman-online-16"


def _status(field: str) -> int | None:
    """Bytes of a field of Linux's process status."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def peak_bytes() -> int:
    """Peak resident memory of this process.

    On Linux ru_maxrss also holds the peak of the process this one was forked from; VmHWM is ours.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak() -> None:
    """Let the peak start again from what is resident now (Linux; elsewhere it stays)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def point(contender: Contender, case: Case, threads: int) -> dict[str, Any]:
    """Seconds of an iteration (all models) and the peak memory it took.

    The check before it is on tiny sizes: a large one's memory would hide what is measured.
    """
    form = contender.forms(case, threads)[0]
    tiny = replace(
        case.short(),
        hidden=min(case.hidden, 8),
        batch=min(case.batch, 3),
        steps=min(case.steps, 5),
        inputs=min(case.inputs, 3),
    )
    error = check(contender, tiny, threads, form)
    given = problem(case, case.most)
    reset_peak()
    before = peak_bytes()
    prepared = contender.prepare(case, given, threads, form)
    spent = min(seconds(prepared, threads, 3)) / given.iterations
    return {
        "error": error,
        "seconds": spent,
        "peak": peak_bytes() - before,
        "arrays": case.kept_bytes(),
        "data": given.x.nbytes + given.y.nbytes,
    }


def endurance(contender: Contender, iterations: int = 1_000_000, chunk: int = 10_000) -> int:
    """Bytes of memory that grew between a tenth of the iterations and all of them."""
    case = ALL[ENDURANCE_CASE]
    form = contender.forms(case, 1)[0]
    prepared = contender.prepare(case, problem(case, chunk), 1, form)
    early = 0
    runs = iterations // chunk
    for n in range(runs):
        prepared.run()
        if n == runs // 10:
            early = peak_bytes()
    return peak_bytes() - early


def exponent(sizes: list[float], values: list[float]) -> float | None:
    """The p of value = a size^p, by least squares in log-log; None for fewer than two points."""
    if len(sizes) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure(contender: str, kind: str) -> list[dict[str, Any]]:
    """All points of one kind."""
    lines = []
    for case in GROWTH[kind]:
        command = [sys.executable, "-m", "benchmarks.worker", case.name, contender, "1", "--growth"]
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            line: dict[str, Any] = {"failed": done.stderr.strip().splitlines()[-1]}
        else:
            line = json.loads(done.stdout)
        lines.append(line | {"kind": kind, "size": getattr(case, kind)})
    return lines


def fits(lines: list[dict[str, Any]]) -> dict[str, float | None]:
    """Exponents of time and memory of one kind's points."""
    good = [line for line in lines if "seconds" in line]
    last = good[-TIME_POINTS:]
    large = [line for line in good if line["peak"] >= SMALLEST][-TIME_POINTS:]
    return {
        "time": exponent([x["size"] for x in last], [x["seconds"] for x in last]),
        "memory": exponent([x["size"] for x in large], [x["peak"] for x in large]),
    }


def report(contender: str, results: dict[str, list[dict[str, Any]]]) -> str:
    """The points and exponents as a Markdown table."""
    rows = [
        f"Growth of {contender}, one thread, CPU time.",
        "",
        "| | size | ms | peak MB | arrays MB | peak / arrays |",
        "|---|---|---|---|---|---|",
    ]
    for kind, lines in results.items():
        for line in lines:
            if "seconds" not in line:
                why = line.get("absent") or line.get("wrong") or line.get("failed")
                rows.append(f"| {kind} | {line['size']} | {why} | | | |")
                continue
            peak, arrays = line["peak"] / 1e6, line["arrays"] / 1e6
            ratio = f"{peak / arrays:.2f}" if line["peak"] >= SMALLEST else "too small to tell"
            rows.append(
                f"| {kind} | {line['size']} | {line['seconds'] * 1e3:.3g} "
                f"| {peak:.1f} | {arrays:.1f} | {ratio} |"
            )
        fitted = fits(lines)
        shown = {name: "-" if p is None else f"{p:.2f}" for name, p in fitted.items()}
        rows.append(f"| {kind} | exponent | {shown['time']} | {shown['memory']} | | |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Measure growth and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("contender", nargs="?", default="ours")
    parser.add_argument("--only", nargs="+", choices=list(GROWTH), default=list(GROWTH))
    parser.add_argument("--out", type=Path, help="folder for growth.md and growth.json")
    parser.add_argument("--endurance", action="store_true")
    options = parser.parse_args()
    contender = load(options.contender)
    if contender is None or contender.missing():
        print(f"{options.contender}: {contender.missing() if contender else 'not written'}")
        return
    if options.endurance:
        grown = endurance(contender)
        print(f"{options.contender}: {grown / 1e6:.2f} MB more at the end of a million iterations")
        return
    results = {kind: measure(options.contender, kind) for kind in options.only}
    table = report(options.contender, results)
    print(table)
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        (options.out / "growth.md").write_text(table)
        (options.out / "growth.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
