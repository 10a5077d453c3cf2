"""The sets of a proof as a plane of the top layer's states shows them.

A ball is all joint states s with |T (s - centre)| <= radius: an ellipsoid. What is left of it in a
plane is an ellipse, of the same form and direction for every ball, only its size differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.network.structure import Structure
from bptt.proofs.machine import Array

if TYPE_CHECKING:  # the search imports the compiler
    from bptt.proofs.search import Balls


@dataclass(frozen=True)
class Shadows:
    """The ellipses of B balls: all centre + radius * form u with |u| <= 1.

    centre (B, 2), radius (B,), label (B,): the automaton's state of each; form (2, 2), symmetric.
    """

    centre: Array
    radius: Array
    label: NDArray[Any]
    form: Array

    @property
    def axes(self) -> tuple[float, float, float]:
        """Of a ball of radius 1: the two half axes, the longer one first, and the angle of the
        longer one in degrees."""
        sizes, directions = np.linalg.eigh(self.form)
        across, up = directions[:, 1]
        return float(sizes[1]), float(sizes[0]), float(np.degrees(np.arctan2(up, across)))


def shadows(
    balls: "Balls", structure: Structure, plane: NDArray[Any], origin: NDArray[Any]
) -> Shadows:
    """Balls of a network of that structure in a plane: its two directions (H, 2), orthonormal, and
    the h (H,) of the top layer that is its origin.

    With s = centre + radius T^-1 u, |u| <= 1, the shadow of a ball is centre + radius A u, with A
    the top layer's rows of T^-1 seen in the plane: an ellipse whose form is (A A^T)^(1/2).
    """
    hidden = structure.hidden
    first = (structure.layers - 1) * len(structure.equations.states) * hidden
    top = slice(first, first + hidden)
    A = plane.T @ np.linalg.inv(balls.metric)[top]  # (2, n)
    squares, directions = np.linalg.eigh(A @ A.T)
    form = (directions * np.sqrt(np.maximum(squares, 0))) @ directions.T
    centre = (balls.centre[:, top] - origin) @ plane
    return Shadows(centre, balls.radius, balls.label, form)
