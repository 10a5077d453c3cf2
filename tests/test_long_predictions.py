"""Forward passes of many samples and steps by the compiled engine: in parts, and in windows."""

from unittest import mock

import numpy as np
import pytest
from regimes import CLOSE, COMPILED, ELMAN, PLAIN, case_of

from bptt.kernels import engine as kernel_engine
from bptt.kernels.engine import CompiledEngine
from bptt.network.reference_engine import ReferenceEngine

REFERENCE = ReferenceEngine()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("readout", ["steps", "last"])
@pytest.mark.parametrize("key", COMPILED, ids="-".join)
def test_long_sequences_are_predicted_in_windows(
    key: tuple[str, str], readout: str, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of so many steps, of which the last window may have fewer; with sequences that end in an
    early one; but not where every step has weights of its own."""
    monkeypatch.setattr(kernel_engine, "AT_ONCE", 1)
    monkeypatch.setattr(kernel_engine, "FEWEST_STEPS", 3)
    for number, (carried, B, layers) in enumerate([(True, 2, 2), (False, 7, 1)]):
        row = {"B": B, "T": 8, "readout": readout, "carried": carried, "tied": tied}
        case = case_of(key, PLAIN | row | {"layers": layers}, number)
        engine = CompiledEngine()
        with mock.patch.object(engine, "_forward", wraps=engine._forward) as walked:
            one, two = (each.forward(case.theta, case.batch) for each in (REFERENCE, engine))
        windows = [call.args[1].x.shape[1] for call in walked.call_args_list]
        assert windows == ([3, 3, 2] if tied else [8])
        counted = np.arange(8) < case.lengths[0][:, None] if readout == "steps" else np.s_[:]
        np.testing.assert_allclose(two.p[counted], one.p[counted], **CLOSE)
        np.testing.assert_allclose(two.o[counted], one.o[counted], **CLOSE)
        np.testing.assert_allclose(two.state, one.state, **CLOSE)
        given = engine.forward(case.theta, case.batch, go_on=False)
        np.testing.assert_array_equal(given.p, two.p)
        assert given.state.shape[2] == 0


def test_many_long_sequences_are_predicted_in_parts_and_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many samples as make whole vectors, and as many steps of these as are wanted at once."""
    case = case_of(ELMAN, PLAIN | {"B": 131, "T": 8, "H": 5}, 4)
    whole = CompiledEngine().forward(case.theta, case.batch)
    monkeypatch.setattr(kernel_engine, "AT_ONCE", 64 * 5 * 4)
    monkeypatch.setattr(kernel_engine, "FEWEST_STEPS", 1)
    engine = CompiledEngine()
    with mock.patch.object(engine, "_forward", wraps=engine._forward) as walked:
        parts = engine.forward(case.theta, case.batch)
    sizes = [call.args[1].x.shape[:2] for call in walked.call_args_list]
    assert sizes == [(64, 4)] * 4 + [(3, 4)] * 2
    counted = np.arange(8) < case.lengths[0][:, None]
    np.testing.assert_allclose(parts.p[counted], whole.p[counted], **CLOSE)
    np.testing.assert_allclose(parts.o[counted], whole.o[counted], **CLOSE)
    np.testing.assert_allclose(parts.state, whole.state, **CLOSE)


def test_a_long_batch_is_predicted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of 64 samples, the fewest, with the three that are left in another regime."""
    monkeypatch.setattr(kernel_engine, "AT_ONCE", 7)
    for readout, carried in (("steps", True), ("last", False)):
        case = case_of(ELMAN, PLAIN | {"B": 131, "readout": readout, "carried": carried}, 2)
        engine = CompiledEngine()
        with mock.patch.object(engine, "_forward", wraps=engine._forward) as walked:
            one, two = (each.forward(case.theta, case.batch) for each in (REFERENCE, engine))
        assert [len(call.args[1]) for call in walked.call_args_list] == [64, 64, 3]
        counted = np.arange(2) < case.lengths[0][:, None] if readout == "steps" else np.s_[:]
        np.testing.assert_allclose(two.p[counted], one.p[counted], **CLOSE)
        np.testing.assert_allclose(two.o[counted], one.o[counted], **CLOSE)
        np.testing.assert_allclose(two.state, one.state, **CLOSE)
