"""The check that every file goes through: what it does, set against the network, step by step.

Every input is run by two players, one of the network itself in float64 and one of the file:
from the reset state at once; step by step; split at random places with the state handed over to
another instance; two instances in turns; and after a reset. Of networks in both directions, which
have no step by itself, sequences of several lengths are run instead, after others. Inputs are like
the training's, zero, and large.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.model import Model
from bptt.exchange.players import Ours, Player

Array = NDArray[np.floating]

STEPS = 200  # of each of the three inputs, each way
BOUND = 1e30
LARGE = 30.0  # times the size of ordinary inputs
# Of a file that is run in float64 by its own equations: only the order of sums differs. Of one
# that is run in float32: rounding, which a network of its size may carry on.
DOUBLE_LIMIT, SINGLE_LIMIT = 1e-9, 1e-5


@dataclass(frozen=True)
class Checked:
    """What a check found: the worst difference relative to max(1, |output|), on how many steps."""

    worst: float
    steps: int
    limit: float
    words: str = ""
    ways: str = "state carried, restart equal"

    @property
    def passed(self) -> bool:
        """Whether the worst difference is within the limit (NaN is not)."""
        return bool(self.worst <= self.limit)

    def __str__(self) -> str:
        line = f"{self.steps:,} steps, worst difference {self.worst:.1e} (limit {self.limit:.0e})"
        line = f"verified: {line}, {self.ways}" if self.passed else f"FAILED: {line}"
        return f"{line}; {self.words}" if self.words else line


def inputs_like(
    model: Model, given: Array | None, seed: int = 0, steps: int = STEPS
) -> list[Array]:
    """Inputs (T, D) to check with: like the training's (those given, or random), zero, large."""
    D, rng = model.structure.inputs, np.random.default_rng([seed, 19])
    if model.ids:
        ordinary = np.eye(D)[rng.integers(0, D, steps)]
    elif given is not None:
        flat = np.asarray(given, np.float64).reshape(-1, D)
        first = int(rng.integers(0, max(len(flat) - steps, 0) + 1))
        ordinary = np.resize(flat[first : first + steps], (steps, D))
    else:
        ordinary = rng.standard_normal((steps, D))
        if model.scaling:
            ordinary = ordinary / model.scaling.input_scale + model.scaling.input_shift
    kinds = [ordinary, np.zeros((steps, D)), ordinary * LARGE]
    return [kind.astype(np.float32).astype(np.float64) for kind in kinds]


def _apart(a: Array, b: Array) -> float:
    """The largest difference relative to max(1, |b|); NaN if the shapes are not equal."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return float("nan")
    small = np.abs(b) < BOUND  # a relu network may go beyond what float32 holds
    return float(np.max(np.abs(a - b)[small] / np.maximum(1, np.abs(b[small])), initial=0))


def _ways(make: Callable[[], Player], x: Array, seed: int) -> list[Array]:
    """The outputs (T, O) for x by every way of going through it."""
    rng = np.random.default_rng([seed, len(x)])
    whole = make()
    whole.reset()
    found = [whole.run(x)]
    one, other = make(), make()
    one.reset()
    other.reset()
    in_turns = [(one.step(row), other.step(row)) for row in x]
    found += [np.array([pair[k] for pair in in_turns]) for k in (0, 1)]
    places = np.sort(rng.integers(1, max(len(x), 2), 3))
    parts, player = [], whole
    player.reset()
    for part in np.split(x, places):
        if len(part):
            parts.append(player.run(part))
        state, player = player.keep(), make()
        player.put_back(state)
    found.append(np.concatenate(parts))
    one.run(x[: len(x) // 2])
    one.reset()
    found.append(one.run(x))
    return found


def _whole_ways(make: Callable[[], Player], x: Array, seed: int) -> list[Array]:
    """The same where there are whole sequences alone: by two instances, one of which has run
    another before."""
    one, other = make(), make()
    one.reset()
    other.run(x[: 1 + len(x) // 3])
    other.reset()
    return [one.run(x), other.run(x)]


def compare(
    model: Model,
    make: Callable[[], Player],
    limit: float,
    inputs: Array | None = None,
    words: str = "",
    amplified: float = 0.0,
    steps: int = STEPS,
) -> Checked:
    """Set a file's player against the network in float64.

    amplified: the size of a change in every weight (of float32's rounding, say) that the file may
    make; the limit is then at least what such a change does to this network's outputs, for
    networks that carry small changes on.
    """
    worst, count = 0.0, 0
    ours, ways = Ours(model), _ways
    given = inputs_like(model, inputs, steps=steps)
    both = model.structure.bidirectional
    if both:
        ways, given = _whole_ways, [x[:n] for x in given for n in (len(x), len(x) // 2 + 1, 1)]
    for seed, x in enumerate(given):
        ours.reset()
        wanted = ours.run(x)
        if amplified:
            limit = max(limit, _sensitivity(model, x, wanted, amplified))
        for found in ways(make, x, seed):
            difference = _apart(found, wanted)
            worst = difference if not difference <= worst else worst
            count += len(x)
    if both:
        return Checked(worst, count, limit, words, "whole sequences of several lengths")
    return Checked(worst, count, limit, words)


def _sensitivity(model: Model, x: Array, wanted: Array, size: float) -> float:
    """How far the outputs go if every weight changes by a share `size` of itself, either way."""
    rng, far = np.random.default_rng(5), 0.0
    for _ in range(3):
        changed = {
            name: w * (1 + size * rng.choice([-1.0, 1.0], w.shape)) + size * rng.choice([-1, 1])
            for name, w in model.weights.items()
        }
        player = Ours(Model(model.structure, changed, model.skip, model.scaling))
        far = max(far, _apart(player.run(x), wanted))
    return 4 * far


class UnverifiedError(BpttError):
    """A file does not do what its network does."""


def insist(checked: Checked, what: str) -> Checked:
    """The check, or BpttError if it failed."""
    if not checked.passed:
        raise UnverifiedError(
            f"{what} does not do what the network does: worst difference {checked.worst:.1e} on "
            f"{checked.steps:,} steps, at most {checked.limit:.0e} is allowed; nothing was written"
        )
    return checked
