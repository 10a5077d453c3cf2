"""One run of an experiment to look at: its gradients before training, and what it then gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bptt.commands.reports import sums, sums_table
from bptt.experiments.declaration import Example, Experiment
from bptt.network.gradient_check import GradientCheck, check_gradients
from bptt.network.network import Network
from bptt.tasks import Addition, Text
from bptt.training.evaluation import write
from bptt.training.settings import Settings
from bptt.training.training import Training

SAMPLE = 200  # characters of a sample of text


@dataclass(frozen=True)
class Shown:
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
    batch = settings.make_task().stream(settings.seed, samples, "float64").draw(1)
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


def show(experiment: Experiment, example: Example, interrupted: Callable[[], bool]) -> Shown:
    """Train the example's run and show what it gives, or, interrupted, how far it has come."""
    settings = experiment.settings(example.at, example.seed)
    if example.show == "text":
        settings = msgspec.structs.replace(settings, record_every=example.every)
    training = Training(settings)
    samples: list[dict[str, Any]] = []
    for record in training.records(interrupted):
        if example.show == "text":
            samples.append(
                {
                    "iteration": record.iteration,
                    "wrong": record.wrong,
                    "smooth_loss": record.smooth_loss,
                    "text": _sample(training),
                }
            )
    if isinstance(training.task, Addition) and training.reason != "interrupted":
        rows = sums(training.network, training.task, seed=settings.seed)
        right = sum(row["right"] for row in rows)
        sentence = f"Seed {settings.seed}, {example.at}: {right} of {len(rows)} fresh sums right."
        return Shown(sentence, pd.DataFrame(rows), sums_table(rows))
    state = training.verdict or training.divergence or training.reason
    sentence = f"Seed {settings.seed}, {example.at}: {state} after "
    sentence += f"{training.learner.iteration:,} iterations"
    if training.history:
        last = training.history[-1]
        sentence += f", {100 * last.wrong:.1f} % wrong, smoothed loss {last.smooth_loss:.3g}"
    lines = "\n\n".join(
        f"iteration {row['iteration']:,}  wrong {100 * row['wrong']:.1f} %  "
        f"smoothed loss {row['smooth_loss']:.2f}\n{row['text']}"
        for row in samples
    )
    return Shown(f"{sentence}.", pd.DataFrame(samples), lines)


def _sample(training: Training) -> str:
    """What the network writes from the text's first character, always the likeliest next one."""
    task = training.task
    assert isinstance(task, Text)
    start = task.text[0]
    return start + write(training.network, task, start, min(SAMPLE, len(task.text) - 1), 0.0)
