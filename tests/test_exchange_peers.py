"""Other programs run what we wrote, and we what they wrote; tests skip without their program."""

import io

import numpy as np
import pytest
from exchange_networks import network

import bptt
from bptt.exchange.formats import FORMATS
from bptt.exchange.model import model_of
from bptt.exchange.players import Ours

pytestmark = pytest.mark.filterwarnings("ignore")
SEEDS = range(6)
CLOSE = {"rtol": 0, "atol": 3e-6}  # two float32 programs, outputs of order 1


def random_network(seed, cells=("lstm", "gru", "elman"), **options):
    rng = np.random.default_rng([seed, 7])
    D, H, O = (int(n) for n in rng.integers(1, (4, 11, 4)))  # noqa: E741
    cell = cells[seed % len(cells)]
    options = {"layers": 1 + seed // 3 % 2, "initial_state": "zeros", **options}
    made = network(cell, sizes=(D, H, O), seed=seed, **options)
    return made, rng.standard_normal((20, D)).astype(np.float32)


def wanted_of(made, x):
    return Ours(model_of(made)).run(x)


def exported(made, name, folder, **options):
    path = folder / f"net{FORMATS[name].suffix}"
    bptt.export(made, path, name, **options)
    return path


def torch_module(torch, made):
    s = made.structure
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[s.cell]

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(s.inputs, s.hidden, s.layers, batch_first=True)
            self.head = torch.nn.Linear(s.hidden, s.outputs)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    return Net()


@pytest.mark.parametrize("seed", SEEDS)
def test_torch_runs_what_we_wrote_and_we_what_it_wrote(seed, tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from safetensors.torch import load_file, save_file

    made, x = random_network(seed)
    module = torch_module(torch, made)
    module.load_state_dict(load_file(exported(made, "torch", tmp_path)))
    with torch.no_grad():
        theirs = module(torch.from_numpy(x[None]))[0].numpy()
    np.testing.assert_allclose(theirs, wanted_of(made, x), **CLOSE)
    torch.manual_seed(seed)
    module = torch_module(torch, made)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x[None]))[0].numpy()
    paths = [tmp_path / name for name in ("new.pt", "old.pt", "new.safetensors")]
    torch.save(module.state_dict(), paths[0])
    torch.save(module.state_dict(), paths[1], _use_new_zipfile_serialization=False)
    save_file(module.state_dict(), paths[2])
    nets = [bptt.read(p, engine="reference", activation="tanh") for p in paths]
    for net in (*nets, bptt.from_torch(module, engine="reference")):
        np.testing.assert_allclose(wanted_of(net, x), theirs, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_onnxruntime_runs_what_we_wrote_and_onnx_finds_no_fault(seed, tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    output = ("linear", "sigmoid", "softmax")[seed % 3]
    made, x = random_network(seed, initial_state="trainable", output=output)
    path = exported(made, "onnx", tmp_path)
    onnx.checker.check_model(str(path), full_check=True)
    model, s = model_of(made), made.structure
    names = [
        (f"{letter}{k + 1}" if s.layers > 1 else letter, k, index)
        for k in range(s.layers)
        for index, letter in enumerate(s.equations.states)
    ]
    session = runtime.InferenceSession(str(path))
    start = {f"{n}_in": model.initial()[k, i][None, None] for n, k, i in names}
    whole = session.run(None, {"x": x[:, None], **start})[0][:, 0]
    np.testing.assert_allclose(whole, wanted_of(made, x), **CLOSE)
    session = runtime.InferenceSession(str(exported(made, "onnx", tmp_path, step=True)))
    for t in range(len(x)):  # a step at a time, the states fed back
        y, *states = session.run(None, {"x": x[t][None, None], **start})
        start = {f"{n}_in": state for (n, _, _), state in zip(names, states, strict=True)}
        np.testing.assert_allclose(y[0, 0], whole[t], **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_onnx_that_torch_wrote(seed, tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("onnx", reason="needs onnx")
    made, x = random_network(seed)
    module = torch_module(torch, made)
    file = io.BytesIO()
    try:
        torch.onnx.export(module, (torch.from_numpy(x[None]),), file, dynamo=False,
                          opset_version=17)  # fmt: skip
    except Exception as error:
        pytest.skip(f"this PyTorch does not write ONNX here: {error!s:.60}")
    path = tmp_path / "theirs.onnx"
    path.write_bytes(file.getvalue())
    with torch.no_grad():
        theirs = module(torch.from_numpy(x[None]))[0].numpy()
    net = bptt.read(path, engine="reference")
    np.testing.assert_allclose(wanted_of(net, x), theirs, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_keras_runs_what_we_wrote_and_we_what_it_wrote(seed, tmp_path, monkeypatch):
    pytest.importorskip("h5py", reason="needs h5py")
    backend = "torch" if pytest.importorskip("torch", reason="needs PyTorch") else ""
    monkeypatch.setenv("KERAS_BACKEND", backend)
    keras = pytest.importorskip("keras", reason="needs Keras")
    made, x = random_network(seed)
    theirs = keras.saving.load_model(exported(made, "keras", tmp_path), compile=False)
    found = keras.ops.convert_to_numpy(theirs(x[None]))[0]
    np.testing.assert_allclose(found, wanted_of(made, x), **CLOSE)
    theirs.load_weights(exported(made, "keras-weights", tmp_path))
    theirs.save(tmp_path / "again.keras")
    theirs.save_weights(tmp_path / "again.weights.h5")
    for name in ("again.keras", "again.weights.h5"):
        net = bptt.read(tmp_path / name, engine="reference", activation="tanh")
        np.testing.assert_allclose(net.theta, made.theta, atol=1e-7)
    theirs.set_weights([np.random.default_rng(k).normal(0, 0.4, w.shape) for k, w in
                        enumerate(theirs.get_weights())])  # fmt: skip
    theirs.save(tmp_path / "new.keras")
    net = bptt.read(tmp_path / "new.keras", engine="reference")
    found = keras.ops.convert_to_numpy(theirs(x[None]))[0]
    np.testing.assert_allclose(wanted_of(net, x), found, **CLOSE)


@pytest.mark.parametrize("seed", range(4))
def test_flax_and_equinox_run_what_we_wrote(seed, tmp_path):
    nn = pytest.importorskip("flax.linen", reason="needs Flax")
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    import jax
    from safetensors.numpy import load_file

    made, x = random_network(seed, cells=("lstm", "gru"), layers=1)
    s = made.structure
    flat = load_file(exported(made, "flax", tmp_path))
    params = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        node = params
        for key in path:
            node = node.setdefault(key, {})
        node[last] = value
    cell = (nn.LSTMCell if s.cell == "lstm" else nn.GRUCell)(features=s.hidden)
    zero = np.zeros(s.hidden, np.float32)
    carry, found = ((zero, zero) if s.cell == "lstm" else zero), []
    for row in x:
        carry, h = cell.apply({"params": params["layers_0"]}, carry, row)
        found.append(nn.Dense(s.outputs).apply({"params": params["head"]}, h))
    np.testing.assert_allclose(np.array(found), wanted_of(made, x), **CLOSE)
    flat = load_file(exported(made, "equinox", tmp_path))
    kind = eqx.nn.LSTMCell if s.cell == "lstm" else eqx.nn.GRUCell
    cell = kind(s.inputs, s.hidden, key=jax.random.key(0))
    for name in ("weight_ih", "weight_hh", "bias", "bias_n")[: 4 if s.cell == "gru" else 3]:
        cell = eqx.tree_at(lambda c, name=name: getattr(c, name), cell, flat[f"layers.0.{name}"])
    state, found = ((zero, zero) if s.cell == "lstm" else zero), []
    for row in x:
        state = cell(row, state)
        h = state[0] if s.cell == "lstm" else state
        found.append(flat["head.weight"] @ h + flat["head.bias"])
    np.testing.assert_allclose(np.array(found), wanted_of(made, x), **CLOSE)


@pytest.mark.parametrize("seed", [0, 1])
def test_wasm_runs(seed, tmp_path):
    pytest.importorskip("wasmtime", reason="needs wasmtime")
    pytest.importorskip("ziglang", reason="needs ziglang")
    made, _ = random_network(seed, initial_state="trainable", output=("softmax", "linear")[seed])
    checked = bptt.export(made, tmp_path / "net.wasm", name="my_net")
    assert checked.passed
    assert (tmp_path / "net.mjs").exists()
    assert (tmp_path / "net.wasm").stat().st_size < 20_000
