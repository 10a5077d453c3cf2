"""The sizes, offsets and arrays that kernels work on.

All arrays are flat. A unit's numbers are one lane apart: a sample's H units take up Hp numbers, H
rounded up to whole vectors, so that every row begins at a vector and the pointwise equations are
one loop over B*Hp numbers. Lanes beyond H hold finite numbers that nothing reads.

    gates  (layers, K, T, B, Hp)       preactivations, then gates, then their derivatives, in place
    states (layers, S, T + 1, B, Hp)   states; step 0 is the initial state

Weights are packed before a walk, so that products run along memory: a matrix (rows, columns) is cut
into panels of one vector's width, each (rows, lanes), zero beyond the last column.

    packed  per layer and set of weights: U, W, W^T, U^T, gate by gate; then V, V^T
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt.kernels.vectors import lanes
from bptt.outputs import REDUCTIONS
from bptt.structure import Structure

Floats = NDArray[np.floating]


class Plan(NamedTuple):
    """Sizes of a batch and a network, and where each parameter starts in the flat vector.

    Hp, Op, Dp: H, O, D rounded up to whole vectors of n lanes. sets, V_sets: sets of weights, 1 if
    tied. where (layers, 5): offsets of U, W, b and the initial states, -1 where there is none; V, c:
    those of the output layer. packed (layers, 4): offsets of the packed U, W, W^T, U^T; packed_V,
    packed_VT: of V and V^T.
    """

    B: int
    T: int
    D: int
    H: int
    O: int  # noqa: E741  the dimension legend's letter
    G: int
    K: int
    S: int
    n: int
    Hp: int
    Op: int
    Dp: int
    layers: int
    sets: int
    V_sets: int
    one_hot: bool
    last: bool
    output: int
    reduction: int
    threshold: float
    where: NDArray[np.int64]
    V: int
    c: int
    packed: NDArray[np.int64]
    packed_V: int
    packed_VT: int


class Work(NamedTuple):
    """The arrays of one batch's walk, used again for every batch of the same sizes."""

    gates: Floats
    states: Floats
    dh: Floats  # (T, B, Hp): derivative by a layer's outputs; becomes that of the layer below
    ds: Floats  # (2, S, B, Hp): derivative by the states after a step, and before it
    ds0: Floats  # (layers, S, B, Hp): derivative by the initial states
    o: Floats  # (T or 1, B, O): output preactivations
    p: Floats  # the same: outputs
    do: Floats  # the same: derivative of the loss by o
    losses: Floats  # the same: each output's loss
    wrong: Floats  # the same: 1 where an output is wrong
    g: Floats  # (P,): the gradient, or empty where it is not wanted
    dx: Floats  # (T, B, D), or empty
    packed: Floats


def rounded_up(size: int, n: int) -> int:
    """`size` rounded up to a multiple of n."""
    return -(-size // n) * n


def make_plan(structure: Structure, batch: int, steps: int, one_hot: bool) -> Plan:
    """The plan of a batch of `batch` samples of `steps` steps."""
    cell, layout, head = structure.equations, structure.layout(), structure.head
    D, H, O = structure.inputs, structure.hidden, structure.outputs  # noqa: E741
    G, n = cell.gates, lanes(np.dtype(structure.dtype))
    Hp, Op, Dp = (rounded_up(size, n) for size in (H, O, D))
    letters = ("U", "W", "b", *(f"{state}0" for state in cell.states))
    where = np.full((structure.layers, 5), -1, np.int64)
    packed = np.zeros((structure.layers, 4), np.int64)
    end = 0
    for layer in range(structure.layers):
        for column, letter in enumerate(letters):
            where[layer, column] = layout.offset(structure.name(letter, layer))
        inputs = structure.layer_inputs(layer)
        inputs_padded = Dp if layer == 0 else Hp
        sizes = (inputs * Hp, H * Hp, H * Hp, H * inputs_padded)
        for column, size in enumerate(sizes):
            packed[layer, column] = end
            end += structure.sets * G * size
    V_sets = structure.sets if structure.readout == "steps" else 1
    return Plan(
        B=batch, T=steps, D=D, H=H, O=O, G=G, K=len(cell.preactivations), S=len(cell.states),
        n=n, Hp=Hp, Op=Op, Dp=Dp, layers=structure.layers, sets=structure.sets, V_sets=V_sets,
        one_hot=one_hot, last=structure.readout == "last", output=head.code,
        reduction=REDUCTIONS.index(structure.reduction), threshold=head.threshold, where=where,
        V=layout.offset("V"), c=layout.offset("c"), packed=packed, packed_V=end,
        packed_VT=end + V_sets * H * Op,
    )  # fmt: skip


def aligned(size: int, n: int, dtype: str) -> Floats:
    """Zeros that begin at a cache line, with room to read a vector from the last one."""
    itemsize = np.dtype(dtype).itemsize
    spare = 64 // itemsize
    raw = np.zeros(size + n + spare, dtype)
    start = (-raw.ctypes.data % 64) // itemsize
    return raw[start : start + size + n]


def make_work(structure: Structure, plan: Plan, want_gradient: bool, want_dx: bool) -> Work:
    """Arrays for batches of a plan; without a gradient those of the backward pass are empty."""
    dtype, n = structure.dtype, plan.n
    step = plan.B * plan.Hp
    outputs = (1 if plan.last else plan.T) * plan.B * plan.O
    back = int(want_gradient)

    def array(size: int) -> Floats:
        return aligned(size, n, dtype)

    return Work(
        gates=array(plan.layers * plan.K * plan.T * step),
        states=array(plan.layers * plan.S * (plan.T + 1) * step),
        dh=array(back * plan.T * step),
        ds=array(back * 2 * plan.S * step),
        ds0=array(back * plan.layers * plan.S * step),
        o=array(outputs),
        p=array(outputs),
        do=array(outputs),
        losses=array(outputs),
        wrong=array(outputs),
        g=np.zeros(structure.layout().size if want_gradient else 0, dtype),
        dx=np.zeros(plan.T * plan.B * plan.D if want_dx else 0, dtype),
        packed=array(plan.packed_VT + plan.V_sets * plan.O * plan.Hp),
    )
