"""The error that a user can cause: one line with the value, what is allowed, and the remedy."""

from collections.abc import Iterable

# How many names an error lists.
MOST_NAMES = 12


class BpttError(ValueError):
    """Bad input. The message is one line: what was wrong, what is allowed, what to do."""


class BpttTypeError(BpttError, TypeError):
    """Bad input of a wrong type."""


def one_line(error: Exception, where: str) -> BpttError:
    """A validation library's error as ours; an error of ours that it wraps is taken out again."""
    cause = error.__cause__
    return cause if isinstance(cause, BpttError) else BpttError(f"{where}: {error}")


def quoted_list(names: Iterable[str]) -> str:
    """'a', 'b', 'c' from an iterable of names, for the "what is allowed" part of a message."""
    return ", ".join(f"'{name}'" for name in names)


def not_there(what: str, name: object, names: Iterable[object], where: str = "") -> BpttError:
    """The error for a name that is none of those there are: the nearest one, and some of them.

    >>> print(not_there("column", "lable", ["id", "label"], "trials.csv"))
    trials.csv has no column 'lable': did you mean 'label'? There are 'id', 'label'
    """
    import difflib

    known = [str(each) for each in names]
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower, 1)
    hint = f"did you mean '{by_lower[near[0]]}'? " if near else ""
    more = ", ..." if len(known) > MOST_NAMES else ""
    there = f"there are {quoted_list(known[:MOST_NAMES])}{more}" if known else "there is none"
    there = there[0].upper() + there[1:] if hint else there
    start = f"{where} has no {what} '{name}'" if where else f"{what} '{name}' is not known"
    return BpttError(f"{start}: {hint}{there}")
