"""What a training run's end looks like, for people and as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bptt.api import Run
from bptt.network.network import Network
from bptt.tasks import Addition, Text
from bptt.tasks.text import bits as in_bits
from bptt.training import runs
from bptt.training.evaluation import length_generalisation, predicted_bits, write

SUMS = 5
LONGER = (2, 8, 32, 128, 512)  # times the trained length


def sums(
    network: Network, task: Addition, count: int = SUMS, seed: int = 0
) -> list[dict[str, Any]]:
    """Fresh sums as the network gives them: bits most significant first, and integers."""
    operands = task.draw_pairs(np.random.default_rng([seed, 2]), count)
    x, y = task.sequences(operands)
    p = predicted_bits(network, x)
    rows = []
    for n in range(count):
        strings = ["".join(map(str, bits[::-1])) for bits in (x[n, :, 0], x[n, :, 1], p[n, :, 0])]
        a, b, said, right = (
            task.decode(bits)[0] for bits in (x[n, :, 0], x[n, :, 1], p[n, :, 0], y[n, :, 0])
        )
        rows.append(
            {"a": a, "b": b, "sum": said, "right": said == right, "true_sum": right,
             "a_bits": strings[0], "b_bits": strings[1], "sum_bits": strings[2]}
        )  # fmt: skip
    return rows


def sums_table(rows: list[dict[str, Any]]) -> str:
    """The sums in columns."""
    columns = ["a_bits", "b_bits", "sum_bits", "a", "b", "sum"]
    heads = ["a", "b", "network's sum", "a", "b", "sum"]
    widths = [
        max(len(head), *(len(str(row[column])) for row in rows))
        for head, column in zip(heads, columns, strict=True)
    ]
    lines = ["  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))]
    for row in rows:
        cells = [
            str(row[column]).rjust(width) for column, width in zip(columns, widths, strict=True)
        ]
        state = "right" if row["right"] else f"wrong: {row['true_sum']}"
        lines.append("  ".join([*cells, state]))
    return "\n".join(lines)


def longer_sums(network: Network, task: Addition) -> tuple[list[dict[str, Any]], str]:
    """How the adder does on longer sums, up to the first length at which one is wrong."""
    rows: list[dict[str, Any]] = []
    for factor in LONGER:
        (result,) = length_generalisation(network, task, [factor * task.bits])
        rows.append(asdict(result))
        if result.right < result.total:
            break
    right = [f"{row['bits']:,}" for row in rows if row["right"] == row["total"]]
    words = [f"right at {', '.join(right)} bits"] if right else []
    last = rows[-1]
    if last["right"] < last["total"]:
        words.append(
            f"{last['total'] - last['right']} wrong at {last['bits']:,} bits, "
            f"first at bit {last['first_wrong_bit']:,}"
        )
    return rows, f"longer sums: {'; '.join(words)} ({last['total']} random sums each)"


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
    elif isinstance(run.task, Addition):
        values["sums"] = sums(run.network, run.task, seed=run.settings.seed)
        lines += ["", sums_table(values["sums"]), ""]
        if run.network.structure.tied:
            values["longer"], words = longer_sums(run.network, run.task)
            lines += [words, ""]
    elif isinstance(run.task, Text):
        values["sample"] = write(run.network, run.task, run.task.text[0], 200, 1.0, 0)
        if last:
            bits = in_bits(last.loss_per_step)
            values["bits_per_character"] = bits
            lines.append(f"loss {last.loss_per_step:.4f} nats ({bits:.4f} bits) a character")
        lines += ["", run.task.text[0] + values["sample"], ""]
    if last:
        lines.append(f"figure  {folder / runs.FIGURE}")
    lines.append(f"run     {folder}")
    return values, "\n".join(lines)
