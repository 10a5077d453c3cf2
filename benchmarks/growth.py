"""Growth: time and peak memory against steps, hidden units, batch and number of models.

Through the points go, by least squares in log-log,

    time = a size^p,   memory = a size^q

Memory is what the process's peak grew by while the work of one iteration was prepared and run,
over what was resident before; that held the imports, the data and the kernels, which a run of
fewer steps had loaded. It is compared with the arrays that BPTT must keep (`Case.kept_bytes`).
Endurance is the same for very many iterations: memory must not grow with them.
"""

import contextlib
import ctypes
import gc
import platform
import resource
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import ALL, GROWTH, Case, problem
from benchmarks.contender import Contender, check, iterations_to_time, seconds

# Bytes; against less, the allocator's own needs and late imports tell more than the arrays do.
SMALLEST = 16 << 20
TIME_POINTS = 3  # exponents are those of the largest sizes: small ones measure overhead
# What the arithmetic alone grows with. (Memory: states grow with hidden, weights with its square.)
ARITHMETIC = {"steps": 1, "hidden": 2, "batch": 1, "models": 1}
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
    """Let the peak start again from what is in use now (Linux; elsewhere it stays)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps some of what was freed
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(contender: Contender, case: Case, threads: int) -> dict[str, int]:
    """Bytes the peak grew by in one iteration, the arrays it must keep, and its data."""
    form = contender.forms(case, threads)[0]
    fewer = replace(case, steps=min(case.steps, 2))
    contender.prepare(fewer, problem(fewer, 1), threads, form).run()  # loads kernels
    given = problem(case, 1)
    reset_peak()
    before = peak_bytes()
    contender.prepare(case, given, threads, form).run()
    data = given.x.nbytes + given.y.nbytes
    return {"peak": peak_bytes() - before, "arrays": case.kept_bytes(), "data": data}


def point(contender: Contender, case: Case, threads: int) -> dict[str, Any]:
    """Memory of one iteration, and seconds of one (of all models).

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
    taken = memory(contender, case, threads)
    given = problem(case, case.check)
    prepared = contender.prepare(case, given, threads, form)
    count = iterations_to_time(case, min(seconds(prepared, threads, 2)) / case.check)
    if count != case.check:
        prepared = contender.prepare(case, problem(case, count), threads, form)
    return taken | {"error": error, "seconds": min(seconds(prepared, threads, 5)) / count}


def endurance(contender: Contender, iterations: int, chunk: int = 10_000) -> dict[str, int]:
    """Bytes by which the peak grew between a tenth of the iterations and all of them."""
    case = ALL[ENDURANCE_CASE]
    prepared = contender.prepare(case, problem(case, chunk), 1, contender.forms(case, 1)[0])
    runs = iterations // chunk
    reset_peak()
    early = 0
    for n in range(runs):
        prepared.run()
        if n + 1 == max(runs // 10, 1):
            early = peak_bytes()
    return {"iterations": runs * chunk, "grown": peak_bytes() - early}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """The p of value = a size^p, by least squares in log-log; None for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def of_kind(lines: Iterable[dict[str, Any]], kind: str) -> list[tuple[float, dict[str, Any]]]:
    """Size and line of every measured point of one kind, by size."""
    names = {case.name: getattr(case, kind) for case in GROWTH[kind]}
    measured = [line for line in lines if line["kind"] == "growth" and "seconds" in line]
    points = [(names[line["case"]], line) for line in measured if line["case"] in names]
    return sorted(points, key=lambda point: point[0])


def fits(points: list[tuple[float, dict[str, Any]]]) -> dict[str, float | None]:
    """Exponents of time and memory of one kind's points."""
    last = points[-TIME_POINTS:]
    large = [(size, line) for size, line in points if line["arrays"] >= SMALLEST][-TIME_POINTS:]
    return {
        "time": exponent([size for size, _ in last], [line["seconds"] for _, line in last]),
        "memory": exponent([size for size, _ in large], [line["peak"] for _, line in large]),
    }


def ratio(line: dict[str, Any]) -> float | None:
    """Peak memory as a multiple of the arrays BPTT must keep; None where they are too few."""
    return line["peak"] / line["arrays"] if line["arrays"] >= SMALLEST else None


def table(lines: list[dict[str, Any]]) -> list[str]:
    """The points and exponents as rows of a Markdown table."""
    rows = [
        "| | size | time of an iteration, ms | peak memory, MB | arrays to keep, MB | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for kind in GROWTH:
        points = of_kind(lines, kind)
        for size, line in points:
            multiple = ratio(line)
            shown = "too small to tell" if multiple is None else f"{multiple:.2f}"
            rows.append(
                f"| {kind} | {size:,} | {line['seconds'] * 1e3:.3g} "
                f"| {line['peak'] / 1e6:.1f} | {line['arrays'] / 1e6:.1f} | {shown} |"
            )
        if points:
            fitted = {name: "-" if p is None else f"{p:.2f}" for name, p in fits(points).items()}
            rows.append(
                f"| {kind} | exponent (arithmetic: {ARITHMETIC[kind]}) | {fitted['time']} "
                f"| {fitted['memory']} | | |"
            )
    return rows if len(rows) > 2 else []
