"""A look inside a network: the figures of docs/traces.md, written to the folder that is named.

python examples/trace.py [FOLDER]
"""

import sys
from pathlib import Path

import bptt
from bptt.traces import figures

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
task = bptt.Addition(bits=8)
network = bptt.Network(inputs=2, outputs=1, hidden=16, cell="elman", reduction="sequence", seed=1)
x, y = task.encode([(255, 1), (170, 85)])
trace = bptt.trace(network, x, y)
print(trace)

bits = [f"{a}+{b}" for a, b in x[0]]
figures.stage(trace, labels=bits).savefig(folder / "trace-stage.png", dpi=120)
figures.credit(trace).savefig(folder / "trace-credit.png", dpi=120)
