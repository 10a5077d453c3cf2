"""The bug hunt: a backward pass with one mistake, to be found by its symptoms or in its text."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bptt.arguments import instance, numbers, one_of, shown, table, text, whole
from bptt.errors import BpttError, BpttTypeError, not_there
from bptt.mistakes.programs import PROGRAMS, Array, Arrays, Program
from bptt.mistakes.table import MISTAKES, known, program, source
from bptt.network.gradient_check import GradientCheck, check_gradients, check_network
from bptt.network.network import Network
from bptt.network.recurrence import Trace as Walk
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure
from bptt.tasks import DEFAULT, kind_of
from bptt.tasks.task import Task
from bptt.training.options import settings_for
from bptt.training.training import Training

# Two gradients of one mistake differ by rounding only.
ROUNDING = 1e-9
# The network that is hunted in: odd, distinct sizes.
SAMPLES, STEPS, INPUTS, HIDDEN, OUTPUTS = 3, 7, 2, 5, 1


class PlantedEngine(ReferenceEngine):
    """The reference, whose way back is a student's program (`bptt.mistakes.programs`): for one
    layer with biases and tied weights, an answer at every step, sequences of equal length."""

    def __init__(self, backward: Program) -> None:
        self.way_back = backward

    def _backward(
        self, structure: Structure, theta: Array, trace: Walk, do: Array, own_state: bool
    ) -> tuple[Array, Array | None, Array]:
        check_fits(structure)
        if not trace.alive.all():
            raise BpttError("a planted backward pass needs sequences of equal length")
        layout, steps = structure.layout(), trace.layers[0]
        x = np.eye(structure.inputs)[steps.x] if steps.x.ndim == 2 else steps.x
        states, gates = (
            tuple(np.array(each) for each in zip(*values, strict=True))
            for values in (steps.states, steps.gates)
        )
        d = self.way_back(layout.views(theta), x.astype(do.dtype), states, gates, do)
        names = [f"{state}0" for state in structure.equations.states]
        initial = np.array([[d[name] for name in names]])  # (1, S, B, H)
        for name in names:
            d[name] = d[name].sum(axis=0) * own_state
        flat = np.concatenate([d[name].ravel() for name in layout.shapes])
        return flat, None if steps.x.ndim == 2 else d["x"], initial


def check_fits(structure: Structure) -> None:
    """Raises BpttError for a network that the programs are not written for."""
    structure.refuse_both_directions("mistakes are planted in one direction")
    plain = (structure.layers, structure.tied, structure.readout, structure.bias)
    if plain != (1, True, "steps", True) or structure.activation != "tanh":
        raise BpttError(
            "mistakes can be planted in one layer with tanh, biases and tied weights, and an "
            "answer at every step"
        )
    one_of("cell", structure.cell, PROGRAMS)


def _same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether two gradients are the same but for rounding, parameter by parameter."""
    for name, values in one.items():
        size = max(float(np.abs(values).max()), float(np.abs(other[name]).max()))
        if not np.abs(values - other[name]).max() <= ROUNDING * size:
            return False
    return True


def named_mistakes(
    network: Network, x: Any, y: Any, gradients: Mapping[str, Array]
) -> list[str]:  # fmt: skip
    """Which of the known mistakes give exactly these gradients of U, W, b, V and c; none for the
    right ones, and for a mistake that is not known.

    network: of float64, one layer. x, y: as of `Network.gradient`. Raises BpttError for a network
    that the mistakes are not written for.
    """
    s = instance("network", network, Network, "a bptt.Network").structure
    check_fits(s)
    if s.dtype != "float64":
        raise BpttError("mistakes are told apart in float64: make the network with dtype='float64'")
    missing = [name for name in "UWbVc" if name not in table("gradients", gradients)]
    if missing:
        raise BpttError(f"there is no gradient of '{missing[0]}': give those of U, W, b, V and c")
    claimed = {name: numbers(f"gradient of '{name}'", gradients[name]) for name in "UWbVc"}
    for name, values in network.parameters.items():
        if name in claimed and claimed[name].shape != values.shape:
            raise BpttError(
                f"gradient of '{name}' has shape {claimed[name].shape}: {values.shape} is needed"
            )
    found = []
    for name in known(s.cell):
        engine = PlantedEngine(program(s.cell, name))
        planted = Network(s, theta=network.theta, engine=engine).gradient(x, y).parameters
        if _same(claimed, planted):
            found.append(name)
    return found


@dataclass(frozen=True)
class Answer:
    """What an answer is worth: `right` says it part by part; true where all parts are right."""

    right: Mapping[str, bool]

    @property
    def points(self) -> int:
        """How many parts are right."""
        return sum(self.right.values())

    def __bool__(self) -> bool:
        return bool(self.right) and all(self.right.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {'right' if ok else 'wrong'}" for name, ok in self.right.items())
        return f"{self.points} of {len(self.right)}: {parts}"


class BugHunt:
    """A small network whose backward pass has one mistake; `bug_hunt` makes it.

    Attributes: `cell`; `network`, of float64, whose gradients come from that backward pass; `x`,
    `y`, a batch for it; `source`, the backward pass to be read and repaired; `choices`, the names
    of the mistakes that it may be. `solution` has the mistake itself.
    """

    def __init__(self, cell: str, name: str | None, seed: int) -> None:
        self.cell, self._name = cell, name
        self.source, self.choices = source(cell, name), known(cell)
        self.backward = program(cell, name)
        rng = np.random.default_rng([seed, 20])
        self.x = rng.standard_normal((SAMPLES, STEPS, INPUTS))
        self.y = rng.integers(0, 2, (SAMPLES, STEPS, OUTPUTS)).astype(np.float64)
        # Larger weights than for training, and biases, so that no part of an equation is hidden.
        self.network = Network(
            inputs=INPUTS, outputs=OUTPUTS, hidden=HIDDEN, cell=cell, dtype="float64", seed=rng,
            initializers={"U": "normal(0.7)", "W": "normal(0.7)", "b": "normal(0.5)"},
            engine=PlantedEngine(self.backward),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"BugHunt({self.cell}, one of {len(self.choices)} mistakes)"

    def gradients(self) -> Arrays:
        """What the backward pass claims: by the weights, and by x."""
        found = self.network.gradient(self.x, self.y, inputs=True)
        assert found.x is not None
        return {**found.parameters, "x": found.x}

    def check(
        self, repaired: Program | Mapping[str, Array] | None = None, **options: Any
    ) -> GradientCheck:
        """The claimed gradient against central differences; `passed` says whether it is right.

        repaired: a backward pass of your own, with the arguments of the one in `source`, or its
        gradients by name; they are checked in its place. options: as of `bptt.check_network`.
        """
        if repaired is None or callable(repaired):
            engine = PlantedEngine(repaired or self.backward)
            network = Network(self.network.structure, theta=self.network.theta, engine=engine)
            return check_network(network, self.x, self.y, **options)
        if not isinstance(repaired, Mapping):
            raise BpttTypeError(f"repaired {shown(repaired)} must be a function or gradients")
        probe = Network(
            self.network.structure, theta=self.network.theta.copy(), engine="reference"
        )  # fmt: skip

        def loss(values: Mapping[str, Array]) -> float:
            for name, view in probe.parameters.items():
                view[...] = values[name]
            return probe.loss(self.x, self.y)

        claimed = {name: repaired[name] for name in repaired if name in self.network.parameters}
        return check_gradients(loss, self.network.parameters, claimed, **options)

    def named(self) -> list[str]:
        """Which known mistakes give exactly the claimed gradient: the last resort."""
        return named_mistakes(self.network, self.x, self.y, self.gradients())

    @cached_property
    def _checked(self) -> GradientCheck:
        return self.check()

    def answer(
        self, name: str | None = None, *, equation: int | None = None,
        parameter: str | None = None, step: int | None = None,
    ) -> Answer:  # fmt: skip
        """Grade an answer, as `assert hunt.answer("tanh twice", equation=5)`; what is not given is
        not graded.

        name: one of `choices`. equation: the number of the equation that is wrong. parameter: one
        whose gradient is wrong. step: the last step, from 0, at which the derivative by x is wrong;
        -1 if it is right at every step.
        """
        right: dict[str, bool] = {}
        if name is not None:
            if name not in self.choices:
                raise not_there("mistake", name, self.choices)
            right["name"] = name == self._name
        if equation is not None:
            wrong = None if self._name is None else self.solution.changes[self.cell].equation
            right["equation"] = whole("equation", equation, 1) == wrong
        if parameter is not None:
            names = list(self.network.parameters)
            if text("parameter", parameter) not in names:
                raise not_there("parameter", parameter, names)
            failed = [each.name for each in self._checked.parameters if each.failed]
            right["parameter"] = parameter in failed
        if step is not None:
            first = self._checked.first_wrong_step
            right["step"] = whole("step", step, -1) == (-1 if first is None else first)
        if not right:
            raise BpttError("nothing was answered: give name, equation, parameter or step")
        return Answer(right)

    @property
    def solution(self) -> Any:
        """The mistake: its name, words and where it was seen. None if there is none."""
        return None if self._name is None else MISTAKES[self._name]

    def trainings(
        self, iterations: int = 400, seed: int = 0, stop: Callable[[], bool] = lambda: False
    ) -> dict[str, list[float]]:
        """What the mistake does to training: the loss per step of every 20 iterations, with the
        'planted' backward pass and the 'right' one, from the same weights on the same data."""
        return {
            label: train_with(program(self.cell, name), self.cell, iterations, seed, stop)
            for label, name in (("planted", self._name), ("right", None))
        }


def train_with(
    backward: Program, cell: str, iterations: int, seed: int,
    stop: Callable[[], bool] = lambda: False, task: Task | None = None,
) -> list[float]:  # fmt: skip
    """The loss per step, every 20 iterations, of a training with that backward pass."""
    made = kind_of(DEFAULT)() if task is None else task
    settings = settings_for(
        made,
        {"cell": cell, "iterations": whole("iterations", iterations, 1), "record_every": 20,
         "seed": seed, "exact": False, "engine": "reference"},
    )  # fmt: skip
    training = Training(settings, PlantedEngine(backward))
    return [record.loss_per_step for record in training.records(stop)]


def bug_hunt(
    seed: int | None = None, *, name: str | None = None, cell: str | None = None, word: str = ""
) -> BugHunt:
    """A backward pass through time with one mistake, planted by name or drawn by a seed.

    seed: a student's number; the same seed and word give the same mistake. word: a course's own,
    so that a seed alone tells nothing. cell: 'elman', 'lstm' or 'gru', else drawn too. name: see
    `BugHunt.choices`, or 'none' for the right backward pass.

    >>> hunt = bug_hunt(name="not transposed")
    >>> print(hunt.check().passed, hunt.check().first_wrong_step)
    False 5
    >>> print(hunt.answer("not transposed", parameter="V"))
    1 of 2: name right, parameter wrong

    Raises BpttError if neither seed nor name is given, and for what is not known.
    """
    if seed is None and name is None:
        raise BpttError("give a seed, which draws a mistake, or a name, which plants that one")
    number = 0 if seed is None else whole("seed", seed, 0)
    digest = hashlib.sha256(f"{text('word', word)}/{number}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, "<u4"))
    name = None if name is None else text("name", name)
    right = name == "none"
    if name is not None and not right and name not in MISTAKES:
        raise not_there("mistake", name, [*MISTAKES, "none"])
    if cell is None:
        fits = [each for each in PROGRAMS if name is None or right or name in known(each)]
        cell = str(rng.choice(fits))
    elif name is None or right:
        one_of("cell", cell, PROGRAMS)
    elif name not in known(cell):
        raise BpttError(f"'{name}' cannot be planted in cell {shown(cell)}: leave out the cell")
    if name is None:
        name = str(rng.choice(known(cell)))
    return BugHunt(cell, None if right else name, number)
