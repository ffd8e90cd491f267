"""Correlations of lists in which each pair counts several times, as a bootstrap needs them ten thousand times over.

A sample is how often each pair was drawn. So nothing is copied, and nothing is sorted again: the ranks of a sample are
sums of its counts in the order of the whole list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK", "Correlation", "sampled_correlations", "weighted_correlations"]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
Correlation: TypeAlias = Literal["spearman", "pearson", "auc"]
"""``auc`` is the rank correlation for two grades: how probably a pair of the higher one has the higher score."""

CHUNK: Final = 2_000_000
"""Numbers that lie in memory at once: 16 MB of float64."""


def sampled_correlations(
    lists: Sequence[DoubleArray],
    grades: DoubleArray,
    *,
    kind: Correlation,
    num_resamples: int,
    seed: int,
) -> list[DoubleArray]:
    """The correlation of each list with the grades in the same samples, each of shape (num_resamples,).

    A sample is how often each pair was drawn, so nothing is copied or sorted again. A sample in which a list is
    constant has no correlation, and is left out for all lists.
    """
    random, num_pairs = np.random.default_rng(seed), len(grades)
    block = max(1, CHUNK // num_pairs)
    parts: list[list[DoubleArray]] = [[] for _ in lists]
    for start in range(0, num_resamples, block):
        drawn = random.integers(0, num_pairs, size=(min(block, num_resamples - start), num_pairs))
        weights = _counts(drawn, num_pairs)
        for part, scores in zip(parts, lists, strict=True):
            part.append(np.atleast_1d(weighted_correlations(scores, grades, weights, kind=kind)))
    samples = np.stack([np.concatenate(part) for part in parts])
    return list(samples[:, np.isfinite(samples).all(axis=0)])


def _counts(drawn: npt.NDArray[np.int64], num_pairs: int) -> DoubleArray:
    rows = np.arange(len(drawn))[:, np.newaxis] * num_pairs
    counts = np.bincount((drawn + rows).ravel(), minlength=drawn.size)
    return counts.reshape(len(drawn), num_pairs).astype(np.float64)


def weighted_correlations(
    scores: DoubleArray, grades: DoubleArray, weights: DoubleArray, *, kind: Correlation
) -> DoubleArray:
    """Correlations of a list in which each pair stands as often as a row of the weights says."""
    if kind == "auc":
        return _areas(scores, grades, weights)
    if kind == "pearson":
        x, y = np.broadcast_to(scores, weights.shape), np.broadcast_to(grades, weights.shape)
    else:
        x, y = _ranks(scores, weights), _ranks(grades, weights)
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    both = (weights * x * y).sum(axis=1)
    alone = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    found: DoubleArray = np.divide(both, alone, out=np.full_like(both, np.nan), where=alone > 0.0)
    return found


def _areas(scores: DoubleArray, grades: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """Areas under the ROC curve, by Mann and Whitney's count; NaN where a sample has pairs of one kind only."""
    upper = weights * (grades > grades.min())
    num_upper = upper.sum(axis=1)
    num_couples = num_upper * (weights.sum(axis=1) - num_upper)
    wins = (upper * _ranks(scores, weights)).sum(axis=1) - num_upper**2 / 2.0
    found: DoubleArray = np.divide(
        wins, num_couples, out=np.full_like(wins, np.nan), where=num_couples > 0.0
    )
    return found


def _ranks(values: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """Mean ranks, less a half, of values that stand as often as their weights say; equal values share theirs."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    heights = np.add.reduceat(weights[:, order], begins, axis=1)
    ranks = np.cumsum(heights, axis=1) - heights / 2.0
    return ranks[:, np.searchsorted(ordered[begins], values)]
