"""`bptt export`: a network as C or another program's file, verified."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bptt.commands.answers import Json, RunPath, answer
from bptt.commands.exchange import check_file, export_run, formats_text
from bptt.errors import BpttError
from bptt.exchange.verification import UnverifiedError


def _formats(wanted: bool) -> None:
    """Print the formats and leave."""
    if wanted:
        print(formats_text())
        raise typer.Exit


def export(
    run_path: RunPath,
    to: Annotated[str | None, typer.Option(help="The format; 'bptt export --formats' lists them.")]
    = None,
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="net.SUFFIX")] = None,
    checked: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Verify this file; write none.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What names in C begin with.")] = None,
    math: Annotated[str | None, typer.Option(help="C: exact (libm), or fast with a stated error.")]
    = None,
    quantize: Annotated[str | None, typer.Option(help="C: int8.")] = None,
    step: Annotated[bool, typer.Option("--step", help="ONNX: one step at a time.")] = False,
    skip: Annotated[int | None, typer.Option(help="So many inputs are added to the outputs.")]
    = None,
    sample_rate: Annotated[int | None, typer.Option(help="Samples a second, for the file to say.")]
    = None,
    formats: Annotated[bool, typer.Option("--formats", is_eager=True, callback=_formats,
                                          help="List the formats.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Write a network as C or another program's file, verified; exit 1, no file if it differs."""
    if checked:
        values, text = check_file(run_path, checked, to)
        answer(as_json, values, text)
        return 0 if values["passed"] else 1
    if to is None:
        raise BpttError("--to is missing: give a format, 'bptt export --formats' lists them")
    options = {"name": name, "math": math, "quantize": quantize, "step": step}
    try:
        answer(as_json, *export_run(run_path, to, out, skip, sample_rate, options))
    except UnverifiedError as error:
        print(f"bptt: {error}", file=sys.stderr)
        return 1
    return 0
