"""Values, final states and every gradient against PyTorch's nn.RNN, nn.LSTM and nn.GRU.

PyTorch's layers are another implementation of the same equations, by other people:

    ours                                   theirs
    U (D, G*H), W (H, G*H)                 weight_ih_l0.T, weight_hh_l0.T
    b of Elman and LSTM                    bias_ih_l0 + bias_hh_l0
    b of the GRU, blocks r, z, n, q        r, z summed; n of bias_ih_l0; q is n of bias_hh_l0
    gate orders i, f, g, o and r, z, n     the same
"""

from typing import Any

import numpy as np
import pytest

from bptt import Network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

# Sums of a few hundred terms in float64, on either side; the issue asks 1e-10.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
B, T, D, H, O = 4, 7, 2, 5, 3  # noqa: E741
LENGTHS = np.array([3, 7, 1, 6])
KINDS = [("elman", "tanh"), ("elman", "relu"), ("lstm", "tanh"), ("gru", "tanh")]


def peer_of(network: Network) -> tuple[Any, Any]:
    """PyTorch's recurrent layers and output layer with the network's weights."""
    s = network.structure
    options = {"num_layers": s.layers, "bias": s.bias, "batch_first": True, "dtype": torch.float64,
               "bidirectional": s.bidirectional}  # fmt: skip
    if s.cell == "elman":
        layers = torch.nn.RNN(s.inputs, s.hidden, nonlinearity=s.activation, **options)
    else:
        layers = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[s.cell](s.inputs, s.hidden, **options)
    head = torch.nn.Linear(s.features, s.outputs, bias=s.bias, dtype=torch.float64)
    with torch.no_grad():
        for k in range(s.recurrences):
            names, their = {letter: s.name(letter, k) for letter in "UWb"}, their_name(network, k)
            getattr(layers, f"weight_ih_{their}").copy_(tensor(network[names["U"]].T))
            getattr(layers, f"weight_hh_{their}").copy_(tensor(network[names["W"]].T))
            if s.bias:
                b, width = network[names["b"]], len(s.equations.gate_names) * s.hidden
                # all of it on one side, but for the GRU's q, which is the other side's n
                getattr(layers, f"bias_ih_{their}").copy_(tensor(b[:width]))
                other = getattr(layers, f"bias_hh_{their}")
                other.zero_()
                if s.cell == "gru":
                    other[2 * s.hidden :].copy_(tensor(b[width:]))
        head.weight.copy_(tensor(network["V"].T))
        if s.bias:
            head.bias.copy_(tensor(network["c"]))
    return layers, head


def their_name(network: Network, recurrence: int) -> str:
    """The end of PyTorch's names: l0, or l0_reverse."""
    layer, reverse = divmod(recurrence, network.structure.directions)
    return f"l{layer}{'_reverse' if reverse else ''}"


def tensor(values: Any) -> Any:
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float64)


def gradients_of(network: Network, layers: Any, head: Any) -> dict[str, np.ndarray]:
    """PyTorch's gradients under our names."""
    s = network.structure
    found = {"V": head.weight.grad.numpy().T}
    if s.bias:
        found["c"] = head.bias.grad.numpy()
    for k in range(s.recurrences):
        their = their_name(network, k)
        found[s.name("U", k)] = getattr(layers, f"weight_ih_{their}").grad.numpy().T
        found[s.name("W", k)] = getattr(layers, f"weight_hh_{their}").grad.numpy().T
        if s.bias:
            one = getattr(layers, f"bias_ih_{their}").grad.numpy()
            other = getattr(layers, f"bias_hh_{their}").grad.numpy()
            # r and z (and all of Elman's and the LSTM's) have one sum of two biases: one gradient
            shared = 2 * s.hidden if s.cell == "gru" else one.size
            np.testing.assert_allclose(one[:shared], other[:shared], **CLOSE)
            found[s.name("b", k)] = np.concatenate([one, other[shared:]])
    return found


def loss_of(network: Network, o: Any, y: np.ndarray, counted: Any) -> Any:
    """PyTorch's own losses, summed over the steps that count (squared error halved)."""
    s, target = network.structure, torch.tensor(y)
    if s.output == "softmax":
        return torch.nn.functional.cross_entropy(o[counted], target[counted], reduction="sum")
    p = o if s.output == "linear" else torch.sigmoid(o)
    if s.loss == "squared":
        return torch.nn.functional.mse_loss(p[counted], target[counted], reduction="sum") / 2
    return torch.nn.functional.binary_cross_entropy(p[counted], target[counted], reduction="sum")


def problem(
    engine: str, key: tuple[str, str], seed: int, **options: Any
) -> tuple[Network, np.ndarray, np.ndarray, np.ndarray]:
    """A network with no parameter at zero, x, y, and a state to start from."""
    bias = options.get("bias", True)
    network = Network(
        cell=key[0], activation=key[1], inputs=D, hidden=H, outputs=O, dtype="float64",
        engine=engine, seed=seed,
        initializers={"b": "normal(0.5)", "c": "normal(0.5)"} if bias else {}, **options,
    )  # fmt: skip
    s = network.structure
    rng = np.random.default_rng(seed)
    rows = (B, T) if s.readout == "steps" else (B,)
    y = rng.integers(0, O, rows) if s.head.classes else rng.uniform(0, 1, (*rows, O))
    state = rng.normal(size=(s.recurrences, len(s.equations.states), B, H))
    return network, rng.normal(size=(B, T, D)), y, state


def compare(network: Network, x: Any, y: Any, state: Any, lengths: Any) -> None:
    """One batch through both; every number of one against the other's."""
    s = network.structure
    layers, head = peer_of(network)
    x_t, state_t = tensor(x).requires_grad_(), tensor(state).requires_grad_()
    start = tuple(state_t[:, k] for k in range(state.shape[1]))
    given = x_t
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            x_t, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    h, final = layers(given, start if s.cell == "lstm" else start[0].contiguous())
    if lengths is not None:
        h, _ = torch.nn.utils.rnn.pad_packed_sequence(h, batch_first=True, total_length=T)
    final = torch.stack(final if s.cell == "lstm" else (final,), dim=1)
    counted = torch.ones(B, T, dtype=torch.bool)
    if lengths is not None:
        counted = torch.arange(T) < torch.tensor(lengths)[:, None]
    if s.readout == "last":
        h, counted = torch.cat([*final[-s.directions :, 0]], 1), torch.ones(B, dtype=torch.bool)
    o = head(h)
    loss = loss_of(network, o, y, counted)
    loss.backward()

    found = network.forward(x, lengths, state)
    inside = counted.numpy()
    np.testing.assert_allclose(found.o[inside], o.detach().numpy()[inside], **CLOSE)
    np.testing.assert_allclose(found.state, final.detach().numpy(), **CLOSE)
    gradients = network.gradient(x, y, lengths, state, inputs=True)
    assert gradients.loss == pytest.approx(loss.item(), rel=1e-10)
    expected = gradients_of(network, layers, head)
    assert expected.keys() == gradients.parameters.keys()
    for name, value in expected.items():
        assert np.abs(value).max() > 1e-3, name  # or there would be nothing to compare
        np.testing.assert_allclose(gradients.parameters[name], value, **CLOSE, err_msg=name)
    np.testing.assert_allclose(gradients.x, x_t.grad.numpy(), **CLOSE)
    np.testing.assert_allclose(gradients.state, state_t.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_equals_pytorch(
    engine: str, key: tuple[str, str], both: bool, layers: int, lengths: Any
) -> None:
    """Two batches in a row, over outputs, readouts and biases."""
    for seed, (output, loss, readout, bias) in enumerate([
        ("linear", "squared", "steps", True),
        ("sigmoid", "cross_entropy", "last", True),
        ("sigmoid", "squared", "steps", False),
        ("softmax", "cross_entropy", "steps", True),
        ("softmax", "cross_entropy", "last", False),
    ]):  # fmt: skip
        network, x, y, state = problem(
            engine, key, seed, layers=layers, output=output, loss=loss, readout=readout, bias=bias,
            bidirectional=both,
        )  # fmt: skip
        compare(network, x, y, state, lengths)
        _, x, y, state = problem(
            engine, key, seed + 100, layers=layers, output=output, loss=loss, readout=readout,
            bias=bias, bidirectional=both,
        )  # fmt: skip
        compare(network, x, y, state, lengths)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize("key", KINDS, ids="-".join)
def test_zero_state_equals_pytorch(engine: str, key: tuple[str, str]) -> None:
    """With no state handed in, both start from zeros."""
    network, x, _, _ = problem(engine, key, 9, output="linear", loss="squared")
    layers, head = peer_of(network)
    with torch.no_grad():
        expected = head(layers(tensor(x))[0]).numpy()
    np.testing.assert_allclose(network.predict(x), expected, **CLOSE)
