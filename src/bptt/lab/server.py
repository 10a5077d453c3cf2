"""The live page's server: this machine alone, one token, JSON in and out, a limit on every size.

It listens on 127.0.0.1. Every address begins with a token that is drawn anew each time; Host must
be exactly this server's, and so must Origin where something is asked for: a page from elsewhere can
neither ask nor be answered, whatever names its owner points here.
"""

import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bptt.arguments import whole
from bptt.errors import BpttError
from bptt.lab import hunting
from bptt.lab.choices import page_choices, settings_from, words_of
from bptt.lab.page import page_html, policy
from bptt.lab.session import SEEDS, Engines, Watching, rounded
from bptt.lab.views import packed_all
from bptt.tasks.task import Task
from bptt.training.settings import Settings

MOST_BODY = 20_000
MOST_FRAMES = 20
MOST_TABS = 4
# Connections at a time, and how long one may be silent.
MOST_CONNECTIONS, SILENCE_SECONDS = 32, 20.0
MOST_NESTING = 20


class Lab:
    """What the page can ask for. settings: of a run that the page begins with. own: the user's
    data, as a task."""

    def __init__(self, settings: Settings | None = None, own: Task | None = None) -> None:
        self.settings, self.own, self.engines = settings, own, Engines()
        self._tabs: OrderedDict[str, Watching] = OrderedDict()
        self._lock = threading.Lock()
        self._count = 0
        self._ids: dict[str, int] = {}
        self._busy = threading.Semaphore(2)  # of what takes a processor for seconds

    def page(self) -> str:
        """The page."""
        start = {
            "live": True, "choices": page_choices(self.settings, self.own),
            "mistakes": hunting.mistakes(),
        }  # fmt: skip
        return page_html("bptt lab", start)

    def ask(self, what: str, given: Any) -> dict[str, Any]:
        """Answer a page. Raises BpttError, one line, for what cannot be answered."""
        if not isinstance(given, dict):
            raise BpttError("a message must be an object")
        tab = given.get("tab")
        if not isinstance(tab, str) or not 1 <= len(tab) <= 20 or not tab.isalnum():
            raise BpttError("a message must name its tab")
        answers: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "start": self._start, "news": self._news, "frames": self._frames, "leave": self._leave,
            "beginnings": self._beginnings,
            "hunt": self._hunt(hunting.symptoms), "answer": self._hunt(hunting.answered),
            "trained": self._hunt(hunting.trained),
        }  # fmt: skip
        if what not in answers:
            raise BpttError("that cannot be asked")
        return rounded(answers[what](tab, given))

    def _hunt(
        self, function: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        def answer(tab: str, given: dict[str, Any]) -> dict[str, Any]:
            if not self._busy.acquire(timeout=30):
                raise BpttError("the lab is busy: ask again")
            try:
                return function(given)
            finally:
                self._busy.release()

        return answer

    def _start(self, tab: str, given: dict[str, Any]) -> dict[str, Any]:
        chosen = given.get("settings")
        if chosen is None and self.settings is not None:
            settings = self.settings
        else:
            settings = settings_from({} if chosen is None else chosen, self.own)
        watching = Watching(settings, self.engines, words_of(given.get("input")))
        gone: list[Watching] = []
        with self._lock:
            if tab in self._tabs:
                gone.append(self._tabs.pop(tab))
            while len(self._tabs) >= MOST_TABS:
                gone.append(self._tabs.popitem(last=False)[1])
            self._tabs[tab] = watching
            self._count += 1
            watching.id = self._count
        for each in gone:
            each.stop()
        first = watching.first()
        watching.begin()
        return {
            "id": watching.id, "seed": settings.seed, "frame": packed_all(first),
            "info": watching.looker.info(),
        }  # fmt: skip

    def _of(self, tab: str, given: dict[str, Any]) -> Watching:
        with self._lock:
            found = self._tabs.get(tab)
        if found is None or found.id != given.get("id"):
            raise BpttError("that training has ended: start another")
        return found

    def _news(self, tab: str, given: dict[str, Any]) -> dict[str, Any]:
        watching = self._of(tab, given)
        after = whole("after", given.get("after"), 0, 10**9)
        luck = given.get("luck")
        if luck is not None:
            if not isinstance(luck, list) or len(luck) > SEEDS:
                raise BpttError(f"luck must be a list of at most {SEEDS} numbers of records")
            luck = [whole("luck", each, 0, 10**9) for each in luck]
        return {"id": watching.id, **watching.news(after, luck)}

    def _frames(self, tab: str, given: dict[str, Any]) -> dict[str, Any]:
        watching, iterations = self._of(tab, given), given.get("iterations")
        if not isinstance(iterations, list) or not 1 <= len(iterations) <= MOST_FRAMES:
            raise BpttError(f"iterations must be a list of 1 to {MOST_FRAMES} moments")
        watching.asked = time.monotonic()
        return {
            "frames": {
                str(each): packed_all(watching.look(each))
                for each in (whole("iteration", each, 0, 10**9) for each in iterations)
            }
        }

    def _beginnings(self, tab: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"beginnings": self._of(tab, given).looker.beginnings()}

    def _leave(self, tab: str, given: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            found = self._tabs.get(tab)
            mine = found is not None and found.id == given.get("id")
            if mine:
                del self._tabs[tab]
        if found is not None and mine:
            found.end()
        return {}

    def close(self) -> None:
        """End all trainings."""
        with self._lock:
            tabs = list(self._tabs.values())
            self._tabs.clear()
        for each in tabs:
            each.end()


class Server(ThreadingHTTPServer):
    """The server: `address` is what to open. It begins to answer with `serve_forever`."""

    daemon_threads = True
    allow_reuse_address = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, lab: Lab, port: int = 0) -> None:
        self.lab, self.token = lab, secrets.token_urlsafe(24)
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise BpttError(
                f"port {port} cannot be had: {error.strerror}; leave it out for a free one"
            ) from None
        self.host = f"127.0.0.1:{self.server_address[1]}"

    @property
    def address(self) -> str:
        """The page's address, with its token."""
        return f"http://{self.host}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, and no more than there may be."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See `process_request`."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks off is no news."""

    def server_close(self) -> None:
        """Close the server and end all trainings."""
        super().server_close()
        self.lab.close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "bptt", ""
    timeout = SILENCE_SECONDS
    # An answer's last packet would wait for the page to say that it has the one before.
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        """The page, and nothing else."""
        if self._refused(asks=False):
            return
        if self.path != f"/{self.server.token}/":
            return self._send(404, {"error": "there is nothing here"})
        self._write(200, "text/html; charset=utf-8", self.server.lab.page().encode())

    def do_POST(self) -> None:
        """What a page asks for, as JSON."""
        if self._refused(asks=True):
            return
        if self.headers.get_content_type() != "application/json":
            return self._end(415, "only JSON is taken")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            return self._end(411, "a message must say its length")
        if len(length) > 6 or int(length) > MOST_BODY:
            return self._end(413, f"a message has at most {MOST_BODY:,} bytes")
        body = self.rfile.read(int(length))
        prefix = f"/{self.server.token}/api/"
        if not self.path.startswith(prefix):
            return self._send(404, {"error": "there is nothing here"})
        try:
            given = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return self._send(400, {"error": "the message is not JSON"})
        try:
            self._send(200, self.server.lab.ask(self.path.removeprefix(prefix), given))
        except BpttError as error:
            self._send(400, {"error": str(error)})

    def _refused(self, asks: bool) -> bool:
        """Whether this comes from elsewhere; then it has been answered."""
        token = self.path.split("/")[1] if self.path.startswith("/") else ""
        origin, expected = self.headers.get_all("Origin", []), f"http://{self.server.host}"
        right = (
            self.headers.get_all("Host") == [self.server.host]
            and (origin == [expected] if asks else origin in ([], [expected]))
            and hmac.compare_digest(token.encode(), self.server.token.encode())
        )
        if not right:
            self._end(403, "this is not for you")
        return not right

    def _end(self, code: int, words: str) -> None:
        """Answer in one line and hang up: what follows is not read."""
        self.close_connection = True
        self._send(code, {"error": words})

    def _send(self, code: int, values: dict[str, Any]) -> None:
        self._write(code, "application/json", json.dumps(values, allow_nan=False).encode())

    def _write(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Security-Policy", f"{policy(True)}; frame-ancestors 'none'"),
            *((("Connection", "close"),) if self.close_connection else ()),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *values: Any) -> None:
        """Nothing is logged: the address has the token in it."""


def _no_constant(name: str) -> None:
    raise ValueError(name)
