"""The command line's entry: errors become one line, signals become exit codes."""

import gc
import os
import sys

from bptt.commands.drawer import drawer_for


def main(arguments: list[str] | None = None) -> None:
    """Run `bptt` with the given arguments, or with those of the command line, and exit.

    Exit codes: 0 done; 1 a check failed or a run diverged; 2 bad input; 130 and 143 after Ctrl-C
    and SIGTERM.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        drawer = drawer_for(given)  # first of all: it has as much to import as we have
        gc.set_threshold(50_000)  # imports make many objects that stay
        from bptt.commands.cli import run

        code = run(given, drawer)
        if sys.stdout is not None:  # it may have been closed
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        print(f"bptt: the output cannot be written: {error.strerror}", file=sys.stderr)
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
