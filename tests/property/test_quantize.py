"""What int8 may cost a weight: at most half a step of its own channel or row, and nothing if it was int8 before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pairscore.convert.quantize import (
    FULL_RANGE,
    REDUCED_RANGE,
    byte_table,
    int8_table,
    int8_weight,
    is_on_byte_grid,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
FLOATS = st.floats(-100, 100, width=32).filter(lambda value: value == 0 or abs(value) > 1e-6)
MATRICES = hnp.arrays(np.float32, SHAPES, elements=FLOATS)
REACHES = st.sampled_from([REDUCED_RANGE, FULL_RANGE])


@settings(deadline=None)
@given(MATRICES, REACHES)
def test_a_weight_loses_at_most_half_a_step_of_its_channel(weight: np.ndarray, reach: int) -> None:
    """On average over a channel; and its bytes keep to their range."""
    found = int8_weight(weight, reach=reach)
    restored = (found.values * found.scales).T
    half_steps = np.abs(weight).max(axis=1) / reach / 2

    assert np.abs(found.values.astype(int)).max() <= reach
    assert found.values.shape == weight.T.shape
    errors = ((restored.astype(np.float64) - weight) ** 2).mean(axis=1)
    assert (errors <= half_steps**2 * 1.001 + 1e-12).all()


@settings(deadline=None)
@given(hnp.arrays(np.int8, SHAPES, elements=st.integers(-63, 63)), st.floats(0.001, 10))
def test_a_weight_that_was_int8_before_loses_nothing(values: np.ndarray, step: float) -> None:
    """A grid that fits into the range is kept, whichever of its bytes are in use."""
    values[0, 0] = 1
    weight = (values * np.float32(step)).astype(np.float32)
    found = int8_weight(weight)

    np.testing.assert_allclose((found.values * found.scales).T, weight, rtol=1e-5)


@settings(deadline=None)
@given(hnp.arrays(np.uint8, SHAPES), st.floats(0.001, 10), st.integers(0, 255))
def test_a_table_that_was_bytes_before_comes_back(
    values: np.ndarray, scale: float, zero_point: int
) -> None:
    """One scale for all of it is enough, if it uses the whole range as ONNX Runtime's quantization does."""
    values.flat[0], values.flat[-1] = 0, 255
    table = ((values.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
    found = byte_table(table)

    # A table of one column and row cannot hold both ends.
    if values.size > 1:
        assert is_on_byte_grid(table, found)
        np.testing.assert_array_equal(found.values, values)


@settings(deadline=None)
@given(MATRICES)
def test_a_row_of_a_table_loses_at_most_half_a_step_of_its_own(table: np.ndarray) -> None:
    """One odd token harms no other."""
    found = int8_table(table)
    half_steps = np.abs(table).max(axis=1, keepdims=True) / 127 / 2

    assert (np.abs(found.values * found.scales - table) <= half_steps * 1.001 + 1e-6).all()


def test_a_table_of_zeros_stays_one() -> None:
    """Nothing is divided by its range, which is zero."""
    table = np.zeros((3, 4), np.float32)

    assert byte_table(table).values.max() == 0
    assert not int8_table(table).values.any()
    assert not int8_weight(table).values.any()


def test_a_random_table_is_on_no_grid() -> None:
    """Weights that were never bytes are not taken for bytes."""
    table = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)

    assert not is_on_byte_grid(table, byte_table(table))
