"""`bptt train`: train, show progress, keep checkpoints, report."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bptt import runs
from bptt.api import Run
from bptt.drawer import PATIENCE_SECONDS, Drawer
from bptt.errors import BpttError
from bptt.interrupts import interrupts
from bptt.presets import settings_for
from bptt.progress import Progress
from bptt.reports import training_report
from bptt.tasks import Addition, Text
from bptt.training import Training


def next_folder(task: str) -> Path:
    """runs/TASK-N with the smallest N above all that are there."""
    taken = [
        int(path.name.removeprefix(f"{task}-"))
        for path in Path("runs").glob(f"{task}-*")
        if path.name.removeprefix(f"{task}-").isdigit()
    ]
    return Path("runs") / f"{task}-{max(taken, default=0) + 1}"


def train_and_report(
    task: Addition | Text,
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
    """Go on with a run; returns the exit code."""
    return _train(runs.load_unfinished(folder), folder, 1.0, as_json, drawer)


def _save_figure(run: Run, folder: Path, drawer: Drawer | None) -> None:
    if run.records:
        content = drawer.png() if drawer else None
        runs.write_file(folder / runs.FIGURE, content or run._repr_png_())


def _train(
    training: Training,
    folder: Path,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    began = saved = time.monotonic()
    with interrupts() as received, Progress(training) as progress:
        for record in training.records(lambda: bool(received)):
            progress.show(record)
            if time.monotonic() - saved >= checkpoint_seconds:
                runs.save_checkpoint(folder, training)
                saved = time.monotonic()
            if drawer and time.monotonic() - began >= PATIENCE_SECONDS:
                drawer.close()
                drawer = None
    run = Run(training)
    if drawer and run.records:
        drawer.begin(run.curve())
    runs.save(folder, training)
    try:
        values, text = training_report(run, folder)
    finally:  # whoever does not wait for the tests gets the figure all the same
        _save_figure(run, folder, drawer)
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
