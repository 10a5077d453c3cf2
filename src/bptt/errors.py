"""The error that a user can cause: one line with the value, what is allowed, and the remedy."""

from collections.abc import Iterable


class BpttError(ValueError):
    """Bad input. The message is one line: what was wrong, what is allowed, what to do."""


def one_line(error: Exception, where: str) -> BpttError:
    """A validation library's error as ours; an error of ours that it wraps is taken out again."""
    cause = error.__cause__
    return cause if isinstance(cause, BpttError) else BpttError(f"{where}: {error}")


def quoted_list(names: Iterable[str]) -> str:
    """'a', 'b', 'c' from an iterable of names, for the "what is allowed" part of a message."""
    return ", ".join(f"'{name}'" for name in names)
