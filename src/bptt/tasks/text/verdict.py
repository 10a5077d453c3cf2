"""The test of a network that has learnt a text: how much of it is written back."""

from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.tasks.task import Verdict
from bptt.tasks.text.data import Characters

# Characters that a network is shown at once.
SHOWN = 1024


def recall(network: Network, task: Characters) -> Verdict:
    """How many characters the network, started from the first, writes back before the first slip.

    As long as every character written is right, writing freely (always the most likely character)
    is the same as being shown the text, so a walk over the text, up to there, tells.
    """
    if not task.text:
        raise BpttError("this task has a vocabulary but no text to compare with: give the text")
    ids = task.encode(task.text)
    until, state = 0, None
    while until < len(ids) - 1:
        shown = ids[until : len(ids) - 1][:SHOWN]
        found = network.forward(shown[None], state=state)
        right = found.o[0].argmax(axis=-1) == ids[until + 1 :][: len(shown)]
        until += len(shown) if right.all() else int(right.argmin())
        if not right.all():
            break
        state = found.state
    return Verdict(until, len(ids) - 1, "characters written back")
