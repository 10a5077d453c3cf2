"""Checks of what users hand in: one line names the argument, the value, and what is allowed."""

import math
import os
from collections.abc import Iterable, Mapping
from functools import cache
from operator import index
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError, BpttTypeError, quoted_list

Kind = TypeVar("Kind")


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
    # A type equal to dtype is of the machine's byte order.
    return array if array.flags.aligned else array.copy()


def integers(name: str, value: ArrayLike) -> NDArray[Any]:
    """An array of whole numbers. Raises BpttError for any other."""
    array = numbers(name, value)
    if not array.size and isinstance(value, list):  # an empty list has no type of its own
        return array.astype(np.int64)
    if array.dtype.kind not in "ui":
        raise BpttTypeError(f"{name} has type {array.dtype}: whole numbers are needed")
    return array


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number from `least` to `most`, both included. Raises BpttError for any other."""
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_ | np.ndarray):
        raise BpttTypeError(f"{name} {shown(value)} must be a whole number")
    if least is not None and number < least:
        limit = "not be negative" if least == 0 else f"be at least {least}"
        raise BpttError(f"{name} {number} must {limit}")
    if most is not None and number > most:
        raise BpttError(f"{name} {number} must be at most {most}")
    return number


def real(name: str, value: Any, allowed: str = "finite") -> float:
    """A finite number. Raises BpttError for any other value; allowed: which numbers are."""
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise BpttTypeError(f"{name} {shown(value)} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BpttError(f"{name} {shown(value)} must be a number, {allowed}")
    return number


def positive(name: str, value: Any) -> float:
    """A finite number above 0. Raises BpttError for any other value."""
    number = real(name, value)
    if not number > 0:
        raise BpttError(f"{name} {shown(value)} must be above 0")
    return number


def flag(name: str, value: Any) -> bool:
    """True or False. Raises BpttError for any other value: whoever writes "no" means no."""
    if not isinstance(value, bool | np.bool_):
        raise BpttTypeError(f"{name} {shown(value)} must be True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A text. Raises BpttError for any other value."""
    if not isinstance(value, str):
        raise BpttTypeError(f"{name} {shown(value)} must be a text")
    return value


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """One of some texts. Raises BpttError for any other value."""
    if not isinstance(value, str) or value not in allowed:
        raise BpttError(f"{name} {shown(value)} is not known: choose one of {quoted_list(allowed)}")
    return value


def instance(name: str, value: Any, kind: type[Kind], what: str) -> Kind:
    """A value of a class, described as `what` in the message. Raises BpttError for any other."""
    if not isinstance(value, kind):
        made = ": make one of it first" if value is kind else ""
        raise BpttTypeError(f"{name} {shown(value)} must be {what}{made}")
    return value


def items(name: str, value: Any) -> list[Any]:
    """The items of a list or the like. Raises BpttError for what has none, and for a text."""
    try:
        if not isinstance(value, str | bytes):
            return list(value)
    except TypeError:
        pass
    raise BpttTypeError(f"{name} {shown(value)} must be a list")


def table(name: str, value: Any) -> Mapping[str, Any]:
    """A mapping whose keys are texts. Raises BpttError for any other value."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BpttTypeError(f"{name} {shown(value)} must be a mapping from names to values")
    return value


def path(name: str, value: Any) -> Path:
    """The path of a file or folder. Raises BpttError for what is no path, or an empty one."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise BpttTypeError(f"{name} {shown(value)} must be a path: a text or a pathlib.Path")
    if not os.fspath(value) or "\0" in os.fspath(value):
        raise BpttError(f"{name} {shown(value)} is no path: give the name of a file or folder")
    return Path(value)


WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in msgspec.structs.fields(kind))


def check_types(settings: msgspec.Struct, *skip: str) -> None:
    """Raises BpttError unless every field of a settings object but those of `skip` has the type
    that it is declared with; msgspec looks at types only where it reads files. NumPy's numbers
    become Python's, which JSON can hold."""
    for name, kind in _fields(type(settings)):
        value = getattr(settings, name)
        if type(value) is kind or name in skip:
            continue
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            converted = msgspec.convert(plain, kind)
        except (msgspec.ValidationError, AttributeError) as error:
            origin = getattr(kind, "__origin__", kind)  # of Annotated
            expected = WORDS.get(origin)
            if expected is None:
                expected = str(error).removeprefix("Expected ").replace("`", "")
            raise BpttTypeError(f"{name} {shown(value)} must be {expected}") from None
        if converted is not value:
            msgspec.structs.force_setattr(settings, name, converted)
