"""Ctrl-C, SIGTERM and SIGHUP as a request to stop, not as an exception in the middle of things."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# What asks a program to end: Ctrl-C, job schedulers, a terminal that is closed.
NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

# The lists of the blocks that are running, the outermost first.
_lists: list[list[int]] = []


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP only add their number to the list that is
    given.

    In a block within another both lists get it, and what the outer one has got already stands in
    the inner one from the beginning. A second signal of the same kind acts as it would outside,
    for a user in a hurry. A signal that is ignored (`nohup`, a shell's `&`) or that the user has
    a handler of his own for stays as it is. Outside the main thread, where Python allows no
    handlers, the list stays empty.
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
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {
        number: handler for number in NUMBERS if (handler := signal.getsignal(number)) in usual
    }

    def note(number: int, frame: FrameType | None) -> None:
        for each in _lists:
            each.append(number)
        signal.signal(number, before[signal.Signals(number)])

    _lists.append(received)
    try:
        for number in before:
            signal.signal(number, note)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _lists.pop()


def exit_code(received: Sequence[int]) -> int:
    """Of a command that ended because of the signals of an `interrupts` block: 130 after Ctrl-C,
    143 after SIGTERM, 129 after SIGHUP."""
    return 128 + (received[0] if received else signal.SIGINT)
