"""Other programs run what we wrote, and we what they wrote; tests skip without their program.

A hundred random networks each way with PyTorch, ONNX Runtime and Keras: all cells, one to three
layers, odd sizes, with and without biases, no parameter and no initial state zero.
"""

import io
import os
from itertools import cycle

import numpy as np
import pytest
from exchange_networks import network

import bptt
from bptt.exchange.formats import FORMATS, functions, kind_of
from bptt.exchange.model import model_of, network_of
from bptt.exchange.players import Ours

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
# Fewer where time is short.
NETWORKS = int(os.environ.get("BPTT_EXCHANGE_NETWORKS", "100"))
KINDS = [("lstm", "tanh"), ("gru", "tanh"), ("elman", "tanh"), ("elman", "relu")]
# Two float32 programs against float64, over 20 steps, relative to outputs larger than 1.
CLOSE = 3e-6


def random_network(seed, kinds=KINDS, most_layers=3, **options):
    rng = np.random.default_rng([seed, 7])
    D, H, O = (int(n) for n in rng.integers(1, (5, 14, 4)))  # noqa: E741
    cell, activation = kinds[seed % len(kinds)]
    options = {"layers": int(rng.integers(1, most_layers + 1)), "bias": seed % 5 > 0,
               "initial_state": "trainable", **options}  # fmt: skip
    spread = 0.2 if activation == "relu" else 0.4  # not to grow, and rounding with it
    made = network(cell, activation, (D, H, O), seed, spread, **options)
    return made, rng.standard_normal((20, D)).astype(np.float32)


def wanted_of(made, x):
    return Ours(model_of(made)).run(x)


def exported(made, name, folder, verify=True, **options):
    """A file of ours. The other program is the judge: only some are verified here too (slower)."""
    chosen = FORMATS[name]
    path = folder / f"net{chosen.suffix}"
    if verify:
        bptt.export(made, path, name, **options)
    else:
        path.write_bytes(chosen.function(chosen.write)(model_of(made), **options))
    return path


def read(path, verify, **options):
    if verify:
        return bptt.read(path, engine="reference", **options)
    content = path.read_bytes()
    return network_of(functions(kind_of(content))[0](content, **options), "reference")


def apart(found, wanted):
    """The largest difference, relative to what is larger than 1."""
    assert found.shape == wanted.shape
    return float((np.abs(found - wanted) / np.maximum(1, np.abs(wanted))).max())


@pytest.fixture
def say(capsys):
    """Prints a test's result, also where it passes, and judges it."""

    def one(what, differences):
        assert len(differences) == NETWORKS
        worst = max(differences)
        with capsys.disabled():
            print(f"\n{what}: {len(differences)} networks, worst difference {worst:.1e}")
        assert worst <= CLOSE

    return one


def torch_module(torch, s, **options):
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[s.cell]
    if s.cell == "elman":
        options["nonlinearity"] = s.activation

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(s.inputs, s.hidden, s.layers, batch_first=True,
                            bidirectional=s.bidirectional, **options)  # fmt: skip
            self.head = torch.nn.Linear(s.features, s.outputs)

        def forward(self, x, state=None):
            return self.head(self.rnn(x, state)[0])

    return Net()


def run_module(torch, module, x, state=None):
    with torch.no_grad():
        return module(torch.from_numpy(x[None]), state)[0].numpy()


def test_torch_runs_what_we_wrote(tmp_path, say):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from safetensors.torch import load_file

    found = []
    for seed in range(NETWORKS):
        made, x = random_network(seed, bidirectional=seed % 3 == 1)
        module, tensors = torch_module(torch, made.structure), {}
        tensors = load_file(exported(made, "torch", tmp_path, seed % 10 == 0))
        states = [tensors.pop(k)[:, None] for k in ("h0", "c0") if k in tensors]
        module.load_state_dict(tensors)
        state = tuple(states) if len(states) == 2 else states[0]
        found.append(apart(run_module(torch, module, x, state), wanted_of(made, x)))
    say("PyTorch runs what we wrote", found)


def test_we_run_what_torch_wrote(tmp_path, say):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from safetensors.torch import save_file

    def save(tensors, path):
        torch.save(tensors, path, _use_new_zipfile_serialization=path.suffix != ".old")

    ways, found = cycle([("new.pt", save), ("old.old", save), ("new.safetensors", save_file)]), []
    for seed, (name, write) in zip(range(NETWORKS), ways, strict=False):
        made, x = random_network(seed, bidirectional=seed % 3 == 1)
        torch.manual_seed(seed)  # all their parameters are random
        module = torch_module(torch, made.structure, bias=seed % 4 > 0)
        write(module.state_dict(), tmp_path / name)
        activation = made.structure.activation
        net = read(tmp_path / name, seed % 5 == 0, activation=activation)
        theirs = run_module(torch, module, x)
        found.append(apart(wanted_of(net, x), theirs))
        if seed % 5 == 0:
            again = bptt.from_torch(module, engine="reference")
            np.testing.assert_array_equal(again.theta, net.theta)
    say("we run what PyTorch wrote", found)


def _onnx_start(made):
    s, initial = made.structure, model_of(made).initial()
    names = [
        (f"{letter}{k + 1}" if s.layers > 1 else letter, k, index)
        for k in range(s.layers)
        for index, letter in enumerate(s.equations.states)
    ]
    return {f"{name}_in": initial[k, index][None, None] for name, k, index in names}


def test_onnxruntime_runs_what_we_wrote_and_onnx_finds_no_fault(tmp_path, say):
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    found = []
    for seed in range(NETWORKS):
        output = ("linear", "sigmoid", "softmax")[seed % 3]
        kinds = [*KINDS, ("elman", "sigmoid")]
        made, x = random_network(seed, kinds, output=output)
        path = exported(made, "onnx", tmp_path, seed % 10 == 0)
        onnx.checker.check_model(str(path), full_check=True)
        session, start = runtime.InferenceSession(str(path)), _onnx_start(made)
        whole = session.run(None, {"x": x[:, None], **start})[0][:, 0]
        wanted = wanted_of(made, x)
        found.append(apart(whole, wanted))
        two = session.run(None, {"x": np.stack([x, x], 1), **{k: np.repeat(v, 2, 1) for k, v in
                                                             start.items()}})[0]  # fmt: skip
        assert apart(two[:, 1], wanted) <= CLOSE  # the batch is free
        session = runtime.InferenceSession(
            str(exported(made, "onnx", tmp_path, seed % 10 == 0, step=True))
        )
        rows = []
        for row in x:  # a step at a time, the states fed back
            y, *states = session.run(None, {"x": row[None, None], **start})
            start = dict(zip(start, states, strict=True))
            rows.append(y[0, 0])
        assert apart(np.array(rows), wanted) <= CLOSE
    say("ONNX Runtime runs what we wrote, at once and step by step", found)


def test_we_run_the_onnx_that_torch_wrote_as_onnxruntime_does(tmp_path, say):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("onnx", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    found, path = [], tmp_path / "theirs.onnx"
    for seed in range(NETWORKS):
        made, x = random_network(seed)
        torch.manual_seed(seed)
        module, file = torch_module(torch, made.structure), io.BytesIO()
        torch.onnx.export(module, (torch.from_numpy(x[None]),), file, dynamo=False,
                          opset_version=17, input_names=["x"])  # fmt: skip
        path.write_bytes(file.getvalue())
        theirs = runtime.InferenceSession(str(path)).run(None, {"x": x[None]})[0][0]
        found.append(apart(wanted_of(read(path, seed % 5 == 0), x), theirs))
    say("we run the ONNX that PyTorch wrote, as ONNX Runtime does", found)


@pytest.fixture
def keras(monkeypatch):
    pytest.importorskip("h5py", reason="needs h5py")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    return pytest.importorskip("keras", reason="needs Keras")


KERAS_KINDS = [*KINDS, ("elman", "sigmoid")]


def run_keras(keras, model, x):
    return np.asarray(keras.ops.convert_to_numpy(model(x[None])))[0]


def test_keras_runs_what_we_wrote(keras, tmp_path, say):
    found = []
    for seed in range(NETWORKS):
        made, x = random_network(seed, KERAS_KINDS, initial_state="zeros")
        theirs = keras.saving.load_model(
            exported(made, "keras", tmp_path, seed % 10 == 0), compile=False
        )
        if seed % 2:
            theirs.set_weights([0 * w for w in theirs.get_weights()])
            theirs.load_weights(exported(made, "keras-weights", tmp_path, seed % 10 == 1))
        found.append(apart(run_keras(keras, theirs, x), wanted_of(made, x)))
    say("Keras runs what we wrote", found)


def test_we_run_what_keras_wrote(keras, tmp_path, say):
    found = []
    for seed in range(NETWORKS):
        made, x = random_network(seed, KERAS_KINDS)
        s, rng = made.structure, np.random.default_rng(seed)
        classes = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}
        last, bias = seed % 7 == 0, seed % 5 > 0
        layers = [
            getattr(keras.layers, classes[s.cell])(
                s.hidden, activation=s.activation, use_bias=bias,
                return_sequences=k < s.layers - 1 or not last,
            )
            for k in range(s.layers)
        ]  # fmt: skip
        head = keras.layers.Dense(s.outputs, activation=("linear", "sigmoid")[seed % 2])
        entry = keras.Input((None, s.inputs))
        if seed % 3:
            model = keras.Sequential([entry, *layers, keras.layers.Dropout(0.2), head])
        else:
            value = entry
            for layer in (*layers, head):
                value = layer(value)
            model = keras.Model(entry, value)
        spread = 0.2 if s.activation == "relu" else 0.4
        model.set_weights([rng.normal(0, spread, w.shape) for w in model.get_weights()])
        name = "net.keras" if seed % 4 else "net.weights.h5"
        (model.save if seed % 4 else model.save_weights)(tmp_path / name)
        more = {} if seed % 4 else {
            "activation": s.activation, "output": ("linear", "sigmoid")[seed % 2],
            "readout": "last" if last else "steps",
        }  # fmt: skip
        net = read(tmp_path / name, seed % 5 == 0, **more)
        assert net.structure.readout == ("last" if last else "steps")
        mine, theirs = wanted_of(net, x), run_keras(keras, model, x)
        found.append(apart(mine[-1] if last else mine, theirs))
    say("we run what Keras wrote", found)


@pytest.mark.parametrize("seed", range(4))
def test_flax_and_equinox_run_what_we_wrote(seed, tmp_path):
    nn = pytest.importorskip("flax.linen", reason="needs Flax")
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    import jax
    from safetensors.numpy import load_file

    made, x = random_network(seed, KINDS[:2], layers=1, initial_state="zeros")
    x = x[:6]
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
    assert apart(np.array(found), wanted_of(made, x)) <= CLOSE
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
    assert apart(np.array(found), wanted_of(made, x)) <= CLOSE


@pytest.mark.parametrize("seed", [0, 1])
def test_wasm_runs(seed, tmp_path):
    pytest.importorskip("wasmtime", reason="needs wasmtime")
    pytest.importorskip("ziglang", reason="needs ziglang")
    made, _ = random_network(seed, output=("softmax", "linear")[seed])
    checked = bptt.export(made, tmp_path / "net.wasm", name="my_net")
    assert checked.passed
    assert (tmp_path / "net.mjs").exists()
    assert (tmp_path / "net.wasm").stat().st_size < 20_000
