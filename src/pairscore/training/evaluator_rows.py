"""Rows of training data as one flat list of distinct pairs with labels, as an evaluator scores them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pairscore.training.data import LabelledPair, RankedList, TrainingData, Triplet
from pairscore.training.evaluator_statistics import DoubleArray, GroupArray

__all__ = ["NUM_OTHERS", "Judged", "judged"]

NUM_OTHERS: Final = 19
"""Documents of other queries that a document without a label must beat."""
_MAX_TRIES: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """Pairs with labels.

    Attributes:
        pairs: to be scored; each one once for triplets.
        labels: shape (num_pairs,).
        groups: the number of each pair's query, from 0, shape (num_pairs,).
        couples: of triplets, positions of positive and negative, shape (num_triplets, 2); else shape (0, 2).
    """

    pairs: tuple[tuple[str, str], ...]
    labels: DoubleArray
    groups: GroupArray
    couples: GroupArray

    @property
    def num_queries(self) -> int:
        """How many different first texts there are."""
        return int(self.groups.max()) + 1


def judged(data: TrainingData) -> Judged:
    """Flatten data, at least one row of it.

    A triplet's positive has the label 1 and its negative 0. A pair without a label is a positive, and stands against
    the documents of up to `NUM_OTHERS` other queries, which are drawn with a fixed seed.
    """
    if data.kind == "pairs" and data.labels == "none":
        return _among_others([row for row in data.rows if isinstance(row, LabelledPair)])
    gathered = _Gathered()
    for row in data.rows:
        if isinstance(row, LabelledPair):
            gathered.add(row.query, row.document, row.label)
        elif isinstance(row, RankedList):
            for document, label in zip(row.documents, row.labels, strict=True):
                gathered.add(row.query, document, label)
        else:
            gathered.add_triplet(row)
    return gathered.done()


@dataclass(slots=True)
class _Gathered:
    """Pairs in the making."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)
    queries: dict[str, int] = field(default_factory=dict)
    couples: list[tuple[int, int]] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, query: str, document: str, label: float) -> None:
        self.queries.setdefault(query, len(self.queries))
        self.pairs.append((query, document))
        self.labels.append(label)

    def add_triplet(self, row: Triplet) -> None:
        self.couples.append(
            (self._once(row.query, row.positive, 1.0), self._once(row.query, row.negative, 0.0))
        )

    def _once(self, query: str, document: str, label: float) -> int:
        place = self.places.get((query, document))
        if place is None:
            place = self.places[query, document] = len(self.pairs)
            self.add(query, document, label)
        # What is better than anything once is a positive.
        self.labels[place] = max(self.labels[place], label)
        return place

    def done(self) -> Judged:
        return Judged(
            pairs=tuple(self.pairs),
            labels=np.array(self.labels, dtype=np.float64),
            groups=np.array([self.queries[query] for query, _ in self.pairs], dtype=np.int64),
            couples=np.array(self.couples, dtype=np.int64).reshape(-1, 2),
        )


def _among_others(rows: list[LabelledPair]) -> Judged:
    own: dict[str, dict[str, None]] = {}
    for row in rows:
        own.setdefault(row.query, {})[row.document] = None
    documents = list(dict.fromkeys(row.document for row in rows))
    random = np.random.default_rng(0)
    gathered = _Gathered()
    for query, mine in own.items():
        for document in mine:
            gathered.add(query, document, 1.0)
        for document in _drawn(documents, mine, random):
            gathered.add(query, document, 0.0)
    return gathered.done()


def _drawn(
    documents: list[str], mine: dict[str, None], random: np.random.Generator
) -> Iterator[str]:
    """Some distinct documents that do not belong to a query."""
    wanted = min(NUM_OTHERS, len(documents) - len(mine))
    taken = dict(mine)
    for _ in range(_MAX_TRIES * NUM_OTHERS):
        if len(taken) == len(mine) + wanted:
            return
        document = documents[int(random.integers(len(documents)))]
        if document not in taken:
            taken[document] = None
            yield document
