"""What requests say of long documents, and what the settings make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pairscore.config import MIN_PAIR_TOKENS, Aggregate, Chunking, LongDocuments
from pairscore.errors import LimitError, SettingError
from pairscore.service.refusals import Refusal
from pairscore.service.settings import ServiceSettings, option

__all__ = ["ChunkingOptions", "WindowsAsk", "asked_windows", "chunking_of"]


class ChunkingOptions(BaseModel):
    """How long documents are read in windows; what is null is as the server has it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    window_tokens: int | None = Field(
        default=None,
        ge=MIN_PAIR_TOKENS,
        description="Tokens of the document in a window; null: what fits beside the query.",
    )
    overlap_tokens: int | None = Field(
        default=None,
        ge=0,
        description="Tokens that windows share, at most half of a window; null: an eighth.",
    )
    aggregate: Aggregate | None = Field(
        default=None,
        description="How the windows' logits become one: the highest, their mean, their mean weighted by their "
        "softmax, or that of the first; null: max.",
    )
    max_windows: int | None = Field(
        default=None,
        ge=1,
        description="Windows of one document; null: as many as the server allows.",
    )


@dataclass(frozen=True, slots=True)
class WindowsAsk:
    """What a request wants of long documents.

    Attributes:
        mode: whether they are cut or read in windows; None leaves that to the server.
        options: of `Chunking`, those that were given.
    """

    mode: LongDocuments | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def asked_windows(
    long_documents: LongDocuments | None, chunking: ChunkingOptions | None
) -> WindowsAsk:
    """What the two fields of a body want.

    Raises:
        Refusal: they contradict each other, or the overlap is too large for the window.
    """
    if chunking is None:
        return WindowsAsk(long_documents)
    if long_documents == "truncate":
        message = (
            "chunking is given, but long_documents is 'truncate'; send 'chunk', or no chunking"
        )
        raise Refusal("BodyError", message, details=[("chunking", message)])
    options = {name: value for name, value in chunking if value is not None}
    try:
        Chunking(**options)
    except SettingError as error:
        message = f"chunking.{error}"
        raise Refusal("BodyError", message, details=[("chunking", message)]) from None
    return WindowsAsk("chunk", options)


def chunking_of(wanted: WindowsAsk, settings: ServiceSettings) -> Chunking | None:
    """How documents are read in windows; None if they are cut.

    Raises:
        LimitError: more windows are asked for than the operator allows.
    """
    if (wanted.mode or settings.long_documents) != "chunk":
        return None
    most = settings.max_windows
    num_windows = wanted.options.get("max_windows", most)
    if num_windows > most:
        raise LimitError(
            limit="windows of one document (chunking.max_windows)",
            value=num_windows,
            maximum=most,
            option=option("max_windows"),
        )
    return Chunking(**{**wanted.options, "max_windows": num_windows})
