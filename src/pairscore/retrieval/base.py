"""What the parts of a search share: documents, candidates, conditions, and the protocols of encoders and retrievers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from pairscore.values import FloatArray

__all__ = [
    "Candidate",
    "Condition",
    "Document",
    "Encoder",
    "Filter",
    "Mode",
    "Operator",
    "Retriever",
    "Scalar",
]

Scalar: TypeAlias = str | int | float | bool | None
"""A value of a document's metadata."""
Mode: TypeAlias = Literal["dense", "bm25"]
"""How candidates are found: by vectors, or by words."""
Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document that can be found.

    Attributes:
        id: unique in its index, and not empty.
        text: what is read.
        title: put before the text, if there is one.
        metadata: values to filter on and to give back.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict, hash=False)

    @property
    def full_text(self) -> str:
        """Title and text, as BEIR joins them: what is encoded, indexed and read by the cross-encoder."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A document that a retriever found, best first.

    Attributes:
        document: what was found.
        score: the retriever's own: a cosine for ``dense``, BM25 for ``bm25``; higher is better.
    """

    document: Document
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A comparison that a document's metadata must satisfy; a document without the column satisfies none.

    Attributes:
        column: a key of the metadata; ``id`` and ``title`` are the document's own.
        operator: how to compare.
        value: with what; several for ``in``.
    """

    column: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]


Filter: TypeAlias = tuple[Condition, ...]
"""Conditions that must all hold; none lets every document through."""


class Encoder(Protocol):
    """Turns texts into vectors; `BiEncoder` is one."""

    @property
    def name(self) -> str:
        """The model's name, for reports."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Differs wherever the same text may get another vector."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, shape (num_texts, dimension), float32."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, shape (num_texts, dimension), float32."""
        ...


@runtime_checkable
class Retriever(Protocol):
    """Finds candidates. Many threads may call at once."""

    @property
    def name(self) -> str:
        """A short name for reports, such as ``lancedb``."""
        ...

    @property
    def modes(self) -> frozenset[Mode]:
        """What it can do; a retriever need not have vectors, or words."""
        ...

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        """The documents nearest to a vector by cosine, best first, at most `limit`.

        Args:
            vector: shape (dimension,), length 1.
            limit: the most candidates.
            where: conditions on the documents, applied before the search.

        Raises:
            FilterError: a column is not known, or cannot be compared so.
            SearchIndexError: the index cannot be read.
            SettingError: it has no vectors.
        """
        ...

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        """The documents with the query's words, by BM25, best first, at most `limit`; a query without words finds none.

        Raises:
            FilterError, SearchIndexError: as `by_vector`.
            SettingError: it has no words.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        ...
