"""A row of a file as a document: which column is what, and which values can be kept as metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairscore.errors import DataFileError
from pairscore.files.columns import require_column
from pairscore.retrieval.base import Scalar

__all__ = ["DocumentColumns", "NamedColumns", "find_columns", "id_of", "metadata_of", "text_of"]

_IDS = ("_id", "id", "docid", "doc_id", "document_id", "passage_id", "pid")
_TEXTS = ("text", "document", "passage", "content", "contents", "body", "abstract", "sentence")
_TITLE = "title"
# As JSON writes them: 007 and +49 are no numbers, but names.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,18})(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_TRUTHS = {"true": True, "false": False}
_MAX_WHOLE = 2**63


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedColumns:
    """What the caller named; None finds it by its name.

    Attributes:
        id: the column of the ids.
        text: the column of the texts.
        title: the column of the titles.
        metadata: the columns that are kept beside them; None keeps all that can be.
    """

    id: str | None = None
    text: str | None = None
    title: str | None = None
    metadata: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentColumns:
    """The columns of one file, as it spells them; None for one that it has not."""

    id: str | None
    text: str
    title: str | None
    metadata: tuple[str, ...] | None


def find_columns(
    columns: Sequence[str], named: NamedColumns, *, declared: bool, name: str
) -> DocumentColumns:
    """The columns: as named, else by the names that files of documents commonly use.

    Args:
        columns: those that the file declares, or that its first row has.
        named: what the caller named.
        declared: every row has all of them. Of JSON lines only the text has to be in the first one.
        name: the file, for messages.

    Raises:
        DataFileError: a named column is not there, or none looks like the text.
    """
    for wanted, option, always in (
        (named.text, "--text-column", True),
        (named.id, "--id-column", declared),
        (named.title, "--title-column", declared),
        *((one, "--metadata-columns", declared) for one in named.metadata or ()),
    ):
        if wanted is not None and always:
            require_column(columns, wanted, option=option, name=name)
    spelled = {column.strip().casefold(): column for column in reversed(columns)}
    text = named.text or next((spelled[one] for one in _TEXTS if one in spelled), None)
    if text is None:
        raise DataFileError(
            f"{name} has no column with a usual name of a text, such as text or passage; name it with --text-column "
            "(the first line of a csv or tsv file must name the columns)"
        )
    return DocumentColumns(
        id=named.id or next((spelled[one] for one in _IDS if one in spelled), None),
        text=text,
        # A line of JSON may have a title where the first had none.
        title=named.title or spelled.get(_TITLE, None if declared else _TITLE),
        metadata=named.metadata,
    )


def id_of(value: Any) -> str:
    """An id as a text; empty if there is none."""
    if isinstance(value, bool) or value is None:
        return ""
    return str(value).strip()


def text_of(value: Any) -> str | None:
    """A text; a missing one is empty, and what is none gives None."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def metadata_of(
    values: Mapping[str, Any], columns: DocumentColumns, *, typed: bool
) -> tuple[dict[str, Scalar], list[str]]:
    """What is kept beside the text, and the names of what cannot be.

    Args:
        values: the row.
        columns: which is what.
        typed: values have types of their own; without, texts that look like numbers are numbers.
    """
    own = {columns.id, columns.text, columns.title}
    chosen = columns.metadata
    kept: dict[str, Scalar] = {}
    left_out: list[str] = []
    for key, value in _flat(values):
        if key in own or (chosen is not None and key not in chosen):
            continue
        scalar = _scalar(value) if typed or not isinstance(value, str) else _read(value)
        if scalar is not None and key:
            kept[key] = scalar
        elif value is not None and not isinstance(value, str | float):
            left_out.append(key)
    return kept, left_out


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """BEIR's files have an object called metadata; its keys are columns like the others."""
    nested = values.get("metadata")
    if not isinstance(nested, dict):
        return list(values.items())
    others = [(key, value) for key, value in values.items() if key != "metadata"]
    return [*((str(key), value) for key, value in nested.items()), *others]


def _scalar(value: Any) -> Scalar:
    """A value that can be stored and compared; None for all others."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        # Longer ones are names, and no column of numbers holds them.
        return value if -_MAX_WHOLE <= value < _MAX_WHOLE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "isoformat"):  # dates and times, which then also sort as they should
        return str(value.isoformat())
    if type(value).__name__ == "Decimal":
        return _scalar(float(value))
    return None


def _read(text: str) -> Scalar:
    """A field of a csv file: a number or a truth if it is written as one, nothing if it is empty."""
    if not text:
        return None
    truth = _TRUTHS.get(text.lower())
    if truth is not None:
        return truth
    return _scalar(json.loads(text)) if _NUMBER.fullmatch(text) else text
