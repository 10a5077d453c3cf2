"""The task of learning a text."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from bptt.arguments import flag, instance, real, text
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.network.structure import Structure
from bptt.tasks.task import Command, FromFile, Report, Shown, Verdict, Watched
from bptt.tasks.text.data import Characters, text_to_learn
from bptt.tasks.text.paragraph import PARAGRAPH
from bptt.tasks.text.verdict import recall
from bptt.tasks.text.writing import Writing, write, write_text

SAMPLE = 200  # characters that are written to be looked at


def bits(nats: float) -> float:
    """A loss in bits: nats / ln 2."""
    return nats / math.log(2)


class Text(Characters, frozen=True, kw_only=True):
    """The task of learning a text.

    text: the text itself; empty for a task that only encodes and decodes. vocabulary: its
    distinct characters, sorted; made from the text if not given. window: T, the characters of one
    iteration. newlines: 'keep', or 'space' to turn each line break into a space. rest: whether a
    last window shorter than the others is kept or dropped. sha256, length: of the text, in UTF-8
    and in characters; made from it, or, if given too, what it must agree with.

    Raises BpttError for a value that is not allowed.

    >>> task = Text(text="to be", window=2)
    >>> task.vocabulary
    ' beot'
    >>> task.decode(task.encode("beet"))
    'beet'
    """

    name = "text"
    command = "text"
    output_name = "characters"
    # Chosen so that a paragraph is soon known by heart; docs/log.md has the runs.
    preset: ClassVar[Mapping[str, Any]] = {
        "cell": "lstm", "hidden": 64, "reduction": "sequence", "optimizer": "adam",
        "learning_rate": 0.005, "clip_norm": 5.0, "batch": 1, "iterations": 20_000,
        "record_every": 100,
    }  # fmt: skip
    fixed = ("output", "loss", "tied")
    example: ClassVar[Mapping[str, Any]] = {"text": PARAGRAPH}
    files: ClassVar[Mapping[str, FromFile]] = {
        "file": FromFile("text", "A UTF-8 text file; '-' for standard input.", text_to_learn)
    }  # fmt: skip
    commands = (
        Command("write", "Write text with a trained network.", write_text, options=Writing),
    )  # fmt: skip

    @classmethod
    def from_file(cls, path: str | Path, window: int = 40, newlines: str = "keep") -> Self:
        """The task of learning a file; '-' for standard input. See `read_text` for errors."""
        return cls(text=text_to_learn(path), window=window, newlines=newlines)

    def fit(self, structure: Structure) -> None:
        """See `Task.fit`."""
        if not instance("structure", structure, Structure, "a bptt.Structure").tied:
            raise BpttError(
                "untied weights cannot write a text longer than a window: use tied ones"
            )
        super().fit(structure)

    def test(self, network: Network, give_up: bool = False) -> Verdict:
        """See `Task.test`: how much the network writes back, started from the first character."""
        self.check_network(network)
        flag("give_up", give_up)
        return recall(network, self)

    @property
    def test_steps(self) -> int:
        """See `Task.test_steps`."""
        return len(self.text)

    def describe(self) -> str:
        """See `Task.describe`."""
        return f"a text of {len(self.text):,} characters, {self.inputs} distinct"

    def watch(self, words: str = "") -> Watched:
        """See `Task.watch`: characters of its vocabulary, by default the text's first window."""
        shown = text("words", words) or self.text[: self.window + 1]
        if len(shown) < 2:
            raise BpttError(f"input '{shown}' is too short: at least 2 characters are needed")
        numbers = self.encode(shown)[None]
        rows = [("reads", list(shown[:-1])), ("to say", list(shown[1:]))]
        return Watched(numbers[:, :-1], numbers[:, 1:], f"{len(shown) - 1} characters", rows,
                       list(self.vocabulary))  # fmt: skip

    def show(self, network: Network, seed: int = 0) -> Shown:
        """See `Task.show`: what it writes from the first character, always the likeliest next."""
        start = self.text[0]
        written = start + write(network, self, start, min(SAMPLE, len(self.text) - 1), 0.0)
        return Shown([{"text": written}], written)

    def report(self, network: Network, loss_per_step: float | None, seed: int = 0) -> Report:
        """See `Task.report`: what it writes from the first character, drawn as learnt."""
        values: dict[str, Any] = {"sample": write(network, self, self.text[0], SAMPLE, 1.0, 0)}
        lines = []
        if loss_per_step is not None:
            loss_per_step = real("loss_per_step", loss_per_step)
            values["bits_per_character"] = bits(loss_per_step)
            lines.append(
                f"loss {loss_per_step:.4f} nats ({bits(loss_per_step):.4f} bits) a character"
            )
        return Report(values, [*lines, "", self.text[0] + values["sample"], ""])
