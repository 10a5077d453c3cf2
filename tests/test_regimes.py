"""The compiled engine's regimes "units" and "samples" against the reference, over all options.

Few samples: hidden units are in the lanes of a vector; more: samples are. Large batches are split
in shards, large matrices packed in panels. Models side by side: tests/test_side_by_side.py.
The cells that share a driver differ in their equations alone; so relu and sigmoid are compiled in
tests/test_engines.py only, and in regime "samples" run with the compiler off.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from regimes import (
    CLOSE,
    CLOSE_IN_TRAINING,
    COMPILED,
    ELMAN,
    EVERYWHERE,
    GRU,
    LSTM,
    PLAIN,
    Case,
    assert_same_gradient,
    assert_same_pass,
    assert_same_training,
    case_of,
    covering,
    learner_of,
    some,
    train,
)

from bptt.equations.cells import CELLS
from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine.vectors import COMPILER_OFF, lanes
from bptt.kernels.walk import matrices, products, runner, workspace
from bptt.kernels.walk.products import SAMPLES, UNITS
from bptt.kernels.walk.workspace import Shape
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure

REFERENCE = ReferenceEngine()
VECTOR = lanes("float64")  # the processor's
BATCHES = {UNITS: (1, 3, 5), SAMPLES: (6, 17, 33)}
KEYS = tuple(CELLS) if COMPILER_OFF else COMPILED
REGIMES = pytest.mark.parametrize("regime", [UNITS, SAMPLES])


def table(regime: str, seed: int) -> list[dict[str, Any]]:
    options = {"B": BATCHES[regime], "H": (3, 5, 16, 20, 33), "carried": (True, False)}
    return covering(EVERYWHERE | options, seed)


def cases(key: tuple[str, str], regime: str, few: int, largest: int = 5) -> Iterator[Case]:
    seed = 10 * list(CELLS).index(key) + (regime == UNITS)
    for number, row in enumerate(some(table(regime, seed), few, largest)):
        assert workspace.regime_for(case_of(key, PLAIN | row, 0).structure, row["B"]) == regime
        yield case_of(key, row, number)


@pytest.fixture(
    params=[
        "copied",
        pytest.param(
            "borrowed", marks=pytest.mark.skipif(COMPILER_OFF, reason="then they are copied")
        ),
    ]
)
def owners(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether parameters are copied for a walk, or used where their owner has them, as large ones
    are."""
    monkeypatch.setattr(workspace, "BORROWED", 0 if request.param == "borrowed" else 2**40)
    return str(request.param)


def test_every_pair_of_options_occurs() -> None:
    rows = table(SAMPLES, 0)
    assert len(rows) < 100
    for one, ones in EVERYWHERE.items():
        for two, twos in EVERYWHERE.items():
            for a in ones:
                assert one == two or all(
                    any(r[one] == a and r[two] == b for r in rows) for b in twos
                )


@REGIMES
@pytest.mark.parametrize("key", KEYS, ids="-".join)
@pytest.mark.usefixtures("owners")
def test_every_pair_of_options(key: tuple[str, str], regime: str) -> None:
    """Outputs, gradients and training; one engine for all, as they come."""
    engine = CompiledEngine()
    for case in cases(key, regime, 8):
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE_IN_TRAINING)


@pytest.mark.parametrize("key", COMPILED, ids="-".join)
@pytest.mark.usefixtures("owners")
def test_shards_and_panels(key: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where every batch of more than one vector is split and every matrix is packed."""
    monkeypatch.setattr(runner, "SHARD_WORK", 1)
    monkeypatch.setattr(matrices, "PACKED", 1)
    engine, split = CompiledEngine(), 0
    for case in cases(key, SAMPLES, 4, 16):
        shape = Shape(case.structure, SAMPLES, case.x.shape[1], 1, case.x.ndim == 3)
        split += len(runner.shards(shape, VECTOR)) > 1
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE_IN_TRAINING)
    assert split > 0


@pytest.mark.skipif(COMPILER_OFF, reason="the forced forms above go through the same lines")
@pytest.mark.parametrize(
    ("key", "sizes", "count"),
    [
        (ELMAN, {"H": 128, "B": 8 * VECTOR, "T": 3}, 4),
        # panels, in two pieces
        (GRU, {"H": 192, "B": max(VECTOR + 1, 7), "T": 2, "D": 40, "layers": 2}, 2),
        # a set of panels for each step
        (ELMAN, {"H": 128, "B": 9 * VECTOR - 1, "T": 2, "tied": False}, 3),
    ],
    ids=["shards", "panels", "both"],
)
def test_sizes_that_are_split_and_packed_by_themselves(
    key: tuple[str, str], sizes: dict[str, Any], count: int
) -> None:
    """In so many shards."""
    case = case_of(key, PLAIN | sizes, 1)
    shape = Shape(case.structure, SAMPLES, sizes["B"], sizes["T"], False)
    assert workspace.regime_for(case.structure, sizes["B"]) == SAMPLES
    assert len(runner.shards(shape, VECTOR)) == count
    assert_same_pass(REFERENCE, CompiledEngine(), case)
    assert_same_training(train(REFERENCE, case), train(CompiledEngine(), case), **CLOSE_IN_TRAINING)


@REGIMES
@pytest.mark.parametrize("key", COMPILED, ids="-".join)
@pytest.mark.parametrize("fewest", [2, 12])
def test_segments(
    key: tuple[str, str], regime: str, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in segments of few steps, of which the first may be shorter than the others."""
    monkeypatch.setattr(workspace, "CACHE", 1)
    monkeypatch.setattr(workspace, "FEWEST_SUMMED", fewest)
    engine = CompiledEngine()
    for number, row in enumerate(some(table(regime, 3 + fewest), 2, 5)):
        # By a rule that does not enlarge rounding errors.
        row = row | {"T": 7 + number % 2, "kind": "momentum"}
        case = case_of(key, PLAIN | row, number)
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE_IN_TRAINING)


@REGIMES
@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_steps_that_are_apart(
    key: tuple[str, str], regime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a vector between any step's numbers and the next one's."""
    monkeypatch.setattr(workspace, "ALIASING", 8)
    engine = CompiledEngine()
    for number, row in enumerate(some(table(regime, 20), 2, 5)):
        # By a rule that does not enlarge rounding errors; of every other one inputs are apart too.
        row = row | {"kind": "momentum"} | ({"D": VECTOR} if number % 2 else {})
        case = case_of(key, PLAIN | row, number)
        B, T = case.x.shape[1:3]
        shape = Shape(case.structure, regime, B, T, case.x.ndim == 3)
        v = workspace.workspaces(shape, [(0, B)])[0].values
        assert v["state_t"] > v["S"] * v["plane"]
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE)


@pytest.mark.usefixtures("owners")
@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_matrices_that_are_gone_through_some_rows_at_a_time(
    key: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where every matrix of units is too large for the cache."""
    monkeypatch.setattr(products, "STREAMED", 0)
    monkeypatch.setattr(products, "ROWS", 3)
    engine = CompiledEngine()
    for number, row in enumerate(some(table(UNITS, 7), 2, 5)):
        case = case_of(key, PLAIN | row | {"H": (3, 5, 16, 20, 33)[number % 5]}, number)
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE_IN_TRAINING)


@pytest.mark.parametrize(("key", "kept"), [(ELMAN, 1), (LSTM, 6), (GRU, 5)])
@pytest.mark.parametrize("batch", [1, 64])
def test_what_a_long_walk_keeps(key: tuple[str, str], kept: int, batch: int) -> None:
    """So many numbers a unit and step, and little besides."""
    structure = Structure(inputs=2, outputs=1, hidden=64, cell=key[0])
    sizes = []
    for T in (1024, 4096):
        shape = Shape(structure, workspace.regime_for(structure, batch), batch, T, False)
        (space,) = workspace.workspaces(shape, [(0, batch)])
        sizes.append(space.m.size)
    assert sizes[1] - sizes[0] < 1.3 * (4096 - 1024) * batch * kept * 64


@pytest.mark.skipif(COMPILER_OFF, reason="then parameters are copied")
@pytest.mark.parametrize("regime", [UNITS, SAMPLES])
@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_large_parameters_are_in_no_other_place(key: tuple[str, str], regime: str) -> None:
    """Besides them there is, of units, W once more, turned; of samples, whose packed W lies where
    its gradient will, only a second shard's gradient; and the values of a step."""
    structure = Structure(inputs=2, outputs=1, hidden=512, cell=key[0])
    values = 32 * 512 * 16  # of at most 16 numbers a unit and sample
    for ranges in [[(0, 1)]] if regime == UNITS else [[(0, 32)], [(0, 16), (16, 32)]]:
        batch = ranges[-1][1]
        shape = Shape(structure, regime, batch, 1, False, optimizer="adam")
        assert shape.borrows
        spaces = workspace.workspaces(shape, ranges)
        assert all(space.m is spaces[0].m for space in spaces)
        more = 1 if regime == UNITS else len(spaces) - 1
        assert spaces[0].m.size < more * structure.layout().size + values


def surrounded(flat: NDArray[Any]) -> NDArray[Any]:
    """A copy at an odd place, in the middle of other numbers."""
    around = np.full(flat.size + 7 + 40, 1234.5, flat.dtype)
    around[7 : 7 + flat.size] = flat
    return around[7 : 7 + flat.size]


@REGIMES
def test_what_is_next_to_borrowed_arrays_is_left_alone(
    regime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the numbers are those that copies give, to the last bit."""
    rows = some(table(regime, 5), 2, 5)
    for number, row in enumerate(rows):
        case = case_of(COMPILED[number % 3], PLAIN | row, number)
        monkeypatch.setattr(workspace, "BORROWED", 2**40)
        copied = train(CompiledEngine(), case)
        monkeypatch.setattr(workspace, "BORROWED", 0)
        learner = learner_of(case)
        for name in ("theta", "s0", "s1"):
            setattr(learner, name, surrounded(getattr(learner, name)))
        assert_same_training(copied, train(CompiledEngine(), case, learner=learner))
        for name in ("theta", "s0", "s1"):
            array = getattr(learner, name)
            assert (array.base[:7] == 1234.5).all()
            assert (array.base[7 + array.size :] == 1234.5).all()


@pytest.mark.usefixtures("owners")
def test_arrays_of_any_kind_are_taken() -> None:
    """Weights that may not be written, and a learner's with gaps between the numbers; a gradient
    stays what it was when the next one is asked for."""
    case, engine = case_of(LSTM, PLAIN | {"B": 2}, 3), CompiledEngine()
    theta, batch = case.theta, case.batch
    theta.flags.writeable = False
    assert_same_pass(REFERENCE, engine, case)
    first = engine.gradient(theta, batch).flat
    kept = first.copy()
    other = engine.gradient(2 * theta, batch).flat
    assert not np.array_equal(other, kept)
    np.testing.assert_array_equal(first, kept)
    learner = learner_of(case)
    for name in ("theta", "s0", "s1"):
        apart = np.zeros((theta.size, 2))
        apart[:, 1] = getattr(learner, name)
        setattr(learner, name, apart[:, 1])
    assert_same_training(train(engine, case), train(engine, case, learner=learner))


THREADS = """
import hashlib
from regimes import case_of, learner_of, train
from test_regimes import ELMAN, LSTM, PLAIN
from bptt.kernels.walk import runner
from bptt.kernels.engine import CompiledEngine

runner.SHARD_WORK = 1
digest = hashlib.sha256()
for key, carried in ((ELMAN, True), (LSTM, False)):
    case = case_of(key, PLAIN | {"B": 41, "carried": carried, "kind": "nesterov"}, 5)
    found = CompiledEngine().gradient(case.theta, case.batch, inputs=True)
    learner, chunk = train(CompiledEngine(), case)
    for each in (found.flat, found.x, found.state, learner.theta, learner.s0, chunk.loss):
        digest.update(each.tobytes())
print(runner.threads(), digest.hexdigest())
"""

MODELS_ON_THREADS = """
from regimes import case_of, data_of, learner_of
from test_regimes import ELMAN, PLAIN
from bptt.kernels.walk import runner
from bptt.kernels.engine import CompiledEngine

runner.SHARD_WORK = 1
case = case_of(ELMAN, PLAIN | {"B": 17}, 5)
learners = [learner_of(case) for _ in range(5)]
CompiledEngine().train_many([case.optimizer] * 5, learners, data_of([case] * 5))
same = all((each.theta == learners[0].theta).all() for each in learners)
print(same, (learners[0].theta != case.theta).all())
"""


def run(program: str, **environment: str) -> str:
    """What a program prints, run by itself."""
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | environment | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_number_of_threads_changes_no_bit() -> None:
    found = [run(THREADS, BPTT_THREADS=str(count)).split() for count in (1, 2, 5)]
    assert [count for count, _ in found] == ["1", "2", "5"]
    assert len({digest for _, digest in found}) == 1


def test_models_on_threads_with_batches_on_threads() -> None:
    """More models than threads, each with a batch in shards: none waits for a thread for ever."""
    assert run(MODELS_ON_THREADS, BPTT_THREADS="2") == "True True\n"


def twice(case: Case, spoil: Any) -> None:
    """Everything after a call that diverged, on one engine, and on a fresh one: the same bits."""
    used = CompiledEngine()
    theta, batch = case.theta, case.batch
    for work in (
        lambda engine, theta: engine.gradient(theta, batch, inputs=True),
        lambda engine, theta: engine.forward(theta, batch),
        lambda engine, theta: train(engine, case, learner=learner_of(case, theta)),
    ):
        with np.errstate(all="ignore"):
            work(used, theta * spoil)
        one, two = work(CompiledEngine(), theta), work(used, theta)
        if isinstance(one, tuple):
            assert np.isfinite(one[0].theta).all()
            assert_same_training(one, two)
        elif hasattr(one, "flat"):
            assert_same_gradient(one, two, rtol=0, atol=0)
        else:
            np.testing.assert_array_equal(two.o, one.o)
            np.testing.assert_array_equal(two.state, one.state)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
@pytest.mark.parametrize("carried", [True, False], ids=["carried", "fresh"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("B", [3, 17])
def test_nothing_is_left_of_a_run_that_diverged(
    B: int, split: bool, carried: bool, spoil: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if split:
        monkeypatch.setattr(runner, "SHARD_WORK", 1)
    options = {"B": B, "carried": carried, "clips": {"clip_norm": 0.2}, "layers": 2}
    for key in (ELMAN, LSTM):
        twice(case_of(key, PLAIN | options, 7), spoil)


@REGIMES
@pytest.mark.parametrize("carried", [True, False], ids=["carried", "fresh"])
def test_cut_into_calls(carried: bool, regime: str) -> None:
    """However iterations are cut into calls: the same bits."""
    options = {"B": BATCHES[regime][1], "carried": carried, "iterations": 7, "kind": "adam",
               "schedule": EVERYWHERE["schedule"][2]}  # fmt: skip
    for key in (ELMAN, GRU):
        case = case_of(key, PLAIN | options, 8)
        whole = train(CompiledEngine(), case)
        for calls in ((1, 2, 4), (3, 3, 1), (1,) * 7):
            assert_same_training(whole, train(CompiledEngine(), case, calls))


@REGIMES
def test_lengths_come_and_go(regime: str) -> None:
    """Full batches after shorter ones and the other way round, of the same shape."""
    engine = CompiledEngine()
    for number, readout in enumerate(("steps", "last") * 4):
        options = {"B": BATCHES[regime][2], "T": 7, "lengths": number % 4 < 2, "kind": "sgd"}
        case = case_of(ELMAN, PLAIN | options | {"readout": readout}, number)
        assert_same_pass(REFERENCE, engine, case)
        assert_same_training(train(REFERENCE, case), train(engine, case), **CLOSE)


@REGIMES
def test_gradients_whose_squares_are_too_large(regime: str) -> None:
    """Squares beyond float32: the norm is right, and it is clipped by. The tolerance is that of
    sums of a hundred terms in float32."""
    options = {"B": BATCHES[regime][1], "output": ("linear", "squared"), "lengths": False}
    for scale in (1e12, 1e25):
        case = case_of(ELMAN, PLAIN | options | {"clips": {"clip_norm": 0.2}}, 9, "float32")
        case.y *= scale
        one, two = train(REFERENCE, case), train(CompiledEngine(), case)
        assert one[1].norm.min() > scale / 10
        np.testing.assert_allclose(two[1].norm, one[1].norm, rtol=1e-5)
        np.testing.assert_allclose(two[0].theta, one[0].theta, rtol=1e-5, atol=1e-6)


@REGIMES
def test_float32(regime: str) -> None:
    """Within as many roundings of the largest entry as there are terms in the longest sum.

    A sum of n terms in float32 is off by at most n * eps/2 of the sum of their sizes, which here
    is a few times the largest entry; errors made at one step shrink on their way through others.
    """
    rows = [row for row in table(regime, 3) if row["layers"] == 1]
    for number, row in enumerate(some(rows, 4, 5)):
        row = row | {"kind": "momentum", "clips": {}}
        single, double = (case_of(ELMAN, row, number, dtype) for dtype in ("float32", "float64"))
        double.theta[:], double.x = single.theta, single.x.astype(double.x.dtype)
        double.state = None if single.state is None else single.state.astype("float64")
        terms = row["B"] * row["T"] * (row["D"] + row["H"])
        parts = []
        for engine, case in ((CompiledEngine(), single), (REFERENCE, double)):
            found = engine.gradient(case.theta, case.batch, inputs=True)
            learner, chunk = train(engine, case)
            parts.append(
                [found.flat, found.state, found.final_state, learner.theta, chunk.loss, found.loss]
                + ([] if found.x is None else [found.x])
            )
        for index, (one, two) in enumerate(zip(*parts, strict=True)):
            limit = terms * np.finfo(np.float32).eps * max(float(np.abs(two).max()), 1e-3)
            assert np.abs(one - two).max() <= limit, (number, index)
        assert parts[0][0].dtype == np.float32


MEMORY = """
from pathlib import Path
import numpy as np
from regimes import case_of, learner_of
from test_regimes import ELMAN, PLAIN
from bptt.kernels.engine import CompiledEngine

def peak():
    # Not ru_maxrss: it holds the peak of the process that this one was forked from, too.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

case = case_of(ELMAN, PLAIN | {"B": 1, "H": 3, "T": 1, "iterations": 2000}, 5)
engine, learner = CompiledEngine(), learner_of(case)
for call in range(100):
    engine.train(case.optimizer, learner, case.data)
    if call == 0:
        before = peak()
print(peak() - before)
"""


@pytest.mark.skipif(COMPILER_OFF, reason="memory is handled by compiled code otherwise")
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads what Linux tells of a process"
)
def test_memory_does_not_grow_with_the_iterations() -> None:
    """200,000 iterations need less than 2 MB more than 2,000: 10 bytes an iteration would show."""
    assert int(run(MEMORY)) < 2000
