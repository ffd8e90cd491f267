"""The routes that score, made from the table of dialects; what each one does is `answering`'s and the dialects'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from pairscore.service.answering import (
    CALIBRATION_HEADER,
    MODEL_HEADER,
    SCALE_HEADER,
    TIMING_HEADER,
    TRUNCATED_HEADER,
    WINDOWS_HEADER,
    answered,
)
from pairscore.service.dialects.faults import NATIVE
from pairscore.service.dialects.records import Operation
from pairscore.service.dialects.table import PATHS, Path
from pairscore.service.parts import PartsOfApp
from pairscore.service.schemas import Body, ProblemBody

__all__ = ["FAULTS", "posted_models", "router"]

_SCORE_HEADERS: Final = {
    MODEL_HEADER: "The model that scored; characters outside ASCII are percent-encoded.",
    SCALE_HEADER: "logit: unbounded relevance; unit or probability: from 0 to 1.",
    CALIBRATION_HEADER: "How the probabilities were calibrated: platt or isotonic; left out if they were not.",
    TRUNCATED_HEADER: "How many pairs were too long and were cut.",
    WINDOWS_HEADER: "How many documents have more windows than may be read; left out if none has.",
    TIMING_HEADER: "Milliseconds to tokenize, in the queue, in the model, and in all.",
}
FAULTS: Final = {
    400: "The body cannot be scored as it is, in the dialects that say so with 400.",
    401: "The API key is missing or not known.",
    403: "The API key was revoked.",
    404: "No such model is served here.",
    408: "The body came too slowly.",
    413: "The body has too many bytes.",
    415: "The body is not declared as JSON.",
    422: "The body cannot be scored as it is.",
    424: "The model failed, in TEI's dialect.",
    429: "The queue is full, or the key's quota is used up.",
    500: "The model or the server failed.",
    503: "The model is not loaded, memory ran out, or the service is shutting down.",
    504: "The deadline passed, or would have.",
}
_FOREIGN: Final = frozenset({400, 424})

router = APIRouter()


def _responses(operations: Sequence[Operation[Any]]) -> dict[int | str, dict[str, Any]]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in _SCORE_HEADERS.items()
    }
    native = all(operation.shape == NATIVE for operation in operations)
    shown: dict[int | str, dict[str, Any]] = {200: {"headers": headers}}
    for status, text in FAULTS.items():
        if native and status not in _FOREIGN:
            shown[status] = {"model": ProblemBody, "description": text}
        elif not native:
            content = {"application/json": {"schema": {"type": "object"}}}
            shown[status] = {
                "description": f"{text} The body is the dialect's own.",
                "content": content,
            }
    return shown


def _posted(operations: Sequence[Operation[Any]]) -> dict[str, Any]:
    """The request bodies as OpenAPI describes them; the app adds the schemas that they refer to."""
    schemas = [
        {"$ref": f"#/components/schemas/{operation.body.__name__}"} for operation in operations
    ]
    examples = {
        name: example for operation in operations for name, example in operation.examples.items()
    }
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def _endpoint(
    operations: Sequence[Operation[Any]],
) -> Callable[[Request, PartsOfApp], Awaitable[Response]]:
    async def endpoint(request: Request, parts: PartsOfApp) -> Response:
        return await answered(request, parts, operations)

    return endpoint


def _add(entry: Path) -> None:
    last = entry.operations[-1]
    router.add_api_route(
        entry.path,
        _endpoint(entry.operations),
        methods=["POST"],
        name=entry.path,
        summary=" or ".join(operation.summary for operation in reversed(entry.operations)),
        description=last.body.__doc__ or "",
        tags=[operation.dialect for operation in reversed(entry.operations)],
        response_model=reduce(or_, [operation.result for operation in entry.operations]),
        responses=_responses(entry.operations),
        openapi_extra=_posted(entry.operations),
        include_in_schema=entry.listed,
    )


def posted_models() -> Iterator[type[Body]]:
    """The bodies that the documentation refers to, each once."""
    seen = dict.fromkeys(
        operation.body for entry in PATHS if entry.listed for operation in entry.operations
    )
    yield from seen


for _path in PATHS:
    _add(_path)
