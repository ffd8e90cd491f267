"""pairscore's own bodies, and the ranking at `/rerank`, which vLLM's, Infinity's and Cohere-like clients read too.

A result there has the keys of sentence-transformers (`corpus_id`, `score`, `text`) and those of the other servers
(`index`, `relevance_score`, `document`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter

from pairscore.service.dialects.bodies import NO_MODEL, RankingBody, ranking
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.dialects.records import Ask, Found, Headers, Operation, Usage
from pairscore.service.schemas import (
    BATCH_EXAMPLES,
    RERANK_EXAMPLES,
    SCORE_EXAMPLES,
    BatchRequest,
    ScoreRequest,
    ScoreResult,
    TextPair,
)

__all__ = ["RERANK", "SCORE", "SCORE_BATCH", "RerankRequest", "RerankResult", "ranked"]

_RESULTS: Final = TypeAdapter(list[ScoreResult])
_SCALE_HEADER: Final = "X-Pairscore-Scale"


class RerankRequest(RankingBody):
    """Documents to put in order for a query."""

    counted: ClassVar[str | None] = "documents"

    top_k: int | None = Field(
        default=None, ge=1, description="How many of the best to return; null returns all."
    )
    top_n: int | None = Field(default=None, ge=0, description="The same; 0 and null return all.")
    return_documents: bool | None = Field(
        default=None,
        description="true puts each document into its result, as `text` and as `document`; null puts it there as "
        "`document` only, as vLLM does; false leaves both out.",
    )
    rank_fields: list[str] | None = Field(
        default=None, description="The fields of document objects that the model reads."
    )
    raw_scores: bool | None = Field(
        default=None, description="Put the logit into `relevance_score`, not the probability."
    )
    use_activation: bool | None = Field(default=None, description="false is as `raw_scores`: true.")


class RankedResult(BaseModel):
    """One document in a ranking."""

    corpus_id: int = Field(description="The document's position in the request, from 0.")
    score: FiniteFloat = Field(description="On the scale that the answer names.")
    probability: FiniteFloat = Field(
        description="From the model's logit, 0 to 1: its sigmoid, or what a calibration makes of it."
    )
    truncated: bool = Field(description="Whether the document was too long and was cut.")
    span: tuple[int, int] | None = Field(
        default=None,
        description="The best window of a document that is read in windows: its first character and the one behind "
        "its last, counted in code points from 0; else left out.",
    )
    num_windows: int | None = Field(
        default=None, description="Windows of the document that were read; left out likewise."
    )
    text: str | None = Field(
        default=None, description="The document, if return_documents is true; else left out."
    )
    index: int = Field(description="As corpus_id.")
    relevance_score: FiniteFloat = Field(
        description="The probability; with `raw_scores` the logit."
    )
    document: dict[str, Any] | None = Field(
        default=None, description="The document as an object, as it came or with its `text`."
    )
    id: Any = Field(default=None, description="The `id` of a document object, if it has one.")
    metadata: Any = Field(default=None, description="Its `metadata`, likewise.")


class RerankResult(BaseModel):
    """A ranking, best first; equal scores keep the order of the request."""

    id: str
    object: str = "rerank"
    created: int
    model: str = Field(description="The model that scored.")
    scale: str = Field(description="logit: unbounded relevance; unit: similarity from 0 to 1.")
    results: list[RankedResult]
    usage: Usage


def _pair(body: ScoreRequest) -> Ask:
    return Ask(
        pairs=[(body.text_a, body.text_b)], windows=body.windows, deadline_ms=body.deadline_ms
    )


def _pairs(body: BatchRequest) -> Ask:
    return Ask(
        pairs=[(pair.text_a, pair.text_b) for pair in body.pairs],
        windows=body.windows,
        deadline_ms=body.deadline_ms,
    )


def _documents(body: RerankRequest) -> Ask:
    return ranking(
        body,
        model=None if body.model == NO_MODEL else body.model,
        top_n=body.top_k or body.top_n,
        raw=body.raw_scores or body.use_activation is False,
        rank_fields=body.rank_fields,
    )


def _one_result(body: ScoreRequest, found: Found) -> bytes:
    return _results([body], found)[0].model_dump_json(exclude_none=True).encode()


def _many_results(body: BatchRequest, found: Found) -> bytes:
    return _RESULTS.dump_json(_results(body.pairs, found), exclude_none=True)


def _results(pairs: Sequence[TextPair], found: Found) -> list[ScoreResult]:
    return [_result(pair, found, position) for position, pair in enumerate(pairs)]


def _result(pair: TextPair, found: Found, position: int) -> ScoreResult:
    scores = found.scores
    best = scores.best(position)
    return ScoreResult(
        text_a=pair.text_a,
        text_b=pair.text_b,
        score=best.score,
        probability=best.probability,
        truncated=bool(scores.truncated[position]),
        span=found.span(position),
        num_windows=found.num_windows(position),
        label=best.label,
        labels=scores.named(position) or None,
    )


def ranked(body: RerankRequest, found: Found) -> RerankResult:
    """The ranking, best first."""
    return RerankResult(
        id=f"rerank-{found.request_id}",
        created=found.created,
        model=found.model,
        scale=found.scores.scale,
        results=[_ranked_result(body, found, position) for position in found.best()],
        usage=found.usage,
    )


def _ranked(body: RerankRequest, found: Found) -> bytes:
    return ranked(body, found).model_dump_json(exclude_none=True).encode()


def _ranked_result(body: RerankRequest, found: Found, position: int) -> RankedResult:
    document, scores = found.ask.documents[position], found.scores
    return RankedResult(
        corpus_id=position,
        score=float(scores.scores[position]),
        probability=float(scores.probabilities[position]),
        truncated=bool(scores.truncated[position]),
        span=found.span(position),
        num_windows=found.num_windows(position),
        text=document.text if body.return_documents else None,
        index=position,
        relevance_score=float(found.values[position]),
        document=None if body.return_documents is False else dict(document.object),
        id=document.field("id"),
        metadata=document.field("metadata"),
    )


def _scale(found: Found) -> Headers:
    return {_SCALE_HEADER: found.scores.scale}


SCORE: Final = Operation(
    dialect=NATIVE,
    summary="Score one pair",
    body=ScoreRequest,
    result=ScoreResult,
    ask=_pair,
    write=_one_result,
    shape=NATIVE,
    headers=_scale,
    fits=lambda keys: not keys or any(name.startswith("text_a") for name in keys),
    takes_labels=True,
    examples=SCORE_EXAMPLES,
)
SCORE_BATCH: Final = Operation(
    dialect=NATIVE,
    summary="Score many pairs",
    body=BatchRequest,
    result=list[ScoreResult],
    ask=_pairs,
    write=_many_results,
    shape=NATIVE,
    headers=_scale,
    takes_labels=True,
    examples=BATCH_EXAMPLES,
)
RERANK: Final = Operation(
    dialect=NATIVE,
    summary="Put documents in order for a query",
    body=RerankRequest,
    result=RerankResult,
    ask=_documents,
    write=_ranked,
    shape=NATIVE,
    headers=_scale,
    examples=RERANK_EXAMPLES,
)
