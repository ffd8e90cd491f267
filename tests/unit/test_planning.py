"""Planning by example; `property/test_planning.py` has the laws."""

from __future__ import annotations

import numpy as np

from pairscore.road.planning import MAX_PADDING, plan, restore


def test_longest_first_and_packed_by_padded_tokens() -> None:
    """Neighbours of like length share a micro-batch, up to the budget."""
    made = plan([10, 100, 12, 98, 11], budget=200)

    assert [batch.tolist() for batch in made.batches] == [[1, 3], [2, 4, 0]]
    assert made.num_tokens == 231
    assert made.num_padded_tokens == 200 + 36


def test_a_much_shorter_pair_is_not_padded() -> None:
    """A micro-batch ends where the next pair would be padded by more than it costs to begin a new one."""
    made = plan([100, 100 - MAX_PADDING, 99 - MAX_PADDING], budget=1000)

    assert [batch.tolist() for batch in made.batches] == [[0, 1], [2]]


def test_a_pair_over_the_budget_runs_alone() -> None:
    """One over-long pair is served, not refused."""
    made = plan([700, 5], budget=512)

    assert [batch.tolist() for batch in made.batches] == [[0], [1]]


def test_max_pairs_caps_a_micro_batch() -> None:
    """A caller's batch_size is an upper limit on top of the budget."""
    assert [len(batch) for batch in plan([1] * 5, budget=512, max_pairs=2).batches] == [2, 2, 1]


def test_restore_undoes_the_sorting() -> None:
    """Logits come back where their pairs stood."""
    outputs = [(np.array([2, 0]), np.float32([2.5, 0.5])), (np.array([1]), np.float32([1.5]))]

    assert restore(outputs, num_pairs=3).tolist() == [0.5, 1.5, 2.5]
