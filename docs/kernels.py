"""Draws docs/kernels.png: how a batch goes through the kernels.

python docs/kernels.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
INK, GREY, LINE = "#1a1a1a", "#5a5a5a", "#8a8a8a"
# Fill and edge of what is done in Python, what is compiled, and what is memory.
PYTHON, COMPILED, MEMORY = ("#eef2f7", "#7a8ca3"), ("#fdf3e3", "#c08a2d"), ("#eaf4ec", "#5b9468")


def box(axes, x, y, width, height, title, text, colours):
    """A box with a title and lines of text; x, y: its lower left corner."""
    fill, edge = colours
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.8", fc=fill, ec=edge,
            lw=1.2,
        )
    )  # fmt: skip
    axes.text(x + 1.2, y + height - 1.2, title, va="top", weight="bold", size=11, color=INK)
    axes.text(x + 1.2, y + height - 4.6, text, va="top", size=9.5, color=INK, linespacing=1.45)


def arrow(axes, start, end, words="", at=(0, 0), align="left"):
    """An arrow, with words beside its middle."""
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": LINE, "lw": 1.4, "shrinkA": 2,
                                    "shrinkB": 2},
    )  # fmt: skip
    middle = ((start[0] + end[0]) / 2 + at[0], (start[1] + end[1]) / 2 + at[1])
    axes.text(*middle, words, size=9, color=GREY, va="center", ha=align)


def draw():
    """The figure."""
    figure, axes = plt.subplots(figsize=(11, 10.4), layout="constrained")
    axes.set(xlim=(0, 110), ylim=(0, 104))
    axes.axis("off")
    box(axes, 2, 88, 49, 14, "engine", "a checked batch x (N, B, T, D), y, lengths;\n"
        "weights, optimizer state, carried state", PYTHON)  # fmt: skip
    box(axes, 59, 88, 49, 14, "regime, by shapes alone", "what the lanes of a vector are:\n"
        "units (B < 6), samples, or models side by side", PYTHON)  # fmt: skip
    arrow(axes, (51, 95), (59, 95))
    box(axes, 2, 63, 49, 17, "runner", "splits a large batch into shards, one a thread;\n"
        "copies arrays into its workspaces, calls the kernel\n"
        "for each, adds up the shards' gradients", PYTHON)  # fmt: skip
    arrow(axes, (26, 88), (26, 80), "arrays", (1.2, 0))
    arrow(axes, (83, 88), (83, 80), "shape", (1.2, 0))
    box(axes, 59, 63, 49, 17, "workspace, made once for a shape", "m, one flat array: weights, "
        "gates, states, derivatives;\nplan, sizes and places; program, every product of\n"
        "the network as strips; copies, weights in other orders", MEMORY)  # fmt: skip
    arrow(axes, (51, 71.5), (59, 71.5))
    axes.add_patch(
        FancyBboxPatch((2, 4), 106, 50.5, boxstyle="round,pad=0,rounding_size=0.8", fc="white",
                       ec=COMPILED[1], lw=1.4, ls=(0, (5, 3)))
    )  # fmt: skip
    axes.text(3.5, 52.8, "kernel: N iterations in one call (loop), compiled for a regime, cell and "
              "float type", va="top", weight="bold", size=11, color=INK)  # fmt: skip
    arrow(axes, (26, 63), (26, 54.5), "one call", (1.2, 0))
    arrow(axes, (83, 54.5), (83, 63), "reads and writes", (1.2, 0))
    top, low, height = 30, 7, 18
    box(axes, 4, top, 24, height, "begin", "look ahead; copies of\nthe weights; x, y and\n"
        "lengths into m", COMPILED)  # fmt: skip
    box(axes, 32, top, 46, height, "steps, forward: segment by segment", "a product for all steps: "
        "x U + b\nstep by step: h W, then the cell's forward\na product for all steps: h V + c",
        COMPILED)  # fmt: skip
    box(axes, 82, top, 24, height, "assess", "outputs, losses, what\nis wrong; derivatives\n"
        "of the loss by o", COMPILED)  # fmt: skip
    box(axes, 4, low, 24, height, "update", "norm, clipping, the\noptimizer's rule, on\nthe flat "
        "vector", COMPILED)  # fmt: skip
    box(
        axes,
        32,
        low,
        74,
        height,
        "steps, back: the same segments from the last to the first",
        "a product for all steps: do V^T\nstep by step: the cell's backward, then da W^T\n"
        "products over steps and samples: gradients of U, W, b, V, c, and of x",
        COMPILED,
    )
    arrow(axes, (28, top + 8), (32, top + 8))
    arrow(axes, (78, top + 8), (82, top + 8))
    arrow(axes, (94, top), (94, low + height))
    arrow(axes, (32, low + 8), (28, low + 8))
    arrow(axes, (16, low + height), (16, top), "next iteration", (1.2, 0))
    for x, colours, words in ((4, PYTHON, "Python"), (22, MEMORY, "memory"),
                              (40, COMPILED, "compiled")):  # fmt: skip
        axes.add_patch(FancyBboxPatch((x, 0.6), 2.4, 1.8, boxstyle="round,pad=0", fc=colours[0],
                                      ec=colours[1]))  # fmt: skip
        axes.text(x + 3.6, 1.5, words, size=9.5, va="center", color=INK)
    figure.savefig(HERE / "kernels.png", dpi=110)


if __name__ == "__main__":
    draw()
