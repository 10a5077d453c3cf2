"""Recordings: WAV files in, mapped where they can be, and out.

Samples of 16 and 32 bits count from -1 to 1 (divided by 2^15 and 2^31), those of 8 bits, which have
no sign, are (s - 128) / 128. A recording is one sequence with a channel for each of its own.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bptt.errors import BpttError
from bptt.sequences.parts import Anything

UNITS = {"int16": 1 / 2**15, "int32": 1 / 2**31}


def read_wav(path: Path) -> tuple[int, Anything, float]:
    """Samples a second, samples (T, D), and what one of them is worth.

    The file is mapped, not read, except for samples of 8 and 24 bits. Raises BpttError for a file
    that is no WAV file or is cut short.
    """
    from scipy.io import wavfile

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            rate, samples = wavfile.read(path, mmap=True)
        except ValueError as error:
            try:  # some kinds cannot be mapped
                rate, samples = wavfile.read(path)
            except (ValueError, EOFError):
                raise BpttError(f"'{path}' is no WAV file that can be read: {error}") from None
        except EOFError:
            raise BpttError(f"'{path}' is cut short") from None
    cut = [str(each.message) for each in told if "EOF" in str(each.message)]
    if cut:
        raise BpttError(f"'{path}' is cut short: {cut[0]}")
    if not samples.size:
        raise BpttError(f"'{path}' has no samples")
    samples = samples.reshape(len(samples), -1)
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    return int(rate), samples, UNITS.get(samples.dtype.newbyteorder("=").name, 1.0)


def write_wav(path: str | Path, samples: ArrayLike, rate: int, bits: int = 32) -> None:
    """Write samples (T,) or (T, D) from -1 to 1 as a WAV file: 32-bit floats, or 16-bit integers.

    Raises BpttError for samples that are not finite, for 16 bits beyond -1 to 1 (they would be
    cut), and for a file that cannot be written. Nothing half-written stays behind.
    """
    from scipy.io import wavfile

    values = np.asarray(samples)
    if values.ndim not in (1, 2) or not values.size or values.dtype.kind not in "fiu":
        raise BpttError(f"samples of shape {values.shape}: (steps,) or (steps, channels) is needed")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise BpttError("samples that are not finite cannot be written as sound")
    if bits not in (16, 32):
        raise BpttError(f"bits {bits} is not known: 16 or 32 are written")
    if bits == 16:
        largest = float(np.abs(values).max())
        if largest > 1:
            raise BpttError(
                f"a sample is {largest:.3g}, beyond 1: divide all by it, or write bits=32"
            )
        values = np.clip(np.rint(values * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    if int(rate) < 1:
        raise BpttError(f"rate {rate} must be at least 1 sample a second")
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        wavfile.write(part, int(rate), values)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BpttError(f"'{path}' cannot be written: {error.strerror}") from None


Recording = tuple[int, Anything, float]


def same_recording(x: Recording, y: Recording, path: str | Path) -> None:
    """Raises BpttError if two recordings are not of the same rate and length."""
    if x[0] != y[0]:
        raise BpttError(f"'{path}' has {y[0]} samples a second, the input {x[0]}: make them equal")
    if len(x[1]) != len(y[1]):
        raise BpttError(f"'{path}' has {len(y[1])} samples, the input {len(x[1])}: cut one")
