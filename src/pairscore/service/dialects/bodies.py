"""What the bodies of most dialects share: unknown fields are ignored, null is as not given, texts are strict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import FailFast, Field, FiniteFloat

from pairscore.config import Truncation
from pairscore.service.dialects.documents import Document, Given, Query, read_documents
from pairscore.service.dialects.records import Ask
from pairscore.service.schemas import Timed

__all__ = ["NO_MODEL", "RankingBody", "all_or", "query_and", "ranking"]

NO_MODEL: Final = "default/not-specified"
"""What Infinity's client sends as the model when nobody named one."""


class RankingBody(Timed):
    """A query and documents, as Cohere, Jina, vLLM, Infinity and this service itself name them."""

    shape: ClassVar[str] = '{"query": "...", "documents": ["...", "..."]}'
    counted: ClassVar[str | None] = "documents"

    query: Query = Field(description="What is looked for: a text, or an object with `text`.")
    documents: Annotated[list[Given], FailFast()] = Field(
        min_length=1,
        description="The candidates: texts, or objects with `text` (or the fields of `rank_fields`).",
    )
    model: str | None = Field(default=None, description="The model's name, or an alias of it.")
    min_score: FiniteFloat | None = Field(
        default=None, description="The lowest score to return, on the scale of the answer."
    )
    max_tokens_per_query: int | None = Field(
        default=None, ge=0, description="Tokens of the query that are read; 0 and null: all."
    )
    max_tokens_per_doc: int | None = Field(
        default=None, ge=0, description="Tokens of a document that are read; 0 and null: all."
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The query and the documents that are texts; objects are checked by what is read of them."""
        yield "query", self.query
        for position, given in enumerate(self.documents):
            if isinstance(given, str):
                yield f"documents[{position}]", given


def query_and(query: str, documents: Sequence[Document]) -> list[tuple[str, str]]:
    """The pairs of a ranking."""
    return [(query, document.text) for document in documents]


def all_or(number: int | None) -> int | None:
    """A number of which 0 means all, as vLLM has it."""
    return number or None


def ranking(
    body: RankingBody,
    *,
    top_n: int | None,
    raw: bool | None = False,
    rank_fields: Sequence[str] | None = None,
    strict: bool = False,
    **more: Any,
) -> Ask:
    """What a body with a query and documents wants."""
    documents = read_documents(body.documents, rank_fields=rank_fields)
    truncation = Truncation(
        max_query_tokens=all_or(body.max_tokens_per_query),
        max_document_tokens=all_or(body.max_tokens_per_doc),
        strict=strict,
    )
    return Ask(
        **{
            "pairs": query_and(body.query, documents),
            "documents": documents,
            "model": body.model,
            "top_n": all_or(top_n),
            "min_score": body.min_score,
            "raw": bool(raw),
            "truncation": truncation,
            "windows": body.windows,
            "deadline_ms": body.deadline_ms,
            **more,
        }
    )
