"""The cells: the pointwise equations of one time step, forward and backward.

A cell is nothing but these equations. Matrix products, the walk through time and the sums over
time are the same for every cell and are written elsewhere: in NumPy in
`bptt.network.recurrence`, and compiled in `bptt.kernels`, both of which run the
functions below as they stand.

Legend: B batch, T steps, D inputs, H hidden, G gates per unit, K preactivations per unit.
U (D, G*H) input to hidden, W (H, G*H) hidden to hidden, b (K*H) biases.

For every unit a cell has K *preactivations*. The input feeds the first G of them, the hidden
state feeds G of them too, and every preactivation has a bias:

    a[k] = x U[k] + h_prev W[k] + b[k]                                                     (1)

With K = G (Elman, LSTM) input and hidden state feed the same ones. The GRU has K = G + 1 = 4: its
last gate needs the input's part and the hidden state's part apart, so the input feeds
preactivation 2 and the hidden state preactivation 3 (`Cell.recurrent`).

    forward(a, s)                     -> gates, s_new
    backward(gates, s, s_new, ds_new) -> da, ds

a, gates, da are tuples of K values, s and ds tuples of S states (h first, then the LSTM's cell
state c), each of shape (B, H). `gates` is what the backward pass needs of the step. `ds` holds
only what reaches the previous state directly; the part that comes through the product h W is
added by the walk through time:

    dh_prev = ds[0] + sum over k of da[k] W[k]^T                                           (2)
    dU[k] = sum over t of x_t^T da_t[k],  dW[k] = sum over t of h_(t-1)^T da_t[k],
    db[k] = sum over t of da_t[k]                                                          (3)

A cell may have parameters of its own, vectors p of H: their derivatives are summed up over time
and samples, dp = sum over t of dp_t (`Cell`).

The equations are derived in docs/derivation.md, under the same numbers.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from bptt.equations.functions import (
    Value,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
    zeros_like,
)
from bptt.equations.own import Equations, check_values, function_of, own_of, refuse_name
from bptt.equations.tracing import trace
from bptt.errors import BpttError, quoted_list

Values = tuple[Value, ...]
Forward = Callable[..., tuple[Values, Values]]
Backward = Callable[..., tuple[Values, ...]]


@dataclass(frozen=True)
class Parameter:
    """A parameter that a cell's equations read, beside U, W and b: a vector of H numbers for each
    layer, or, shared, one number for all units of a layer.

    initial: its initialiser, unless the network's settings give another. trained: whether it
    changes in training; one that is not has no gradient, and no optimizer touches it.
    """

    name: str
    initial: str = "zeros"
    shared: bool = False
    trained: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", self.name):
            raise BpttError(f"parameter name {self.name!r} is not allowed: give a word")


class Cell(Equations):
    """A cell: its name, the names of its preactivations and states, and its two equations.

    preactivations: K names, of which the input feeds the first G = `gates`; K is G, or, as for the
    GRU, G + 1 (see above). states: h first. forward, backward: see above. parameters: names of
    parameters, or `Parameter`s, that the equations read: they are handed to them as a last
    argument, a tuple p, and the backward equation returns their derivatives last:

        forward(a, s, p)                     -> gates, s_new
        backward(gates, s, s_new, ds_new, p) -> da, ds, dp

    Equations are written with + - * /, numbers, and the functions of `bptt.functions`. They must be
    finite where preactivations and states are zero. `bptt.check_cell` checks every derivative.

    >>> from bptt.equations.functions import tanh, tanh_backward
    >>> def forward(a, s):
    ...     h = tanh(a[0])
    ...     return (h,), (h,)
    >>> def backward(gates, s, s_new, ds_new):
    ...     return (tanh_backward(gates[0], ds_new[0]),), (0 * ds_new[0],)
    >>> Cell("plain", ("a",), 1, ("h",), forward, backward).name
    'plain'

    Raises BpttError, one line that names the cell and the equation, for anything else.
    """

    WHAT = "cell"
    preactivations: tuple[str, ...]
    gates: int
    states: tuple[str, ...]
    forward: Forward
    backward: Backward
    parameters: tuple[Parameter, ...]

    def __new__(
        cls, name: str, preactivations: Sequence[str], gates: int, states: Sequence[str],
        forward: Forward, backward: Backward, parameters: Sequence[str | Parameter] = (),
        *, built_in: bool = False,
    ) -> Self:  # fmt: skip
        """See above."""
        for what, names in (
            ("preactivations", preactivations), ("states", states), ("parameters", parameters),
        ):  # fmt: skip
            if not isinstance(names, list | tuple):
                raise BpttError(f"cell '{name}': {what} {names!r:.60} must be a tuple of names")
        fields: dict[str, Any] = {
            "preactivations": tuple(preactivations), "gates": gates, "states": tuple(states),
            "parameters": tuple(
                each if isinstance(each, Parameter) else Parameter(each) for each in parameters
            ),
        }  # fmt: skip
        described = None
        if not built_in:
            refuse_name(cls, name, [cell.name for cell in CELLS.values()])
            _check_fields(name, **fields)
            traced = _trace(name, forward, backward, **fields)
            described = {
                **fields, "parameters": [asdict(each) for each in fields["parameters"]], **traced
            }  # fmt: skip
            forward, backward = (function_of(traced[each]) for each in traced)
        cell = super().__new__(cls, name, described)
        cell._described = described
        for field, value in {**fields, "forward": forward, "backward": backward}.items():
            setattr(cell, field, value)
        if not built_in:
            _check_values(cell)
        return cell

    _described: dict[str, Any] | None

    def found_again(self) -> tuple[Any, ...]:
        """See `Equations.found_again`."""
        return cell_of, next(key for key, cell in CELLS.items() if cell is self)

    def plain(self) -> dict[str, Any]:
        """See `Equations.plain`."""
        assert self._described is not None
        return {"name": self.name, **self._described}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Self:
        """See `Equations.of_plain`."""
        given = {**values, "parameters": [Parameter(**each) for each in values["parameters"]]}
        given |= {each: function_of(values[each]) for each in ("forward", "backward")}
        return cls(**given)

    @property
    def recurrent(self) -> tuple[int, ...]:
        """The preactivations that the hidden state feeds, gate by gate (the input feeds 0..G-1)."""
        return (*range(self.gates - 1), len(self.preactivations) - 1)

    @cached_property
    def gates_are_states(self) -> bool:
        """Whether what the backward pass needs of a step besides the states is the next state."""
        found = []
        p = ((0.5,) * len(self.parameters),) if self.parameters else ()
        for value in (0.5, -0.5):  # what a comparison hands on of one of them
            a, s = (value,) * len(self.preactivations), (value,) * len(self.states)
            gates, after = self.forward(a, s, *p)
            found.append(len(gates) == len(after) and all(map(operator.is_, gates, after)))
        return all(found)

    @property
    def kept(self) -> int:
        """How many values of a unit and step the backward pass needs: its states and gates."""
        return len(self.states) + len(self.preactivations) * (not self.gates_are_states)

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The names of the G gates, in the column order of U and W."""
        return self.preactivations[: self.gates]

    @property
    def trained(self) -> tuple[int, ...]:
        """The numbers of its parameters that are trained."""
        return tuple(k for k, each in enumerate(self.parameters) if each.trained)


def _check_fields(
    name: str, preactivations: tuple[str, ...], gates: int, states: tuple[str, ...],
    parameters: tuple[Parameter, ...],
) -> None:  # fmt: skip
    """Raises BpttError unless a cell's names and numbers go together."""
    K = len(preactivations)
    if not isinstance(gates, int) or gates < 1 or K not in (gates, gates + 1):
        raise BpttError(
            f"cell '{name}' has {K} preactivations and gates {gates!r}: as many preactivations as "
            "gates are allowed, or one more"
        )
    if not states:
        raise BpttError(f"cell '{name}' has no state: give the names, h first")
    own = [parameter.name for parameter in parameters]
    for what, names in (
        ("preactivation", preactivations), ("state", states), ("parameter", tuple(own)),
    ):  # fmt: skip
        if len(set(names)) < len(names) or not all(isinstance(n, str) and n for n in names):
            raise BpttError(f"cell '{name}': {what} names {names} must be different words")
    taken = {"U", "W", "b", "V", "c", *(f"{state}0" for state in states)} & set(own)
    if taken:
        raise BpttError(
            f"cell '{name}': parameter '{min(taken)}' has the name of one that every network has: "
            "choose another"
        )


def _trace(
    name: str, forward: Forward, backward: Backward, preactivations: tuple[str, ...], gates: int,
    states: tuple[str, ...], parameters: tuple[Parameter, ...],
) -> dict[str, str]:  # fmt: skip
    """Both equations as source."""
    K, S, P = len(preactivations), len(states), len(parameters)
    own = {"p": P} if P else {}
    one: dict[str, None] = dict.fromkeys(preactivations)
    results: dict[str, Any] = {
        "da": one, "ds": dict.fromkeys(states),
        **({"dp": dict.fromkeys(each.name for each in parameters)} if P else {}),
    }  # fmt: skip
    return {
        "forward": trace(
            forward, {"a": K, "s": S, **own}, {"gates": one, "s_new": dict.fromkeys(states)},
            f"cell '{name}', forward",
        ),
        "backward": trace(
            backward, {"gates": K, "s": S, "s_new": S, "ds_new": S, **own}, results,
            f"cell '{name}', backward",
        ),
    }  # fmt: skip


def _check_values(cell: Cell) -> None:
    """Raises BpttError unless the equations give finite numbers where all is zero."""
    zero = np.zeros((2, 3), np.float32)
    a, s = (zero,) * len(cell.preactivations), (zero,) * len(cell.states)
    p = ((zero[0] + zero.dtype.type(0.5),) * len(cell.parameters),) if cell.parameters else ()
    with np.errstate(all="ignore"):
        gates, s_new = cell.forward(a, s, *p)
        back = cell.backward(gates, s, s_new, s, *p)
    parts = {"forward": (gates, s_new), "backward": back}
    for equation, values in parts.items():
        found = [each for part in values for each in part]
        check_values(f"cell '{cell.name}', {equation}", found, "preactivations and states")


# Elman network (Elman, "Finding structure in time", Cognitive Science 14, 1990).


def elman_tanh_forward(a: Values, s: Values) -> tuple[Values, Values]:
    """h = tanh(a)  (4)."""
    h = tanh(a[0])
    return (h,), (h,)


def elman_tanh_backward(
    gates: Values, s: Values, s_new: Values, ds_new: Values
) -> tuple[Values, Values]:
    """da = dh (1 - h^2)  (5)."""
    return (tanh_backward(gates[0], ds_new[0]),), (zeros_like(ds_new[0]),)


def elman_sigmoid_forward(a: Values, s: Values) -> tuple[Values, Values]:
    """h = sigmoid(a)  (6)."""
    h = sigmoid(a[0])
    return (h,), (h,)


def elman_sigmoid_backward(
    gates: Values, s: Values, s_new: Values, ds_new: Values
) -> tuple[Values, Values]:
    """da = dh h (1 - h)  (7)."""
    return (sigmoid_backward(gates[0], ds_new[0]),), (zeros_like(ds_new[0]),)


def elman_relu_forward(a: Values, s: Values) -> tuple[Values, Values]:
    """h = max(a, 0)  (8)."""
    h = relu(a[0])
    return (h,), (h,)


def elman_relu_backward(
    gates: Values, s: Values, s_new: Values, ds_new: Values
) -> tuple[Values, Values]:
    """da = dh where h > 0, else 0  (9)."""
    return (relu_backward(gates[0], ds_new[0]),), (zeros_like(ds_new[0]),)


# LSTM with forget gate (Hochreiter & Schmidhuber, Neural Computation 9, 1997; Gers, Schmidhuber &
# Cummins, Neural Computation 12, 2000). Gate order i, f, g, o, as PyTorch.


def lstm_forward(a: Values, s: Values) -> tuple[Values, Values]:
    """One step of the LSTM.

    i = sigmoid(a_i), f = sigmoid(a_f), g = tanh(a_g), o = sigmoid(a_o)  (10)
    c = f c_prev + i g                                                   (11)
    h = o tanh(c)                                                        (12)
    """
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])
    c = f * s[1] + i * g
    h = o * tanh(c)
    return (i, f, g, o), (h, c)


def lstm_backward(gates: Values, s: Values, s_new: Values, ds_new: Values) -> tuple[Values, Values]:
    """One step back through the LSTM.

    do = dh tanh(c);  dc += dh o (1 - tanh(c)^2)                         (13)
    di = dc g,  df = dc c_prev,  dg = dc i,  dc_prev = dc f              (14)
    and each gate back through its nonlinearity                          (15)
    """
    i, f, g, o = gates
    dh, dc = ds_new
    tanh_c = tanh(s_new[1])
    dc = dc + tanh_backward(tanh_c, dh * o)
    da_i = sigmoid_backward(i, dc * g)
    da_f = sigmoid_backward(f, dc * s[1])
    da_g = tanh_backward(g, dc * i)
    da_o = sigmoid_backward(o, dh * tanh_c)
    return (da_i, da_f, da_g, da_o), (zeros_like(dh), dc * f)


# GRU (Cho et al., EMNLP 2014) with the reset gate applied after the product, as PyTorch.
# Gate order r, z, n; preactivation 2 is the input's part of n, 3 the hidden state's part.


def gru_forward(a: Values, s: Values) -> tuple[Values, Values]:
    """One step of the GRU.

    r = sigmoid(a_r), z = sigmoid(a_z)                                   (16)
    n = tanh(a_n + r q)        with q the hidden state's part of n       (17)
    h = (1 - z) n + z h_prev = n + z (h_prev - n)                        (18)
    """
    r, z = sigmoid(a[0]), sigmoid(a[1])
    n = tanh(a[2] + r * a[3])
    h = n + z * (s[0] - n)
    return (r, z, n, a[3]), (h,)


def gru_backward(gates: Values, s: Values, s_new: Values, ds_new: Values) -> tuple[Values, Values]:
    """One step back through the GRU.

    dz = dh (h_prev - n),  dn = dh (1 - z),  dh_prev = dh z              (19)
    da_n = dn (1 - n^2),  dr = da_n q,  dq = da_n r                      (20)
    and r, z back through their sigmoids                                 (21)
    """
    r, z, n, q = gates
    dh = ds_new[0]
    da_n = tanh_backward(n, dh - dh * z)
    da_r = sigmoid_backward(r, da_n * q)
    da_z = sigmoid_backward(z, dh * (s[0] - n))
    return (da_r, da_z, da_n, da_n * r), (dh * z,)


ELMAN_TANH = Cell(
    "elman", ("a",), 1, ("h",), elman_tanh_forward, elman_tanh_backward, built_in=True
)
ELMAN_SIGMOID = Cell(
    "elman", ("a",), 1, ("h",), elman_sigmoid_forward, elman_sigmoid_backward, built_in=True
)
ELMAN_RELU = Cell(
    "elman", ("a",), 1, ("h",), elman_relu_forward, elman_relu_backward, built_in=True
)
LSTM = Cell("lstm", ("i", "f", "g", "o"), 4, ("h", "c"), lstm_forward, lstm_backward, built_in=True)
GRU = Cell("gru", ("r", "z", "n", "q"), 3, ("h",), gru_forward, gru_backward, built_in=True)

# Keyed by (cell, activation); only the Elman network lets its activation be chosen.
CELLS: dict[tuple[str, str], Cell] = {
    ("elman", "tanh"): ELMAN_TANH,
    ("elman", "sigmoid"): ELMAN_SIGMOID,
    ("elman", "relu"): ELMAN_RELU,
    ("lstm", "tanh"): LSTM,
    ("gru", "tanh"): GRU,
}


def cell_of(name: str, activation: str = "tanh") -> Cell:
    """The cell of that name and activation.

    Raises BpttError for an unknown name, or an activation the cell does not have.
    """
    if type(name) is str and type(activation) is str and (name, activation) in CELLS:
        return CELLS[name, activation]
    own: Cell | None = own_of(Cell, name)
    if own is not None:
        if activation != "tanh":
            raise BpttError(f"activation '{activation}' is of the Elman cell: leave it out")
        return own
    names = list(dict.fromkeys(cell for cell, _ in CELLS))
    if name not in names:
        raise BpttError(f"cell '{name}' is not known: choose one of {quoted_list(names)}")
    allowed = [function for cell, function in CELLS if cell == name]
    raise BpttError(
        f"activation '{activation}' is not one of cell '{name}': choose one of "
        f"{quoted_list(allowed)}"
    )
