"""What is to be measured, as jobs for worker processes, and how their answers are gathered."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import use
from benchmarks.cases import ALL, CASES, GROWTH, MEMORY
from benchmarks.goals import GROWN_MEGABYTES
from benchmarks.growth import ENDURANCE_CASES

Line = dict[str, Any]

# One case of every kind of work; the others differ in size only.
SHORT = (
    *("elman-online-3", "elman-online-16", "elman-online-16-float64", "elman-128-models-3"),
    *("elman-128-models-16", "elman-minibatch-3", "lstm-text-64", "lstm-gradient-128"),
    "gru-gradient-128",
)
SHORT_GROWTH = ("growth-steps-16", "growth-steps-64")
OTHERS = ("growth", "memory", "endurance", "use")
NAMES = tuple(case.name for case in CASES) + OTHERS


@dataclass(frozen=True)
class Job:
    """Work for one process; the line it gives for each case is known by kind, case, contender."""

    kind: str
    cases: tuple[str, ...]
    contender: str
    threads: int

    def lines(self) -> list[tuple[str, str, str]]:
        """What its lines are known by."""
        return [(self.kind.removesuffix("-short"), case, self.contender) for case in self.cases]


def key(line: Line) -> tuple[str, str, str]:
    """What a line is known by."""
    return line["kind"], line["case"], line["contender"]


def jobs(names: Sequence[str], contenders: Sequence[str], short: bool) -> list[Job]:
    """All jobs for these names: cases, contenders back to back, then what concerns us alone."""
    chosen = [ALL[name] for name in names if name not in OTHERS]
    made = []
    if short:
        for threads in sorted({case.threads for case in chosen}):
            batch = tuple(case.name for case in chosen if case.threads == threads)
            made += [Job("short", batch, contender, threads) for contender in contenders]
    else:
        made = [
            Job("time", (case.name,), contender, case.threads)
            for case in chosen
            for contender in contenders
        ]
    if "ours" not in contenders:
        return made
    points = [case.name for cases in GROWTH.values() for case in cases]
    kind = "-short" if short else ""
    if "growth" in names:
        made += [Job("growth", (name,), "ours", 1) for name in (SHORT_GROWTH if short else points)]
    if "memory" in names and not short:  # growth has gone through the same
        made += [Job("memory", (case.name,), "ours", 1) for case in MEMORY]
    if "endurance" in names:
        made += [Job("endurance" + kind, (name,), "ours", 1) for name in ENDURANCE_CASES]
    if "use" in names:
        waits = tuple(name for name in use.TITLES if not (short and name == "first"))
        made.append(Job("use" + kind, waits, "ours", 0))
    return made


def work(job: Job, limit: float) -> list[Line]:
    """What one worker found, one line a case; it may take `limit` seconds a case."""
    arguments = [job.kind, ",".join(job.cases), job.contender, str(job.threads)]
    command = [sys.executable, "-m", "benchmarks.worker", *arguments]
    allowed = limit * len(job.cases)
    started = time.monotonic()
    output, why, late = _run(command, allowed)
    took = round(time.monotonic() - started, 1)
    lines = gather(job, output, f"no answer within {allowed:g} s" if late else "", why)
    return [line | {"worker_seconds": took} for line in lines]


def _run(command: list[str], allowed: float) -> tuple[str, str, bool]:
    """Output, reason of failure ('' if none), and whether the process had to be ended.

    Output goes to files and the process has a group of its own, so that neither a full pipe nor
    a child of a child can hold us up.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
        late, why = False, ""
        try:
            process.wait(allowed)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
        if process.returncode and not late:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            why = said[-1] if said else f"exit code {process.returncode}"
        output.seek(0)
        return output.read(), why, late


def _end(process: "subprocess.Popen[Any]") -> None:
    """End the process and all it started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def gather(job: Job, output: str, late: str, why: str) -> list[Line]:
    """One line a case from what a worker printed: the last of each, and what went wrong.

    A case without a line, or that was still trying another form, is late or failed.
    """
    last: dict[str, Line] = {}
    trying: dict[str, str] = {}
    for text in output.splitlines(keepends=True):
        if not (text.startswith("{") and text.endswith("\n")):
            continue  # not ours, or cut off
        line = json.loads(text)
        if "trying" in line:
            trying[line["case"]] = line["trying"]
        else:
            trying.pop(line["case"], None)
            last[line["case"]] = line
    lines = []
    for kind, case, contender in job.lines():
        line = {"kind": kind, "case": case, "contender": contender, "threads": job.threads}
        line |= last.get(case, {})
        if case not in last or case in trying:
            form = f" ({trying[case]})" if case in trying else ""
            line |= {"late": late + form} if late else {"failed": (why or "no answer") + form}
        lines.append(line)
    return lines


def bad(lines: Iterable[Line], short: bool) -> bool:
    """Whether something is wrong with us or with the benchmark.

    That is a wrong or failed contender, us or (in the short form) anyone without an answer, or
    memory that grows with the iterations. A peer that is not installed, or only slow, is not.
    """
    return any(
        "wrong" in line
        or "failed" in line
        or ("late" in line and (short or line["contender"] == "ours"))
        or ("absent" in line and line["contender"] == "ours")
        or line.get("grown", 0) > GROWN_MEGABYTES * 1e6
        for line in lines
    )
