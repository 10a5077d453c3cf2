"""What a contender is, and how it is checked and timed.

A contender is a module of this package with

    LABEL                                  its name in tables and figures
    missing() -> str                       why it cannot run here ('' if it can)
    versions() -> dict                     of what it runs on; only called if nothing is missing
    covers(case) -> bool                   whether it can do this work
    forms(case, threads) -> list[Form]     ways of doing it, the most promising first; all are tried
                                           and the fastest is reported
    prepare(case, problem, threads, form) -> Prepared

`prepare` does all that a user would not wait for at every iteration: copying data to where the
contender wants it, compiling. `Prepared.run()` is what is timed: all iterations of the problem
from its initial weights (or, where the case does not train, one forward and backward), finished
when it returns. `Prepared.result()` is the weights (or gradients) the last run left, by name,
each (M, ...).

Every form of every contender must agree with `benchmarks.oracle` before it is timed.
"""

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from benchmarks.cases import Case, Problem, Weights, problem
from benchmarks.oracle import expected

NAMES = ("ours", "numpy_reports", "pytorch", "jax_loop", "c_floor")
Form = dict[str, Any]

# Largest error of a parameter's entries as a share of the largest change of that parameter. A wrong
# equation or layout is off by 0.1 and more; float32 rounding through T steps and tens of
# iterations stays under 1e-4 (measured: 5e-5 at worst), float64 under 1e-12.
TOLERANCE = {"float32": 5e-4, "float64": 1e-10}

RUN_SECONDS = 0.25  # one timed run lasts about this long, if the case has the iterations for it
TRIALS = 3  # runs by which forms are compared
FEWEST, ENOUGH_SECONDS = 3, 6.0  # slow runs are not repeated for longer, once there are so many


class Prepared(Protocol):
    """Work ready to be run."""

    def run(self) -> None:
        """Do all iterations of the problem, from its initial weights."""

    def result(self) -> Weights:
        """Final weights, or gradients, of the last run, each (M, ...)."""


class Contender(Protocol):
    """A module that does the work of the cases; see the head of this file."""

    LABEL: str

    def missing(self) -> str:
        """Why it cannot run here; '' if it can."""

    def versions(self) -> dict[str, str]:
        """Versions of what it runs on."""

    def covers(self, case: Case) -> bool:
        """Whether it can do this work."""

    def forms(self, case: Case, threads: int) -> list[Form]:
        """Ways of doing the work."""

    def prepare(self, case: Case, problem: Problem, threads: int, form: Form) -> Prepared:
        """The work in that form, ready to be run."""


class WrongResultError(Exception):
    """A contender's weights or gradients are not those of the oracle."""


def load(name: str) -> Contender | None:
    """The contender of that name, None if there is no such module.

    A name with a dot is a module from elsewhere, for contenders of one's own.
    """
    try:
        module: Any = importlib.import_module(name if "." in name else f"benchmarks.{name}")
    except ModuleNotFoundError:
        return None
    return module  # type: ignore[no-any-return]  # a module satisfies the protocol


def disagreement(case: Case, given: Problem, result: Weights, right: Weights) -> float:
    """Largest error by parameter, as a share of the parameter's largest change (or gradient).

    NaN or a wrong shape is an infinite error.
    """
    worst = 0.0
    for name, value in right.items():
        mine = np.asarray(result[name], np.float64)
        if mine.shape != value.shape or not np.isfinite(mine).all():
            return float("inf")
        start = given.weights[name].astype(np.float64) if case.trains else np.zeros(())
        scale = np.abs(value - start).max()
        worst = max(worst, float(np.abs(mine - value).max() / scale))
    return worst


def agree(
    contender: Contender, case: Case, threads: int, form: Form, given: Problem, right: Weights
) -> tuple[float, Prepared]:
    """Error of the contender on the problem, and the work prepared; WrongResultError if too large.

    The work is run twice, so that what one run leaves behind in the next is seen.
    """
    prepared = contender.prepare(case, given, threads, form)
    error = 0.0
    for _ in range(2):
        prepared.run()
        error = max(error, disagreement(case, given, prepared.result(), right))
    if not error <= TOLERANCE[case.dtype]:
        raise WrongResultError(
            f"{contender.LABEL}, {case.name}, {words(form)}: error {error:.1e} of the oracle, "
            f"allowed {TOLERANCE[case.dtype]:.0e}"
        )
    return error, prepared


def check(contender: Contender, case: Case, threads: int, form: Form) -> float:
    """Error of the contender on `case.check` iterations; WrongResultError if too large."""
    given = problem(case, case.check, seed=1)
    return agree(contender, case, threads, form, given, expected(case, given))[0]


def clock(threads: int) -> Callable[[], float]:
    """CPU time of the process for one thread, wall time for several."""
    return time.process_time if threads == 1 else time.perf_counter


def seconds(prepared: Prepared, threads: int, repeats: int) -> list[float]:
    """Seconds of each of the runs, after one that is not counted; fewer runs if they are slow."""
    now, spent = clock(threads), list[float]()
    prepared.run()
    while len(spent) < repeats and (len(spent) < FEWEST or sum(spent) < ENOUGH_SECONDS):
        start = now()
        prepared.run()
        spent.append(now() - start)
    return spent


def iterations_to_time(case: Case, once: float) -> int:
    """How many iterations fill about RUN_SECONDS, when one (of all models) takes `once`."""
    return int(np.clip(RUN_SECONDS / max(once, 1e-8), min(case.check, case.most), case.most))


def enough(
    contender: Contender, case: Case, threads: int, form: Form, prepared: Prepared
) -> tuple[int, Prepared]:
    """How many iterations to time, and the work of them, from that of `case.check` iterations.

    Of a few iterations the cost of the call may be most: then the first answer is too few.
    """
    count = case.check
    for _ in range(3):
        wanted = iterations_to_time(case, min(seconds(prepared, threads, 2)) / count)
        if count // 2 <= wanted <= 2 * count:
            break
        count = wanted
        prepared = contender.prepare(case, problem(case, count), threads, form)
    return count, prepared


def measure(contender: Contender, case: Case, threads: int) -> Iterator[dict[str, Any]]:
    """Check and time the contender's forms one after the other, the most promising first.

    Gives {"trying": form} before each, and after each the measurement of the fastest so far, so
    that a form which never answers costs no more than itself. Then, for as long as it is asked, {}
    and the measurement with another turn of the fastest form, which counts in place of the first
    ones: the median of as many runs as take RUN_SECONDS, for after a pause the first are slow where
    threads and caches have to be woken. Seconds are per iteration and model.
    """
    given = problem(case, case.check, seed=1)
    right = expected(case, given)
    tried: dict[str, float] = {}
    best: dict[str, Any] = {}
    fastest: Prepared | None = None
    for form in contender.forms(case, threads):
        yield {"trying": words(form)}
        error, prepared = agree(contender, case, threads, form, given, right)
        count, prepared = enough(contender, case, threads, form, prepared)
        share = count * case.models
        spent = [s / share for s in seconds(prepared, threads, TRIALS)]
        trial = statistics.median(spent)
        if trial < min(tried.values(), default=float("inf")):
            best = {"error": error, "form": words(form), "iterations": count} | summary(spent)
            fastest = prepared
        tried[words(form)] = trial
        yield best | {"forms": dict(tried)}
    spent, share = [], best.get("iterations", 0) * case.models
    runs = max(1, round(RUN_SECONDS / (best["seconds"] * share))) if best else 0
    while fastest is not None:
        yield {}
        if len(spent) < FEWEST or sum(spent) * runs * share < ENOUGH_SECONDS:
            spent.append(statistics.median(seconds(fastest, threads, runs)) / share)
        yield best | summary(spent) | {"forms": dict(tried)}


def summary(spent: list[float]) -> dict[str, Any]:
    """What is reported of several runs."""
    return {
        "repeats": len(spent),
        "seconds": statistics.median(spent),
        "fastest": min(spent),
        "slowest": max(spent),
    }


def words(form: Form) -> str:
    """A form in words: 'unroll 8, products dot'."""
    return ", ".join(f"{name} {value}" for name, value in form.items()) or "plain"
