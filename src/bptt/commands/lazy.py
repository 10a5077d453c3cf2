"""Commands that are imported when they run, so that a list of commands costs nothing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """A name and words for the list; `make` gives the command itself, once it is wanted."""

    def __init__(self, name: str, words: str, make: Callable[[], Any]) -> None:
        super().__init__(name, help=words)
        self._make = make

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Of the command itself, which takes its own arguments."""
        return self._make().make_context(*arguments, **options)


class LazyGroup(TyperGroup):
    """Commands of which `lazy` gives names, words and makers; subclasses say which."""

    def lazy(self) -> Mapping[str, LazyCommand]:
        """The commands by name, in the order of the list."""
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(self.lazy())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them, None if there is none of that name."""
        return self.lazy().get(cmd_name)


def together(*parts: Iterator[tuple[str, str, Callable[[], Any]]]) -> dict[str, LazyCommand]:
    """Names, words and makers as commands by name."""
    return {name: LazyCommand(name, words, make) for part in parts for name, words, make in part}
