"""`bptt prove` and what training says of every length."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import bptt
from bptt.commands.cli import run as command
from bptt.errors import BpttError
from bptt.proofs.extraction import extract
from bptt.proofs.prove import QUICK
from bptt.studies.answers import summary
from bptt.studies.report import settings_table
from bptt.training import runs
from bptt.training.options import settings_for
from bptt.training.training import Training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be proved."""
    folder = tmp_path_factory.mktemp("run")
    task = bptt.Addition(bits=8)
    run = bptt.train(task, cell="elman", hidden=8, seed=1, iterations=20_000, exact=False)
    run.save(folder)
    return folder


def test_a_run_is_proved_checked_and_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["prove", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "proved"
    assert found["sets"] > 3
    assert (folder / "proof.png").read_bytes()[:4] == b"\x89PNG"
    certificate = folder / "proof.safetensors"
    assert command(["prove", "--check", str(certificate)]) == 0
    assert "adds every pair of every length: checked" in capsys.readouterr().out
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(certificate.read_bytes()[:-9])
    assert command(["prove", "--check", str(damaged)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_proof_of_other_weights_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["prove", str(folder)]) == 0
    other = bptt.train(bptt.Addition(bits=8), cell="elman", hidden=8, seed=2, iterations=100)
    other.save(tmp_path)
    (tmp_path / "proof.safetensors").write_bytes((folder / "proof.safetensors").read_bytes())
    assert command(["prove", "--check", str(tmp_path / "proof.safetensors")]) == 2
    assert "other weights" in capsys.readouterr().err


def test_the_machine_of_a_proved_network_is_the_tasks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = bptt.load(folder)
    found = extract(network, bptt.Addition().automaton())
    assert found.machine.size == 2
    assert found.agreeing == 1
    assert found.machine.same_as(bptt.Addition().automaton())
    assert command(["prove", "--automaton", str(folder)]) == 0
    assert "the task's own automaton" in capsys.readouterr().out
    assert '"0" -> "1" [label="1+1 / 0"]' in (folder / "machine.dot").read_text()


def test_a_network_that_has_not_learnt_is_wrong_at_the_shortest_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bptt.train(bptt.Addition(bits=8), hidden=3, seed=1, iterations=100)
    run.save(tmp_path)
    assert command(["prove", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "wrong"
    assert found["shortest"]
    words = [found["word"]]
    symbols = bptt.Addition().automaton().symbols
    x = np.array([[symbols.index(s) for s in word] for word in words])
    automaton = bptt.Addition().automaton()
    said = run.network.predict(automaton.encode(x))[0, :, 0] > 0.5
    assert said.astype(int).tolist() == [bits[0] for bits in found["said"]]
    assert said[-1] != automaton.run(x[0])[-1, 0]
    for length in range(1, len(words[0])):  # all shorter ones are right
        every = np.array(np.meshgrid(*[range(4)] * length)).reshape(length, -1).T
        answers = run.network.predict(automaton.encode(every))[..., 0] > 0.5
        assert (answers == [automaton.run(w)[:, 0] for w in every]).all()


def test_scouting_finds_what_random_long_sums_do_not() -> None:
    task = bptt.Addition(bits=8)
    run = bptt.train(task, cell="elman", hidden=16, seed=6)
    found = bptt.scout(run.network, task)
    assert found.verdict == "wrong"
    assert found.counterexample is not None
    assert "the network writes" in str(found)
    x = task.automaton().encode(np.array([found.counterexample.word]))
    said = run.network.predict(x)[0, :, 0] > 0.5
    assert (said != task.automaton().run(found.counterexample.word)[:, 0]).any()
    signed = bptt.Addition(bits=8, signed=True)
    assert bptt.scout(run.network, signed).verdict == "wrong"


LASTING = {"hidden": 8, "iterations": 20_000}


def test_training_goes_on_until_the_network_is_proved(tmp_path: Path) -> None:
    task = bptt.Addition(bits=8)
    exact = bptt.train(task, seed=1, **LASTING)
    assert exact.reason == "exact"
    run = bptt.train(task, seed=1, proved=True, **LASTING)
    assert run.reason == "proved"
    assert (exact.settings.optimizer.kind, run.settings.optimizer.kind) == ("adam", "adamw")
    assert str(run).startswith("exact on 65,536 of 65,536 pairs after ")
    assert exact.training.learner.iteration < run.training.learner.iteration < 20_000
    found = bptt.prove(run.network, task, steps=QUICK)
    assert found.verdict == "proved"
    assert found.steps <= 2 * QUICK
    # Interrupted and gone on with, it ends at the same place, with the same weights.
    training = Training(run.settings)
    asked = iter([False] * 12)
    for _ in training.records(lambda: next(asked, True)):
        pass
    assert 0 < training.learner.iteration < run.training.learner.iteration
    runs.save(tmp_path / "run", training)
    again = bptt.resume(tmp_path / "run")
    assert again.reason == "proved"
    np.testing.assert_array_equal(again.network.theta, run.network.theta)


def test_a_proof_is_tried_where_iterations_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def search(network: object, task: object) -> bool:
        tried.append(training.learner.iteration)
        return False

    monkeypatch.setattr("bptt.training.training.proved_quickly", search)
    settings = settings_for(
        bptt.Parity(steps=2), {"cell": "elman", "hidden": 4, "seed": 1, "iterations": 950,
                               "record_every": 10, "proved": True, "engine": "reference"},
    )  # fmt: skip
    training = Training(settings)
    assert len([*training.records()]) == 95
    assert training.reason == "iterations"
    assert training.verdict is not None
    assert training.verdict.passed
    first = tried[0]
    grown = [b / a for a, b in itertools.pairwise(tried[:-1])]
    assert first < 600
    assert all(1.25 / 1.2 < each < 1.25 * 1.2 for each in grown)
    assert tried[-1] == 950  # and at the end


def test_what_suits_proofs_is_put_over_the_preset_and_under_what_is_given() -> None:
    task = bptt.Addition()
    assert settings_for(task, {"proved": True}).optimizer.kind == "adamw"
    assert settings_for(task, {"proved": True, "optimizer": "sgd"}).optimizer.kind == "sgd"
    assert settings_for(task, {}).optimizer.kind == "adam"
    gru = settings_for(task, {"proved": True, "cell": "gru", "batch": 2})
    assert (gru.structure.noise, gru.batch, gru.optimizer.kind) == (0.5, 2, "adamw")
    assert settings_for(task, {"cell": "gru"}).structure.noise == 0


def test_the_command_line_goes_on_until_it_is_proved_where_nothing_else_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def noted(task: bptt.Task, options: dict, *_: object) -> int:
        asked.append(settings_for(task, options).stop.proved)
        return 0

    monkeypatch.setattr("bptt.commands.training_run.train_and_report", noted)
    for words, proved in (
        ("add", True), ("add --seed 3 --hidden 8 --bits 6", True), ("add --no-stop-proved", False),
        ("add --cell gru", False), ("add --iterations 9", False), ("add --target-loss 1", False),
        ("parity", False), ("parity --stop-proved", True),
    ):  # fmt: skip
        assert command(["train", *words.split(), "--out", str(tmp_path)]) == 0
        assert asked.pop() == proved, words


def test_what_cannot_be_proved_is_not_trained_for() -> None:
    with pytest.raises(BpttError, match="'text' states no automaton"):
        bptt.train(bptt.Text(text="abc" * 50), proved=True)
    with pytest.raises(BpttError, match="untied"):
        bptt.train(bptt.Addition(bits=4), tied=False, proved=True)
    with pytest.raises(BpttError, match="every_length is for tasks that state an automaton"):
        bptt.Study(task=bptt.Text(text="abc" * 50), every_length=True)
    with pytest.raises(BpttError, match="'exact', 'proved'"):
        bptt.Study(solved="proven")


def test_a_study_tells_shares_of_what_is_proved() -> None:
    study = bptt.Study(
        base={**LASTING, "hidden": 6}, settings=[
            {"name": "long", "solved": "proved"}, {"name": "short", "iterations": 100},
        ], seeds=4, every_length=True,
    )  # fmt: skip
    results = study.run(workers=1, progress=False)
    frame, table = results.frame, summary(results.frame)
    long = frame[frame["setting"] == 0]
    assert (long["status"] == "solved").tolist() == (long["every_length"] == "proved").tolist()
    assert (long["status"] == "solved").any()
    assert set(frame[frame["setting"] == 1]["every_length"]) == {"wrong"}
    for verdict in ("proved", "wrong", "undecided"):
        counts = [int((frame[frame["setting"] == s]["every_length"] == verdict).sum())
                  for s in (0, 1)]  # fmt: skip
        assert table[verdict].tolist() == counts
        assert table[f"{verdict}_share"].tolist() == [count / 4 for count in counts]
    text = settings_table(table)
    assert list(text.head[-3:]) == ["proved at every length", "wrong", "undecided"]
    # A run has the same verdict alone.
    alone = bptt.train(bptt.Addition(bits=8), proved=True, seed=0, **{**LASTING, "hidden": 6})
    assert (alone.reason == "proved") == (long["status"].tolist()[0] == "solved")


def test_longer_sums_are_tried_with_runs_and_periods() -> None:
    task = bptt.Addition(bits=8)
    run = bptt.train(task, cell="gru", hidden=8, seed=1)
    x, y = task.long_pairs(4096, 100, 1)
    assert ((run.network.predict(x) > 0.5) == y).mean() == 1  # right on random ones
    assert bptt.length_generalisation(run.network, task, [1024])[0].right < 100


PROOFS = (Path(__file__).resolve().parent.parent / "docs" / "proofs.md").read_text()


def test_the_page_shows_what_the_commands_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers may be others on another processor: sets, steps, and where sets fail."""
    monkeypatch.chdir(tmp_path)
    blocks = [each for each in re.findall(r"```text\n(.*?)```", PROOFS, re.S) if "$ bptt" in each]
    assert len(blocks) >= 2
    for block in blocks:
        for part in block.split("$ ")[1:]:
            line, _, expected = part.partition("\n")
            assert command(line.split()[1:]) == 0, line
            said = capsys.readouterr().out
            if expected.strip():
                wanted, found = (
                    re.sub(r"\d[\d,]*", "0", each).split() for each in (expected, said)
                )
                assert found[: len(wanted)] == wanted, line
