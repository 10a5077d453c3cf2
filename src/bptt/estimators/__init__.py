"""Estimators for scikit-learn, imported when first used: they need its package."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bptt.errors import BpttError

if TYPE_CHECKING:
    from bptt.estimators.classifier import RNNClassifier
    from bptt.estimators.forecaster import RNNForecaster
    from bptt.estimators.regressor import RNNRegressor
    from bptt.estimators.tagger import RNNTagger

_HOMES = {
    "RNNClassifier": "classifier", "RNNForecaster": "forecaster", "RNNRegressor": "regressor",
    "RNNTagger": "tagger",
}  # fmt: skip

__all__ = ["RNNClassifier", "RNNForecaster", "RNNRegressor", "RNNTagger"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bptt.estimators' has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401  whether it is there
    except ModuleNotFoundError:
        raise BpttError(
            f"{name} needs scikit-learn: pip install 'bptt[sklearn]'; bptt.fit does without"
        ) from None
    return getattr(import_module(f"bptt.estimators.{_HOMES[name]}"), name)
