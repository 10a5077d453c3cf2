"""What holds for all tests."""

import signal

import pytest

from bptt.kernels.machine import library

# Whoever runs the tests in the background of a shell, or under nohup, has them started with these
# signals ignored, which commands then respect; the tests that send them expect the usual.
_USUAL = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}  # no SIGHUP on Windows
for _name, _handler in _USUAL.items():
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# Kernels are compiled in the processes of the tests, which are as many as there are processors:
# each process that compiled some for them would begin with Numba, a quarter of the work.
library.MOST_BUILDERS = 0

# Where coverage is measured these are not traced, which would make them half as long again: tests
# of what is compiled, whose lines are seen where Python runs them, with the compiler off
# (`.ci/run coverage`); and tests that go long ways which others go too.
UNTRACED = {
    "test_benchmarks", "test_bidirectional", "test_denormals", "test_disturbance", "test_engines",
    "test_gradients", "test_library", "test_long_predictions", "test_own_equations", "test_regimes",
    "test_side_by_side", "test_simd", "test_skip", "test_unchanged",
    "test_arguments", "test_docs", "test_door", "test_study_processes", "test_study_runs",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not library.COMPILER_OFF:
        for item in items:
            if item.path.stem in UNTRACED:
                item.add_marker("no_cover")
