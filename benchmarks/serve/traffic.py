"""What is sent: one endless row of requests, the same for every server, and how each server wants them.

The documents are the first passages of each query, cut into requests of equal size. When all are used, each
request's documents meet the next query, so that a pair comes again only after as many turns as there are
queries; a server that remembers scores gains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self

from texts import Pair

__all__ = ["Request", "Row", "Texts", "Wire", "WireKind"]

WireKind = Literal["rerank", "batch", "score"]
_PATHS: dict[WireKind, str] = {"rerank": "/rerank", "batch": "/score/batch", "score": "/score"}


@dataclass(frozen=True, slots=True)
class Request:
    """One query and its documents."""

    query: str
    documents: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """As the library takes them."""
        return [(self.query, document) for document in self.documents]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a run.

    Attributes:
        queries: one for each list of documents.
        documents: the passages that were found for each query.
    """

    queries: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Self:
        """Group the pairs of a collection by query."""
        groups = [
            (query, tuple(pair.document for pair in group))
            for query, group in groupby(pairs, key=lambda pair: pair.query)
        ]
        return cls(tuple(query for query, _ in groups), tuple(found for _, found in groups))

    def shortened(self, *, words: int, whole_each: int) -> Self:
        """The same with only the first words of each passage, but for every so many-th."""
        return type(self)(
            self.queries,
            tuple(
                tuple(
                    text if place % whole_each == 0 else " ".join(text.split()[:words])
                    for place, text in enumerate(found)
                )
                for found in self.documents
            ),
        )

    def write(self, path: Path) -> Path:
        """Keep them where the load generator finds them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([self.queries, self.documents]), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` kept."""
        queries, documents = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(queries), tuple(tuple(found) for found in documents))


class Row:
    """The endless row of requests of one size.

    Args:
        texts: what they are cut from.
        num_documents: the size; documents at the end of a list that do not fill a request are left out.
    """

    def __init__(self, texts: Texts, num_documents: int) -> None:
        self._texts = texts
        self._size = num_documents
        self._starts = [
            (number, start)
            for number, found in enumerate(texts.documents)
            for start in range(0, len(found) - num_documents + 1, num_documents)
        ]
        if not self._starts:
            raise ValueError(f"no query has {num_documents} documents to send at once")

    def __len__(self) -> int:
        """Requests in one turn, after which the documents come again with other queries."""
        return len(self._starts)

    def at(self, place: int) -> Request:
        """The request at a place."""
        turn, position = divmod(place, len(self._starts))
        number, start = self._starts[position]
        query = self._texts.queries[(number + turn) % len(self._texts.queries)]
        return Request(query, self._texts.documents[number][start : start + self._size])


@dataclass(frozen=True, slots=True)
class Wire:
    """How a server wants a request, and how it answers.

    Attributes:
        kind: `rerank` is a query with documents, `batch` a list of pairs, `score` one pair.
        model: sent along where the server needs it; raw scores are asked for then.
    """

    kind: WireKind
    model: str = ""

    @property
    def path(self) -> str:
        """The route."""
        return _PATHS[self.kind]

    def body(self, request: Request) -> bytes:
        """The request as JSON."""
        if self.kind == "rerank":
            content: dict[str, Any] = {
                "query": request.query,
                "documents": request.documents,
                "return_documents": False,
            }
            if self.model:
                content |= {"model": self.model, "raw_scores": True}
            return json.dumps(content).encode()
        pairs = [{"text_a": a, "text_b": b} for a, b in request.pairs]
        return json.dumps(pairs[0] if self.kind == "score" else {"pairs": pairs}).encode()

    def scores(self, body: bytes) -> list[float]:
        """The scores of an answer, in the order of the documents."""
        content = json.loads(body)
        if self.kind == "score":
            return [content["score"]]
        if self.kind == "batch":
            return [entry["score"] for entry in content]
        found = sorted(content["results"], key=_index)
        return [entry.get("relevance_score", entry.get("score")) for entry in found]


def _index(entry: dict[str, Any]) -> int:
    return int(entry["index"] if "index" in entry else entry["corpus_id"])
