"""From an error to what HTTP says of it: one table of statuses, one shape of body.

What went wrong in the request is told in full; what went wrong in the server is told in a fixed
sentence with a request id, because an error's own text may hold paths and other people's texts.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pairscore.errors import (
    BackendError,
    ClosedError,
    DataFileError,
    DeadlineError,
    EmptyInputError,
    FilterError,
    IndexBusyError,
    IndexCorruptError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    InputFileError,
    LimitError,
    MissingExtraError,
    ModelCheckError,
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
    ParityError,
    ScaleError,
    SearchIndexError,
    SettingError,
    TextError,
    TooLongError,
    TrainingError,
    WorkerError,
)
from pairscore.service.dialects import faults
from pairscore.service.refusals import Details, Refusal

__all__ = [
    "REQUEST_ID_HEADER",
    "STATUS",
    "closing",
    "fault_of",
    "log_failure",
    "of_http_exception",
    "of_pairscore_error",
    "of_refusal",
    "of_unknown_error",
    "problem",
    "shape_of",
    "status_of",
]

_log = logging.getLogger("pairscore.service")

REQUEST_ID_HEADER: Final = "X-Request-ID"

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
    TooLongError: _UNPROCESSABLE,
    FilterError: _UNPROCESSABLE,
    DataFileError: _UNPROCESSABLE,
    InputFileError: _UNPROCESSABLE,
    OutputFileError: _UNPROCESSABLE,
    ModelError: _UNAVAILABLE,
    ModelNotFoundError: _UNAVAILABLE,
    ModelOfflineError: _UNAVAILABLE,
    ModelCorruptError: _UNAVAILABLE,
    ModelUnsupportedError: _UNAVAILABLE,
    ModelCheckError: _UNAVAILABLE,
    ParityError: _UNAVAILABLE,
    SearchIndexError: _UNAVAILABLE,
    IndexNotFoundError: _UNAVAILABLE,
    IndexMismatchError: _UNAVAILABLE,
    IndexCorruptError: _UNAVAILABLE,
    IndexBusyError: _UNAVAILABLE,
    BackendError: _SERVER_ERROR,
    NonFiniteScoreError: _SERVER_ERROR,
    OutOfMemoryError: _UNAVAILABLE,
    WorkerError: _UNAVAILABLE,
    TrainingError: _SERVER_ERROR,
    OverloadError: _TOO_MANY,
    DeadlineError: _TOO_LATE,
    MissingExtraError: _SERVER_ERROR,
    SettingError: _SERVER_ERROR,
    ScaleError: _UNPROCESSABLE,
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
    WorkerError: (
        "the part of the service that ran the model failed and was replaced; send the request again"
    ),
    ModelError: "the model is not loaded; ask /readyz until it is, then send the request again",
    SearchIndexError: "the search index cannot be used; the server's operator finds the reason in its log",
    ClosedError: "the service is shutting down; send the request again in a moment",
}
# What an operator can read off the metrics, and a caller may read whole.
_NO_FAILURE: Final = (OverloadError, DeadlineError, ClosedError)


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
    """The one door through which every error leaves, in the shape of the dialect that was spoken."""
    fault = faults.Fault(
        status=status,
        kind=kind,
        message=message,
        request_id=getattr(request.state, "request_id", "unknown"),
        details=details,
    )
    told, body = faults.SHAPES[shape_of(request)](fault)
    # Plain ASCII can carry anything, half a character out of a refused body too.
    content = json.dumps(body, ensure_ascii=True, allow_nan=False).encode("ascii")
    return Response(content, told, headers, media_type="application/json")


def shape_of(request: Request) -> str:
    """The name of the shape of a request's errors: the body's, once one was recognised, else the path's."""
    known: str | None = getattr(request.state, faults.STATE, None)
    return known or faults.shape_of_path(request.scope["path"])


async def of_pairscore_error(request: Request, error: Exception) -> Response:
    """An error of our own tree."""
    if not isinstance(error, PairscoreError):
        raise error
    status = status_of(error)
    if isinstance(error, OverloadError):
        status = request.app.state.parts.settings.overload_status
    log_failure(error, request_id=request.state.request_id)
    fault = fault_of(error, request_id=request.state.request_id)
    return problem(
        request,
        status=status,
        kind=fault.kind,
        message=fault.message,
        headers=_retry(error, status),
    )


def fault_of(error: Exception, *, request_id: str) -> faults.Fault:
    """What a caller is told of an error that came while it was scored; an overload has the table's status."""
    if isinstance(error, Refusal):
        return faults.Fault(
            status=error.status,
            kind=error.kind,
            message=error.message,
            request_id=request_id,
            details=error.details,
        )
    if not isinstance(error, PairscoreError):
        return faults.Fault(
            status=_SERVER_ERROR, kind="InternalError", message=_GENERIC, request_id=request_id
        )
    status, message = status_of(error), str(error)
    if status >= _SERVER_ERROR and not isinstance(error, OverloadError | DeadlineError):
        message = next(
            (text for kind, text in _PUBLIC.items() if isinstance(error, kind)), _GENERIC
        )
    return faults.Fault(
        status=status, kind=type(error).__name__, message=message, request_id=request_id
    )


def log_failure(error: Exception, *, request_id: str) -> None:
    """All of an error into the log, if it is the server's fault and no state that the metrics show."""
    if isinstance(error, Refusal):
        return
    if isinstance(error, PairscoreError) and (
        status_of(error) < _SERVER_ERROR or isinstance(error, _NO_FAILURE)
    ):
        return
    _log.error("a request failed", exc_info=error, extra={"request_id": request_id})


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
            "POST /v1/rerank, POST /v1/search, GET /info, GET /livez, GET /readyz, GET /health, GET /metrics and GET /docs, "
            "which names all"
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
    log_failure(error, request_id=request.state.request_id)
    fault = fault_of(error, request_id=request.state.request_id)
    return problem(request, status=fault.status, kind=fault.kind, message=fault.message)
