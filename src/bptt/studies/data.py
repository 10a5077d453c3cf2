"""The data of a study: a file of sequences, or `bptt.Sequences`, and what of them is tested on."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from bptt.errors import BpttError, not_there, one_line
from bptt.files import json_text
from bptt.sequences import Schema, Sequences
from bptt.sequences.jobs import check_job, said_by
from bptt.sequences.parts import even_blocks
from bptt.sequences.schema import Reading, names_of
from bptt.sequences.splits import folds

Pair = tuple[Sequences, Sequences | None]
FOLDS = 5
# The data that a worker has read, so that its next unit finds them; one study's at a time.
_read: dict[str, Pair] = {}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """By what the data are known again, and what settings must know of them.

    digest: 16 hexadecimal digits of all that training and test depend on. sequences, steps: how
    many; longest: steps of the longest one; tested: sequences of a test file.
    """

    digest: str
    sequences: int
    steps: int
    longest: int
    schema: Schema
    tested: int = 0


class Data(
    Reading, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True, eq=False
):  # fmt: skip
    """The data of a study.

    file: as `bptt train classify` takes it, with the same options, those of
    `bptt.sequences.schema.Reading`; '' where sequences were handed in. targets: the file of a
    `.npy` or `.wav` file's targets. job: 'classify', 'label', 'regress', or '' for by the data.
    folds: in turn each of so many parts of the data is tested on, and what is left trained on, see
    `bptt.sequences.splits.folds`. stratified: whether folds have the classes alike. test: a file to
    test on, instead of folds (folds is then 0). folder: where the files are. known: see `Known`;
    filled in when the data are first read.

    Raises BpttError for data that cannot be read or parted so.
    """

    file: str = ""
    targets: str | None = None
    test: str | None = None
    job: str = ""
    folds: int = FOLDS
    stratified: bool = True
    folder: str = ""
    known: Known | None = None

    @classmethod
    def of(cls, given: Any, folder: Path | None = None) -> Self:
        """What a study is given as its data: fields as a mapping, sequences, or a pair of
        sequences to train and to test on. folder: where files are looked for."""
        if isinstance(given, cls):
            return given
        if isinstance(given, Sequences):
            return cls.of({"sequences": given})
        if isinstance(given, tuple) and len(given) == 2:
            return cls.of({"sequences": given[0], "test": given[1]})
        if not isinstance(given, Mapping):
            raise BpttError(
                f"data as a {type(given).__name__}: a table with 'file', bptt.Sequences, or two of "
                "them, to train and to test on, are needed"
            )
        return cls._of_table(dict(given), folder)

    @classmethod
    def _of_table(cls, values: dict[str, Any], folder: Path | None) -> Self:
        handed = values.pop("sequences", None)
        held = None
        if handed is not None:
            if values.get("file") or not isinstance(handed, Sequences):
                raise BpttError("data need bptt.Sequences as 'sequences', or a 'file'")
            held = values.pop("test", None)
            if not isinstance(held, Sequences | None):
                raise BpttError(f"data test as a {type(held).__name__}: bptt.Sequences are needed")
        for name in values:
            if name not in cls.__struct_fields__:
                raise not_there("field", name, [*cls.__struct_fields__, "sequences"], "data")
        for name in ("features", "target", "categorical"):
            if values.get(name) is not None:
                values[name] = names_of(values[name])
        tested = held is not None or values.get("test") is not None
        if tested and values.get("folds"):
            raise BpttError("data have folds and a test: give one of them")
        if folder is not None:
            values["folder"] = str(folder.resolve())
        elif handed is None:
            values.setdefault("folder", str(Path.cwd()))
        try:
            values = {"folds": 0 if tested else FOLDS, **values, **said_by(values.get("job", ""))}
            data = msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise one_line(error, "data") from None
        if handed is not None:
            data.keep(handed, held)
        elif not data.file and data.known is None:
            raise BpttError("data need a 'file'")
        return data if data.known else data._with_known(data._both())

    def keep(self, sequences: Sequences, test: Sequences | None) -> None:
        """The data were handed in, or are read already."""
        self.__dict__["pair"] = (sequences, test)

    def _with_known(self, pair: Pair) -> Self:
        """The same, known: data are checked here, when they are first seen."""
        sequences, test = pair
        if sequences.target is None:
            raise BpttError(
                f"{sequences.parts.source} has no target: name its column with 'target'"
            )
        if test is None and self.folds:
            folds(sequences, self.folds, 0, self.stratified)
        elif test is None:
            raise BpttError("data without folds have nothing to test on: give 'folds' or 'test'")
        elif test.target is None:
            raise BpttError("the test data have no target: nothing can be tested")
        known = Known(
            digest=digest_of(pair), sequences=len(sequences), steps=int(sequences.lengths.sum()),
            longest=int(sequences.lengths.max()), schema=sequences.schema,
            tested=0 if test is None else len(test),
        )  # fmt: skip
        found = msgspec.structs.replace(self, known=known)
        found.keep(*pair)
        return found

    def _both(self) -> Pair:
        """The data, read if need be. Raises BpttError for a file that has changed since the study
        was declared."""
        if "pair" in self.__dict__:
            pair: Pair = self.__dict__["pair"]
            return pair
        if self.known and self.known.digest in _read:
            return _read[self.known.digest]
        if not self.file:
            raise BpttError(
                "the study was declared with sequences from Python: declare it again with them"
            )
        pair = self._from_files()
        if self.known:
            if digest_of(pair) != self.known.digest:
                raise BpttError(
                    f"'{self.file}' has changed since the study was declared: put it back, or "
                    "choose another --out"
                )
            _read.clear()
            _read[self.known.digest] = pair
        return pair

    def _from_files(self) -> Pair:
        place = Path(self.folder)
        options = {
            name: getattr(self, name) for name in Reading.__struct_fields__
            if getattr(self, name) not in (None, (), False)
        }  # fmt: skip
        data = Sequences.read(place / self.file, self.targets and place / self.targets, **options)
        check_job(data, self.job, self.file)
        return data, Sequences.read(place / self.test, like=data) if self.test else None

    def parts(self, seed: int, fold: int) -> tuple[Sequences, Sequences]:
        """What is trained on and what is tested on. The folds depend on the seed, so that each seed
        parts the data anew, in the same way for all settings."""
        sequences, test = self._both()
        if test is not None:
            return sequences, test
        held = np.zeros(len(sequences), np.bool_)
        held[folds(sequences, self.folds, seed, self.stratified)[fold]] = True
        return sequences[~held], sequences[held]

    @property
    def at_hand(self) -> bool:
        """Whether the data are read and small enough to be looked at for each setting."""
        return "pair" in self.__dict__ and not self._both()[0].mapped

    @property
    def about(self) -> Known:
        """`known`, of data that were made by `of`."""
        assert self.known is not None
        return self.known

    def check_same(self, now: "Data", folder: Path) -> None:
        """Raises BpttError where the data of a study in `folder` are others now."""
        if self.about.digest != now.about.digest:
            name = f"'{now.file}' has" if now.file else "the data have"
            raise BpttError(
                f"{name} changed since the study in '{folder}' began ({self.about.digest} then, "
                f"{now.about.digest} now): put the data back, or choose another --out"
            )

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON; what is as usual is left out."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        usual = msgspec.to_builtins(Data())
        return {name: value for name, value in found.items() if value != usual[name]}

    def __eq__(self, other: object) -> bool:
        """The same data, parted alike, wherever their files lie."""
        if not isinstance(other, Data):
            return NotImplemented
        return {**self.plain(), "folder": ""} == {**other.plain(), "folder": ""}

    def __hash__(self) -> int:
        return hash(self.known and self.known.digest)

    def __reduce__(self) -> Any:
        """Files are read again where a copy is used; what was handed in goes with it."""
        return _copied, (self.plain(), None if self.file else self.__dict__.get("pair"))


def _copied(values: dict[str, Any], pair: Pair | None) -> Data:
    found = msgspec.convert(values, Data)
    if pair is not None:
        found.keep(*pair)
    return found


def digest_of(pair: Pair) -> str:
    """16 hexadecimal digits of sequences: inputs, targets, weights, groups and their order; not of
    where they come from."""
    found = hashlib.sha256()
    for sequences in pair:
        for part in _content(sequences) if sequences is not None else ():
            found.update(part)
    return found.hexdigest()[:16]


def _content(sequences: Sequences) -> Iterator[Any]:
    """All bytes on which training depends, in turn."""
    parts, target = sequences.parts, sequences.target
    schema = msgspec.to_builtins(msgspec.structs.replace(sequences.schema, reading=Reading()))
    yield json_text([schema, parts.unit, target and [target.ahead, target.unit]]).encode()
    yield np.ascontiguousarray(parts.lengths)
    yield np.argsort(parts.starts, kind="stable")
    per, values = (target.per, target.values) if target is not None else ("", None)
    for rows in (parts.rows, parts.step_weights, values if per == "step" else None):
        if rows is not None:
            yield rows.dtype.str.encode()
            flat = rows.reshape(len(rows), -1)
            yield from map(np.ascontiguousarray, even_blocks(flat, parts.starts, parts.lengths))
    for each in (parts.weights, values if per == "sequence" else None):
        if each is not None:
            yield np.ascontiguousarray(each)
    if parts.groups is not None:
        yield json_text([str(name) for name in parts.groups]).encode()
