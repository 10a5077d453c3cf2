"""A unit of work: some runs of one group, trained in lockstep, as rows.

A pure function of its argument, which can be pickled: the same for a loop, for processes on this
machine, and for the workers of a cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bptt.floats import usual
from bptt.network.network import engine_of
from bptt.proofs.prove import QUICK, prove
from bptt.studies.cohort import SOLVED, Cohort, Member, width_for
from bptt.studies.store import CURVE, Row
from bptt.studies.trial import Trial
from bptt.training.settings import Settings


@dataclass(frozen=True)
class Unit:
    """Runs of equal shapes: (digest, settings, seeds) for each setting; and what of the study is
    not in the settings. See `bptt.studies.study.Study`."""

    parts: list[tuple[str, Settings | Trial, list[int]]]
    stop_when_solved: bool
    verdict: bool
    lengths: list[int]
    every_length: bool
    curves: bool

    def __len__(self) -> int:
        return sum(len(seeds) for _, _, seeds in self.parts)


@usual
def run_unit(unit: Unit, interrupted: Callable[[], bool] = lambda: False) -> list[Row]:
    """Train the runs of a unit; gives those that are finished when it ends or is interrupted."""
    from bptt.version import __version__

    if isinstance(unit.parts[0][1], Trial):
        return _run_trials(unit, __version__, interrupted)
    parts = [(digest, each, seeds) for digest, each, seeds in unit.parts
             if isinstance(each, Settings)]  # fmt: skip
    settings = parts[0][1]
    trainer, tester = engine_of(settings.engine), engine_of(settings.engine)

    def members() -> Iterator[Member]:
        for digest, each, seeds in parts:
            for seed in seeds:
                yield Member(
                    digest, each.with_seed(seed), trainer, tester,
                    not unit.stop_when_solved, unit.verdict,
                )  # fmt: skip

    every = max(min(each.record_every, each.iterations) for _, each, _ in parts)
    width = min(len(unit), width_for(settings, every))
    return [
        row_of(member, unit, __version__)
        for member in Cohort(members(), width, every).ended(interrupted)
    ]


def _run_trials(unit: Unit, version: str, interrupted: Callable[[], bool]) -> list[Row]:
    """The runs of a unit over data, one after another."""
    rows: list[Row] = []
    for digest, trial, seeds in unit.parts:
        assert isinstance(trial, Trial)
        for seed in seeds:
            if (
                interrupted()
                or (done := trial.run(seed, unit.curves, version, interrupted)) is None
            ):
                return rows
            rows.append(Row(digest, seed, *done))
    return rows


def _every_length(member: Member) -> str | None:
    """What is known of a run's network at every length: 'proved', 'wrong' or 'undecided'; None of
    one that diverged, or that has no other lengths."""
    if member.divergence or not member.settings.structure.tied:
        return None
    if member.reason == "proved":
        return "proved"
    return prove(member.network, member.task, steps=QUICK).verdict


def row_of(member: Member, unit: Unit, version: str) -> Row:
    """What is kept of a run that is over."""
    last = member.history[-1] if member.history else None
    solved = member.reason in SOLVED or member.solved_at is not None
    status = "diverged" if member.divergence else "solved" if solved else "not solved"
    verdict = member.verdict if not member.divergence else None
    values: list[Any] = [status, member.learner.iteration, member.solved_at]
    values += [getattr(last, name, None) for name in ("loss", "loss_per_step", "wrong", "exact")]
    values += [verdict.right, verdict.total] if verdict and unit.verdict else [None, None]
    values += [str(member.divergence or ""), member.seconds, version]
    if unit.lengths and member.divergence:
        values += [None] * len(unit.lengths)
    elif unit.lengths:
        values += member.task.longer(member.network, unit.lengths)
    if unit.every_length:
        values.append(_every_length(member))
    values.append(member.trainer.arithmetic)
    curve = []
    if unit.curves:
        curve = [tuple(getattr(record, name) for name in CURVE) for record in member.history]
    return Row(member.digest, member.settings.seed, tuple(values), curve)
