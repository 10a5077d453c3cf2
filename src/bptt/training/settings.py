"""Everything that determines a training run, in one value that can be written down."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from bptt.arguments import check_types, shown, whole
from bptt.equations.optimizers import Optimizer
from bptt.equations.own import as_text
from bptt.errors import BpttError, BpttTypeError, one_line, quoted_list
from bptt.network.engines import ENGINES
from bptt.network.structure import Structure
from bptt.options import NOT_AN_OPTION, Option
from bptt.proofs.prove import check_provable
from bptt.tasks import BUILT_IN, kind_of, task_from_config
from bptt.tasks.task import Task

# Samples and iterations at most: what a year could not do.
MOST = 10**12

if TYPE_CHECKING:
    Held = Task
else:
    Held = Any  # msgspec would take no subclass of a Task


class Stop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to stop before all iterations are done; looked at after every record.

    exact: the task's own test is passed (every sum right; the whole text written back). proved: it
    is passed, and the network is proved right at every length (`bptt.prove`): looked at when the
    iterations have grown by a quarter since the last time. `exact` alone then ends nothing, and
    what suits proofs is put over the preset (`Task.proving`). loss: the mean loss since the last
    record is at most this. smooth_loss: the smoothed loss (0.999 of itself plus 0.001 of each
    iteration's loss, from the loss of guessing) is below this. accuracy: the share of samples
    without a wrong output since the last record is at least this; wrong: the share of wrong outputs
    is at most this. seconds: that much time has gone into training.
    """

    exact: Annotated[
        bool, Option("Stop once the task is solved.", flags="--stop-exact/--no-stop-exact")
    ] = True
    proved: Annotated[
        bool,
        Option("Go on until it is proved at every length.", flags="--stop-proved/--no-stop-proved"),
    ] = False
    loss: Annotated[
        float | None, Option("Stop when the mean loss is this low.", name="target_loss")
    ] = None
    smooth_loss: Annotated[float | None, Option("Stop when the smoothed loss is this low.")] = None
    accuracy: Annotated[
        float | None, Option("Stop when this share of samples has no wrong output.")
    ] = None
    wrong: Annotated[float | None, Option("Stop when only this share of outputs is wrong.")] = None
    seconds: Annotated[float | None, Option("Stop after so many seconds of training.")] = None

    def __post_init__(self) -> None:
        check_types(self)
        limits = {"loss": math.inf, "smooth_loss": math.inf, "accuracy": 1, "wrong": 1,
                  "seconds": math.inf}  # fmt: skip
        for name, most in limits.items():
            value = getattr(self, name)
            if value is not None and not (0 <= value <= most and math.isfinite(value)):
                what = "target_loss" if name == "loss" else name
                allowed = "a share, from 0 to 1" if most == 1 else "a finite number, not negative"
                raise BpttError(f"{what} {value} must be {allowed}; leave it out for no limit")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training run: the task, the network, the optimizer, the amount of work, the seed.

    task: a `bptt.Task`. structure: of the network. initializers, forget_bias: see
    `bptt.network.initializers.initialize`. batch: samples an iteration. iterations: at most.
    record_every: iterations from record to record. seed: fixes weights and data. engine: see
    `bptt.network.engines`.

    Raises BpttError for a value that is not allowed, or a network that does not fit the task.
    """

    task: Annotated[Held, NOT_AN_OPTION]
    structure: Annotated[Structure, NOT_AN_OPTION]
    optimizer: Annotated[Optimizer, NOT_AN_OPTION] = Optimizer()
    initializers: Annotated[
        dict[str, str], Option("How weights are drawn, by parameter, as a table.")
    ] = {}
    forget_bias: Annotated[float, Option("Added to the LSTM's forget-gate bias.")] = 0.0
    batch: Annotated[int, Option("Samples an iteration.")] = 1
    iterations: Annotated[int, Option("Iterations at most.")] = 20_000
    record_every: Annotated[int, Option("Iterations from record to record.")] = 1000
    stop: Annotated[Stop, NOT_AN_OPTION] = Stop()
    seed: Annotated[int, Option("Fixes weights and data.")] = 0
    engine: Annotated[str, Option("compiled, or reference for plain NumPy.")] = "compiled"

    def __post_init__(self) -> None:
        check_types(self, "task")
        check_task(self.task)
        self.task.fit(self.structure)
        if self.stop.proved:
            check_provable(self.structure, self.task)
        for name, least in (("batch", 1), ("record_every", 1), ("iterations", 0)):
            whole(name, getattr(self, name), least, MOST)
        whole("seed", self.seed, 0)
        if self.engine not in ENGINES:
            raise BpttError(
                f"engine '{self.engine}' is not known: choose one of {quoted_list(ENGINES)}"
            )

    def with_seed(self, seed: int) -> "Settings":
        """The same with another seed."""
        return msgspec.structs.replace(self, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        built = {
            name: msgspec.to_builtins(getattr(self, name), enc_hook=as_text)
            for name in self.__struct_fields__
            if name not in ("task", "structure")
        }
        return {"task": self.task.config(), "structure": self.structure.plain(), **built}


def check_task(task: Any) -> None:
    """Raises BpttError for what is no task, or takes the name of a built-in one."""
    if not isinstance(task, Task):
        what = "a class: make a task of it" if isinstance(task, type) else "no bptt.Task"
        raise BpttTypeError(f"task {shown(task)} is {what}")
    if task.name in BUILT_IN and kind_of(task.name) is not type(task):
        raise BpttError(f"the name '{task.name}' is a built-in task's: give yours another `name`")


def settings_from_dict(values: Mapping[str, Any], own: Task | type[Task] | None = None) -> Settings:
    """Settings from plain values. own: a task of one's own that they may name, or its class.

    Raises BpttError naming the field that is wrong.
    """
    given = dict(values)
    if "task" in given:
        given["task"] = task_from_config(given["task"], own)
    return settings_of(given)


def settings_of(fields: Mapping[str, Any]) -> Settings:
    """Settings whose fields are plain values but for the task. Raises BpttError as above."""
    try:
        return msgspec.convert(dict(fields), Settings)
    except msgspec.ValidationError as error:
        raise one_line(error, "settings") from None
