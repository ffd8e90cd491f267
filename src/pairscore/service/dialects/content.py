"""Texts in parts, as chats have them and as vLLM's `/score` and `/rerank` take them; only text can be read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, FailFast, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from pairscore.service.dialects.documents import Given

__all__ = [
    "CONTENT",
    "ContentDocuments",
    "ContentParts",
    "ContentText",
    "ContentTexts",
    "joined",
]

CONTENT: Final = "content"
"""What holds the parts."""


class _FirstFault(FailFast):
    """Ends a check at the first bad entry; with a hash, so that the type may stand in a union."""

    __hash__ = object.__hash__


class ContentParts(BaseModel):
    """A text in parts, as chats have them; parts that are no text cannot be read here."""

    content: str | list[str | dict[str, Any]]


class TextObject(BaseModel):
    """A text in an object."""

    text: str


def joined(value: Mapping[str, Any]) -> str:
    """The text of an object: its parts, a line each, as vLLM joins them.

    Raises:
        PydanticCustomError: a part is no text.
    """
    content = value.get(CONTENT, value.get("text"))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise PydanticCustomError("vllm_content", "it needs content, a list of text parts")
    return "\n".join(_text_of_part(part, number) for number, part in enumerate(content))


def _text_of_part(part: Any, number: int) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    if isinstance(text, str):
        return text
    kind = str(part.get("type"))[:40] if isinstance(part, dict) else "no object"
    raise PydanticCustomError(
        "vllm_part",
        "content[{number}] is {kind}, and the model that is served here reads only texts; send text parts",
        {"number": number, "kind": kind},
    )


def _text(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return check(joined(value) if isinstance(value, dict) else value)


def _one_or_many(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return check([value] if isinstance(value, str | dict) else value)


# As clients send them.
_OneText: TypeAlias = str | ContentParts | TextObject
_OneOrMany: TypeAlias = _OneText | list[_OneText]
ContentText: TypeAlias = Annotated[str, WrapValidator(_text, json_schema_input_type=_OneText)]
ContentTexts: TypeAlias = Annotated[
    list[ContentText],
    _FirstFault(),
    WrapValidator(_one_or_many, json_schema_input_type=_OneOrMany),
]
ContentDocuments: TypeAlias = Annotated[
    list[Given],
    _FirstFault(),
    WrapValidator(_one_or_many, json_schema_input_type=_OneOrMany),
]
