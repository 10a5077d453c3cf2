"""Check the gradient of a network that you wrote yourself.

The Elman network below is a student's own: NumPy only, nothing of bptt in it. bptt.check_gradients
needs its loss, its parameters and the gradient it claims; first the right one, then one
with a mistake that is easily made (a transpose forgotten where the error goes back in time).
docs/derivation.md has the equations, under the numbers given here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bptt

Arrays = Mapping[str, NDArray[Any]]

B, T, D, H = 3, 6, 2, 5  # batch, steps, inputs, hidden; one output
rng = np.random.default_rng(1)
y = rng.random((B, T, 1))
parameters = {
    "U": rng.normal(0, 0.5, (D, H)),
    "W": rng.normal(0, 0.5, (H, H)),
    "b": rng.normal(0, 0.5, H),
    "V": rng.normal(0, 0.5, (H, 1)),
    "c": rng.normal(0, 0.5, 1),
    "x": rng.normal(0, 1, (B, T, D)),  # the input is checked too: it tells the time step
}


def forward(p: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    """States h (B, T+1, H), h[:, 0] before the first step, and outputs o (B, T, 1)."""
    h = np.zeros((B, T + 1, H))
    for t in range(T):
        a = p["x"][:, t] @ p["U"] + h[:, t] @ p["W"] + p["b"]  # (1)
        h[:, t + 1] = np.tanh(a)  # (4)
    return h, h[:, 1:] @ p["V"] + p["c"]  # (22)


def loss(p: Arrays) -> float:
    """Squared error / 2, summed over batch and steps."""
    _, o = forward(p)
    return float(0.5 * ((o - y) ** 2).sum())  # (23)


def gradients(p: Arrays, mistake: bool = False) -> dict[str, NDArray[Any]]:
    """Backpropagation through time; with `mistake`, W is not transposed."""
    h, o = forward(p)
    d = {name: np.zeros_like(value) for name, value in p.items()}
    do = o - y  # (23)
    dh_next = np.zeros((B, H))  # what comes back from step t + 1
    for t in reversed(range(T)):
        d["V"] += h[:, t + 1].T @ do[:, t]
        d["c"] += do[:, t].sum(axis=0)
        dh = do[:, t] @ p["V"].T + dh_next
        da = dh * (1 - h[:, t + 1] ** 2)  # (5)
        d["U"] += p["x"][:, t].T @ da  # (3)
        d["W"] += h[:, t].T @ da
        d["b"] += da.sum(axis=0)
        d["x"][:, t] = da @ p["U"].T
        dh_next = da @ (p["W"] if mistake else p["W"].T)  # (2)
    return d


for mistake in (False, True):
    report = bptt.check_gradients(
        loss, parameters, gradients(parameters, mistake), time_axis={"x": 1}
    )
    print("With W where W^T belongs:" if mistake else "The right gradient:")
    print(report)
    print("passed" if report.passed else "NOT passed", end="\n\n")
