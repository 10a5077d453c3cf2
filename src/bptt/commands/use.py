"""The commands that use a run, and the gradient check: each gives plain values and a text."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bptt.api import load_run
from bptt.equations.cells import CELLS
from bptt.equations.outputs import OUTPUTS
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.network.gradient_check import check_network
from bptt.network.network import Network
from bptt.tasks.task import Task
from bptt.training import runs
from bptt.training.figures import png

Answer = tuple[dict[str, Any], str]


def use_network(path: Path, command: str, kind: type[Task], *arguments: Any) -> Answer:
    """What a task's own command of that name gives for a run of the task."""
    found = next(each for each in kind.commands if each.name == command)
    network, task = runs.load_task_network(path, kind)
    return found.run(task, network, *arguments)


def check_all(cell: str | None, engine: str) -> Answer:
    """The gradient check over every cell, output, tied and untied, one and two layers."""
    if cell is not None and cell not in {name for name, _ in CELLS}:
        raise BpttError(f"cell '{cell}' is not known: choose one of 'elman', 'lstm', 'gru'")
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(0)
    for (name, activation), (output, loss), tied, layers in product(
        CELLS, OUTPUTS, (True, False), (1, 2)
    ):
        if cell is not None and name != cell:
            continue
        B, T, D, H, O = 2, 3, 2, 3, 2  # noqa: E741
        network = Network(
            inputs=D, outputs=O, hidden=H, layers=layers, cell=name, activation=activation,
            output=output, loss=loss, tied=tied, steps=0 if tied else T, engine=engine,
            initial_state="trainable", dtype="float64", seed=1,
            initializers={"b": "normal(0.3)", "c": "normal(0.3)", "h0": "normal(0.3)"},
        )  # fmt: skip
        x = rng.standard_normal((B, T, D))
        y = rng.integers(0, O, (B, T)) if output == "softmax" else rng.random((B, T, O))
        result = check_network(network, x, y, np.array([T, T - 1]))
        rows.append(
            {"cell": name, "activation": activation, "output": output, "loss": loss, "tied": tied,
             "layers": layers, "passed": result.passed, "error": result.worst.error,
             "worst": str(result.worst.worst),
             "entries": sum(each.entries for each in result.parameters)}
        )  # fmt: skip
    passed = all(row["passed"] for row in rows)
    worst = max(rows, key=lambda row: row["error"])
    lines = [f"{'cell':13} {'output':22} {'weights':8} layers entries  worst error"]
    for row in rows:
        kind = f"{row['cell']} {row['activation']}" if row["cell"] == "elman" else row["cell"]
        lines.append(
            f"{kind:13} {row['output'] + ' ' + row['loss']:22} "
            f"{'tied' if row['tied'] else 'untied':8} {row['layers']:6} {row['entries']:7}  "
            f"{row['error']:.1e}  {'ok' if row['passed'] else 'FAILED at ' + row['worst']}"
        )
    count = sum(not row["passed"] for row in rows)
    lines.append(
        f"all {len(rows)} pass; " if passed else f"{count} of {len(rows)} FAILED; "
    )  # fmt: skip
    lines[-1] += f"worst relative error {worst['error']:.1e}, at {worst['worst']}"
    values = {"passed": passed, "engine": engine, "worst_error": worst["error"], "checks": rows}
    return values, "\n".join(lines)


def show_run(path: Path) -> Answer:
    """What a run is and how it ended."""
    if not path.is_dir():
        network, task = runs.load_network(path)
        values = {"network": repr(network), "task": task.config() if task else None}
        return values, f"{network!r}\ntask    {task.name if task else 'none'}"
    run = load_run(path)
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
    return values, "\n".join(lines)


def plot_run(path: Path, out: Path | None) -> Answer:
    """Draw a run's learning curve into a file."""
    run = load_run(path)
    if not run.records:
        raise BpttError(f"'{path}' has no record yet: go on with 'bptt train --resume {path}'")
    target = out or path / runs.FIGURE
    write_file(target, png(run.figure()))
    return {"figure": str(target), "records": len(run.records)}, f"figure  {target}"
