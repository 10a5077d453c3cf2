"""Learning a text: `data` makes its windows, `verdict` tests, `writing` writes."""

from bptt.tasks.text.data import TextStream, read_text
from bptt.tasks.text.task import Text, bits

__all__ = ["Text", "TextStream", "bits", "read_text"]
