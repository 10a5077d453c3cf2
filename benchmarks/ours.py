"""bptt itself, called as its users' commands call it.

One model is trained by the engine's `train`, as `bptt train` does it, many by `train_many`, as
studies do; gradients alone are those of `Network.gradient`. Which kernel serves which shapes is the
engine's choice, and so is how many of the threads it is given it uses.
"""

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights
from benchmarks.contender import Form

LABEL = "bptt"
LOSS = {"linear": "squared", "sigmoid": "cross_entropy", "softmax": "cross_entropy"}


def missing() -> str:
    """Why it cannot run here."""
    try:
        import bptt.network.network  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def versions() -> dict[str, str]:
    """Its version, and its compiler's."""
    import numba

    import bptt

    return {"bptt": bptt.__version__, "numba": numba.__version__}


def covers(case: Case) -> bool:
    """All cases."""
    return True


def forms(case: Case, threads: int) -> list[Form]:
    """There is one way."""
    return [{}]


def prepare(case: Case, problem: Problem, threads: int, form: Form) -> "Ours":
    """The work, ready to be run."""
    return Ours(case, problem)


class Ours:
    """Networks of the case's structure, and the problem's data."""

    def __init__(self, case: Case, problem: Problem) -> None:
        from bptt.network.network import Network
        from bptt.network.structure import Structure

        self.case, self.problem = case, problem
        self.structure = Structure(
            inputs=case.inputs, hidden=case.hidden, outputs=case.outputs, cell=case.cell,
            output=case.output, reduction=case.reduction, dtype=case.dtype,
            loss=LOSS[case.output],
        )  # fmt: skip
        # All models' parameters, flat, one model a row; and what the last run left, likewise.
        self.theta: Array = np.empty((case.models, self.structure.layout().size), case.dtype)
        self.ends = self.theta
        self.start()
        self.network = Network(self.structure, theta=self.theta[0])
        if case.trains:
            self.prepare_training()

    def start(self) -> None:
        """Back to the initial weights."""
        place = 0
        for name in self.structure.layout().shapes:
            values = self.problem.weights[name].reshape(self.case.models, -1)
            self.theta[:, place : place + values.shape[1]] = values
            place += values.shape[1]

    def prepare_training(self) -> None:
        """Models to be trained, their optimizer, and what goes with the data."""
        from bptt.equations.optimizers import Optimizer
        from bptt.network.engines import Learner

        case = self.case
        self.optimizer = Optimizer(
            kind=case.optimizer, learning_rate=case.learning_rate, decay=case.decay,
            momentum=case.momentum, epsilon=case.epsilon,
        )  # fmt: skip
        self.memory = np.zeros((2, *self.theta.shape), case.dtype)  # of the optimizer
        self.learners = [
            Learner(self.theta[m], self.memory[0, m], self.memory[1, m], None)
            for m in range(case.models)
        ]
        self.optimizers = [self.optimizer] * case.models

    def run(self) -> None:
        """All iterations of all models, or the gradients of the one batch."""
        if self.case.trains:
            self.train()
        else:
            x, y = self.problem.x[0, 0], self.problem.y[0, 0]
            self.ends = self.network.gradient(x, y).flat[None]

    def train(self) -> None:
        """All iterations of all models."""
        from bptt.network.batch import Batch

        self.start()
        self.memory[:] = 0
        for learner in self.learners:
            learner.iteration = 0
        engine, (x, y) = self.network.engine, (self.problem.x, self.problem.y)
        if self.case.models == 1:
            batch = Batch(self.structure, x[0], y[0], axes=1)
            engine.train(self.optimizer, self.learners[0], batch)
        else:
            batch = Batch(self.structure, x, y, axes=2)
            engine.train_many(self.optimizers, self.learners, batch)

    def result(self) -> Weights:
        """Weights, or gradients, (M, ...)."""
        views = [self.structure.layout().views(end) for end in self.ends]
        return {name: np.stack([view[name] for view in views]) for name in views[0]}
