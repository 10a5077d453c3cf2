"""Networks for the tests of what goes out of the house and in."""

import numpy as np

import bptt
from bptt.exchange.model import Affine


def network(cell="lstm", activation="tanh", sizes=(1, 5, 1), seed=0, spread=0.4, **options):
    """A network all of whose parameters are random: zeros hide mistakes."""
    D, H, O = sizes  # noqa: E741
    output = options.pop("output", "linear")
    loss = "squared" if output == "linear" else "cross_entropy"
    made = bptt.Network(
        inputs=D, hidden=H, outputs=O, cell=cell, activation=activation, output=output, loss=loss,
        engine="reference", **{"initial_state": "trainable", **options},
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    made.theta[:] = spread * rng.standard_normal(made.theta.size)
    return made


def scales(D, O, seed=0):  # noqa: E741
    rng = np.random.default_rng(seed)
    return Affine(rng.standard_normal(D), rng.uniform(0.5, 2, D), rng.standard_normal(O),
                  rng.uniform(0.5, 2, O))  # fmt: skip
