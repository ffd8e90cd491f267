"""From the bytes of a request to a checked body, within the limits of the settings.

Decoding and checking large bodies takes a thread, so that nobody else waits for it.
The number of bytes was limited before, by the middleware.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from anyio import to_thread
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.requests import Request

from pairscore.errors import LimitError, TextError
from pairscore.service import hints
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Body
from pairscore.service.settings import ServiceSettings, option

__all__ = [
    "check_structure",
    "check_texts",
    "checked",
    "keys_of",
    "named_model",
    "on_thread",
    "raw_body",
]

T = TypeVar("T")
BodyT = TypeVar("BodyT", bound=Body)

_BOM: Final = b"\xef\xbb\xbf"
# Below this many bytes a check is quicker than the way to a thread and back.
_SMALL = 16 * 1024
# Above it, a body is worth a look before it is read.
_LARGE = 256 * 1024
# Names and values: a pair needs four strings, a document one; clients send more than is asked for.
_STRINGS_A_PAIR = 16
_STRINGS = 1024
# Brackets, commas, numbers: a pair needs six bytes.
_BYTES_A_PAIR = 96
_BYTES = 8192
# A string, or what begins as one and never ends; possessive, so that it is never tried twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_MAX_DETAILS = 10
# What the JSON reader says of an escaped half character, in its several wordings.
_SURROGATE_WORDS = ("surrogate", "hex escape")


async def raw_body(request: Request) -> bytes:
    """The bytes of a body that is declared as JSON.

    Raises:
        Refusal: it is declared as something else.
    """
    _check_media_type(request)
    return await request.body()


async def on_thread(raw: bytes, job: Callable[[], T]) -> T:
    """What a job makes of a body: here if the body is small, on a thread if it is large."""
    return job() if len(raw) <= _SMALL else await to_thread.run_sync(job)


def keys_of(raw: bytes) -> Mapping[str, Any]:
    """The body as an object, to see whose it is; empty if it is none, which `checked` will refuse."""
    try:
        content = from_json(raw.removeprefix(_BOM))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


class _Named(BaseModel):
    """A body of which nothing is read but the model that it names."""

    model: str | None = None


def named_model(raw: bytes) -> str | None:
    """The model that a body names, for whoever sends it on to the right place; None if it names none, or is none."""
    try:
        return _Named.model_validate_json(raw.removeprefix(_BOM)).model
    except ValidationError:
        return None


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return
    received = f"is {given[:100]!r}" if given else "is missing"
    raise Refusal(
        "MediaTypeError",
        f"the header Content-Type {received}; send the body as JSON with "
        "Content-Type: application/json (curl -H 'Content-Type: application/json')",
    )


def checked(raw: bytes, model: type[BodyT], settings: ServiceSettings) -> BodyT:
    """Decode and check a body.

    Raises:
        Refusal: it is not JSON, or not of the right shape.
        LimitError: it holds more than the settings allow.
        TextError: a text holds half a character.
    """
    if not raw.strip():
        raise Refusal("BodyError", f"the body is empty; send {model.shape}")
    check_structure(raw, model, settings)
    try:
        # Read and checked in one pass: what nobody asked for never becomes a Python object.
        body = model.model_validate_json(raw.removeprefix(_BOM))
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise _refusal(found, model) from None
    _check_count(body, settings)
    check_texts(body.all_texts(), settings)
    return body


def check_structure(raw: bytes, model: type[Body], settings: ServiceSettings) -> None:
    """Before a large body is read: what is not text in it is little, or it is made to cost memory.

    An empty list of two bytes takes a hundred times as much once it is read, whether anybody asked for it or not.

    Raises:
        LimitError: there is too much of it.
    """
    if len(raw) <= _LARGE:
        return
    num_pairs = 1 + (getattr(settings, model.limited_by) if model.counted else 1)
    num_strings = (raw.count(b'"') - raw.count(b'\\"')) // 2
    most = _STRINGS_A_PAIR * num_pairs + _STRINGS
    if num_strings > most:
        what = f"strings in the body ({_STRINGS_A_PAIR} a pair)"
        raise _too_much(what, num_strings, most, model)
    rest = len(_STRING.sub(b"", raw).translate(None, b" \t\r\n"))
    most = _BYTES_A_PAIR * num_pairs + _BYTES
    if rest > most:
        what = f"bytes of the body outside of strings ({_BYTES_A_PAIR} a pair)"
        raise _too_much(what, rest, most, model)


def _too_much(limit: str, value: int, maximum: int, model: type[Body]) -> LimitError:
    return LimitError(limit=limit, value=value, maximum=maximum, option=option(model.limited_by))


def _refusal(found: Sequence[ErrorDetails], model: type[Body]) -> Refusal:
    if found[0]["type"] == "json_invalid":
        return _not_json(str(found[0].get("ctx", {}).get("error", "")), model)
    details = hints.explain(found[:_MAX_DETAILS], model=model)
    message = details[0][1]
    if len(found) > 1:
        message += f"; and {len(found) - 1} more, in details"
    return Refusal("BodyError", message, details=details)


def _not_json(reason: str, model: type[Body]) -> Refusal:
    remedy = f"send {model.shape}, encoded in UTF-8"
    if any(words in reason for words in _SURROGATE_WORDS):
        remedy = (
            "an escape like \\ud800 is half a character (a lone surrogate) and no text: "
            "write the character itself in UTF-8, or both halves"
        )
    return Refusal("BodyError", f"the body is not JSON: {reason}; {remedy}")


def _check_count(body: Body, settings: ServiceSettings) -> None:
    entries = getattr(body, body.counted) if body.counted else ()
    maximum: int = getattr(settings, body.limited_by)
    if len(entries) > maximum:
        raise LimitError(
            limit=f"{body.counted} a request",
            value=len(entries),
            maximum=maximum,
            option=option(body.limited_by),
        )


def check_texts(texts: Iterable[tuple[str, str]], settings: ServiceSettings) -> None:
    """Refuse texts that are too long, or hold half a character; each comes with its place in the body.

    Raises:
        LimitError: a text has too many characters.
        TextError: a text holds a lone surrogate.
    """
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
