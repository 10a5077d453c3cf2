"""The command line's entry: errors become one line, signals become exit codes."""

import contextlib
import gc
import io
import os
import sys
from typing import TextIO

from bptt.commands.drawer import drawer_for


def main(arguments: list[str] | None = None) -> None:
    """Run `bptt` with the given arguments, or with those of the command line, and exit.

    Exit codes: 0 done; 1 a check failed or a run diverged; 2 bad input; 130, 143 and 129
    after Ctrl-C, SIGTERM and SIGHUP.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _prepare_streams()
        drawer = drawer_for(given)  # first of all: it has as much to import as we have
        gc.set_threshold(50_000)  # imports make many objects that stay
        from bptt.commands.cli import run

        code = run(given, drawer)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        code = 0
        _leave_stream(sys.stdout)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        _leave_stream(sys.stdout)
        with contextlib.suppress(OSError):
            print(f"bptt: the output cannot be written: {error.strerror}", file=sys.stderr)
        code = 2
    try:
        sys.stderr.flush()
    except OSError:
        _leave_stream(sys.stderr)
    sys.exit(code)


def _prepare_streams() -> None:
    """Let every text be printed: what an encoding has no character for as \\x.. or \\u...., and
    nothing at all where a standard stream has been closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_stream(stream: TextIO) -> None:
    """Have what is left of a stream that cannot be written go nowhere, when Python ends too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
