"""What is to be measured, as jobs for worker processes, and how their answers are gathered."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import use
from benchmarks.cases import ALL, CASES, GROWTH, MEMORY
from benchmarks.goals import GROWN_MEGABYTES
from benchmarks.growth import ENDURANCE_CASES
from benchmarks.worker import READY

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

TURNS = 9  # of each contender of a case; their median is reported
LOOK_SECONDS = 0.02  # from one look at a worker's output to the next


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


def together(todo: Sequence[Job]) -> list[list[Job]]:
    """Jobs that are worked on at the same time: those that time one case; any other is alone."""
    groups: list[list[Job]] = []
    for job in todo:
        last = groups[-1][-1] if groups else None
        if last and job.kind == last.kind == "time" and job.cases == last.cases:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups


def work(group: Sequence[Job], limit: float) -> Iterator[list[Line]]:
    """What the workers of these jobs found, one line a case, given once more as better is known.
    A worker may take `limit` seconds a case, and as much again for its turns.

    One after the other they do what they can by themselves. Then those that time take turns, so
    that a busy minute of the machine falls on all of them alike.
    """
    workers: list[Worker] = []
    try:
        for job in group:
            workers.append(Worker(job, limit * len(job.cases)))
            workers[-1].wait()
            yield workers[-1].lines()
        for worker in workers:
            worker.left = limit
        for _ in range(TURNS if group[0].kind == "time" else 0):
            for worker in workers:
                worker.turn()
        for worker in workers if group[0].kind == "time" else ():
            yield [line | {"compared": True} for line in worker.lines()]
    finally:
        for worker in workers:
            worker.end()


class Worker:
    """A process that does a job. Its output goes to files and it has a group of its own, so that
    neither a full pipe nor a child of a child can hold us up.

    left: how many seconds it may still be waited for.
    """

    def __init__(self, job: Job, left: float) -> None:
        self.job, self.left, self.late = job, left, ""
        self._allowed = left
        self._folder = tempfile.TemporaryDirectory()
        self._output, self._errors = (Path(self._folder.name) / name for name in ("out", "err"))
        self._answers = 0
        arguments = [job.kind, ",".join(job.cases), job.contender, str(job.threads)]
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", *arguments],
                stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Until it has ended, or says that it is ready for its next turn; it is ended if late."""
        started = time.monotonic()
        while self._process.poll() is None and self._ready() <= self._answers:
            if time.monotonic() - started > self.left:
                self.late = f"no answer within {self._allowed:g} s"
                self._kill()
                return
            time.sleep(LOOK_SECONDS)
        self._answers += 1
        self.left -= time.monotonic() - started

    def turn(self) -> None:
        """Let it time once more, if it is still there."""
        if self._process.poll() is None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()
            self.wait()

    def _ready(self) -> int:
        """How often it has said that it is ready."""
        return self._said().splitlines().count(READY)

    def _said(self) -> str:
        return self._output.read_text(errors="replace")

    def lines(self) -> list[Line]:
        """What it has found until now, and what went wrong."""
        why = ""
        if self._process.poll() and not self.late:
            said = self._errors.read_text(errors="replace").strip().splitlines()
            why = said[-1] if said else f"exit code {self._process.returncode}"
        return gather(self.job, self._said(), self.late, why)

    def end(self) -> None:
        """End the process and all it started."""
        self._kill()
        self._folder.cleanup()

    def _kill(self) -> None:
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.communicate()


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
