"""Documents as rows of a LanceDB table, and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pairscore.errors import InputError, TextError
from pairscore.retrieval.base import Document
from pairscore.retrieval.lance_schema import FULL_TEXT, VECTOR, column_name, kind_of
from pairscore.values import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "check_document",
    "columns_of",
    "digest_of",
    "document_of",
    "hash_of",
    "table_of",
]

_MAX_WHOLE = 2**63
_MAX_KEY_CHARS = 200


def check_document(document: Document) -> None:
    """Refuse what could not be stored and given back as it was.

    Raises:
        InputError: the id is empty, or a value of the metadata is none.
        TextError: a text holds half a character.
    """
    if not isinstance(document.id, str) or not document.id:
        raise InputError(
            f"a document has the id {document.id!r}; give each a text of its own that is not empty"
        )
    _check_text(document.id, "the id", document)
    _check_text(document.title, "the title", document)
    _check_text(document.text, "the text", document)
    for key, value in document.metadata.items():
        if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARS:
            raise InputError(
                f"the metadata of the document {document.id!r} have the key {str(key)[:40]!r}; a key is a text of 1 to "
                f"{_MAX_KEY_CHARS} characters"
            )
        _check_text(key, "a key of the metadata", document)
        _check_value(key, value, document)


def columns_of(documents: Iterable[Document]) -> list[str]:
    """The columns that the metadata of some documents need, in the order of their first use."""
    found = {
        (key, kind): None
        for document in documents
        for key, value in document.metadata.items()
        if (kind := kind_of(value)) is not None
    }
    return [column_name(key, kind) for key, kind in found]


def table_of(
    documents: Sequence[Document], vectors: FloatArray | None, schema: pa.Schema
) -> pa.Table:
    """Rows for a table with this schema; what a document has no value for is null."""
    import pyarrow as pa

    values: dict[str, list[Any]] = {name: [None] * len(documents) for name in schema.names}
    for row, document in enumerate(documents):
        values["id"][row] = document.id
        values["title"][row] = document.title
        values[FULL_TEXT][row] = _joined(document)
        values["metadata"][row] = _json(document.metadata)
        values["digest"][row] = digest_of(document)
        for key, value in document.metadata.items():
            kind = kind_of(value)
            if kind is not None:
                values[column_name(key, kind)][row] = value
    if vectors is not None:
        flat = pa.array(vectors.reshape(-1), type=pa.float32())
        values[VECTOR] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for field, column in ((field, values[field.name]) for field in schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def document_of(row: Mapping[str, Any]) -> Document:
    """A document from its row."""
    title, full_text = row["title"], row[FULL_TEXT]
    return Document(
        id=row["id"],
        title=title,
        text=full_text[len(title) + 1 :] if title else full_text,
        metadata=json.loads(row["metadata"]),
    )


def digest_of(document: Document) -> int:
    """64 bits that differ wherever two documents with one id differ."""
    content = json.dumps(
        [document.title, document.text, dict(document.metadata)], ensure_ascii=False, sort_keys=True
    )
    return hash_of(content)


def hash_of(text: str) -> int:
    """64 bits of a text, as a signed number."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _joined(document: Document) -> str:
    """Can be taken apart again, unlike `Document.full_text`, which loses spaces at the ends."""
    return f"{document.title} {document.text}" if document.title else document.text


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_text(text: object, what: str, document: Document) -> None:
    if not isinstance(text, str):
        raise InputError(
            f"{what} of the document {str(document.id)[:80]!r} is of the type {type(text).__name__}; give a text"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{what} of the document {document.id[:80]!r} holds half a character (a lone surrogate) at "
            f"{error.start + 1}; clean it"
        ) from error


def _check_value(key: str, value: object, document: Document) -> None:
    what = f"the value of {key!r} of the document {document.id!r}"
    if isinstance(value, str):
        _check_text(value, f"the value of {key!r}", document)
    elif value is not None and not isinstance(value, int | float):
        raise InputError(
            f"{what} is of the type {type(value).__name__}; give a text, a number, true, false or nothing"
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{what} is {value}; give a finite number, or nothing")
    elif isinstance(value, int) and not -_MAX_WHOLE <= value < _MAX_WHOLE:
        raise InputError(f"{what} is beyond 64 bits; write it as a text")
