"""A slider that is moved thirty times a second: what is left of the trainings that it began."""

import gc
import os
import threading
import time
import weakref

import pytest
from lab_pages import SMALL, asked, served, uncompiled, waited

from bptt.lab import session
from bptt.lab.session import Watching


def descriptors() -> int:
    """How many files and sockets this process has open; 0 where that is not told."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_slider_that_never_rests_leaves_one_training(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    begun: list[weakref.ref[Watching]] = []
    made = session.Watching.__init__

    def counted(self: Watching, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        begun.append(weakref.ref(self))

    monkeypatch.setattr(session.Watching, "__init__", counted)
    with served() as server:
        chosen = {**SMALL, "iterations": 100_000, "learning_rate": 1e-6}
        asked(server, "start", {"tab": "a", "settings": chosen})
        before = threading.active_count(), descriptors()
        for n in range(60):
            moved = {**chosen, "hidden": 2 + n % 5}
            found = asked(server, "start", {"tab": "a", "settings": moved})
            asked(server, "news", {"tab": "a", "id": found["id"], "after": 0, "luck": []})
            time.sleep(1 / 30)
        assert len(server.lab._tabs) == 1
        (watching,) = server.lab._tabs.values()
        assert watching.settings.structure.hidden == 2 + 59 % 5
        waited(lambda: threading.active_count() <= before[0] + 1)
        waited(lambda: descriptors() <= before[1] + 1)
        # Of sixty-one trainings the last one alone is still somewhere in memory.
        waited(lambda: (gc.collect(), sum(each() is not None for each in begun))[1] == 1)
        assert len(begun) == 61
        # What is kept of settings is an event each, not their data.
        assert len(server.lab.engines._ready) == 6
