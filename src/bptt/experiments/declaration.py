"""What an experiment declares: its settings, what was published, how each line is judged, what to
draw. An experiment is a TOML file; copy one of those beside this module to make another.

    title, question, network      words
    task, [base]                  as in a `bptt.Study`: the task, and the options all panels share
    [[panels]]                    a question put to one or more settings: panels of studies
    [[lines]]                     what was published, and the checks that judge it
    [[figures]]                   what to draw
    [[faults]]                    what the report got wrong, and what that changes
    [gradient_check], [example]   optional: a network's gradients; one run to look at
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bptt.arguments import shown
from bptt.errors import BpttError, one_line, quoted_list
from bptt.studies.declaration import Panel as StudyPanel
from bptt.studies.study import Study
from bptt.tasks import kind_of
from bptt.tasks.task import Task
from bptt.training.settings import Settings

MEASURES = (
    "share", "mean", "iterations", "spread", "earliest", "share difference",
    "iterations difference",
)  # fmt: skip
KINDS = ("runs", "multiples", "solved")
SCALES = ("linear", "log")


class Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts: an unknown field is an error."""


class Quick(Declared, frozen=True):
    """What `--quick` changes in a panel. With fewer iterations its lines are not judged."""

    seeds: int = 2
    iterations: int | None = None


class Panel(Declared, frozen=True):
    """Settings that answer one question together; a panel of a `bptt.Study`.

    base, grid, settings, solved, seeds, stop_when_solved, lengths: as there; every one of
    `settings` has a 'name'. Without settings and grid the base is the one setting.
    """

    name: str
    question: str
    base: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    settings: list[dict[str, Any]] = []
    solved: str | dict[str, float] = "exact"
    seeds: int = 100
    stop_when_solved: bool = True
    lengths: list[int] = []
    quick: Quick = Quick()


class Check(Declared, frozen=True):
    """One number that is measured, and where it has to lie.

    measure: one of MEASURES; of: what of a run (`bptt.experiments.measures.VALUES`); below: for a
    share of a number, the limit. at, than: 'panel/setting'; `than` is the second setting of a
    difference. at_least, at_most: the claim.
    by: 'interval' (confirmed only if the whole 95 % interval lies in the claim, refuted only if
    none of it does) or 'value' (the measured value decides).
    """

    measure: str
    at: str
    of: str = "solved"
    below: float | None = None
    than: str = ""
    at_least: float | None = None
    at_most: float | None = None
    by: str = "interval"

    def __post_init__(self) -> None:
        _allowed("measure", self.measure, MEASURES)
        _allowed("by", self.by, ("interval", "value"))
        if self.at_least is None and self.at_most is None:
            raise BpttError(f"check of '{self.at}': give at_least, at_most or both")
        if self.measure.endswith("difference") != bool(self.than):
            raise BpttError(f"check of '{self.at}': a difference needs 'than', and only it")


class Line(Declared, frozen=True):
    """A published statement beside what is measured. where: in which part of the report."""

    what: str
    published: str
    where: str
    checks: list[Check]
    note: str = ""


class Reference(Declared, frozen=True):
    """A line at `low`, or a band from `low` to `high`, across a figure."""

    label: str
    low: float
    high: float | None = None


class Curve(Declared, frozen=True):
    """What is drawn against iteration: a value of `bptt.experiments.drawing.CURVES`."""

    value: str
    label: str
    scale: str = "linear"
    references: list[Reference] = []

    def __post_init__(self) -> None:
        _allowed("scale", self.scale, SCALES)


class Drawing(Declared, frozen=True):
    """A figure. kind 'runs': each run a line, a setting a column of axes; 'multiples': median and
    quartiles, with axes for every setting, a row a panel; 'solved': share of runs that solved the
    task, a panel a picture. at: panels ('name') or settings ('panel/setting'), all of them by
    default. seeds: how many runs 'runs' shows; of: what colours
    them, a value of WORDS in `bptt.experiments.measures`. iteration: what one is called."""

    name: str
    caption: str
    kind: str
    curves: list[Curve] = []
    at: list[str] = []
    seeds: int | None = None
    iteration: str = "iteration"
    of: str = "solved"

    def __post_init__(self) -> None:
        _allowed("kind", self.kind, KINDS)
        if bool(self.curves) == (self.kind == "solved"):
            raise BpttError(f"figure '{self.name}': 'curves' are for every kind but 'solved'")


class Fault(Declared, frozen=True):
    """What the report got wrong, what is done here, and what it changes in the result."""

    fault: str
    mended: str


class GradientCheck(Declared, frozen=True):
    """Every parameter of a setting's network against central differences before training.
    samples: in the batch; entries: how many of each parameter with `--quick`, else all. published:
    what the report's own check gave."""

    at: str
    published: str
    samples: int = 1
    entries: int = 10


class Example(Declared, frozen=True):
    """One run of a setting (with the given seed) to look at: what the task shows of its network
    after training, or, with `every`, every so many iterations."""

    at: str
    seed: int = 0
    every: int | None = None


class Experiment(Declared, frozen=True):
    """A declared experiment, validated as a whole: every setting makes a training run.

    task: a built-in task's name; base: options of `bptt.train` and of the task, as in `bptt.Study`;
    what a task cannot do without is its `example`. recommended: in words, what to change.
    """

    name: str
    title: str
    question: str
    network: str
    task: str
    panels: list[Panel]
    lines: list[Line] = []
    figures: list[Drawing] = []
    base: dict[str, Any] = {}
    faults: list[Fault] = []
    gradient_check: GradientCheck | None = None
    example: Example | None = None
    recommended: str = ""

    def __post_init__(self) -> None:
        names = [panel.name for panel in self.panels]
        if not names or len(set(names)) < len(names) or any("/" in name for name in names):
            raise BpttError(f"panels {quoted_list(names)} must have names, each once, without '/'")
        msgspec.structs.force_setattr(self, "base", {**self.kind.example, **self.base})
        places = [place for place, _ in self.places()]
        if len(set(places)) < len(places):
            raise BpttError(f"settings {quoted_list(places)} must have names, each once in a panel")
        for place in self._named():
            if place not in places:
                raise BpttError(f"'{place}' is not a setting: choose one of {quoted_list(places)}")
        for drawing in self.figures:
            for place in drawing.at:
                if place not in names and place not in places:
                    raise BpttError(
                        f"figure '{drawing.name}': '{place}' is not a panel: "
                        f"choose one of {quoted_list(names)}, or a setting"
                    )

    @property
    def kind(self) -> type[Task]:
        """The class of the task."""
        return kind_of(self.task)

    def _named(self) -> Iterator[str]:
        """Every setting that a part of the declaration names."""
        for check in (check for line in self.lines for check in line.checks):
            yield check.at
            if check.than:
                yield check.than
        for part in (self.gradient_check, self.example):
            if part is not None:
                yield part.at

    def studies(self) -> list[Study]:
        """The panels as studies: one for all panels of equal seeds, lengths and stop rule."""
        groups: dict[Any, list[Panel]] = {}
        for panel in self.panels:
            key = (panel.seeds, panel.stop_when_solved, tuple(panel.lengths))
            groups.setdefault(key, []).append(panel)
        return [
            Study(
                task=self.task,
                name=self.name,
                base=self.base,
                panels=[
                    StudyPanel(
                        name=p.name, base=p.base, grid=p.grid, settings=p.settings, solved=p.solved
                    )
                    for p in panels
                ],
                seeds=seeds,
                stop_when_solved=stop,
                lengths=list(lengths),
                curves=True,
            )
            for (seeds, stop, lengths), panels in groups.items()
        ]

    def places(self) -> list[tuple[str, Settings]]:
        """All settings, as 'panel/setting', in the declared order, with seed 0."""
        found = {
            panel.name: [(f"{panel.name}/{each.label}", each.settings) for each in settings]
            for study in self.studies()
            for panel, settings in _by_panel(study)
        }
        return [place for panel in self.panels for place in found[panel.name]]

    def settings(self, place: str, seed: int = 0) -> Settings:
        """One run of the setting at 'panel/setting'."""
        return dict(self.places())[place].with_seed(seed)

    def selected(self, drawing: Drawing) -> list[tuple[str, list[str]]]:
        """What a figure shows: panels with their settings' places, in the declared order."""
        places, at = [place for place, _ in self.places()], set(drawing.at)
        wanted = [
            (
                panel.name,
                [
                    place
                    for place in places
                    if place.startswith(f"{panel.name}/") and (not at or {panel.name, place} & at)
                ],
            )
            for panel in self.panels
        ]
        return [(panel, places) for panel, places in wanted if places]

    def changed(
        self, seeds: int | None = None, quick: bool = False, file: str | Path | None = None
    ) -> "Experiment":
        """The same with another number of seeds, a taste of it, or another file to learn."""
        panels = self.panels
        if quick:
            panels = [_taste(self, panel) for panel in panels]
        if seeds is not None:
            panels = [msgspec.structs.replace(panel, seeds=seeds) for panel in panels]
        base = self.base
        if file is not None:
            if not self.kind.files:
                raise BpttError(f"experiment '{self.name}' learns no file: leave out --file")
            from_file = next(iter(self.kind.files.values()))
            base = {**base, from_file.field: from_file.read(file)}
        return msgspec.structs.replace(self, panels=panels, base=base)


def _by_panel(study: Study) -> Iterator[tuple[StudyPanel, list[Any]]]:
    settings = study.expanded
    for panel in study.panels:
        yield panel, [each for each in settings if each.panel == panel.name]


def _taste(experiment: Experiment, panel: Panel) -> Panel:
    """A panel with fewer seeds and, where it says so, fewer iterations."""
    quick, most = panel.quick, panel.quick.iterations
    if most is None:
        return msgspec.structs.replace(panel, seeds=quick.seeds)

    def capped(options: dict[str, Any]) -> dict[str, Any]:
        if "iterations" not in options:
            return options
        return {**options, "iterations": min(options["iterations"], most)}

    return msgspec.structs.replace(
        panel,
        seeds=quick.seeds,
        base=capped({"iterations": most, **experiment.base, **panel.base} | panel.base)
        if "iterations" in panel.base
        else {**panel.base, "iterations": most},
        settings=[capped(each) for each in panel.settings],
    )


def _allowed(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BpttError(f"{name} '{value}' is not known: choose one of {quoted_list(allowed)}")


def declared(path: Path) -> Experiment:
    """The experiment that a TOML file declares; its name is the file's.

    Raises BpttError, one line, for a file that cannot be read or a field that is wrong.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BpttError(f"'{path}' is not TOML: {' '.join(str(error).split())}") from None
    try:
        return msgspec.convert({"name": path.stem, **values}, Experiment)
    except msgspec.ValidationError as error:
        raise one_line(error, f"'{path.name}'") from None
    except BpttError as error:
        raise BpttError(f"'{path.name}': {error}") from None


FOLDER = Path(__file__).parent
NAMES = (
    "signed-adder", "online-adder", "minibatch-adder", "hyperparameter-study", "text-lstm",
)  # fmt: skip


def find(name: str | Path) -> Experiment:
    """A published experiment by its name, or one's own by the path of its TOML file."""
    if str(name) in NAMES:
        return declared(FOLDER / f"{name}.toml")
    if str(name).endswith(".toml"):
        return declared(Path(name))
    raise BpttError(
        f"experiment {shown(name)} is not known: choose one of {quoted_list(NAMES)}, "
        "or give a .toml file of your own"
    )
