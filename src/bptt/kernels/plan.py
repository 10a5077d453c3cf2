"""The sizes, offsets and arrays that kernels work on.

Layout. A step's values lie sample after sample, unit after unit: (B*H) numbers, over which the
pointwise equations are one loop. Before that come the step and the preactivation or state:

    gates  (layers, T, K, B*H)      preactivations, then gates, then their derivatives da, in place
    states (layers, T + 1, S, B*H)  states; step 0 is the initial state
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt.outputs import REDUCTIONS
from bptt.structure import Structure

Floats = NDArray[np.floating]


class Plan(NamedTuple):
    """Sizes of a batch and a network, and where each parameter starts in the flat vector.

    `where` (layers, 5): offsets of U, W, b and the initial states, -1 where there is none;
    V, c: those of the output layer. U_set, ... V_set, c_set: how far apart a parameter's sets for
    successive steps lie, 0 for tied weights.
    """

    B: int
    T: int
    D: int
    H: int
    O: int  # noqa: E741  the dimension legend's letter
    G: int
    K: int
    S: int
    layers: int
    one_hot: bool
    last: bool
    output: int
    reduction: int
    threshold: float
    U_set: int
    W_set: int
    b_set: int
    V: int
    V_set: int
    c: int
    c_set: int
    where: NDArray[np.int64]


class Work(NamedTuple):
    """The arrays of one batch's walk, used again for every batch of the same sizes."""

    gates: Floats  # (layers, T, K, B*H)
    states: Floats  # (layers, T + 1, S, B*H)
    dh: Floats  # (T, B*H): derivative by a layer's outputs; becomes that of the layer below
    ds: Floats  # (2, S, B*H): derivative by the states after a step, and before it
    ds0: Floats  # (layers, S, B*H): derivative by the initial states
    o: Floats  # (T or 1, B, O): output preactivations
    p: Floats  # (T or 1, B, O): outputs
    do: Floats  # (T or 1, B, O)
    g: Floats  # (P,): the gradient, or empty
    dx: Floats  # (T, B*D), or empty where it is not wanted


def make_plan(structure: Structure, batch: int, steps: int, one_hot: bool) -> Plan:
    """The plan of a batch of `batch` samples of `steps` steps."""
    cell, layout, head = structure.equations, structure.layout(), structure.head
    D, H, O = structure.inputs, structure.hidden, structure.outputs  # noqa: E741
    G, K = cell.gates, len(cell.preactivations)
    letters = ("U", "W", "b", *(f"{state}0" for state in cell.states))
    where = np.full((structure.layers, 5), -1, np.int64)
    for layer in range(structure.layers):
        for column, letter in enumerate(letters):
            where[layer, column] = layout.offset(structure.name(letter, layer))
    tied = 0 if structure.tied else 1
    steps_read = structure.readout == "steps"
    return Plan(
        B=batch, T=steps, D=D, H=H, O=O, G=G, K=K, S=len(cell.states), layers=structure.layers,
        one_hot=one_hot, last=not steps_read, output=head.code,
        reduction=REDUCTIONS.index(structure.reduction), threshold=head.threshold,
        U_set=tied * G * H, W_set=tied * H * G * H, b_set=tied * K * H,
        V=layout.offset("V"), V_set=tied * steps_read * H * O,
        c=layout.offset("c"), c_set=tied * steps_read * O, where=where,
    )  # fmt: skip


def make_work(structure: Structure, plan: Plan, want_gradient: bool, want_dx: bool) -> Work:
    """Arrays for batches of a plan; without a gradient those of the backward pass are empty."""
    dtype, n = structure.dtype, plan.B * plan.H
    rows = 1 if plan.last else plan.T
    steps_back = plan.T if want_gradient else 0
    return Work(
        gates=np.zeros((plan.layers, plan.T, plan.K, n), dtype),
        states=np.zeros((plan.layers, plan.T + 1, plan.S, n), dtype),
        dh=np.zeros((steps_back, n), dtype),
        ds=np.zeros((2, plan.S, n), dtype),
        ds0=np.zeros((plan.layers, plan.S, n), dtype),
        o=np.zeros((rows, plan.B, plan.O), dtype),
        p=np.zeros((rows, plan.B, plan.O), dtype),
        do=np.zeros((rows, plan.B, plan.O), dtype),
        g=np.zeros(structure.layout().size if want_gradient else 0, dtype),
        dx=np.zeros((plan.T, plan.B * plan.D) if want_dx else (0, 0), dtype),
    )
