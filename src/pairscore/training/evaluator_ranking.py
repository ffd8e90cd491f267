"""How well logits rank the documents of each query: nDCG@10 and MRR@10, ties at what they are worth on average.

A tie must not be broken by the order of the file: files often have the right document first, and a model that gives
every pair the same score would look perfect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pairscore.training.evaluator_statistics import DoubleArray, GroupArray, Measure, mean_of

__all__ = ["CUT", "Rankable", "ranking_measures", "ranks_before", "triplet_accuracy"]

CUT: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Rankable:
    """The queries whose documents have at least two different labels; nothing can be ranked wrongly for the others.

    Attributes:
        places: of each such query, the positions of its pairs in the whole list of pairs.
        labels: of all pairs, shape (num_pairs,), the gain of each.
        num_left_out: queries whose documents all have one label.
    """

    places: tuple[GroupArray, ...]
    labels: DoubleArray
    num_left_out: int

    @classmethod
    def of(cls, groups: GroupArray, labels: DoubleArray) -> Rankable:
        """Find them.

        Args:
            groups: the number of each pair's query, shape (num_pairs,), from 0.
            labels: of these pairs.
        """
        order = np.argsort(groups, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
        kept = tuple(part for part in parts if float(np.ptp(labels[part])) > 0.0)
        return cls(kept, labels, len(parts) - len(kept))

    @property
    def num_pairs(self) -> int:
        """Pairs of these queries."""
        return sum(len(part) for part in self.places)


def ranking_measures(scores: DoubleArray, rankable: Rankable) -> dict[str, Measure]:
    """nDCG@10 and MRR@10, a value for each query.

    The label is the gain, as in trec_eval; a document counts for MRR if its label is above 0. Equal scores count what
    they are worth on average over all their orders (F. McSherry and M. Najork, "Computing Information Retrieval
    Performance Measures Efficiently in the Presence of Tied Scores", ECIR 2008).

    Args:
        scores: of all pairs, higher is better, shape (num_pairs,).
        rankable: the queries, at least one.
    """
    queries = np.arange(len(rankable.places))
    blocks = [_Blocks.of(scores[part], rankable.labels[part]) for part in rankable.places]
    return {
        f"ndcg@{CUT}": mean_of(np.array([item.ndcg() for item in blocks]), queries),
        f"mrr@{CUT}": mean_of(np.array([item.reciprocal_rank() for item in blocks]), queries),
    }


def ranks_before(rankable: Rankable) -> DoubleArray | None:
    """Scores that put the documents back into the file's order; None where that order is no ranking.

    A file that has every query's best labels first, or last, was sorted by label: its order is nobody's ranking.
    """
    labels = [rankable.labels[part] for part in rankable.places]
    if _sorted(labels, sign=-1.0) or _sorted(labels, sign=1.0):
        return None
    return -np.arange(len(rankable.labels), dtype=np.float64)


def triplet_accuracy(scores: DoubleArray, couples: GroupArray, groups: GroupArray) -> Measure:
    """The share of triplets whose positive has the higher score; a tie counts half.

    Args:
        scores: of all pairs, shape (num_pairs,).
        couples: positions of positive and negative, shape (num_triplets, 2).
        groups: the number of each triplet's query, shape (num_triplets,).
    """
    apart = scores[couples[:, 0]] - scores[couples[:, 1]]
    return mean_of((np.sign(apart) + 1.0) / 2.0, groups)


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """One query's documents by falling score, with the size, gain and hits of each block of equal scores."""

    sizes: GroupArray
    gains: DoubleArray
    num_hits: GroupArray
    labels: DoubleArray

    @classmethod
    def of(cls, scores: DoubleArray, labels: DoubleArray) -> _Blocks:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        begins = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
        return cls(
            sizes=np.diff(np.append(begins, len(scores))),
            gains=np.add.reduceat(np.maximum(labels[order], 0.0), begins),
            num_hits=np.add.reduceat((labels[order] > 0.0).astype(np.int64), begins),
            labels=labels,
        )

    def ndcg(self) -> float:
        best = -np.sort(-np.maximum(self.labels, 0.0))[:CUT]
        found = np.repeat(self.gains / self.sizes, self.sizes)[:CUT]
        discounts = 1.0 / np.log2(np.arange(2, len(best) + 2))
        ideal = float(best @ discounts)
        return float(found @ discounts) / ideal if ideal else 0.0

    def reciprocal_rank(self) -> float:
        if not self.num_hits.any():
            return 0.0
        first = int(np.flatnonzero(self.num_hits)[0])
        above = int(self.sizes[:first].sum())
        size, num_hits = int(self.sizes[first]), int(self.num_hits[first])
        # The first of the block's hits stands on its k-th place, all orders being equally likely.
        orders = math.comb(size, num_hits)
        return sum(
            math.comb(size - place, num_hits - 1) / orders / (above + place)
            for place in range(1, size - num_hits + 2)
            if above + place <= CUT
        )


def _sorted(labels: Sequence[DoubleArray], *, sign: float) -> bool:
    return all(bool((sign * np.diff(part) >= 0.0).all()) for part in labels)
