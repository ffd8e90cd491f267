"""How close a converted bi-encoder's vectors are to the reference's, on the same texts; pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.convert.parity_texts import ParityTexts
from pairscore.evaluation.measures import CUT, spearman
from pairscore.values import FloatArray

__all__ = ["DistinctTexts", "VectorParity", "distinct_texts", "pair_similarities", "vector_parity"]

_Floats: TypeAlias = npt.NDArray[np.float64]
# Of more texts the similarities of each with each would fill the memory.
_MAX_COMPARED: Final = 2000
_MIN_FOR_NEIGHBOURS: Final = 4
_MIN_FOR_ORDER: Final = 3
_WORST_HUNDREDTH: Final = 1.0
_TINY: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class DistinctTexts:
    """What a bi-encoder reads of some pairs: each text once.

    Attributes:
        texts: queries and documents, each with its prompt before it.
        queries: of each pair, the position of its query in `texts`, shape (num_pairs,).
        documents: of each pair, the position of its document, shape (num_pairs,).
    """

    texts: tuple[str, ...]
    queries: npt.NDArray[np.intp]
    documents: npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorParity:
    """What two models' vectors have in common. None stands for what so few texts cannot show.

    Attributes:
        num_texts: texts of which both made a vector.
        dimension: numbers in a vector.
        cosine: of a text's two vectors, mean over the texts.
        p1_cosine: 99 of 100 texts have at least this.
        worst_cosine: the least of any text.
        num_compared: texts that were compared with each other: all, or as many as fit, evenly spread.
        spearman: correlation of the two orders of all their similarities, each text with each other; NaN where
            one side finds all alike.
        mean_difference: mean absolute difference of those similarities.
        largest_difference: the largest.
        neighbours: share of a text's ten nearest neighbours that are among the other's ten, mean over texts; of
            fewer than twenty others the nearer half counts.
        worst_neighbours: the same of the worst text.
    """

    num_texts: int
    dimension: int
    cosine: float
    p1_cosine: float
    worst_cosine: float
    num_compared: int
    spearman: float | None = None
    mean_difference: float | None = None
    largest_difference: float | None = None
    neighbours: float | None = None
    worst_neighbours: float | None = None


def distinct_texts(
    texts: ParityTexts, *, query_prompt: str = "", document_prompt: str = ""
) -> DistinctTexts:
    """The texts of some pairs, each once, in the order in which they come.

    Args:
        texts: the pairs.
        query_prompt: put before each query.
        document_prompt: put before each document.
    """
    places: dict[str, int] = {}
    queries, documents = [], []
    for query, document in texts.pairs:
        queries.append(places.setdefault(query_prompt + query, len(places)))
        documents.append(places.setdefault(document_prompt + document, len(places)))
    return DistinctTexts(
        texts=tuple(places),
        queries=np.asarray(queries, dtype=np.intp),
        documents=np.asarray(documents, dtype=np.intp),
    )


def pair_similarities(
    texts: DistinctTexts, vectors: FloatArray, *, similarity: Literal["cosine", "dot"]
) -> FloatArray:
    """How similar the two texts of each pair are, shape (num_pairs,), float32.

    Args:
        texts: the pairs, by positions.
        vectors: of `texts.texts`, shape (num_texts, dimension).
        similarity: as the model says.
    """
    rows = vectors.astype(np.float64) if similarity == "dot" else _of_length_one(vectors)
    products: _Floats = (rows[texts.queries] * rows[texts.documents]).sum(axis=1)
    return products.astype(np.float32)


def vector_parity(reference: FloatArray, converted: FloatArray) -> VectorParity:
    """Compare two models' vectors of the same texts, by direction.

    Args:
        reference: float32, shape (num_texts, dimension).
        converted: the other vectors, of the same shape.

    Raises:
        ValueError: the shapes differ, or there is no vector.
    """
    if reference.shape != converted.shape or not len(reference):
        raise ValueError(f"vectors have the shapes {reference.shape} and {converted.shape}")
    first, second = _of_length_one(reference), _of_length_one(converted)
    cosines: _Floats = (first * second).sum(axis=1)
    chosen = _evenly(len(first), _MAX_COMPARED)
    found = _Compared.of(first[chosen], second[chosen])
    return VectorParity(
        num_texts=len(first),
        dimension=first.shape[1],
        cosine=float(cosines.mean()),
        p1_cosine=float(np.percentile(cosines, _WORST_HUNDREDTH)),
        worst_cosine=float(cosines.min()),
        num_compared=len(chosen),
        spearman=found.spearman(),
        mean_difference=found.mean_difference(),
        largest_difference=found.largest_difference(),
        neighbours=_mean(overlaps := found.overlaps()),
        worst_neighbours=min(overlaps, default=None),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    """The similarities of each text with each other, on both sides."""

    first: _Floats
    second: _Floats
    couples: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

    @classmethod
    def of(cls, first: _Floats, second: _Floats) -> _Compared:
        return cls(first @ first.T, second @ second.T, np.triu_indices(len(first), 1))

    def spearman(self) -> float | None:
        if len(self.first) < _MIN_FOR_ORDER:
            return None
        return spearman(self.first[self.couples], self.second[self.couples])

    def mean_difference(self) -> float | None:
        gaps = self._gaps()
        return float(gaps.mean()) if gaps.size else None

    def largest_difference(self) -> float | None:
        gaps = self._gaps()
        return float(gaps.max()) if gaps.size else None

    def overlaps(self) -> list[float]:
        """Of each text, the share of its nearest that both agree on; empty for too few texts."""
        if len(self.first) < _MIN_FOR_NEIGHBOURS:
            return []
        cut = min(CUT, (len(self.first) - 1) // 2)
        one, other = _nearest(self.first, cut), _nearest(self.second, cut)
        return [
            len(set(mine.tolist()) & set(theirs.tolist())) / cut
            for mine, theirs in zip(one, other, strict=True)
        ]

    def _gaps(self) -> _Floats:
        gaps: _Floats = np.abs(self.first[self.couples] - self.second[self.couples])
        return gaps


def _nearest(similarities: _Floats, cut: int) -> npt.NDArray[np.intp]:
    others = similarities.copy()
    np.fill_diagonal(others, -np.inf)
    found: npt.NDArray[np.intp] = np.argsort(-others, axis=1, kind="stable")[:, :cut]
    return found


def _of_length_one(vectors: FloatArray) -> _Floats:
    # In float64, so that the comparison adds no rounding of its own.
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: _Floats = rows / np.maximum(lengths, _TINY)
    return unit


def _evenly(count: int, most: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
