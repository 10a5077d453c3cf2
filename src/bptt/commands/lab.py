"""`bptt lab`: the live page, on this machine alone."""

import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from bptt.commands.answers import Json, TaskFile
from bptt.commands.own import class_of
from bptt.files import json_text
from bptt.lab.server import Lab, Server
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.settings import settings_from_dict


def lab_command(
    run_path: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Begin with a run's settings.")
    ] = None,
    port: Annotated[
        int, typer.Option(help="Of 127.0.0.1.", min=0, max=65535, show_default="a free one")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    task: TaskFile = None,
    as_json: Json = False,
) -> None:
    """Open a page on which networks train while you look; ends with Ctrl-C."""
    settings = None
    if run_path is not None:
        own = class_of(task) if task else None
        settings = settings_from_dict(runs.read_json(run_path / runs.CONFIG), own)
    serve(Server(Lab(settings), port), browser, as_json)


def serve(server: Server, browser: bool, as_json: bool) -> None:
    """Serve the page until the terminal ends it."""
    words = f"{server.address}\nthe lab is open, for this machine alone; Ctrl-C ends it"
    print(json_text({"address": server.address}) if as_json else words, flush=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    if browser and sys.stdout is not None:
        webbrowser.open(server.address)
    ended = threading.Event()
    try:
        with interrupts() as received:
            while not received:
                ended.wait(0.2)
    finally:
        server.shutdown()
        server.server_close()
