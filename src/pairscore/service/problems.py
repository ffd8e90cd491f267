"""From an error to what HTTP says of it: one table of statuses, one shape of body.

What went wrong in the request is told in full; what went wrong in the server is told in a fixed
sentence with a request id, because an error's own text may hold paths and other people's texts.
"""

from __future__ import annotations

import json
import logging
import math
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
    "REFUSED",
    "REQUEST_ID_HEADER",
    "STATUS",
    "Details",
    "Refusal",
    "closing",
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

REFUSED: Final[Mapping[str, int]] = {
    "BodyError": _UNPROCESSABLE,
    "BodyLimitError": 413,
    "BodyTimeoutError": 408,
    "BodiesLimitError": _UNAVAILABLE,
    "HeaderError": _UNPROCESSABLE,
    "MediaTypeError": 415,
    "KeyMissingError": 401,
    "KeyUnknownError": 401,
    "KeyRevokedError": 403,
    "QuotaError": _TOO_MANY,
}
"""The status of each kind of refusal: what is sent away before it reaches the core."""

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
    WorkerError: (
        "the part of the service that ran the model failed and was replaced; send the request again"
    ),
    ModelError: "the model is not loaded; ask /readyz until it is, then send the request again",
    ClosedError: "the service is shutting down; send the request again in a moment",
}
# What an operator can read off the metrics, and a caller may read whole.
_NO_FAILURE: Final = (OverloadError, DeadlineError, ClosedError)


class Refusal(Exception):  # noqa: N818 - it is no error of ours: the request is refused at the door
    """A request that is refused before it reaches the core.

    Attributes:
        kind: the kind of error, as the body names it; `REFUSED` gives its status.
        message: the value, the limit and the remedy.
        details: what is wrong with each field.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        details: Details = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = tuple(details)
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return REFUSED[self.kind]


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
    if isinstance(error, OverloadError):
        status = request.app.state.parts.settings.overload_status
    message = str(error)
    if status >= _SERVER_ERROR and not isinstance(error, _NO_FAILURE):
        _log.error("a request failed", exc_info=error, extra=_of(request))
    if status >= _SERVER_ERROR and not isinstance(error, OverloadError | DeadlineError):
        message = next(
            (text for kind, text in _PUBLIC.items() if isinstance(error, kind)), _GENERIC
        )
    kind = type(error).__name__
    return problem(
        request, status=status, kind=kind, message=message, headers=_retry(error, status)
    )


def _of(request: Request) -> dict[str, str]:
    return {"request_id": request.state.request_id}


def _retry(error: PairscoreError, status: int) -> Mapping[str, str] | None:
    if isinstance(error, OverloadError):
        return {"Retry-After": str(math.ceil(error.retry_after_s))}
    return {"Retry-After": "1"} if status == _UNAVAILABLE else None


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
        headers=error.headers,
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
            f"there is no {path[:200]}; there are POST /score, POST /score/batch, POST /rerank, "
            "GET /info, GET /livez, GET /readyz, GET /health, GET /metrics and GET /docs"
        )
    elif error.status_code == _METHOD_NOT_ALLOWED:
        kind = "MethodError"
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{method} is not for {path}; use {allowed}"
    return problem(
        request, status=error.status_code, kind=kind, message=message, headers=error.headers
    )


def closing(request: Request) -> Response:
    """A request that could not be finished before the service ended."""
    return problem(
        request,
        status=STATUS[ClosedError],
        kind=ClosedError.__name__,
        message=_PUBLIC[ClosedError],
        headers={"Retry-After": "1", "Connection": "close"},
    )


def of_unknown_error(request: Request, error: Exception) -> Response:
    """An error that nobody foresaw: all of it into the log, none of it to the caller."""
    _log.error("a request failed", exc_info=error, extra=_of(request))
    return problem(request, status=_SERVER_ERROR, kind="InternalError", message=_GENERIC)
