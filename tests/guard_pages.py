"""NumPy arrays between pages that nobody may touch: reading past an array ends the process.

Every array that is made after `guard()` in the same thread, by tests or by the package itself, lies
in pages of its own, with a page before and a page behind that may neither be read nor written. An
array ends exactly at the page behind it, or begins exactly behind the page before it, by chance.
What compiled code reads or writes outside of an array then is a signal, not a wrong number.

Linux on 64-bit processors, with the compiler on; by NumPy's own way to replace its allocator
(NEP 49). The allocator is compiled, for NumPy frees arrays while Python handles an exception.
"""

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, types
from numba.core import config
from numba.extending import intrinsic

POSSIBLE = sys.platform.startswith("linux") and sys.maxsize > 2**32 and not config.DISABLE_JIT

PAGE = mmap.PAGESIZE
SET_HANDLER = 304  # its place in NumPy's table of functions, since 1.22
NONE, USABLE = 0, mmap.PROT_READ | mmap.PROT_WRITE
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

_libc = ctypes.CDLL(None)
_map, _protect, _unmap, _move = _libc.mmap, _libc.mprotect, _libc.munmap, _libc.memmove
_int, _size, _address = ctypes.c_int, ctypes.c_size_t, ctypes.c_ssize_t
_map.argtypes, _map.restype = (_address, _size, _int, _int, _int, ctypes.c_long), _address
_protect.argtypes, _protect.restype = (_address, _size, _int), _int
_unmap.argtypes, _unmap.restype = (_address, _size), _int
_move.argtypes, _move.restype = (_address, _address, _size), _address


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def _load(_: Any, address: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args[0]))

    return types.int64(types.int64), code


@intrinsic
def _store(_: Any, address: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], _pointer(builder, args[0]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


def _functions() -> list[Any]:
    """malloc, calloc, realloc and free, compiled.

    A mapping is a page for its length and the array's bytes, a page not to be touched, the pages of
    the array, and another page not to be touched. An array begins in the first of its pages.
    """
    from numba import njit

    word = types.int64

    @njit
    def take(size: int) -> int:
        size = max(size, 1)
        whole = (size + PAGE - 1) // PAGE * PAGE
        start = _map(0, whole + 3 * PAGE, NONE, PRIVATE, -1, 0)
        if start == -1:
            return 0
        _protect(start, PAGE, USABLE)
        _store(start, whole + 3 * PAGE)
        _store(start + 8, size)
        _protect(start + 2 * PAGE, whole, USABLE)
        at_end = (start // PAGE * 2654435761 >> 7) % 2
        return start + 2 * PAGE + (whole - size if at_end else 0)

    @njit
    def give_back(place: int) -> None:
        if place != 0:
            start = place // PAGE * PAGE - 2 * PAGE
            _unmap(start, _load(start))

    @cfunc(word(word, word))
    def malloc(_: int, size: int) -> int:
        return take(size)

    @cfunc(word(word, word, word))
    def calloc(_: int, count: int, size: int) -> int:
        return take(count * size)

    @cfunc(word(word, word, word))
    def realloc(_: int, place: int, size: int) -> int:
        new = take(size)
        if place != 0 and new != 0:
            _move(new, place, min(_load(place // PAGE * PAGE - 2 * PAGE + 8), size))
            give_back(place)
        return new

    @cfunc(types.void(word, word, word))
    def free(_: int, place: int, __: int) -> None:
        give_back(place)

    return [malloc, calloc, realloc, free]


_kept: list[Any] = []  # what NumPy holds addresses of


def guard() -> None:
    """From now on in this thread: see above. End the process by `os._exit`."""
    functions = _functions()
    handler = _Handler(b"guard pages", 1, None, *[each.address for each in functions])
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = ctypes.create_string_buffer(b"mem_handler")
    capsule = api.PyCapsule_New(ctypes.addressof(handler), name, None)
    table = api.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
    entry = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[SET_HANDLER]
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(entry)
    _kept.extend([functions, handler, name, capsule, set_handler(capsule)])
