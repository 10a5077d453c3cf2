"""What a stream of answers keeps of a step: nothing."""

import tracemalloc
from typing import Any


def assert_nothing_is_kept_of_a_step(stream: Any, x: Any) -> None:
    """A thousand steps leave nothing behind, and answer in one and the same array."""
    first = stream.step(x)
    for _ in range(100):
        stream.step(x)
    tracemalloc.start()
    try:
        stream.step(x)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(1000):
            y = stream.step(x)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert y is first
    assert after - before < 1000  # the loop's own numbers
    assert peak - before < 2000
