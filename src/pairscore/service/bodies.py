"""From the bytes of a request to a checked body, within the limits of the settings.

Decoding and checking large bodies takes a thread, so that nobody else waits for it.
The number of bytes was limited before, by the middleware.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from anyio import to_thread
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from pairscore.errors import LimitError, TextError
from pairscore.service import hints
from pairscore.service.problems import Refusal
from pairscore.service.schemas import BatchRequest, Body, RerankRequest, TextPair
from pairscore.service.settings import ServiceSettings, option

__all__ = ["read_body"]

BodyT = TypeVar("BodyT", bound=Body)

_BOM: Final = b"\xef\xbb\xbf"
# Below this many bytes a check is quicker than the way to a thread and back.
_SMALL = 16 * 1024
_MAX_DETAILS = 10
# What the JSON reader says of an escaped half character, in its several wordings.
_SURROGATE_WORDS = ("surrogate", "hex escape")


async def read_body(request: Request, model: type[BodyT], settings: ServiceSettings) -> BodyT:
    """Read, decode and check the body of a request.

    Raises:
        Refusal: it is not JSON, or not of the right shape.
        LimitError: it holds more than the settings allow.
        TextError: a text holds half a character.
    """
    _check_media_type(request)
    raw = await request.body()
    check = partial(_checked, raw, model, settings)
    return check() if len(raw) <= _SMALL else await to_thread.run_sync(check)


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return
    received = f"is {given[:100]!r}" if given else "is missing"
    raise Refusal(
        415,
        "MediaTypeError",
        f"the header Content-Type {received}; send the body as JSON with "
        "Content-Type: application/json (curl -H 'Content-Type: application/json')",
    )


def _checked(raw: bytes, model: type[BodyT], settings: ServiceSettings) -> BodyT:
    data = _decoded(raw, model)
    _check_count(data, model, settings)
    try:
        body = model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        details = hints.explain(found[:_MAX_DETAILS], model=model)
        message = details[0][1]
        if len(found) > 1:
            message += f"; and {len(found) - 1} more, in details"
        raise Refusal(422, "BodyError", message, details=details) from None
    _check_texts(_texts(body), settings)
    return body


def _decoded(raw: bytes, model: type[Body]) -> Any:
    if not raw.strip():
        raise Refusal(422, "BodyError", f"the body is empty; send {model.shape}")
    try:
        return from_json(raw.removeprefix(_BOM), allow_inf_nan=True)
    except ValueError as error:
        reason = str(error)
    remedy = f"send {model.shape}, encoded in UTF-8"
    if any(words in reason for words in _SURROGATE_WORDS):
        remedy = (
            "an escape like \\ud800 is half a character (a lone surrogate) and no text: "
            "write the character itself in UTF-8, or both halves"
        )
    raise Refusal(422, "BodyError", f"the body is not JSON: {reason}; {remedy}")


def _check_count(data: Any, model: type[Body], settings: ServiceSettings) -> None:
    """Before the entries are checked one by one, because a hostile body can hold a million."""
    entries = data.get(model.counted) if isinstance(data, dict) and model.counted else None
    if isinstance(entries, list) and len(entries) > settings.max_pairs:
        raise LimitError(
            limit=f"{model.counted} a request",
            value=len(entries),
            maximum=settings.max_pairs,
            option=option("max_pairs"),
        )


def _texts(body: Body) -> Iterator[tuple[str, str]]:
    if isinstance(body, TextPair):
        yield from (("text_a", body.text_a), ("text_b", body.text_b))
    elif isinstance(body, BatchRequest):
        for index, pair in enumerate(body.pairs):
            yield f"pairs[{index}].text_a", pair.text_a
            yield f"pairs[{index}].text_b", pair.text_b
    elif isinstance(body, RerankRequest):
        yield "query", body.query
        yield from ((f"documents[{index}]", text) for index, text in enumerate(body.documents))


def _check_texts(texts: Iterable[tuple[str, str]], settings: ServiceSettings) -> None:
    for place, text in texts:
        if len(text) > settings.max_chars:
            raise LimitError(
                limit=f"characters in {place}",
                value=len(text),
                maximum=settings.max_chars,
                option=option("max_chars"),
            )
        # The JSON reader refuses these already; a text that got through must not break the answer.
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise TextError(f"{place} holds half a character (a lone surrogate); send valid UTF-8")
