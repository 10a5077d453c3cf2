"""`bptt score` and `bptt predict`: a run's model on other data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.commands.answers import Json, RunPath, answer
from bptt.commands.data import File, TargetFile
from bptt.commands.job_reports import details, plain, verdict
from bptt.errors import BpttError
from bptt.files import replacing
from bptt.fitting import Model
from bptt.fitting.folder import load_model
from bptt.fitting.scores import report
from bptt.sequences import Sequences

Predictions = Annotated[
    Path | None,
    typer.Option(help="The predictions' file: .csv, or .wav of a recording.",
                 show_default="predictions.csv"),
]  # fmt: skip


def score(run_path: RunPath, path: File, targets: TargetFile = None, as_json: Json = False) -> None:
    """Say how good a run's model is on data with answers, beside the baseline."""
    model = load_model(run_path)
    if model.prepared is not None:
        from bptt.commands.forecasts import score as of_forecasts

        if targets is not None:
            raise BpttError(f"'{run_path}' forecasts: what is to be said stands in the file itself")
        return answer(as_json, *of_forecasts(run_path, path))
    found = report(model, Sequences.read(path, targets, like=model.schema))
    text = "\n".join([verdict(found, f"of '{path}'"), *details(found)])
    return answer(as_json, plain(found), text)


def predict(run_path: RunPath, path: File, out: Predictions = None, as_json: Json = False) -> None:
    """Write what a run's model says of new data, read as those in training were."""
    model, target = load_model(run_path), out or Path("predictions.csv")
    if model.prepared is not None:
        raise BpttError(f"'{run_path}' says what comes next: bptt forecast {run_path}")
    data = Sequences.read(path, like=model.schema)
    if target.suffix.lower() == ".wav":
        _write_wav(model, data, target)
    elif target.suffix.lower() == ".csv":
        table = predictions(model, data)
        with replacing(target) as temporary:
            table.to_csv(temporary, index=False)
    else:
        raise BpttError(f"'{target}' ends in '{target.suffix}': '.csv' or '.wav' is written")
    values = {"predictions": str(target), "sequences": len(data), "steps": int(data.lengths.sum())}
    answer(as_json, values, f"predictions of {len(data):,} sequences  {target}")


def predictions(model: Model, data: Sequences) -> Any:
    """A table with a row a sequence, or a row a step: what it is, then what is said of it: the
    class and the probability of each class, or the numbers (of quantiles a column a level)."""
    import numpy as np
    import pandas

    schema, said = model.schema, model.predict(data)
    names = data.ids if data.ids is not None else np.arange(len(data))
    table: dict[str, Any] = {schema.reading.id or "sequence": names}
    if schema.per == "step":
        table = {name: np.repeat(values, data.lengths) for name, values in table.items()}
        times = data.times
        if times is None:
            table["step"] = np.concatenate([np.arange(length) for length in data.lengths])
        else:
            table[schema.reading.time or "time"] = np.concatenate(times)
        said = np.concatenate(said)
    if schema.kind == "classes":
        table[schema.target[0]] = said
        p = model.predict_proba(data)
        p = np.concatenate(p) if schema.per == "step" else p
        table |= {f"p({name})": p[:, k] for k, name in enumerate(schema.classes)}
    else:
        rows = said.reshape(len(said), len(schema.target), len(model.levels))
        for o, name in enumerate(schema.target):
            for q, level in enumerate(model.levels):
                column = name if len(model.levels) == 1 else f"{name} q{level:g}"
                table[column] = rows[:, o, q]
    return pandas.DataFrame(table)


def _write_wav(model: Model, data: Sequences, path: Path) -> None:
    from bptt.sequences.audio import write_wav

    if data.rate is None or len(data) != 1 or model.schema.per != "step":
        raise BpttError("a .wav file is written of a recording alone: give --out FILE.csv")
    write_wav(path, model.predict(data)[0], data.rate)
