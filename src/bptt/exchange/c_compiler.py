"""C files compiled and run: by whatever compiler there is."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

Array = NDArray[np.floating]

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")


@cache
def compiler() -> tuple[str, ...] | None:
    """The C compiler's command: $CC, cc, gcc, clang, or Zig's from the package `ziglang`."""
    chosen = os.environ.get("CC", "").split()
    for command in (*([tuple(chosen)] if chosen else []), ("cc",), ("gcc",), ("clang",)):
        if shutil.which(command[0]):
            return command
    if find_spec("ziglang"):
        import sys

        return (sys.executable, "-m", "ziglang", "cc")
    return None


def compiled(source: str, *options: str, command: tuple[str, ...] | None = None) -> ctypes.CDLL:
    """A C source as a loaded library. Raises BpttError with the compiler's first line if it does
    not compile without a warning."""
    command = command or compiler()
    if command is None:
        raise BpttError("there is no C compiler here: install gcc or clang, or set CC")
    with tempfile.TemporaryDirectory() as folder:
        path, library = Path(folder) / "net.c", Path(folder) / "net.so"
        path.write_text(source)
        arguments = [*command, *STRICT, "-O2", *options, "-fPIC", "-shared", "-o", str(library)]
        done = subprocess.run(
            [*arguments, str(path), "-lm"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            line = next((line for line in done.stderr.splitlines() if "error" in line), "no word")
            raise BpttError(f"{command[0]} does not compile the file: {line.replace(folder, '')}")
        return ctypes.CDLL(str(library))


class Compiled:
    """A player that runs a compiled file's functions; see `bptt.exchange.players.Player`."""

    def __init__(self, library: ctypes.CDLL, name: str, sizes: tuple[int, int, int]) -> None:
        """sizes: D, O, and the bytes of the state."""
        self._library, self._name = library, name
        self._inputs, self._outputs, bytes_of = sizes
        self._state = np.zeros(bytes_of // 2, np.int16)
        self._reset = self._function("reset", ctypes.c_void_p)
        self._step = self._function("step", *[ctypes.c_void_p] * 3)
        self._run = self._function("run", *[ctypes.c_void_p] * 3, ctypes.c_size_t)
        self.reset()

    def _function(self, name: str, *kinds: Any) -> Callable[..., Any]:
        function = self._library[f"{self._name}_{name}"]
        function.argtypes, function.restype = list(kinds), None
        return function

    def reset(self) -> None:
        """See `Player.reset`."""
        self._reset(self._state.ctypes.data)

    def keep(self) -> Any:
        """See `Player.keep`."""
        return self._state.copy()

    def put_back(self, state: Any) -> None:
        """See `Player.put_back`."""
        self._state[:] = state

    def step(self, x: Array) -> Array:
        """See `Player.step`."""
        given, y = np.array(x, np.float32), np.empty(self._outputs, np.float32)
        self._step(self._state.ctypes.data, given.ctypes.data, y.ctypes.data)
        return y

    def run(self, x: Array) -> Array:
        """See `Player.run`; in place where that is allowed."""
        given = np.array(x, np.float32)
        if self._outputs == self._inputs:
            y = given
        else:
            y = np.empty((len(x), self._outputs), np.float32)
        self._run(self._state.ctypes.data, given.ctypes.data, y.ctypes.data, len(x))
        return y

    def selftest(self) -> float:
        """What the file's own test gives."""
        function = self._library[f"{self._name}_selftest"]
        function.argtypes, function.restype = [], ctypes.c_float
        return float(function())
