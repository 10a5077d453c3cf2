"""Damaged files of every format are refused in one line, and nothing of them is run."""

import os

import pytest
from exchange_mutations import run

# 2,000 of them, with Keras's and PyTorch's own files too: python tests/exchange_mutations.py
NUMBER = 300


@pytest.mark.skipif(os.name == "nt", reason="the limit of memory is POSIX's")
def test_damaged_files_are_refused_in_one_line():
    answer = run(NUMBER)
    assert answer["found"] == []
    assert answer["counts"]["refused"] > NUMBER / 2
    assert answer["counts"]["right"] > NUMBER / 50  # or they were not opened at all
    assert len(answer["formats"]) >= 8
