"""`bptt import`: another program's network, verified."""

from pathlib import Path
from typing import Annotated

import typer

from bptt.commands.answers import Json, answer
from bptt.commands.exchange import import_file


def import_command(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pt, .onnx, .keras, .h5, .json or "
                                         ".nam file.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder.",
                                             show_default="runs/imported-N")] = None,
    activation: Annotated[str | None, typer.Option(help="Of an Elman layer, where the file does "
                                                   "not say it: tanh or relu.")] = None,
    output: Annotated[str | None, typer.Option(help="linear, sigmoid or softmax, where the file "
                                               "does not say it.")] = None,
    readout: Annotated[str | None, typer.Option(help="steps or last, where the file does not say "
                                                "it.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Read another program's network, verified; nothing of the file is run."""
    options = {"activation": activation, "output": output, "readout": readout}
    answer(as_json, *import_file(file, out, options))
