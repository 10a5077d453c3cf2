"""Progress on a terminal. Where standard error is none, only that kernels are being compiled."""

import sys
from types import TracebackType
from typing import Any

from bptt.records import Record
from bptt.training import Training


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


class Progress:
    """A line on standard error that follows a run; a context manager."""

    def __init__(self, training: Training) -> None:
        self._settings = training.settings
        self._bar: Any = None
        self._task: Any = None
        self._told = False
        self._done = training.learner.iteration

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                "starting", total=self._settings.iterations, completed=self._done
            )
        if self._settings.engine == "compiled":
            from bptt.kernels import library

            library.listeners.append(self._compiling)
        return self

    def _compiling(self, name: str) -> None:
        """Kernels of this name are about to be compiled."""
        if not self._told:
            self._told = True
            words = "compiling kernels for this kind of network: once on this machine"
            (self._bar.console.print if self._bar is not None else _say)(words)

    def show(self, record: Record) -> None:
        """The run has come this far."""
        if self._bar is not None:
            words = f"loss {record.loss_per_step:.4f}  wrong {100 * record.wrong:5.2f} %"
            self._bar.update(self._task, completed=record.iteration, description=words)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._settings.engine == "compiled":
            from bptt.kernels import library

            library.listeners.remove(self._compiling)
