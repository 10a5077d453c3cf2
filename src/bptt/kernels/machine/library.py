"""Compiled functions: how they are had, loaded and called, without the compiler.

What is compiled is kept as object code, a file a function (`bptt.kernels.machine.store`). The files
are loaded by LLVM alone, in some milliseconds: a training whose kernels are kept imports no Numba,
which takes longer than most trainings.

What is not kept is compiled by other processes, as many as there are processors to use: Numba
compiles one function at a time in a process, and what Numba needs to compile quickly is not done in
the user's own process. If no process can be started, or one fails, the compilation happens here.
How a function of some name is made, the caller knows: it hands in a `Maker`.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from bptt.kernels.machine.store import kept, writable
from bptt.processes import after_fork, brief_lock, helper, threads

# Whether kernels run as plain Python.
COMPILER_OFF: bool = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

# Told when code is about to be compiled that is not kept from before.
listeners: list[Callable[[str], None]] = []


@dataclass(frozen=True)
class Maker:
    """Who compiles functions that are not kept, and puts them where they are.

    label: what is said of it to `listeners`. program: Python code of a process that does it: for
    each line that it reads, the JSON of [request, name of a function], it answers with a line.
    request: what has to be known besides the name. here: does it in this process.
    """

    label: str
    program: str
    request: Any
    here: Callable[[str], None]


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


def linked(module: Any, name: str) -> int:
    """The address of a function of a module of LLVM's, which is compiled now."""
    with _lock, _linking:
        _engine().add_module(module)
        _engine().finalize_object()
        return int(_engine().get_function_address(name))


class Function:
    """A compiled function that is ready to run. arguments: their kinds by name: "type" (nothing at
    run time), "int64", "float64", "boolean", and with a star where the first element of an array
    is, of "int64", "float64", a "record", or a "number", which is of the float type `dtype`."""

    _SCALARS: tuple[tuple[str, Any], ...] = (
        ("int64", ctypes.c_int64),
        ("float64", ctypes.c_double),
        ("boolean", ctypes.c_uint8),
    )

    def __init__(self, place: int, arguments: Mapping[str, str], dtype: str) -> None:
        scalars = dict(self._SCALARS)
        kinds = [scalars.get(kind, ctypes.c_void_p) for kind in arguments.values()]
        # Numba's functions have two places for results first and give a status.
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)
        self._function, self.place = prototype(place), place
        dtypes = {
            "int64*": np.dtype(np.int64), "float64*": np.dtype(np.float64),
            "number*": np.dtype(dtype), "record*": None,
        }  # fmt: skip
        self._convert = {
            name: partial(_first, dtype=dtypes[kind]) if kind in dtypes else _itself
            for name, kind in arguments.items()
        }

    def fixed(self, **arrays: NDArray[Any]) -> tuple["Address", ...]:
        """Arrays by the names of their arguments as the function is handed them, worked out once
        for many calls. They must stay where they are as long as that."""
        return tuple(Address(self._convert[name](array)) for name, array in arrays.items())

    def words(self, *arguments: Any) -> list[Any]:
        """Arguments as they are handed over: addresses and numbers."""
        pairs = zip(self._convert.values(), arguments, strict=True)
        return [convert(value) for convert, value in pairs]

    def __call__(self, *arguments: Any) -> None:
        """Run it; other Python threads go on meanwhile."""
        place = ctypes.c_void_p()
        values = self.words(*arguments)
        status = self._function(ctypes.byref(place), ctypes.byref(place), *values)
        if status:
            raise RuntimeError(f"a kernel ended with status {status}")


class Address(int):
    """Where the first element of an array is."""


def _itself(value: Any) -> Any:
    return value


def _first(array: NDArray[Any] | Address, dtype: Any) -> int:
    """The address of the first element of an array, which must be of the kind that is taken."""
    if isinstance(array, Address):
        return array
    if (dtype is not None and array.dtype != dtype) or not array.flags.c_contiguous:
        raise TypeError(f"an array of {array.dtype} is no contiguous one of {dtype}")
    return array.ctypes.data  # `__array_interface__` would list the fields of a record, 60 us


def load(names: Sequence[str], maker: Maker) -> list[int]:
    """The addresses of functions that are kept under these names; those that are not are compiled,
    in this order."""
    with _lock:
        found = [address(name) for name in names]
        if None in found:
            for listener in listeners:
                listener(maker.label)
            _build(names, maker)
            found = [address(name) for name in names]
    return [place for place in found if place is not None]


# Compiling, by other processes.

# The compilation of a kernel has this many parts of about the same length.
MOST_BUILDERS = 3


class Builder:
    """A process that compiles what it is asked for."""

    def __init__(self, maker: Maker) -> None:
        self._request = maker.request
        self._process = helper(maker.program)

    def ask(self, name: str) -> None:
        """Have a function compiled. Raises OSError or ValueError if the process has ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([self._request, name]).encode() + b"\n")
        process.stdin.flush()
        json.loads(process.stdout.readline())

    def close(self) -> None:
        """End the process; what it has finished is kept."""
        self._process.kill()
        self._process.communicate()


def _builders(maker: Maker) -> list[Builder]:
    """As many as can work at once: one where this process is one of several workers itself."""
    parent = sys.modules.get("multiprocessing.process")
    alone = parent is None or parent.parent_process() is None
    count = min(threads(), MOST_BUILDERS) if alone else 1
    builders: list[Builder] = []
    try:
        while writable() and len(builders) < count:
            builders.append(Builder(maker))
    except OSError:  # nothing can be written, or processes cannot be started here, or no more
        pass
    return builders


def _share(names: Sequence[str], builders: list[Builder]) -> None:
    """Have functions compiled, each by whoever is free."""
    missing = deque(names)

    def work(builder: Builder) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):  # ended, or nothing is left
            while True:
                builder.ask(missing.popleft())

    workers = [threading.Thread(target=work, args=(each,), daemon=True) for each in builders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _build(names: Sequence[str], maker: Maker) -> None:
    """Compile those of the functions that are not kept."""
    missing = [name for name in names if kept(f"{name}.o") is None]
    builders = _builders(maker)
    try:
        if builders:
            _share(missing, builders)
    except (OSError, ValueError):
        pass  # the process has ended; what it should have done is done below
    finally:
        for builder in builders:
            builder.close()
    for name in missing:
        if kept(f"{name}.o") is None:
            maker.here(name)
