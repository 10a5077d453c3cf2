"""Everything that determines a training run, in one value that can be written down."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bptt.equations.optimizers import Optimizer
from bptt.errors import BpttError, one_line, quoted_list
from bptt.network.engines import ENGINES
from bptt.network.structure import Structure
from bptt.tasks import Addition, Text, task_from_config


class Stop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to stop before all iterations are done; looked at after every record.

    exact: the task's own test is passed (every sum right; the whole text written back). loss: the
    mean loss since the last record is at most this. smooth_loss: the smoothed loss (0.999 of itself
    plus 0.001 of each iteration's loss, from the loss of guessing) is below this. accuracy: the
    share of samples without a wrong output since the last record is at least this; wrong: the share
    of wrong outputs is at most this. seconds: that much time has gone into training.
    """

    exact: bool = True
    loss: float | None = None
    smooth_loss: float | None = None
    accuracy: float | None = None
    wrong: float | None = None
    seconds: float | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training run: the task, the network, the optimizer, the amount of work, the seed.

    task: as `task.config()` gives it. structure: of the network. initializers, forget_bias: see
    `bptt.network.initializers.initialize`. batch: samples an iteration. iterations: at
    most.
    record_every: iterations from record to record. seed: fixes weights and data. engine: see
    `bptt.network.engines`.

    Raises BpttError for a value that is not allowed.
    """

    task: dict[str, Any]
    structure: Structure
    optimizer: Optimizer = Optimizer()
    initializers: dict[str, str] = {}
    forget_bias: float = 0.0
    batch: int = 1
    iterations: int = 20_000
    record_every: int = 1000
    stop: Stop = Stop()
    seed: int = 0
    engine: str = "compiled"

    def __post_init__(self) -> None:
        for name in ("batch", "record_every"):
            if getattr(self, name) < 1:
                raise BpttError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("iterations", "seed"):
            if getattr(self, name) < 0:
                raise BpttError(f"{name} {getattr(self, name)} must not be negative")
        if self.engine not in ENGINES:
            raise BpttError(
                f"engine '{self.engine}' is not known: choose one of {quoted_list(ENGINES)}"
            )

    def with_seed(self, seed: int) -> "Settings":
        """The same with another seed."""
        return msgspec.structs.replace(self, seed=seed)

    def make_task(self) -> Addition | Text:
        """The task itself."""
        return task_from_config(self.task)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def settings_from_dict(values: Mapping[str, Any]) -> Settings:
    """Settings from plain values. Raises BpttError naming the field that is wrong."""
    try:
        return msgspec.convert(dict(values), Settings)
    except msgspec.ValidationError as error:
        raise one_line(error, "settings") from None
