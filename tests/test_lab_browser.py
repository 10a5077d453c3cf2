"""The lab in a real browser: Chromium, driven by playwright (the extra `browser`)."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_pages import SMALL, claimed, served, uncompiled

import bptt
from bptt.lab import session, views
from bptt.lab.hunting import mistakes
from bptt.lab.own import OwnData
from bptt.lab.server import Lab, Server
from bptt.mistakes.table import source as programs_source
from bptt.sequences import Sequences
from bptt.traces import derived

playwright = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
HASH = "task=addition&bits=2&cell=elman&hidden=8&learning_rate=0.03&seed=3"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Without its sandbox it also starts where the tests are root's.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, and what it did that it should not have."""

    def __init__(self, chromium: Any, allowed: str, **options: Any) -> None:
        self.context = chromium.new_context(**options)
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "console",
            lambda said: said.type == "error" and self.troubles.append(said.text),
        )

        def route(found: Any) -> None:
            if found.request.url.startswith(allowed):
                found.continue_()
            else:
                self.troubles.append(f"asked for {found.request.url}")
                found.abort()

        self.context.route(re.compile("^(http|ws|ftp)"), route)

    def wait(self, condition: str, seconds: float = 60.0) -> Any:
        """Wait until an expression is true; the page's policy forbids `wait_for_function`."""
        end = time.monotonic() + seconds
        while not (found := self.page.evaluate(condition)):
            assert time.monotonic() < end, condition
            time.sleep(0.02)
        return found

    def trained(self) -> None:
        self.wait("!!window.bptt?.frame && !['', 'training'].includes(bptt.news.state)")

    def close(self) -> None:
        self.context.close()
        assert self.troubles == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    uncompiled(monkeypatch)
    with served() as made:
        yield made


def opened(chromium: Any, server: Server, view: str = "luck", **options: Any) -> Watched:
    watched = Watched(chromium, server.address.rsplit("/", 2)[0], **options)
    watched.page.goto(f"{server.address}#{HASH}&view={view}")
    return watched


def table(page: Any, title: str) -> tuple[list[str], Any]:
    """The table behind a picture: its rows' names and numbers."""
    figure = page.locator(f'figure:has(strong:text-is("{title}"))')
    figure.locator("summary").click()
    rows = figure.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    figure.locator("summary").click()
    plain = re.compile(r"-?[\d.]+(e[+-]?\d+)?")
    values = [[float(x) if plain.fullmatch(x) else np.nan for x in row[1:]] for row in rows]
    return [row[0] for row in rows], np.array(values)  # words are NaN


def test_the_numbers_of_every_view_are_the_traces(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server)
    watched.trained()
    page = watched.page
    (watching,) = server.lab._tabs.values()
    watched.wait("bptt.iteration === bptt.moments.at(-1)")
    page.click("#back")
    watched.wait("bptt.iteration === bptt.moments.at(-2)")
    iteration = page.evaluate("bptt.iteration")
    found = watching.looker.trace(watching.moments[iteration])
    parts = derived.apart(found)
    expected = {
        ("credit", "|d loss at t / d h at k|"): parts.credit()[::-1],
        ("credit", "What truncation loses"): parts.truncated()[:, None],
        ("flow", "|dL/dh| at every time"): derived.gradient_norms(found)["h"][0][:, None],
        ("flow", "How much a step stretches"): derived.singular_values(found)[:, [0, -1]],
        ("weights", "W"): found.weights["W"], ("weights", "dL/dW"): found.gradients["W"],
        ("weights", "U"): found.weights["U"], ("weights", "V"): found.weights["V"],
        ("gates", "h"): found["gates"][0, 0, 0].T,
    }  # fmt: skip
    for (view, title), values in expected.items():
        page.click(f"#tab-{view}")
        assert f"view={view}" in page.evaluate("location.hash")
        _, shown = table(page.locator("#view"), title)
        assert np.allclose(shown, values, rtol=1e-5, atol=1e-12), title
    for title, name in (("h: the state", "states"), ("dL/dh: the error going back", "dstates")):
        _, shown = table(page.locator("#stage"), title)
        assert np.allclose(shown, found[name][0, 0, 0].T, rtol=1e-5, atol=1e-12)
    said = page.locator(".said .hidden").all_inner_texts()
    p = [float(re.search(r"p = ([\d.e−-]+)", each)[1]) for each in said]  # type: ignore[index]
    assert np.allclose(p, found["p"][0, :, 0], rtol=1e-5)
    page.click("#tab-states")
    names, shown = table(page.locator("#view"), "States h")
    assert len([name for name in names if name.startswith("yours")]) == found.steps + 1
    page.click("#tab-weights")
    _, shown = table(page.locator("#view"), "Eigenvalues of W")
    eigenvalues = derived.eigenvalues(found)["a"]
    assert np.allclose(np.sort(shown[:, 1]), np.sort(eigenvalues.real), rtol=1e-5, atol=1e-6)
    page.click("#tab-luck")
    watched.wait("bptt.luck.length === 15")
    _, shown = table(page.locator("#view"), "Loss a step")
    at = watching.records.iterations.index(iteration)
    assert shown[at, -1] == pytest.approx(watching.records.losses[at], rel=1e-5)
    watched.close()


def test_a_cells_equation_and_the_keys(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server, "credit")
    watched.trained()
    page = watched.page
    page.locator("#stage canvas").first.focus()
    page.keyboard.press("ArrowRight")
    assert "the initial state" in page.inner_text("#stage .equation")
    page.keyboard.press("ArrowRight")
    told = page.inner_text("#stage .equation")
    state = page.evaluate("bptt.frame.states.data[8]")
    assert told.startswith("h1[0] = tanh(")
    assert f"{abs(state):.3g}" in told
    page.evaluate("document.activeElement.blur()")
    before = page.evaluate("bptt.iteration")
    page.keyboard.press(",")
    watched.wait(f"bptt.iteration < {before}")
    assert "at=" in page.evaluate("location.hash")
    page.keyboard.press(".")
    watched.wait(f"bptt.iteration === {before}")
    page.evaluate("bptt.seek(0)")
    watched.wait("bptt.iteration === 0")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    watched.wait(f"bptt.iteration === {before}")
    for _ in range(4):
        page.click("text=›")
    page.focus("#tab-credit")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-flow", "aria-selected") == "true"
    watched.close()


def test_the_newest_setting_wins(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server)
    watched.trained()
    page = watched.page
    page.evaluate("window.seen = bptt.drawn")
    for n in range(30):
        page.evaluate(
            "n => { const s = document.getElementById('hidden'); s.value = n;"
            " s.dispatchEvent(new Event('input')) }", n % 4,
        )  # fmt: skip
        page.wait_for_timeout(15)
    watched.wait("bptt.info.hidden === 4")
    assert page.evaluate("bptt.drawn - seen") >= 4  # while it moves too, not only when it rests
    watched.trained()
    assert page.inner_text("label[for=hidden] output") == "4"
    (watching,) = server.lab._tabs.values()
    assert watching.settings.structure.hidden == 4
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("bptt-training") <= 1
    watched.close()


def test_the_address_is_the_setting(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server, "flow")
    watched.trained()
    page = watched.page
    page.fill("#input", "3 + 1")
    page.press("#input", "Enter")
    watched.wait("bptt.info.title.startsWith('3 + 1 = 4')")
    address = page.evaluate("location.href")
    other = Watched(chromium, server.address.rsplit("/", 2)[0])
    other.page.goto(address)
    other.trained()
    assert other.page.evaluate("bptt.info.title").startswith("3 + 1 = 4")
    assert other.page.evaluate("[bptt.info.hidden, bptt.seed]") == [SMALL["hidden"], SMALL["seed"]]
    assert other.page.get_attribute("#tab-flow", "aria-selected") == "true"
    page.fill("#input", "nonsense")
    page.press("#input", "Enter")
    watched.wait("document.getElementById('status').className.includes('bad')")
    assert "is no sum" in page.inner_text("#status")
    other.close()
    watched.context.close()


def test_closed_and_reloaded_pages_leave_nothing_behind(
    chromium: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GONE_SECONDS", 4.0)
    watched = opened(chromium, server)
    watched.trained()
    before = threading.active_count()
    for _ in range(20):
        watched.page.reload()
        watched.wait("!!window.bptt?.frame")
    watched.trained()
    assert len(server.lab._tabs) == 1
    end = time.monotonic() + 30
    while threading.active_count() > before + 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert threading.active_count() <= before + 2
    watched.page.evaluate("Object.assign(document.getElementById('learning_rate'), {value: 0})")
    watched.page.evaluate(
        "document.getElementById('learning_rate').dispatchEvent(new Event('input'))"
    )
    watched.wait("bptt.news.state === 'training'")
    watched.close()  # as a crash does: the page can say nothing any more
    end = time.monotonic() + 30
    while {"bptt-training", "bptt-seeds"} & {each.name for each in threading.enumerate()}:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_hunt_in_the_browser(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server, "bugs")
    page = watched.page
    page.select_option("#hunt-name", "not transposed")
    page.click("#view button.primary")
    watched.wait("document.querySelectorAll('#view .pairs figure').length === 6")
    assert "The check fails for U, W, b, x" in page.inner_text("#view .equation")
    page.select_option("#guess", "tanh twice")
    page.click("text=Guess")
    watched.wait(
        "document.querySelector('#view .equation').textContent.startsWith('No: not trans')"
    )
    page.select_option("#guess", "not transposed")
    page.click("text=Guess")
    watched.wait("document.querySelector('#view .equation').textContent.startsWith('Right: ')")
    page.click("text=Show its code")
    assert 'dh_next = da @ p["W"]' in page.inner_text("#view .code")
    watched.close()


def test_the_states_view_has_the_proof_and_the_automaton(
    chromium: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "quickly", claimed)
    watched = opened(chromium, server, "states")
    watched.wait("!!window.bptt?.frame?.sets")
    page = watched.page
    (watching,) = server.lab._tabs.values()
    found = watching.look(watching.proved)
    names, shown = table(page.locator("#view"), "States h")
    rows = [n for n, name in enumerate(names) if name.startswith("set ")]
    assert np.allclose(shown[rows][:, 1:3], found["sets"][:, :2], rtol=1e-5, atol=1e-7)
    axes = np.sqrt(np.linalg.eigvalsh(found["setForm"] @ found["setForm"]))
    expected = found["sets"][:, 2:3] * axes[::-1]
    assert np.allclose(shown[rows][:, 3:], expected, rtol=1e-4, atol=1e-7)
    assert "the proof: 5 sets of states" in page.inner_text("#view > .view > .note")
    _, _ = table(page.locator("#view"), "What has to be remembered")
    page.locator("#view canvas").nth(1).focus()
    page.keyboard.press("ArrowRight")
    told = page.locator("#view .says").nth(1).inner_text()
    assert told.startswith("no carry: 0+0 / 0, 0+1 / 1, 1+0 / 1 to no carry; 1+1 / 0 to carry")
    page.click("#back")  # a moment that nobody has proved
    watched.wait("!bptt.frame.sets")
    assert "proof" not in page.inner_text("#view > .view > .note")
    watched.close()


def test_every_mistake_is_seen_in_a_report(chromium: Any, tmp_path: Path) -> None:
    network = bptt.Network(inputs=2, outputs=1, hidden=3, engine="reference")
    bptt.look(network, task=bptt.Addition(bits=2)).save(tmp_path / "look.html")
    watched = Watched(chromium, "nowhere", offline=True)
    page = watched.page
    page.goto((tmp_path / "look.html").as_uri() + "#view=bugs")
    watched.wait("!!window.bptt?.frame")
    for cell, planted in mistakes().items():
        page.select_option("#hunt-cell", cell)
        for name in planted:
            page.select_option("#hunt-name", name)
            page.click("#view button.primary")
            notes = "#view .pairs figure figcaption"
            watched.wait(f"document.querySelectorAll('{notes}').length === 6")
            said = page.locator(notes).all_inner_texts()
            wrong = {each.split(" off by")[0].split(",")[0] for each in said if "off by" in each}
            told = page.inner_text("#view .equation")
            if name == "none":
                assert told == "The check passes."
                assert not wrong
            else:
                assert wrong, (cell, name)
                (failed,) = re.findall(r"^The check fails for ([\w, ]+)\.", told)
                assert wrong == set(failed.split(", ")), (cell, name)
            page.select_option("#guess", name)
            page.click("text=Guess")
            watched.wait(
                "document.querySelector('#view .equation').textContent.startsWith('Right: ')"
            )
    page.click("text=Show its code")
    assert page.inner_text("#view .code").strip() == programs_source("gru").strip()
    page.click("text=Train with it")
    _, shown = table(page.locator("#view"), "Training with it and without")
    assert shown.shape == (40, 2)
    page.select_option("#hunt-name", "")
    page.fill("#hunt-seed", "5")
    page.click("#view button.primary")
    assert page.inner_text("#view .equation").startswith("The check fails")
    watched.close()


def test_the_radius_of_w_and_the_forget_bias_are_sliders(chromium: Any, server: Server) -> None:
    watched = opened(chromium, server, "flow")
    watched.trained()
    page = watched.page
    title = "The last step's loss alone, cells side by side"
    watched.wait("!!bptt.info.beginnings")
    _, usual = table(page.locator("#view"), title)
    assert not page.is_visible("#forget_bias")
    slide = (
        "([id, n]) => { const s = document.getElementById(id); s.value = n;"
        " s.dispatchEvent(new Event('input')) }"
    )
    page.evaluate("window.before = bptt.info")
    page.evaluate(slide, ["spectral_radius", 1])
    watched.wait("bptt.info !== before && !!bptt.info.beginnings && bptt.moments.length > 1")
    (watching,) = server.lab._tabs.values()
    assert watching.settings.initializers == {"W": "orthogonal(0.2)"}
    _, small = table(page.locator("#view"), title)
    assert (small[0] < usual[0]).all()  # an LSTM's and a GRU's gates carry it past W
    assert small[0, 0] < 0.1 * usual[0, 0]
    assert "spectral_radius=0.2" in page.evaluate("location.hash")
    page.select_option("#cell", "lstm")
    watched.wait("bptt.info.cell === 'lstm'")
    page.evaluate(slide, ["forget_bias", 6])
    watched.wait("location.hash.includes('forget_bias=3')")
    watched.wait("bptt.info.cell === 'lstm' && bptt.moments.length > 1")
    (watching,) = server.lab._tabs.values()
    assert watching.settings.forget_bias == 3
    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    watched.wait("!!window.bptt?.frame")
    (watching,) = server.lab._tabs.values()
    assert watching.settings.forget_bias == 3
    assert watching.settings.initializers == {"W": "orthogonal(0.2)"}
    assert page.inner_text("label[for=forget_bias] output") == "3"
    watched.close()


def test_a_text_and_data_of_ones_own(chromium: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uncompiled(monkeypatch)
    rng = np.random.default_rng(2)
    x = [rng.standard_normal((6, 1)) for _ in range(30)]
    own = OwnData.of(Sequences(x, [each[:, 0] * 3 + 1 for each in x], features=["level"]))
    with served(Lab(own=own)) as server:
        watched = Watched(chromium, server.address.rsplit("/", 2)[0])
        page = watched.page
        page.goto(f"{server.address}#view=luck")
        watched.wait("!!window.bptt?.frame && bptt.moments.length > 3")
        page.evaluate("bptt.seek(0)")
        watched.wait("bptt.iteration === 0")
        (watching,) = server.lab._tabs.values()
        assert watching.settings.task is own
        said = page.locator(".said .right").all_inner_texts()
        p = watching.look(0)["p"][:, 0] * own.scaling.target_deviation[0]
        told = [float(each.replace("−", "-")) for each in said]
        assert np.allclose(told, p + own.scaling.target_mean[0], rtol=6e-3, atol=6e-3)
        assert page.locator(".sequence th[scope=row]").all_inner_texts()[1] == "level"
        assert not page.is_visible("text=Share of wrong answers")
        page.select_option("#task", "text")
        watched.wait("bptt.info.classes")
        page.fill("#text", "hello, hello")
        page.press("#text", "Tab")
        watched.wait("bptt.info.title === '11 characters'")
        assert "own_text=hello" in page.evaluate("location.hash")
        assert page.locator(".said .right, .said .wrong").count() == 11
        watched.close()


@pytest.mark.parametrize("view", ["luck", "credit", "weights", "states", "bugs"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, server: Server, view: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    watched = opened(chromium, server, view, color_scheme=scheme)
    watched.trained()
    found = axe.Axe().run(watched.page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, [(each["id"], each["nodes"][0]["html"]) for each in serious]
    watched.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(chromium: Any, server: Server, width: int) -> None:
    watched = opened(chromium, server, viewport={"width": width, "height": 800})
    watched.trained()
    for view in ("credit", "flow", "luck", "weights", "gates", "states", "bugs"):
        watched.page.click(f"#tab-{view}")
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = (
            "[...document.querySelectorAll('#view canvas')].every(c => !c.clientWidth || c.width)"
        )
        watched.wait(drawn)
    watched.close()


@pytest.mark.parametrize("carrier", ["file", "notebook"])
def test_a_report_works_without_a_network(chromium: Any, carrier: str, tmp_path: Path) -> None:
    run = bptt.train(
        bptt.Addition(bits=2), hidden=8, seed=3, iterations=30, record_every=10, engine="reference"
    )
    found = bptt.look(run)
    watched = Watched(chromium, "nowhere", offline=True)
    page: Any = watched.page
    if carrier == "file":
        found.save(tmp_path / "look.html")
        page.goto((tmp_path / "look.html").as_uri() + "#view=credit&at=10")
        watched.wait("!!window.bptt?.frame")
        inside = page
        assert page.evaluate("bptt.iteration") == 10
    else:
        (tmp_path / "cell.html").write_text(f"<!doctype html><p>a cell</p>{found._repr_html_()}")
        page.goto((tmp_path / "cell.html").as_uri())
        inside = page.frame_locator("iframe")
        inside.locator("#tab-credit").click()
        inside.locator("#back").click()
    assert "iteration" in inside.locator("#when").inner_text()
    inside.locator("#scrubber").fill("0")
    assert inside.locator("#when").inner_text().startswith("iteration 0")
    first = bptt.Network(
        run.network.structure, engine="reference", seed=np.random.default_rng([3, 0])
    )
    trace = bptt.trace(first, *run.task.encode([(3, 1)]))
    _, shown = table(inside.locator("#view"), "|d loss at t / d h at k|")
    assert np.allclose(shown, derived.apart(trace).credit()[::-1], rtol=1e-5, atol=1e-12)
    assert inside.locator("#controls").count() == 0
    watched.close()
