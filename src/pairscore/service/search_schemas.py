"""The body of `/v1/search`, and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from pairscore.retrieval.base import Condition, Filter
from pairscore.retrieval.conditions import check_condition
from pairscore.retrieval.results import SearchHit, SearchMode, SearchResult
from pairscore.service.dialects.records import Usage
from pairscore.service.schemas import Body

__all__ = ["EXAMPLES", "SearchRequest", "SearchResponse", "filter_of", "response_of"]

_MAX_CONDITIONS: Final = 64
_MAX_VALUES: Final = 1000
_PLACES: Final = 3


class ConditionBody(BaseModel):
    """One condition on a document's metadata; a document without the column satisfies none."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    column: str = Field(description="A key of the metadata, id or title.", examples=["year"])
    operator: Literal["=", "==", "!=", "<", "<=", ">", ">=", "in"] = Field(
        default="==", description="How to compare."
    )
    value: str | int | FiniteFloat | bool | list[str | int | FiniteFloat | bool] = Field(
        description="With what; a list for `in`.", examples=[2020]
    )


class SearchRequest(Body):
    """What is looked for in the server's index."""

    shape: ClassVar[str] = '{"query": "...", "top_k": 10}'

    query: str = Field(description="What is looked for.", examples=["red wine"])
    top_k: int | None = Field(
        default=None, ge=1, description="How many documents to return; null: 10."
    )
    num_candidates: int | None = Field(
        default=None,
        ge=1,
        description="How many candidates the cross-encoder reads; null: 100. With more than that in `top_k` the rest "
        "follows unread.",
    )
    mode: SearchMode | None = Field(
        default=None,
        description="How candidates are found: by vectors (dense), by words (bm25), or by both; null: by all that the "
        "index has.",
    )
    filter: list[ConditionBody] | None = Field(
        default=None,
        max_length=_MAX_CONDITIONS,
        description="Conditions on the documents that must all hold.",
    )
    deadline_ms: int | None = Field(
        default=None,
        ge=1,
        le=86_400_000,
        description="Milliseconds after which no more is reranked: what was not read by then stands behind what was, as "
        "it was found, and the answer is `partial`. The first stage is finished all the same. The header "
        "X-Request-Timeout limits the whole request instead: a first stage that takes longer is answered with 504.",
    )
    model: str | None = Field(
        default=None, description="The cross-encoder's name, or an alias of it."
    )
    return_documents: bool = Field(
        default=True, description="Whether results have the documents' texts and metadata."
    )
    rerank: bool = Field(
        default=True,
        description="false leaves the candidates in the order in which they were found.",
    )
    blend: FiniteFloat | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="How much the first stage's scores count in the order of what is reranked; null: 0, not at all. A "
        "document's score stays the cross-encoder's.",
    )

    def all_texts(self) -> Iterator[tuple[str, str]]:
        """The query, and what documents are held against."""
        yield "query", self.query
        for position, condition in enumerate(self.filter or ()):
            yield f"filter[{position}].column", condition.column
            values = condition.value if isinstance(condition.value, list) else [condition.value]
            for value in values:
                if isinstance(value, str):
                    yield f"filter[{position}].value", value


class PlaceBody(BaseModel):
    """Where one source has a document."""

    rank: int = Field(description="From 1.")
    score: FiniteFloat = Field(description="The source's own.")


class SearchHitBody(BaseModel):
    """One document that was found."""

    id: str
    score: FiniteFloat = Field(description="On `scale`; scores of two scales cannot be compared.")
    scale: str = Field(
        description="logit or unit: the cross-encoder's; cosine, bm25 or rrf: of a document that it has not read."
    )
    reranked: bool = Field(description="Whether the cross-encoder read it.")
    rank_before: int = Field(description="Its rank in the first stage, from 1.")
    probability: FiniteFloat | None = Field(
        default=None, description="Of a reranked document, 0 to 1; else left out."
    )
    truncated: bool | None = Field(
        default=None, description="Whether the cross-encoder read a part only; else left out."
    )
    sources: dict[str, PlaceBody] = Field(
        description="Its rank and score by vectors (`dense`) and by words (`bm25`), where it was found so."
    )
    title: str | None = Field(default=None, description="Left out if documents are not wanted.")
    text: str | None = Field(default=None, description="Likewise.")
    metadata: dict[str, Any] | None = Field(default=None, description="Likewise.")


class TimingsBody(BaseModel):
    """Milliseconds of each stage; vectors and words are looked up at the same time."""

    encode: float = Field(description="The query's vector.")
    dense: float = Field(description="Looking up vectors.")
    words: float = Field(description="Looking up words.")
    fuse: float = Field(description="Joining both.")
    rerank: float = Field(description="The cross-encoder, its queue included.")
    total: float = Field(description="From the body to the answer.")


class SearchResponse(BaseModel):
    """What was found, best first."""

    id: str
    object: Literal["search"] = "search"
    created: int
    model: str | None = Field(
        default=None, description="The cross-encoder; left out if nothing was to be reranked."
    )
    mode: str = Field(description="How candidates were found.")
    num_candidates: int = Field(description="Documents that the first stage found.")
    num_reranked: int = Field(description="Those that the cross-encoder read.")
    num_truncated: int = Field(description="Those of which it read a part only.")
    partial: bool = Field(
        description="Whether time, or room in the queue, ran out before it had read all."
    )
    blend: FiniteFloat = Field(
        description="How much the first stage's scores counted in the order of what was reranked."
    )
    results: list[SearchHitBody]
    timings: TimingsBody
    usage: Usage


def filter_of(body: SearchRequest) -> Filter:
    """The conditions of a body.

    Raises:
        FilterError: one of them can be held against no document.
    """
    return tuple(
        check_condition(
            Condition(
                column=one.column,
                operator="==" if one.operator == "=" else one.operator,
                value=tuple(one.value) if isinstance(one.value, list) else one.value,
            )
        )
        for one in body.filter or ()
    )


def response_of(
    result: SearchResult,
    *,
    request_id: str,
    created: int,
    num_tokens: int,
    return_documents: bool,
) -> SearchResponse:
    """A result as it is answered."""
    timings = result.timings
    return SearchResponse(
        id=f"search-{request_id}",
        created=created,
        model=result.model,
        mode=result.mode,
        num_candidates=result.num_candidates,
        num_reranked=result.num_reranked,
        num_truncated=result.num_truncated,
        partial=result.partial,
        blend=result.blend,
        results=[_hit(hit, whole=return_documents) for hit in result.hits],
        timings=TimingsBody(
            **{name: round(getattr(timings, name), _PLACES) for name in TimingsBody.model_fields}
        ),
        usage=Usage(prompt_tokens=num_tokens, total_tokens=num_tokens),
    )


def _hit(hit: SearchHit, *, whole: bool) -> SearchHitBody:
    document = hit.document
    return SearchHitBody(
        id=document.id,
        score=hit.score,
        scale=hit.scale,
        reranked=hit.reranked,
        rank_before=hit.rank_before,
        probability=hit.probability,
        truncated=hit.truncated,
        sources={
            name: PlaceBody(rank=place.rank, score=place.score)
            for name, place in hit.sources.items()
        },
        title=document.title if whole else None,
        text=document.text if whole else None,
        metadata=dict(document.metadata) if whole else None,
    )


EXAMPLES: Final[dict[str, object]] = {
    "a query": {"summary": "The ten best", "value": {"query": "red wine from the south"}},
    "with conditions": {
        "summary": "The three best of some years, within 200 ms",
        "value": {
            "query": "red wine from the south",
            "top_k": 3,
            "filter": [
                {"column": "year", "operator": ">=", "value": 2020},
                {"column": "lang", "operator": "in", "value": ["en", "fr"]},
            ],
            "deadline_ms": 200,
        },
    },
}
