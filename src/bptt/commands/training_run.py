"""`bptt train`: train, show progress, keep checkpoints, report."""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bptt.api import Run
from bptt.commands.drawer import PATIENCE_SECONDS, Drawer
from bptt.commands.reports import training_report
from bptt.errors import BpttError
from bptt.files import json_text, new_folder, write_file
from bptt.tasks.task import Task
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.keeper import Keeper
from bptt.training.options import settings_for
from bptt.training.progress import Progress
from bptt.training.training import Training


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
    with _advising_out():
        folder = out or new_folder(Path("runs"), name)
        return _train_in(folder, training, checkpoint_seconds, as_json, drawer)


@contextmanager
def _advising_out() -> Iterator[None]:
    """Who is told to choose another folder is told how."""
    try:
        yield
    except BpttError as error:
        advice = "choose another folder"
        raise BpttError(f"{error}".replace(advice, f"{advice} with --out", 1)) from None


def _train_in(
    folder: Path,
    training: Training,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    with runs.held(folder):
        if runs.is_run(folder):
            raise BpttError(
                f"'{folder}' already holds a run: choose another --out, "
                f"or go on with it by 'bptt train --resume {folder}'"
            )
        runs.save_settings(folder, training.settings)
        return _train(training, folder, checkpoint_seconds, as_json, drawer)


def resume_and_report(
    folder: Path, as_json: bool, drawer: Drawer | None, own: type[Task] | None = None
) -> int:
    """Go on with a run; returns the exit code. own: the class of a task of one's own; drawer: as
    above."""
    if not runs.is_run(folder):
        runs.load_training(folder)  # which says what is wrong with it
    with runs.held(folder):
        training = runs.load_unfinished(folder, own)
        if training.move():
            print(training.move(), file=sys.stderr)
        before = training.learner.iteration
        code = _train(training, folder, 1.0, as_json, drawer)
    if training.learner.iteration == before and not training.divergence:
        print(
            f"nothing was left to do ({training.reason}): to go on, change 'iterations' or 'stop' "
            f"in {folder / runs.CONFIG} and resume again",
            file=sys.stderr,
        )
    return code


def _save(run: Run, folder: Path, drawer: Drawer | None) -> tuple[dict[str, Any], str]:
    """Write the run's folder, and test the network meanwhile if the figure is drawn by a drawer;
    gives the report."""
    if drawer is None or not run.records:
        runs.save(folder, run.training)
        if run.records:
            write_file(folder / runs.FIGURE, run._repr_png_())
        return training_report(run, folder)
    runs.save(folder, run.training)
    drawer.begin(run.curve())
    try:
        return training_report(run, folder)
    finally:  # whoever does not wait for the tests gets the figure all the same
        write_file(folder / runs.FIGURE, drawer.png() or run._repr_png_())


def _train(
    training: Training,
    folder: Path,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    began, settings = None, training.settings
    bar = Progress(settings.iterations, training.learner.iteration, settings.engine)
    with interrupts() as received, bar as progress:
        save = partial(runs.save_checkpoint, folder, training)
        keeper = Keeper(save, checkpoint_seconds, progress.say)
        for record in training.records(lambda: bool(received)):
            words = f"loss {record.loss_per_step:.4f}  wrong {100 * record.wrong:5.2f} %"
            progress.show(record.iteration, words)
            keeper.keep()
            began = began or time.monotonic()  # kernels are compiled before the first record
            if drawer and time.monotonic() - began >= PATIENCE_SECONDS:
                drawer.close()
                drawer = None
    values, text = _save(Run(training), folder, drawer)
    print(json_text(values) if as_json else text)
    if training.reason == "interrupted":
        if not as_json:
            print(f"go on with: bptt train --resume {folder}", file=sys.stderr)
        return 128 + (received[0] if received else signal.SIGINT)
    return 1 if training.divergence else 0
