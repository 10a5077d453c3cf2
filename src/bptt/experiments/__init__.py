"""The published experiments, by name, and the runner for all of them and for your own."""

from bptt.experiments.declaration import NAMES, Experiment, declared, find
from bptt.experiments.running import Outcome, experiment

__all__ = ["NAMES", "Experiment", "Outcome", "declared", "experiment", "find"]
