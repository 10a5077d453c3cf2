"""The compilation of kernels, piece by piece, in this process or for another one."""

import gc
import json
import sys
from collections.abc import Sequence
from functools import cache

from bptt.kernels.machine import compiler, library
from bptt.kernels.machine.compiler import Piece
from bptt.kernels.machine.library import Key
from bptt.kernels.walk.loop import pieces, strip_pieces, update_pieces


@cache
def _pieces(key: Key) -> tuple[dict[str, Piece], dict[str, Piece]]:
    """The functions of a kernel, and with them those that kernels share, by name; the list of the
    first is kept."""
    own = {piece.name: piece for piece in pieces(key)}
    shared = [*strip_pieces(key.regime, key.dtype), *update_pieces(key.regime, key.dtype)]
    names: list[str | None] = [None] * len(own)  # the one to be called, then those it calls
    for piece in own.values():
        names[0 if piece.place is None else piece.place + 1] = piece.name
    library.keep(f"{'-'.join(key)}.json", json.dumps(names).encode())
    return own, own | {piece.name: piece for piece in shared}


def build(key: Key, shared: Sequence[str]) -> None:
    """Compile what is not kept of a kernel and these shared functions."""
    own, found = _pieces(key)
    for name in (*own, *shared):
        compiler.build(found[name])


def serve() -> None:
    """Answer the requests of another process (`library.Builder.ask`), a line each, until it has no
    more."""
    gc.disable()  # a short life with many small objects: looking for cycles is a tenth of it
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        key, name = json.loads(line)
        own, found = _pieces(Key(*key))
        if name is not None:
            compiler.build(found[name])
        print(json.dumps(list(own)), file=answers, flush=True)
