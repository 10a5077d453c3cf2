"""What an experiment has come to: the runs, the judged lines, and what draws the figures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bptt.experiments.declaration import Experiment

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from bptt.experiments.examples import Looked
    from bptt.experiments.measures import Group, Measured
    from bptt.network.gradient_check import GradientCheck


@dataclass
class Measurements:
    """The data of an experiment's `Outcome` (in `bptt.experiments.running`): fields as there."""

    experiment: Experiment
    frame: "pandas.DataFrame"
    curves: "pandas.DataFrame"
    quick: bool = False
    groups: "dict[str, Group]" = field(default_factory=dict)
    judged: "list[tuple[str, list[Measured]]]" = field(default_factory=list)
    check: "GradientCheck | None" = None
    example: "Looked | None" = None
    seconds: float = 0.0
    reason: str = "done"

    def drawings(self) -> "dict[str, Callable[[float], Figure]]":
        """What makes each figure for a width in inches."""
        from bptt.experiments.drawing import figure_of

        return {
            each.name: figure_of(each, self.experiment, self.groups)
            for each in self.experiment.figures
        }
