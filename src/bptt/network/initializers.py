"""Initialisers: how each parameter's numbers are drawn before training.

An initialiser is written as text, in configurations, on the command line and in Python alike:

    normal(std, mean)   normal; std defaults to 1, mean to 0
    uniform(a)          uniform in (-a, a); a defaults to 1
    glorot_uniform      uniform in (-a, a), a = sqrt(6 / (fan_in + fan_out))
    glorot_normal       normal, std = sqrt(2 / (fan_in + fan_out))
    lecun_normal        normal, std = 1 / sqrt(fan_in)
    he_normal           normal, std = sqrt(2 / fan_in)
    orthogonal(gain)    a random matrix with orthonormal rows or columns; gain defaults to 1
    constant(value)     every number the same; zeros is constant(0)

Sources: Glorot & Bengio, AISTATS 2010, section 4.2.1; LeCun et al., "Efficient BackProp", 1998,
section 4.6; He et al., ICCV 2015, equation 10; Saxe et al., ICLR 2014.

("Xavier normal" is `glorot_normal` in most libraries, `lecun_normal` in some course reports, so
the name is left out.) Every gate's block is drawn on its own: for U fan_in is D, for W and V it
is H; fan_out is H, for V it is O. Where a layer reads both directions of the one below, fan_in of
U and of V is 2 H.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import real, table, whole
from bptt.arguments import text as text_of
from bptt.equations.cells import Cell
from bptt.errors import BpttError, quoted_list
from bptt.floats import usual
from bptt.network.parameters import Array
from bptt.network.structure import Structure

Block = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int], tuple[float, ...]], Block]


def _normal(rng: np.random.Generator, shape: tuple[int, int], std: float) -> Block:
    return std * rng.standard_normal(shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, int], gain: float) -> Block:
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform (Mezzadri, Notices AMS 54, 2007)
    return gain * (q if rows >= columns else q.T)


# For each name: default arguments, and the draw of a (fan_in, fan_out) block.
KINDS: dict[str, tuple[tuple[float, ...], Draw]] = {
    "normal": ((1.0, 0.0), lambda rng, s, a: a[1] + _normal(rng, s, a[0])),
    "uniform": ((1.0,), lambda rng, s, a: rng.uniform(-a[0], a[0], s)),
    "glorot_uniform": ((), lambda rng, s, a: rng.uniform(-1, 1, s) * math.sqrt(6 / sum(s))),
    "glorot_normal": ((), lambda rng, s, a: _normal(rng, s, math.sqrt(2 / sum(s)))),
    "lecun_normal": ((), lambda rng, s, a: _normal(rng, s, math.sqrt(1 / s[0]))),
    "he_normal": ((), lambda rng, s, a: _normal(rng, s, math.sqrt(2 / s[0]))),
    "orthogonal": ((1.0,), lambda rng, s, a: _orthogonal(rng, s, a[0])),
    "constant": ((0.0,), lambda rng, s, a: np.full(s, a[0])),
    "zeros": ((), lambda rng, s, a: np.zeros(s)),
}

# No number of a distribution may be larger, so that drawing cannot overflow.
LARGEST = 1e300

DEFAULTS = {"U": "glorot_uniform", "W": "orthogonal", "V": "glorot_uniform"}


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[str, tuple[float, ...]]:
    """'normal(0.1, 0.5)' as ('normal', (0.1, 0.5)). Raises BpttError if it cannot be read."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    name = match[1] if match else text
    if not match or name not in KINDS:
        raise BpttError(f"initialiser '{text}' is not known: choose one of {quoted_list(KINDS)}")
    defaults = KINDS[name][0]
    given = (match[2] or "").split(",") if (match[2] or "").strip() else []
    try:
        values = tuple(float(part) for part in given)
    except ValueError:
        values = (math.nan,)
    if len(values) > len(defaults) or not all(map(math.isfinite, values)):
        raise BpttError(
            f"initialiser '{text}' cannot be read: '{name}' takes "
            f"{len(defaults) or 'no'} finite number{'' if len(defaults) == 1 else 's'}"
        )
    values += defaults[len(values) :]
    if name in ("normal", "uniform") and not 0 <= values[0] < LARGEST:
        raise BpttError(f"initialiser '{text}': {values[0]:g} is not between 0 and {LARGEST:g}")
    return name, values


def _choice(structure: Structure, settings: Mapping[str, str], letter: str, gate: str) -> str:
    """The most particular setting there is: 'W.f', then 'W', then the default."""
    own = {each.name: each.initial for each in structure.equations.parameters}
    fallback = DEFAULTS.get(letter) or own.get(letter, "zeros")
    return settings.get(f"{letter}.{gate}", settings.get(letter, fallback))


def check(structure: Structure, settings: Mapping[str, str], forget_bias: float = 0.0) -> None:
    """Raises BpttError if a setting names no parameter or gate, an initialiser is not known, or
    there is no forget gate for its bias."""
    cell = structure.equations
    letters = {name.partition(".")[0] for name in structure.layout().shapes}
    for key, text in settings.items():
        letter, _, gate = key.partition(".")
        gates = cell.preactivations if letter == "b" else cell.gate_names
        if letter not in letters or (gate and (letter not in ("U", "W", "b") or gate not in gates)):
            raise BpttError(
                f"initialiser for '{key}': there is no such parameter; choose of "
                f"{quoted_list(sorted(letters))}; U, W and b may name a gate, as 'U.{gates[-1]}'"
            )
        parse(text_of(f"initialiser for '{key}'", text))
    if real("forget_bias", forget_bias) and not (_has_forget_gate(cell) and structure.bias):
        raise BpttError(f"forget_bias {forget_bias} needs an LSTM with biases: leave it out")
    for own in cell.parameters:
        parse(own.initial)


def _has_forget_gate(cell: Cell) -> bool:
    """Whether a preactivation f is a forget gate's: the LSTM's, or of a user's own cell."""
    return "f" in cell.preactivations


@usual
def initialize(
    structure: Structure,
    seed: int | np.random.Generator,
    settings: Mapping[str, str] | None = None,
    forget_bias: float = 0.0,
) -> Array:
    """A new flat parameter vector.

    settings: an initialiser by parameter letter ('W'), or by letter and gate ('W.f'); U and V
    default to glorot_uniform, W to orthogonal, biases and initial states to zeros. forget_bias:
    added to the LSTM's forget-gate bias (Gers et al. 2000 take 1).
    The numbers are drawn in float64, in the order of the flat vector, layer by layer, set by set,
    gate by gate, so that float32 networks are the rounded float64 ones.

    Raises BpttError for a setting that cannot be read.
    """
    settings = {} if settings is None else dict(table("initializers", settings))
    check(structure, settings, forget_bias)
    if not isinstance(seed, np.random.Generator):
        seed = whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    layout = structure.layout()
    flat = np.zeros(layout.size, structure.dtype)
    with np.errstate(over="ignore"):  # looked for below
        _fill(structure, layout.views(flat), rng, settings, forget_bias)
    if not np.isfinite(flat).all():
        raise BpttError(f"the initial weights do not fit {structure.dtype}: use smaller ones")
    return flat


def _fill(
    structure: Structure,
    views: Mapping[str, Array],
    rng: np.random.Generator,
    settings: Mapping[str, str],
    forget_bias: float,
) -> None:
    """Draw every parameter, block by block."""
    for name, view in views.items():
        letter = name.partition(".")[0]
        gates = _gates(structure, letter)
        rows = view.shape[-2] if letter in ("U", "W", "V") else 1
        for block in view.reshape(-1, rows, view.shape[-1]):
            width = block.shape[1] // len(gates)
            for column, gate in enumerate(gates):
                kind, arguments = parse(_choice(structure, settings, letter, gate))
                drawn = KINDS[kind][1](rng, (block.shape[0], width), arguments)
                if letter == "b" and gate == "f":
                    drawn = drawn + forget_bias
                block[:, column * width : (column + 1) * width] = drawn


def _gates(structure: Structure, letter: str) -> tuple[str, ...]:
    """The gates whose blocks stand side by side in a parameter ('' for one without gates)."""
    if letter in ("U", "W"):
        return structure.equations.gate_names
    return structure.equations.preactivations if letter == "b" else ("",)
