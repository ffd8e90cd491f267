"""A score is the same alone, in any batch and in any order: the real model, the one written tolerance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscore import CrossEncoder

Pairs = list[tuple[str, str]]


@pytest.fixture(scope="module")
def expected(encoder: CrossEncoder, golden_pairs: Pairs) -> np.ndarray[Any, Any]:
    """The scores of all pairs in one call."""
    return encoder.predict(golden_pairs)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_subset_in_any_order_scores_the_same(
    encoder: CrossEncoder,
    golden_pairs: Pairs,
    expected: np.ndarray[Any, Any],
    golden: dict[str, Any],
    data: st.DataObject,
) -> None:
    """Neighbours in the micro-batch, their number and their order change no score."""
    some = data.draw(st.permutations(range(len(golden_pairs))).map(lambda order: order[:6]))
    count = data.draw(st.integers(1, 6))
    batch_size = data.draw(st.none() | st.integers(1, 6))
    chosen = some[:count]

    made = encoder.predict([golden_pairs[i] for i in chosen], batch_size=batch_size)

    assert made == pytest.approx(expected[chosen], abs=golden["invariance_tolerance"])


def test_each_pair_alone_scores_as_in_the_batch(
    encoder: CrossEncoder,
    golden_pairs: Pairs,
    expected: np.ndarray[Any, Any],
    golden: dict[str, Any],
) -> None:
    """One by one, every pair."""
    alone = [float(encoder.predict(pair)) for pair in golden_pairs]

    assert alone == pytest.approx(expected.tolist(), abs=golden["invariance_tolerance"])


@pytest.mark.slow
def test_32_threads_sharing_the_model_get_the_right_answers(
    encoder: CrossEncoder,
    golden_pairs: Pairs,
    expected: np.ndarray[Any, Any],
    golden: dict[str, Any],
) -> None:
    """Each thread asks for other pairs; no answer is another thread's."""
    jobs = [[(7 * k + i) % len(golden_pairs) for i in range(4)] for k in range(32)]
    with ThreadPoolExecutor(32) as pool:
        made = list(pool.map(lambda job: encoder.predict([golden_pairs[i] for i in job]), jobs))

    for job, scores in zip(jobs, made, strict=True):
        assert scores == pytest.approx(expected[job], abs=golden["invariance_tolerance"])


@settings(max_examples=25, deadline=None)
@given(
    query=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    document=st.text(st.characters(exclude_categories=["Cs"]), max_size=120),
)
def test_any_texts_score_finite(encoder: CrossEncoder, query: str, document: str) -> None:
    """Empty, blank, NUL, emoji, right-to-left: whatever can be scored gets a finite score."""
    scores = encoder.score([(query, document)])

    assert np.isfinite(scores.scores).all()
    assert 0 <= scores.probabilities[0] <= 1
