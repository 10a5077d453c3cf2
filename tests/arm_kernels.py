"""The compiled engine on an emulated ARM processor: kernels compiled for aarch64, run by QEMU.

    python tests/arm_kernels.py NAME...     compare some of `CASES`, say how far numbers are off

The process takes itself for one on ARM (registers, vectors of 16 bytes, how numbers too small to be
normal become zero) as far as kernels and the places of their data depend on it. What they are
compiled to before LLVM optimises it is then made object code for aarch64, linked with a few lines
of C, and every call of a kernel runs that program: arguments and arrays go in by a file, and come
back by another.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
TRIPLE = "aarch64-linux-gnu"
# What a program does: read words and arrays, put addresses in the place of the numbers of
# functions, call the kernel, write m and the results. Kernels are Numba's functions: two places for
# results first, a status at the end.
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%(declared)s
static void *const functions[] = {%(names)s};
typedef union { int64_t i; double d; void *p; } word;
static word w[%(count)d];
static int64_t bytes[%(count)d];
int main(int argc, char **argv) {
    FILE *f = fopen(argv[1], "rb");
    int64_t which;
    if (!f || fread(&which, 8, 1, f) != 1) return 2;
    for (int k = 0; k < %(count)d; k++) {
        if (fread(&bytes[k], 8, 1, f) != 1) return 2;
        if (bytes[k] < 0) { if (fread(&w[k], 8, 1, f) != 1) return 2; continue; }
        w[k].p = aligned_alloc(64, (bytes[k] / 64 + 3) * 64);
        memset(w[k].p, 0, (bytes[k] / 64 + 3) * 64);
        if (fread(w[k].p, 1, bytes[k], f) != (size_t)bytes[k]) return 2;
    }
    fclose(f);
    int64_t *codes = w[%(codes)d].p, *program = w[%(program)d].p;
    for (int k = 0; k < bytes[%(codes)d] / 8; k++) codes[k] = (int64_t)functions[codes[k]];
    for (int64_t k = program[0]; k < bytes[%(program)d] / 8; k += %(strip)d)
        program[k] = (int64_t)functions[program[k]];
    void *place;
    int32_t (*kernel)(void **, void **, %(types)s) = (void *)functions[which];
    if (kernel(&place, &place, %(given)s)) return 3;
    f = fopen(argv[2], "wb");
    int back[] = {%(back)s};
    for (int k = 0; k < %(backs)d; k++) fwrite(w[back[k]].p, 1, bytes[back[k]], f);
    return fclose(f) != 0;
}
"""


def missing() -> str:
    """What is not there; '' if nothing is."""
    tools = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
    return ", ".join(tools)


def become_arm() -> None:
    """Let this process take itself for one on ARM. Before `bptt` is imported."""
    import numba  # noqa: F401  which must know better

    platform.machine = lambda: "aarch64"


def for_arm(module: str) -> bytes:
    """Object code for ARM of a module of LLVM's that was made for this processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="cortex-a72", features="+neon", opt=3, reloc="pic", codemodel="default"
    )
    text = re.sub(r'^target datalayout = ".*"$', "", module, flags=re.MULTILINE)
    text = re.sub(
        r'^target triple = ".*"$', f'target triple = "{TRIPLE}"', text, flags=re.MULTILINE
    )
    parsed = llvm.parse_assembly(text)
    parsed.data_layout = str(target.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(target, tuning)
    builder.getModulePassManager().run(parsed, builder)
    return bytes(target.emit_object(parsed))


def compile_for_arm(folder: Path) -> None:
    """From now on functions are compiled for ARM, into this folder, and their addresses are
    numbers of theirs; kernels are called by `Emulated`."""
    from bptt.kernels.machine import compiler, store
    from bptt.kernels.walk import builder, runner

    def object_code(library: Any, function: str, name: str) -> bytes:
        module = library._final_module
        for each in (*module.functions, *module.global_variables):
            if each.name == function:
                each.name = name.replace("-", "_")
            elif not each.is_declaration:
                each.linkage = "internal"
        return for_arm(str(module))

    names: list[str] = []

    def load(wanted: Sequence[str], maker: Any) -> list[int]:
        for name in wanted:
            if name not in names:
                piece = builder._pieces(maker.request)[name]
                (folder / f"{name}.o").write_bytes(compiler.compiled(piece))
                names.append(name)
        return [names.index(name) for name in wanted]

    compiler._Linked.object_code = object_code  # type: ignore[method-assign]
    store.folders = lambda: ()  # type: ignore[assignment]
    runner.load = load
    runner.Function = lambda place, arguments, dtype: Emulated(  # type: ignore[assignment, misc]
        folder, names, place, arguments
    )


# What comes back, and how C has what is no array.
BACK = ("m", "results")
SCALARS = {"int64": ("int64_t", "i"), "float64": ("double", "d"), "boolean": ("uint8_t", "i")}


class Emulated:
    """A kernel, as `bptt.kernels.machine.library.Function` has it, but run by the emulator."""

    def __init__(
        self, folder: Path, names: list[str], place: int, arguments: Mapping[str, str]
    ) -> None:
        self.folder, self.names, self.place, self.arguments = folder, names, place, arguments

    def fixed(self, **arrays: Any) -> tuple[Any, ...]:
        """Arrays are handed over as they are."""
        return tuple(arrays.values())

    def _program(self) -> Path:
        """The program with all functions that are compiled so far."""
        from bptt.kernels.machine.strips import STRIP

        path = self.folder / f"program-{len(self.names)}"
        if path.exists():
            return path
        kinds = [SCALARS.get(kind, ("void *", "p")) for kind in self.arguments.values()]
        at, functions = list(self.arguments), [name.replace("-", "_") for name in self.names]
        text = PROGRAM % {
            "declared": "\n".join(f"extern void {each}(void);" for each in functions),
            "names": ", ".join(functions), "count": len(kinds), "strip": STRIP,
            "codes": at.index("codes"), "program": at.index("program"),
            "types": ", ".join(kind for kind, _ in kinds),
            "given": ", ".join(f"w[{k}].{field}" for k, (_, field) in enumerate(kinds)),
            "back": ", ".join(str(at.index(name)) for name in BACK), "backs": len(BACK),
        }  # fmt: skip
        (self.folder / "main.c").write_text(text)
        objects = [str(self.folder / f"{name}.o") for name in self.names]
        command = [COMPILER, "-static", "-O1", "-o", str(path), str(self.folder / "main.c")]
        subprocess.run([*command, *objects, "-lm"], check=True)
        return path

    def __call__(self, *values: Any) -> None:
        """Run it."""
        given = dict(zip(self.arguments, values, strict=True))
        taken, left = self.folder / "taken", self.folder / "left"
        with taken.open("wb") as file:
            file.write(np.int64(self.place).tobytes())
            for name, kind in self.arguments.items():
                value = given[name]
                if kind.endswith("*"):
                    file.write(np.int64(value.nbytes).tobytes() + value.tobytes())
                else:
                    number = np.float64(value) if kind == "float64" else np.int64(value or 0)
                    file.write(np.int64(-1).tobytes() + number.tobytes())
        subprocess.run([EMULATOR, self._program(), taken, left], check=True, timeout=60)
        found = left.read_bytes()
        for name in BACK:
            flat = given[name].reshape(-1).view(np.uint8)
            flat[:] = np.frombuffer(found[: flat.size], np.uint8)
            found = found[flat.size :]
        assert not found


# A few cases of every layout, of odd sizes, and how they are trained.
CASES: dict[str, dict[str, Any]] = {
    "units, one vector": {"cell": "elman", "H": 3, "B": 1},
    "units, several vectors": {"cell": "elman", "H": 13, "B": 2},
    "units, float64": {"cell": "elman", "H": 5, "B": 1, "dtype": "float64"},
    "samples": {"cell": "gru", "H": 5, "B": 7},
    "samples, shards and panels": {"cell": "gru", "H": 64, "B": 40, "T": 3},
    "models": {"cell": "elman", "H": 5, "B": 1, "models": 3},
}


def compare(case: Mapping[str, Any]) -> dict[str, float]:
    """The largest differences from the NumPy reference: of loss, gradient and outputs of one batch,
    and of weights after three iterations; relative to the largest number."""
    from bptt import Optimizer, Structure
    from bptt.network.batch import Batch
    from bptt.network.engines import Learner
    from bptt.network.network import Network, engine_of

    H, B, T = case["H"], case["B"], case.get("T", 6)
    M, N = case.get("models", 1), 3
    structure = Structure(
        inputs=2, hidden=H, outputs=2, cell=case["cell"], output="sigmoid", loss="cross_entropy",
        dtype=case.get("dtype", "float32"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.normal(size=(M, N, B, T, 2)).astype(structure.dtype)
    y = rng.integers(0, 2, (M, N, B, T, 2)).astype(structure.dtype)
    lengths = rng.integers(1, T + 1, (M, N, B))
    found: dict[str, float] = {}
    engines = [engine_of("compiled"), engine_of("reference")]
    thetas = [Network(structure, seed=m, engine="reference").theta for m in range(M)]
    if M == 1:
        batch = Batch(structure, x[0, 0], y[0, 0], lengths[0, 0])
        one, other = (engine.gradient(thetas[0], batch) for engine in engines)
        found["loss"] = _off(np.array(one.loss), np.array(other.loss))
        found["gradient"] = _off(one.flat, other.flat)
        forward, reference = (engine.forward(thetas[0], batch) for engine in engines)
        found["outputs"] = _off(forward.p, reference.p)
    ends = []
    for engine in engines:
        learners = [Learner(t.copy(), t * 0, t * 0, None) for t in thetas]
        data = Batch(structure, x, y, lengths, axes=2)
        engine.train_many([Optimizer(kind="momentum", learning_rate=0.1)] * M, learners, data)
        ends.append(np.array([learner.theta for learner in learners]))
    found["trained"] = _off(*ends)
    return found


def _off(found: Any, wanted: Any) -> float:
    assert np.isfinite(found).all()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def main() -> None:
    """Compare the cases of these names, and print what was found as JSON."""
    become_arm()
    with tempfile.TemporaryDirectory() as folder:
        compile_for_arm(Path(folder))
        from bptt.kernels.machine.processor import TILE_ROWS, arithmetic

        found: dict[str, Any] = {"arithmetic": arithmetic(), "rows": TILE_ROWS}
        for name in sys.argv[1:]:
            found[name] = compare(CASES[name])
        print(json.dumps(found))


if __name__ == "__main__":
    os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = "x86-64", "+sse2"
    os.environ["BPTT_THREADS"] = "1"
    main()
