"""The folder of a run on a data set: the files of every run (`bptt.training.runs`).

config.json               the plan (`bptt.fitting.plan.Plan`), and the data: from which files, how
                          they are read, and by what they are known again
weights.safetensors       the model (`bptt.fitting.model.Model`)
checkpoint.safetensors    theta, s0, s1, best, state; the plan and the progress as metadata
history.csv               one row an epoch
result.json               how it ended, and the score beside its baseline
figure.png                the learning curve
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bptt.errors import BpttError
from bptt.files import json_text, write_file
from bptt.fitting.model import Model, model_of
from bptt.fitting.plan import Plan, plan_from_plain
from bptt.fitting.training import EpochRecord, Fit
from bptt.network.engines import ENGINES
from bptt.sequences import Sequences
from bptt.sequences.schema import Reading
from bptt.training import runs
from bptt.training.tensors import read_tensors, write_tensors

# What of its plan may be changed before a run goes on.
CHANGEABLE = ("epochs", "seconds", "patience")
ARRAYS = ("theta", "s0", "s1", "best", "state")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run's data come from: files, perhaps with a second one of targets, and validation
    data, by their names in `folder`; none where they were handed in. reading: how they are read.
    job: what is learned, for the command line; prepared: what the job does with the data, as plain
    values."""

    files: tuple[str, ...] = ()
    validation: str | None = None
    folder: str = ""
    reading: Reading = Reading()
    job: str = ""
    prepared: dict[str, Any] = {}

    def place(self, name: str) -> str:
        """A file as it is to be named here."""
        return name if Path(self.folder) in (Path(), Path.cwd()) else str(Path(self.folder) / name)


def known_by(work: Fit) -> dict[str, Any]:
    """By what the data trained on are known again: their number, steps, names, classes, means."""
    schema = work.train.schema
    return {
        "sequences": len(work.train), "steps": int(work.train.lengths.sum()),
        "channels": list(schema.channels), "classes": list(schema.classes),
        "scaling": msgspec.to_builtins(work.scaling),
    }  # fmt: skip


def config_of(work: Fit, source: Source) -> dict[str, Any]:
    """What config.json holds."""
    return {
        "plan": work.plan.plain(),
        "data": {**msgspec.to_builtins(source), "known_by": known_by(work)},
    }


def source_of(folder: Path) -> Source:
    """Where a run's data come from. Raises BpttError for a folder that holds none on a data set."""
    try:
        declared = dict(_config(folder)["data"])
        declared.pop("known_by", None)
        return msgspec.convert(declared, Source)
    except (msgspec.ValidationError, TypeError) as error:
        raise BpttError(f"'{folder / runs.CONFIG}' is damaged: {error}") from None


def _config(folder: Path) -> dict[str, Any]:
    if not runs.on_data(folder):
        raise BpttError(f"'{folder}' is no run on a data set: name the folder of one")
    return runs.read_json(folder / runs.CONFIG)


def save_checkpoint(folder: Path, work: Fit) -> None:
    """Write history and checkpoint; the checkpoint, which holds the history too, is what counts."""
    state = work.state()
    arrays = {name: state[name] for name in ARRAYS if name in state}
    about = {"plan": work.plan.plain(), "progress": state["progress"], "known_by": known_by(work)}
    write_tensors(folder / runs.CHECKPOINT, arrays, about)
    write_file(
        folder / runs.HISTORY,
        runs.history_csv(work.progress.history, EpochRecord.__struct_fields__),
    )


def result_of(work: Fit) -> dict[str, Any]:
    """How a run ended, as plain values."""
    now = work.progress
    last = now.history[-1] if now.history else None
    return {
        "reason": work.reason, "epoch": now.epoch, "best_epoch": now.best_epoch,
        "iteration": now.iteration, "loss": last.loss if last else None,
        "seconds": now.seconds, "parameters": work.learner.theta.size,
        "score": vars(work.score) if work.score else None,
        "arithmetic": now.arithmetic or [],
    }  # fmt: skip


def save(
    folder: Path,
    work: Fit,
    source: Source,
    more: Mapping[str, Any] | None = None,
    model: Model | None = None,
) -> None:
    """Write everything but the figure, see `bptt.training.runs.save_parts`. more: of the result;
    model: where it has more than the training knows of."""
    model = model or work.model()
    result = {**result_of(work), **(more or {})}
    runs.save_parts(
        folder,
        model.save,
        lambda: runs.save_config(folder, config_of(work, source)),
        lambda: save_checkpoint(folder, work),
        lambda: write_file(folder / runs.RESULT, json_text(result, 2).encode()),
    )


def go_on(folder: Path, data: Sequences, held: Sequences | None = None) -> Fit:
    """A run to go on with, from its checkpoint, or from the beginning if it was killed before the
    first one. Raises BpttError for a run that diverged, for another run's plan, and for other data
    than those it began with."""
    runs.check_going_on(folder)
    declared, checkpoint = _config(folder), folder / runs.CHECKPOINT
    plan = plan_from_plain(declared["plan"])
    work = Fit(plan, data, held)
    then = declared["data"].get("known_by") if isinstance(declared["data"], dict) else None
    if then != _as_json(known_by(work)):
        raise BpttError(
            f"the data are others than those '{folder}' began with: train anew, or put them back"
        )
    if checkpoint.exists():
        arrays, about = read_tensors(checkpoint)
        _check_plan(folder, plan, about.get("plan"))
        work.restore({**arrays, "progress": about.get("progress")})
        work.grant_time()
    return work


def _as_json(values: Any) -> Any:
    """Values as JSON gives them back."""
    return msgspec.json.decode(json_text(values))


def _check_plan(folder: Path, plan: Plan, then: Any) -> None:
    if not isinstance(then, dict):
        raise BpttError(f"'{folder / runs.CHECKPOINT}' is damaged: train again")
    now = _as_json(plan.plain())
    for name, value in then.items():
        if name not in CHANGEABLE and value != now.get(name):
            raise BpttError(
                f"'{folder}' was trained with another plan than its {runs.CONFIG} has now "
                f"({name}): put that back; only {', '.join(CHANGEABLE)} may be changed"
            )


def load_model(path: str | Path, engine: str = "compiled") -> Model:
    """The model of a file that `Model.save` wrote, or of a run's folder, which then has its history
    and score too. Raises BpttError for any other file."""
    from bptt.arguments import one_of
    from bptt.arguments import path as path_of
    from bptt.fitting.model import FIELDS

    path = path_of("path", path)
    file = path / runs.WEIGHTS if path.is_dir() else path
    network, described = runs.load_described(file, one_of("engine", engine, ENGINES))
    if not all(name in described for name in FIELDS):
        raise BpttError(f"'{path}' holds a network without the data it was made for: use bptt.load")
    model = model_of(network, described, file)
    if path.is_dir():
        _with_history(model, path)
    return model


def _with_history(model: Model, folder: Path) -> None:
    """The records and the score of a run's folder."""
    from bptt.fitting.judging import Score
    from bptt.fitting.training import Progress

    if (folder / runs.CHECKPOINT).exists():
        _, about = read_tensors(folder / runs.CHECKPOINT)
        try:
            progress = msgspec.convert(about.get("progress"), Progress)
        except msgspec.ValidationError:
            raise BpttError(f"'{folder / runs.CHECKPOINT}' is damaged: train again") from None
        model.records, model.best_epoch = progress.history, progress.best_epoch
    if (folder / runs.RESULT).exists():
        result = runs.read_json(folder / runs.RESULT)
        model.reason = str(result.get("reason", ""))
        if isinstance(result.get("score"), dict):
            model.score = Score(**result["score"])
