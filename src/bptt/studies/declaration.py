"""The declaration of a study: which settings, how many seeds, and what counts as solved.

A study is settings x seeds. A setting is the base options, changed by one of the explicit
`settings`, one point of the `grid` and one draw of the `random` ranges, in every combination. Where
one grid is not enough, `panels` each have their own; a panel answers one question.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bptt.errors import BpttError, one_line, quoted_list
from bptt.tasks import TASKS, Addition, Text
from bptt.tasks.text import read_text
from bptt.training.presets import OPTIMIZER, STRUCTURE, TOP

if TYPE_CHECKING:
    from bptt.studies.execution import Results
    from bptt.studies.expansion import Setting
    from bptt.studies.planning import Plan

# What a task's options are called, which stand among the others.
TASK_FIELDS: dict[str, tuple[str, ...]] = {
    "addition": Addition.__struct_fields__,
    "text": ("text", "file", "window", "newlines", "rest"),
}
# Options that hold others; one of them may be named alone, as in 'initializers.W'.
TABLES = ("initializers", "schedule")
CRITERIA = ("loss", "smooth_loss", "accuracy", "wrong")
RANGES = ("uniform", "log_uniform", "integer", "choice")
NOT_FIELDS = {
    "seed": "seeds are given by 'seeds'",
    "exact": "when a run stops is given by 'solved'",
    "target_loss": "when a run stops is given by 'solved'",
    "smooth_loss": "when a run stops is given by 'solved'",
    "accuracy": "when a run stops is given by 'solved'",
    "wrong": "when a run stops is given by 'solved'",
    "seconds": "a run that stops by the clock would not be the same twice",
}
MOST_RUNS = 10_000_000


class Points(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What settings there are: fields as in `Study`."""

    grid: dict[str, list[Any]] = {}
    random: dict[str, dict[str, Any]] = {}
    draws: int = 0
    draws_seed: int = 0
    settings: list[dict[str, Any]] = []


class Panel(Points, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question of a study: fields as in `Study`; base is put over the study's, and solved, if
    given, counts in its stead."""

    name: str = ""
    base: dict[str, Any] = {}
    solved: str | dict[str, float] | None = None


class Study(Points, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Settings x seeds, all trained, to be answered with statistics.

    task: 'addition' or 'text', or a task, whose fields are then part of the base.
    base: options of `bptt.train` and of the task that all settings share.
    grid: a list of values for each option; all combinations are taken.
    random: a range for each option, as {'log_uniform': [1e-3, 1]} ('uniform' alike, 'integer'
    with both ends included, 'choice' of a list); `draws` points are drawn, by `draws_seed`; the
    first points stay the same where more are drawn.
    settings: explicit settings, as options; an entry 'name' labels it, 'solved' counts for it.
    panels: several questions in one study, see `Panel`.
    seeds: how many (0, 1, ...), or which.
    solved: 'exact' (the task's own test is passed), or {'loss': x} (mean loss since the last
    record at most x), {'smooth_loss': x} (below x), {'accuracy': x} (share of samples without a
    wrong output at least x), {'wrong': x} (share of wrong outputs at most x). It is looked at
    every `record_every` iterations.
    stop_when_solved: whether a run then ends; or else goes on to its last iteration.
    verdict: whether each network is put to the task's own test at its end.
    lengths: multiples of the trained bits at which adders are tested, on 100 sums each.
    curves: whether the records on the way are kept.
    seconds: after so many, no more runs are begun (`Study.run` then goes on another time).

    Raises BpttError, naming field, value and what is allowed, if any setting is not possible.
    """

    task: Any = "addition"
    name: str = ""
    base: dict[str, Any] = {}
    panels: list[Panel] = []
    seeds: int | list[int] = 10
    solved: str | dict[str, float] = "exact"
    stop_when_solved: bool = True
    verdict: bool = True
    lengths: list[int] = []
    curves: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        if isinstance(self.task, Addition | Text):
            put(self, "base", {**_fields_of(self.task), **self.base})
            put(self, "task", self.task.name)
        if not isinstance(self.task, str) or self.task not in TASKS:
            raise BpttError(f"task '{self.task}' is not known: choose one of {quoted_list(TASKS)}")
        if isinstance(self.seeds, range):
            put(self, "seeds", list(self.seeds))
        plain = msgspec.to_builtins(self, enc_hook=_plain)
        try:
            for field in msgspec.structs.fields(Study):
                name = field.name
                put(self, name, msgspec.convert(plain[name], field.type))
        except msgspec.ValidationError as error:
            raise BpttError(f"{name} {plain[name]!r:.60}: {error}") from None
        self._check()

    def _check(self) -> None:
        """Everything that can be told without running; the settings are built for it."""
        if self.panels and (self.grid or self.random or self.settings):
            raise BpttError("panels have grid, random and settings of their own: put them there")
        names = [panel.name for panel in self.panels]
        if len(set(names)) < len(names) or (names and not all(names)):
            raise BpttError(f"panels need names of their own, but these are {quoted_list(names)}")
        seeds = self.seed_list()
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise BpttError(
                f"seeds {self.seeds!r:.60}: a count of at least 1, or a list of different "
                "numbers from 0, is needed"
            )
        if self.lengths and self.task != "addition":
            raise BpttError(f"lengths {self.lengths} are for the task 'addition': leave them out")
        if any(each < 1 for each in self.lengths) or len(set(self.lengths)) < len(self.lengths):
            raise BpttError(
                f"lengths {self.lengths} must be different multiples of the trained bits, from 1"
            )
        if self.seconds is not None and not self.seconds > 0:
            raise BpttError(f"seconds {self.seconds} must be positive; leave it out for no limit")
        check_solved(self.solved)
        for panel in self.all_panels():
            check_panel(panel, self.task, self.base)
        count = len(self.expanded) * len(seeds)
        if count > MOST_RUNS:
            raise BpttError(f"{count:,} runs are too many: at most {MOST_RUNS:,}")

    @cached_property
    def expanded(self) -> "list[Setting]":
        """The settings, made and checked once: see `bptt.studies.expansion.expand`."""
        from bptt.studies.expansion import expand

        return expand(self)

    def seed_list(self) -> list[int]:
        """The seeds, one by one."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def all_panels(self) -> list[Panel]:
        """The panels; a study without has one, without a name."""
        alone = Panel(**{name: getattr(self, name) for name in Points.__struct_fields__})
        return self.panels or [alone]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Study":
        """A study from plain values. Raises BpttError, naming the field that is wrong."""
        unknown = sorted(set(values) - set(cls.__struct_fields__))
        if unknown:
            raise BpttError(
                f"'{unknown[0]}' is not a field of a study: choose of "
                f"{', '.join(sorted(cls.__struct_fields__))}"
            )
        try:
            return cls(**values)
        except msgspec.ValidationError as error:
            raise one_line(error, "study") from None

    @classmethod
    def from_toml(cls, path: str | Path) -> "Study":
        """The study that a TOML file declares; a text's `file` is looked for beside it.

        Raises BpttError for a file that cannot be read or declares no study.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BpttError(f"'{path}' cannot be read: {error.strerror}; give a file") from None
        except ValueError as error:  # no TOML, or no UTF-8
            raise BpttError(f"'{path}' is not TOML: {error}") from None
        try:
            return cls.from_dict(with_texts(values, path.parent))
        except BpttError as error:
            raise BpttError(f"'{path}': {error}") from None

    def plan(self, workers: int | None = None, measure: bool = True) -> "Plan":
        """How many runs there are, and an estimate of the time: see `bptt.studies.planning`."""
        from bptt.studies.planning import plan

        return plan(self, workers, measure)

    def run(
        self,
        folder: str | Path | None = None,
        *,
        workers: int | None = None,
        client: Any = None,
        resume: bool = False,
        shard: tuple[int, int] | None = None,
        progress: bool | None = None,
    ) -> "Results":
        """Train all runs that are not finished yet.

        folder: where results are kept, by default in memory only. workers: processes, by default
        one a core (1: this process alone). client: a `distributed.Client`, whose workers are used
        instead. resume: go on in a folder that holds this study already. shard (k, n): only the
        k-th of n parts. progress: whether it is shown on standard error, by default if that is a
        terminal. Ctrl-C ends the work and keeps what is finished; `Results.reason` is then
        'interrupted'.

        Raises BpttError for a folder that holds something else, or that another process works on.
        """
        from bptt.studies.execution import Means, run_study

        means = Means(workers, client, shard, progress)
        return run_study(self, Path(folder) if folder else None, resume, means)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | range):
        return list(value) if isinstance(value, range) else value.tolist()
    raise BpttError(f"{value!r:.60} cannot be part of a study: give numbers, texts or lists")


def _fields_of(task: Addition | Text) -> dict[str, Any]:
    """A task's fields as options."""
    names = [name for name in TASK_FIELDS[task.name] if name != "file"]
    return {name: getattr(task, name) for name in names if getattr(task, name) is not None}


def with_texts(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A declaration whose texts are in it: each 'file' of `folder` is read and becomes 'text'."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name == "file" and isinstance(value, str):
            read["text"] = read_text(folder / value)
        elif name == "file" and isinstance(value, list):
            read["text"] = [read_text(folder / each) for each in value]
        elif isinstance(value, Mapping):
            read[name] = with_texts(value, folder)
        elif isinstance(value, list):
            read[name] = [
                with_texts(each, folder) if isinstance(each, Mapping) else each for each in value
            ]
        else:
            read[name] = value
    return read


def check_solved(solved: str | Mapping[str, float]) -> None:
    """Raises BpttError unless it is 'exact' or one limit."""
    allowed = f"'exact', or one of {quoted_list(CRITERIA)} with a number, as {{loss = 0.01}}"
    if solved == "exact":
        return
    if not isinstance(solved, Mapping) or len(solved) != 1 or next(iter(solved)) not in CRITERIA:
        raise BpttError(f"solved {solved!r:.60} is not known: give {allowed}")
    ((name, limit),) = solved.items()
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if not number or not math.isfinite(limit) or limit < 0:
        raise BpttError(f"solved {name} {limit!r:.60} must be a number, not negative")
    if name in ("accuracy", "wrong") and limit > 1:
        raise BpttError(f"solved {name} {limit} is a share: at most 1 is possible")


def check_field(name: str, task: str) -> None:
    """Raises BpttError unless options of that name may be given for that task."""
    if name in NOT_FIELDS:
        raise BpttError(f"'{name}' cannot be set for single settings: {NOT_FIELDS[name]}")
    known = {*TASK_FIELDS[task], *STRUCTURE, "optimizer", *OPTIMIZER, *TOP} - set(NOT_FIELDS)
    head, dot, tail = name.partition(".")
    if name not in known and not (dot and tail and head in TABLES):
        raise BpttError(f"field '{name}' is not known: choose of {', '.join(sorted(known))}")


def check_panel(panel: Panel, task: str, base: Mapping[str, Any]) -> None:
    """Raises BpttError for unknown fields, empty lists, ranges that cannot be read."""
    varied = [*panel.grid, *panel.random, *{name for each in panel.settings for name in each}]
    for name in [*base, *panel.base, *varied]:
        if name not in ("name", "solved") or name not in varied:
            check_field(name, task)
    for name in panel.grid:
        if name in panel.random:
            raise BpttError(f"field '{name}' is in the grid and among the random ranges")
        if not panel.grid[name]:
            raise BpttError(f"grid {name} is empty: give at least one value")
    for name, described in panel.random.items():
        check_range(name, described)
    if bool(panel.random) != (panel.draws > 0):
        raise BpttError(
            f"draws {panel.draws} and {len(panel.random)} random ranges: give both or neither"
        )
    if panel.draws_seed < 0:
        raise BpttError(f"draws_seed {panel.draws_seed} must not be negative")
    if panel.solved is not None:
        check_solved(panel.solved)
    for each in panel.settings:
        check_solved(each.get("solved", "exact"))


def check_range(name: str, described: Mapping[str, Any]) -> None:
    """Raises BpttError unless it is one of RANGES with what that needs."""
    if len(described) != 1 or next(iter(described)) not in RANGES:
        raise BpttError(
            f"random {name} {dict(described)!r:.60} is not known: "
            f"give one of {quoted_list(RANGES)}, as {{uniform = [0, 1]}}"
        )
    ((kind, values),) = described.items()
    if kind == "choice":
        if not isinstance(values, list) or not values:
            raise BpttError(f"random {name}: choice {values!r:.60} must be a list of values")
        return
    ends = isinstance(values, list) and len(values) == 2 and _numbers(values, kind)
    if not ends or not values[0] <= values[1] or (kind == "log_uniform" and values[0] <= 0):
        needed = {"uniform": "numbers", "log_uniform": "positive numbers", "integer": "integers"}
        raise BpttError(
            f"random {name}: {kind} {values!r:.60} must be two {needed[kind]}, the lower one first"
        )


def _numbers(values: Iterable[Any], kind: str) -> bool:
    """Whether all are finite numbers; whole ones for 'integer'."""
    types: Any = int if kind == "integer" else int | float
    return all(
        isinstance(each, types) and not isinstance(each, bool) and math.isfinite(each)
        for each in values
    )
