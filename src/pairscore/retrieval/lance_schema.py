"""How documents lie in a LanceDB table: its columns, and what the table says of itself.

A key of the metadata has a column for each kind of value that it was ever given, so that no value ever fails to fit: the
key ``year`` with whole numbers is ``i_year``, with texts ``s_year``. Names hold nothing but small letters, digits and
underscores, whatever the key holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pairscore.errors import IndexCorruptError, IndexMismatchError
from pairscore.retrieval.base import Encoder, Scalar

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FIELDS",
    "FULL_TEXT",
    "OWN",
    "TABLE",
    "VECTOR",
    "Kind",
    "Origin",
    "column_fields",
    "column_name",
    "kind_of",
    "kinds_in",
    "schema_of",
]

TABLE: Final = "documents"
VECTOR: Final = "vector"
FULL_TEXT: Final = "full_text"
"""Title and text in one column: BM25 over both as one text is better than the sum of two (docs/experiments.md)."""
FIELDS: Final = ("id", "title", FULL_TEXT, "metadata")
"""What a document is read from."""
OWN: Final = ("id", "title")
"""Columns of every document that can be filtered on, beside the keys of the metadata."""
Kind: TypeAlias = Literal["text", "whole", "decimal", "truth"]

_FORMAT: Final = 1
_KEY: Final = b"pairscore.index"
_PREFIXES: Final[Mapping[Kind, str]] = {"text": "s", "whole": "i", "decimal": "f", "truth": "b"}
_KINDS: Final[Mapping[str, Kind]] = {prefix: kind for kind, prefix in _PREFIXES.items()}
_ESCAPED: Final = re.compile(r"_([0-9a-f]+)_")
_METADATA: Final = re.compile(r"([sifb])_([a-z0-9_]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a table says of itself.

    Attributes:
        encoder: the name of the model whose vectors it holds; None for an index of words alone.
        fingerprint: the model's own; None likewise.
        dimension: numbers in a vector; None likewise.
    """

    encoder: str | None = None
    fingerprint: str | None = None
    dimension: int | None = None

    @classmethod
    def of(cls, encoder: Encoder | None) -> Origin:
        """What identifies an encoder."""
        if encoder is None:
            return cls()
        return cls(
            encoder=encoder.name, fingerprint=encoder.fingerprint, dimension=encoder.dimension
        )

    @classmethod
    def read(cls, schema: pa.Schema, *, place: str) -> Origin:
        """From a table's schema.

        Raises:
            IndexCorruptError: pairscore did not make the table, or a version did that is not known here.
        """
        try:
            found = json.loads((schema.metadata or {})[_KEY])
            version = int(found["format"])
            origin = cls(**{name: found[name] for name in cls.__slots__})
        except (KeyError, TypeError, ValueError) as error:
            raise IndexCorruptError(
                f"the table {TABLE!r} in {place!r} was not made by pairscore; give another folder"
            ) from error
        if version != _FORMAT:
            raise IndexCorruptError(
                f"the index {place!r} has the format {version}, this version of pairscore reads the format {_FORMAT}; "
                "install the version that wrote it, or build the index again"
            )
        return origin

    def check(self, encoder: Encoder, *, place: str) -> None:
        """Refuse an encoder whose vectors mean something else.

        Raises:
            IndexMismatchError: it is another one; the message names both.
        """
        if self.encoder is None:
            raise IndexMismatchError(
                f"the index {place!r} holds words and no vectors; open it without an encoder, or build it again with "
                f"{encoder.name!r}"
            )
        other = Origin.of(encoder)
        if (self.fingerprint, self.dimension) != (other.fingerprint, other.dimension):
            raise IndexMismatchError(
                f"the index {place!r} was built with {self} and cannot be used with {other}; open it with the model that "
                "it was built with, or build it again with the other one into a new folder"
            )

    def schema_metadata(self) -> dict[bytes, bytes]:
        """What `read` reads."""
        record = {"format": _FORMAT, **{name: getattr(self, name) for name in self.__slots__}}
        return {_KEY: json.dumps(record).encode()}

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.encoder!r} (dimension {self.dimension}, fingerprint {str(self.fingerprint)[:12]})"


def schema_of(origin: Origin) -> pa.Schema:
    """The schema of a new table, before the first key of metadata."""
    import pyarrow as pa  # of an extra

    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field(FULL_TEXT, pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("digest", pa.int64(), nullable=False),
    ]
    if origin.dimension is not None:
        fields.append(pa.field(VECTOR, pa.list_(pa.float32(), origin.dimension), nullable=False))
    return pa.schema(fields, metadata=origin.schema_metadata())


def column_fields(names: Iterable[str]) -> pa.Schema:
    """The types of columns of metadata, by their names in the table."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "whole": pa.int64(),
        "decimal": pa.float64(),
        "truth": pa.bool_(),
    }
    return pa.schema([pa.field(name, types[_KINDS[name[0]]]) for name in names])


def kind_of(value: Scalar) -> Kind | None:
    """Which kind of column holds a value; None for None, which none holds."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    return "whole" if isinstance(value, int) else "decimal"


def column_name(key: str, kind: Kind) -> str:
    """The column of a key's values of one kind; no two keys have the same."""
    escaped = "".join(
        char if char.isascii() and (char.islower() or char.isdigit()) else f"_{ord(char):x}_"
        for char in key
    )
    return f"{_PREFIXES[kind]}_{escaped}"


def kinds_in(names: Iterable[str]) -> dict[str, list[Kind]]:
    """The keys of the metadata that a table has columns for, each with its kinds, in the table's order."""
    found: dict[str, list[Kind]] = {}
    for name in names:
        match = _METADATA.fullmatch(name)
        if match is not None and name not in FIELDS:
            key = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), match[2])
            found.setdefault(key, []).append(_KINDS[match[1]])
    return found
