"""Random numbers that depend on where they are used alone: noise on states, masks of dropout.

Every number is a function of the seed, the iteration, the layer, the sample, the step and the unit,
not of what was drawn before: training draws the same bits on any number of threads, in any shard,
alone or beside other models, interrupted or not, in both engines. The generator is Philox4x32-10
(Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3):
ten rounds of products mix a counter of 128 bits with a key of 64 into four words of 32 bits, which
serve four steps that follow each other. The counter is

    c0 = iteration mod 2^32                 c2 = sample
    c1 = iteration / 2^32 * 2^24 + step / 4 c3 = purpose * 2^27 + layer * 2^20 + unit

and the key comes from the seed (`seed_words`).

All arithmetic is in whole numbers or in float32, each operation rounded by itself, so that the
compiled versions (`bptt.kernels.machine.chance`) give the same bits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]  # each below 2^32
F32 = np.float32

# Philox: multipliers, and what is added to the key after each round.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF
# What numbers are for: noise on a state, by its number, or the mask of a layer's inputs.
MASK = 31
# How far the parts of a counter's word reach.
UNITS_BITS, LAYER_BITS, ITERATION_BITS, GROUP_BITS = 20, 7, 40, 24
# How many steps four words serve.
GROUP = 4

# ln(1 + z) = z - z^2 / 2 + z^3 (...), |z| < 0.42; sin and cos to pi / 4 (Moshier, Cephes, 1984).
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
LN2, LN2_REST = 0.693359375, -2.12194440e-4
ANGLE = np.pi / 2 / 2**24
ROOT_OF_HALF = 0x3F3504F3  # the bits of sqrt(1/2)


def seed_words(seed: int) -> tuple[int, int]:
    """The key of a seed: two words."""
    low, high = np.random.SeedSequence([seed, 2]).generate_state(2).tolist()
    return low, high


def stream_of(layer: int, purpose: int) -> int:
    """The part of c3 that says what a number is for."""
    return purpose << (UNITS_BITS + LAYER_BITS) | layer << UNITS_BITS


def counter_of(
    iteration: Any, group: Any, sample: Any, unit: Any, stream: int
) -> tuple[Words, Words, Words, Words]:
    """c0, c1, c2 and c3 above, for the steps from 4 * group; arrays are broadcast."""
    iteration = np.asarray(iteration, np.uint64)
    c1 = iteration >> np.uint64(32) << np.uint64(GROUP_BITS) | np.asarray(group, np.uint64)
    words = (iteration, c1, np.asarray(sample, np.uint64), np.asarray(unit + stream, np.uint64))
    c0, c1, c2, c3 = (word & np.uint64(WORD) for word in words)
    return c0, c1, c2, c3


def philox(counter: tuple[Words, Words, Words, Words], key: Any) -> tuple[Words, ...]:
    """Four words of a counter."""
    c0, c1, c2, c3 = counter
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    m0, m1 = (np.uint64(each) for each in MULTIPLIERS)
    low, half = np.uint64(WORD), np.uint64(32)
    for _ in range(ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = p1 >> half ^ c1 ^ k0, p1 & low, p0 >> half ^ c3 ^ k1, p0 & low
        k0, k1 = k0 + np.uint64(WEYL[0]) & low, k1 + np.uint64(WEYL[1]) & low
    return c0, c1, c2, c3


def _polynomial(x: NDArray[np.float32], coefficients: tuple[float, ...]) -> NDArray[np.float32]:
    """Horner's rule, the highest power first."""
    total: NDArray[np.float32] = np.full_like(x, coefficients[0])
    for each in coefficients[1:]:
        total = total * x + F32(each)
    return total


def log_of_share(word: Words) -> NDArray[np.float32]:
    """ln u of u = (the upper 24 bits of a word, made odd) / 2^24, between 0 and 1; within 2 units
    in the last place of float32 of -ln 2 or of itself."""
    number = (word >> np.uint64(8) | np.uint64(1)).astype(F32)
    bits = number.view(np.int32)
    above = bits - np.int32(ROOT_OF_HALF)
    power = (above >> np.int32(23)).astype(F32) - F32(24)
    z = (bits - (above & np.int32(-1 << 23))).view(F32) - F32(1)
    square = z * z
    y = _polynomial(z, LOG) * z * square
    y = y + power * F32(LN2_REST)
    y = y - F32(0.5) * square
    logarithm: NDArray[np.float32] = z + y + power * F32(LN2)
    return logarithm


def pair(one: Words, two: Words) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two independent standard normal numbers of two words (Box & Muller, Annals of Mathematical
    Statistics 29, 1958): a radius sqrt(-2 ln u), at most 5.8, and an angle, which is one of
    -pi / 4 to pi / 4, mirrored and turned round by two bits."""
    radius = np.sqrt(F32(-2) * log_of_share(one))
    part = (two & np.uint64(0xFFFFFF) | np.uint64(1)).astype(np.int32) - np.int32(1 << 23)
    angle = part.astype(F32) * F32(ANGLE)
    z = angle * angle
    sine = _polynomial(z, SIN) * z * angle + angle
    cosine = _polynomial(z, COS) * z * z - F32(0.5) * z + F32(1)
    mirrored = (two >> np.uint64(24) & np.uint64(1)).astype(np.bool_)
    sign = np.where(two >> np.uint64(25) & np.uint64(1), -radius, radius)
    x, y = np.where(mirrored, sine, cosine), np.where(mirrored, cosine, sine)
    return x * sign, y * sign


def normal(words: tuple[Words, ...], deviation: float) -> tuple[NDArray[np.float32], ...]:
    """Four normal numbers of mean 0 of four words: sigma epsilon of

    s_t = cell(a_t, s_(t-1)) + sigma epsilon_t                           (39)
    """
    found = (*pair(words[0], words[1]), *pair(words[2], words[3]))
    return tuple(each * F32(deviation) for each in found)


def kept(words: tuple[Words, ...], rate: float) -> tuple[NDArray[np.float32], ...]:
    """Four factors of four words: 0 with probability `rate`, else 1 / (1 - rate), whose mean is 1
    (inverted dropout; Srivastava et al., JMLR 15, 2014, section 10): r_t of

    x'_t = r_t x_t                                                       (40)
    """
    least, factor = np.uint64(least_kept(rate)), F32(1 / (1 - rate))
    return tuple(np.where(word >= least, factor, F32(0)) for word in words)


def least_kept(rate: float) -> int:
    """The least word that lets a number through."""
    return round(rate * 2**32)
