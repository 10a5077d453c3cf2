"""Training on a data set by epochs, with validation, and the model that comes of it."""

from bptt.fitting.model import Model
from bptt.fitting.plan import Plan
from bptt.fitting.public import fit, load_model
from bptt.fitting.training import Fit

__all__ = ["Fit", "Model", "Plan", "fit", "load_model"]
