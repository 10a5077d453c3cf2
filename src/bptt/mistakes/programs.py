"""The way back through time as a student writes it: NumPy alone, one layer, one function a cell.

They are written apart from `bptt.network.recurrence`, to be read and to be broken
(`bptt.mistakes.table`). All have the same arguments and results:

    p        weights by name: U (D, G*H), W (H, G*H), b (K*H), V (H, O), c (O)
    x        inputs (T, B, D)
    states   the cell's states, h first, (T + 1, B, H) each; [0] is the initial one
    gates    what the cell's equations call gates, (T, B, H) each
    do       derivative of the loss by the output preactivations (T, B, O)

They give the derivatives by every weight, by x, and by the initial states. Equation numbers are
those of docs/derivation.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
States = tuple[Array, ...]
Program = Callable[[Mapping[str, Array], Array, States, States, Array], Arrays]


def elman(p: Mapping[str, Array], x: Array, states: States, gates: States, do: Array) -> Arrays:
    """The way back through an Elman network with tanh."""
    (h,) = states
    d = {name: np.zeros_like(value) for name, value in p.items()}
    d["x"] = np.zeros_like(x)
    dh_next = np.zeros_like(h[0])  # what comes back from step t + 1
    for t in reversed(range(len(x))):
        d["V"] += h[t + 1].T @ do[t]  # (22)
        d["c"] += do[t].sum(axis=0)
        dh = do[t] @ p["V"].T + dh_next
        da = dh * (1 - h[t + 1] ** 2)  # (5)
        d["U"] += x[t].T @ da  # (3)
        d["W"] += h[t].T @ da
        d["b"] += da.sum(axis=0)
        d["x"][t] = da @ p["U"].T
        dh_next = da @ p["W"].T  # (2)
    d["h0"] = dh_next
    return d


def lstm(p: Mapping[str, Array], x: Array, states: States, gates: States, do: Array) -> Arrays:
    """The way back through an LSTM."""
    h, c = states
    i, f, g, o = gates
    d = {name: np.zeros_like(value) for name, value in p.items()}
    d["x"] = np.zeros_like(x)
    dh_next, dc_next = np.zeros_like(h[0]), np.zeros_like(c[0])  # what comes back from step t + 1
    for t in reversed(range(len(x))):
        d["V"] += h[t + 1].T @ do[t]  # (22)
        d["c"] += do[t].sum(axis=0)
        dh = do[t] @ p["V"].T + dh_next
        tanh_c = np.tanh(c[t + 1])
        dc = dc_next + dh * o[t] * (1 - tanh_c**2)  # (13)
        da_i = dc * g[t] * i[t] * (1 - i[t])  # (14), (15)
        da_f = dc * c[t] * f[t] * (1 - f[t])
        da_g = dc * i[t] * (1 - g[t] ** 2)
        da_o = dh * tanh_c * o[t] * (1 - o[t])
        da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
        d["U"] += x[t].T @ da  # (3)
        d["W"] += h[t].T @ da
        d["b"] += da.sum(axis=0)
        d["x"][t] = da @ p["U"].T
        dh_next = da @ p["W"].T  # (2)
        dc_next = dc * f[t]
    d["h0"], d["c0"] = dh_next, dc_next
    return d


def gru(p: Mapping[str, Array], x: Array, states: States, gates: States, do: Array) -> Arrays:
    """The way back through a GRU, the reset gate applied after the product."""
    (h,) = states
    r, z, n, q = gates  # q: the hidden state's part of n
    d = {name: np.zeros_like(value) for name, value in p.items()}
    d["x"] = np.zeros_like(x)
    dh_next = np.zeros_like(h[0])  # what comes back from step t + 1
    for t in reversed(range(len(x))):
        d["V"] += h[t + 1].T @ do[t]  # (22)
        d["c"] += do[t].sum(axis=0)
        dh = do[t] @ p["V"].T + dh_next
        da_n = dh * (1 - z[t]) * (1 - n[t] ** 2)  # (19), (20)
        da_q = da_n * r[t]
        da_r = da_n * q[t] * r[t] * (1 - r[t])  # (21)
        da_z = dh * (h[t] - n[t]) * z[t] * (1 - z[t])
        da_x = np.concatenate([da_r, da_z, da_n], axis=1)
        da_h = np.concatenate([da_r, da_z, da_q], axis=1)
        d["U"] += x[t].T @ da_x  # (3)
        d["W"] += h[t].T @ da_h
        d["b"] += np.concatenate([da_r, da_z, da_n, da_q], axis=1).sum(axis=0)
        d["x"][t] = da_x @ p["U"].T
        dh_next = da_h @ p["W"].T + dh * z[t]  # (2), (19)
    d["h0"] = dh_next
    return d


PROGRAMS: dict[str, Program] = {"elman": elman, "lstm": lstm, "gru": gru}
