"""`bptt train classify`, `label` and `regress`: train on a file of sequences, and report."""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bptt.commands.answers import Json
from bptt.errors import BpttError

if TYPE_CHECKING:
    from bptt.fitting import Fit
    from bptt.fitting.folder import Source
    from bptt.sequences import Sequences

JOBS: dict[str, tuple[str, dict[str, str]]] = {
    "classify": (
        "Learn a class for each sequence of a file.", {"kind": "classes", "per": "sequence"}
    ),
    "label": ("Learn a class for each step of a file's sequences.",
              {"kind": "classes", "per": "step"}),
    "regress": ("Learn numbers for each sequence, or each step, of a file.", {"kind": "numbers"}),
}  # fmt: skip
PANELS = {"structure": "Network", "optimizer": "Optimizer", "plan": "Training"}
Out = Annotated[
    Path | None,
    typer.Option(help="The run's folder.", show_default="runs/JOB-N, the next free N"),
]
Validation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Validation data, instead of a share.")
]
CheckpointSeconds = Annotated[float, typer.Option(help="Seconds between checkpoints.")]


def commands() -> Iterator[tuple[str, str, Any]]:
    """The jobs as commands: names, words, makers."""
    for name, (words, _) in JOBS.items():
        yield name, words, partial(job_command, name)


def job_command(name: str) -> Any:
    """The command of a job, whose flags are the options as they were declared."""
    from bptt.commands import flags
    from bptt.commands.data import READING, File, TargetFile
    from bptt.fitting.plan import GROUPS

    words, fixed = JOBS[name]
    reading = {each: option for each, option in READING.items() if each not in fixed}
    usual = _usual()
    parameters = [
        flags.parameter("context", typer.Context),
        flags.parameter("path", File),
        flags.parameter("targets", TargetFile, None),
        *flags.flags(reading, "Data", {}),
        flags.parameter("validation_data", Validation, None),
    ]
    for group, options in GROUPS.items():
        parameters += flags.flags(options, PANELS[group], usual)
    parameters += [
        flags.parameter("out", Out, None),
        flags.parameter("checkpoint_seconds", CheckpointSeconds, 1.0),
        flags.parameter("as_json", Json, False),
    ]

    def run(
        context: typer.Context, path: Path, targets: Path | None, validation_data: Path | None,
        out: Path | None, checkpoint_seconds: float, as_json: bool, **values: Any,
    ) -> int:  # fmt: skip
        options: dict[str, Any] = {}
        for group in GROUPS.values():
            options |= flags.given(group, values)
        return train_job(
            name, [each for each in (path, targets) if each], validation_data, values, options,
            out, checkpoint_seconds, as_json,
        )  # fmt: skip

    return flags.command(name, words, run, parameters)


def _usual() -> dict[str, Any]:
    """What counts where an option is not given."""
    import msgspec

    from bptt.fitting.plan import GROUPS, Plan

    plan, found = Plan(), dict[str, Any]()
    for group, settings in (("structure", plan.structure), ("optimizer", plan.optimizer)):
        fields = msgspec.structs.asdict(settings)
        found |= {name: fields[each.field] for name, each in GROUPS[group].items()}
    return found


def train_job(
    name: str,
    files: list[Path],
    validation: Path | None,
    reading: Mapping[str, Any],
    options: Mapping[str, Any],
    out: Path | None,
    checkpoint_seconds: float,
    as_json: bool,
) -> int:
    """Read, train in a new folder, report; returns the exit code."""
    from bptt.commands.data import reading_options
    from bptt.files import new_folder
    from bptt.fitting import Fit, folder
    from bptt.fitting.plan import plan_of
    from bptt.sequences.schema import Reading
    from bptt.training import runs

    plan = plan_of(options)
    source = folder.Source(
        files=tuple(map(str, files)), folder=str(Path.cwd()),
        validation=None if validation is None else str(validation),
        reading=Reading(**(reading_options(reading) | JOBS[name][1])), job=name,
    )  # fmt: skip
    data, held = read(source)
    if data.target is None:
        raise BpttError(
            f"'{files[0]}' has no target: name its column with --target, or give a file of targets"
        )
    work = Fit(plan, data, held)
    place = out or new_folder(Path("runs"), name)
    with runs.held(place):
        if runs.is_run(place):
            raise BpttError(
                f"'{place}' already holds a run: choose another --out, "
                f"or go on with it by 'bptt train --resume {place}'"
            )
        runs.save_config(place, folder.config_of(work, source))
        return _train(work, place, source, checkpoint_seconds, as_json)


def read(source: "Source") -> "tuple[Sequences, Sequences | None]":
    """The data of a run's files, and its validation data. Raises BpttError for what is wrong with
    them, and for a target that the job is not for."""
    import msgspec

    from bptt.sequences import Sequences

    plain = {
        name: value
        for name, value in msgspec.structs.asdict(source.reading).items()
        if value not in (None, (), False)
    }
    first, *others = map(source.place, source.files)
    data = Sequences.read(first, *others, **plain)
    _check_job(data, source)
    if source.validation is None:
        return data, None
    return data, Sequences.read(source.place(source.validation), like=data)


def _check_job(data: "Sequences", source: "Source") -> None:
    """A file that says itself what its targets are may not be what the job is for."""
    wanted, schema = JOBS[source.job][1] if source.job in JOBS else {}, data.schema
    if data.target is not None and any(getattr(schema, name) != wanted[name] for name in wanted):
        fitting = next(
            job for job, (_, each) in JOBS.items()
            if all(getattr(schema, name) == value for name, value in each.items())
        )  # fmt: skip
        raise BpttError(
            f"'{source.files[0]}' has {schema.kind} a {schema.per}, which are no job for "
            f"'{source.job}': train {fitting}"
        )


def resume_job(place: Path, as_json: bool) -> int:
    """Go on with a run on a data set; returns the exit code."""
    from bptt.fitting import folder
    from bptt.training import runs

    source = folder.source_of(place)
    if not source.files:
        raise BpttError(f"'{place}' was trained from Python: bptt.fit(data, out=..., resume=True)")
    with runs.held(place):
        work = folder.go_on(place, *read(source))
        if work.move():
            print(work.move(), file=sys.stderr)
        before = work.progress.epoch
        code = _train(work, place, source, 1.0, as_json)
    if work.progress.epoch == before and not work.progress.diverged:
        print(
            f"nothing was left to do ({work.reason}): to go on, change 'epochs' or 'seconds' in "
            f"{place / runs.CONFIG} and resume again",
            file=sys.stderr,
        )
    return code


def _train(
    work: "Fit", place: Path, source: "Source", checkpoint_seconds: float, as_json: bool
) -> int:
    from bptt.commands.job_reports import ended
    from bptt.files import json_text
    from bptt.fitting import folder
    from bptt.training.interrupts import exit_code, interrupts
    from bptt.training.keeper import Keeper
    from bptt.training.progress import Progress

    now, plan = work.progress, work.plan
    bar = Progress(plan.epochs, now.epoch, plan.engine, "epochs")
    with interrupts() as received, bar as progress:
        keeper = Keeper(
            partial(folder.save_checkpoint, place, work), checkpoint_seconds, progress.say
        )

        def asked() -> bool:
            keeper.keep()
            return bool(received)

        for record in work.records(asked):
            val = "" if record.val_loss is None else f"  validation {record.val_loss:.4f}"
            progress.show(record.epoch, f"loss {record.loss:.4f}{val}")
    values, text = ended(work, place, source)
    print(json_text(values) if as_json else text)
    if work.reason == "interrupted":
        if not as_json:
            print(f"go on with: bptt train --resume {place}", file=sys.stderr)
        return exit_code(received)
    return 1 if work.reason == "diverged" else 0
