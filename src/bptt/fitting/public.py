"""`bptt.fit`: train on sequences and give the model; with a folder, as a run."""

import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bptt.arguments import instance
from bptt.arguments import path as path_of
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.fitting import folder as folders
from bptt.fitting.forecasting import Forecast
from bptt.fitting.forecasting.forecast import forecast_from
from bptt.fitting.model import Model
from bptt.fitting.plan import plan_of
from bptt.fitting.training import Fit
from bptt.sequences import Sequences
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.keeper import Keeper

CHECKPOINT_SECONDS = 1.0


def load_model(path: str | Path, engine: str = "compiled") -> Model | Forecast:
    """The model of a file that `save` wrote, or of a run's folder, which then has its history and
    score too: a `Model`, or a `Forecast` of one that was trained to forecast. Raises BpttError for
    any other file."""
    model = folders.load_model(path, engine)
    return model if model.prepared is None else forecast_from(model)


def fit(
    data: Sequences,
    validation_data: Sequences | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> Model:
    """Train a network on sequences and give the model.

    out: a folder in which the run is kept, with checkpoints, as `bptt train` keeps its runs.
    resume: go on with the run in it, on the same data, to the same bits as if it had not ended.
    options: in docs/sequences.md, and `bptt.fitting.plan.Plan`. Ctrl-C ends training; the model
    then has the best weights so far.

    Raises BpttError for an option that is not known, and for data that cannot be learned from.
    """
    if not isinstance(data, Sequences):
        raise BpttError(
            f"a {type(data).__name__} cannot be learned from: make bptt.Sequences of it"
        )
    if validation_data is not None:
        instance("validation_data", validation_data, Sequences, "bptt.Sequences")
    if resume and (out is None or options):
        raise BpttError("resume=True goes on with the run in `out` as it was: give no options")
    folder = None if out is None else path_of("out", out)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(runs.held(folder))
        if resume and folder is not None:
            work = folders.go_on(folder, data, validation_data)
            if work.move():
                warnings.warn(work.move(), stacklevel=2)
        else:
            if folder is not None and runs.is_run(folder):
                raise BpttError(
                    f"'{folder}' already holds a run: give resume=True or another `out`"
                )
            work = Fit(plan_of(options), data, validation_data)
        return _trained(work, folder)


def _trained(work: Fit, folder: Path | None) -> Model:
    source = folders.Source(reading=work.train.schema.reading)
    keeper = None
    if folder is not None:
        runs.save_config(folder, folders.config_of(work, source))
        keeper = Keeper(partial(folders.save_checkpoint, folder, work), CHECKPOINT_SECONDS, print)
    with interrupts() as received:

        def asked() -> bool:
            if keeper:
                keeper.keep()
            return bool(received)

        for _ in work.records(asked):
            pass
    model = work.model()
    if folder is not None:
        folders.save(folder, work, source)
        if model.records:
            write_file(folder / runs.FIGURE, model._repr_png_())
    return model
