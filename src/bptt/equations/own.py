"""Equations with a name: a cell's, an output's or an optimizer's; built in, or a user's own.

They are text too: the name if they are built in, and name@digest if they are a user's own. So they
stand wherever a name stands, and files hold the text alone. What is read from a file is looked for
among what the reader was handed (`handed_in`): no file brings equations with it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from bptt.arguments import shown
from bptt.equations.functions import ELEMENTARY
from bptt.errors import BpttError, BpttTypeError, quoted_list

_handed_in: ContextVar[tuple["Equations", ...]] = ContextVar("handed_in", default=())


class Equations(str):
    """See above. Two are equal if their names and equations are; they cannot be changed.

    name: a word. built_in: whether they are the package's.
    """

    name: str
    built_in: bool
    WHAT = "equations"

    def __new__(cls, name: str, described: Mapping[str, Any] | None) -> Self:
        """described: plain values that say all there is to them, of a user's own."""
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,39}", name):
            raise BpttError(
                f"the name {name!r} of a {cls.WHAT} is not allowed: give letters, digits, - and _"
            )
        text = name
        if described is not None:
            content = json.dumps(described, sort_keys=True).encode()
            text += f"@{hashlib.sha256(content).hexdigest()[:12]}"
        made = super().__new__(cls, text)
        made.name, made.built_in = name, described is None
        return made

    def found_again(self) -> tuple[Any, ...]:
        """Of built-in ones, a function and arguments that find them."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """All there is to them, as plain values with the traced equations."""
        raise NotImplementedError

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Self:
        """The other way round."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as traced equations: who unpickles them need not have the user's module. Built-in
        ones are looked up again."""
        if self.built_in:
            return self.found_again()
        return type(self).of_plain, (self.plain(),)


def function_of(source: str) -> Callable[..., Any]:
    """The function that a traced equation is."""
    names: dict[str, Any] = dict(ELEMENTARY)
    exec(compile(source, "<traced equation>", "exec"), names)
    made: Callable[..., Any] = names["equation"]
    return made


def as_text(value: Any) -> str:
    """For encoders, what stands for equations: their text."""
    if isinstance(value, Equations):
        return str.__str__(value)
    raise NotImplementedError(f"a {type(value).__name__} cannot be written")


def as_field(equations: Equations) -> str:
    """Equations as a settings field holds them: a built-in one's name, else themselves."""
    return str.__str__(equations) if equations.built_in else equations


def found_in(value: Any) -> list["Equations"]:
    """All equations of a user's own in nested dicts, lists, tuples and settings."""
    if isinstance(value, Equations):
        return [] if value.built_in else [value]
    if isinstance(value, Mapping):
        return [each for inner in value.values() for each in found_in(inner)]
    if isinstance(value, list | tuple):
        return [each for inner in value for each in found_in(inner)]
    fields = getattr(value, "__struct_fields__", ())
    return [each for name in fields for each in found_in(getattr(value, name))]


def put_back(value: Any, equations: Sequence["Equations"]) -> Any:
    """Nested plain values, with equations in place of their text."""
    if isinstance(value, str):
        return next((each for each in equations if each == value), value)
    if isinstance(value, dict):
        return {name: put_back(each, equations) for name, each in value.items()}
    return [put_back(each, equations) for each in value] if isinstance(value, list) else value


@contextmanager
def handed_in(*equations: Any) -> Iterator[None]:
    """Meanwhile a file may name these (None: nothing). Raises BpttError for anything else."""
    given = tuple(each for each in equations if each is not None)
    for each in given:
        if not isinstance(each, Equations):
            raise BpttError(
                f"{shown(each)} is not what a file could name: hand in a Cell, Output or Rule"
            )
    token = _handed_in.set(given)
    try:
        yield
    finally:
        _handed_in.reset(token)


def own_of(kind: type[Equations], text: str) -> Any:
    """The user's own equations of that text, if it is one: those handed in. None for a name
    without a digest. Raises BpttError if they were not handed in, or are others."""
    if isinstance(text, kind) and not text.built_in:
        return text
    if isinstance(text, Equations) and not isinstance(text, kind):
        raise BpttError(f"'{text.name}' is not a {kind.WHAT}, but an own {text.WHAT}")
    if not isinstance(text, str):
        raise BpttTypeError(f"{kind.WHAT} {shown(text)} is not known: give its name")
    name, at, _ = str.partition(text, "@")
    if not at:
        return None
    for each in _handed_in.get():
        if isinstance(each, kind) and each.name == name:
            if each == text:
                return each
            raise BpttError(
                f"the {kind.WHAT} '{name}' that was handed in has other equations than the one "
                f"named: {each}, not {text}"
            )
    raise BpttError(
        f"the {kind.WHAT} '{name}' is not built in: hand it in, as {kind.__name__.lower()}="
        if kind.__name__ != "Rule"
        else f"the rule '{name}' is not built in: hand it in, as optimizer="
    )


def refuse_name(kind: type[Equations], name: str, taken: Any) -> None:
    """Raises BpttError if a built-in one has this name."""
    if name in taken:
        raise BpttError(
            f"the name '{name}' is a built-in {kind.WHAT}'s: choose another than "
            f"{quoted_list(dict.fromkeys(taken))}"
        )


def check_values(what: str, values: Any, zero: str) -> None:
    """Raises BpttError unless results for zeros are finite: walks begin with zeros, and what pads
    a vector is zero. what: the equation; zero: what was zero."""
    for value in values:
        if not np.isfinite(value).all():
            raise BpttError(
                f"{what}: a result is {np.ravel(value)[0]} where {zero} are zero: it must be finite"
            )
