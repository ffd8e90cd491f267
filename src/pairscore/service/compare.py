"""`POST /v1/compare`: pairs scored by the cross-encoder, with the cosine that a bi-encoder gives them beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from pairscore.engine.records import Answer
from pairscore.errors import DeadlineError
from pairscore.road.tokenization import Pair
from pairscore.service import access, answering, bodies
from pairscore.service.compare_schemas import (
    EXAMPLES,
    CompareRequest,
    CompareResponse,
    response_of,
)
from pairscore.service.comparer import Comparer, Cosines
from pairscore.service.described import posted, responses
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.dialects.records import Ask
from pairscore.service.long_documents import WindowsAsk
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.refusals import Refusal
from pairscore.service.routes import FAULTS
from pairscore.service.settings import option
from pairscore.service.waiting import deadline_of, watched

__all__ = ["described", "router"]

_HEADERS: Final = {
    answering.MODEL_HEADER: "The cross-encoder.",
    answering.SCALE_HEADER: "Of its scores: logit, unbounded relevance; unit, from 0 to 1.",
    answering.CALIBRATION_HEADER: "How the probabilities were calibrated; left out if they were not.",
    answering.TRUNCATED_HEADER: "How many pairs were too long for the cross-encoder and were cut.",
    answering.TIMING_HEADER: "Of the cross-encoder: milliseconds to tokenize, in the queue, in the model, and in all.",
}
_FAULTS: Final = {
    **{status: FAULTS[status] for status in (401, 403, 408, 413, 415, 422, 429, 500, 504)},
    404: "The server has no bi-encoder to compare with, or no such model.",
    503: "A model is not loaded, memory ran out, or the service is shutting down.",
}
_MS: Final = 1000.0

router = APIRouter()


def described() -> Iterator[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    """The body that the documentation refers to."""
    yield CompareRequest, "validation"


@router.post(
    "/v1/compare",
    summary="Score pairs with a cross-encoder and with a bi-encoder",
    tags=[NATIVE],
    response_model=CompareResponse,
    responses=responses(_FAULTS, headers=_HEADERS),
    openapi_extra=posted(CompareRequest, EXAMPLES),
)
async def compare(request: Request, parts: PartsOfApp) -> Response:
    """The cross-encoder reads both texts together, the bi-encoder makes a vector of each; the cosine is of these vectors.

    A text that comes in several pairs is encoded once. The bi-encoder is loaded by the first call. Tokens of both
    models count against a key's quota.
    """
    comparer = parts.runtime.comparer
    if comparer is None:
        raise Refusal(
            "CompareNotServedError",
            f"this server compares with no bi-encoder; the operator gives it one with {option('compare_encoder')}",
        )
    raw = await bodies.raw_body(request)
    body = await bodies.on_thread(raw, partial(bodies.checked, raw, CompareRequest, parts.settings))
    pairs = [(pair.text_a, pair.text_b) for pair in body.pairs]
    model = answering.asked_model(request, body.model)
    answering.check_labels(answering.check_model(model, parts))
    timeout_s = deadline_of(request, deadline_ms=body.deadline_ms) or parts.settings.timeout_s
    late = None if timeout_s is None else time.perf_counter() + timeout_s
    cosines = await _cosines(request, parts, comparer, pairs, timeout_s=timeout_s)
    ask = Ask(
        pairs=pairs,
        model=model,
        # As the bi-encoder, which reads no windows.
        windows=WindowsAsk("truncate"),
        deadline_ms=_left_ms(late),
    )
    answer = await answering.scored(request, parts, ask)
    write = partial(_written, answer, cosines, bi_encoder=comparer.name)
    content = await answering.written(len(pairs), write)
    return Response(content, headers=answering.score_headers(answer), media_type="application/json")


async def _cosines(
    request: Request,
    parts: Parts,
    comparer: Comparer,
    pairs: Sequence[Pair],
    *,
    timeout_s: float | None,
) -> Cosines:
    """What the bi-encoder says, told to those who count: the log and the key's quota."""
    made = await watched(request, comparer.cosines(pairs, timeout_s=timeout_s))
    access.charge(request, num_tokens=made.num_tokens)
    parts.telemetry.charged(key=request.state.key_name, num_tokens=made.num_tokens)
    return made


def _left_ms(late: float | None) -> int | None:
    if late is None:
        return None
    left_ms = int((late - time.perf_counter()) * _MS)
    if left_ms < 1:
        raise DeadlineError(
            "no time is left for the cross-encoder after the bi-encoder; give the request more time"
        )
    return left_ms


def _written(answer: Answer, cosines: Cosines, *, bi_encoder: str) -> bytes:
    return response_of(answer, cosines, bi_encoder=bi_encoder).model_dump_json().encode()
