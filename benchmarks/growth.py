"""Growth: time and peak memory against steps, hidden units, batch and number of models.

Through the points go, by least squares in log-log,

    time = a size^p,   memory = a size^q

Memory is what the process's peak grew by while the work of one iteration was prepared and run,
over what was resident before; that held the imports, the data and the kernels, which a run of
fewer steps had loaded. It is compared with the arrays that BPTT must keep (`Case.kept_bytes`),
for the points of growth and for the cases of `benchmarks.cases.MEMORY`, of every cell.
Endurance is the same for very many iterations: memory must not grow with them.
"""

import contextlib
import ctypes
import gc
import platform
import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import ALL, GROWTH, MEMORY, Case, problem
from benchmarks.contender import Contender, check, enough, seconds

# Bytes; against less, the allocator's own needs and late imports tell more than the arrays do.
SMALLEST = 4 << 20
TIME_POINTS = 3  # exponents are those of the largest sizes: small ones measure overhead
# What the arithmetic alone grows with. (Memory: states grow with hidden, weights with its square.)
ARITHMETIC = {"steps": 1, "hidden": 2, "batch": 1, "models": 1}
# Iterations in the engine alone, and of a whole training with its data and records.
ENGINE_CASE, TRAINING_CASE = "elman-online-16", "training"
ENDURANCE_CASES = (ENGINE_CASE, TRAINING_CASE)
AT_ONCE = 10_000  # iterations between two looks at the memory


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


def check_tiny(contender: Contender, case: Case, threads: int) -> float:
    """Error of the contender at tiny sizes of the case: the memory of a check of the case itself
    would hide what is measured."""
    tiny = replace(
        case.short(),
        hidden=min(case.hidden, 8),
        batch=min(case.batch, 3),
        steps=min(case.steps, 5),
        inputs=min(case.inputs, 3),
    )
    return check(contender, tiny, threads, contender.forms(case, threads)[0])


def keeping(contender: Contender, case: Case, threads: int) -> dict[str, Any]:
    """Memory of one iteration."""
    error = check_tiny(contender, case, threads)
    return memory(contender, case, threads) | {"error": error}


def point(contender: Contender, case: Case, threads: int) -> dict[str, Any]:
    """Memory of one iteration, and seconds of one (of all models)."""
    taken = keeping(contender, case, threads)
    form = contender.forms(case, threads)[0]
    # What a call costs is shared, of many models, by as many iterations as a study's call has.
    count = case.check if case.models == 1 else case.most
    prepared = contender.prepare(case, problem(case, count), threads, form)
    if case.models == 1:
        count, prepared = enough(contender, case, threads, form, prepared)
    return taken | {"seconds": min(seconds(prepared, threads, 5)) / count}


def endure(work: Callable[[], object], iterations: int, at_once: int = AT_ONCE) -> dict[str, int]:
    """Bytes by which the peak grew between a tenth of the iterations and all of them, when a call
    of `work` does so many `at_once`."""
    calls = iterations // at_once
    reset_peak()
    early = 0
    for n in range(calls):
        work()
        if n + 1 == max(calls // 10, 1):
            early = peak_bytes()
    return {"iterations": calls * at_once, "grown": peak_bytes() - early}


def endurance(contender: Contender, name: str, iterations: int) -> dict[str, int]:
    """The memory that grew with the iterations of one of ENDURANCE_CASES."""
    if name == TRAINING_CASE:
        return endure(training(iterations), iterations)
    case = ALL[name]
    given = problem(case, AT_ONCE)
    return endure(contender.prepare(case, given, 1, contender.forms(case, 1)[0]).run, iterations)


def training(iterations: int, at_once: int = AT_ONCE) -> Callable[[], None]:
    """A whole training of an adder; each call does the next iterations, `at_once`, ten records."""
    import bptt
    from bptt.training.options import settings_for
    from bptt.training.training import Training

    every = at_once // 10
    options = {"optimizer": "sgd", "iterations": iterations, "record_every": every, "exact": False}
    records = Training(settings_for(bptt.Addition(bits=7), options)).records()

    def work() -> None:
        for _ in range(10):
            next(records)

    return work


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
        "| what grows | size | time of an iteration, ms | peak memory, MB | arrays to keep, MB "
        "| ratio |",
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


def memory_table(lines: list[dict[str, Any]]) -> list[str]:
    """Peak memory of training, of every cell."""
    rows = [
        "| network | models | B | T | H | peak memory, MB | arrays to keep, MB | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = {line["case"]: line for line in lines if line["kind"] == "memory" and "peak" in line}
    for case in MEMORY:
        if line := found.get(case.name):
            sizes = (case.models, case.batch, case.steps, case.hidden)
            rows.append(
                f"| {case.title} | {' | '.join(f'{size:,}' for size in sizes)} "
                f"| {line['peak'] / 1e6:.1f} | {line['arrays'] / 1e6:.1f} "
                f"| {line['peak'] / line['arrays']:.2f} |"
            )
    return rows if len(rows) > 2 else []
