"""A model: a network, and what it takes to use it on new data of the user's own kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.equations.outputs import UNITS
from bptt.errors import BpttError
from bptt.fitting.judging import WORDS, Score, for_judging, judged, outputs, score_of
from bptt.fitting.streaming import AnswerStream, numbers_of
from bptt.network.network import Network
from bptt.sequences import Scaling, Schema, Sequences
from bptt.training import runs

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

# What a weights file of a model has besides a network's.
FIELDS = ("schema", "scaling", "baseline", "levels", "warm_up")


@dataclass
class Model:
    """What `bptt.fit` gives, or `bptt.load_model`.

    network; schema and scaling: how data become its inputs, and its outputs answers. levels: of the
    quantiles that were learned (one for none); warm_up: how many first steps of a sequence are not
    judged. records: one
    an epoch; reason: why training ended; best_epoch: whose weights these are (0: none had ended);
    score: on what was held out, or None. prepared: of a forecast, how series became the data, as
    plain values (`bptt.fitting.forecasting`).
    """

    network: Network
    schema: Schema
    scaling: Scaling
    baseline: Any
    levels: tuple[float, ...]
    warm_up: int
    records: list[Any]
    reason: str = ""
    best_epoch: int = 0
    score: Score | None = None
    prepared: dict[str, Any] | None = None

    @property
    def history(self) -> "pandas.DataFrame":
        """The records as a table."""
        import pandas

        return pandas.DataFrame([msgspec.structs.asdict(record) for record in self.records])

    def __str__(self) -> str:
        return f"{self.network!r}, {self._outcome()}"

    def _outcome(self) -> str:
        what = "no validation" if self.score is None else f"validation: {self.score}"
        return f"epoch {self.best_epoch} of {len(self.records)}; {what}"

    def curve(self) -> dict[str, Any]:
        """What its figure shows: the arguments of `bptt.training.figures.epochs_curve`."""
        head = self.network.structure.head
        return {
            "history": self.records, "title": f"{self.network!r}\n{self._outcome()}",
            "unit": UNITS.get(head.loss, "nats"), "score": WORDS[score_of(head)][0],
            "best": self.best_epoch if self.score else 0,
        }  # fmt: skip

    def figure(self) -> "Figure":
        """Losses of training and validation, and the score, against the epoch."""
        from bptt.training.figures import epochs_curve

        return epochs_curve(**self.curve())

    def _repr_png_(self) -> bytes:
        from bptt.training.figures import png

        return png(self.figure())

    def _read(self, data: Any) -> Sequences:
        """Data as those trained on. Raises BpttError for others."""
        if not isinstance(data, Sequences):
            return Sequences(data, like=self.schema)
        if data.channels != self.schema.channels:
            own, wanted = data.channels, self.schema.channels
            raise BpttError(
                f"the data have {len(own)} channels, {', '.join(own[:8])}, those trained on "
                f"{len(wanted)}, {', '.join(wanted[:8])}: read them with like=model.schema"
            )
        return data

    def predict_proba(self, data: Any) -> Any:
        """The probability of each class: (n, K), or for each sequence (T_i, K). Raises BpttError
        where numbers were learned."""
        if self.schema.kind != "classes":
            raise BpttError("numbers were learned, which have no probabilities: use predict")

        def softmax(o: NDArray[Any]) -> NDArray[Any]:
            e = np.exp(o - o.max(axis=-1, keepdims=True))
            p: NDArray[Any] = e / e.sum(axis=-1, keepdims=True)
            return p

        return self._each(data, softmax)

    def predict(self, data: Any) -> Any:
        """The answers: classes by their names, or numbers in the units of the data; (n,) or (n, O),
        or for each sequence (T_i,) or (T_i, O). Of quantiles with a last axis more, one a level.

        data: Sequences, or what `bptt.Sequences` takes as x.
        """
        if self.schema.kind == "classes":
            names = np.array(self.schema.classes)
            return self._each(data, lambda o: names[o.argmax(axis=-1)])

        levels = len(self.levels)
        return self._each(data, lambda o: numbers_of(o, self.scaling, levels))

    def stream(self, probabilities: bool = False, level: int | None = None) -> AnswerStream:
        """The model one step at a time, its state kept; see `bptt.fitting.streaming`.

        probabilities: give those of the classes, not the likeliest one's name. level: of several
        quantiles give this one alone, by its place in `levels`. Raises BpttError for what was not
        learned.
        """
        levels = len(self.levels)
        if level is not None and level not in range(levels):
            raise BpttError(f"level {level!r} is not there: places 0 to {levels - 1} are")
        return AnswerStream(self.network, self.schema, self.scaling, levels, probabilities, level)

    def _each(self, data: Any, of: Any) -> Any:
        """A function of the outputs of each sequence, in the order of the data."""
        sequences = self._read(data)
        found: list[Any] = [None] * len(sequences)
        for places, o in outputs(self.network, sequences, self.scaling):
            for place, values in zip(places, of(o), strict=True):
                steps = int(sequences.lengths[place])
                found[place] = values[:steps] if self.schema.per == "step" else values
        return found if self.schema.per == "step" else np.array(found)

    def test(self, data: Sequences) -> Score:
        """How good the model is on sequences with answers. Raises BpttError without answers, or
        for a class that it has not learned."""
        sequences = self.as_trained(data)
        every = for_judging(sequences, self.scaling, self.network.structure.dtype, self.warm_up)
        return judged(self.network, every, self.scaling, self.baseline, len(self.levels))

    def as_trained(self, data: Sequences) -> Sequences:
        """Sequences with answers, whose classes are numbered as those trained on. Raises BpttError
        without answers, and for a class that was not learned."""
        sequences = self._read(data)
        if sequences.target is None:
            raise BpttError("the data have no target: a test needs answers")
        if (sequences.schema.kind, sequences.schema.per) != (self.schema.kind, self.schema.per):
            raise BpttError(
                f"the data have {sequences.schema.kind} a {sequences.schema.per}, those trained on "
                f"{self.schema.kind} a {self.schema.per}: read them with like=model.schema"
            )
        return sequences.recoded(self.schema.classes)

    def save(self, path: str | Path) -> None:
        """Write it as a safetensors file. Raises BpttError if that cannot be."""
        described = {
            "schema": self.schema.to_json(),
            "scaling": msgspec.to_builtins(self.scaling),
            "baseline": self.baseline,
            "levels": self.levels,
            "warm_up": self.warm_up,
        }
        if self.prepared is not None:
            described["prepared"] = self.prepared
        runs.save_network(Path(path), self.network, None, described)


def model_of(network: Network, described: Mapping[str, Any], path: Path) -> Model:
    """A model from what its file says of the data. Raises BpttError if that is damaged."""
    try:
        scaling = msgspec.convert(described["scaling"], Scaling)
        levels = msgspec.convert(described["levels"], tuple[float, ...])
        warm_up = msgspec.convert(described["warm_up"], int)
    except msgspec.ValidationError:
        raise BpttError(f"'{path}' is damaged: train again") from None
    schema, prepared = Schema.from_json(described["schema"]), described.get("prepared")
    return Model(
        network, schema, scaling, described["baseline"], levels, warm_up, [], prepared=prepared
    )
