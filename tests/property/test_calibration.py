"""Calibrated probabilities, whatever the curve and the logits: from 0 to 1, and in the logits' order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.calibrations import a_calibration

from pairscore.models.calibration import Curve, IsotonicCurve, PlattCurve

_LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30)


@st.composite
def _lines(draw: st.DrawFn) -> IsotonicCurve:
    points = draw(st.lists(st.floats(-50, 50), min_size=1, max_size=12, unique=True))
    heights = st.lists(st.floats(0, 1), min_size=len(points), max_size=len(points))
    # Zero has two signs and one place.
    logits = sorted({point + 0.0 for point in points})
    return IsotonicCurve(
        logits=tuple(logits), probabilities=tuple(sorted(draw(heights))[: len(logits)])
    )


_PLATTS = st.builds(PlattCurve, slope=st.floats(1e-3, 1e3), intercept=st.floats(-1e3, 1e3))


@given(_LOGITS, st.one_of(_PLATTS, _lines()))
def test_probabilities_keep_the_order_and_the_range(logits: list[float], curve: Curve) -> None:
    """A higher logit is never less likely; nothing leaves 0 to 1 or is no number."""
    ordered = np.sort(np.asarray(logits, dtype=np.float32))
    found = a_calibration(curve).probabilities(ordered)

    assert found.dtype == np.float32
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found) >= 0.0).all()


@given(_LOGITS, st.one_of(_PLATTS, _lines()))
def test_a_probability_is_the_same_alone_and_in_company(logits: list[float], curve: Curve) -> None:
    """To the bit, in any batch."""
    calibration = a_calibration(curve)
    array = np.asarray(logits, dtype=np.float32)
    alone = [float(calibration.probabilities(array[i : i + 1])[0]) for i in range(len(array))]

    assert calibration.probabilities(array).tolist() == alone
