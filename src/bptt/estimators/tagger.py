"""`RNNTagger`: a label for each step."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from bptt.estimators.base import Recurrent, with_more
from bptt.sequences import Sequences


@with_more(class_weight=None)
class RNNTagger(Recurrent):
    """A recurrent network that gives each step of a sequence a label.

    X: as of `RNNClassifier`. Y: a list of (T_i,), or an array (n, T), of labels; None and NaN are
    unknown and do not count. class_weight: None or 'balanced'.

    Fitted: classes_ and the others of `RNNClassifier`.

    >>> from bptt import RNNTagger
    >>> X = [[[0.0], [1.0], [1.0]], [[1.0], [0.0]]] * 5
    >>> Y = [["low", "high", "high"], ["high", "low"]] * 5
    >>> tag = RNNTagger(hidden=4, epochs=30, engine="reference", random_state=0).fit(X, Y)
    >>> [labels.tolist() for labels in tag.predict(X[:2])]
    [['low', 'high', 'high'], ['high', 'low']]
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.target_tags.required = "tagger", True
        tags.input_tags.two_d_array = False  # a label a step is no target of a row
        return tags

    def fit(
        self, X: Any, Y: Any, sample_weight: Any = None, groups: Any = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> Self:  # fmt: skip
        """Train. sample_weight: (n,), a sequence; the others as of `RNNClassifier.fit`."""
        X, _ = self._read(X)
        weights = self._weights(sample_weight, X)
        data = self._data(X, Y, weights, groups, "classes")
        self.classes_ = np.array(data.classes)
        return self._learn(data, validation_data, class_weight=self.class_weight or "")

    def predict(self, X: Any) -> list[NDArray[Any]]:
        """The labels of each sequence, (T_i,)."""
        data = self._new(X)
        found: list[NDArray[Any]] = self.model_.predict(data)
        return found

    def predict_proba(self, X: Any) -> list[NDArray[Any]]:
        """(T_i, K) of each sequence: the probability of each of `classes_`."""
        data = self._new(X)
        found: list[NDArray[Any]] = self.model_.predict_proba(data)
        return found

    def score(self, X: Any, Y: Any) -> float:
        """The share of known labels that are right."""
        check_is_fitted(self)
        X = X.X if isinstance(X, Sequences) else X
        return self.model_.test(Sequences(X, Y, like=self.model_.schema)).value
