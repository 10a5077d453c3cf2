"""The task of adding two binary numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bptt.arguments import flag, integers, items, shown, text, whole
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.proofs.automaton import Automaton, adder
from bptt.tasks.addition.adding import add_integers
from bptt.tasks.addition.data import Sums
from bptt.tasks.addition.verdict import judge_sums, length_generalisation, sample_steps
from bptt.tasks.addition.words import report_sums, show_sums, watched_sum, wrong_sum
from bptt.tasks.task import Command, Report, Shown, Verdict, Watched


class Addition(Sums, frozen=True, kw_only=True):
    """The task of adding two binary numbers.

    bits: how many bits an operand has. signed: operands are two's complement and the sum wraps.
    carry: for unsigned numbers, 'room' adds one step, so that every sum fits; 'wrap' has `bits`
    steps and the sum is taken modulo 2 ** bits. low, high: operands are uniform in [low, high);
    by default all numbers of `bits` bits. For sums that fit in `bits` steps without an extra
    one, take carry 'wrap' and operands below 2 ** (bits - 1).

    pairs: train on that many fixed pairs instead of on fresh ones; order: how batches of B go
    through them: 'in_turn', 'shuffled' anew each time through, or 'sliding' (batch k is pairs
    k .. k+B-1, a published fault kept for comparison: of 2,000 pairs in batches of 100 only the
    first 119 are ever used). One time through is pairs // B batches; what is left over is
    not used, in shuffled order other pairs each time.

    patterns: of the pairs a third have long runs of a pair of bits, a third short periods, which
    random ones hardly have.

    Raises BpttError for a value that is not allowed.

    >>> task = Addition(bits=4)
    >>> x, y = task.encode([(3, 6)])
    >>> x[0, :, 0], y[0, :, 0]
    (array([1, 1, 0, 0, 0], dtype=uint8), array([1, 0, 0, 1, 0], dtype=uint8))
    >>> task.decode(y[..., 0])
    [9]
    """

    name = "addition"
    command = "add"
    lengthens = True
    output_name = "bits"
    sample_name = "sums"
    # Chosen so that every one of 20 seeds is exact on all pairs; docs/log.md has the runs.
    preset: ClassVar[Mapping[str, Any]] = {
        "cell": "elman", "hidden": 16, "reduction": "sequence", "optimizer": "adam",
        "learning_rate": 0.01, "batch": 1, "iterations": 20_000, "record_every": 100,
    }  # fmt: skip
    until_proved = True
    commands = (
        Command(
            "add", "Add two integers with a trained network.", add_integers,
            arguments=(("A", "An integer of any length."), ("B", "An integer of any length.")),
        ),
    )  # fmt: skip

    def test(self, network: Network, give_up: bool = False) -> Verdict:
        """See `Task.test`: every pair of operands up to 8 bits, else 1,000 random sums."""
        return judge_sums(network, self, flag("give_up", give_up))

    @property
    def test_steps(self) -> int:
        """See `Task.test_steps`."""
        return sample_steps(self)

    def longer(self, network: Network, multiples: Sequence[int]) -> list[float]:
        """See `Task.longer`: of 100 sums of each length, random ones, runs and periods."""
        multiples = [whole("each of multiples", each, 1) for each in items("multiples", multiples)]
        found = length_generalisation(network, self, [self.bits * each for each in multiples])
        return [each.right / each.total for each in found]

    def automaton(self) -> Automaton:
        """See `Task.automaton`: the state is the carry."""
        return adder()

    def told(self, network: Network, word: list[int]) -> str:
        """See `Task.told`: as a sum."""
        self.check_network(network)
        symbols = integers("word", word)
        if symbols.ndim != 1 or not symbols.size or symbols.min() < 0 or symbols.max() > 3:
            raise BpttError(f"word {shown(word)} must be numbers of symbols, from 0 to 3")
        return wrong_sum(network, self, word)

    def describe(self) -> str:
        """See `Task.describe`."""
        return f"addition of {'signed' if self.signed else 'unsigned'} {self.bits}-bit numbers"

    def watch(self, words: str = "") -> Watched:
        """See `Task.watch`: a sum, as '93 + 87'."""
        return watched_sum(self, text("words", words))

    def show(self, network: Network, seed: int = 0) -> Shown:
        """See `Task.show`: a few fresh sums."""
        self.check_network(network)
        return show_sums(network, self, whole("seed", seed, 0))

    def report(self, network: Network, loss_per_step: float | None, seed: int = 0) -> Report:
        """See `Task.report`: a few fresh sums."""
        self.check_network(network)
        return report_sums(network, self, whole("seed", seed, 0))
