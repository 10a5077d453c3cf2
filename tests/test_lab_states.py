"""The states view: the sets of a proof in a plane, the plane, and the automaton."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_pages import SMALL, claimed, uncompiled, unpacked, waited

import bptt
from bptt.lab import session, views
from bptt.lab.choices import settings_from
from bptt.lab.page import report
from bptt.lab.session import Engines, Watching
from bptt.lab.views import Looker, drawn_machine
from bptt.network.structure import Structure
from bptt.proofs.prove import Proof
from bptt.proofs.search import Balls
from bptt.proofs.shadow import shadows
from bptt.traces import derived
from bptt.traces.figures import states


def some_balls(structure: Structure, seed: int, count: int = 5) -> Balls:
    """Balls of any sizes about any states, as a metric sees them that stretches every direction."""
    rng = np.random.default_rng(seed)
    n = structure.layers * len(structure.equations.states) * structure.hidden
    metric = rng.standard_normal((n, n)) + 3 * np.eye(n)
    return Balls(
        rng.standard_normal((count, n)), np.r_[0, rng.random(count - 1)],
        rng.integers(0, 2, count), metric,
    )  # fmt: skip


@pytest.mark.parametrize(("cell", "layers"), [("elman", 1), ("lstm", 1), ("gru", 2)])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_shadow_holds_its_ball_and_no_more(cell: str, layers: int, seed: int) -> None:
    structure = Structure(inputs=2, outputs=1, hidden=3, layers=layers, cell=cell)
    balls, rng = some_balls(structure, seed), np.random.default_rng(seed)
    plane, _ = np.linalg.qr(rng.standard_normal((3, 2)))
    origin = rng.standard_normal(3)
    seen = shadows(balls, structure, plane, origin)
    u = rng.standard_normal((4000, balls.metric.shape[0]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    first = (layers - 1) * len(structure.equations.states) * 3
    for n, radius in enumerate(balls.radius):
        inside = balls.centre[n] + radius * np.linalg.solve(balls.metric, u.T).T
        flat = (inside[:, first : first + 3] - origin) @ plane
        far = np.linalg.solve(seen.form, (flat - seen.centre[n]).T)
        reach = np.linalg.norm(far, axis=0)
        assert reach.max(initial=0) <= radius * (1 + 1e-9) + 1e-12
        # Of so many directions in at most 12 dimensions some come near the rim.
        assert reach.max() > 0.7 * radius or radius == 0
    longer, shorter, angle = seen.axes
    assert longer >= shorter > 0
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    assert np.linalg.norm(seen.form @ along) == pytest.approx(longer)


def test_a_plane_shows_groups_apart() -> None:
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 2, 400)
    points = rng.standard_normal((400, 6)) * [5, 4, 3, 0.1, 1, 1]
    points[:, 3] += 4 * groups  # a direction that is small beside the others
    points -= points.mean(axis=0)
    plane = derived.plane_apart(points, groups)
    assert np.allclose(plane.T @ plane, np.eye(2), atol=1e-12)
    across = points @ plane[:, 0]
    assert abs(across[groups == 1].mean() - across[groups == 0].mean()) > 3.5
    # What is left of the others is the largest there is.
    rest = points - points @ plane[:, :1] @ plane[:, :1].T
    largest = np.linalg.svd(rest, compute_uv=False)[0]
    assert np.linalg.norm(rest @ plane[:, 1]) == pytest.approx(largest)
    found = derived.plane_apart(points)
    values = np.linalg.svd(points)[1]
    assert np.allclose(np.linalg.norm(points @ found, axis=0), values[:2])
    one = derived.plane_apart(points, np.zeros(400, np.int64))  # one group lies nowhere apart
    assert np.allclose(np.abs(np.sum(one * found, axis=0)), 1)


def test_the_automaton_is_drawn_as_it_is() -> None:
    for task in (bptt.Addition(bits=3), bptt.Modulo(k=5), bptt.Tomita(language=4)):
        machine = task.automaton()
        found = drawn_machine(machine)
        assert found["names"] == list(machine.names)
        ways = [(s, t, word) for s, t, words in found["arrows"] for word in words]
        assert len(ways) == machine.after.size
        for s, t, word in ways:
            symbol, answer = word.split(" / ")
            k = list(machine.symbols).index(symbol)
            assert machine.after[s, k] == t
            assert answer == "".join(map(str, np.atleast_1d(machine.answers[s, k])))


def test_a_proved_training_shows_its_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    monkeypatch.setattr(views, "quickly", claimed)
    watching = Watching(settings_from({**SMALL, "until": "exact", "iterations": 60}), Engines())
    watching.begin()
    waited(lambda: watching.news(0, None)["proved"] is not None)
    news = watching.news(0, None)
    assert news["proved"] == news["moments"][-1] == 60
    assert news["proof"].startswith("adds every pair of every length: proved with 5 sets")
    last, first = watching.look(60), watching.look(0)
    assert "sets" not in first
    assert last["sets"].shape == (5, 4)
    assert last["setCount"] == [5]
    # The first set is the start, where the watched sequence begins.
    assert np.allclose(last["sets"][0], [*last["path"][0], 0, 0])
    assert last["sets"][:, 3].tolist() == [0, 1, 1, 0, 0]
    network = bptt.Network(watching.settings.structure, theta=watching.moments[60])
    proof = claimed(network, watching.settings.task)
    assert proof.balls is not None
    # The plane, from where the other sequences' states are drawn.
    cloud = watching.looker._cloud
    assert cloud is not None
    h = watching.looker._states(watching.moments[60], cloud).reshape(-1, 8)
    plane = np.linalg.lstsq(h - h.mean(axis=0), last["cloud"].reshape(-1, 2), rcond=None)[0]
    assert np.allclose((proof.balls.centre - h.mean(axis=0)) @ plane, last["sets"][:, :2])
    watching.end()


def test_an_undecided_training_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    asked: list[int] = []

    def undecided(network: bptt.Network, task: Any) -> Proof:
        asked.append(1)
        found = claimed(network, task)
        return Proof("undecided", found.claim, found.automaton, found.balls, why="time is up")

    monkeypatch.setattr(views, "quickly", undecided)
    watching = Watching(settings_from({**SMALL, "iterations": 20}), Engines())
    watching.begin()
    waited(lambda: asked and watching.news(0, None)["state"] == "iterations")
    watching.end()
    assert watching.news(0, None)["proof"] == ""
    assert watching.proved is None
    assert "sets" not in watching.look(20)


def test_a_training_goes_on_until_it_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    ready = iter([False, False, True])
    monkeypatch.setattr(session, "proofs_ready", lambda: next(ready, True))
    monkeypatch.setattr("bptt.training.training.proved_quickly", lambda network, task: True)
    monkeypatch.setattr(views, "quickly", claimed)
    settings = settings_from({**SMALL, "until": "proved"})
    assert settings.stop.proved
    assert settings.optimizer.kind == "adamw"
    watching = Watching(settings, Engines())
    watching.begin()
    waited(lambda: watching.news(0, None)["state"] != "training")
    assert watching.news(0, None)["state"] == "proved", watching.verdict
    waited(lambda: watching.news(0, None)["proved"] is not None)
    watching.end()


def test_a_report_and_a_figure_show_a_proof(tmp_path: Path) -> None:
    task = bptt.Addition(bits=3)
    network = bptt.Network(inputs=2, outputs=1, hidden=4, cell="gru", seed=2, engine="reference")
    proof = claimed(network, task)
    looker = Looker(task, network.structure)
    other = network.theta * 0.5
    page = report(looker, {0: other, 7: network.theta}, [], {}, "a task", proof)
    (start,) = [
        line for line in page.html().split("\n") if line.startswith('<script type="application/js')
    ]
    still = json.loads(start.partition(">")[2].rpartition("</script>")[0])["still"]
    assert "proved with 5 sets" in still["news"]["proof"]
    assert "sets" not in still["frames"]["0"]
    sets = unpacked(still["frames"]["7"]["sets"])
    assert np.allclose(sets, looker.look(network.theta, proof.balls)["sets"], rtol=1e-6)
    trace = bptt.trace(network, *task.encode([(3, 5), (7, 1)]))
    figure = states(trace, proof=proof)
    upper, lower = figure.axes
    assert "5 sets of states" in upper.get_title(loc="left")
    ellipses = [each for each in upper.collections if len(each.get_offsets()) > 1]
    assert sum(len(each.get_offsets()) for each in ellipses) == 5
    assert len(upper.lines) == 2 + 2  # the middles of two states' sets, and two paths
    assert {text.get_text() for text in lower.texts} >= {"no carry", "carry"}
    assert len(states(trace).axes) == 2  # one, and its colours
    deep = msgspec.structs.replace(network.structure, skip=1)
    assert views.proof_of(bptt.Network(deep, engine="reference"), task) is None
