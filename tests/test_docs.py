"""What the documents say is what the code does: equation numbers, printed numbers, examples."""

import ast
import contextlib
import csv
import doctest
import importlib
import io
import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from safetensors import safe_open

import bptt.network.network
from bptt import Network
from bptt.equations.cells import ELMAN_TANH
from bptt.kernels.machine.library import COMPILER_OFF
from bptt.network.engines import Engine
from bptt.network.recurrence import forward
from bptt.network.reference_engine import ReferenceEngine
from bptt.network.structure import Structure
from bptt.sequences.audio import write_wav

TOP = Path(__file__).resolve().parent.parent
SOURCE = TOP / "src" / "bptt"
DERIVATION = (TOP / "docs" / "derivation.md").read_text()
SEQUENCES = (TOP / "docs" / "sequences.md").read_text()
FORECASTING = (TOP / "docs" / "forecasting.md").read_text()
DIGITS = (TOP / "docs" / "digits.md").read_text()
FILES = (TOP / "docs" / "files.md").read_text()
TRACES = (TOP / "docs" / "traces.md").read_text()
TEACHING = (TOP / "docs" / "teaching.md").read_text()
OWN_CELLS = ("leaky_network", "minimal_gated_unit", "peephole_lstm")
EXAMPLES = (
    "adder", "check_your_own_gradient", "digits_on_a_microcontroller", "pedal", "trace", *OWN_CELLS
)  # fmt: skip
# Which equations stand in which module.
EQUATIONS = {
    "cells": range(1, 22),
    "outputs": (*range(22, 27), *range(36, 39), 35),
    "chance": (39, 40),
    "optimizers": range(27, 35),
}

# Runs a script with the reference engine wherever it asks for the compiled one, so that nothing
# has to be compiled.
RUNNER = """
import runpy, sys
import bptt.network.network
from bptt.network.reference_engine import ReferenceEngine
bptt.network.network.engine_of = lambda name: ReferenceEngine()
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def section(document: str, start: str) -> str:
    """A document's part from the heading that starts so to the next heading of level 2."""
    parts = re.split(r"^## ", document, flags=re.MULTILINE)
    (found,) = [part for part in parts if part.startswith(start)]
    return found


def blocks(document: str) -> list[tuple[str, str]]:
    """The Python blocks of a document, each with the text block of its output."""
    found = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", document, re.DOTALL)
    assert len(found) == document.count("```python"), "a Python block without its output"
    return found


def run_python(*arguments: str, folder: Path) -> str:
    """What a Python process prints; its errors are shown if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that ask for the compiled engine get the reference."""

    def engine(name: str | Engine) -> Engine:
        return ReferenceEngine() if isinstance(name, str) else name

    monkeypatch.setattr(bptt.network.network, "engine_of", engine)


# Equation numbers


@pytest.mark.parametrize("module", EQUATIONS)
def test_docstrings_have_their_equations(module: str) -> None:
    tree = ast.parse((SOURCE / "equations" / f"{module}.py").read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    numbers = {int(n) for text in texts for n in re.findall(r"\(([1-9]\d?)\)", text)}
    assert numbers == set(EQUATIONS[module])


def test_derivation_has_every_equation_once_and_in_order() -> None:
    tags = [int(n) for n in re.findall(r"\\tag\{(\d+)\}", DERIVATION)]
    assert tags == [n for numbers in EQUATIONS.values() for n in numbers]


def test_derivation_refers_only_to_equations_there_are() -> None:
    prose = re.sub(r"^\$\$.*?^\$\$", "", DERIVATION, flags=re.DOTALL | re.MULTILINE)
    referred = {int(n) for n in re.findall(r"(?<![\w\]])\((\d{1,3})\)", prose)}
    assert len(referred) > 20
    assert referred <= set(range(1, 41))


def math_of(document: str) -> tuple[list[str], list[str]]:
    """Displayed formulas, and the lines that are neither code nor displayed formulas."""
    text = re.sub(r"^```.*?^```", "", document, flags=re.DOTALL | re.MULTILINE)
    displayed = re.findall(r"^\$\$\n(.*?)\n\$\$$", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\$\$\n.*?\n\$\$$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"`[^`]*`", "`", line) for line in text.split("\n") if line[:4] != "    "]
    return displayed, lines


def test_formulas_survive_markdown() -> None:
    # GitHub takes a backslash before punctuation away before it looks at formulas, ends an inline
    # formula at the line's end, and wants blanks or punctuation around it.
    displayed, lines = math_of(DERIVATION)
    assert len(displayed) > 34
    for line in lines:
        parts = line.split("$")
        assert len(parts) % 2 == 1, f"a formula is not closed: {line}"
        for before, formula, after in zip(parts[:-1:2], parts[1::2], parts[2::2], strict=True):
            assert re.search(r"(^|[\s(|])$", before), f"before ${formula}$: {line}"
            assert re.match(r"$|[\s.,;:)|]", after), f"after ${formula}$: {line}"
            assert formula == formula.strip(), line
            displayed.append(formula)
    for formula in displayed:
        assert not re.search(r"\\[^A-Za-z]", formula), formula
        assert formula.count("{") == formula.count("}"), formula


# The worked example


def example(**changes: Any) -> Network:
    """The network of the derivation's section 7."""
    network = Network(
        inputs=1, hidden=1, outputs=1, cell="elman", output="linear", loss="squared",
        initial_state="trainable", dtype="float64", engine="reference", **changes,
    )  # fmt: skip
    for name, value in {"U": 0.5, "W": 0.8, "b": 0.1, "h0": 0.0, "V": 1.5, "c": -0.2}.items():
        network[name][...] = value
    return network


X, Y = np.array([[[1.0], [0.5]]]), np.array([[[0.0], [0.5]]])


def example_numbers() -> dict[str, list[float]]:
    """The rows of its two tables, by their symbol, from the reference engine.

    What each step adds to a gradient is the gradient of an untied network, and what it adds to
    db is da.
    """
    network = example()
    structure: Structure = network.structure
    alive = np.ones((2, 1), np.bool_)
    trace = forward(structure, network.parameters, X.swapaxes(0, 1), alive, [(np.zeros((1, 1)),)])
    h = [float(s[0].item()) for s in trace.layers[0].states]
    o = trace.o.ravel()
    steps = example(tied=False, steps=2).gradient(X, Y).parameters
    total = network.gradient(X, Y).parameters
    # h = tanh(a), and da = dh (1 - h^2), turned round: not the way the document goes.
    slopes = [ELMAN_TANH.backward((h_t,), (), (), (1.0,))[0][0] for h_t in h[1:]]
    da = steps["b"].ravel()
    numbers = {
        "a": np.arctanh(h[1:]), "h": h[1:], "o": o, "loss": (o - Y.ravel()) ** 2 / 2,
        "do": o - Y.ravel(), "dh": da / slopes, "da": da,
    }  # fmt: skip
    rows = {name: [float(value) for value in values] for name, values in numbers.items()}
    for name in ("U", "W", "b", "V", "c"):
        rows[f"d{name}"] = [*steps[name].ravel().tolist(), total[name].item()]
    rows["dh_0"] = [total["h0"].item()]
    return rows


def table(text: str, column: str) -> list[list[str]]:
    """The rows of the table whose header has that column, header first."""
    for part in re.split(r"\n\n", text):
        lines = part.strip().split("\n")
        if lines[0].startswith("|") and column in lines[0]:
            rows = [[cell.strip(" $") for cell in line.strip("|").split("|")] for line in lines]
            return [rows[0], *rows[2:]]
    raise AssertionError(f"no table with {column}")


def test_tables_of_the_worked_example() -> None:
    text, numbers = section(DERIVATION, "7."), example_numbers()
    header, *rows = table(text, "$da$")
    assert len(rows) == 2
    assert header[1:] == ["a", "h", "o", "loss", "do", "dh", "da"]
    for t, row in enumerate(rows):
        assert row[1:] == [f"{numbers[name][t]:.6f}" for name in header[1:]]
    _, *rows = table(text, "sum")
    assert [row[0].split(" ")[0] for row in rows] == ["dU", "dW", "db", "dV", "dc"]
    for row in rows:
        assert row[1:] == [f"{value:.6f}" for value in numbers[row[0].split(" ")[0]]]


def test_arithmetic_of_the_worked_example() -> None:
    numbers = example_numbers()
    known = {f"{name}_{t + 1}": v for name, row in numbers.items() for t, v in enumerate(row)}
    known["dh_0"] = numbers["dh_0"][0]
    pattern = r"^    (\w+) = (.+?) += (\d\.\d{6})"
    lines = re.findall(pattern, section(DERIVATION, "7."), re.MULTILINE)
    assert len(lines) == 13
    for name, expression, value in lines:
        assert value == f"{known[name]:.6f}", name
        code = expression.replace("×", "*").replace("²", "**2")
        # The factors are printed with six decimals, so products are right to about 1e-6.
        assert abs(eval(code, {"tanh": math.tanh, **known}) - known[name]) < 3e-6, name


def test_other_numbers_of_the_worked_example() -> None:
    numbers = {f"{value:.6f}" for row in example_numbers().values() for value in row}
    network = example()
    numbers.add(f"{network.loss(X, Y):.6f}")
    network["W"][...] = 0.80001
    above = network.loss(X, Y)
    network["W"][...] = 0.79999
    assert f"{(above - network.loss(X, Y)) / 0.00002:.6f}" == "0.128949"
    network["W"][...] = 0.8
    first = network.gradient(X[:, :1], Y[:, :1]).parameters
    second = network.gradient(X[:, 1:], Y[:, 1:], state=network.forward(X[:, :1]).state).parameters
    numbers |= {f"{(first[name] + second[name]).item():.6f}" for name in ("U", "b")}
    numbers.add(f"{first['b'].item():.6f}")  # da_1 without what comes from step 2
    for number in ("7.", "8."):
        prose = re.sub(r"```.*?```", "", section(DERIVATION, number), flags=re.DOTALL)
        printed = re.findall(r"\d\.\d{6}", prose)
        assert printed
        assert set(printed) <= numbers, set(printed) - numbers


@pytest.mark.usefixtures("reference_only")
@pytest.mark.parametrize(
    ("document", "count"),
    [
        (DERIVATION, 3),
        (SEQUENCES, 9),
        (DIGITS, 3),
        (FORECASTING, 4),
        (TRACES, 2),
        (TEACHING, 2),
    ],
)
def test_python_blocks_print_what_they_say(
    document: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = blocks(document)
    assert len(found) == count
    for code, output in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == output


@pytest.mark.usefixtures("reference_only")
def test_readme_example_prints_its_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)[0]
    exec(code, {})
    printed = capsys.readouterr().out.splitlines()
    assert printed == re.findall(r"^print\(.*\) +# (.*)$", code, re.MULTILINE)
    assert len(printed) > 2


# Examples and the run's folder


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which examples/adder.py has run, and what it printed."""
    folder = tmp_path_factory.mktemp("adder")
    script = str(TOP / "examples" / "adder.py")
    return folder, run_python("-c", RUNNER, script, folder=folder)


def test_every_example_is_run_here() -> None:
    assert sorted(path.stem for path in (TOP / "examples").glob("*.py")) == sorted(EXAMPLES)


def test_adder_example(adder: tuple[Path, str]) -> None:
    verdict, total, same = adder[1].splitlines()
    assert verdict.startswith("exact on 65,536 of 65,536 pairs after ")
    assert total == "100 + 55 = 155"
    assert same == "loaded, the same: True"


def test_trace_example(tmp_path: Path) -> None:
    printed = run_python(str(TOP / "examples" / "trace.py"), str(tmp_path), folder=tmp_path)
    assert printed.startswith("trace of 2 samples of up to 9 steps: loss 6.879")
    for name in ("trace-stage.png", "trace-credit.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="trains on 90,000 steps: needs the compiler")
def test_pedal_example(tmp_path: Path) -> None:
    """From WAV files to a plugin's file and C."""
    rng = np.random.default_rng(1)
    dry = 0.3 * np.convolve(rng.standard_normal(15_000), np.ones(8) / 3, "same")
    for name, samples in (("dry", dry), ("wet", 0.5 * np.tanh(2 * dry))):
        write_wav(tmp_path / f"{name}.wav", samples, 44100)
    script = str(TOP / "examples" / "pedal.py")
    printed = run_python(script, "dry.wav", "wet.wav", "--epochs", "6", folder=tmp_path)
    found = re.search(r"error-to-signal ratio ([\d.]+) % on 1 pieces held out", printed)
    assert found
    assert float(found[1]) < 100  # of silence
    assert printed.count("verified: ") == 3
    assert (tmp_path / "runs" / "pedal" / "pedal.json").exists()
    before, after = re.findall(r"ratio ([\d.]+) % before int8, ([\d.]+) % after", printed)[0]
    assert abs(float(after) - float(before)) < 1


def test_check_your_own_gradient_example(tmp_path: Path) -> None:
    printed = run_python(str(TOP / "examples" / "check_your_own_gradient.py"), folder=tmp_path)
    right, wrong = printed.split("With W where W^T belongs:\n")
    assert "FAIL" not in right
    assert right.rstrip().endswith("\npassed")
    assert re.findall(r"^FAIL (\w+)", wrong, re.MULTILINE) == ["U", "W", "b", "x"]
    assert "the first step whose gradient is wrong is step 4:" in wrong  # of 0..5
    assert wrong.rstrip().endswith("\nNOT passed")


@pytest.mark.skipif(COMPILER_OFF, reason="would take a minute")
@pytest.mark.parametrize("name", OWN_CELLS)
def test_examples_of_own_cells(name: str, tmp_path: Path) -> None:
    """Every derivative is right, and every training solves its task."""
    *checks, last = run_python(str(TOP / "examples" / f"{name}.py"), folder=tmp_path).splitlines()
    assert "exact on 256 of 256 pairs" in last
    assert sum(line.startswith("ok ") for line in checks) >= 3
    assert "FAIL" not in "".join(checks)


def test_weights_are_read_without_bptt(adder: tuple[Path, str]) -> None:
    found = blocks(FILES)
    assert len(found) == 2
    for code, output in found:
        # None in its place makes every import of bptt fail.
        printed = run_python(
            "-c", "import sys; sys.modules['bptt'] = None\n" + code, folder=adder[0]
        )
        assert printed == output


def test_files_are_described_completely(adder: tuple[Path, str]) -> None:
    run = adder[0] / "runs" / "adder"
    names = {path.name for path in run.iterdir()}
    assert {f"`{name}`" for name in names} == {row[0] for row in table(FILES, "Written")[1:]}

    def described(heading: str) -> set[str]:
        return set(re.findall(r"`([\w.]+)`", section(FILES, heading)))

    config = json.loads((run / "config.json").read_text())
    with (run / "history.csv").open() as file:
        columns = next(csv.reader(file))
    assert set(columns) == {row[0].strip("`") for row in table(FILES, "Column")[1:]}
    assert set(config) | set(config["optimizer"]) | set(config["stop"]) <= described("config.json")
    result = json.loads((run / "result.json").read_text())
    assert set(result) | set(result["verdict"]) <= described("result.json")
    with safe_open(run / "weights.safetensors", "np") as file:
        tensors, about = set(file.keys()), json.loads(file.metadata()["bptt"])
    weights = described("weights.safetensors")
    assert tensors | set(about) | set(about["structure"]) <= weights
    assert set(about["task"]) - {"task"} <= weights
    assert set(bptt.Text(text="to be", window=2).config()) - {"task"} <= weights
    with safe_open(run / "checkpoint.safetensors", "np") as file:
        tensors, about = set(file.keys()), json.loads(file.metadata()["bptt"])
    assert tensors | set(about) <= described("checkpoint.safetensors")


def test_contributing_names_extras_there_are() -> None:
    text = (TOP / "CONTRIBUTING.md").read_text()
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"pip install -e '\.\[(.*?)\]'", text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


# Doctests


def modules_with_doctests() -> list[str]:
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text()]
    names = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def test_public_modules_have_doctests() -> None:
    expected = {
        "bptt",
        "bptt.network.network",
        "bptt.network.gradient_check",
        "bptt.equations.optimizers",
        "bptt.tasks.addition.task",
        "bptt.tasks.text.task",
    }
    assert expected <= set(modules_with_doctests())


@pytest.mark.usefixtures("reference_only")
@pytest.mark.parametrize("name", modules_with_doctests())
def test_doctests(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0, capsys.readouterr().out
