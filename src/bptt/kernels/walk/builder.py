"""The compilation of kernels, function by function, in this process or for another one.

What is asked for is the name of a function and what it is compiled for (`request_of`): text, so
that it can be sent; of equations of a user's own their traced source goes with it.
"""

import gc
import json
import sys
from functools import cache
from typing import Any

from numba import from_dtype, typeof, types

from bptt.equations.cells import Cell
from bptt.equations.optimizers import RULES, Rule, rule_of
from bptt.equations.outputs import Output
from bptt.equations.own import Equations
from bptt.kernels.machine import compiler
from bptt.kernels.machine.compiler import Piece
from bptt.kernels.machine.strips import LANES, SHARED, STRIPS, SUMMED
from bptt.kernels.machine.tile import strip_piece
from bptt.kernels.walk.loop import FUNCTIONS, train, updater
from bptt.kernels.walk.products import MODELS
from bptt.kernels.walk.regimes import Kind
from bptt.kernels.walk.signature import ARGUMENTS, ASSESS, BEGIN, DISTURB, Key
from bptt.kernels.walk.workspace import plan_of_nothing

OWN: dict[str, type[Equations]] = {"cell": Cell, "output": Output, "rule": Rule}


@cache
def _pieces(request: str) -> dict[str, Piece]:
    """All functions that kernels of this request may call, and the kernel, by name."""
    fields = json.loads(request)
    for name, kind in OWN.items():
        if isinstance(fields[name], dict):
            fields[name] = kind.of_plain(fields[name])
    key = Key(**fields)
    found = [*_kernel(key), *_strips(key), *_updates(key)]
    return {piece.name: piece for piece in found}


def _types(key: Key) -> dict[str, Any]:
    """The types of the kernel's arguments; of `regime`, that of all cells."""
    number = types.CPointer(getattr(types, key.dtype))
    kinds = {
        "number*": number, "int64*": types.CPointer(types.int64), "int64": types.int64,
        "float64*": types.CPointer(types.float64), "float64": types.float64,
        "boolean": types.boolean,
    }  # fmt: skip
    own = {
        "kind": typeof(Kind(key.regime, (key.cell, key.activation), disturbed=key.disturbed)),
        "regime": typeof(Kind(key.regime)),
        "plan": from_dtype(plan_of_nothing(key.regime, key.dtype).dtype),
    }
    return {name: own.get(name) or kinds[kind] for name, kind in ARGUMENTS.items()}


def _kernel(key: Key) -> list[Piece]:
    """The kernel, and the routines that it calls, the update excepted."""
    given, i, yes = _types(key), types.int64, types.boolean
    regime, plan, number, whole = (given[each] for each in ("regime", "plan", "k", "codes"))
    scale = given["scale"]
    judged = typeof(Kind(key.regime, None, key.own_output))
    train_name, assess_name, begin_name, *more = key.names()
    taken = (regime, plan, number, whole, whole, i)
    disturb = [Piece(more[0], FUNCTIONS[DISTURB], taken)] if key.disturbed else []
    return [
        *disturb,
        Piece(train_name, train, tuple(given.values())),
        Piece(
            assess_name, FUNCTIONS[ASSESS],
            (judged, plan, i, number, whole, i, i, number, i),
        ),
        Piece(
            begin_name, FUNCTIONS[BEGIN],
            (regime, plan, i, i, number, whole, number, i, number, number, yes, yes, whole, number,
             yes, scale, i, i),
        ),
    ]  # fmt: skip


def _updates(key: Key) -> list[Piece]:
    """The updates by all rules, and by the one of the key."""
    given, i, real = _types(key), types.int64, types.float64
    regime, plan, number = (given[each] for each in ("regime", "plan", "k"))
    taken = (regime, plan, i, real, real, number, number, i, i, number)
    rules = [*RULES, *([key.rule] if key.rule else [])]
    return [
        Piece(key._replace(rule=name).names()[-1], updater(rule_of(name)), taken) for name in rules
    ]


def _strips(key: Key) -> list[Piece]:
    """All strips that products of a regime may consist of."""
    kinds = (LANES,) if key.regime == MODELS else (SHARED, SUMMED)
    return [
        strip_piece(kind, C, single, key.dtype)
        for kind in kinds
        for C, single in STRIPS
        if C > 0 or kind == SHARED
    ]


def build(request: str, name: str) -> None:
    """Compile the function of that name, unless it is kept."""
    compiler.build(_pieces(request)[name])


def serve() -> None:
    """Answer the requests of another process (`bptt.kernels.machine.library.Maker`), a line each,
    until it has no more."""
    gc.disable()  # a short life with many small objects: looking for cycles is a tenth of it
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request, name = json.loads(line)
        build(request, name)
        print(json.dumps(name), file=answers, flush=True)
