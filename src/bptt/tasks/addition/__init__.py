"""Adding binary numbers: `data` makes the sums, `verdict` tests, `words` and `adding` show."""

from bptt.tasks.addition.data import AdditionStream, exact, first_wrong_bit
from bptt.tasks.addition.task import Addition

__all__ = ["Addition", "AdditionStream", "exact", "first_wrong_bit"]
