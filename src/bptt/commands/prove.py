"""`bptt prove`: a verdict for every length; the check of a certificate; the machine inside."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.commands.answers import Json, TaskFile, answer
from bptt.commands.own import class_of
from bptt.errors import BpttError
from bptt.files import write_file
from bptt.network.network import Network
from bptt.proofs import checker
from bptt.proofs.certificate import FILE
from bptt.proofs.extraction import extract
from bptt.proofs.picture import balls_png, machine_png
from bptt.proofs.prove import Proof, prove, stated
from bptt.tasks import task_from_config
from bptt.tasks.task import Task
from bptt.training import runs
from bptt.training.interrupts import interrupts

PICTURE, MACHINE = "proof.png", "machine.png"

Found = tuple[dict[str, Any], str, int]


def prove_command(
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder; with --check a certificate's file."),
    ],
    seconds: Annotated[float, typer.Option(help="Processor time to search for.")] = 60,
    check: Annotated[
        bool, typer.Option("--check", help="Check a certificate, by a program of its own.")
    ] = False,
    automaton: Annotated[
        bool, typer.Option("--automaton", help="Show the machine that the network has become.")
    ] = False,
    task: TaskFile = None,
    as_json: Json = False,
) -> int:
    """Prove that a network is right at every length: exit 0 proved, 1 wrong, 3 undecided."""
    if check and automaton:
        raise BpttError("--check and --automaton are two questions: give one of them")
    own = class_of(task) if task else None
    if check:
        values, text, code = check_certificate(path, own)
    elif automaton:
        values, text, code = show_machine(path, own)
    else:
        values, text, code = prove_run(path, seconds, own)
    answer(as_json, values, text)
    return code


def _loaded(path: Path, own: type[Task] | None) -> tuple[Network, Any]:
    network, task = runs.load_network(path, own=own)
    if task is None:
        raise BpttError(f"'{path}' names no task, so there is nothing to prove: give a run")
    stated(task)
    return network, task


def _beside(path: Path, name: str) -> Path:
    return (path if path.is_dir() else path.parent) / name


class _Told:
    """Progress on standard error, where that is a terminal."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, what: str, done: int, of: int) -> None:
        if self.shown and (what != "balls" or done % 10 == 0):
            words = f"{of:,} {what}" if what != "balls" else f"{done:,} of {of:,} sets followed"
            print(f"\r{words:<60}", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        if self.shown:
            print(f"\r{'':<60}\r", end="", file=sys.stderr, flush=True)


def prove_run(path: Path, seconds: float, own: type[Task] | None = None) -> Found:
    """Prove a run's network: plain values, a text, and the exit code."""
    if not seconds > 0:
        raise BpttError(f"seconds {seconds} must be more than 0")
    network, task = _loaded(path, own)
    told = _Told()
    with interrupts() as received:
        found = prove(network, task, seconds, told, lambda: bool(received))
    told.done()
    lines, values = [str(found)], values_of(found)
    if found.certificate is not None and found.balls is not None:
        target = _beside(path, FILE)
        write_file(target, found.certificate)
        title = f"{found.claim}: {len(found.balls)} sets of states"
        picture = balls_png(found.balls, found.automaton, title)
        write_file(_beside(path, PICTURE), picture)
        values |= {"certificate": str(target), "picture": str(_beside(path, PICTURE))}
        lines += [f"proof   {target}", f"picture {_beside(path, PICTURE)}"]
    return values, "\n".join(lines), 130 if received else found.code


def values_of(found: Proof) -> dict[str, Any]:
    """A verdict as plain values."""
    values: dict[str, Any] = {
        "verdict": found.verdict, "claim": found.claim,
        "sets": None if found.balls is None else len(found.balls), "steps": found.steps,
    }  # fmt: skip
    if found.counterexample is not None:
        values |= {
            "example": found.example, "shortest": found.counterexample.shortest,
            "word": [found.automaton.symbols[s] for s in found.counterexample.word],
            "said": found.counterexample.said.tolist(),
            "right": found.counterexample.right.tolist(),
        }  # fmt: skip
    if found.verdict == "undecided":
        values |= {"why": found.why, "rate": found.rate, "advice": found.advice}
    return values


def check_certificate(path: Path, own: type[Task] | None = None) -> Found:
    """Check a certificate, and that it is of the weights beside it."""

    def asked(config: dict[str, Any]) -> Any:
        return stated(task_from_config(config, own))

    found = checker.check_file(path, asked)
    weights = path.parent / runs.WEIGHTS
    if path.name == FILE and weights.exists():
        beside, _ = runs.load_network(weights, own=own)
        same = beside.parameters.keys() == found.weights.keys() and all(
            (value == found.weights[name]).all() for name, value in beside.parameters.items()
        )
        if not same:
            raise BpttError(f"'{path}' is a proof of other weights than '{weights}': prove again")
    values = {
        "verdict": "proved", "claim": found.claim, "network": found.network, "sets": found.balls,
        "words": found.words, "longest": found.longest,
    }  # fmt: skip
    text = (
        f"{found.claim}: checked ({found.network}; {found.balls:,} sets of states, "
        f"{found.words:,} steps of words of up to {found.longest} symbols)"
    )
    return values, text, 0


def show_machine(path: Path, own: type[Task] | None = None) -> Found:
    """The machine that a run's network has become."""
    network, task = _loaded(path, own)
    automaton = stated(task)
    found = extract(network, automaton)
    same = found.machine.same_as(automaton)
    dot, picture = _beside(path, "machine.dot"), _beside(path, MACHINE)
    write_file(dot, (found.dot() + "\n").encode())
    title = f"{found.machine.size} states, made of {found.states:,} states of the network"
    write_file(picture, machine_png(found.machine, title))
    agreeing = (
        f"as far as it was seen: the network answers {100 * found.agreeing:.4g} % of "
        f"{found.words:,} words as this machine does"
    )
    words = "the task's own automaton" if same else "not the task's automaton"
    values = {
        "states": found.machine.size, "after": found.machine.after.tolist(),
        "answers": found.machine.answers.tolist(), "symbols": list(found.machine.symbols),
        "task's": same, "agreeing": found.agreeing, "words": found.words,
    }  # fmt: skip
    lines = [found.table(), "", f"{words}; {agreeing}", f"dot     {dot}", f"picture {picture}"]
    return values, "\n".join(lines), 0
