"""One run of an experiment to look at: its gradients before training, and what it then gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bptt.experiments.declaration import Example, Experiment
from bptt.network.gradient_check import GradientCheck, check_gradients
from bptt.network.network import Network
from bptt.tasks.task import Shown
from bptt.training.settings import Settings
from bptt.training.training import Training


@dataclass(frozen=True)
class Looked:
    """What a run gives: a sentence, a table, and the same table as lines of text."""

    sentence: str
    table: pd.DataFrame
    lines: str


def check_parameters(settings: Settings, samples: int, entries: int | None) -> GradientCheck:
    """Every parameter of the network before training, in float64, against central differences.

    samples: how many sequences the loss is taken over. entries: how many randomly chosen entries
    of each parameter, None for all of them.

    The loss is the mean over steps: a sum has the same gradient but for a factor, and a difference
    of two large sums would lose to rounding what the tolerance needs.
    """
    structure = msgspec.structs.replace(settings.structure, dtype="float64", reduction="mean")
    start = Network(
        structure,
        seed=np.random.default_rng([settings.seed, 0]),
        initializers=settings.initializers,
        forget_bias=settings.forget_bias,
        # A few entries are not worth compiling for.
        engine=settings.engine if entries is None else "reference",
    )
    batch = settings.task.stream(settings.seed, samples, "float64").draw(1)
    x, y = batch.x[0], batch.y[0]
    probe = Network(structure, theta=start.theta.copy(), engine=start.engine)

    def loss(arrays: Mapping[str, NDArray[Any]]) -> float:
        for name, view in probe.parameters.items():
            view[...] = arrays[name]
        return probe.loss(x, y)

    claimed = start.gradient(x, y).parameters
    return check_gradients(loss, start.parameters, claimed, entries=entries, seed=settings.seed)


def gradient_table(check: GradientCheck) -> pd.DataFrame:
    """One row a parameter: entries compared, entries failed, the worst error."""
    return pd.DataFrame(
        [
            {"parameter": p.name, "entries": p.entries, "failed": len(p.failed), "error": p.error}
            for p in check.parameters
        ]
    )


def show(experiment: Experiment, example: Example, interrupted: Callable[[], bool]) -> Looked:
    """Train the example's run and show what it gives, or, interrupted, how far it has come."""
    settings = experiment.settings(example.at, example.seed)
    if example.every is not None:
        settings = msgspec.structs.replace(settings, record_every=example.every)
    training = Training(settings)
    seen: list[tuple[dict[str, Any], Shown]] = []
    for record in training.records(interrupted):
        if example.every is not None:
            when = {
                "iteration": record.iteration, "wrong": record.wrong,
                "smooth_loss": record.smooth_loss,
            }  # fmt: skip
            seen.append((when, training.task.show(training.network, settings.seed)))
    place = f"Seed {settings.seed}, {example.at}:"
    if example.every is None and training.reason != "interrupted":
        shown = training.task.show(training.network, settings.seed)
        return Looked(f"{place} {shown.sentence}.", pd.DataFrame(shown.rows), shown.lines)
    state = training.verdict or training.divergence or training.reason
    sentence = f"{place} {state} after {training.learner.iteration:,} iterations"
    if training.history:
        last = training.history[-1]
        sentence += f", {100 * last.wrong:.1f} % wrong, smoothed loss {last.smooth_loss:.3g}"
    lines = "\n\n".join(
        f"iteration {when['iteration']:,}  wrong {100 * when['wrong']:.1f} %  "
        f"smoothed loss {when['smooth_loss']:.2f}\n{shown.lines}"
        for when, shown in seen
    )
    rows = [{**when, **row} for when, shown in seen for row in shown.rows]
    return Looked(f"{sentence}.", pd.DataFrame(rows), lines)
