"""All parameters of a network as one flat vector with named views.

Initialisers fill the views; optimizers, clipping, gradient checks, checkpoints and the comparison
of two networks see one vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of parameters, in the order in which they lie in the flat vector. The last
    `fixed` of them are not trained."""

    shapes: Mapping[str, tuple[int, ...]]
    fixed: int = 0

    @cached_property
    def size(self) -> int:
        """How many numbers there are in all."""
        return sum(prod(shape) for shape in self.shapes.values())

    @cached_property
    def trained(self) -> int:
        """How many numbers are trained: those of the flat vector's beginning."""
        shapes = list(self.shapes.values())
        return sum(prod(shape) for shape in shapes[: len(shapes) - self.fixed])

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The place of each parameter in the flat vector."""
        sizes = [prod(shape) for shape in self.shapes.values()]
        starts = accumulate(sizes, initial=0)
        return {
            name: slice(start, start + size)
            for name, start, size in zip(self.shapes, starts, sizes, strict=False)
        }

    def views(self, flat: Array) -> dict[str, Array]:
        """The parameters as views of the flat vector: writing to one writes to the other."""
        return {name: flat[place].reshape(self.shapes[name]) for name, place in self.slices.items()}

    def name_of(self, index: int) -> tuple[str, tuple[int, ...]]:
        """The parameter that holds flat position `index`, and the index within it."""
        for name, place in self.slices.items():
            if index < place.stop:
                inside = np.unravel_index(index - place.start, self.shapes[name])
                return name, tuple(int(i) for i in inside)
        raise IndexError(index)
