"""Python processes that help this one, and how many can work at once.

Imported before anything else is known: only the standard library, and little of it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

# Signals are the asking process's affair: a helper ends when there is nothing more to be read.
_BEGINNING = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.path[:] = json.loads(sys.argv[1])
"""


def after_fork(renew: Callable[[], object]) -> None:
    """Have this called in every process that `os.fork` makes of this one: threads are not copied,
    and what another thread had locked stays locked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def brief_lock() -> Any:
    """A lock for moments, that the processes made by `os.fork` find free: a fork waits for it."""
    lock = threading.RLock()  # a signal's handler may want what the code it came upon has
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


@cache
def threads() -> int:
    """How many threads work at once: BPTT_THREADS (or NUMBA_NUM_THREADS), or else as many as there
    are processors that this process may use."""
    for name in ("BPTT_THREADS", "NUMBA_NUM_THREADS"):
        chosen = os.environ.get(name, "")
        if chosen.isdecimal() and int(chosen) > 0:
            return int(chosen)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def helper(code: str, **environment: str) -> subprocess.Popen[bytes]:
    """A process that runs this code, with our search path, and with pipes to and from it.

    environment: variables that it has beside ours. Raises OSError where no process can be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise OSError("there is no Python interpreter to start")
    path = json.dumps([str(entry) for entry in sys.path])
    before = None
    if hasattr(signal, "pthread_sigmask"):  # what is blocked is so until the signal is ignored
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _BEGINNING + code, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )  # fmt: skip
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
