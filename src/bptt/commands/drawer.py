"""A run's figure, drawn by another process.

matplotlib takes longer to import than most trainings take. So `bptt train` starts a process that
imports it and waits, hands it what the figure is to show when training has ended, and takes the
picture from it while the run is saved and tested. Where that does not work, for whatever reason,
the run is drawn here.
"""

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from bptt.commands import DATA_JOBS
from bptt.processes import helper, threads

# How long the process is kept waiting for a training that goes on: then half a second more or
# less is not noticed, and its memory is.
PATIENCE_SECONDS = 10.0
# How long a picture is waited for. On a new machine, fonts have to be found first.
DRAWING_SECONDS = 60.0

# How every PNG file begins.
SIGNATURE = b"\x89PNG\r\n"

# What matplotlib does on import that this figure has no use for is left out: three dimensions, and
# the lists of properties in docstrings. With the collection of garbage they are a quarter of it.
CODE = """
import gc
gc.disable()
sys.modules["mpl_toolkits.mplot3d"] = None
import matplotlib.artist
matplotlib.artist.kwdoc = lambda artist: ""
from bptt.training.figures import serve
serve()
"""


class Drawer:
    """A process that draws one figure. Raises OSError if it cannot be started."""

    def __init__(self) -> None:
        self._process = helper(CODE)
        self._asking: threading.Thread | None = None
        self._content = b""

    def begin(self, curve: Mapping[str, Any]) -> None:
        """Have a learning curve drawn: the arguments of
        `bptt.training.figures.learning_curve`."""
        # In a thread, because a pipe may hold less than the records.
        line = json.dumps(curve, default=vars).encode() + b"\n"
        self._asking = threading.Thread(target=self._ask, args=(line,), daemon=True)
        self._asking.start()

    def _ask(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._content, _ = self._process.communicate(line)

    def png(self) -> bytes | None:
        """The picture that was begun; None if there will be none."""
        assert self._asking is not None
        self._asking.join(DRAWING_SECONDS)
        if self._asking.is_alive():
            self._process.kill()
            self._asking.join()
        whole = self._process.returncode == 0 and self._content.startswith(SIGNATURE)
        return self._content if whole else None

    def close(self) -> None:
        """Let the process end, if it has nothing to draw. It is not killed: it may be writing
        matplotlib's list of fonts."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def drawer_for(arguments: Sequence[str]) -> Drawer | None:
    """A drawer for a command line that is going to train, where two processes can work at once and
    one more can be started."""
    trains = arguments[:1] == ["train"] and len(arguments) > 1 and "--help" not in arguments
    trains = trains and arguments[1] not in DATA_JOBS  # which draw other figures
    if not trains or threads() < 2:
        return None
    try:
        return Drawer()
    except OSError:
        return None
