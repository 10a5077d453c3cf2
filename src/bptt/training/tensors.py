"""Safetensors files of ours: arrays, and a JSON object that says what they are."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file as save_safetensors

from bptt.errors import BpttError
from bptt.files import REMEDY, json_text, replacing, why


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all, without a copy of large arrays in memory.

    What grows with a run belongs among the tensors: the metadata stand in the file's header, which
    may have 100 MB. The library writes arrays in memory order: they must be contiguous.
    Raises BpttError as `bptt.files.write_file`.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_safetensors(arrays, temporary, {"bptt": json_text(metadata)})
        except SafetensorError as error:
            raise BpttError(f"'{path}' cannot be written: {error}; {REMEDY}") from None


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and metadata of one of our safetensors files; BpttError for any other file."""
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        tensors = load(content)
        (header,) = struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8 : 8 + header])["__metadata__"]["bptt"]
        return tensors, json.loads(metadata)
    except OSError as error:
        raise BpttError(f"'{path}' cannot be read: {why(error)}; is it a run?") from None
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        raise BpttError(
            f"'{path}' is damaged, or not a file that bptt wrote: give another, or train again"
        ) from None
