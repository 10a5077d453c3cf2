"""Sequences that users bring: read, understood, scaled, and cut into batches."""

from bptt.sequences.scaling import Scaling
from bptt.sequences.schema import Schema
from bptt.sequences.store import Sequences

__all__ = ["Scaling", "Schema", "Sequences"]
