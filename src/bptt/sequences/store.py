"""`Sequences`: what a user brings, understood, and cut into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bptt.errors import BpttError, not_there
from bptt.sequences import arrays, files, frames
from bptt.sequences.description import described
from bptt.sequences.missing import filled
from bptt.sequences.padding import Padded, padded
from bptt.sequences.parts import Anything, Parts, even_blocks, lying_in_turn, mapped
from bptt.sequences.scaling import Scaling, as_plain, moments
from bptt.sequences.schema import Reading, Schema, names_of
from bptt.sequences.targets import Class, Target


class Sequences:
    """n sequences of T_i steps with D channels each, and what is to be learned of them.

    x: a list of arrays (T_i, D) or (T_i,), or of data frames; an array (n, T, D), with `lengths` if
    it is padded; or (n, T), one channel. y: targets, a class or numbers for each sequence, (n,) or
    (n, O), or for each step, a list of (T_i,) or (T_i, O), (n, T) or (n, T, O). Text, booleans and
    whole numbers are classes, others numbers, unless `kind` ('classes', 'numbers') says otherwise;
    `per` ('sequence', 'step') says what has a target where shapes do not. None and NaN are missing
    targets, which do not count.
    features, target: names of channels and targets; of frames the columns. weights: what each
    sequence (n,) or step counts; ids, groups: (n,). missing: 'error', 'flag' or 'last', see
    `bptt.sequences.missing`. single: x is one sequence (T, D). like: the schema, or the sequences,
    of a training, whose channels and classes the data must have.

    Rows are kept one after another and not copied where they lie so already; parts of a store
    share them. Printing a store says what was understood.

    Raises BpttError, one line, for data that are not as said here.

    >>> s = Sequences([[0.0, 1.0], [2.0, 3.0, 4.0]], ["low", "high"])
    >>> print(s)
    the data: 2 sequences of 2 to 3 steps (median 2.5), 5 steps in all
    1 channel: x0
    target y: a class a sequence, 2 classes: 'high' 1, 'low' 1
    nothing missing
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        lengths: Any = None,
        features: Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        weights: Any = None,
        ids: Any = None,
        groups: Any = None,
        kind: str | None = None,
        per: str | None = None,
        missing: str = "error",
        single: bool = False,
        like: "Schema | Sequences | None" = None,
    ) -> None:
        schema = schema_of(like)
        columns = names_of(target)
        reading = schema.reading if schema else Reading(
            features=None if features is None else names_of(features),
            kind=kind, per=per, missing=missing, single=single,
        )  # fmt: skip
        if isinstance(x, (list, tuple)) and x and frames.is_frame(x[0]):
            own = reading if schema or y is not None else _with_target(reading, columns)
            parts = frames.from_frames(x, own, schema)
        elif frames.is_frame(x):
            raise BpttError("a data frame is read by Sequences.from_frame(frame, id=..., time=...)")
        else:
            parts = arrays.from_arrays(x, lengths, features, reading, "the data")
        if y is not None:
            parts = arrays.with_targets(parts, y, columns or None, schema)
        n = len(parts.lengths)
        if weights is not None:
            parts = arrays.with_weights(parts, weights)
        if ids is not None:
            parts = replace(parts, ids=arrays.ids_of(ids, "ids", n))
        if groups is not None:
            parts = replace(parts, groups=arrays.ids_of(groups, "groups", n))
        self.parts = _finished(parts, schema)

    @classmethod
    def of(cls, parts: Parts) -> "Sequences":
        """A store of parts that a reader has made."""
        made = cls.__new__(cls)
        made.parts = parts
        return made

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        id: str | None = None,  # noqa: A002  the word of the command line
        time: str | None = None,
        features: str | Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        group: str | None = None,
        weight: str | None = None,
        categorical: str | Sequence[str] | None = None,
        kind: str | None = None,
        per: str | None = None,
        missing: str = "error",
        wide: bool = False,
        like: "Schema | Sequences | None" = None,
    ) -> "Sequences":
        """The sequences of a table (pandas; polars and arrow where narwhals is installed).

        id: the column that tells sequences apart (none: one sequence). time: rows are sorted by it
        within a sequence. features: the columns to learn from, by default all that have no other
        role; text becomes one-hot, and so do columns of `categorical`. target, kind, per: as for
        `Sequences`; a target that is constant in each sequence is one a sequence. group: whom or
        what a sequence is from. weight: what a step counts. wide: a row a sequence, a column a
        step. With `like` the columns are those trained on, and the target may be absent.

        Raises BpttError for a mistake in the table, see `bptt.sequences.frames`.
        """
        reading = Reading(
            id=id, time=time, features=None if features is None else names_of(features),
            target=names_of(target), group=group, weight=weight,
            categorical=names_of(categorical), kind=kind, per=per, missing=missing, wide=wide,
        )  # fmt: skip
        schema = schema_of(like)
        reading = schema.reading if schema else reading
        return cls.of(_finished(frames.from_frame(frame, reading, schema), schema))

    @classmethod
    def from_channels_first(cls, x: Any, y: Any = None, **options: Any) -> "Sequences":
        """Arrays (n, D, T), or a list of (D, T_i), as aeon, sktime and tsai have them; the rest as
        for `Sequences`."""
        return cls(arrays.channels_last(x), y, **options)

    @classmethod
    def read(
        cls,
        path: str | Path,
        y: str | Path | None = None,
        *,
        like: "Schema | Sequences | None" = None,
        **options: Any,
    ) -> "Sequences":
        """The sequences of a file: CSV, Parquet, `.npz`, `.npy`, `.ts` or WAV, see
        `bptt.sequences.files`.

        y: the file of targets of a `.npy` or `.wav` file. options: those of `from_frame`, and
        single, separator, decimal, see `bptt.sequences.schema.Reading`; with `like` those of the
        training. Large `.npy` and WAV files are mapped, not read.
        """
        schema = schema_of(like)
        if schema is not None and options:
            raise BpttError("data like those of a training are read as they were: give no options")
        known = Reading.__struct_fields__
        for name in options:
            if name not in known:
                raise not_there("option", name, known, "Sequences.read")
        for name in ("features", "target", "categorical"):
            if options.get(name) is not None:
                options[name] = names_of(options[name])
        reading = schema.reading if schema else Reading(**options)
        return cls.of(_finished(files.read(path, y, reading, schema), schema))

    # What there is.

    def __len__(self) -> int:
        return len(self.parts.lengths)

    @property
    def lengths(self) -> NDArray[np.intp]:
        """(n,): T_i, the steps of each sequence."""
        return self.parts.lengths

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the D channels."""
        return self.schema.channels

    @property
    def schema(self) -> Schema:
        """What a network trained on these data must know of them to read others."""
        parts, target = self.parts, self.parts.target
        if target is None:
            return Schema(columns=parts.columns, reading=parts.reading)
        return Schema(
            columns=parts.columns, target=target.names, kind=target.kind, per=target.per,
            classes=target.classes, reading=parts.reading,
        )  # fmt: skip

    @property
    def target(self) -> Target | None:
        """What is to be learned, or None."""
        return self.parts.target

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes, in the order of their numbers; empty where numbers are learned."""
        return self.parts.target.classes if self.parts.target else ()

    @property
    def ids(self) -> Anything | None:
        """(n,) what the sequences are called, or None."""
        return self.parts.ids

    @property
    def groups(self) -> Anything | None:
        """(n,) whom or what the sequences are from, or None."""
        return self.parts.groups

    @property
    def rate(self) -> int | None:
        """Samples a second of a recording, else None."""
        return self.parts.rate

    @property
    def mapped(self) -> bool:
        """Whether the rows stay in their file."""
        return mapped(self.parts.rows) is not None

    @property
    def X(self) -> list[Anything]:  # noqa: N802  scikit-learn's word
        """The sequences as a list of arrays (T_i, D), which are views where nothing is to be
        multiplied."""
        return [self[place] for place in range(len(self))]

    @property
    def times(self) -> list[Anything] | None:
        """The times of each sequence's steps, or None."""
        return None if self.parts.times is None else [
            self.parts.times[rows] for rows in self._slices()
        ]  # fmt: skip

    @property
    def y(self) -> Any:
        """The targets as the user gave them: classes by their names, None where missing; (n,), or
        (n, O), or lists of such for steps."""
        target = self.parts.target
        if target is None:
            return None
        if target.per == "sequence":
            return self.named(target.values)
        shifted = (self._ahead(place) for place in range(len(self)))
        return [self.named(values) for values in shifted]

    def named(self, values: Anything) -> Anything:
        """Class numbers as classes (None for -1); numbers as they are, (n,) where O is 1."""
        target = self.parts.target
        if target is None or target.kind == "numbers":
            return values[..., 0] if values.shape[-1] == 1 else values
        plain = np.array(target.classes)
        if (values >= 0).all() and plain.size:
            return plain[values]
        return np.array([None if code < 0 else target.classes[code] for code in values], object)

    def _slices(self) -> Iterator[slice]:
        parts = self.parts
        for start, length in zip(parts.starts, parts.lengths, strict=True):
            yield slice(int(start), int(start + length))

    def _ahead(self, place: int) -> Anything:
        """A sequence's target values a step, shifted as the target says."""
        parts, target = self.parts, self.parts.target
        assert target is not None
        start, length = int(parts.starts[place]), int(parts.lengths[place])
        values = np.array(target.values[start + target.ahead : start + length])
        if target.unit != 1:
            values = values.astype(np.float32) * np.float32(target.unit)
        if not target.ahead:
            return values
        hole = np.full((length - len(values), *values.shape[1:]), -1, values.dtype)
        if target.kind == "numbers":
            values, hole = values.astype(np.float64), np.full(hole.shape, np.nan)
        return np.concatenate([values, hole])

    def __getitem__(self, which: Any) -> Any:
        """A number: that sequence (T_i, D). A slice, numbers or a mask: those sequences, which
        share the rows."""
        parts = self.parts
        if isinstance(which, (int, np.integer)):
            if not -len(self) <= which < len(self):
                raise IndexError(f"sequence {which} of {len(self)}")
            start, length = parts.starts[which], parts.lengths[which]
            rows = parts.rows[start : start + length]
            return rows if parts.unit == 1 else rows.astype(np.float32) * np.float32(parts.unit)
        some = np.arange(len(self))[which]

        def of(values: Any) -> Any:
            return values if values is None else values[some]

        target = parts.target
        if target is not None and target.per == "sequence":
            target = replace(target, values=target.values[some])
        return Sequences.of(
            replace(
                parts,
                starts=parts.starts[some],
                lengths=parts.lengths[some],
                target=target,
                weights=of(parts.weights),
                ids=of(parts.ids),
                groups=of(parts.groups),
            )
        )

    # What can be made of it.

    def next_step(self, channels: str | Sequence[str] | None = None, ahead: int = 1) -> "Sequences":
        """The same inputs, with the values `ahead` steps later as targets: what comes next.

        channels: which of them; all by default. The last steps of a sequence have no target. Raises
        BpttError for a channel that is not there, and where no sequence is longer than `ahead`.
        """
        parts, known = self.parts, self.channels
        if ahead < 1 or ahead >= parts.lengths.max():
            raise BpttError(
                f"ahead {ahead} leaves no target: sequences have up to {parts.lengths.max()} steps"
            )
        names = names_of(channels) or known
        for name in names:
            if name not in known:
                raise not_there("channel", name, known, parts.source)
        values = parts.rows if names == known else parts.rows[:, [known.index(n) for n in names]]
        target = Target(names, "numbers", "step", values, ahead=ahead, unit=parts.unit)
        return Sequences.of(replace(parts, target=target))

    def windows(self, steps: int, stride: int | None = None) -> "Sequences":
        """Pieces of `steps` steps, one every `stride` (by default `steps`), the last of a sequence
        perhaps shorter. They share the rows.

        Pieces of a sequence are of one group, so that they never stand on both sides of a split:
        the sequence's own group, or its number. Raises BpttError for less than one step.
        """
        stride = steps if stride is None else stride
        if steps < 1 or stride < 1:
            raise BpttError(f"windows of {steps} steps, one every {stride}: at least 1 is needed")
        parts, target = self.parts, self.parts.target
        # One more for each place to begin at that is inside, the one before not reaching the end.
        beyond = np.minimum(parts.lengths - steps, parts.lengths - stride)
        counts = np.maximum(beyond + stride - 1, 0) // stride + 1
        of = np.repeat(np.arange(len(self)), counts)
        first, _ = lying_in_turn(counts)
        offset = (np.arange(len(of)) - first[of]) * stride
        if target is not None and target.per == "sequence":
            target = replace(target, values=target.values[of])
        return Sequences.of(
            replace(
                parts,
                starts=parts.starts[of] + offset,
                lengths=np.minimum(parts.lengths[of] - offset, steps),
                target=target,
                weights=None if parts.weights is None else parts.weights[of],
                ids=None if parts.ids is None else parts.ids[of],
                groups=of if parts.groups is None else parts.groups[of],
            )
        )

    def recoded(self, classes: tuple[Class, ...]) -> "Sequences":
        """The same with the classes numbered as in `classes`. Raises BpttError for one that is not
        among them."""
        target = self.parts.target
        if target is None or target.kind != "classes" or target.classes == classes:
            return self
        strange = [each for each in target.classes if each not in classes]
        if strange:
            raise not_there("class", strange[0], classes, f"the training of '{target.names[0]}'")
        numbers = np.array([*map(classes.index, target.classes), -1])  # the last: missing
        target = replace(target, values=numbers[target.values], classes=classes)
        return Sequences.of(replace(self.parts, target=target))

    def scaling(self) -> Scaling:
        """Means and standard deviations of the channels and of numbers to be learned, over these
        sequences' steps: take those trained on alone."""
        parts, target, scaled = self.parts, self.parts.target, np.array(self.schema.scaled)
        mean, deviation = _moments(parts.rows, parts, parts.unit)
        mean, deviation = np.where(scaled, mean, 0.0), np.where(scaled, deviation, 1.0)
        if target is None or target.kind == "classes":
            return Scaling(as_plain(mean), as_plain(deviation))
        if target.per == "sequence":
            own = moments(iter([target.values * target.unit]), target.outputs)
        else:
            own = _moments(target.values, parts, target.unit)
        return Scaling(as_plain(mean), as_plain(deviation), *map(as_plain, own))

    def padded(
        self, which: Any = None, scaling: Scaling | None = None, dtype: str = "float32"
    ) -> Padded:
        """Some of the sequences (numbers; by default all) side by side; see `Padded`."""
        some = np.arange(len(self)) if which is None else np.arange(len(self))[which]
        if not len(some):
            raise BpttError("no sequences are asked for: at least one is needed")
        return padded(self.parts, some, scaling, dtype)

    def __iter__(self) -> Iterator[Anything]:
        return (self[place] for place in range(len(self)))

    def __str__(self) -> str:
        return described(self.parts)

    def __repr__(self) -> str:
        return f"<Sequences: {str(self).splitlines()[0]}>"


def _moments(rows: Anything, parts: Parts, unit: float) -> Any:
    """See `moments`, of all steps of the sequences."""
    mean, deviation = moments(even_blocks(rows, parts.starts, parts.lengths), rows.shape[1])
    return mean * unit, np.where(deviation == 1, 1.0, deviation * unit)


def schema_of(like: "Schema | Sequences | None") -> Schema | None:
    """The schema of what data are to be like."""
    if like is None or isinstance(like, Schema):
        return like
    if isinstance(like, Sequences):
        return like.schema
    raise BpttError(f"like={like!r:.40}: a schema or Sequences are needed")


def _with_target(reading: Reading, columns: tuple[str, ...]) -> Reading:
    return msgspec.structs.replace(reading, target=columns)


def _finished(parts: Parts, schema: Schema | None) -> Parts:
    """What all readers have in common: as many channels as trained on, and missing inputs."""
    if schema is not None:
        arrays.check_alike(parts, schema)
        parts = replace(parts, columns=schema.columns)
    return filled(parts, None if schema is None else schema.columns)
