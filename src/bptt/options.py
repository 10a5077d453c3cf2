"""Options: what can be chosen of a network, an optimizer, a training or a task, declared once.

An option is a field of a settings class (a `msgspec.Struct`); beside its type stands what it means:

    hidden: Annotated[int, Option("Hidden units.")] = 16

From there come the flags of the command line, the keywords of `bptt.train`, the options of a study,
the tables in docs/options.md, and what is said of an unknown name.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple, get_type_hints

import msgspec

from bptt.errors import BpttError


class Option(NamedTuple):
    """What stands beside a field's type. words: what it means, in a sentence or less. name: what
    it is called among all options, by default as the field. flags: of the command line, for truth
    values, by default '--name/--no-name'."""

    words: str
    name: str = ""
    flags: str = ""


# Beside the type of a field that is no option: it follows from the others, or from the task.
NOT_AN_OPTION = Option("")


class Declared(NamedTuple):
    """An option as it was declared: its name among all options, the field and its type, the value
    where it is not given, and what it means. A `default` of `msgspec.NODEFAULT` means that it has
    to be given."""

    name: str
    field: str
    type: Any
    default: Any
    words: str
    flags: str = ""


def options_of(kind: type[msgspec.Struct]) -> dict[str, Declared]:
    """The options of a settings class, by name, in the order of its fields.

    A field without an `Option` beside its type is an option without words."""
    found = {}
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint, beside = hints[field.name], Option("")
        if hasattr(hint, "__metadata__"):  # of Annotated
            beside = next((each for each in hint.__metadata__ if isinstance(each, Option)), beside)
            hint = hint.__origin__
        if beside is NOT_AN_OPTION:
            continue
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        name = beside.name or field.name
        found[name] = Declared(name, field.name, hint, default, *beside[::2])
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean ...? ' for a known name that is like an unknown one, else ''."""
    found = get_close_matches(name, list(known), 1)
    return f"did you mean '{found[0]}'? " if found else ""


def unknown(what: str, name: str, known: Iterable[str]) -> BpttError:
    """The error for an unknown name: the nearest known one, and all of them."""
    names = sorted(known)
    return BpttError(
        f"{what} '{name}' is not known: {nearest(name, names)}choose of {', '.join(names)}"
    )
