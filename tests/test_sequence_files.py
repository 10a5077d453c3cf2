"""Sequences from files: every ending, mapped where large, and every way a file can be wrong."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from bptt import BpttError, Sequences
from bptt.sequences.audio import write_wav

TABLE = pd.DataFrame(
    {"trial": [1, 1, 2, 2, 2], "x": [0.5, 1.5, 2.5, 3.5, 4.5], "label": list("aabbb")}
)
ROLES = {"id": "trial", "target": "label"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


def test_text_tables_of_every_kind():
    TABLE.to_csv("a.csv", index=False)
    TABLE.to_csv("a.tsv", index=False, sep="\t")
    TABLE.to_csv("a.txt", index=False, sep=";", decimal=",")
    TABLE.to_csv("bom.csv", index=False, encoding="utf-8-sig")
    read = [
        Sequences.read("a.csv", **ROLES),
        Sequences.read("a.tsv", **ROLES),
        Sequences.read("a.txt", separator=";", decimal=",", **ROLES),
        Sequences.read("bom.csv", **ROLES),
        Sequences.from_frame(TABLE, **ROLES),
    ]
    for s in read:
        assert s.channels == ("x",)
        assert s.y.tolist() == ["a", "b"]
        np.testing.assert_array_equal(s[1][:, 0], [2.5, 3.5, 4.5])
    assert str(read[0]).startswith("'a.csv': 2 sequences of 2 to 3 steps")


def test_parquet():
    pytest.importorskip("pyarrow")
    TABLE.to_parquet("a.parquet", index=False)
    s = Sequences.read("a.parquet", **ROLES)
    assert str(s).replace("'a.parquet'", "the table") == str(Sequences.from_frame(TABLE, **ROLES))
    write("b.parquet", "nothing")
    with pytest.raises(BpttError, match="is no Parquet file"):
        Sequences.read("b.parquet")


def test_labels_that_look_like_nothing():
    """Whole numbers stay whole beside empty cells, and None is a name like others."""
    write("a.csv", "id,x,state\n1,0.5,1\n1,0.5,\n1,0.5,2\n")
    assert Sequences.read("a.csv", id="id", target="state").classes == (1, 2)
    write("b.csv", "id,x,state\n1,0.5,None\n1,0.5,NA\n1,0.5,walk\n")
    s = Sequences.read("b.csv", id="id", target="state")
    assert s.classes == ("None", "walk")
    assert s.padded().weights.tolist() == [[1, 0, 1]]


def test_new_files_are_read_as_those_trained_on():
    TABLE.to_csv("a.txt", index=False, sep=";", decimal=",")
    s = Sequences.read("a.txt", separator=";", decimal=",", **ROLES)
    TABLE.drop(columns="label").to_csv("b.txt", index=False, sep=";", decimal=",")
    new = Sequences.read("b.txt", like=s)
    np.testing.assert_array_equal(new[1], s[1])
    assert new.target is None
    with pytest.raises(BpttError, match="read as they were: give no options"):
        Sequences.read("b.txt", like=s, id="trial")


def test_npz_in_every_form():
    x = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    padded = np.full((2, 3, 2), np.nan)
    padded[0], padded[1, :2] = x
    np.savez("rows.npz", X=np.concatenate(x), lengths=[3, 2], y=[0.5, 1.5], groups=["u", "v"])
    np.savez("padded.npz", x=padded, lengths=np.array([3, 2]), y=[0.5, 1.5], ids=["p", "q"])
    np.savez("each.npz", x_0=x[0], x_1=x[1], y=[0.5, 1.5], weights=[1.0, 3])
    for name in ("rows", "padded", "each"):
        s = Sequences.read(f"{name}.npz")
        for ours, theirs in zip(s.X, x, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert s.y.tolist() == [0.5, 1.5]
    assert Sequences.read("rows.npz").groups.tolist() == ["u", "v"]
    assert Sequences.read("padded.npz").ids.tolist() == ["p", "q"]
    assert Sequences.read("each.npz").padded().weights.tolist() == [1, 3]
    np.savez("many.npz", **{f"x_{n}": np.full((2, 1), n) for n in range(12)})
    assert [each[0, 0] for each in Sequences.read("many.npz")] == list(range(12))
    np.savez("steps.npz", X=np.concatenate(x), lengths=[3, 2], y=np.arange(5) / 2)
    assert [each.tolist() for each in Sequences.read("steps.npz").y] == [[0, 0.5, 1], [1.5, 2]]


def test_npy_files_are_mapped():
    rows = np.arange(24, dtype=np.float32).reshape(12, 2)
    np.save("long.npy", rows)
    np.save("cube.npy", rows.reshape(3, 4, 2))
    np.save("y.npy", np.array([1, 0, 1]))
    long = Sequences.read("long.npy", single=True)
    assert (len(long), long.mapped, long.next_step().mapped) == (1, True, True)
    np.testing.assert_array_equal(long.padded().x[0], rows)
    cube = Sequences.read("cube.npy", "y.npy")
    assert cube.mapped
    assert cube.y.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(cube.padded([2]).x[0], rows[8:])
    rows[5, 1] = np.nan
    np.save("holes.npy", rows)
    with pytest.raises(BpttError, match="sequence 0, step 5, channel 'x1' is missing"):
        Sequences.read("holes.npy", single=True)
    with pytest.raises(BpttError, match="mapped from a file and has missing values"):
        Sequences.read("holes.npy", single=True, missing="flag")


# Reads a file of 100 MB through, as a training does, and prints by how much the process grew (kB).
THROUGH = """
import numpy as np
from bptt import Sequences
def most():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
s = Sequences.read("small.npy", single=True)
s.scaling(); s.windows(100).padded(slice(0, 5))
before = most()
w = Sequences.read("large.npy", single=True).windows(1000)
scaling = w.scaling()
for first in range(0, len(w), 200):
    w.padded(slice(first, first + 200), scaling)
for first in range(4):  # far apart: whole pages, perhaps large ones, come along with each
    w.next_step().padded(slice(first, None, 20), scaling)
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_large_file_does_not_come_into_memory():
    np.save("small.npy", np.zeros((1000, 5), np.float32))
    np.save("large.npy", np.ones((5_000_000, 5), np.float32))
    done = subprocess.run(
        [sys.executable, "-c", THROUGH], capture_output=True, text=True, check=True
    )
    # 100,000 kB of file; 200 windows at a time are 4,000, in a few temporary arrays.
    assert int(done.stdout) < 40_000


def sine(rate=8000, count=400):
    return (0.9 * np.sin(np.arange(count) * 440 * 2 * np.pi / rate)).astype(np.float32)


def test_recordings_in_and_out():
    tone = sine()
    write_wav("dry.wav", tone, 8000, bits=16)
    write_wav("wet.wav", np.stack([tone, tone**2], axis=1), 8000)
    s = Sequences.read("dry.wav", "wet.wav")
    assert (s.rate, s.mapped, s.target.names, s.target.per) == (8000, True, ("y0", "y1"), "step")
    # Half a step of 16 bits, and as much of float32.
    np.testing.assert_allclose(s[0][:, 0], tone, atol=2**-16 + 1e-7)
    np.testing.assert_array_equal(s.padded().y[0, :, 1], tone**2)
    np.testing.assert_allclose(s.scaling().deviation[0], tone.std(), rtol=1e-3)
    np.testing.assert_array_equal(s.padded().x[0], s[0])
    assert "400 steps, 400 steps in all, 0.1 s at 8,000 samples a second" in str(s)
    both = Sequences.read("wet.wav")
    assert both.channels == ("left", "right")
    later = Sequences.read("dry.wav").next_step()
    np.testing.assert_array_equal(later.padded().y[0, :-1], s[0][1:])


@pytest.mark.parametrize(
    ("dtype", "worth"),
    [(np.uint8, 1 / 128), (np.int16, 2**-15), (np.int32, 2**-31), (np.float32, 1)],
)
def test_samples_of_every_size_count_from_minus_one_to_one(dtype, worth):
    tone = sine()
    samples = tone if dtype is np.float32 else np.rint(tone / worth).astype(np.int64)
    if dtype is np.uint8:
        samples = np.clip(samples + 128, 0, 255)
    wavfile.write("a.wav", 8000, np.asarray(samples).astype(dtype))
    # Half a step, and what float32 leaves of 32 bits.
    np.testing.assert_allclose(Sequences.read("a.wav")[0][:, 0], tone, atol=worth / 2 + 1e-7)


def test_what_cannot_be_written_as_sound():
    for message, samples, options in (
        ("a sample is 1.5, beyond 1", [0.0, 1.5], {"bits": 16}),
        ("not finite", [0.0, np.nan], {}),
        ("bits 24 is not known", [0.0], {"bits": 24}),
        ("rate 0 must be at least 1", [0.0], {"rate": 0}),
        ("samples of shape (1, 1, 1)", [[[0.0]]], {}),
        ("cannot be written", [0.0], {"path": "nowhere/a.wav"}),
    ):
        with pytest.raises(BpttError) as error:
            write_wav(**{"path": "a.wav", "samples": samples, "rate": 8000, **options})
        assert message in str(error.value)
    with pytest.raises(BpttError, match="there is no file"):
        Sequences.read("a.wav")


TS = """\ufeff# A comment
% another
@problemName Two
@TIMESTAMPS false
@missing true
@univariate false
@ClassLabel true high low
@data

1.0,2.0,?:4,5,6:high
1.5, 2.5 : 3.5,NaN : low
"""


def test_ts_files():
    write("a.ts", TS)
    s = Sequences.read("a.ts", missing="flag")
    assert s.y.tolist() == ["high", "low"]
    np.testing.assert_array_equal(s.lengths, [3, 2])
    np.testing.assert_array_equal(s[0], [[1, 4, 0, 0], [2, 5, 0, 0], [np.nan, 6, 1, 0]])
    np.testing.assert_array_equal(s[1], [[1.5, 3.5, 0, 0], [2.5, np.nan, 0, 1]])
    write("b.ts", "@targetLabel true\n@data\n1,2:0.5\n3,4,5:?\n6:2\n")
    numbers = Sequences.read("b.ts")
    assert numbers.target.kind == "numbers"
    assert numbers.padded().weights.tolist() == [1, 0, 1]
    write("c.ts", "@timeStamps true\n@classLabel true 1 2\n@data\n(2,7),(0,5),(1,6):1\n(0,8):2\n")
    stamped = Sequences.read("c.ts")
    np.testing.assert_array_equal(stamped[0][:, 0], [5, 6, 7])
    assert stamped.classes == ("1", "2")
    write("d.ts", "@timestamps true\n@data\n(2026-01-02,7),(2026-01-01,5)\n")
    np.testing.assert_array_equal(Sequences.read("d.ts")[0][:, 0], [5, 7])
    write("e.ts", "@classLabel false\n@data\n1,2\n3\n")
    assert Sequences.read("e.ts").target is None


def pickled():
    np.save("a.npy", np.array([[1], [2, 3]], object), allow_pickle=True)


def ts(body, label="@classLabel true a b"):
    return lambda: write("a.ts", f"{label}\n@data\n{body}\n")


def wavs(first=8000, second=8000, more=0):
    write_wav("a.wav", sine(), first)
    write_wav("b.wav", sine(count=400 + more), second)


def cut_short():
    wavs()
    with open("a.wav", "r+b") as file:
        file.truncate(900)


def latin():
    with open("a.csv", "wb") as file:
        file.write("größe\n1\n".encode("latin-1"))


MISTAKES = {
    "there is no file 'none.csv'": (lambda: None, "none.csv", {}),
    "'a.xlsx' ends in '.xlsx': '.csv', '.tsv'": (lambda: None, "a.xlsx", {}),
    "Sequences.read has no option 'targt': did you mean 'target'?": (
        lambda: None,
        "a.csv",
        {"targt": "x"},
    ),
    "'a.csv' is empty": (lambda: write("a.csv", ""), "a.csv", {}),
    "'a.csv' has no rows": (lambda: write("a.csv", "a,b\n"), "a.csv", {}),
    "separated by ';': give separator=';'": (lambda: write("a.csv", "a;b\n1;2\n"), "a.csv", {}),
    "is no table in text: Expected 2 fields in line 3, saw 3": (
        lambda: write("a.csv", "a,b\n1,2\n1,2,3\n"),
        "a.csv",
        {},
    ),
    "is no table in text: 'utf-8' codec": (latin, "a.csv", {}),
    "separator '' must be a single character": (lambda: None, "a.csv", {"separator": ""}),
    "has decimal commas, '1,5'": (
        lambda: write("a.csv", "a;b\n1,5;2\n"),
        "a.csv",
        {"separator": ";"},
    ),
    "in row 2 the text 'oops'": (lambda: write("a.csv", "a,b\n1,2\noops,3\n"), "a.csv", {}),
    "'a.npy' holds pickled objects, which can run anything": (pickled, "a.npy", {}),
    "'a.npy' is no .npy file": (lambda: write("a.npy", "nothing at all"), "a.npy", {}),
    "'a.npz' is no .npz file": (lambda: write("a.npz", "PK nothing at all"), "a.npz", {}),
    "holds 'data': 'X' with 'lengths'": (lambda: np.savez("a.npz", data=[1]), "a.npz", {}),
    "only .npy and .wav files have their targets in another": (
        lambda: write("a.csv", "a\n1\n"),
        "a.csv",
        {"y": "b.csv"},
    ),
    "'a.ts' line 4: 'many' is no number": (ts("1,2:a\n3,many:b"), "a.ts", {}),
    "line 3: its channels have 1 to 2 steps": (ts("1,2:3:a"), "a.ts", {}),
    "line 4: 1 channels, but the first sequence has 2": (ts("1:2:a\n1:b"), "a.ts", {}),
    "line 3: ':' and a label are needed": (ts("1,2"), "a.ts", {}),
    "has no sequences": (ts(""), "a.ts", {}),
    "line 1: '1,2:a' stands before @data": (lambda: write("a.ts", "1,2:a\n"), "a.ts", {}),
    "pairs (time,value) are needed": (ts("1,2", "@timestamps true"), "a.ts", {}),
    "'(3)' is no pair of time and value": (ts("(3)", "@timestamps true"), "a.ts", {}),
    "the target in 'a.ts': 'x' is no number": (ts("1,2:x", "@targetLabel true"), "a.ts", {}),
    "no WAV file that can be read": (lambda: write("a.wav", "nothing at all"), "a.wav", {}),
    "'b.wav' has 16000 samples a second, the input 8000": (
        lambda: wavs(second=16000),
        "a.wav",
        {"y": "b.wav"},
    ),
    "'b.wav' has 401 samples, the input 400": (lambda: wavs(more=1), "a.wav", {"y": "b.wav"}),
    "there is no file 'c.wav'": (wavs, "a.wav", {"y": "c.wav"}),
    "'a.wav'": (cut_short, "a.wav", {}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_line(message):
    prepare, path, options = MISTAKES[message]
    prepare()
    with pytest.raises(BpttError) as error:
        Sequences.read(path, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_parquet_without_pyarrow(monkeypatch):
    write("a.parquet", "nothing")

    def missing(*arguments, **options):
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(BpttError, match=r"pip install 'bptt\[parquet\]'"):
        Sequences.read("a.parquet")
