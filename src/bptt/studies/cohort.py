"""Many runs of equal shapes, trained in lockstep.

What a run is, and what its numbers mean, is `bptt.training.training`'s. Here only the
work is shared: one draw of data, one call of the engine, one check for finite numbers and one
summary
for all models, each of them row by row, so that a run's numbers do not depend on its neighbours.
A model that has ended leaves its row to the next one that waits.
"""

import time
from collections.abc import Callable, Iterator
from itertools import chain, islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.network.engines import Chunk, Engine
from bptt.network.parameters import Array
from bptt.tasks.batches import Batches, stacked
from bptt.training.records import BLOCK, Pending, Totals, counted_steps, summarise
from bptt.training.settings import Settings, Stop
from bptt.training.training import Pace, Training, numbers_a_step

# Models side by side at most: enough that what a call costs in Python is shared by many.
WIDTH = 256
# How many numbers of one kind (data of a call, results up to a record, weights) there may be.
COHORT_NUMBERS = 2_000_000
SOLVED = ("exact", "proved", "loss", "smooth loss", "accuracy", "wrong")


class Member(Training):
    """A run of a study: a training whose engine calls are those of `Engine.train_many`, so that
    alone it has the numbers that it has in company.

    digest: of its setting. solved_at: the iteration of the record at which the criterion,
    `settings.stop`, was first met; go_on: train on nevertheless; verdict_wanted: whether the task's
    own test is made at the end.
    """

    def __init__(
        self,
        digest: str,
        settings: Settings,
        trainer: Engine,
        tester: Engine,
        go_on: bool = False,
        verdict_wanted: bool = True,
    ) -> None:
        super().__init__(settings, tester)
        self.digest = digest
        self.trainer, self.go_on, self.verdict_wanted = trainer, go_on, verdict_wanted
        self.solved_at: int | None = None

    def _train(self, batches: Batches) -> Chunk:
        optimizer, batch = self.settings.optimizer, self.batch(stacked([batches]), axes=2)
        return self.trainer.train_many([optimizer], [self.learner], batch)[0]

    def ended(self) -> bool:
        """Whether the run is over, looked at after a record; `reason` then tells why."""
        self.reason = self.why_stop()
        if self.reason in SOLVED:
            self.solved_at = self.learner.iteration
            if not self.go_on:
                return True
            # The criterion has been met; what is left are the iterations.
            self.settings = msgspec.structs.replace(self.settings, stop=Stop(exact=False))
            self.verdict, self.reason = None, self.why_stop()
        return bool(self.reason)

    def conclude(self) -> None:
        """Test the network to the end, if that is wanted and has not been done."""
        if self.verdict_wanted and self.verdict is None and not self.divergence:
            self.verdict = self.task.test(self.network)


def width_for(settings: Settings, record_every: int) -> int:
    """How many models of that shape are trained side by side, so that the memory is bounded."""
    data = settings.batch * settings.task.steps * numbers_a_step(settings.task)
    largest = max(data, min(record_every, BLOCK), settings.structure.layout().size)
    return max(1, min(WIDTH, COHORT_NUMBERS // largest))


class Cohort:
    """Runs of one structure, batch, number of steps and kind of optimizer, in lockstep.

    waiting: makes the runs, one after another, when there is room for them. width: how many are
    trained side by side at most. record_every: the largest of all that wait.
    """

    def __init__(self, waiting: Iterator[Member], width: int, record_every: int) -> None:
        self._waiting = waiting
        self._members: list[Member] = []
        self._pace = Pace(COHORT_NUMBERS)
        first = next(waiting)
        shape = (width, first.learner.theta.size)
        self._flat = [np.zeros(shape, first.learner.theta.dtype) for _ in range(3)]
        # Loss, wrong, exact, norm and steps of the iterations since a model's last record, or of
        # those after whole blocks, which are added up.
        self._results = np.zeros((5, width, min(record_every, BLOCK)))
        self._totals = Totals.begin(np.zeros(width).tolist())
        self._filled = np.zeros(width, np.intp)
        for row, member in enumerate(chain([first], islice(waiting, width - 1))):
            self._members.append(member)
            self._place(member, row)

    def _place(self, member: Member, row: int) -> None:
        """Move a run's numbers into a row, where the engine finds them from now on."""
        learner = member.learner
        for array, name in zip(self._flat, ("theta", "s0", "s1"), strict=True):
            array[row] = getattr(learner, name)
            setattr(learner, name, array[row])
        member.network.theta = learner.theta
        self._members[row] = member
        self._totals.begin_again(row, member.smooth_loss)

    def ended(self, interrupted: Callable[[], bool] = lambda: False) -> Iterator[Member]:
        """Train, giving each run when it is over; it may be used until the next one is asked for.

        Stops early, with runs unfinished, once `interrupted` says so.
        """
        while self._members and not interrupted():
            for row in sorted(self._advance(), reverse=True):
                member = self._members[row]
                started = time.perf_counter()
                over = member.ended()
                if over:
                    member.conclude()
                member.seconds += time.perf_counter() - started
                if over:
                    yield member
                    self._replace(row)

    def seconds_an_iteration(self, calls: int) -> float:
        """What an iteration of one model takes, after some calls of the engine."""
        for _ in range(calls):
            self._advance()
        return self._pace.seconds

    def _replace(self, row: int) -> None:
        """Give a row to the next run that waits; or else to the last one, to leave no gap."""
        member = next(self._waiting, None)
        self._filled[row] = 0
        if member is not None:
            self._place(member, row)
            return
        last = self._members.pop()
        if row < len(self._members):
            place = len(self._members)
            self._filled[row] = self._filled[place]
            self._results[:, row] = self._results[:, place]
            self._place(last, row)
            for mine in vars(self._totals).values():
                mine[..., row] = mine[..., place]

    def _advance(self) -> list[int]:
        """One call of the engine; gives the rows that have come to a record or diverged."""
        members, first = self._members, self._members[0]
        structure, models = first.settings.structure, len(self._members)
        most = min(member.until_record() for member in members)
        count = self._pace.count(most, first.numbers_an_iteration(), models)
        started = time.perf_counter()
        before = self._standing()
        batches = first.stream.draw_many([member.stream for member in members], count)
        chunks = first.trainer.train_many(
            [member.settings.optimizer for member in members],
            [member.learner for member in members],
            first.batch(batches, axes=2),
        )
        results = np.empty((5, models, count))
        for index, name in enumerate(("loss", "wrong", "exact", "norm")):
            np.stack([getattr(chunk, name) for chunk in chunks], out=results[index], casting="safe")
        results[4] = counted_steps(structure, batches.x.shape[:4], batches.lengths)
        finite = np.isfinite(results[::3]).all(axis=(0, 2))  # losses and norms
        finite &= np.isfinite(self._flat[0][:models]).all(axis=1)
        diverged = np.flatnonzero(~finite).tolist()
        for row in diverged:
            self._go_back(row, before, count)
            self._diverge(row, batches[row])
        due = self._keep(results, set(diverged))
        elapsed = time.perf_counter() - started
        self._pace.learn(elapsed, count, models)
        for member in members:
            member.seconds += elapsed / models
        self._record(due)
        return diverged + due

    def _standing(self) -> tuple[list[Array], list[Array | None]]:
        """Copies of all numbers that training changes."""
        models = len(self._members)
        states = [member.learner.state for member in self._members]
        return (
            [array[:models].copy() for array in self._flat],
            [None if state is None else state.copy() for state in states],
        )

    def _go_back(
        self, row: int, before: tuple[list[Array], list[Array | None]], count: int
    ) -> None:
        """Undo the last call for one run."""
        flat, states = before
        for array, then in zip(self._flat, flat, strict=True):
            array[row] = then[row]
        learner = self._members[row].learner
        learner.state = states[row]
        learner.iteration -= count

    def _diverge(self, row: int, batches: Batches) -> None:
        """End a run that a call has spoilt: do what is good of it, and make the last record."""
        member, filled = self._members[row], self._filled[row]
        member.pending = Pending(self._totals.row(row), self._results[:, row, :filled].copy())
        member.find_divergence(batches)
        if member.pending:
            member.record()

    def _keep(self, results: NDArray[np.float64], without: set[int]) -> list[int]:
        """Put a call's results beside those before; gives the rows that have come to a record."""
        for filled, rows in list(_alike(self._filled[: len(self._members)])):
            self._keep_alike(results, filled, rows)
        return [
            row for row, member in enumerate(self._members)
            if row not in without and member.at_record()
        ]  # fmt: skip

    @np.errstate(all="ignore")  # of a run that has diverged
    def _keep_alike(
        self, results: NDArray[np.float64], filled: int, rows: slice | NDArray[np.intp]
    ) -> None:
        """Put a call's results into rows that hold so many; full blocks are added up."""
        models, count, room = *results.shape[1:], self._results.shape[2]
        at = 0
        while at < count:
            some = min(count - at, room - filled)
            place = slice(filled, filled + some)
            self._results[:, :models][:, rows, place] = results[:, rows, at : at + some]
            at, filled = at + some, filled + some
            if filled == BLOCK:
                self._totals.add(self._results[:, :models][:, rows], _places(rows, models))
                filled = 0
        self._filled[:models][rows] = filled

    def _record(self, due: list[int]) -> None:
        """Make the records of these rows."""
        settings = self._members[0].settings
        all_due = len(due) == len(self._members)
        rows = slice(0, len(due)) if all_due else np.array(due, np.intp)
        members = [self._members[row] for row in due]
        results, totals = self._results[:, rows], self._totals.rows(rows)
        for filled, chosen in _alike(self._filled[rows]):
            if filled:
                totals.add(results[:, chosen, :filled], chosen)
            columns = summarise(settings.structure, settings.batch, totals.rows(chosen))
            values = zip(*(column.tolist() for column in columns.values()), strict=True)
            for number, each in zip(np.arange(len(due))[chosen], values, strict=True):
                members[number].take_record(dict(zip(columns, each, strict=True)))
        self._filled[rows] = 0
        self._totals.begin_again(rows, [member.smooth_loss for member in members])


def _places(rows: slice | NDArray[np.intp], count: int) -> slice | NDArray[np.intp]:
    """Of the first `count` rows these: a slice without an end has that one."""
    return slice(0, count) if isinstance(rows, slice) else rows


def _alike(counts: NDArray[np.intp]) -> Iterator[tuple[int, slice | NDArray[np.intp]]]:
    """The places of each number in `counts`; a slice, which copies nothing, if it is one only."""
    if counts.size and (counts == counts[0]).all():
        yield int(counts[0]), slice(None)
        return
    for count in np.unique(counts).tolist():
        yield count, np.flatnonzero(counts == count)
