"""bptt itself: the compiled engine's training call, as `bptt train` makes it.

Many models are trained one after the other, and everything runs on one thread, until there are
kernels that do better.
"""

import numpy as np

from benchmarks.cases import Case, Problem, Weights
from benchmarks.contender import Form

LABEL = "bptt"


def missing() -> str:
    """Why it cannot run here."""
    try:
        import bptt.network  # noqa: F401
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
        from bptt.kernels.engine import CompiledEngine
        from bptt.optimizers import Optimizer
        from bptt.structure import Structure

        self.case, self.problem = case, problem
        self.structure = Structure(
            inputs=case.inputs, hidden=case.hidden, outputs=case.outputs, cell=case.cell,
            output=case.output, reduction=case.reduction, dtype=case.dtype,
            loss="squared" if case.output == "linear" else "cross_entropy",
        )  # fmt: skip
        if case.trains:
            self.optimizer = Optimizer(
                kind=case.optimizer, learning_rate=case.learning_rate, decay=case.decay,
                momentum=case.momentum, epsilon=case.epsilon,
            )  # fmt: skip
        self.engine = CompiledEngine()
        names = self.structure.layout().shapes
        self.start = [
            np.concatenate([problem.weights[name][m].ravel() for name in names])
            for m in range(case.models)
        ]
        self.lengths = np.full((problem.iterations, case.batch), case.steps)
        self.reset = np.ones(problem.iterations, np.bool_)
        self.ends = self.start

    def run(self) -> None:
        """All models, one after the other."""
        self.ends = [self._train(m) if self.case.trains else self._gradient(m)
                     for m in range(self.case.models)]  # fmt: skip

    def result(self) -> Weights:
        """Weights, or gradients, (M, ...)."""
        views = [self.structure.layout().views(end) for end in self.ends]
        return {name: np.stack([view[name] for view in views]) for name in views[0]}

    def _train(self, m: int) -> np.ndarray:
        from bptt.engines import Learner

        theta = self.start[m].copy()
        learner = Learner(theta, np.zeros_like(theta), np.zeros_like(theta), None)
        x, y = self.problem.x[m], self.problem.y[m]
        self.engine.train(self.structure, self.optimizer, learner, x, y, self.lengths, self.reset)
        return theta

    def _gradient(self, m: int) -> np.ndarray:
        x, y = self.problem.x[m, 0], self.problem.y[m, 0]
        return self.engine.gradient(self.structure, self.start[m], x, y, self.lengths[0], None).flat
