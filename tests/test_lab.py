"""The lab without a browser: what its pages are made of, and who is answered."""

import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from command_line import refused, said
from lab_pages import SMALL, asked, served, uncompiled, unpacked, waited

import bptt
from bptt import BpttError
from bptt.lab import page, session
from bptt.lab.choices import settings_from
from bptt.lab.page import MODULES, page_html, script, static
from bptt.lab.server import Lab
from bptt.lab.session import Engines, Watching
from bptt.lab.views import Looker, packed, states_of
from bptt.network.reference_engine import ReferenceEngine
from bptt.tasks import BUILT_IN, kind_of
from bptt.traces import derived
from bptt.training.training import Training

STATIC = Path(page.__file__).parent / "static"


def data_of(html: str) -> Any:
    """What a page begins with."""
    (found,) = re.findall(r'<script type="application/json" id="start">(.*?)</script>', html)
    return json.loads(found)


# What the views show


@pytest.mark.parametrize(
    ("name", "cell"),
    [*((name, "elman") for name in BUILT_IN), ("addition", "lstm"), ("text", "gru")],
)
def test_the_views_numbers_are_the_traces(name: str, cell: str) -> None:
    settings = settings_from({"task": name, "cell": cell, "hidden": 5, "seed": 2})
    task, s = settings.task, settings.structure
    network = bptt.Network(s, seed=4, engine="reference")
    looker = Looker(task, s)
    found, shown = looker.trace(network.theta), looker.look(network.theta)
    parts = derived.apart(found)
    expected = {
        "states": found["states"][-1, :, 0], "dstates": found["dstates"][-1, :, 0],
        "gates": found["gates"][-1, :, 0], "loss": found["loss"][0], "p": found["p"][0],
        "credit": parts.credit(), "truncated": parts.truncated(),
        "norms": [each[0] for each in derived.gradient_norms(found).values()],
        "singular": derived.singular_values(found)[:, [0, -1]],
        "W": network["W"], "dW": found.gradients["W"],
    }  # fmt: skip
    for plane, values in expected.items():
        # float32 has 24 bits.
        assert np.allclose(unpacked(packed(shown[plane])), values, rtol=1e-7, atol=1e-30), plane
    sure, y = unpacked(packed(shown["sure"])), found["y"][0]
    right = found["p"][0][np.arange(len(y)), y] if s.head.classes else found["p"][0, :, 0]
    assert np.allclose(sure, right, rtol=1e-6)
    info = looker.info()
    steps = info["steps"]
    assert steps == looker.watched.x.shape[1]
    assert all(len(texts) in (1, steps) for _, texts in info["rows"])
    assert json.loads(json.dumps(info)) == info


def test_the_automatons_states_are_the_carries() -> None:
    task = bptt.Addition(bits=4)
    machine, watched = task.automaton(), task.watch("5 + 3")
    assert states_of(machine, watched.x[0]).tolist() == [0, 1, 1, 1, 0, 0]
    assert watched.title == "5 + 3 = 8, lowest bit first"
    with pytest.raises(BpttError, match="write it as"):
        task.watch("five")
    with pytest.raises(BpttError, match="does not fit"):
        task.watch("16 + 1")
    text = bptt.Text(text="to be", window=2)
    assert text.watch("be").rows == [("reads", ["b"]), ("to say", ["e"])]
    with pytest.raises(BpttError, match="at least 2"):
        text.watch("b")


def test_what_is_too_large_to_be_looked_at_is_said() -> None:
    with pytest.raises(BpttError, match="129 steps: from 1 to 128"):
        Looker(bptt.Addition(bits=128), settings_from({"options": {"bits": 128}}).structure)
    for chosen, words in (
        ({"hidden": 500}, "hidden 500 must be a number from 1 to 128"),
        ({"hidden": 8.5}, "hidden 8.5"),
        ({"seed": True}, "seed True"),
        ({"learning_rate": "fast"}, "learning_rate 'fast'"),
        ({"cell": ["lstm"]}, "cell"),
        ({"task": "additoin"}, "did you mean 'addition'"),
        ({"options": {"bits": 10**9}}, "bits 1000000000"),
        ({"options": {"low": 3}}, "option 'low' is not known"),
        ({"options": {"bits": 0}}, "bits 0"),
        ({"engine": "reference"}, "setting 'engine' is not known"),
        ([], "must be an object"),
    ):
        with pytest.raises(BpttError, match=re.escape(words)) as told:
            settings_from(chosen)
        assert "\n" not in str(told.value)


# A training that is watched


def test_a_watched_training_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    settings = settings_from({**SMALL, "iterations": 120})
    watching = Watching(settings, Engines())
    first = watching.first()
    watching.begin()
    waited(lambda: watching.news(0, None)["state"] != "training")
    training = Training(settings, ReferenceEngine())
    for _ in training.records():
        pass
    assert list(watching.moments) == [0, 20, 40, 60, 80, 100, 120]
    assert np.array_equal(watching.moments[120], training.network.theta)
    half = Training(settings, ReferenceEngine())
    half.advance(60)
    assert np.array_equal(watching.moments[60], half.network.theta)
    assert not np.array_equal(watching.moments[60], watching.moments[120])
    assert np.array_equal(first["W"], Training(settings).network["W"])
    news = watching.news(2, [])
    assert news["records"]["losses"] == [each.loss_per_step for each in training.history[2:]]
    waited(lambda: (watching.news(0, []), not watching.alive)[1])
    assert [curve.seed for curve in watching.luck] == list(range(4, 19))
    other = Training(settings.with_seed(9), ReferenceEngine())
    losses = [record.loss_per_step for record in other.records()]
    assert watching.luck[5].losses == losses
    watching.end()


def test_training_stops_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    monkeypatch.setattr(session, "PATIENCE_SECONDS", 0.2)
    settings = settings_from({**SMALL, "learning_rate": 1e-6, "iterations": 100_000})
    watching = Watching(settings, Engines())
    watching.begin()
    waited(lambda: watching.news(0, None)["records"]["iterations"])

    def stands() -> bool:
        stood = watching.records.iterations[-1]
        time.sleep(
            0.6
        )  # a call of the engine takes a tenth of a second, or as much more as it must
        return watching.records.iterations[-1] == stood

    waited(stands)
    stood = watching.records.iterations[-1]
    waited(lambda: watching.news(0, None)["records"]["iterations"][-1] > stood)
    watching.end()
    assert not watching.alive
    assert watching.state == "stopped"


def test_moments_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_MOMENTS", 8)
    watching = Watching(settings_from(SMALL), Engines())
    theta = np.zeros(3, np.float32)
    for n in range(60):
        if n % watching.every == 0:
            watching._keep(n * 20, theta)
    apart = np.diff(list(watching.moments))
    assert len(watching.moments) <= 8
    assert (apart == apart[0]).all()


def test_a_large_training_is_refused() -> None:
    settings = bptt.train(bptt.Addition(bits=2), iterations=0, engine="reference").settings
    for name, value in (("batch", 2000), ("iterations", 10**9)):
        with pytest.raises(BpttError, match="use 'bptt train'"):
            Watching(msgspec.structs.replace(settings, **{name: value}), Engines())


# The page


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|eval\(", file.read_text()), (
            file.name
        )
    size = sum(file.stat().st_size for file in STATIC.iterdir())
    assert size < 2_000_000
    live = page_html("bptt lab", {"live": True})
    assert "connect-src 'self'" in live
    assert "default-src 'none'" in live
    assert "connect-src 'none'" in page_html("a report", {"live": False})


def test_the_modules_can_stand_in_one_script() -> None:
    names: list[str] = []
    for n, module in enumerate(MODULES):
        source = static(f"{module}.js")
        for imported in re.findall(r'^import .* from "\./(\w+)\.js";$', source, re.M):
            assert imported in MODULES[:n]
        assert source.count("import ") >= len(re.findall(r"^import ", source, re.M))
        names += re.findall(
            r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", source, re.M
        )
    assert len(names) == len(set(names)), {each for each in names if names.count(each) > 1}
    assert not re.search(r"^(import|export) ", script(), re.M)
    assert {file.stem for file in STATIC.glob("*.js")} == set(MODULES)


def test_what_a_task_shows_cannot_end_the_script() -> None:
    start = {"live": False, "still": {"title": "</script><b>{{ script }}\u2028"}}
    html = page_html("<b>&", start)
    assert data_of(html) == start
    assert html.count("</script>") == 2
    assert "<title>&lt;b&gt;&amp;</title>" in html


def test_a_report_of_sixty_moments_is_under_a_megabyte() -> None:
    run = bptt.train(
        bptt.Addition(bits=8), seed=1, iterations=60, record_every=20, engine="reference"
    )
    found = bptt.look(run, "93 + 87")
    assert found.moments == 60  # of the 61 that there are
    assert len(found.html()) < 1_000_000
    still = data_of(found.html())["still"]
    assert still["info"]["title"].startswith("93 + 87 = 180")
    trace = bptt.trace(run.network, *run.task.encode([(93, 87)]))
    last = still["frames"]["60"]
    assert np.allclose(unpacked(last["dstates"]), trace["dstates"][0, :, 0], rtol=1e-6)
    assert np.array_equal(unpacked(last["W"]), run.network["W"])
    lstm = bptt.train(
        bptt.Addition(bits=4), cell="lstm", hidden=32, iterations=40, engine="reference"
    )
    found = bptt.look(lstm)
    assert 10 < found.moments < 60
    assert len(found.html()) < 1_000_000


def test_a_page_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    network = bptt.Network(inputs=2, outputs=1, hidden=3, engine="reference")
    found = bptt.look(network, task=bptt.Addition(bits=3))
    shown = found._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert 'sandbox="allow-scripts"' in shown
    assert shown.count("<") == 2  # all of the page is escaped
    found.save(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == found.html()
    assert repr(found).startswith("Page(")
    for call, words in (
        (lambda: bptt.look(network), "names no task"),
        (lambda: bptt.look(3), "give a run"),
        (lambda: bptt.look(network, "1", task=bptt.Addition(bits=3)), "is no sum"),
        (lambda: bptt.look(network, 5, task=bptt.Addition()), "must be a text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BpttError, match=words):
            call()


def test_look_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = bptt.train(bptt.Addition(bits=3), seed=1, iterations=12, engine="reference")
    run.save(tmp_path / "run")
    told = said(capsys, "look", tmp_path / "run", "--input", "5 + 2")
    assert told.startswith("5 + 2 = 7, lowest bit first: loss ")
    names = {file.name for file in (tmp_path / "run").glob("look*")}
    views = ("credit", "flow", "gates", "stage", "states", "weights")
    assert names == {"look.html", *(f"look-{view}.png" for view in views)}
    assert "(13 moments of the training)" in told
    assert "is no sum" in refused(capsys, "look", tmp_path / "run", "--input", "5")
    assert "cannot be read" in refused(capsys, "look", tmp_path / "none")
    assert "cannot be read" in refused(capsys, "lab", tmp_path / "none", "--no-browser")


# The server


def raw(port: int, message: bytes) -> bytes:
    """What comes back for bytes that are sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as found:
        found.sendall(message)
        found.shutdown(socket.SHUT_WR)
        parts = []
        while part := found.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_who_comes_from_elsewhere_is_not_answered() -> None:
    with served() as server:
        port = server.server_address[1]
        good = {"Host": server.host, "Origin": f"http://{server.host}"}
        right = f"/{server.token}/api/leave"
        cases: list[tuple[str, str, dict[str, str], int]] = [
            ("POST", right, good, 200),
            ("POST", right, {"Host": server.host}, 403),
            ("POST", right, {**good, "Host": "evil.example"}, 403),
            ("POST", right, {**good, "Host": f"localhost:{port}"}, 403),
            ("POST", right, {**good, "Host": "127.0.0.1"}, 403),
            ("POST", right, {**good, "Origin": "http://evil.example"}, 403),
            ("POST", right, {**good, "Origin": f"http://{server.host}.evil.example"}, 403),
            ("POST", right, {**good, "Origin": f"https://{server.host}"}, 403),
            ("POST", right, {**good, "Origin": "null"}, 403),
            ("POST", "/api/leave", good, 403),
            ("POST", f"/{server.token}x/api/leave", good, 403),
            ("POST", f"/{server.token[:-1]}/api/leave", good, 403),
            ("POST", f"/x/{server.token}/api/leave", good, 403),
            ("GET", f"/{server.token}/", {"Host": server.host}, 200),
            ("GET", "/", {"Host": server.host}, 403),
            ("GET", f"/{server.token}/", {"Host": "evil.example"}, 403),
            ("GET", f"/{server.token}/", {**good, "Origin": "http://evil.example"}, 403),
            ("GET", f"/{server.token}/../../etc/passwd", {"Host": server.host}, 404),
        ]
        for method, path, headers, code in cases:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.putrequest(method, path, skip_host=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            body = b'{"tab": "a"}' if method == "POST" else b""
            if body:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == code, (method, path, headers, content[:100])
            assert answer.getheader("X-Frame-Options") == "DENY"
            assert answer.getheader("Access-Control-Allow-Origin") is None
            if code != 200:
                assert content.count(b"\n") == 0
                assert server.token.encode() not in content
            connection.close()
        twice = (
            f"GET /{server.token}/ HTTP/1.1\r\nHost: {server.host}\r\nHost: evil.example\r\n\r\n"
        )
        assert b" 403 " in raw(port, twice.encode())


def test_the_server_is_of_this_machine_alone() -> None:
    with served() as server:
        assert server.server_address[0] == "127.0.0.1"
        assert len(server.token) >= 32
        assert server.address == f"http://{server.host}/{server.token}/"


def test_malformed_messages_get_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    rng = random.Random(7)
    with served() as server:
        before = threading.active_count()
        found = asked(server, "start", {"tab": "a", "settings": {**SMALL, "iterations": 1}})
        good = {"tab": "a", "id": found["id"], "after": 0, "iterations": [0]}
        for _ in range(1000):
            what = rng.choice(["start", "news", "frames", "hunt", "answer", "nothing", "a/b", ""])
            values = spoilt(rng, {**good, "settings": {**SMALL, "iterations": 1}})
            body = json.dumps(values).encode()
            if rng.random() < 0.3:
                at = rng.randrange(len(body) + 1)
                body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
            connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
            headers = {"Content-Type": "application/json", "Origin": f"http://{server.host}"}
            connection.request("POST", f"/{server.token}/api/{what}", body, headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            connection.close()
            assert answer.status in (200, 400)
            if answer.status == 400:
                assert "\n" not in content["error"]
        for body, code, headers in (
            (b"x" * 30_000, 413, {}), (b"[" * 15_000, 400, {}), (b'{"tab": NaN}', 400, {}),
            (b"{}", 415, {"Content_Type": "text/plain"}), (b"\xff\xfe", 400, {}),
        ):  # fmt: skip
            found = asked(server, "news", None, code, body, **headers)
            assert "\n" not in found["error"]
        for tab, watching in list(server.lab._tabs.items()):
            asked(server, "leave", {"tab": tab, "id": watching.id})
        waited(lambda: threading.active_count() <= before + 1)


def spoilt(rng: random.Random, values: dict[str, Any]) -> Any:
    """A message with something in it that does not belong there."""
    odd: list[Any] = [
        None, True, -1, 10**30, 1.5, "", "x" * 500, [], {}, [[]], {"a": 1}, "\u0000",
        "evil", [0] * 99,
    ]  # fmt: skip
    if rng.random() < 0.1:
        return rng.choice(odd)
    found = dict(values)
    name = rng.choice([*found, "cell", "name", "seed", "guess", "luck", "input"])
    if rng.random() < 0.5 or name != "settings":
        found[name] = rng.choice(odd)
    else:
        found["settings"] = {**found["settings"], rng.choice([*SMALL, "what"]): rng.choice(odd)}
    return found


def test_the_lab_begins_with_a_runs_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    text = bptt.Text(text="to be or not to be", window=5)
    settings = bptt.train(text, hidden=6, seed=4, iterations=0, engine="reference").settings
    with served(Lab(settings)) as server:
        assert data_of(server.lab.page())["choices"]["run"]["task"] == "text"
        found = asked(server, "start", {"tab": "a", "settings": None})
        assert (found["info"]["hidden"], found["seed"]) == (6, 4)
        assert found["info"]["title"] == "5 characters"
        cells = asked(server, "beginnings", {"tab": "a", "id": found["id"]})["beginnings"]
        assert {name: len(values) for name, values in cells.items()} == dict.fromkeys(
            ("elman", "lstm", "gru"), 6
        )


def test_many_trainings_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    with served() as server:
        before = threading.active_count()
        for n in range(15):
            chosen = {**SMALL, "hidden": 2 + n % 3, "iterations": 100_000, "learning_rate": 1e-6}
            found = asked(server, "start", {"tab": f"t{n % 7}", "settings": chosen})
            news = {"tab": f"t{n % 7}", "id": found["id"], "after": 0}
            assert asked(server, "news", news)["state"] in ("training", "iterations")
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("bptt-training") <= 8  # some of those that are to end may not have yet
        asked(server, "leave", {"tab": news["tab"], "id": -1})  # of a page that was there before
        assert asked(server, "news", news)["state"] in ("training", "iterations")
        for tab, watching in list(server.lab._tabs.items()):
            asked(server, "leave", {"tab": tab, "id": watching.id})
        waited(lambda: threading.active_count() <= before + 1)
        assert "that training has ended" in asked(server, "news", news, 400)["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_server_ends_with_the_terminal(number: int) -> None:
    command = [sys.executable, "-m", "bptt", "lab", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        host, token = re.findall(r"^http://(127\.0\.0\.1:\d+)/([\w-]+)/$", address)[0]
        connection = HTTPConnection(host, timeout=60)
        connection.request("GET", f"/{token}/")
        assert b"bptt lab" in connection.getresponse().read()
        connection.close()
        process.send_signal(number)
        assert process.wait(60) == 0


def test_a_hunt_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as server:
        given = {"tab": "a", "cell": "elman", "name": "not transposed", "seed": 1}
        found = asked(server, "hunt", given)
        assert found["failed"] == ["U", "W", "b", "x"]
        assert found["firstWrongStep"] == 5
        off = unpacked(found["off"]["x"])
        assert (off[:, 6] < 1e-6).all()
        assert (off[:, 5] > 1e-6).any()
        assert not unpacked(found["off"]["V"]).max() > 1e-12
        assert asked(server, "answer", {**given, "guess": "not transposed"})["right"]
        told = asked(server, "answer", {**given, "guess": "only carried"})
        assert not told["right"]
        assert told["name"] == "not transposed"
        assert "must be one of" in asked(server, "answer", {**given, "guess": "x"}, 400)["error"]
        assert "cell" in asked(server, "hunt", {"tab": "a", "cell": "rnn"}, 400)["error"]


def test_every_task_can_be_watched() -> None:
    for name in BUILT_IN:
        kind = kind_of(name)
        task = kind(**kind.example)
        watched = task.watch()
        assert watched.x.shape[0] == 1
        assert watched.y.shape[0] == 1
        assert watched.rows
        assert watched.title
