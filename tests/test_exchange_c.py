"""The C file: compiled without a warning, its numbers the network's, whatever the network."""

import importlib
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_networks import network, scales

import bptt
from bptt.equations.cells import CELLS
from bptt.exchange.c_compiler import STRICT, Compiled, compiled
from bptt.exchange.c_fixed import c_fixed_source, read_numbers
from bptt.exchange.c_format import check, figures
from bptt.exchange.c_reader import Twin
from bptt.exchange.c_source import c_source
from bptt.exchange.c_text import FAST_SIGMOID_ERROR, FAST_TANH_ERROR
from bptt.exchange.doors import check as check_file
from bptt.exchange.fixed import FixedTwin, quantised
from bptt.exchange.model import model_of
from bptt.exchange.players import Ours
from bptt.exchange.verification import UnverifiedError, compare

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks is not part of the package
fast_functions: Any = importlib.import_module("benchmarks.fast_functions")

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="neither gcc nor clang is here")

CASES = [
    (("lstm", "tanh"), (1, 5, 1), 1, "linear", "fast", {}),
    (("lstm", "tanh"), (3, 8, 2), 2, "softmax", "exact", {"classes": ("a", 'b"\\?*/')}),
    (("gru", "tanh"), (2, 7, 2), 1, "linear", "fast", {"skip": 1}),
    (("gru", "tanh"), (1, 16, 3), 2, "sigmoid", "exact", {"scaling": scales(1, 3)}),
    (("elman", "tanh"), (1, 1, 1), 1, "sigmoid", "exact", {}),
    (("elman", "sigmoid"), (4, 3, 5), 1, "softmax", "fast", {"ids": True}),
    (("elman", "relu"), (2, 9, 1), 2, "linear", "exact", {"scaling": scales(2, 1), "skip": 1}),
]


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0][0]}-{case[0][1]}-{case[4]}")
def test_compiled_without_a_warning_it_gives_the_networks_numbers(case):
    (cell, activation), sizes, layers, output, math, around = case
    model = model_of(network(cell, activation, sizes, layers=layers, output=output), **around)
    text = c_source(model, "my_net", math)
    sizes = (sizes[0], sizes[2], 4 * model.initial().size)
    for command in COMPILERS:
        library = compiled(text, command=(command,))
        make = lambda library=library: Compiled(library, "my_net", sizes)  # noqa: E731
        checked = compare(model, make, 1e-5, amplified=4.2e-7, steps=60)
        assert checked.passed, checked
        assert make().selftest() < 1e-5
    twin = compare(model, lambda: Twin(text), 1e-5, amplified=4.2e-7, steps=60)
    assert twin.passed, twin


@pytest.mark.parametrize("bias", [True, False])
def test_the_twin_reads_every_number_exactly(bias):
    made = network("gru", sizes=(3, 6, 2), bias=bias, layers=2)
    twin = Twin(c_source(model_of(made)))
    for layer, end in ((0, "1"), (1, "2")):
        U, W, b = model_of(made).layer(layer)
        for name, value in (("U", U), ("W", W), ("b", b)):
            np.testing.assert_array_equal(twin._a[f"{name}{end}"], value)


@needs_compiler
@pytest.mark.parametrize("math", ["exact", "fast"])
def test_the_object_asks_for_no_memory_and_no_files(math, tmp_path):
    text = c_source(model_of(network(output="softmax", sizes=(2, 5, 3))), "net", math)
    (tmp_path / "net.c").write_text(text)
    subprocess.run(
        [COMPILERS[0], *STRICT, "-O2", "-c", "net.c"], cwd=tmp_path, check=True
    )  # fmt: skip
    listed = subprocess.run(
        ["nm", "net.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    wanted = {line.split()[-1].lstrip("_") for line in listed if " U " in line}
    assert wanted <= {"expf", "tanhf", "memset", "memcpy", "stack_chk_fail"}
    changing = [line for line in listed if line[17:18] in tuple("bBdDC")]
    assert changing == []


MAIN = r"""
#include "one.c"
#include "two.c"
int main(void)
{
    float x[6] = {0.5f, -1.0f, 2.0f, 0.25f, 1.0f, -3.0f}, y[6], first[6];
    one_state a, b;
    two_state c;
    size_t i;
    one_reset(&a); one_reset(&b); two_reset(&c);
    one_run(&a, x, first, 6);
    for (i = 0; i < 6; i++) {
        float z;
        two_step(&c, x + i, &z);
        one_step(&b, x + i, y + i);
    }
    one_reset(&a);
    one_run(&a, x, x, 6);
    for (i = 0; i < 6; i++)
        if (memcmp(y + i, first + i, sizeof *y) != 0 || memcmp(x + i, y + i, sizeof *y) != 0)
            return 1;
    return one_selftest() < 1e-5f && two_selftest() < 1e-5f ? 0 : 2;
}
"""


@needs_compiler
@pytest.mark.parametrize("command", COMPILERS)
def test_two_networks_in_one_program_run_clean_under_the_sanitizers(command, tmp_path):
    for name, made, math in (
        ("one", network("gru", sizes=(1, 7, 1)), "fast"),
        ("two", network("lstm", sizes=(1, 3, 1), layers=2), "exact"),
    ):
        (tmp_path / f"{name}.c").write_text(c_source(model_of(made), name, math))
    (tmp_path / "main.c").write_text(MAIN)
    sanitizers = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (tmp_path / "empty.c").write_text("int main(void)\n{\n    return 0;\n}\n")
    tried = [command, *sanitizers, "-o", "empty", "empty.c"]
    if subprocess.run(tried, cwd=tmp_path, capture_output=True, check=False).returncode:
        sanitizers = []  # this compiler came without them
    arguments = [command, *STRICT, *sanitizers, "-o", "main", "main.c", "-lm"]
    subprocess.run(arguments, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)


@needs_compiler
def test_it_is_cpp_too(tmp_path):
    text = c_source(model_of(network(output="softmax"), classes=("only",)), "net", "fast")
    (tmp_path / "net.c").write_text(text)
    flags = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-c"]
    subprocess.run([COMPILERS[0], *flags, "net.c"], cwd=tmp_path, check=True)


@needs_compiler
@pytest.mark.parametrize("options", fast_functions.ROUNDINGS, ids=" ".join)
def test_the_fast_functions_are_within_their_stated_errors(options):
    of_tanh, of_sigmoid = fast_functions.worst_errors(options, by=997)  # every 997th float32 number
    assert FAST_TANH_ERROR / 3 < of_tanh <= FAST_TANH_ERROR  # a claim, not a bound
    assert FAST_SIGMOID_ERROR / 3 < of_sigmoid <= FAST_SIGMOID_ERROR


@needs_compiler
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["lstm", "gru", "elman"])
def test_int8_does_bit_for_bit_what_its_twin_does(kind, seed):
    sizes = ((1, 5, 1), (3, 8, 2))[seed]
    output = ("linear", "sigmoid")[seed]
    around = {"skip": 1} if output == "linear" else {"scaling": scales(3, 2)}
    made = network(kind, sizes=sizes, output=output, layers=1 + seed, seed=seed)
    model = model_of(made, **around)
    x = np.random.default_rng(seed).standard_normal((2, 50, sizes[0]))
    text = c_fixed_source(model, quantised(model, x), "net")
    checked = check(model, text.encode(), x, ours=True)
    assert checked.worst == 0
    assert "run" in checked.words
    library = compiled(text)
    player = Compiled(library, "net", (sizes[0], sizes[2], 2 * model.initial().size))
    twin = FixedTwin(read_numbers(text))
    for scale in (1, 1000):  # beyond every range: both hold the largest
        np.testing.assert_array_equal(player.run(x[0] * scale), twin.run(x[0] * scale))
    near = Ours(model).run(x[0])
    twin.reset()
    assert np.abs(twin.run(x[0]) - near).max() < 0.1 * max(1, np.abs(near).max())


def test_int8_says_what_it_costs_and_refuses_relu():
    made = network("gru", sizes=(1, 6, 1))
    model = model_of(made)
    x = np.random.default_rng(2).standard_normal((3, 40, 1)).astype(np.float32)
    y = np.array([Ours(model).run(sequence) for sequence in x])
    text = c_fixed_source(model, quantised(model, x), "net")
    what, before, after = figures(model, text.encode(), x, y)
    assert what == "error-to-signal ratio"
    assert before < 1e-9 < after < 5
    with pytest.raises(bptt.BpttError, match="'relu' has no bound"):
        quantised(model_of(network("elman", "relu")), x)


@pytest.mark.parametrize("name", ["1net", "int", "", "a-b", "x" * 41, 'net";', "ne\nt"])
def test_names_that_c_does_not_allow_are_refused(name):
    with pytest.raises(bptt.BpttError, match="cannot be one in C"):
        c_source(model_of(network()), name)


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    from bptt.exchange import c_format

    right = c_source

    def wrong(model, name, math):  # one weight another
        text = right(model, name, math)
        start = text.index("net_W1")
        place = text.index("0x1.", start) + 4
        return text[:place] + ("9" if text[place] != "9" else "1") + text[place + 1 :]

    monkeypatch.setattr(c_format, "c_source", wrong)
    with pytest.raises(UnverifiedError, match="does not do what the network does"):
        bptt.export(network(), tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []


def test_a_strangers_program_is_read_and_not_run(tmp_path):
    made = network("gru")
    path = tmp_path / "net.c"
    bptt.export(made, path)
    assert check_file(made, path).passed
    text = path.read_text()
    path.write_text(text.replace("h[j] = ", "h[j] = 2.0f * ", 1))
    again = check_file(made, path)
    assert "not run" in again.words
    path.write_text(text.replace("0x1.", "0x1.8", 1))
    assert not check_file(made, path).passed


def test_untied_weights_are_refused():
    made = bptt.Network(inputs=1, outputs=1, hidden=3, tied=False, steps=4, engine="reference")
    with pytest.raises(bptt.BpttError, match="a set of weights for every step"):
        model_of(made)


def test_every_cell_has_c():
    for (cell, activation), math in product(CELLS, ("exact", "fast")):
        text = c_source(model_of(network(cell, activation)), "net", math)
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 110
