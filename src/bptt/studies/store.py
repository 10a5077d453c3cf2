"""The database of a study: one row a finished run, in SQLite.

study.json      the declaration (`bptt.studies.declaration.Study`)
study.sqlite    settings (id, digest), runs (setting, seed, ...), curves (setting, seed,
                iteration, ...)
study.lock      an empty database that is locked as long as a process adds runs

What is finished is committed unit by unit, with SQLite's rollback journal: a process may be killed
at any moment, and file systems of clusters, where a write-ahead log does not work, will do. A run
is known by its setting's digest and its seed, so a study that has grown finds what is done.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bptt.errors import BpttError
from bptt.studies.declaration import Study
from bptt.studies.expansion import Setting, run_name, varied_fields
from bptt.training.runs import read_json, write_file

if TYPE_CHECKING:
    import pandas

DECLARATION, DATABASE, LOCK = "study.json", "study.sqlite", "study.lock"
COLUMNS = {
    "status": "TEXT", "iterations": "INTEGER", "solved_at": "INTEGER", "loss": "REAL",
    "loss_per_step": "REAL", "wrong": "REAL", "exact": "REAL", "right": "INTEGER",
    "total": "INTEGER", "what": "TEXT", "seconds": "REAL", "version": "TEXT",
}  # fmt: skip
CURVE = ("iteration", "loss", "loss_per_step", "wrong", "exact", "smooth_loss")


class Row(NamedTuple):
    """A finished run. values: those of `columns_of`; curve: those of CURVE, a tuple a record."""

    digest: str
    seed: int
    values: tuple[Any, ...]
    curve: list[tuple[Any, ...]]


def columns_of(study: Study) -> dict[str, str]:
    """Names and types of a run's columns in the database."""
    return {**COLUMNS, **{f"exact_{each}x": "REAL" for each in study.lengths}}


def check_free(folder: Path) -> None:
    """Raises BpttError for a folder that is neither empty nor a study's."""
    if folder.is_dir() and not (folder / DECLARATION).exists():
        # What a process leaves that is killed before the declaration is there.
        ours = (LOCK, f".{DECLARATION}.")
        if not all(path.name.startswith(ours) for path in folder.iterdir()):
            raise BpttError(f"'{folder}' is not empty and holds no study: choose another --out")


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """While the block runs, no other process adds runs to the study in a folder; it may read.

    The lock is SQLite's own, on an empty database beside the study's: the operating system ends it
    with the process, however that ends. Raises BpttError if another process has it.
    """
    if folder is None:
        yield
        return
    check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise BpttError(f"'{folder}' cannot be used: {error}; choose another --out") from None
    with closing(lock):
        try:
            lock.execute("PRAGMA journal_mode = OFF")  # nothing is ever written
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise BpttError(
                    f"'{folder / LOCK}' cannot be locked: {error}; choose another --out"
                ) from None
            raise BpttError(
                f"'{folder}' is being worked on by another process: wait until that has ended, "
                "or choose another --out"
            ) from None
        yield


class Store:
    """The results of a study; in a folder, or in memory without one.

    Raises BpttError if the folder holds another study, or cannot be used.
    """

    def __init__(self, study: Study, folder: Path | None = None, resume: bool = True) -> None:
        self.study, self.folder = study, folder
        self.settings = study.expanded
        if folder is not None:
            self._declare(folder, resume)
        self.columns = columns_of(study)
        with self._errors():
            self._base = sqlite3.connect(folder / DATABASE if folder else ":memory:", timeout=60)
            self._create()
        self._ids: dict[str, int] = {}

    def _declare(self, folder: Path, resume: bool) -> None:
        """Write the declaration, or compare it with the one that is there."""
        path = folder / DECLARATION
        if not path.exists():
            check_free(folder)
            write_file(path, json.dumps(self.study.as_dict(), indent=2).encode())
            return
        if not resume:
            raise BpttError(
                f"'{folder}' already holds a study: go on with it by --resume, "
                "or choose another --out"
            )
        values = read_json(path)
        if values != self.study.as_dict() and (before := Study.from_dict(values)) != self.study:
            self._grow(before, path)

    def _grow(self, before: Study, path: Path) -> None:
        """Accept a declaration that has all runs of the one before, and perhaps more."""
        settings = {each.digest for each in before.expanded}
        missing = settings - {each.digest for each in self.settings}
        fewer = set(before.seed_list()) - set(self.study.seed_list())
        if missing or fewer or before.curves != self.study.curves:
            raise BpttError(
                f"'{path.parent}' holds a study that was declared otherwise "
                f"({_difference(before, self.study)}): resume it as it was, or with more settings "
                "or seeds, or choose another --out"
            )
        write_file(path, json.dumps(self.study.as_dict(), indent=2).encode())

    @contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except sqlite3.Error as error:
            place = self.folder / DATABASE if self.folder else "the database"
            raise BpttError(
                f"'{place}' cannot be used: {error}; free some space or choose another --out"
            ) from None

    def _create(self) -> None:
        described = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        numbers = ", ".join(f"{name} REAL" for name in CURVE[1:])
        self._base.executescript(
            "BEGIN; CREATE TABLE IF NOT EXISTS settings (id INTEGER PRIMARY KEY, digest TEXT "
            "UNIQUE);"
            f"CREATE TABLE IF NOT EXISTS runs (setting INTEGER, seed INTEGER, {described}, "
            "PRIMARY KEY (setting, seed)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS curves (setting INTEGER, seed INTEGER, iteration INTEGER, "
            f"{numbers}, PRIMARY KEY (setting, seed, iteration)) WITHOUT ROWID; COMMIT;"
        )

    def _id(self, digest: str) -> int:
        """The number that stands for a setting in this database."""
        if digest not in self._ids:
            self._base.execute("INSERT OR IGNORE INTO settings (digest) VALUES (?)", (digest,))
            found = self._base.execute("SELECT id FROM settings WHERE digest = ?", (digest,))
            self._ids[digest] = found.fetchone()[0]
        return self._ids[digest]

    def add(self, rows: Sequence[Row]) -> None:
        """Commit finished runs, all of them or none."""
        marks = ", ".join("?" * (2 + len(self.columns)))
        points = ", ".join("?" * (2 + len(CURVE)))
        with self._errors(), self._base:
            keys = [(self._id(row.digest), row.seed) for row in rows]
            self._base.executemany(
                f"INSERT OR IGNORE INTO runs VALUES ({marks})",
                [key + row.values for key, row in zip(keys, rows, strict=True)],
            )
            self._base.executemany(
                f"INSERT OR IGNORE INTO curves VALUES ({points})",
                [key + point for key, row in zip(keys, rows, strict=True) for point in row.curve],
            )

    def done(self) -> set[tuple[str, int]]:
        """Digest and seed of the runs that are finished."""
        with self._errors():
            found = self._base.execute(
                "SELECT digest, seed FROM runs JOIN settings ON setting = id"
            )
            return set(found.fetchall())

    def statuses(self) -> dict[str, int]:
        """How many of the finished runs have ended how."""
        with self._errors():
            found = self._base.execute("SELECT status, COUNT(*) FROM runs GROUP BY status")
            return dict(found.fetchall())

    def rows(self) -> Iterator[Row]:
        """All finished runs."""
        with self._errors():
            names = dict(self._base.execute("SELECT id, digest FROM settings").fetchall())
            curves: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
            for setting, seed, *point in self._base.execute("SELECT * FROM curves"):
                curves.setdefault((setting, seed), []).append(tuple(point))
            for setting, seed, *values in self._base.execute("SELECT * FROM runs"):
                yield Row(names[setting], seed, tuple(values), curves.get((setting, seed), []))

    def close(self) -> None:
        """Close the database."""
        self._base.close()

    def frame(self) -> "pandas.DataFrame":
        """One row a finished run, in the order of settings and seeds."""
        import pandas

        with self._errors():
            names = ", ".join(f'"{name}"' for name in self.columns)
            found = pandas.read_sql_query(
                f"SELECT digest, seed, {names} FROM runs JOIN settings ON setting = id", self._base
            )
        table = self._settings_frame().merge(found, on="digest")
        table.insert(0, "run", [
            run_name(digest, seed)
            for digest, seed in zip(table["digest"], table["seed"], strict=True)
        ])  # fmt: skip
        order = table.sort_values(["setting", "seed"], ignore_index=True).drop(columns="digest")
        types = dict.fromkeys(("solved_at", "right", "total"), "Int64")
        # A column without any number would else be one of objects.
        types |= {name: "float64" for name, kind in self.columns.items() if kind == "REAL"}
        return order.astype(types)

    def curves(self) -> "pandas.DataFrame":
        """One row a record of a run, in order; empty if the study keeps no curves."""
        import pandas

        with self._errors():
            found = pandas.read_sql_query(
                "SELECT digest, curves.* FROM curves JOIN settings ON setting = id",
                self._base,
            ).drop(columns="setting")
        table = self._settings_frame()[["digest", "setting"]].merge(found, on="digest")
        table.insert(0, "run", table["digest"] + "-" + table["seed"].astype(str))
        table = table.sort_values(["setting", "seed", "iteration"], ignore_index=True)
        return table[["run", "setting", "seed", *CURVE]]

    def _settings_frame(self) -> "pandas.DataFrame":
        """One row a setting: digest, number, panel, label and the varied fields."""
        import pandas

        fields = varied_fields(self.study)
        rows = [
            {"digest": each.digest, "setting": each.number}
            | ({"panel": each.panel} if self.study.panels else {})
            | {"label": each.label}
            | {column_of(name): _cell(each, name) for name in fields}
            for each in self.settings
        ]
        return pandas.DataFrame(rows)


def column_of(field: str) -> str:
    """The column of a varied field: its name, or, where a result has that name, as the limit of
    'iterations' and the kind of 'loss' do, 'setting_iterations'."""
    return f"setting_{field}" if field in COLUMNS else field


def _cell(setting: Setting, name: str) -> Any:
    """A varied field's value as a table's cell."""
    value = setting.value(name)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _difference(before: Study, now: Study) -> str:
    """The first field in which two declarations differ."""
    for name in Study.__struct_fields__:
        then, given = getattr(before, name), getattr(now, name)
        if then != given:
            return f"{name} was {then!r:.60} and is {given!r:.60}"
    return "nothing differs"
