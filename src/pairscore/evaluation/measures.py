"""How alike two lists of scores are, and how good a ranking is: correlations, overlap, flips, nDCG.

scipy's `spearmanr` and `pearsonr` do the correlations; the others are a few lines each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "CUT",
    "Flips",
    "flipped_neighbours",
    "mean_and_error",
    "ndcg",
    "pearson",
    "ranked",
    "spearman",
    "top_overlap",
]

Floats: TypeAlias = npt.NDArray[np.floating]

CUT = 10
"""Ranks that count, where nothing else is said."""


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's correlation of two lists; equal values share their mean rank.

    Args:
        first: shape (num_values,).
        second: shape (num_values,).

    Returns:
        -1 to 1; NaN where one list is constant, or has fewer than two values, and so has no order.
    """
    # Here, because scipy takes half a second to import and belongs to an extra.
    from scipy.stats import spearmanr

    if not (_varies(first) and _varies(second)):
        return math.nan
    return float(spearmanr(first, second).statistic)


def pearson(first: Floats, second: Floats) -> float:
    """Pearson's correlation of two lists: how well a straight line maps one onto the other.

    Args:
        first: shape (num_values,).
        second: shape (num_values,).

    Returns:
        -1 to 1; NaN where one list is constant, or has fewer than two values.
    """
    if not (_varies(first) and _varies(second)):
        return math.nan
    # In float64 by numpy, because scipy's warns where float32 values lie close together.
    return float(np.corrcoef(first.astype(np.float64), second.astype(np.float64))[0, 1])


def ranked(scores: Floats) -> npt.NDArray[np.intp]:
    """Positions from the highest score to the lowest; equal scores keep the order of the input."""
    return np.argsort(-scores.astype(np.float64), kind="stable")


def top_overlap(reference: Floats, other: Floats, *, cut: int = CUT) -> float:
    """The share of the reference's best `cut` candidates that are among the other's best `cut`.

    Args:
        reference: scores of one query's candidates, shape (num_candidates,), more than `cut` of them.
        other: the other scores of the same candidates.
        cut: how many count as best.
    """
    best = set(ranked(reference)[:cut].tolist())
    return len(best & set(ranked(other)[:cut].tolist())) / len(best)


@dataclass(frozen=True, slots=True)
class Flips:
    """Neighbours in the reference's order that are far enough apart to matter.

    Attributes:
        num_flipped: how many of them stand the other way round in the other order, or tie there.
        num_neighbours: how many there are.
    """

    num_flipped: int
    num_neighbours: int

    def __add__(self, other: Flips) -> Flips:
        return Flips(
            self.num_flipped + other.num_flipped, self.num_neighbours + other.num_neighbours
        )


def flipped_neighbours(reference: Floats, other: Floats, *, margin: float, cut: int = CUT) -> Flips:
    """Count neighbours in the reference's order that another order swaps.

    Counted are the couples of ranks (1, 2) to (cut, cut + 1) whose scores differ by more than `margin`: to
    swap two candidates that the reference itself can hardly tell apart does no harm.

    Args:
        reference: scores of one query's candidates, shape (num_candidates,).
        other: the other scores of the same candidates.
        margin: in units of the scores.
        cut: the rank of the last upper neighbour.
    """
    order = ranked(reference)[: cut + 1]
    gaps = -np.diff(reference.astype(np.float64)[order])
    matter = gaps > margin
    flipped = -np.diff(other.astype(np.float64)[order]) <= 0
    return Flips(int((matter & flipped).sum()), int(matter.sum()))


def ndcg(ordered: Sequence[int], judged: Sequence[int], *, cut: int = CUT) -> float:
    """Normalised discounted cumulative gain, as trec_eval has it: the grade is the gain.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002.

    Args:
        ordered: grades of the ranked documents, best rank first; 0 for the unjudged.
        judged: grades of all judged documents of the query, ranked or not: the ideal knows them all.
        cut: ranks that count.
    """
    ideal = _dcg(sorted(judged, reverse=True)[:cut])
    return _dcg(ordered[:cut]) / ideal if ideal else 0.0


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some values and its standard error; the error of a single value is NaN."""
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(np.mean(values)), error


def _dcg(grades: Sequence[int]) -> float:
    return sum(max(grade, 0) / math.log2(rank + 2) for rank, grade in enumerate(grades))


def _varies(values: Floats) -> bool:
    return len(values) > 1 and float(np.ptp(values)) > 0.0
