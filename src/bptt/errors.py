"""The error that a user can cause: one line with the value, what is allowed, and the remedy."""


class BpttError(ValueError):
    """Bad input. The message is one line: what was wrong, what is allowed, what to do."""


def quoted_list(names: object) -> str:
    """'a', 'b', 'c' from an iterable of names, for the "what is allowed" part of a message."""
    return ", ".join(f"'{name}'" for name in names)  # type: ignore[attr-defined]
