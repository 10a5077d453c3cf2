"""What a training run's end looks like, for people and as JSON."""

from pathlib import Path
from typing import Any

from bptt.api import Run
from bptt.files import write_file
from bptt.network.network import Network
from bptt.proofs.certificate import FILE
from bptt.proofs.prove import quickly
from bptt.tasks.task import Task
from bptt.training import runs


def training_report(run: Run, folder: Path) -> tuple[dict[str, Any], str]:
    """How a run ended: as plain values, and as text."""
    values: dict[str, Any] = {"run": str(folder), **runs.result_of(run.training)}
    lines = [str(run)]
    last = run.records[-1] if run.records else None
    if run.training.divergence:
        lines.append("the weights before that are kept; try a smaller learning rate or --clip-norm")
    elif run.reason == "interrupted":
        lines = [f"interrupted after {run.training.learner.iteration:,} iterations"]
        if last:
            lines.append(f"loss per step {last.loss_per_step:.4f}, wrong {100 * last.wrong:.2f} %")
    else:
        report = run.task.report(
            run.network, last.loss_per_step if last else None, run.settings.seed
        )
        values |= report.values
        lines += report.lines
        words, found = every_length(run.network, run.task, folder, keep=True)
        values |= found
        lines += [*words, ""] if words else []
    if last:
        lines.append(f"figure  {folder / runs.FIGURE}")
    lines.append(f"run     {folder}")
    return values, "\n".join(lines)


def every_length(
    network: Network, task: Task, folder: Path, keep: bool = False
) -> tuple[list[str], dict[str, Any]]:
    """What is known of a network at every length, as lines and plain values; none for tasks that
    have no such question. keep: whether the certificate of a proof is written to the folder."""
    found = quickly(network, task)
    if found is None:
        return [], {}
    values: dict[str, Any] = {"verdict": found.verdict, "example": found.example or None}
    line = f"every length: {found}"
    if found.verdict == "undecided":
        line = (
            f"every length: nothing wrong was found, and nothing is proved: 'bptt prove {folder}'"
        )
    elif found.certificate is not None and found.balls is not None:
        line = f"proved: {found.claim} ({len(found.balls):,} sets of states)"
        if keep:
            write_file(folder / FILE, found.certificate)
            values["certificate"] = str(folder / FILE)
    return [line], {"every_length": values}
