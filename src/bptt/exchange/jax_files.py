"""Flax (linen) and Equinox: their parameters as safetensors, and the lines that load them.

Flax, parameters of layer k under `layers_k`: LSTMCell ii, if, ig, io kernels (D, H) and hi, hf,
hg, ho kernels (H, H) with bias; GRUCell ir, iz, in with bias, hr, hz without, hn with; SimpleCell i
with bias, h without. Equinox, of layer k under `layers.k`: weight_ih (G*H, D), weight_hh (G*H, H),
bias (G*H), of a GRU bias_n (H). The head is a Dense (kernel, bias) or a Linear (weight, bias).
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.equations.functions import sigmoid, tanh
from bptt.errors import BpttError
from bptt.exchange.gates import enter, leave
from bptt.exchange.model import Model, assembled
from bptt.exchange.players import ACTIVATIONS, Cell, Layers, dense_head, played
from bptt.exchange.torch_files import About, _safetensors, about, surroundings

Array = NDArray[Any]
FLAX = """import jax, flax.linen as nn
from safetensors.numpy import load_file

flat = load_file("{path}")
params = {{}}
for name, value in flat.items():
    *path, last = name.split(".")
    node = params
    for key in path:
        node = node.setdefault(key, {{}})
    node[last] = value
cell = nn.{kind}(features={hidden})
# one step of layer 0: carry, h = cell.apply({{"params": params["layers_0"]}}, carry, x)
# an LSTM's carry is (c, h); then nn.Dense({outputs}).apply({{"params": params["head"]}}, h)
"""
EQUINOX = """import equinox as eqx, jax
from safetensors.numpy import load_file

flat, key = load_file("{path}"), jax.random.key(0)
cells = [eqx.nn.{kind}(size, {hidden}, key=key) for size in {sizes}]
for k, cell in enumerate(cells):
    for name in {names}:
        cell = eqx.tree_at(lambda c: getattr(c, name), cell, flat[f"layers.{{k}}.{{name}}"])
    cells[k] = cell
head = eqx.nn.Linear({hidden}, {outputs}, key=key)
head = eqx.tree_at(lambda m: (m.weight, m.bias), head, (flat["head.weight"], flat["head.bias"]))
# one step: state = cells[0](x, state); an LSTM's state is (h, c); y = head(h)
"""
GATES = {"lstm": "ifgo", "gru": "rzn"}


def _split(array: Array, gates: str) -> dict[str, Array]:
    return dict(zip(gates, np.split(array, len(gates), axis=-1), strict=True))


def _flax_layer(model: Model, index: int) -> dict[str, Array]:
    s = model.structure
    U, W, b = model.layer(index)
    if s.cell == "elman":
        return {"i.kernel": U, "i.bias": b, "h.kernel": W}
    found = {}
    kernels, inner = _split(U, GATES[s.cell]), _split(W, GATES[s.cell])
    bias = _split(b, "ifgo" if s.cell == "lstm" else "rznq")
    for gate in GATES[s.cell]:
        found[f"i{gate}.kernel"], found[f"h{gate}.kernel"] = kernels[gate], inner[gate]
        found[f"{'h' if s.cell == 'lstm' else 'i'}{gate}.bias"] = bias[gate]
    if s.cell == "gru":
        found["hn.bias"] = bias["q"]
    return found


def _equinox_layer(model: Model, index: int) -> dict[str, Array]:
    s = model.structure
    theirs = leave(s.cell, "torch", *model.layer(index))
    found = {"weight_ih": theirs.kernel.T, "weight_hh": theirs.recurrent.T,
             "bias": theirs.input_bias}  # fmt: skip
    if s.cell == "gru":
        found["bias_n"] = theirs.recurrent_bias[2 * s.hidden :]
    return found


def _refuse(model: Model, library: str) -> None:
    s = model.structure
    if s.cell == "elman" and (library == "Equinox" or s.activation != "tanh"):
        has = "LSTM and GRU" if library == "Equinox" else "LSTM, GRU and SimpleCell with tanh"
        raise BpttError(f"{library} has {has}: not '{model.kind}'; write numpy, c or onnx")


def _saved(model: Model, tensors: Mapping[str, Array], library: str, lines: str) -> bytes:
    from safetensors.numpy import save

    s = model.structure
    arrays = dict(tensors)
    if s.initial_state == "trainable":
        for k, letter in enumerate(s.equations.states):
            arrays[f"{letter}0"] = model.initial()[:, k]
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
    said = json.dumps(msgspec.to_builtins(about(model)))
    return bytes(save(arrays, {"library": library, "bptt": said, "python": lines}))


def lines(model: Model, library: str, path: str) -> str:
    """The Python that loads the file."""
    s = model.structure
    kind = {"lstm": "LSTMCell", "gru": "GRUCell", "elman": "SimpleCell"}[s.cell]
    names = ["weight_ih", "weight_hh", "bias"] + (["bias_n"] if s.cell == "gru" else [])
    sizes = [s.layer_inputs(k) for k in range(s.layers)]
    text = FLAX if library == "flax" else EQUINOX
    return text.format(path=path, kind=kind, hidden=s.hidden, outputs=s.outputs, sizes=sizes,
                       names=names)  # fmt: skip


def write_flax(model: Model, **_: Any) -> bytes:
    """The safetensors file for Flax."""
    _refuse(model, "Flax")
    found = {"head.kernel": model.head[0], "head.bias": model.head[1]}
    for index in range(model.structure.layers):
        layer = _flax_layer(model, index)
        found |= {f"layers_{index}.{name}": value for name, value in layer.items()}
    return _saved(model, found, "flax", lines(model, "flax", "net.safetensors"))


def write_equinox(model: Model, **_: Any) -> bytes:
    """The safetensors file for Equinox."""
    _refuse(model, "Equinox")
    found = {"head.weight": model.head[0].T, "head.bias": model.head[1]}
    for index in range(model.structure.layers):
        layer = _equinox_layer(model, index)
        found |= {f"layers.{index}.{name}": value for name, value in layer.items()}
    return _saved(model, found, "equinox", lines(model, "equinox", "net.safetensors"))


def _parts(content: bytes) -> tuple[str, About, list[dict[str, Array]], dict[str, Array]]:
    """Library, what the file says, each layer's arrays, and the rest."""
    tensors, metadata = _safetensors(content)
    try:
        said = msgspec.json.decode(metadata["bptt"], type=About)
        library = metadata["library"]
        separator = {"flax": "_", "equinox": "."}[library]
    except (msgspec.MsgspecError, KeyError, UnicodeEncodeError, RecursionError):
        raise BpttError("the safetensors file says no library: it is damaged") from None
    layers: list[dict[str, Array]] = []
    while True:
        prefix = f"layers{separator}{len(layers)}."
        found = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        if not found:
            break
        layers.append(found)
    rest = {name: v for name, v in tensors.items() if not name.startswith("layers")}
    if not layers:
        raise BpttError("the safetensors file has no layers: it is damaged")
    return library, said, layers, rest


def _head(library: str, rest: Mapping[str, Array]) -> tuple[Array, Array]:
    V = rest["head.kernel"] if library == "flax" else rest["head.weight"].T
    return V, rest["head.bias"]


def _initial(said: About, rest: Mapping[str, Array]) -> Array | None:
    letters = ("h0", "c0") if said.cell == "lstm" else ("h0",)
    return np.stack([rest[k] for k in letters], axis=1) if "h0" in rest else None


def read(content: bytes, **_: Any) -> Model:
    """A model from a file of ours for Flax or Equinox."""
    library, said, parts, rest = _parts(content)
    gates = GATES.get(said.cell, "h")
    layers = []
    try:
        for a in parts:
            if library == "equinox":
                size = len(a["bias"])
                second = np.zeros(size, np.float32)
                if said.cell == "gru":
                    second[2 * size // 3 :] = a["bias_n"]
                layers.append(enter(said.cell, "torch", a["weight_ih"].T, a["weight_hh"].T,
                                    a["bias"], second))  # fmt: skip
            elif said.cell == "elman":
                layers.append((a["i.kernel"], a["h.kernel"], a["i.bias"]))
            else:
                U = np.concatenate([a[f"i{gate}.kernel"] for gate in gates], 1)
                W = np.concatenate([a[f"h{gate}.kernel"] for gate in gates], 1)
                letter = "h" if said.cell == "lstm" else "i"
                biases = [a[f"{letter}{gate}.bias"] for gate in gates]
                biases += [a["hn.bias"]] if said.cell == "gru" else []
                layers.append((U, W, np.concatenate(biases)))
        head, states = _head(library, rest), _initial(said, rest)
    except (KeyError, ValueError):
        raise BpttError("the safetensors file lacks arrays: it is damaged") from None
    return assembled(said.cell, said.activation, layers, head, states=states,
                     **surroundings(said))  # fmt: skip


def flax_cell(kind: str, a: Mapping[str, Array]) -> Cell:
    """flax.linen.LSTMCell, GRUCell, SimpleCell, by the equations in their docstrings."""

    def dense(name: str, x: Array) -> Any:
        return x @ a[f"{name}.kernel"] + a.get(f"{name}.bias", 0.0)

    def lstm(x: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = s
        i, f, o = (sigmoid(dense(f"i{g}", x) + dense(f"h{g}", h)) for g in "ifo")
        new = f * c + i * tanh(dense("ig", x) + dense("hg", h))
        return o * tanh(new), new

    def gru(x: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        r, z = (sigmoid(dense(f"i{g}", x) + dense(f"h{g}", s[0])) for g in "rz")
        n = tanh(dense("in", x) + r * dense("hn", s[0]))
        return ((1 - z) * n + z * s[0],)

    def simple(x: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        return (tanh(dense("i", x) + dense("h", s[0])),)

    return (lambda x: x), {"lstm": lstm, "gru": gru, "elman": simple}[kind]


def equinox_cell(kind: str, a: Mapping[str, Array]) -> Cell:
    """equinox.nn.LSTMCell and GRUCell, as in equinox/nn/_rnn.py."""
    bias_n = a.get("bias_n")

    def lstm(x: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        lin = a["weight_ih"] @ x + a["weight_hh"] @ s[0] + a["bias"]
        i, f, g, o = np.split(lin, 4)
        c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def gru(x: Array, s: tuple[Array, ...]) -> tuple[Array, ...]:
        igates = np.split(a["weight_ih"] @ x + a["bias"], 3)
        hgates = np.split(a["weight_hh"] @ s[0], 3)
        reset, inp = sigmoid(igates[0] + hgates[0]), sigmoid(igates[1] + hgates[1])
        new = tanh(igates[2] + reset * (hgates[2] + bias_n))
        return (new + inp * (s[0] - new),)

    return (lambda x: x), {"lstm": lstm, "gru": gru}[kind]


def play(content: bytes, **_: Any) -> Layers:
    """Runs the file by the equations of its library."""
    library, said, parts, rest = _parts(content)
    wide = [{name: v.astype(np.float64) for name, v in part.items()} for part in parts]
    make = flax_cell if library == "flax" else equinox_cell
    try:
        cells = [make(said.cell, a) for a in wide]
        V, c = (each.astype(np.float64) for each in _head(library, rest))
        states = _initial(said, rest)
    except (KeyError, ValueError):
        raise BpttError("the safetensors file lacks arrays: it is damaged") from None
    if said.output not in ACTIVATIONS:
        raise BpttError("the safetensors file's output is not known: it is damaged")
    head = dense_head(V, c, said.output, said.skip)
    return played(cells, head, said.cell, [len(V)] * len(cells), states)
