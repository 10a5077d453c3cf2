"""What there is to see of an adder: sums as it gives them, and how it does on longer ones."""

from dataclasses import asdict
from typing import Any

import numpy as np

from bptt.network.network import Network
from bptt.tasks.addition.data import Sums
from bptt.tasks.addition.verdict import length_generalisation, predicted_bits
from bptt.tasks.task import Report, Shown

SUMS = 5
LONGER = (2, 8, 32, 128, 512)  # times the trained length


def sums(network: Network, task: Sums, count: int = SUMS, seed: int = 0) -> list[dict[str, Any]]:
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


def longer_sums(network: Network, task: Sums) -> tuple[list[dict[str, Any]], str]:
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


def show_sums(network: Network, task: Sums, seed: int) -> Shown:
    """A few fresh sums, in columns."""
    rows = sums(network, task, seed=seed)
    right = sum(row["right"] for row in rows)
    return Shown(rows, sums_table(rows), f"{right} of {len(rows)} fresh sums right")


def report_sums(network: Network, task: Sums, seed: int) -> Report:
    """A few fresh sums, and longer ones."""
    values: dict[str, Any] = {"sums": sums(network, task, seed=seed)}
    lines = ["", sums_table(values["sums"]), ""]
    if network.structure.tied:
        values["longer"], words = longer_sums(network, task)
        lines += [words, ""]
    return Report(values, lines)
