"""The laws of blending, for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.errors import SettingError
from pairscore.retrieval.blending import blended, check_blend

# Whole numbers, so that rounding makes no ties of its own.
SCORES = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), max_size=20).map(
    lambda rows: np.float64(rows).reshape(-1, 2).T
)
WEIGHTS = st.floats(0.0, 1.0)


def _order(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


@given(scores=SCORES)
def test_the_ends_are_the_orders_themselves(scores: np.ndarray) -> None:
    """0 is the cross-encoder's order, 1 the first stage's; equal scores stay equal."""
    first, second = scores

    assert _order(blended(first, second, blend=0.0)) == _order(second)
    assert _order(blended(first, second, blend=1.0)) == _order(first)


@given(scores=SCORES, blend=WEIGHTS)
def test_where_both_agree_so_does_the_blend(scores: np.ndarray, blend: float) -> None:
    """Two candidates that both put in one order are in that order, and nothing is NaN."""
    first, second = scores
    found = blended(first, second, blend=blend)

    assert np.isfinite(found).all()
    for high in range(len(found)):
        for low in range(len(found)):
            if first[high] >= first[low] and second[high] >= second[low]:
                assert found[high] >= found[low]


@given(
    rows=st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=9),
    factor=st.integers(1, 100),
    shift=st.integers(-100, 100),
    blend=WEIGHTS,
)
def test_no_unit_matters(
    rows: list[tuple[int, int]], factor: int, shift: int, blend: float
) -> None:
    """A BM25 in another unit, or with a constant added, gives the same."""
    first, second = np.float64(rows).T
    found = blended(first, second, blend=blend)

    assert blended(first * factor + shift, second, blend=blend) == pytest.approx(found, abs=1e-9)


def test_what_says_nothing_changes_nothing() -> None:
    """One candidate, none, or a source that gives all the same."""
    assert blended([], [], blend=0.5).tolist() == []
    assert blended([3.0], [4.0], blend=0.5).tolist() == [0.0]
    assert _order(blended([1.0, 1.0, 1.0], [2.0, 9.0, 5.0], blend=0.9)) == [1, 2, 0]


@pytest.mark.parametrize("blend", [-0.1, 1.1, float("nan"), True])
def test_a_weight_is_between_0_and_1(blend: float) -> None:
    """Anything else is refused, by the name that the caller knows."""
    with pytest.raises(SettingError, match=r"--blend is .* between 0"):
        check_blend(blend, name="--blend")
