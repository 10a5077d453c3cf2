"""The results of one run of the benchmark, kept on disk after every measurement."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import goals
from benchmarks.jobs import Job, Line, key

FILE = "benchmark.json"
PACKAGES = ("bptt", "numpy", "numba", "scipy", "torch", "jax", "jaxlib")


def machine() -> dict[str, str]:
    """Processor, cores and versions: what must stay the same within one table."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "source of bptt": _source_digest(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    if found["bptt"] == "not installed" and importlib.util.find_spec("bptt"):
        found["bptt"] = "not installed, imported from its source"
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _source_digest() -> str:
    """A digest of the package's source files, as the contenders import it."""
    spec = importlib.util.find_spec("bptt")
    if spec is None or spec.origin is None:
        return "none"
    digest = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def sitting() -> dict[str, str]:
    """When a sitting begins and how busy the machine is then: its load of the last minute."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return {"began": time.strftime("%Y-%m-%d %H:%M:%S"), "load": load}


class CannotResumeError(Exception):
    """The results on disk are not of this kind of run on this machine."""


@dataclass
class Results:
    """Machine, sittings (when, how busy the machine was) and lines; `folder` None keeps nothing."""

    short: bool
    folder: Path | None
    machine: dict[str, str] = field(default_factory=machine)
    sittings: list[dict[str, str]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    now: dict[str, str] = field(default_factory=sitting)

    def add(self, new: list[Line]) -> None:
        """Add lines in place of those known by the same key, and write all."""
        replaced = {key(line) for line in new}
        self.lines = [line for line in self.lines if key(line) not in replaced] + new
        if self.now not in self.sittings:
            self.sittings.append(self.now)
        self.save()

    def has(self, job: Job) -> bool:
        """Whether all of the job's lines are there and in order: late and failed are redone, and
        what has not been compared with the others."""
        wanted = {"compared"} if job.kind == "time" else set()
        good = {
            key(line)
            for line in self.lines
            if not {"late", "failed", "wrong"} & set(line) and wanted <= set(line)
        }
        return all(each in good for each in job.lines())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "machine": self.machine,
            "short": self.short,
            "sittings": self.sittings,
            "goals": goals.judge(self.lines),
            "results": self.lines,
        }

    def save(self) -> None:
        """Write the file anew, so that it is whole at any moment."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        written = self.folder / f"{FILE}.new"
        written.write_text(json.dumps(self.as_dict(), indent=1))
        written.replace(self.folder / FILE)


def start(short: bool, folder: Path | None, resume: bool) -> Results:
    """New results, or those on disk to go on with. Raises CannotResumeError, one line."""
    results = Results(short, folder)
    if folder is not None and (folder / FILE).exists():
        if not resume:
            raise CannotResumeError(
                f"'{folder}' already holds results: go on with them by --resume, "
                "or choose another --out"
            )
        old = json.loads((folder / FILE).read_text())
        for what, mine in (("short", short), ("machine", results.machine)):
            if old[what] != mine:
                changed = what if what == "short" else _difference(old[what], results.machine)
                raise CannotResumeError(
                    f"'{folder}' cannot be gone on with: {changed} differs; choose another --out"
                )
        results.lines, results.sittings = old["results"], old["sittings"]
    return results


def _difference(old: dict[str, str], new: dict[str, str]) -> str:
    """The entries that are not the same."""
    names = dict.fromkeys([*old, *new])
    return ", ".join(name for name in names if old.get(name) != new.get(name))
