"""Training runs: what they reach, when they stop, what they record, how they fail and go on."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest

from bptt.tasks import Addition, Text, write
from bptt.tasks.text.paragraph import PARAGRAPH
from bptt.training import runs
from bptt.training import training as training_module
from bptt.training.options import settings_for
from bptt.training.training import Training

# Where the kernels run as plain Python (for coverage), a whole training would take hours.
needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="the compiler is off"
)
SHORT_TEXT = PARAGRAPH[:58]


def training_of(task, engine="reference", **options):
    return Training(settings_for(task, {"engine": engine, **options}))


def small(engine="reference", **options):
    """A run of a small adder, a few milliseconds long."""
    sizes = {"hidden": 5, "batch": 2, "iterations": 37, "record_every": 10, "exact": False}
    return training_of(Addition(bits=4), engine, **{**sizes, **options})


def small_text(engine="reference", **options):
    """A run on a text in 5 windows, the last one shorter; carries state and two of Adam's."""
    sizes = {"hidden": 6, "iterations": 33, "record_every": 8, "exact": False}
    return training_of(Text(text=SHORT_TEXT, window=12), engine, **{**sizes, **options})


def finished(training):
    """The training itself, run to its end."""
    for _ in training.records():
        pass
    return training


def timeless(history):
    """Records without the one thing that differs from run to run."""
    return [replace(record, seconds=0.0) for record in history]


def assert_same_end(one, other):
    """Two runs that ended with the same bits everywhere."""
    assert one.learner.iteration == other.learner.iteration
    for name in ("theta", "s0", "s1", "state"):
        mine, its = getattr(one.learner, name), getattr(other.learner, name)
        assert (mine is None) == (its is None)
        if mine is not None:
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its, err_msg=name)
    np.testing.assert_array_equal(one.network.theta, one.learner.theta)
    np.testing.assert_array_equal(other.network.theta, other.learner.theta)
    assert timeless(one.history) == timeless(other.history)
    assert (one.reason, one.verdict, one.stream.state()) == (
        other.reason, other.verdict, other.stream.state()
    )  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_the_default_adder_is_exact_on_all_pairs(signed, seed):
    training = finished(training_of(Addition(signed=signed), "compiled", seed=seed))
    assert training.reason == "exact"
    assert (training.verdict.right, training.verdict.total) == (65_536, 65_536)
    # The same once more without the task's code: every pair, encoded by hand.
    low = -128 if signed else 0
    numbers = np.arange(low, low + 256)
    a, b = (grid.ravel()[:, None] for grid in np.meshgrid(numbers, numbers))
    places = np.arange(8 if signed else 9)
    x = np.stack([a >> places & 1, b >> places & 1], axis=-1)
    said = training.network.predict(x)[..., 0] > 0.5
    np.testing.assert_array_equal(said, (a + b) >> places & 1)


@needs_compiler
def test_the_default_text_is_recalled_to_the_letter():
    training = finished(training_of(Text(text=PARAGRAPH), "compiled"))
    assert training.reason == "exact"
    assert (training.verdict.right, training.verdict.total) == (272, 272)
    written = write(training.network, training.task, PARAGRAPH[0], 272, temperature=0)
    assert PARAGRAPH[0] + written == PARAGRAPH
    assert training.task.recalled(written) == 272


def test_a_run_records_at_every_mark_and_at_the_end():
    training = finished(small())
    assert [record.iteration for record in training.history] == [10, 20, 30, 37]
    assert training.reason == "iterations"
    assert training.verdict.total == 256
    seconds = [record.seconds for record in training.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert list(training.records()) == []  # nothing is left to do
    assert training.reason == "iterations"


def test_no_iterations_leave_the_weights_as_they_were():
    training = small(iterations=0)
    before = training.network.theta.copy()
    finished(training)
    assert (training.history, training.reason) == ([], "iterations")
    np.testing.assert_array_equal(training.network.theta, before)


def test_stop_at_a_loss_is_at_most_it():
    losses = [record.loss for record in finished(small()).history]
    lowest = int(np.argmin(losses))
    at = finished(small(target_loss=losses[lowest]))
    assert (at.reason, len(at.history)) == ("loss", lowest + 1)
    below = finished(small(target_loss=math.nextafter(losses[lowest], 0)))
    assert (below.reason, below.learner.iteration) == ("iterations", 37)


def test_stop_at_a_smooth_loss_is_below_it():
    smooth = [record.smooth_loss for record in finished(small()).history]
    lowest = int(np.argmin(smooth))
    at = finished(small(smooth_loss=smooth[lowest]))
    assert (at.reason, at.learner.iteration) == ("iterations", 37)
    above = finished(small(smooth_loss=math.nextafter(smooth[lowest], math.inf)))
    assert (above.reason, len(above.history)) == ("smooth loss", lowest + 1)


def test_stop_after_seconds_comes_at_the_next_record():
    assert finished(small(seconds=0.0)).reason == "time"
    assert finished(small(seconds=0.0)).learner.iteration == 10
    assert finished(small(seconds=1e9)).reason == "iterations"


def test_stop_when_exact_and_not_before():
    options = {"hidden": 8, "batch": 8, "iterations": 3000, "record_every": 50, "exact": True,
               "learning_rate": 0.02}  # fmt: skip
    training = finished(training_of(Addition(bits=2), **options))
    assert training.reason == "exact"
    assert training.verdict.passed
    assert training.learner.iteration < 3000
    assert training.history[-1].wrong == 0
    options |= {"iterations": training.learner.iteration + 7, "exact": False}
    on = finished(training_of(Addition(bits=2), **options))
    assert (on.reason, on.learner.iteration) == ("iterations", options["iterations"])
    unsolved = finished(small(exact=True))
    assert (unsolved.reason, unsolved.verdict.passed) == ("iterations", False)


def iteration_by_hand(training, batch, n):
    """Loss summed over samples and steps, steps, wrong outputs, exact samples and gradient norm of
    one iteration, from o and the definition of the loss alone."""
    network = training.network
    x, y = batch.x[n], batch.y[n]
    lengths = np.full(len(x), x.shape[1]) if batch.lengths is None else batch.lengths[n]
    state = None if batch.reset is None or batch.reset[n] else training.carried
    found = network.forward(x, lengths, state)
    training.carried = found.state
    o = found.o.astype(np.float64)
    counted = np.arange(x.shape[1]) < lengths[:, None]
    if batch.reset is None:
        each = np.logaddexp(0, o) - y * o
        loss = each.sum(axis=-1)
        wrong = (o > 0) != (y > 0.5)
    else:
        right = np.take_along_axis(o, y[..., None], axis=-1)
        loss = np.log(np.exp(o).sum(axis=-1)) - right[..., 0]
        wrong = (o.argmax(axis=-1) != y)[..., None]
    wrong &= counted[..., None]
    norm = np.linalg.norm(network.gradient(x, y, lengths, state).flat)
    exact = (~wrong.any(axis=(1, 2))).sum()
    return (loss * counted).sum(), counted.sum(), wrong.sum(), exact, norm


@pytest.mark.parametrize("make", [small, small_text])
@pytest.mark.parametrize("reduction", ["sum", "sequence", "mean"])
def test_the_arithmetic_of_a_record(make, reduction):
    # A learning rate of 0 leaves the weights alone, so that every iteration can be done again.
    options = {"reduction": reduction, "learning_rate": 0.0, "batch": 3, "dtype": "float64"}
    training, again = make(**options), make(**options)
    # The loss of guessing: ln 2 a bit, the logarithm of the vocabulary a character.
    smooth = np.log(2) if make is small else np.log(training.task.inputs)
    smooth *= {"sum": 3 * training.task.steps, "sequence": training.task.steps, "mean": 1}[
        reduction
    ]
    assert training.smooth_loss == pytest.approx(smooth, rel=1e-14)
    finished(training)
    batch = again.stream.draw(training.learner.iteration)
    done = 0
    for record in training.history:
        rows = [iteration_by_hand(again, batch, n) for n in range(done, record.iteration)]
        done = record.iteration
        sums, steps, wrong, exact, norms = (np.array(column) for column in zip(*rows, strict=True))
        losses = {"sum": sums, "sequence": sums / 3, "mean": sums / steps}[reduction]
        for loss in losses:
            smooth = 0.999 * smooth + 0.001 * loss
        per_step = losses.mean() if reduction == "mean" else sums.sum() / steps.sum()
        # Sums of some hundred float64 numbers in another order.
        close = {"rel": 1e-12}
        assert record.loss == pytest.approx(losses.mean(), **close)
        assert record.loss_per_step == pytest.approx(per_step, **close)
        assert record.smooth_loss == pytest.approx(smooth, **close)
        assert record.gradient_norm == pytest.approx(norms.mean(), **close)
        assert record.wrong == wrong.sum() / steps.sum()
        assert record.exact == exact.sum() / (3 * len(rows))
    assert done == training.settings.iterations


HUGE = {"optimizer": "sgd", "learning_rate": 1e38, "iterations": 2000, "record_every": 20}
EXPLODING = {**HUGE, "activation": "relu", "output": "linear", "learning_rate": 3.0}


def first_bad_iteration(training):
    """Train one iteration at a time; gives the iteration that spoils a number, and theta before."""
    for n in range(1, training.settings.iterations + 1):
        before = training.learner.theta.copy()
        with np.errstate(all="ignore"):
            chunk = training._train(training.stream.draw(1))
        numbers = (chunk.loss, chunk.norm, training.learner.theta)
        if not all(np.isfinite(each).all() for each in numbers):
            return n, before
    raise AssertionError("this run does not diverge")


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("reference", HUGE),
        ("reference", EXPLODING),
        # With the compiler off NumPy's numbers warn of what compiled ones keep to themselves.
        pytest.param("compiled", HUGE, marks=needs_compiler),
    ],
    ids=["reference", "reference relu", "compiled"],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_divergence_is_noticed_and_named_and_the_good_weights_kept(engine, options, seed):
    training = finished(small(engine, seed=seed, **options))
    iteration, weights = first_bad_iteration(small(engine, seed=seed, **options))
    assert training.reason == "diverged"
    assert training.divergence.iteration == iteration
    assert training.learner.iteration == iteration - 1
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(training.network.theta, weights)
    message = str(training.divergence)
    assert message.startswith(f"diverged at iteration {iteration}: the ")
    assert "\n" not in message
    assert "nan" in message or "inf" in message
    for record in training.history:
        assert np.isfinite([record.loss, record.gradient_norm, record.smooth_loss]).all()
        assert record.iteration < iteration
    assert training.history[-1].iteration == iteration - 1 if iteration > 1 else True


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize(
    ("name", "blame"), [("U", "state h"), ("W", "state h"), ("V", "output o"), ("c", "output o")]
)
def test_a_weight_that_is_no_number_is_noticed_at_once(engine, name, blame):
    training = small(engine)
    training.network[name].flat[-1] = np.nan
    finished(training)
    assert training.reason == "diverged"
    assert str(training.divergence) == f"diverged at iteration 1: the {blame} became nan"
    assert training.history == []


def test_an_update_that_overflows_is_named_by_parameter():
    training = small(optimizer="momentum", learning_rate=1e-3)
    training.learner.s0[:] = 1.0
    training.learner.s0[training.settings.structure.layout().size - 1] = 3e38  # the velocity of c
    training.network["c"][0] = 3e38
    finished(training)
    # o = c = 3e38 is finite still; the update 3e38 + 0.9 * 3e38 is not.
    assert str(training.divergence) == "diverged at iteration 1: the update made c[0] inf"
    assert np.isfinite(training.network.theta).all()


def test_a_loss_that_overflows_is_divergence_though_the_gradient_is_finite():
    training = small(optimizer="sgd", learning_rate=1e-6, output="linear")
    training.network["c"][0] = 1e25  # o = 1e25: its square is beyond float32, o - y is not
    finished(training)
    assert str(training.divergence) == "diverged at iteration 1: the loss became inf"
    assert training.network["c"][0] == np.float32(1e25)


def with_cuts(make, engine, cuts, folder, options):
    """A run interrupted at these iterations, or soon after, and gone on with from its folder."""
    training = make(engine, **options)
    stands = []
    for cut in cuts:
        for _ in training.records(lambda t=training, c=cut: t.learner.iteration >= c):
            pass
        if training.reason != "interrupted":
            break
        stands.append(training.learner.iteration)
        assert training.verdict is None
        runs.save_settings(folder, training.settings)
        runs.save_checkpoint(folder, training)
        training = runs.load_training(folder)
    return finished(training), stands


INTERRUPTED = [
    (small, "reference", {}),
    (small, "reference", {"optimizer": "rmsprop_nesterov", "initial_state": "trainable"}),
    (small, "reference", {"tied": False, "layers": 2, "optimizer": "adagrad"}),
    (small_text, "reference", {}),
    (small_text, "reference", {"cell": "gru", "batch": 2, "optimizer": "nesterov"}),
    (small, "compiled", {}),
    (small_text, "compiled", {}),
]


@pytest.mark.parametrize(("make", "engine", "options"), INTERRUPTED)
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(
    make, engine, options, tmp_path, monkeypatch
):
    whole = finished(make(engine, **options))
    # Calls of at most 3 iterations, so that a cut falls between records and in a text's middle.
    monkeypatch.setattr(training_module, "CALL_NUMBERS", 3 * 2 * 12 * 2)
    places = set()
    for number, cuts in enumerate([[1], [7], [10], [16, 17], [1, 4, 12, 25, 31], [33], [36]]):
        parted, stands = with_cuts(make, engine, cuts, tmp_path / str(number), options)
        assert_same_end(parted, whole)
        places.update(stands)
    assert len(places) >= 5  # it has been cut, and at different places


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize("make", [small, small_text])
def test_how_iterations_are_cut_into_calls_changes_no_number(make, engine, monkeypatch):
    whole = finished(make(engine))
    for numbers, seconds in ((1, 0.1), (100, 0.1), (500_000, 1e-9), (500_000, 1e9)):
        monkeypatch.setattr(training_module, "CALL_NUMBERS", numbers)
        monkeypatch.setattr(training_module, "CALL_SECONDS", seconds)
        assert_same_end(finished(make(engine)), whole)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
@pytest.mark.parametrize(
    ("make", "options"),
    [(small, {}), (small, {"optimizer": "adam", "initial_state": "trainable"}), (small_text, {})],
)
def test_an_exception_in_the_engine_loses_and_spoils_nothing(make, options, engine):
    # A second Ctrl-C, say: it comes when the engine has changed numbers, and before they count.
    whole = finished(make(engine, **options))
    real, calls = whole.network.engine, []

    class Stopped:
        def __getattr__(self, name):
            return getattr(real, name)

        def train(self, optimizer, learner, batch):
            done = learner.iteration
            chunk = real.train(optimizer, learner, batch)
            calls.append(done)
            if len(calls) in (1, 3, 4):
                learner.iteration = done
                raise KeyboardInterrupt
            return chunk

    training = Training(whole.settings, Stopped())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            finished(training)
    assert_same_end(finished(training), whole)
    assert calls[0] == calls[1] == 0  # done again, and further on once more
    assert calls[2] == calls[3] == calls[4] > 0


def test_an_interrupt_between_records_leaves_an_honest_history(tmp_path):
    training = small(record_every=25)  # the first call of the engine ends before
    list(training.records(lambda: True))
    assert training.reason == "interrupted"
    assert 0 < training.learner.iteration <= 10
    runs.save_settings(tmp_path, training.settings)
    runs.save_checkpoint(tmp_path, training)
    again = runs.load_training(tmp_path)
    np.testing.assert_array_equal(again.pending.rest, training.pending.rest)
    assert len(again.pending) == len(training.pending) > 0
    assert again.history == training.history
    assert again.seconds == training.seconds > 0


@pytest.mark.parametrize("make", [small, small_text])
def test_a_seed_fixes_everything(make):
    one, same, other = (finished(make(seed=seed)) for seed in (3, 3, 4))
    assert_same_end(one, same)
    assert not np.array_equal(one.network.theta, other.network.theta)
    if make is small:  # a text has one order; an adder's data come by the seed
        drawn = [make(seed=seed).stream.draw(5).x for seed in (3, 4)]
        assert not np.array_equal(*drawn)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop_nesterov"])
def test_both_engines_give_the_same_run(optimizer):
    options = {"dtype": "float64", "optimizer": optimizer, "clip_norm": 1.0}
    compiled, reference = (
        finished(small(engine, **options)) for engine in ("compiled", "reference")
    )
    # 37 iterations, each of which may double a rounding of 1e-16 or so, but not all do.
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(compiled.network.theta, reference.network.theta, **close)
    np.testing.assert_allclose(compiled.learner.s0, reference.learner.s0, **close)
    np.testing.assert_allclose(compiled.learner.s1, reference.learner.s1, **close)
    for mine, its in zip(compiled.history, reference.history, strict=True):
        assert (mine.iteration, mine.wrong, mine.exact) == (its.iteration, its.wrong, its.exact)
        assert mine.loss == pytest.approx(its.loss, rel=1e-10)
        assert mine.gradient_norm == pytest.approx(its.gradient_norm, rel=1e-9)
    assert compiled.verdict == reference.verdict
