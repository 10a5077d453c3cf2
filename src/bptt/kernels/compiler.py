"""How kernels are compiled, and where the compiled code is kept.

Compiled code is kept in a folder named after a digest of the whole package's source. Numba by
itself looks only at the file of the outermost function, so an edit to `cells.py` would go on
running the old equations.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba.core import config
from numba.extending import register_jitable

# Products and sums may be fused and signed zeros are not kept; nothing is reordered, NaN and
# infinity keep their meaning, which elementary functions and divergence detection need. The same
# everywhere: what is used under two sets of options is compiled twice.
OPTIONS: Any = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}

# Whether Numba runs as plain Python.
COMPILER_OFF: bool = vars(config)["DISABLE_JIT"] != 0

# Functions that are in use by their address alone.
KEPT: list[Any] = []

PACKAGE = Path(__file__).resolve().parent.parent


def source_digest() -> str:
    """A digest of every source file of the package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled code is kept: under NUMBA_CACHE_DIR if set, else the user's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(chosen) if chosen else platformdirs.user_cache_path("bptt")
    return root / f"kernels-{source_digest()}"


def part(function: Callable[..., Any]) -> Any:
    """A function for use inside kernels, compiled with each. It is compiled for the types of its
    arguments; a kernel would be compiled once more for every constant that it is called with."""
    return register_jitable(**OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A part that is put into its callers: one that only hands on many arguments."""
    return register_jitable(**OPTIONS, forceinline=True)(function)


def address_of(function: Callable[..., Any], types: tuple[Any, ...]) -> int:
    """Compile (or load) a function for these argument types, to be called by its address with
    `vectors.call_address`."""
    compiled = kernel(function)
    compiled.compile(types)
    result = compiled.overloads[types]
    KEPT.append(compiled)
    address: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return address


@contextmanager
def _folder() -> Iterator[None]:
    """Have Numba keep what is decorated here in our folder."""
    before = vars(config)["CACHE_DIR"]
    vars(config)["CACHE_DIR"] = str(FOLDER)
    try:
        yield
    finally:
        vars(config)["CACHE_DIR"] = before


# Told when code is about to be compiled that is not kept from before.
listeners: list[Callable[[str], None]] = []


@contextmanager
def first_use(name: str) -> Iterator[None]:
    """Around every call of what is compiled under this name: tells the listeners if it will be."""
    if name in _ready or COMPILER_OFF:
        yield
        return
    mark = FOLDER / f"{name}.ready"
    if not mark.exists():
        for listener in listeners:
            listener(name)
    yield
    _ready.add(name)
    with contextlib.suppress(OSError):  # a cache that cannot be written is compiled again
        mark.touch()


_ready: set[str] = set()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called; keep the code; release the GIL while it runs."""
    with _folder():
        return numba.njit(function, cache=True, nogil=True, **OPTIONS)


FOLDER = cache_folder()
