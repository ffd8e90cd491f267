"""What a search gives: hits in order, each with the scale of its score, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from pairscore.retrieval.base import Document
from pairscore.retrieval.fusion import Fused, Place

__all__ = [
    "MODES",
    "HitScale",
    "Retrieved",
    "SearchHit",
    "SearchMode",
    "SearchResult",
    "Timings",
]

SearchMode: TypeAlias = Literal["hybrid", "dense", "bm25"]
"""How candidates are found: by vectors, by words, or by both, fused."""
HitScale: TypeAlias = Literal["logit", "unit", "cosine", "bm25", "rrf"]
"""What a hit's score means: the first two are the cross-encoder's, the others the first stage's."""

MODES: Final[Mapping[SearchMode, HitScale]] = {"hybrid": "rrf", "dense": "cosine", "bm25": "bm25"}
"""Each way to find candidates, the best first, with the scale of its scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Where the milliseconds of one search went, by the wall clock; 0 for what was not done.

    Vectors and words are looked up at the same time, so the parts may be more than the whole.

    Attributes:
        encode: the query's vector.
        dense: looking up vectors.
        words: looking up words.
        fuse: joining both.
        rerank: the cross-encoder.
        total: from the call to its answer.
    """

    encode: float = 0.0
    dense: float = 0.0
    words: float = 0.0
    fuse: float = 0.0
    rerank: float = 0.0
    total: float = 0.0

    @property
    def retrieve(self) -> float:
        """The longer of both look-ups, which run at the same time."""
        return max(self.dense, self.words)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """What the first stage found.

    Attributes:
        candidates: best first; of one source with that source's score.
        mode: how they were found.
        timings: `rerank` is 0, `total` is that of the first stage.
    """

    candidates: tuple[Fused, ...]
    mode: SearchMode
    timings: Timings

    @property
    def scale(self) -> HitScale:
        """What the candidates' scores mean."""
        return MODES[self.mode]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHit:
    """One document that was found.

    Attributes:
        document: what was found.
        score: on `scale`; scores of different scales cannot be compared.
        scale: ``logit`` or ``unit`` for a hit that the cross-encoder read, else the first stage's.
        reranked: whether the cross-encoder read it.
        rank_before: its rank in the first stage, from 1.
        retrieval_score: the first stage's score.
        sources: its rank and score in each ranking of the first stage, ``dense`` and ``bm25``.
        probability: of a reranked hit, from 0 to 1; else None.
        truncated: whether the cross-encoder read a part only; None if it read nothing.
    """

    document: Document
    score: float
    scale: HitScale
    reranked: bool
    rank_before: int
    retrieval_score: float
    sources: Mapping[str, Place] = field(hash=False)
    probability: float | None = None
    truncated: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The answer to one search.

    Attributes:
        hits: best first: what the cross-encoder read in its order, or in a blend of both, then the rest in the first
            stage's.
        timings: where the time went.
        mode: how candidates were found.
        num_candidates: documents that the first stage found.
        num_reranked: those that the cross-encoder read.
        num_truncated: those of which it read a part only.
        partial: whether time ran out before it had read all that it was to read.
        model: the cross-encoder's name; None if there was none.
        blend: how much the first stage's scores counted in the order of what the cross-encoder read.
    """

    hits: tuple[SearchHit, ...]
    timings: Timings
    mode: SearchMode
    num_candidates: int
    num_reranked: int = 0
    num_truncated: int = 0
    partial: bool = False
    model: str | None = None
    blend: float = 0.0

    def __len__(self) -> int:
        return len(self.hits)
