"""Kill a training run (SIGKILL) at random moments, go on with it, and compare the weights.

python tests/kill_and_resume.py [50]

Each trial starts `bptt train`, kills it at a random moment between the start of training and its
end, goes on with `bptt train --resume` until it is done, and compares weights, optimizer state and
history with those of a run that was never killed: they must have the same bits.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from processes import finish, kill, start, wait_for
from safetensors.numpy import load_file

TASKS = {
    "add": ["add", "--bits", "8", "--no-stop-exact", "--iterations", "30000", "--record-every",
            "50"],
    "text": ["text", "TEXT", "--no-stop-exact", "--iterations", "1500", "--record-every", "10",
             "--hidden", "24"],
}  # fmt: skip
SENTENCE = "Where it is wrong, the error walks back through each step, and shifts every weight. "


@dataclass
class Summary:
    """How a number of trials went. killed: the signal came before the run had ended; early: of
    those, before its first checkpoint; same: the weights at the end were those never killed."""

    killed: int = 0
    early: int = 0
    same: int = 0

    def __str__(self) -> str:
        return (
            f"killed {self.killed}, same weights {self.same}"
            f" ({self.early} killed before the first checkpoint)"
        )


def start_training(task: str, folder: Path, text: Path) -> subprocess.Popen[str]:
    """Start a run that keeps a checkpoint after nearly every record, and wait until its
    config.json is there: training is about to begin."""
    words = [str(text) if word == "TEXT" else word for word in TASKS[task]]
    options = ["--out", folder, "--checkpoint-seconds", "0.01", "--seed", "3"]
    return start(["train", *words, *options], folder / "config.json")


def left_behind(folder: Path) -> dict[str, object]:
    """What must not depend on a kill: weights, optimizer state, history but for the seconds."""
    found: dict[str, object] = {}
    for name in ("weights", "checkpoint"):
        for tensor, array in load_file(folder / f"{name}.safetensors").items():
            if tensor in ("history", "sums"):  # seconds stand last
                array = array[..., :-1]
            found[f"{name} {tensor}"] = array.tobytes()
    rows = (folder / "history.csv").read_text().splitlines()
    found["history"] = [row.rpartition(",")[0] for row in rows]  # seconds stand last
    return found


def whole_run(task: str, folder: Path, text: Path) -> float:
    """A run that nothing disturbs; gives the seconds from the start of training to its result."""
    process = start_training(task, folder, text)
    began = time.monotonic()
    wait_for(process, folder / "result.json")
    seconds = time.monotonic() - began
    finish(process)
    return seconds


def one_trial(task: str, folder: Path, text: Path, moment: float) -> tuple[bool, bool]:
    """Start, kill that many seconds after training began, and go on to the end.

    Gives whether the kill came before the end, and whether before the first checkpoint.
    """
    process = start_training(task, folder, text)
    try:
        time.sleep(moment)
    finally:
        killed = kill(process)
    early = killed and not (folder / "checkpoint.safetensors").exists()
    finish(start(["train", "--resume", folder], folder / "result.json"))
    return killed, early


def trials(count: int, seed: int = 0, tasks: tuple[str, ...] = ("add", "text")) -> Summary:
    """Kill `count` runs, the tasks in turn, at moments that the seed fixes as far as it can."""
    summary, rng = Summary(), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        text = home / "text.txt"
        text.write_text(SENTENCE)
        expected, seconds = {}, {}
        for task in tasks[:count]:
            folder = home / f"{task}-whole"
            for _ in range(2):  # twice, should the first time have gone into compiling
                seconds[task] = whole_run(task, folder, text)
                expected[task] = left_behind(folder)
                if seconds[task] < 3:
                    break
                shutil.rmtree(folder)
        for number in range(count):
            task = tasks[number % len(tasks)]
            folder = home / f"{task}-{number}"
            killed, early = one_trial(task, folder, text, rng.uniform(0, seconds[task]))
            summary.killed += killed
            summary.early += early
            same = left_behind(folder) == expected[task]
            summary.same += killed and same
            if not same:
                print(f"trial {number} ({task}): the weights differ", file=sys.stderr)
    return summary


def main() -> int:
    """Run the trials; the exit code is 1 if any ended with other weights."""
    summary = trials(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
    print(summary)
    return 0 if summary.killed and summary.same == summary.killed else 1


if __name__ == "__main__":
    sys.exit(main())
