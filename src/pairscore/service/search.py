"""`POST /v1/search`: documents of the server's index, found by vectors and words and put in order by the cross-encoder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from pairscore.errors import LimitError
from pairscore.retrieval.pipeline import DEFAULT_CANDIDATES, DEFAULT_TOP_K
from pairscore.retrieval.results import SearchResult, Timings
from pairscore.service import answering, bodies
from pairscore.service.described import posted, responses
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.refusals import Refusal
from pairscore.service.routes import FAULTS
from pairscore.service.search_call import SearchAsk, SearchCall
from pairscore.service.search_schemas import (
    EXAMPLES,
    SearchRequest,
    SearchResponse,
    filter_of,
    response_of,
)
from pairscore.service.searcher import Searcher
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.telemetry import SEARCH_STAGES
from pairscore.service.waiting import deadline_of

__all__ = ["described", "router"]

_HEADERS: Final = {
    answering.MODEL_HEADER: "The cross-encoder; left out if nothing was to be reranked.",
    answering.TRUNCATED_HEADER: "How many documents were too long for it and were cut.",
    answering.TIMING_HEADER: "Milliseconds of each stage.",
}
_FAULTS: Final = {
    **{status: FAULTS[status] for status in (401, 403, 408, 413, 415, 422, 429, 500)},
    404: "The server has no index, or no such model.",
    503: "The model is not loaded, the index cannot be read, or the service is shutting down.",
    504: "The candidates were not found within the time that the request may take.",
}

router = APIRouter()


def described() -> Iterator[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    """The body that the documentation refers to."""
    yield SearchRequest, "validation"


@router.post(
    "/v1/search",
    summary="Find documents in the server's index",
    tags=[NATIVE],
    response_model=SearchResponse,
    responses=responses(_FAULTS, headers=_HEADERS),
    openapi_extra=posted(SearchRequest, EXAMPLES),
)
async def search(request: Request, parts: PartsOfApp) -> Response:
    """Candidates by vectors, by words, or by both, fused; the cross-encoder reads the best of them.

    It needs `pairscore serve --index`. When `deadline_ms` is over no more is reranked: the rest stands behind what was, as
    it was found, on the scale that it was found with, and the answer is `partial`.
    """
    searcher = parts.runtime.searcher
    if searcher is None:
        raise Refusal(
            "SearchNotServedError",
            f"this server has no search index; the operator gives it one with {option('index')}",
        )
    raw = await bodies.raw_body(request)
    body = await bodies.on_thread(raw, partial(bodies.checked, raw, SearchRequest, parts.settings))
    member = _member(request, body, parts)
    call = SearchCall(request, parts, searcher=searcher, member=member)
    result = await call.answer(_ask(request, body, searcher, parts.settings))
    write = partial(
        _written,
        result,
        request_id=request.state.request_id,
        num_tokens=call.num_tokens,
        return_documents=body.return_documents,
    )
    content = await answering.written(len(result), write)
    return Response(content, headers=_headers(result), media_type="application/json")


def _member(request: Request, body: SearchRequest, parts: Parts) -> Member | None:
    """The cross-encoder that was named; None if nothing is to be reranked."""
    member = answering.check_model(answering.asked_model(request, body.model), parts)
    if not body.rerank:
        return None
    answering.check_labels(member)
    return member


def _ask(
    request: Request, body: SearchRequest, searcher: Searcher, settings: ServiceSettings
) -> SearchAsk:
    num_candidates = body.num_candidates or min(DEFAULT_CANDIDATES, settings.max_pairs)
    top_k = body.top_k or min(DEFAULT_TOP_K, settings.max_pairs)
    for name, value in (("num_candidates", num_candidates), ("top_k", top_k)):
        if value > settings.max_pairs:
            raise LimitError(
                limit=f"candidates a search ({name})",
                value=value,
                maximum=settings.max_pairs,
                option=option("max_pairs"),
            )
    _check_mode(body, searcher)
    hard_s = _least(deadline_of(request, deadline_ms=None), settings.timeout_s)
    given_s = deadline_of(request, deadline_ms=body.deadline_ms)
    return SearchAsk(
        query=body.query,
        top_k=top_k,
        num_candidates=num_candidates,
        mode=body.mode,
        where=filter_of(body),
        soft_s=_least(given_s, hard_s),
        is_timed=given_s is not None,
        hard_s=hard_s,
        blend=body.blend or 0.0,
    )


def _check_mode(body: SearchRequest, searcher: Searcher) -> None:
    if searcher.modes and body.mode is not None and body.mode not in searcher.modes:
        message = (
            f"mode is {body.mode!r}, and the server's index cannot be searched so; send "
            f"{' or '.join(map(repr, searcher.modes))}, or leave it out"
        )
        raise Refusal("BodyError", message, details=[("mode", message)])


def _least(*seconds: float | None) -> float | None:
    return min((one for one in seconds if one is not None), default=None)


def _written(
    result: SearchResult, *, request_id: str, num_tokens: int, return_documents: bool
) -> bytes:
    answer = response_of(
        result,
        request_id=request_id,
        created=int(time.time()),
        num_tokens=num_tokens,
        return_documents=return_documents,
    )
    return answer.model_dump_json(exclude_none=True).encode()


def _headers(result: SearchResult) -> Mapping[str, str]:
    return {
        **({} if result.model is None else answering.model_header(result.model)),
        answering.TRUNCATED_HEADER: str(result.num_truncated),
        answering.TIMING_HEADER: _server_timing(result.timings),
    }


def _server_timing(timings: Timings) -> str:
    """As W3C's Server-Timing has it, in milliseconds."""
    return ", ".join(f"{name};dur={getattr(timings, name):.1f}" for name in SEARCH_STAGES)
