"""`bptt train`: train, show progress, keep checkpoints, report."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bptt.api import Run
from bptt.commands.drawer import PATIENCE_SECONDS, Drawer
from bptt.commands.reports import training_report
from bptt.errors import BpttError
from bptt.tasks.task import Task
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.options import settings_for
from bptt.training.progress import Progress
from bptt.training.training import Training


def next_folder(task: str) -> Path:
    """runs/TASK-N with the smallest N above all that are there."""
    taken = [
        int(path.name.removeprefix(f"{task}-"))
        for path in Path("runs").glob(f"{task}-*")
        if path.name.removeprefix(f"{task}-").isdigit()
    ]
    return Path("runs") / f"{task}-{max(taken, default=0) + 1}"


def train_and_report(
    task: Task,
    options: Mapping[str, Any],
    out: Path | None,
    name: str,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    """Train from nothing in a new folder; returns the exit code. drawer: who draws the figure."""
    training = Training(settings_for(task, options))
    folder = out or next_folder(name)
    if (folder / runs.CONFIG).exists():
        raise BpttError(
            f"'{folder}' already holds a run: choose another --out, "
            f"or go on with it by 'bptt train --resume {folder}'"
        )
    runs.save_settings(folder, training.settings)
    return _train(training, folder, checkpoint_seconds, as_json, drawer)


def resume_and_report(folder: Path, as_json: bool, drawer: Drawer | None) -> int:
    """Go on with a run; returns the exit code. drawer: as above."""
    return _train(runs.load_unfinished(folder), folder, 1.0, as_json, drawer)


def _save(run: Run, folder: Path, drawer: Drawer | None) -> tuple[dict[str, Any], str]:
    """Write the run's folder, and test the network meanwhile if the figure is drawn by a drawer;
    gives the report."""
    if drawer is None or not run.records:
        run.save(folder)
        return training_report(run, folder)
    runs.save(folder, run.training)
    drawer.begin(run.curve())
    try:
        return training_report(run, folder)
    finally:  # whoever does not wait for the tests gets the figure all the same
        runs.write_file(folder / runs.FIGURE, drawer.png() or run._repr_png_())


def _train(
    training: Training,
    folder: Path,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    began, saved = None, time.monotonic()
    with interrupts() as received, Progress(training) as progress:
        for record in training.records(lambda: bool(received)):
            progress.show(record)
            if time.monotonic() - saved >= checkpoint_seconds:
                runs.save_checkpoint(folder, training)
                saved = time.monotonic()
            began = began or time.monotonic()  # kernels are compiled before the first record
            if drawer and time.monotonic() - began >= PATIENCE_SECONDS:
                drawer.close()
                drawer = None
    values, text = _save(Run(training), folder, drawer)
    if as_json:
        import json

        print(json.dumps(values))
    else:
        print(text)
    if training.reason == "interrupted":
        if not as_json:
            print(f"go on with: bptt train --resume {folder}", file=sys.stderr)
        return 128 + (received[0] if received else signal.SIGINT)
    return 1 if training.divergence else 0
