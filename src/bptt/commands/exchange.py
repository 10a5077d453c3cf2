"""The commands that take networks out of the house and in: each gives plain values and a text."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bptt.errors import BpttError
from bptt.exchange.doors import check, export, outgoing, read_file
from bptt.exchange.formats import FORMATS, format_of
from bptt.exchange.model import Model, model_of, network_of
from bptt.exchange.torch_files import About, about, surroundings
from bptt.exchange.verification import Checked
from bptt.files import new_folder, write_file
from bptt.fitting.folder import load_model
from bptt.network.network import Network
from bptt.training import runs

Answer = tuple[dict[str, Any], str]
# What a file that came in says besides its network, beside the weights in the run's folder.
SURROUNDINGS = "exchange.json"
CALIBRATION, MOST_STEPS = 8, 4000


def _surroundings(path: Path) -> dict[str, Any]:
    """Skip, scaling, class names and notes of a run that was imported."""
    file = path / SURROUNDINGS
    if not path.is_dir() or not file.exists():
        return {}
    try:
        said = surroundings(msgspec.json.decode(file.read_bytes(), type=About))
    except (msgspec.MsgspecError, OSError):
        raise BpttError(f"'{file}' is damaged: import the file again") from None
    return {name: said[name] for name in ("skip", "scaling", "classes", "ids", "notes")}


def _data(network: Network, task: Any) -> tuple[Any, Any, bool]:
    """Inputs (B, T, D) and targets like the task's training, or None, and whether the inputs are
    one-hot numbers. Sequences of different lengths are cut to the shortest."""
    try:
        batch = task.stream(0, 1, network.structure.dtype).draw(CALIBRATION)
    except BpttError:  # a task that has its vocabulary but no text
        return None, None, getattr(task, "vocabulary", None) is not None
    x, y, lengths = batch.x[:, 0], batch.y[:, 0], batch.lengths
    ids = x.ndim == 2
    steps = max(1, min(MOST_STEPS // len(x), *([] if lengths is None else [int(lengths.min())]),
                       x.shape[1]))  # fmt: skip
    x = np.eye(network.structure.inputs)[x] if ids else x
    return x[:, :steps], y[:, :steps] if network.structure.readout == "steps" else y, ids


def _fitted(path: Path) -> Model | None:
    """What `bptt.fit` wrote, with its scaling and class names; None for another run."""
    file = path / runs.WEIGHTS if path.is_dir() else path
    _, described = runs.load_described(file, "reference")
    return outgoing(load_model(path, "reference")) if described else None


def _run(path: Path) -> tuple[Model, Any, Any]:
    """A run's network with its surroundings, and data of its task where it can be had."""
    fitted = _fitted(path)
    if fitted is not None:
        return fitted, None, None
    network, task = runs.load_network(path)
    around = _surroundings(path)
    if task is None:
        return model_of(network, **around), None, None
    x, y, ids = _data(network, task)
    around["ids"] = ids
    around["classes"] = tuple(getattr(task, "vocabulary", "")) if ids else ()
    return model_of(network, **around), x, y


def _values(checked: Checked, path: Path, name: str) -> dict[str, Any]:
    return {"file": str(path), "format": name, "passed": checked.passed,
            "worst_difference": checked.worst, "steps": checked.steps, "limit": checked.limit,
            "words": checked.words}  # fmt: skip


def export_run(
    run: Path, name: str, out: Path | None, skip: int | None, sample_rate: int | None,
    options: dict[str, Any],
) -> Answer:  # fmt: skip
    """Write a run's network as another program's file."""
    chosen = format_of(name)
    model, x, y = _run(run)
    changes: dict[str, Any] = {}
    if skip is not None:
        changes["skip"] = skip
    if sample_rate is not None:
        changes["notes"] = {**model.notes, "sample_rate": sample_rate}
    if changes:
        fields = {name: getattr(model, name) for name in ("skip", "scaling", "classes", "ids",
                                                          "notes")}  # fmt: skip
        model = model_of(network_of(model, "reference"), **{**fields, **changes})
    path = out or Path(f"{options.get('name', 'net')}{chosen.suffix}")
    given = {key: value for key, value in options.items() if value not in (None, False)}
    checked = export(model, path, name, inputs=x, targets=y, **given)
    size = path.stat().st_size
    values = {**_values(checked, path, name), "bytes": size}
    text = f"{chosen.brief}, {size:,} bytes: {path}\n"
    lines = _lines(model, name, path)
    return values, f"{text}{lines}{checked}"


def _lines(model: Model, name: str, path: Path) -> str:
    """How the file is loaded where that is not plain."""
    if name == "torch":
        from bptt.exchange.torch_files import lines

        return lines(model, str(path)) + "\n"
    if name in ("flax", "equinox"):
        from bptt.exchange.jax_files import lines as jax_lines

        return jax_lines(model, name, str(path)) + "\n"
    return ""


def check_file(run: Path, path: Path, name: str | None) -> Answer:
    """Set an existing file against a run's network."""
    model, x, _ = _run(run)
    checked = check(model, path, name, inputs=x)
    return _values(checked, path, name or ""), str(checked)


def import_file(path: Path, out: Path | None, options: dict[str, Any]) -> Answer:
    """Read another program's file into a run's folder."""
    given = {key: value for key, value in options.items() if value is not None}
    model = read_file(path, **given)
    network = network_of(model)
    folder = out or new_folder(Path("runs"), "imported")
    runs.check_free(folder)
    runs.save_network(folder / runs.WEIGHTS, network, None)
    said = json.dumps(msgspec.to_builtins(about(model))).encode()
    write_file(folder / SURROUNDINGS, said)
    more = [f"adds the first {model.skip} inputs" if model.skip else "",
            "scales its data" if model.scaling else "",
            *(f"{key} {value}" for key, value in model.notes.items())]  # fmt: skip
    words = "; ".join(part for part in more if part)
    values = {"run": str(folder), "network": repr(network), "skip": model.skip,
              "notes": dict(model.notes)}  # fmt: skip
    text = f"{network!r}\n{f'besides  {words}' + chr(10) if words else ''}run     {folder}"
    return values, text


def formats_text() -> str:
    """A line for each format."""
    return "\n".join(f"{each.name:14} {each.brief}" for each in FORMATS.values())
