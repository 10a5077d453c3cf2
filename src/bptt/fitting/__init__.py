"""Training on a data set by epochs, with validation, and the model that comes of it."""

from bptt.fitting.model import Model, load_model
from bptt.fitting.plan import Plan
from bptt.fitting.training import Fit, fit

__all__ = ["Fit", "Model", "Plan", "fit", "load_model"]
