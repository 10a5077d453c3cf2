"""Whatever comes in, no array reaches compiled code that does not fit: random inputs, mostly wrong.

    python tests/fuzz_the_door.py --seconds 7200

Structures, tasks, settings, files and arrays are drawn at random and put in through every public
way: networks, engines, training, settings, evaluation, writing, gradient checks, files, studies,
experiments, and all public callables with arguments of any kind. A child process does it whose
arrays lie between guard pages (tests/guard_pages.py); its parent counts what becomes of them. Fine
are results, and errors of one line. Found are: signals (something was read or written that is
nobody's), answers that take too long, other exceptions, and nonsense that was accepted (or sense
that was refused), where a judgement of the test's own can tell.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# A case takes milliseconds, the first of its kind some seconds of compilation on a busy machine.
HANG_SECONDS = 180
# A child is replaced after so many cases, for what it keeps would fill the mappings.
A_CHILD = 400
FINE = ("right", "refused", "memory")


def children(first: int, seconds: float, options: list[str]) -> Iterator[dict[str, Any]]:
    """What becomes of the cases with the seeds from `first` on, for about so many seconds."""
    seed, end = first, time.monotonic() + seconds
    while time.monotonic() < end:
        for found in _child(seed, end, options):
            seed = found["seed"] + 1
            yield found


def _child(seed: int, end: float, options: list[str]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/errors", "w+b") as errors:
        command = [sys.executable, str(HERE / "fuzz_cases.py"), str(seed), str(A_CHILD), *options]
        child = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert child.stdout is not None
        begun: dict[str, Any] = {"seed": seed, "what": "the beginning"}
        try:
            for line in _lines(child):
                if line is None:
                    yield {**begun, "kind": "hang", "why": f"{HANG_SECONDS} s"}
                    return
                found = json.loads(line)
                if "kind" in found:
                    yield found
                    if time.monotonic() > end:
                        return
                else:
                    begun = found
            if child.wait():
                code = child.returncode
                why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                errors.seek(max(0, errors.tell() - 3000))
                tail = errors.read().decode(errors="replace")
                yield {**begun, "kind": "signal" if code < 0 else "end", "why": why, "tail": tail}
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()


def _lines(child: Any) -> Iterator[str | None]:
    """The child's lines; None where one does not come."""
    import selectors

    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        os.set_blocking(child.stdout.fileno(), False)
        rest = ""
        while True:
            if not selector.select(HANG_SECONDS):
                yield None
                return
            new = child.stdout.read()
            if not new:
                return
            *whole, rest = (rest + new).split("\n")
            yield from whole


def run(
    seconds: float, first: int, options: list[str], shown: int = 20
) -> collections.Counter[str]:
    """Draw and try for so many seconds; prints what is found, and gives the counts by kind."""
    counts: collections.Counter[str] = collections.Counter()
    ways: collections.Counter[str] = collections.Counter()
    for found in children(first, seconds, options):
        counts[found["kind"]] += 1
        ways[found["what"].partition(":")[0]] += 1
        if found["kind"] not in FINE and (shown := shown - 1) >= 0:
            print(json.dumps(found), flush=True)
    print(f"{sum(counts.values()):,} inputs from seed {first} on:", dict(counts))
    print(dict(ways), flush=True)
    return counts


def main() -> int:
    """Exit code 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=7200)
    parser.add_argument("--seed", type=int, help="the first seed; fresh by default")
    parser.add_argument("--shown", type=int, default=200, help="of what is found, at most so many")
    parser.add_argument("--small", action="store_true", help="one cell and one float type")
    parser.add_argument("--no-guards", action="store_true", help="arrays as usual")
    given = parser.parse_args()
    first = random.randrange(10**9) if given.seed is None else given.seed
    options = [
        name for name in ("--small", "--no-guards") if getattr(given, name[2:].replace("-", "_"))
    ]
    counts = run(given.seconds, first, options, given.shown)
    return int(any(kind not in FINE for kind in counts))


if __name__ == "__main__":
    sys.exit(main())
