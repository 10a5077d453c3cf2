"""The declaration of a study: which settings, how many seeds, and what counts as solved.

A study is settings x seeds. A setting is the base options, changed by one of the explicit
`settings`, one point of the `grid` and one draw of the `random` ranges, in every combination. Where
one grid is not enough, `panels` each have their own; a panel answers one question.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from bptt.equations.own import Equations, as_text, found_in, put_back
from bptt.errors import BpttError, one_line, quoted_list
from bptt.fitting.plan import OPTIONS as PLANNED
from bptt.options import unknown
from bptt.studies.data import Data
from bptt.tasks import BUILT_IN, DEFAULT, kind_of
from bptt.tasks.task import Task
from bptt.training.options import OPTIONS, STOP, own_options
from bptt.training.settings import check_task

# Options that hold others; one of them may be named alone, as in 'initializers.W'.
TABLES = ("initializers", "schedule")
CRITERIA = ("loss", "smooth_loss", "accuracy", "wrong")
RANGES = ("uniform", "log_uniform", "integer", "choice")
NOT_FIELDS = {
    **dict.fromkeys(STOP, "when a run stops is given by 'solved'"),
    "seed": "seeds are given by 'seeds'",
    "seconds": "a run that stops by the clock would not be the same twice",
}
# What a study has for tasks alone; with data there is nothing to be solved.
OF_TASKS = ("task", "solved", "stop_when_solved", "verdict", "lengths", "every_length")


# More is refused before anything is made of it.
MOST_SETTINGS, MOST_RUNS = 1_000_000, 10_000_000
# The largest number that SQLite keeps.
MOST_SEED = 2**63 - 1


class Points(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What settings there are: fields as in `Study`."""

    grid: dict[str, list[Any]] = {}
    random: dict[str, dict[str, Any]] = {}
    draws: int = 0
    draws_seed: int = 0
    settings: list[dict[str, Any]] = []

    def count(self) -> int:
        """How many settings there are."""
        each = math.prod(len(values) for values in self.grid.values())
        return each * max(len(self.settings), 1) * (self.draws if self.random else 1)


class Panel(Points, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question of a study: fields as in `Study`; base is put over the study's, and solved, if
    given, counts in its stead."""

    name: str = ""
    base: dict[str, Any] = {}
    solved: str | dict[str, float] | None = None


class Declaration(Points, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What is said of a study: fields as in `bptt.studies.study.Study`.

    Raises BpttError, naming field, value and what is allowed, for fields that are not possible.
    """

    task: Any = DEFAULT
    name: str = ""
    base: dict[str, Any] = {}
    panels: list[Panel] = []
    seeds: int | list[int] = 10
    solved: str | dict[str, float] = "exact"
    stop_when_solved: bool = True
    verdict: bool = True
    lengths: list[int] = []
    every_length: bool = False
    curves: bool = False
    seconds: float | None = None
    data: Any = None

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        if isinstance(self.task, Task):
            check_task(self.task)
            put(self, "base", {**_fields_of(self.task), **self.base})
            put(self, "task", type(self.task))
        if not (isinstance(self.task, type) and issubclass(self.task, Task)):
            put(self, "task", kind_of(self.task))
        if self.task.name in BUILT_IN:
            put(self, "task", self.task.name)
        if isinstance(self.seeds, range):
            put(self, "seeds", list(self.seeds))
        if self.data is not None:
            put(self, "data", Data.of(self.data))
        for field in msgspec.structs.fields(Declaration):
            name = field.name
            if name not in ("task", "data"):
                equations = found_in(getattr(self, name))
                plain = msgspec.to_builtins(getattr(self, name), enc_hook=_plain)
                try:
                    put(self, name, msgspec.convert(put_back(plain, equations), field.type))
                except msgspec.ValidationError as error:
                    raise BpttError(f"{name} {plain!r:.60}: {error}") from None
        self._check()

    @property
    def kind(self) -> type[Task]:
        """The class of the task."""
        return self.task if isinstance(self.task, type) else kind_of(self.task)

    def _check(self) -> None:
        """All that can be told of the fields alone."""
        if self.panels and (self.grid or self.random or self.settings):
            raise BpttError("panels have grid, random and settings of their own: put them there")
        names = [panel.name for panel in self.panels]
        if len(set(names)) < len(names) or (names and not all(names)):
            raise BpttError(f"panels need names of their own, but these are {quoted_list(names)}")
        self._check_size()
        seeds = self.seed_list()
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MOST_SEED:
            raise BpttError(
                f"seeds {self.seeds!r:.60}: a count of at least 1, or a list of different "
                f"numbers from 0 to {MOST_SEED}, is needed"
            )
        if self.every_length and self.kind.automaton is Task.automaton:
            raise BpttError(
                f"every_length is for tasks that state an automaton, and '{self.kind.name}' states "
                "none: leave it out"
            )
        if self.lengths and not self.kind.lengthens:
            raise BpttError(
                f"lengths {self.lengths} are for tasks with longer sequences, and "
                f"'{self.kind.name}' has none: leave them out"
            )
        if any(each < 1 for each in self.lengths) or len(set(self.lengths)) < len(self.lengths):
            raise BpttError(
                f"lengths {self.lengths} must be different multiples of the trained length, from 1"
            )
        if self.seconds is not None and not self.seconds > 0:
            raise BpttError(f"seconds {self.seconds} must be positive; leave it out for no limit")
        check_solved(self.solved)
        if self.data is not None:
            self._check_data()
        known = self._options()
        for panel in self.all_panels():
            check_panel(panel, known, self.base)

    def _check_data(self) -> None:
        """Raises BpttError for what is said of a task where data are learned from."""
        usual = {field.name: field.default for field in msgspec.structs.fields(Declaration)}
        for name in OF_TASKS:
            value = getattr(self, name)
            if value != usual[name] and not (name == "lengths" and not value):
                raise BpttError(f"{name} {value!r:.40} is of tasks, but this study has data")
        for panel in self.all_panels():
            if panel.solved is not None or any("solved" in each for each in panel.settings):
                raise BpttError("solved is of tasks, but this study has data: leave it out")

    def _options(self) -> set[str]:
        """The names of options that settings may have."""
        options = PLANNED if self.data is not None else {**own_options(self.kind), **OPTIONS}
        return set(options) - set(NOT_FIELDS)

    def _check_size(self) -> None:
        """Raises BpttError for more than can be done; before anything is made of so many."""
        settings = sum(panel.count() for panel in self.all_panels())
        if settings > MOST_SETTINGS:
            raise BpttError(f"{settings:,} settings are too many: at most {MOST_SETTINGS:,}")
        runs = settings * (self.seeds if isinstance(self.seeds, int) else len(self.seeds))
        runs *= self.folds
        if runs > MOST_RUNS:
            raise BpttError(f"{runs:,} runs are too many: at most {MOST_RUNS:,}")

    @property
    def folds(self) -> int:
        """How many runs a setting has of each seed."""
        return max(1, self.data.folds) if self.data is not None else 1

    def seed_list(self) -> list[int]:
        """The seeds, one by one."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def all_panels(self) -> list[Panel]:
        """The panels; a study without has one, without a name."""
        alone = Panel(**{name: getattr(self, name) for name in Points.__struct_fields__})
        return self.panels or [alone]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = {
            name: msgspec.to_builtins(getattr(self, name), enc_hook=as_text)
            for name in self.__struct_fields__
            if name not in ("task", "data")
        }
        if self.data is None:
            return {"task": self.kind.name, **found}
        own = {name: value for name, value in found.items() if name not in OF_TASKS}
        return {"data": self.data.plain(), **own}

    @property
    def equations(self) -> list[Equations]:
        """The equations of one's own that its settings name."""
        return [each for name in self.__struct_fields__ for each in found_in(getattr(self, name))]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], own: type[Task] | None = None) -> Self:
        """A study from plain values. own: the class of a task of one's own that they may name.

        Raises BpttError, naming the field that is wrong.
        """
        for name in values:
            if name not in cls.__struct_fields__:
                raise unknown("study field", name, cls.__struct_fields__)
        task = values.get("task", DEFAULT)
        if "task" in values and values.get("data") is not None:
            raise BpttError("a study has a task or data: leave one of them out")
        try:
            return cls(**{**values, "task": kind_of(task, own)})
        except msgspec.ValidationError as error:
            raise one_line(error, "study") from None

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """The study that a TOML file declares; files that the task learns from
        are looked for beside it.

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
            return cls.from_dict(with_files(values, path.parent))
        except BpttError as error:
            raise BpttError(f"'{path}': {error}") from None


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, equations as their text."""
    if isinstance(value, Equations):
        return as_text(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | range):
        return list(value) if isinstance(value, range) else value.tolist()
    raise BpttError(f"{value!r:.60} cannot be part of a study: give numbers, texts or lists")


def _fields_of(task: Task) -> dict[str, Any]:
    """A task's fields as options."""
    values = {name: getattr(task, each.field) for name, each in own_options(type(task)).items()}
    return {name: value for name, value in values.items() if value is not None}


def with_files(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A declaration with what its task reads from files of `folder` in it: see `Task.files`; and
    with the data of its files there."""
    if isinstance(values.get("data"), Mapping):
        return {**values, "data": Data.of(values["data"], folder)}
    kind = kind_of(values.get("task", DEFAULT))
    return _read(values, kind, folder) if kind.files else dict(values)


def _read(values: Mapping[str, Any], kind: type[Task], folder: Path) -> dict[str, Any]:
    """`values`, and all tables in them, with the content of files instead of their names."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        several = isinstance(value, list)
        if name in kind.files and (several or isinstance(value, str)):
            file = kind.files[name]
            found = [file.read(folder / each) for each in (value if several else [value])]
            read[file.field] = found if several else found[0]
        elif isinstance(value, Mapping):
            read[name] = _read(value, kind, folder)
        elif several:
            read[name] = [
                _read(each, kind, folder) if isinstance(each, Mapping) else each for each in value
            ]
        else:
            read[name] = value
    return read


def check_solved(solved: str | Mapping[str, float]) -> None:
    """Raises BpttError unless it is 'exact', 'proved' or one limit."""
    allowed = (
        f"'exact', 'proved', or one of {quoted_list(CRITERIA)} with a number, as {{loss = 0.01}}"
    )
    if solved in ("exact", "proved"):
        return
    if not isinstance(solved, Mapping) or len(solved) != 1 or next(iter(solved)) not in CRITERIA:
        raise BpttError(f"solved {solved!r:.60} is not known: give {allowed}")
    ((name, limit),) = solved.items()
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if not number or not math.isfinite(limit) or limit < 0:
        raise BpttError(f"solved {name} {limit!r:.60} must be a number, not negative")
    if name in ("accuracy", "wrong") and limit > 1:
        raise BpttError(f"solved {name} {limit} is a share: at most 1 is possible")


def check_field(name: str, known: set[str]) -> None:
    """Raises BpttError unless options of that name may be given."""
    if name in NOT_FIELDS:
        raise BpttError(f"'{name}' cannot be set for single settings: {NOT_FIELDS[name]}")
    head, dot, tail = name.partition(".")
    if name not in known and not (dot and tail and head in TABLES and head in known):
        raise unknown("field", name, known)


def check_panel(panel: Panel, known: set[str], base: Mapping[str, Any]) -> None:
    """Raises BpttError for unknown fields, empty lists, ranges that cannot be read."""
    varied = [*panel.grid, *panel.random, *{name for each in panel.settings for name in each}]
    for name in [*base, *panel.base, *varied]:
        if name not in ("name", "solved") or name not in varied:
            check_field(name, known)
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
