"""A run, a run on a data set and half of a study; and, on another processor, the rest of them.

    python tests/going_elsewhere.py begin FOLDER
    python tests/going_elsewhere.py train FOLDER     a run alone
    python tests/going_elsewhere.py go-on FOLDER     prints what was said, as JSON

What the processor has is what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say.
"""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import bptt
from bptt.commands.cli import run

# A text, because nobody asks at which lengths it is right, which takes long without the compiler.
SMALL: dict[str, Any] = {"cell": "elman", "hidden": 19, "iterations": 6, "record_every": 3}
TEXT: dict[str, Any] = {"text": "the rain in Spain", "window": 5}
STUDY = bptt.Study(
    task="text", base={**TEXT, **SMALL}, seeds=6, stop_when_solved=False, verdict=False
)


def data() -> bptt.Sequences:
    """A few sequences; the class is the sign of the last number."""
    x = np.random.default_rng(0).normal(size=(12, 3, 1))
    return bptt.Sequences(list(x), ["minus" if each[-1, 0] < 0 else "plus" for each in x])


def train(folder: Path) -> None:
    """A run in a folder."""
    bptt.train(bptt.Text(**TEXT), **SMALL, exact=False).save(folder)


def begin(folder: Path) -> None:
    """What is gone on with elsewhere."""
    for name in ("run", "again"):
        train(folder / name)
    bptt.fit(data(), out=folder / "fit", hidden=3, cell="elman", epochs=2, batch=12)
    STUDY.run(folder / "first", workers=1, shard=(1, 2))


def more(config: Path, **values: int) -> None:
    """Allow a run more."""
    whole = json.loads(config.read_text())
    for name, value in values.items():
        (whole["plan"] if name == "epochs" else whole)[name] = value
    config.write_text(json.dumps(whole))


def command(*arguments: object) -> dict[str, str]:
    """What a command says."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        assert run([*map(str, arguments)]) == 0
    return {"out": out.getvalue(), "err": errors.getvalue()}


def go_on(folder: Path) -> dict[str, Any]:
    """Go on with all of it."""
    said: dict[str, Any] = {}
    for name, iterations in (("run", 9), ("stayed", 12)):
        more(folder / "run" / "config.json", iterations=iterations)
        said[name] = command("train", "--resume", folder / "run")
    said["show"] = command("show", folder / "run")
    more(folder / "again" / "config.json", iterations=9)
    more(folder / "fit" / "config.json", epochs=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bptt.resume(folder / "again")
        bptt.fit(data(), out=folder / "fit", resume=True)
        bptt.fit(data(), out=folder / "fit", resume=True)  # nothing is left, and nothing moves
    said["warned"] = [str(each.message) for each in caught]
    STUDY.run(folder / "second", workers=1, shard=(2, 2))
    parts = [folder / "first", folder / "second"]
    said["merge"] = command("study", "merge", *parts, "--out", folder / "whole")
    said["alone"] = command("study", "report", folder / "first")
    said["report"] = command("study", "report", folder / "whole")
    return said


if __name__ == "__main__":
    place = Path(sys.argv[2])
    if sys.argv[1] == "go-on":
        print(json.dumps(go_on(place)))
    else:
        {"begin": begin, "train": train}[sys.argv[1]](place)
