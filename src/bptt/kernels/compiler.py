"""How kernels are compiled, and where the compiled code is kept.

Compiled code is kept in a folder named after a digest of the whole package's source. Numba by
itself looks only at the file of the outermost function, so an edit to `cells.py` would go on
running the old equations.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba.core import config

# Sums may be reordered (so that they vectorise) and multiply-adds fused; NaN and infinity keep
# their meaning, which divergence detection needs.
REORDER = {"contract", "nsz", "arcp", "reassoc"}
# For elementary functions, whose rounding argument depends on the order of operations.
STRICT = {"contract", "nsz"}

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


def kernel(function: Callable[..., Any] | None = None, *, fastmath: set[str] = REORDER) -> Any:
    """Compile a function when it is first called; keep the code; release the GIL while it runs."""
    if function is None:
        return lambda each: kernel(each, fastmath=fastmath)
    before = vars(config)["CACHE_DIR"]
    vars(config)["CACHE_DIR"] = str(FOLDER)  # read when the function is decorated
    try:
        return numba.njit(function, cache=True, nogil=True, error_model="numpy", fastmath=fastmath)
    finally:
        vars(config)["CACHE_DIR"] = before


FOLDER = cache_folder()
