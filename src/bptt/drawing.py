"""A run's figure, drawn by another process.

matplotlib takes longer to import than most trainings take. So `bptt train` starts a process that
imports it and waits, hands it what the figure is to show when training has ended, and takes the
picture from it while the run is saved and tested. Where that does not work, for whatever reason,
the run is drawn here.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from bptt.processes import helper, threads

# How long the process is kept waiting for a training that goes on: then half a second more or
# less is not noticed, and its memory is.
PATIENCE_SECONDS = 10.0
# How long a picture is waited for. On a new machine, fonts have to be found first.
DRAWING_SECONDS = 60.0

CODE = """
sys.modules["mpl_toolkits.mplot3d"] = None  # imported for every figure, flat ones too
from bptt.drawing import serve
serve()
"""


class Drawer:
    """A process that draws one figure. Raises OSError if it cannot be started."""

    def __init__(self) -> None:
        self._process = helper(CODE)

    def begin(self, curve: Mapping[str, Any]) -> None:
        """Have a learning curve drawn: the arguments of `bptt.figures.learning_curve`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, or was closed
            self._process.stdin.write(json.dumps(curve, default=vars).encode() + b"\n")
            self._process.stdin.flush()

    def png(self) -> bytes | None:
        """The picture; None if there will be none."""
        try:
            content, _ = self._process.communicate(timeout=DRAWING_SECONDS)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self._process.kill()
            return None
        return content if self._process.returncode == 0 and content else None

    def close(self) -> None:
        """Let the process end, if it has nothing to draw. It is not killed: it may be writing
        matplotlib's list of fonts."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


def drawer_for(arguments: Sequence[str]) -> Drawer | None:
    """A drawer for a command line that is going to train, where two processes can work at once and
    one more can be started."""
    if arguments[:1] != ["train"] or "--help" in arguments or threads() < 2:
        return None
    try:
        return Drawer()
    except OSError:
        return None


def serve() -> None:
    """The other process: import what draws, read what is to be drawn, write the picture."""
    import gc

    gc.disable()  # a fifth of the time
    from bptt.figures import learning_curve, png

    line = sys.stdin.buffer.readline()
    if not line:
        return
    curve = json.loads(line)
    curve["history"] = [SimpleNamespace(**record) for record in curve["history"]]
    sys.stdout.buffer.write(png(learning_curve(**curve)))
    sys.stdout.buffer.flush()
    os._exit(0)  # everything is done, and to take it all down would keep the other waiting
