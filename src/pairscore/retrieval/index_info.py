"""What an index says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pairscore.retrieval.index_upkeep import unindexed
from pairscore.retrieval.lance_schema import Kind, Origin, kinds_in

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["Column", "IndexInfo", "read_info"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A key of the metadata that can be filtered on.

    Attributes:
        name: the key.
        kinds: the kinds of its values: ``text``, ``whole``, ``decimal``, ``truth``.
    """

    name: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexInfo:
    """What an index is and holds.

    Attributes:
        uri: where it lies.
        num_documents: documents in it.
        encoder: the name of the model whose vectors it holds; None for words alone.
        fingerprint: that model's own; None likewise.
        dimension: numbers in a vector; None likewise.
        has_words: whether it can be searched by words; every index can.
        has_vectors: whether it can be searched by vectors.
        columns: the keys of the metadata, with the kinds of their values.
        version: the number of the version that is read; each write makes a new one.
        num_versions: versions that can still be opened, this one included.
        written_at: when this version was written, in UTC.
        num_unindexed: documents that were added since the last `optimize`: found like all others, but less quickly.
        num_bytes: what it takes on this machine's disk, old versions included; None for one elsewhere.
    """

    uri: str
    num_documents: int
    encoder: str | None
    fingerprint: str | None
    dimension: int | None
    has_words: bool
    has_vectors: bool
    columns: tuple[Column, ...]
    version: int
    num_versions: int
    written_at: datetime | None
    num_unindexed: int
    num_bytes: int | None


def read_info(table: Table, origin: Origin, *, place: str, num_bytes: int | None) -> IndexInfo:
    """What a table says, and how large it is."""
    versions = table.list_versions()
    version = int(table.version)
    written_at = next((one["timestamp"] for one in versions if one["version"] == version), None)
    return IndexInfo(
        uri=place,
        num_documents=int(table.count_rows()),
        encoder=origin.encoder,
        fingerprint=origin.fingerprint,
        dimension=origin.dimension,
        has_words=True,
        has_vectors=origin.dimension is not None,
        columns=tuple(
            Column(name=key, kinds=tuple(kinds))
            for key, kinds in kinds_in(table.schema.names).items()
        ),
        version=version,
        num_versions=len(versions),
        # LanceDB gives local time without saying so.
        written_at=None if written_at is None else written_at.astimezone(UTC),
        num_unindexed=unindexed(table),
        num_bytes=num_bytes,
    )
