"""`POST /v1/rerank/batch`: many queries in one call, each answered by a line as soon as it is scored.

What is read and refused before the first line, and how it is documented, stands here; the rest is `batch_call`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from pairscore.errors import LimitError
from pairscore.service import answering, bodies
from pairscore.service.batch_call import Call, Lines
from pairscore.service.described import posted, responses, schema_of
from pairscore.service.dialects import batch
from pairscore.service.dialects.batch import Job, RerankBatchRequest
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.fleet_member import Member
from pairscore.service.parts import Parts, PartsOfApp
from pairscore.service.routes import FAULTS
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.waiting import deadline_of

__all__ = ["described", "router"]

_MEDIA_TYPE: Final = "application/x-ndjson"
_HEADERS: Final = {
    answering.MODEL_HEADER: "The model that scores; characters outside ASCII are percent-encoded."
}
_FAULTS: Final = {
    **{status: FAULTS[status] for status in (401, 403, 404, 408, 413, 415, 422)},
    429: "The queue is full and not one query was taken, or the key's quota is used up.",
    500: "The server failed before the first line.",
    503: "The model is not loaded, or the service is shutting down.",
    504: "The deadline passed and not one query was answered.",
}

router = APIRouter()


class _Streamed(Response):
    """Lines of JSON, one by one.

    Not starlette's own streaming, which begins the answer before anything is known: a call that is refused as a
    whole still gets its status.
    """

    def __init__(self, call: Call) -> None:
        self.status_code = 200
        self.background = None
        self._call = call
        # Not as `media_type`: the framework would document the lines as one string.
        self.init_headers({**call.headers, "Content-Type": _MEDIA_TYPE})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Answer the call, or raise what the whole of it is refused with."""
        await self._call.answer(Lines(send, self.raw_headers))


def _read(raw: bytes, settings: ServiceSettings) -> tuple[RerankBatchRequest, list[Job]]:
    body = bodies.checked(raw, RerankBatchRequest, settings)
    if body.num_pairs > settings.max_batch_pairs:
        raise LimitError(
            limit="documents in all queries together",
            value=body.num_pairs,
            maximum=settings.max_batch_pairs,
            option=option("max_batch_pairs"),
        )
    jobs = list(batch.jobs_of(body))
    for job in jobs:
        answering.check_ask(job.ask, settings, counted=f"queries[{job.index}].documents")
    return body, jobs


def _documented() -> dict[int | str, dict[str, Any]]:
    content = {
        "schema": {"anyOf": [schema_of(model) for model in batch.LINES]},
        "example": batch.LINES_EXAMPLE,
    }
    return responses(
        _FAULTS,
        headers=_HEADERS,
        description="A line of JSON for each query, in the order in which they are finished, each with its "
        "`index` and a ranking or an `error`; then one line with `done`, without which something is missing.",
        content={_MEDIA_TYPE: content},
    )


def described() -> Iterator[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    """The bodies and lines that the documentation refers to."""
    yield RerankBatchRequest, "validation"
    for model in batch.LINES:
        yield model, "serialization"


@router.post(
    "/v1/rerank/batch",
    summary="Put the documents of many queries in order",
    tags=[NATIVE],
    status_code=200,
    response_class=_Streamed,
    responses=_documented(),
    openapi_extra=posted(RerankBatchRequest, batch.EXAMPLES),
)
async def rerank_batch(request: Request, parts: PartsOfApp) -> Response:
    """Many queries, each with its own documents; each is answered by a line as soon as it is scored.

    A query that fails does not end the others. The deadline is that of the whole call. A call of which not one
    query could be answered, because the queue is full, time ran out or the service ends, is answered as a single
    ranking would be: 429, 504 or 503.
    """
    raw = await bodies.raw_body(request)
    body, jobs = await bodies.on_thread(raw, partial(_read, raw, parts.settings))
    jobs = [
        _naming(job, answering.asked_model(request, job.ask.model or body.model)) for job in jobs
    ]
    members = {answering.check_model(job.ask.model, parts) for job in jobs}
    answering.check_model(body.model, parts)
    for member in members:
        answering.check_labels(member)
    deadline_s = deadline_of(request, deadline_ms=body.deadline_ms)
    if len(members) == 1:
        # Known before the first line: the whole call has the status of a load that fails.
        (only,) = members
        await _ready(only, parts, deadline_s=deadline_s)
    return _Streamed(Call(request, parts, jobs, members=members, deadline_s=deadline_s))


def _naming(job: Job, model: str | None) -> Job:
    return replace(job, ask=replace(job.ask, model=model))


async def _ready(member: Member, parts: Parts, *, deadline_s: float | None) -> None:
    timeout_s = parts.settings.timeout_s if deadline_s is None else deadline_s
    if member.loaded is None:
        await parts.runtime.fleet.ready(member, timeout_s=timeout_s)
    answering.check_labels(member)
