"""Where compiled kernels are kept, and how they are had and called: without the compiler.

What is compiled is kept as object code, a file a function, with a list for each layout, cell and
float type of the functions it takes. They are loaded by LLVM alone, in some milliseconds: a
training whose kernels are kept imports no Numba, which takes longer than most trainings.

What is not kept is compiled by other processes (`bptt.kernels.walk.builder`), as many as there are
processors to use: Numba compiles one function at a time in a process, and what Numba needs to
compile quickly is not done in the user's own process. If no process can be started, or one fails,
the compilation happens here.

The folder is named after a digest of the package's source, the compiler and the processor: an edit
to `cells.py` must not go on running the old equations.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np
import platformdirs
from numpy.typing import NDArray

from bptt.kernels.machine.processor import description
from bptt.kernels.walk.signature import ARGUMENTS
from bptt.processes import after_fork, brief_lock, helper, threads

# Whether kernels run as plain Python.
COMPILER_OFF: bool = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

PACKAGE = Path(__file__).resolve().parent.parent.parent
# The rooms whose source compiled code depends on: what the kernels import, and they themselves.
COMPILED = ("equations", "kernels", "network")

# Told when code is about to be compiled that is not kept from before.
listeners: list[Callable[[str], None]] = []


class Key(NamedTuple):
    """What a kernel is compiled for."""

    regime: str
    cell: str
    activation: str
    dtype: str


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
def folder() -> Path:
    """Where compiled code is kept: under NUMBA_CACHE_DIR if set, else the user's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(chosen) if chosen else platformdirs.user_cache_path("bptt")
    return root / f"kernels-{_digest()}"


# Files. A cache that cannot be written or was damaged is compiled again.


# What could not be written, for this process alone.
_unwritten: dict[str, bytes] = {}


def keep(name: str, content: bytes) -> None:
    """Write a file whole or not at all, after a digest of what is in it."""
    content = hashlib.sha256(content).digest() + content
    try:
        folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder(), prefix=f".{name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, folder() / name)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        _unwritten[name] = content


def kept(name: str) -> bytes | None:
    """The content of a file; None if there is none, or it is not what was written."""
    content = _unwritten.get(name, b"")
    if not content:
        with contextlib.suppress(OSError):
            content = (folder() / name).read_bytes()
    start = hashlib.sha256().digest_size
    return content[start:] if hashlib.sha256(content[start:]).digest() == content[:start] else None


# Loading.


@cache
def _engine() -> Any:
    """What loads object code and links it to this process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


_lock = threading.RLock()  # held as long as kernels are compiled
_linking = brief_lock()  # held while LLVM works, whose locks a fork must find free
_addresses: dict[str, int] = {}


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


after_fork(_renew_lock)


def address(name: str) -> int | None:
    """The address of a function that is kept under this name, or None."""
    with _lock:
        if name not in _addresses:
            code = kept(f"{name}.o")
            if code is None:
                return None
            with _linking:
                _engine().add_object_file(llvm.ObjectFileRef.from_data(code))
                _engine().finalize_object()
                _addresses[name] = _engine().get_function_address(name)
        return _addresses[name]


class Kernel:
    """A kernel that is ready to run: call it with the arguments that `signature` lists."""

    _SCALARS: tuple[tuple[str, Any], ...] = (
        ("int64", ctypes.c_int64),
        ("float64", ctypes.c_double),
        ("boolean", ctypes.c_uint8),
    )

    def __init__(self, key: Key, entry: int, codes: list[int]) -> None:
        self.codes: NDArray[np.int64] = np.array(codes, np.int64)
        scalars = dict(self._SCALARS)
        kinds = [scalars.get(kind, ctypes.c_void_p) for kind in ARGUMENTS.values()]
        # Numba's functions have two places for results first and give a status.
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)
        self._function = prototype(entry)
        dtypes = {"int64*": np.dtype(np.int64), "number*": np.dtype(key.dtype), "record*": None}
        self._convert = {
            name: partial(_first, dtype=dtypes[kind]) if kind in dtypes else _itself
            for name, kind in ARGUMENTS.items()
        }

    def fixed(self, **arrays: NDArray[Any]) -> tuple["Address", ...]:
        """Arrays by the names of their arguments as the kernel is handed them, worked out once for
        many calls. They must stay where they are as long as that."""
        return tuple(Address(self._convert[name](array)) for name, array in arrays.items())

    def __call__(self, *arguments: Any) -> None:
        """Run it; other Python threads go on meanwhile."""
        place = ctypes.c_void_p()
        pairs = zip(self._convert.values(), arguments, strict=True)
        values = [convert(value) for convert, value in pairs]
        status = self._function(ctypes.byref(place), ctypes.byref(place), *values)
        if status:
            raise RuntimeError(f"a kernel ended with status {status}")


class Address(int):
    """Where the first element of an array is."""


def _itself(value: Any) -> Any:
    return value


def _first(array: NDArray[Any] | Address, dtype: Any) -> int:
    """The address of the first element of an array, which must be as the kernel takes it to be."""
    if isinstance(array, Address):
        return array
    if (dtype is not None and array.dtype != dtype) or not array.flags.c_contiguous:
        raise TypeError(f"an array of {array.dtype} is no contiguous one of {dtype}")
    return array.ctypes.data  # `__array_interface__` would list the fields of a record, 60 us


_kernels: dict[Key, Kernel] = {}


def _find(key: Key, shared: Sequence[str]) -> tuple[Kernel, list[int]] | None:
    """What is kept of a kernel and these shared functions, if that is all."""
    kernel = _kernels.get(key) or _kept_kernel(key)
    places = [place for name in shared if (place := address(name)) is not None]
    if kernel is None or len(places) < len(shared):
        return None
    _kernels[key] = kernel
    return kernel, places


def load(key: Key, shared: Sequence[str]) -> tuple[Kernel, list[int]]:
    """The kernel for a layout, cell and float type, and the addresses of shared functions (strips,
    an update) of these names; compiled if they are not kept."""
    with _lock:
        found = _find(key, shared)
        if found is None:
            for listener in listeners:
                listener("-".join(key))
            _build(key, shared)
            found = _find(key, shared)
    assert found is not None
    return found


def _kept_kernel(key: Key) -> Kernel | None:
    content = kept(f"{'-'.join(key)}.json")
    if content is None:
        return None
    places = [0 if name is None else address(name) for name in json.loads(content)]
    found = [place for place in places if place is not None]
    # Another process may just be compiling what the list names.
    return Kernel(key, found[0], found[1:]) if len(found) == len(places) else None


# Compiling, by other processes.

# Numba's compilation of a kernel has this many parts of about the same length.
MOST_BUILDERS = 3
BUILDER = """
sys.modules["scipy"] = None  # Numba takes a while to import it, for linear algebra
from bptt.kernels.walk.builder import serve
serve()
"""


class Builder:
    """A process that compiles what it is asked for."""

    def __init__(self) -> None:
        self._process = helper(BUILDER)

    def ask(self, key: Key, name: str | None) -> Any:
        """Have a function of a kernel compiled, or (None) be told the names of them all, strips
        and updates excepted. Raises OSError or ValueError if the process has ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([key, name]).encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def close(self) -> None:
        """End the process; what it has finished is kept."""
        self._process.kill()
        self._process.communicate()


def _builders() -> list[Builder]:
    """As many as can work at once: one where this process is one of several workers itself."""
    parent = sys.modules.get("multiprocessing.process")
    alone = parent is None or parent.parent_process() is None
    count = min(threads(), MOST_BUILDERS) if alone else 1
    builders: list[Builder] = []
    try:
        folder().mkdir(parents=True, exist_ok=True)
        if os.access(folder(), os.W_OK):
            while len(builders) < count:
                builders.append(Builder())
    except OSError:  # nothing can be written, or processes cannot be started here, or no more
        pass
    return builders


def _share(key: Key, shared: Sequence[str], builders: list[Builder]) -> None:
    """Have the functions of a kernel compiled that are missing, each by whoever is free."""
    names = [*builders[0].ask(key, None), *shared]
    missing = deque(name for name in names if kept(f"{name}.o") is None)

    def work(builder: Builder) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):  # ended, or nothing is left
            while True:
                builder.ask(key, missing.popleft())

    workers = [threading.Thread(target=work, args=(each,), daemon=True) for each in builders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _build(key: Key, shared: Sequence[str]) -> None:
    """Compile what is missing of a kernel and of these shared functions."""
    builders = _builders()
    try:
        if builders:
            _share(key, shared, builders)
    except (OSError, ValueError):
        pass  # the process has ended; what it should have done is done below
    finally:
        for builder in builders:
            builder.close()
    if _find(key, shared) is None:
        from bptt.kernels.walk import builder as here

        here.build(key, shared)
