"""The command line. Every heavy import happens inside the command that needs it."""

import json
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.commands.drawer import Drawer
from bptt.commands.experiment import experiment_command
from bptt.commands.study import app as study_app
from bptt.errors import BpttError

app = typer.Typer(
    name="bptt",
    help="Train small recurrent networks by backpropagation through time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train a network: 'add' or 'text'; or go on with a run: --resume RUN.")
app.add_typer(train_app, name="train")

app.add_typer(study_app, name="study")
app.command("experiment")(experiment_command)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a weights file.")]
Cell = Annotated[str | None, typer.Option(help="elman, lstm or gru.")]
Hidden = Annotated[int | None, typer.Option(help="Hidden units.")]
Layers = Annotated[int | None, typer.Option(help="Recurrent layers.")]
Activation = Annotated[str | None, typer.Option(help="Of the Elman cell: tanh, sigmoid or relu.")]
OptimizerName = Annotated[
    str | None,
    typer.Option("--optimizer", help="sgd, momentum, nesterov, rmsprop, rmsprop_nesterov, "
                 "adagrad, adam or adamw."),
]  # fmt: skip
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Learning rate.")]
BatchSize = Annotated[int | None, typer.Option("--batch", help="Samples an iteration.")]
Iterations = Annotated[int | None, typer.Option(help="Iterations at most.")]
RecordEvery = Annotated[int | None, typer.Option(help="Iterations from record to record.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64.")]
Seed = Annotated[int, typer.Option(help="Fixes weights and data.")]
Out = Annotated[
    Path | None, typer.Option(help="The run's folder.", show_default="runs/TASK-N, the next free N")
]
ClipNorm = Annotated[float | None, typer.Option(help="Largest norm of a gradient.")]
ClipValue = Annotated[float | None, typer.Option(help="Largest entry of a gradient.")]
Initial = Annotated[str | None, typer.Option("--initial-state", help="zeros or trainable.")]
Engine = Annotated[str | None, typer.Option(help="compiled, or reference for plain NumPy.")]
Seconds = Annotated[float | None, typer.Option(help="Stop after so many seconds of training.")]
TargetLoss = Annotated[float | None, typer.Option(help="Stop when the mean loss is this low.")]
SmoothLoss = Annotated[float | None, typer.Option(help="Stop when the smoothed loss is this low.")]
Exact = Annotated[
    bool | None, typer.Option("--stop-exact/--no-stop-exact", help="Stop once the task is solved.")
]
CheckpointSeconds = Annotated[float, typer.Option(help="Seconds between checkpoints.")]


def run(arguments: list[str], drawer: Drawer | None = None) -> int:
    """Run one command; returns the exit code. Bad input is one line on standard error, code 2.

    drawer: who draws the figure of a training, if not this process.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="bptt", standalone_mode=False, obj=drawer)
        return code if isinstance(code, int) else 0
    except BpttError as error:
        print(f"bptt: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"bptt: {error or 'not enough memory'}: make the network smaller", file=sys.stderr)
        return 2
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        line = " ".join(message().split()).rstrip(".")
        if line:
            print(f"bptt: {line}{_given(error, arguments)}; see 'bptt --help'", file=sys.stderr)
        return 2


def _given(error: Exception, arguments: list[str]) -> str:
    """The value that an option was given, which the parser's message leaves out."""
    names = getattr(getattr(error, "param", None), "opts", [])
    for name, value in pairwise(arguments):
        if name in names:
            return f", but '{value}' was given"
    return ""


def answer(as_json: bool, values: Mapping[str, Any], text: str) -> None:
    """Print the result: one JSON object, or text for people."""
    print(json.dumps(values, default=str) if as_json else text)


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from bptt.version import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def top(
    wanted: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train small recurrent networks by backpropagation through time."""


@train_app.callback(invoke_without_command=True)
def train_command(
    context: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
    as_json: Json = False,
) -> int | None:
    """Train a network: 'add' or 'text'; or go on with a run: --resume RUN."""
    if context.invoked_subcommand:
        if resume:
            raise BpttError("--resume goes on with a run as it was: leave out the task")
        return None
    if not resume:
        raise BpttError("nothing to train: give 'add', 'text FILE' or --resume RUN")
    from bptt.commands.train import resume_and_report

    return resume_and_report(resume, as_json, context.obj)


@train_app.command("add")
def train_add(
    context: typer.Context,
    bits: Annotated[int, typer.Option(help="Bits of an operand.")] = 8,
    signed: Annotated[bool, typer.Option("--signed", help="Two's complement; sums wrap.")] = False,
    carry: Annotated[str, typer.Option(help="Unsigned: room (one step more) or wrap.")] = "room",
    cell: Cell = None,
    hidden: Hidden = None,
    layers: Layers = None,
    activation: Activation = None,
    output: Annotated[str | None, typer.Option(help="sigmoid or linear.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy or squared.")] = None,
    untied: Annotated[bool, typer.Option("--untied", help="Own weights for every step.")] = False,
    initial_state: Initial = None,
    optimizer: OptimizerName = None,
    learning_rate: Rate = None,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    batch: BatchSize = None,
    iterations: Iterations = None,
    record_every: RecordEvery = None,
    target_loss: TargetLoss = None,
    smooth_loss: SmoothLoss = None,
    seconds: Seconds = None,
    exact: Exact = None,
    dtype: Dtype = None,
    engine: Engine = None,
    seed: Seed = 0,
    out: Out = None,
    checkpoint_seconds: CheckpointSeconds = 1.0,
    as_json: Json = False,
) -> int:
    """Train a network to add two binary numbers."""
    from bptt.commands.train import train_and_report
    from bptt.tasks import Addition

    options = {
        "cell": cell, "hidden": hidden, "layers": layers, "activation": activation,
        "output": output, "loss": loss, "tied": False if untied else None,
        "initial_state": initial_state, "optimizer": optimizer, "learning_rate": learning_rate,
        "clip_norm": clip_norm, "clip_value": clip_value, "batch": batch,
        "iterations": iterations, "record_every": record_every, "target_loss": target_loss,
        "smooth_loss": smooth_loss, "seconds": seconds, "exact": exact, "dtype": dtype,
        "engine": engine, "seed": seed,
    }  # fmt: skip
    task = Addition(bits=bits, signed=signed, carry=carry)
    return train_and_report(task, options, out, "add", checkpoint_seconds, as_json, context.obj)


@train_app.command("text")
def train_text(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A UTF-8 text file; '-' for standard input.")],
    window: Annotated[int, typer.Option(help="Characters an iteration.")] = 40,
    newlines: Annotated[
        str, typer.Option(help="keep, or space to turn them into spaces.")
    ] = "keep",
    cell: Cell = None,
    hidden: Hidden = None,
    layers: Layers = None,
    activation: Activation = None,
    initial_state: Initial = None,
    optimizer: OptimizerName = None,
    learning_rate: Rate = None,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    batch: BatchSize = None,
    iterations: Iterations = None,
    record_every: RecordEvery = None,
    target_loss: TargetLoss = None,
    smooth_loss: SmoothLoss = None,
    seconds: Seconds = None,
    exact: Exact = None,
    dtype: Dtype = None,
    engine: Engine = None,
    seed: Seed = 0,
    out: Out = None,
    checkpoint_seconds: CheckpointSeconds = 1.0,
    as_json: Json = False,
) -> int:
    """Train a network to write a text, character by character."""
    from bptt.commands.train import train_and_report
    from bptt.tasks import Text

    options = {
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "activation": activation,
        "initial_state": initial_state,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "clip_norm": clip_norm,
        "clip_value": clip_value,
        "batch": batch,
        "iterations": iterations,
        "record_every": record_every,
        "target_loss": target_loss,
        "smooth_loss": smooth_loss,
        "seconds": seconds,
        "exact": exact,
        "dtype": dtype,
        "engine": engine,
        "seed": seed,
    }
    task = Text.from_file(file, window, newlines)
    return train_and_report(task, options, out, "text", checkpoint_seconds, as_json, context.obj)


def _command(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A command whose arguments may be negative numbers."""
    return app.command(context_settings={"ignore_unknown_options": True}, **settings)


@_command()
def add(
    run_path: RunPath,
    a: Annotated[str, typer.Argument(help="An integer of any length.")],
    b: Annotated[str, typer.Argument(help="An integer of any length.")],
    as_json: Json = False,
) -> None:
    """Add two integers with a trained network."""
    from bptt.commands.use import use_network
    from bptt.tasks import Addition

    answer(as_json, *use_network(run_path, "add", Addition, a, b))


@app.command()
def write(
    run_path: RunPath,
    start: Annotated[str | None, typer.Option(help="What to continue.", show_default="the text's "
                     "first character")] = None,
    length: Annotated[int, typer.Option(help="Characters to write.")] = 200,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest; 1: as learnt.")] = 1,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write text with a trained network."""
    from bptt.commands.use import use_network
    from bptt.tasks import Text
    from bptt.tasks.text.writing import Writing

    how = Writing(start=start, length=length, temperature=temperature, seed=seed)
    answer(as_json, *use_network(run_path, "write", Text, how))


@app.command()
def check(
    cell: Cell = None,
    engine: Annotated[str, typer.Option(help="reference or compiled.")] = "reference",
    as_json: Json = False,
) -> int:
    """Check every gradient against central differences; exit 1 if any fails."""
    from bptt.commands.use import check_all

    values, text = check_all(cell, engine)
    answer(as_json, values, text)
    return 0 if values["passed"] else 1


@app.command()
def show(run_path: RunPath, as_json: Json = False) -> None:
    """Show what a run is, how it ended and what it can do."""
    from bptt.commands.use import show_run

    answer(as_json, *show_run(run_path))


@app.command()
def plot(
    run_path: RunPath,
    out: Annotated[
        Path | None, typer.Option(help="The picture's file.", show_default="RUN/figure.png")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw a run's learning curve."""
    from bptt.commands.use import plot_run

    answer(as_json, *plot_run(run_path, out))


def _formats(wanted: bool) -> None:
    """Print the formats and leave."""
    if wanted:
        from bptt.commands.exchange import formats_text

        print(formats_text())
        raise typer.Exit


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[str | None, typer.Option(help="The format; 'bptt export --formats' lists them.")]
    = None,
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="net.SUFFIX")] = None,
    checked: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Verify this file; write none.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What names in C begin with.")] = None,
    math: Annotated[str | None, typer.Option(help="C: exact (libm), or fast with a stated error.")]
    = None,
    quantize: Annotated[str | None, typer.Option(help="C: int8.")] = None,
    step: Annotated[bool, typer.Option("--step", help="ONNX: one step at a time.")] = False,
    skip: Annotated[int | None, typer.Option(help="So many inputs are added to the outputs.")]
    = None,
    sample_rate: Annotated[int | None, typer.Option(help="Samples a second, for the file to say.")]
    = None,
    formats: Annotated[bool, typer.Option("--formats", is_eager=True, callback=_formats,
                                          help="List the formats.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Write a network as C or another program's file, verified; exit 1, no file if it differs."""
    from bptt.commands.exchange import check_file, export_run
    from bptt.exchange.verification import UnverifiedError

    if checked:
        values, text = check_file(run_path, checked, to)
        answer(as_json, values, text)
        return 0 if values["passed"] else 1
    if to is None:
        raise BpttError("--to is missing: give a format, 'bptt export --formats' lists them")
    options = {"name": name, "math": math, "quantize": quantize, "step": step}
    try:
        answer(as_json, *export_run(run_path, to, out, skip, sample_rate, options))
    except UnverifiedError as error:
        print(f"bptt: {error}", file=sys.stderr)
        return 1
    return 0


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pt, .onnx, .keras, .h5, .json or "
                                         ".nam file.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder.",
                                             show_default="runs/imported-N")] = None,
    activation: Annotated[str | None, typer.Option(help="Of an Elman layer, where the file does "
                                                   "not say it: tanh or relu.")] = None,
    output: Annotated[str | None, typer.Option(help="linear, sigmoid or softmax, where the file "
                                               "does not say it.")] = None,
    readout: Annotated[str | None, typer.Option(help="steps or last, where the file does not say "
                                                "it.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Read another program's network, verified; nothing of the file is run."""
    from bptt.commands.exchange import import_file

    options = {"activation": activation, "output": output, "readout": readout}
    answer(as_json, *import_file(file, out, options))
