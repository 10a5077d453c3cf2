"""`bptt lab`: the live page, on this machine alone."""

import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.commands import flags
from bptt.commands.answers import Json, TaskFile
from bptt.commands.data import READING, reading_options
from bptt.commands.own import class_of
from bptt.errors import BpttError
from bptt.files import json_text
from bptt.lab.own import OwnData
from bptt.lab.server import Lab, Server
from bptt.sequences import Sequences
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.settings import Settings, settings_from_dict

WORDS = "Open a page on which networks train while you look; ends with Ctrl-C."
RunPath = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="Begin with a run's settings.")
]
Port = Annotated[
    int, typer.Option(help="Of 127.0.0.1.", min=0, max=65535, show_default="a free one")
]
Browser = Annotated[
    bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own sequences: CSV, Parquet, .npz, .npy, .ts or .wav."),
]
Targets = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A .npy or .wav file's targets are in another.")
]


def make() -> Any:
    """The command; its options for data are those by which files are read."""
    parameters = [
        flags.parameter("run_path", RunPath, None),
        flags.parameter("port", Port, 0),
        flags.parameter("browser", Browser, True),
        flags.parameter("task", TaskFile, None),
        flags.parameter("data", Data, None),
        flags.parameter("targets", Targets, None),
        *flags.flags(READING, "Data", {}),
        flags.parameter("as_json", Json, False),
    ]

    def run(
        run_path: Path | None, port: int, browser: bool, task: str | None, data: Path | None,
        targets: Path | None, as_json: bool, **reading: Any,
    ) -> None:  # fmt: skip
        serve(Server(lab_of(run_path, task, data, targets, reading), port), browser, as_json)

    return flags.command("lab", WORDS, run, parameters)


def lab_of(
    run_path: Path | None, task: str | None, data: Path | None, targets: Path | None,
    reading: dict[str, Any],
) -> Lab:  # fmt: skip
    """The lab of a run, or of the user's data. Raises BpttError for what cannot be read."""
    settings: Settings | None = None
    if run_path is not None:
        own = class_of(task) if task else None
        settings = settings_from_dict(runs.read_json(run_path / runs.CONFIG), own)
    options = reading_options(reading)
    if data is None:
        if options or targets is not None:
            raise BpttError(f"--{next(iter(options), 'targets')} goes with --data FILE")
        return Lab(settings)
    return Lab(settings, OwnData.of(Sequences.read(data, targets, **options)))


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
