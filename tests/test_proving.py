"""`bptt prove` and what training says of every length."""

import json
from pathlib import Path

import numpy as np
import pytest

import bptt
from bptt.commands.cli import run as command
from bptt.proofs.extraction import extract


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
