"""Several rankings of the same documents become one, by the documents' ranks alone.

Reciprocal rank fusion: a document's score is the sum of 1 / (k + rank) over the rankings that have it, ranks from 1.
Source: G. V. Cormack, C. L. A. Clarke, S. Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
rank learning methods", SIGIR 2009, https://doi.org/10.1145/1571941.1572114; k = 60 is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pairscore.errors import SettingError
from pairscore.retrieval.base import Candidate, Document

__all__ = ["RRF_K", "Fused", "Place", "reciprocal_rank_fusion"]

RRF_K: Final = 60
"""How little the first ranks stand out: the paper's constant, which it found to matter little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one ranking has a document.

    Attributes:
        rank: from 1.
        score: the ranking's own.
    """

    rank: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """One document of a fused ranking.

    Attributes:
        document: as the first ranking that has it gave it.
        score: the sum of its reciprocal ranks.
        sources: its place in each ranking that has it, by the ranking's name.
    """

    document: Document
    score: float
    sources: Mapping[str, Place] = field(hash=False)


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[Candidate]], *, k: int = RRF_K, limit: int | None = None
) -> tuple[Fused, ...]:
    """Join rankings by the documents' ids, best first.

    Of equal scores the document with the better rank in any ranking comes first, then that of the ranking named first.
    A document that one ranking has twice counts there where it stands first.

    Args:
        rankings: each best first, by name.
        k: added to each rank; a larger one brings the first ranks closer to the rest.
        limit: how many of the best to keep; None keeps all.

    Raises:
        SettingError: `k` is below 0, or `limit` below 1.
    """
    if k < 0:
        raise SettingError(f"k is {k}; it must be at least 0, and {RRF_K} is usual")
    if limit is not None and limit < 1:
        raise SettingError(f"limit is {limit}; it must be at least 1, or None for all")
    documents: dict[str, Document] = {}
    places: dict[str, dict[str, Place]] = {}
    for name, candidates in rankings.items():
        for rank, candidate in enumerate(_distinct(candidates), start=1):
            document = documents.setdefault(candidate.document.id, candidate.document)
            places.setdefault(document.id, {})[name] = Place(rank=rank, score=candidate.score)
    fused = [
        Fused(document=document, score=_score(places[key], k), sources=places[key])
        for key, document in documents.items()
    ]
    # Stable, so that what is equal in both keeps the order in which the rankings brought it.
    fused.sort(key=lambda one: (-one.score, min(place.rank for place in one.sources.values())))
    return tuple(fused[:limit])


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.document.id, candidate)
    return list(first.values())


def _score(places: Mapping[str, Place], k: int) -> float:
    # In order of rank, because a sum of floats depends on the order of its terms.
    return sum(1.0 / (k + rank) for rank in sorted(place.rank for place in places.values()))
