"""How far a study has come, on a terminal; nothing where standard error is not one."""

import time
from collections import Counter

from bptt.studies.store import Row
from bptt.training.progress import Bar


class StudyProgress(Bar):
    """Solved share so far, runs a second, runs done, time left; a context manager.

    wanted: None to show it on a terminal only. tasks: whether there is a task to be solved.
    """

    def __init__(self, total: int, wanted: bool | None = None, tasks: bool = True) -> None:
        super().__init__(total, unit="runs", wanted=wanted)
        self._tasks = tasks
        self._counts: Counter[str] = Counter()
        self._started = time.monotonic()

    def add(self, rows: list[Row]) -> None:
        """These runs are finished."""
        self._counts.update(row.values[0] for row in rows)
        done = self._counts.total()
        share = 100 * self._counts["solved"] / done
        rate = done / max(time.monotonic() - self._started, 1e-9)
        solved = f"{share:5.1f} % solved  " if self._tasks else ""
        self.show(done, f"{solved}{rate:,.1f} runs/s")
