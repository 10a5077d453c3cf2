"""Running a study: what is missing is cut into units of work, and rows come back.

Units are made as they are needed, so large that each takes a few seconds by what the units before
have taken, and so small that no worker is idle at the end. How runs are put into units, where and
in which order these are done changes no number.
"""

import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bptt.errors import BpttError
from bptt.processes import threads
from bptt.studies.expansion import Expanded, Setting, groups_of, run_name
from bptt.studies.planning import seconds_of_a_run
from bptt.studies.progress import StudyProgress
from bptt.studies.store import Row, Store, alone
from bptt.studies.trial import Trial
from bptt.studies.work import Unit
from bptt.training.interrupts import interrupts

if TYPE_CHECKING:
    import pandas

# A unit is to take about this long: scheduling costs milliseconds, and what is lost when a worker
# is lost is little.
UNIT_SECONDS = 3.0
MOST_RUNS_A_UNIT = 4096
# Runs are handed out by this many where there are enough: what fills the vectors of a processor.
LANES = 16


class Results:
    """What a study has come to: `study`, `store`, and the tables. reason: 'done', 'interrupted' or
    'time'; missing: how many runs are not finished."""

    def __init__(self, store: Store, reason: str = "done", missing: int = 0) -> None:
        self.store, self.study = store, store.study
        self.reason, self.missing = reason, missing

    @property
    def frame(self) -> "pandas.DataFrame":
        """One row a finished run: run, setting, label, the varied fields, seed, status, ...; see
        docs/studies.md."""
        return self.store.frame()

    @property
    def curves(self) -> "pandas.DataFrame":
        """One row a record, if the study keeps curves."""
        return self.store.curves()

    @property
    def mixed(self) -> str:
        """What is to be said where runs were trained with different arithmetic; or ''."""
        found = self.store.arithmetics()
        known = sorted(name for name in found if name)
        if len(known) < 2:
            return ""
        counts = ", ".join(f"{found[name]:,} of {name}" for name in known)
        return (
            f"the runs are of processors with other vectors ({counts}): a seed gives each the same "
            "numbers only where these are as wide"
        )

    def __repr__(self) -> str:
        return f"Results({len(self.store.done()):,} runs, {self.reason}, {self.missing:,} missing)"


class Group:
    """The runs of one shape that wait, and what has been learnt of their time."""

    def __init__(self, runs: list[tuple[Setting, int]]) -> None:
        self.waiting = deque(runs)
        first = runs[0][0].settings
        self.seconds, self.learnt = seconds_of_a_run(first), False
        self._lanes = 1 if isinstance(first, Trial) else LANES  # trials are not trained in lockstep

    def __len__(self) -> int:
        return len(self.waiting)

    def size(self, workers: int) -> int:
        """How many runs the next unit has."""
        waiting = len(self.waiting)
        lanes = self._lanes
        if waiting < lanes * workers:
            return -(-waiting // workers)
        fair = -(-waiting // (2 * workers * lanes)) * lanes
        # The first units find out how long a run takes.
        seconds = UNIT_SECONDS if self.learnt else UNIT_SECONDS / 4
        wanted = int(seconds / max(self.seconds, 1e-9)) // lanes * lanes
        return max(lanes, min(wanted, fair, MOST_RUNS_A_UNIT))

    def take(self, study: Expanded, workers: int) -> Unit:
        """The next unit."""
        parts: dict[str, tuple[Setting, list[int]]] = {}
        for _ in range(self.size(workers)):
            setting, seed = self.waiting.popleft()
            parts.setdefault(setting.digest, (setting, []))[1].append(seed)
        return Unit(
            [(digest, each.settings, seeds) for digest, (each, seeds) in parts.items()],
            study.stop_when_solved, study.verdict, study.lengths, study.every_length,
            study.curves,
        )  # fmt: skip

    def learn(self, rows: list[Row], seconds_at: int) -> None:
        """Take the mean time of finished runs into account."""
        mean = sum(row.values[seconds_at] for row in rows) / len(rows)
        self.seconds = (self.seconds + mean) / 2 if self.learnt else mean
        self.learnt = True


def in_shard(name: str, shard: tuple[int, int] | None) -> bool:
    """Whether a run belongs to shard (k, n), k from 1 to n; by its name alone."""
    return shard is None or zlib.crc32(name.encode()) % shard[1] == shard[0] - 1


def missing_runs(store: Store, shard: tuple[int, int] | None) -> list[list[tuple[Setting, int]]]:
    """The runs that are not finished, by group; groups whose runs take long come first."""
    done, seeds = store.done(), store.study.seed_list()
    groups = []
    for group in groups_of(store.settings):
        runs = [
            (each, seed)
            for each in group
            for seed in seeds
            if (each.digest, seed) not in done and in_shard(run_name(each.digest, seed), shard)
        ]
        if runs:
            groups.append(runs)
    return sorted(groups, key=lambda runs: -seconds_of_a_run(runs[0][0].settings))


class Workers(Protocol):
    """What does units: this process, others, or a cluster's."""

    count: int

    def submit(self, unit: Unit) -> Any:
        """Begin a unit; gives a token for it."""

    def finished(self) -> Iterator[tuple[Any, list[Row]]]:
        """Wait a little; tokens and rows of units that have ended."""

    def stop(self) -> None:
        """End the units in hand soon; what of them is finished still comes."""


@dataclass(frozen=True)
class Means:
    """How a study is run: as the arguments of `bptt.Study.run`."""

    workers: int | None = None
    client: Any = None
    shard: tuple[int, int] | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            k, n = self.shard
            raise BpttError(f"shard {k}/{n} must be from 1/{n} on, as 3/16")
        if self.workers is not None and self.workers < 1:
            raise BpttError(f"workers {self.workers} must be at least 1")


def run_study(study: Expanded, folder: Path | None, resume: bool, means: Means) -> Results:
    """Train all runs of a study that are not finished yet: see `bptt.Study.run`."""
    with alone(folder), interrupts() as received:
        store = Store(study, folder, resume)
        store.bring_in()
        groups = [Group(runs) for runs in missing_runs(store, means.shard)]
        total = sum(map(len, groups))
        if not total:
            return Results(store)
        team = _workers(groups, means, received)
        with StudyProgress(total, means.progress, study.data is None) as shown:
            with team:
                reason = _drive(store, groups, team, received, shown)
            store.settle(shown.say, lambda: bool(received))
        return Results(store, reason, sum(map(len, missing_runs(store, means.shard))))


def _workers(groups: list[Group], means: Means, received: list[int]) -> Any:
    """The workers that fit the arguments; few runs are not worth starting processes for."""
    from bptt.studies.workers import ClusterWorkers, LocalWorkers, ThisProcess

    if means.client is not None:
        return ClusterWorkers(means.client)
    count = means.workers or threads()
    firsts = [group.waiting[0][0].settings for group in groups]
    kinds = {type(each.task) for each in firsts if not isinstance(each, Trial)}
    if any(kind.__module__ == "__main__" for kind in kinds):
        count = 1  # a script is not run again in other processes: they would not know its classes
    runs = sum(map(len, groups))
    if count == 1 or runs == 1:
        return ThisProcess(received)
    return LocalWorkers(min(count, runs))


def _drive(
    store: Store, groups: list[Group], team: Workers, received: list[int], shown: StudyProgress
) -> str:
    """Hand out units and store rows until nothing is left, or it is time to stop."""
    started, study = time.monotonic(), store.study
    seconds_at = list(store.columns).index("seconds")
    running: dict[Any, Group] = {}
    reason = "done"
    while running or any(groups):
        late = study.seconds is not None and time.monotonic() - started >= study.seconds
        if (received or late) and reason == "done":
            reason = "interrupted" if received else "time"
            groups = []
            if received:
                team.stop()
        while len(running) < 2 * team.count and any(groups):
            group = next(each for each in groups if len(each))
            running[team.submit(group.take(study, team.count))] = group
        for token, rows in team.finished():
            group = running.pop(token)
            if rows:
                store.add(rows)
                group.learn(rows, seconds_at)
                shown.add(rows)
    return reason
