"""What the processor has, as far as the kernels and where their data lie depend on it.

Known without Numba, which takes longer to import than most trainings take. What Numba is told about
the processor by NUMBA_CPU_NAME and NUMBA_CPU_FEATURES holds here too.
"""

import os
import platform
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np


@cache
def description() -> tuple[str, str]:
    """The processor's name and features, as LLVM is told them."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = "" if name == "generic" else os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM does not know for this kind of processor
            features = ""
    return name, features


def _has(feature: str) -> bool:
    return f"+{feature}" in description()[1].split(",")


@cache
def vector_bytes() -> int:
    """The size of one vector register."""
    return 64 if _has("avx512f") else 32 if _has("avx") else 16


@cache
def _arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


@cache
def registers() -> int:
    """How many vector registers there are."""
    return 32 if _arm() or _has("avx512f") else 16


def arithmetic(compiled: bool = True) -> str:
    """What the order and the rounding of sums depend on, in words: the size of a vector, in whose
    lanes sums run side by side, and whether a product and a sum are rounded once, together
    ("fused"), as those of compiled code are where the processor can."""
    fused = compiled and (_arm() or _has("fma"))
    return f"{vector_bytes()} bytes{', fused' if fused else ''}"


def lanes(dtype: Any) -> int:
    """How many numbers of a float type one vector holds."""
    return vector_bytes() // int(np.dtype(dtype).itemsize)


# The rows of a tile of a product, of four vectors each, and of a panel: as many as leave room for
# the operands in the registers. Six rows of four vectors would fit too, but not with the next
# operands that the compiler loads ahead: then sums go through memory, at a third of the speed.
TILE_ROWS = 4 if registers() == 32 else 2
# The rows of a tile by its vectors: with few registers narrow tiles have more rows, or most of what
# is done is loading.
ROWS = {C: TILE_ROWS if registers() == 32 or C > 2 else 4 for C in (1, 2, 3, 4)}
# Whether a row of units that is two vectors wide is worked out from registers, as one of one vector
# is everywhere.
PAIRS = registers() == 16
