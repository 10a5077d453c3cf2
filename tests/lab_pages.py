"""A lab in the test's own process, by the reference engine: nothing has to be compiled."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

import bptt
from bptt.lab import session
from bptt.lab.server import Lab, Server
from bptt.network.reference_engine import ReferenceEngine
from bptt.proofs.machine import Machine
from bptt.proofs.prove import Proof
from bptt.proofs.search import Balls

# An adder that the reference learns in a second.
SMALL = {
    "task": "addition", "options": {"bits": 2}, "cell": "elman", "hidden": 8,
    "learning_rate": 0.03, "seed": 3,
}  # fmt: skip


def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every engine be the reference."""
    monkeypatch.setattr(session, "engine_of", lambda name: ReferenceEngine())
    monkeypatch.setattr(session, "proofs_ready", lambda: True)  # such as are there


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


def unpacked(plane: dict[str, Any]) -> Any:
    """An array as a page has it."""
    return np.frombuffer(base64.b64decode(plane["data"]), "<f4").reshape(plane["shape"])


def waited(condition: Any, seconds: float = 30.0) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def claimed(network: bptt.Network, task: Any) -> Proof:
    """As if it had been proved, by sets about states that it reaches."""
    automaton = task.automaton()
    machine = Machine(network, automaton)
    x, label = machine.start[None], [0]
    for symbol in (3, 1, 0, 2):
        x = np.concatenate([x, machine.step(x[-1:], np.array([symbol]))])
        label.append(int(automaton.after[label[-1], symbol]))
    metric = np.diag(1.0 + np.arange(machine.size))
    balls = Balls(x, np.linspace(0, 0.4, len(x)), np.array(label), metric)
    return Proof("proved", automaton.claim, automaton, balls)
