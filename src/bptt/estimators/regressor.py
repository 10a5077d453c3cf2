"""`RNNRegressor`: numbers for each sequence."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from bptt.errors import BpttError
from bptt.estimators.base import Recurrent, with_more


@with_more(loss="squared", quantiles=None)
class RNNRegressor(RegressorMixin, Recurrent):  # type: ignore[misc]
    """A recurrent network that gives each sequence a number, or several.

    X: as of `RNNClassifier`. y: (n,) or (n, O). loss: 'squared', 'absolute', 'huber', in units of
    the standard deviation of y, or 'pinball' with `quantiles`, levels: `predict` gives the middle
    one, `predict_quantiles` all.

    Fitted: as of `RNNClassifier`, without classes_.

    >>> from bptt import RNNRegressor
    >>> X = [[[1.0]] * length for length in range(1, 11)]
    >>> reg = RNNRegressor(hidden=4, epochs=200, engine="reference", random_state=0)
    >>> abs(reg.fit(X, range(1, 11)).predict(X[4:5]) - 5).item() < 1
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Train. The arguments are those of `RNNClassifier.fit`."""
        X, y = self._read(X, y, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float64)
        weights = self._weights(sample_weight, X)
        data = self._data(X, y, weights, groups, "numbers")
        quantiles = () if self.quantiles is None else tuple(self.quantiles)
        return self._learn(data, validation_data, loss=self.loss, quantiles=quantiles)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(n,), or (n, O)."""
        data = self._new(X)
        found: NDArray[np.float64] = self.model_.predict(data)
        levels = len(self.model_.levels)
        return found if levels == 1 else found[..., levels // 2]

    def predict_quantiles(self, X: Any) -> NDArray[np.float64]:
        """(n, Q), or (n, O, Q): the quantiles of the levels trained. Raises BpttError for a model
        of another loss."""
        data = self._new(X)
        if self.loss != "pinball":
            raise BpttError(f"loss '{self.loss}' learns no quantiles: give loss='pinball'")
        found: NDArray[np.float64] = self.model_.predict(data)
        return found if len(self.model_.levels) > 1 else found[..., None]
