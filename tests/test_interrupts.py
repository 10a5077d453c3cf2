"""Which signals stop work early, and which are left to the user or the shell."""

import signal

import pytest

from bptt.training.interrupts import exit_code, interrupts

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers():
    """Put every handler back."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_once_and_then_acts_as_before(number):
    signal.signal(number, signal.SIG_DFL)
    with interrupts() as received:
        signal.raise_signal(number)
        assert received == [number]
        assert exit_code(received) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)  # as nohup and a shell's & leave it
    with interrupts() as received:
        signal.raise_signal(number)
    assert received == []
    assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", NUMBERS)
def test_a_handler_of_the_user_is_called(number):
    got = []
    signal.signal(number, lambda each, frame: got.append(each))
    mine = signal.getsignal(number)
    with interrupts() as received, interrupts() as inner:
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert got == [number, number]
    assert received == inner == []
    assert signal.getsignal(number) is mine
