"""Documents as callers send them, texts or objects, and the text that the model reads of each.

An object is read as its ``text``; or, where fields to rank by are named, as those; or else as all of its fields but
``id`` and ``metadata``. Fields are written as lines, `name: value`, much as YAML does:

    title: Paris
    tags:
    - city
    - capital
    population: 2100000
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from pairscore.service.refusals import Refusal

__all__ = ["Document", "Given", "Query", "read_documents", "rendered"]

_TEXT: Final = "text"
_NOT_RANKED: Final = frozenset({"id", "metadata"})
_INDENT: Final = "  "
_IMAGES: Final = ("image", "image_url")


def _no_image(value: Any) -> Any:
    """An object with an image and no text would be read as the image's address."""
    if isinstance(value, dict) and not isinstance(value.get(_TEXT), str):
        picture = next((name for name in _IMAGES if name in value), None)
        if picture is not None:
            raise PydanticCustomError(
                picture, 'images cannot be read here, only text: send a string, or {"text": "..."}'
            )
    return value


def _text_or_object(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return _no_image(value) if isinstance(value, dict) else check(value)


def _text_of_query(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    text = _no_image(value)
    return check(text.get(_TEXT, text) if isinstance(text, dict) else text)


Given: TypeAlias = Annotated[
    str, WrapValidator(_text_or_object, json_schema_input_type=str | dict[str, Any])
]
"""A document in a body: a text, or an object. One check, so that an error names one fault and not two."""

Query: TypeAlias = Annotated[
    str, WrapValidator(_text_of_query, json_schema_input_type=str | dict[str, str])
]
"""A query in a body: a text, or an object with `text`."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        text: what the model reads.
        given: what was sent.
    """

    text: str
    given: str | Mapping[str, Any]

    @property
    def object(self) -> Mapping[str, Any]:
        """As an object, also if it was sent as a text."""
        return {_TEXT: self.given} if isinstance(self.given, str) else self.given

    def field(self, name: str) -> Any:
        """What an object has under a name; None of a text."""
        return None if isinstance(self.given, str) else self.given.get(name)


def read_documents(
    given: Sequence[str | Mapping[str, Any]],
    *,
    rank_fields: Sequence[str] | None = None,
    field: str = "documents",
) -> list[Document]:
    """What the model reads of each document.

    Args:
        given: texts or objects.
        rank_fields: the fields of objects that are read, in this order; None or none takes ``text``.
        field: what the body calls the documents, for messages.

    Raises:
        Refusal: an object has nothing to read.
    """
    return [
        Document(entry, entry)
        if isinstance(entry, str)
        else Document(_text_of(entry, rank_fields or (), f"{field}[{position}]"), entry)
        for position, entry in enumerate(given)
    ]


def rendered(fields: Mapping[str, Any]) -> str:
    """Fields as lines of text; what is null is left out."""
    return "\n".join(_lines(fields))


def _text_of(entry: Mapping[str, Any], rank_fields: Sequence[str], place: str) -> str:
    if rank_fields:
        fields = {name: entry[name] for name in rank_fields if name in entry}
    elif isinstance(text := entry.get(_TEXT), str):
        return text
    else:
        fields = {name: value for name, value in entry.items() if name not in _NOT_RANKED}
    text = rendered(fields)
    if not text:
        wanted = f"one of {', '.join(rank_fields)}" if rank_fields else "text, or other fields"
        message = f"{place} is an object with nothing to read; give it {wanted[:200]}"
        raise Refusal("BodyError", message, details=[(place, message)])
    return text


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            yield f"{name}:"
            yield from (_INDENT + line for line in _lines(value))
        elif isinstance(value, list):
            yield f"{name}:"
            yield from (f"- {_inline(item)}" for item in value)
        else:
            yield f"{name}: {_inline(value)}"


def _inline(value: Any) -> str:
    """A value on its line; the further lines of a text are indented, so that none looks like a field."""
    if isinstance(value, str):
        return value.replace("\n", "\n" + _INDENT)
    return json.dumps(value, ensure_ascii=False)
