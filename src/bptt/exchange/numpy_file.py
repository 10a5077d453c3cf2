"""One Python file that needs NumPy and nothing else: weights and the step, to read and to run."""

import ast
import base64
import json
from typing import Any

import numpy as np

from bptt.errors import BpttError
from bptt.exchange.model import Model
from bptt.exchange.players import Player

HEAD = '''"""{kind} {sizes}, output {output}: a network made by bptt {version}. Needs NumPy alone.

    net = Net()
    y = net.step(x)   # x (D,), or (B, D) after net.reset(batch=B)
    y = net.run(x)    # x (T, D), or (T, B, D)
    net.state         # (layers, S, ..., H): keep it, put it back
    net.reset()
"""

import numpy as np
from base64 import b64decode

CELL, ACTIVATION, OUTPUT, SKIP = {cell!r}, {activation!r}, {output!r}, {skip}
CLASSES = {classes}
_FLOATS = {{  # float32, little end first
'''
BODY = """}
WEIGHTS = {
    name: np.frombuffer(b64decode(text), "<f4").reshape(shape).astype(np.float64)
    for name, (shape, text) in _FLOATS.items()
}


def sigmoid(a):
    return 0.5 + 0.5 * np.tanh(0.5 * a)


class Net:
    def __init__(self):
        self.reset()

    def reset(self, batch=None):
        state = WEIGHTS["initial"]
        self.state = state.copy() if batch is None else np.repeat(state[:, :, None], batch, 2)

    def step(self, x):
        x = np.asarray(x, np.float64)
        if "input_shift" in WEIGHTS:
            x = (x - WEIGHTS["input_shift"]) * WEIGHTS["input_scale"]
        h, new = x, []
        for layer in range(len(self.state)):
            U, W, b = (WEIGHTS[f"{letter}{layer + 1}"] for letter in "UWb")
            s, H = self.state[layer], len(W)
            u, v = h @ U, s[0] @ W
            if CELL == "lstm":
                a = u + v + b
                i, f, o = (sigmoid(a[..., k * H : (k + 1) * H]) for k in (0, 1, 3))
                c = f * s[1] + i * np.tanh(a[..., 2 * H : 3 * H])
                new.append(np.stack([o * np.tanh(c), c]))
            elif CELL == "gru":
                a = u[..., : 2 * H] + v[..., : 2 * H] + b[: 2 * H]
                r, z = sigmoid(a[..., :H]), sigmoid(a[..., H:])
                n = np.tanh(u[..., 2 * H :] + b[2 * H : 3 * H] + r * (v[..., 2 * H :] + b[3 * H :]))
                new.append(((1 - z) * n + z * s[0])[None])
            else:
                a = u + v + b
                new.append({"tanh": np.tanh, "sigmoid": sigmoid,
                            "relu": lambda a: np.maximum(a, 0)}[ACTIVATION](a)[None])
            h = new[-1][0]
        self.state = np.stack(new)
        o = h @ WEIGHTS["V"] + WEIGHTS["c"]
        if OUTPUT == "sigmoid":
            o = sigmoid(o)
        elif OUTPUT == "softmax":
            o = np.exp(o - o.max(-1, keepdims=True))
            o = o / o.sum(-1, keepdims=True)
        if SKIP:
            o[..., :SKIP] += x[..., :SKIP]
        if "input_shift" in WEIGHTS:
            o = o * WEIGHTS["output_scale"] + WEIGHTS["output_shift"]
        return o

    def run(self, x):
        return np.array([self.step(row) for row in x])
"""


def _arrays(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index in range(model.structure.layers):
        for letter, value in zip("UWb", model.layer(index), strict=True):
            found[f"{letter}{index + 1}"] = value
    found["V"], found["c"] = model.head
    found["initial"] = model.initial()
    return found | (vars(model.scaling) if model.scaling else {})


def write(model: Model, **_: Any) -> bytes:
    """The file's text."""
    from bptt.version import __version__

    s = model.structure
    head = HEAD.format(
        kind=model.kind, sizes=model.sizes, output=s.output, version=__version__, cell=s.cell,
        activation=s.activation, skip=model.skip, classes=ascii(list(model.classes)),
    )  # fmt: skip
    rows = []
    for name, value in _arrays(model).items():
        text = base64.b64encode(np.ascontiguousarray(value, "<f4").tobytes()).decode()
        rows.append(f"    {json.dumps(name)}: ({np.shape(value)}, {text!r}),\n")
    return (head + "".join(rows) + BODY).encode()


class _Running:
    """The file's own class as a player; see `bptt.exchange.players.Player`."""

    def __init__(self, kind: Any) -> None:
        self._net = kind()

    def reset(self) -> None:
        self._net.reset()

    def keep(self) -> Any:
        return self._net.state.copy()

    def put_back(self, state: Any) -> None:
        self._net.state = state

    def step(self, x: Any) -> Any:
        return self._net.step(x)

    def run(self, x: Any) -> Any:
        return self._net.run(x)


def play(content: bytes, **_: Any) -> Player:
    """Runs the file itself, if its program is the one that we write: no other is run."""
    text = content.decode("utf-8", "replace")
    if not text.endswith(f"\n{BODY}"):
        raise BpttError("this is not a Python file as this version of bptt writes it: not run")
    tree = ast.parse(text)
    for node in tree.body[:-3]:  # the last three are the body's
        if ast.unparse(node) in ("import numpy as np", "from base64 import b64decode"):
            continue
        if not isinstance(node, (ast.Assign, ast.Expr)):
            raise BpttError("this Python file does more than hold a network: not run")
        try:
            ast.literal_eval(node.value)
        except ValueError:
            raise BpttError("this Python file does more than hold a network: not run") from None
    namespace: dict[str, Any] = {}
    exec(compile(tree, "<net>", "exec"), namespace)
    return _Running(namespace["Net"])
