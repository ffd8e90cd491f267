"""A vector is the same alone, in any batch and in any order: the bundled bi-encoder, one tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscore import BiEncoder

# Of each of a vector's numbers, whose squares sum up to 1; what the order of sums may change is a tenth of it.
TOLERANCE = 1e-5

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def bi_encoder() -> Iterator[BiEncoder]:
    """The bundled model."""
    with BiEncoder() as model:
        yield model


@pytest.fixture(scope="module")
def texts(golden_pairs: list[tuple[str, str]]) -> list[str]:
    """The texts of the stored pairs, short and long, an empty one among them."""
    return list(dict.fromkeys(text for pair in golden_pairs for text in pair))


@pytest.fixture(scope="module")
def expected(bi_encoder: BiEncoder, texts: list[str]) -> Array:
    """The vectors of all texts in one call."""
    return bi_encoder.encode(texts)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_subset_in_any_order_has_the_same_vectors(
    bi_encoder: BiEncoder, texts: list[str], expected: Array, data: st.DataObject
) -> None:
    """Neighbours in the micro-batch, their number, their order and repetitions change nothing."""
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=6))
    batch_size = data.draw(st.none() | st.integers(1, 6))

    made = bi_encoder.encode([texts[i] for i in chosen], batch_size=batch_size)

    assert made == pytest.approx(expected[chosen], abs=TOLERANCE)


def test_each_text_alone_has_the_vector_of_the_batch(
    bi_encoder: BiEncoder, texts: list[str], expected: Array
) -> None:
    """One by one, every text."""
    alone = np.stack([bi_encoder.encode(text) for text in texts])

    assert alone == pytest.approx(expected, abs=TOLERANCE)


def test_threads_sharing_the_model_get_their_own_vectors(
    bi_encoder: BiEncoder, texts: list[str], expected: Array
) -> None:
    """Each asks for other texts; no answer is another thread's."""
    jobs = [[(7 * k + i) % len(texts) for i in range(3)] for k in range(24)]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda job: bi_encoder.encode([texts[i] for i in job]), jobs))

    for job, vectors in zip(jobs, made, strict=True):
        assert vectors == pytest.approx(expected[job], abs=TOLERANCE)


@settings(max_examples=25, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_text_has_a_finite_vector_of_length_one(bi_encoder: BiEncoder, text: str) -> None:
    """Empty, blank, NUL, emoji, right-to-left: whatever can be read gets a direction."""
    vector = bi_encoder.encode(text)

    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
