"""Small recurrent networks trained by backpropagation through time.

>>> import bptt
>>> run = bptt.train(bptt.Addition(bits=4), seed=1)
>>> print(run)
exact on 256 of 256 pairs after 1,100 iterations

Names are imported when first used, so that `import bptt` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bptt.version import __version__

if TYPE_CHECKING:
    from bptt.api import Run, load, load_run, resume, train
    from bptt.equations.cells import Cell, Parameter
    from bptt.equations.optimizers import Optimizer, Rule, Schedule
    from bptt.equations.outputs import Output
    from bptt.errors import BpttError
    from bptt.estimators import RNNClassifier, RNNForecaster, RNNRegressor, RNNTagger
    from bptt.exchange.doors import export, from_torch, read, read_file, to_torch
    from bptt.experiments import experiment
    from bptt.fitting import Model, fit, load_model
    from bptt.lab.page import Page, look
    from bptt.mistakes.hunt import bug_hunt, named_mistakes
    from bptt.network.equation_checks import check_cell, check_output
    from bptt.network.gradient_check import check_gradients, check_network
    from bptt.network.network import Network
    from bptt.network.structure import Structure
    from bptt.proofs.automaton import Automaton
    from bptt.proofs.prove import Proof, prove, scout
    from bptt.sequences import Sequences
    from bptt.studies import Panel, Study
    from bptt.tasks import (
        Addition,
        Modulo,
        Parity,
        Task,
        Text,
        Tomita,
        Verdict,
        evaluate,
        length_generalisation,
        write,
    )
    from bptt.traces.trace import load_trace, trace
    from bptt.training.settings import Settings, Stop

_HOMES = {
    "Addition": "tasks",
    "BpttError": "errors",
    "Cell": "equations.cells",
    "Model": "fitting",
    "Modulo": "tasks",
    "Network": "network.network",
    "Optimizer": "equations.optimizers",
    "Output": "equations.outputs",
    "Panel": "studies",
    "Parameter": "equations.cells",
    "Parity": "tasks",
    "RNNClassifier": "estimators",
    "RNNForecaster": "estimators",
    "RNNRegressor": "estimators",
    "RNNTagger": "estimators",
    "Rule": "equations.optimizers",
    "Run": "api",
    "Schedule": "equations.optimizers",
    "Sequences": "sequences",
    "Settings": "training.settings",
    "Stop": "training.settings",
    "Structure": "network.structure",
    "Study": "studies",
    "Task": "tasks",
    "Text": "tasks",
    "Tomita": "tasks",
    "Verdict": "tasks",
    "bug_hunt": "mistakes.hunt",
    "check_cell": "network.equation_checks",
    "check_gradients": "network.gradient_check",
    "check_network": "network.gradient_check",
    "check_output": "network.equation_checks",
    "evaluate": "tasks",
    "experiment": "experiments",
    "export": "exchange.doors",
    "from_torch": "exchange.doors",
    "fit": "fitting",
    "length_generalisation": "tasks",
    "Automaton": "proofs.automaton",
    "Proof": "proofs.prove",
    "named_mistakes": "mistakes.hunt",
    "prove": "proofs.prove",
    "scout": "proofs.prove",
    "load": "api",
    "load_model": "fitting",
    "load_run": "api",
    "load_trace": "traces.trace",
    "Page": "lab.page",
    "look": "lab.page",
    "read": "exchange.doors",
    "read_file": "exchange.doors",
    "resume": "api",
    "to_torch": "exchange.doors",
    "trace": "traces.trace",
    "train": "api",
    "write": "tasks",
}

__all__ = [
    "Addition",
    "Automaton",
    "BpttError",
    "Cell",
    "Model",
    "Modulo",
    "Network",
    "Optimizer",
    "Output",
    "Page",
    "Panel",
    "Parameter",
    "Parity",
    "Proof",
    "RNNClassifier",
    "RNNForecaster",
    "RNNRegressor",
    "RNNTagger",
    "Rule",
    "Run",
    "Schedule",
    "Sequences",
    "Settings",
    "Stop",
    "Structure",
    "Study",
    "Task",
    "Text",
    "Tomita",
    "Verdict",
    "__version__",
    "bug_hunt",
    "check_cell",
    "check_gradients",
    "check_network",
    "check_output",
    "evaluate",
    "experiment",
    "export",
    "fit",
    "from_torch",
    "length_generalisation",
    "load",
    "load_model",
    "load_run",
    "load_trace",
    "look",
    "named_mistakes",
    "prove",
    "read",
    "read_file",
    "resume",
    "scout",
    "to_torch",
    "trace",
    "train",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bptt' has no attribute {name!r}")
    return getattr(import_module(f"bptt.{_HOMES[name]}"), name)
