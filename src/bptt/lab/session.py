"""A training that is watched while it goes on, and the same setting on other seeds.

A thread trains and keeps the weights at every record: a *moment*. What the views show of a moment
is computed when somebody asks for it. Newest settings win: a new training ends the one before.
Whoever watches asks again and again; where nobody asks for some seconds, training stops, and goes
on when somebody asks again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError
from bptt.lab.views import Arrays, Looker, proof_of
from bptt.network.engines import Engine
from bptt.network.network import Network, engine_of
from bptt.proofs import native
from bptt.training.records import Record
from bptt.training.settings import Settings, Stop
from bptt.training.training import Training

if TYPE_CHECKING:
    from bptt.proofs.search import Balls

# Nobody has asked for so long: the page is closed or hidden. Training waits, and then ends.
PATIENCE_SECONDS, GONE_SECONDS = 3.0, 60.0
# What a page may ask for: larger trainings belong on the command line.
MOST_PARAMETERS, MOST_BATCH, MOST_ITERATIONS = 200_000, 1_000, 100_000
MOST_NUMBERS = 2_000_000  # of one iteration's data
MOST_MOMENTS = 400
SEEDS = 16
CALL_SECONDS = 0.01  # of the engine: a training that is to stop stops that soon
KEPT_LOOKS = 240


def check_size(settings: Settings) -> None:
    """Raises BpttError for a training that is too large to be watched."""
    settings.structure.refuse_both_directions("the lab follows one direction of time")
    size = settings.structure.layout().size
    numbers = settings.batch * settings.task.steps * max(settings.structure.hidden, 1)
    for what, found, most in (
        ("parameters", size, MOST_PARAMETERS), ("batch", settings.batch, MOST_BATCH),
        ("iterations", settings.iterations, MOST_ITERATIONS),
        ("states of an iteration", numbers, MOST_NUMBERS),
    ):  # fmt: skip
        if found > most:
            raise BpttError(f"{what} {found:,}: the lab takes at most {most:,}; use 'bptt train'")


def proofs_ready() -> bool:
    """Whether the kernels of proofs are there; if not, another process compiles them."""
    native.begin()
    return native.ready()


class Engines:
    """The compiled engine where its kernels are kept; until they are compiled, the reference."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compiled: Engine | None = None
        self._ready: dict[Any, threading.Event] = {}

    def _key(self, settings: Settings) -> Any:
        s = settings.structure
        return s, settings.batch, settings.task.steps, settings.optimizer.kind

    def ready(self, settings: Settings) -> Engine | None:
        """The compiled engine, if it can train these settings at once; else None, and it is
        prepared meanwhile."""
        key = self._key(settings)
        with self._lock:
            event = self._ready.get(key)
            if event is None:
                event = self._ready[key] = threading.Event()
                threading.Thread(
                    target=self._prepare, args=(settings, event), daemon=True, name="bptt-prepare"
                ).start()
        return self._compiled if event.is_set() else None

    def wait(self, settings: Settings, seconds: float) -> Engine:
        """The compiled engine, or, if it is not ready after so long, the reference."""
        if self.ready(settings) is None:
            self._ready[self._key(settings)].wait(seconds)
        return self.ready(settings) or engine_of("reference")

    def _prepare(self, settings: Settings, event: threading.Event) -> None:
        """Have kernels loaded, or compiled, by training one iteration and testing."""
        with self._lock:
            if self._compiled is None:
                self._compiled = engine_of("compiled")
            compiled = self._compiled
        short = msgspec.structs.replace(
            settings, iterations=1, record_every=1, stop=Stop(exact=False)
        )
        for _ in Training(short, compiled).records():
            pass
        event.set()


@dataclass
class Curve:
    """How one seed's training goes: iterations, losses a step, and shares of wrong outputs; reason,
    why it ended, '' while it has not."""

    seed: int
    iterations: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    wrong: list[float] = field(default_factory=list)
    reason: str = ""

    def add(self, record: Record) -> None:
        """The next record."""
        self.iterations.append(record.iteration)
        self.losses.append(record.loss_per_step)
        self.wrong.append(record.wrong)

    def since(self, known: int) -> dict[str, Any]:
        """What has come since so many records."""
        new = slice(known, len(self.wrong))
        return {
            "seed": self.seed, "reason": self.reason, "iterations": self.iterations[new],
            "losses": self.losses[new], "wrong": self.wrong[new],
        }  # fmt: skip


class Watching:
    """One training, its moments, and its other seeds; `begin` starts its thread."""

    def __init__(self, settings: Settings, engines: Engines, words: str = "") -> None:
        check_size(settings)
        self.settings, self.engines = settings, engines
        self.looker = Looker(
            settings.task, settings.structure, words, settings.initializers, settings.forget_bias
        )
        self.records = Curve(settings.seed)
        self.norms: list[float] = []
        self.moments: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self.every = 1  # of the records, which is a moment
        self.state, self.engine, self.verdict, self.proof = "training", "", "", ""
        self.seconds = 0.0
        self.proved: int | None = None  # the moment whose proof has sets to be drawn
        self._balls: Balls | None = None
        self.luck: list[Curve] = []
        self._sought = False
        self.asked = time.monotonic()
        self.id = 0
        self._looks: OrderedDict[int, Arrays] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = self._working(self._train, "bptt-training")
        self._seeds = self._working(self._try_seeds, "bptt-seeds")

    def begin(self) -> None:
        """Start to train."""
        self._thread.start()

    def first(self) -> Arrays:
        """What the views show before training: before `begin`, so that it can be seen at once."""
        s = self.settings
        theta = Training(msgspec.structs.replace(s, engine="reference")).network.theta
        self._keep(0, theta)
        return self.look(0)

    def stop(self) -> None:
        """Have training stop, a hundredth of a second from now or so."""
        self._stop.set()

    def end(self) -> None:
        """Stop training, and wait until that is so."""
        self.stop()
        for thread in (self._thread, self._seeds):
            if thread.is_alive():
                thread.join()

    @property
    def alive(self) -> bool:
        """Whether something of it still works."""
        return self._thread.is_alive() or self._seeds.is_alive()

    def _waits(self) -> bool:
        """Whether to stop now; while nobody watches, this does not return."""
        while (silent := time.monotonic() - self.asked) > PATIENCE_SECONDS:
            if silent > GONE_SECONDS:
                self._stop.set()
            if self._stop.wait(0.05):
                break
        return self._stop.is_set()

    def _working(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread for some work, which says what goes wrong."""

        def run() -> None:
            try:
                work()
            except BpttError as error:
                self.state, self.verdict = "error", str(error)
            except Exception as error:  # of a task of one's own: the page has to hear of it
                words = " ".join(str(error).split())
                self.state, self.verdict = "error", f"{type(error).__name__}: {words:.300}"

        return threading.Thread(target=run, daemon=True, name=name)

    def _train(self) -> None:
        if self.settings.stop.proved:
            self.engine = "preparing"
            while not proofs_ready():
                if self._waits() or self._stop.wait(0.1):
                    self.state = "stopped"
                    return
        engine = self.engines.wait(self.settings, 0.5)
        compiled = self.engines.ready(self.settings) is not None
        self.engine = "compiled" if compiled else "reference"
        training = Training(self.settings, engine, CALL_SECONDS)
        self._keep(0, training.network.theta)
        for record in training.records(self._waits):
            self.records.add(record)
            self.norms.append(record.gradient_norm)
            self.seconds = record.seconds
            if len(self.records.iterations) % self.every == 0:
                self._keep(record.iteration, training.network.theta)
            ready = self.engines.ready(self.settings)
            if self.engine == "reference" and ready is not None:
                # The same numbers but for rounding, a hundred times as fast; weights are shared.
                training.network = Network(
                    self.settings.structure, theta=training.learner.theta, engine=ready
                )
                self.engine = "compiled"
        if self._stop.is_set():
            self.state = "stopped"
            return
        if training.learner.iteration not in self.moments:
            self._keep(training.learner.iteration, training.network.theta)
        divergence = training.divergence
        self.verdict = str(divergence or training.verdict or training.reason)
        self.state = training.reason
        if not divergence:
            threading.Thread(
                target=self._prove, args=(training,), daemon=True, name="bptt-proof"
            ).start()

    def _prove(self, training: Training) -> None:
        """Look for about a second whether the network is right at every length; where that takes
        kernels that are not there yet, again when they are."""
        found = proof_of(training.network, training.task)
        if found is None:
            return
        if found.verdict == "undecided":
            while not (ready := proofs_ready()) and not self._stop.wait(1.0):
                pass
            if ready and found.balls is None:
                found = proof_of(training.network, training.task) or found
        if found.verdict == "undecided":
            return
        self.proof = str(found)
        if found.verdict == "proved":
            at = training.learner.iteration
            with self._lock:
                self._balls, self.proved = found.balls, at
                self._looks.pop(at, None)

    def _keep(self, iteration: int, theta: NDArray[Any]) -> None:
        """Keep a moment; where there are too many, every other one goes."""
        with self._lock:
            self.moments[iteration] = theta.copy()
            if len(self.moments) > MOST_MOMENTS:
                for n, each in enumerate(list(self.moments)):
                    if n % 2:
                        del self.moments[each]
                self.every *= 2

    def _try_seeds(self) -> None:
        """The same setting on the seeds that follow, in turn, a record each."""
        settings = self.settings
        engine = self.engines.wait(settings, 0.5)
        going = []
        for n in range(1, SEEDS):
            training = Training(settings.with_seed(settings.seed + n), engine, CALL_SECONDS)
            curve = Curve(settings.seed + n)
            self.luck.append(curve)
            going.append((training, training.records(self._waits), curve))
        while going and not self._stop.is_set():
            for each in list(going):
                training, records, curve = each
                record = next(records, None)
                if record is None:
                    curve.reason = training.reason
                    going.remove(each)
                else:
                    curve.add(record)
                if self._stop.is_set():
                    return

    def look(self, iteration: int) -> Arrays:
        """What the views show of a moment. Raises BpttError if there is none."""
        with self._lock:
            found = self._looks.get(iteration)
            theta = self.moments.get(iteration)
            balls = self._balls if iteration == self.proved else None
        if found is not None:
            return found
        if theta is None:
            raise BpttError(f"moment {iteration} is not there: ask for one that is")
        found = self.looker.look(theta, balls)
        with self._lock:
            self._looks[iteration] = found
            while len(self._looks) > KEPT_LOOKS:
                self._looks.popitem(last=False)
        return found

    def news(self, after: int, luck: Sequence[int] | None) -> dict[str, Any]:
        """What has happened since so many records. luck: of the other seeds, which then train, how
        many records are known of each."""
        self.asked = time.monotonic()
        with self._lock:
            moments = list(self.moments)
            ended = self.state not in ("training", "stopped", "error")
            if luck is not None and ended and not self._sought and not self._stop.is_set():
                self._sought = True
                self._seeds.start()
        count = len(self.norms)
        own = self.records
        return {
            "state": self.state, "engine": self.engine, "verdict": self.verdict,
            "proof": self.proof, "proved": self.proved, "moments": moments, "seconds": self.seconds,
            "records": {
                "iterations": own.iterations[after:count], "losses": own.losses[after:count],
                "wrong": own.wrong[after:count], "norms": self.norms[after:count],
            },
            "luck": [] if luck is None else [
                curve.since(luck[n] if n < len(luck) else 0) for n, curve in enumerate(self.luck)
            ],
        }  # fmt: skip


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values without NaN and infinity, which JSON has no words for."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.9g}") if np.isfinite(value) else None
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if isinstance(value, Mapping):
            return {name: plain(each) for name, each in value.items()}
        return value

    return {name: plain(value) for name, value in values.items()}
