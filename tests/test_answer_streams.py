"""Models one step at a time: the answers of `predict`, in the user's own terms."""

import os

import numpy as np
import pandas
import pytest
from memory import assert_nothing_is_kept_of_a_step

import bptt
from bptt import BpttError, Sequences

needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="the compiler is off"
)
ENGINES = [pytest.param("compiled", marks=needs_compiler), "reference"]
SMALL = {"hidden": 5, "cell": "lstm", "batch": 8, "epochs": 3, "validation": 0.0, "seed": 0}
# Sums of float32 numbers in another order, in units of the deviation.
CLOSE = 3e-6
TARGETS = {
    "class a sequence": lambda x: [
        ["minus", "plus"][int(each.sum() > 15 * len(each))] for each in x
    ],
    "class a step": lambda x: [np.array(["a", "b", "c"])[np.digitize(e[:, 0], [4, 6])] for e in x],
    "number a step": lambda x: [1000 + 100 * each.cumsum(axis=0)[:, 0] for each in x],
    "numbers a sequence": lambda x: np.array([each.mean(axis=0)[:2] * 10 - 7 for each in x]),
}


def inputs(count=30, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, count)
    return [rng.normal([5, 0, 10], [1, 0.1, 30], (k, 3)).astype(dtype) for k in sizes]


def fitted(what, engine="reference", x=None, options=None, **more):
    x = inputs() if x is None else x
    y = TARGETS[what](x)
    kind = "classes" if what.startswith("class") else "numbers"
    return bptt.fit(Sequences(x, y, kind=kind, **more), engine=engine, **SMALL, **options or {})


def told(stream, sequence):
    """The answers of all steps."""
    stream.reset()
    return np.array([np.copy(stream.step(row)) for row in sequence])


def same(found, wanted, scale=1.0):
    if np.asarray(wanted).dtype.kind == "U":
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=CLOSE * scale)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("what", TARGETS)
def test_a_step_is_the_prediction_of_the_sequence_so_far(what, dtype, engine):
    x = inputs(dtype=dtype)
    model = fitted(what, engine, x=x)
    scale = max(model.scaling.target_deviation, default=1.0)
    stream, sequence = model.stream(), max(inputs(seed=1, dtype=dtype), key=len)
    whole = model.predict([sequence[: t + 1] for t in range(len(sequence))])
    wanted = whole[-1] if "step" in what else whole
    same(told(stream, sequence), wanted, scale)
    if "class" in what:
        p = model.predict_proba([sequence[: t + 1] for t in range(len(sequence))])
        same(told(model.stream(probabilities=True), sequence), p[-1] if "step" in what else p)
    stream.reset()
    blocks = [stream.run(sequence[:2]), stream.run(sequence[2:])]
    same(np.concatenate(blocks) if "step" in what else blocks[1],
         wanted if "step" in what else wanted[-1], scale)  # fmt: skip
    answer = stream.step(sequence[0])
    assert np.shape(answer) == np.shape(wanted[0])


@pytest.mark.parametrize("outputs", [1, 2])
def test_quantiles(outputs):
    x = inputs()
    y = [each[:, :outputs] * 100 for each in x]
    options = {"loss": "pinball", "quantiles": (0.1, 0.5, 0.9), "engine": "reference"}
    model = bptt.fit(Sequences(x, y, kind="numbers"), **SMALL, **options)
    wanted = model.predict(x[:1])[0]
    assert wanted.shape[1:] == ((3,) if outputs == 1 else (2, 3))
    same(told(model.stream(), x[0]), wanted, 1000)
    same(model.stream().run(x[0]), wanted, 1000)
    same(told(model.stream(level=1), x[0]), wanted[..., 1], 1000)
    same(model.stream(level=2).run(x[0]), wanted[..., 2], 1000)
    with pytest.raises(BpttError, match="level 3 is not there: places 0 to 2 are"):
        model.stream(level=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("missing", ["flag", "last"])
def test_missing_values_are_dealt_with_as_predict_does(missing, dtype):
    rng = np.random.default_rng(3)
    x = inputs(dtype=dtype)
    for each in x:
        each[rng.random(len(each)) < 0.4, 1] = np.nan
    model = fitted("number a step", x=x, missing=missing)
    scale = model.scaling.target_deviation[0]
    stream = model.stream()
    for each in x:
        same(told(stream, each), model.predict([each])[0], scale)
    sequence = np.concatenate([x[0], [[5, np.nan, 10]], x[1], [[5, np.nan, 10]]]).astype(dtype)
    wanted = model.predict([sequence])[0]
    stream.reset()
    first = stream.run(sequence[:-1])
    kept = stream.state
    for bad in ([np.nan, 0, 0], [0, np.nan, np.inf]):
        with pytest.raises(BpttError, match=r"channel 'x[02]' is"):
            stream.run([[5, -9, 10], bad])
    same(np.append(first, stream.step(sequence[-1])), wanted, scale)
    other = model.stream()  # the state handed over, the last values with it
    other.state = kept
    same(other.step(sequence[-1]), wanted[-1], scale)


def test_columns_of_text():
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({
        "who": np.repeat(np.arange(20), 5), "size": rng.normal(7, 2, 100),
        "color": rng.choice(["red", "blue", "green"], 100),
    })  # fmt: skip
    table.loc[[3, 50], "color"] = None
    table["sum"] = 10 * table["size"] + (table["color"] == "red")
    data = Sequences.from_frame(
        table, id="who", target="sum", features=["size", "color"], kind="numbers", per="step",
        missing="flag",
    )  # fmt: skip
    model = bptt.fit(data, engine="reference", **SMALL)
    rows = table[["size", "color"]].to_numpy()[:5].tolist()
    wanted, stream = model.predict(data[:1])[0], model.stream()
    same(told(stream, rows), wanted, 20)
    stream.reset()
    same(stream.run(rows), wanted, 20)
    with pytest.raises(BpttError, match=r"in training column 'color' has no value 'rde'.*'red'"):
        stream.step([7.0, "rde"])
    with pytest.raises(BpttError, match="a step has 2 values, one a column: size, color"):
        stream.step([7.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([5.0, 0.0], r"x has shape \(2,\): a step has 3 channels, x0, x1, x2$"),
        (5.0, r"x has shape \(\)"),
        ([5.0, np.nan, 0.0], "channel 'x1' is missing, but nothing was in training: fill it$"),
        ([5.0, 0.0, -np.inf], "channel 'x2' is -inf: finite numbers are needed$"),
        (["a", "b", "c"], "a number a channel is needed"),
        ([[1.0], [1.0, 2.0], []], "x is ragged"),
    ],
)
def test_a_step_that_does_not_fit_leaves_the_state(x, words):
    model = fitted("number a step")
    stream, sequence = model.stream(), inputs()[0]
    stream.run(sequence)
    before = stream.state
    with pytest.raises(BpttError, match=words):
        stream.step(x)
    np.testing.assert_array_equal(stream.state.network, before.network)
    for wrong in (x, []):
        with pytest.raises(BpttError):
            stream.run([sequence[0], wrong] if wrong else [])
    np.testing.assert_array_equal(stream.state.network, before.network)


def test_what_is_no_state_and_has_no_probabilities():
    model = fitted("number a step")
    stream = model.stream()
    with pytest.raises(BpttError, match="no state of such a stream"):
        stream.state = np.zeros(5)
    with pytest.raises(BpttError, match="numbers were learned, which have no probabilities"):
        model.stream(probabilities=True)


def test_a_loaded_model_and_one_channel(tmp_path):
    x = [each[:, 0] for each in inputs()]
    model = bptt.fit(Sequences(x, [each**2 for each in x]), engine="reference", **SMALL)
    model.save(tmp_path / "model.safetensors")
    loaded = bptt.load_model(tmp_path / "model.safetensors")
    stream = loaded.stream()
    wanted = model.predict([x[0]])[0]
    same(told(stream, x[0].tolist()), wanted, 100)
    stream.reset()
    same(stream.run(x[0]), wanted, 100)
    assert isinstance(stream.step(5.0), float)


def test_estimators():
    pytest.importorskip("sklearn")
    x = inputs()
    small = {"hidden": 4, "cell": "elman", "engine": "reference", "epochs": 3, "random_state": 0}
    clf = bptt.RNNClassifier(**small).fit(x, np.arange(30) % 3 * 2)
    parts = [x[0][: t + 1] for t in range(len(x[0]))]
    np.testing.assert_array_equal(told(clf.stream(), x[0]), clf.predict(parts))
    same(told(clf.stream(probabilities=True), x[0]), clf.predict_proba(parts))
    y = np.array([each.mean(axis=0)[:2] for each in x])
    reg = bptt.RNNRegressor(loss="pinball", quantiles=(0.2, 0.5, 0.7), **small).fit(x, y)
    same(told(reg.stream(), x[0]), reg.predict(parts), 30)
    tag = bptt.RNNTagger(**small).fit(x, TARGETS["class a step"](x))
    np.testing.assert_array_equal(tag.stream().run(x[0]), tag.predict(x[:1])[0])
    with pytest.raises(BpttError, match="no probabilities"):
        reg.stream(probabilities=True)


@needs_compiler
@pytest.mark.parametrize("what", ["numbers a sequence", "class a step"])
def test_nothing_is_kept_of_a_step(what):
    model, x = fitted(what, "compiled"), np.array([5.0, 0.1, 10.0])
    stream = model.stream(probabilities="class" in what)
    assert_nothing_is_kept_of_a_step(stream, x)
