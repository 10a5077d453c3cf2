"""Progress on a terminal. Where standard error is none, only that kernels are being compiled."""

import sys
from typing import Any, Self


class Bar:
    """What is going on, a bar, how much is done, and the time left, on a line of standard error; a
    context manager.

    unit: of what is counted. wanted: whether it is shown, by default if standard error is a
    terminal.
    """

    def __init__(
        self, total: int, done: int = 0, unit: str = "", wanted: bool | None = None
    ) -> None:
        self._total, self._done, self._unit = total, done, unit
        self._wanted = sys.stderr.isatty() if wanted is None else wanted
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._wanted:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn(f"{{task.completed:,.0f}}/{{task.total:,.0f}} {self._unit}".rstrip()),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._total, completed=self._done)
        return self

    def show(self, done: int, words: str) -> None:
        """So much is done; `words`: what there is to say of it."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=words)

    def say(self, words: str) -> None:
        """A line of its own, also where no bar is shown."""
        if self._bar is not None:
            self._bar.console.print(words)
        else:
            print(words, file=sys.stderr, flush=True)

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class Progress:
    """A line on standard error that follows a training; a context manager.

    total, done, unit: of what is counted. engine: that of the training.
    """

    def __init__(self, total: int, done: int, engine: str, unit: str = "") -> None:
        self._engine = engine
        self._bar = Bar(total, done, unit)
        self._told = False

    def __enter__(self) -> Self:
        self._bar.__enter__()
        if self._engine == "compiled":
            from bptt.kernels.machine import library

            library.listeners.append(self._compiling)
        return self

    def _compiling(self, name: str) -> None:
        """Kernels of this name are about to be compiled."""
        if not self._told:
            self._told = True
            from bptt.kernels.machine.store import writable

            often = "once on this machine" if writable() else "each time, for want of a folder"
            self._bar.say(f"compiling kernels for this kind of network: {often}")

    def show(self, done: int, words: str) -> None:
        """The training has come this far; `words`: what there is to say of it."""
        self._bar.show(done, words)

    def say(self, words: str) -> None:
        """A line of its own, also where no bar is shown."""
        self._bar.say(words)

    def __exit__(self, *raised: object) -> None:
        self._bar.__exit__(*raised)
        if self._engine == "compiled":
            from bptt.kernels.machine import library

            library.listeners.remove(self._compiling)
