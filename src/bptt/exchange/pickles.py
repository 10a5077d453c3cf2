"""PyTorch's .pt files without PyTorch, and without running anything that is in them.

A .pt file holds a pickle, which is a program. Here it is walked through by a small machine of our
own that makes dictionaries, lists, tuples, texts, numbers and tensors, and knows no other function
than the three that make tensors: everything else in a file is refused by name. Both kinds are
read: the zip archive of PyTorch 1.6 and later, and the five pickles in a row before it.

Tensors are views of the file's bytes; nothing is made that is larger than the file.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "BFloat16Storage": "bf16",
}  # fmt: skip
MOST_VALUES = 10**6


@dataclass(frozen=True)
class Name:
    """A name that a pickle wants to call."""

    text: str


@dataclass
class Storage:
    """A block of numbers of a file; its bytes are found by its key."""

    kind: str
    key: str
    count: int


@dataclass
class Stored:
    """A tensor before its bytes are known."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def refused(what: str) -> BpttError:
    """The error for a file that is not what it should be."""
    return BpttError(
        f"the .pt file {what}: load it in PyTorch and write safetensors instead, with "
        "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
    )


def _tensor(arguments: tuple[Any, ...]) -> Stored:
    storage, offset, size, stride = arguments[:4]
    ints = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(type(i) is int and i >= 0 for i in ints):
        raise refused("holds a tensor that is none")
    if len(size) != len(stride) or len(size) > 4:
        raise refused("holds a tensor that is none")
    return Stored(storage, offset, tuple(size), tuple(stride))


CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections OrderedDict": lambda arguments: {},
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": lambda arguments: arguments[0],
}
MARK = object()


class Machine:
    """Runs the opcodes of one pickle that make plain values; `persistent`: what storages are."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        """The value that the pickle at the file's place makes. Raises BpttError for any opcode or
        name that is not on the list."""
        self.stack, self.memo = [], {}
        count = 0
        try:
            for opcode, argument, _ in pickletools.genops(file):
                count += 1
                if count > MOST_VALUES:
                    raise refused("has too many parts")
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._do(opcode.name, argument)
        except BpttError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
            raise refused("is damaged") from None
        raise refused("is damaged")

    def _marked(self) -> list[Any]:
        """What lies above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise refused("is damaged")

    def _do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name == "TUPLE":
            stack.append(tuple(self._marked()))
        elif name in ("APPEND", "APPENDS"):
            values = self._marked() if name == "APPENDS" else [stack.pop()]
            _of(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = self._marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _of(stack[-1], dict).update(zip(pairs[::2], pairs[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                argument = f"{stack.pop(-2)} {stack.pop()}"
            stack.append(_allowed(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, called = _of(stack.pop(), tuple), _of(stack.pop(), Name)
            if called.text not in CALLS:
                raise refused(f"calls '{called.text:.80}'")
            stack.append(CALLS[called.text](arguments))
        elif name == "BUILD":  # an OrderedDict's attribute _metadata: versions of modules
            _of(stack.pop(), dict)
            _of(stack[-1], dict)
        else:
            raise refused(f"does more than hold weights (opcode {name})")


VALUES = frozenset(
    ["BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT",
     "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING"]
)  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "MARK": lambda: MARK,
}  # fmt: skip


def _of(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise refused("is damaged")
    return value


def _allowed(name: str) -> Name:
    """A name from the list. Nothing is imported."""
    module, _, last = name.partition(" ")
    if name not in CALLS and not (module in ("torch", "torch.storage") and last in KINDS):
        raise refused(f"asks for '{name.replace(' ', '.'):.80}', which is not weights")
    return Name(name)


def _storage(values: Any) -> Storage:
    word, kind, key, _, count = _of(values, tuple)[:5]
    last = _of(kind, Name).text.partition(" ")[2]
    if word != "storage" or last not in KINDS or type(key) is not str or type(count) is not int:
        raise refused("is damaged")
    return Storage(KINDS[last], key, count)


def _array(stored: Stored, content: bytes | memoryview) -> NDArray[Any]:
    """A tensor as a view of its storage's bytes."""
    kind = stored.storage.kind
    width = 2 if kind == "bf16" else np.dtype(kind).itemsize
    elements = len(content) // width
    numel = int(np.prod(stored.size, dtype=object))
    last = stored.offset + sum(
        (n - 1) * step for n, step in zip(stored.size, stored.stride, strict=True)
    )
    if numel > elements or (numel and last >= elements):
        raise refused("holds a tensor larger than its numbers")
    read = "<u2" if kind == "bf16" else f"<{kind}"
    flat = np.frombuffer(content, read, elements)
    if kind == "bf16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    steps = tuple(step * flat.itemsize for step in stored.stride)
    if not numel:
        return np.zeros(stored.size, flat.dtype)
    return np.lib.stride_tricks.as_strided(
        flat[stored.offset :], stored.size, steps, writeable=False
    )


def _zip(content: bytes) -> tuple[Any, Callable[[str], bytes]]:
    """The pickle's value and where the storages' bytes are, of a zip archive."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = {member.filename: member for member in archive.infolist()}
        if sum(member.file_size for member in members.values()) > len(content):
            raise refused("says it is larger than it is")
        (pickled,) = [name for name in members if name.endswith("/data.pkl")] or ["data.pkl"]
        root = pickled.removesuffix("data.pkl")
        if f"{root}constants.pkl" in members or any("/code/" in name for name in members):
            raise refused("is TorchScript, a program")
        order = members.get(f"{root}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise refused("is of a big-endian machine")
        value = Machine().run(io.BytesIO(archive.read(pickled)))
        return value, lambda key: archive.read(f"{root}data/{key}")
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, OSError, EOFError,
            RuntimeError, OverflowError) as error:  # fmt: skip
        raise (error if isinstance(error, BpttError) else refused("is damaged")) from None


def _row_of_pickles(content: bytes) -> tuple[Any, Callable[[str], Any]]:
    """The same of a file from before PyTorch 1.6."""
    file, machine = io.BytesIO(content), Machine()
    if machine.run(file) != MAGIC:
        raise refused("is not one that PyTorch wrote")
    machine.run(file)
    machine.run(file)
    value, keys = machine.run(file), machine.run(file)
    places: dict[str, tuple[int, int]] = {}
    widths: dict[str, int] = {}
    for stored in _tensors(value).values():
        kind = stored.storage.kind
        widths[stored.storage.key] = 2 if kind == "bf16" else np.dtype(kind).itemsize
    at = file.tell()
    for key in _of(keys, list):
        count = int.from_bytes(content[at : at + 8], "little")
        at += 8
        if type(key) is not str or key not in widths or at + count * widths[key] > len(content):
            raise refused("is damaged")
        places[key] = (at, at + count * widths[key])
        at = places[key][1]
    return value, lambda key: memoryview(content)[slice(*places[key])]


def _tensors(value: Any) -> dict[str, Stored]:
    """The tensors of a state dict, or of the one that lies in a dict with other things."""
    if not isinstance(value, dict):
        raise refused("holds no state dict")
    found = {k: v for k, v in value.items() if isinstance(v, Stored) and isinstance(k, str)}
    inner = [v for v in value.values() if isinstance(v, dict) and v]
    nested = [d for d in inner if all(isinstance(v, Stored) for v in d.values())]
    if not found and len(nested) == 1:
        return dict(nested[0])
    if not found:
        raise refused("holds no state dict")
    return found


def read_pt(content: bytes) -> dict[str, NDArray[Any]]:
    """The state dict of a .pt file: arrays by name, in the file's order.

    Raises BpttError, one line, for any file that holds something else, and runs nothing of it.
    """
    zipped = content[:2] == b"PK"
    value, bytes_of = _zip(content) if zipped else _row_of_pickles(content)
    found, total = {}, 0
    for name, stored in _tensors(value).items():
        try:
            found[str(name)] = _array(stored, bytes_of(stored.storage.key))
        except (KeyError, ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise (error if isinstance(error, BpttError) else refused("is damaged")) from None
        total += found[str(name)].nbytes
        if total > len(content):
            raise refused("has tensors larger than itself")
    return found
