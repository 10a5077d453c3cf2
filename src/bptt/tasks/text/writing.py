"""Text that a network writes."""

from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.arguments import instance, real, whole
from bptt.arguments import text as text_of
from bptt.errors import BpttError
from bptt.floats import usual
from bptt.network.network import Network
from bptt.options import Option
from bptt.tasks.text.data import Characters

LONGEST = 10**9


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
    outside the vocabulary, a negative temperature, or a network whose outputs are not finite.
    """
    instance("task", task, Characters, "a bptt.Text").check_network(network)
    if not text_of("start", start):
        raise BpttError("the start text is empty: give at least one character")
    if real("temperature", temperature, "0 or more") < 0:
        raise BpttError(f"temperature {temperature} must be 0 or more")
    length, seed = whole("length", length, 0, LONGEST), whole("seed", seed, 0)
    if not np.isfinite(network.theta).all():
        raise BpttError("the network has weights that are no finite numbers: train it again")
    rng = np.random.default_rng(seed)
    found = network.forward(task.encode(start)[None])
    o, state = found.o[0, -1].astype(np.float64), found.state
    written: list[int] = []
    for _ in range(length):
        written.append(_choice(o, temperature, rng))
        found = network.forward(np.array([[written[-1]]]), state=state)
        o, state = found.o[0, -1].astype(np.float64), found.state
    return task.decode(written)


def _choice(o: NDArray[np.float64], temperature: float, rng: np.random.Generator) -> int:
    """A character, drawn from softmax(o / temperature)."""
    if not np.isfinite(o).all():
        raise BpttError(
            f"the network's outputs became {o[~np.isfinite(o)][0]}: its weights are damaged, or it "
            "diverged; train again"
        )
    if temperature == 0:
        return int(o.argmax())
    with np.errstate(over="ignore"):  # at a very low temperature: then p is 0
        p = np.exp((o - o.max()) / temperature)
    return min(int(np.searchsorted(np.cumsum(p), rng.random() * p.sum(), side="right")), o.size - 1)
