"""A text as sequences of characters: at every step the next one is to be said.

A worked example, the text "to be", in windows of 2 characters:

    iteration   reads   is to say   state
    0           "to"    "o "        starts from the initial state
    1           " b"    "be"        carried on from iteration 0
    2           "to"    "o "        the text starts again: set back to the initial state

Windows do not overlap. The last one is shorter if the text does not divide evenly (here " b" would
be followed by "e" where the text were "to bed"); with rest 'drop' it is left out, as many programs
do, and then the end of the text is never learnt. Where the text is read in several streams at once
(batch B > 1) it is cut into B pieces of equal length, read side by side.
"""

import hashlib
import sys
from codecs import BOM_UTF8
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.arguments import check_types, flag, integers, whole
from bptt.arguments import path as path_of
from bptt.arguments import text as text_of
from bptt.errors import BpttError, quoted_list
from bptt.options import NOT_AN_OPTION, Option
from bptt.tasks.batches import Batches, stacked
from bptt.tasks.task import Task

NEWLINES = ("keep", "space")
RESTS = ("keep", "drop")


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer.read()


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, or of standard input for '-'.

    Raises BpttError for a file that is not there, cannot be read, or is not UTF-8.
    """
    path = path_of("path", path)
    try:
        octets = _standard_input() if str(path) == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise BpttError(f"'{path}' cannot be read: {reason}; give a text file") from None
    mark = len(BOM_UTF8) if octets.startswith(BOM_UTF8) else 0
    try:
        return octets[mark:].decode()
    except UnicodeDecodeError as error:
        place = mark + error.start
        raise BpttError(
            f"'{path}' is not UTF-8 text (byte {place} is {octets[place]:#04x}): "
            "convert it to UTF-8"
        ) from None


def code_points(text: str) -> NDArray[np.uint32]:
    """The Unicode numbers of characters."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_to_learn(path: str | Path) -> str:
    """As `read_text`, for a text of 2 characters at least."""
    text = read_text(path)
    if len(text) < 2:
        raise BpttError(
            f"'{path}' holds {len(text)} characters: at least 2 are needed to learn from"
        )
    return text


class Characters(Task, frozen=True, kw_only=True):
    """The data of `bptt.Text`, and its options, which are explained there."""

    text: Annotated[str, Option("The text itself.")] = ""
    window: Annotated[int, Option("Characters an iteration.")] = 40
    vocabulary: Annotated[str, NOT_AN_OPTION] = ""
    newlines: Annotated[str, Option("keep, or space to turn them into spaces.")] = "keep"
    rest: Annotated[str, Option("A last, shorter window: keep or drop.")] = "keep"
    sha256: Annotated[str, NOT_AN_OPTION] = ""
    length: Annotated[int, NOT_AN_OPTION] = 0

    def __post_init__(self) -> None:
        check_types(self)
        for name, allowed in (("newlines", NEWLINES), ("rest", RESTS)):
            if getattr(self, name) not in allowed:
                raise BpttError(
                    f"{name} '{getattr(self, name)}' is not known: "
                    f"choose one of {quoted_list(allowed)}"
                )
        whole("window", self.window, 1)
        if self.text:
            self._take_text()
        elif not self.vocabulary:
            raise BpttError("the text is empty: give one of at least 2 characters")
        if "".join(sorted(set(self.vocabulary))) != self.vocabulary:
            raise BpttError(f"vocabulary {self.vocabulary!r:.60} must be sorted, without doubles")

    def _set(self, name: str, value: Any) -> None:
        msgspec.structs.force_setattr(self, name, value)

    def _take_text(self) -> None:
        """Fill the fields that follow from the text, and check it."""
        if self.newlines == "space":
            spaced = self.text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", " ")
            self._set("text", spaced)
        if len(self.text) < 2:
            raise BpttError(f"the text is {self.text!r}: at least 2 characters are needed")
        if self.window > len(self.text) - 1:
            raise BpttError(
                f"window {self.window} is longer than the text allows: a text of {len(self.text)} "
                f"characters has windows of at most {len(self.text) - 1}"
            )
        try:
            digest = hashlib.sha256(self.text.encode()).hexdigest()
        except UnicodeEncodeError as error:
            raise BpttError(
                f"character {self.text[error.start]!r} (position {error.start + 1}) cannot be "
                "written as UTF-8: leave it out"
            ) from None
        if self.sha256 not in ("", digest) or self.length not in (0, len(self.text)):
            raise BpttError(
                f"the text of {len(self.text)} characters is not the one of {self.length} that "
                "this task was made with: give that one"
            )
        self._set("sha256", digest)
        self._set("length", len(self.text))
        if self.vocabulary:
            self.encode(self.text)
        else:
            self._set("vocabulary", "".join(sorted(set(self.text))))

    one_hot = True
    classes = True
    carries_state = True

    @property
    def inputs(self) -> int:
        """D: how many different characters there are."""
        return len(self.vocabulary)

    @property
    def outputs(self) -> int:
        """O: the same."""
        return len(self.vocabulary)

    @property
    def steps(self) -> int:
        """T: the window."""
        return self.window

    def config(self, data: bool = True) -> dict[str, Any]:
        """See `Task.config`.

        With the whole text, so that a run can go on where the file is gone. Without it, the
        vocabulary and the text's sha256 and length are left: enough to encode and decode.
        """
        return super().config() | ({} if flag("data", data) else {"text": ""})

    def encode(self, text: str) -> NDArray[np.int64]:
        """The numbers of characters. Raises BpttError for one that is not in the vocabulary."""
        known, wanted = code_points(self.vocabulary), code_points(text_of("text", text))
        numbers = np.minimum(np.searchsorted(known, wanted), known.size - 1)
        strangers = np.flatnonzero(known[numbers] != wanted)
        if strangers.size:
            place = int(strangers[0])
            raise BpttError(
                f"character {text[place]!r} (position {place + 1}) is not in the vocabulary "
                f"of {known.size} characters that was learnt: {self.vocabulary!r:.80}"
            )
        return numbers.astype(np.int64)

    def decode(self, ids: ArrayLike) -> str:
        """The characters of numbers. Raises BpttError for a number that is not a character's."""
        numbers = integers("ids", ids).ravel()
        wrong = numbers[(numbers < 0) | (numbers >= len(self.vocabulary))]
        if wrong.size:
            raise BpttError(
                f"{wrong[0]} is not the number of a character: they go from 0 to "
                f"{len(self.vocabulary) - 1}"
            )
        return "".join([self.vocabulary[number] for number in numbers])

    def recalled(self, written: str) -> int:
        """How many characters of `written` repeat the text before the first slip.

        `written` is what the network writes after the text's first character.
        """
        rest, written = self.text[1:], text_of("written", written)
        pairs = zip(rest, written, strict=False)
        return next(
            (i for i, (right, said) in enumerate(pairs) if right != said),
            min(len(rest), len(written)),
        )

    def stream(self, seed: int, batch: int, dtype: str = "float32") -> "TextStream":
        """See `Task.stream`; a text has one order, so the seed is not used."""
        return TextStream(self, batch)


class TextStream:
    """The windows of a text, over and over; see `bptt.tasks.batches.Stream`."""

    def __init__(self, task: Characters, batch: int) -> None:
        """As `Task.stream`."""
        if not task.text:
            raise BpttError("this task has a vocabulary but no text to learn from: give the text")
        batch = whole("batch", batch, 1)
        piece = len(task.text) // batch
        # Characters to be said by each stream: the last stream's last one needs a successor.
        span = min(piece, len(task.text) - 1 - (batch - 1) * piece)
        full, rest = divmod(span, task.window)
        self.windows = full + (rest > 0 and task.rest == "keep")
        if self.windows < 1 or span < 1:
            raise BpttError(
                f"batch {batch} of windows of {task.window} is more than the text's "
                f"{len(task.text)} characters: make the batch or the window smaller"
            )
        starts = np.arange(batch)[:, None] * piece
        places = starts + np.minimum(np.arange(self.windows * task.window + 1), span)
        self.ids = task.encode(task.text)[places]  # (B, windows * T + 1), padded by repetition
        self.lengths = np.full(self.windows, task.window, np.intp)
        if rest and task.rest == "keep":
            self.lengths[-1] = rest
        self.window, self.batch, self.position = task.window, batch, 0

    def draw(self, iterations: int) -> Batches:
        """See `Stream.draw`."""
        whole("iterations", iterations, 0)
        numbers = (self.position + np.arange(iterations)) % self.windows
        self.position = int((self.position + iterations) % self.windows)
        places = numbers[:, None] * self.window + np.arange(self.window)  # (N, T)
        x = np.moveaxis(self.ids[:, places], 0, 1)  # (N, B, T)
        y = np.moveaxis(self.ids[:, places + 1], 0, 1)
        lengths = np.repeat(self.lengths[numbers][:, None], self.batch, axis=1)
        return Batches(x, y, lengths, numbers == 0)

    @staticmethod
    def draw_many(streams: Sequence[Any], iterations: int) -> Batches:
        """See `Stream.draw_many`."""
        return stacked([stream.draw(iterations) for stream in streams])

    def state(self) -> dict[str, Any]:
        """See `Stream.state`."""
        return {"position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Stream.restore`."""
        try:
            position = index(state["position"])
        except (KeyError, TypeError) as error:
            raise BpttError(f"the state of the data stream cannot be read: {error!r}") from None
        if not 0 <= position < self.windows:
            raise BpttError(f"the data stream cannot stand at window {position} of {self.windows}")
        self.position = position
