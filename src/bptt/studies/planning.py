"""How much work a study is: runs, groups of equal shapes, and an estimate of the time."""

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from bptt.errors import BpttError
from bptt.floats import usual
from bptt.processes import threads
from bptt.studies.expansion import Expanded, Setting, groups_of
from bptt.studies.trial import Trial
from bptt.training.settings import Settings

# The stated model: so much for each iteration, and for each number that a weight takes part in,
# forward and backward. From one core of a machine of 2026; it may be several times off.
SECONDS_AN_ITERATION = 5e-7
SECONDS_A_PRODUCT = 1e-9
# The reference engine calls NumPy some dozen times a step.
SECONDS_A_REFERENCE_STEP = 1e-4
# Of more groups than this only the longest are measured.
MOST_MEASURED = 12


def seconds_of_a_run(settings: Settings | Trial) -> float:
    """What a run takes by the stated model, on one core: all iterations, and its task's test."""
    if isinstance(settings, Trial):
        return seconds_of_training(settings)
    test = SECONDS_A_PRODUCT * settings.task.test_steps * _weights(settings)
    return seconds_of_training(settings) + test


def seconds_of_training(settings: Settings | Trial) -> float:
    """What all iterations of a run take by the stated model, on one core."""
    structure = settings.structure
    if isinstance(settings, Trial):
        known, batch = settings.data.about, settings.plan.batch
        steps = settings.plan.window or round(known.steps / known.sequences)
    else:
        steps, batch = settings.task.steps, settings.batch
    products = 3 * batch * steps * _weights(settings)
    seconds = SECONDS_AN_ITERATION + SECONDS_A_PRODUCT * products
    if settings.engine == "reference":
        seconds += SECONDS_A_REFERENCE_STEP * steps * structure.layers
    return settings.iterations * seconds


def _weights(settings: Settings | Trial) -> float:
    """How many weights a step has."""
    structure = settings.structure
    return structure.layout().size / (1 if structure.tied else structure.steps)


@dataclass(frozen=True)
class GroupPlan:
    """The runs of one shape. seconds: on one core, if every run uses all its iterations; measured:
    by a short timing, or else by the model."""

    what: str
    settings: int
    runs: int
    iterations: int
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Plan:
    """What a study amounts to. folds: of its data, or 1. seconds: an upper estimate on `workers`
    cores, for runs that solve their task, diverge or learn no more end early."""

    settings: int
    folds: int
    seeds: int
    runs: int
    groups: list[GroupPlan]
    workers: int

    @property
    def seconds(self) -> float:
        """The estimate for the whole study."""
        return sum(group.seconds for group in self.groups) / self.workers

    @property
    def source(self) -> str:
        """Where the estimate comes from."""
        count = sum(group.measured for group in self.groups)
        if not count:
            return "by the model of docs/studies.md"
        rest = "" if count == len(self.groups) else ", the others by the model, set right by these"
        return f"by a short timing of {count} of {len(self.groups)} groups{rest}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "settings": self.settings, "folds": self.folds, "seeds": self.seeds, "runs": self.runs,
            "groups": [vars(group) for group in self.groups], "workers": self.workers,
            "seconds": self.seconds, "source": self.source,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.runs:,} runs: {self.settings:,} settings x "
            + (f"{self.folds:,} folds x " if self.folds > 1 else "")
            + f"{self.seeds:,} seeds, in {len(self.groups):,} groups of equal shapes"
        ]
        lines += [
            f"  {group.runs:,} runs of {group.what}: {group.iterations:,} iterations in all, "
            f"at most {duration(group.seconds)} of one core"
            for group in self.groups[:MOST_MEASURED]
        ]
        if len(self.groups) > MOST_MEASURED:
            lines.append(f"  and {len(self.groups) - MOST_MEASURED:,} groups more")
        lines.append(
            f"at most {duration(self.seconds)} on {self.workers} cores, {self.source}; "
            "less where runs end early"
        )
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for limit, unit in ((60.0, "s"), (60.0, "min"), (48.0, "h")):
        if seconds < limit:
            return f"{seconds:.1f} {unit}"
        seconds /= limit if unit != "h" else 24.0
    return f"{seconds:,.1f} days"


@usual
def plan(study: Expanded, workers: int | None = None, measure: bool = True) -> Plan:
    """The plan of a study; `measure`: whether the groups are timed for a moment."""
    if workers is not None and workers < 1:
        raise BpttError(f"workers {workers} must be at least 1")
    settings, seeds = study.expanded, study.seed_list()
    groups = sorted(groups_of(settings), key=lambda group: -_modelled(group))
    plans, factors = [], []
    for number, group in enumerate(groups):
        runs = len(group) * len(seeds)
        seconds = _modelled(group) * len(seeds)
        measured = measure and number < MOST_MEASURED
        if measured:
            factors.append(_factor(study, group, runs))
            seconds *= factors[-1]
        elif factors:
            seconds *= sum(factors) / len(factors)
        iterations = sum(each.settings.iterations for each in group) * len(seeds)
        what = _described(group[0].settings)
        count = len({each.number for each in group})
        plans.append(GroupPlan(what, count, runs, iterations, seconds, measured))
    return Plan(
        len({each.number for each in settings}), study.folds, len(seeds),
        sum(each.runs for each in plans), plans, workers or threads(),
    )  # fmt: skip


def _modelled(group: list[Setting]) -> float:
    """Seconds of one run of each setting, by the model."""
    return sum(seconds_of_a_run(each.settings) for each in group)


def _factor(study: Expanded, group: list[Setting], runs: int) -> float:
    """How many times longer a run of a group takes than by the model: a few calls of the
    engine, without the first, which may include compilation."""
    from bptt.network.network import engine_of
    from bptt.studies.cohort import Cohort, Member, width_for

    first = group[0].settings
    if isinstance(first, Trial):
        return first.seconds_of_an_epoch() * first.plan.epochs / seconds_of_training(first)
    engine = engine_of(first.engine)
    waiting = chain.from_iterable(repeat(group))
    members = (
        Member(each.digest, each.settings.with_seed(seed), engine, engine)
        for seed, each in enumerate(waiting)
        if isinstance(each.settings, Settings)
    )
    width = min(runs, width_for(first, first.record_every))
    seconds = Cohort(members, width, first.record_every).seconds_an_iteration(3)
    return seconds * first.iterations / seconds_of_training(first)


def _described(settings: Settings | Trial) -> str:
    """A shape in words."""
    if isinstance(settings, Trial):
        return settings.described()
    s = settings.structure
    layers = "" if s.layers == 1 else f"{s.layers} layers of "
    return (
        f"{layers}{s.cell} {s.hidden} ({s.activation}), {s.dtype}, batch {settings.batch}, "
        f"{settings.task.steps} steps, {settings.optimizer.kind}"
    )
