"""The cases of tests/fuzz_the_door.py, and the child process that goes through them.

Each case is a function of a random generator: it makes what it puts in, mostly from something that
fits of which one or two things are then changed, and gives what it is called, the call, and whether
it should be taken (None where only a crash, a hang or another error than ours can tell).
"""

import contextlib
import io
import json
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import (
    NONSENSE,
    SMALL,
    Case,
    arrays_for,
    changed,
    fitting,
    generator,
    random_structure,
    random_task,
    spoil_json,
    spoiled,
    structure_fields,
    trained,
)


def network_case(rng: random.Random) -> Case:
    from bptt import Network

    s = random_structure(rng)
    T = rng.randint(1, s.steps or 7)
    given = arrays_for(rng, s, (rng.choice((1, 2, 7, 9)),), T)
    fits = changed(rng, given)
    engine = rng.choice(("compiled", "compiled", "reference"))
    network = Network(s, seed=rng.randrange(100), engine=engine)
    if rng.random() < 0.15:
        value, _ = spoiled(rng, network.theta)

        def put() -> None:
            network.theta = value
            network.predict(np.zeros((2, T, s.inputs)))

        return f"network: theta {s}", put, None
    method = rng.choice(("forward", "predict", "loss", "gradient", "gradient"))
    x, y, lengths, state = (given[name] for name in ("x", "y", "lengths", "state"))
    judged = method in ("loss", "gradient")
    answers = (y,) if judged else ()

    def call() -> Any:
        return getattr(network, method)(x, *answers, lengths=lengths, state=state)

    return f"network: {method} {engine} {s}", call, fits if judged else None


def engine_case(rng: random.Random) -> Case:
    from bptt import Optimizer
    from bptt.kernels.engine import CompiledEngine
    from bptt.network.batch import Batch
    from bptt.network.engines import Learner
    from bptt.network.reference_engine import ReferenceEngine

    s = random_structure(rng)
    T, M = rng.randint(1, s.steps or 6), rng.choice((1, 3, 9))
    axes = rng.choice((0, 1, 2))
    lead = (M, 2, rng.choice((1, 1, 3)))[2 - axes :]
    given = arrays_for(rng, s, lead, T)
    given["reset"] = generator(rng).random(lead[:-1]) < 0.5 if axes else None
    sizes = s.layout().size
    given["axes"] = axes
    changed(rng, given)
    engine = (CompiledEngine, CompiledEngine, ReferenceEngine)[rng.randrange(3)]()
    kinds = ["sgd", "adam"] if rng.random() < 0.1 else ["adam"]
    optimizers = [Optimizer(kind=rng.choice(kinds)) for _ in range(M)]
    learners, carried = [], rng.random() < 0.4
    shape = (s.recurrences, len(s.equations.states), lead[-1], s.hidden)
    for _ in range(M):
        parts = {"theta": generator(rng).normal(size=sizes).astype(s.dtype)}
        parts |= {name: np.zeros(sizes, s.dtype) for name in ("s0", "s1")}
        parts["state"] = np.zeros(shape, s.dtype) if carried else None
        if rng.random() < 0.15:
            name = rng.choice(list(parts))
            parts[name], _ = spoiled(rng, parts[name])
        learners.append(Learner(**parts))
    theta = learners[0].theta

    def call() -> Any:
        batch = Batch(s, **given)
        if rng.random() < 0.1:
            batch = rng.choice((batch[:1], batch[:0], batch[0:5], given["x"], s))
        if axes == 0:
            rng.choice((engine.forward, engine.loss, engine.gradient))(theta, batch)
        elif axes == 1:
            engine.train(optimizers[0], learners[0], batch)
        else:
            engine.train_many(optimizers, learners, batch)

    return f"engine: {type(engine).__name__} axes {axes} {s}", call, None


def settings_case(rng: random.Random) -> Case:
    import bptt

    task = random_task(rng)
    structure, fits = fitting(rng, task)
    options: dict[str, Any] = {
        "iterations": rng.choice((0, 1, 3)), "record_every": rng.choice((1, 2)),
        "batch": rng.choice((1, 1, 2)), "seed": rng.randrange(9),
        "engine": rng.choice(("compiled", "compiled", "reference")),
    }  # fmt: skip
    expected: bool | None = None if options["batch"] > 1 else fits
    for _ in range(rng.choice((0, 0, 1))):
        expected = None
        options[rng.choice(("optimizer", "initializers", "stop", *options))] = rng.choice(NONSENSE)
    if not isinstance(options["iterations"], int) or options["iterations"] > 9:
        options["iterations"] = "2"

    def call() -> Any:
        return bptt.train(bptt.Settings(task=task, structure=structure, **options))

    return f"settings: {task!r:.60} {structure}", call, expected


def train_case(rng: random.Random) -> Case:
    import bptt

    task = random_task(rng)
    fields = structure_fields(rng)
    names = ("cell", "hidden", "layers", "output", "bias", "dtype", "tied", "initial_state")
    options: dict[str, Any] = {name: fields[name] for name in rng.sample(names, 4)}
    if SMALL:
        options |= {"cell": "elman", "dtype": "float32"}
    numbers = ("learning_rate", "momentum", "decay", "clip_norm", "clip_value", "target_loss",
               "smooth_loss", "accuracy", "wrong", "seconds", "epsilon", "weight_decay", "beta1",
               "forget_bias")  # fmt: skip
    options[rng.choice(numbers)] = rng.choice((0.1, 0.5, 1, *NONSENSE))
    options |= {"iterations": rng.choice((1, 3)), "record_every": 1}
    other = ("optimizer", "schedule", "initializers", "batch", "seed", "engine", "exact", "unknown")
    if rng.random() < 0.4:
        options[rng.choice((*other, *names))] = rng.choice(NONSENSE)
    if rng.random() < 0.1:
        task = rng.choice((*NONSENSE, bptt.Addition, "addition"))
    return f"train: {task!r:.60} {options!r:.200}", lambda: bptt.train(task, **options), None


def judge_case(rng: random.Random) -> Case:
    import bptt

    task = random_task(rng)
    structure, fits = fitting(rng, task)
    network = bptt.Network(structure, engine=rng.choice(("compiled", "reference")))
    if rng.random() < 0.1:
        network.theta[rng.randrange(network.theta.size)] = rng.choice((np.nan, np.inf))
    kind = rng.randrange(3)
    if kind == 0:
        return (
            f"judge: evaluate {task!r:.60} {structure}",
            lambda: bptt.evaluate(network, task),
            fits,
        )
    if kind == 1:
        lengths = rng.choice(([4, 9], [1], *NONSENSE))
        return (
            f"judge: length_generalisation {lengths!r} {structure}",
            lambda: bptt.length_generalisation(network, task, lengths, count=3),
            None,
        )
    options = {"length": 3, "temperature": 1.0, "seed": 0}
    for _ in range(rng.choice((0, 1))):
        options[rng.choice(list(options))] = rng.choice((1e-320, 0, 1e308, *NONSENSE))
    start = rng.choice(("a", "t", "", *NONSENSE))
    return (
        f"judge: write {start!r} {options!r} {structure}",
        lambda: bptt.write(network, task, start, **options),
        None,
    )


def check_case(rng: random.Random) -> Case:
    import bptt

    s = random_structure(rng, hidden=2, layers=1, dtype="float64")
    if SMALL:
        s = random_structure(rng, hidden=2, layers=1, dtype="float64", inputs=2, outputs=2)
    T = rng.randint(1, s.steps or 3)
    given = arrays_for(rng, s, (2,), T)
    changed(rng, given)
    options = {"entries": 2}
    if rng.random() < 0.6:
        options[rng.choice(("epsilon", "relative", "absolute", "entries", "seed", "time_axis"))] = (
            rng.choice((1e-5, 1e-4, *NONSENSE))
        )
    network = bptt.Network(s, engine="reference" if SMALL else "compiled")
    return (
        f"check: {options!r} {s}",
        lambda: bptt.check_network(network, given["x"], given["y"], given["lengths"],
                                   given["state"], **options),
        None,
    )  # fmt: skip


def file_case(rng: random.Random) -> Case:
    from safetensors.numpy import load_file, save_file

    import bptt

    folder = Path(f"case{rng.randrange(10**9)}").absolute()
    shutil.copytree(trained(rng.random() < 0.5), folder)
    name = rng.choice(
        ("config.json", "weights.safetensors", "checkpoint.safetensors", "result.json")
    )
    path = folder / name
    if name == "config.json":
        (folder / "checkpoint.safetensors").unlink()
    what = ""
    if path.suffix == ".json":
        spoilt = spoil_json(rng, json.loads(path.read_text()))
        if isinstance(spoilt, dict) and name == "config.json":
            many = spoilt.get("iterations")
            if isinstance(many, int) and many > 100:
                spoilt["iterations"] = 7
        path.write_text(what := json.dumps(spoilt))
    else:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["bptt"])
        tensors = load_file(path)
        for _ in range(rng.choice((1, 1, 2))):
            if rng.random() < 0.6:
                metadata = spoil_json(rng, metadata)
            else:
                key = rng.choice(sorted(tensors))
                other, _ = spoiled(rng, tensors[key])
                if isinstance(other, np.ndarray) and other.dtype.str[1:] in (
                    "u1",
                    "i2",
                    "i8",
                    "f2",
                    "f4",
                    "f8",
                ):
                    with contextlib.suppress(Exception):
                        tensors[key] = np.ascontiguousarray(other, other.dtype.newbyteorder("="))
        settings = metadata.get("settings") if isinstance(metadata, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get("iterations"), int):
            settings["iterations"] = min(settings["iterations"], 9)
        save_file(tensors, path, {"bptt": json.dumps(metadata)})
        what = json.dumps(metadata)
    if rng.random() < 0.1:
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(len(content))])

    def call() -> Any:
        try:
            way = rng.choice(("load", "load_run", "resume", "resume"))
            if way == "load":
                network = bptt.load(folder)
                network.predict(np.zeros((2, 3, network.structure.inputs)))
            elif way == "load_run":
                bptt.resume(bptt.load_run(folder))
            else:
                bptt.resume(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return f"file: {name} {what:.300}", call, None


def study_case(rng: random.Random) -> Case:
    import bptt

    task = random_task(rng)
    fields = structure_fields(rng)
    names = ("hidden", "layers", "output", "bias", "tied", "initial_state", "reduction")
    base: dict[str, Any] = {name: fields[name] for name in rng.sample(names, 2)}
    base |= {"cell": "elman", "dtype": "float32", "iterations": 2, "record_every": 1, "batch": 1}
    given: dict[str, Any] = {"base": base, "seeds": 2}
    if rng.random() < 0.5:
        given["grid"] = {rng.choice(names): [fields["hidden"], rng.choice(NONSENSE)]}
    if rng.random() < 0.3:
        name = rng.choice(("seeds", "solved", "lengths", "seconds", "draws", "random", "settings",
                           "panels", "curves", "verdict"))  # fmt: skip
        given[name] = rng.choice(NONSENSE)
    if isinstance(given["seeds"], int) and given["seeds"] > 3:
        given["seeds"] = -1

    def call() -> Any:
        study = bptt.Study(task=task, **given)
        folder = Path(f"study{rng.randrange(10**9)}")
        try:
            study.run(folder, workers=1)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return f"study: {task!r:.60} {given!r:.200}", call, None


def experiment_case(rng: random.Random) -> Case:
    import bptt

    given = rng.choice(NONSENSE)
    return f"experiment: {given!r:.60}", lambda: bptt.experiment(given), None


WAYS = (
    (network_case, 8), (engine_case, 8), (settings_case, 6), (train_case, 4), (judge_case, 4),
    (check_case, 3), (file_case, 4), (study_case, 1), (experiment_case, 1),
)  # fmt: skip


def result_of(call: Callable[[], Any], expected: bool | None) -> tuple[str, str]:
    """What becomes of a call, and why."""
    from bptt import BpttError

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            call()
    except BpttError as error:
        if "\n" in str(error):
            return "lines", str(error)[:300]
        return ("refused", "") if expected is not True else ("sense refused", str(error)[:300])
    except MemoryError:
        return "memory", ""
    except BaseException as error:
        import traceback

        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
        return "exception", f"{type(error).__name__}: {error!s:.200} ({where})"
    return ("right", "") if expected is not False else ("nonsense accepted", "")


def main() -> None:
    """Arguments: the first seed, and how many."""
    import resource

    first, count = int(sys.argv[1]), int(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
    warnings.simplefilter("error")
    sys.path.insert(0, str(Path(__file__).parent))
    import bptt.api  # before the guards
    import bptt.kernels.engine  # noqa: F401

    if "--no-guards" not in sys.argv:
        import guard_pages

        guard_pages.guard()
    ways, weights = zip(*WAYS, strict=True)
    for seed in range(first, first + count):
        rng = random.Random(seed)
        way = rng.choices(ways, weights)[0]
        print(json.dumps({"seed": seed, "what": f"{way.__name__[:-5]}: ?"}), file=out)
        try:
            what, call, expected = way(rng)
        except Exception as error:  # making what is put in goes by the same doors
            what, call, expected = f"{way.__name__[:-5]}: made", _raising(error), None
        print(json.dumps({"seed": seed, "what": what[:600]}), file=out)
        kind, why = result_of(call, expected)
        print(json.dumps({"seed": seed, "kind": kind, "what": what[:600], "why": why}), file=out)
        call = None  # type: ignore[assignment]
    out.flush()
    os._exit(0)  # what NumPy frees at the end would call what is gone


def _raising(error: Exception) -> Callable[[], Any]:
    def call() -> None:
        raise error

    return call


if __name__ == "__main__":
    main()
