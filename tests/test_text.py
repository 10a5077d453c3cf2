"""The text task: windows, vocabulary, reading files, and the judgement of what is written."""

import hashlib
import io
import json
import math
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bptt.errors import BpttError
from bptt.network.engines import Forward
from bptt.tasks import Text, task_from_config
from bptt.tasks.text import bits, read_text
from bptt.tasks.text import verdict as of_text
from bptt.tasks.text.paragraph import PARAGRAPH

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=60)


def stream_of(text, window, batch, **options):
    """A stream, or the example is left out where the text is too short for that many."""
    task = Text(text=text, window=min(window, len(text) - 1), **options)
    try:
        return task, task.stream(0, batch)
    except BpttError:
        assume(False)


def test_the_worked_example_of_the_module():
    task = Text(text="to be", window=2)
    batch = task.stream(0, 1).draw(3)
    assert [task.decode(x) for x in batch.x] == ["to", " b", "to"]
    assert [task.decode(y) for y in batch.y] == ["o ", "be", "o "]
    np.testing.assert_array_equal(batch.reset, [True, False, True])
    np.testing.assert_array_equal(batch.lengths, [[2], [2], [2]])


def test_the_windows_of_the_published_experiment():
    """Its loop, written down: start again where a window and its last target do not fit."""
    text, window = PARAGRAPH, 40
    task = Text(text=text, window=window, rest="drop")
    batch = task.stream(0, 1).draw(20)
    p, starts = 0, []
    for n in range(20):
        if p + window + 1 > len(text):
            p = 0
        starts.append(p == 0)
        assert task.decode(batch.x[n]) == text[p : p + window]
        assert task.decode(batch.y[n]) == text[p + 1 : p + window + 1]
        p += window
    np.testing.assert_array_equal(batch.reset, starts)
    assert (batch.lengths == window).all()


@settings(max_examples=150, deadline=None)
@given(texts, st.integers(1, 12), st.integers(1, 4))
def test_one_round_shows_each_stream_its_piece_once(text, window, batch):
    task, stream = stream_of(text, window, batch)
    drawn = stream.draw(stream.windows + 1)
    assert drawn.x.shape == drawn.y.shape == (stream.windows + 1, batch, task.window)
    np.testing.assert_array_equal(np.flatnonzero(drawn.reset), [0, stream.windows])
    piece = len(text) // batch
    for b in range(batch):
        read, said = (
            "".join(task.decode(ids[n, b, : drawn.lengths[n, b]]) for n in range(stream.windows))
            for ids in (drawn.x, drawn.y)
        )
        start = b * piece
        # Every character of the piece is read, but the last where the text has no successor.
        assert len(read) == (piece if len(text) > batch * piece else piece - 1)
        assert read == text[start : start + len(read)]
        assert said == text[start + 1 : start + len(read) + 1]


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 12), st.integers(1, 4), st.lists(st.integers(1, 9), max_size=5))
def test_the_data_do_not_depend_on_the_pieces_they_are_drawn_in(text, window, batch, pieces):
    task, stream = stream_of(text, window, batch)
    whole = stream.draw(sum(pieces) + 1)
    parted = task.stream(0, batch)
    parts = []
    for n in [*pieces, 1]:
        parts.append(parted.draw(n))
        state = json.loads(json.dumps(parted.state()))
        parted = task_from_config(json.loads(json.dumps(task.config()))).stream(0, batch)
        parted.restore(state)
    for name in ("x", "y", "reset", "lengths"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@given(texts)
def test_encoded_text_decodes_to_itself(text):
    task = Text(text=text, window=1)
    assert task.vocabulary == "".join(sorted(set(text)))
    assert task.inputs == task.outputs == len(set(text))
    ids = task.encode(text)
    assert [task.vocabulary[i] for i in ids] == list(text)
    assert task.decode(ids) == text
    assert task.encode("").size == 0


@pytest.mark.parametrize(
    ("written", "recalled"),
    [("o be", 4), ("o bee or not", 4), ("o me", 2), ("", 0), ("x", 0), ("o b", 3)],
)
def test_recall_counts_up_to_the_first_slip(written, recalled):
    assert Text(text="to be", window=2).recalled(written) == recalled


def test_newlines_are_kept_or_made_spaces():
    text = "a\nb\r\nc\rd"
    assert Text(text=text, window=2).text == text
    assert Text(text=text, window=2, newlines="space").text == "a b c d"


def test_a_loss_in_bits():
    assert bits(math.log(8)) == pytest.approx(3, rel=1e-15)  # one rounding of log and of division


def test_the_configuration_makes_the_task_again_with_and_without_text():
    task = Text(text="Größe 日本", window=3, newlines="space")
    assert task.sha256 == hashlib.sha256(task.text.encode()).hexdigest()
    assert task.length == 8
    assert task_from_config(json.loads(json.dumps(task.config()))) == task
    short = task.config(data=False)
    assert "Größe" not in json.dumps(short, ensure_ascii=False)
    bare = task_from_config(json.loads(json.dumps(short)))
    assert bare.decode(bare.encode("ößG")) == "ößG"
    assert (bare.sha256, bare.length) == (task.sha256, 8)
    with pytest.raises(BpttError, match="no text to learn from"):
        bare.stream(0, 1)
    assert task_from_config({**short, "text": task.text}) == task
    with pytest.raises(BpttError, match="not the one of 8 that this task was made with"):
        task_from_config({**short, "text": "Größe 本日"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the text is empty"),
        ({"text": ""}, "the text is empty"),
        ({"text": "a"}, "the text is 'a': at least 2 characters are needed"),
        ({"text": "ab", "window": 2}, "window 2 is longer than the text allows: a text of 2 char"),
        ({"text": "short"}, "window 40 is longer than the text allows"),
        ({"text": "abc", "window": 0}, "window 0 must be at least 1"),
        ({"text": "abc", "window": 1.5}, "window 1.5 must be a whole number"),
        ({"text": "abc", "window": 1, "newlines": "drop"}, "newlines 'drop' is not known: choose"),
        ({"text": "abc", "window": 1, "rest": "pad"}, "rest 'pad' is not known: choose one of"),
        ({"text": "abc", "window": 1, "vocabulary": "ab"}, r"character 'c' \(position 3\) is not"),
        ({"vocabulary": "ba"}, "vocabulary 'ba' must be sorted, without doubles"),
        ({"vocabulary": "aab"}, "vocabulary 'aab' must be sorted"),
        ({"text": "ab\ud800", "window": 1}, r"character '\\ud800' \(position 3\) cannot be writ"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(BpttError, match=message) as caught:
        Text(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: task.encode("be\nto"), r"character '\\n' \(position 3\) is not in the voc"),
        (lambda task: task.encode("to bez"), r"character 'z' \(position 6\) is not in the vocab"),
        (
            lambda task: task.decode([0, 5]),
            "5 is not the number of a character: they go from 0 to 4",
        ),
        (lambda task: task.decode([-1]), "-1 is not the number of a character"),
        (lambda task: task.stream(0, 0), "batch 0 must be at least 1"),
        (lambda task: task.stream(0, 6), "batch 6 of windows of 2 is more than the text's 5"),
        (lambda task: task.stream(0, 1).restore({}), "cannot be read"),
        (lambda task: task.stream(0, 1).restore({"position": "1"}), "cannot be read"),
        (lambda task: task.stream(0, 1).restore({"position": 2}), "cannot stand at window 2 of 2"),
    ],
)
def test_what_a_task_cannot_do_is_said(call, message):
    with pytest.raises(BpttError, match=message):
        call(Text(text="to be", window=2))


def test_a_dropped_rest_that_leaves_nothing_is_an_error():
    task = Text(text="to be", window=4, rest="drop")
    with pytest.raises(BpttError, match="make the batch or the window smaller"):
        task.stream(0, 2)


def test_a_file_is_read_as_utf_8(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("Öl und Öl".encode())
    task = Text.from_file(path, window=3)
    assert (task.text, task.window) == ("Öl und Öl", 3)
    path.write_bytes(b"\xef\xbb\xbf" + "Öl\nÖl".encode())  # with a byte order mark
    assert Text.from_file(path, window=3, newlines="space").text == "Öl Öl"


def test_standard_input_is_read_for_a_dash(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("aß\n".encode())))
    assert Text.from_file("-", window=1).text == "aß\n"


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"", "holds 0 characters: at least 2"),
        ("ß".encode(), "holds 1 characters: at least 2"),
        (b"\r\n", "at least 2 characters are needed"),
        (b"abc\xff", r"is not UTF-8 text \(byte 3 is 0xff\): convert it"),
        (b"\xef\xbb\xbfabc\xfe", r"is not UTF-8 text \(byte 6 is 0xfe\)"),
        (b"abc", "window 40 is longer than the text allows"),
    ],
)
def test_a_bad_file_is_named(tmp_path, octets, message):
    path = tmp_path / "text.txt"
    path.write_bytes(octets)
    with pytest.raises(BpttError, match=message) as caught:
        Text.from_file(path, newlines="space")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "missing.txt", tmp_path, "null\0.txt"):
        with pytest.raises(BpttError, match=r"cannot be read|is no path"):
            read_text(path)


def test_a_long_text_is_encoded_character_by_character():
    text = "".join(random.Random(1).choices("abc 日本\U0001f600", k=50_000))
    task = Text(text=text, window=100)
    assert task.vocabulary == " abc日本\U0001f600"
    assert task.decode(task.encode(text)) == text


def test_the_paragraph_has_the_published_length():
    assert len(PARAGRAPH) == 273
    assert 29 <= len(set(PARAGRAPH)) <= 34
    assert PARAGRAPH.isprintable()


@pytest.mark.parametrize("batch", [2, 3, 7])
@pytest.mark.parametrize("window", [1, 4, 5])
@pytest.mark.parametrize("length", [71, 72, 73])
def test_several_streams_read_their_own_places_side_by_side(batch, window, length):
    text = "".join(chr(0x3B1 + n) for n in range(length))  # every character once: places are clear
    task = Text(text=text, window=window)
    piece = length // batch
    span = min(piece, length - 1 - (batch - 1) * piece)
    count = math.ceil(span / window)
    drawn = task.stream(0, batch).draw(count + 1)
    np.testing.assert_array_equal(drawn.lengths[:count].sum(axis=0), [span] * batch)
    assert drawn.reset.tolist() == [True] + [False] * (count - 1) + [True]
    for n, k in enumerate(drawn.lengths[:count, 0]):
        places = np.arange(batch)[:, None] * piece + n * window + np.arange(k)
        np.testing.assert_array_equal(drawn.x[n, :, :k], places)
        np.testing.assert_array_equal(drawn.y[n, :, :k], places + 1)


def test_emoji_of_several_code_points(tmp_path):
    text = "naïve café, Ωmega, 日本語, 👩‍🔬 and 🇨🇭\nnew line\n"
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    task = Text.from_file(path, window=5)
    assert task.text == text
    assert task.decode(task.encode("👩‍🔬🇨🇭é")) == "👩‍🔬🇨🇭é"


class Rigged:
    """Stands for a network that, shown the text, says the letters it is given; where it has come to
    is its state."""

    def __init__(self, task, said):
        self.task, self.said, self.shown = task, task.encode(said), []

    def forward(self, x, state=None):
        first = 0 if state is None else state
        end = first + x.shape[1]
        np.testing.assert_array_equal(x[0], self.task.encode(self.task.text)[first:end])
        self.shown.append(x.shape[1])
        o = np.eye(self.task.outputs)[self.said[first:end]][None]
        return Forward(o, o, end)


@pytest.mark.parametrize("slip", range(24))
def test_a_network_is_shown_the_text_up_to_its_first_slip(slip, monkeypatch):
    """Some characters at a time, to the end if there is none."""
    monkeypatch.setattr(of_text, "SHOWN", 7)
    text = "abcadcbabdacbcdabcdbadcb"
    said = list(text[1:])
    if slip < len(said):
        said[slip] = "a" if said[slip] != "a" else "b"
    task = Text(text=text, window=2)
    network = Rigged(task, "".join(said))
    verdict = of_text.recall(network, task)
    assert (verdict.right, verdict.total) == (slip, 23)
    assert network.task.recalled("".join(said)) == slip
    assert network.shown == [7, 7, 7, 2][: slip // 7 + 1]
