"""Noise on the states and dropout: the random numbers, the gradients, and that nothing but where
and when they are used says which numbers they are.

That the kernels equal the reference with them in every regime is in the tables of
tests/test_regimes.py and tests/test_side_by_side.py.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from regimes import ELMAN, GRU, PLAIN, case_of, train
from scipy import stats
from test_gradients import B, D, O, network_of

import bptt
from bptt import BpttError, Network, check_network
from bptt.equations import chance
from bptt.equations.cells import CELLS
from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine import chance as compiled
from bptt.kernels.machine.compiler import OPTIONS
from bptt.kernels.machine.tile import stores
from bptt.kernels.machine.vectors import COMPILER_OFF, lanes
from bptt.kernels.walk import runner
from bptt.network.batch import Batch
from bptt.network.disturbance import Chance, masks_of, noise_of
from bptt.network.engines import Learner
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure

needs_compiler = pytest.mark.skipif(COMPILER_OFF, reason="the compiler is off")
REFERENCE = ReferenceEngine()
WORD = chance.WORD


# Random numbers


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((WORD,) * 4, (WORD,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)  # fmt: skip
def test_words_are_those_of_the_paper(counter: Any, key: Any, words: Any) -> None:
    """The answers that the authors of Philox publish with their code (Random123, kat_vectors)."""
    found = chance.philox(tuple(np.uint64(each) for each in counter), key)
    assert tuple(int(each) for each in found) == words


def many_words(count: int) -> Any:
    """Four words of so many units."""
    counter = chance.counter_of(3, 0, 0, np.arange(count) % 2**20, 0)
    return chance.philox(counter, chance.seed_words(count))


def test_noise_is_normal() -> None:
    """Kolmogorov and Smirnov's test of each of the four numbers of a block, and of their
    independence: with fixed seeds it passes or it does not."""
    found = np.array(chance.normal(many_words(200_000), 2.0))
    for each in found:
        assert stats.kstest(each / 2.0, "norm").pvalue > 0.01
    np.testing.assert_allclose(np.corrcoef(found), np.eye(4), atol=4 / np.sqrt(200_000))
    squares = np.corrcoef(found**2)
    np.testing.assert_allclose(squares, np.eye(4), atol=4 / np.sqrt(200_000))
    assert 4.2 < abs(found / 2.0).max() < 5.8


def test_logarithm_and_angle_are_accurate() -> None:
    """To 2e-7 of float64's, where -ln u is near 0 as well."""
    words = np.array([0, 1 << 8, WORD, WORD >> 1, 0x5A82799A, 0xFF000000], np.uint64)
    words = np.concatenate([words, many_words(1000)[0]])
    share = ((words >> np.uint64(8)) | np.uint64(1)).astype(np.float64) / 2**24
    np.testing.assert_allclose(chance.log_of_share(words), np.log(share), rtol=2e-7)
    x, y = chance.pair(words, words[::-1])
    np.testing.assert_allclose(np.hypot(x, y), np.sqrt(-2 * np.log(share)), rtol=5e-7)


def test_no_number_is_used_twice() -> None:
    """Not for another seed, iteration (beyond 32 bits too), layer, state, sample, step or unit."""
    structure = Structure(inputs=1, outputs=1, hidden=3, layers=2, cell="lstm", noise=1.0)
    found = [
        array.ravel()
        for seed, iteration in itertools.product((0, 1, 2**70), (0, 1, 2**32, 2**32 + 1, 2**40 - 1))
        for layer in noise_of(structure, Chance(seed, iteration), 9, 4) or []
        for array in layer
    ]
    numbers = np.concatenate(found)
    assert numbers.size == 15 * 2 * 2 * 9 * 4 * 3
    # Of so few numbers of 23 bits and more hardly any two are the same by accident.
    assert np.unique(numbers).size > numbers.size - 5


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_numbers_have_the_same_bits(dtype: str) -> None:
    groups, size = 5000, lanes(dtype)

    @numba.njit(fastmath=OPTIONS["fastmath"], error_model="numpy")
    def fill(m: Any, chances: Any, later: int, one: int, two: int) -> None:
        for group in range(groups):
            values = compiled.normal(m, chances, later, group, 3, 6, 8, one, two, 5 << 20, 0.3)
            stores(m, group * 4 * size, size, values)

    lane = np.arange(size)
    chances = np.array([lane, [WORD] * size, 2**33 + lane], np.int64).reshape(-1)
    for samples, units, apart in (
        (np.minimum(3 + lane, 6), 8, (1, 0)), (3, 8 + lane, (0, 1)), (3, 8, (0, 0)),
    ):  # fmt: skip
        m = np.zeros(groups * 4 * size, dtype)
        fill(m, chances, 2, *apart)
        counter = chance.counter_of(
            2**33 + lane + 2, np.arange(groups)[:, None], samples, units, 5 << 20
        )
        expected = np.stack(chance.normal(chance.philox(counter, (lane, WORD)), 0.3), axis=1)
        np.testing.assert_array_equal(m.reshape(groups, 4, size), expected.astype(dtype))


# Gradients

T = 6  # more than a group of steps


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_gradients(key: tuple[str, str], tied: bool, layers: int) -> None:
    """Against central differences, at the same noise."""
    rng = np.random.default_rng(layers)
    for number, readout in enumerate(("steps", "last")):
        network = network_of(
            key, number, layers=layers, tied=tied, steps=0 if tied else T, readout=readout,
            noise=0.4,
        )  # fmt: skip
        x = rng.normal(size=(B, T, D))
        y = rng.uniform(size=(B, T, O) if readout == "steps" else (B, O))
        lengths = np.array([0, T, 4])
        check = check_network(network, x, y, lengths, chance=(9, 4), entries=6)
        assert check.passed, f"\n{check}"
        losses = {network.loss(x, y, lengths, chance=each) for each in ((9, 4), (9, 5), (8, 4))}
        assert len(losses | {network.loss(x, y, lengths)}) == 4


DROPOUT = {"dropout": 0.4, "input_dropout": 0.3}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("mask", ["step", "sequence"])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_gradients_with_dropout(key: tuple[str, str], mask: str, layers: int) -> None:
    """Against central differences, by the inputs too, at the same masks."""
    rng = np.random.default_rng(layers)
    for number, (readout, noise) in enumerate((("steps", 0.0), ("last", 0.2))):
        network = network_of(
            key, number, layers=layers, readout=readout, noise=noise, dropout_mask=mask, **DROPOUT
        )
        x = rng.normal(size=(B, T, D))
        y = rng.uniform(size=(B, T, O) if readout == "steps" else (B, O))
        check = check_network(network, x, y, np.array([0, T, 4]), chance=(9, 5), entries=8)
        assert check.passed, f"\n{check}"


def test_one_hot_inputs_are_dropped_as_those_written_out() -> None:
    for mask in ("step", "sequence"):
        network = Network(
            inputs=4, outputs=1, hidden=3, dtype="float64", engine="reference", dropout_mask=mask,
            input_dropout=0.5,
        )  # fmt: skip
        x = np.random.default_rng(1).integers(0, 4, (5, 6))
        y = np.zeros((5, 6, 1))
        one, two = (network.gradient(each, y, chance=(1, 2)) for each in (x, np.eye(4)[x]))
        np.testing.assert_array_equal(one.flat, two.flat)
        assert not np.array_equal(one.flat, network.gradient(x, y).flat)


def test_masks() -> None:
    """The share that is dropped, the mean of 1, and which masks differ."""
    structure = Structure(
        inputs=300, outputs=1, hidden=200, layers=2, dropout=0.25, input_dropout=0.6
    )
    found = masks_of(structure, Chance(3, 4), 7, 20)
    for mask, rate in zip(found, (0.6, 0.25, 0.25), strict=True):
        assert mask is not None
        assert set(np.unique(mask)) == {0, np.float32(1 / (1 - rate))}
        # 28,000 numbers and more: the share's standard deviation is below 0.003.
        assert abs((mask == 0).mean() - rate) < 0.01
        assert all((one != two).any() for one, two in itertools.pairwise(mask))
        assert (mask[:, 0] != mask[:, 1]).any()
    assert (found[1] != found[2]).any()
    whole = masks_of(
        Structure(
            inputs=300, outputs=1, hidden=200, dropout=0.25, dropout_mask="sequence"
        ),
        Chance(3, 4), 7, 20,
    )[1]  # fmt: skip
    assert whole is not None
    assert (whole == whole[0]).all()
    assert (whole[0, 0] != whole[0, 1]).any()


def test_dropout_of_nearly_all_leaves_the_states_alone() -> None:
    """What is dropped is on its way up: the states of one layer are those without dropout."""
    one, two = (
        Network(inputs=2, outputs=1, hidden=5, cell="gru", dtype="float64", dropout=dropout)
        for dropout in (0.9999, 0.0)
    )
    x = np.random.default_rng(1).normal(size=(7, 4, 2))
    y = np.ones((7, 4, 1))
    first, second = one.gradient(x, y, chance=(1, 1)), two.gradient(x, y)
    np.testing.assert_allclose(first.final_state, second.final_state, rtol=1e-14)
    assert first.loss == pytest.approx(7 * 4 * np.log(2))  # the output hears nothing; c is 0


def test_noise_is_added_to_every_state() -> None:
    """Of a GRU whose weights are zero and that starts at zero the state after n steps is a sum of
    noise, each halved once a step."""
    network = Network(
        inputs=1, outputs=1, hidden=4, cell="gru", dtype="float64", engine="reference", noise=0.5
    )
    network.theta[:] = 0
    found = network.gradient(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), chance=(1, 2))
    ((noise,),) = noise_of(network.structure, Chance(1, 2), 3, 2) or []
    np.testing.assert_allclose(
        found.final_state[0, 0], noise[0] / 4 + noise[1] / 2 + noise[2], rtol=1e-15
    )


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_nothing_but_training_is_disturbed(engine: str) -> None:
    noisy, plain = (
        Network(inputs=2, outputs=1, hidden=5, seed=1, engine=engine, noise=noise, dtype="float64")
        for noise in (0.5, 0.0)
    )
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 4, 2)), rng.uniform(size=(7, 4, 1))
    np.testing.assert_array_equal(noisy.predict(x), plain.predict(x))
    assert noisy.loss(x, y) == plain.loss(x, y)
    one, two = noisy.gradient(x, y), plain.gradient(x, y, chance=(1, 1))
    np.testing.assert_array_equal(one.flat, two.flat)
    assert not np.array_equal(noisy.gradient(x, y, chance=(1, 1)).flat, one.flat)


# Which numbers they are


def test_a_sample_has_its_noise_in_any_shard_and_regime(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: with weights of zero the state of an Elman network is its noise."""
    most, T = 4 * lanes("float64") + 1, 5
    structure = Structure(inputs=2, outputs=1, hidden=6, layers=2, dtype="float64", noise=0.3)
    theta = np.zeros(structure.layout().size)
    noise = noise_of(structure, Chance(4, 2**34), T, most) or []
    expected = np.array([layer[0][-1] for layer in noise])  # (layers, B, H)
    x, y = np.ones((most, T, 2)), np.ones((most, T, 1))
    for work in (10**9, 1):  # in one piece, and in shards
        monkeypatch.setattr(runner, "SHARD_WORK", work)
        for engine in (REFERENCE, CompiledEngine()):
            for count in (1, 3, most):
                batch = Batch(structure, x[:count], y[:count], chance=(4, 2**34))
                found = engine.gradient(theta, batch)
                np.testing.assert_array_equal(found.final_state[:, 0], expected[:, :count])


@pytest.mark.parametrize("B", [1, 3, 9])
@pytest.mark.parametrize("engine", [REFERENCE, CompiledEngine()])
def test_calls_of_any_size_have_the_same_bits(engine: Any, B: int) -> None:
    row = PLAIN | {"B": B, "T": 5, "H": 3, "noise": 0.3, "iterations": 6, "dropout": DROPOUT}
    case = case_of(GRU, row, 3)
    one, two = train(engine, case), train(engine, case, (1, 3, 2))
    np.testing.assert_array_equal(one[0].theta, two[0].theta)
    np.testing.assert_array_equal(one[1].loss, two[1].loss)


@pytest.mark.parametrize("mask", ["step", "sequence"])
@pytest.mark.parametrize("readout", ["steps", "last"])
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_longer_padding_changes_nothing(engine: str, readout: str, mask: str) -> None:
    network = Network(
        inputs=2, outputs=1, hidden=5, cell="lstm", layers=2, noise=0.5, seed=2, readout=readout,
        dropout_mask=mask, engine=engine, dtype="float64", **DROPOUT,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    x, lengths = rng.normal(size=(8, 5, 2)), np.array([5, 3] * 4)
    longer, y = np.concatenate([x, x[:, :3]], axis=1), rng.uniform(size=(8, 8, 1))
    first = y[:, 0] if readout == "last" else y[:, :5]
    one = network.gradient(x, first, lengths, chance=(3, 4))
    two = network.gradient(longer, y[:, 0] if readout == "last" else y, lengths, chance=(3, 4))
    assert one.loss == pytest.approx(two.loss, rel=1e-13)
    # A tile with few columns keeps its sums in several parts (`bptt.kernels.machine.tile`). How
    # many columns the tile of a step has, and which part of a gradient's sum gets the last steps,
    # depends on how many steps there are: the same numbers are added in another order. Parts bound
    # to the step would end that, and give every network other bits than it has had.
    close = {"rtol": 0, "atol": 0} if engine == "reference" else {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(one.final_state, two.final_state, **close)
    np.testing.assert_allclose(two.flat, one.flat, rtol=1e-12, atol=1e-14)


THREADS = """
import hashlib, bptt
run = bptt.train(bptt.Addition(bits=4), batch=256, hidden=32, iterations=3, noise=0.2, seed=2,
                 cell="lstm", dropout=0.2, input_dropout=0.1, dtype="float64")
print(hashlib.sha256(run.network.theta.tobytes()).hexdigest())
"""


@needs_compiler
def test_any_number_of_threads_has_the_same_bits() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", THREADS], env=os.environ | {"BPTT_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


# Where it is chosen

ADDER: dict[str, Any] = {
    "iterations": 40, "record_every": 20, "hidden": 5, "noise": 0.25, "dropout": 0.1,
    "dropout_mask": "sequence", "exact": False, "dtype": "float64",
}  # fmt: skip


def test_training_has_noise_and_a_seed_of_it() -> None:
    """The engine's seed is the training's."""
    task = bptt.Addition(bits=3)
    noisy, again, plain = (bptt.train(task, **ADDER | more) for more in ({}, {}, {"noise": 0.0}))
    np.testing.assert_array_equal(noisy.network.theta, again.network.theta)
    assert not np.array_equal(noisy.network.theta, plain.network.theta)
    assert bptt.train(task, **ADDER | {"seed": 5}).training.learner.seed == 5


def test_a_run_keeps_its_noise_and_goes_on_with_it(tmp_path: Path) -> None:
    """Weights, settings and checkpoint; a run in two parts is a run in one."""
    task = bptt.Addition(bits=3)
    whole = bptt.train(task, **ADDER)
    half = bptt.train(task, **ADDER | {"iterations": 20})
    half.save(tmp_path / "half")
    assert bptt.load(tmp_path / "half").structure.noise == 0.25
    config = tmp_path / "half" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"iterations": 40}))
    np.testing.assert_array_equal(bptt.resume(tmp_path / "half").network.theta, whole.network.theta)


@pytest.mark.parametrize("then", [0.25, 0.0])
def test_a_run_does_not_go_on_with_other_noise(tmp_path: Path, then: float) -> None:
    bptt.train(bptt.Addition(bits=3), **ADDER | {"noise": then}).save(tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    settings = json.loads(config.read_text())
    settings["structure"]["noise"] = 0.5
    config.write_text(json.dumps(settings))
    with pytest.raises(BpttError, match=r"structure\.noise was .* and is 0\.5"):
        bptt.resume(tmp_path / "run")


def test_files_of_networks_without_noise_say_nothing_of_it() -> None:
    """So digests of studies are what they were."""
    plain, noisy = (Structure(inputs=1, outputs=1, noise=noise).plain() for noise in (0.0, 0.1))
    assert noisy == plain | {"noise": 0.1}
    assert not {"noise", "dropout", "input_dropout", "dropout_mask"} & set(plain)


def test_a_study_over_noise() -> None:
    """Models side by side have the numbers that they have alone, with noise as with none."""
    base = {"bits": 3, "iterations": 20, "hidden": 5, "dtype": "float64"}
    study = bptt.Study(base=base, grid={"noise": [0.0, 0.3]}, seeds=5, curves=True)
    frame = study.run().frame
    assert sorted(frame["noise"].unique()) == [0.0, 0.3]
    losses = frame.pivot(index="seed", columns="noise", values="loss")
    assert (losses[0.0] != losses[0.3]).all()
    alone = bptt.Study(base=base | {"noise": 0.3}, seeds=2).run().frame
    np.testing.assert_array_equal(alone.sort_values("seed")["loss"], losses[0.3].sort_index()[:2])


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf"), 1e9, 1e-20])
def test_noise_that_cannot_be_is_refused(noise: float) -> None:
    with pytest.raises(BpttError, match=r"^noise \S+ is not allowed: 0, or a standard deviation"):
        Network(inputs=1, outputs=1, noise=noise)


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_dropout_that_cannot_be_is_refused(name: str, rate: float) -> None:
    with pytest.raises(BpttError, match=rf"^{name} \S+ is not allowed: a share from 0 and below 1"):
        Network(inputs=1, outputs=1, **{name: rate})
    with pytest.raises(BpttError, match=r"^dropout_mask 'word' is not known: choose one of 'step'"):
        Network(inputs=1, outputs=1, dropout_mask="word")


@pytest.mark.parametrize("given", [3, (1,), (1, 2, 3), "ab", (-1, 0), (0, -1), (0, 2**40)])
def test_chance_that_cannot_be_is_refused(given: Any) -> None:
    network = Network(inputs=1, outputs=1, noise=0.1, engine="reference")
    x = np.zeros((1, 2, 1))
    with pytest.raises(BpttError, match=r"chance|seed|iteration"):
        network.loss(x, x, chance=given)


def test_a_learner_needs_a_seed() -> None:
    case = case_of(ELMAN, PLAIN | {"B": 1, "T": 2, "H": 3}, 1)
    zeros = np.zeros_like(case.theta)
    learner = Learner(case.theta.copy(), zeros.copy(), zeros, None, seed=-1)
    with pytest.raises(BpttError, match="seed -1"):
        REFERENCE.train(case.optimizer, learner, case.data)
