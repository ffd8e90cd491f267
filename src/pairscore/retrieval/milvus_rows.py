"""Documents as rows of a Milvus collection and back, the collection's fields, and whose vectors they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pairscore.errors import IndexMismatchError, InputError, TextError
from pairscore.retrieval.base import Document, Encoder
from pairscore.values import FloatArray

__all__ = [
    "MAX_BYTES",
    "OUTPUT_FIELDS",
    "MilvusLayout",
    "Origin",
    "check_document",
    "document_of",
    "index_of",
    "row_of",
    "schema_of",
]

MAX_BYTES = 65_535
"""The most bytes of UTF-8 that Milvus takes in one text."""
OUTPUT_FIELDS = ["id", "title", "full_text", "metadata"]

_MAX_INT = 2**63
_MADE_BY = "pairscore.encoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class MilvusLayout:
    """How a new collection lies in its cluster; file mode has one shard and one replica.

    Attributes:
        words: also make the BM25 index, for which a server must be 2.5 or newer.
        num_shards: parts that writes are spread over.
        num_replicas: copies in memory that searches are spread over; a query node holds at most one.
        consistency: what a search is sure to see: ``Session`` all that this process wrote, ``Strong`` what anybody wrote,
            ``Bounded`` and ``Eventually`` less, and sooner.
    """

    words: bool = True
    num_shards: int = 1
    num_replicas: int = 1
    consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = "Session"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The encoder that a collection's vectors came from."""

    name: str
    fingerprint: str
    dimension: int

    @classmethod
    def of(cls, encoder: Encoder) -> Origin:
        """What identifies an encoder."""
        return cls(name=encoder.name, fingerprint=encoder.fingerprint, dimension=encoder.dimension)

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Origin | None:
        """From a collection's properties; None if pairscore did not make it."""
        try:
            found = json.loads(properties[_MADE_BY])
            return cls(
                name=str(found["name"]),
                fingerprint=str(found["fingerprint"]),
                dimension=int(found["dimension"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def properties(self) -> dict[str, str]:
        """What `read` reads."""
        record = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "dimension": self.dimension,
        }
        return {_MADE_BY: json.dumps(record)}

    def check(self, encoder: Encoder, *, place: str) -> None:
        """Refuse another encoder than this.

        Raises:
            IndexMismatchError: its vectors would mean something else.
        """
        other = Origin.of(encoder)
        if (other.fingerprint, other.dimension) != (self.fingerprint, self.dimension):
            raise IndexMismatchError(
                f"{place} holds vectors of {self}, and the encoder is {other}; "
                "open it with that encoder, or build the index anew"
            )

    def __str__(self) -> str:
        return f"{self.name!r} ({self.dimension} numbers each, fingerprint {self.fingerprint[:12]})"


def schema_of(client: Any, origin: Origin, layout: MilvusLayout) -> Any:
    """The fields of a new collection.

    Title and text are kept as one text, which BM25 reads, and the text is cut from it again: so it is stored once. Metadata
    are one field of JSON, so that a key may have any name, also one of a field.
    """
    from pymilvus import DataType, Function, FunctionType

    schema = client.create_schema(
        auto_id=False,
        enable_dynamic_field=False,
        description=f"made by pairscore with {origin.name}",
    )
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_BYTES)
    schema.add_field("title", DataType.VARCHAR, max_length=MAX_BYTES)
    schema.add_field(
        "full_text", DataType.VARCHAR, max_length=MAX_BYTES, enable_analyzer=layout.words
    )
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=origin.dimension)
    if layout.words:
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(
                name="bm25",
                function_type=FunctionType.BM25,
                input_field_names=["full_text"],
                output_field_names=["words"],
            )
        )
    return schema


def index_of(client: Any, layout: MilvusLayout) -> Any:
    """The indexes of a new collection: the server's own choice for vectors, and BM25."""
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
    if layout.words:
        index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return index


def row_of(document: Document, vector: FloatArray) -> dict[str, Any]:
    """A document and its vector, shape (dimension,), as Milvus stores them."""
    return {
        "id": document.id,
        "title": document.title,
        "full_text": f"{document.title} {document.text}",
        "metadata": dict(document.metadata),
        "vector": vector,
    }


def document_of(row: Mapping[str, Any]) -> Document:
    """A stored document, whole."""
    title = str(row["title"])
    return Document(
        id=str(row["id"]),
        title=title,
        text=str(row["full_text"])[len(title) + 1 :],
        metadata=dict(row["metadata"] or {}),
    )


def check_document(document: Document) -> None:
    """Refuse what Milvus would refuse, or give back as something else.

    Raises:
        InputError: its id is empty, or its metadata are no scalars that fit.
        TextError: its texts are too long, or no characters.
    """
    if not document.id:
        raise InputError("a document's id is empty; give every document one of its own")
    texts = {"id": document.id, "title and text": f"{document.title} {document.text}"}
    for name, text in texts.items():
        num_bytes = _num_bytes(text, of=f"the {name} of document {document.id[:80]!r}")
        if num_bytes > MAX_BYTES:
            raise TextError(
                f"the {name} of document {document.id[:80]!r} have {num_bytes:,} bytes, "
                f"and Milvus takes at most {MAX_BYTES:,} in one text; index it in parts"
            )
    for key, value in document.metadata.items():
        _check_value(key, value, document.id)
    size = len(json.dumps(dict(document.metadata), ensure_ascii=False).encode())
    if size > MAX_BYTES:
        raise InputError(
            f"the metadata of document {document.id[:80]!r} have {size:,} bytes as JSON, "
            f"and Milvus takes at most {MAX_BYTES:,}; keep less in them"
        )


def _num_bytes(text: str, *, of: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise TextError(
            f"{of} has half a surrogate pair at character {error.start}, which is no character"
        ) from None


def _check_value(key: object, value: object, document_id: str) -> None:
    where = f"the metadata of document {document_id[:80]!r}"
    if not isinstance(key, str) or not key:
        raise InputError(f"{where} have a key that is no text, or empty")
    if value is not None and not isinstance(value, str | int | float):
        raise InputError(
            f"{where} have a {type(value).__name__} in {key!r}; "
            "values are texts, numbers, true, false or none"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} have {value} in {key!r}; numbers must be finite")
    if isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
        raise InputError(f"{where} have a number beyond 64 bits in {key!r}; keep it as a text")
    for text in (key, value) if isinstance(value, str) else (key,):
        _num_bytes(text, of=f"{key!r} in {where}")
