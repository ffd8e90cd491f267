"""From an error to what HTTP says of it: one table of statuses, one shape of body.

What went wrong in the request is told in full; what went wrong in the server is told in a fixed
sentence with a request id, because an error's own text may hold paths and other people's texts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pairscore.errors import (
    BackendError,
    ClosedError,
    DataFileError,
    DeadlineError,
    EmptyInputError,
    InputError,
    InputFileError,
    LimitError,
    MissingExtraError,
    ModelCorruptError,
    ModelError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
    NonFiniteScoreError,
    OutOfMemoryError,
    OutputFileError,
    OverloadError,
    PairError,
    PairscoreError,
    SettingError,
    TextError,
    WorkerError,
)

__all__ = [
    "REQUEST_ID_HEADER",
    "STATUS",
    "Details",
    "Refusal",
    "of_http_exception",
    "of_pairscore_error",
    "of_refusal",
    "of_unknown_error",
    "problem",
    "status_of",
]

_log = logging.getLogger("pairscore.service")

REQUEST_ID_HEADER: Final = "X-Request-ID"

Details: TypeAlias = Sequence[tuple[str, str]]
"""Pairs of a field's path and what is wrong with it."""

_UNPROCESSABLE = 422
_SERVER_ERROR = 500
_UNAVAILABLE = 503
_TOO_MANY = 429
_TOO_LATE = 504
_METHOD_NOT_ALLOWED = 405
_NOT_FOUND = 404

STATUS: Final[dict[type[PairscoreError], int]] = {
    PairscoreError: _SERVER_ERROR,
    InputError: _UNPROCESSABLE,
    PairError: _UNPROCESSABLE,
    TextError: _UNPROCESSABLE,
    EmptyInputError: _UNPROCESSABLE,
    LimitError: _UNPROCESSABLE,
    DataFileError: _UNPROCESSABLE,
    InputFileError: _UNPROCESSABLE,
    OutputFileError: _UNPROCESSABLE,
    ModelError: _UNAVAILABLE,
    ModelNotFoundError: _UNAVAILABLE,
    ModelOfflineError: _UNAVAILABLE,
    ModelCorruptError: _UNAVAILABLE,
    ModelUnsupportedError: _UNAVAILABLE,
    BackendError: _SERVER_ERROR,
    NonFiniteScoreError: _SERVER_ERROR,
    OutOfMemoryError: _UNAVAILABLE,
    WorkerError: _UNAVAILABLE,
    OverloadError: _TOO_MANY,
    DeadlineError: _TOO_LATE,
    MissingExtraError: _SERVER_ERROR,
    SettingError: _SERVER_ERROR,
    ClosedError: _UNAVAILABLE,
}

_GENERIC = (
    "the server failed on this request; nothing is wrong with your next one. "
    "Tell the operator the request id: the cause stands under it in the log"
)
# What a caller is told instead of the error's own text.
_PUBLIC: Final[Mapping[type[PairscoreError], str]] = {
    OutOfMemoryError: (
        "there was not enough memory for this request; send fewer or shorter texts, or ask the operator "
        "to lower --budget / PAIRSCORE_BUDGET or --num-workers / PAIRSCORE_NUM_WORKERS"
    ),
    NonFiniteScoreError: (
        "the model put out a number that is not finite, so there is no score to return; "
        "tell the operator the request id: the model's files may be damaged"
    ),
    ModelError: "the model is not loaded; ask /health until it is, then send the request again",
    ClosedError: "the service is shutting down; send the request again in a moment",
}


class Refusal(Exception):  # noqa: N818 - it is no error of ours: the request is refused at the door
    """A request that is refused before it reaches the core.

    Attributes:
        status: the HTTP status.
        kind: the kind of error, as the body names it.
        message: the value, the limit and the remedy.
        details: what is wrong with each field.
    """

    def __init__(self, status: int, kind: str, message: str, *, details: Details = ()) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.details = tuple(details)


def status_of(error: PairscoreError) -> int:
    """The status of an error, or of the nearest class above it that the table knows."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(  # noqa: PLR0913 - the parts of one body
    request: Request,
    *,
    status: int,
    kind: str,
    message: str,
    details: Details = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The one shape in which every error leaves."""
    error: dict[str, object] = {
        "type": kind,
        "message": message,
        "request_id": getattr(request.state, "request_id", "unknown"),
    }
    if details:
        error["details"] = [{"field": field, "message": text} for field, text in details]
    # Plain ASCII can carry anything, half a character out of a refused body too.
    content = json.dumps({"error": error}, ensure_ascii=True, allow_nan=False).encode("ascii")
    return Response(content, status, headers, media_type="application/json")


async def of_pairscore_error(request: Request, error: Exception) -> Response:
    """An error of our own tree."""
    if not isinstance(error, PairscoreError):
        raise error
    status = status_of(error)
    message = str(error)
    if status >= _SERVER_ERROR:
        _log.error("request %s failed", request.state.request_id, exc_info=error)
        message = next(
            (text for kind, text in _PUBLIC.items() if isinstance(error, kind)), _GENERIC
        )
    headers = {"Retry-After": "1"} if status == _UNAVAILABLE else None
    kind = type(error).__name__
    return problem(request, status=status, kind=kind, message=message, headers=headers)


async def of_refusal(request: Request, error: Exception) -> Response:
    """A request that was refused at the door."""
    if not isinstance(error, Refusal):
        raise error
    return problem(
        request,
        status=error.status,
        kind=error.kind,
        message=error.message,
        details=error.details,
    )


async def of_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path, a wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    method, path = request.method, request.url.path
    kind, message = "HTTPError", str(error.detail)
    if error.status_code == _NOT_FOUND:
        kind = "NotFoundError"
        message = (
            f"there is no {path}; there are POST /score, POST /score/batch, POST /rerank, "
            "GET /health, GET /metrics and GET /docs"
        )
    elif error.status_code == _METHOD_NOT_ALLOWED:
        kind = "MethodError"
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{method} is not for {path}; use {allowed}"
    return problem(
        request, status=error.status_code, kind=kind, message=message, headers=error.headers
    )


def of_unknown_error(request: Request, error: Exception) -> Response:
    """An error that nobody foresaw: all of it into the log, none of it to the caller."""
    _log.error("request %s failed", request.state.request_id, exc_info=error)
    return problem(request, status=_SERVER_ERROR, kind="InternalError", message=_GENERIC)
