"""The work of `pairscore demo`: passages in the order of BM25 and of the cross-encoder, and pairs scored in three ways."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from pairscore.errors import EmptyInputError

if TYPE_CHECKING:
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.road.backends.opening import BackendName

__all__ = ["Compared", "Demo", "Placed", "Ranked", "Topic", "read_topics", "run_demo"]

SIMILARITY_MODEL: Final = "sts-minilm"
_NUM_SHOWN: Final = 5
# The pairs of the usual introduction, in which a bi-encoder and a cross-encoder meet.
_NUM_COMPARED: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """A query, and the passages that are ranked for it.

    Attributes:
        query: what is asked.
        passages: the candidates.
        num_shown: how many of them are shown.
    """

    query: str
    passages: tuple[str, ...]
    num_shown: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """One passage in both orders.

    Attributes:
        text: the passage.
        rank: its place by the cross-encoder, from 1.
        rank_before: its place by BM25, from 1.
        score: the cross-encoder's.
        probability: sigmoid of it, from 0 to 1.
    """

    text: str
    rank: int
    rank_before: int
    score: float
    probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A query with its passages, best first.

    Attributes:
        query: what was asked.
        num_passages: how many passages were ranked.
        results: the best of them.
    """

    query: str
    num_passages: int
    results: tuple[Placed, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A pair as three models see it.

    Attributes:
        first: the one text.
        second: the other.
        related: whether they belong together.
        cosine: of the bi-encoder's two vectors, from -1 to 1.
        relevance: the relevance model's score.
        similarity: the similarity model's score, from 0 to 1.
    """

    first: str
    second: str
    related: bool
    cosine: float
    relevance: float
    similarity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """All that is shown.

    Attributes:
        model: the cross-encoder that ranked.
        scale: what its scores mean.
        bi_encoder: the bi-encoder; empty where nothing was compared.
        similarity_model: the other cross-encoder; likewise.
        rankings: one for each query.
        pairs: what was compared.
        num_pairs: pairs that the cross-encoder read for the rankings.
        load_s: seconds until it was there.
        rank_s: seconds that it took to read them.
    """

    model: str
    scale: str
    bi_encoder: str
    similarity_model: str
    rankings: tuple[Ranked, ...]
    pairs: tuple[Compared, ...]
    num_pairs: int
    load_s: float
    rank_s: float

    @property
    def pairs_per_s(self) -> float:
        """How quick the ranking was; loading is left out."""
        return self.num_pairs / self.rank_s if self.rank_s > 0 else 0.0


def read_topics(query: str | None) -> tuple[Topic, ...]:
    """The queries with their passages that come with the package; or one query, for all the passages.

    Raises:
        EmptyInputError: the query has no word.
    """
    place = resources.files("pairscore.cli") / "demo.json"
    found = json.loads(place.read_text(encoding="utf-8"))
    if query is None:
        return tuple(
            Topic(
                query=one["query"],
                passages=tuple(one["passages"]),
                num_shown=len(one["passages"]),
            )
            for one in found
        )
    if not query.strip():
        raise EmptyInputError("--query is empty; give a question, or leave it out")
    passages = tuple(passage for one in found for passage in one["passages"])
    return (Topic(query=query, passages=passages, num_shown=_NUM_SHOWN),)


def run_demo(
    topics: Sequence[Topic],
    *,
    backend: BackendName,
    compares: bool,
    advance: Callable[[int, int], None],
) -> Demo:
    """Rank, and compare.

    Args:
        topics: the queries with their passages.
        backend: what runs the models.
        compares: whether the pairs are compared, too.
        advance: told how many pairs are done, of how many.

    Raises:
        ModelError, BackendError: a model cannot be used.
    """
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.evaluation.bm25 import BM25

    words = BM25([passage for topic in topics for passage in topic.passages])
    num_pairs = sum(len(topic.passages) for topic in topics)
    total = num_pairs + 3 * _NUM_COMPARED * compares
    began = time.monotonic()
    with CrossEncoder(backend=backend) as encoder:
        # The first run of a model is slower than all others.
        encoder.predict(("warm", "up"))
        loaded = time.monotonic()
        rankings = []
        num_done = start = 0
        for topic in topics:
            before = words.scores(topic.query)[start : start + len(topic.passages)]
            rankings.append(_ranked(encoder, topic, before.tolist()))
            start += len(topic.passages)
            num_done += len(topic.passages)
            advance(num_done, total)
        rank_s = time.monotonic() - loaded
        pairs, names = _compared(encoder, backend=backend) if compares else ((), ("", ""))
        advance(total, total)
        return Demo(
            model=encoder.card.name,
            scale=encoder.card.scale,
            bi_encoder=names[0],
            similarity_model=names[1],
            rankings=tuple(rankings),
            pairs=pairs,
            num_pairs=num_pairs,
            load_s=loaded - began,
            rank_s=rank_s,
        )


def _ranked(encoder: CrossEncoder, topic: Topic, before: Sequence[float]) -> Ranked:
    """The passages, best first.

    Args:
        encoder: what orders them.
        topic: the query and the passages.
        before: BM25's score of each passage.
    """
    from pairscore.road.ranking import hits

    # Ties keep the order in which the passages stand, in both rankings.
    order = sorted(range(len(before)), key=lambda place: -before[place])
    places = {position: rank for rank, position in enumerate(order, start=1)}
    found = hits(encoder.score([(topic.query, passage) for passage in topic.passages]))
    return Ranked(
        query=topic.query,
        num_passages=len(topic.passages),
        results=tuple(
            Placed(
                text=topic.passages[hit.corpus_id],
                rank=rank,
                rank_before=places[hit.corpus_id],
                score=hit.score,
                probability=hit.probability,
            )
            for rank, hit in enumerate(found[: topic.num_shown], start=1)
        ),
    )


def _compared(
    encoder: CrossEncoder, *, backend: BackendName
) -> tuple[tuple[Compared, ...], tuple[str, str]]:
    """The pairs as three models see them, and the names of the two models that are opened for it."""
    from pairscore.bi_encoder import BiEncoder
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.evaluation.compare_examples import EXAMPLES

    chosen = EXAMPLES[:_NUM_COMPARED]
    pairs = [(one.first, one.second) for one in chosen]
    with BiEncoder(backend=backend) as bi_encoder:
        firsts, seconds = (bi_encoder.encode([pair[side] for pair in pairs]) for side in (0, 1))
        cosines = bi_encoder.similarity_pairwise(firsts, seconds).tolist()
        name = bi_encoder.name
    with CrossEncoder(SIMILARITY_MODEL, backend=backend) as other:
        similarities = other.predict(pairs).tolist()
    relevances = encoder.predict(pairs).tolist()
    rows = zip(chosen, cosines, relevances, similarities, strict=True)
    return tuple(
        Compared(
            first=one.first,
            second=one.second,
            related=one.related,
            cosine=cosine,
            relevance=relevance,
            similarity=similarity,
        )
        for one, cosine, relevance, similarity in rows
    ), (name, SIMILARITY_MODEL)
