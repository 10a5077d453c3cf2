"""A run's folder: what is in it, written whole or not at all, and read back without running code.

config.json               everything that determines the run
(`bptt.training.settings.Settings`) history.csv               one row a record
weights.safetensors       the network, with all that is needed to use it in its metadata
checkpoint.safetensors    weights, optimizer state, random state, iteration: to go on from here
result.json               how the run ended, and its verdict
figure.png                the learning curve
"""

import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file as save_safetensors

from bptt.errors import BpttError
from bptt.network.network import Network, structure_of
from bptt.tasks import task_from_config
from bptt.tasks.task import Task
from bptt.training.records import Pending, Record
from bptt.training.settings import Settings, settings_from_dict
from bptt.training.training import Training

CONFIG, HISTORY, RESULT = "config.json", "history.csv", "result.json"
WEIGHTS, CHECKPOINT, FIGURE = "weights.safetensors", "checkpoint.safetensors", "figure.png"


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename.

    Raises BpttError if the disc is full or the folder cannot be written; the file that was there
    before is then untouched.
    """
    with _replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[str]:
    """The name of a temporary file; written in the block, it takes the place of `path` after it."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield temporary
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BpttError(
            f"'{path}' cannot be written: {why}; "
            "free some space or choose another folder with --out"
        ) from None
    finally:
        if temporary:  # still there only if something went wrong, an interrupt included
            Path(temporary).unlink(missing_ok=True)


def _write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all, without a copy of large arrays in memory.

    The library writes arrays in memory order: they must be contiguous."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with _replacing(path) as temporary:
        save_safetensors(arrays, temporary, {"bptt": json.dumps(metadata)})


def _read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and metadata of one of our safetensors files; BpttError for any other file."""
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        tensors = load(content)
        (header,) = struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8 : 8 + header])["__metadata__"]["bptt"]
        return tensors, json.loads(metadata)
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {error.strerror}; is it a run?") from None
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        raise BpttError(
            f"'{path}' is damaged, or not a file that bptt wrote: give another, or train again"
        ) from None


def save_network(path: Path, network: Network, task: Task | None) -> None:
    """Write a network as a safetensors file, with its task where it has one."""
    from bptt.version import __version__

    metadata = {
        "version": __version__,
        "structure": network.structure.plain(),
        "task": task.config() if task else None,
    }
    _write_tensors(path, network.parameters, metadata)


def load_network(
    path: str | Path, engine: str = "compiled", own: Task | type[Task] | None = None
) -> tuple[Network, Task | None]:
    """The network in a weights file or a run's folder, and its task. own: a task of one's own, or
    its class, for a file that names it.

    Raises BpttError, one line, for a file that is missing, truncated, foreign or does not fit.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS
    tensors, metadata = _read_tensors(path)
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
    network = Network(structure, theta=theta, engine=engine)
    described = metadata.get("task")
    if not isinstance(described, dict):
        return network, None
    task = task_from_config(described, own)
    try:
        task.fit(structure)
    except BpttError as error:
        raise BpttError(
            f"'{path}' does not fit its own description: {error}; the file is damaged"
        ) from None
    return network, task


def load_task_network(path: str | Path, kind: type[Task]) -> tuple[Network, Any]:
    """As `load_network`, for a command that needs a network of one task."""
    network, task = load_network(path, own=kind)
    if not isinstance(task, kind):
        learnt = f"has learnt {task.name}" if task else "has no task"
        raise BpttError(f"'{path}' {learnt}: a run of the task '{kind.name}' is needed")
    return network, task


def history_csv(history: list[Record]) -> bytes:
    """One row a record; numbers in full precision."""
    names = [field.name for field in fields(Record)]
    rows = [",".join(names)]
    rows += [",".join(repr(getattr(record, name)) for name in names) for record in history]
    return ("\n".join(rows) + "\n").encode()


def _plain(standing: "Standing") -> dict[str, Any]:
    """As JSON can hold it: the random state's integers are wider than 64 bits."""
    return {
        **{name: getattr(standing, name) for name in standing.__struct_fields__},
        "history": [asdict(record) for record in standing.history],
        "pending": asdict(standing.pending),
    }


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands: a checkpoint's metadata."""

    settings: dict[str, Any]
    iteration: int
    stream: dict[str, Any]
    history: list[Record]
    pending: Pending
    smooth_loss: float
    seconds: float

    def fits(self) -> bool:
        """Whether the iteration agrees with the records and what is pending."""
        recorded = self.history[-1].iteration if self.history else 0
        counts = {len(values) for values in asdict(self.pending).values()}
        return counts == {self.iteration - recorded}


def save_checkpoint(folder: Path, training: Training) -> None:
    """Write history and checkpoint. The checkpoint holds the history too: if only one of the two
    is written, the checkpoint is what counts."""
    learner = training.learner
    tensors = {"theta": learner.theta, "s0": learner.s0, "s1": learner.s1}
    if learner.state is not None:
        tensors["state"] = learner.state
    standing = Standing(
        training.settings.as_dict(), learner.iteration, training.stream.state(),
        training.history, training.pending, training.smooth_loss, training.seconds,
    )  # fmt: skip
    _write_tensors(folder / CHECKPOINT, tensors, _plain(standing))
    write_file(folder / HISTORY, history_csv(training.history))


def save_result(folder: Path, training: Training) -> None:
    """Write weights and result: what a finished or interrupted run leaves behind."""
    save_network(folder / WEIGHTS, training.network, training.task)
    write_file(folder / RESULT, json.dumps(result_of(training), indent=2).encode())


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
    }


def save(folder: Path, training: Training) -> None:
    """Write everything but the figure."""
    save_settings(folder, training.settings)
    save_checkpoint(folder, training)
    save_result(folder, training)


def save_settings(folder: Path, settings: Settings) -> None:
    """Write config.json."""
    write_file(folder / CONFIG, json.dumps(settings.as_dict(), indent=2).encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises BpttError for a file that is not there or is none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {error.strerror}; is it a run?") from None
    except (ValueError, RecursionError):
        raise BpttError(f"'{path}' is not JSON: it is damaged, train again") from None
    if not isinstance(value, dict):
        raise BpttError(f"'{path}' is not what bptt wrote: it is damaged, train again")
    return value


def load_unfinished(folder: Path, own: Task | type[Task] | None = None) -> Training:
    """As `load_training`, for a run that is to go on: one that diverged cannot."""
    if (folder / RESULT).exists() and read_json(folder / RESULT).get("reason") == "diverged":
        raise BpttError(f"'{folder}' diverged: train again with a smaller learning rate")
    return load_training(folder, own)


def load_training(folder: Path, own: Task | type[Task] | None = None) -> Training:
    """A run to go on with: from its checkpoint, or, if it was killed before the first one, from
    its settings. own: as of `load_network`. Raises BpttError if there is neither, or they cannot be
    read."""
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        if not (folder / CONFIG).exists():
            raise BpttError(f"'{folder}' is not a run: it has no {CONFIG}; name a run's folder")
        return Training(settings_from_dict(read_json(folder / CONFIG), own))
    tensors, metadata = _read_tensors(checkpoint)
    damaged = BpttError(f"'{checkpoint}' does not fit its own description: it is damaged")
    try:
        stands = msgspec.convert(metadata, Standing)
    except msgspec.ValidationError:
        raise damaged from None
    settings = settings_from_dict(stands.settings, own)
    size = settings.structure.layout().size
    if any(tensors[name].shape != (size,) for name in ("theta", "s0", "s1") if name in tensors):
        raise damaged  # before anything of that size is made
    try:
        training = Training(settings)
        learner = training.learner
        for name in ("theta", "s0", "s1", "state"):
            target = getattr(learner, name)
            if target is not None:
                if tensors[name].shape != target.shape or tensors[name].dtype != target.dtype:
                    raise damaged
                target[:] = tensors[name]
        training.stream.restore(stands.stream)
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise (error if isinstance(error, BpttError) else damaged) from None
    learner.iteration = stands.iteration
    training.history, training.pending = stands.history, stands.pending
    training.smooth_loss, training.seconds = stands.smooth_loss, stands.seconds
    if not stands.fits():
        raise damaged
    return training
