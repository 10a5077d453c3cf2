"""What disturbs a network while it trains, in NumPy: the specification of the kernels.

Random numbers are those of `bptt.equations.chance`: where and when they are used says what they
are. Outside of training nothing is disturbed.
"""

from typing import NamedTuple

import numpy as np

from bptt.arguments import shown, whole
from bptt.equations.chance import (
    GROUP,
    ITERATION_BITS,
    MASK,
    Words,
    counter_of,
    kept,
    normal,
    philox,
    seed_words,
    stream_of,
)
from bptt.errors import BpttError
from bptt.network.parameters import Array
from bptt.network.structure import Structure


class Chance(NamedTuple):
    """Which random numbers: those of a training's seed and iteration, counted from 0."""

    seed: int
    iteration: int


def chance_of(given: Chance | tuple[int, int] | None) -> Chance | None:
    """A seed and an iteration, checked. Raises BpttError for anything else."""
    if given is None:
        return None
    if not isinstance(given, tuple) or len(given) != 2:
        raise BpttError(f"chance {shown(given)} is not known: give (seed, iteration)")
    most = 2**ITERATION_BITS - 1
    return Chance(whole("seed", given[0], 0), whole("iteration", given[1], 0, most))


def disturbed(structure: Structure) -> bool:
    """Whether training a network needs random numbers."""
    return structure.noise > 0 or structure.dropout > 0 or structure.input_dropout > 0


def _words(
    chance: Chance, stream: int, steps: int, batch: int, units: int, first: int = 0
) -> tuple[Words, ...]:
    """Four words for each group of steps, sample and unit from the first: (groups, B, units)."""
    groups = np.arange(-(-steps // GROUP))[:, None, None]
    samples, unit = np.arange(batch)[:, None], first + np.arange(units)
    counter = counter_of(chance.iteration, groups, samples, unit, stream)
    return philox(counter, seed_words(chance.seed))


def _by_step(values: tuple[Array, ...], steps: int, dtype: str) -> Array:
    """(T, B, units) of the four values of each group."""
    together = np.stack(values, axis=1).astype(dtype)  # (groups, 4, B, units)
    return together.reshape(-1, *together.shape[2:])[:steps]


def noise_of(
    structure: Structure, chance: Chance | None, steps: int, batch: int
) -> list[tuple[Array, ...]] | None:
    """What is added to the states after each step, equation (39): for each recurrence S arrays
    (T, B, H); None where there is no noise. Units of a layer's reverse direction are counted from H
    on."""
    if chance is None or structure.noise == 0:
        return None
    found, H = [], structure.hidden
    for recurrence in range(structure.recurrences):
        states = []
        layer, direction = divmod(recurrence, structure.directions)
        for k in range(len(structure.equations.states)):
            words = _words(chance, stream_of(layer, k), steps, batch, H, direction * H)
            values = normal(words, structure.noise)
            states.append(_by_step(values, steps, structure.dtype))
        found.append(tuple(states))
    return found


def masks_of(
    structure: Structure, chance: Chance | None, steps: int, batch: int
) -> list[Array | None]:
    """What the inputs of each layer, and last of the output, are multiplied by, equation (40):
    (T, B, D) or (T, B, features), or None where nothing is dropped."""
    found: list[Array | None] = []
    for layer in range(structure.layers + 1):
        rate = structure.dropout if layer else structure.input_dropout
        if chance is None or rate == 0:
            found.append(None)
            continue
        # Of the last state alone there is one way up, whatever the number of steps.
        last = structure.readout == "last" and layer == structure.layers
        once = structure.dropout_mask == "sequence" or last
        units = structure.features if layer else structure.inputs
        words = _words(chance, stream_of(layer, MASK), 1 if once else steps, batch, units)
        mask = _by_step(kept(words, rate), 1 if once else steps, structure.dtype)
        found.append(np.broadcast_to(mask, (steps, batch, units)))
    return found
