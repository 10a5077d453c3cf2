"""How far a study has come, on a terminal; nothing where standard error is not one."""

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any

from bptt.studies.store import Row


class StudyProgress:
    """Runs done, solved share so far, runs a second, time left; a context manager.

    wanted: None to show it on a terminal only.
    """

    def __init__(self, total: int, wanted: bool | None = None) -> None:
        self._total = total
        self._shown = sys.stderr.isatty() if wanted is None else wanted
        self._bar: Any = None
        self._task: Any = None
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> "StudyProgress":
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} runs"),
                BarColumn(bar_width=None),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._total)
        self._started = time.monotonic()
        return self

    def add(self, rows: list[Row]) -> None:
        """These runs are finished."""
        self._counts.update(row.values[0] for row in rows)
        if self._bar is not None:
            done = self._counts.total()
            share = 100 * self._counts["solved"] / done
            rate = done / max(time.monotonic() - self._started, 1e-9)
            words = f"{share:5.1f} % solved  {rate:,.1f} runs/s"
            self._bar.update(self._task, completed=done, description=words)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
