"""PyTorch: a state dict as safetensors, out and in; .pt files and modules in."""

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.arguments import shown
from bptt.errors import BpttError
from bptt.exchange.gates import cell_of_gates, enter, leave
from bptt.exchange.model import Affine, Model, assembled
from bptt.exchange.pickles import read_pt
from bptt.exchange.players import Layers, dense_head, played, torch_cell

Array = NDArray[Any]
LINES = """import torch
from safetensors.torch import load_file

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.{kind}
        self.head = torch.nn.Linear({hidden}, {outputs})

    def forward(self, x, state=None):  # x (batch, steps, {inputs})
        h, state = self.rnn(x, state)
        return {result}, state

net = Net()
print(net.load_state_dict(load_file("{path}"), strict=False))
"""


class About(msgspec.Struct, forbid_unknown_fields=True):
    """What a file of ours says besides its weights, as JSON in its metadata."""

    cell: str
    activation: str
    output: str = "linear"
    readout: str = "steps"
    skip: int = 0
    classes: tuple[str, ...] = ()
    ids: bool = False
    scaling: dict[str, list[float]] | None = None
    notes: dict[str, Any] = {}


def about(model: Model) -> About:
    """What `surroundings` needs to know."""
    s, scaling = model.structure, None
    if model.scaling:
        scaling = {name: np.asarray(v).tolist() for name, v in vars(model.scaling).items()}
    return About(s.cell, s.activation, s.output, s.readout, model.skip, model.classes, model.ids,
                 scaling, dict(model.notes))  # fmt: skip


def surroundings(said: About) -> dict[str, Any]:
    """The arguments of `assembled` that a file of ours gives."""
    scaling = None
    if said.scaling is not None:
        try:
            scaling = Affine(**{k: np.array(v, np.float64) for k, v in said.scaling.items()})
        except TypeError:
            raise BpttError("the file's scaling is damaged") from None
    return {
        "output": said.output, "readout": said.readout, "skip": said.skip, "ids": said.ids,
        "classes": said.classes, "scaling": scaling, "notes": said.notes,
    }  # fmt: skip


def to_torch(model: Model) -> dict[str, NDArray[np.float32]]:
    """The state dict: `rnn.weight_ih_l0` (G*H, D) and so on, of a reverse direction
    `rnn.weight_ih_l0_reverse`, `head.weight` (O, H), `head.bias`.

    The two biases of PyTorch are ours and zero, but for the GRU's n, whose two parts stay apart.
    A trainable initial state is added as `h0` (layers or 2 layers, H) and, of an LSTM, `c0`.
    Raises BpttError for a cell that PyTorch does not have.
    """
    s = model.structure
    if (s.cell, s.activation) == ("elman", "sigmoid"):
        raise BpttError(
            "torch.nn.RNN has tanh and relu, not 'sigmoid': train one of these, or write C or ONNX"
        )
    found: dict[str, Array] = {}
    for index in range(s.recurrences):
        theirs = leave(s.cell, "torch", *model.layer(index))
        layer, reverse = divmod(index, s.directions)
        end = f"l{layer}{'_reverse' if reverse else ''}"
        found[f"rnn.weight_ih_{end}"] = theirs.kernel.T
        found[f"rnn.weight_hh_{end}"] = theirs.recurrent.T
        found[f"rnn.bias_ih_{end}"] = theirs.input_bias
        found[f"rnn.bias_hh_{end}"] = theirs.recurrent_bias
    V, c = model.head
    found["head.weight"], found["head.bias"] = V.T, c
    if s.initial_state == "trainable":
        for k, letter in enumerate(s.equations.states):
            found[f"{letter}0"] = model.initial()[:, k]
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def lines(model: Model, path: str) -> str:
    """The Python that loads the file in PyTorch."""
    s = model.structure
    name = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}[s.cell]
    more = f", nonlinearity={s.activation!r}" if s.cell == "elman" else ""
    more += ", bidirectional=True" if s.bidirectional else ""
    kind = f"{name}({s.inputs}, {s.hidden}, {s.layers}, batch_first=True{more})"
    of = "h[:, -1]" if s.readout == "last" else "h"
    if s.readout == "last" and s.bidirectional:  # what each direction ends with
        of = f"torch.cat([h[:, -1, :{s.hidden}], h[:, 0, {s.hidden}:]], 1)"
    result = f"self.head({of})"
    result = {"linear": result, "sigmoid": f"{result}.sigmoid()",
              "softmax": f"{result}.softmax(-1)"}[s.output]  # fmt: skip
    if model.skip:
        result += f" + x[..., :{model.skip}]"
    return LINES.format(
        kind=kind, hidden=s.features, outputs=s.outputs, inputs=s.inputs, result=result, path=path
    )


def write(model: Model, **_: Any) -> bytes:
    """The safetensors file; the lines that load it are in its metadata, as `python`."""
    from safetensors.numpy import save

    said = json.dumps(msgspec.to_builtins(about(model)))
    metadata = {"format": "pt", "bptt": said, "python": lines(model, "net.safetensors")}
    return bytes(save(to_torch(model), metadata))


def _safetensors(content: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """Tensors in the file's order, and the metadata. Raises BpttError for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        metadata = header.pop("__metadata__", None) or {}
        order = sorted(tensors, key=lambda name: header[name]["data_offsets"])
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError
        return {name: tensors[name] for name in order}, metadata
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, struct.error,
            RecursionError, OverflowError):  # fmt: skip
        raise BpttError(
            "the safetensors file is damaged: write it again with "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from None


def _said(metadata: Mapping[str, str]) -> About | None:
    if "bptt" not in metadata:
        return None
    try:
        return msgspec.json.decode(metadata["bptt"], type=About)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        raise BpttError("the safetensors file's metadata is damaged: export it again") from None


def read_safetensors(content: bytes, **options: Any) -> Model:
    """A model from a state dict in safetensors."""
    tensors, metadata = _safetensors(content)
    return from_state_dict(tensors, said=_said(metadata), **options)


def read(content: bytes, **options: Any) -> Model:
    """A model from a .pt file."""
    return from_state_dict(read_pt(content), **options)


PART = re.compile(r"(weight|bias)_(ih|hh)(?:_l(\d+))?(_reverse)?$")


def _layers(tensors: Mapping[str, Array]) -> tuple[list[dict[str, Array]], bool, dict[str, Array]]:
    """Recurrent layers in order, their four arrays each, whether each of them is two (both
    directions), and what else there is."""
    groups: dict[tuple[str, int, bool], dict[str, Array]] = {}
    prefixes: list[str] = []
    rest = {}
    for name, value in tensors.items():
        if "weight_hr" in name:
            raise BpttError(
                f"'{name}' projects the state (proj_size): not supported; train without"
            )
        match = PART.search(name)
        if not match:
            rest[name] = value
            continue
        prefix, layer = name[: match.start()], int(match[3] or 0)
        if prefix not in prefixes:
            prefixes.append(prefix)
        key = (prefix, layer, match[4] is not None)
        groups.setdefault(key, {})[f"{match[1]}_{match[2]}"] = value
    order = sorted(groups, key=lambda key: (prefixes.index(key[0]), *key[1:]))
    backwards = [key[:2] for key in order if key[2]]
    if backwards and backwards != [key[:2] for key in order if not key[2]]:
        raise BpttError(
            "some layers of the state dict go backwards too, others do not, or lack the forward "
            "direction: all or none are read"
        )
    return [groups[key] for key in order], bool(backwards), rest


def _matrix(arrays: Mapping[str, Array], name: str, axes: int) -> Array:
    value = arrays.get(name)
    if value is None or value.ndim != axes:
        raise BpttError(f"the state dict has no {name} of {axes} axes for one of its layers")
    return value.astype(np.float32)


def from_state_dict(
    tensors: Mapping[str, Array],
    *,
    said: About | None = None,
    activation: str | None = None,
    output: str | None = None,
    readout: str | None = None,
    **_: Any,
) -> Model:
    """A model from a state dict: RNN, LSTM or GRU layers (or cells), then one Linear or none.

    Layers under several names follow each other in the order of the dict. What a dict does not
    say, the activation of an RNN and what follows the Linear, is asked for (output: 'linear'
    unless said). Raises BpttError for anything else in the dict.
    """
    parts, both, rest = _layers(tensors)
    if not parts:
        raise BpttError("the state dict has no recurrent layer: 'weight_ih_l0' is looked for")
    activation = said.activation if said else activation
    layers, found = [], set()
    for part in parts:
        ih, hh = _matrix(part, "weight_ih", 2), _matrix(part, "weight_hh", 2)
        found.add(cell_of_gates(hh.shape[0], hh.shape[1], activation))
        biases = [part.get("bias_ih"), part.get("bias_hh")]
        if len(found) > 1:
            raise BpttError("the state dict has layers of several kinds: one kind is needed")
        layers.append(enter(next(iter(found))[0], "torch", ih.T, hh.T, *biases))
    ((cell, function),) = found
    states = _states(rest, cell, len(layers))
    H = layers[-1][1].shape[0]
    head = _dense(rest, 2 * H if both else H)
    extra = surroundings(said) if said else {}
    extra["output"] = output or extra.get("output", "linear")
    extra["readout"] = readout or extra.get("readout", "steps")
    return assembled(cell, function, layers, head, states=states, bidirectional=both, **extra)


def _states(rest: dict[str, Array], cell: str, layers: int) -> Array | None:
    letters = ("h", "c") if cell == "lstm" else ("h",)
    given = [rest.pop(f"{letter}0", None) for letter in letters]
    if given[0] is None:
        return None
    if any(g is None or g.ndim != 2 or g.shape[0] != layers for g in given):
        raise BpttError("h0 and c0 must be (layers, H) each: the file is damaged")
    try:
        return np.stack([g for g in given if g is not None], axis=1)
    except ValueError:
        raise BpttError("h0 and c0 must be (layers, H) each: the file is damaged") from None


def _dense(rest: Mapping[str, Array], H: int) -> tuple[Array, Array | None]:
    """V and c of the only Linear; without one the state itself is the output."""
    weights = [name for name in rest if name.endswith("weight") and rest[name].ndim == 2]
    names = {weights[0], weights[0].removesuffix("weight") + "bias"} if weights else set()
    strangers = sorted(set(rest) - names)
    if strangers:
        raise BpttError(
            f"the state dict has {shown(strangers[0])} besides recurrent layers and one Linear: "
            "only these are read"
        )
    if not weights:
        return np.eye(H, dtype=np.float32), None
    V = rest[weights[0]].T
    c = rest.get(weights[0].removesuffix("weight") + "bias")
    if V.shape[0] != H or (c is not None and c.shape != (V.shape[1],)):
        raise BpttError(f"'{weights[0]:.80}' {V.T.shape} does not follow a layer of {H} units")
    return V, c


def of_module(module: Any) -> dict[str, Array]:
    """The state dict of a module, as arrays. Raises BpttError for layers that project."""
    for name, each in module.named_modules() if hasattr(module, "named_modules") else ():
        if getattr(each, "proj_size", 0):
            raise BpttError(f"module '{name}' projects its state (proj_size): not supported")
    tensors = module.state_dict() if hasattr(module, "state_dict") else module
    if not isinstance(tensors, Mapping):
        raise BpttError(f"{type(module).__name__} is neither a module nor a state dict")
    as_arrays = {}
    for name, value in tensors.items():
        value = value.detach().cpu().float() if hasattr(value, "detach") else value
        as_arrays[str(name)] = np.asarray(value)
    return as_arrays


def activation_of(module: Any) -> str | None:
    """The activation of a module's RNN layers, where it has some."""
    names = {
        each.nonlinearity
        for _, each in (module.named_modules() if hasattr(module, "named_modules") else ())
        if hasattr(each, "nonlinearity")
    }
    return names.pop() if len(names) == 1 else None


def play(content: bytes, **known: Any) -> Layers:
    """Runs the file's state dict by the equations of torch.nn."""
    tensors, metadata = _safetensors(content)
    return play_tensors(tensors, _said(metadata), **known)


def play_pt(content: bytes, **known: Any) -> Layers:
    """The same of a .pt file."""
    return play_tensors(read_pt(content), None, **known)


def play_tensors(
    tensors: Mapping[str, Array], said: About | None, skip: int = 0, **known: Any
) -> Layers:
    """The same of any state dict that `from_state_dict` reads; `known`: what it does not say."""
    wide = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    parts, both, rest = _layers(wide)
    hidden = parts[0]["weight_hh"].shape[1]
    activation = said.activation if said else known.get("activation")
    cell, function = cell_of_gates(len(parts[0]["weight_hh"]), hidden, activation)
    zero = np.zeros(len(parts[0]["weight_hh"]))
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cells = []
    for part in parts:
        w_ih, w_hh, b_ih, b_hh = (part.get(name, zero) for name in names)
        cells.append(torch_cell(cell, w_ih, w_hh, b_ih, b_hh, function))
    states = _states(rest, cell, len(parts))
    V, c = _dense(rest, 2 * hidden if both else hidden)
    output = said.output if said else known.get("output") or "linear"
    last = (said.readout if said else known.get("readout")) == "last"
    c = np.zeros(V.shape[1]) if c is None else c
    head = dense_head(V, c, output, said.skip if said else skip)
    return played(cells, head, cell, [hidden] * len(parts), states, both, last)
