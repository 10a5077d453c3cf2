"""Flags of the command line, made from options as they were declared (`bptt.options`)."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import typer

from bptt.errors import BpttError, one_line
from bptt.options import Declared

PLAIN = (int, float, bool, str)


def core(kind: Any) -> Any:
    """A type without None: `int` of `int | None`."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [each for each in get_args(kind) if each is not NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def is_table(kind: Any) -> bool:
    """Whether values are tables: on the command line entry by entry, as NAME=VALUE."""
    inner = core(kind)
    return get_origin(inner) is dict or (
        isinstance(inner, type) and issubclass(inner, msgspec.Struct)
    )


def items(kind: Any) -> Any:
    """What a tuple of any length holds: `str` of `tuple[str, ...]`; else None. Its flag may be
    given several times."""
    inner = core(kind)
    if get_origin(inner) is tuple and get_args(inner)[1:] == (...,):
        return get_args(inner)[0]
    return None


def flag(option: Declared, panel: str, default: Any) -> inspect.Parameter | None:
    """The flag of an option, None for one that a command line has no words for.

    Not given, it is None; default: what then counts, for the help."""
    kind, table, many = core(option.type), is_table(option.type), items(option.type)
    if kind not in PLAIN and not table and not many:
        return None
    names = f"--{option.name.replace('_', '-')}"
    if kind is bool:
        names = option.flags or f"{names}/--no-{names[2:]}"
    shown = default not in (None, "", (), msgspec.NODEFAULT) and not table and kind is not bool
    about = typer.Option(
        names,
        help=option.words,
        rich_help_panel=panel,
        metavar="NAME=VALUE" if table else None,
        show_default=str(default) if shown else False,
    )
    annotation = list[str] | None if table else list[many] | None if many else kind | None  # type: ignore[valid-type]
    return parameter(option.name, Annotated[annotation, about], None)


def parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    """A parameter by keyword."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def flags(
    options: Mapping[str, Declared], panel: str, defaults: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """The flags of these options; defaults: those that differ from the declared ones."""
    made = [flag(each, panel, defaults.get(name, each.default)) for name, each in options.items()]
    return [each for each in made if each is not None]


def given(options: Mapping[str, Declared], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given. Raises BpttError for a table that cannot be read."""
    return {
        name: _table(each, values[name]) if is_table(each.type) else values[name]
        for name, each in options.items()
        if values.get(name) is not None and values[name] != []
    }


def _table(option: Declared, entries: Iterable[str]) -> dict[str, Any]:
    """NAME=VALUE, several times, as a table."""
    table = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        if not sign:
            raise BpttError(f"--{option.name} '{entry}' must be NAME=VALUE")
        table[name.strip()] = value.strip()
    try:
        made = msgspec.convert(table, option.type, strict=False)
    except msgspec.ValidationError as error:
        raise one_line(error, f"--{option.name}") from None
    built: dict[str, Any] = msgspec.to_builtins(made)
    return built


def command(
    name: str, words: str, run: Callable[..., Any], parameters: Iterable[Any], **settings: Any
) -> Any:
    """A command that calls `run` with the values of these parameters, as a typer command."""

    def called(**values: Any) -> Any:
        return run(**values)

    signature = inspect.Signature([*parameters])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    app = typer.Typer(add_completion=False)
    app.command(name, help=words, context_settings=settings)(called)
    return typer.main.get_command(app)
