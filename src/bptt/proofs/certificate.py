"""Certificates: a proof as a safetensors file, with all that a check needs.

Tensors: the network's weights (`w:U`, ...), the automaton (`inputs`, `after`, `answers`) and the
balls (`centre`, `radius`, `label`, `metric`). Metadata `bptt`: JSON with the structure, the task
that stated the automaton (or null), its claim and the names of its symbols and states.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from safetensors.numpy import save

from bptt.equations.own import as_text
from bptt.proofs.machine import Machine
from bptt.version import __version__

if TYPE_CHECKING:  # it imports the compiler
    from bptt.proofs.search import Balls

FILE = "proof.safetensors"


def certificate(machine: Machine, balls: "Balls", task: Mapping[str, Any] | None) -> bytes:
    """The file's content. task: the configuration of the task that stated the automaton."""
    automaton = machine.automaton
    about = {
        "version": __version__,
        "proof": {
            "structure": msgspec.to_builtins(machine.structure, enc_hook=as_text),
            "task": None if task is None else dict(task),
            "claim": automaton.claim,
            "symbols": list(automaton.symbols),
            "names": list(automaton.names),
        },
    }
    arrays: dict[str, Any] = {
        f"w:{name}": value for name, value in machine.network.parameters.items()
    }
    arrays |= {
        "inputs": automaton.inputs, "after": automaton.after, "answers": automaton.answers,
        "centre": balls.centre, "radius": balls.radius, "label": balls.label,
        "metric": balls.metric,
    }  # fmt: skip
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(whole, {"bptt": json.dumps(about)})
