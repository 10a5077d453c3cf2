"""What a step costs: our stream and our C beside ONNX Runtime and PyTorch, in one run.

    python -m benchmarks.exchange --publish docs/exchange.md        three minutes

One thread, one sample, one input and one output. Contenders take turns, seven rounds; a figure is
the best round's processor time. Every contender's outputs are compared with the network's in
float64 first. Contenders that are not installed (onnxruntime, torch, clang, valgrind, the
Cortex-M4's compiler and emulator) are left out and named.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import bptt
from benchmarks import microcontroller, report
from benchmarks.results import machine
from bptt.exchange.c_compiler import Compiled, compiled
from bptt.exchange.c_fixed import c_fixed_source
from bptt.exchange.c_source import c_source
from bptt.exchange.fixed import quantised
from bptt.exchange.formats import FORMATS
from bptt.exchange.model import Model, model_of
from bptt.exchange.players import Ours

FLAGS = ("-O3", "-march=native", "-ffp-contract=fast")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
CASES = [("lstm", 16), ("lstm", 32), ("gru", 16), ("gru", 8)]
ROUNDS, LONG = 7, 1_000_000
Step = Callable[[Any], Any]


def network(cell: str, hidden: int, engine: str = "compiled") -> bptt.Network:
    """A network all of whose parameters are random."""
    made = bptt.Network(
        inputs=1, outputs=1, hidden=hidden, cell=cell, output="linear", loss="squared",
        engine=engine,
    )  # fmt: skip
    made.theta[:] = 0.4 * np.random.default_rng(hidden).standard_normal(made.theta.size)
    return made


def signal(steps: int) -> Any:
    """Inputs (T, 1)."""
    return np.random.default_rng(1).uniform(-1, 1, (steps, 1)).astype(np.float32)


# Contenders: each takes an input (1,) and gives an output; the state is carried.


def ours(made: bptt.Network) -> Step:
    """`Network.stream` in Python."""
    return made.stream().step


def onnx_runtime(made: bptt.Network) -> Step:
    """ONNX Runtime on the exported step, the states handed back and in."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = FORMATS["onnx"].function("write")(model_of(made), step=True)
    session = onnxruntime.InferenceSession(content, options)
    names = [each.name for each in session.get_inputs()]
    hidden = made.structure.hidden
    states: dict[str, Any] = {name: np.zeros((1, 1, hidden), np.float32) for name in names[1:]}

    def step(x: Any) -> Any:
        states["x"] = x.reshape(1, 1, 1)
        y, *after = session.run(None, states)
        for name, state in zip(names[1:], after, strict=True):
            states[name] = state
        return y[0, 0]

    return step


def pytorch(made: bptt.Network) -> Step:
    """PyTorch's module, without gradients."""
    import torch

    torch.set_num_threads(1)
    s = made.structure
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[str(s.cell)]
    layer, head = kind(s.inputs, s.hidden), torch.nn.Linear(s.hidden, s.outputs)
    tensors = {name: torch.tensor(value) for name, value in bptt.to_torch(made).items()}
    parts: list[tuple[Any, str]] = [(layer, "rnn."), (head, "head.")]
    for module, prefix in parts:
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    state: list[Any] = [None]

    def step(x: Any) -> Any:
        with torch.inference_mode():
            h, state[0] = layer(torch.from_numpy(x.reshape(1, 1, 1)), state[0])
            return head(h)[0, 0].numpy()

    return step


def python_contenders(made: bptt.Network) -> dict[str, Step]:
    """Those that are called from Python, once a step."""
    found = {"bptt, stream.step": ours(made)}
    if importlib.util.find_spec("onnxruntime"):
        found["ONNX Runtime"] = onnx_runtime(made)
    if importlib.util.find_spec("torch"):
        found["PyTorch"] = pytorch(made)
    return found


def c_contenders(model: Model) -> Iterator[tuple[str, Compiled, float]]:
    """Compiled files by name, with the difference that they may have."""
    x = signal(2000)[None]
    sizes = (1, 1, 4 * model.initial().size)
    for compiler in COMPILERS:
        for math in ("exact", "fast"):
            library = compiled(c_source(model, "net", math), *FLAGS, command=(compiler,))
            yield f"C {math}, {compiler}", Compiled(library, "net", sizes), 2e-5
        library = compiled(c_fixed_source(model, quantised(model, x), "net"), *FLAGS,
                           command=(compiler,))  # fmt: skip
        yield f"C int8, {compiler}", Compiled(library, "net", (1, 1, sizes[2] // 2)), 0.2


def checked(name: str, found: Any, wanted: Any, limit: float) -> None:
    """Raises ArithmeticError if a contender does not do what the network does."""
    worst = float(np.abs(np.ravel(found) - wanted[:, 0]).max())
    if not worst <= limit:
        raise ArithmeticError(f"{name} is off by {worst:.1e}")


def times(cell: str, hidden: int) -> dict[str, float]:
    """Nanoseconds a step of every contender."""
    made = network(cell, hidden)
    model, x = model_of(made), signal(20_000)
    wanted = Ours(model).run(x[:200])
    goes: dict[str, tuple[Callable[[], Any], int]] = {}
    for name, step in python_contenders(made).items():
        checked(name, [np.copy(step(row)) for row in x[:200]], wanted, 2e-5)
        rows = list(x[:2000])

        def go(step: Step = step, rows: Any = rows) -> None:
            for row in rows:
                step(row)

        goes[name] = (go, len(rows))
    for name, player, limit in c_contenders(model):
        checked(name, player.run(x[:200]), wanted, limit)
        goes[name] = (lambda player=player: player.run(x), len(x))  # type: ignore[misc]
    best = dict.fromkeys(goes, np.inf)
    for _ in range(ROUNDS):
        for name, (call, steps) in goes.items():
            before = time.process_time_ns()
            call()
            best[name] = min(best[name], (time.process_time_ns() - before) / steps)
    return best


MAIN = r"""
#include <stdlib.h>
int main(int argc, char **argv)
{
    net_state state;
    int t, steps = argc > 1 ? atoi(argv[1]) : 0;
    float sum = 0.0f;
    net_reset(&state);
    for (t = 0; t < steps; t++) {
        float x = (float)(t % 97) * 0.02f - 1.0f, y;
        net_step(&state, &x, &y);
        sum += y;
    }
    return sum > 1e30f;
}
"""


def instructions(source: str, compiler: str) -> float:
    """Instructions a step, counted by callgrind: of 2,000 steps less those of 1,000."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.c").write_text(source + MAIN)
        # Valgrind does not know every instruction of the newest processors: those of AVX2.
        flags = ("-O3", "-march=haswell", "-ffp-contract=fast")
        subprocess.run([compiler, *flags, "-o", "net", "net.c", "-lm"], cwd=folder, check=True)
        counted = []
        for steps in ("1000", "2000"):
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", "--callgrind-out-file=out", "./net", steps],
                cwd=folder, capture_output=True, text=True, check=True,
            )  # fmt: skip
            counted.append(int(re.findall(r"Collected : (\d+)", done.stderr)[0]))
    return (counted[1] - counted[0]) / 1000


def drift(cell: str, hidden: int) -> list[str]:
    """The largest difference from float64 over a million steps, and the root of the mean square:
    of our float32 kernel, of C exact, and of C fast; all with the same weights."""
    made, x = network(cell, hidden), signal(LONG)
    s = made.structure
    wide = bptt.Network(
        inputs=1, outputs=1, hidden=hidden, cell=s.cell, output="linear", loss="squared",
        dtype="float64",
    )  # fmt: skip
    wide.theta[:] = made.theta
    streams = [wide.stream(), made.stream()]
    sizes = (1, 1, 4 * model_of(made).initial().size)
    players = [
        Compiled(compiled(c_source(model_of(made), "net", math), *FLAGS), "net", sizes)
        for math in ("exact", "fast")
    ]
    worst, squares = np.zeros(3), np.zeros(3)
    for part in np.split(x, 100):
        wanted = streams[0].run(part.astype(np.float64))
        for k, run in enumerate((streams[1].run, *(player.run for player in players))):
            # Compiled files may write over what they are given.
            apart = np.abs(run(part.copy()) - wanted)
            worst[k] = max(worst[k], apart.max())
            squares[k] += (apart**2).sum()
    return [f"{w:.2e} ({r:.2e})" for w, r in zip(worst, np.sqrt(squares / LONG), strict=True)]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def step_tables() -> Iterator[str]:
    """Times, ratios, instructions."""
    rows, names = {}, [f"{cell.upper()} {hidden}" for cell, hidden in CASES]
    for (cell, hidden), name in zip(CASES, names, strict=True):
        rows[name] = times(cell, hidden)
    contenders = list(rows[names[0]])
    yield f"Nanoseconds of processor time a step, the best of {ROUNDS} rounds:\n"
    yield table(["contender", *names],
                [[c, *(f"{rows[n][c]:,.0f}" for n in names)] for c in contenders])  # fmt: skip
    if "ONNX Runtime" in contenders:
        mine = [c for c in contenders if c.startswith(("C ", "bptt"))]
        yield "Times as fast as ONNX Runtime:\n"
        yield table(["contender", *names],
                    [[c, *(f"{rows[n]['ONNX Runtime'] / rows[n][c]:,.1f}" for n in names)]
                     for c in mine])  # fmt: skip
    if shutil.which("valgrind"):
        yield "Instructions a step, counted by callgrind (`-march=haswell`):\n"
        yield table(["file", *names], list(counted_rows()))


def counted_rows() -> Iterator[list[str]]:
    """Instructions a step of every compiler and arithmetic."""
    models = [model_of(network(cell, hidden, "reference")) for cell, hidden in CASES]
    for compiler in COMPILERS:
        for math in ("exact", "fast"):
            counts = [instructions(c_source(model, "net", math), compiler) for model in models]
            yield [f"C {math}, {compiler}", *(f"{count:,.0f}" for count in counts)]


def microcontroller_tables() -> Iterator[str]:
    """The Cortex-M4."""
    rows, x = [], signal(40)[None]
    for cell, hidden in (("gru", 8), ("lstm", 16)):
        model = model_of(network(cell, hidden, "reference"))
        for math in ("exact", "fast", "int8"):
            whole = math == "int8"
            source = (c_fixed_source(model, quantised(model, signal(2000)[None]), "net")
                      if whole else c_source(model, "net", math))  # fmt: skip
            found = microcontroller.run(source, x)
            numbers = (
                found.instructions,
                found.code,
                found.constants,
                found.flash,
                model.initial().size * (2 if whole else 4),
                found.variables + found.stack,
            )
            rows.append([f"{cell.upper()} {hidden}", math, *(f"{n:,.0f}" for n in numbers)])
    yield (
        "On an emulated Cortex-M4 (QEMU's mps2-an386, GCC with `-O2`), sizes in bytes; the whole "
        "program has the C library's functions and the self-test left out:\n"
    )
    yield table(["network", "math", "instructions a step", "code", "constants", "whole program",
                 "state", "variables and stack"], rows)  # fmt: skip


def lines() -> Iterator[str]:
    """All of it, piece by piece."""
    absent = [name for name in ("onnxruntime", "torch") if not importlib.util.find_spec(name)]
    absent += [name for name in ("gcc", "clang", "valgrind") if not shutil.which(name)]
    absent += [microcontroller.missing()] if microcontroller.missing() else []
    all_of_it = machine()
    known = {name: all_of_it[name] for name in ("processor", "cores", "system", "numba")}
    for name in ("onnxruntime", "torch"):
        if name not in absent:
            known[name] = str(import_module(name).__version__)
    for name in COMPILERS:
        said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True)
        known[name] = said.stdout.splitlines()[0]
    yield f"`python -m benchmarks.exchange`; {'; '.join(f'{k} {v}' for k, v in known.items())}.\n"
    yield f"C is compiled with `{' '.join(FLAGS)}`. Not there: {', '.join(absent) or 'nothing'}.\n"
    yield from step_tables()
    yield f"Largest difference from float64 over {LONG:,} steps (and root mean square):\n"
    yield table(["network", "our float32 kernel", "C exact", "C fast"],
                [[f"{cell.upper()} {hidden}", *drift(cell, hidden)]
                 for cell, hidden in CASES])  # fmt: skip
    if not microcontroller.missing():
        yield from microcontroller_tables()


def main() -> None:
    """Print all of it, and put it into a document."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exchange", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    words = "put the tables between the marks of this file (docs/exchange.md)"
    parser.add_argument("--publish", type=Path, metavar="DOCUMENT", help=words)
    document = parser.parse_args().publish
    before, after = report.marked(document) if document else ("", "")
    found = []
    for piece in lines():
        print(piece, flush=True)
        found.append(piece)
    if document:
        text = "\n".join(found)
        document.write_text(f"{before}{report.BEGIN}\n\n{text}\n{report.END}{after}")


if __name__ == "__main__":
    main()
