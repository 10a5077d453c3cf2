"""The compilation of kernels, piece by piece, in this process or for another one."""

import gc
import json
import sys
from functools import cache

from bptt.kernels import compiler, library
from bptt.kernels.compiler import Piece
from bptt.kernels.library import Key
from bptt.kernels.training import pieces


@cache
def _pieces(key: Key) -> dict[str, Piece]:
    """The functions of a kernel by name; the list of them is kept."""
    found = pieces(key)
    names: list[str | None] = [None] * len(found)  # the one to be called, then those it calls
    for piece in found:
        names[0 if piece.place is None else piece.place + 1] = piece.name
    library.keep(f"{'-'.join(key)}.json", json.dumps(names).encode())
    return {piece.name: piece for piece in found}


def build(key: Key) -> None:
    """Compile what is not kept of a kernel."""
    for piece in _pieces(key).values():
        compiler.build(piece)


def serve() -> None:
    """Answer the requests of another process (`library.Builder.ask`), a line each, until it has no
    more."""
    gc.disable()  # a short life with many small objects: looking for cycles is a tenth of it
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        key, name = json.loads(line)
        found = _pieces(Key(*key))
        if name is not None:
            compiler.build(found[name])
        print(json.dumps(list(found)), file=answers, flush=True)
