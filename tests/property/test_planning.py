"""The laws of planning, for any lengths."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscore.road.planning import plan, restore

LENGTHS = st.lists(st.integers(0, 600), min_size=1, max_size=200)


@given(lengths=LENGTHS, budget=st.integers(1, 1024), max_pairs=st.none() | st.integers(1, 40))
def test_every_pair_runs_once_within_the_budget(
    lengths: list[int], budget: int, max_pairs: int | None
) -> None:
    """Nothing is lost, nothing runs twice, and only a single pair may exceed the budget."""
    made = plan(lengths, budget=budget, max_pairs=max_pairs)
    seen = sorted(int(i) for batch in made.batches for i in batch)

    assert seen == list(range(len(lengths)))
    for batch in made.batches:
        padded = max(lengths[i] for i in batch) * len(batch)
        assert padded <= budget or len(batch) == 1
        assert max_pairs is None or len(batch) <= max_pairs
    assert made.num_padded_tokens >= made.num_tokens


@given(lengths=LENGTHS, budget=st.integers(1, 1024))
def test_restore_is_the_inverse_of_plan(lengths: list[int], budget: int) -> None:
    """Whatever the order of running, each result lands at its own pair."""
    made = plan(lengths, budget=budget)
    outputs = [(batch, batch.astype(np.float32)) for batch in reversed(made.batches)]

    restored = restore(outputs, num_pairs=len(lengths))

    assert restored.tolist() == list(range(len(lengths)))


@given(lengths=LENGTHS)
def test_lengths_fall_from_batch_to_batch(lengths: list[int]) -> None:
    """The expensive micro-batches go first, so that workers finish together."""
    longest = [max(lengths[i] for i in batch) for batch in plan(lengths, budget=512).batches]

    assert longest == sorted(longest, reverse=True)
