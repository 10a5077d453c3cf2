"""The practical floor of the online case: C, every size fixed at compile time (elman_floor.c)."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights
from benchmarks.contender import Form

LABEL = "C, sizes fixed"
SOURCE = Path(__file__).with_name("elman_floor.c")
COMPILERS = ("gcc", "clang", "cc")


def compiler() -> str | None:
    """The path of a C compiler."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def missing() -> str:
    """Why it cannot run here."""
    return "" if compiler() else "no C compiler"


def versions() -> dict[str, str]:
    """The compiler's first line about itself."""
    answer = subprocess.run([str(compiler()), "--version"], capture_output=True, text=True)
    return {"c": answer.stdout.splitlines()[0]}


def covers(case: Case) -> bool:
    """One Elman network with one output, online, float32, one thread."""
    kind = (case.cell, case.optimizer, case.output, case.dtype)
    sizes = (case.models, case.batch, case.outputs, case.threads)
    return kind == ("elman", "sgd", "sigmoid", "float32") and sizes == (1, 1, 1, 1)


def forms(case: Case, threads: int) -> list[Form]:
    """Vector lengths and numbers of independent sums."""
    lengths = [length for length in (4, 8, 16) if length < 2 * case.hidden][-2:]
    return [
        {"lanes": lanes, "chains": chains}
        for lanes in reversed(lengths)
        for chains in (4, 2)
        if chains * -(-case.hidden // lanes) <= 16  # more sums than registers
    ]


@cache
def _library(case: Case, lanes: int, chains: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        sizes = {"H": case.hidden, "T": case.steps, "D": case.inputs, "VL": lanes, "CHAINS": chains}
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi"]
        subprocess.run(
            [
                str(compiler()),
                *flags,
                *(f"-D{name}={value}" for name, value in sizes.items()),
                *("-shared", "-fPIC", "-o", str(target), str(SOURCE)),
            ],
            check=True,
        )
        library = ctypes.CDLL(str(target))
    library.train.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 7, ctypes.c_float]
    library.train.restype = None
    return library


def prepare(case: Case, problem: Problem, threads: int, form: Form) -> "Floor":
    """The work, compiled."""
    return Floor(case, problem, _library(case, form["lanes"], form["chains"]))


class Floor:
    """The compiled loop on the problem's data."""

    def __init__(self, case: Case, problem: Problem, library: Any) -> None:
        self.case = case
        self.problem = problem
        self.library = library
        self.weights: Weights = {}

    def run(self) -> None:
        """All iterations."""
        self.weights = {name: value[0].copy() for name, value in self.problem.weights.items()}
        arrays: list[Array] = [self.problem.x, self.problem.y]
        arrays += [self.weights[name] for name in ("U", "W", "b", "V", "c")]
        assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in arrays)
        addresses = [array.ctypes.data for array in arrays]
        self.library.train(self.problem.iterations, *addresses, self.case.learning_rate)

    def result(self) -> Weights:
        """Weights, (1, ...)."""
        return {name: value[None] for name, value in self.weights.items()}
