"""A lab in the test's own process, by the reference engine: nothing has to be compiled."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from bptt.lab import session
from bptt.lab.server import Lab, Server
from bptt.network.reference_engine import ReferenceEngine

# An adder that the reference learns in a second.
SMALL = {
    "task": "addition", "options": {"bits": 2}, "cell": "elman", "hidden": 8,
    "learning_rate": 0.03, "seed": 3,
}  # fmt: skip


def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every engine be the reference."""
    monkeypatch.setattr(session, "engine_of", lambda name: ReferenceEngine())


@contextmanager
def served(lab: Lab | None = None) -> Iterator[Server]:
    """A server that answers, closed afterwards."""
    server = Server(lab or Lab())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(
    server: Server, what: str, values: Any, code: int = 200, body: bytes | None = None,
    **headers: str,
) -> Any:  # fmt: skip
    """What the server answers to a page; headers by their names, '_' for '-'."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    given = {"Content-Type": "application/json", "Origin": f"http://{server.host}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(values).encode() if body is None else body
    connection.request("POST", f"/{server.token}/api/{what}", content, given)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    assert answer.status == code, found
    return found
