"""Text that a network writes."""

from typing import Annotated, Any

import msgspec
import numpy as np

from bptt.errors import BpttError
from bptt.floats import usual
from bptt.network.network import Network
from bptt.options import Option
from bptt.tasks.text.data import Characters


class Writing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `bptt write` writes: see `write`."""

    start: Annotated[str | None, Option("What to continue; else the text's first character.")] = (
        None
    )
    length: Annotated[int, Option("Characters to write.")] = 200
    temperature: Annotated[float, Option("0: always the likeliest; 1: as learnt.")] = 1.0
    seed: Annotated[int, Option("Of the random choice.")] = 0


def write_text(task: Characters, network: Network, how: Writing) -> tuple[dict[str, Any], str]:
    """The command: plain values, and what is started from and written."""
    start = (task.text or task.vocabulary)[0] if how.start is None else how.start
    written = write(network, task, start, how.length, how.temperature, how.seed)
    values = {
        "start": start, "text": written, "temperature": how.temperature, "seed": how.seed
    }  # fmt: skip
    return values, start + written


@usual
def write(
    network: Network,
    task: Characters,
    start: str,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """`length` characters that continue `start`.

    Each is drawn from softmax(o / temperature); temperature 0 takes the most likely one. The same
    seed writes the same text. Raises BpttError for a start that is empty or has a character
    outside the vocabulary, or a negative temperature.
    """
    if not start:
        raise BpttError("the start text is empty: give at least one character")
    if not 0 <= temperature < float("inf"):
        raise BpttError(f"temperature {temperature} must be 0 or more")
    for name, value in (("length", length), ("seed", seed)):
        if value < 0:
            raise BpttError(f"{name} {value} must not be negative")
    if not np.isfinite(network.theta).all():
        raise BpttError("the network has weights that are no finite numbers: train it again")
    rng = np.random.default_rng(seed)
    found = network.forward(task.encode(start)[None])
    o, state = found.o[0, -1].astype(np.float64), found.state
    written: list[int] = []
    for _ in range(length):
        if temperature == 0:
            choice = int(o.argmax())
        else:
            with np.errstate(over="ignore"):  # of a temperature near 0: only the likeliest is left
                p = np.exp((o - o.max()) / temperature)
            choice = int(np.searchsorted(np.cumsum(p), rng.random() * p.sum(), side="right"))
            choice = min(choice, o.size - 1)
        written.append(choice)
        found = network.forward(np.array([[choice]]), state=state)
        o, state = found.o[0, -1].astype(np.float64), found.state
    return task.decode(written)
