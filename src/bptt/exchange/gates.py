"""From our layout of a layer to other libraries', and back.

Ours: U (D, G*H), W (H, G*H), b (K*H), gates i, f, g, o of the LSTM and r, z, n, q of the GRU, whose
q is the hidden state's part of n. Others have two biases, of the input's product and of the
state's, and their own order of gates. Ours has their sum, but for n and q of the GRU, which stay
apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

Array = NDArray[np.floating]

OURS = {"elman": "h", "lstm": "ifgo", "gru": "rzn"}
# Gate orders: PyTorch (also Equinox, NAM, GuitarML); Keras (also RTNeural); ONNX.
ORDERS = {
    "torch": {"elman": "h", "lstm": "ifgo", "gru": "rzn"},
    "keras": {"elman": "h", "lstm": "ifgo", "gru": "zrn"},
    "onnx": {"elman": "h", "lstm": "iofg", "gru": "zrn"},
}


@dataclass
class Foreign:
    """A layer in another library's order: kernel (D, G*H), recurrent (H, G*H), biases (G*H)."""

    kernel: Array
    recurrent: Array
    input_bias: Array
    recurrent_bias: Array


def _reordered(array: Array, came: str, goes: str) -> Array:
    """The blocks of the last axis in another order."""
    blocks = dict(zip(came, np.split(array, len(came), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in goes], axis=-1)


def leave(cell: str, library: str, U: Array, W: Array, b: Array) -> Foreign:
    """A layer of ours in a library's order; the recurrent bias is zero but for the GRU's q."""
    ours, theirs = OURS[cell], ORDERS[library][cell]
    size = U.shape[1]
    second = np.zeros(size, b.dtype)
    if cell == "gru":
        second[2 * W.shape[0] :] = b[size:]
    biases = [_reordered(each, ours, theirs) for each in (b[:size], second)]
    return Foreign(_reordered(U, ours, theirs), _reordered(W, ours, theirs), *biases)


def enter(
    cell: str,
    library: str,
    kernel: Array,
    recurrent: Array,
    input_bias: Array | None,
    recurrent_bias: Array | None,
) -> tuple[Array, Array, Array | None]:
    """U, W and b of a layer in a library's order. Biases are added in float64 and rounded once.

    Raises BpttError if the shapes are not those of one layer.
    """
    ours, theirs = OURS[cell], ORDERS[library][cell]
    G = len(theirs)
    H = recurrent.shape[0]
    for name, array, shape in (
        ("input weights", kernel, (kernel.shape[0], G * H)),
        ("recurrent weights", recurrent, (H, G * H)),
        ("input bias", input_bias, (G * H,)),
        ("recurrent bias", recurrent_bias, (G * H,)),
    ):
        if array is not None and array.shape != shape:
            raise BpttError(
                f"the {cell}'s {name} have shape {array.shape}: {shape} is needed for {H} units"
            )
    U, W = _reordered(kernel, theirs, ours), _reordered(recurrent, theirs, ours)
    if input_bias is None and recurrent_bias is None:
        return U, W, None
    first, second = (
        np.zeros(G * H) if each is None else _reordered(each.astype(np.float64), theirs, ours)
        for each in (input_bias, recurrent_bias)
    )
    if cell != "gru":
        return U, W, (first + second).astype(np.float32)
    apart = 2 * H
    b = np.concatenate([first[:apart] + second[:apart], first[apart:], second[apart:]])
    return U, W, b.astype(np.float32)


def cell_of_gates(rows: int, hidden: int, activation: str | None) -> tuple[str, str]:
    """Cell and activation of a layer with so many rows of recurrent weights for so many units.

    An Elman layer's file does not say its activation, which must then be given.
    """
    cells = {1: "elman", 3: "gru", 4: "lstm"}
    if hidden < 1 or rows % hidden or rows // hidden not in cells:
        raise BpttError(
            f"recurrent weights of {rows} rows for {hidden} units are of no cell: "
            "1, 3 or 4 times as many are of an Elman network, GRU or LSTM"
        )
    cell = cells[rows // hidden]
    if cell == "elman" and activation is None:
        raise BpttError(
            "the file does not say the activation of its recurrent layer: "
            "give activation='tanh' or 'relu' (--activation)"
        )
    return cell, (activation or "tanh") if cell == "elman" else "tanh"
