"""The ways of scoring that are compared: cross-encoder, bi-encoder and BM25 behind one protocol, and a clock for them.

What can be done before any query comes (encoding documents, counting their words) is `prepare`; what a query
costs is `score`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.cross_encoder import CrossEncoder
from pairscore.evaluation.bm25 import BM25
from pairscore.evaluation.compare_records import Speed
from pairscore.retrieval.base import Encoder

__all__ = [
    "BI_ENCODER",
    "BM25_NAME",
    "CROSS_ENCODER",
    "Advance",
    "BiEncoderSystem",
    "Bm25System",
    "Cost",
    "CrossEncoderSystem",
    "Scored",
    "System",
    "speed_of",
    "timed",
]

DoubleArray: TypeAlias = npt.NDArray[np.float64]
Advance: TypeAlias = Callable[[int], None]
"""Called with the number of pairs or texts that were done since the last call."""

CROSS_ENCODER: Final = "cross-encoder"
BI_ENCODER: Final = "bi-encoder"
BM25_NAME: Final = "BM25"
# Texts that are encoded, or pairs that are scored, between two movements of a progress bar.
_CHUNK: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What a system says of some pairs, in their order.

    Attributes:
        scores: shape (num_pairs,), float64; higher is better.
        probabilities: the same shape; None for a system that has none.
    """

    scores: DoubleArray
    probabilities: DoubleArray | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What something took.

    Attributes:
        wall_s: seconds on the clock.
        cpu_s: seconds of all cores of this process together.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s)


class System(Protocol):
    """Something that scores pairs."""

    @property
    def name(self) -> str:
        """A short name for tables."""
        ...

    @property
    def detail(self) -> str:
        """Which model, or whose statistics."""
        ...

    @property
    def scale(self) -> str:
        """What its numbers mean: ``logit``, ``unit``, ``cosine`` or ``BM25``."""
        ...

    def prepare(self, documents: Sequence[str], *, advance: Advance) -> None:
        """Do what can be done before any query comes."""
        ...

    def score(self, query: str, documents: Sequence[str]) -> Scored:
        """Score the candidates of one query, which were prepared."""
        ...

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, advance: Advance) -> Scored:
        """Score many pairs at once, as quickly as it can; nothing was prepared."""
        ...


class CrossEncoderSystem:
    """Reads both texts of each pair; nothing can be done before the query comes."""

    name = CROSS_ENCODER

    def __init__(self, encoder: CrossEncoder) -> None:
        self._encoder = encoder
        self.detail = encoder.card.name
        self.scale: str = encoder.card.scale

    def prepare(self, documents: Sequence[str], *, advance: Advance) -> None:
        """Nothing, but the bar moves on."""
        advance(len(documents))

    def score(self, query: str, documents: Sequence[str]) -> Scored:
        """One forward pass for each document.

        Raises:
            InputError, BackendError: as `CrossEncoder.score`.
        """
        return self._scored([(query, document) for document in documents])

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, advance: Advance) -> Scored:
        """Pairs of like length together, some hundred at a time.

        Raises:
            InputError, BackendError: as `CrossEncoder.score`.
        """
        parts = []
        for start in range(0, len(pairs), _CHUNK):
            parts.append(self._scored(pairs[start : start + _CHUNK]))
            advance(len(parts[-1].scores))
        return Scored(
            scores=np.concatenate([part.scores for part in parts]),
            probabilities=np.concatenate(
                [part.probabilities for part in parts if part.probabilities is not None]
            ),
        )

    def _scored(self, pairs: Sequence[tuple[str, str]]) -> Scored:
        found = self._encoder.score(pairs)
        logits = found.logits.astype(np.float64)
        return Scored(
            # In float64, because a sigmoid in float32 makes all large logits one.
            scores=logits if self.scale == "logit" else np.exp(-np.logaddexp(0.0, -logits)),
            probabilities=found.probabilities.astype(np.float64),
        )


class BiEncoderSystem:
    """Cosine of two vectors; those of the documents are made once, those of a query when it comes."""

    name = BI_ENCODER
    scale = "cosine"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.detail = encoder.name
        self._places: dict[str, int] = {}
        self._vectors = np.empty((0, encoder.dimension), dtype=np.float32)

    def prepare(self, documents: Sequence[str], *, advance: Advance) -> None:
        """Encode each distinct document once."""
        distinct = list(dict.fromkeys(documents))
        parts = []
        for start in range(0, len(distinct), _CHUNK):
            parts.append(self._encoder.encode_documents(distinct[start : start + _CHUNK]))
            advance(len(parts[-1]))
        self._vectors = np.concatenate(parts)
        self._places = {text: place for place, text in enumerate(distinct)}
        advance(len(documents) - len(distinct))

    def score(self, query: str, documents: Sequence[str]) -> Scored:
        """Encode the query, and multiply."""
        vector = self._encoder.encode_queries([query])[0]
        rows = self._vectors[[self._places[document] for document in documents]]
        return Scored(scores=(rows @ vector).astype(np.float64))

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, advance: Advance) -> Scored:
        """Encode both sides, each distinct text once."""
        firsts = list(dict.fromkeys(first for first, _ in pairs))
        places = {text: place for place, text in enumerate(firsts)}
        vectors = np.concatenate(
            [
                self._encoder.encode_queries(firsts[start : start + _CHUNK])
                for start in range(0, len(firsts), _CHUNK)
            ]
        )
        self.prepare([second for _, second in pairs], advance=advance)
        ones = vectors[[places[first] for first, _ in pairs]]
        others = self._vectors[[self._places[second] for _, second in pairs]]
        return Scored(scores=np.einsum("ij,ij->i", ones, others).astype(np.float64))


class Bm25System:
    """BM25, with the statistics of a collection.

    Args:
        collection: the documents whose words are counted; those that are scored must be among them.
        whose: the collection in words, for the report.
    """

    name = BM25_NAME
    scale = "BM25"

    def __init__(self, collection: Sequence[str], *, whose: str) -> None:
        self._collection = collection
        self.detail = f"statistics of {whose}"
        self._bm25: BM25 | None = None
        self._places: dict[str, int] = {}

    def prepare(self, documents: Sequence[str], *, advance: Advance) -> None:
        """Count the words of the whole collection; a second call does nothing."""
        if self._bm25 is None:
            self._bm25 = BM25(self._collection)
            # Of documents with the same text one is as good as the other.
            self._places = {text: place for place, text in enumerate(self._collection)}
        advance(len(documents))

    def score(self, query: str, documents: Sequence[str]) -> Scored:
        """Score the collection, and take out the candidates."""
        scores = self._prepared().scores(query)
        return Scored(scores=scores[[self._places[document] for document in documents]])

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, advance: Advance) -> Scored:
        """Each distinct first text is a query."""
        self.prepare((), advance=advance)
        grouped: dict[str, list[int]] = {}
        for place, (first, _) in enumerate(pairs):
            grouped.setdefault(first, []).append(place)
        scores = np.empty(len(pairs))
        for first, places in grouped.items():
            scores[places] = self.score(first, [pairs[place][1] for place in places]).scores
            advance(len(places))
        return Scored(scores=scores)

    def best(self, query: str, *, limit: int) -> list[int]:
        """Positions of the best documents of the collection, where BM25 is the first stage and was prepared."""
        return [int(place) for place in self._prepared().best(query, limit=limit)]

    def _prepared(self) -> BM25:
        assert self._bm25 is not None  # noqa: S101 - `prepare` comes first
        return self._bm25


def speed_of(costs: Sequence[Cost], *, price_per_hour: float | None) -> Speed | None:
    """What one query took and what a thousand would cost; None where nothing was timed."""
    if not costs:
        return None
    wall = np.asarray([cost.wall_s for cost in costs])
    price = (
        None if price_per_hour is None else float(wall.mean()) * 1000.0 * price_per_hour / 3600.0
    )
    return Speed(
        num_timed=len(costs),
        p50_ms=float(np.quantile(wall, 0.5)) * 1e3,
        p95_ms=float(np.quantile(wall, 0.95)) * 1e3,
        cpu_s_per_1000=1000.0 * sum(cost.cpu_s for cost in costs) / len(costs),
        price_per_1000=price,
    )


def timed(work: Callable[[], Scored]) -> tuple[Scored, Cost]:
    """Do something, and say what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, Cost(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
