"""Files and folders: written whole or not at all, one process at a time, and never another's."""

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

from bptt.errors import BpttError
from bptt.processes import after_fork

# How the names of files begin that are being written; one is left where a process is killed.
TEMPORARY = ".bptt-"
REMEDY = "free some space or choose another folder"
# The locks that this process holds.
_locks: set[IO[bytes]] = set()


def write_file(path: Path, content: bytes, remedy: str = REMEDY) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename.

    Raises BpttError, which advises the remedy, if the disc is full or the folder cannot be
    written; the file that was there before is then untouched.
    """
    with replacing(path, remedy) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def replacing(path: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """The name of a temporary file; written in the block, it takes the place of `path` after it."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = new_file(path.parent)
        rights = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
        yield temporary
        with open(temporary, "rb+") as file:  # which may be another file of that name by now
            os.fsync(file.fileno())
        if stat.S_IMODE(temporary.stat().st_mode) != rights:
            temporary.chmod(rights)
        os.replace(temporary, path)
        temporary = None
        _flush_folder(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise BpttError(f"'{path}' cannot be written: {why(error)}; {remedy}") from None
    finally:
        if temporary is not None:  # still there only if something went wrong, an interrupt included
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def new_file(folder: Path) -> tuple[int, Path]:
    """A file that nobody else writes, with the rights that the user gives new files (umask)."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = folder / f"{TEMPORARY}{os.urandom(6).hex()}"
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags, 0o666), path


def _flush_folder(folder: Path) -> None:
    """Put a folder's list of names on the disc, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):  # the file is written; not every file system does this
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def why(error: Exception) -> str:
    """What an error of the operating system says, without its number and path."""
    return str(getattr(error, "strerror", None) or error)


def json_text(values: Any, indent: int | None = None) -> str:
    """JSON that every program reads: numbers that are not finite, for which it has no words, are
    null."""
    try:
        return json.dumps(values, indent=indent, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(values), indent=indent, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def new_folder(parent: Path, name: str) -> Path:
    """Make parent/NAME-N with the smallest N above all that are there: two processes that ask at
    once get two."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        numbers = (path.name.removeprefix(f"{name}-") for path in parent.glob(f"{name}-*"))
        most = max((int(each) for each in numbers if each.isdecimal()), default=0)
        for number in count(most + 1):
            with contextlib.suppress(FileExistsError):
                (parent / f"{name}-{number}").mkdir()
                return parent / f"{name}-{number}"
    except OSError as error:
        raise BpttError(f"'{parent}' cannot be written: {why(error)}; {REMEDY}") from None
    raise AssertionError


def check_free(folder: Path, ours: Iterable[str], what: str) -> None:
    """Raises BpttError for a folder in which there is anything but files of these names, and what
    a killed process has left: others' files are not to be written over. what: what the folder would
    be a folder of."""
    try:
        strangers = sorted(
            path.name for path in folder.iterdir()
            if path.name not in ours and not path.name.startswith((TEMPORARY, ".study.json."))
        ) if folder.exists() else []  # fmt: skip
    except (OSError, ValueError) as error:
        raise BpttError(f"'{folder}' cannot be used: {why(error)}; choose another folder") from None
    if strangers:
        raise BpttError(
            f"'{folder}' is not empty and holds no {what} (it has '{strangers[0]}'): "
            "choose another folder"
        )


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """While the block runs, no other process, and no other thread of this one, is in such a block
    with this file; what: what the file's folder is being used for.

    The operating system ends the lock with the process, however that ends. Where a file system has
    no locks there is none. Raises BpttError if another has it.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except (OSError, ValueError) as error:
        raise BpttError(
            f"'{lock.parent}' cannot be used: {why(error)}; choose another folder"
        ) from None
    with file:
        if not _locked(file):
            raise BpttError(
                f"'{lock.parent}' is {what} by another process: wait until that has ended, "
                "or choose another folder"
            )
        _locks.add(file)
        try:
            yield
        finally:
            _locks.discard(file)


def _locked(file: IO[bytes]) -> bool:
    """Lock a file that is open; whether that could be done."""
    try:
        try:
            import fcntl
        except ImportError:  # Windows
            import msvcrt

            system: Any = msvcrt
            system.locking(file.fileno(), system.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


def _leave_locks() -> None:
    """In a process made by a fork: the locks are its parent's, and must end with that."""
    for file in _locks:
        file.close()
    _locks.clear()


after_fork(_leave_locks)
