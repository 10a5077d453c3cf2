"""What is said of a run on a data set, and of a test: the score beside its baseline, with an
interval, and figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bptt.commands.data import advice
from bptt.files import write_file
from bptt.fitting import Fit, Model, folder
from bptt.fitting.figures import figure_of
from bptt.fitting.scores import Report, report
from bptt.training import runs
from bptt.training.figures import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bptt.fitting.folder import Source

RESAMPLES = 2000
MOST_CLASSES = 12
NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "f1": "F1",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R2",
}  # fmt: skip


def interval(found: Report) -> tuple[float, float] | None:
    """A 95 % interval of the score: sequences are what differs by chance, not steps. Of a share
    Wilson's, of the mean over the sequences of their shares; of a root mean squared error by
    resampling sequences. None of a single sequence."""
    each = found.each
    if len(each) < 2:
        return None
    if found.classes:
        from bptt.studies.statistics import wilson

        of_share = wilson(each.sum(), len(each))
        return float(of_share.low), float(of_share.high)
    rng = np.random.default_rng(0)
    drawn = each[rng.integers(0, len(each), (RESAMPLES, len(each)))].mean(axis=1)
    low, high = np.sqrt(np.quantile(drawn, [0.025, 0.975]))
    return float(low), float(high)


def verdict(found: Report, where: str) -> str:
    """The score with its interval, beside the baseline, in a line."""
    score, between = found.score, interval(found)
    if found.classes:
        band = "" if between is None else f" [{100 * between[0]:.1f}, {100 * between[1]:.1f}]"
        return (
            f"{100 * score.value:.1f} %{band} of {score.total:,} right {where} "
            f"(always {score.rule}: {100 * score.baseline:.1f} %)"
        )
    what, value = ("rmse", found.values["rmse"])
    if score.name == "rmse":
        value = score.value
    band = "" if between is None else f" [{between[0]:.4g}, {between[1]:.4g}]"
    line = f"{NAMES[what]} {value:.4g}{band} on {score.total:,} numbers {where}"
    if score.name == "rmse":
        return f"{line} (always {score.rule}: {score.baseline:.4g})"
    return f"{line}; {score}"


def details(found: Report) -> list[str]:
    """Further numbers, and of few classes the confusion matrix."""
    lines = [", ".join(f"{NAMES[name]} {value:.4g}" for name, value in found.values.items())]
    if 0 < len(found.classes) <= MOST_CLASSES:
        names = [str(each) for each in found.classes]
        wide = max(5, *(len(name) for name in names), *(len(f"{n}") for n in found.confusion.flat))
        lines.append("was \\ taken for".ljust(16) + " ".join(name.rjust(wide) for name in names))
        lines += [
            name.ljust(16) + " ".join(f"{count:{wide}d}" for count in row)
            for name, row in zip(names, found.confusion, strict=True)
        ]
    return lines


def plain(found: Report) -> dict[str, Any]:
    """A test as plain values."""
    values: dict[str, Any] = {
        "score": vars(found.score) | {"interval": interval(found)}, **found.values
    }  # fmt: skip
    if found.classes:
        values |= {"classes": list(found.classes), "confusion": found.confusion.tolist()}
    return values


class Tested(NamedTuple):
    """What is told of a run that has ended. model: as it is kept; plain: the test; lines: its
    verdict; advice: in sentences; pictures: figures by the name of their file."""

    model: Model
    plain: dict[str, Any]
    lines: list[str]
    advice: list[str]
    pictures: dict[str, "Figure"]


def tested(work: Fit) -> Tested:
    """The model on what was held out."""
    model, held = work.model(), work.held
    if held is None or not work.score or not work.score.total:
        nothing = "nothing was held out: 'bptt score' with other data says how good it is"
        return Tested(model, {}, [nothing], advice(work.train), {})
    found = report(model, held)
    name = "confusion.png" if found.classes else "predicted.png"
    return Tested(
        model, {"validation": plain(found)}, [verdict(found, "in validation")], advice(work.train),
        {name: figure_of(found, "in validation")},
    )  # fmt: skip


def ended(work: Fit, place: Path, source: "Source", told: Tested) -> tuple[dict[str, Any], str]:
    """Save a run that has ended, with its figures; the report as plain values and as text. told:
    how it was tested."""
    folder.save(place, work, source, told.plain, told.model)
    values: dict[str, Any] = {"run": str(place), **folder.result_of(work), **told.plain}
    now = work.progress
    lines = []
    if work.reason == "diverged":
        lines.append("diverged: the best weights are kept; try a smaller --learning-rate")
    elif work.reason == "interrupted":
        lines.append(f"interrupted in epoch {now.epoch + 1}")
    else:
        why = {"epochs": "all epochs done", "patience": "no longer better", "time": "time is up"}
        best = "" if work.held is None else f", the weights of epoch {now.best_epoch}"
        lines.append(f"{why[work.reason]} after {now.epoch} epochs, {now.seconds:.1f} s{best}")
    values["advice"] = told.advice
    lines += [*told.lines, *told.advice]
    pictures = dict(told.pictures)
    if now.history:
        pictures = {runs.FIGURE: told.model.figure(), **pictures}
    for name, figure in pictures.items():
        write_file(place / name, png(figure))
        lines.append(f"figure  {place / name}")
    lines.append(f"run     {place}")
    return values, "\n".join(lines)
