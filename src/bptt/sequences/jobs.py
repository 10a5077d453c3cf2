"""The jobs that data can be for, as commands and studies name them."""

from bptt.errors import BpttError, not_there
from bptt.sequences.store import Sequences

# What a job says of the target, see `bptt.sequences.schema.Reading`.
JOBS: dict[str, dict[str, str]] = {
    "classify": {"kind": "classes", "per": "sequence"},
    "label": {"kind": "classes", "per": "step"},
    "regress": {"kind": "numbers"},
}


def said_by(job: str) -> dict[str, str]:
    """What a job says of the target; nothing where none is named. Raises BpttError for another."""
    if not job:
        return {}
    if job not in JOBS:
        raise not_there("job", job, JOBS, "bptt")
    return JOBS[job]


def check_job(data: Sequences, job: str, file: str) -> None:
    """Raises BpttError for a file that says itself what its targets are, and they are not what the
    job is for."""
    wanted, schema = JOBS.get(job, {}), data.schema
    if data.target is not None and any(getattr(schema, name) != wanted[name] for name in wanted):
        fitting = next(
            name for name, each in JOBS.items()
            if all(getattr(schema, field) == value for field, value in each.items())
        )  # fmt: skip
        raise BpttError(
            f"'{file}' has {schema.kind} a {schema.per}, which are no job for '{job}': "
            f"train {fitting}"
        )
