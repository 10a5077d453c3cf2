"""`bptt study`: run a study from its file, go on with one, merge the parts of one."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bptt.commands import study_report
from bptt.errors import BpttError
from bptt.files import json_text
from bptt.training.interrupts import exit_code, interrupts


class StudyCommands(TyperGroup):
    """Commands of which `run` may be left out: `bptt study FILE.toml` is `bptt study run FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` before arguments that name no command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=StudyCommands,
    no_args_is_help=True,
    add_completion=False,
    help="Train many settings, each on many seeds: 'bptt study FILE.toml'; then 'report'.",
)


@app.command("run")
def run_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study's declaration.")],
    out: Annotated[
        Path | None, typer.Option(help="The study's folder.", show_default="studies/FILE")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say how much work it is; run none.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Do only what is missing.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes.", show_default="one a core")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Only the K-th of N parts, as 3/16.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> int:
    """Run a study. 'run' may be left out: bptt study FILE.toml"""
    from bptt.studies.study import Study

    study = Study.from_toml(file)
    if plan:
        found = study.plan(workers)
        print(json_text(found.as_dict()) if as_json else found)
        return 0
    part = shard_of(shard)
    if scheduler and workers:
        raise BpttError("a cluster has workers of its own: give --scheduler or --workers")
    folder = out or Path("studies") / f"{file.stem}{f'-{part[0]}-of-{part[1]}' if part else ''}"
    with interrupts() as received, connected(scheduler) as client:
        results = study.run(folder, workers=workers, client=client, resume=resume, shard=part)
    values = {
        "folder": str(folder), "reason": results.reason, "missing": results.missing,
        **counts(results.store.statuses()), "arithmetic": results.store.arithmetics(),
    }  # fmt: skip
    print(json_text(values) if as_json else summary(values, results.mixed))
    if results.reason != "done":
        again = " ".join(["bptt study", str(file), "--resume", *_given(out, shard, scheduler)])
        print(f"go on with: {again}", file=sys.stderr) if not as_json else None
    return exit_code(received) if results.reason == "interrupted" else 0


def _given(out: Path | None, shard: str | None, scheduler: str | None) -> list[str]:
    """The options with which to go on."""
    pairs = (("--out", out), ("--shard", shard), ("--scheduler", scheduler))
    return [f"{name} {value}" for name, value in pairs if value]


def shard_of(text: str | None) -> tuple[int, int] | None:
    """'3/16' as (3, 16). Raises BpttError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise BpttError(f"shard '{text}' must be K/N with K from 1 to N, as 3/16")
    return int(match[1]), int(match[2])


def connected(address: str | None) -> Any:
    """A client of the Dask scheduler at that address, as a context manager; None without one."""
    from contextlib import nullcontext

    if address is None:
        return nullcontext()
    try:
        import distributed
    except ImportError:
        raise BpttError("Dask is not installed: pip install 'bptt[dask]'") from None
    client: Any = distributed.Client
    try:
        return client(address, timeout=10)
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise BpttError(f"there is no Dask scheduler at '{address}': {line:.200}") from None


def counts(statuses: Mapping[str, int]) -> dict[str, int]:
    """How many runs there are, and how many have ended how."""
    of_data = "trained" in statuses
    ends = ("trained", "diverged") if of_data else ("solved", "not solved", "diverged")
    return {"runs": sum(statuses.values())} | {status: statuses.get(status, 0) for status in ends}


def summary(values: dict[str, Any], mixed: str = "") -> str:
    """How a study has ended, for people. mixed: `Results.mixed`."""
    runs = values["runs"]
    shares = ", ".join(
        f"{values[name]:,} {name} ({100 * values[name] / max(runs, 1):.1f} %)"
        for name in ("trained", "solved", "not solved", "diverged")
        if name in values
    )
    missing = f"; {values['missing']:,} runs are missing" if values["missing"] else ""
    line = f"{runs:,} runs: {shares}{missing}\nin {values['folder']}"
    return f"{line}\n{mixed}" if mixed else line


@app.command("merge")
def merge_command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of the same study.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the whole; it may exist.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Put the results of several folders of one study, as shards leave them, into one."""
    from bptt.studies.study import merge

    results = merge(folders, out)
    values = {
        "folder": str(out), "missing": results.missing, **counts(results.store.statuses()),
        "arithmetic": results.store.arithmetics(),
    }  # fmt: skip
    print(json_text(values) if as_json else summary(values, results.mixed))


study_report.register(app)
