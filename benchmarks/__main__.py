"""bptt and its peers side by side, each in a process of its own.

Writes benchmark.md, benchmark.json and benchmark.png to the folder --out. Contenders that are not
installed are reported as absent. With --short nothing is timed: every contender's gradients are
compared with the oracle, on small sizes.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.contender import NAMES

# One case of every kind of work; the others differ in size only.
SHORT = (
    *("elman-online-3", "elman-online-16", "elman-online-16-float64", "elman-128-models-3"),
    *("elman-128-models-16", "elman-minibatch-3", "lstm-text-64", "lstm-gradient-128"),
    "gru-gradient-128",
)
TIMEOUT = 1800  # seconds for one process


def processes(cases: list[Case], contenders: list[str], short: bool) -> Iterable[list[str]]:
    """Arguments of every worker. When timing, one case each; else all cases of a contender."""
    by_threads = [
        (threads, [case.name for case in group])
        for threads, group in groupby(
            sorted(cases, key=lambda case: case.threads), key=lambda case: case.threads
        )
    ]
    for threads, names in by_threads:
        for batch in [names] if short else [[name] for name in names]:
            for contender in contenders:
                yield [",".join(batch), contender, str(threads), *(["--short"] if short else [])]


def work(arguments: list[str]) -> list[dict[str, Any]]:
    """What one worker found, one entry a case."""
    names, contender, threads = arguments[:3]
    command = [sys.executable, "-m", "benchmarks.worker", *arguments]
    why = ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        output = done.stdout
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else ""
        why = f"not done in {TIMEOUT} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    reported = {line["case"] for line in lines}
    return lines + [
        {
            "case": name,
            "contender": contender,
            "threads": int(threads),
            "failed": why or "no answer",
        }
        for name in names.split(",")
        if name not in reported
    ]


def main() -> int:
    """Run all, write the results; 1 if a contender failed or was wrong."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="check, do not time")
    parser.add_argument("--only", nargs="+", choices=names, metavar="CASE")
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--out", type=Path, help="folder for table and figure")
    options = parser.parse_args()
    chosen = options.only or (SHORT if options.short else names)
    cases = [case for case in CASES if case.name in chosen]
    about = report.machine()
    lines: list[dict[str, Any]] = []
    for arguments in processes(cases, options.contenders, options.short):
        for line in work(arguments):
            lines.append(line)
            state = report.cell(line, None)
            print(
                f"{line['case']:26s} {line['contender']:14s} {state}", file=sys.stderr, flush=True
            )
    lines.sort(key=lambda line: (names.index(line["case"]), NAMES.index(line["contender"])))
    text = report.table(lines, about)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "benchmark.md").write_text(text)
        results = {"machine": about, "short": options.short, "results": lines}
        (options.out / "benchmark.json").write_text(json.dumps(results, indent=1))
        report.figure(lines, options.out / "benchmark.png")
    return int(any("wrong" in line or "failed" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
