"""Thirty short trainings, and a digest of all numbers that each leaves behind.

    python tests/unchanged.py                 compare with tests/data/unchanged.json
    python tests/unchanged.py --keep          put this processor's digests into it
    python tests/unchanged.py --to FILE       put them into another file

The digests stand under the kind of processor they were made on (`processor_kind`): vectors of other
widths sum up in another order, and the compiler may fuse other products and sums. The script uses
nothing but the public names, so it runs on the source before a change and after it. A change that
is meant to change numbers makes them anew, and says so. (The first were made before the modules
moved into rooms; those that are kept, when products of one and two vectors got tiles of their own
with AVX2, where sums begin with fewer partial ones.)
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import warnings
from pathlib import Path

import numpy as np

import bptt

DATA = Path(__file__).parent / "data" / "unchanged.json"

ADDER = {"iterations": 6, "record_every": 3, "hidden": 9}
# What the trainings differ in, besides the defaults of `ADDER` and of the task.
ADDERS = {
    "elman tanh, one sample": {},
    "elman sigmoid, one sample, float64": {"activation": "sigmoid", "dtype": "float64"},
    "elman relu, one sample": {"activation": "relu"},
    "lstm, one sample": {"cell": "lstm"},
    "gru, one sample": {"cell": "gru"},
    "elman, one vector": {"hidden": 16},
    "elman, several vectors": {"hidden": 70, "optimizer": "nesterov"},
    "lstm, three samples": {"cell": "lstm", "batch": 3, "clip_norm": 0.1},
    "gru, five samples, float64": {"cell": "gru", "batch": 5, "dtype": "float64"},
    "elman, samples in lanes": {"batch": 16},
    "lstm, samples in lanes": {"cell": "lstm", "batch": 33, "optimizer": "adamw"},
    "gru, samples in lanes": {"cell": "gru", "batch": 17, "optimizer": "rmsprop"},
    "gru, samples in lanes, two layers": {"cell": "gru", "batch": 9, "layers": 2},
    "elman relu, samples, float64": {"activation": "relu", "batch": 8, "dtype": "float64"},
    "lstm, shards": {"cell": "lstm", "batch": 256, "hidden": 32},
    "two layers, trainable start": {"layers": 2, "initial_state": "trainable"},
    "lstm, trainable start, samples": {
        "cell": "lstm", "batch": 7, "initial_state": "trainable", "optimizer": "rmsprop_nesterov",
    },
    "untied": {"tied": False, "optimizer": "momentum"},
    "untied, samples": {"tied": False, "batch": 12, "optimizer": "sgd"},
    "without biases": {"bias": False, "clip_value": 0.01},
    "linear": {"output": "linear", "optimizer": "adagrad"},
    "sigmoid, squared": {"loss": "squared", "reduction": "mean"},
    "sigmoid, squared, samples": {"loss": "squared", "batch": 6, "reduction": "sum"},
    "packed weights": {"cell": "lstm", "hidden": 64, "batch": 8},
}  # fmt: skip
TEXTS = {
    "text, lstm": {"hidden": 24},
    "text, gru, float64": {"cell": "gru", "hidden": 13, "dtype": "float64"},
    "text, elman, two layers": {"cell": "elman", "layers": 2},
}
STUDIES = {
    "elman, models in lanes": {"hidden": 5},
    "lstm, models in lanes, float64": {"cell": "lstm", "hidden": 4, "dtype": "float64"},
    "gru, models in lanes": {"cell": "gru", "hidden": 7, "optimizer": "rmsprop"},
}
NAMES = (*ADDERS, *TEXTS, *STUDIES)


def processor_kind() -> str:
    """The processor's architecture, how wide its vectors are, and what compiles for it."""
    import llvmlite

    try:
        from bptt.kernels.machine.processor import TILE_ROWS, vector_bytes
    except ImportError:  # before the modules moved into rooms
        from bptt.kernels.processor import TILE_ROWS, vector_bytes
    llvm = llvmlite.__version__.rpartition(".")[0]
    return f"{platform.machine()}, {vector_bytes()} bytes, tiles of {TILE_ROWS}, llvmlite {llvm}"


def of_run(run: "bptt.Run") -> str:
    """A digest of a training's weights, losses, norms and counts."""
    digest = hashlib.sha256(run.network.theta.tobytes())
    for record in run.records:
        numbers = (record.iteration, record.loss, record.wrong, record.exact, record.gradient_norm)
        digest.update(np.array(numbers, np.float64).tobytes())
    digest.update(str(run.verdict and run.verdict.as_dict()).encode())
    return digest.hexdigest()[:16]


def of_study(options: dict[str, object]) -> str:
    """Of the runs of a study, whose models are walked side by side."""
    base = {"bits": 3, "iterations": 20, "record_every": 10, "batch": 1, **options}
    study = bptt.Study(base=base, grid={"learning_rate": [0.01, 0.05]}, seeds=9, curves=True)
    digest = hashlib.sha256()
    frame = study.run().frame
    for name in ("loss", "loss_per_step", "wrong", "iterations"):
        if name in frame:
            digest.update(frame[name].to_numpy(np.float64).tobytes())
    return digest.hexdigest()[:16]


def digest_of(name: str) -> str:
    """The digest of a training by its name."""
    if name in ADDERS:
        return of_run(bptt.train(bptt.Addition(bits=5), **{**ADDER, **ADDERS[name]}))
    if name in STUDIES:
        return of_study(STUDIES[name])
    task = bptt.Text(text="the rain in Spain stays mainly in the plain. " * 3)
    return of_run(bptt.train(task, iterations=6, record_every=3, **TEXTS[name]))


def main() -> int:
    """Compare, or keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--to", type=Path, default=DATA)
    options = parser.parse_args()
    warnings.simplefilter("error")
    os.environ.setdefault("BPTT_THREADS", "2")
    kept = json.loads(options.to.read_text()) if options.to.exists() else {}
    kind = processor_kind()
    found = {}
    for name in NAMES:
        found[name] = digest_of(name)
        print(f"{name}: {found[name]}", flush=True)
    if options.keep or options.to != DATA:
        kept[kind] = found
        options.to.write_text(json.dumps(kept, indent=1) + "\n")
        return 0
    if kind not in kept:
        print(f"there are no digests of {kind}")
        return 2
    changed = [name for name in NAMES if found[name] != kept[kind].get(name)]
    print(f"changed: {changed}" if changed else f"all {len(NAMES)} as they were")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
