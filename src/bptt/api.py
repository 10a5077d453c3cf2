"""What a notebook user types: train, look, predict, save, load."""

import inspect
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bptt.arguments import path as path_of
from bptt.equations.cells import Cell
from bptt.equations.optimizers import Rule
from bptt.equations.outputs import UNITS, Output
from bptt.equations.own import handed_in
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.network.network import Network
from bptt.tasks.task import Task, Verdict
from bptt.training import runs
from bptt.training.interrupts import interrupts
from bptt.training.options import described, keywords, settings_for
from bptt.training.records import Divergence, Record
from bptt.training.settings import Settings
from bptt.training.training import Training

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class Run:
    """A training run and what came of it. Shows itself in Jupyter as figure and verdict.

    Attributes: `settings`, `task`, `network`, `records` (a list of `Record`), `verdict` (the task's
    own test), `reason` (why it ended: 'exact', 'proved', 'iterations', 'loss', 'smooth loss',
    'accuracy', 'wrong', 'time', 'interrupted', 'diverged').
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.settings: Settings = training.settings
        self.task: Task = training.task
        self.network: Network = training.network
        self.records: list[Record] = training.history
        self.verdict: Verdict | None = training.verdict
        self.reason: str = training.reason

    @property
    def history(self) -> "pandas.DataFrame":
        """One row a record; the columns are the fields of
        `bptt.training.training.Record`."""
        import pandas

        return pandas.DataFrame(self.records, columns=[each.name for each in fields(Record)])

    def curve(self) -> dict[str, Any]:
        """What the figure shows: the arguments of
        `bptt.training.figures.learning_curve`."""
        return {
            "history": self.records,
            "title": f"{self.network!r}\n{self}",
            "unit": UNITS.get(self.settings.structure.loss, "nats"),
            "outputs": self.task.output_name,
        }

    def figure(self) -> "Figure":
        """Loss and mistakes against iteration, as a matplotlib figure."""
        from bptt.training.figures import learning_curve

        return learning_curve(**self.curve())

    def save(self, folder: str | Path) -> None:
        """Write the run's folder: see `bptt.training.runs`. Raises BpttError if it
        cannot be written, is another's, or is being trained."""
        folder = path_of("folder", folder)
        with runs.held(folder):
            runs.save(folder, self.training)
            if self.records:
                write_file(folder / runs.FIGURE, self._repr_png_())

    def __str__(self) -> str:
        divergence = self.training.divergence
        if divergence:
            return str(divergence)
        iteration = self.training.learner.iteration
        return f"{self.verdict or self.reason} after {iteration:,} iterations"

    def __repr__(self) -> str:
        return f"Run({self.task.name}, {self})"

    def _repr_png_(self) -> bytes:
        from bptt.training.figures import png

        return png(self.figure())


def train(task: Task | Settings, **options: Any) -> Run:
    """Train a network on a task and return the run.

    Without options the task's preset is used (`Task.preset`); options change it. They are listed
    below, and in docs/options.md. Ctrl-C ends training after the work in hand; the run then has the
    reason 'interrupted' and `resume` goes on with it.

    Raises BpttError for an option that is not known or a value that is not allowed.
    """
    if isinstance(task, Settings):
        if options:
            raise BpttError(f"give options or settings, not both: '{sorted(options)[0]}'")
        return resume(Run(Training(task)))
    return resume(Run(Training(settings_for(task, options))))


train.__doc__ = f"{train.__doc__}\n{described()}"
train.__signature__ = keywords(inspect.signature(train))  # type: ignore[attr-defined]


def resume(
    run: Run | str | Path, task: Task | type[Task] | None = None, *, cell: Cell | None = None,
    output: Output | None = None, optimizer: Rule | None = None,
) -> Run:  # fmt: skip
    """Go on with an interrupted run, or with a run's folder; ends with the weights that an
    uninterrupted run gives, on a processor whose vectors are as wide (on another it warns, and goes
    on). task, cell, output, optimizer: as of `load`."""
    if isinstance(run, Run):
        training = run.training
        training.grant_time()
    else:
        with handed_in(cell, output, optimizer):
            training = runs.load_unfinished(path_of("run", run), task)
    if training.move():
        warnings.warn(training.move(), stacklevel=2)
    with interrupts() as received:
        for _ in training.records(lambda: bool(received)):
            pass
    return Run(training)


def load(
    path: str | Path, task: Task | type[Task] | None = None, *, cell: Cell | None = None,
    output: Output | None = None,
) -> Network:  # fmt: skip
    """The network of a weights file or a run's folder.

    task: where the task is one of your own, it, or its class; cell, output: likewise. Nothing is
    imported for a name in a file. Raises BpttError for any other file, for a name that was not
    handed in, and for equations that are others than those the file was written with.
    """
    with handed_in(cell, output):
        network, _ = runs.load_network(path_of("path", path), own=task)
    return network


def load_run(
    folder: str | Path, task: Task | type[Task] | None = None, *, cell: Cell | None = None,
    output: Output | None = None, optimizer: Rule | None = None,
) -> Run:  # fmt: skip
    """A run's folder as it stands, with its history and verdict. task, cell, output: as of `load`;
    optimizer: likewise the rule."""
    folder = path_of("folder", folder)
    with handed_in(cell, output, optimizer):
        training = runs.load_training(folder, task)
    result = folder / runs.RESULT
    if result.exists():
        ended = runs.read_json(result)
        training.reason = str(ended.get("reason", ""))
        training.divergence = Divergence.from_text(str(ended.get("divergence")))
        if ended.get("verdict") is not None:
            try:
                training.verdict = msgspec.convert(ended["verdict"], Verdict)
            except msgspec.ValidationError:
                raise BpttError(f"'{result}' is damaged: train again") from None
    return Run(training)
