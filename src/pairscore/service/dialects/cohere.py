"""Cohere's rerank, versions 1 and 2; and at `/v1/rerank` one answer for all who share that path.

The union holds what Cohere's, Jina's, Xinference's, LiteLLM's, Haystack's and Open WebUI's clients look for. Wire format:
https://docs.cohere.com/reference/rerank and the models of the `cohere` package.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from pairscore.service.dialects.bodies import RankingBody, ranking
from pairscore.service.dialects.records import Ask, Found, Operation, Usage

__all__ = ["RERANK_V1", "RERANK_V2", "UNION"]

_DIALECT: Final = "Cohere"


class CohereV2Rerank(RankingBody):
    """Documents to put in order for a query, as Cohere's version 2 takes them."""

    top_n: int | None = Field(default=None, ge=0, description="How many to return; null all.")
    priority: int | None = Field(
        default=None, ge=0, le=999, description="Requests with a lower number go first."
    )


class CohereV1Rerank(CohereV2Rerank):
    """The same as version 1 takes them: with objects and their fields."""

    rank_fields: list[str] | None = Field(
        default=None, description="The fields of document objects that the model reads."
    )
    return_documents: bool | None = Field(
        default=None, description="Put each document into its result."
    )
    raw_scores: bool | None = Field(
        default=None, description="Logits, not probabilities; not a field of Cohere's own."
    )
    use_activation: bool | None = Field(default=None, description="false is as `raw_scores`: true.")


class CohereApiVersion(BaseModel):
    """Which version of the API answers."""

    version: Literal["1", "2"]


class CohereUnits(BaseModel):
    """What would have been billed."""

    search_units: int = 1


class CohereTokens(BaseModel):
    """Tokens that the model read."""

    input_tokens: int
    output_tokens: int = 0


class CohereMeta(BaseModel):
    """Facts beside the results."""

    api_version: CohereApiVersion
    billed_units: CohereUnits = Field(default_factory=CohereUnits)
    tokens: CohereTokens
    warnings: list[str] | None = None


class CohereRank(BaseModel):
    """One document in a ranking."""

    index: int
    relevance_score: FiniteFloat
    document: dict[str, Any] | None = None
    truncated: bool | None = Field(default=None, description="true if it was cut; else left out.")


class UnionRank(CohereRank):
    """One document in a ranking, with what its object brought along."""

    id: Any = Field(default=None, description="The `id` of a document object, if it has one.")
    metadata: Any = Field(default=None, description="Its `metadata`, likewise.")


class CohereResult(BaseModel):
    """A ranking, best first."""

    id: str
    results: list[CohereRank]
    meta: CohereMeta


class UnionResult(BaseModel):
    """A ranking, best first, for every client that knows this path."""

    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[UnionRank]
    meta: CohereMeta
    usage: Usage


def _ask_v1(body: CohereV1Rerank) -> Ask:
    return ranking(
        body,
        top_n=body.top_n,
        raw=body.raw_scores or body.use_activation is False,
        rank_fields=body.rank_fields,
        priority=body.priority or 0,
    )


def _ask_v2(body: CohereV2Rerank) -> Ask:
    return ranking(body, top_n=body.top_n, priority=body.priority or 0)


def _meta(found: Found, version: Literal["1", "2"]) -> CohereMeta:
    cut = found.scores.num_truncated
    return CohereMeta(
        api_version=CohereApiVersion(version=version),
        tokens=CohereTokens(input_tokens=found.num_tokens),
        warnings=[f"{cut} documents were too long and were truncated"] if cut else None,
    )


def _result(found: Found, version: Literal["1", "2"], *, return_documents: bool | None) -> bytes:
    results = [
        CohereRank(
            index=position,
            relevance_score=float(found.values[position]),
            document=dict(found.ask.documents[position].object) if return_documents else None,
            truncated=found.cut(position),
        )
        for position in found.best()
    ]
    result = CohereResult(id=found.request_id, results=results, meta=_meta(found, version))
    return result.model_dump_json(exclude_none=True).encode()


def _result_v1(body: CohereV1Rerank, found: Found) -> bytes:
    return _result(found, "1", return_documents=body.return_documents)


def _result_v2(_: CohereV2Rerank, found: Found) -> bytes:
    return _result(found, "2", return_documents=False)


def _union(body: CohereV1Rerank, found: Found) -> bytes:
    documents = found.ask.documents
    results = [
        UnionRank(
            index=position,
            relevance_score=float(found.values[position]),
            document=dict(documents[position].object) if body.return_documents else None,
            truncated=found.cut(position),
            id=documents[position].field("id"),
            metadata=documents[position].field("metadata"),
        )
        for position in found.best()
    ]
    result = UnionResult(
        id=f"rerank-{found.request_id}",
        model=found.model,
        results=results,
        meta=_meta(found, "1"),
        usage=found.usage,
    )
    return result.model_dump_json(exclude_none=True).encode()


_EXAMPLES: Final = {
    "documents": {
        "summary": "Documents, best first",
        "value": {
            "model": "ms-marco-minilm-l12",
            "query": "What is the capital of the United States?",
            "documents": [
                "Carson City is the capital city of the American state of Nevada.",
                "Washington, D.C. is the capital of the United States.",
            ],
            "top_n": 2,
        },
    }
}

RERANK_V1: Final = Operation(
    dialect=_DIALECT,
    summary="Put documents in order for a query (Cohere, version 1)",
    body=CohereV1Rerank,
    result=CohereResult,
    ask=_ask_v1,
    write=_result_v1,
    shape="cohere",
    examples=_EXAMPLES,
)
RERANK_V2: Final = Operation(
    dialect=_DIALECT,
    summary="Put documents in order for a query (Cohere, version 2)",
    body=CohereV2Rerank,
    result=CohereResult,
    ask=_ask_v2,
    write=_result_v2,
    shape="cohere",
    examples=_EXAMPLES,
)
UNION: Final = Operation(
    dialect="Cohere, Jina and others",
    summary="Put documents in order for a query (Cohere 1, Jina, Xinference, LocalAI and those like them)",
    body=CohereV1Rerank,
    result=UnionResult,
    ask=_ask_v1,
    write=_union,
    shape="union",
    examples=_EXAMPLES,
)
