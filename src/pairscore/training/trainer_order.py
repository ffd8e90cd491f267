"""The order in which rows are read: a function of seed and epoch alone, so that a resumed run reads the same.

sentence-transformers' default sampler seeds its generator once a run, and a run that is resumed in its second epoch
would read the first one's order again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

import numpy as np

__all__ = ["Texts", "batches_of", "distinct_texts"]

Texts: TypeAlias = Sequence[frozenset[Hashable]]
"""Of each row, the texts that no other row of its batch should have."""

# How many batches' worth of rows are looked through for one that may stand in this batch.
_REACH: Final = 20
# Batches whose rows are sorted by length together: enough that a batch needs little padding, few enough that a batch is
# still drawn by chance.
_WINDOW: Final = 20


def batches_of(  # noqa: PLR0913 - all that an order depends on
    num_rows: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    apart: Texts | None = None,
    lengths: Sequence[int] | None = None,
) -> list[list[int]]:
    """The batches of an epoch: every row once, the last batch may be smaller.

    Args:
        num_rows: of the data.
        batch_size: rows a batch.
        seed: of the run.
        epoch: its number, from 0.
        apart: rows that share a text get into different batches where that is possible; where documents of other
            rows serve as wrong ones, a right one would be among them otherwise.
        lengths: of the rows; with them, rows of like length share a batch, so that less of it is padding. Not read
            where `apart` is given.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(num_rows).tolist()
    if apart is None and lengths is not None:
        return _by_length(order, lengths, batch_size, rng)
    if apart is None:
        return [order[start : start + batch_size] for start in range(0, num_rows, batch_size)]
    waiting = deque(order)
    batches = []
    while waiting:
        batches.append(_next_batch(waiting, batch_size, apart))
    return batches


def _by_length(
    order: list[int], lengths: Sequence[int], batch_size: int, rng: np.random.Generator
) -> list[list[int]]:
    """Batches of like rows, in an order by chance; the smaller one, if there is one, stays the last."""
    window = _WINDOW * batch_size
    alike = [
        row
        for start in range(0, len(order), window)
        for row in sorted(order[start : start + window], key=lengths.__getitem__)
    ]
    batches = [alike[start : start + batch_size] for start in range(0, len(alike), batch_size)]
    num_whole = len(alike) // batch_size
    return [batches[place] for place in rng.permutation(num_whole)] + batches[num_whole:]


def distinct_texts(columns: Sequence[Sequence[Hashable]]) -> Texts:
    """The texts of each row, from columns of texts."""
    return [frozenset(row) for row in zip(*columns, strict=True)]


def _next_batch(waiting: deque[int], batch_size: int, apart: Texts) -> list[int]:
    """Take rows that share no text from the front; if there are too few within reach, the first of the others."""
    batch: list[int] = []
    passed: list[int] = []
    seen: set[Hashable] = set()
    while waiting and len(batch) < batch_size and len(passed) < _REACH * batch_size:
        row = waiting.popleft()
        if seen.isdisjoint(apart[row]):
            seen |= apart[row]
            batch.append(row)
        else:
            passed.append(row)
    num_missing = batch_size - len(batch)
    batch += passed[:num_missing]
    waiting.extendleft(reversed(passed[num_missing:]))
    return batch
