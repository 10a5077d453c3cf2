"""Checks of what users hand in: one line names the argument, the value, and what is allowed."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError, BpttTypeError


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of a user's object
        text = f"of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def numbers(name: str, value: ArrayLike) -> NDArray[Any]:
    """An array of whole or real numbers or truth values, not copied if it is one already.

    Raises BpttError for anything else: rows of different lengths, text, objects, complex numbers.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise BpttError(
            f"{name} {shown(value)} is no array: rows must be of one length, and all numbers"
        ) from None
    if array.dtype.kind in "buif":
        return array
    what = "has no numbers" if array.dtype.kind == "O" else f"has type {array.dtype}"
    raise BpttTypeError(f"{name} {what}: {shown(value)}; an array of real numbers is needed")


def reals(name: str, value: ArrayLike, dtype: str) -> NDArray[Any]:
    """An aligned array of that float type in the machine's byte order; copied only if it is none.
    What is too large for the type becomes infinite."""
    array = numbers(name, value)
    if array.dtype != dtype:
        with np.errstate(all="ignore"):
            array = array.astype(dtype)
    return np.require(array, dtype, "A")


def integers(name: str, value: ArrayLike) -> NDArray[Any]:
    """An array of whole numbers. Raises BpttError for any other."""
    array = numbers(name, value)
    if array.dtype.kind not in "ui":
        raise BpttTypeError(f"{name} has type {array.dtype}: whole numbers are needed")
    return array
