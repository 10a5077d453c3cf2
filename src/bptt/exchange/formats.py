"""The formats: who writes, reads and plays each, and what it has room for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from bptt.errors import BpttError, quoted_list


@dataclass(frozen=True)
class Format:
    """A format by its functions' names in a module of this room.

    holds: what it has room for besides weights: 'skip', 'scaling', 'initial' (state), 'last'
    (readout), 'both' (directions). options: what `write` takes besides the model. brief: one line
    for people.
    """

    name: str
    suffix: str
    module: str
    write: str
    play: str
    holds: frozenset[str]
    options: frozenset[str]
    brief: str

    def function(self, name: str) -> Callable[..., Any]:
        """One of its functions; heavy modules are imported now."""
        return getattr(import_module(f"bptt.exchange.{self.module}"), name)  # type: ignore[no-any-return]


def _format(
    name: str, suffix: str, module: str, brief: str, holds: str = "", options: str = "",
    write: str = "write", play: str = "play",
) -> Format:  # fmt: skip
    return Format(name, suffix, module, write, play, frozenset(holds.split()),
                  frozenset(options.split()), brief)  # fmt: skip


ALL = "skip scaling initial last"
FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        _format("c", ".c", "c_format", "one C99 file", ALL, "name math quantize inputs"),
        _format("wasm", ".wasm", "wasm", "WebAssembly and its JavaScript", ALL, "name math"),
        _format("numpy", ".py", "numpy_file", "one Python file", ALL),
        _format("torch", ".safetensors", "torch_files", "a PyTorch state dict",
                "skip initial last both"),
        _format("onnx", ".onnx", "onnx_files", "ONNX, opset 17", ALL, "step"),
        _format("keras", ".keras", "keras_files", "a Keras 3 model", "last"),
        _format("keras-weights", ".weights.h5", "keras_files", "a Keras model's weights", "last",
                write="write_weights"),
        _format("flax", ".safetensors", "jax_files", "Flax parameters", "initial last",
                write="write_flax"),
        _format("equinox", ".safetensors", "jax_files", "Equinox parameters", "initial last",
                write="write_equinox"),
        _format("rtneural", ".json", "guitar", "RTNeural's JSON", "skip initial",
                write="write_rtneural"),
        _format("aidax", ".json", "guitar", "an AIDA-X model", "skip initial", "name",
                write="write_aidax"),
        _format("guitarml", ".json", "guitar", "a Proteus, NeuralPi or NeuralSeed model",
                "skip initial", write="write_guitarml"),
        _format("nam", ".nam", "guitar", "a NAM model", "skip initial", "name",
                write="write_nam"),
    )
}  # fmt: skip

# What each sign at a file's beginning says: the module that reads it, the reader, the player.
KINDS = {
    "safetensors": ("torch_files", "read_safetensors", "play"),
    "jax": ("jax_files", "read", "play"),
    "pt": ("torch_files", "read", "play_pt"),
    "keras": ("keras_files", "read", "play"),
    "json": ("guitar", "read", "play"),
    "onnx": ("onnx_files", "read", "play"),
}


def format_of(name: str) -> Format:
    """The format of that name. Raises BpttError for an unknown one."""
    if name not in FORMATS:
        raise BpttError(f"format '{name:.40}' is not known: choose one of {quoted_list(FORMATS)}")
    return FORMATS[name]


def kind_of(content: bytes) -> str:
    """What kind of file it is, by its first bytes."""
    if content[8:9] == b"{" and content[5:8] == b"\0\0\0":
        head = content[8 : 8 + int.from_bytes(content[:8], "little")]
        ours = b'"library"' in head and b"__metadata__" in head
        return "jax" if ours else "safetensors"
    if content[:2] == b"PK":
        return "keras" if b"config.json" in content else "pt"
    if content[:8] == b"\x89HDF\r\n\x1a\n":
        return "keras"
    if content[:1] == b"\x80":
        return "pt"
    if content.lstrip()[:1] == b"{":
        return "json"
    return "onnx"


def functions(kind: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Reader and player of a kind of file."""
    module, read, play = KINDS[kind]
    home = import_module(f"bptt.exchange.{module}")
    return getattr(home, read), getattr(home, play)
