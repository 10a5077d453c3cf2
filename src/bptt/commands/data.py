"""`bptt data`: what would be learned from a file; and the options by which files are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bptt.commands import flags
from bptt.commands.answers import Json, answer
from bptt.options import options_of
from bptt.sequences import Sequences
from bptt.sequences.schema import Reading

READING = options_of(Reading)
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV, Parquet, .npz, .npy, .ts or .wav.")
]
TargetFile = Annotated[
    Path | None,
    typer.Argument(metavar="[TARGETS]", help="A .npy or .wav file's targets are in another."),
]
WORDS = "What would be learned from a file of sequences: counts, lengths, channels, classes, gaps."
# Fewer sequences a class, or more steps a sequence, and another method is likely to do better.
FEW, LONG = 10, 250


def reading_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of reading that were given, as `Sequences.read` takes them."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flags.given(READING, values).items()
    }


def advice(sequences: Sequences) -> list[str]:
    """Where a plain recurrent network is likely to be the wrong tool, in sentences."""
    target, found = sequences.target, list[str]()
    if target is None or target.per != "sequence":
        return found
    if target.kind == "classes":
        counts = np.bincount(target.values[target.values >= 0], minlength=len(target.classes))
        if counts.min() < FEW:
            name = target.classes[int(counts.argmin())]
            found.append(
                f"few data: class {name!r} has {counts.min()} sequences; with so few, nearest "
                "neighbours (DTW) or ROCKET, as in aeon or sktime, often do better"
            )
    elif len(sequences) < 2 * FEW:
        found.append(f"few data: {len(sequences)} sequences; a linear model may do better")
    longest = int(np.median(sequences.lengths))
    if longest > LONG:
        found.append(
            f"long sequences: {longest:,} steps in the median; what matters early is hard to keep "
            "for a plain recurrent network: take every n-th step, or ROCKET (aeon, sktime)"
        )
    return found


def described(sequences: Sequences) -> dict[str, Any]:
    """What was understood, as plain values."""
    schema, lengths = sequences.schema, sequences.lengths
    return {
        "sequences": len(sequences), "steps": int(lengths.sum()),
        "shortest": int(lengths.min()), "longest": int(lengths.max()),
        "channels": list(schema.channels), "target": list(schema.target), "kind": schema.kind,
        "per": schema.per, "classes": list(schema.classes),
    }  # fmt: skip


def make() -> Any:
    """The command."""
    parameters = [
        flags.parameter("path", File),
        flags.parameter("targets", TargetFile, None),
        *flags.flags(READING, "Data", {}),
        flags.parameter("as_json", Json, False),
    ]

    def run(path: Path, targets: Path | None, as_json: bool, **values: Any) -> None:
        sequences = Sequences.read(path, targets, **reading_options(values))
        answer(
            as_json, described(sequences) | {"advice": advice(sequences)},
            "\n".join([str(sequences), *advice(sequences)]),
        )  # fmt: skip

    return flags.command("data", WORDS, run, parameters)
