"""Whether a word is in one of Tomita's seven languages, at every step."""

from typing import Annotated

from bptt.arguments import whole
from bptt.options import Option
from bptt.proofs.automaton import Automaton
from bptt.tasks.finite import FiniteMemory
from bptt.tasks.tomita.languages import LANGUAGES, language


class Tomita(FiniteMemory, frozen=True, kw_only=True):
    """Whether the word so far is in one of Tomita's seven languages: 1 if it is.

    language: from 1 to 7 (`bptt.tasks.tomita.languages`): 1* ; (10)* ; no odd run of zeros after an
    odd run of ones; no 000; an even number of zeros and of ones; as many zeros as ones modulo 3;
    0*1*0*1*. steps: symbols in a training sequence. A worked example, language 4:

        symbol          1  0  0  0  1
        in it so far    1  1  1  0  0     lost once 000 has come

    Raises BpttError for a value that is not allowed.

    >>> Tomita(language=4).automaton().run([1, 0, 0, 0, 1])[:, 0]
    array([1, 1, 1, 0, 0])
    """

    language: Annotated[int, Option("Which of the seven languages.")] = 4

    name = "tomita"
    command = "tomita"
    inputs = outputs = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("language", self.language, 1, len(LANGUAGES))

    def automaton(self) -> Automaton:
        """See `Task.automaton`."""
        return language(self.language)

    def describe(self) -> str:
        """See `Task.describe`."""
        return f"Tomita's language {self.language}: {LANGUAGES[self.language].words}"
