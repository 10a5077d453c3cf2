"""Tasks that a finite automaton states: their data, their test, their words, and that they are
learnt and proved."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import said
from hypothesis import given, settings
from hypothesis import strategies as st

import bptt
from bptt.errors import BpttError
from bptt.network.network import Network
from bptt.proofs.automaton import Automaton, adder
from bptt.tasks import task_from_config
from bptt.tasks.words import LONGEST_PERIOD, draw_words, kept_out

# The languages once more, as regular expressions and as counts.
TOMITA = {
    1: lambda w: re.fullmatch("1*", w) is not None,
    2: lambda w: re.fullmatch("(10)*", w) is not None,
    3: lambda w: not re.search("(?<!1)1(11)*0(00)*(?!0)", w),
    4: lambda w: "000" not in w,
    5: lambda w: (
        len(w) % 2 == 0 and sum(a != b for a, b in zip(w[::2], w[1::2], strict=True)) % 2 == 0
    ),
    6: lambda w: (w.count("0") - w.count("1")) % 3 == 0,
    7: lambda w: re.fullmatch("0*1*0*1*", w) is not None,
}
TASKS = [bptt.Parity(), bptt.Modulo(k=5), bptt.Modulo(k=2, steps=7), *(
    bptt.Tomita(language=number, steps=10) for number in TOMITA
)]  # fmt: skip


def oracle(task: bptt.Task, word: str) -> int:
    if isinstance(task, bptt.Tomita):
        return int(TOMITA[task.language](word))
    return word.count("1") % (task.k if isinstance(task, bptt.Modulo) else 2)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_automata_answer_as_the_languages_are_defined(task: bptt.Task) -> None:
    automaton = task.automaton()
    assert automaton.minimised().size == automaton.size
    for length in range(1, 11):
        for word in itertools.product((0, 1), repeat=length):
            right = int(automaton.run(word)[-1].item())
            assert right == oracle(task, "".join(map(str, word))), word


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_samples_have_the_answers_of_the_automaton(task: bptt.Task) -> None:
    x, y, lengths = task.samples(np.random.default_rng(3), 200)
    assert lengths is None
    assert x.shape == (200, task.steps, 1)
    for word, answers in zip(x[..., 0], y, strict=True):
        for t in range(task.steps):
            assert int(answers[t].item()) == oracle(task, "".join(map(str, word[: t + 1])))
    # Both answers come often, also those that a wrong symbol ends for good.
    shares = np.bincount(np.ravel(y), minlength=2) / y.size
    assert shares.min() > 0.1
    ends = np.ravel(y.reshape(200, -1)[:, -1])
    assert len(np.unique(ends)) == len(shares)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
def test_words_are_random_runs_and_periods(seed: int, steps: int, symbols: int) -> None:
    words = draw_words(np.random.default_rng(seed), 90, steps, symbols)
    assert words.shape == (90, steps)
    assert 0 <= words.min() <= words.max() < symbols
    again = draw_words(np.random.default_rng(seed), 90, steps, symbols)
    assert np.array_equal(words, again)


def longest_run(word: np.ndarray) -> int:
    return max(len([*run]) for _, run in itertools.groupby(word.tolist()))


def test_words_hold_what_random_ones_do_not() -> None:
    words = draw_words(np.random.default_rng(0), 3000, 60, 4)
    plain = draw_words(np.random.default_rng(0), 3000, 60, 4, mixed=False)
    assert max(map(longest_run, plain)) < 15
    assert np.mean([longest_run(word) >= 15 for word in words]) > 0.1
    periodic = [
        any((word[30:] == word[30 - p : -p]).all() for p in range(1, LONGEST_PERIOD + 1))
        for word in words
    ]
    assert np.mean(periodic) > 0.2
    assert not any((w[30:] == w[28:-2]).all() for w in plain)


def test_words_stay_out_of_traps_as_long_as_they_should() -> None:
    automaton = bptt.Tomita(language=1).automaton()  # the first 0 ends it
    words = np.random.default_rng(0).integers(0, 2, (50, 12))
    until = np.arange(50) % 13
    kept, answers = kept_out(automaton, words, until)
    for word, was, some, right in zip(kept, words, until, answers, strict=True):
        assert word[:some].all()
        assert (word[some:] == was[some:]).all()
        assert np.array_equal(right, automaton.run(word))
    free, _ = kept_out(adder(), words, until)  # there is nothing that could be lost
    assert np.array_equal(free, words)


def test_the_test_tries_every_word() -> None:
    task = bptt.Parity(steps=6)
    network = Network(inputs=1, outputs=1, hidden=3, seed=1, engine="reference")
    words = np.array([*itertools.product((0, 1), repeat=6)])
    said_ = network.predict(words[..., None])[..., 0] > 0.5
    right = int((said_ == (words.cumsum(axis=1) % 2 == 1)).all(axis=1).sum())
    verdict = task.test(network)
    assert (verdict.right, verdict.total, verdict.what) == (right, 64, "words")
    assert right < 64
    many = bptt.Parity(steps=17)
    assert many.test(network).total == 1000
    assert many.test_steps == 17_000
    assert task.test_steps == 64 * 6


@pytest.mark.parametrize(
    "task", [bptt.Parity(), bptt.Modulo(k=3), bptt.Tomita(language=2)], ids=str
)
def test_each_is_learnt_scouted_and_told(task: bptt.Task) -> None:
    run = bptt.train(task, cell="elman", hidden=6, seed=2, iterations=60, exact=False,
                     engine="reference")  # fmt: skip
    found = bptt.scout(run.network, task)
    assert found.verdict == "wrong"  # so soon
    assert found.counterexample is not None
    word = found.counterexample.word
    symbols = "".join(map(str, word))
    assert f"after {symbols} the network says " in str(found)
    assert f"right is {oracle(task, symbols)}" in str(found)
    shown = task.show(run.network, seed=1)
    assert len(shown.rows) == 5
    for row in shown.rows:
        right = [oracle(task, row["word"][: t + 1]) for t in range(task.steps)]
        assert row["true_answers"] == " ".join(map(str, right))
        assert row["right"] == (row["answers"] == row["true_answers"])
    assert all(0 <= share <= 1 for share in task.longer(run.network, [1, 4]))


def test_a_language_is_learnt_and_its_network_is_asked_at_other_lengths() -> None:
    task = bptt.Tomita(language=1)
    run = bptt.train(task, cell="elman", hidden=4, seed=1, engine="reference")
    assert run.verdict is not None
    assert run.verdict.passed
    assert run.verdict.total == 4096
    assert task.longer(run.network, [1]) == [1.0]


def test_what_no_task_can_be_is_refused() -> None:
    network = Network(inputs=1, outputs=3, output="softmax", hidden=2, engine="reference")
    for make, message in (
        (lambda: bptt.Tomita(language=8), "language 8"),
        (lambda: bptt.Modulo(k=1), "k 1"),
        (lambda: bptt.Parity(steps=0), "steps 0"),
        (lambda: bptt.Modulo(k=3).told(network, [2]), "word"),
        (lambda: bptt.Parity().told(network, [0]), "outputs"),
    ):
        with pytest.raises(BpttError, match=message) as error:
            make()
        assert "\n" not in str(error.value)


def test_the_command_line_trains_them(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["--iterations", "20", "--record-every", "10", "--engine", "reference", "--hidden", "3"]
    for words in (["modulo", "--k", "3"], ["tomita", "--language", "7"]):
        text = said(capsys, "train", *words, "--steps", "5", *quick)
        assert " of 32 words after 20 iterations" in text
        assert "network's answers" in text
    assert "ones modulo 3, in words of 5 bits" in said(capsys, "show", "runs/modulo-1")


def test_a_study_of_languages() -> None:
    study = bptt.Study(
        task="tomita", base={"iterations": 20, "record_every": 10, "engine": "reference",
                             "hidden": 2, "steps": 4}, grid={"language": [1, 5]}, seeds=2,
    )  # fmt: skip
    frame = study.run(workers=1, progress=False).frame
    assert frame["language"].tolist() == [1, 1, 5, 5]
    assert set(frame["total"]) == {16}


def test_an_automaton_of_its_own_kind_is_needed() -> None:
    assert isinstance(bptt.Parity().automaton(), Automaton)
    assert bptt.Modulo(k=4).automaton().size == 4


def test_the_page_s_automaton_is_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "automata.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code, {})
    assert capsys.readouterr().out.strip() == code.strip().split("# ")[-1]


@pytest.mark.parametrize("bits", [1, 8, 40])
def test_a_stream_of_patterns_is_the_same_however_it_is_drawn(bits: int) -> None:
    task = bptt.Addition(bits=bits, patterns=True)
    whole = task.stream(3, 7).draw(200)
    stream, parts = task.stream(3, 7), []
    for count in (0, 1, 73, 74, 52):
        parts.append(stream.draw(count).x)
        again = task.stream(3, 7)
        again.restore(json.loads(json.dumps(stream.state())))
        stream = again
    np.testing.assert_array_equal(np.concatenate(parts), whole.x)
    a, b, said = (
        task.decode(columns.reshape(1400, -1))
        for columns in (whole.x[..., 0], whole.x[..., 1], whole.y[..., 0])
    )
    assert [x + y for x, y in zip(a, b, strict=True)] == said
    if bits == 40:  # a third have long runs of a pair of bits
        x = whole.x.reshape(1400, -1, 2)[:, :40]
        assert ((x[:, 1:] != x[:, :-1]).any(axis=2).sum(axis=1) < 10).mean() > 0.15
        assert not np.array_equal(whole.x, task.stream(4, 7).draw(200).x)
    assert "patterns" not in bptt.Addition(bits=8).config()
    assert task_from_config(task.config()) == task
    with pytest.raises(BpttError, match="patterns"):
        bptt.Addition(bits=4, patterns=True, pairs=10)
