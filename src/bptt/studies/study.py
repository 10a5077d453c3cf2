"""A study as it is handed to people: declared, planned, run."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bptt.equations.own import Equations, handed_in
from bptt.errors import BpttError
from bptt.studies import planning
from bptt.studies.execution import Means, Results, missing_runs, run_study
from bptt.studies.expansion import Expanded
from bptt.studies.store import DECLARATION, Store, alone
from bptt.tasks.task import Task
from bptt.training.runs import read_json


class Study(Expanded, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Settings x seeds, all trained, to be answered with statistics.

    task: a built-in task's name, or a task, whose fields are then part of the base, or the class of
    one of your own.
    base: options of `bptt.train` and of the task that all settings share.
    grid: a list of values for each option; all combinations are taken.
    random: a range for each option, as {'log_uniform': [1e-3, 1]} ('uniform' alike, 'integer'
    with both ends included, 'choice' of a list); `draws` points are drawn, by `draws_seed`; the
    first points stay the same where more are drawn.
    settings: explicit settings, as options; an entry 'name' labels it, 'solved' counts for it.
    panels: several questions in one study, see `Panel`.
    seeds: how many (0, 1, ...), or which.
    solved: 'exact' (the task's own test is passed), 'proved' (and right at every length, proved by
    a search of `bptt.proofs.prove.QUICK` steps, tried now and then), or {'loss': x} (mean loss
    since the last record at most x), {'smooth_loss': x} (below x), {'accuracy': x} (share of
    samples without a wrong output at least x), {'wrong': x} (share of wrong outputs at most x). It
    is looked at every `record_every` iterations.
    stop_when_solved: whether a run then ends; or else goes on to its last iteration.
    verdict: whether each network is put to the task's own test at its end.
    lengths: multiples of the trained length at which networks are tested too, for tasks that have
    longer sequences.
    every_length: whether each network is looked at at every length, at its end, by such a search:
    proved, wrong or undecided. The kernels of proofs are compiled if need be.
    curves: whether the records on the way are kept.
    seconds: after so many, no more runs are begun (`Study.run` then goes on another time).
    data: sequences of the user's own to learn from instead of a task: a table as
    `bptt.studies.data.Data`, `bptt.Sequences`, or two of them, to train and to test on. Options are
    then those of `bptt.fit`, and each setting is trained on each fold of the data, for each seed.

    Raises BpttError, naming field, value and what is allowed, if any setting is not possible.
    """

    def plan(self, workers: int | None = None, measure: bool = True) -> planning.Plan:
        """How many runs there are, and an estimate of the time: see `bptt.studies.planning`."""
        return planning.plan(self, workers, measure)

    def run(
        self,
        folder: str | Path | None = None,
        *,
        workers: int | None = None,
        client: Any = None,
        resume: bool = False,
        shard: tuple[int, int] | None = None,
        progress: bool | None = None,
    ) -> Results:
        """Train all runs that are not finished yet.

        folder: where results are kept, by default in memory only. workers: processes, by default
        one a core (1: this process alone). client: a `distributed.Client`, whose workers are used
        instead. resume: go on in a folder that holds this study already. shard (k, n): only the
        k-th of n parts. progress: whether it is shown on standard error, by default if that is a
        terminal. Ctrl-C ends the work and keeps what is finished; `Results.reason` is then
        'interrupted'.

        Raises BpttError for a folder that holds something else, or that another process works on.
        """
        means = Means(workers, client, shard, progress)
        return run_study(self, Path(folder) if folder else None, resume, means)


def load(
    folder: str | Path, task: type[Task] | None = None, equations: Sequence[Equations] = ()
) -> Results:
    """The results in a study's folder, finished or not. task: the class, if it is of a task of
    one's own. equations: the cells, outputs and rules of one's own that it names."""
    with handed_in(*equations):
        store = open_store(Path(folder), task)
    return Results(store, missing=sum(map(len, missing_runs(store, None))))


def open_store(folder: Path, own: type[Task] | None = None) -> Store:
    """The store in a folder. Raises BpttError if there is none."""
    if not (folder / DECLARATION).exists():
        raise BpttError(f"'{folder}' is not a study: it has no {DECLARATION}; name its folder")
    return Store(Study.from_dict(read_json(folder / DECLARATION), own), folder)


def merge(folders: Sequence[Path], out: Path) -> Results:
    """Put the finished runs of several folders of one study into one folder.

    Raises BpttError if they do not hold the same study.
    """
    stores = [open_store(folder) for folder in folders]
    for folder, store in zip(folders, stores, strict=True):
        if store.study != stores[0].study:
            raise BpttError(f"'{folder}' holds another study than '{folders[0]}': merge it apart")
    with alone(out):
        whole = Store(stores[0].study, out)
        for store in stores:
            rows = store.rows()
            while part := list(islice(rows, 10_000)):
                whole.add(part)
            store.close()
        whole.settle(lambda words: None, lambda: False)
    return Results(whole, missing=sum(map(len, missing_runs(whole, None))))
