"""Voyage's rerank: `top_k` in, `data` out.

Wire format: https://docs.voyageai.com/reference/reranker-api and the `voyageai` package, which always sends `top_k`.
At `/v1/rerank` that field is what tells its bodies from those of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from pairscore.service.dialects.bodies import RankingBody, ranking
from pairscore.service.dialects.records import Ask, Found, Operation

__all__ = ["RERANK"]


class VoyageRerank(RankingBody):
    """Documents to put in order for a query, as Voyage takes them."""

    top_k: int | None = Field(
        default=None, ge=0, description="How many to return; 0 and null return all."
    )
    return_documents: bool | None = Field(
        default=None, description="Put each document, a text, into its result."
    )
    truncation: bool | None = Field(
        default=None, description="Whether to cut what is too long; null cuts, false refuses it."
    )
    raw_scores: bool | None = Field(
        default=None, description="Logits, not probabilities; not a field of Voyage's own."
    )


class VoyageRank(BaseModel):
    """One document in a ranking of Voyage."""

    relevance_score: FiniteFloat
    index: int
    document: str | None = Field(default=None, description="The text that the model read.")
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


class VoyageUsage(BaseModel):
    """Tokens that the model read."""

    total_tokens: int


class VoyageResult(BaseModel):
    """A ranking of Voyage, best first."""

    object: Literal["list"] = "list"
    data: list[VoyageRank]
    model: str
    usage: VoyageUsage


def _ask(body: VoyageRerank) -> Ask:
    strict = body.truncation is False
    return ranking(body, top_n=body.top_k, raw=body.raw_scores, strict=strict)


def _write(body: VoyageRerank, found: Found) -> bytes:
    data = [
        VoyageRank(
            relevance_score=float(found.values[position]),
            index=position,
            document=found.ask.documents[position].text if body.return_documents else None,
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    result = VoyageResult(
        data=data, model=found.model, usage=VoyageUsage(total_tokens=found.num_tokens)
    )
    return result.model_dump_json(exclude_none=True).encode()


def _fits(keys: Mapping[str, Any]) -> bool:
    return "top_k" in keys and "top_n" not in keys


RERANK: Final = Operation(
    dialect="Voyage",
    summary="Put documents in order for a query (Voyage)",
    body=VoyageRerank,
    result=VoyageResult,
    ask=_ask,
    write=_write,
    shape="voyage",
    fits=_fits,
    examples={
        "voyage": {
            "summary": "Documents, best first, as Voyage takes them: with top_k",
            "value": {
                "model": "ms-marco-minilm-l12",
                "query": "When is Apple's conference call scheduled?",
                "documents": [
                    "The Mediterranean diet emphasizes fish, olive oil, and vegetables.",
                    "Apple's conference call is scheduled for Thursday, November 2.",
                ],
                "top_k": 2,
            },
        }
    },
)
