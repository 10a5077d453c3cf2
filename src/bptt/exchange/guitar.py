"""The files of guitar plugins: RTNeural and AIDA-X, GuitarML, NAM. JSON all of them.

RTNeural and AIDA-X have Keras's arrays in nested lists; GuitarML a PyTorch state dict; NAM one flat
list, layer by layer W (4H, D + H) row by row, b (4H), h0, c0, then the head. What a plugin would
not load is refused here: it would go on playing the model before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.gates import enter, leave
from bptt.exchange.model import Model, assembled
from bptt.exchange.players import Cell, Layers, Ours, dense_head, keras_cell, played, torch_cell
from bptt.exchange.torch_files import from_state_dict, play_tensors, to_torch

Array = NDArray[Any]
AIDAX_SIZES = (8, 12, 16, 20, 24, 32, 40, 64, 80)
GUITARML = {("lstm", 40, 1): "Proteus", ("lstm", 40, 2): "Proteus", ("lstm", 20, 1): "NeuralPi",
            ("lstm", 20, 2): "NeuralPi", ("lstm", 20, 3): "NeuralPi",
            ("gru", 10, 1): "NeuralSeed", ("gru", 10, 2): "NeuralSeed",
            ("gru", 8, 3): "NeuralSeed", ("gru", 8, 4): "NeuralSeed"}  # fmt: skip
TEST_SAMPLES = 2048
NAM_VERSION = "0.5.4"


def _plain(array: Array) -> Any:
    """Nested lists of the shortest decimals that float32 reads back exactly."""
    array = np.asarray(array, np.float32)
    if array.ndim == 0:
        return float(str(array))
    return [_plain(row) for row in array]


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _audio(model: Model, plugin: str) -> None:
    s = model.structure
    if s.outputs != 1 or s.output != "linear" or s.readout != "steps":
        raise BpttError(
            f"{plugin} plays one linear output at every step: "
            f"this network has {s.outputs} of kind '{s.output}', at '{s.readout}'"
        )


def _no_memory(model: Model, plugin: str) -> None:
    if np.any(model.initial()):
        raise BpttError(
            f"{plugin} starts from zeros and has no room for this network's trainable initial "
            "state: train with initial_state='zeros', or write nam, c, numpy, torch or onnx"
        )


def write_rtneural(model: Model, **_: Any) -> bytes:
    """RTNeural's JSON. Raises BpttError for what RTNeural does not have."""
    if model.skip:
        raise BpttError("RTNeural's JSON adds no input: write aidax, or leave skip out")
    return _json(_rtneural(model, "RTNeural"))


def _rtneural(model: Model, plugin: str) -> dict[str, Any]:
    s = model.structure
    if s.cell == "elman":
        raise BpttError(f"{plugin} has LSTM and GRU layers, no Elman network: train one of these")
    _no_memory(model, plugin)
    layers: list[dict[str, Any]] = []
    for index in range(s.layers):
        theirs = leave(s.cell, "keras", *model.layer(index))
        bias = theirs.input_bias
        if s.cell == "gru":
            bias = np.stack([theirs.input_bias, theirs.recurrent_bias])
        weights = [_plain(each) for each in (theirs.kernel, theirs.recurrent, bias)]
        layers.append({"type": s.cell, "activation": "tanh", "shape": [None, None, s.hidden],
                       "weights": weights})  # fmt: skip
    activation = "" if s.output == "linear" else s.output
    layers.append({"type": "dense", "activation": activation, "shape": [None, None, s.outputs],
                   "weights": [_plain(each) for each in model.head]})  # fmt: skip
    return {"in_shape": [None, None, s.inputs], "layers": layers}


def write_aidax(model: Model, *, name: str = "net", **_: Any) -> bytes:
    """AIDA-X's JSON: RTNeural's, with in_skip, metadata, and 2,048 samples to test itself with."""
    s = model.structure
    _audio(model, "AIDA-X")
    if s.layers != 1 or s.hidden not in AIDAX_SIZES or s.inputs > 3 or s.cell == "elman":
        raise BpttError(
            f"AIDA-X loads one LSTM or GRU layer of {', '.join(map(str, AIDAX_SIZES))} units "
            f"with 1 to 3 inputs: this network is {model.kind} {model.sizes}"
        )
    value = _rtneural(model, "AIDA-X")
    x = np.random.default_rng(1).uniform(-1, 1, (TEST_SAMPLES, s.inputs)).astype(np.float32)
    y = Ours(model).run(x)[:, 0]
    value["in_skip"] = model.skip
    value["input_batch"] = _plain(x[:, 0] if s.inputs == 1 else x)
    value["output_batch"] = _plain(y)
    rate = str(model.notes.get("sample_rate", 48000))
    value["metadata"] = {"name": name, "samplerate": rate, "source": "bptt"}
    return _json(value)


def write_guitarml(model: Model, **_: Any) -> bytes:
    """GuitarML's JSON, for Proteus, NeuralPi and NeuralSeed, which always add the input."""
    s = model.structure
    _audio(model, "GuitarML's plugins")
    _no_memory(model, "GuitarML")
    if s.layers != 1 or (s.cell, s.hidden, s.inputs) not in GUITARML:
        raise BpttError(
            "GuitarML's plugins load LSTM 40 (Proteus) or 20 (NeuralPi), GRU 10 with 1 or 2 inputs "
            f"or 8 with 3 or 4 (NeuralSeed): this network is {model.kind} {model.sizes}"
        )
    if model.skip != 1:
        raise BpttError(
            "GuitarML's plugins always add the input to the output: train on y - x and export "
            "with skip=1 (--skip)"
        )
    tensors = to_torch(model)
    state = {name.replace("head.", "lin."): _plain(value) for name, value in tensors.items()}
    data = {"model": "SimpleRNN", "input_size": s.inputs, "skip": 1, "output_size": 1,
            "unit_type": s.cell.upper(), "num_layers": 1, "hidden_size": s.hidden,
            "bias_fl": True}  # fmt: skip
    return _json({"model_data": data, "state_dict": state})


def write_nam(model: Model, *, name: str = "net", **_: Any) -> bytes:
    """NAM's file, architecture LSTM, with the initial state of every layer."""
    s = model.structure
    _audio(model, "NAM")
    if s.cell != "lstm" or s.inputs != 1 or model.skip:
        what = "with the input added" if model.skip else f"{model.kind} {model.sizes}"
        raise BpttError(
            f"NAM plays an LSTM with one input and adds no input: this network is {what}; "
            "train an LSTM on y itself, or write aidax"
        )
    parts: list[Array] = []
    for index in range(s.layers):
        U, W, b = model.layer(index)  # i, f, g, o as NAM's
        parts += [np.concatenate([U, W]).T.ravel(), b, *model.initial()[index]]
    V, c = model.head
    flat = np.concatenate([*parts, V.T.ravel(), c])
    config = {"input_size": 1, "hidden_size": s.hidden, "num_layers": s.layers}
    return _json({"version": NAM_VERSION, "architecture": "LSTM", "config": config,
                  "metadata": {"name": name, "modeled_by": "bptt"}, "weights": _plain(flat),
                  "sample_rate": model.notes.get("sample_rate", 48000)})  # fmt: skip


# In.


def parse(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises BpttError for anything else."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BpttError("the file is no JSON object, or damaged: export it again")
    return value


def _array(value: Any, what: str, axes: int) -> Array:
    """Nested lists as an array. Raises BpttError for ragged ones and for anything but numbers."""
    try:
        found = np.array(value, np.float64)
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        found = np.zeros(0)
    if found.ndim != axes or found.size == 0:
        raise BpttError(f"the file's {what} is no array of {axes} axes: it is damaged")
    return found


def _of(value: Mapping[str, Any], key: str, kind: Any) -> Any:
    found = value.get(key)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise BpttError(f"the file has no {key} as such files have one: it is damaged")
    return found


def dialect(value: Mapping[str, Any]) -> str:
    """Whose JSON it is."""
    if "architecture" in value:
        return "nam"
    if "model_data" in value:
        return "guitarml"
    if "layers" in value:
        return "aidax" if "in_skip" in value or "metadata" in value else "rtneural"
    return "torch"


def _keras_layers(value: Mapping[str, Any]) -> list[tuple[str, str, list[Any]]]:
    """(type, activation, weights) of each layer of RTNeural's JSON."""
    found = []
    for layer in _of(value, "layers", list):
        if not isinstance(layer, dict):
            raise BpttError("the file has a layer that is none: it is damaged")
        kind, weights = _of(layer, "type", str), _of(layer, "weights", list)
        found.append((kind, str(layer.get("activation") or ""), weights))
    return found


def _chain(value: Mapping[str, Any]) -> tuple[str, list[tuple[Array, Array, Array]], Any]:
    """The cell, arrays of the recurrent layers, and (V, c, activation) of the dense one."""
    layers = _keras_layers(value)
    recurrent, rest = [], list(layers)
    kinds = set()
    while rest and rest[0][0] in ("lstm", "gru"):
        kind, _, weights = rest.pop(0)
        if len(weights) != 3:
            raise BpttError(f"a layer of type {kind} has {len(weights)} arrays: 3 are needed")
        kinds.add(kind)
        kernel, inner = (_array(w, f"{kind} weights", 2) for w in weights[:2])
        recurrent.append((kernel, inner, _array(weights[2], f"{kind} bias", 1 + (kind == "gru"))))
    if len(kinds) != 1 or len(rest) != 1 or rest[0][0] != "dense" or len(rest[0][2]) != 2:
        names = ", ".join(kind for kind, _, _ in layers)[:80]
        raise BpttError(
            f"the file's layers are {names}: LSTM or GRU layers, then one dense layer, are read"
        )
    _, activation, weights = rest[0]
    head = (_array(weights[0], "dense weights", 2), _array(weights[1], "dense bias", 1))
    if activation not in ("", "linear", "sigmoid", "softmax"):
        raise BpttError(f"the dense layer's activation '{activation:.30}' is not one of an output")
    return kinds.pop(), recurrent, (*head, activation or "linear")


def _keras_read(value: Mapping[str, Any]) -> Model:
    cell, recurrent, (V, c, output) = _chain(value)
    layers = []
    for kernel, inner, bias in recurrent:
        biases = (bias, None) if cell == "lstm" else (bias[0], bias[-1])
        layers.append(enter(cell, "keras", kernel, inner, *biases))
    skip = value.get("in_skip", 0)
    if skip not in (0, 1):
        raise BpttError(f"in_skip {skip!r:.30}: AIDA-X knows 0 and 1")
    notes = {}
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "samplerate" in metadata:
        notes["sample_rate"] = str(metadata["samplerate"])[:20]
    for gain in ("in_gain", "out_gain"):
        if value.get(gain):
            notes[gain] = value[gain]
    return assembled(cell, "tanh", layers, (V, c), output=output, skip=skip, notes=notes)


def _guitarml_tensors(value: Mapping[str, Any]) -> tuple[dict[str, Array], int]:
    data, state = _of(value, "model_data", dict), _of(value, "state_dict", dict)
    skip = data.get("skip", 0)
    if skip not in (0, 1):
        raise BpttError(f"skip {skip!r:.30}: 0 and 1 are known")
    return _dict_tensors(state), skip


def _dict_tensors(state: Mapping[str, Any]) -> dict[str, Array]:
    """A PyTorch state dict in nested lists."""
    return {
        name: _array(v, name[:40], 2 if name.partition("weight")[1] else 1)
        for name, v in state.items()
    }


def _activation(value: Mapping[str, Any]) -> str | None:
    unit = value.get("model_data", {}).get("unit_type") if dialect(value) == "guitarml" else None
    return "tanh" if unit == "RNN" else None


def _nam_parts(value: Mapping[str, Any]) -> Any:
    """(W (4H, D + H), b, h0, c0) of each layer, and the head's weight (1, H) and bias."""
    if value.get("architecture") != "LSTM":
        raise BpttError(f"NAM architecture {value.get('architecture')!r:.40}: only 'LSTM' is read")
    config = _of(value, "config", dict)
    D, H, count = (_of(config, key, int) for key in ("input_size", "hidden_size", "num_layers"))
    flat = _array(value.get("weights"), "weights", 1)
    if min(D, H, count) < 1 or max(D, H, count) > len(flat):
        raise BpttError(f"the NAM file's sizes {D}, {H}, {count} cannot be: it is damaged")
    outputs = config.get("out_channels", 1)
    sizes = [4 * H * ((D if k == 0 else H) + H) + 6 * H for k in range(count)]
    if sum(sizes) + H + 1 != len(flat) or outputs != 1:
        raise BpttError(
            f"the NAM file has {len(flat)} weights where its sizes ask for {sum(sizes) + H + 1}"
        )
    layers, at = [], 0
    for k in range(count):
        width = (D if k == 0 else H) + H
        ends = np.cumsum([4 * H * width, 4 * H, H, H])
        W, b, h0, c0 = np.split(flat[at : at + ends[-1]], ends[:-1])
        layers.append((W.reshape(4 * H, width), b, h0, c0))
        at += int(ends[-1])
    return layers, flat[at : at + H].reshape(1, H), flat[at + H :]


def _nam_read(value: Mapping[str, Any]) -> Model:
    parts, weight, bias = _nam_parts(value)
    layers = []
    for W, b, _, _ in parts:
        H = len(b) // 4
        layers.append(enter("lstm", "torch", W[:, :-H].T, W[:, -H:].T, b, None))
    states = np.array([[h0, c0] for _, _, h0, c0 in parts])
    rate = value.get("sample_rate", 48000)
    notes = {"sample_rate": rate if isinstance(rate, (int, float)) else 48000}
    return assembled("lstm", "tanh", layers, (weight.T, bias), states=states, notes=notes)


def read(content: bytes, **options: Any) -> Model:
    """A model from any of these files, told apart by their keys."""
    value = parse(content)
    kind = dialect(value)
    if kind == "nam":
        return _nam_read(value)
    if kind in ("aidax", "rtneural"):
        return _keras_read(value)
    activation = options.pop("activation", None) or _activation(value)
    if kind == "torch":
        return from_state_dict(_dict_tensors(value), activation=activation, **options)
    tensors, skip = _guitarml_tensors(value)
    model = from_state_dict(tensors, activation=activation)
    return Model(model.structure, model.weights, skip)


def vectors(content: bytes) -> tuple[Array, Array] | None:
    """The inputs (T, D) and outputs (T, 1) that a file brings to test itself with."""
    value = parse(content)
    if "input_batch" not in value or "output_batch" not in value:
        return None
    try:
        x = np.array(value["input_batch"], np.float64)
        y = np.array(value["output_batch"], np.float64)
        D = int(value["in_shape"][-1])
        return x.reshape(-1, D), y.reshape(len(x.reshape(-1, D)), -1)
    except (ValueError, TypeError, KeyError, IndexError):
        raise BpttError("the file's input_batch and output_batch do not fit each other") from None


def _nam_cell(W: Array, b: Array) -> Cell:
    """NAM/lstm.cpp: W on [input, hidden], rows i, f, g, o."""
    H = len(b) // 4
    W, b = W.astype(np.float64), b.astype(np.float64)
    _, step = torch_cell("lstm", W[:, :-H], W[:, -H:], b, np.zeros(4 * H))
    return (lambda x: x @ W[:, :-H].T + b), step


def play(content: bytes, **known: Any) -> Layers:
    """Runs a file by its plugin's equations."""
    value = parse(content)
    kind = dialect(value)
    if kind == "nam":
        parts, weight, bias = _nam_parts(value)
        states: Sequence[Any] = [(h0, c0) for _, _, h0, c0 in parts]
        head = dense_head(weight.T.astype(np.float64), bias.astype(np.float64), "linear")
        hidden = [len(b) // 4 for _, b, _, _ in parts]
        return played([_nam_cell(W, b) for W, b, _, _ in parts], head, "lstm", hidden, states)
    if kind in ("aidax", "rtneural"):
        cell, layers, (V, c, output) = _chain(value)
        wide: list[Any] = [[each.astype(np.float64) for each in layer] for layer in layers]
        head = dense_head(V.astype(np.float64), c.astype(np.float64), output,
                          int(value.get("in_skip", 0)))  # fmt: skip
        cells = [keras_cell(cell, *layer) for layer in wide]
        return played(cells, head, cell, [layer[1].shape[0] for layer in wide])
    known = {**known, "activation": known.get("activation") or _activation(value)}
    if kind == "torch":
        return play_tensors(_dict_tensors(value), None, **known)
    tensors, skip = _guitarml_tensors(value)
    return play_tensors(tensors, None, skip=skip, **known)
