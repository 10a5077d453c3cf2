"""The folder of compiled code: files that are written whole or not at all, and checked when read.

The folder is named after a digest of the package's source, the compiler and the processor: an edit
to `cells.py` must not go on running the old equations.
"""

import contextlib
import hashlib
import importlib.util
import os
from functools import cache
from pathlib import Path

import llvmlite
import platformdirs

from bptt.files import new_file
from bptt.kernels.machine.processor import description

PACKAGE = Path(__file__).resolve().parent.parent.parent
# The rooms whose source compiled code depends on: what the kernels import, and they themselves.
COMPILED = ("equations", "kernels", "network")


def _digest() -> str:
    """A digest of all that compiled code depends on."""
    digest = hashlib.sha256(" ".join((llvmlite.__version__, *description())).encode())
    numba = importlib.util.find_spec("numba")
    version = Path(numba.origin).parent / "_version.py" if numba and numba.origin else None
    for path in sorted(each for room in COMPILED for each in (PACKAGE / room).rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    if version and version.exists():
        digest.update(version.read_bytes())
    return digest.hexdigest()[:16]


@cache
def folders() -> tuple[Path, ...]:
    """Where compiled code is kept: under NUMBA_CACHE_DIR if set, which users may share, and, where
    that cannot be written or has not all, in the user's cache folder, if he has one."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    roots = [Path(chosen)] if chosen else []
    with contextlib.suppress(RuntimeError, KeyError, OSError):  # a user without a home
        roots.append(platformdirs.user_cache_path("bptt"))
    return tuple(root / f"kernels-{_digest()}" for root in roots)


def writable() -> Path | None:
    """The first of these folders in which files can be written."""
    for folder in folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None


# Files. A cache that cannot be written or was damaged is compiled again.


# What could not be written, for this process alone.
_unwritten: dict[str, bytes] = {}


def keep(name: str, content: bytes) -> None:
    """Write a file whole or not at all, after a digest of what is in it."""
    content = hashlib.sha256(content).digest() + content
    folder = writable()
    try:
        if folder is None:
            raise FileNotFoundError
        handle, temporary = new_file(folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, folder / name)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        _unwritten[name] = content


def kept(name: str) -> bytes | None:
    """The content of a file; None if there is none, or it is not what was written."""
    start = hashlib.sha256().digest_size
    for folder in (None, *folders()):
        content = b""
        with contextlib.suppress(OSError):
            content = _unwritten.get(name, b"") if folder is None else (folder / name).read_bytes()
        if hashlib.sha256(content[start:]).digest() == content[:start]:
            return content[start:]
    return None
