"""Copies and pickles of all that users hold in their hands; and the company of other threads."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pytest

import bptt
from bptt.kernels.machine.library import COMPILER_OFF

TEXT = bptt.Text(text="the cat sat on the mat.", window=5)
SMALL = {"hidden": 4, "iterations": 60, "record_every": 20}
WAYS = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
STUDY = {"base": {"bits": 2, "hidden": 3, "iterations": 30, "engine": "reference"}, "seeds": 4}


@pytest.mark.parametrize("copied", WAYS, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_network_is_copied_used_or_not(engine, copied):
    network = bptt.Network(inputs=3, outputs=2, hidden=5, cell="gru", seed=1, engine=engine)
    x, y = np.random.default_rng(0).random((4, 7, 3)), np.zeros((4, 7, 2))
    for again in (copied(network), (network.gradient(x, y), copied(network))[1]):
        assert again.structure == network.structure
        assert type(again.engine) is type(network.engine)
        np.testing.assert_array_equal(again.gradient(x, y).flat, network.gradient(x, y).flat)
        again.theta[:] = 0  # a copy, no view
        assert network.theta.any()


@pytest.mark.parametrize("copied", WAYS, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("task", [bptt.Addition(bits=2), TEXT], ids=["addition", "text"])
def test_a_copied_run_goes_on_as_the_run_would(task, copied):
    run = bptt.train(task, **SMALL, exact=False)
    whole = bptt.train(task, **{**SMALL, "iterations": 120}, exact=False)
    again = copied(run)
    assert again.settings == run.settings
    assert again.history.equals(run.history)
    assert str(again) == str(run)
    assert again.training.learner.theta is again.network.theta
    training = again.training
    training.settings = whole.settings
    gone_on = bptt.resume(again)
    np.testing.assert_array_equal(gone_on.network.theta, whole.network.theta)
    assert len(run.records) == 3  # the first is as it was


@pytest.mark.parametrize("copied", [*WAYS, copy.copy], ids=["deepcopy", "pickle", "copy"])
@pytest.mark.parametrize(
    "value",
    [bptt.Addition(bits=3, signed=True), TEXT, bptt.Optimizer(kind="adam"), bptt.Stop(loss=0.1),
     bptt.Structure(inputs=2, outputs=1), bptt.Schedule(kind="cosine"), bptt.Study(**STUDY),
     bptt.BpttError("a line")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_declared_is_copied(value, copied):
    again = copied(value)
    assert type(again) is type(value)
    assert str(again) == str(value)
    assert again == value or isinstance(value, Exception)


def timeless(results):
    return results.frame.drop(columns="seconds")


@pytest.mark.parametrize("copied", WAYS, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("folder", [None, "out"], ids=["in memory", "in a folder"])
def test_results_are_copied(folder, copied, tmp_path):
    study = bptt.Study(**STUDY, curves=True)
    results = study.run(folder and tmp_path / folder, workers=1)
    again = copied(results)
    pandas.testing.assert_frame_equal(again.frame, results.frame)
    pandas.testing.assert_frame_equal(again.curves, results.curves)
    assert (again.reason, again.missing, str(again)) == ("done", 0, str(results))
    results.store.close()
    assert len(again.frame) == 4


def test_results_go_from_thread_to_thread():
    study = bptt.Study(**STUDY)
    with ThreadPoolExecutor(1) as elsewhere:
        results = elsewhere.submit(study.run, None, workers=1).result()
        here, there = timeless(results), elsewhere.submit(timeless, results).result()
    pandas.testing.assert_frame_equal(here, there)
    pandas.testing.assert_frame_equal(here, timeless(study.run(workers=1)))


def test_trainings_in_two_threads_are_those_alone():
    def trained(seed):
        return bptt.train(bptt.Addition(bits=3), seed=seed, **SMALL).network.theta

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(trained, range(6)))
    for seed, theta in enumerate(together):
        np.testing.assert_array_equal(theta, trained(seed))


def test_a_network_predicts_while_others_train():
    network = bptt.Network(inputs=2, outputs=1, hidden=4, seed=2)
    x = np.random.default_rng(1).random((5, 9, 2))
    right, ended = network.predict(x), threading.Event()
    wrong = []

    def predict():
        while not ended.is_set():
            if not np.array_equal(network.predict(x), right):
                wrong.append(1)

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(predict)
        for seed in range(3):
            bptt.train(bptt.Addition(bits=3), seed=seed, **SMALL)
        ended.set()
        working.result()
    assert not wrong


@pytest.mark.skipif(COMPILER_OFF, reason="would take a minute")
def test_how_numpy_treats_underflow_is_not_our_affair():
    # 8,000 iterations: until a power of beta1 underflows.
    options = {"hidden": 3, "optimizer": "adam", "iterations": 8000, "exact": False}
    task = bptt.Addition(bits=2)
    usual = bptt.train(task, **options)
    with np.errstate(all="raise"):
        run = bptt.train(task, **options)
        network = bptt.Network(inputs=2, outputs=1, hidden=4)
        x = np.full((3, 5, 2), 1e-300)
        network.gradient(x, np.full((3, 5, 1), 1e-300))
        network.predict(x, state=np.full((1, 1, 3, 4), 1e-300))
        checked = bptt.Network(inputs=2, outputs=1, hidden=3, dtype="float64")
        assert bptt.check_network(checked, x, np.zeros((3, 5, 1))).passed
        study = bptt.Study(**STUDY, curves=True)
        assert len(study.run(workers=1).frame) == 4
    np.testing.assert_array_equal(run.network.theta, usual.network.theta)
