"""The hunts that a report has inside: what the package computes, for every mistake."""

import numpy as np
import pytest
from lab_pages import unpacked

from bptt import bug_hunt
from bptt.lab.hunting import KEPT_SEED, how_wrong, kept, mistakes, symptoms, trained
from bptt.mistakes.programs import PROGRAMS
from bptt.mistakes.table import MISTAKES, source


@pytest.mark.parametrize("cell", list(PROGRAMS))
def test_every_kept_hunt_is_what_is_computed(cell: str) -> None:
    assert list(kept()[cell]) == mistakes()[cell]
    for name, found in kept()[cell].items():
        hunt = bug_hunt(KEPT_SEED, name=name, cell=cell)
        off = how_wrong(hunt)
        assert set(off) == set(found["off"])
        for each, values in off.items():
            rows = values.max(axis=0).T if each == "x" else np.atleast_2d(values)
            # float32 there; what is right is so but for rounding, here as there.
            assert np.allclose(unpacked(found["off"][each]), rows, rtol=1e-5, atol=1e-9), name
        # What a picture calls wrong is what the check has found.
        wrong = {each for each, values in off.items() if values.max() > 1e-6}
        assert wrong == set(found["failed"])
        assert bool(wrong) == (name != "none") == (not found["passed"])
        assert len(found["planted"]) == 40
        if name == "none":
            assert found["wrongLine"] == ""
            continue
        assert found["words"] == MISTAKES[name].words
        right = source(cell)
        assert right.count(found["rightLine"]) == 1
        assert right.replace(found["rightLine"], found["wrongLine"]) == source(cell, name)


def test_a_kept_hunt_is_what_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bptt.lab.hunting.TRAINED", 40)
    asked = {"cell": "elman", "name": "the state after", "seed": KEPT_SEED}
    found, there = symptoms(asked), kept()["elman"]["the state after"]
    for name in ("failed", "passed", "firstWrongStep", "steps", "samples"):
        assert found[name] == there[name]
    assert np.allclose(trained(asked)["planted"], there["planted"][:2], rtol=1e-3)
