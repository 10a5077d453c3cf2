"""Protocol buffers, as far as ONNX files need them: messages as lists of numbered fields.

A message is written from (field number, value) pairs, and read into a dict from field numbers to
the list of values found: integers, or bytes for everything that has a length.
Source: protobuf.dev, "Encoding".
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
Message = dict[int, list[Any]]


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def message(*fields: tuple[int, Any]) -> bytes:
    """A message's bytes. An int is a varint, a float 32 bits, a text, bytes or message (its own
    bytes) a block with its length; None is left out, a list is its values one by one."""
    parts = []
    for number, value in fields:
        for each in value if isinstance(value, list) else [value]:
            if each is None:
                continue
            if isinstance(each, (bool, int, np.integer)):
                parts.append(_varint(number << 3 | VARINT) + _varint(int(each)))
            elif isinstance(each, float):
                parts.append(_varint(number << 3 | FIXED32) + struct.pack("<f", each))
            else:
                block = each.encode() if isinstance(each, str) else each
                parts.append(_varint(number << 3 | LENGTH) + _varint(len(block)) + block)
    return b"".join(parts)


def damaged() -> BpttError:
    """The error for bytes that are no ONNX file."""
    return BpttError("the file is no ONNX model, or damaged: export it again from where it came")


def _read_varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        if at >= len(content):
            raise damaged()
        octet = content[at]
        at += 1
        value |= (octet & 127) << (7 * count)
        if octet < 128:
            return value & (2**64 - 1), at
    raise damaged()


def _fields(content: memoryview) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _read_varint(content, at)
            yield number, value
            continue
        if kind == LENGTH:
            size, at = _read_varint(content, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise damaged()
        if at + size > len(content) or number == 0:
            raise damaged()
        yield number, content[at : at + size]
        at += size


def parsed(content: Any) -> Message:
    """A message's fields; blocks are views, nothing is copied. Raises BpttError if it is none."""
    if isinstance(content, int):
        raise damaged()
    found: Message = {}
    for number, value in _fields(memoryview(content)):
        found.setdefault(number, []).append(value)
    return found


def text(found: Message, number: int) -> str:
    """A text field, '' where it is not there."""
    try:
        return bytes(found.get(number, [b""])[-1]).decode()
    except (UnicodeDecodeError, TypeError, ValueError, MemoryError, OverflowError):
        raise damaged() from None


def texts(found: Message, number: int) -> list[str]:
    """All values of a text field."""
    return [text({number: [value]}, number) for value in found.get(number, [])]


def integers(found: Message, number: int) -> list[int]:
    """All values of an integer field, packed into blocks or not, with their sign."""
    values: list[int] = []
    for value in found.get(number, []):
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            each, at = _read_varint(value, at)
            values.append(each)
    return [value - 2**64 if value >= 2**63 else value for value in values]


def integer(found: Message, number: int, default: int = 0) -> int:
    """The last value of an integer field."""
    values = integers(found, number)
    return values[-1] if values else default


def floats(found: Message, number: int, kind: str = "<f4") -> NDArray[Any]:
    """All values of a float field, packed into blocks or not."""
    blocks = found.get(number, [])
    if any(isinstance(block, int) or len(block) % np.dtype(kind).itemsize for block in blocks):
        raise damaged()
    parts = [np.frombuffer(block, kind) for block in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, kind)
