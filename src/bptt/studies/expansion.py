"""From a declaration to runs: settings, each with its number, label and digest, times seeds."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import msgspec
import numpy as np

from bptt.errors import BpttError
from bptt.fitting.plan import GROUPS, plan_of
from bptt.network import initializers
from bptt.options import options_of
from bptt.studies.declaration import TABLES, Declaration, Panel
from bptt.studies.trial import Trial
from bptt.tasks.task import Task
from bptt.training.options import OPTIMIZER, RUN, STRUCTURE, settings_for
from bptt.training.settings import Settings


@dataclass(frozen=True)
class Setting:
    """One setting of a study.

    number: from 0, in the order of the declaration. label: what tells it from the others. panel:
    of which panel ('' without panels). options: the flat options it was made of. settings: all
    that determines a run, with seed 0. digest: of these and of what is done at a run's end; with
    the seed it names a run. Over data a setting stands here once for each fold.
    """

    number: int
    label: str
    panel: str
    options: dict[str, Any]
    settings: Settings | Trial
    digest: str

    def value(self, name: str) -> Any:
        """What an option of that name is in this setting, given or not."""
        head, _, tail = name.partition(".")
        settings = self.settings
        if isinstance(settings, Trial):
            return _planned(settings, head, tail)
        if name in options_of(type(settings.task)):
            return getattr(settings.task, options_of(type(settings.task))[name].field)
        if name in STRUCTURE:
            return getattr(settings.structure, STRUCTURE[name].field)
        if head == "schedule":
            schedule = settings.optimizer.schedule
            return getattr(schedule, tail) if tail else written(msgspec.to_builtins(schedule))
        if name in OPTIMIZER:
            return getattr(settings.optimizer, OPTIMIZER[name].field)
        if head == "initializers":
            return settings.initializers.get(tail) if tail else written(settings.initializers)
        return getattr(settings, RUN[name].field) if name in RUN else None


def _planned(trial: Trial, head: str, tail: str) -> Any:
    """An option's value in a plan."""
    plan = trial.plan
    parts = {"structure": plan.structure, "optimizer": plan.optimizer, "plan": plan}
    group = next((each for each, known in GROUPS.items() if head in known), None)
    if group is None:
        return None
    value = getattr(parts[group], GROUPS[group][head].field)
    if tail:
        return getattr(value, tail)
    return written(msgspec.to_builtins(value)) if head in TABLES else value


def run_name(digest: str, seed: int) -> str:
    """The id of a run, the same in every study that has it."""
    return f"{digest}-{seed}"


def written(value: Any) -> str:
    """A value as labels show it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {written(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def points(panel: Panel) -> Iterator[dict[str, Any]]:
    """The options of every setting of a panel, over its base."""
    grid = [dict(zip(panel.grid, values, strict=True)) for values in product(*panel.grid.values())]
    drawn = [draw(panel, number) for number in range(panel.draws)] if panel.random else [{}]
    for explicit, point, random in product(panel.settings or [{}], grid, drawn):
        yield {**explicit, **point, **random}


def draw(panel: Panel, number: int) -> dict[str, Any]:
    """The random point of that number; each has a generator of its own, so that points stay where
    more are drawn."""
    rng = np.random.default_rng([panel.draws_seed, number])
    drawn: dict[str, Any] = {}
    for name in sorted(panel.random):
        ((kind, values),) = panel.random[name].items()
        if kind == "choice":
            drawn[name] = values[int(rng.integers(len(values)))]
        elif kind == "integer":
            drawn[name] = int(rng.integers(values[0], values[1], endpoint=True))
        elif kind == "log_uniform":
            drawn[name] = float(np.exp(rng.uniform(*np.log(values))))
        else:
            drawn[name] = float(rng.uniform(*values))
    return drawn


def varied_fields(study: Declaration) -> list[str]:
    """The fields in which settings differ, in the order in which they are declared."""
    names: dict[str, None] = {}
    for panel in study.all_panels():
        for each in panel.settings:
            names.update(dict.fromkeys(each))
        names.update(dict.fromkeys([*panel.grid, *panel.random]))
        if len(study.panels) > 1:
            names.update(dict.fromkeys(panel.base))
    return [name for name in names if name not in ("name", "solved")]


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Options put over each other; 'initializers.W' changes one entry of 'initializers'."""
    options: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            head, dot, tail = name.partition(".")
            if dot and head in TABLES:
                options[head] = {**options.get(head, {}), tail: value}
            else:
                options[name] = value
    return options


def expand(study: Declaration) -> list[Setting]:
    """Make and check all settings. Raises BpttError naming the one that is not possible."""
    found: list[Setting] = []
    number, seen = 0, set[Any]()
    for panel in study.all_panels():
        for point in points(panel):
            given = dict(point)
            name, solved = given.pop("name", ""), given.pop("solved", None)
            label = ", ".join(
                [*([str(name)] if name else []),
                 *(f"{field}={written(value)}" for field, value in given.items()
                   if not name or field in panel.grid or field in panel.random)]
            )  # fmt: skip
            options = merged(study.base, panel.base, given)
            try:
                made: list[Settings | Trial] = []
                if study.data is not None:
                    made += trials(study, options, seen)
                else:
                    made.append(build(study.kind, options, solved or panel.solved or study.solved))
            except BpttError as error:
                where = ": ".join(part for part in (panel.name, label) if part)
                raise BpttError(f"setting '{where}': {error}" if where else str(error)) from None
            for settings in made:
                digest = digest_of(settings, study)
                found.append(Setting(number, label, panel.name, options, settings, digest))
            number += 1
    return found


def trials(study: Declaration, options: Mapping[str, Any], seen: set[Any]) -> list[Trial]:
    """The trainings of flat options over the study's data, one for each fold; checked as far as can
    be told without training."""
    try:
        plan = plan_of(options)
    except BpttError as error:
        raise with_value(error, options) from None
    found = [Trial(plan, study.data, fold) for fold in range(study.folds)]
    found[0].check(seen)
    return found


def build(
    kind: type[Task], options: Mapping[str, Any], solved: str | Mapping[str, float]
) -> Settings:
    """The settings of flat options, with the criterion as the stop rule; checked as far as can be
    told without training."""
    own = options_of(kind)
    fields = {own[name].field: value for name, value in options.items() if name in own}
    rest = {name: value for name, value in options.items() if name not in own}
    stop: dict[str, Any] = {"exact": solved == "exact", "proved": solved == "proved"}
    if isinstance(solved, Mapping):
        stop |= {"target_loss" if name == "loss" else name: x for name, x in solved.items()}
    try:
        task = kind.from_config(fields)
        settings = settings_for(task, {**rest, **stop})
    except BpttError as error:
        raise with_value(error, options) from None
    if settings.iterations < 1:
        raise BpttError(f"iterations {settings.iterations} must be at least 1 in a study")
    initializers.check(settings.structure, settings.initializers, settings.forget_bias)
    _check_stream(task, settings.batch, settings.structure.dtype)
    return settings


@lru_cache(maxsize=64)
def _check_stream(task: Task, batch: int, dtype: str) -> None:
    """Raises BpttError for a batch that the task cannot have."""
    task.stream(0, batch, dtype)


def with_value(error: BpttError, options: Mapping[str, Any]) -> BpttError:
    """An error about a type names only the place: put the option's name and value before it."""
    match = re.search(r": (Expected .*) - at `\$\.(?:\w+\.)*?(\w+)(?:\[.*\])?`$", str(error))
    if match is None:
        return error
    name = "optimizer" if match[2] == "kind" else match[2]
    return BpttError(f"{name} {options.get(name)!r:.60}: {match[1].lower().replace('`', '')}")


def digest_of(settings: Settings | Trial, study: Declaration) -> str:
    """16 hexadecimal digits of all that determines a run's row but its seed."""
    if isinstance(settings, Trial):
        return _digest(settings.as_dict())
    values = settings.as_dict() | {
        "stop_when_solved": study.stop_when_solved, "verdict": study.verdict,
        "lengths": study.lengths,
    }  # fmt: skip
    del values["seed"]
    # What came later is left out where nobody asks for it: runs of before keep their names.
    if study.every_length:
        values["every_length"] = True
    if not settings.stop.proved:
        del values["stop"]["proved"]
    return _digest(values)


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shape_of(settings: Settings | Trial) -> str:
    """What settings must have in common to be trained side by side."""
    if isinstance(settings, Trial):
        return repr(settings.shape())
    task, optimizer = settings.task, settings.optimizer
    shape = (settings.structure, task.steps, settings.batch, optimizer.kind, optimizer.clips,
             settings.engine, type(task))  # fmt: skip
    return repr(shape)


def groups_of(settings: list[Setting]) -> list[list[Setting]]:
    """The settings by shape, each once: two with the same digest are the same runs."""
    groups: dict[str, dict[str, Setting]] = {}
    for each in settings:
        groups.setdefault(shape_of(each.settings), {}).setdefault(each.digest, each)
    return [list(group.values()) for group in groups.values()]


class Expanded(Declaration, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A declaration with its settings.

    Raises BpttError, naming the setting, if one is not possible.
    """

    def _check(self) -> None:
        super()._check()
        assert self.expanded  # made here, so that a setting that is not possible is told at once

    @cached_property
    def expanded(self) -> list[Setting]:
        """The settings, made and checked once: see `expand`."""
        return expand(self)
