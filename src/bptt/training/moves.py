"""Runs that move from a processor to another: what is kept of it, and what is said.

A run's `arithmetic` is a list of what its engine said of itself (`Engine.arithmetic`), an entry
where it began, and one where it went on with another. The same seed gives the same bits where that
is the same: vectors of another width add up in another order.
"""

UNKNOWN = "not recorded"


def kept(found: list[str] | None, iterations: int) -> list[str]:
    """What a checkpoint says of a run that has done so many iterations; earlier versions wrote
    nothing down (None)."""
    if found is None:
        return [UNKNOWN] if iterations else []
    return found


def gone_on(before: list[str], now: str) -> list[str]:
    """The same when it goes on here."""
    return before if before[-1:] == [now] else [*before, now]


def move(before: list[str], now: str) -> str:
    """What is said of a run that is to go on here, in one line; '' if it stays what it was."""
    if not before or before[-1] in (now, UNKNOWN):
        return ""
    return (
        f"trained with vectors of {before[-1]} so far and of {now} from here on: its last digits "
        "are not those of a run that stays on one kind of processor"
    )
