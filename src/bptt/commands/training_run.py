"""`bptt train`: train, show progress, keep checkpoints, report."""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class _Keeper:
    """Writes a checkpoint every so many seconds, and gives a tenth of the time to it at most. One
    that cannot be written ends no training: the disc may have room again before the end."""

    def __init__(self, folder: Path, training: Training, seconds: float) -> None:
        self._folder, self._training, self._seconds = folder, training, seconds
        self._at, self._told = time.monotonic() + seconds, False

    def keep(self, progress: Progress) -> None:
        """Write one if it is time."""
        started = time.monotonic()
        if started < self._at:
            return
        try:
            runs.save_checkpoint(self._folder, self._training)
        except BpttError as error:
            if not self._told:
                progress.say(f"bptt: {error}; training goes on without a checkpoint")
            self._told = True
        ended = time.monotonic()
        self._at = ended + max(self._seconds, 10 * (ended - started) if self._seconds else 0)


def _train(
    training: Training,
    folder: Path,
    checkpoint_seconds: float,
    as_json: bool,
    drawer: Drawer | None,
) -> int:
    began, keeper = None, _Keeper(folder, training, checkpoint_seconds)
    with interrupts() as received, Progress(training) as progress:
        for record in training.records(lambda: bool(received)):
            progress.show(record)
            keeper.keep(progress)
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
