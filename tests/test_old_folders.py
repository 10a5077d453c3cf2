"""Folders that version 0.1.0 wrote (tests/data) are loaded, gone on with and written again."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

import bptt
from bptt.network.network import engine_of
from bptt.studies import Study, load
from bptt.studies.study import merge
from bptt.training import runs

OLD = Path(__file__).parent / "data" / "version-0.1.0"
RUNS = {"add": ("iterations", 300), "gru": ("iterations", None), "text": ("interrupted", 10)}


@pytest.fixture(params=RUNS)
def folder(request, tmp_path):
    """A copy of a run's folder."""
    return Path(shutil.copytree(OLD / request.param, tmp_path / request.param))


def test_a_network_is_loaded_with_its_task(folder):
    network, task = runs.load_network(folder, "reference")
    assert network.theta.size == json.loads((folder / "result.json").read_text())["parameters"]
    for name, array in load_file(folder / "weights.safetensors").items():
        np.testing.assert_array_equal(network[name], array)
    config = json.loads((folder / "config.json").read_text())
    assert {name: task.config()[name] for name in config["task"]} == config["task"]
    assert bptt.load(folder).structure == network.structure


def test_a_run_is_loaded_with_its_history_and_verdict(folder):
    run = bptt.load_run(folder)
    result = json.loads((folder / "result.json").read_text())
    assert (run.reason, run.training.learner.iteration) == (result["reason"], result["iteration"])
    assert run.reason == RUNS[folder.name][0]
    assert result["verdict"] == (run.verdict and run.verdict.as_dict())
    with (folder / "history.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [asdict(record) for record in run.records] == rows
    checkpoint = load_file(folder / "checkpoint.safetensors")
    for name in ("theta", "s0", "s1"):
        np.testing.assert_array_equal(getattr(run.training.learner, name), checkpoint[name])


def test_a_run_goes_on_to_the_end_of_one_that_was_not_interrupted(folder):
    config = json.loads((folder / "config.json").read_text())
    config["iterations"] += 40  # those that had ended get something to do
    (folder / "config.json").write_text(json.dumps(config))
    settings = runs.settings_from_dict(config)
    gone_on, whole = bptt.resume(folder), bptt.train(settings)
    assert gone_on.training.learner.iteration == config["iterations"]
    # That version's kernels took sums in another order: their rounding, some steps on.
    unit = float(np.finfo(whole.network.theta.dtype).eps)
    for name in ("theta", "s0", "s1"):
        found, wanted = (getattr(each.training.learner, name) for each in (gone_on, whole))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=500 * unit * np.abs(wanted).max())
    at = {record.iteration: record for record in whole.records}
    for record in gone_on.records:
        if record.iteration in at:  # the end of the shorter run is a record too
            assert record.loss == pytest.approx(at[record.iteration].loss, rel=500 * unit)
    gone_on.save(folder)
    assert bptt.load_run(folder).network.theta.tobytes() == gone_on.network.theta.tobytes()
    stop = msgspec.to_builtins(bptt.load_run(folder).settings.stop)
    assert stop == {**config["stop"], "proved": False}  # which that version did not have


def test_a_study_is_loaded_and_gone_on_with(tmp_path):
    folder = Path(shutil.copytree(OLD / "study", tmp_path / "study"))
    before = load(folder).frame.set_index("run")
    assert (len(before), load(folder).missing) == (3, 3)
    results = Study.from_toml(OLD / "study.toml").run(folder, resume=True, workers=1)
    after = results.frame.set_index("run")
    assert (len(after), results.missing) == (6, 0)
    assert after.loc[before.index].equals(before)  # the seconds too: they were not run again
    assert set(before["arithmetic"]) == {""}  # which that version did not record
    assert results.store.arithmetics() == {"": 3, engine_of("compiled").arithmetic: 3}
    assert set(results.curves["run"]) == set(after.index)
    again = Path(shutil.copytree(OLD / "study", tmp_path / "again"))
    assert len(merge([again, folder], tmp_path / "merged").frame) == 6
