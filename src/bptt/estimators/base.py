"""What the estimators have in common: their parameters, reading X, fitting, saving."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from bptt.errors import BpttError
from bptt.fitting import Fit, Model
from bptt.fitting.plan import Plan, plan_of
from bptt.fitting.streaming import AnswerStream
from bptt.sequences import Sequences
from bptt.sequences.splits import split

# The parameters that are options of `bptt.fit` by the same names.
PLANNED = (
    "cell", "hidden", "layers", "bidirectional", "initial_state", "dtype", "optimizer",
    "learning_rate", "weight_decay", "clip_norm", "batch", "window", "warm_up", "epochs",
    "patience", "plateau", "factor", "decay_over", "noise", "dropout", "input_dropout",
    "dropout_mask", "engine",
)  # fmt: skip
# Seeds are drawn below this. With fewer sequences nothing is held out.
MOST_SEEDS, FEW = 2**31 - 1, 20
FLOATS = (np.float64, np.float32)  # the first for what is neither


def with_more(without: Sequence[str] = (), **more: Any) -> Callable[[type], type]:
    """A class decorator: parameters beside those of `Recurrent`, with their defaults, in the
    signature that scikit-learn reads; without: those of `Recurrent` that stay as they are."""

    def decorate(kind: type) -> type:
        def init(self: Any, **parameters: Any) -> None:
            own = {name: parameters.pop(name, default) for name, default in more.items()}
            unknown = [name for name in parameters if name in without]
            if unknown:
                raise TypeError(f"unexpected keyword argument '{unknown[0]}'")
            Recurrent.__init__(self, **parameters)
            vars(self).update(own)

        keyword = inspect.Parameter.KEYWORD_ONLY
        base = inspect.signature(Recurrent.__init__)
        added = [inspect.Parameter(name, keyword, default=more[name]) for name in more]
        kept = [each for name, each in base.parameters.items() if name not in without]
        init.__signature__ = base.replace(  # type: ignore[attr-defined]
            parameters=[*kept, *added]
        )
        kind.__init__ = init  # type: ignore[misc]
        return kind

    return decorate


class Recurrent(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Parameters of all estimators; see `bptt.fitting.plan.Plan` for what they mean.

    validation: the share of the sequences held out for early stopping, whole groups where `fit` is
    given groups; nothing is held out of fewer than 20. missing: see `bptt.sequences.missing`.
    random_state: as everywhere in scikit-learn; the same one gives the same bits.
    """

    def __init__(
        self,
        *,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        initial_state: str = "zeros",
        dtype: str = "float32",
        optimizer: str = "adam",
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        batch: int = 32,
        window: int = 0,
        warm_up: int = 0,
        epochs: int = 100,
        validation: float = 0.2,
        patience: int = 20,
        plateau: int = 0,
        factor: float = 0.5,
        decay_over: int = 0,
        noise: float = 0.0,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        dropout_mask: str = "step",
        missing: str = "error",
        engine: str = "compiled",
        random_state: Any = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.initial_state = initial_state
        self.dtype = dtype
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.batch = batch
        self.window = window
        self.warm_up = warm_up
        self.epochs = epochs
        self.validation = validation
        self.patience = patience
        self.plateau = plateau
        self.factor = factor
        self.decay_over = decay_over
        self.noise = noise
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.dropout_mask = dropout_mask
        self.missing = missing
        self.engine = engine
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _finite(self) -> Any:
        return True if self.missing == "error" else "allow-nan"

    def _read(self, X: Any, y: Any = None, **checks: Any) -> tuple[Any, Any]:
        """X and y to be trained on: X as a list of (T_i, D), or an array (n, T) or (n, T, D). Of
        arrays scikit-learn checks what it always checks, in its words."""
        if isinstance(X, Sequences) or is_ragged(X):
            X = X.X if isinstance(X, Sequences) else list(X)
            first = np.asarray(X[0])
            self.n_features_in_ = 1 if first.ndim == 1 else first.shape[1]
        elif checks:
            X, y = validate_data(
                self, X, y, allow_nd=True, dtype=FLOATS, ensure_all_finite=self._finite, **checks
            )  # fmt: skip
        else:
            X = validate_data(self, X, allow_nd=True, dtype=FLOATS, ensure_all_finite=self._finite)
        if isinstance(X, np.ndarray):  # sums depend in their last bits on the order in memory
            X = np.ascontiguousarray(X)
        check_consistent_length(X, y)
        return X, y

    def _new(self, X: Any) -> Sequences:
        """New data, like those trained on."""
        check_is_fitted(self)
        if isinstance(X, Sequences):
            return X
        if not is_ragged(X):
            X = validate_data(
                self, X, reset=False, allow_nd=True, dtype=FLOATS, ensure_all_finite=self._finite
            )
        return Sequences(X, like=self.model_.schema)

    def _weights(self, weights: Any, X: Any) -> Any:
        """sample_weight checked, or None."""
        if weights is None:
            return None
        count = np.empty((len(X), 1))
        found = _check_sample_weight(weights, count, dtype=np.float64, ensure_non_negative=True)
        if not found.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return found

    def _data(self, X: Any, y: Any, weights: Any, groups: Any, kind: str) -> Sequences:
        """The sequences to train on; those of weight 0 are as if they were not there."""
        data = Sequences(X, y, kind=kind, weights=weights, groups=groups, missing=self.missing)
        return data if weights is None else data[np.flatnonzero(weights > 0)]

    def _learn(self, data: Sequences, held: Any, **plan: Any) -> Self:
        """Train, and keep what came of it. held: (X, y) given for validation, or None."""
        settings = self._plan(**plan)
        if held is not None:
            held = Sequences(held[0], held[1], like=data)
        elif self.validation and len(data) >= FEW:
            data, held = self._split(data, settings.seed)
        work = Fit(settings, data, held)
        for _ in work.records():
            pass
        self.model_: Model = work.model()
        self.network_, self.scaler_ = self.model_.network, self.model_.scaling
        self.n_iter_ = max(1, len(self.model_.records))
        return self

    def _plan(self, **more: Any) -> Plan:
        """The training that the parameters ask for. What is held out is not its business: who
        trains hands it over."""
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = int(check_random_state(seed).randint(MOST_SEEDS))
        options = {name: getattr(self, name) for name in PLANNED}
        return plan_of({**options, "validation": 0.0, "seed": int(seed), **more})

    def _split(self, data: Sequences, seed: int) -> tuple[Sequences, Sequences | None]:
        try:
            return split(data, self.validation, seed)
        except BpttError:
            if data.groups is not None or not 0 < self.validation < 1:
                raise
            return data, None  # as many classes as sequences: none can be spared

    @property
    def history_(self) -> Any:
        """A table with a row an epoch, see `bptt.fitting.training.EpochRecord`."""
        check_is_fitted(self)
        return self.model_.history

    def stream(self, probabilities: bool = False) -> AnswerStream:
        """The answers of `predict` one step at a time, the state kept; probabilities: those of
        `predict_proba`. See `bptt.fitting.streaming`."""
        check_is_fitted(self)
        levels = len(self.model_.levels)
        return self.model_.stream(probabilities, levels // 2 if levels > 1 else None)

    def save(self, path: str | Path) -> None:
        """Write the model as a safetensors file, which `bptt.load_model` reads: no pickle."""
        check_is_fitted(self)
        self.model_.save(path)


def is_ragged(X: Any) -> bool:
    """Whether X is a list of sequences (T_i, D), or of (T_i,) of different lengths."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and np.ndim(X[0]) > 0
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        first = np.ndim(X[0])
        return first == 2 or (first == 1 and len({len(each) for each in X}) > 1)
    except (TypeError, ValueError):  # a list within which lengths differ: for NumPy to say
        return False
