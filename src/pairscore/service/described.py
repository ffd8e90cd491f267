"""How a route of pairscore's own is described in the OpenAPI file: its body, its headers, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pairscore.service.schemas import Body, ProblemBody

__all__ = ["posted", "responses", "schema_of"]

_REF: Final = "#/components/schemas/{}"


def schema_of(model: type) -> dict[str, str]:
    """A reference to a body's schema, which the app adds."""
    return {"$ref": _REF.format(model.__name__)}


def posted(body: type[Body], examples: Mapping[str, object]) -> dict[str, Any]:
    """The body of a request, which the framework does not read itself."""
    content = {"schema": schema_of(body), "examples": examples}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def responses(
    faults: Mapping[int, str], *, headers: Mapping[str, str], **success: Any
) -> dict[int | str, dict[str, Any]]:
    """The statuses of a route.

    Args:
        faults: each status that is an error, in words.
        headers: of the answer, in words.
        success: what more is said of it.
    """
    told: dict[int | str, dict[str, Any]] = {
        status: {"model": ProblemBody, "description": text} for status, text in faults.items()
    }
    shown = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    told[200] = {**success, "headers": shown}
    return told
