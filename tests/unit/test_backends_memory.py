"""Out of memory: the library halves a micro-batch, goes on, and does not try the larger one again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.errors import OutOfMemoryError
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.halving import Halving
from pairscore.values import FloatArray

# Pairs of like length, so that many share a micro-batch.
PAIRS = [("how do plants make food", f"plants make food from light {i}") for i in range(60)]


@pytest.fixture
def backend() -> FakeBackend:
    """One whose memory holds 100 padded tokens, of the 512 that a micro-batch has."""
    return FakeBackend(max_tokens=100)


@pytest.fixture
def model(backend: FakeBackend) -> Iterator[CrossEncoder]:
    """The library on it; one worker, so that the order of runs is the plan's."""
    with CrossEncoder(backend=backend, num_workers=1) as made:
        yield made


def _sizes(backend: FakeBackend) -> list[int]:
    return [num_pairs * longest for num_pairs, longest, _ in backend.batches]


def test_the_scores_are_those_of_a_machine_with_memory(model: CrossEncoder) -> None:
    """Nothing is lost, doubled or moved by the halves."""
    with CrossEncoder(backend=FakeBackend()) as large:
        assert model.predict(PAIRS).tolist() == large.predict(PAIRS).tolist()


def test_what_did_not_fit_is_not_tried_again(model: CrossEncoder, backend: FakeBackend) -> None:
    """Some micro-batches fail until one fits; from then on none does, in later calls neither."""
    model.predict(PAIRS)
    num_failed = sum(size > 100 for size in _sizes(backend))
    backend.batches.clear()
    model.predict(PAIRS)

    assert 1 <= num_failed <= 4
    assert max(_sizes(backend)) <= 100


def test_several_labels_keep_their_columns() -> None:
    """Halves are joined by pairs."""

    class Road:
        def run(self, encoded: Any, positions: Any) -> FloatArray:
            if len(positions) > 3:
                raise OutOfMemoryError("too much")
            return np.stack([positions, positions + 1], axis=1).astype(np.float32)

    class Pair:
        num_tokens = 5

    road: Any = Road()
    positions = np.array([4, 9, 1, 0, 7, 2, 3])
    encoded: Any = [Pair()] * 10

    assert Halving(road).run(encoded, positions)[:, 0].tolist() == positions.tolist()


def test_a_single_pair_that_does_not_fit(backend: FakeBackend, model: CrossEncoder) -> None:
    """There is nothing to halve; the message names what helps."""
    backend.max_tokens = 3

    with pytest.raises(OutOfMemoryError, match=r"single pair of \d+ tokens; lower max_length"):
        model.predict(PAIRS)


def test_a_memory_error_of_pythons_own(model: CrossEncoder, backend: FakeBackend) -> None:
    """The library numpy and user-made backends raise that; for a single pair it becomes ours."""
    backend.error = MemoryError()

    with pytest.raises(OutOfMemoryError, match="single pair"):
        model.predict(PAIRS[:4])
