"""Optimizers: one elementwise update of the flat parameter vector per iteration.

Each optimizer is two pointwise equations over a parameter theta, its gradient g and up to two
state vectors s0 and s1:

    prepare(theta, s0, k)          -> theta, s0          before the gradient is taken
    update(theta, g, s0, s1, k)    -> theta, s0, s1      with the gradient taken at `theta`

k is a tuple of `COEFFICIENTS` numbers that may change from iteration to iteration (the learning
rate of a schedule, Adam's bias corrections); it is worked out here, in float64, for many
iterations at once, so that compiled loops only read it. `prepare` is what makes Nesterov's method:
the velocity is applied first and the gradient is taken at the looked-ahead point (Sutskever et al.,
ICML 2013, section 2, there equations 3 and 4).
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.arguments import check_types, reals, whole
from bptt.equations.functions import Value, sqrt
from bptt.equations.own import Equations, as_field, check_values, function_of, own_of, refuse_name
from bptt.equations.tracing import trace
from bptt.errors import BpttError, quoted_list
from bptt.floats import usual
from bptt.options import Option

# Of so many iterations the numbers are worked out at a time, at most.
MOST_AT_ONCE = 10**9

Values = tuple[Value, ...]
Prepare = Callable[[Value, Value, Values], tuple[Value, Value]]
Update = Callable[[Value, Value, Value, Value, Values], tuple[Value, Value, Value]]

COEFFICIENTS = 8
# The codes of a user's own rule, and of one that looks ahead.
OWN, OWN_AHEAD = -1, -2


def no_preparation(theta: Value, s0: Value, k: Values) -> tuple[Value, Value]:
    """Nothing happens before the gradient is taken."""
    return theta, s0


def look_ahead(theta: Value, s0: Value, k: Values) -> tuple[Value, Value]:
    """v = mu v,  theta = theta + v  (27), with k[1] = mu."""
    v = k[1] * s0
    return theta + v, v


def sgd_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """theta = theta - lr g  (28)."""
    return theta - k[0] * g, s0, s1


def momentum_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """v = mu v - lr g,  theta = theta + v  (29)."""
    v = k[1] * s0 - k[0] * g
    return theta + v, v, s1


def nesterov_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """After (27):  v = v - lr g,  theta = theta - lr g  (30)."""
    step = k[0] * g
    return theta - step, s0 - step, s1


def rmsprop_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """m = rho m + (1 - rho) g^2,  theta = theta - lr g / (sqrt(m) + eps)  (31)."""
    m = k[2] * s1 + k[3] * g * g
    return theta - k[0] * g / (sqrt(m) + k[4]), s0, m


def rmsprop_nesterov_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """After (27), m as in (31):  step = lr g / (sqrt(m) + eps), v -= step, theta -= step  (32)."""
    m = k[2] * s1 + k[3] * g * g
    step = k[0] * g / (sqrt(m) + k[4])
    return theta - step, s0 - step, m


def adagrad_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """m = m + g^2,  theta = theta - lr g / (sqrt(m) + eps)  (33)."""
    m = s0 + g * g
    return theta - k[0] * g / (sqrt(m) + k[4]), m, s1


def adam_update(theta: Value, g: Value, s0: Value, s1: Value, k: Values) -> Values:
    """Adam; with weight decay wd, AdamW.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
    theta = (1 - lr wd) theta - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)  (34)

    k = lr / (1 - b1^t), b1, b2, 1 / sqrt(1 - b2^t), eps, lr wd, 1 - b1, 1 - b2.
    """
    m = k[1] * s0 + k[6] * g
    v = k[2] * s1 + k[7] * g * g
    return theta - k[5] * theta - k[0] * m / (sqrt(v) * k[3] + k[4]), m, v


class Rule(Equations):
    """The rule of an optimizer: `update(theta, g, s0, s1, k) -> theta, s0, s1`, elementwise.

    name: given as `Optimizer(kind=rule)`. Which of s0 and s1 it keeps follows from the equation:
    those that it does not hand back as they were given. They begin with zero. looks_ahead: before
    the gradient is taken, theta moves by the velocity s0 (27). The equation is written as a cell's
    (`bptt.equations.cells.Cell`). Of a user's own rule k is

        k = lr, momentum, decay, n, epsilon, lr * weight_decay, beta1, beta2

    the optimizer's settings, lr with its schedule, and n the number of the iteration, from 1.

    >>> def update(theta, g, s0, s1, k):
    ...     return theta - k[0] * g / (1e-3 + abs(g)), s0, s1
    >>> Optimizer(kind=Rule("normalised", update), learning_rate=0.01).rule.states
    ()

    `code` is how compiled kernels know it. Raises BpttError, one line that names it, for anything
    else.
    """

    WHAT = "rule"
    update: Update
    looks_ahead: bool
    code: int

    def __new__(
        cls, name: str, update: Update, looks_ahead: bool = False, *, code: int = OWN
    ) -> Self:
        """See above."""
        described = None
        if code == OWN:
            refuse_name(cls, name, list(RULES))
            results = dict.fromkeys(("theta", "s0", "s1"))
            given = {"theta": None, "g": None, "s0": None, "s1": None, "k": COEFFICIENTS}
            traced = trace(update, given, results, f"rule '{name}'")
            described = {"update": traced, "looks_ahead": bool(looks_ahead)}
            update = function_of(traced)
            code = OWN_AHEAD if looks_ahead else OWN
        rule = super().__new__(cls, name, described)
        rule.update, rule.looks_ahead, rule.code = update, bool(looks_ahead), code
        rule._described = described
        if described is not None:
            zero, one = np.zeros((2, 3), np.float32), np.float32(1)
            with np.errstate(all="ignore"):
                check_values(
                    f"rule '{name}'", update(zero, zero, zero, zero, (one,) * COEFFICIENTS),
                    "theta, g, s0 and s1",
                )  # fmt: skip
        return rule

    _described: dict[str, Any] | None

    def found_again(self) -> tuple[Any, ...]:
        """See `Equations.found_again`."""
        return rule_of, (self.name,)

    def plain(self) -> dict[str, Any]:
        """See `Equations.plain`."""
        assert self._described is not None
        return {"name": self.name, **self._described}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Self:
        """See `Equations.of_plain`."""
        return cls(values["name"], function_of(values["update"]), values["looks_ahead"])

    @property
    def prepare(self) -> Prepare:
        """What happens before the gradient is taken."""
        return look_ahead if self.looks_ahead else no_preparation

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Which of s0 and s1 it keeps: those that it does not hand back as they were given."""
        s0, s1 = 0.25, 0.5
        ks = (1.0,) * COEFFICIENTS
        _, ready = self.prepare(1.0, s0, ks)
        _, after0, after1 = self.update(1.0, 1.0, ready, s1, ks)
        changed = {"s0": after0 is not s0, "s1": after1 is not s1}
        return tuple(name for name, changes in changed.items() if changes)


RULES: dict[str, Rule] = {
    "sgd": Rule("sgd", sgd_update, code=0),
    "momentum": Rule("momentum", momentum_update, code=1),
    "nesterov": Rule("nesterov", nesterov_update, True, code=2),
    "rmsprop": Rule("rmsprop", rmsprop_update, code=3),
    "rmsprop_nesterov": Rule("rmsprop_nesterov", rmsprop_nesterov_update, True, code=4),
    "adagrad": Rule("adagrad", adagrad_update, code=5),
    "adam": Rule("adam", adam_update, code=6),
    "adamw": Rule("adamw", adam_update, code=6),
}


def rule_of(kind: str) -> Rule:
    """The rule of that name. Raises BpttError for one that is not there."""
    own: Rule | None = own_of(Rule, kind)
    if own is not None:
        return own
    if kind not in RULES:
        raise BpttError(f"optimizer '{kind}' is not known: choose one of {quoted_list(RULES)}")
    return RULES[kind]


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The factor on the learning rate at each iteration (counted from 0).

    kind 'constant': 1. 'step': factor ** (iteration // every). 'cosine': from 1 down to `minimum`
    along half a cosine over `iterations`, then `minimum` (Loshchilov & Hutter, ICLR 2017, eq. 5,
    without restarts). Over the first `warmup` iterations the factor is also multiplied by
    (iteration + 1) / warmup.
    """

    kind: str = "constant"
    every: int = 1000
    factor: float = 0.5
    iterations: int = 10000
    minimum: float = 0.0
    warmup: int = 0

    KINDS: ClassVar[tuple[str, ...]] = ("constant", "step", "cosine")

    def __post_init__(self) -> None:
        check_types(self)
        if self.kind not in self.KINDS:
            raise BpttError(
                f"schedule '{self.kind}' is not known: choose one of {quoted_list(self.KINDS)}"
            )
        for name in ("every", "iterations"):
            if getattr(self, name) < 1:
                raise BpttError(f"schedule {name} {getattr(self, name)} must be at least 1")
        for name in ("warmup", "factor", "minimum"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise BpttError(f"schedule {name} {getattr(self, name)} must be 0 or more")

    def factors(self, iterations: NDArray[np.integer]) -> NDArray[np.float64]:
        """The factor at each of these iteration numbers."""
        n: NDArray[np.float64] = reals("iterations", iterations, "float64")
        if self.kind == "step":
            factors = np.power(self.factor, n // self.every)
        elif self.kind == "cosine":
            progress = np.minimum(n / self.iterations, 1.0)
            factors = self.minimum + (1 - self.minimum) * 0.5 * (1 + np.cos(np.pi * progress))
        else:
            factors = np.ones_like(n)
        if self.warmup:
            factors = factors * np.minimum((n + 1) / self.warmup, 1.0)
        return factors


class Optimizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An optimizer's settings. `kind` is one of `RULES`, or a `Rule`; the others are read
    where they apply.

    learning_rate: lr. momentum: mu (momentum, nesterov, rmsprop_nesterov). decay: rho of RMSprop.
    beta1, beta2: Adam, AdamW. epsilon: added to the root (RMSprop, Adagrad, Adam, AdamW).
    weight_decay: AdamW's decoupled decay wd (Loshchilov & Hutter, ICLR 2019, algorithm 2).
    clip_value: every entry of the gradient is clipped to [-clip_value, clip_value] first.
    clip_norm: then a gradient whose Euclidean norm is larger is scaled down to it.

    >>> Optimizer(kind="sgd", learning_rate=0.1).coefficients(0, 2)[:, 0]
    array([0.1, 0.1])
    """

    kind: Annotated[
        str,
        Option(
            "sgd, momentum, nesterov, rmsprop, rmsprop_nesterov, adagrad, adam or adamw.",
            name="optimizer",
        ),
    ] = "sgd"
    learning_rate: Annotated[float, Option("Learning rate.")] = 0.1
    momentum: Annotated[float, Option("Of momentum, nesterov and rmsprop_nesterov.")] = 0.9
    decay: Annotated[float, Option("Of the mean of squares: rmsprop, rmsprop_nesterov.")] = 0.9
    beta1: Annotated[float, Option("Adam: decay of the mean.")] = 0.9
    beta2: Annotated[float, Option("Adam: decay of the mean of squares.")] = 0.999
    epsilon: Annotated[float, Option("Added to the root: RMSprop, Adagrad, Adam.")] = 1e-8
    weight_decay: Annotated[float, Option("Of adamw.")] = 0.01
    clip_value: Annotated[float | None, Option("Largest entry of a gradient.")] = None
    clip_norm: Annotated[float | None, Option("Largest norm of a gradient.")] = None
    schedule: Annotated[Schedule, Option("Of the learning rate, as a table.")] = Schedule()

    def __post_init__(self) -> None:
        check_types(self, "kind")
        msgspec.structs.force_setattr(self, "kind", as_field(rule_of(self.kind)))
        for name in ("learning_rate", "epsilon", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise BpttError(f"{name} {value} must be a finite number, not negative")
        for name in ("momentum", "decay", "beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise BpttError(f"{name} {value} must be at least 0 and below 1")
        for name in ("clip_value", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise BpttError(
                    f"{name} {value} must be positive and finite; leave it out for no clipping"
                )

    @property
    def rule(self) -> Rule:
        """The equations."""
        return rule_of(self.kind)

    @property
    def clips(self) -> tuple[float, float]:
        """clip_value and clip_norm, infinite where there is none."""
        infinity = float("inf")
        return self.clip_value or infinity, self.clip_norm or infinity

    @usual
    def coefficients(self, first: int, count: int) -> NDArray[np.float64]:
        """The numbers k of iterations first..first+count-1, shape (count, COEFFICIENTS)."""
        first, count = whole("first", first, 0), whole("count", count, 0, MOST_AT_ONCE)
        n = np.arange(first, first + count)
        rate = self.learning_rate * self.schedule.factors(n)
        k = np.zeros((count, COEFFICIENTS))
        k[:, 0] = rate
        k[:, 4] = self.epsilon
        if self.rule.code < 0:
            k[:, 1], k[:, 2], k[:, 3] = self.momentum, self.decay, n + 1.0
            k[:, 5], k[:, 6], k[:, 7] = rate * self.weight_decay, self.beta1, self.beta2
        elif self.kind in ("adam", "adamw"):
            k[:, 0] = rate / (1 - self.beta1 ** (n + 1.0))
            k[:, 1], k[:, 2] = self.beta1, self.beta2
            k[:, 3] = 1 / np.sqrt(1 - self.beta2 ** (n + 1.0))
            k[:, 5] = rate * self.weight_decay if self.kind == "adamw" else 0.0
            k[:, 6], k[:, 7] = 1 - self.beta1, 1 - self.beta2
        else:
            k[:, 1] = self.momentum
            k[:, 2], k[:, 3] = self.decay, 1 - self.decay
        return k


def clip(g: NDArray[np.floating], clip_value: float, clip_norm: float) -> float:
    """Clip a gradient in place, by value and then by norm; returns its norm before any clipping."""
    norm = float(np.sqrt(np.sum(np.square(g, dtype=np.float64))))
    clipped = norm
    if clip_value < np.inf:
        np.clip(g, -clip_value, clip_value, out=g)
        clipped = float(np.sqrt(np.sum(np.square(g, dtype=np.float64))))
    if clipped > clip_norm:
        g *= g.dtype.type(clip_norm / clipped)
    return norm
