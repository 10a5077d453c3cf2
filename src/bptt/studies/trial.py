"""A setting of a study over data: a plan of training, and which part of the data tests it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from bptt.fitting.plan import USUAL, Plan
from bptt.fitting.training import Fit
from bptt.network.structure import Structure
from bptt.studies.data import Data

# What is kept of a run over data; `docs/studies.md` says what each is.
SCORED = {
    "status": "TEXT", "iterations": "INTEGER", "epochs": "INTEGER", "best_epoch": "INTEGER",
    "loss": "REAL", "val_loss": "REAL", "measure": "TEXT", "score": "REAL", "baseline": "REAL",
    "test_loss": "REAL", "tested": "INTEGER", "what": "TEXT", "seconds": "REAL", "version": "TEXT",
    "arithmetic": "TEXT",
}  # fmt: skip
EPOCHS = ("iteration", "epoch", "loss", "val_loss", "val_score")


@dataclass(frozen=True)
class Trial:
    """A training on all of `data` but the part `fold` (with test data of their own: on all), tested
    on that; its seed fixes the folds, what is held out for validation, weights and order.

    It stands where a study's settings have `bptt.training.settings.Settings`.
    """

    plan: Plan
    data: Data
    fold: int = 0

    @cached_property
    def structure(self) -> Structure:
        """The network. Raises BpttError for a plan that does not go with the data."""
        return self.plan.network(self.data.about.schema)

    @property
    def engine(self) -> str:
        """See `bptt.network.engines`."""
        return self.plan.engine

    @property
    def iterations(self) -> int:
        """How many there are in all epochs."""
        known, plan = self.data.about, self.plan
        share = (1 - plan.validation) * (1 - 1 / self.data.folds if self.data.folds else 1)
        if plan.window:
            return max(1, round(share * known.steps / (plan.window * plan.batch))) * plan.epochs
        return max(1, round(share * known.sequences / plan.batch)) * plan.epochs

    def as_dict(self) -> dict[str, Any]:
        """Plain values of all that determines a run but its seed."""
        plan = self.plan.plain()
        del plan["seed"]
        data = self.data
        return {
            "plan": plan, "data": data.about.digest, "fold": self.fold, "folds": data.folds,
            "stratified": data.stratified,
        }  # fmt: skip

    def shape(self) -> Any:
        """What trials have in common that use the same compiled kernels and take about as long."""
        return self.structure, self.plan.batch, self.plan.optimizer.kind, self.plan.engine

    def described(self) -> str:
        """The shape in words."""
        s, known = self.structure, self.data.about
        layers = "" if s.layers == 1 else f"{s.layers} layers of "
        return (
            f"{layers}{s.cell} {s.hidden} ({s.activation}), {s.dtype}, batch {self.plan.batch}, "
            f"up to {known.longest} steps, {self.plan.optimizer.kind}"
        )

    def seconds_of_an_epoch(self) -> float:
        """What an epoch takes, after one that may have compiled."""
        plan = msgspec.structs.replace(self.plan, epochs=2)
        times = [record.seconds for record in self._fit(plan, 0).records()]
        return times[-1] - times[0] if len(times) > 1 else 0.0

    def _fit(self, plan: Plan, seed: int) -> Fit:
        train, _ = self.data.parts(seed, self.fold)
        return Fit(msgspec.structs.replace(plan, seed=seed), train)

    def check(self, seen: set[Any]) -> None:
        """Raises BpttError for a plan that does not go with the data, as far as can be told
        without training. seen: what has been looked at with other networks and optimizers."""
        assert self.structure
        what = msgspec.structs.replace(
            self.plan, structure=USUAL, optimizer=Plan().optimizer, epochs=0, engine="reference"
        )
        if self.data.at_hand and what not in seen:
            seen.add(what)
            self._fit(what, 0)

    def run(
        self, seed: int, curves: bool, version: str, interrupted: Callable[[], bool]
    ) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
        """Train and test: the values of SCORED, and a tuple of EPOCHS for each epoch if they are
        asked for; None for a run that was interrupted."""
        started = time.perf_counter()
        work = self._fit(self.plan, seed)
        for _ in work.records(interrupted):
            pass
        if work.reason == "interrupted":
            return None
        score = work.model().test(self.data.parts(seed, self.fold)[1])
        now, history = work.progress, work.progress.history
        judged = (score.value, score.baseline, score.loss) if score.total else (None,) * 3
        what = f"in epoch {now.epoch + 1}" if now.diverged else ""
        values = (
            "diverged" if now.diverged else "trained", now.iteration, now.epoch, now.best_epoch,
            history[-1].loss if history else None, now.best_loss, score.name, *judged, score.total,
            what, time.perf_counter() - started, version, work.network.engine.arithmetic,
        )  # fmt: skip
        records = history if curves else []
        return values, [tuple(getattr(each, name) for name in EPOCHS) for each in records]
