"""Lengths become micro-batches, and results come back in the order of the input; pure arithmetic.

Pairs of like length lie together, so that little is padded; the longest go first, so that the last
micro-batches, which workers finish at different times, are the cheap ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pairscore.values import FloatArray, IntArray

__all__ = ["MAX_PADDING", "Plan", "plan", "restore"]

MAX_PADDING: Final = 16
"""Tokens by which a pair may be shorter than the longest of its micro-batch.

Beyond it, padding costs more than the fixed cost of another micro-batch, which is that of about 20 tokens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which pairs run together.

    Attributes:
        batches: positions of the input, each an int64 array of shape (num_pairs,); together they hold
            every position once.
        num_tokens: real tokens of the whole input.
        num_padded_tokens: what the model reads in the end: the sum of longest x count.
    """

    batches: tuple[IntArray, ...]
    num_tokens: int
    num_padded_tokens: int


def plan(lengths: Sequence[int], *, budget: int, max_pairs: int | None = None) -> Plan:
    """Pack positions into micro-batches of at most `budget` padded tokens.

    A pair longer than the budget gets a micro-batch of its own: it is served, never refused.

    Args:
        lengths: tokens of each pair.
        budget: padded tokens of a micro-batch.
        max_pairs: pairs of a micro-batch, if that is limited too.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches: list[IntArray] = []
    start = 0
    # Longest first, so that the pairs not shorter than `longest - MAX_PADDING` are those up to here.
    descending = -sizes[order]
    while start < len(order):
        longest = max(1, -int(descending[start]))
        near = int(np.searchsorted(descending, MAX_PADDING - longest, side="right"))
        count = max(1, min(budget // longest, near - start, max_pairs or len(order)))
        batches.append(order[start : start + count])
        start += count
    padded = sum(int(sizes[batch[0]]) * len(batch) for batch in batches)
    return Plan(batches=tuple(batches), num_tokens=int(sizes.sum()), num_padded_tokens=padded)


def restore(outputs: Iterable[tuple[IntArray, FloatArray]], *, num_pairs: int) -> FloatArray:
    """Put each micro-batch's logits back where its pairs stood in the input.

    Args:
        outputs: positions and their logits, in any order; all with as many labels.
        num_pairs: pairs of the whole input.

    Returns:
        float32, shape (num_pairs,), or (num_pairs, num_labels) where the logits have a second axis.
    """
    parts = list(outputs)
    labels = parts[0][1].shape[1:] if parts else ()
    restored = np.empty((num_pairs, *labels), dtype=np.float32)
    for positions, logits in parts:
        restored[positions] = logits
    return restored
