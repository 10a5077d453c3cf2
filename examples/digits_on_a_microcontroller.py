"""Written digits, told on an emulated microcontroller: from training to C to a Cortex-M4.

python examples/digits_on_a_microcontroller.py [--out FOLDER] [--epochs 60] [--cases 100]

The digits are scikit-learn's: 1,797 pictures of 8 by 8 pixels, given to the network row by row, 8
steps of 8 pixels. They are handwriting read from top to bottom, no recorded gestures: these data
come with a package, and nothing has to be downloaded. The last third is held out, and never seen in
training. The first of it, as many as --cases says, lie in the program's flash and are classified
there; the state is set back before each. Needs scikit-learn, gcc-arm-none-eabi and qemu-system-arm.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import bptt

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks stands beside examples
from benchmarks import microcontroller

HIDDEN, SEED = 12, 1
MOST = 150  # more cases, with 256 bytes each, have no room in the flash
OPTIONS: dict[str, dict[str, Any]] = {
    "exact": {}, "fast": {"math": "fast"}, "int8": {"quantize": "int8"}
}  # fmt: skip


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The pictures (N, 8, 8), and the digits (N,) they show."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("no digits: scikit-learn is not installed") from None
    read = load_digits()
    return read.images.astype(np.float32), read.target


def main() -> None:
    """Train, export, run there, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--cases", type=int, default=100)
    options = parser.parse_args()
    if not 1 <= options.cases <= MOST:
        raise SystemExit(f"--cases {options.cases} is not allowed: 1 to {MOST} are")
    if microcontroller.missing():
        raise SystemExit(f"no Cortex-M4: {microcontroller.missing()}")
    x, y = digits()
    last = 2 * len(x) // 3
    held_x, held_y = x[last:], y[last:]
    model = bptt.fit(
        bptt.Sequences(x[:last], y[:last]), hidden=HIDDEN, learning_rate=0.02, seed=SEED,
        epochs=options.epochs, decay_over=options.epochs, patience=0,
    )  # fmt: skip
    print(model)
    here = model.predict(held_x).astype(int)
    print(f"{(here == held_y).mean():.1%} of {len(held_y)} held out are right")

    options.out.mkdir(parents=True, exist_ok=True)
    some, told, right = held_x[: options.cases], here[: options.cases], held_y[: options.cases]
    names = np.array(model.schema.classes).astype(int)
    print(f"\n{len(some)} of them in flash; right in Python: {(told == right).sum()}")
    print("math   right there  as in Python  instructions a step   code  constants  state")
    for math, chosen in OPTIONS.items():
        path = options.out / f"digits-{math}.c"
        bptt.export(model, path, inputs=x[:last], **chosen)
        found = microcontroller.run(path.read_text(), some, classes=True)
        there = names[found.outputs]
        state = HIDDEN * (2 if math == "int8" else 4)
        print(
            f"{math:5}  {(there == right).sum():11}  {(there == told).sum():12}"
            f"  {found.instructions:19,.0f}  {found.code:5,}  {found.constants:9,}  {state:5}"
        )
    print("code, constants and state in bytes, of the network itself")


if __name__ == "__main__":
    main()
