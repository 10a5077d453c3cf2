"""`bptt train classify`, `label`, `regress` and `forecast`: train on a file, and report."""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bptt.commands.answers import Json
from bptt.errors import BpttError

if TYPE_CHECKING:
    from bptt.commands.forecasts import SeriesGiven
    from bptt.commands.job_reports import Tested
    from bptt.fitting import Fit, Plan
    from bptt.fitting.folder import Source
    from bptt.sequences import Sequences

WORDS = {
    "classify": "Learn a class for each sequence of a file.",
    "label": "Learn a class for each step of a file's sequences.",
    "regress": "Learn numbers for each sequence, or each step, of a file.",
    "forecast": "Learn what comes next in the series of a table.",
}
# Options of a training that a forecast, whose sequences are short windows, has no use for.
ONE_WINDOW = ("class_weight", "window", "warm_up")
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
    for name, words in WORDS.items():
        yield name, words, partial(job_command, name)


def job_command(name: str) -> Any:
    """The command of a job, whose flags are the options as they were declared."""
    from bptt.commands import flags
    from bptt.commands.data import READING, File, TargetFile
    from bptt.fitting.plan import GROUPS
    from bptt.sequences.jobs import said_by

    left_out: tuple[str, ...] = ()
    if name == "forecast":
        from bptt.commands.forecasts import parameters as own

        given, left_out = own(), ONE_WINDOW
    else:
        said = said_by(name)
        reading = {each: option for each, option in READING.items() if each not in said}
        given = [
            flags.parameter("targets", TargetFile, None),
            *flags.flags(reading, "Data", {}),
            flags.parameter("validation_data", Validation, None),
        ]
    parameters = [flags.parameter("path", File), *given]
    usual = _usual()
    for group, options in GROUPS.items():
        kept = {each: option for each, option in options.items() if each not in left_out}
        parameters += flags.flags(kept, PANELS[group], usual)
    parameters += [
        flags.parameter("out", Out, None),
        flags.parameter("checkpoint_seconds", CheckpointSeconds, 1.0),
        flags.parameter("as_json", Json, False),
    ]

    def run(
        path: Path, out: Path | None, checkpoint_seconds: float, as_json: bool, **values: Any
    ) -> int:
        from bptt.fitting.plan import plan_of

        options: dict[str, Any] = {}
        for group in GROUPS.values():
            options |= flags.given(group, values)
        plan = plan_of(options)
        source = _source(name, path, values, plan)
        return train_job(source, plan, out, checkpoint_seconds, as_json)

    return flags.command(name, WORDS[name], run, parameters)


def _usual() -> dict[str, Any]:
    """What counts where an option is not given."""
    import msgspec

    from bptt.fitting.plan import GROUPS, Plan

    plan, found = Plan(), dict[str, Any]()
    for group, settings in (("structure", plan.structure), ("optimizer", plan.optimizer)):
        fields = msgspec.structs.asdict(settings)
        found |= {name: fields[each.field] for name, each in GROUPS[group].items()}
    return found


def _source(name: str, path: Path, values: Mapping[str, Any], plan: "Plan") -> "Source":
    """Where a job's data come from, and how they are read."""
    from bptt.commands.data import reading_options
    from bptt.fitting.folder import Source
    from bptt.sequences.jobs import said_by
    from bptt.sequences.schema import Reading

    if name == "forecast":
        from bptt.commands.forecasts import source

        return source(path, values, plan)
    files = [str(each) for each in (path, values["targets"]) if each]
    held = values["validation_data"]
    return Source(
        files=tuple(files), folder=str(Path.cwd()), validation=None if held is None else str(held),
        reading=Reading(**(reading_options(values) | said_by(name))), job=name,
    )  # fmt: skip


def train_job(
    source: "Source", plan: "Plan", out: Path | None, checkpoint_seconds: float, as_json: bool
) -> int:
    """Read, train in a new folder, report; returns the exit code."""
    from bptt.files import new_folder
    from bptt.fitting import Fit, folder
    from bptt.training import runs

    given = read(source)
    if given.data.target is None:
        raise BpttError(
            f"'{source.files[0]}' has no target: name its column with --target, or give a file of "
            "targets"
        )
    work = Fit(plan, given.data, given.held)
    place = out or new_folder(Path("runs"), source.job)
    with runs.held(place):
        if runs.is_run(place):
            raise BpttError(
                f"'{place}' already holds a run: choose another --out, "
                f"or go on with it by 'bptt train --resume {place}'"
            )
        runs.save_config(place, folder.config_of(work, given.source))
        return _train(work, place, given, checkpoint_seconds, as_json)


class Given(NamedTuple):
    """What a run learns from: the data, those held out (None: a share), and where they come from;
    series: of a forecast."""

    data: "Sequences"
    held: "Sequences | None"
    source: "Source"
    series: "SeriesGiven | None" = None


def read(source: "Source") -> Given:
    """The data of a run's files, and its validation data. Raises BpttError for what is wrong with
    them, and for a target that the job is not for."""
    import msgspec

    from bptt.sequences import Sequences
    from bptt.sequences.jobs import check_job

    if source.job == "forecast":
        from bptt.commands.forecasts import read_series

        series = read_series(source)
        held = None if series.learned.held is None else series.learned.held.sequences
        return Given(series.learned.train.sequences, held, series.source, series)
    plain = {
        name: value
        for name, value in msgspec.structs.asdict(source.reading).items()
        if value not in (None, (), False)
    }
    first, *others = map(source.place, source.files)
    data = Sequences.read(first, *others, **plain)
    check_job(data, source.job, source.files[0])
    if source.validation is None:
        return Given(data, None, source)
    return Given(data, Sequences.read(source.place(source.validation), like=data), source)


def resume_job(place: Path, as_json: bool) -> int:
    """Go on with a run on a data set; returns the exit code."""
    from bptt.fitting import folder
    from bptt.training import runs

    source = folder.source_of(place)
    if not source.files:
        raise BpttError(f"'{place}' was trained from Python: bptt.fit(data, out=..., resume=True)")
    with runs.held(place):
        given = read(source)
        work = folder.go_on(place, given.data, given.held)
        if work.move():
            print(work.move(), file=sys.stderr)
        before = work.progress.epoch
        code = _train(work, place, given, 1.0, as_json)
    if work.progress.epoch == before and not work.progress.diverged:
        print(
            f"nothing was left to do ({work.reason}): to go on, change 'epochs' or 'seconds' in "
            f"{place / runs.CONFIG} and resume again",
            file=sys.stderr,
        )
    return code


def _train(work: "Fit", place: Path, given: Given, checkpoint_seconds: float, as_json: bool) -> int:
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
    values, text = ended(work, place, given.source, _tested(work, given))
    print(json_text(values) if as_json else text)
    if work.reason == "interrupted":
        if not as_json:
            print(f"go on with: bptt train --resume {place}", file=sys.stderr)
        return exit_code(received)
    return 1 if work.reason == "diverged" else 0


def _tested(work: "Fit", given: Given) -> "Tested":
    """What is told of a run that has ended, of what was held out."""
    if given.series is not None:
        from bptt.commands.forecasts import tested as of_forecasts

        return of_forecasts(work, given.series)
    from bptt.commands.job_reports import tested

    return tested(work)
