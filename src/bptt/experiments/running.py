"""Running an experiment: its studies, what they say of the published lines, tables and figures."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptt.arguments import flag, whole
from bptt.arguments import path as path_of
from bptt.errors import BpttError
from bptt.experiments.declaration import Experiment, find
from bptt.experiments.outcome import Measurements
from bptt.training.interrupts import interrupts

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from bptt.experiments.measures import Group
    from bptt.network.gradient_check import GradientCheck


class Outcome(Measurements):
    """What an experiment has come to, with its tables, figures and report.

    frame, curves: of all runs, as a study's `Results`. groups: the runs by setting
    ('panel/setting'). judged: for each published line its verdict and measurements. check: of the
    gradients; example: of one run; None where the experiment has none. seconds: it has taken.
    reason: 'done', or 'interrupted', and then what had not been begun is empty.
    """

    @property
    def tables(self) -> "dict[str, pandas.DataFrame]":
        """'published' (line by line), one for each panel (by its name), 'all runs', and, where
        there are any, 'gradient check' and 'example'."""
        from bptt.experiments import reporting

        return reporting.tables(self)

    @property
    def figures(self) -> "dict[str, Figure]":
        """The figures by name, as matplotlib figures."""
        return {name: draw(8.0) for name, draw in self.drawings().items()}

    def save(self, folder: str | Path) -> list[Path]:
        """Write report.html, report.md, runs.csv and the figures; returns the paths."""
        from bptt.experiments import reporting

        if self.reason != "done":
            raise BpttError("the experiment was interrupted: go on with it, then write its report")
        return reporting.save(self, Path(folder))

    def __str__(self) -> str:
        from bptt.experiments import reporting

        return reporting.text(self)

    def __repr__(self) -> str:
        return f"Outcome({self.experiment.name}, {len(self.frame):,} runs, {self.reason})"

    def _repr_html_(self) -> str:
        return self.tables["published"].to_html(index=False)


def experiment(
    name: str | Path,
    *,
    seeds: int | None = None,
    quick: bool = False,
    file: str | Path | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Outcome:
    """Run an experiment: one of the five published ones by its name, or a TOML file of your own.

    seeds: for every setting, instead of the declared numbers. quick: a taste in seconds. file: what
    to learn instead of the declared text. folder: where finished runs are kept, so that
    `resume` can go on. workers, progress: as of `bptt.Study.run`. Ctrl-C ends the work; what is
    finished is kept, and the outcome's reason is 'interrupted'.

    Raises BpttError for an unknown name, or a declaration that is not possible.
    """
    if seeds is not None:
        seeds = whole("seeds", seeds, 1)
    for given, value in (("quick", quick), ("resume", resume)):
        flag(given, value)
    full = find(name)
    inside = None if folder is None else path_of("folder", folder)
    return run(full.changed(seeds, quick, file), full, quick, inside, resume, workers, progress)


def run(
    changed: Experiment,
    full: Experiment,
    quick: bool = False,
    folder: Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Outcome:
    """Run a declared experiment. full: as declared; lines whose runs have fewer iterations than
    there are not judged."""
    import pandas as pd

    from bptt.experiments.measures import judge

    started = time.monotonic()
    outcome = Outcome(changed, pd.DataFrame(), pd.DataFrame(), quick)
    with interrupts() as received:
        if changed.gradient_check is not None:
            outcome.check = _checked(changed, quick)
        frames, curves = [], []
        for number, study in enumerate(changed.studies(), 1):
            if not received:
                inside = folder / f"study-{number}" if folder else None
                going_on = resume and inside is not None and inside.exists()
                results = study.run(inside, resume=going_on, workers=workers, progress=progress)
                frames.append(results.frame)
                curves.append(results.curves)
        if changed.example is not None and not received:
            from bptt.experiments.examples import show

            outcome.example = show(changed, changed.example, lambda: bool(received))
        if frames:
            outcome.frame = pd.concat(frames, ignore_index=True)
            outcome.curves = pd.concat(curves, ignore_index=True)
        if received:
            outcome.reason = "interrupted"
            return outcome
    outcome.groups = _groups(outcome, full)
    outcome.judged = [judge(line, outcome.groups) for line in changed.lines]
    outcome.seconds = time.monotonic() - started
    return outcome


def _checked(changed: Experiment, quick: bool) -> "GradientCheck":
    from bptt.experiments.examples import check_parameters

    declared = changed.gradient_check
    assert declared is not None
    settings = changed.settings(declared.at)
    return check_parameters(settings, declared.samples, declared.entries if quick else None)


def _groups(outcome: Outcome, full: Experiment) -> "dict[str, Group]":
    """The runs of each setting."""
    from bptt.experiments.measures import Group

    frame, curves, declared = outcome.frame, outcome.curves, dict(full.places())
    groups = {}
    for place, settings in outcome.experiment.places():
        panel, _, label = place.partition("/")
        rows: Any = frame[(frame["panel"] == panel) & (frame["label"] == label)]
        # Settings that are the same share their runs, under the number of one of them.
        lines = curves[curves["run"].isin(rows["run"])].drop_duplicates(["run", "iteration"])
        lines = lines.assign(setting=rows["setting"].iloc[0])
        whole = settings.iterations >= declared[place].iterations
        groups[place] = Group(label, rows, lines, settings, whole)
    return groups
