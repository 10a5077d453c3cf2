"""Ctrl-C and SIGTERM as a request to stop, not as an exception in the middle of things."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# The lists of the blocks that are running, the outermost first.
_lists: list[list[int]] = []


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """While the block runs, SIGINT and SIGTERM only add their number to the list that is given.

    In a block within another both lists get it, and what the outer one has got already stands in
    the inner one from the beginning. A second signal of the same kind acts as it would outside,
    for a user in a hurry. Outside the main thread, where Python allows no handlers, the list
    stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    if _lists:
        received += _lists[-1]
        _lists.append(received)
        try:
            yield received
        finally:
            _lists.pop()
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        for each in _lists:
            each.append(number)
        signal.signal(number, before[signal.Signals(number)])

    _lists.append(received)
    for number in numbers:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number in numbers:
            signal.signal(number, before[number])
        _lists.pop()


def exit_code(received: Sequence[int]) -> int:
    """Of a command that ended because of the signals of an `interrupts` block: 130 after Ctrl-C,
    143 after SIGTERM."""
    return 128 + (received[0] if received else signal.SIGINT)
