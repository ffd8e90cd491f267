"""Stand-ins for the parts of a search: documents in memory, vectors of hashed words, a cross-encoder that takes time."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tests.clock import Clock

from pairscore.errors import FilterError
from pairscore.models.card import Card
from pairscore.retrieval.base import Candidate, Condition, Document, Filter, Mode
from pairscore.retrieval.opening import OpenedIndex
from pairscore.road import ranking
from pairscore.values import FloatArray, Scores

ANIMALS = (
    Document(
        id="fox", text="the red fox runs over the snow", metadata={"year": 2020, "lang": "en"}
    ),
    Document(id="hen", text="a hen sleeps in the barn", metadata={"year": 2021, "lang": "en"}),
    Document(
        id="wine",
        title="Red wine",
        text="grapes from the south",
        metadata={"year": 2019, "lang": "fr"},
    ),
    Document(id="sky", text="the sky is blue over the snow", metadata={"year": 2022, "lang": "en"}),
    Document(id="den", text="a fox has a den", metadata={"year": 2023, "lang": "de"}),
)

CARD = Card(
    task="relevance",
    name="common-words",
    revision=None,
    activation="identity",
    max_length=512,
    pad_id=0,
)


def words_of(text: str) -> list[str]:
    """Lower-case words."""
    return re.findall(r"\w+", text.lower())


class HashEncoder:
    """Texts that share words have vectors that are near."""

    name = "hashed-words"
    dimension = 64
    fingerprint = "hashed-words-64"
    num_closed = 0

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words_of(text):
                vectors[row, zlib.crc32(word.encode()) % self.dimension] += 1
            if not vectors[row].any():
                vectors[row, 0] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_documents = encode_queries

    def close(self) -> None:
        self.num_closed += 1


class MemoryRetriever:
    """Documents in a list; `calls` says what was asked, `before` is called before each look-up."""

    name = "memory"

    def __init__(
        self,
        documents: Iterable[Document] = ANIMALS,
        *,
        modes: Iterable[Mode] = ("dense", "bm25"),
        before: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.documents = list(documents)
        self.modes = frozenset(modes)
        self.calls: list[tuple[str, int]] = []
        self.num_closed = 0
        self._before = before
        texts = [document.full_text for document in self.documents]
        self._vectors = HashEncoder().encode_documents(texts) if texts else None
        self._words = [Counter(words_of(text)) for text in texts]

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        self._asked("dense", limit)
        scores = [] if self._vectors is None else (self._vectors @ vector).tolist()
        return self._best(scores, limit=limit, where=where)

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        self._asked("bm25", limit)
        return self._best(
            [_bm25(words_of(query), words, self._words) for words in self._words],
            limit=limit,
            where=where,
            above=0.0,
        )

    def close(self) -> None:
        self.num_closed += 1

    def _asked(self, kind: str, limit: int) -> None:
        self.calls.append((kind, limit))
        self._before(kind)

    def _best(
        self, scores: Sequence[float], *, limit: int, where: Filter, above: float = -2.0
    ) -> list[Candidate]:
        known = {key for document in self.documents for key in document.metadata} | {"id", "title"}
        for condition in where:
            if condition.column not in known:
                raise FilterError(
                    f"there is no column {condition.column!r}; known: {sorted(known)}"
                )
        found = [
            Candidate(document=document, score=score)
            for document, score in zip(self.documents, scores, strict=True)
            if score > above and all(_holds(condition, document) for condition in where)
        ]
        return sorted(found, key=lambda one: -one.score)[:limit]


def _bm25(query: Sequence[str], words: Counter[str], corpus: Sequence[Counter[str]]) -> float:
    """Robertson's formula with k1 = 1.2 and b = 0.75."""
    average = sum(map(Counter.total, corpus)) / len(corpus)
    score = 0.0
    for word in dict.fromkeys(query):
        num_with = sum(word in other for other in corpus)
        weight = math.log(1 + (len(corpus) - num_with + 0.5) / (num_with + 0.5))
        length = 1.2 * (0.25 + 0.75 * words.total() / average)
        score += weight * words[word] * 2.2 / (words[word] + length)
    return score


def _holds(condition: Condition, document: Document) -> bool:
    own = {"id": document.id, "title": document.title, **document.metadata}
    value: Any = own.get(condition.column)
    other: Any = condition.value
    if value is None:
        return False
    compare: dict[str, Callable[[], bool]] = {
        "==": lambda: value == other,
        "!=": lambda: value != other,
        "<": lambda: value < other,
        "<=": lambda: value <= other,
        ">": lambda: value > other,
        ">=": lambda: value >= other,
        "in": lambda: value in other,
    }
    return compare[condition.operator]()


def opened_in_memory() -> OpenedIndex:
    """What a service opens in place of an index on disk."""
    encoder: Any = HashEncoder()
    return OpenedIndex(retriever=MemoryRetriever(), encoder=encoder)


class SlowReranker:
    """Counts common words; each pair takes so many seconds of a clock that a test moves.

    Args:
        clock: is moved.
        seconds: of a pair.
        labels: of a model that has several.
    """

    max_length = 512

    def __init__(
        self, *, clock: Clock | None = None, seconds: float = 0.0, labels: tuple[str, ...] = ()
    ) -> None:
        self.card = replace(CARD, labels=labels)
        self.calls: list[list[tuple[str, str]]] = []
        self.seconds = seconds
        self._clock = clock

    def score(self, pairs: Iterable[Any]) -> Scores:
        listed = list(pairs)
        self.calls.append(listed)
        if self._clock is not None:
            self._clock.now += self.seconds * len(listed)
        logits = [float(len(set(words_of(a)) & set(words_of(b)))) - 2.0 for a, b in listed]
        return ranking.scores_of(
            np.asarray(logits, dtype=np.float32),
            card=self.card,
            num_tokens=[len(b) for _, b in listed],
            truncated=["grapes" in b for _, b in listed],
        )
