"""The kernels of proofs as functions to call: compiled when first used on a machine, then kept.

They are kept as `bptt.kernels.machine.library` keeps all object code; their names hold a digest of
this room's source, so that an edit is compiled anew.
"""

import contextlib
import ctypes
import hashlib
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from bptt.kernels.machine import library, store
from bptt.proofs.workspace import Workspace

SOURCES = ("tape", "workspace", "arrays", "products", "forms", "image", "follow")

FREE = "NRT_MemInfo_call_dtor"

# What a process does that compiles them (`bptt.kernels.machine.library.Maker`).
BUILDER = """
sys.modules["scipy"] = None  # Numba takes a while to import it, for linear algebra
import gc
gc.disable()
from bptt.proofs.native import build
for line in sys.stdin:
    build(json.loads(line)[1])
    print(line, end="", flush=True)
"""


# In place of what frees memory.
_nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)


@cache
def _title() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return f"proof-{digest.hexdigest()[:12]}"


def build(title: str) -> None:
    """Compile `bptt.proofs.follow.work`, to be kept under this name."""
    import numba
    from numba import types
    from numba.np.numpy_support import carray

    import bptt.kernels.machine.elementary  # noqa: F401  registers tanh and its kin
    from bptt.kernels.machine import compiler
    from bptt.proofs import follow

    inner = follow.work

    def entry(what: Any, first: Any, numbers: Any, ints: Any, m: Any, places: Any) -> None:
        inner(what, first, numbers, ints, carray(m, places))

    pointer: Any = types.CPointer
    real, integer, size = pointer(numba.float64), pointer(numba.int64), numba.int64
    compiler.build(compiler.Piece(title, entry, (size, size, real, integer, integer, size)))


def ready() -> bool:
    """Whether the kernels are kept from before, so that using them takes no time to compile."""
    return library.COMPILER_OFF or store.kept(f"{_title()}.o") is not None


@cache
def begin() -> threading.Thread | None:
    """Have the kernels compiled by another process while this one goes on, if need be; the thread
    that waits for it."""
    if ready() or store.writable() is None:
        return None
    maker = library.Maker("proofs", BUILDER, None, build)

    def work() -> None:
        with contextlib.suppress(OSError, ValueError):  # then they are compiled here
            builder = library.Builder(maker)
            try:
                builder.ask(_title())
            finally:
                builder.close()

    thread = threading.Thread(target=work, daemon=True, name="bptt-compile-proofs")
    thread.start()
    return thread


@cache
def _function() -> Callable[..., int]:
    # Numba's arrays name what frees their memory; ours are views, and nothing is ever freed.
    if llvm.address_of_symbol(FREE) is None:
        llvm.add_symbol(FREE, ctypes.cast(_nothing, ctypes.c_void_p).value)
    place = library.address(_title())
    if place is None:
        for listener in library.listeners:
            listener(_title())
        thread = begin()
        if thread is not None:
            thread.join()
        if not ready():
            build(_title())
        place = library.address(_title())
    assert place is not None
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int32, pointer, pointer, size, size, pointer, pointer, pointer, size
    )
    return prototype(place)


def prepare() -> None:
    """Have the kernels there, compiled if need be."""
    if not library.COMPILER_OFF:
        _function()


def run(what: int, first: int, work: Workspace) -> None:
    """`bptt.proofs.follow.work` on a workspace."""
    if library.COMPILER_OFF:
        from bptt.proofs import follow

        follow.work(what, first, work.numbers, work.integers, work.m)
        return
    spare = ctypes.c_void_p()
    status = _function()(
        ctypes.byref(spare), ctypes.byref(spare), what, first,
        work.numbers.ctypes.data, work.integers.ctypes.data, work.m.ctypes.data, work.m.size,
    )  # fmt: skip
    if status:
        raise RuntimeError(f"a kernel ended with status {status}")
