"""What there is to see of an adder: sums as it gives them, and one that it gets wrong."""

import re
from typing import Any

import numpy as np

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.tasks.addition.data import Sums
from bptt.tasks.addition.verdict import predicted_bits
from bptt.tasks.task import Report, Shown, Watched

SUMS = 5


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


def show_sums(network: Network, task: Sums, seed: int) -> Shown:
    """A few fresh sums, in columns."""
    rows = sums(network, task, seed=seed)
    right = sum(row["right"] for row in rows)
    return Shown(rows, sums_table(rows), f"{right} of {len(rows)} fresh sums right")


def report_sums(network: Network, task: Sums, seed: int) -> Report:
    """A few fresh sums."""
    values: dict[str, Any] = {"sums": sums(network, task, seed=seed)}
    lines = ["", sums_table(values["sums"]), ""]
    return Report(values, lines)


def wrong_sum(network: Network, task: Sums, word: list[int]) -> str:
    """A sum that goes wrong at the last symbol of a word, as people write it. Symbols are pairs of
    bits, 2 a + b, the lowest first; what follows is zeros, or for signed numbers their signs."""
    bits = np.array(word)
    x = np.stack([bits >> 1, bits & 1], axis=-1)[None]
    a, b = (task.decode(x[..., k])[0] for k in (0, 1))
    width = max(task.bits, task.bits_needed(a, b))
    said = predicted_bits(network, task.encode([(a, b)], width)[0])
    total = task.decode(said[..., 0])[0]
    return (
        f"{a:,} + {b:,} = {a + b:,}, the network writes {total:,}, "
        f"wrong from bit {len(word) - 1} on"
    )


def watched_sum(task: Sums, words: str) -> Watched:
    """A sum to be looked at, bit by bit, from words such as '93 + 87'."""
    low, high = task.operand_range()
    largest = (1 << task.bits - int(task.signed)) - 1
    # A carry that has to be kept from the first bit to the last.
    found = re.fullmatch(r"\s*(-?\d{1,99})\s*\+\s*(-?\d{1,99})\s*", words or f"{largest} + 1")
    if found is None:
        raise BpttError(f"input '{words:.40}' is no sum: write it as '{low} + {high}'")
    a, b = (int(number) for number in found.groups())
    x, y = task.encode([(a, b)])
    rows = [("a", x[0, :, 0]), ("b", x[0, :, 1]), ("a + b", y[0, :, 0])]
    texts = [(name, [str(bit) for bit in bits]) for name, bits in rows]
    return Watched(x, y, f"{a} + {b} = {task.decode(y[..., 0])[0]}, lowest bit first", texts)
