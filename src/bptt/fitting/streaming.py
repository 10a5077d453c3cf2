"""A model one step at a time: the user's numbers in, the user's answers out, the state kept.

What a step needs besides the network's own (`bptt.network.streaming`) is done in buffers that stay:
missing values are looked for, inputs scaled in the float type that `predict` scales them in, and
outputs turned into numbers in the units of the data, probabilities or a class.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.errors import BpttError, not_there
from bptt.network.network import Network
from bptt.network.parameters import Array
from bptt.sequences import Scaling, Schema
from bptt.sequences.missing import NOT_TRAINED

Floats = NDArray[np.float64]


class AnswerState(NamedTuple):
    """The state of a stream. network: of its network, (layers, S, 1, H). last: the last value of
    each channel (with missing='last'), NaN where there was none."""

    network: Array
    last: Floats


class AnswerStream:
    """A model one step at a time: `bptt.fitting.Model.stream` makes it, and an estimator's
    `stream`.

    >>> import bptt
    >>> X = [[[0.0], [1.0], [1.0]], [[1.0], [0.0]]] * 5
    >>> Y = [["low", "high", "high"], ["high", "low"]] * 5
    >>> data = bptt.Sequences(X, Y)
    >>> model = bptt.fit(data, validation=0, hidden=4, epochs=30, engine="reference", seed=0)
    >>> stream = model.stream()
    >>> [str(stream.step([x])) for x in (1.0, 0.0)]
    ['high', 'low']

    The answers are those of `predict` (or `predict_proba`) for the same steps as one sequence, but
    for the rounding of the network's float type: sums are added in another order. Of answers a
    sequence each step's is that of a sequence that ends there. The weights are those of the making.
    A stream is for one thread at a time.
    """

    def __init__(
        self,
        network: Network,
        schema: Schema,
        scaling: Scaling,
        levels: int = 1,
        probabilities: bool = False,
        level: int | None = None,
    ) -> None:
        if probabilities and schema.kind != "classes":
            raise BpttError("numbers were learned, which have no probabilities: leave them out")
        self._stream, self._schema, self._scaling = network.stream(), schema, scaling
        self._per_step = schema.per == "step"
        self._probabilities, self._levels, self._level = probabilities, levels, level
        self._names = np.array(schema.classes) if schema.kind == "classes" else None
        sizes = [len(column.channels) for column in schema.columns]
        self._own = sum(sizes)
        flagged = np.array([column.flagged for column in schema.columns])
        self._may_miss = np.repeat(flagged, sizes)
        self._firsts = (np.cumsum(sizes) - sizes)[flagged]  # of what is flagged
        self._texts = any(column.categories for column in schema.columns)
        self._x = np.zeros(len(scaling.mean), network.structure.dtype)
        self._single, self._double = (
            _Scaled(scaling, self._own, kind) for kind in ("float32", "float64")
        )
        self._finite = np.zeros(self._own, np.bool_)
        self._carries = schema.reading.missing == "last"
        self._last = np.full(self._own, np.nan)
        if self._names is None:
            mean, deviation = (
                np.repeat(np.asarray(each, np.float64), levels)
                for each in (scaling.target_mean, scaling.target_deviation)
            )
            self._mean, self._deviation = mean, deviation
            self._numbers = np.zeros(len(mean))
            # The answer as `predict` has it: a view of all of them, or of one.
            self._answer = _shaped(self._numbers.reshape(-1, levels), level)

    def step(self, x: ArrayLike) -> Any:
        """One step: x (D,), the channels in the units of the data, NaN where missing; of one
        channel also the number alone; of tables with text columns a value a column.

        Gives a class by its name; with probabilities (K,); or of numbers one, (O,), of quantiles
        (Q,) or (O, Q). Arrays are the same ones every time, which the next step writes to: copy
        what is to stay. Raises BpttError, and stays where it was, for other channels, infinite
        values, and ones missing where nothing was in training.
        """
        self._take(x)
        return self._answered(self._stream.step(self._x))

    def _answered(self, p: Array) -> Any:
        if self._names is not None:
            return p if self._probabilities else self._names[p.argmax()]
        np.multiply(p, self._deviation, out=self._numbers)
        np.add(self._numbers, self._mean, out=self._numbers)
        return self._answer if self._answer.ndim else float(self._answer)

    def _take(self, x: Any) -> None:
        """x scaled to where the network's stream takes it from."""
        given = self._by_column(x) if self._texts else _array(x)
        if given.shape != (self._own,) and not (self._own == 1 and given.ndim == 0):
            names = self._schema.channels[: self._own]
            raise BpttError(
                f"x has shape {given.shape}: a step has {self._own} channels, "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
        scaled = self._single if _small(given.dtype) else self._double
        own = scaled.own
        own[...] = given
        np.isfinite(own, out=self._finite)
        if self._finite.all():
            if self._carries:
                self._last[...] = own
            scaled.flags[...] = 0
            scaled.scale()
        else:
            self._fill(scaled)
        self._x[...] = scaled.x

    def _fill(self, scaled: "_Scaled") -> None:
        """A step with missing values, as `bptt.sequences.missing` has them."""
        own = scaled.own
        holes = np.isnan(own)
        wrong = np.flatnonzero(~self._finite & ~(holes & self._may_miss))
        if wrong.size:
            channel = int(wrong[0])
            what = (
                f"missing{NOT_TRAINED}"
                if holes[channel]
                else f"{own[channel]}: finite numbers are needed"
            )
            raise BpttError(f"channel '{self._schema.channels[channel]}' is {what}")
        scaled.flags[...] = holes[self._firsts]
        if self._carries:
            np.copyto(own, self._last, where=holes, casting="same_kind")
            self._last[...] = own
        scaled.scale()
        np.nan_to_num(scaled.x, copy=False, nan=0.0)

    def _by_column(self, values: Any) -> Floats:
        """A value a column as channels: texts one-hot, all NaN where missing."""
        columns = self._schema.columns
        if isinstance(values, str) or np.ndim(values) != 1 or len(values) != len(columns):
            names = ", ".join(column.name for column in columns[:8])
            raise BpttError(
                f"x is {values!r:.60}: a step has {len(columns)} values, one a column: {names}"
            )
        found: list[Any] = []
        for value, column in zip(values, columns, strict=True):
            if not column.categories:
                found.append(np.nan if value is None else value)
            elif value is None or value != value:
                found += [np.nan] * len(column.categories)
            elif str(value) in column.categories:
                found += [float(str(value) == each) for each in column.categories]
            else:
                where = f"in training column '{column.name}'"
                raise not_there("value", str(value), column.categories, where)
        return np.asarray(_array(found), np.float64)

    def run(self, block: Any) -> Any:
        """Many steps at once: block (T, D), of one channel also (T,), to the answers (T, ...), a
        new array; of answers a sequence to the one after the block. The state goes on from its end.
        Raises BpttError as `step` does, and for no steps, and stays where it was."""
        rows = list(block) if self._texts else _array(block)
        if not np.ndim(rows) or not len(rows):
            raise BpttError("the block holds no steps: give (steps, channels)")
        x, before = np.empty((len(rows), len(self._x)), self._x.dtype), self._last.copy()
        for place, row in enumerate(rows):
            try:
                self._take(row)
            except BpttError as error:
                self._last[...] = before
                raise BpttError(f"step {place} of the block: {error}") from None
            x[place] = self._x
        if self._per_step:
            return self._all_answered(self._stream.run(x))
        for row in x:
            p = self._stream.step(row)
        answer = self._answered(p)
        return answer.copy() if isinstance(answer, np.ndarray) else answer

    def _all_answered(self, p: Array) -> Any:
        if self._names is not None:
            return p if self._probabilities else self._names[p.argmax(axis=-1)]
        return numbers_of(p, self._scaling, self._levels, self._level)

    def reset(self) -> None:
        """Go to the state before the first step."""
        self._stream.reset()
        self._last[...] = np.nan

    @property
    def state(self) -> AnswerState:
        """The state, a copy: keep it, and put it back by assigning it."""
        return AnswerState(self._stream.state, self._last.copy())

    @state.setter
    def state(self, state: AnswerState) -> None:
        if not isinstance(state, AnswerState) or state.last.shape != self._last.shape:
            raise BpttError("this is no state of such a stream: give what its `state` was")
        self._stream.state = state.network
        self._last[...] = state.last


class _Scaled:
    """A step's inputs in one float type, x (D,): the user's channels, and flags after them."""

    def __init__(self, scaling: Scaling, own: int, kind: str) -> None:
        self._mean, self._deviation = (
            np.asarray(each, kind) for each in (scaling.mean, scaling.deviation)
        )
        self.x = np.zeros(len(self._mean), kind)
        self.own, self.flags = self.x[:own], self.x[own:]

    def scale(self) -> None:
        """See `Scaling.inputs`."""
        np.subtract(self.x, self._mean, out=self.x)
        np.divide(self.x, self._deviation, out=self.x)


def _small(kind: np.dtype[Any]) -> bool:
    """Whether float32 holds such values as they are; then `predict` scales them in it."""
    return kind == np.float32 or (kind.kind in "iub" and kind.itemsize <= 2)


def _array(x: Any) -> NDArray[Any]:
    """Numbers as an array; one that is, as it is."""
    try:
        given = np.asarray(x)
    except ValueError:
        raise BpttError("x is ragged: a number a channel is needed") from None
    if given.dtype.kind not in "fiub":
        raise BpttError(f"x is {x!r:.60}: a number a channel is needed, NaN where missing")
    return given


def _shaped(values: Any, level: int | None) -> Any:
    """(..., O, Q) as `predict` gives it: one number, or one quantile, has no axis."""
    if values.shape[-1] == 1:
        level = 0
    found = values if level is None else values[..., level]
    axis = -2 if level is None else -1
    return found.squeeze(axis) if found.shape[axis] == 1 else found


def numbers_of(o: Array, scaling: Scaling, levels: int, level: int | None = None) -> Any:
    """Outputs (..., O Q) as numbers in the units of the data: (..., O, Q), without the axes of one
    number and one quantile; level: of the quantiles this one alone."""
    o = np.swapaxes(o.reshape(*o.shape[:-1], -1, levels), -1, -2)
    return _shaped(np.swapaxes(scaling.undone(o), -1, -2), level)
