"""How kernels are compiled: to object code, which `bptt.kernels.machine.library` loads.

Numba optimises every function with all that it calls, and makes machine code of it, at every level
of calls; then it does the same for wrappers by which Python could call it. Here functions are only
linked to each other, and the outermost is optimised and made machine code of, once: that is half of
the time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
from numba._dynfunc import make_function
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import register_jitable

from bptt.kernels.machine import store

# Products and sums may be fused and signed zeros are not kept; nothing is reordered, NaN and
# infinity keep their meaning, which elementary functions and divergence detection need. The same
# everywhere: what is used under two sets of options is compiled twice.
OPTIONS: Any = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}


def part(function: Callable[..., Any]) -> Any:
    """A function for use inside kernels, compiled with each. It is compiled for the types of its
    arguments; a kernel would be compiled once more for every constant that it is called with."""
    return register_jitable(**OPTIONS)(function)


def exact_part(function: Callable[..., Any]) -> Any:
    """A part in which every product and sum is rounded by itself, as NumPy rounds it."""
    return register_jitable(**{**OPTIONS, "fastmath": False})(function)


@dataclass(frozen=True)
class Piece:
    """A function that is compiled by itself for arguments of these types, and the name that it is
    kept under."""

    name: str
    function: Callable[..., Any]
    types: tuple[Any, ...]


class _Linked(JITCodeLibrary):
    """A function with all that it calls, as it is: neither optimised nor made machine code of."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        for each in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(each._get_module_for_linking(), preserve=True)
        self._finalized = True

    def object_code(self, function: str, name: str) -> bytes:
        """Object code of a function, which is given this name; all others are its own."""
        module = self._final_module
        for each in (*module.functions, *module.global_variables):
            if each.name == function:
                each.name = name
            elif not each.is_declaration:
                each.linkage = "internal"
        numba_library: Any = self
        numba_library._optimize_final_module()
        code: bytes = self._codegen._tm.emit_object(module)
        return code


def _executable(library: Any, descriptor: Any, environment: Any) -> Any:
    """What Numba takes for the function that Python calls; this one cannot be called."""
    library._ensure_finalized()
    name = descriptor.qualname.split(".")[-1]
    module = descriptor.lookup_module()
    return make_function(module, name, "", 0, environment, (library,))


@contextmanager
def _linking() -> Iterator[None]:
    """Have Numba link functions and do no more."""
    context = cpu_target.target_context
    codegen = context.codegen()
    with global_compiler_lock:
        codegen._library_class, context.get_executable = _Linked, _executable
        try:
            yield
        finally:
            del codegen._library_class, context.get_executable


def compiled(piece: Piece) -> bytes:
    """The object code of a function. It raises nothing that a caller could catch: its status says
    that something was raised."""
    options = {**OPTIONS, "no_cpython_wrapper": True}
    dispatcher: Any = numba.njit(piece.function, **options)
    with _linking():
        dispatcher.compile(piece.types)
        result = dispatcher.overloads[piece.types]
        code: bytes = result.library.object_code(result.fndesc.llvm_func_name, piece.name)
    return code


def build(piece: Piece) -> None:
    """Compile and keep a function, unless that has been done."""
    if store.kept(f"{piece.name}.o") is None:
        store.keep(f"{piece.name}.o", compiled(piece))
