"""The routes: a checked body in, scores out. What may go wrong is worded in `problems` and `hints`.

Bodies are read by `bodies.read_body` and answers are written on the model's threads, so that neither
holds up the event loop; the framework's own parsing and writing of bodies is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from pairscore.cross_encoder import CrossEncoder, query_pairs
from pairscore.road import ranking
from pairscore.service.bodies import read_body
from pairscore.service.schemas import (
    BATCH_EXAMPLES,
    RERANK_EXAMPLES,
    SCORE_EXAMPLES,
    BatchRequest,
    Body,
    Health,
    ProblemBody,
    RankedResult,
    RerankRequest,
    RerankResult,
    ScoreRequest,
    ScoreResult,
    TextPair,
)
from pairscore.service.settings import ServiceSettings
from pairscore.service.telemetry import CONTENT_TYPE, Telemetry
from pairscore.service.worker import ModelWorker
from pairscore.values import Scores

__all__ = ["MODEL_HEADER", "SCALE_HEADER", "TRUNCATED_HEADER", "Parts", "router"]

MODEL_HEADER: Final = "X-Pairscore-Model"
SCALE_HEADER: Final = "X-Pairscore-Scale"
TRUNCATED_HEADER: Final = "X-Pairscore-Truncated"

_RESULTS = TypeAdapter(list[ScoreResult])


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the routes of one app share."""

    settings: ServiceSettings
    worker: ModelWorker
    telemetry: Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    content: bytes
    scores: Scores


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOfApp = Annotated[Parts, Depends(_parts)]

router = APIRouter()

_SCORE_HEADERS: Final = {
    MODEL_HEADER: "The model that scored; characters outside ASCII are percent-encoded.",
    SCALE_HEADER: "logit: unbounded relevance; unit: similarity from 0 to 1.",
    TRUNCATED_HEADER: "How many pairs were too long and were cut.",
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _SCORE_HEADERS.items()
        }
    },
    413: {"model": ProblemBody, "description": "The body has too many bytes."},
    415: {"model": ProblemBody, "description": "The body is not declared as JSON."},
    422: {"model": ProblemBody, "description": "The body cannot be scored as it is."},
    500: {"model": ProblemBody, "description": "The model or the server failed."},
    503: {"model": ProblemBody, "description": "The model is not loaded, or memory ran out."},
}


def _posted(model: type[Body], examples: dict[str, object]) -> dict[str, Any]:
    """The request body as OpenAPI describes it; the app adds the schema that it refers to."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/score",
    summary="Score one pair",
    response_model=ScoreResult,
    responses=_RESPONSES,
    openapi_extra=_posted(ScoreRequest, SCORE_EXAMPLES),
)
async def score(request: Request, parts: PartsOfApp) -> Response:
    """Read two texts together and say how well they belong together."""
    body = await read_body(request, ScoreRequest, parts.settings)
    return _response(await parts.worker.run(partial(_score_one, pair=body)), parts)


@router.post(
    "/score/batch",
    summary="Score many pairs",
    response_model=list[ScoreResult],
    responses=_RESPONSES,
    openapi_extra=_posted(BatchRequest, BATCH_EXAMPLES),
)
async def score_batch(request: Request, parts: PartsOfApp) -> Response:
    """Score many pairs at once; the answer is a list in the order of the pairs."""
    body = await read_body(request, BatchRequest, parts.settings)
    return _response(await parts.worker.run(partial(_score_many, pairs=body.pairs)), parts)


@router.post(
    "/rerank",
    summary="Put documents in order for a query",
    response_model=RerankResult,
    response_model_exclude_none=True,
    responses=_RESPONSES,
    openapi_extra=_posted(RerankRequest, RERANK_EXAMPLES),
)
async def rerank(request: Request, parts: PartsOfApp) -> Response:
    """Score each document with the query; the answer holds the best first."""
    body = await read_body(request, RerankRequest, parts.settings)
    return _response(await parts.worker.run(partial(_rank, body=body)), parts)


@router.get(
    "/health",
    summary="Whether the service can score",
    response_model=Health,
    responses={503: {"model": Health, "description": "The model is not loaded."}},
)
async def health(response: Response, parts: PartsOfApp) -> Health:
    """Answers at once, whatever the model is doing."""
    loaded = parts.worker.loaded
    response.status_code = 200 if loaded else 503
    return Health(status="ok" if loaded else "loading", model_loaded=loaded)


@router.get(
    "/metrics",
    summary="Counts for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(parts: PartsOfApp) -> Response:
    """Requests, seconds, pairs, tokens and truncated pairs."""
    return Response(parts.telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE})


def _score_one(encoder: CrossEncoder, *, pair: TextPair) -> _Answer:
    scores = encoder.score([(pair.text_a, pair.text_b)])
    content = _results([pair], scores)[0].model_dump_json().encode()
    return _Answer(content=content, scores=scores)


def _score_many(encoder: CrossEncoder, *, pairs: Sequence[TextPair]) -> _Answer:
    scores = encoder.score([(pair.text_a, pair.text_b) for pair in pairs])
    return _Answer(content=_RESULTS.dump_json(_results(pairs, scores)), scores=scores)


def _rank(encoder: CrossEncoder, *, body: RerankRequest) -> _Answer:
    scores = encoder.score(query_pairs(body.query, body.documents))
    ranked = RerankResult(
        model=scores.model,
        scale=scores.scale,
        results=[
            RankedResult(
                corpus_id=hit.corpus_id,
                score=hit.score,
                probability=hit.probability,
                truncated=hit.truncated,
                text=body.documents[hit.corpus_id] if body.return_documents else None,
            )
            for hit in ranking.hits(scores, top_k=body.top_k)
        ],
    )
    return _Answer(content=ranked.model_dump_json(exclude_none=True).encode(), scores=scores)


def _results(pairs: Sequence[TextPair], scores: Scores) -> list[ScoreResult]:
    columns = (scores.scores, scores.probabilities, scores.truncated)
    return [
        ScoreResult(
            text_a=pair.text_a,
            text_b=pair.text_b,
            score=float(score),
            probability=float(probability),
            truncated=bool(truncated),
        )
        for pair, score, probability, truncated in zip(pairs, *columns, strict=True)
    ]


def _response(answer: _Answer, parts: Parts) -> Response:
    scores = answer.scores
    parts.telemetry.scored(scores)
    headers = {
        # A folder's name may hold what no header can.
        MODEL_HEADER: quote(scores.model, safe="/@:+-._~ "),
        SCALE_HEADER: scores.scale,
        TRUNCATED_HEADER: str(scores.num_truncated),
    }
    return Response(answer.content, headers=headers, media_type="application/json")
