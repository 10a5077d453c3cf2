"""Several models at once (`train_many`) against the reference, and against themselves alone.

Small models lie in the lanes of a vector (regime "models"); wider ones, and those with larger
batches or carried state, go one after another. Options, comparisons: tests/regimes.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from regimes import (
    CLOSE,
    CLOSE_IN_TRAINING,
    EVERYWHERE,
    Case,
    assert_same_training,
    case_of,
    covering,
    data_of,
    joined,
    learner_of,
    some,
    train,
)
from test_regimes import COMPILED, ELMAN, KEYS, LSTM, PLAIN

from bptt.kernels.engine import CompiledEngine
from bptt.kernels.machine.vectors import COMPILER_OFF
from bptt.kernels.walk import workspace
from bptt.kernels.walk.workspace import goes_side_by_side
from bptt.network.engines import Chunk, Engine, Learner
from bptt.network.reference_engine import ReferenceEngine

REFERENCE = ReferenceEngine()
# More than a vector has lanes of any type and processor, a whole number of vectors, and few.
COUNTS = (1, 3, 16, 19)
ONE = PLAIN | {"B": 1, "H": 5, "T": 3}
Trained = list[tuple[Learner, Chunk]]


def models_of(key: tuple[str, str], row: dict[str, Any], count: int, dtype: str) -> list[Case]:
    """Models of one structure that differ in weights, data, and their optimizers' numbers."""
    models = [case_of(key, row, seed, dtype) for seed in range(count)]
    for number, case in enumerate(models):
        case.optimizer = msgspec.structs.replace(
            case.optimizer, learning_rate=0.01 * (1 + number % 4), momentum=0.5 + 0.02 * number
        )
    return models


def train_many(engine: Engine, models: Sequence[Case], calls: Sequence[int] = ()) -> Trained:
    """All models' iterations at once, in one call or in calls of those sizes."""
    learners = [learner_of(case) for case in models]
    chunks: list[list[Chunk]] = [[] for _ in models]
    done = 0
    for count in calls or (len(models[0].x),):
        part = slice(done, done + count)
        names = ("x", "y", "lengths", "reset")
        parts = [
            replace(case, **{name: getattr(case, name)[part] for name in names}) for case in models
        ]
        optimizers = [case.optimizer for case in models]
        found = engine.train_many(optimizers, learners, data_of(parts))
        for all_chunks, chunk in zip(chunks, found, strict=True):
            all_chunks.append(chunk)
        done += count
    return [(learner, joined(each)) for learner, each in zip(learners, chunks, strict=True)]


def assert_all_same(one: Iterable[Any], two: Iterable[Any], **close: float) -> None:
    for expected, found in zip(one, two, strict=True):
        assert_same_training(expected, found, **close)


@pytest.mark.parametrize("key", KEYS, ids="-".join)
def test_every_pair_of_options(key: tuple[str, str]) -> None:
    """Models narrow enough for a lane and wider ones; one engine for all, as they come."""
    options = {"M": COUNTS, "H": (3, 5, 16, 20)}
    rows = covering(EVERYWHERE | options, list(KEYS).index(key))
    engine, side_by_side = CompiledEngine(), 0
    for row in some(rows, 8, 5):
        models = models_of(key, row | {"B": 1}, row["M"], "float64")
        side_by_side += goes_side_by_side(models[0].structure, 1)
        one, two = (train_many(each, models) for each in (REFERENCE, engine))
        assert_all_same(one, two, **CLOSE_IN_TRAINING)
    assert side_by_side > 5


@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_twenty_iterations(key: tuple[str, str]) -> None:
    """To 1e-10 of the reference, by a rule that does not enlarge rounding errors."""
    models = models_of(key, ONE | {"iterations": 20}, 11, "float64")
    one, two = (train_many(engine, models) for engine in (REFERENCE, CompiledEngine()))
    assert_all_same(one, two, **CLOSE)


@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_steps_that_are_apart(key: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a vector between any step's numbers and the next one's."""
    monkeypatch.setattr(workspace, "ALIASING", 8)
    models = models_of(key, ONE | {"layers": 2, "lengths": True}, 3, "float64")
    one, two = (train_many(engine, models) for engine in (REFERENCE, CompiledEngine()))
    assert_all_same(one, two, **CLOSE_IN_TRAINING)


def test_each_model_is_clipped_by_its_own_limits() -> None:
    clips: list[dict[str, float]] = [{}, {"clip_norm": 0.1}, {"clip_value": 0.05}]
    models = [case_of(ELMAN, ONE | {"clips": clips[number % 3]}, number) for number in range(10)]
    one, two = (train_many(engine, models) for engine in (REFERENCE, CompiledEngine()))
    assert_all_same(one, two, **CLOSE)


def test_gradients_whose_squares_are_too_large() -> None:
    """Squares beyond float32: the norm is right (within roundings of float32 in sums of some tens),
    and that of the others as if they were alone."""
    options = {"output": ("linear", "squared"), "clips": {"clip_norm": 0.2}, "lengths": False}
    models = models_of(ELMAN, ONE | options, 19, "float32")
    for case in models[::3]:
        case.y *= 1e25
    one, two = (train_many(engine, models) for engine in (REFERENCE, CompiledEngine()))
    for (_, expected), (_, found) in zip(one, two, strict=True):
        np.testing.assert_allclose(found.norm, expected.norm, rtol=1e-5)
    assert one[3][1].norm.min() > 1e24
    assert_all_same([train_many(CompiledEngine(), [case])[0] for case in models], two)


def test_models_that_do_not_lie_in_lanes() -> None:
    """Batches of several samples, and carried state with resets."""
    for options in ({"B": 3}, {"B": 1, "carried": True}, {"B": 7, "carried": True}):
        models = models_of(ELMAN, ONE | options, 3, "float64")
        one, two = (train_many(engine, models) for engine in (REFERENCE, CompiledEngine()))
        assert_all_same(one, two, **CLOSE)


def test_models_that_are_at_different_iterations() -> None:
    """Schedules and Adam's corrections go by each model's own count."""
    row = ONE | {"kind": "adam", "schedule": EVERYWHERE["schedule"][2]}
    models = models_of(LSTM, row, 3, "float64")
    found = []
    for engine in (REFERENCE, CompiledEngine()):
        learners = [replace(learner_of(case), iteration=n) for n, case in enumerate(models)]
        optimizers = [case.optimizer for case in models]
        chunks = engine.train_many(optimizers, learners, data_of(models))
        found.append(list(zip(learners, chunks, strict=True)))
    assert_all_same(found[0], found[1], **CLOSE_IN_TRAINING)
    assert [learner.iteration for learner, _ in found[1]] == [3, 4, 5]


def spoiled(case: Case, value: float) -> Case:
    """The model with a weight that makes everything diverge."""
    theta: NDArray[Any] = case.theta.copy()
    theta[0] = value
    theta[-1] = value
    return replace(case, theta=theta)


@pytest.mark.parametrize("one_hot", [False, True], ids=["values", "one-hot"])
@pytest.mark.parametrize("kind", ["nesterov", "adam"])
@pytest.mark.parametrize("key", [ELMAN, LSTM], ids="-".join)
def test_a_model_does_not_depend_on_its_neighbours(
    key: tuple[str, str], kind: str, one_hot: bool
) -> None:
    """Alone, beside others, at any place, beside models that diverge: the same bits."""
    row = ONE | {"kind": kind, "one_hot": one_hot, "clips": {"clip_norm": 0.2}, "D": 3}
    row |= {"T": 2} if COMPILER_OFF else {"layers": 2}
    models = models_of(key, row, 9 if COMPILER_OFF else 19, "float64")
    together = train_many(CompiledEngine(), models)
    alone = [train_many(CompiledEngine(), [case])[0] for case in models]
    assert_all_same(alone, together)
    backwards = train_many(CompiledEngine(), models[::-1])
    assert_all_same(alone, backwards[::-1])
    few = train_many(CompiledEngine(), models[4:9])
    assert_all_same(alone[4:9], few)
    engine = CompiledEngine()
    bad = (np.nan, np.inf, -np.inf, 1e300)
    mixed = [
        spoiled(case, bad[number // 3 % 4]) if number % 3 else case
        for number, case in enumerate(models)
    ]
    assert_all_same(alone[::3], train_many(engine, mixed)[::3])
    # and nothing of those that diverged is left for the next
    assert_all_same(alone, train_many(engine, models))
    assert_all_same(alone[:3], train_many(engine, models[:3]))


@pytest.mark.parametrize("key", [ELMAN, LSTM], ids="-".join)
def test_cut_into_calls(key: tuple[str, str]) -> None:
    """However iterations are cut into calls: the same bits."""
    row = ONE | {"kind": "adamw", "schedule": EVERYWHERE["schedule"][2], "iterations": 7}
    models = models_of(key, row, 11, "float64")
    whole = train_many(CompiledEngine(), models)
    for calls in ((1, 2, 4), (3, 3, 1), (1,) * 7):
        assert_all_same(whole, train_many(CompiledEngine(), models, calls))


def test_a_model_in_a_lane_is_the_model_by_itself() -> None:
    """`train_many` and `train` go by different regimes, and agree within rounding."""
    models = models_of(ELMAN, ONE | {"T": 9, "H": 16}, 9, "float64")
    by_themselves = [train(CompiledEngine(), case) for case in models]
    assert_all_same(by_themselves, train_many(CompiledEngine(), models), **CLOSE)


def test_float32() -> None:
    """Within as many roundings of the largest entry as there are terms in the longest sum, as in
    tests/test_regimes.py."""
    for row in (ONE, ONE | {"one_hot": True, "H": 16, "output": ("sigmoid", "squared"), "T": 7}):
        row = row | {"iterations": 5}
        models = models_of(ELMAN, row, 19, "float32")
        doubles = models_of(ELMAN, row, 19, "float64")
        for single, double in zip(models, doubles, strict=True):
            double.theta[:], double.x = single.theta, single.x.astype(double.x.dtype)
        terms = 5 * row["T"] * (row["D"] + row["H"])
        limit = terms * np.finfo(np.float32).eps
        found = train_many(CompiledEngine(), models), train_many(REFERENCE, doubles)
        for (learner, chunk), (exact, exact_chunk) in zip(*found, strict=True):
            assert learner.theta.dtype == np.float32
            assert np.abs(learner.theta - exact.theta).max() <= limit * np.abs(exact.theta).max()
            np.testing.assert_allclose(chunk.loss, exact_chunk.loss, rtol=limit)
            np.testing.assert_allclose(chunk.norm, exact_chunk.norm, rtol=limit)
