"""The goals: what is asked of which measurement, and whether it was reached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import growth
from benchmarks.cases import ALL

Line = dict[str, Any]
Value = Callable[[list[Line]], float | None]

MEMORY_RATIO = 1.3
GROWN_MEGABYTES = 1.0  # over a million iterations; an allocator may take that much by itself


@dataclass(frozen=True)
class Goal:
    """A number that must be at least (or at most) the bound; `stretch` is the bound hoped for."""

    words: str
    value: Value
    bound: float
    stretch: float | None = None
    at_most: bool = False
    unit: str = "×"

    def met(self, measured: float, bound: float) -> bool:
        """Whether the measured number reaches the bound."""
        return measured <= bound if self.at_most else measured >= bound

    def judged(self, lines: list[Line]) -> Line:
        """The goal, what was measured (None if it was not), and whether it was met."""
        measured = self.value(lines)
        known = measured is not None
        return {
            "goal": self.words,
            "asked": f"at {'most' if self.at_most else 'least'} {self.bound:g} {self.unit}",
            "measured": measured,
            "unit": self.unit,
            "met": self.met(measured, self.bound) if measured is not None else None,
            "stretch": self.stretch,
            "stretch_met": self.met(measured, self.stretch)
            if known and measured is not None and self.stretch is not None
            else None,
        }


def seconds(lines: list[Line], case: str, contender: str) -> float | None:
    """What was measured for a contender whose results were right."""
    for line in lines:
        if (line["case"], line["contender"]) == (case, contender) and line["kind"] == "time":
            return None if "wrong" in line or "failed" in line else line.get("seconds")
    return None


def faster(case: str, peer: str, bound: float, stretch: float | None = None) -> Goal:
    """How many times faster we are than a peer."""

    def value(lines: list[Line]) -> float | None:
        ours, theirs = seconds(lines, case, "ours"), seconds(lines, case, peer)
        return theirs / ours if ours and theirs else None

    return Goal(f"{ALL[case].title}: faster than {PEERS[peer]}", value, bound, stretch)


def near(case: str, peer: str, bound: float) -> Goal:
    """How many times a peer's time we take."""

    def value(lines: list[Line]) -> float | None:
        ours, theirs = seconds(lines, case, "ours"), seconds(lines, case, peer)
        return ours / theirs if ours and theirs else None

    words = f"{ALL[case].title}: time over that of {PEERS[peer]}"
    return Goal(words, value, bound, at_most=True)


def waited(case: str, words: str, bound: float) -> Goal:
    """How long a user waits."""

    def value(lines: list[Line]) -> float | None:
        found = [line for line in lines if line["kind"] == "use" and line["case"] == case]
        return found[0].get("seconds") if found else None

    return Goal(words, value, bound, at_most=True, unit="s")


def memory_ratio(lines: list[Line]) -> float | None:
    """The worst ratio of peak memory to the arrays BPTT must keep."""
    points = [line for line in lines if line["kind"] in ("growth", "memory") and "peak" in line]
    ratios = [ratio for line in points if (ratio := growth.ratio(line)) is not None]
    return max(ratios, default=None)


def grown(lines: list[Line]) -> float | None:
    """Megabytes by which memory grew with the iterations."""
    found = [line for line in lines if line["kind"] == "endurance" and "grown" in line]
    return max((line["grown"] / 1e6 for line in found), default=None)


PEERS = {"jax_loop": "JAX's best form", "pytorch": "PyTorch", "c_floor": "the C floor"}
GOALS = (
    faster("elman-online-16", "jax_loop", 4),
    faster("elman-online-16", "pytorch", 500),
    near("elman-online-16", "c_floor", 1.6),
    faster("elman-128-models-16", "jax_loop", 3),
    faster("elman-minibatch-3", "jax_loop", 15),
    faster("lstm-text-64", "jax_loop", 2.4, 3.3),
    faster("lstm-text-64", "pytorch", 10, 15),
    faster("lstm-gradient-128", "pytorch", 1.3),
    faster("lstm-gradient-512", "pytorch", 1.1),
    faster("gru-gradient-128", "pytorch", 1.3),
    Goal("peak memory over the arrays to keep, worst point", memory_ratio, MEMORY_RATIO,
         at_most=True),
    Goal("memory grown over a million iterations", grown, GROWN_MEGABYTES, at_most=True,
         unit="MB"),
    waited("help", "`bptt --help`", 0.3),
    waited("first", "first `bptt train add` on a machine", 6),
    waited("later", "later `bptt train add`", 1),
)  # fmt: skip


def judge(lines: list[Line]) -> list[Line]:
    """All goals with what was measured."""
    return [goal.judged(lines) for goal in GOALS]
