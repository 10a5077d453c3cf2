"""Checkpoints while a training goes on."""

import time
from collections.abc import Callable

from bptt.errors import BpttError


class Keeper:
    """Writes a checkpoint every so many seconds, and gives a tenth of the time to it at most. One
    that cannot be written ends no training: the disc may have room again before the end.

    save: writes it. say: tells the user, once.
    """

    def __init__(
        self, save: Callable[[], None], seconds: float, say: Callable[[str], None]
    ) -> None:
        self._save, self._say, self._seconds = save, say, seconds
        self._at, self._told = time.monotonic() + seconds, False

    def keep(self) -> None:
        """Write one if it is time."""
        started = time.monotonic()
        if started < self._at:
            return
        try:
            self._save()
        except BpttError as error:
            if not self._told:
                self._say(f"bptt: {error}; training goes on without a checkpoint")
            self._told = True
        ended = time.monotonic()
        self._at = ended + max(self._seconds, 10 * (ended - started) if self._seconds else 0)
