"""How NumPy treats overflow and underflow in our own arithmetic, whatever the user has set."""

import numpy as np

# NumPy's own defaults, as a decorator. With `np.seterr(all="raise")`, by which users find mistakes
# in their arithmetic, the powers of Adam's coefficients would raise as soon as they underflow.
usual = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
