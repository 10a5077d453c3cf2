"""Not a bit changed: thirty short trainings leave behind what they did when the last change was
made that was meant to change numbers (tests/unchanged.py, tests/data/unchanged.json)."""

import json

import pytest
from unchanged import DATA, NAMES, digest_of, processor_kind

from bptt.kernels.machine.vectors import COMPILER_OFF

KEPT = json.loads(DATA.read_text())
KIND = processor_kind()


def test_digests_are_of_all_trainings() -> None:
    """And of no two the same, so that none can stand for another."""
    for kind, digests in KEPT.items():
        assert set(digests) == set(NAMES), kind
        assert len(set(digests.values())) == len(NAMES), kind


@pytest.mark.skipif(COMPILER_OFF, reason="the compiler is off")
@pytest.mark.skipif(KIND not in KEPT, reason=f"no digests were kept for: {KIND}")
@pytest.mark.parametrize("name", NAMES)
def test_not_a_bit_changed(name: str) -> None:
    assert digest_of(name) == KEPT[KIND][name]
