"""Proofs: how many networks are proved, wrong or undecided, in what time, and that it is sound.

python -m benchmarks.proofs PART [SEEDS] [SECONDS]

    passed       networks of the presets that pass the tests of all pairs and of random long sums
    main         `bptt train add`
    gates        the same with GRU and LSTM of 8 and 16 units
    trained      Elman networks trained for 20,000 iterations, whatever they are
    large        64 units, one of each cell
    step         what a step of a set of states takes
    automata     parity, modulo 5 and Tomita's seven languages, Elman and GRU of 8 units
    sound        words from inside the sets of certificates
    experiments  the published experiments' adders, as published and as recommended

SEEDS: of each setting, 0, 1, ...; SECONDS: of processor time for each network. Prints a JSON object
a setting: shares, and seconds of processor time, without that of compiling. `wrong` is replayed on
the network before it is said. Whatever the verdict, a second search is made that knows nothing of
it: 2,000 long words of which a third are random, a third have runs and a third periods. `searched`
is how many networks it finds wrong, `missed` how many of these are not called wrong by the first.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

import bptt
from bptt.network.network import Network
from bptt.proofs import checker, native
from bptt.proofs import follow as f
from bptt.proofs.machine import Machine
from bptt.proofs.prove import QUICK, prove
from bptt.proofs.scout import first_wrong
from bptt.tasks.finite import FiniteMemory
from bptt.tasks.words import draw_words

Line = dict[str, Any]
LONG = (16, 64, 256, 1024, 4096)  # bits of the random sums that were the old test
SEARCHED = (2000, 1000)  # words of the second search, and their symbols


def searched(network: Network, task: bptt.Task, verdict: str) -> Line:
    """Whether long words find a network wrong, and whether that had been missed."""
    automaton = task.automaton()
    assert automaton is not None
    words = draw_words(np.random.default_rng(7), *SEARCHED, len(automaton.symbols))
    wrong = bool((first_wrong(network, automaton, words) < SEARCHED[1]).any())
    return {"searched": wrong, "missed": wrong and verdict != "wrong"}


def told(name: str, found: list[tuple[str, float, Line]], networks: int) -> Line:
    """A setting's line: verdicts, and the seconds of those that were proved and of all."""
    verdicts = Counter(verdict for verdict, _, _ in found)
    line: Line = {"setting": name, "networks": networks, "asked": len(found), **verdicts}
    for what in ("proved", "wrong", ""):
        seconds = sorted(s for verdict, s, _ in found if not what or verdict == what)
        if seconds:
            median, worst = seconds[len(seconds) // 2], seconds[-1]
            line[f"seconds {what or 'all'}"] = [round(median, 2), round(worst, 2)]
    for each in ("balls", "iterations"):
        values = sorted(more[each] for _, _, more in found if each in more)
        if values:
            line[each] = [values[len(values) // 2], values[-1]]
    for each in ("searched", "missed"):
        line[each] = sum(more[each] for _, _, more in found)
    return line


def asked(network: Network, task: bptt.Task, seconds: float) -> tuple[str, float, Line]:
    """What `prove` says of a network, in what time."""
    started = time.process_time()
    proof = prove(network, task, seconds)
    taken = time.process_time() - started
    more = searched(network, task, proof.verdict)
    if proof.verdict == "proved" and proof.balls is not None:
        more["balls"] = len(proof.balls)
    return proof.verdict, taken, more


def passed_old_tests(network: Network, task: bptt.Addition) -> bool:
    """Right on all pairs, and on 100 random sums of each length."""
    return task.test(network, give_up=True).passed and all(
        bool(((network.predict(x) > 0.5) == y).all())
        for x, y in (task.long_pairs(bits, 100, 1) for bits in LONG)
    )


def passed(seeds: int, seconds: float) -> Iterator[Line]:
    """Networks that the old tests had nothing against."""
    task = bptt.Addition(bits=8)
    for cell, hidden in [("elman", h) for h in (3, 4, 8, 16)] + [
        (cell, h) for cell in ("gru", "lstm") for h in (4, 8, 16)
    ]:
        found = []
        for seed in range(seeds):
            network = bptt.train(task, cell=cell, hidden=hidden, seed=seed).network
            if passed_old_tests(network, task):
                found.append(asked(network, task, seconds))
        yield told(f"{cell} {hidden}, preset, exact", found, seeds)


def until_proved(name: str, task: bptt.Task, seeds: int, seconds: float, **options: Any) -> Line:
    """Trainings that go on until the network is proved; the seconds are of the whole training."""
    found = []
    for seed in range(seeds):
        started = time.process_time()
        run = bptt.train(task, seed=seed, proved=True, **options)
        taken = time.process_time() - started
        verdict = run.reason
        if verdict != "proved":
            verdict, _, _ = asked(run.network, task, seconds)
            verdict = "proved later" if verdict == "proved" else verdict
        more = searched(run.network, task, verdict)
        found.append((verdict, taken, more | {"iterations": run.training.learner.iteration}))
    return told(name, found, seeds)


def main_job(seeds: int, seconds: float) -> Iterator[Line]:
    """The main job."""
    yield until_proved("bptt train add", bptt.Addition(), seeds, seconds)


def gates(seeds: int, seconds: float) -> Iterator[Line]:
    """GRU and LSTM."""
    for cell in ("gru", "lstm"):
        for hidden in (8, 16):
            name = f"bptt train add --stop-proved --cell {cell} --hidden {hidden}"
            yield until_proved(name, bptt.Addition(), seeds, seconds, cell=cell, hidden=hidden)


def trained(seeds: int, seconds: float) -> Iterator[Line]:
    """Elman networks after 20,000 iterations of Adam."""
    task = bptt.Addition(bits=8)
    for hidden in (3, 4, 8, 16):
        found = []
        for seed in range(seeds):
            run = bptt.train(task, hidden=hidden, seed=seed, exact=False)
            found.append(asked(run.network, task, seconds))
        yield told(f"elman {hidden}, 20,000 iterations", found, seeds)


def large(seeds: int, seconds: float) -> Iterator[Line]:
    """64 units."""
    task = bptt.Addition(bits=8)
    for cell in ("elman", "gru", "lstm"):
        found = [
            asked(bptt.train(task, cell=cell, hidden=64, seed=seed, exact=False,
                             optimizer="adamw").network, task, seconds)
            for seed in range(seeds)
        ]  # fmt: skip
        yield told(f"{cell} 64, 20,000 iterations, adamw", found, seeds)


def step(seeds: int, seconds: float) -> Iterator[Line]:
    """One step of an ellipsoid, with the products that its symbols share."""
    for cell in ("elman", "gru", "lstm"):
        network = Network(inputs=2, outputs=1, cell=cell, hidden=16, seed=1)
        work = Machine(network, bptt.Addition().automaton()).workspace(4, 4, 4)
        each = []
        for _ in range(max(seeds, 1)):
            started = time.process_time()
            for _ in range(5000):
                work["NOW_C"][...] = 0.1
                work["NOW_Q"][...] = 1e-4 * np.eye(len(work["NOW_C"]))
                native.run(f.IMAGE, 1, work)
            whole = time.process_time() - started
            started = time.process_time()
            for _ in range(5000):
                work["NOW_C"][...] = 0.1
                work["NOW_Q"][...] = 1e-4 * np.eye(len(work["NOW_C"]))
                native.run(f.EXPLORE, 0, work)  # from no ball: nothing
            each.append((whole - (time.process_time() - started)) / 5000)
        yield {"setting": f"{cell} 16, a step", "microseconds": round(1e6 * min(each), 2)}


def automata(seeds: int, seconds: float) -> Iterator[Line]:
    """The small automata."""
    tasks: list[FiniteMemory] = [bptt.Parity(), bptt.Modulo(k=5)]
    tasks += [bptt.Tomita(language=number) for number in range(1, 8)]
    for cell in ("elman", "gru"):
        for task in tasks:
            yield until_proved(
                f"{task.describe()}, {cell} 8", task, seeds, seconds, cell=cell, hidden=8
            )


def sound(seeds: int, seconds: float) -> Iterator[Line]:
    """From states of random sets, words with long runs: outputs, and how long states stay outside
    of all sets; SECONDS thousand symbols each, 200 words a certificate."""
    task, automaton = bptt.Addition(bits=8), bptt.Addition().automaton()
    rng, symbols, worst, certificates = np.random.default_rng(0), int(1000 * seconds), 0, 0
    for seed in range(seeds):
        run = bptt.train(task, seed=seed, proved=True)
        proof = prove(run.network, task, steps=QUICK)
        if proof.balls is None or proof.certificate is None:
            continue
        certificates += 1
        balls, longest = proof.balls, checker.check(proof.certificate).longest
        start = rng.integers(0, len(balls), 200)
        inside = rng.standard_normal((200, balls.centre.shape[1]))
        inside *= (rng.random(200) ** (1 / inside.shape[1]) / np.linalg.norm(inside, axis=1))[
            :, None
        ]
        turned = np.linalg.inv(balls.metric).T
        states = balls.centre[start] + (0.9999 * balls.radius[start, None] * inside) @ turned
        label, state = balls.label[start], states[None, None].astype(np.float32)
        place, since = balls.centre @ balls.metric.T, np.zeros(200, int)
        words = draw_words(rng, 200, symbols, len(automaton.symbols))
        for t in range(symbols):
            found = run.network.forward(automaton.encode(words[:, t : t + 1]), state=state)
            state = found.state
            right = automaton.answers[label, words[:, t], 0]
            assert ((found.o[:, 0, 0] > 0) == right).all(), "an output is wrong"
            label = automaton.after[label, words[:, t]]
            z = state[0, 0].astype(float) @ balls.metric.T
            square = (z * z).sum(1)[:, None] + (place * place).sum(1) - 2 * z @ place.T
            held = (square <= balls.radius**2 + 1e-9) & (balls.label == label[:, None])
            since = np.where(held.any(axis=1), 0, since + 1)
            worst = max(worst, int(since.max()))
            assert worst < longest, "a state is outside its sets"
    yield {
        "setting": "words from inside the sets", "certificates": certificates,
        "words": 200 * certificates, "symbols": symbols, "outputs wrong": 0,
        "longest outside": worst,
    }  # fmt: skip


def experiments(seeds: int, seconds: float) -> Iterator[Line]:
    """The published experiments' adders that share weights between steps."""
    from bptt.experiments.declaration import find

    for name in ("online-adder", "minibatch-adder", "hyperparameter-study"):
        experiment = find(name)
        going_on = {each.name for each in experiment.panels if not each.stop_when_solved}
        for place, settings in experiment.places():
            if not (settings.structure.tied and ("published" in place or "recommended" in place)):
                continue
            if place.split("/")[0] in going_on:
                settings = msgspec.structs.replace(settings, stop=bptt.Stop(exact=False))
            found = []
            for seed in range(seeds):
                run = bptt.train(settings.with_seed(seed))
                found.append(asked(run.network, run.task, seconds))
            yield told(f"{name}: {place}", found, seeds)


PARTS = {
    "passed": (passed, 10, 10), "main": (main_job, 100, 10), "gates": (gates, 20, 10),
    "trained": (trained, 20, 60), "large": (large, 1, 60), "step": (step, 5, 0),
    "automata": (automata, 10, 10), "sound": (sound, 50, 10), "experiments": (experiments, 20, 10),
}  # fmt: skip


def main() -> None:
    """Measure what the command line asks for."""
    part, seeds, seconds = PARTS[sys.argv[1]]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else seeds
    native.prepare()
    for line in part(seeds, float(sys.argv[3]) if len(sys.argv) > 3 else seconds):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
