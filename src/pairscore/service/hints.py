"""From pydantic's findings to sentences that say what to send instead; pure functions.

Nothing here knows HTTP. A field that was spelt another way is recognised, by the names that other
services use and by likeness.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from pairscore.service.schemas import BatchRequest, Body, TextPair

__all__ = ["explain", "shown"]

_SHOWN_CHARS = 60
_ALIASES: Final[Mapping[str, frozenset[str]]] = {
    "text_a": frozenset(
        [
            "texta",
            "text1",
            "text0",
            "a",
            "first",
            "sentence1",
            "sentencea",
            "query",
            "question",
            "source",
            "premise",
        ]
    ),
    "text_b": frozenset(
        [
            "textb",
            "text2",
            "b",
            "second",
            "sentence2",
            "sentenceb",
            "document",
            "doc",
            "passage",
            "answer",
            "target",
            "hypothesis",
        ]
    ),
    "pairs": frozenset(
        ["pair", "inputs", "input", "items", "data", "batch", "textpairs", "sentences", "texts"]
    ),
    "input": frozenset(["inputs", "documents", "docs", "passages", "texts", "items"]),
    "query": frozenset(["q", "question", "text", "texta", "sourcesentence", "source", "search"]),
    "documents": frozenset(
        [
            "document",
            "docs",
            "doc",
            "passages",
            "passage",
            "texts",
            "corpus",
            "candidates",
            "sentences",
            "items",
            "results",
        ]
    ),
}
_OBJECT_TYPES = frozenset({"model_type", "model_attributes_type", "dict_type"})
_KINDS: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def explain(errors: Iterable[ErrorDetails], *, model: type[Body]) -> list[tuple[str, str]]:
    """Each finding as its field's path and a sentence with the remedy."""
    return [(_path(error["loc"]), _sentence(error, model)) for error in errors]


def shown(value: object) -> str:
    """What was received, short: its kind, and its beginning where that helps."""
    kind = _KINDS.get(type(value), type(value).__name__)
    if value is None or isinstance(value, list | dict):
        return kind
    try:
        text = repr(value)
    # A number of thousands of digits has no repr.
    except ValueError:
        return kind
    return f"{kind}, {text[:_SHOWN_CHARS]}{'…' if len(text) > _SHOWN_CHARS else ''}"


def _path(loc: Iterable[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "body"


def _sentence(error: ErrorDetails, model: type[Body]) -> str:
    kind, place, value = error["type"], _path(error["loc"]), error["input"]
    if kind == "missing":
        return _missing(place, str(error["loc"][-1]), value, model)
    if kind in _OBJECT_TYPES:
        return _no_object(place, value, model)
    return f"{place} is {shown(value)}; {_wanted(error, place, model)}"


def _wanted(error: ErrorDetails, place: str, model: type[Body]) -> str:
    remedies = {
        "string_type": "it must be a string, in quotes",
        "list_type": f"it must be a list, also for one: {model.shape}",
        "too_short": f"it is empty; send at least one: {model.shape}",
    }
    fields = {
        "top_k": "it must be a whole number of at least 1, or null for all",
        "return_documents": "it must be true or false",
    }
    return remedies.get(error["type"]) or fields.get(place) or error["msg"].lower()


def _no_object(place: str, value: Any, model: type[Body]) -> str:
    if place != "body":
        shape = TextPair.shape if model is BatchRequest else model.shape
        return f"{place} is {shown(value)}; it must be an object: {shape}"
    if isinstance(value, list) and model is BatchRequest:
        return f"the body is a bare list; put it under pairs: {model.shape}"
    if isinstance(value, list) and issubclass(model, TextPair):
        return (
            f"the body is a list, and /score takes one pair: {model.shape}; "
            f"post many to /score/batch: {BatchRequest.shape}"
        )
    return f"the body is {shown(value)}; it must be an object: {model.shape}"


def _missing(place: str, field: str, holder: Any, model: type[Body]) -> str:
    keys = [key for key in holder if isinstance(key, str)] if isinstance(holder, dict) else []
    fields = TextPair.model_fields if field in TextPair.model_fields else model.model_fields
    lookalike = _lookalike(field, [key for key in keys if key not in fields])
    if elsewhere := _elsewhere(keys, model):
        return f"{place} is missing; {elsewhere}"
    if lookalike is not None:
        return f"{place} is missing; you sent {lookalike[:_SHOWN_CHARS]!r}: did you mean {field}?"
    return f"{place} is missing; the body is {model.shape}"


def _elsewhere(keys: list[str], model: type[Body]) -> str | None:
    """Bodies that are right, at another route."""
    if issubclass(model, TextPair) and "pairs" in keys:
        return f"/score takes one pair: {model.shape}; post pairs to /score/batch"
    if model is BatchRequest and {"text_a", "text_b"} <= set(keys):
        return f"put the pair under pairs: {model.shape}; or post it to /score as it is"
    if "documents" in keys and "documents" not in model.model_fields:
        return f"this route takes {model.shape}; post a query with documents to /rerank"
    return None


def _lookalike(field: str, keys: list[str]) -> str | None:
    plain = {_plain(key): key for key in reversed(keys)}
    for name, key in plain.items():
        if name == _plain(field) or name in _ALIASES.get(field, ()):
            return key
    close = difflib.get_close_matches(_plain(field), plain, n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    return "".join(char for char in name[:_SHOWN_CHARS].casefold() if char.isalnum())
