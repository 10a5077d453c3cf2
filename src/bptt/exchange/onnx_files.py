"""ONNX: opset 17, one RNN, LSTM or GRU node a layer, the states as inputs and outputs.

x (T, B, D) and h_in, c_in (1, B, H) go in, y (T, B, O), h_out, c_out come out (with several layers
h1_in, h2_in, ...); T and B are free, or 1 in the form for a step at a time. Layout 0, GRU with
linear_before_reset=1, no sequence lengths: what ONNX Runtime, tract, onnx2c and others take.
Field numbers: onnx/onnx.proto.
"""

import json
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.gates import enter, leave
from bptt.exchange.model import Affine, Model, assembled
from bptt.exchange.onnx_graph import Walked, walk
from bptt.exchange.players import Layers, dense_head, onnx_cell, played
from bptt.exchange.protobuf import message
from bptt.exchange.torch_files import about

Array = NDArray[Any]
FLOAT, INT64 = 1, 7
OPSET, IR_VERSION = 17, 8
ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}


def _tensor(name: str, value: Array) -> bytes:
    whole = value.dtype.kind == "i"
    raw = np.ascontiguousarray(value, "<i8" if whole else "<f4").tobytes()
    dims = [int(n) for n in value.shape]
    return message((1, dims), (2, INT64 if whole else FLOAT), (8, name), (9, raw))


def _value(name: str, dims: list[int | str]) -> bytes:
    shape = [message((2, d)) if isinstance(d, str) else message((1, d)) for d in dims]
    tensor = message((1, FLOAT), (2, message((1, shape))))
    return message((1, name), (2, message((1, tensor))))


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, int):
        return message((1, name), (3, value), (20, 2))
    if isinstance(value, str):
        return message((1, name), (4, value), (20, 3))
    return message((1, name), (9, value), (20, 8))


class _Graph:
    """Nodes and initialisers as they are added."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.tensors: list[bytes] = []

    def tensor(self, name: str, value: Array) -> str:
        self.tensors.append(_tensor(name, np.asarray(value)))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        found = [_attribute(name, value) for name, value in attributes.items()]
        fields = ((1, inputs), (2, outputs), (3, f"{kind}_{outputs[0]}"), (4, kind), (5, found))
        self.nodes.append(message(*fields))
        return outputs[0]


def _recurrent(graph: _Graph, model: Model, x: str) -> str:
    s = model.structure
    axis = graph.tensor("direction", np.array([1]))
    for index in range(s.layers):
        theirs, n = leave(s.cell, "onnx", *model.layer(index)), index + 1
        tensors = [
            graph.tensor(f"W{n}", theirs.kernel.T[None]),
            graph.tensor(f"R{n}", theirs.recurrent.T[None]),
            graph.tensor(f"B{n}", np.concatenate([theirs.input_bias, theirs.recurrent_bias])[None]),
        ]
        attributes: dict[str, Any] = {"hidden_size": s.hidden}
        if s.cell == "gru":
            attributes["linear_before_reset"] = 1
        if s.cell == "elman":
            attributes["activations"] = [ACTIVATIONS[s.activation]]
        states = [_state(model, letter, index) for letter in s.equations.states]
        graph.node(
            {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}[s.cell],
            [x, *tensors, "", *(f"{state}_in" for state in states)],
            [f"Y{n}", *(f"{state}_out" for state in states)],
            **attributes,
        )
        x = graph.node("Squeeze", [f"Y{n}", axis], [f"H{n}"])
    return x


def _state(model: Model, letter: str, index: int) -> str:
    return letter if model.structure.layers == 1 else f"{letter}{index + 1}"


def _head(graph: _Graph, model: Model, h: str, x: str) -> None:
    s, (V, c) = model.structure, model.head
    steps: list[tuple[str, list[str]]] = [
        ("MatMul", [graph.tensor("V", V)]),
        ("Add", [graph.tensor("c", c)]),
    ]
    if s.output != "linear":
        steps.append((s.output.capitalize(), []))
    if model.skip:
        shape = np.eye(s.inputs, s.outputs) * (np.arange(s.inputs) < model.skip)[:, None]
        steps.append(("Add", [graph.node("MatMul", [x, graph.tensor("skip", shape)], ["skipped"])]))
    if model.scaling:
        steps.append(("Mul", [graph.tensor("output_scale", model.scaling.output_scale)]))
        steps.append(("Add", [graph.tensor("output_shift", model.scaling.output_shift)]))
    for number, (kind, more) in enumerate(steps):
        name = "y" if number == len(steps) - 1 else f"o{number}"
        h = graph.node(kind, [h, *more], [name], **({"axis": -1} if kind == "Softmax" else {}))


def write(model: Model, *, step: bool = False, **_: Any) -> bytes:
    """The file. step: T = B = 1 instead of free ones."""
    from bptt.version import __version__

    s, graph = model.structure, _Graph()
    T, B = (1, 1) if step else ("steps", "batch")
    x = "x"
    if model.scaling:
        shifted = graph.tensor("input_shift", model.scaling.input_shift)
        x = graph.node("Sub", [x, shifted], ["x_shifted"])
        scale = graph.tensor("input_scale", model.scaling.input_scale)
        x = graph.node("Mul", [x, scale], ["x_scaled"])
    _head(graph, model, _recurrent(graph, model, x), x)
    states = [_state(model, letter, k) for k in range(s.layers) for letter in s.equations.states]
    goes_in = [
        _value("x", [T, B, s.inputs]),
        *(_value(f"{n}_in", [1, B, s.hidden]) for n in states),
    ]
    comes_out = [_value("y", [T, B, s.outputs])]
    comes_out += [_value(f"{name}_out", [1, B, s.hidden]) for name in states]
    said = {
        "bptt": json.dumps(msgspec.to_builtins(about(model))),
        "initial_state": json.dumps([float(v) for v in model.initial().ravel()]),
    }
    body = message(
        (1, graph.nodes), (2, "net"), (5, graph.tensors), (11, goes_in), (12, comes_out)
    )  # fmt: skip
    return message(
        (1, IR_VERSION), (2, "bptt"), (3, __version__), (7, body), (8, message((2, OPSET))),
        (14, [message((1, key), (2, value)) for key, value in said.items()]),
    )  # fmt: skip


def _initial(walked: Walked) -> Array | None:
    """(layers, S, H), from the nodes' own constants or from a file of ours."""
    if any(state is not None for layer in walked.layers for state in layer.states):
        rows = [
            [np.zeros(layer.R.shape[2]) if state is None else state for state in layer.states]
            for layer in walked.layers
        ]
        return np.array(rows)
    count = 2 if walked.layers[0].kind == "lstm" else 1
    size = (len(walked.layers), count, walked.layers[0].R.shape[2])
    try:
        given = json.loads(walked.said.get("initial_state", "[]"))
        values = np.array(given, np.float64)
        return values.reshape(size) if values.size else None
    except (ValueError, TypeError, RecursionError):
        raise BpttError("the ONNX file's initial state is damaged: export it again") from None


def read(content: bytes, *, readout: str | None = None, **_: Any) -> Model:
    """A model from a chain of recurrent nodes and one dense layer. Raises BpttError for another
    graph, and for what a network here does not do: both directions, clip, peepholes, lengths, the
    reset before the product, other activations."""
    walked = walk(content)
    kinds = {(layer.kind, layer.activation) for layer in walked.layers}
    if len(kinds) > 1:
        raise BpttError("the ONNX file has recurrent nodes of several kinds: one kind is needed")
    ((cell, activation),) = kinds
    layers = []
    for layer in walked.layers:
        size = layer.R.shape[1]
        halves = (None, None) if layer.B is None else (layer.B[0, :size], layer.B[0, size:])
        layers.append(enter(cell, "onnx", layer.W[0].T, layer.R[0].T, *halves))
    H = layers[-1][1].shape[0]
    V = np.eye(H) if walked.V is None else walked.V
    c = walked.c
    if V.shape[0] != H or (c is not None and c.shape != (V.shape[1],)):
        raise BpttError("the ONNX file's dense layer does not follow its last recurrent one")
    return assembled(
        cell, activation, layers, (V, c), states=_initial(walked), output=walked.output,
        readout=readout or ("last" if walked.last else "steps"), skip=walked.skip,
        scaling=_scaling(walked, layers[0][0].shape[0], V.shape[1]), **_said(walked),
    )  # fmt: skip


def _scaling(walked: Walked, D: int, O: int) -> Affine | None:  # noqa: E741
    if not walked.scaling:
        return None
    parts = []
    for name, size in (("input_shift", D), ("input_scale", D), ("output_shift", O),
                       ("output_scale", O)):  # fmt: skip
        value = walked.scaling.get(name, np.full(size, float(name.endswith("scale"))))
        if value.size not in (1, size):
            raise BpttError(f"the ONNX file's {name} {value.shape} does not fit")
        parts.append(np.broadcast_to(value.ravel(), (size,)).astype(np.float64))
    return Affine(*parts)


def _said(walked: Walked) -> dict[str, Any]:
    """Class names and notes of a file of ours."""
    from bptt.exchange.torch_files import About

    if "bptt" not in walked.said:
        return {}
    try:
        said = msgspec.json.decode(walked.said["bptt"], type=About)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        raise BpttError("the ONNX file's metadata is damaged: export it again") from None
    return {"classes": said.classes, "ids": said.ids, "notes": said.notes}


def play(content: bytes, **_: Any) -> Layers:
    """Runs the graph by the equations of ONNX's operators."""
    walked = walk(content)
    cells = []
    for layer in walked.layers:
        W, R = (each[0].astype(np.float64) for each in (layer.W, layer.R))
        B = np.zeros(2 * len(R)) if layer.B is None else layer.B[0].astype(np.float64)
        cells.append(onnx_cell(layer.kind, W, R, B, layer.activation))
    hidden = [layer.R.shape[2] for layer in walked.layers]
    V = np.eye(hidden[-1]) if walked.V is None else walked.V.astype(np.float64)
    c = np.zeros(V.shape[1]) if walked.c is None else walked.c.astype(np.float64)
    head, scaling = dense_head(V, c, walked.output, walked.skip), walked.scaling

    def scaled_head(h: Array, x: Array) -> Any:
        x = (x - scaling.get("input_shift", 0.0)) * scaling.get("input_scale", 1.0)
        return head(h, x) * scaling.get("output_scale", 1.0) + scaling.get("output_shift", 0.0)

    player = played(cells, scaled_head, walked.layers[0].kind, hidden, _initial(walked))
    first = player.parts[0]

    def scaled_first(x: Array) -> Any:
        return first((x - scaling.get("input_shift", 0.0)) * scaling.get("input_scale", 1.0))

    player.parts = [scaled_first, *player.parts[1:]]
    return player
