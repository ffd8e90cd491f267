"""What the retrievers' contract is held with: an encoder, a corpus, and a retriever that computes everything exactly."""

from __future__ import annotations

import math
import operator
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from pairscore.errors import (
    ClosedError,
    FilterError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    OutputFileError,
    SettingError,
)
from pairscore.retrieval.base import (
    Candidate,
    Condition,
    Document,
    Encoder,
    Filter,
    Mode,
    Operator,
    Retriever,
    Scalar,
)
from pairscore.retrieval.conditions import check_condition
from pairscore.values import FloatArray

DIMENSION = 32
ANIMALS = ("fox", "hare", "wolf", "otter", "heron", "badger", "lynx", "raven")
PLACES = ("river", "forest", "meadow", "harbour", "quarry")
DOCUMENTS = [
    Document(
        id=f"d{number}",
        title=PLACES[number % 5] if number % 3 else "",
        text=f"{ANIMALS[number % 8]} {PLACES[number * 7 % 5]} story{number}",
        metadata={}
        if number % 10 == 9
        else {
            "year": 1990 + number,
            "price": number / 4,
            "lang": ("en", "de", "fr")[number % 3],
            "open": number % 2 == 0,
        },
    )
    for number in range(60)
]
ODD_TEXTS = (
    "she said \"fox\" and 'hare'",
    "fox AND (hare OR NOT wolf)",
    "fox* ~2 +must -not field:value ^3 [a TO b] {x}",
    "fox 🦊🦊 日本語 العربية éàü",
    "fox \\ back\\\\slash % _ ; -- DROP TABLE",
    "line one fox\nline two\r\n\ttab",
    "fox <b>bold</b> &amp; \u200b zero width",
)
ODD_IDS = (
    "a b",
    'q"q',
    "it's",
    "back\\slash",
    "é🦊",
    "[x]",
    "%_",
    'x" or "1" == "1',
    "line\nbreak",
    "a/b?c=d#e",
)
_WORDS = re.compile(r"\w+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, several: value in several,
}


class WritableRetriever(Retriever, Protocol):
    """A retriever that the contract can fill."""

    @property
    def num_documents(self) -> int: ...

    def add(self, documents: Iterable[Document]) -> object: ...

    def upsert(self, documents: Iterable[Document]) -> object: ...

    def delete(self, ids: Sequence[str]) -> object: ...

    def get(self, ids: Sequence[str]) -> Sequence[Document]: ...

    def optimize(self) -> None: ...


class WordEncoder:
    """Texts that share words are near: every word has a direction, and a text is the sum of its words'."""

    def __init__(self, *, dimension: int = DIMENSION, fingerprint: str = "words-1") -> None:
        self.name = "word-encoder"
        self.dimension = dimension
        self.fingerprint = fingerprint

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        vectors = np.stack([self._vector(text) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def _vector(self, text: str) -> FloatArray:
        directions = [
            np.random.default_rng(zlib.crc32(word.encode())).normal(size=self.dimension)
            for word in words_of(text)
        ]
        # A text without words has a direction too.
        return np.sum([np.full(self.dimension, 0.1), *directions], axis=0)


class MemoryRetriever:
    """Exact cosines and BM25 over a dictionary: what the others are compared with."""

    name = "memory"
    _places: dict[Path, tuple[dict[str, Document], str, int]] = {}  # noqa: RUF012 - what would be on disk

    def __init__(
        self,
        documents: dict[str, Document],
        *,
        encoder: Encoder | None,
        dimension: int,
    ) -> None:
        self._documents = documents
        self._encoder = encoder
        self._dimension = dimension
        self._closed = False

    @classmethod
    def create(cls, place: Path, *, encoder: Encoder) -> Self:
        if place in cls._places:
            raise OutputFileError(f"{place} exists already")
        cls._places[place] = ({}, encoder.fingerprint, encoder.dimension)
        return cls.open(place, encoder=encoder)

    @classmethod
    def open(cls, place: Path, *, encoder: Encoder | None = None) -> Self:
        if place not in cls._places:
            raise IndexNotFoundError(f"nothing at {place}")
        documents, fingerprint, dimension = cls._places[place]
        if encoder and (encoder.fingerprint, encoder.dimension) != (fingerprint, dimension):
            raise IndexMismatchError("another encoder")
        return cls(documents, encoder=encoder, dimension=dimension)

    @property
    def modes(self) -> frozenset[Mode]:
        return frozenset({"dense", "bm25"} if self._encoder else {"bm25"})

    @property
    def num_documents(self) -> int:
        return len(self._documents)

    def add(self, documents: Iterable[Document]) -> None:
        for document in documents:
            if document.id in self._documents:
                raise InputError(f"{document.id!r} is there already")
            self.upsert([document])

    def upsert(self, documents: Iterable[Document]) -> None:
        for document in documents:
            if not document.id:
                raise InputError("an id is empty")
            self._documents[document.id] = document

    def delete(self, ids: Sequence[str]) -> None:
        for one in ids:
            self._documents.pop(one, None)

    def get(self, ids: Sequence[str]) -> list[Document]:
        return [self._documents[one] for one in ids if one in self._documents]

    def optimize(self) -> None:
        pass

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        documents = self._found(where, limit)
        if self._encoder is None:
            raise SettingError("no vectors")
        if vector.shape != (self._dimension,):
            raise IndexMismatchError("another dimension")
        if not documents:
            return []
        cosines = self._encoder.encode_documents([one.full_text for one in documents]) @ vector
        return _best(documents, cosines.tolist(), limit)

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        documents = self._found(where, limit)
        scores = _bm25(query, self._documents)
        found = [one for one in documents if scores[one.id] > 0]
        return _best(found, [scores[one.id] for one in found], limit)

    def close(self) -> None:
        self._closed = True

    def _found(self, where: Filter, limit: int) -> list[Document]:
        if self._closed:
            raise ClosedError("closed")
        if limit < 1:
            raise SettingError("limit is below 1")
        documents = list(self._documents.values())
        for condition in where:
            _check(condition, documents)
            documents = [one for one in documents if _satisfies(one, condition)]
        return documents


def words_of(text: str) -> list[str]:
    """A text's words, small."""
    return _WORDS.findall(text.lower())


def _best(documents: Sequence[Document], scores: Sequence[float], limit: int) -> list[Candidate]:
    ranked = sorted(zip(documents, scores, strict=True), key=lambda pair: -pair[1])
    return [Candidate(document=document, score=score) for document, score in ranked[:limit]]


def _bm25(query: str, documents: dict[str, Document]) -> dict[str, float]:
    """Lucene's formula with k1 = 1.2 and b = 0.75."""
    counts = {key: Counter(words_of(one.full_text)) for key, one in documents.items()}
    mean = sum(c.total() for c in counts.values()) / max(len(counts), 1)
    scores = dict.fromkeys(documents, 0.0)
    for word in set(words_of(query)):
        having = sum(word in c for c in counts.values())
        weight = math.log1p((len(counts) - having + 0.5) / (having + 0.5))
        for key, c in counts.items():
            length = 1.2 * (0.25 + 0.75 * c.total() / max(mean, 1e-9))
            scores[key] += weight * c[word] * 2.2 / (c[word] + length) if c[word] else 0.0
    return scores


def _value(document: Document, column: str) -> Scalar:
    own = {"id": document.id, "title": document.title}
    return own[column] if column in own else document.metadata.get(column)


def _check(condition: Condition, documents: Sequence[Document]) -> None:
    check_condition(condition)
    seen = {_kind(_value(one, condition.column)) for one in documents} - {type(None)}
    asked = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if documents and not seen.issuperset(map(_kind, asked)):
        raise FilterError(f"{condition.column!r} is not known, or cannot be compared so")


def _kind(value: Scalar) -> type:
    return float if type(value) is int else type(value)


def _satisfies(document: Document, condition: Condition) -> bool:
    value = _value(document, condition.column)
    return value is not None and _COMPARE[condition.operator](value, condition.value)


ENCODER = WordEncoder()


@dataclass(frozen=True)
class Kind:
    """One retriever under the contract: how it is made in a folder, and opened again."""

    create: Callable[[Path, Encoder], WritableRetriever]
    open: Callable[[Path, Encoder | None], WritableRetriever]


def _memory() -> Kind:
    return Kind(
        lambda place, encoder: MemoryRetriever.create(place, encoder=encoder),
        lambda place, encoder: MemoryRetriever.open(place, encoder=encoder),
    )


def _milvus() -> Kind:
    from pairscore.retrieval.milvus import MilvusRetriever

    return Kind(
        lambda place, encoder: MilvusRetriever.create(f"milvus:{place}.db", encoder=encoder),
        lambda place, encoder: MilvusRetriever.open(f"milvus:{place}.db", encoder=encoder),
    )


def _lancedb() -> Kind:
    from pairscore.retrieval.index import SearchIndex

    return Kind(
        lambda place, encoder: SearchIndex.create(str(place), encoder=encoder),
        lambda place, encoder: SearchIndex.open(str(place), encoder=encoder),
    )


KINDS: dict[str, Callable[[], Kind]] = {
    "memory": _memory,
    "milvus": _milvus,
    "lancedb": _lancedb,
}


def vector_of(text: str) -> FloatArray:
    """A query's vector."""
    return ENCODER.encode_queries([text])[0]


def ids_of(candidates: Sequence[Candidate]) -> list[str]:
    """Who was found, best first."""
    return [candidate.document.id for candidate in candidates]


def where_is(column: str, operator: Operator, value: Any) -> Filter:
    """A filter of one condition."""
    return (Condition(column=column, operator=operator, value=value),)
