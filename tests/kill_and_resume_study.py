"""Kill a study (SIGKILL, with all its processes) at random moments, resume it, compare the tables.

python tests/kill_and_resume_study.py [20]

Each trial starts `bptt study`, kills it at a random moment between the start of its work and its
end, up to twice, resumes it until it is done, and compares the table with that of a study
that was never killed. What was finished before a kill must still be there, with the time it took:
a run done twice would have another.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from processes import finish, kill, start

from bptt.studies import load

DECLARATION: dict[str, Any] = {
    "base": {"bits": 3, "hidden": 4, "engine": "reference", "iterations": 150, "batch": 2},
    "grid": {"learning_rate": [0.02, 0.1, 1e38], "optimizer": ["sgd", "adam"]},
    "seeds": 8,
    "curves": True,
}


@dataclass
class Summary:
    """killed: so many signals came before the end; kept: runs that were finished before a kill;
    same: trials that ended with the table never killed."""

    trials: int = 0
    killed: int = 0
    kept: int = 0
    same: int = 0

    def __str__(self) -> str:
        return (
            f"{self.trials} trials, killed {self.killed} times with {self.kept} runs finished "
            f"before; the same table {self.same}"
        )


def declare(path: Path) -> None:
    """The declaration as TOML, which JSON's values are for what it has."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in DECLARATION.items()
             if not isinstance(value, dict)]  # fmt: skip
    for table in ("base", "grid"):
        lines.append(f"[{table}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in DECLARATION[table].items()]
    path.write_text("\n".join(lines) + "\n")


def start_study(file: Path, folder: Path) -> subprocess.Popen[str]:
    """Start or resume the study; wait until its work begins."""
    words = ["study", file, "--out", folder, "--resume", "--workers", "2"]
    return start(words, folder / "study.sqlite")


def comparable(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The table without what may differ."""
    return frame.drop(columns=["seconds", "version"])


def trials(count: int, seed: int = 0) -> Summary:
    """Kill and resume `count` studies; the moments are fixed by the seed as far as can be."""
    summary, rng = Summary(trials=count), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        declare(home / "study.toml")
        began = time.monotonic()
        finish(start_study(home / "study.toml", home / "whole"))
        seconds = time.monotonic() - began
        whole = load(home / "whole")
        for number in range(count):
            folder = home / str(number)
            before: dict[str, float] = {}
            for _ in range(2):
                process = start_study(home / "study.toml", folder)
                time.sleep(rng.uniform(0, seconds))
                if not kill(process):
                    break
                summary.killed += 1
                found = load(folder).frame.set_index("run")["seconds"].to_dict()
                summary.kept += len(found) - len(before)
                if any(found[run] != time_taken for run, time_taken in before.items()):
                    raise RuntimeError("a finished run was lost or done twice")
                before = found
            finish(start_study(home / "study.toml", folder))
            ended = load(folder)
            taken = ended.frame.set_index("run")["seconds"]
            kept = all(taken[run] == time_taken for run, time_taken in before.items())
            summary.same += (
                kept
                and comparable(ended.frame).equals(comparable(whole.frame))
                and ended.curves.equals(whole.curves)
            )
    return summary


def main() -> int:
    """Run the trials; the exit code is 1 if any ended with another table."""
    summary = trials(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print(summary)
    return 0 if summary.same == summary.trials and summary.killed else 1


if __name__ == "__main__":
    sys.exit(main())
