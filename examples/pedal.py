"""A guitar pedal from its recordings: to a plugin's file, to C, and to C in whole numbers.

python examples/pedal.py DRY WET [--out FOLDER] [--epochs 75]

DRY and WET: two WAV files, what went into the pedal and what came out, sample by sample; or two
folders of such files with the same names. The last tenth is held out: the error-to-signal ratio
sum (y - p)^2 / sum y^2 is taken on it, after 1,000 samples in which the state warms up.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import bptt
from bptt.exchange.c_compiler import Compiled, compiled, compiler
from bptt.sequences.audio import read_wav

HIDDEN, WARM_UP, WINDOW = 8, 1000, 500


def recordings(path: Path) -> tuple[int, list[np.ndarray]]:
    """Samples a second, and the samples (T, 1) of each file; one recording in ten pieces."""
    files = sorted(path.glob("*.wav")) if path.is_dir() else [path]
    if not files:
        raise SystemExit(f"there is no WAV file in '{path}'")
    read = [read_wav(file) for file in files]
    pieces = [np.asarray(samples[:, :1] * unit, np.float32) for _, samples, unit in read]
    return read[0][0], np.array_split(pieces[0], 10) if len(pieces) == 1 else pieces


def ratio(wet: list[np.ndarray], found: list[np.ndarray]) -> float:
    """The error-to-signal ratio in per cent, the warm-up left out."""
    y = np.concatenate([each[WARM_UP:, 0] for each in wet])
    p = np.concatenate([each[WARM_UP:] for each in found])
    return float(100 * ((p - y) ** 2).sum() / (y**2).sum())


def nanoseconds(file: Path, x: np.ndarray, hidden: int) -> float:
    """Of processor time for a step of an exported C file, the best of nine goes."""
    library = compiled(file.read_text(), "-O3", "-march=native", "-ffp-contract=fast")
    player, best = Compiled(library, "pedal", (1, 1, 4 * hidden)), np.inf
    for _ in range(9):
        before = time.process_time_ns()
        player.run(x)
        best = min(best, (time.process_time_ns() - before) / len(x))
    return best


def main() -> None:
    """Train, judge, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dry", type=Path)
    parser.add_argument("wet", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/pedal"))
    parser.add_argument("--epochs", type=int, default=75)
    options = parser.parse_args()
    (rate, dry), (_, wet) = recordings(options.dry), recordings(options.wet)
    last = len(dry) - max(len(dry) // 10, 1)
    data = bptt.Sequences(dry, wet, kind="numbers", per="step")
    started = time.process_time()
    model = bptt.fit(
        data[:last], data[last:], hidden=HIDDEN, window=WINDOW, warm_up=WARM_UP, batch=32,
        learning_rate=0.02, epochs=options.epochs, decay_over=options.epochs, patience=0, seed=1,
    )  # fmt: skip
    print(model)
    print(f"trained in {time.process_time() - started:.0f} s of processor time")
    held = wet[last:]
    percent = ratio(held, model.predict(data[last:]))
    print(f"error-to-signal ratio {percent:.3f} % on {len(held)} pieces held out")

    folder, notes = options.out, {"sample_rate": rate}
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "pedal.safetensors")
    print("pedal.json     ", bptt.export(model, folder / "pedal.json", "aidax", notes=notes))
    print("pedal.c        ", bptt.export(model, folder / "pedal.c", name="pedal", math="fast"))
    steps = min(len(each) for each in dry)
    x, y = (np.array([each[:steps] for each in some[last:]]) for some in (dry, wet))
    whole = bptt.export(model, folder / "pedal-int8.c", quantize="int8", inputs=x, targets=y)
    print("pedal-int8.c   ", whole)
    if compiler():
        needed = nanoseconds(folder / "pedal.c", np.concatenate(dry[last:]), HIDDEN)
        share = 100 * needed * rate / 1e9
        print(f"a step of pedal.c takes {needed:.0f} ns, {share:.2f} % of the time at {rate} Hz")


if __name__ == "__main__":
    main()
