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

The equations are derived in docs/derivation.md, under the same numbers.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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
from bptt.errors import BpttError, quoted_list

Values = tuple[Value, ...]
Forward = Callable[[Values, Values], tuple[Values, Values]]
Backward = Callable[[Values, Values, Values, Values], tuple[Values, Values]]


@dataclass(frozen=True)
class Cell:
    """A cell's name, the names of its preactivations and states, and its two equations."""

    name: str
    preactivations: tuple[str, ...]
    gates: int
    states: tuple[str, ...]
    forward: Forward
    backward: Backward

    @property
    def recurrent(self) -> tuple[int, ...]:
        """The preactivations that the hidden state feeds, gate by gate (the input feeds 0..G-1)."""
        return (*range(self.gates - 1), len(self.preactivations) - 1)

    @cached_property
    def gates_are_states(self) -> bool:
        """Whether what the backward pass needs of a step besides the states is the next state."""
        found = []
        for value in (0.5, -0.5):  # what a comparison hands on of one of them
            a, s = (value,) * len(self.preactivations), (value,) * len(self.states)
            gates, after = self.forward(a, s)
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


ELMAN_TANH = Cell("elman", ("a",), 1, ("h",), elman_tanh_forward, elman_tanh_backward)
ELMAN_SIGMOID = Cell("elman", ("a",), 1, ("h",), elman_sigmoid_forward, elman_sigmoid_backward)
ELMAN_RELU = Cell("elman", ("a",), 1, ("h",), elman_relu_forward, elman_relu_backward)
LSTM = Cell("lstm", ("i", "f", "g", "o"), 4, ("h", "c"), lstm_forward, lstm_backward)
GRU = Cell("gru", ("r", "z", "n", "q"), 3, ("h",), gru_forward, gru_backward)

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
    names = list(dict.fromkeys(cell for cell, _ in CELLS))
    if name not in names:
        raise BpttError(f"cell '{name}' is not known: choose one of {quoted_list(names)}")
    allowed = [function for cell, function in CELLS if cell == name]
    if activation not in allowed:
        raise BpttError(
            f"activation '{activation}' is not one of cell '{name}': "
            f"choose one of {quoted_list(allowed)}"
        )
    return CELLS[name, activation]
