"""Forecasts of series: windows of them to learn from, the model, intervals, and comparisons."""

from bptt.fitting.forecasting.forecast import Forecast
from bptt.fitting.forecasting.plan import ForecastPlan

__all__ = ["Forecast", "ForecastPlan"]
