"""What all commands have in common: how they answer, and arguments that several have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.files import json_text

Answer = tuple[dict[str, Any], str]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a weights file.")]
TaskFile = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="FILE.py:TASK", help="A task of your own: its file, which is run."
    ),
]


def answer(as_json: bool, values: Mapping[str, Any], text: str) -> None:
    """Print the result: one JSON object, or text for people."""
    print(json_text(values) if as_json else text)
