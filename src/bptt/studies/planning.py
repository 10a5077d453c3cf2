"""How much work a study is: runs, groups of equal shapes, and an estimate of the time."""

from typing import TYPE_CHECKING

from bptt.settings import Settings

if TYPE_CHECKING:
    pass

# The stated model of an iteration: this much for each, and for each number that a weight takes part
# in, forward and backward. Measured on one core of a machine of 2026; the truth may be several times
# more or less.
SECONDS_AN_ITERATION = 5e-7
SECONDS_A_PRODUCT = 1e-9


def seconds_of_a_run(settings: Settings) -> float:
    """What all iterations of a run take by the stated model, on one core."""
    structure = settings.structure
    steps = settings.make_task().steps
    weights = structure.layout().size / (1 if structure.tied else structure.steps)
    products = 3 * settings.batch * steps * weights
    return settings.iterations * (SECONDS_AN_ITERATION + SECONDS_A_PRODUCT * products)
