"""A run's folder: what is in it, written whole or not at all, and read back without running code.

config.json               everything that determines the run, with the data of its task
                          (`bptt.training.settings.Settings`)
weights.safetensors       the network, with all that is needed to use it in its metadata
checkpoint.safetensors    weights, optimizer state, random state, records (`.checkpoints`)
history.csv               one row a record
result.json               how the run ended, and its verdict
figure.png                the learning curve
run.lock                  an empty file, locked as long as a process trains the run
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bptt import files
from bptt.errors import BpttError
from bptt.files import json_text, why, write_file
from bptt.network.network import Network, structure_of
from bptt.tasks import task_from_config
from bptt.tasks.task import Task
from bptt.training import checkpoints
from bptt.training.records import Record
from bptt.training.settings import Settings, settings_from_dict
from bptt.training.tensors import read_tensors, write_tensors
from bptt.training.training import Training

CONFIG, HISTORY, RESULT = "config.json", "history.csv", "result.json"
WEIGHTS, CHECKPOINT, FIGURE = "weights.safetensors", "checkpoint.safetensors", "figure.png"
LOCK = "run.lock"


def save_network(
    path: Path, network: Network, task: Task | None, data: Mapping[str, Any] | None = None
) -> None:
    """Write a network as a safetensors file, with its task where it has one; what the task learns
    from is left out. data: of one trained on a data set, how that is read, as plain values (see
    `bptt.fitting.model.Model`)."""
    from bptt.version import __version__

    metadata: dict[str, Any] = {
        "version": __version__,
        "structure": network.structure.plain(),
        "task": None if task is None else task.config(data=False),
    }
    if data is not None:
        metadata["data"] = data
    write_tensors(path, network.parameters, metadata)


def _network_of(path: Path, engine: str) -> tuple[Network, dict[str, Any]]:
    """The network in a weights file, and the file's metadata."""
    tensors, metadata = read_tensors(path)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("structure"), dict):
        raise BpttError(f"'{path}' holds no network: give a weights file or a run's folder")
    structure = structure_of(metadata["structure"])
    shapes = structure.layout().shapes
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != structure.dtype:
            raise BpttError(
                f"'{path}' does not fit its own description: parameter {name} should be "
                f"{structure.dtype} {shape}; the file is damaged"
            )
    theta = np.concatenate([tensors[name].ravel() for name in shapes])
    return Network(structure, theta=theta, engine=engine), metadata


def load_described(path: Path, engine: str = "compiled") -> tuple[Network, dict[str, Any]]:
    """The network in a weights file, and how the data are read that it was trained on: empty where
    it was not trained on a data set. Raises BpttError as `load_network`."""
    network, metadata = _network_of(path, engine)
    described = metadata.get("data")
    return network, described if isinstance(described, dict) else {}


def load_network(
    path: str | Path, engine: str = "compiled", own: Task | type[Task] | None = None
) -> tuple[Network, Task | None]:
    """The network in a weights file or a run's folder, and its task: of a weights file without what
    the task learns from. own: a task of one's own, or its class, for a file that names it.

    Raises BpttError, one line, for a file that is missing, truncated, foreign or does not fit.
    """
    path, folder = Path(path), None
    if path.is_dir():
        path, folder = path / WEIGHTS, path
    network, metadata = _network_of(path, engine)
    described = metadata.get("task")
    if not isinstance(described, dict):
        return network, None
    whole = described if folder is None else _whole(described, folder / CONFIG)
    task = task_from_config(whole, own)
    try:
        task.fit(network.structure)
    except BpttError as error:
        raise BpttError(
            f"'{path}' does not fit its own description: {error}; the file is damaged"
        ) from None
    return network, task


def _whole(described: dict[str, Any], config: Path) -> dict[str, Any]:
    """A task as config.json describes it, with its data, if that is the same task."""
    left_out = [name for name, value in described.items() if value == ""]
    if not left_out or not config.exists():
        return described
    whole = read_json(config).get("task")
    given = {name: value for name, value in described.items() if name not in left_out}
    if isinstance(whole, dict) and given == {name: whole.get(name) for name in given}:
        return whole
    return described


def load_task_network(path: str | Path, kind: type[Task]) -> tuple[Network, Any]:
    """As `load_network`, for a command that needs a network of one task."""
    network, task = load_network(path, own=kind)
    if not isinstance(task, kind):
        learnt = f"has learnt {task.name}" if task else "has no task"
        raise BpttError(f"'{path}' {learnt}: a run of the task '{kind.name}' is needed")
    return network, task


def history_csv(history: Sequence[Any], names: Iterable[str] | None = None) -> bytes:
    """One row a record; numbers in full precision. names: of the columns, those of `Record` if not
    given."""
    names = [field.name for field in fields(Record)] if names is None else list(names)
    rows = [",".join(names)]
    for record in history:
        values = (getattr(record, name) for name in names)
        rows.append(",".join("" if value is None else repr(value) for value in values))
    return ("\n".join(rows) + "\n").encode()


def save_checkpoint(folder: Path, training: Training) -> None:
    """Write history and checkpoint. The checkpoint holds the history too: if only one of the two
    is written, the checkpoint is what counts."""
    checkpoints.save(folder / CHECKPOINT, training)
    write_file(folder / HISTORY, history_csv(training.history))


def result_of(training: Training) -> dict[str, Any]:
    """How a run ended, as plain values."""
    verdict, divergence = training.verdict, training.divergence
    last = training.history[-1] if training.history else None
    return {
        "reason": training.reason,
        "iteration": training.learner.iteration,
        "loss": last.loss if last else None,
        "loss_per_step": last.loss_per_step if last else None,
        "seconds": training.seconds,
        "verdict": verdict.as_dict() if verdict else None,
        "divergence": str(divergence) if divergence else None,
        "parameters": training.learner.theta.size,
        "arithmetic": training.arithmetic,
    }


def save(folder: Path, training: Training) -> None:
    """Write everything but the figure, see `save_parts`."""
    save_parts(
        folder,
        lambda path: save_network(path, training.network, training.task),
        lambda: save_settings(folder, training.settings),
        lambda: save_checkpoint(folder, training),
        lambda: write_file(folder / RESULT, json_text(result_of(training), 2).encode()),
    )


def save_parts(folder: Path, network: Callable[[Path], None], *others: Callable[[], None]) -> None:
    """Write the network to a path first, and of the other parts of a run what can be written.

    Raises BpttError for what cannot be written; a network then goes to the system's folder for
    temporary files, and the message says where it is.
    """
    errors: list[BpttError] = []
    for step in (lambda: _save_weights(folder, network), *others):
        try:
            step()
        except BpttError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _save_weights(folder: Path, network: Callable[[Path], None]) -> None:
    try:
        network(folder / WEIGHTS)
    except BpttError as error:
        try:
            elsewhere = Path(tempfile.mkdtemp(prefix="bptt-")) / WEIGHTS
        except OSError:
            raise error from None
        try:
            network(elsewhere)
        except BpttError:
            with suppress(OSError):
                elsewhere.parent.rmdir()
            raise error from None
        raise BpttError(f"{error}; the network has been kept in '{elsewhere}'") from None


def save_settings(folder: Path, settings: Settings) -> None:
    """Write config.json, unless it is there already."""
    save_config(folder, settings.as_dict())


def save_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write what determines a run, unless it is there already."""
    path, content = folder / CONFIG, json_text(values, 2).encode()
    with suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    write_file(path, content)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    if not (folder / CONFIG).exists():
        return (folder / CHECKPOINT).exists()
    try:
        found = read_json(folder / CONFIG).keys()
    except BpttError:
        return False
    return {"task", "structure"} <= found or on_data(folder)


def on_data(folder: Path) -> bool:
    """Whether a folder holds a run on a data set (`bptt.fitting.folder`)."""
    try:
        return {"plan", "data"} <= read_json(folder / CONFIG).keys()
    except BpttError:
        return False


def check_free(folder: Path) -> None:
    """Raises BpttError for a folder that is neither empty nor a run's."""
    if not is_run(folder):
        files.check_free(folder, (LOCK,), "run")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """While the block runs, no other process trains the run in a folder or writes it.

    Raises BpttError if another process does, or for a folder that is neither empty nor a run's.
    """
    check_free(folder)
    with files.alone(folder / LOCK, "being trained"):
        yield


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises BpttError for a file that is not there or is none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {why(error)}; is it a run?") from None
    except (ValueError, RecursionError):
        raise BpttError(f"'{path}' is not JSON: it is damaged, train again") from None
    if not isinstance(value, dict):
        raise BpttError(f"'{path}' is not what bptt wrote: it is damaged, train again")
    return value


def check_going_on(folder: Path) -> None:
    """Raises BpttError for a run that diverged."""
    if (folder / RESULT).exists() and read_json(folder / RESULT).get("reason") == "diverged":
        raise BpttError(f"'{folder}' diverged: train again with a smaller learning rate")


def load_unfinished(folder: Path, own: Task | type[Task] | None = None) -> Training:
    """As `load_training`, for a run that is to go on: one that diverged cannot."""
    check_going_on(folder)
    training = load_training(folder, own)
    training.grant_time()
    return training


def load_training(folder: Path, own: Task | type[Task] | None = None) -> Training:
    """A run to go on with: from its checkpoint, or, if it was killed before the first one, from
    its settings. own: as of `load_network`. Raises BpttError if there is neither, or they cannot be
    read."""
    config, checkpoint = folder / CONFIG, folder / CHECKPOINT
    if not config.exists() and not checkpoint.exists():
        raise BpttError(f"'{folder}' is not a run: it has no {CONFIG}; name a run's folder")
    declared = read_json(config) if config.exists() else None
    if declared is not None and {"plan", "data"} <= declared.keys():
        raise BpttError(f"'{folder}' is a run on a data set: it has no task")
    if checkpoint.exists():
        return checkpoints.load(checkpoint, declared, own)
    return Training(settings_from_dict(declared or {}, own))
