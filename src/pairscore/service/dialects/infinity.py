"""Infinity's rerank, on paths of its own, for its strict client; at `/rerank` the answer of `native` serves it too.

Wire format: `infinity_emb/fastapi_schemas/pymodels.py` of that project, and the models of the `infinity_client` package.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from pairscore.service.dialects.bodies import NO_MODEL, RankingBody, ranking
from pairscore.service.dialects.records import Ask, Found, Operation, Usage

__all__ = ["RERANK"]


class InfinityRerank(RankingBody):
    """Documents to put in order for a query, as Infinity takes them."""

    top_n: int | None = Field(default=None, ge=1, description="How many to return; null all.")
    return_documents: bool | None = Field(
        default=None, description="Put each document into its result, as a text."
    )
    raw_scores: bool | None = Field(default=None, description="Logits, not probabilities.")


class InfinityRank(BaseModel):
    """One document in a ranking of Infinity."""

    relevance_score: FiniteFloat
    index: int
    document: str | None = Field(description="The text, if it was asked for; else null.")
    truncated: bool = Field(default=True, description="true if it was cut; else left out.")


class InfinityResult(BaseModel):
    """A ranking of Infinity, best first."""

    object: Literal["rerank"]
    results: list[InfinityRank]
    model: str
    usage: Usage
    id: str
    created: int


def _ask(body: InfinityRerank) -> Ask:
    model = None if body.model == NO_MODEL else body.model
    return ranking(body, top_n=body.top_n, raw=body.raw_scores, model=model)


def _write(body: InfinityRerank, found: Found) -> bytes:
    documents = found.ask.documents
    results = [
        InfinityRank(
            relevance_score=float(found.values[position]),
            index=position,
            document=documents[position].text if body.return_documents else None,
            **({"truncated": True} if found.cut(position) else {}),
        )
        for position in found.best()
    ]
    result = InfinityResult(
        object="rerank",
        results=results,
        model=found.model,
        usage=found.usage,
        id=f"infinity-{found.request_id}",
        created=found.created,
    )
    # What was not set is `truncated` alone; a document that is null stays, as Infinity has it.
    return result.model_dump_json(exclude_unset=True).encode()


RERANK: Final = Operation(
    dialect="Infinity",
    summary="Put documents in order for a query (Infinity)",
    body=InfinityRerank,
    result=InfinityResult,
    ask=_ask,
    write=_write,
    shape="infinity",
)
