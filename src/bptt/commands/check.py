"""`bptt check`: every gradient against central differences."""

from itertools import product
from typing import Annotated, Any

import numpy as np
import typer

from bptt.commands.answers import Answer, Json, answer
from bptt.equations.cells import CELLS
from bptt.equations.outputs import OUTPUTS
from bptt.errors import BpttError
from bptt.network.gradient_check import check_network
from bptt.network.network import Network


def check(
    cell: Annotated[str | None, typer.Option(help="elman, lstm or gru.")] = None,
    engine: Annotated[str, typer.Option(help="reference or compiled.")] = "reference",
    as_json: Json = False,
) -> int:
    """Check every gradient against central differences; exit 1 if any fails."""
    values, text = check_all(cell, engine)
    answer(as_json, values, text)
    return 0 if values["passed"] else 1


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
