"""Texts that are the same but for spelling: found without any model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from pairscore.errors import TextError

__all__ = ["Distinct", "distinct_texts", "normalised"]


def normalised(text: str) -> str:
    """A text without what makes no difference: case, runs of white space, and how Unicode spells an accent (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Distinct:
    """Some texts, of which many may be the same.

    Attributes:
        positions: for each distinct text, where it stands in the input: the places of all its copies, ascending.
        texts: each distinct text as its first copy spells it.
    """

    positions: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Differs wherever a distinct text does."""
        digest = sha256()
        for text in self.texts:
            content = text.encode("utf-8")
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.hexdigest()


def distinct_texts(texts: Sequence[str]) -> Distinct:
    """Put texts that are the same after `normalised` together.

    Raises:
        TextError: one is no string, holds nothing but white space, or half a character.
    """
    places: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(
                f"text {position} is a {type(text).__name__}; it must be a string (str)"
            )
        key = normalised(text)
        if not key:
            raise TextError(f"text {position} is empty; leave it out, or fill it in")
        _check_whole(text, position)
        places.setdefault(key, []).append(position)
    found = tuple(tuple(some) for some in places.values())
    return Distinct(positions=found, texts=tuple(texts[some[0]] for some in found))


def _check_whole(text: str, position: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"text {position} holds half a character (a lone surrogate) at position {error.start}; clean it with "
            "text.encode('utf-8', 'replace').decode()"
        ) from error
