"""`RNNClassifier`: a class for each sequence."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from bptt.estimators.base import Recurrent, with_more


@with_more(class_weight=None)
class RNNClassifier(ClassifierMixin, Recurrent):  # type: ignore[misc]
    """A recurrent network that gives each sequence a class.

    X: an array (n, T), one channel; (n, T, D); or a list of arrays (T_i, D) or (T_i,) of any
    lengths. y: (n,), text, numbers or booleans. class_weight: None, 'balanced', or a weight for
    each class. The other parameters: see `bptt.estimators.base.Recurrent`.

    Fitted: classes_; history_, a row an epoch; network_, a `bptt.Network`; scaler_, means and
    deviations; model_, a `bptt.Model`.

    >>> from bptt import RNNClassifier
    >>> X = [[[0.0], [1.0]], [[1.0], [0.5], [0.0]]] * 5
    >>> clf = RNNClassifier(hidden=4, epochs=30, engine="reference", random_state=0)
    >>> clf.fit(X, ["up", "down"] * 5).predict(X[:2]).tolist()
    ['up', 'down']
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Train. groups (n,): validation takes whole ones. validation_data: (X, y) held out instead
        of a share. sample_weight (n,): what each sequence counts in the loss; 0: not there."""
        X, y = self._read(X, y, multi_output=False)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"RNNClassifier needs two classes, but the data have 1 class: {self.classes_[0]!r}"
            )
        weights = self._weights(sample_weight, X)
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, y)
            weights = by_class if weights is None else weights * by_class
        data = self._data(X, y, weights, groups, "classes")
        return self._learn(data, validation_data)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, K): the probability of each of `classes_`."""
        p = self._proba(X)
        shares: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
        return shares

    def _proba(self, X: Any) -> NDArray[np.float64]:
        data = self._new(X)
        return np.asarray(self.model_.predict_proba(data), np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,): the class of the largest probability."""
        p = self._proba(X)
        found: NDArray[Any] = self.classes_[p.argmax(axis=1)]
        return found
