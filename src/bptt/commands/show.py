"""`bptt show`: what a run is, and how it ended."""

from pathlib import Path
from typing import TYPE_CHECKING

from bptt.api import load_run
from bptt.commands.answers import Answer, Json, RunPath, TaskFile, answer
from bptt.commands.own import class_of
from bptt.commands.reports import every_length
from bptt.tasks.task import Task
from bptt.training import runs

if TYPE_CHECKING:
    from bptt.fitting import Model


def show(run_path: RunPath, task: TaskFile = None, as_json: Json = False) -> None:
    """Show what a run is, how it ended and what it can do."""
    answer(as_json, *show_run(run_path, class_of(task) if task else None))


def show_run(path: Path, own: type[Task] | None = None) -> Answer:
    """What a run is and how it ended."""
    if not path.is_dir():
        network, task = runs.load_network(path, own=own)
        values = {"network": repr(network), "task": task.config() if task else None}
        return values, f"{network!r}\ntask    {task.name if task else 'none'}"
    if runs.on_data(path):
        return _on_data(path)
    run = load_run(path, own)
    settings = run.settings
    values = {
        "run": str(path), "settings": settings.as_dict(), **runs.result_of(run.training)
    }  # fmt: skip
    lines = [
        f"task      {run.task.describe()}",
        f"network   {run.network!r}",
        f"optimizer {settings.optimizer.kind}, learning rate {settings.optimizer.learning_rate:g}, "
        f"batch {settings.batch}, seed {settings.seed}",
        f"state     {run if run.reason else 'not finished: bptt train --resume ' + str(path)}",
    ]
    if run.records:
        last = run.records[-1]
        lines.append(
            f"last      iteration {last.iteration:,}: loss per step {last.loss_per_step:.4g}, "
            f"wrong {100 * last.wrong:.2f} %, {last.seconds:.2f} s"
        )
    lines += _arithmetic(run.training.arithmetic)
    words, found = every_length(run.network, run.task, path) if run.reason else ([], {})
    return values | found, "\n".join(lines + words)


def _arithmetic(found: list[str]) -> list[str]:
    """The line that says on which processors a run was trained, if on more than one."""
    return [f"vectors   {'; then '.join(found)}"] if len(found) > 1 else []


def _on_data(path: Path) -> Answer:
    """The same of a run on a data set."""
    from bptt.fitting import folder
    from bptt.fitting.folder import load_model

    config, source = runs.read_json(path / runs.CONFIG), folder.source_of(path)
    result = runs.read_json(path / runs.RESULT) if (path / runs.RESULT).exists() else {}
    known = config["data"].get("known_by", {})
    lines = [
        f"data      {', '.join(source.files) or 'handed in from Python'}: "
        f"{known.get('sequences', 0):,} sequences, {known.get('steps', 0):,} steps trained on"
    ]
    if (path / runs.WEIGHTS).exists():
        model = load_model(path)
        lines += [f"network   {model.network!r}", f"target    {_target(model)}"]
    state = result.get("reason") or f"not finished: bptt train --resume {path}"
    lines.append(f"state     {state}")
    if result.get("epoch"):
        lines.append(
            f"epochs    {result['epoch']}, the weights of epoch {result['best_epoch']}, "
            f"{result['seconds']:.2f} s"
        )
    lines += _arithmetic(result.get("arithmetic") or [])
    if (path / runs.WEIGHTS).exists() and model.score:
        lines.append(f"score     {_score(model)}")
    return {"run": str(path), **config, **result}, "\n".join(lines)


def _target(model: "Model") -> str:
    """What is learned, in words."""
    if model.prepared is None:
        return ", ".join(model.schema.target)
    plan, names = model.prepared["plan"], model.prepared["names"]
    return f"{names['target']}, {plan['horizon']} steps ahead"


def _score(model: "Model") -> str:
    """How good it was on what was held out."""
    if model.prepared is None:
        return str(model.score)
    from bptt.fitting.forecasting.forecast import forecast_from

    score = forecast_from(model).score
    return str(model.score) if score is None else score.line("in validation")
