"""Output functions and losses: from the output preactivation o to a loss and its derivative.

    o_t = h_t V + c                          V (H, O), c (O)                               (22)

The elementwise outputs are pointwise equations `(o, y) -> p, loss, do`, with p the output, y the
target and do the derivative of the loss by o; that of the quantiles also takes the level q of each
output. Softmax couples the O outputs of a row and has two forms of its own: rows of an array here,
lanes in `bptt.kernels`.

Losses are computed from o, before the nonlinearity, so that they cannot become log(0).
Losses are in nats; squared errors are halved.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bptt.equations.functions import (
    Value,
    absolute,
    maximum,
    minimum,
    sigmoid,
    sigmoid_backward,
    softplus,
    where,
    zeros_like,
)
from bptt.equations.own import Equations, check_values, function_of, own_of, refuse_name
from bptt.equations.tracing import trace
from bptt.errors import BpttError, quoted_list

Equation = Callable[[Value, Value], tuple[Value, Value, Value]]

# The code of an output that is a user's own.
OWN = -1


def linear_squared(o: Value, y: Value) -> tuple[Value, Value, Value]:
    """p = o,  loss = (p - y)^2 / 2,  do = p - y  (23)."""
    error = o - y
    return o, 0.5 * error * error, error


def sigmoid_cross_entropy(o: Value, y: Value) -> tuple[Value, Value, Value]:
    """Binary cross-entropy of p = sigmoid(o).

    loss = -y ln p - (1 - y) ln(1 - p) = ln(1 + e^o) - o y,  do = p - y  (24)
    """
    p = sigmoid(o)
    return p, softplus(o) - o * y, p - y


def sigmoid_squared(o: Value, y: Value) -> tuple[Value, Value, Value]:
    """p = sigmoid(o),  loss = (p - y)^2 / 2,  do = (p - y) p (1 - p)  (25)."""
    p = sigmoid(o)
    error = p - y
    return p, 0.5 * error * error, sigmoid_backward(p, error)


def linear_absolute(o: Value, y: Value) -> tuple[Value, Value, Value]:
    """p = o,  loss = |p - y|,  do = sign(p - y)  (36), 0 where p = y: the median is learned."""
    error = o - y
    nothing = zeros_like(error)
    one = nothing + 1.0
    return (
        o,
        absolute(error),
        where(error > nothing, one, where(error < nothing, nothing - one, nothing)),
    )


def linear_huber(o: Value, y: Value) -> tuple[Value, Value, Value]:
    """p = o,  do = p - y, but at least -1 and at most 1,  loss = do (p - y - do / 2)  (37).

    The squared error up to 1, beyond it the absolute one less 1/2, whose slope goes on (Huber 1964,
    Annals of Mathematical Statistics 35:73, section 4, with k = 1): outliers pull no harder.
    Numbers to be learned are to have a standard deviation of about 1.
    """
    error = o - y
    one = zeros_like(error) + 1.0
    slope = minimum(maximum(error, zeros_like(error) - one), one)
    return o, slope * (error - 0.5 * slope), slope


def linear_pinball(o: Value, y: Value, q: Value = 0.5) -> tuple[Value, Value, Value]:
    """The quantile of level q: with e = y - p,

    p = o,  loss = max(q e, (q - 1) e),  do = -q where e > 0, 1 - q where e < 0, else 0  (38)

    (Koenker and Bassett 1978, Econometrica 46:33, section 3.)
    """
    e = y - o
    nothing = zeros_like(e)
    below, above = nothing - q, nothing + 1.0 - q
    slope = where(e > nothing, below, where(e < nothing, above, nothing))
    return o, maximum(q * e, (q - 1.0) * e), slope


def softmax_cross_entropy(
    o: NDArray[np.floating], y: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Cross-entropy of p = softmax(o) with the class y, by log-sum-exp.

    m = max_k o_k,  s = sum_k e^(o_k - m),  p_k = e^(o_k - m) / s
    loss = m + ln s - o_y,  do_k = p_k - [k = y]                         (26)

    o is (..., O), y (...) class numbers; the loss has y's shape.
    """
    m = o.max(axis=-1, keepdims=True)
    e = np.exp(o - m)
    s = e.sum(axis=-1, keepdims=True)
    p = e / s
    at_target = np.take_along_axis(o, y[..., None], axis=-1)
    loss = (m + np.log(s) - at_target)[..., 0]
    do = p.copy()
    np.put_along_axis(do, y[..., None], np.take_along_axis(p, y[..., None], -1) - 1, axis=-1)
    return p, loss, do


class Output(Equations):
    """An output function with its loss: `equation(o, y) -> p, loss, do`, elementwise.

    name: of the output function and its loss together. threshold: the value of o above which an
    output counts as 1, to be compared with y > 0.5. The equation is written as a cell's
    (`bptt.equations.cells.Cell`); `bptt.check_output` checks its derivative.

    >>> from bptt.equations.functions import where
    >>> def equation(o, y):
    ...     return o, abs(o - y), where(o > y, 1, -1)
    >>> Output("absolute", equation, threshold=0.5).name
    'absolute'

    Of the built-in ones the text is the function's name, `loss` that of the loss. Softmax has no
    threshold: its answer is the class of the largest o. `code` is how compiled kernels know it.
    Raises BpttError, one line that names it, for anything else.
    """

    WHAT = "output"
    equation: Equation
    threshold: float
    loss: str
    code: int
    # Of the quantiles that the outputs are, one each; empty of all others.
    levels: tuple[float, ...]

    def __new__(
        cls, name: str, equation: Equation, threshold: float = 0.5,
        *, loss: str = "", code: int = OWN,
    ) -> Self:  # fmt: skip
        """See above."""
        described = None
        if code == OWN:
            refuse_name(cls, name, [each.name for each in OUTPUTS.values()])
            if not isinstance(threshold, int | float) or not np.isfinite(threshold):
                raise BpttError(f"output '{name}': threshold {threshold!r} is no finite number")
            results = dict.fromkeys(("p", "loss", "do"))
            traced = trace(equation, {"o": None, "y": None}, results, f"output '{name}'")
            described = {"equation": traced, "threshold": float(threshold)}
            equation = function_of(traced)
        output = super().__new__(cls, name, described)
        output.equation, output.threshold, output.code = equation, float(threshold), code
        output.loss, output._described, output.levels = loss or name, described, ()
        if code == OWN:
            _check_values(output)
        return output

    _described: dict[str, Any] | None

    def found_again(self) -> tuple[Any, ...]:
        """See `Equations.found_again`."""
        if self.levels:
            return quantile_output, (self.levels,)
        return output_of, (self.name, self.loss)

    def plain(self) -> dict[str, Any]:
        """See `Equations.plain`."""
        assert self._described is not None
        return {"name": self.name, **self._described}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Self:
        """See `Equations.of_plain`."""
        return cls(values["name"], function_of(values["equation"]), values["threshold"])

    @property
    def classes(self) -> bool:
        """Whether targets are class numbers (..., T) instead of values (..., T, O)."""
        return self.code == SOFTMAX


def _check_values(output: Output) -> None:
    """Raises BpttError unless the equation gives finite numbers where all is zero."""
    zero = np.zeros((2, 3), np.float32)
    with np.errstate(all="ignore"):
        values = output.equation(zero, zero)
    check_values(f"output '{output.name}'", values, "o and y")


SOFTMAX, PINBALL = 3, 6
OUTPUTS: dict[tuple[str, str], Output] = {
    (output.name, output.loss): output
    for output in (
        Output("linear", linear_squared, 0.5, loss="squared", code=0),
        Output("sigmoid", sigmoid_cross_entropy, 0.0, loss="cross_entropy", code=1),
        Output("sigmoid", sigmoid_squared, 0.0, loss="squared", code=2),
        Output("softmax", softmax_cross_entropy, 0.0, loss="cross_entropy", code=SOFTMAX),
        Output("linear", linear_absolute, 0.5, loss="absolute", code=4),
        Output("linear", linear_huber, 0.5, loss="huber", code=5),
        Output("linear", linear_pinball, 0.5, loss="pinball", code=PINBALL),
    )
}

REDUCTIONS = ("sum", "sequence", "mean")
# What losses are counted in.
UNITS = {
    "squared": "squared error / 2", "cross_entropy": "nats", "absolute": "absolute error",
    "huber": "Huber's loss", "pinball": "pinball loss",
}  # fmt: skip


def output_of(function: str, loss: str) -> Output:
    """The output of that function and loss (of a user's own, whatever the loss is called). Raises
    BpttError for one that is not there."""
    if type(function) is str and (function, loss) in OUTPUTS:  # asked for several times a batch
        return OUTPUTS[function, loss]
    own: Output | None = own_of(Output, function)
    if own is not None:
        return own
    functions = list(dict.fromkeys(name for name, _ in OUTPUTS))
    if function not in functions:
        raise BpttError(f"output '{function}' is not known: choose one of {quoted_list(functions)}")
    losses = [name for each, name in OUTPUTS if each == function]
    raise BpttError(
        f"loss '{loss}' does not go with output '{function}': choose one of {quoted_list(losses)}"
    )


@lru_cache(maxsize=256)
def quantile_output(levels: tuple[float, ...]) -> Output:
    """The output whose numbers are the quantiles of these levels, (O,)."""
    q = np.array(levels)

    def equation(o: Value, y: Value) -> tuple[Value, Value, Value]:
        return linear_pinball(o, y, q.astype(o.dtype))

    output = Output("linear", equation, 0.5, loss="pinball", code=PINBALL)
    output.levels = levels
    return output


def levels_of(quantiles: tuple[float, ...], outputs: int) -> tuple[float, ...]:
    """The level of each output: those given, or else spread evenly, 0.5 of one output, 1/4, 2/4 and
    3/4 of three. Raises BpttError for others than one an output, each between 0 and 1."""
    if not quantiles:
        return tuple((k + 1) / (outputs + 1) for k in range(outputs))
    if len(quantiles) != outputs:
        raise BpttError(
            f"{len(quantiles)} quantiles for {outputs} outputs: one an output is needed"
        )
    for level in quantiles:
        if not 0 < level < 1:
            raise BpttError(f"quantile {level} is not allowed: numbers between 0 and 1 are")
    return quantiles


def loss_scale(
    reduction: str, weights: NDArray[np.floating], cases: NDArray[np.integer]
) -> NDArray[np.float64]:
    """The factor s of a batch's loss L = s sum over b, t of w_bt loss_bt (35).

    weights (..., B): for each sample the sum over its counted steps of the weights w_bt; cases
    (..., B): how many steps those are, n_b. Without weights every w_bt is 1.

    'sum': s = 1, summed over steps and samples. 'sequence': summed over steps and averaged over
    samples, 1 / s = sum over b of (sum over t of w_bt) / n_b; without weights that is the number
    of samples with a counted step. 'mean': averaged over all counted steps of all samples,
    1 / s = sum over b, t of w_bt. Where nothing counts, s = 0. The losses of a step's O outputs are
    always summed.

    So a sample of weight 2 counts as one that is there twice, and weights that are all multiplied
    by the same number leave a mean as it is.
    """
    if reduction not in REDUCTIONS:
        raise BpttError(
            f"reduction '{reduction}' is not known: choose one of {quoted_list(REDUCTIONS)}"
        )
    if reduction == "sum":
        return np.ones(weights.shape[:-1])
    parts = weights / np.maximum(cases, 1) if reduction == "sequence" else weights
    whole = parts.sum(axis=-1, dtype=np.float64)
    scale: NDArray[np.float64] = np.zeros_like(whole)
    np.divide(1, whole, out=scale, where=whole > 0)
    return scale
