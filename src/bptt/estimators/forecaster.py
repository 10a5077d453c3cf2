"""`RNNForecaster`: what comes next in series."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

from bptt.errors import BpttError
from bptt.estimators.base import Recurrent, with_more
from bptt.fitting.forecasting import Forecast, ForecastPlan
from bptt.fitting.forecasting.learning import Backtest, backtest, trained
from bptt.fitting.plan import Plan
from bptt.sequences.series import Names, Series, series_of

if TYPE_CHECKING:
    import pandas

ABOUT = ("horizon", "context", "season", "difference", "log", "stride")
# Parameters of the others that forecasts have no use for.
WITHOUT = ("missing", "window", "warm_up")


@with_more(
    without=WITHOUT, horizon=1, context=0, season=0, difference="auto", log=False, covariates=(),
    stride=1, freq=None, id="unique_id", time="ds", target="y", loss="squared", quantiles=None,
)  # fmt: skip
class RNNForecaster(Recurrent):
    """A recurrent network that says what comes next in series, many at once, all steps directly.

    y: a frame with the columns unique_id (where there are several), ds, y and covariates, or others
    that `id`, `time` and `target` name; a pandas series; an array (T,) or (n, T), a list of (T_i,);
    or `bptt.Sequences`. Times are regular. The parameters: see
    `bptt.fitting.forecasting.ForecastPlan` (horizon, context, season, difference, log, covariates,
    stride, freq) and `bptt.estimators.base.Recurrent`; loss and quantiles as of `RNNRegressor`.
    validation: the share of the forecasts of each series, the last ones, that is held out.

    Fitted: forecast_, a `bptt.fitting.forecasting.Forecast`, with the score beside the naive
    forecasts; model_, network_, history_ as of `RNNClassifier`.

    >>> import numpy as np
    >>> from bptt import RNNForecaster
    >>> y = np.sin(np.arange(80) * np.pi / 6)
    >>> f = RNNForecaster(horizon=2, hidden=4, epochs=40, engine="reference", random_state=0)
    >>> f.fit(y).predict()[["unique_id", "ds"]].values.tolist()
    [[0, 80], [0, 81]]
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.target_tags.required = "forecaster", False
        tags.input_tags.two_d_array = False  # its input are series, which are its target too
        return tags

    def fit(self, y: Any, X: Any = None) -> Self:
        """Train. X: there for pipelines' sake, has to be None: covariates are columns of y."""
        if X is not None:
            raise BpttError("covariates are columns of the frame y: name them with covariates=")
        series, plan, training = self._asked(y)
        self.forecast_: Forecast = trained(series, plan, training)
        self.model_ = self.forecast_.model
        self.network_, self.scaler_ = self.model_.network, self.model_.scaling
        self.n_iter_ = max(1, len(self.model_.records))
        return self

    def _asked(self, y: Any) -> tuple[Series, ForecastPlan, Plan]:
        """What the parameters ask for."""
        covariates = (self.covariates,) if isinstance(self.covariates, str) else self.covariates
        options = {name: getattr(self, name) for name in ABOUT}
        plan = ForecastPlan(
            **options, covariates=tuple(covariates or ()),
            freq="" if self.freq is None else str(self.freq),
        )  # fmt: skip
        quantiles = () if self.quantiles is None else tuple(self.quantiles)
        training = self._plan(validation=self.validation, loss=self.loss, quantiles=quantiles)
        names = plan.names(Names(id=self.id, time=self.time, target=self.target))
        return series_of(y, names, plan.freq), plan, training

    def predict(
        self, h: int | None = None, *, level: Any = (), future: Any = None, data: Any = None
    ) -> "pandas.DataFrame":
        """A table of what comes next, see `bptt.fitting.forecasting.Forecast.predict`: unique_id,
        ds, yhat, and lo-80, hi-80 with level=80, or q0.1 and the like of quantiles."""
        check_is_fitted(self)
        return self.forecast_.predict(h, level=level, future=future, data=data)

    def backtest(
        self, y: Any, folds: int = 5, step: int | None = None, refit: bool = False, level: Any = ()
    ) -> Backtest:
        """Forecasts from cutoffs in the past beside naive and seasonal naive ones, by networks that
        are trained on what stands before; see `bptt.fitting.forecasting.learning.backtest`. What
        `fit` has learned is neither needed nor changed."""
        series, plan, training = self._asked(y)
        return backtest(series, plan, training, folds, step, refit, level)

    def figure(self, data: Any = None, level: Any = 80, future: Any = None) -> Any:
        """The end of the series, and the forecasts with their interval."""
        check_is_fitted(self)
        return self.forecast_.figure(data, level, future)

    def save(self, path: str | Path) -> None:
        """Write the forecast as a safetensors file, which `bptt.load_model` reads: no pickle."""
        check_is_fitted(self)
        self.forecast_.save(path)

    def stream(self, probabilities: bool = False) -> Any:
        """There is none: a forecast reads a window anew each time. Raises BpttError."""
        raise BpttError("a forecast has no stream: predict(data=...) goes on with later values")
