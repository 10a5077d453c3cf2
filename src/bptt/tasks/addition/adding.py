"""`bptt add`: two integers of any length, added by a network."""

import re
from typing import Any

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.tasks.addition.data import Sums, first_wrong_bit
from bptt.tasks.addition.verdict import predicted_bits

LONGEST = 100_000


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise BpttError(f"'{text}' is not an integer: give whole numbers such as 29733 or -5")
    if len(text) > LONGEST * 3 // 10:
        raise BpttError(f"a number of {len(text)} digits is too long: at most {LONGEST} bits")
    # Python itself refuses to read more than 4,300 digits at once.
    number = 0
    digits = text.lstrip("+-")
    for start in range(0, len(digits), 4000):
        part = digits[start : start + 4000]
        number = number * 10 ** len(part) + int(part)
    return -number if text.startswith("-") else number


def _digits(number: int) -> str:
    """Decimal digits of an integer of any size."""
    if number < 0:
        return "-" + _digits(-number)
    parts = []
    while number >= 10**4000:
        number, part = divmod(number, 10**4000)
        parts.append(f"{part:04000d}")
    return str(number) + "".join(reversed(parts))


def add_integers(
    task: Sums, network: Network, first: str, second: str
) -> tuple[dict[str, Any], str]:
    """The command: the network's sum of two integers, and whether it is right."""
    a, b = _integer(first), _integer(second)
    if not task.signed and min(a, b) < 0:
        raise BpttError(
            f"{_digits(min(a, b))} is negative, and this network adds unsigned numbers: "
            "use a run of 'bptt train add --signed'"
        )
    bits = max(task.bits, task.bits_needed(a, b))
    x, y = task.encode([(a, b)], bits)
    predicted = predicted_bits(network, x)
    said = task.decode(predicted[..., 0])[0]
    first_wrong = first_wrong_bit(predicted, y)
    values = {
        "a": _digits(a), "b": _digits(b), "sum": _digits(said), "right": first_wrong is None,
        "true_sum": _digits(a + b), "bits": bits,
        "first_wrong_bit": first_wrong,
    }  # fmt: skip
    verdict = (
        "right" if first_wrong is None else f"wrong from bit {first_wrong}: it is {_digits(a + b)}"
    )
    return values, f"{_digits(a)} + {_digits(b)} = {_digits(said)}   {verdict}"
