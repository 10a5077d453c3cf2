"""The database of a study: one row a finished run, in SQLite.

study.json      the declaration (`bptt.studies.declaration`)
study.sqlite    settings (id, digest), runs (setting, seed, ...), curves (setting, seed,
                iteration, ...)
study.lock      an empty file that is locked as long as a process adds runs
study.waiting   a database as study.sqlite: runs that could not be put into that as long as another
                program had it open and was reading

What is finished is committed unit by unit, with SQLite's rollback journal: a process may be killed
at any moment, and file systems of clusters, where a write-ahead log does not work, will do. With
it whoever reads keeps others from writing, and whose query is not at its end reads. So nobody waits
for readers: runs are then put aside. A run is known by its setting's digest and its seed, so a
study that has grown finds what is done.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bptt import files
from bptt.equations.own import handed_in
from bptt.errors import BpttError
from bptt.files import json_text, write_file
from bptt.studies.expansion import Expanded, Setting, run_name, varied_fields
from bptt.studies.trial import EPOCHS, SCORED, Trial
from bptt.training.runs import read_json

if TYPE_CHECKING:
    import pandas

DECLARATION, DATABASE, LOCK = "study.json", "study.sqlite", "study.lock"
WAITING = "study.waiting"
# How long a reader waits for a writer; a writer for a reader, before runs are put aside, and then
# before it tries again; and at the end, before the runs are left where they are.
READING_SECONDS, WRITING_SECONDS, PAUSE_SECONDS, LAST_SECONDS = 60.0, 1.0, 10.0, 60.0
COLUMNS = {
    "status": "TEXT", "iterations": "INTEGER", "solved_at": "INTEGER", "loss": "REAL",
    "loss_per_step": "REAL", "wrong": "REAL", "exact": "REAL", "right": "INTEGER",
    "total": "INTEGER", "what": "TEXT", "seconds": "REAL", "version": "TEXT",
}  # fmt: skip
# The last column, for databases that earlier versions wrote have none.
ARITHMETIC = "arithmetic"
CURVE = ("iteration", "loss", "loss_per_step", "wrong", "exact", "smooth_loss")


class Row(NamedTuple):
    """A finished run. values: those of `columns_of`; curve: those of `curve_of`, a tuple a
    record."""

    digest: str
    seed: int
    values: tuple[Any, ...]
    curve: list[tuple[Any, ...]]


def columns_of(study: Expanded) -> dict[str, str]:
    """Names and types of a run's columns in the database."""
    if study.data is not None:
        return SCORED
    asked = {"every_length": "TEXT"} if study.every_length else {}
    lengths = {f"exact_{each}x": "REAL" for each in study.lengths}
    return {**COLUMNS, **lengths, **asked, ARITHMETIC: "TEXT"}


def curve_of(study: Expanded) -> tuple[str, ...]:
    """The columns of a run's records, the iteration first."""
    return CURVE if study.data is None else EPOCHS


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """While the block runs, no other process adds runs to the study in a folder; it may read.

    Raises BpttError if another process does, or for a folder that is neither empty nor a study's.
    """
    if folder is None:
        yield
        return
    _check_free(folder)
    with files.alone(folder / LOCK, "being worked on"):
        yield


def _check_free(folder: Path) -> None:
    if not (folder / DECLARATION).exists():
        files.check_free(folder, (LOCK,), "study")


class Store:
    """The results of a study; in a folder, or in memory without one.

    Raises BpttError if the folder holds another study, or cannot be used.
    """

    def __init__(self, study: Expanded, folder: Path | None = None, resume: bool = True) -> None:
        self.study, self.folder = study, folder
        if folder is not None:
            self._declare(folder, resume)
        self._open()

    def _open(self) -> None:
        self.settings = self.study.expanded
        self.columns, self._curve = columns_of(self.study), curve_of(self.study)
        self._try_at = 0.0
        self._connect()

    def _connect(self) -> None:
        # Connections are not for processes made by a fork; threads take turns.
        self._process, self._lock = os.getpid(), threading.RLock()
        with self._used():
            self._base = self._database(DATABASE)

    def _database(self, name: str) -> sqlite3.Connection:
        """A database of the study's folder, or in memory, with its tables."""
        path = None if self.folder is None else self.folder / name
        if path is not None and not path.exists() and path.parent.is_dir():
            path.touch()  # with the rights that the user gives new files; SQLite has its own
        base = sqlite3.connect(path or ":memory:", READING_SECONDS, check_same_thread=False)
        described = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        numbers = ", ".join(f"{name} REAL" for name in self._curve[1:])
        base.executescript(
            "BEGIN; CREATE TABLE IF NOT EXISTS settings (id INTEGER PRIMARY KEY, digest TEXT "
            "UNIQUE);"
            f"CREATE TABLE IF NOT EXISTS runs (setting INTEGER, seed INTEGER, {described}, "
            "PRIMARY KEY (setting, seed)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS curves (setting INTEGER, seed INTEGER, iteration INTEGER, "
            f"{numbers}, PRIMARY KEY (setting, seed, iteration)) WITHOUT ROWID; COMMIT;"
        )
        return base

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: results in memory are copied, those in a folder are read there."""
        rows = list(self.rows()) if self.folder is None else []
        return {"study": self.study, "folder": self.folder, "rows": rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.study, self.folder = state["study"], state["folder"]
        self._open()
        self.add(state["rows"])

    def _declare(self, folder: Path, resume: bool) -> None:
        """Write the declaration, or compare it with the one that is there."""
        path = folder / DECLARATION
        if not path.exists():
            _check_free(folder)
            write_file(path, json_text(self.study.as_dict(), 2).encode())
            return
        if not resume:
            raise BpttError(
                f"'{folder}' already holds a study: go on with it by --resume, "
                "or choose another --out"
            )
        values = read_json(path)
        if values == self.study.as_dict():
            return
        with handed_in(*self.study.equations):
            before = type(self.study).from_dict(values, self.study.kind)
        if before != self.study:
            self._grow(before, path)

    def _grow(self, before: Expanded, path: Path) -> None:
        """Accept a declaration that has all runs of the one before, and perhaps more."""
        settings = {each.digest for each in before.expanded}
        missing = settings - {each.digest for each in self.study.expanded}
        if before.data is not None and self.study.data is not None:
            before.data.check_same(self.study.data, path.parent)
        fewer = set(before.seed_list()) - set(self.study.seed_list())
        if missing or fewer or before.curves != self.study.curves:
            raise BpttError(
                f"'{path.parent}' holds a study that was declared otherwise "
                f"({_difference(before, self.study)}): resume it as it was, or with more settings "
                "or seeds, or choose another --out"
            )
        write_file(path, json_text(self.study.as_dict(), 2).encode())

    @contextmanager
    def _used(self) -> Iterator[None]:
        """While the block runs, the database is this thread's; its errors are said in one line."""
        if self._process != os.getpid():
            if self.folder is not None:
                self._connect()
            self._process, self._lock = os.getpid(), threading.RLock()
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                place = self.folder / DATABASE if self.folder else "the database"
                raise BpttError(f"'{place}' cannot be used: {error}; {files.REMEDY}") from None

    @contextmanager
    def _aside(self, make: bool = False) -> Iterator[sqlite3.Connection | None]:
        """The database of runs that were put aside; None if there is none, and none is made."""
        if self.folder is None or not (make or (self.folder / WAITING).exists()):
            yield None
            return
        base = self._database(WAITING)
        try:
            yield base
        finally:
            base.close()

    def add(self, rows: Sequence[Row]) -> None:
        """Commit finished runs, all of them or none. Where another program is reading and does not
        come to an end, they are put aside, and brought in later (`bring_in`)."""
        with self._used():
            if time.monotonic() >= self._try_at and _insert(self._base, rows, self.columns):
                return
            with self._aside(make=True) as aside:
                assert aside is not None  # in memory nobody reads for long
                _insert(aside, rows, self.columns)
        if time.monotonic() >= self._try_at:
            self._try_at = time.monotonic() + PAUSE_SECONDS

    def bring_in(self) -> bool:
        """Put what was put aside into the database; whether nothing is aside any more."""
        with self._used():
            with self._aside() as aside:
                rows = _rows(aside) if aside else []
            if rows and not _insert(self._base, rows, self.columns):
                return False
            if self.folder is not None:
                (self.folder / WAITING).unlink(missing_ok=True)
        return True

    def settle(self, say: Callable[[str], None], interrupted: Callable[[], bool]) -> None:
        """At the end: wait for a reader for whom runs were put aside. Raises BpttError, which says
        where they are, if that takes long, or is interrupted."""
        until, told = time.monotonic() + LAST_SECONDS, False
        while not self.bring_in():
            assert self.folder is not None
            if interrupted() or time.monotonic() > until:
                raise BpttError(
                    f"'{self.folder / DATABASE}' is being read by another program: finished runs "
                    f"wait in '{self.folder / WAITING}', and --resume brings them in"
                )
            if not told:
                say(f"waiting for another program that is reading '{self.folder / DATABASE}'")
            told = True

    def done(self) -> set[tuple[str, int]]:
        """Digest and seed of the runs that are finished."""
        query = "SELECT digest, seed FROM runs JOIN settings ON setting = id"
        with self._used():
            found = set(self._base.execute(query).fetchall())
            with self._aside() as aside:
                found |= set(aside.execute(query).fetchall() if aside else [])
        return found

    def statuses(self) -> dict[str, int]:
        """How many of the finished runs have ended how."""
        with self._used():
            found = self._base.execute("SELECT status, COUNT(*) FROM runs GROUP BY status")
            return dict(found.fetchall())

    def arithmetics(self) -> dict[str, int]:
        """How many of the finished runs were trained with which arithmetic (`Engine.arithmetic`);
        '' of those of which it was not recorded."""
        with self._used():
            if ARITHMETIC not in _columns_in(self._base):
                return {"": sum(self.statuses().values())}
            found = self._base.execute(
                f"SELECT COALESCE({ARITHMETIC}, ''), COUNT(*) FROM runs GROUP BY 1 ORDER BY 1"
            )
            return dict(found.fetchall())

    def rows(self) -> Iterator[Row]:
        """All finished runs."""
        with self._used():
            found = _rows(self._base)
            with self._aside() as aside:
                found += _rows(aside) if aside else []
        yield from found

    def close(self) -> None:
        """Close the database."""
        self._base.close()

    def frame(self) -> "pandas.DataFrame":
        """One row a finished run, in the order of settings and seeds."""
        import pandas

        with self._used():
            names = ", ".join(f'"{name}"' for name in self.columns if name != ARITHMETIC)
            known = ARITHMETIC in _columns_in(self._base)
            made = f"COALESCE({ARITHMETIC}, '')" if known else "''"
            found = pandas.read_sql_query(
                f"SELECT digest, seed, {names}, {made} AS {ARITHMETIC} FROM runs "
                "JOIN settings ON setting = id",
                self._base,
            )
        table = self._settings_frame().merge(found, on="digest")
        table.insert(0, "run", [
            run_name(digest, seed)
            for digest, seed in zip(table["digest"], table["seed"], strict=True)
        ])  # fmt: skip
        by = [name for name in ("setting", "fold", "seed") if name in table]
        order = table.sort_values(by, ignore_index=True).drop(columns="digest")
        whole = [name for name in ("solved_at", "right", "total") if name in table]
        types = dict.fromkeys(whole, "Int64")
        # A column without any number would else be one of objects.
        types |= {name: "float64" for name, kind in self.columns.items() if kind == "REAL"}
        return order.astype(types)

    def curves(self) -> "pandas.DataFrame":
        """One row a record of a run, in order; empty if the study keeps no curves."""
        import pandas

        with self._used():
            found = pandas.read_sql_query(
                "SELECT digest, curves.* FROM curves JOIN settings ON setting = id",
                self._base,
            ).drop(columns="setting")
        table = self._settings_frame()
        names = [name for name in ("digest", "setting", "fold") if name in table]
        table = table[names].merge(found, on="digest")
        table.insert(0, "run", table["digest"] + "-" + table["seed"].astype(str))
        by = [name for name in ("setting", "fold", "seed", "iteration") if name in table]
        table = table.sort_values(by, ignore_index=True)
        return table[["run", *by[:-1], *self._curve]]

    def _settings_frame(self) -> "pandas.DataFrame":
        """One row a setting: digest, number, panel, label and the varied fields."""
        import pandas

        fields = varied_fields(self.study)
        rows = [
            {"digest": each.digest, "setting": each.number}
            | ({"panel": each.panel} if self.study.panels else {})
            | {"label": each.label}
            | (
                {"fold": each.settings.fold, "folds": self.study.folds}
                if isinstance(each.settings, Trial)
                else {}
            )
            | {column_of(name): _cell(each, name) for name in fields}
            for each in self.settings
        ]
        return pandas.DataFrame(rows)


def _columns_in(base: sqlite3.Connection, table: str = "runs") -> set[str]:
    """The columns of a database's table."""
    return {row[1] for row in base.execute(f"PRAGMA table_info({table})")}


def _insert(base: sqlite3.Connection, rows: Sequence[Row], columns: Collection[str]) -> bool:
    """Commit rows, all of them or none: none, and False, where another program is reading."""
    marks = ", ".join("?" * (2 + len(columns)))
    points = ", ".join("?" * len(_columns_in(base, "curves")))
    digests = {row.digest for row in rows}
    base.execute(f"PRAGMA busy_timeout = {1000 * WRITING_SECONDS:.0f}")
    try:
        with base:
            if ARITHMETIC not in _columns_in(base):
                base.execute(f"ALTER TABLE runs ADD COLUMN {ARITHMETIC} TEXT")
            base.executemany(
                "INSERT OR IGNORE INTO settings (digest) VALUES (?)", [(each,) for each in digests]
            )
            ids = dict(base.execute("SELECT digest, id FROM settings").fetchall())
            base.executemany(
                f"INSERT OR IGNORE INTO runs VALUES ({marks})",
                [(ids[row.digest], row.seed, *row.values) for row in rows],
            )
            base.executemany(
                f"INSERT OR IGNORE INTO curves VALUES ({points})",
                [(ids[row.digest], row.seed, *point) for row in rows for point in row.curve],
            )
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    finally:
        base.execute(f"PRAGMA busy_timeout = {1000 * READING_SECONDS:.0f}")
    return True


def _rows(base: sqlite3.Connection) -> list[Row]:
    """All runs of a database."""
    names = dict(base.execute("SELECT id, digest FROM settings").fetchall())
    more = () if ARITHMETIC in _columns_in(base) else (None,)
    curves: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for setting, seed, *point in base.execute("SELECT * FROM curves"):
        curves.setdefault((setting, seed), []).append(tuple(point))
    return [
        Row(names[setting], seed, (*values, *more), curves.get((setting, seed), []))
        for setting, seed, *values in base.execute("SELECT * FROM runs")
    ]


def column_of(field: str) -> str:
    """The column of a varied field: its name, or, where a result has that name, as the limit of
    'iterations' and the kind of 'loss' do, 'setting_iterations'."""
    return f"setting_{field}" if field in COLUMNS or field in SCORED else field


def _cell(setting: Setting, name: str) -> Any:
    """A varied field's value as a table's cell."""
    value = setting.value(name)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _difference(before: Expanded, now: Expanded) -> str:
    """The first field in which two declarations differ."""
    for name in Expanded.__struct_fields__:
        then, given = getattr(before, name), getattr(now, name)
        if then != given:
            return f"{name} was {then!r:.60} and is {given!r:.60}"
    return "nothing differs"
