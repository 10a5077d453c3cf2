"""Keras 3: `.keras`, `.weights.h5` and the older `.h5`, by h5py, without Keras.

A .keras file is a zip archive: config.json, the layers in order; model.weights.h5, their arrays in
groups numbered by class in that order (`layers/lstm`, `layers/lstm_1`). Nothing of a file is run:
a layer that is not on the list is refused.
"""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.exchange.gates import cell_of_gates, enter, leave
from bptt.exchange.model import Model, assembled
from bptt.exchange.players import Layers, dense_head, keras_cell, played

Array = NDArray[Any]
CELLS = {"SimpleRNN": "elman", "LSTM": "lstm", "GRU": "gru"}
CLASSES = {cell: name for name, cell in CELLS.items()}
PASSED = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "Activation", "Masking")
DATE = (2020, 1, 1, 0, 0, 0)  # the same network gives the same bytes


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise BpttError("Keras files need h5py: pip install 'bptt[keras]'") from None
    return h5py


def _arrays(model: Model) -> list[tuple[str, list[Array]]]:
    """Class and arrays of each layer, the dense one last."""
    s, found = model.structure, []
    for index in range(s.layers):
        theirs = leave(s.cell, "keras", *model.layer(index))
        bias = theirs.input_bias
        if s.cell == "gru":
            bias = np.stack([theirs.input_bias, theirs.recurrent_bias])
        found.append((CLASSES[s.cell], [theirs.kernel, theirs.recurrent, bias]))
    return [*found, ("Dense", list(model.head))]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _numbered(classes: list[str]) -> list[str]:
    """The names that layers' groups have, numbered by class."""
    names = []
    for place, each in enumerate(classes):
        before = classes[:place].count(each)
        names.append(_snake(each) + (f"_{before}" if before else ""))
    return names


def write_weights(model: Model, **_: Any) -> bytes:
    """A .weights.h5 file, for `model.load_weights`."""
    h5py = _h5py()
    found, file = _arrays(model), io.BytesIO()
    with h5py.File(file, "w", libver="latest", track_order=True) as h5:
        for name, (kind, arrays) in zip(_numbered([k for k, _ in found]), found, strict=True):
            inner = "/cell" if kind in CELLS else ""
            group = h5.create_group(f"layers/{name}{inner}/vars")
            group.attrs["name"] = name
            for place, value in enumerate(arrays):
                group.create_dataset(str(place), data=np.ascontiguousarray(value, np.float32))
    return file.getvalue()


def _config(model: Model) -> dict[str, Any]:
    s = model.structure
    classes = [kind for kind, _ in _arrays(model)]
    shape: list[Any] = [None, None, s.inputs]
    layers = [_layer("InputLayer", "input", {"batch_shape": shape, "dtype": "float32"}, None)]
    for place, (kind, name) in enumerate(zip(classes, _numbered(classes), strict=True)):
        inputs = [None, None, s.layer_inputs(place)]
        if kind == "Dense":
            of: list[Any] = [None, s.hidden] if s.readout == "last" else [None, None, s.hidden]
            fields = {"units": s.outputs, "activation": s.output}
            layers.append(_layer(kind, name, fields, of))
            continue
        last = place == s.layers - 1 and s.readout == "last"
        fields = {"units": s.hidden, "activation": s.activation, "return_sequences": not last}
        if kind != "SimpleRNN":
            fields["recurrent_activation"] = "sigmoid"
        if kind == "GRU":
            fields["reset_after"] = True
        layers.append(_layer(kind, name, fields, inputs))
    return {"module": "keras", "class_name": "Sequential",
            "config": {"name": "bptt", "trainable": True, "layers": layers,
                       "build_input_shape": shape},
            "registered_name": None, "build_config": {"input_shape": shape}}  # fmt: skip


def _layer(kind: str, name: str, fields: dict[str, Any], shape: Any) -> dict[str, Any]:
    config = {"name": name, **fields}
    found: dict[str, Any] = {"module": "keras.layers", "class_name": kind, "config": config}
    found["registered_name"] = None
    if shape is not None:
        found["build_config"] = {"input_shape": shape}
    return found


def write(model: Model, **_: Any) -> bytes:
    """A .keras file, for `keras.saving.load_model`."""
    file = io.BytesIO()
    metadata = {"keras_version": "3.0.0", "date_saved": "2020-01-01@00:00:00"}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": json.dumps(_config(model)).encode(),
        "model.weights.h5": write_weights(model),
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), content)
    return file.getvalue()


# In.


def _damaged(why: str = "is damaged") -> BpttError:
    return BpttError(f"the Keras file {why}: save it again with model.save('net.keras')")


def _h5(content: bytes) -> dict[str, Array]:
    """All arrays of an HDF5 file by path, and the attributes that older files need."""
    h5py = _h5py()
    found: dict[str, Array] = {}
    try:
        with h5py.File(io.BytesIO(content), "r") as h5:
            total = 0

            def visit(path: str, node: Any) -> None:
                nonlocal total
                if isinstance(node, h5py.Dataset) and node.dtype.kind == "f":
                    total += node.size * node.dtype.itemsize
                    if total > len(content) or node.external or node.is_virtual:
                        raise _damaged("says it is larger than it is")
                    found[path] = np.asarray(node[()], np.float32)

            h5.visititems(visit)
            for name in ("model_config",):
                if name in h5.attrs:
                    found[f"@{name}"] = np.array(h5.attrs[name], object)
    except BpttError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, MemoryError,
            OverflowError, IndexError, NotImplementedError, RecursionError):  # fmt: skip
        raise _damaged() from None
    return found


def _parse(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged() from None


def _unzipped(content: bytes) -> tuple[Any, dict[str, Array]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > 2 * len(content):
                raise _damaged("says it is larger than it is")
            config = archive.read("config.json")
            weights = archive.read("model.weights.h5")
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, OSError, EOFError,
            RuntimeError, OverflowError) as error:  # fmt: skip
        raise (error if isinstance(error, BpttError) else _damaged()) from None
    return _parse(config), _h5(weights)


def _listed(config: Any) -> list[tuple[str, dict[str, Any]]]:
    """Class and settings of each layer in order. Raises BpttError for a model of another form."""
    try:
        kind, layers = config["class_name"], config["config"]["layers"]
        found = [(str(each["class_name"]), dict(each["config"])) for each in layers]
    except (KeyError, TypeError, ValueError):
        raise _damaged("has no list of layers") from None
    if kind not in ("Sequential", "Functional", "Model"):
        raise BpttError(f"a Keras model of class '{kind!s:.40}' is a program: not read")
    if kind != "Sequential":
        for place, each in enumerate(layers):
            nodes = each.get("inbound_nodes", [])
            if (len(nodes) != 1 and place > 0) or _sources(nodes) not in (
                [], [str(layers[place - 1]["config"].get("name"))]
            ):  # fmt: skip
                raise BpttError("the Keras model is no chain of layers: not read")
    return found


def _sources(nodes: Any) -> list[str]:
    """The names of the layers that a Functional layer takes its input from."""
    return re.findall(r"'keras_history': \['([^']*)'", str(nodes)) or re.findall(
        r"^\[\[\['([^']*)'", str(nodes)
    )


def _checked(kind: str, config: Mapping[str, Any]) -> str:
    """The activation of a recurrent layer, or BpttError for what a network here does not do."""
    wrong = {
        "go_backwards": bool(config.get("go_backwards")),
        "reset_after=False": kind == "GRU" and not config.get("reset_after", True),
        f"recurrent_activation '{config.get('recurrent_activation')}'": kind != "SimpleRNN"
        and config.get("recurrent_activation", "sigmoid") != "sigmoid",
        "return_state": bool(config.get("return_state")),
    }
    for what, found in wrong.items():
        if found:
            raise BpttError(f"the Keras layer {kind} has {what:.80}: another cell, not converted")
    activation = config.get("activation", "tanh")
    allowed = ("tanh", "sigmoid", "relu") if kind == "SimpleRNN" else ("tanh",)
    if activation not in allowed:
        raise BpttError(
            f"the Keras layer {kind} has activation {activation!r:.60}: {allowed} are read"
        )
    return str(activation)


class _Chain:
    """The layers of a file: recurrent ones with their arrays, and the dense one."""

    def __init__(self, config: Any, arrays: Mapping[str, Array]) -> None:
        self.cell = self.activation = ""
        self.layers: list[list[Array]] = []
        self.dense: list[Array] = []
        self.output, self.readout = "linear", "steps"
        listed = _listed(config)
        for (kind, fields), name in zip(listed, _numbered([k for k, _ in listed]), strict=True):
            if kind == "TimeDistributed":
                kind, fields, name = self._inside(fields, name)
            if kind in CELLS:
                self._recurrent(kind, fields, _find(arrays, name, fields))
            elif kind == "Dense" and self.layers and not self.dense:
                self.dense = _find(arrays, name, fields)
                self.output = str(fields.get("activation") or "linear")
            elif kind == "Activation" and self.dense and self.output == "linear":
                self.output = str(fields.get("activation"))
            elif kind not in PASSED or kind in ("Activation", "Masking"):
                raise BpttError(
                    f"the Keras layer {kind:.40} is not read here: SimpleRNN, LSTM or GRU layers, "
                    "then one Dense, are"
                )
        if not self.layers or self.output not in ("linear", "sigmoid", "softmax"):
            raise BpttError(f"no recurrent layer, or an output '{self.output:.40}': not read here")

    def _inside(self, fields: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any], str]:
        try:
            inner = fields["layer"]
            return str(inner["class_name"]), dict(inner["config"]), f"{name}/layer"
        except (KeyError, TypeError, ValueError):
            raise _damaged() from None

    def _recurrent(self, kind: str, fields: Mapping[str, Any], arrays: list[Array]) -> None:
        if self.dense or self.readout == "last":
            raise BpttError("a recurrent Keras layer after the last step or a Dense: not read")
        cell, activation = CELLS[kind], _checked(kind, fields)
        if self.layers and (cell, activation) != (self.cell, self.activation):
            raise BpttError("the Keras model has recurrent layers of several kinds: one is needed")
        self.cell, self.activation = cell, activation
        self.layers.append(arrays)
        if not fields.get("return_sequences", False):
            self.readout = "last"


def _find(arrays: Mapping[str, Array], name: str, fields: Mapping[str, Any]) -> list[Array]:
    """A layer's arrays, by the group numbered by class, or in older files by the layer's name."""
    for prefix in (f"layers/{name}/cell/vars/", f"layers/{name}/vars/",
                   f"_layer_checkpoint_dependencies/{name}/cell/vars/",
                   f"_layer_checkpoint_dependencies/{name}/vars/"):  # fmt: skip
        found = [arrays[f"{prefix}{k}"] for k in range(3) if f"{prefix}{k}" in arrays]
        if found:
            return found
    own = str(fields.get("name"))
    old = {path: v for path, v in arrays.items() if path.startswith(f"model_weights/{own}/")}
    order = ("/kernel:0", "/recurrent_kernel:0", "/bias:0", "/kernel", "/recurrent_kernel", "/bias")
    found = [v for end in order for path, v in old.items() if path.endswith(end)]
    if not found:
        raise _damaged(f"has no weights for layer '{own:.40}'")
    return found


def _chain_of_weights(arrays: Mapping[str, Array], activation: str | None) -> _Chain:
    """A .weights.h5 says no activations; the cell is seen from the shapes."""
    chain = object.__new__(_Chain)
    chain.layers, chain.dense, chain.output, chain.readout = [], [], "linear", "steps"
    kinds = set()
    groups: dict[str, list[Array]] = {}
    for path in sorted(arrays, key=lambda p: [int(t) if t.isdigit() else t
                                              for t in re.split(r"(\d+)", p)]):  # fmt: skip
        match = re.fullmatch(r"layers/(\w+?)(/cell)?/vars/\d", path)
        if not match:
            raise _damaged(f"has '{path:.60}': recurrent layers and one Dense are read")
        groups.setdefault(match[1], []).append(arrays[path])
    for name, found in groups.items():
        kind = re.sub(r"_\d+$", "", name)
        if kind == "dense" and not chain.dense:
            chain.dense = found
        elif kind in ("lstm", "gru", "simple_rnn") and len(found) > 1 and found[1].ndim == 2:
            kinds.add(cell_of_gates(found[1].shape[1], found[1].shape[0], activation))
            chain.layers.append(found)
        else:
            raise _damaged(f"has a layer '{name:.40}': recurrent layers and one Dense are read")
    if len(kinds) != 1:
        raise _damaged("has recurrent layers of no or several kinds")
    ((chain.cell, chain.activation),) = kinds
    return chain


def _chain(content: bytes, activation: str | None) -> _Chain:
    if content[:2] == b"PK":
        return _Chain(*_unzipped(content))
    arrays = _h5(content)
    if "@model_config" in arrays:
        return _Chain(_parse(arrays["@model_config"].item()), arrays)
    return _chain_of_weights(arrays, activation)


def _bias(cell: str, arrays: list[Array]) -> list[Array | None]:
    """The bias of the input's product and of the state's."""
    if len(arrays) < 3:
        return [None, None]
    bias = arrays[2]
    if cell == "gru":
        if bias.ndim != 2 or len(bias) != 2:
            raise BpttError("the Keras GRU has reset_after=False: another cell, not converted")
        return [bias[0], bias[1]]
    return [bias, None]


def read(
    content: bytes,
    *,
    activation: str | None = None,
    output: str | None = None,
    readout: str | None = None,
    **_: Any,
) -> Model:
    """A model from a .keras, .weights.h5 or .h5 file."""
    chain = _chain(content, activation)
    layers = []
    for arrays in chain.layers:
        if len(arrays) < 2 or any(a.ndim != 2 for a in arrays[:2]):
            raise _damaged()
        layers.append(enter(chain.cell, "keras", *arrays[:2], *_bias(chain.cell, arrays)))
    H = layers[-1][1].shape[0]
    dense = chain.dense or [np.eye(H, dtype=np.float32)]
    if dense[0].ndim != 2 or dense[0].shape[0] != H:
        raise _damaged("has a Dense that does not follow its recurrent layer")
    head = (dense[0], dense[1] if len(dense) > 1 else None)
    return assembled(chain.cell, chain.activation, layers, head, output=output or chain.output,
                     readout=readout or chain.readout)  # fmt: skip


def play(
    content: bytes, *, activation: str | None = None, output: str | None = None, **_: Any
) -> Layers:
    """Runs the file by the equations of Keras's layers."""
    chain = _chain(content, activation)
    cells, hidden = [], []
    for arrays in chain.layers:
        kernel, inner = (a.astype(np.float64) for a in arrays[:2])
        shape = (2, kernel.shape[1]) if chain.cell == "gru" else (kernel.shape[1],)
        bias = arrays[2].astype(np.float64) if len(arrays) > 2 else np.zeros(shape)
        cells.append(keras_cell(chain.cell, kernel, inner, bias, chain.activation))
        hidden.append(len(inner))
    dense = chain.dense or [np.eye(hidden[-1])]
    V = dense[0].astype(np.float64)
    c = dense[1].astype(np.float64) if len(dense) > 1 else np.zeros(V.shape[1])
    head = dense_head(V, c, output or chain.output)
    return played(cells, head, chain.cell, hidden)
