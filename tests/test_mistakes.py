"""The bug hunt: every planted mistake is seen and named, the right gradient never is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptt import BpttError, Network, bug_hunt, named_mistakes
from bptt.mistakes.programs import PROGRAMS
from bptt.mistakes.table import MISTAKES, TABLE, known, program, source

PLANTED = [(cell, name) for cell in PROGRAMS for name in known(cell)]


@pytest.mark.parametrize(("cell", "name"), PLANTED)
@pytest.mark.parametrize("seed", [0, 11])
def test_every_planted_mistake_is_seen_and_named(cell: str, name: str, seed: int) -> None:
    hunt = bug_hunt(seed, name=name, cell=cell)
    # Some entries of each parameter: a mistake is in more than one of them.
    found = hunt.check(entries=8, seed=seed)
    assert not found.passed
    equation = MISTAKES[name].changes[cell].equation
    failed = {each.name for each in found.parameters if each.failed}
    assert "V" not in failed
    assert "c" not in failed
    if equation == 3:  # of the sums over time: the derivatives themselves are right
        assert len(failed) == 1
        assert found.first_wrong_step is None
    else:
        assert {"U", "W"} <= failed
    assert hunt.named() == [name]


@pytest.mark.parametrize("cell", list(PROGRAMS))
@pytest.mark.parametrize("seed", range(6))
def test_the_right_gradient_is_never_blamed(cell: str, seed: int) -> None:
    hunt = bug_hunt(seed, name="none", cell=cell)
    assert hunt.check(entries=8, seed=seed).passed
    assert hunt.named() == []
    assert hunt.solution is None


@pytest.mark.parametrize("cell", list(PROGRAMS))
@pytest.mark.parametrize("state", ["zeros", "trainable"])
def test_the_programs_are_the_reference(cell: str, state: str) -> None:
    structure = {"inputs": 3, "outputs": 2, "hidden": 4, "cell": cell, "initial_state": state}
    network = Network(**structure, dtype="float64", engine="reference", seed=4)
    hunt = bug_hunt(0, name="none", cell=cell)
    planted = Network(network.structure, theta=network.theta, engine=hunt.network.engine)
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((5, 6, 3)), rng.random((5, 6, 2))
    # Rounding of sums in another order.
    one, other = network.gradient(x, y, inputs=True), planted.gradient(x, y, inputs=True)
    assert np.allclose(one.flat, other.flat, rtol=1e-12, atol=1e-13)
    assert np.allclose(one.state, other.state, rtol=1e-12, atol=1e-13)
    assert one.x is not None
    assert other.x is not None
    assert np.allclose(one.x, other.x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cell", list(PROGRAMS))
def test_every_change_stands_once_and_says_where_it_was_seen(cell: str) -> None:
    right = source(cell)
    for name in known(cell):
        wrong = source(cell, name)
        lines = zip(right.split("\n"), wrong.split("\n"), strict=True)
        assert sum(one != other for one, other in lines) == 1
        assert program(cell, name) is program(cell, name)
    assert len({mistake.name for mistake in TABLE}) == len(TABLE)
    assert {mistake.name for mistake in TABLE if not mistake.seen} == {"not summed over time"}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), st.text(max_size=8))
def test_a_seed_and_a_word_draw_the_same_mistake_again(seed: int, word: str) -> None:
    one, other = bug_hunt(seed, word=word), bug_hunt(seed, word=word)
    assert (one.cell, one.solution, one.source) == (other.cell, other.solution, other.source)
    assert np.array_equal(one.gradients()["W"], other.gradients()["W"])
    assert one.answer(one.solution.name, equation=one.solution.changes[one.cell].equation)
    others = [name for name in one.choices if name != one.solution.name]
    assert not any(one.answer(name) for name in others)


def test_seeds_and_words_draw_different_mistakes() -> None:
    drawn = {(hunt.cell, hunt.solution.name) for hunt in map(bug_hunt, range(60))}
    assert len(drawn) > 20
    one, other = ([bug_hunt(n, word=w).solution.name for n in range(12)] for w in ("", "spring"))
    assert one != other


def test_an_answer_is_graded_part_by_part() -> None:
    hunt = bug_hunt(5, name="nothing carried", cell="gru")
    assert hunt.answer("nothing carried", equation=2, parameter="W", step=5)
    part = hunt.answer("only carried", equation=2, parameter="c", step=5)
    assert not part
    assert part.points == 2
    assert str(part) == "2 of 4: name wrong, equation right, parameter wrong, step right"
    sums = bug_hunt(5, name="biases exchanged", cell="lstm")
    assert sums.answer(parameter="b", step=-1)
    assert not sums.answer(step=6)


@pytest.mark.parametrize("cell", list(PROGRAMS))
def test_a_repaired_backward_pass_passes(cell: str) -> None:
    hunt = bug_hunt(3, cell=cell)
    assert not hunt.check(entries=6).passed
    change = hunt.solution.changes[cell]
    space = {"np": np, "Mapping": dict, "Array": None, "States": None, "Arrays": None}
    exec(hunt.source.replace(change.wrong, change.right), space)
    assert hunt.check(space[cell], entries=6).passed  # type: ignore[arg-type]
    right = Network(hunt.network.structure, theta=hunt.network.theta, engine="reference")
    gradients = right.gradient(hunt.x, hunt.y).parameters
    assert hunt.check(gradients, entries=6).passed
    assert named_mistakes(hunt.network, hunt.x, hunt.y, gradients) == []


def test_a_mistake_changes_the_training_and_its_absence_does_not() -> None:
    hunt = bug_hunt(1, name="sign of the derivative", cell="elman")
    found = hunt.trainings(iterations=60)
    assert len(found["planted"]) == len(found["right"]) == 3
    assert found["planted"] != found["right"]
    same = bug_hunt(1, name="none", cell="elman").trainings(iterations=60)
    assert same["planted"] == same["right"] == found["right"]


def test_what_cannot_be_hunted_is_said_in_one_line() -> None:
    hunt = bug_hunt(2)
    deep = Network(inputs=2, outputs=1, hidden=3, layers=2, dtype="float64", engine="reference")
    x, y = hunt.x, hunt.y
    for call, words in (
        (bug_hunt, "give a seed"),
        (lambda: bug_hunt(name="tanh thrice"), "did you mean 'tanh twice'"),
        (lambda: bug_hunt(-1), "must not be negative"),
        (lambda: bug_hunt(1, cell="rnn"), "cell 'rnn'"),
        (lambda: bug_hunt(name="not transposed", cell="gru"), "cannot be planted"),
        (hunt.answer, "nothing was answered"),
        (lambda: hunt.answer("a typo"), "mistake 'a typo' is not known"),
        (lambda: hunt.answer(parameter="Q"), "parameter 'Q' is not known"),
        (lambda: hunt.check(3), "must be a function or gradients"),  # type: ignore[arg-type]
        (lambda: named_mistakes(deep, x, y, {}), "one layer"),
        (lambda: named_mistakes(hunt.network, x, y, {"U": x}), "no gradient of 'W'"),
        (lambda: hunt.network.gradient(x, y, [7, 7, 3]), "equal length"),
    ):
        with pytest.raises(BpttError, match=words) as told:
            call()
        assert "\n" not in str(told.value)
