"""A task: its data, its test, and all else that training, files and studies have to know of it.

This is the one place that says what a task is; nothing outside this folder knows any task by name.
A task makes its sequences (`Task.samples`), and says how many inputs, outputs and steps these have;
everything else has a default. See docs/tasks.md for one of one's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.arguments import flag, instance, integers, table, text, whole
from bptt.equations.outputs import OUTPUTS
from bptt.errors import BpttError, one_line, quoted_list
from bptt.floats import usual
from bptt.network.network import Network
from bptt.network.structure import Structure
from bptt.proofs.automaton import Automaton
from bptt.tasks.batches import Samples, SampleStream, Stream

# Of the default test: so many samples, the same at every call.
FRESH_SAMPLES = 1000
FRESH_SEED = 20_000_003
# How many samples are looked at when training has ended.
SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """A task's own test: so many right of so many. `what` says what was counted: pairs, sequences,
    characters written back before the first slip."""

    right: int
    total: int
    what: str

    @property
    def passed(self) -> bool:
        """Whether everything was right."""
        return self.right == self.total

    def __str__(self) -> str:
        word = "exact" if self.passed else "right"
        return f"{word} on {self.right:,} of {self.total:,} {self.what}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "passed": self.passed, "right": self.right, "total": self.total, "what": self.what
        }  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What a network gives, to be looked at: rows of plain values, the same as lines of text, and a
    sentence ('' where there is nothing to say)."""

    rows: list[dict[str, Any]]
    lines: str
    sentence: str = ""


@dataclass(frozen=True)
class Report:
    """What a task has to say of a network when training ends: plain values, for JSON, and lines."""

    values: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Watched:
    """One sequence with its answers, to be looked at step by step: x (1, T, ...), y (1, T, ...);
    title: what it is; rows: names, each with a text a step, what is read and what is to be said.
    names: of the classes; units: of scaled numbers their means and standard deviations."""

    x: NDArray[Any]
    y: NDArray[Any]
    title: str
    rows: Sequence[tuple[str, Sequence[str]]]
    names: Sequence[str] = ()
    units: tuple[Sequence[float], Sequence[float]] | None = None


class FromFile(NamedTuple):
    """An option that names a file, whose content becomes a field of the task. read: raises
    BpttError for a file that cannot be read."""

    field: str
    words: str
    read: Callable[[Any], Any]


class Command(NamedTuple):
    """A command of a task's own: `bptt NAME RUN ...`, for trained networks of this task.

    arguments: (name, words) of what has to be given, each a text. options: a settings class, whose
    fields are the flags (`bptt.options`), or None. run: called with the task, the network, the
    arguments and, if there are options, these; gives plain values, for JSON, and a text.
    """

    name: str
    words: str
    run: Callable[..., tuple[dict[str, Any], str]]
    arguments: Sequence[tuple[str, str]] = ()
    options: type[msgspec.Struct] | None = None


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task to be learnt: a value that can be compared, pickled and written down.

    Make one's own as a subclass, whose fields are the task's options:

        class Copy(bptt.Task):
            steps: int = 8
            inputs = outputs = 1

            def samples(self, rng, count):
                x = rng.integers(0, 2, (count, self.steps, 1))
                return x, x

    It must have inputs, outputs, steps (as fields, as attributes of the class, or as properties)
    and `samples`, or else `stream`. All other attributes and methods have defaults, and may be put
    in their place.

    inputs: D, how many inputs a step has; of one-hot inputs, how many different ones. outputs: O,
    how many outputs, or how many classes. steps: T, of a training sequence. one_hot: whether x are
    integers (B, T). classes: whether y are class numbers, for softmax, instead of values. readout:
    'steps', an answer at every step, or 'last'. carries_state: whether each batch starts from the
    state that the one before has ended with, unless the stream resets it.

    name: in files, by default the class's in lower case. command: what `bptt train` calls it.
    preset: the options of `bptt.train` that training starts from. proving: for each cell the
    options that are put over them where training goes on until the network is proved; they make
    networks forget what they need not remember. until_proved: whether the command line does so by
    itself, where neither cell nor optimizer nor an end is chosen. fixed: options of the network
    that this task leaves no choice of. output_name, sample_name: what an output and a sequence are
    called, in the plural. example: fields without which it cannot be made, as an example. files:
    options that name files. commands: see `Command`. lengthens: whether `longer` can be asked.
    """

    name: ClassVar[str] = "task"
    command: ClassVar[str] = ""
    one_hot: ClassVar[bool] = False
    classes: ClassVar[bool] = False
    carries_state: ClassVar[bool] = False
    lengthens: ClassVar[bool] = False
    output_name: ClassVar[str] = "outputs"
    sample_name: ClassVar[str] = "sequences"
    preset: ClassVar[Mapping[str, Any]] = {
        "cell": "gru", "hidden": 16, "reduction": "sequence", "optimizer": "adam",
        "learning_rate": 0.01, "batch": 8, "iterations": 20_000, "record_every": 100,
    }  # fmt: skip
    proving: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "elman": {"optimizer": "adamw", "weight_decay": 0.02},
        "gru": {"optimizer": "adamw", "weight_decay": 0.03, "noise": 0.5, "batch": 16},
        "lstm": {"noise": 0.3, "batch": 16},
    }  # fmt: skip
    until_proved: ClassVar[bool] = False
    fixed: ClassVar[Sequence[str]] = ()
    example: ClassVar[Mapping[str, Any]] = {}
    files: ClassVar[Mapping[str, FromFile]] = {}
    commands: ClassVar[Sequence[Command]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        if "command" not in vars(cls):
            cls.command = cls.name

    @property
    def inputs(self) -> int:
        """D: see the class."""
        raise self._missing("inputs")

    @property
    def outputs(self) -> int:
        """O: see the class."""
        raise self._missing("outputs")

    @property
    def steps(self) -> int:
        """T: see the class."""
        raise self._missing("steps")

    @property
    def readout(self) -> str:
        """'steps', an answer at every step, or 'last'."""
        return "steps"

    def samples(
        self, rng: np.random.Generator, count: int
    ) -> Samples | tuple[NDArray[Any], NDArray[Any]]:
        """`count` sequences with their answers, made from the random numbers of `rng` alone."""
        raise self._missing("samples")

    def _missing(self, name: str) -> BpttError:
        return BpttError(f"the task '{self.name}' has no '{name}': its class must say it")

    # Its data and its description.

    def stream(self, seed: int, batch: int, dtype: str = "float32") -> Stream:
        """The task's data from the beginning, in batches of `batch` samples.

        The same seed and batch give the same data; values have the type `dtype`.
        Raises BpttError for a batch that is not possible.
        """
        return SampleStream(self, seed, batch, dtype)

    def config(self, data: bool = True) -> dict[str, Any]:
        """The task as plain values, from which it can be made again: its name, as 'task', and its
        fields. data: where False, without what it learns from, if it can do without."""
        return {"task": self.name, **msgspec.to_builtins(self)}

    @classmethod
    def from_config(cls, fields: Mapping[str, Any]) -> Self:
        """The task of these fields. Raises BpttError if they are not a task's."""
        try:
            return msgspec.convert(dict(table("fields", fields)), cls)
        except msgspec.ValidationError as error:
            raise one_line(error, f"task '{cls.name}'") from None

    # What it asks of a network.

    @property
    def output(self) -> str:
        """The output function that suits the task."""
        return "softmax" if self.classes else "sigmoid"

    def fit(self, structure: Structure) -> None:
        """Raises BpttError, one line, unless networks of this structure can learn the task."""
        instance("structure", structure, Structure, "a bptt.Structure")
        for name in ("inputs", "outputs", "readout"):
            wanted, found = getattr(self, name), getattr(structure, name)
            if wanted != found:
                raise BpttError(
                    f"{name} {found!r} does not fit the task '{self.name}': {wanted!r} is needed"
                )
        if structure.head.classes != self.classes:
            answers = "classes" if self.classes else "values"
            suited = [name for name, _ in OUTPUTS if (name == "softmax") == self.classes]
            raise BpttError(
                f"output '{structure.output}' does not suit the task '{self.name}', whose answers "
                f"are {answers}: choose one of {quoted_list(dict.fromkeys(suited))}"
            )
        if self.carries_state or type(self).automaton is not Task.automaton:
            structure.refuse_both_directions(
                f"the task '{self.name}' asks for answers from what came before"
            )
        if not structure.tied and structure.steps != self.steps:
            raise BpttError(
                f"untied weights for {structure.steps} steps do not fit the task '{self.name}': "
                f"its sequences have {self.steps}"
            )

    def check_network(self, network: Any) -> None:
        """Raises BpttError, one line, unless it is a network that can have learnt the task."""
        self.fit(instance("network", network, Network, "a bptt.Network").structure)

    # Its own test, and what it shows.

    def test(self, network: Network, give_up: bool = False) -> Verdict:
        """Whether a network has learnt the task; here by fresh sequences, the same at every call.

        give_up: end with the first mistake, where that saves time; only `passed` then means
        something. Raises BpttError for a network that does not fit.
        """
        self.check_network(network)
        flag("give_up", give_up)
        fresh = self.drawn(np.random.default_rng(FRESH_SEED), FRESH_SAMPLES)
        right = _mistakes(network, fresh) == 0
        return Verdict(int(right.sum()), right.size, f"fresh {self.sample_name}")

    @property
    def test_steps(self) -> int:
        """How many steps of how many samples `test` walks for a network that passes."""
        return FRESH_SAMPLES * self.steps

    def drawn(self, rng: np.random.Generator, count: int) -> Samples:
        """Some fresh samples, from a stream where the task has no `samples` of its own."""
        instance("rng", rng, np.random.Generator, "a NumPy generator")
        count = whole("count", count, 1)
        if type(self).samples is not Task.samples:
            return Samples(*self.samples(rng, count))
        batch = self.stream(int(rng.integers(1 << 62)), count).draw(1)
        lengths = None if batch.lengths is None else batch.lengths[0]
        return Samples(batch.x[0], batch.y[0], lengths)

    def longer(self, network: Network, multiples: Sequence[int]) -> list[float]:
        """The share of sequences without a mistake among those of so many times the trained length.
        Only asked where `lengthens`."""
        raise self._missing("longer")

    def automaton(self) -> Automaton | None:
        """What the task asks at every length, if a finite memory is enough for it: then networks
        can be proved (`bptt.prove`). None if it is not."""
        return None

    def told(self, network: Network, word: list[int]) -> str:
        """A word of the automaton's symbols on which the network is wrong, in the task's terms; ''
        to have it told symbol by symbol."""
        self.check_network(network)
        integers("word", word)
        return ""

    def describe(self) -> str:
        """The task in a few words."""
        fields = ", ".join(f"{name} {value!r:.40}" for name, value in self._fields().items())
        return f"{self.name} ({fields})" if fields else self.name

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def watch(self, words: str = "") -> Watched:
        """One sequence to be looked at. words: which, as a user types it; here the number of a
        fresh one. Raises BpttError for words that name none."""
        number = text("words", words).strip() or "0"
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise BpttError(f"input '{words:.40}' must be a number, which draws a sequence")
        drawn = self.drawn(np.random.default_rng([int(number), 3]), 1)
        x, y = np.asarray(drawn.x), np.asarray(drawn.y)
        rows = [*_texts("reads", x[0], self.one_hot), *_texts("answer", y[0], self.classes)]
        if drawn.lengths is not None:
            length = int(drawn.lengths[0])
            x, y = x[:, :length], y[:, :length] if self.readout == "steps" else y
            rows = [(name, texts[:length]) for name, texts in rows]
        return Watched(x, y, f"{self.sample_name}, number {int(number)}", rows)

    def show(self, network: Network, seed: int = 0) -> Shown:
        """What a network gives, to be looked at; here for a few fresh sequences."""
        self.check_network(network)
        drawn = self.drawn(np.random.default_rng([whole("seed", seed, 0), 2]), SHOWN)
        wrong = _mistakes(network, drawn)
        rows = [
            {"right": count == 0, f"wrong_{self.output_name}": count} for count in wrong.tolist()
        ]
        right = int((wrong == 0).sum())
        sentence = f"{right} of {len(rows)} fresh {self.sample_name} right"
        return Shown(rows, sentence, sentence)

    def report(self, network: Network, loss_per_step: float | None, seed: int = 0) -> Report:
        """What there is to say of a network when training ends. loss_per_step: of the last record,
        None without one."""
        return Report({}, [])


def _texts(name: str, values: NDArray[Any], numbers: bool) -> list[tuple[str, Sequence[str]]]:
    """A row of texts for each feature of a sequence (T, features), or of (T,) numbers."""
    if numbers or values.ndim < 2:  # of an answer at the end there is one, at the last step
        return [(name, [f"{value:.3g}" for value in np.atleast_1d(values)])]
    count = values.shape[1]
    names = [name] if count == 1 else [f"{name} {n}" for n in range(count)]
    return [(each, [f"{v:.3g}" for v in values[:, n]]) for n, each in enumerate(names)]


def _mistakes(network: Network, drawn: Samples) -> NDArray[np.intp]:
    """How many answers of each sample are wrong."""
    head = network.structure.head
    o, y = network.forward(drawn.x, drawn.lengths).o, np.asarray(drawn.y)
    wrong = o.argmax(axis=-1) != y if head.classes else (o > head.threshold) != (y > 0.5)
    if drawn.lengths is not None and network.structure.readout == "steps":
        alive = np.arange(wrong.shape[1]) < np.asarray(drawn.lengths)[:, None]
        wrong &= alive.reshape(*alive.shape, *(1,) * (wrong.ndim - 2))
    counted: NDArray[np.intp] = wrong.reshape(len(wrong), -1).sum(axis=1)
    return counted


@usual
def evaluate(network: Network, task: Task, give_up: bool = False) -> Verdict:
    """The task's own test of a network: of two numbers to add, every pair of up to 8 bits, else
    1,000 random sums that are the same at every call; of a text, how much the network writes back,
    started from the first character; of a task of one's own, `Task.test`.

    give_up: end with the first mistake, where that saves time; only `passed` then means something.
    Raises BpttError for a network that does not fit the task.
    """
    instance("task", task, Task, "a bptt.Task").check_network(network)
    return task.test(network, flag("give_up", give_up))
