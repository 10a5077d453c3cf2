"""Python processes that help this one, and how many can work at once.

Imported before anything else is known: only the standard library, and little of it.
"""

import json
import os
import subprocess
import sys
from functools import cache

# Signals are the asking process's affair: a helper ends when there is nothing more to be read.
_BEGINNING = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = json.loads(sys.argv[1])
"""


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


def helper(code: str) -> subprocess.Popen[bytes]:
    """A process that runs this code, with our search path, and with pipes to and from it.

    Raises OSError where no process can be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise OSError("there is no Python interpreter to start")
    path = json.dumps([str(entry) for entry in sys.path])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _BEGINNING + code, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
