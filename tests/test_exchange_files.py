"""Other programs' files: what goes out comes back, what does not fit is refused, in one line."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from exchange_networks import network

import bptt
from bptt.commands.exchange import check_file, export_run
from bptt.exchange import onnx_files
from bptt.exchange.c_reader import Twin
from bptt.exchange.doors import check
from bptt.exchange.formats import FORMATS, functions, kind_of
from bptt.exchange.guitar import read as read_guitar
from bptt.exchange.model import Affine, model_of
from bptt.exchange.players import Ours
from bptt.exchange.torch_files import from_state_dict

DATA = Path(__file__).parent / "data" / "exchange"
NO_LIBRARY = {"keras": "h5py", "keras-weights": "h5py", "wasm": "wasmtime"}
FILES = ["numpy", "torch", "onnx", "keras", "keras-weights", "flax", "equinox", "rtneural"]


def exported(made, name, folder, **options):
    """The file, or a skip where what it needs is not here."""
    if name in NO_LIBRARY:
        pytest.importorskip(NO_LIBRARY[name], reason=f"{name} needs {NO_LIBRARY[name]}")
    path = folder / f"net{FORMATS[name].suffix}"
    return path, bptt.export(made, path, name, **options)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_what_goes_out_comes_back(name, cell, tmp_path):
    if cell == "elman" and name in ("equinox", "rtneural"):
        pytest.skip("it has no such cell: refused, see below")
    initial = "trainable" if "initial" in FORMATS[name].holds and name != "rtneural" else "zeros"
    output = {"lstm": "linear", "gru": "softmax", "elman": "sigmoid"}[cell]
    made = network(cell, sizes=(3, 5, 2), output=output, layers=2, initial_state=initial)
    path, checked = exported(made, name, tmp_path)
    assert checked.passed
    assert checked.worst < 1e-9
    assert "worst difference" in str(checked)
    if name == "numpy":
        return
    options = {"output": output, "activation": "tanh"} if name == "keras-weights" else {}
    back = bptt.read(path, engine="reference", **options)
    assert back.structure.output == output
    for parameter, value in made.parameters.items():
        np.testing.assert_array_equal(back[parameter], value, err_msg=parameter)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", [*FILES[1:], "nam"])
def test_round_trips_keep_the_function(name, seed, tmp_path):
    """All cells, one to three layers, odd sizes, with and without biases, nothing that is zero."""
    if name in NO_LIBRARY:
        pytest.importorskip(NO_LIBRARY[name], reason=f"{name} needs {NO_LIBRARY[name]}")
    rng = np.random.default_rng([seed, 3])
    cells = {"equinox": ("lstm", "gru"), "rtneural": ("lstm", "gru"), "nam": ("lstm",)}
    cell = cells.get(name, ("lstm", "gru", "elman"))[seed % len(cells.get(name, "abc"))]
    relu = name in ("torch", "onnx", "keras") and seed % 2
    sizes = (1, int(rng.integers(1, 12)), 1) if name == "nam" else rng.integers(1, 12, 3).tolist()
    initial = name != "rtneural" and "initial" in FORMATS[name].holds
    made = network(
        cell, "relu" if relu and cell == "elman" else "tanh", sizes, seed,
        0.2 if relu else 0.4, layers=int(rng.integers(1, 4)), bias=bool(seed % 4),
        initial_state="trainable" if initial else "zeros",
    )  # fmt: skip
    chosen, path = FORMATS[name], tmp_path / f"net{FORMATS[name].suffix}"
    path.write_bytes(chosen.function(chosen.write)(model_of(made)))
    more = {"activation": made.structure.activation} if name == "keras-weights" else {}
    read = functions(kind_of(path.read_bytes()))[0]
    x = rng.standard_normal((15, sizes[0]))
    back = Ours(read(path.read_bytes(), **more)).run(x)
    np.testing.assert_allclose(back, Ours(model_of(made)).run(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["numpy", "torch", "onnx"])
def test_what_is_added_and_scaled_goes_with_it(name, tmp_path):
    made = network("lstm", sizes=(3, 4, 2))
    around = {"skip": 2, "classes": ("a", "b")}
    if name != "torch":
        rng = np.random.default_rng(0)
        around["scaling"] = Affine(*rng.uniform(0.5, 2, (2, 3)), *rng.uniform(0.5, 2, (2, 2)))
    path, _ = exported(made, name, tmp_path, **around)
    if name == "numpy":
        return
    with pytest.raises(bptt.BpttError, match="adds the first input"):
        bptt.read(path)
    model = bptt.read_file(path)
    assert (model.skip, model.classes) == (2, ("a", "b"))
    x = np.random.default_rng(1).standard_normal((9, 3))
    wanted = model_of(made, **around)
    np.testing.assert_allclose(Ours(model).run(x), Ours(wanted).run(x), atol=1e-6)


FITTED = [("keras", "h5py"), ("torch", None), ("aidax", None), ("c", None)]


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x = 3 + 2 * rng.standard_normal((6, 40, 1))
    data = bptt.Sequences(x, 50 * x.cumsum(axis=1) / 40 - 7, kind="numbers", per="step")
    return bptt.fit(data, hidden=8, epochs=2, batch=3, seed=1, engine="reference"), x


@pytest.mark.parametrize(("name", "library"), FITTED)
def test_what_was_fitted_goes_out_with_its_scaling(name, library, fitted, tmp_path):
    """As `predict` gives it, in the units of the data, whatever the format has room for."""
    if library:
        pytest.importorskip(library, reason=f"{name} needs {library}")
    model, x = fitted
    path = tmp_path / f"net{FORMATS[name].suffix}"
    assert bptt.export(model, path, name, inputs=x).passed
    assert check(model, path, name).passed
    wanted = np.array(model.predict(x))[..., None]
    if name == "c":
        found = Twin(path.read_text()).run(x[0])
    else:
        found = Ours(bptt.read_file(path)).run(x[0])
    # float32 on either side, with outputs of about 100
    np.testing.assert_allclose(found, wanted[0], rtol=0, atol=1e-4)


def test_a_fitted_run_goes_out_by_the_command_with_its_scaling(fitted, tmp_path):
    model, x = fitted
    data = bptt.Sequences(x, x, kind="numbers", per="step")
    other = bptt.fit(data, hidden=8, epochs=1, out=tmp_path / "run", seed=2, engine="reference")
    model.save(tmp_path / "model.safetensors")
    for path, fit in ((tmp_path / "run", other), (tmp_path / "model.safetensors", model)):
        values, _ = export_run(path, "aidax", tmp_path / "net.json", None, 44100, {})
        assert values["passed"]
        assert check_file(path, tmp_path / "net.json", "aidax")[0]["passed"]
        found = Ours(bptt.read_file(tmp_path / "net.json")).run(x[0])
        np.testing.assert_allclose(found[:, 0], fit.predict(x)[0], rtol=0, atol=1e-4)


def test_quantiles_and_scaled_sigmoids_are_refused():
    rng = np.random.default_rng(0)
    scaling = Affine(*rng.uniform(0.5, 2, (4, 2)))
    made = network("lstm", sizes=(2, 4, 2), output="sigmoid", initial_state="zeros")
    with pytest.raises(bptt.BpttError, match="cannot be put into the weights beside the output"):
        bptt.export(made, "net.keras", scaling=scaling)
    x = rng.standard_normal((4, 9, 1))
    data = bptt.Sequences(x, x, kind="numbers", per="step")
    many = bptt.fit(data, hidden=2, epochs=1, loss="pinball", quantiles=(0.1, 0.5, 0.9), seed=1,
                    engine="reference", validation=0)  # fmt: skip
    with pytest.raises(bptt.BpttError, match="3 quantiles were learned"):
        bptt.export(many, "net.c")


GUITARS = [
    ("aidax", "gru", (2, 12, 1), {}),
    ("aidax", "lstm", (1, 16, 1), {"skip": 1}),
    ("guitarml", "lstm", (1, 40, 1), {"skip": 1}),
    ("guitarml", "gru", (3, 8, 1), {"skip": 1}),
    ("nam", "lstm", (1, 7, 1), {"layers": 2, "initial_state": "trainable"}),
]


@pytest.mark.parametrize(("name", "cell", "sizes", "more"), GUITARS)
def test_guitar_files_come_back(name, cell, sizes, more, tmp_path):
    more = dict(more)
    skip = more.pop("skip", 0)
    made = network(cell, sizes=sizes, **{"initial_state": "zeros", **more})
    path, checked = exported(made, name, tmp_path, skip=skip)
    assert checked.worst < 1e-9
    model = bptt.read_file(path)
    assert model.skip == skip
    for parameter, value in made.parameters.items():
        np.testing.assert_array_equal(model.weights[parameter], value)


@pytest.mark.parametrize(
    ("name", "cell", "sizes", "options", "words"),
    [
        ("aidax", "gru", (1, 10, 1), {}, "8, 12, 16, 20, 24, 32, 40, 64, 80"),
        ("aidax", "gru", (4, 8, 1), {}, "1 to 3 inputs"),
        ("guitarml", "lstm", (1, 16, 1), {"skip": 1}, "LSTM 40"),
        ("guitarml", "lstm", (1, 40, 1), {}, "always add the input"),
        ("nam", "gru", (1, 8, 1), {}, "NAM plays an LSTM"),
        ("nam", "lstm", (1, 8, 1), {"skip": 1}, "adds no input"),
        ("nam", "lstm", (1, 8, 2), {}, "one linear output"),
        ("rtneural", "elman", (1, 8, 1), {}, "no Elman"),
        ("equinox", "elman", (1, 8, 1), {}, "Equinox has LSTM and GRU"),
        ("keras", "lstm", (1, 8, 1), {"skip": 1}, "no room for the input added"),
        ("torch", "lstm", (1, 8, 1), {"math": "fast"}, "has no math"),
        ("tflite", "lstm", (1, 8, 1), {}, "is not known: choose one of"),
    ],
)
def test_what_a_format_does_not_hold_is_refused(name, cell, sizes, options, words, tmp_path):
    made = network(cell, sizes=sizes, initial_state="zeros")
    with pytest.raises(bptt.BpttError, match=words) as error:
        bptt.export(made, tmp_path / "net.x", name, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_rnn_sigmoid_has_no_place_in_torch():
    with pytest.raises(bptt.BpttError, match=r"torch\.nn\.RNN has tanh and relu"):
        bptt.to_torch(network("elman", "sigmoid"))


# What other programs wrote, with the outputs that their makers computed.


def makers(name):
    x, y = (np.loadtxt(DATA / "rtneural" / f"{name}_{side}_python.csv") for side in "xy")
    return x[:, None], y[:, None]


@pytest.mark.parametrize("name", ["lstm_1d", "gru_torch", "lstm_torch"])
def test_it_agrees_with_the_makers_of_a_file(name):
    x, y = makers(name)
    model = bptt.read_file(DATA / "rtneural" / f"{name}.json")
    assert model.structure.layers == (1 if name == "lstm_1d" else 4)
    worst = np.abs(Ours(model).run(x) - y).max()
    assert worst < 4e-7  # their arithmetic is float32


def test_a_gru_before_two_dense_layers_is_refused_and_right_without_the_last():
    with pytest.raises(bptt.BpttError, match=r"layers are gru, dense, dense"):
        bptt.read(DATA / "rtneural" / "gru_1d.json")
    value = json.loads((DATA / "rtneural" / "gru_1d.json").read_text())
    last = value["layers"].pop()["weights"]
    model = read_guitar(json.dumps(value).encode())
    x, y = makers("gru_1d")
    mine = Ours(model).run(x) @ np.array(last[0]) + np.array(last[1])
    assert np.abs(mine - y).max() < 4e-7


def test_a_nam_file_brings_its_initial_state(tmp_path):
    network = bptt.read(DATA / "nam" / "lstm.nam", engine="reference")
    assert network.structure.initial_state == "trainable"
    flat = json.loads((DATA / "nam" / "lstm.nam").read_text())["weights"]
    np.testing.assert_allclose(network["h0"], flat[4 * 3 * 4 + 12 :][:3], rtol=1e-7)
    bptt.export(network, tmp_path / "again.nam")
    np.testing.assert_allclose(json.loads((tmp_path / "again.nam").read_text())["weights"], flat,
                               rtol=1e-7)  # fmt: skip


def test_a_file_that_fails_its_own_test_is_refused(tmp_path):
    made = network("gru", sizes=(1, 8, 1), initial_state="zeros")
    path, _ = exported(made, "aidax", tmp_path)
    value = json.loads(path.read_text())
    value["output_batch"][7] += 0.01
    path.write_text(json.dumps(value))
    with pytest.raises(bptt.BpttError, match="own test"):
        bptt.read(path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"rnn.weight_hr_l0": np.zeros((2, 3))}, "projects"),
        ({"rnn.weight_ih_l0_reverse": np.zeros((8, 1))}, "no weight_hh of 2 axes"),
        ({f"rnn.weight_{each}_l1_reverse": np.zeros((8, 2)) for each in ("ih", "hh")}, "or lack"),
        ({"norm.weight": np.zeros(2)}, "norm.weight"),
        ({"one.weight": np.zeros((1, 2)), "two.weight": np.zeros((1, 1))}, "'two.weight'"),
    ],
)
def test_a_state_dict_with_more_in_it_is_refused(tensors, words):
    found = bptt.to_torch(network("lstm", sizes=(1, 2, 1), initial_state="zeros"))
    del found["head.weight"], found["head.bias"]
    with pytest.raises(bptt.BpttError, match=words):
        from_state_dict({**found, **tensors})


OTHER_CELLS = [
    ("gru", {"linear_before_reset": 0}, None, "resets before the product"),
    ("lstm", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, None, "HardSigmoid"),
    ("elman", {"activations": ["Softsign"]}, None, "Softsign"),
    ("lstm", {"direction": "bidirectional"}, None, "goes bidirectional"),
    ("gru", {"direction": "reverse"}, None, "goes reverse"),
    ("lstm", {"layout": 1}, None, "has layout 1"),
    ("lstm", {"input_forget": 1}, None, "couples input and forget gate"),
    ("elman", {"clip": "3"}, None, "clips its preactivations"),
    ("lstm", {}, 4, "takes sequence lengths"),
    ("lstm", {}, 7, "has peepholes"),
]


@pytest.mark.parametrize(("cell", "attributes", "place", "words"), OTHER_CELLS)
def test_onnx_of_another_cell_is_refused(cell, attributes, place, words, tmp_path, monkeypatch):
    node = onnx_files._Graph.node

    def other(self, kind, inputs, outputs, **given):
        if kind in ("RNN", "GRU", "LSTM"):
            given.update(attributes)
            inputs = [*inputs, ""] if place and place >= len(inputs) else list(inputs)
            if place:
                inputs[place] = "B1"
        return node(self, kind, inputs, outputs, **given)

    monkeypatch.setattr(onnx_files._Graph, "node", other)
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_files.write(model_of(network(cell, initial_state="zeros"))))
    with pytest.raises(bptt.BpttError, match=words) as error:
        bptt.read(path)
    assert "\n" not in str(error.value)


KERAS_CELLS = [
    ("gru", {"reset_after": False}, "reset_after=False"),
    ("gru", {"recurrent_activation": "hard_sigmoid"}, "'hard_sigmoid'"),
    ("lstm", {"activation": "relu"}, "activation 'relu'"),
    ("lstm", {"go_backwards": True}, "go_backwards"),
    ("lstm", {"return_state": True}, "return_state"),
    ("lstm", {"dropout": 0.3, "recurrent_dropout": 0.2, "unit_forget_bias": True}, ""),
]


@pytest.mark.parametrize(("cell", "fields", "words"), KERAS_CELLS)
def test_keras_layers_of_another_cell_are_refused(cell, fields, words, tmp_path):
    """Dropout is of the training alone, and so is what a bias begins with: both are passed over."""
    made = network(cell, initial_state="zeros")
    path, _ = exported(made, "keras", tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"].update(fields)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if not words:
        np.testing.assert_array_equal(bptt.read(path, engine="reference").theta, made.theta)
        return
    with pytest.raises(bptt.BpttError, match=words):
        bptt.read(path)


def test_from_torch_takes_a_state_dict_and_asks_for_what_it_does_not_say():
    made = network("elman", "relu", sizes=(2, 3, 2), initial_state="zeros")
    found = bptt.to_torch(made)
    with pytest.raises(bptt.BpttError, match="activation='tanh' or 'relu'"):
        bptt.from_torch(found)
    back = bptt.from_torch(found, activation="relu", output="sigmoid", engine="reference")
    assert (back.structure.activation, back.structure.output) == ("relu", "sigmoid")
    np.testing.assert_array_equal(back.theta, made.theta)


# .pt files, made as PyTorch makes them.


class _Named:
    """Pickles as a name of another module."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Pickler(pickle._Pickler):
    """A pickler that writes names and storages as PyTorch does."""

    def persistent_id(self, value):
        return value.parts if isinstance(value, _Stored) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Named):
            self.write(f"c{value.module}\n{value.name}\n".encode())
            return
        if isinstance(value, _Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
            return
        super().save(value, save_persistent_id)


class _Stored:
    def __init__(self, kind, key, count):
        self.parts = ("storage", _Named("torch", kind), key, "cpu", count)


class _Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


def pt_file(tensors, extra=()):
    """A .pt file of a state dict, as torch.save makes it."""
    rebuild = _Named("torch._utils", "_rebuild_tensor_v2")
    state, blocks = {}, []
    for key, (name, value) in enumerate(tensors.items()):
        stored = _Stored("FloatStorage", str(key), value.size)
        strides = tuple(step // 4 for step in np.ascontiguousarray(value).strides)
        state[name] = _Call(rebuild, stored, 0, value.shape, strides, False, {})
        blocks.append(np.ascontiguousarray(value, np.float32).tobytes())
    state.update(extra)
    file, out = io.BytesIO(), io.BytesIO()
    _Pickler(file, 2).dump(state)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("net/data.pkl", file.getvalue())
        archive.writestr("net/byteorder", "little")
        for key, block in enumerate(blocks):
            archive.writestr(f"net/data/{key}", block)
    return out.getvalue()


def test_a_pt_file_is_read_without_torch(tmp_path):
    made = network("gru", sizes=(2, 5, 1), initial_state="zeros")
    path = tmp_path / "net.pt"
    path.write_bytes(pt_file(bptt.to_torch(made)))
    assert kind_of(path.read_bytes()) == "pt"
    np.testing.assert_array_equal(bptt.read(path, engine="reference").theta, made.theta)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch.hub", "FloatStorage")],
)
def test_a_pt_file_that_asks_for_a_program_is_refused_and_does_not_run(module, name, tmp_path):
    path, mark = tmp_path / "net.pt", tmp_path / "was-here"
    called = _Call(_Named(module, name), f"touch {mark}")
    path.write_bytes(pt_file({}, extra={"a": called}))
    with pytest.raises(bptt.BpttError, match=rf"asks for '{module}\.{name}'"):
        bptt.read(path)
    assert not mark.exists()


def test_check_tells_another_networks_file(tmp_path):
    made, other = network("gru", seed=1), network("gru", seed=2)
    path, _ = exported(made, "onnx", tmp_path)
    assert check(made, path).passed
    assert not check(other, path).passed


def test_a_python_file_that_does_more_is_not_run(tmp_path):
    made = network("gru")
    path, _ = exported(made, "numpy", tmp_path)
    mark = tmp_path / "was-here"
    for line in (f"open({str(mark)!r}, 'w')\n", f"X = open({str(mark)!r}, 'w')\n", "import os\n"):
        text = path.read_text()
        changed = tmp_path / "changed.py"
        changed.write_text(text.replace("CELL, ACT", f"{line}CELL, ACT", 1))
        with pytest.raises(bptt.BpttError, match="not run"):
            check(made, changed)
    assert not mark.exists()
