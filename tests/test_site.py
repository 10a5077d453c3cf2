"""The site: its pages do what they say; navigation and workflow are complete."""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import bptt
import bptt.network.network
from bptt.commands.cli import run
from bptt.network.reference_engine import ReferenceEngine

TOP = Path(__file__).resolve().parent.parent
PAGES = {path.stem: path.read_text() for path in sorted((TOP / "docs").glob("*.md"))}
# Pages whose blocks other tests run, each with its own data.
ELSEWHERE = {"derivation", "files", "sequences", "tasks"}


def agrees(printed: str, shown: str) -> bool:
    """Whether that was printed, where `...` stands for anything."""
    return doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)


@pytest.fixture
def page_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the reference engine for the compiled one."""
    monkeypatch.chdir(tmp_path)
    made = bptt.network.network.engine_of  # of an engine that is one already: itself
    monkeypatch.setattr(
        bptt.network.network,
        "engine_of",
        lambda name: ReferenceEngine() if isinstance(name, str) else made(name),
    )
    return tmp_path


def python_blocks() -> dict[str, list[tuple[str, str]]]:
    """The Python blocks of the pages, each with the output shown below it."""
    pattern = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
    found = {name: pattern.findall(text) for name, text in PAGES.items() if name not in ELSEWHERE}
    return {name: blocks for name, blocks in found.items() if blocks}


def console_blocks() -> dict[str, list[tuple[str, str]]]:
    """The commands of the pages, each with what it prints."""
    pattern = re.compile(r"```console\n\$ bptt ([^\n]*)\n(.*?)```", re.DOTALL)
    found = {name: pattern.findall(text) for name, text in PAGES.items()}
    return {name: blocks for name, blocks in found.items() if blocks}


@pytest.mark.usefixtures("page_folder")
@pytest.mark.parametrize("name", python_blocks())
def test_python_blocks_print_what_they_show(name: str) -> None:
    names: dict[str, Any] = {}
    for code, shown in python_blocks()[name]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert agrees(printed.getvalue(), shown), printed.getvalue()


@pytest.mark.usefixtures("page_folder")
@pytest.mark.parametrize("name", console_blocks())
def test_commands_print_what_they_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command, shown in console_blocks()[name]:
        assert run(shlex.split(command)) == 0, command
        printed = capsys.readouterr().out
        assert agrees(printed, shown), printed


def test_new_pages_show_what_their_python_prints() -> None:
    for name in ("adder", "python", "text", "gradient"):
        assert PAGES[name].count("```python") == len(python_blocks().get(name, [])), name


def test_navigation_has_every_page() -> None:
    named = re.findall(r"(\w[\w-]*)\.md$", (TOP / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(PAGES)


def test_workflow_runs_every_step_and_no_command_of_its_own() -> None:
    script = (TOP / ".ci" / "run").read_text()
    workflow = (TOP / ".github" / "workflows" / "ci.yml").read_text()
    (steps,) = re.findall(r'^all="(.*)"$', script, re.MULTILINE)
    for step in steps.split():
        assert re.search(rf"^{step}\(\) \{{", script, re.MULTILINE), step
    (checks,) = re.findall(r"step: \[(.*)\]", workflow)
    commands = re.findall(r"- run: (.*)$", workflow, re.MULTILINE)
    assert all(command.startswith(".ci/run ") for command in commands)
    called = {word for command in commands for word in command.split()[1:]} - {'"$STEP"'}
    assert sorted(called | set(checks.split(", "))) == sorted(steps.split())
