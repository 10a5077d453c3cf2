"""What users call: networks out, networks in, and the check of both.

print(bptt.export(network, "net.c", math="fast"))  # what was verified, and how closely
network = bptt.read("model.safetensors")
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import instance
from bptt.arguments import path as path_of
from bptt.errors import BpttError
from bptt.exchange.formats import FORMATS, Format, format_of, functions, kind_of
from bptt.exchange.model import Affine, Model, affine, folded, model_of, network_of
from bptt.exchange.players import Ours, Player
from bptt.exchange.verification import (
    DOUBLE_LIMIT,
    SINGLE_LIMIT,
    Checked,
    UnverifiedError,
    compare,
    insist,
)
from bptt.files import write_file
from bptt.network.network import Network
from bptt.sequences.scaling import Scaling

Array = NDArray[Any]
MOST_BYTES = 2**31


def export(
    network: Any,
    path: str | Path,
    format: str | None = None,  # noqa: A002
    *,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    skip: int = 0,
    scaling: Scaling | Affine | None = None,
    classes: tuple[str, ...] = (),
    notes: Mapping[str, Any] | None = None,
    ids: bool = False,
    **options: Any,
) -> Checked:
    """Write a network as another program's file, after the file was read back and compared.

    network: a `bptt.Network`, or what `bptt.fit` gave, whose scaling and class names go with it
    (into the weights, where a format has no room for scaling: `bptt.exchange.model.folded`).
    format: one of `bptt.exchange.formats.FORMATS`; where not given, the path's suffix says it.
    inputs (B, T, D), targets: data like the training's, to check with, and for int8 to take ranges
    from and to say what it costs. skip: how many of the first inputs the output has added.
    scaling, classes, notes (sample_rate): see `Model`. options: name, math ('exact', 'fast') and
    quantize ('int8') for C, step for ONNX.

    Raises BpttError for what the format has no room for, and for a file that does not do what the
    network does; there is no file then.
    """
    path = Path(path)
    chosen = format_of(format or _by_suffix(path))
    model = outgoing(network, skip=skip, scaling=scaling, classes=tuple(classes), ids=ids,
                   notes=notes or {})  # fmt: skip
    if model.scaling is not None and "scaling" not in chosen.holds:
        model = _folded(model)
    _room(model, chosen)
    for name in options:
        if name not in chosen.options or name == "inputs":
            raise BpttError(f"format '{chosen.name}' has no {name}: leave it out")
    data = _data(model, inputs)
    if data is not None and "inputs" in chosen.options:
        options["inputs"] = data
    content = chosen.function(chosen.write)(model, **options)
    checked = insist(_check(model, chosen, content, data, ours=True), f"'{path}'")
    if options.get("quantize") and data is not None and targets is not None:
        from bptt.exchange.c_format import figures

        what, before, after = figures(model, content, data, targets)
        words = f"{checked.words}; {what} {before:.3f} % before int8, {after:.3f} % after"
        checked = Checked(checked.worst, checked.steps, checked.limit, words)
    write_file(path, content)
    if chosen.name == "wasm":
        from bptt.exchange.wasm import javascript

        script = javascript(model, str(options.get("name", "net")), path.stem)
        write_file(path.with_suffix(".mjs"), script.encode())
    return checked


def check(
    network: Any,
    path: str | Path,
    format: str | None = None,  # noqa: A002
    *,
    inputs: ArrayLike | None = None,
    **surroundings: Any,
) -> Checked:
    """Set a file that exists against a network; `Checked.passed` says whether it is the same."""
    content = _bytes(Path(path))
    chosen = format_of(format or _by_suffix(Path(path)))
    model = outgoing(network, **surroundings)
    if model.scaling is not None and "scaling" not in chosen.holds:
        model = _folded(model)
    _room(model, chosen)
    return _check(model, chosen, content, _data(model, inputs))


def read_file(path: str | Path, **options: Any) -> Model:
    """What is in another program's file: `Model.structure`, weights, skip, classes, notes.

    options: what the file may not say: activation (of an Elman layer: 'tanh', 'relu'), output
    ('linear', 'sigmoid', 'softmax'), readout ('steps', 'last').
    What was read is run beside the file's own equations, and on the file's own test data where it
    has some; nothing of the file is run. Raises BpttError, one line, for any other file.
    """
    content = _bytes(path_of("path", path))
    kind = kind_of(content)
    reader, player = functions(kind)
    try:
        model: Model = reader(content, **options)
        make: Callable[[], Player] = lambda: player(content, **options)  # noqa: E731
        with np.errstate(all="ignore"):
            insist(_light(model, make), f"what was read from '{path}'")
            _own_vectors(model, content, kind)
    except MemoryError:
        raise BpttError(f"'{path}' asks for more memory than there is: it is damaged") from None
    except BpttError as error:
        where = "" if f"'{path}'" in str(error) else f"'{path}': "
        raise type(error)(f"{where}{error}".replace("; nothing was written", "")) from None
    return model


def _light(model: Model, make: Callable[[], Player]) -> Checked:
    return compare(model, make, DOUBLE_LIMIT, amplified=2.0**-24, steps=20)


def _own_vectors(model: Model, content: bytes, kind: str) -> None:
    """Run the inputs that the file brings, and insist on its outputs."""
    if kind != "json":
        return
    from bptt.exchange.guitar import vectors

    found = vectors(content)
    if found is None:
        return
    x, y = found
    mine = Ours(model).run(x)
    worst = float(np.abs(mine - y).max()) if mine.shape == y.shape else float("nan")
    insist(Checked(worst, len(x), 1e-4), "the file's own test, input_batch to output_batch,")


def read(path: str | Path, engine: str = "compiled", **options: Any) -> Network:
    """The network in another program's file; see `read_file` for options and errors.

    Raises BpttError, besides, for a file whose outputs are more than the network's (the input
    added, other scales): `read_file` has all of it.
    """
    return _network(read_file(path, **options), f"'{path}'", engine)


def _network(model: Model, where: str, engine: str) -> Network:
    for what, there in (
        (f"adds the first input to the output (skip {model.skip})", bool(model.skip)),
        ("scales its inputs and outputs", model.scaling is not None),
    ):
        if there:
            raise BpttError(
                f"{where} {what}, which a network does not: use bptt.read_file({where}), "
                "whose `.skip` and `.scaling` say what to add, and network_of"
            )
    return network_of(model, engine)


def from_torch(module_or_state_dict: Any, engine: str = "compiled", **options: Any) -> Network:
    """A network from a PyTorch module or its state dict: RNN, LSTM or GRU layers and one Linear.

    options as for `read_file`. Raises BpttError for anything else in it.
    """
    from bptt.exchange.torch_files import activation_of, from_state_dict, of_module, play_tensors

    tensors = of_module(module_or_state_dict)
    options.setdefault("activation", activation_of(module_or_state_dict))
    model = from_state_dict(tensors, **options)
    known: dict[str, Any] = {
        name: options.get(name) for name in ("activation", "output", "readout")
    }
    checked = _light(model, lambda: play_tensors(tensors, None, **known))
    insist(checked, "what was read from the module")
    return _network(model, "the module", engine)


def to_torch(network: Network) -> dict[str, NDArray[np.float32]]:
    """A network's parameters under PyTorch's names; see `torch_files.to_torch`."""
    from bptt.exchange.torch_files import to_torch as state_dict

    return state_dict(model_of(instance("network", network, Network, "a bptt.Network")))


def outgoing(given: Any, **surroundings: Any) -> Model:
    """What goes out, from a network, a `Model`, or what `bptt.fit` gave."""
    if isinstance(given, Model):
        return given
    if hasattr(given, "schema") and hasattr(given, "levels"):
        if len(given.levels) > 1:
            raise BpttError(
                f"{len(given.levels)} quantiles were learned, which no format has room for: "
                "train one"
            )
        surroundings["scaling"] = surroundings.get("scaling") or given.scaling
        named = tuple(str(name) for name in given.schema.classes)
        surroundings["classes"] = surroundings.get("classes") or named
        given = given.network
    network = instance("network", given, Network, "a bptt.Network, or what bptt.fit gave")
    scales = affine(surroundings.pop("scaling", None), network.structure.outputs)
    return model_of(network, scaling=scales, **surroundings)


def _folded(model: Model) -> Model:
    """The model with its scaling in the weights, which may change its outputs by rounding alone."""
    found = folded(model)
    checked = compare(model, lambda: Ours(found), SINGLE_LIMIT, amplified=2.0**-23, steps=60)
    insist(checked, "the network with its scaling in the weights")
    return found


def _by_suffix(path: Path) -> str:
    for each in FORMATS.values():
        if path.name.endswith(each.suffix) and each.suffix not in (".safetensors", ".json"):
            return each.name
    if path.name.endswith(".safetensors"):
        return "torch"
    raise BpttError(
        f"'{path}' does not say its format by its name: give one of {', '.join(FORMATS)}"
    )


def _room(model: Model, chosen: Format) -> None:
    """Raises BpttError for what the format has no room for."""
    s = model.structure
    initial = s.initial_state == "trainable" and bool(np.any(model.initial()))
    for name, there, what in (
        ("skip", bool(model.skip), "the input added to the output (skip)"),
        ("scaling", model.scaling is not None, "the scaling of inputs and outputs"),
        ("initial", initial, "a trainable initial state"),
        ("last", s.readout == "last", "an output at the last step only (readout 'last')"),
        ("both", s.bidirectional, "layers in both directions"),
    ):
        if there and name not in chosen.holds:
            able = [each.name for each in FORMATS.values() if name in each.holds]
            raise BpttError(
                f"format '{chosen.name}' has no room for {what}: choose one of {', '.join(able)}"
            )


def _data(model: Model, inputs: ArrayLike | None) -> Array | None:
    """Inputs (B, T, D) as numbers; one-hot ones may be given as integers (B, T)."""
    if inputs is None:
        return None
    x, D = np.asarray(inputs), model.structure.inputs
    if x.ndim == 2 and np.issubdtype(x.dtype, np.integer):
        x = np.eye(D, dtype=np.float32)[x]
    if x.ndim != 3 or x.shape[2] != D or not x.size:
        raise BpttError(f"inputs has shape {x.shape}: (sequences, steps, {D}) is needed")
    return np.asarray(x, np.float64)


def _check(
    model: Model, chosen: Format, content: bytes, data: Array | None, ours: bool = False
) -> Checked:
    if chosen.module in ("c_format", "wasm"):
        return chosen.function("check")(model, content, data, ours)  # type: ignore[no-any-return]
    play = chosen.function(chosen.play)
    known = {"activation": model.structure.activation, "output": model.structure.output}
    with np.errstate(all="ignore"):
        return compare(model, lambda: play(content, **known), DOUBLE_LIMIT, data)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BpttError(f"'{path}' has more than {MOST_BYTES:,} bytes: too large for a network")
        return path.read_bytes()
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {error.strerror}; give a file") from None


__all__ = ["UnverifiedError", "check", "export", "from_torch", "read", "read_file", "to_torch"]
