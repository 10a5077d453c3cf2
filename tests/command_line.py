"""Commands run in the test's own process: what they print, or how they are refused."""

from bptt.commands.cli import run


def said(capsys, *arguments, code=0):
    """What a command prints for people."""
    assert run([*map(str, arguments)]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def refused(capsys, *arguments):
    """The only line of a command that is refused, on standard error."""
    assert run([*map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("bptt: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    return printed.err
