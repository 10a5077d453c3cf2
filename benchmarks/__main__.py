"""bptt and its peers side by side, each in a process of its own.

Times every case of `benchmarks.cases` for us and every peer, growth of time and memory, and what
a user waits for. Writes benchmark.json (after every measurement, so that nothing is lost;
--resume goes on with it), benchmark.md and figures to the folder --out, and with --publish puts
tables and figures into a document. All of it takes about 20 minutes on two idle cores (cases and
peers 17, growth and memory 2, waiting 1). Peers that are not installed are reported as such. To
have them all, beside bptt itself:

    pip install torch==2.13.0 jax     and a C compiler (gcc or clang)

With --short nothing is timed: on small sizes every contender's gradients are compared with the
oracle's, and the other measurements are gone through once.
"""

import argparse
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks import figure, report, results
from benchmarks.contender import NAMES as CONTENDERS
from benchmarks.jobs import NAMES, OTHERS, SHORT, bad, jobs, together, work

LIMIT = 180.0  # seconds for one case of one contender


def listed(what: str, names: Sequence[str]) -> str:
    """Names in lines."""
    text = f"{what}: {', '.join(names)}"
    return textwrap.fill(text, 80, subsequent_indent="  ", break_on_hyphens=False)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=listed("names for --only", NAMES) + "\n" + listed("contenders", CONTENDERS),
    )  # fmt: skip
    parser.add_argument("--short", action="store_true", help="check, do not time")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, metavar="NAME",
        help="only these, named below",
    )  # fmt: skip
    parser.add_argument(
        "--contenders", nargs="+", default=CONTENDERS, metavar="NAME",
        help="only these, named below; or a module of your own, with a dot in its name",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="folder for the results (runs/benchmark; none with --short)"
    )
    parser.add_argument("--resume", action="store_true", help="do only what is missing in --out")
    parser.add_argument(
        "--publish", type=Path, metavar="DOCUMENT",
        help="put the results between the marks of this Markdown file (docs/performance.md)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS",
        help=f"time for one case of one contender, compilation included ({LIMIT:g})",
    )  # fmt: skip
    options = parser.parse_args(given)
    unknown = [each for each in options.contenders if "." not in each and each not in CONTENDERS]
    if unknown:
        parser.error(f"contender '{unknown[0]}' is not known: choose of {', '.join(CONTENDERS)}")
    options.only = options.only or ((*SHORT, *OTHERS) if options.short else NAMES)
    if options.out is None and not options.short:
        options.out = Path("runs/benchmark")
    if options.publish:
        if options.short:
            parser.error("--publish has nothing to publish with --short: it times nothing")
        report.marked(options.publish)  # or it would fail when all is measured
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run all, write the results; 1 if a contender failed or was wrong."""
    options = arguments(given)
    try:
        kept = results.start(options.short, options.out, options.resume)
    except results.CannotResumeError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    todo = [
        job
        for job in jobs(options.only, options.contenders, options.short)
        if not (options.resume and kept.has(job))
    ]
    started = time.monotonic()
    groups = together(todo)
    for number, group in enumerate(groups, 1):
        with closing(work(group, options.limit)) as found:
            for lines in found:
                kept.add(lines)
                for line in lines:
                    shown = report.brief(line)
                    print(
                        f"{time.monotonic() - started:6.0f} s  {number}/{len(groups)}  "
                        f"{line['kind']:9s} {line['case']:35s} {line['contender']:13s} {shown}",
                        file=sys.stderr,
                        flush=True,
                    )
    figures = []
    if options.out:
        draws = {report.FIGURE: figure.draw, report.GROWTH_FIGURE: figure.draw_growth}
        figures = [name for name, draw in draws.items() if draw(kept.lines, options.out / name)]
    text = report.markdown(kept.as_dict(), figures)
    print(text)
    if options.out:
        (options.out / "benchmark.md").write_text(text)
    if options.publish:
        report.publish(options.out, options.publish)
    return int(bad(kept.lines, options.short))


if __name__ == "__main__":
    # An end from outside goes through `finally`, where workers are ended too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
