"""How an error looks in each dialect: its status and its body. Pure functions of one record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias

__all__ = ["NATIVE", "PREFIXES", "SHAPES", "STATE", "Fault", "Shape", "shape_of_path"]

_BAD_REQUEST: Final = 400
_UNPROCESSABLE: Final = 422
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_UNAVAILABLE: Final = 503

NATIVE: Final = "pairscore"
STATE: Final = "error_shape"
"""Where a request's state holds the name of the shape, once the body was recognised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What went wrong with a request, in nobody's dialect.

    Attributes:
        status: as this service counts.
        kind: the kind of error.
        message: the value, the limit and the remedy.
        request_id: as the answer's header has it.
        details: pairs of a field's path and what is wrong with it.
    """

    status: int
    kind: str
    message: str
    request_id: str
    details: Sequence[tuple[str, str]] = ()

    @property
    def field(self) -> str | None:
        """The first field that is wrong, without what lies inside it; None if it is not known."""
        return self.details[0][0].partition("[")[0].partition(".")[0] if self.details else None


Shape: TypeAlias = Callable[[Fault], tuple[int, dict[str, Any]]]
"""The status and the body of a fault."""


def _native(fault: Fault) -> tuple[int, dict[str, Any]]:
    error: dict[str, Any] = {
        "type": fault.kind,
        "message": fault.message,
        "request_id": fault.request_id,
    }
    if fault.details:
        error["details"] = [{"field": field, "message": text} for field, text in fault.details]
    return fault.status, {"error": error}


def _400(fault: Fault) -> int:
    """The status where wrong content is 400 and not 422."""
    return _BAD_REQUEST if fault.status == _UNPROCESSABLE else fault.status


_TEI_TYPES: Final[Mapping[int, str]] = {
    _BAD_REQUEST: "Empty",
    _TOO_MANY: "Overloaded",
    _UNAVAILABLE: "Unhealthy",
}
_TEI_BACKEND: Final = 424


def _tei(fault: Fault) -> tuple[int, dict[str, Any]]:
    status = fault.status
    if fault.kind == "EmptyInputError":
        status = _BAD_REQUEST
    elif status == _SERVER_ERROR:
        status = _TEI_BACKEND
    kind = _TEI_TYPES.get(status, "Backend" if status >= _TEI_BACKEND else "Validation")
    return status, {"error": fault.message, "error_type": kind}


def _cohere(fault: Fault) -> tuple[int, dict[str, Any]]:
    return _400(fault), {"message": fault.message, "id": fault.request_id}


def _openai(fault: Fault) -> dict[str, Any]:
    return {
        "message": fault.message,
        "type": "invalid_request_error" if fault.status < _SERVER_ERROR else "server_error",
        "param": fault.field,
        "code": fault.kind,
    }


def _union(fault: Fault) -> tuple[int, dict[str, Any]]:
    """What Cohere's, Jina's and OpenAI's clients look for, in one object."""
    return _400(fault), {
        "message": fault.message,
        "detail": fault.message,
        "id": fault.request_id,
        "error": _openai(fault),
    }


def _detail(fault: Fault) -> tuple[int, dict[str, Any]]:
    """What Jina and Mixedbread say; always a text, because their clients raise it as it is."""
    return fault.status, {"detail": fault.message}


def _voyage(fault: Fault) -> tuple[int, dict[str, Any]]:
    """The client knows 400, 401, 422 and 429 by name, and an unknown model is a bad request there."""
    unknown = fault.kind == "ModelUnknownError"
    return _BAD_REQUEST if unknown else _400(fault), {"detail": fault.message}


_VLLM_TYPES: Final[Mapping[int, str]] = {
    _BAD_REQUEST: "BadRequestError",
    _NOT_FOUND: "NotFoundError",
    _SERVER_ERROR: "InternalServerError",
}


def _vllm(fault: Fault) -> tuple[int, dict[str, Any]]:
    status = _400(fault)
    error = {
        "message": fault.message,
        "type": _VLLM_TYPES.get(status) or HTTPStatus(status).phrase,
        "param": fault.field,
        "code": status,
    }
    return status, {"error": error}


def _infinity(fault: Fault) -> tuple[int, dict[str, Any]]:
    """FastAPI's own shape where FastAPI refuses there, else Infinity's."""
    status = fault.status
    if status == _UNAUTHORIZED:
        return status, {"detail": "Unauthorized"}
    if status == _UNPROCESSABLE:
        details = fault.details or [("", fault.message)]
        return status, {"detail": [_fastapi(place, text) for place, text in details]}
    if fault.kind == "ModelUnknownError":
        status = _BAD_REQUEST
    error = {"message": fault.message, "type": None, "param": None, "code": status}
    return status, {"error": error}


def _fastapi(place: str, text: str) -> dict[str, Any]:
    """A finding, as FastAPI tells it."""
    steps = [step for step in re.split(r"[.\[\]]+", place) if step not in ("", "body")]
    loc = ["body", *(int(step) if step.isdecimal() else step for step in steps)]
    return {"loc": loc, "msg": text, "type": "value_error"}


def _nvidia(fault: Fault) -> tuple[int, dict[str, Any]]:
    """LangChain's client shows the message and the request id."""
    error = _openai(fault)
    return fault.status, {
        "object": "error",
        "message": fault.message,
        "type": error["type"],
        "requestId": fault.request_id,
    }


def _models(fault: Fault) -> tuple[int, dict[str, Any]]:
    """As OpenAI answers where it is asked for its models."""
    error = _openai(fault)
    if fault.kind == "ModelUnknownError":
        error["code"] = "model_not_found"
    return fault.status, {"error": error}


SHAPES: Final[Mapping[str, Shape]] = {
    NATIVE: _native,
    "tei": _tei,
    "cohere": _cohere,
    "union": _union,
    "jina": _detail,
    "voyage": _voyage,
    "mixedbread": _detail,
    "vllm": _vllm,
    "infinity": _infinity,
    "nvidia": _nvidia,
    "models": _models,
}
"""Every shape by its name."""

PREFIXES: Final[Mapping[str, str]] = {
    "/v1/rerank/batch": NATIVE,
    "/v1/search": NATIVE,
    "/v1/compare": NATIVE,
    "/v1/explain": NATIVE,
    "/v1/score/details": NATIVE,
    "/tei/": "tei",
    "/cohere/": "cohere",
    "/jina/": "jina",
    "/voyage/": "voyage",
    "/mixedbread/": "mixedbread",
    "/vllm/": "vllm",
    "/v1/score": "vllm",
    "/infinity/": "infinity",
    "/nvidia/": "nvidia",
    "/v1/ranking": "nvidia",
    "/v1/retrieval/": "nvidia",
    "/ranking": "nvidia",
    "/v1/models": "models",
    "/v3/models": "models",
    "/models": "models",
    "/v3/": "union",
    "/v2/rerank": "cohere",
    "/predict": "tei",
    "/v1/": "union",
}
"""The shape of errors below a path, known before a body is read; the first that fits holds. Else it is `NATIVE`."""


def shape_of_path(path: str) -> str:
    """The name of the shape in which errors of a path leave, as long as nothing more is known."""
    return next((shape for prefix, shape in PREFIXES.items() if path.startswith(prefix)), NATIVE)
