"""Gradient checks: central differences against a claimed gradient.

    numerical_i = (loss(theta + eps e_i) - loss(theta - eps e_i)) / (2 eps)

An entry passes if |numerical - claimed| <= max(absolute, relative * size), where size is the larger
of |numerical| and |claimed|: the two errors are judged together, because near zero a relative error
means nothing and for large entries an absolute one does not. The difference quotient itself is off
by about eps^2 times the third derivative, and by rounding of about 1e-16 * |loss| / eps; eps = 1e-5
balances the two for losses near 1 and leaves errors near 1e-10, well under the tolerances.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.arguments import instance, numbers, positive, real, reals, shown, table, whole
from bptt.errors import BpttError, BpttTypeError, quoted_list
from bptt.floats import usual
from bptt.network.network import Network

EPSILON = 1e-5
RELATIVE = 1e-6
ABSOLUTE = 1e-9
OPTIONS = ("epsilon", "relative", "absolute", "entries", "seed")  # of `check_network`

Loss = Callable[[Mapping[str, NDArray[Any]]], float]
Gate = Callable[[str, tuple[int, ...]], str]


@dataclass(frozen=True)
class Entry:
    """One entry that was compared."""

    parameter: str
    index: tuple[int, ...]
    claimed: float
    numerical: float
    gate: str = ""  # of a network's own parameters: which gate and unit the entry belongs to

    @property
    def difference(self) -> float:
        """|numerical - claimed|."""
        return abs(self.numerical - self.claimed)

    def __str__(self) -> str:
        place = f"{self.parameter}[{', '.join(map(str, self.index))}]"
        if self.gate:
            place += f" ({self.gate})"
        return f"{place}: claimed {self.claimed:.6g}, central difference {self.numerical:.6g}"


@dataclass(frozen=True)
class ParameterCheck:
    """A parameter's entries: how many were compared, how many failed, and the worst.

    error: the worst entry's difference in units of max(|numerical|, |claimed|, scale), where
    scale = absolute / relative is the size below which errors are taken as absolute.
    """

    name: str
    entries: int
    failed: tuple[Entry, ...]
    worst: Entry
    error: float


@dataclass(frozen=True)
class GradientCheck:
    """The result of a check, parameter by parameter; print it for a table."""

    parameters: tuple[ParameterCheck, ...]
    first_wrong_step: int | None = None

    @property
    def passed(self) -> bool:
        """Whether every entry passed."""
        return not any(parameter.failed for parameter in self.parameters)

    @property
    def worst(self) -> ParameterCheck:
        """The parameter with the largest error."""
        return max(self.parameters, key=lambda each: (len(each.failed) > 0, each.error))

    def __str__(self) -> str:
        lines = []
        for each in self.parameters:
            state = "ok  " if not each.failed else "FAIL"
            lines.append(
                f"{state} {each.name:8s} {each.entries:5d} entries  "
                f"{len(each.failed):5d} failed  worst error {each.error:.1e} at {each.worst}"
            )
        if self.first_wrong_step is not None:
            lines.append(
                f"going back through time, the first step whose gradient is wrong is step "
                f"{self.first_wrong_step}: look at what comes into it from step "
                f"{self.first_wrong_step + 1} or at its own equations"
            )
        return "\n".join(lines)


def check_gradients(
    loss: Loss,
    parameters: Mapping[str, NDArray[Any]],
    gradients: Mapping[str, NDArray[Any]],
    *,
    epsilon: float = EPSILON,
    relative: float = RELATIVE,
    absolute: float = ABSOLUTE,
    entries: int | None = None,
    seed: int = 0,
    time_axis: Mapping[str, int] | None = None,
    gate_of: Gate = lambda name, index: "",
) -> GradientCheck:
    """Compare anyone's gradients with central differences.

    loss(parameters) gives the loss as a number; it is called with copies, two calls an entry.
    parameters, gradients: arrays by name, of the same shapes; float64 is needed for the tolerances.
    entries: how many randomly chosen entries of each parameter, all by default.
    time_axis: for a sequence, the axis of a parameter that counts the time steps (an input sequence
    x of shape (B, T, D): {"x": 1}); the result then says from which step on, walking back through
    time, the gradient is wrong. gate_of: gives a word on an entry, for the report.
    An entry that fails is looked at again with smaller steps, down to epsilon / 100: a relu whose
    preactivation lies within epsilon of 0 has no central difference, and is not to blame for it.

    >>> w = np.array([1.0, 2.0])
    >>> check_gradients(lambda p: float((p["w"] ** 2).sum()), {"w": w}, {"w": 2 * w}).passed
    True

    Raises BpttError if names or shapes do not agree, a parameter is not float64, or the loss is
    not a finite number.
    """
    _check_options(epsilon, relative, absolute, entries)
    arrays, claims = _checked(parameters, gradients)
    axes = _checked_axes(time_axis, arrays)
    for name, function in (("loss", loss), ("gate_of", gate_of)):
        if not callable(function):
            raise BpttTypeError(f"{name} {shown(function)} must be a function")
    rng = np.random.default_rng(whole("seed", seed, 0))
    if not np.isfinite(first := _number(loss(arrays))):
        raise BpttError(f"the loss is {first}: a finite number is needed")
    checks, wrong_steps = [], []
    for name, values in arrays.items():
        claimed = claims[name].reshape(-1)
        chosen = np.arange(values.size)
        if entries is not None and entries < values.size:
            chosen = np.sort(rng.choice(values.size, entries, replace=False))
        found = []
        for place in chosen:
            index = tuple(int(i) for i in np.unravel_index(place, values.shape))
            gate = gate_of(name, index)
            for step in (epsilon, epsilon / 10, epsilon / 100):
                numerical = _difference(loss, arrays, values.reshape(-1), int(place), step)
                entry = Entry(name, index, float(claimed[place]), numerical, gate)
                if _error(entry, absolute / relative) <= relative:
                    break
            found.append(entry)
        checks.append(_judge(name, found, relative, absolute))
        if name in axes:
            wrong_steps += [entry.index[axes[name]] for entry in checks[-1].failed]
    return GradientCheck(tuple(checks), max(wrong_steps, default=None))


def _check_options(epsilon: float, relative: float, absolute: float, entries: int | None) -> None:
    positive("epsilon", epsilon)
    if not 0 < real("relative", relative) < 1:
        raise BpttError(f"relative {relative} must lie between 0 and 1: else all pass, or none")
    if real("absolute", absolute) < 0:
        raise BpttError(f"absolute {absolute} must not be negative")
    if entries is not None:
        whole("entries", entries, 1)


def _checked_axes(
    time_axis: Mapping[str, int] | None, arrays: Mapping[str, NDArray[Any]]
) -> Mapping[str, int]:
    """The axes of time, once there are such axes."""
    axes = {} if time_axis is None else table("time_axis", time_axis)
    for name, axis in axes.items():
        dimensions = arrays[name].ndim if name in arrays else 0
        if not -dimensions <= whole(f"time_axis of '{name}'", axis) < dimensions:
            raise BpttError(f"time_axis: there is no axis {axis} of a parameter '{name}'")
    return axes


def _number(loss: Any) -> float:
    """What a loss function gives, if it is a number."""
    if not isinstance(loss, int | float | np.number | np.ndarray) or np.ndim(loss) != 0:
        raise BpttTypeError(f"the loss is {shown(loss)}: a finite number is needed")
    return float(numbers("the loss", loss))


def _checked(
    parameters: Mapping[str, NDArray[Any]], gradients: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Copies of the parameters and the gradients, once everything fits."""
    if not table("parameters", parameters):
        raise BpttError("there are no parameters to check: give at least one")
    table("gradients", gradients)
    for name in parameters:
        if name not in gradients:
            raise BpttError(f"there is no gradient of parameter '{name}': give one of its shape")
    for name in gradients:
        if name not in parameters:
            raise BpttError(f"there is no parameter '{name}', of which a gradient is given")
    arrays, claims = {}, {}
    for name, value in parameters.items():
        if name not in gradients:
            raise BpttError(f"there is no gradient of parameter '{name}': give one of its shape")
        array = numbers(f"parameter '{name}'", value)
        claimed = reals(f"the gradient of '{name}'", gradients[name], "float64")
        if array.dtype != np.float64:
            raise BpttError(f"parameter '{name}' is {array.dtype}: convert it to float64")
        if not array.size:
            raise BpttError(f"parameter '{name}' has no entries: leave it out")
        if claimed.shape != array.shape:
            raise BpttError(
                f"the gradient of '{name}' has shape {claimed.shape}: "
                f"{array.shape} is needed, as the parameter"
            )
        arrays[name], claims[name] = array.copy(), claimed
    return arrays, claims


def _difference(
    loss: Loss,
    arrays: Mapping[str, NDArray[np.float64]],
    flat: NDArray[np.float64],
    place: int,
    epsilon: float,
) -> float:
    """The central difference at one entry; `flat` is a view of one of `arrays`."""
    kept = flat[place]
    flat[place] = kept + epsilon
    above = _number(loss(arrays))
    flat[place] = kept - epsilon
    below = _number(loss(arrays))
    flat[place] = kept
    return (above - below) / (2 * epsilon)


def _error(entry: Entry, scale: float) -> float:
    """The difference in units of max(|claimed|, |numerical|, scale); NaN is the worst there is."""
    size = max(abs(entry.claimed), abs(entry.numerical), scale)
    value = entry.difference / size if size else 0.0  # where all are 0, and must be
    return value if np.isfinite(value) else np.inf


def _judge(name: str, found: list[Entry], relative: float, absolute: float) -> ParameterCheck:
    scale = absolute / relative
    failed = tuple(entry for entry in found if not _error(entry, scale) <= relative)
    worst = max(found, key=lambda entry: _error(entry, scale))
    return ParameterCheck(name, len(found), failed, worst, _error(worst, scale))


@usual
def check_network(
    network: Network,
    x: NDArray[Any],
    y: NDArray[Any],
    lengths: NDArray[Any] | None = None,
    state: NDArray[Any] | None = None,
    chance: tuple[int, int] | None = None,
    **options: Any,
) -> GradientCheck:
    """Check a network's own gradients: of every parameter that is trained, the inputs and the
    initial state.

    The state is checked where one is handed in. chance: disturbed so, as of `Network.gradient`, by
    default not. Options: epsilon, relative,
    absolute, entries and seed, as of `check_gradients`. Raises BpttError
    for a float32 network: differences need float64.
    """
    for name in options:
        if name not in OPTIONS:
            raise BpttError(f"option '{name}' is not known: choose of {quoted_list(OPTIONS)}")
    if instance("network", network, Network, "a bptt.Network").structure.dtype != "float64":
        raise BpttError("gradient checks need a float64 network: make it with dtype='float64'")
    found = network.gradient(x, y, lengths, state, inputs=True, chance=chance)
    layout = network.structure.layout()
    trained = list(layout.shapes)[: len(layout.shapes) - layout.fixed]
    values: dict[str, NDArray[Any]] = {name: network.parameters[name] for name in trained}
    gradients: dict[str, NDArray[Any]] = {name: found.parameters[name] for name in trained}
    if state is not None:
        for name in [
            f"{each}0" for each in network.structure.equations.states
        ]:  # a state handed in stands in for them
            for each in [each for each in values if each.partition(".")[0] == name]:
                del values[each], gradients[each]
        values["state"], gradients["state"] = np.asarray(state, np.float64), found.state
    if found.x is not None:
        values["x"], gradients["x"] = np.asarray(x, np.float64), found.x
    probe = Network(network.structure, theta=network.theta.copy(), engine=network.engine)

    def loss(arrays: Mapping[str, NDArray[Any]]) -> float:
        for name, view in probe.parameters.items():
            if name in arrays:
                view[...] = arrays[name]
        state_now = arrays.get("state", state)
        return probe.loss(arrays.get("x", x), y, lengths, state_now, chance=chance)

    def gate_of(name: str, index: tuple[int, ...]) -> str:
        letter, cell = name.partition(".")[0], network.structure.equations
        if letter not in ("U", "W", "b") or len(cell.preactivations) == 1:
            return ""
        gate, unit = divmod(index[-1], network.structure.hidden)
        names = cell.preactivations if letter == "b" else cell.gate_names
        return f"gate {names[gate]}, unit {unit}"

    axes = {"x": 1} if found.x is not None else None
    return check_gradients(loss, values, gradients, time_axis=axes, gate_of=gate_of, **options)
