"""Traps of training on users' sequences that no other file tests: zeros that look like padding,
factors of weights, labels that only one side has, and what is loaded when."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bptt import Sequences, fit

SMALL = {"cell": "elman", "hidden": 4, "epochs": 3, "engine": "reference", "seed": 1}


def trials(count=24, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(3 + n % 5, 2)) for n in range(count)]


def bits(model):
    return model.network.theta.tobytes()


def test_a_step_of_zeros_is_a_step_and_padding_is_none():
    """Masks by value cannot tell the two apart."""
    x, y = trials(), np.arange(24) % 2
    model = fit(Sequences(x, y, kind="classes"), **SMALL)
    longer = [np.concatenate([each, np.zeros((2, 2))]) for each in x]
    p = model.predict_proba(x)
    assert not np.array_equal(model.predict_proba(longer), p)
    lengths = [len(each) for each in x]
    for more, filling in ((0, 0.0), (4, 0.0), (9, np.nan), (2, 1e300)):
        padded = np.full((24, 7 + more, 2), filling)
        for row, each in zip(padded, x, strict=True):
            row[: len(each)] = each
        known = Sequences(padded, y, kind="classes", lengths=lengths)
        np.testing.assert_array_equal(model.predict_proba(known), p)
        assert bits(fit(known, **SMALL)) == bits(model)


@pytest.mark.parametrize("factor", [2.0, 2.0**-20])
def test_a_common_factor_of_weights_changes_no_bit_of_a_training(factor):
    """Means are over the sum of weights, so the learning rate keeps its meaning; factors that are
    powers of two are exact."""
    x, y = trials(), np.arange(24) % 2
    weights = 1.0 + np.arange(24) % 3
    one = fit(Sequences(x, y, kind="classes", weights=weights), **SMALL)
    two = fit(Sequences(x, y, kind="classes", weights=factor * weights), **SMALL)
    assert bits(one) == bits(two)
    assert bits(one) != bits(fit(Sequences(x, y, kind="classes"), **SMALL))


def test_a_class_with_one_member_stays_in_training_and_may_be_absent_from_validation():
    x, y = trials(), ["rare", *["a", "b"] * 11, "a"]
    for seed in range(4):
        model = fit(Sequences(x, y), **SMALL | {"seed": seed})
        assert model.schema.classes == ("a", "b", "rare")
        assert model.predict_proba(x).shape == (24, 3)
        assert np.isfinite(model.score.loss)


SCRIPT = """
import sys
import bptt
from bptt.commands.cli import run
run(["--help"])
heavy = {"sklearn", "pandas", "scipy", "numba", "matplotlib"} & {*sys.modules}
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""


def test_scikit_learn_is_not_loaded_before_it_is_needed():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True,
                          env=os.environ, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
