"""The routes that score: a checked body in, scores out. What may go wrong is worded in `problems` and `hints`.

Bodies are read by `bodies.read_body`, and large answers are written on a thread, so that neither holds
up the event loop; the framework's own parsing and writing of bodies is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect

from pairscore.cross_encoder import query_pairs
from pairscore.engine.core import outcome_of
from pairscore.engine.records import Answer
from pairscore.road import ranking
from pairscore.road.tokenization import Pair
from pairscore.service import access
from pairscore.service.bodies import read_body
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.schemas import (
    BATCH_EXAMPLES,
    RERANK_EXAMPLES,
    SCORE_EXAMPLES,
    BatchRequest,
    Body,
    ProblemBody,
    RankedResult,
    RerankRequest,
    RerankResult,
    ScoreRequest,
    ScoreResult,
    TextPair,
)
from pairscore.service.telemetry import server_timing
from pairscore.service.waiting import deadline_of, until_gone
from pairscore.values import Scores

__all__ = ["MODEL_HEADER", "SCALE_HEADER", "TIMING_HEADER", "TRUNCATED_HEADER", "router"]

MODEL_HEADER: Final = "X-Pairscore-Model"
SCALE_HEADER: Final = "X-Pairscore-Scale"
TRUNCATED_HEADER: Final = "X-Pairscore-Truncated"
TIMING_HEADER: Final = "Server-Timing"

_RESULTS = TypeAdapter(list[ScoreResult])
# Below this many results, writing them is quicker than the way to a thread and back.
_FEW: Final = 64

router = APIRouter()

_SCORE_HEADERS: Final = {
    MODEL_HEADER: "The model that scored; characters outside ASCII are percent-encoded.",
    SCALE_HEADER: "logit: unbounded relevance; unit: similarity from 0 to 1.",
    TRUNCATED_HEADER: "How many pairs were too long and were cut.",
    TIMING_HEADER: "Milliseconds to tokenize, in the queue, in the model, and in all.",
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _SCORE_HEADERS.items()
        }
    },
    401: {"model": ProblemBody, "description": "The API key is missing or not known."},
    403: {"model": ProblemBody, "description": "The API key was revoked."},
    408: {"model": ProblemBody, "description": "The body came too slowly."},
    413: {"model": ProblemBody, "description": "The body has too many bytes."},
    415: {"model": ProblemBody, "description": "The body is not declared as JSON."},
    422: {"model": ProblemBody, "description": "The body cannot be scored as it is."},
    429: {"model": ProblemBody, "description": "The queue is full, or the key's quota is used up."},
    500: {"model": ProblemBody, "description": "The model or the server failed."},
    503: {
        "model": ProblemBody,
        "description": "The model is not loaded, memory ran out, or the service is shutting down.",
    },
    504: {"model": ProblemBody, "description": "The deadline passed, or would have."},
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
    pairs = [(body.text_a, body.text_b)]
    answer = await _scored(request, parts, pairs, deadline_ms=body.deadline_ms)
    return await _response(answer, partial(_one_result, body, answer.scores))


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
    pairs = [(pair.text_a, pair.text_b) for pair in body.pairs]
    answer = await _scored(request, parts, pairs, deadline_ms=body.deadline_ms)
    return await _response(answer, partial(_many_results, body.pairs, answer.scores))


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
    pairs = query_pairs(body.query, body.documents)
    answer = await _scored(request, parts, pairs, deadline_ms=body.deadline_ms)
    return await _response(answer, partial(_ranked, body, answer.scores))


async def _scored(
    request: Request, parts: Parts, pairs: Sequence[Pair], *, deadline_ms: int | None
) -> Answer:
    """The engine's answer, told to everybody who counts: traces, the log, the key's quota."""
    deadline_s = deadline_of(request, deadline_ms=deadline_ms)
    work = parts.runtime.engine.score(pairs, deadline_s=deadline_s)
    try:
        answer = await until_gone(request, work)
    except BaseException as error:
        gone = isinstance(error, ClientDisconnect)
        request.state.outcome = "cancelled" if gone else outcome_of(error)
        raise
    request.state.outcome, request.state.answer = "ok", answer
    request.state.span.answer(answer)
    num_tokens = int(answer.scores.num_tokens.sum())
    access.charge(request, num_tokens=num_tokens)
    parts.telemetry.charged(key=request.state.key_name, num_tokens=num_tokens)
    return answer


def _one_result(pair: TextPair, scores: Scores) -> bytes:
    return _results([pair], scores)[0].model_dump_json().encode()


def _many_results(pairs: Sequence[TextPair], scores: Scores) -> bytes:
    return _RESULTS.dump_json(_results(pairs, scores))


def _ranked(body: RerankRequest, scores: Scores) -> bytes:
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
    return ranked.model_dump_json(exclude_none=True).encode()


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


async def _response(answer: Answer, write: Callable[[], bytes]) -> Response:
    scores = answer.scores
    content = write() if len(scores) <= _FEW else await to_thread.run_sync(write)
    headers = {
        # A folder's name may hold what no header can.
        MODEL_HEADER: quote(scores.model, safe="/@:+-._~ "),
        SCALE_HEADER: scores.scale,
        TRUNCATED_HEADER: str(scores.num_truncated),
        TIMING_HEADER: server_timing(answer.timing),
    }
    return Response(content, headers=headers, media_type="application/json")
