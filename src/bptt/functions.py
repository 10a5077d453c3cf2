"""The functions that equations of your own may call, beside + - * / and numbers.

    from bptt.functions import sigmoid, tanh, where

They work on NumPy arrays and numbers, and are compiled where a `bptt.Cell`, `bptt.Output` or
`bptt.Rule` calls them. See `bptt.equations.functions` for each.
"""

from bptt.equations.functions import (
    absolute,
    exp,
    log,
    maximum,
    minimum,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softplus,
    sqrt,
    tanh,
    tanh_backward,
    where,
    zeros_like,
)

__all__ = [
    "absolute", "exp", "log", "maximum", "minimum", "relu", "relu_backward", "sigmoid",
    "sigmoid_backward", "softplus", "sqrt", "tanh", "tanh_backward", "where", "zeros_like",
]  # fmt: skip
