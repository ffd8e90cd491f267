"""Jina's rerank, on paths of its own; at `/v1/rerank` the union of `cohere` answers Jina's clients.

Wire format: https://jina.ai/reranker, and the clients of Haystack, LlamaIndex, LangChain and LiteLLM. They raise what
they find under `detail` where an answer has no `results`, so every error carries it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from pairscore.config import Truncation
from pairscore.service.dialects.bodies import RankingBody, all_or, ranking
from pairscore.service.dialects.records import Ask, Found, Operation

__all__ = ["RERANK"]


class JinaRerank(RankingBody):
    """Documents to put in order for a query, as Jina takes them."""

    top_n: int | None = Field(
        default=None, ge=0, description="How many to return; 0 and null return all."
    )
    return_documents: bool | None = Field(
        default=None, description="Put each document into its result; false leaves it out."
    )
    truncation: bool | None = Field(
        default=None, description="Whether to cut what is too long; null cuts, false refuses it."
    )
    max_query_length: int | None = Field(
        default=None, ge=0, description="As `max_tokens_per_query`, in Jina's words."
    )
    max_doc_length: int | None = Field(
        default=None, ge=0, description="As `max_tokens_per_doc`, in Jina's words."
    )
    raw_scores: bool | None = Field(
        default=None, description="Logits, not probabilities; not a field of Jina's own."
    )


class JinaRank(BaseModel):
    """One document in a ranking of Jina."""

    index: int
    relevance_score: FiniteFloat
    document: dict[str, Any] | None = None
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


class JinaUsage(BaseModel):
    """Tokens that the model read."""

    total_tokens: int
    prompt_tokens: int


class JinaResult(BaseModel):
    """A ranking of Jina, best first."""

    model: str
    object: Literal["list"] = "list"
    usage: JinaUsage
    results: list[JinaRank]


def _ask(body: JinaRerank) -> Ask:
    truncation = Truncation(
        max_query_tokens=all_or(body.max_query_length) or all_or(body.max_tokens_per_query),
        max_document_tokens=all_or(body.max_doc_length) or all_or(body.max_tokens_per_doc),
        strict=body.truncation is False,
    )
    return ranking(body, top_n=body.top_n, raw=body.raw_scores, truncation=truncation)


def _write(body: JinaRerank, found: Found) -> bytes:
    documents = found.ask.documents
    results = [
        JinaRank(
            index=position,
            relevance_score=float(found.values[position]),
            document=None if body.return_documents is False else dict(documents[position].object),
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    result = JinaResult(
        model=found.model,
        usage=JinaUsage(total_tokens=found.num_tokens, prompt_tokens=found.num_tokens),
        results=results,
    )
    return result.model_dump_json(exclude_none=True).encode()


RERANK: Final = Operation(
    dialect="Jina",
    summary="Put documents in order for a query (Jina)",
    body=JinaRerank,
    result=JinaResult,
    ask=_ask,
    write=_write,
    shape="jina",
    examples={
        "jina": {
            "summary": "Documents, best first, as Jina takes them",
            "value": {
                "model": "ms-marco-minilm-l12",
                "query": "What is the capital of the United States?",
                "documents": [
                    {"text": "Carson City is the capital city of the American state of Nevada."},
                    {"text": "Washington, D.C. is the capital of the United States."},
                ],
                "top_n": 2,
            },
        }
    },
)
