"""An ONNX graph, walked from its first input to its output along recurrent and dense nodes.

What lies on the way is named, and every node on it must be known: a graph that does anything else
is refused with the node's name.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.protobuf import (
    Message,
    damaged,
    floats,
    integer,
    integers,
    parsed,
    text,
    texts,
)

Array = NDArray[Any]
OPERATORS = {"RNN": "elman", "LSTM": "lstm", "GRU": "gru"}
FUNCTIONS = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
DEFAULTS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
# What only moves axes, or does nothing once a network is trained.
PASSED = ("Squeeze", "Transpose", "Identity", "Reshape", "Dropout", "Cast")


@dataclass
class Recurrent:
    """A recurrent node: W (1, G*H, D), R (1, G*H, H), B (1, 2*G*H) or None, constant states."""

    kind: str
    activation: str
    W: Array
    R: Array
    B: Array | None
    states: list[Array | None]


@dataclass
class Walked:
    """What was found on the way."""

    layers: list[Recurrent] = field(default_factory=list)
    V: Array | None = None
    c: Array | None = None
    output: str = "linear"
    skip: int = 0
    last: bool = False
    scaling: dict[str, Array] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


@dataclass
class Node:
    """A node of the graph."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Message]


def _refuse(node: Node, why: str) -> BpttError:
    return BpttError(f"ONNX node '{node.name or node.kind:.60}' ({node.kind:.30}) {why}")


def _constant(tensor: Any) -> tuple[str, Array]:
    """Name and values of a TensorProto. Raises BpttError for one whose numbers are elsewhere."""
    found = parsed(tensor)
    dims, kind = integers(found, 1), integer(found, 2)
    if integer(found, 14) or 13 in found:
        raise BpttError("the ONNX file keeps its weights in another file: save it as one")
    dtypes = {1: "<f4", 7: "<i8", 11: "<f8", 10: "<f2", 6: "<i4", 9: "?"}
    if kind not in dtypes or any(d < 0 for d in dims):
        raise damaged()
    raw = found.get(9)
    try:
        if raw:
            values = np.frombuffer(raw[-1], dtypes[kind])
        elif kind in (1, 11):
            values = floats(found, 4 if kind == 1 else 10, dtypes[kind])
        else:
            values = np.array(integers(found, 7 if kind == 7 else 5), np.int64)
        return text(found, 8), values.reshape(dims)
    except (ValueError, TypeError, OverflowError):
        raise damaged() from None


def _node(content: Any) -> Node:
    found = parsed(content)
    attributes = {}
    for each in found.get(5, []):
        attribute = parsed(each)
        attributes[text(attribute, 1)] = attribute
    return Node(text(found, 4), text(found, 3), texts(found, 1), texts(found, 2), attributes)


class _Walk:
    def __init__(self, content: bytes) -> None:
        model = parsed(content)
        if 7 not in model:
            raise damaged()
        graph = parsed(model[7][-1])
        self.found = Walked()
        for pair in map(parsed, model.get(14, [])):
            self.found.said[text(pair, 1)] = text(pair, 2)
        self.constants = dict(_constant(tensor) for tensor in graph.get(5, []))
        self.nodes = [_node(each) for each in graph.get(1, [])]
        inputs = [text(parsed(each), 1) for each in graph.get(11, [])]
        given = [name for name in inputs if name not in self.constants]
        self.inputs = set(given)
        outputs = [text(parsed(each), 1) for each in graph.get(12, [])]
        if not given or not outputs:
            raise damaged()
        self.path = given[0]  # the value that the walk has come to
        self.raw = {self.path}  # the input, and it scaled
        self.zero: set[str] = set()
        self.skipped: dict[str, Array] = {}
        self.seen = {self.path}
        for node in self.nodes:
            self._take(node)
        if self.path not in outputs:
            raise BpttError("the ONNX file's first output does not follow from its first input")
        if not self.found.layers:
            raise BpttError("the ONNX file has no RNN, LSTM or GRU node")

    def _take(self, node: Node) -> None:
        """One node: on the way, or beside it."""
        on_path = [name for name in node.inputs if name == self.path]
        if node.kind == "Constant" and "value" in node.attributes and node.outputs:
            tensor = node.attributes["value"].get(5)
            if tensor:
                self.constants[node.outputs[0]] = _constant(tensor[-1])[1]
        elif (
            node.kind == "MatMul"
            and node.inputs
            and node.inputs[0] in self.raw
            and (self.found.layers)
        ):
            self.skipped[node.outputs[0]] = self._given(node, 1)
        elif len(on_path) == 1 and node.kind != "Shape":  # of the batch, for the states' zeros
            self._go(node)
        elif len(on_path) > 1:
            raise _refuse(node, "takes the same value twice: not known here")
        elif self._is_zero(node):
            self.zero.update(node.outputs)

    def _is_zero(self, node: Node) -> bool:
        """Whether a node beside the way makes zeros, of whatever shape."""
        if node.kind == "ConstantOfShape":
            value = node.attributes.get("value", {}).get(5)
            return value is None or not _constant(value[-1])[1].any()
        first = node.inputs[0] if node.inputs else ""
        zeros = first in self.zero or (first in self.constants and not self.constants[first].any())
        return node.kind in ("Expand", "Slice", "Identity", "Unsqueeze", "Squeeze") and zeros

    def _given(self, node: Node, place: int) -> Array:
        name = node.inputs[place] if len(node.inputs) > place else ""
        if name not in self.constants:
            raise _refuse(node, f"takes '{name:.40}', which is no constant: weights must be")
        return self.constants[name].astype(np.float64)

    def _go(self, node: Node) -> None:
        """A node on the way."""
        found, kind = self.found, node.kind
        if kind in OPERATORS:
            self._recurrent(node)
        elif kind in PASSED:
            pass
        elif kind == "MatMul" and found.V is None and found.layers:
            found.V = self._given(node, 1)
        elif kind == "Gemm" and found.V is None and found.layers:
            self._gemm(node)
        elif kind in ("Add", "Sub", "Mul"):
            self._elementwise(node)
        elif kind in FUNCTIONS and found.layers and found.output == "linear":
            found.output = FUNCTIONS[kind]
        elif kind in ("Gather", "Slice") and found.layers:
            self._last(node)
        else:
            raise _refuse(node, "is not known here: recurrent nodes and one dense layer are")
        if not node.outputs:
            raise damaged()
        before, self.path = self.path, node.outputs[0]
        if not found.layers:
            self.raw.add(self.path)
            self.raw.discard(before)

    def _gemm(self, node: Node) -> None:
        if integer(node.attributes.get("transA", {}), 3):
            raise _refuse(node, "turns its input: not known here")
        for name in ("alpha", "beta"):
            if name in node.attributes and not np.all(floats(node.attributes[name], 2) == 1):
                raise _refuse(node, f"has {name}: not known here")
        V = self._given(node, 1)
        self.found.V = V.T if integer(node.attributes.get("transB", {}), 3) else V
        if len(node.inputs) > 2 and node.inputs[2]:
            self.found.c = self._given(node, 2).reshape(-1)

    def _elementwise(self, node: Node) -> None:
        found = self.found
        other = next((name for name in node.inputs if name != self.path), "")
        if other in self.skipped and node.kind == "Add":
            S = self.skipped[other]
            count = int(S.sum())
            wanted = np.eye(*S.shape) * (np.arange(len(S)) < count)[:, None]
            if S.ndim != 2 or not np.array_equal(S, wanted) or found.scaling.get("output_scale"):
                raise _refuse(node, "adds a product of the input: not known here")
            found.skip = count
            return
        value = self._given(node, node.inputs.index(other))
        if (
            node.kind == "Add"
            and found.V is not None
            and found.c is None
            and (found.output == "linear" and "output_scale" not in found.scaling)
        ):
            found.c = value.reshape(-1)
            return
        side = "output" if found.layers else "input"
        name = f"{side}_{'scale' if node.kind == 'Mul' else 'shift'}"
        order_wrong = side == "input" and node.kind != "Mul" and "input_scale" in found.scaling
        order_wrong |= side == "output" and node.kind == "Mul" and name in found.scaling
        if (
            node.kind == ("Sub" if side == "output" else "Add")
            or order_wrong
            or (name in found.scaling or node.inputs[0] != self.path)
        ):
            raise _refuse(node, "is not known at this place")
        found.scaling[name] = value

    def _last(self, node: Node) -> None:
        """Only the last step is taken: index -1 or from -1 on along the first axes."""
        index = self._given(node, 1).reshape(-1)
        if self.found.last or index.size != 1 or index[0] != -1:
            raise _refuse(node, "takes a part of the steps: only the last is known here")
        self.found.last = True

    def _recurrent(self, node: Node) -> None:
        if self.found.V is not None or self.found.last:
            raise _refuse(node, "comes after the dense layer or the last step: not known here")
        W, R = self._given(node, 1), self._given(node, 2)
        H, G = R.shape[-1] if R.ndim == 3 else 0, GATES[node.kind]
        if W.ndim != 3 or R.shape != (1, G * H, H) or W.shape[:2] != (1, G * H) or not H:
            raise _refuse(node, f"has weights {W.shape} and {R.shape}, which do not fit")
        B = self._given(node, 3) if len(node.inputs) > 3 and node.inputs[3] else None
        if B is not None and B.shape != (1, 2 * G * H):
            raise _refuse(node, f"has a bias {B.shape} which does not fit")
        activation = self._activation(node)
        self._check(node)
        states = [self._state(node, place, H) for place in (5, 6)[: 2 if G == 4 else 1]]
        kind = OPERATORS[node.kind]
        self.found.layers.append(Recurrent(kind, activation, W, R, B, states))

    def _activation(self, node: Node) -> str:
        given = texts(node.attributes.get("activations", {}), 9) or DEFAULTS[node.kind]
        if node.kind == "RNN" and len(given) == 1 and given[0] in ("Tanh", "Relu", "Sigmoid"):
            return given[0].lower()
        if given != DEFAULTS[node.kind]:
            raise _refuse(node, f"has activations {given}: {DEFAULTS[node.kind]} are known here")
        return "tanh"

    def _check(self, node: Node) -> None:
        """Raises BpttError for what a network here does not do."""
        attributes = node.attributes
        direction = text(attributes.get("direction", {}), 4) or "forward"
        resets_after = integer(attributes.get("linear_before_reset", {}), 3)
        for wrong, what in (
            (direction != "forward", f"goes {direction}"),
            ("clip" in attributes, "clips its preactivations"),
            (bool(integer(attributes.get("layout", {}), 3)), "has layout 1"),
            (bool(integer(attributes.get("input_forget", {}), 3)), "couples input and forget gate"),
            (node.kind == "GRU" and resets_after != 1, "resets before the product"),
            (len(node.inputs) > 7 and bool(node.inputs[7]), "has peepholes"),
            (len(node.inputs) > 4 and bool(node.inputs[4]), "takes sequence lengths"),
        ):
            if wrong:
                raise _refuse(node, f"{what}: a network here does not, and it is not converted")

    def _state(self, node: Node, place: int, H: int) -> Array | None:
        """A constant initial state; None for zeros and for what the caller hands in."""
        name = node.inputs[place] if len(node.inputs) > place else ""
        if not name or name in self.zero or name in self.inputs:
            return None
        value = self._given(node, place)
        if value.ndim != 3 or value.shape[-1] != H or not (value == value[:, :1]).all():
            raise _refuse(node, f"has an initial state {value.shape}: one for all samples is known")
        return value[0, 0] if value.any() else None


def walk(content: bytes) -> Walked:
    """What is on the way through a file's graph. Raises BpttError for what is not known."""
    try:
        return _Walk(content).found
    except (IndexError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise (error if isinstance(error, BpttError) else damaged()) from None
