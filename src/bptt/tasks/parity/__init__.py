"""Whether the ones in a word are odd in number."""

from bptt.tasks.parity.task import Parity

__all__ = ["Parity"]
