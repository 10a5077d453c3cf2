"""Layers in both directions: what they compute, their gradients, and where they are refused.

That the kernels equal the reference with them in every regime is in the tables of
tests/test_regimes.py and tests/test_side_by_side.py; PyTorch's numbers in tests/test_peers.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said
from numpy.typing import NDArray
from regimes import GRU, PLAIN, assert_same_training, case_of, train

import bptt
from bptt import BpttError, Network, check_network
from bptt.equations.cells import CELLS
from bptt.kernels import engine as kernel_engine
from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine.vectors import COMPILER_OFF, lanes
from bptt.kernels.walk import runner
from bptt.network.batch import Batch
from bptt.network.disturbance import Chance, masks_of, noise_of
from bptt.network.engines import Learner
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure

B, T, D, H, O = 4, 5, 2, 3, 2  # noqa: E741
LENGTHS = np.array([T, 0, 3, 1])
ENGINES = pytest.mark.parametrize("engine", ["reference", "compiled"])


def network_of(key: tuple[str, str] = GRU, seed: int = 1, **options: Any) -> Network:
    """A float64 network with no parameter at zero."""
    fields = {"inputs": D, "hidden": H, "outputs": O, "engine": "reference", **options}
    network = Network(
        cell=key[0], activation=key[1], dtype="float64", bidirectional=True, seed=seed, **fields
    )
    network.theta[:] = 0.6 * np.random.default_rng(seed).normal(size=network.theta.size)
    return network


def targets(network: Network, rng: np.random.Generator, steps: int = T) -> NDArray[Any]:
    rows = (B, steps) if network.structure.readout == "steps" else (B,)
    return rng.uniform(size=(*rows, O))


# Gradients

OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"tied": False, "steps": T, "bias": False}, {"noise": 0.3, "initial_state": "trainable"},
    {"dropout": 0.4, "input_dropout": 0.3}, {"dropout": 0.4, "dropout_mask": "sequence"},
    {"skip": 2, "input_dropout": 0.3}, {"tied": False, "steps": T + 1, "dropout": 0.3},
)  # fmt: skip


@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_gradients(key: tuple[str, str]) -> None:
    """Against central differences, with all that the network may have besides."""
    rng, first = np.random.default_rng(1), list(CELLS).index(key)
    for number, options in enumerate(OPTIONS):
        layers = 1 + (number + first) % 2
        readout = ("steps", "last")[(number + first) // 2 % 2 if "skip" not in options else 0]
        network = network_of(key, number, layers=layers, readout=readout, **options)
        x, y = rng.normal(size=(B, T, D)), targets(network, rng)
        state = rng.normal(size=(2 * layers, len(CELLS[key].states), B, H)) if number % 3 else None
        check = check_network(network, x, y, LENGTHS, state, chance=(2, 3), entries=2, seed=number)
        assert check.passed, f"{options} {readout}\n{check}"


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_every_entry(tied: bool) -> None:
    """Nothing left out, by the inputs neither; one-hot inputs as those written out."""
    network = network_of(("lstm", "tanh"), layers=2, tied=tied, steps=0 if tied else T)
    names = [
        f"{letter}.{layer}{end}"
        for layer in (1, 2) for end in ("", ".reverse") for letter in "UWb"
    ]  # fmt: skip
    assert list(network.parameters) == [*names, "V", "c"]
    lead = () if tied else (T,)
    assert network["U.2.reverse"].shape == (*lead, 2 * H, 4 * H)
    assert network["V"].shape == (*lead, 2 * H, O)
    rng = np.random.default_rng(3)
    x = rng.integers(0, D, (B, T))
    y = targets(network, rng)
    check = check_network(network, np.eye(D)[x], y, LENGTHS, entries=40)
    assert check.passed, f"\n{check}"
    sparse, dense = (network.gradient(each, y, LENGTHS) for each in (x, np.eye(D)[x]))
    np.testing.assert_allclose(sparse.flat, dense.flat, rtol=1e-12, atol=1e-14)


# What is computed


def turned(x: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
    """Each sequence from its own last step to its first."""
    x = x.copy()
    for sequence, length in zip(x, lengths, strict=True):
        sequence[:length] = sequence[:length][::-1].copy()
    return x


@ENGINES
@pytest.mark.parametrize("count", [4, 19])
def test_it_is_two_networks(engine: str, count: int) -> None:
    """One of which reads each sequence from its own end; their outputs are added."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, T + 1, count)
    x = rng.normal(size=(count, T, D))
    x[np.arange(T) >= lengths[:, None]] = np.nan  # padding is not seen
    for readout in ("steps", "last"):
        both = network_of(("lstm", "tanh"), engine=engine, readout=readout, output="linear",
                          loss="squared", initial_state="trainable")  # fmt: skip
        parts = []
        for end, rows in (("", slice(H)), (".reverse", slice(H, None))):
            one = Network(inputs=D, hidden=H, outputs=O, cell="lstm", readout=readout, bias=True,
                          output="linear", loss="squared", dtype="float64", engine="reference",
                          initial_state="trainable")  # fmt: skip
            for letter in ("U", "W", "b", "h0", "c0"):
                one[letter][...] = both[letter + end]
            one["V"][...] = both["V"][rows]
            parts.append(one)
        forward = parts[0].forward(x, lengths)
        reverse = parts[1].forward(turned(x, lengths), lengths)
        second = reverse.o if readout == "last" else turned(reverse.o, lengths)
        found = both.forward(x, lengths)
        inside = np.arange(T) < lengths[:, None] if readout == "steps" else slice(None)
        expected = forward.o + second + both["c"]
        np.testing.assert_allclose(found.o[inside], expected[inside], rtol=1e-11, atol=1e-12)
        states = np.concatenate([forward.state, reverse.state])
        np.testing.assert_allclose(found.state, states, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("length", [1, 3])
def test_one_short_sequence(length: int) -> None:
    """Whose row of units is multiplied in the walk itself: what a step hands back is there although
    the step before is padding."""
    rng = np.random.default_rng(length)
    x, y = rng.normal(size=(1, T, D)), rng.uniform(size=(1, O))
    options = {"readout": "last", "initial_state": "trainable"}
    one, two = (
        network_of(("elman", "tanh"), engine=engine, **options).gradient(x, y, [length])
        for engine in ("reference", "compiled")
    )
    np.testing.assert_allclose(two.flat, one.flat, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(two.state, one.state, rtol=1e-10, atol=1e-12)


@ENGINES
@pytest.mark.parametrize("readout", ["steps", "last"])
def test_longer_padding_changes_nothing(engine: str, readout: str) -> None:
    """Of the compiled engine to rounding, for the reason in tests/test_disturbance.py."""
    rng = np.random.default_rng(1)
    network = network_of(engine=engine, layers=2, readout=readout, noise=0.3, dropout=0.3)
    x = rng.normal(size=(B, T, D))
    longer = np.concatenate([x, np.full((B, 3, D), np.inf)], axis=1)
    y = targets(network, rng, T + 3)
    short = y if readout == "last" else y[:, :T]
    one = network.gradient(x, short, LENGTHS, chance=(3, 4))
    two = network.gradient(longer, y, LENGTHS, chance=(3, 4))
    assert one.loss == pytest.approx(two.loss, rel=1e-13)
    np.testing.assert_allclose(two.flat, one.flat, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(two.final_state, one.final_state, rtol=1e-12, atol=1e-14)


@ENGINES
def test_long_sequences_are_read_whole(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: predictions are not made in windows."""
    monkeypatch.setattr(kernel_engine, "AT_ONCE", 1)
    network = Network(inputs=1, hidden=2, outputs=1, bidirectional=True, seed=3, engine=engine,
                      initializers={"W": "orthogonal(0.99)"})  # fmt: skip
    x = np.zeros((1, 60, 1), np.float32)
    before = network.predict(x)[0, 0]
    x[0, 50] = 1
    assert abs(network.predict(x)[0, 0] - before).max() > 1e-6


def test_random_numbers() -> None:
    """A layer's reverse direction has numbers of its own, at the step of the batch; masks reach
    over both directions' states."""
    both, one = (
        Structure(inputs=1, outputs=1, hidden=4, layers=2, noise=0.3, dropout=0.5, cell="lstm",
                  bidirectional=flag)
        for flag in (True, False)
    )  # fmt: skip
    chance = Chance(3, 4)
    pair, alone = noise_of(both, chance, 6, 2) or [], noise_of(one, chance, 6, 2) or []
    assert len(pair) == 4
    for layer in (0, 1):
        for k in (0, 1):
            np.testing.assert_array_equal(pair[2 * layer][k], alone[layer][k])
            assert not np.isin(pair[2 * layer + 1][k], alone[layer][k]).any()
    mask, narrow = masks_of(both, chance, 6, 2)[1], masks_of(one, chance, 6, 2)[1]
    assert mask is not None
    assert narrow is not None
    assert mask.shape == (6, 2, 8)
    np.testing.assert_array_equal(mask[..., :4], narrow)


def test_a_sample_has_its_noise_in_any_shard_and_regime(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: with weights of zero the state of an Elman network is its noise, of the step
    that its direction ends with."""
    most = 4 * lanes("float64") + 1
    structure = Structure(
        inputs=2, outputs=1, hidden=6, layers=2, dtype="float64", noise=0.3, bidirectional=True
    )
    theta = np.zeros(structure.layout().size)
    noise = noise_of(structure, Chance(4, 2**34), T, most) or []
    ends = [-1, 0, -1, 0]
    expected = np.array([each[0][end] for each, end in zip(noise, ends, strict=True)])
    x, y = np.ones((most, T, 2)), np.ones((most, T, 1))
    for work in (10**9, 1):  # in one piece, and in shards
        monkeypatch.setattr(runner, "SHARD_WORK", work)
        for engine in (ReferenceEngine(), CompiledEngine()):
            for count in (1, 3, most):
                batch = Batch(structure, x[:count], y[:count], chance=(4, 2**34))
                found = engine.gradient(theta, batch)
                np.testing.assert_array_equal(found.final_state[:, 0], expected[:, :count])


@pytest.mark.parametrize("samples", [1, 3, 9])
def test_calls_of_any_size_have_the_same_bits(samples: int) -> None:
    row = PLAIN | {"B": samples, "T": 5, "H": 3, "noise": 0.3, "iterations": 6, "layers": 2}
    case = case_of(GRU, row | {"bidirectional": True, "dropout": {"dropout": 0.4}}, 3)
    engine = CompiledEngine()
    assert_same_training(train(engine, case), train(engine, case, (1, 3, 2)))


# Where it is chosen


def what_comes_next(count: int = 60) -> tuple[list[Any], list[Any]]:
    """Sequences of signs; the answer at each step is whether the one after it is the same."""
    rng = np.random.default_rng(2)
    X = [rng.choice([-1.0, 1.0], (rng.integers(4, 12), 1)) for _ in range(count)]
    Y = [np.where(np.append(x[1:, 0], x[-1, 0]) == x[:, 0], "same", "other") for x in X]
    return X, Y


@pytest.mark.parametrize(
    "engine",
    [
        "reference",
        pytest.param("compiled", marks=pytest.mark.skipif(COMPILER_OFF, reason="it takes long")),
    ],
)
def test_a_tagger_sees_what_comes(engine: str, tmp_path: Path) -> None:
    X, Y = what_comes_next()
    options = {"hidden": 8, "epochs": 40, "random_state": 1, "engine": engine, "cell": "gru"}
    both = bptt.RNNTagger(bidirectional=True, learning_rate=0.03, **options).fit(X, Y)
    plain = bptt.RNNTagger(learning_rate=0.03, **options).fit(X, Y)
    assert both.score(X, Y) > 0.95
    assert plain.score(X, Y) < 0.75  # half of it is guessed
    both.save(tmp_path / "tagger.safetensors")
    back = bptt.load_model(tmp_path / "tagger.safetensors")
    assert back.network.structure.bidirectional
    np.testing.assert_array_equal(back.network.theta, both.network_.theta)
    with pytest.raises(BpttError, match="a stream has no end"):
        both.stream()


def test_command_line(tmp_path: Path, capsys: Any) -> None:
    """Trained and asked."""
    X, Y = what_comes_next(30)
    lines = ["id,t,x,label"] + [
        f"{n},{t},{value},{label}"
        for n, (x, y) in enumerate(zip(X, Y, strict=True))
        for t, (value, label) in enumerate(zip(x[:, 0], y, strict=True))
    ]
    data = tmp_path / "signs.csv"
    data.write_text("\n".join(lines) + "\n")
    columns = ("--id", "id", "--time", "t", "--target", "label")
    said(capsys, "train", "label", data, *columns, "--bidirectional", "--hidden", 4, "--epochs", 3,
         "--engine", "reference", "--out", tmp_path / "run", "--json")  # fmt: skip
    assert '"bidirectional": true' in (tmp_path / "run" / "config.json").read_text()
    assert "right of" in said(capsys, "score", tmp_path / "run", data)


def test_files_of_networks_in_one_direction_say_nothing_of_it() -> None:
    """So digests of studies are what they were."""
    plain, both = (
        Structure(inputs=1, outputs=1, bidirectional=flag).plain() for flag in (False, True)
    )
    assert both == plain | {"bidirectional": True}


@pytest.mark.parametrize("readout", ["steps", "last"])
@pytest.mark.parametrize("key", [*list(CELLS)[:1], *list(CELLS)[2:]], ids="-".join)
def test_a_state_dict_of_pytorch(key: tuple[str, str], readout: str, tmp_path: Path) -> None:
    """Out, verified, and in again; tests/test_exchange_peers.py has PyTorch itself read it."""
    for layers, initial in ((1, "zeros"), (2, "trainable")):
        network = network_of(key, layers=layers, readout=readout, initial_state=initial)
        path = tmp_path / "net.safetensors"
        checked = bptt.export(network, path)
        assert checked.passed
        assert "whole sequences of several lengths" in str(checked)
        back = bptt.read(path, engine="reference")
        assert back.structure.bidirectional
        np.testing.assert_allclose(back.theta, network.theta, rtol=1e-6)
        x = np.random.default_rng(1).normal(size=(2, 6, D))
        np.testing.assert_allclose(back.predict(x), network.predict(x), atol=1e-5)
        with pytest.raises(BpttError, match="'numpy' has no room for layers in both directions"):
            bptt.export(network, tmp_path / "net.py")


# Where it cannot be


def test_what_goes_step_by_step_is_refused(tmp_path: Path) -> None:
    network = network_of(output="linear", loss="squared")
    x, y = np.zeros((1, 3, D)), np.zeros((1, 3, O))
    adder = Network(inputs=2, outputs=1, hidden=3, bidirectional=True)
    text = bptt.Text(text="abcabc", window=2)
    data = bptt.Sequences(np.zeros((4, 9, 1)), np.zeros(4))
    case = case_of(GRU, PLAIN | {"B": 2, "bidirectional": True, "carried": True}, 1)
    carrying = Learner(case.theta, case.theta.copy(), case.theta.copy(), case.state)
    for refused, why in (
        (lambda: network.stream(), "a stream has no end"),
        (lambda: bptt.trace(network, x, y), "a trace follows one direction"),
        (lambda: bptt.prove(adder, bptt.Addition(bits=3)), "proofs follow the state"),
        (lambda: bptt.scout(adder, bptt.Addition(bits=3)), "words are searched by the states"),
        (lambda: bptt.train(bptt.Addition(bits=3), bidirectional=True), "'addition' asks for"),
        (
            lambda: bptt.train(text, bidirectional=True),
            "'text' asks for",
        ),
        (lambda: bptt.fit(data, bidirectional=True, window=3), "from window to window"),
        (lambda: bptt.fit(data.next_step(), bidirectional=True), "what comes next"),
        (lambda: ReferenceEngine().train(case.optimizer, carrying, case.data), "batch to batch"),
    ):
        with pytest.raises(BpttError, match=f"^a bidirectional network reads .*{why}.*; leave"):
            refused()
    assert not list(tmp_path.iterdir())
