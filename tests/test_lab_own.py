"""What one brings to the lab: sequences in a file, a text, and how weights are drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused
from lab_pages import asked, served, uncompiled, unpacked, waited

import bptt
from bptt import BpttError
from bptt.commands.lab import lab_of
from bptt.lab.choices import page_choices, settings_from
from bptt.lab.own import OwnData
from bptt.lab.server import Lab
from bptt.lab.session import Engines, Watching
from bptt.lab.views import Looker
from bptt.network.reference_engine import ReferenceEngine
from bptt.sequences import Sequences
from bptt.training.training import Training

RNG = np.random.default_rng(11)


def waves(count: int = 40, longest: int = 9) -> list[Any]:
    """Sequences of two channels, of lengths from 4 on."""
    return [RNG.standard_normal((int(RNG.integers(4, longest + 1)), 2)) for _ in range(count)]


def made(what: str) -> OwnData:
    """Data of every kind: what a sequence or a step has to be called or measured."""
    x = waves()
    y: Any = {
        "a class": ["up" if each[:, 0].sum() > 0 else "down" for each in x],
        "classes": [np.where(np.cumsum(each[:, 0]) > 0, "up", "down") for each in x],
        "numbers": [3 + 10 * each.mean(axis=0) for each in x],
        "a number a step": [5 * np.cumsum(each[:, 1]) - 2 for each in x],
    }[what]
    return OwnData.of(Sequences(x, y, features=["left", "right"], target=None))


KINDS = ["a class", "classes", "numbers", "a number a step"]


@pytest.mark.parametrize("what", KINDS)
def test_data_are_learned_watched_and_judged(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    task = made(what)
    chosen = {"task": "data", "cell": "gru", "hidden": 7, "learning_rate": 0.03, "seed": 2}
    settings = settings_from({**chosen, "iterations": 200}, task)
    assert settings.structure.readout == ("last" if what in ("a class", "numbers") else "steps")
    watching = Watching(settings, Engines(), "3")
    watching.begin()
    waited(lambda: watching.news(0, None)["state"] != "training")
    news = watching.news(0, None)
    assert news["records"]["losses"][-1] < 0.7 * news["records"]["losses"][0]
    assert news["proof"] == ""
    info, last = watching.looker.info(), watching.look(news["moments"][-1])
    watching.end()
    numbers = "number" in what
    assert info["numbers"] is numbers
    assert ("root mean squared error" if numbers else " held-out ") in news["verdict"]
    # The sequence on the stage is the fourth that is held out, in its own units.
    x = task.held[3]
    assert info["title"] == "held-out sequence 3"
    assert info["steps"] == len(x)
    assert info["rows"][0] == ["left", [f"{value:.3g}" for value in x[:, 0]]]
    assert last["p"].shape[0] == (1 if what in ("a class", "numbers") else len(x))
    if numbers:
        assert not last["wrong"].any()
        means, deviations = info["units"]
        told = np.asarray(task.held.y[3], np.float64).reshape(last["p"].shape)
        said = last["p"] * deviations + np.asarray(means)
        assert np.abs(said - told).mean() < np.abs(told - np.asarray(means)).mean() + 0.5
        assert info["rows"][-1][1][-1] == f"{told[-1, -1]:.3g}"
    else:
        assert info["names"] == ["down", "up"]
        assert info["rows"][-1][1] == [str(each) for each in np.atleast_1d(task.held.y[3])]


@pytest.mark.parametrize("what", KINDS)
def test_the_test_is_on_what_is_held_out(what: str) -> None:
    task = made(what)
    assert len(task.train) == 32
    assert len(task.held) == 8
    settings = settings_from({"task": "data", "iterations": 1}, task)
    network = bptt.Network(settings.structure, seed=3, engine=ReferenceEngine())
    verdict = task.test(network)
    right, total, squares = 0, 0, []
    for n in range(len(task.held)):
        watched = task.watch(str(n))
        o = network.forward(watched.x).o[0]
        y = np.asarray(watched.y[0])
        if task.classes:
            right += int((np.atleast_1d(o.argmax(axis=-1)) == np.atleast_1d(y)).sum())
            total += np.atleast_1d(y).size
        else:
            squares += list((((o - y) * task.scaling.target_deviation) ** 2).ravel())
    if task.classes:
        assert (verdict.right, verdict.total) == (right, total)
    else:
        assert not verdict.passed
        assert f"error {np.sqrt(np.mean(squares)):.4g} on {len(squares)} held-out" in str(verdict)
    drawn = task.drawn(np.random.default_rng(0), 6)
    assert drawn.x.shape[1:] == (task.steps, 2)
    assert drawn.lengths is not None
    for x, length in zip(drawn.x, drawn.lengths, strict=True):
        assert not x[length:].any()


def test_long_sequences_are_cut_where_every_step_has_a_target() -> None:
    x = [RNG.standard_normal((300, 1)) for _ in range(6)]
    task = OwnData.of(Sequences(x, [each[:, 0] * 2.0 for each in x]))
    assert task.steps == 128
    assert int(task.held.lengths.max()) <= 128
    with pytest.raises(BpttError, match="a sequence of 300 steps: the lab shows at most 128"):
        OwnData.of(Sequences(x, ["a", "b"] * 3))


def test_what_the_lab_cannot_show_is_said() -> None:
    x = waves(12)
    y = ["up", "down"] * 6
    for data, words in (
        (Sequences(x), "no target"),
        (Sequences(x, y, weights=np.arange(12) + 1.0), "all sequences count alike"),
        (Sequences(x, [None] * 11 + ["up"], kind="classes"), "one"),
        (
            Sequences(x, [[np.nan, *each[1:, 0]] for each in x], per="step", kind="numbers"),
            "12 steps have no target",
        ),
    ):
        with pytest.raises(BpttError, match=words) as told:
            OwnData.of(data)
        assert "\n" not in str(told.value)
    partly = OwnData.of(Sequences(x, [*y[:10], None, None]))
    assert len(partly.train) + len(partly.held) == 10
    with pytest.raises(BpttError, match="from 0 to 1"):
        partly.watch("2")


def test_a_file_is_a_task_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uncompiled(monkeypatch)
    rows = ["name,a,b,kind"]
    for n, each in enumerate(waves(20)):
        kind = "up" if each[:, 0].sum() > 0 else "down"
        rows += [f"s{n},{a:.4f},{b:.4f},{kind}" for a, b in each]
    file = tmp_path / "waves.csv"
    file.write_text("\n".join(rows) + "\n")
    lab = lab_of(None, None, file, None, {"id": "name", "target": ["kind"]})
    with served(lab) as server:
        choices = page_choices(None, lab.own)
        assert choices["task"] == choices["tasks"][0]["name"] == "data"
        found = asked(server, "start", {"tab": "a", "settings": {"task": "data", "iterations": 5}})
        assert found["info"]["rows"][-1][0] == "kind"
        assert unpacked(found["frame"]["p"]).shape == (1, 2)
        other = asked(server, "start", {"tab": "b", "settings": {"iterations": 5}})
        assert other["info"]["cell"] == "elman"
        told = asked(server, "start", {"tab": "a", "settings": {"until": "proved", "task": "data"}},
                     400)  # fmt: skip
        assert "states no automaton" in told["error"]
    assert "task 'data' is not known" in asked_alone({"task": "data"})
    assert "--id goes with --data FILE" in refused(capsys, "lab", "--id", "name")
    gone = refused(capsys, "lab", "--data", tmp_path / "none.csv", "--no-browser")
    assert "none.csv" in gone
    assert "no target" in refused(capsys, "lab", "--data", file, "--id", "name")


def asked_alone(settings: dict[str, Any]) -> str:
    """What a lab without data says to these settings."""
    with served(Lab()) as server:
        error: str = asked(server, "start", {"tab": "a", "settings": settings}, 400)["error"]
        return error


def test_a_text_of_ones_own() -> None:
    settings = settings_from({"task": "text", "own_text": "to be or not to be", "options": {}})
    assert settings.task.text == "to be or not to be"  # type: ignore[attr-defined]
    assert settings.task.steps == 17  # no window of 40 fits into it
    looker = Looker(settings.task, settings.structure)
    assert looker.info()["names"] == sorted(set("to be or not to be"))
    for text, words in (
        ("", "from 2 to 4,000 characters"), ("x" * 5000, "from 2 to 4,000"), (7, "from 2 to 4,000")
    ):  # fmt: skip
        with pytest.raises(BpttError, match=words):
            settings_from({"task": "text", "own_text": text})
    with pytest.raises(BpttError, match="task 'addition' has no text"):
        settings_from({"own_text": "abc"})


@pytest.mark.parametrize("radius", [0.0, 0.4, 1.7])
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_the_spectral_radius_is_that_of_w(cell: str, radius: float) -> None:
    chosen = {"cell": cell, "hidden": 9, "spectral_radius": radius, "seed": 4}
    settings = settings_from(chosen)
    network = Training(settings, ReferenceEngine()).network
    for block in np.split(network["W"].astype(np.float64), network["W"].shape[1] // 9, axis=1):
        assert np.allclose(np.abs(np.linalg.eigvals(block)), radius, atol=1e-5)
    with pytest.raises(BpttError, match="spectral_radius 5 must be a number from 0 to 4"):
        settings_from({**chosen, "spectral_radius": 5})


def test_the_beginnings_follow_how_weights_are_drawn() -> None:
    def last_loss(**chosen: Any) -> dict[str, list[float]]:
        settings = settings_from({"options": {"bits": 20}, "hidden": 12, **chosen})
        return Watching(settings, Engines()).looker.beginnings()

    usual, small = last_loss(), last_loss(spectral_radius=0.4)
    assert small["elman"][0] < 1e-3 * usual["elman"][0]  # it vanishes
    assert all(small[cell] != usual[cell] for cell in usual)
    assert last_loss(spectral_radius=1.2)["elman"][0] > usual["elman"][0]
    open_gate = last_loss(cell="lstm", forget_bias=3.0)
    assert open_gate["lstm"][0] > 100 * usual["lstm"][0]
    assert open_gate["gru"] == usual["gru"]
