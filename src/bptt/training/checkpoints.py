"""Checkpoints: where a run stands, to go on from there with the same bits.

Tensors: theta, s0, s1 and, where the task carries a state, state; history (n, 8), a row a record;
pending (5, m), the iterations since the last record that are no whole block; sums (9,), what the
blocks before them come to (how many iterations, loss, wrong, exact, norm, counted steps, smoothed
loss), the last record's smoothed loss, and the seconds in training. Metadata: the settings without
the data of the task, which stand in config.json; the iteration; where the stream of data stands;
the arithmetic (`bptt.training.moves`).
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bptt.errors import BpttError
from bptt.files import json_text
from bptt.network.structure import LATER
from bptt.tasks.task import Task
from bptt.training import moves
from bptt.training.records import Pending, Record, Totals
from bptt.training.settings import Settings, settings_from_dict
from bptt.training.tensors import read_tensors, write_tensors
from bptt.training.training import Training

# What of its settings may be changed before a run goes on.
CHANGEABLE = ("iterations", "stop")
COLUMNS = len(fields(Record))


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint's metadata. Version 0.1.0 kept the other fields here, which are tensors now;
    pending: a list for each of loss, wrong, exact, norm and steps."""

    settings: dict[str, Any]
    iteration: int
    stream: dict[str, Any]
    history: list[Record] | None = None
    pending: dict[str, list[float]] | None = None
    smooth_loss: float = 0.0
    seconds: float = 0.0
    arithmetic: list[str] | None = None


def save(path: Path, training: Training) -> None:
    """Write a checkpoint."""
    learner, pending = training.learner, training.pending
    tensors = {"theta": learner.theta, "s0": learner.s0, "s1": learner.s1}
    if learner.state is not None:
        tensors["state"] = learner.state
    rows = [astuple(record) for record in training.history]
    totals = pending.totals
    sums = [totals.count, *totals.sums, totals.smooth, [training.smooth_loss, training.seconds]]
    tensors["history"] = np.array(rows, np.float64).reshape(len(rows), COLUMNS)
    tensors["pending"] = pending.rest
    tensors["sums"] = np.concatenate(sums).astype(np.float64)
    metadata = {
        "settings": without_data(training.settings), "iteration": learner.iteration,
        "stream": training.stream.state(), "arithmetic": training.arithmetic,
    }  # fmt: skip
    write_tensors(path, tensors, metadata)


def without_data(settings: Settings) -> dict[str, Any]:
    """Settings as plain values, without what the task learns from."""
    return {**settings.as_dict(), "task": settings.task.config(data=False)}


def load(
    path: Path, declared: Mapping[str, Any] | None, own: Task | type[Task] | None = None
) -> Training:
    """A run as it stood. declared: what its config.json holds, if there is one. own: as
    of `bptt.training.runs.load_network`.

    Raises BpttError for a file that is damaged, or that is of a run with other settings.
    """
    tensors, metadata = read_tensors(path)
    damaged = BpttError(f"'{path}' does not fit its own description: it is damaged")
    try:
        stands = msgspec.convert(metadata, Standing)
    except msgspec.ValidationError:
        raise damaged from None
    settings = _settings(path, stands.settings, declared, own)
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
        if stands.history is None:
            _restore(training, tensors)
        else:
            _restore_old(training, stands)
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise (error if isinstance(error, BpttError) else damaged) from None
    learner.iteration = stands.iteration
    training.arithmetic = moves.kept(stands.arithmetic, stands.iteration)
    recorded = training.history[-1].iteration if training.history else 0
    if learner.iteration - recorded != len(training.pending):
        raise damaged
    return training


def _restore(training: Training, tensors: Mapping[str, Any]) -> None:
    """Records and what is pending, from tensors. Raises ValueError or KeyError if they are no such
    numbers."""
    history, rest, sums = (tensors[name] for name in ("history", "pending", "sums"))
    shapes = history.ndim == rest.ndim == 2 and sums.shape == (9,)
    if not shapes or history.shape[1] != COLUMNS or rest.shape[0] != 5:
        raise ValueError
    if any(each.dtype != np.float64 for each in (history, rest, sums)):
        raise ValueError
    if not (np.isfinite(history[:, :1]).all() and np.isfinite(sums).all()):
        raise ValueError
    training.history = [Record(int(row[0]), *row[1:]) for row in history.tolist()]
    totals = Totals(sums[:1].astype(np.int64), sums[1:6, None].copy(), sums[6:7].copy())
    training.pending = Pending(totals, rest.copy())
    training.smooth_loss, training.seconds = sums[7:].tolist()


def _restore_old(training: Training, stands: Standing) -> None:
    """The same from the metadata of version 0.1.0."""
    given = stands.pending or {}
    rest = np.array([given[name] for name in ("loss", "wrong", "exact", "norm", "steps")], float)
    training.history = stands.history or []
    training.smooth_loss, training.seconds = stands.smooth_loss, stands.seconds
    training.pending = Pending(stands.smooth_loss)
    training.pending.add_numbers(rest)


def _settings(
    path: Path,
    then: Mapping[str, Any],
    declared: Mapping[str, Any] | None,
    own: Task | type[Task] | None,
) -> Settings:
    """The settings to go on with: those declared, which may allow more iterations and stop
    otherwise than before, but must else be the checkpoint's."""
    if declared is None:
        return settings_from_dict(then, own)
    settings = settings_from_dict(declared, own)
    now = settings.as_dict()
    kept = {name: value for name, value in then.items() if name not in CHANGEABLE}
    changed = _difference(_with_all(kept), _with_all(now))
    if changed:
        raise BpttError(
            f"'{path.parent}' was trained with other settings than its config.json has now "
            f"({changed}): put that back; only {' and '.join(CHANGEABLE)} may be changed"
        )
    return settings


def _as_read(value: Any) -> Any:
    """A plain value as it is in a file: JSON has no tuples."""
    return json.loads(json_text(value))


def _with_all(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the network's options that are left out where they are off."""
    return {**settings, "structure": LATER | settings["structure"]}


def _difference(then: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> str:
    """The first field that has another value now; '' if none has. What is empty then has been left
    out, and what was not there then is new."""
    for name, value in then.items():
        if isinstance(value, Mapping) and isinstance(now.get(name), Mapping):
            found = _difference(value, now[name], f"{where}{name}.")
            if found:
                return found
        elif _as_read(value) not in ("", _as_read(now.get(name))):
            return f"{where}{name} was {value!r:.60} and is {now.get(name)!r:.60}"
    return ""
