"""A search index in a folder: documents, their words (BM25) and their vectors; embedded, without a server (LanceDB)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pairscore.closing import Closing
from pairscore.errors import (
    ClosedError,
    InputError,
    SettingError,
)
from pairscore.retrieval import index_search, index_upkeep, lance_store
from pairscore.retrieval.base import Candidate, Document, Encoder, Filter, Mode
from pairscore.retrieval.index_info import IndexInfo, read_info
from pairscore.retrieval.index_lock import WriterLock
from pairscore.retrieval.index_vectors import document_vectors, query_vector
from pairscore.retrieval.lance_errors import reading, writing
from pairscore.retrieval.lance_filter import ids_expression
from pairscore.retrieval.lance_rows import (
    check_document,
    columns_of,
    table_of,
)
from pairscore.retrieval.lance_schema import (
    Origin,
    column_fields,
    kinds_in,
    schema_of,
)
from pairscore.values import FloatArray, IntArray

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["SearchIndex"]

_BUSY_WAIT_S = 5.0
_KEEP_S = 600.0
_MAX_COLUMNS = 512


class SearchIndex(Closing):
    """Documents that are found by vectors and by words. Many threads may search at once, also while one writes.

    Use `create` or `open`. A write is done when its method returns: it is on the disk whole, and every later search in
    any process finds it; one that was interrupted never happened. `optimize` makes searching quick again after many
    writes, and changes no result beyond the vector index's own small misses (docs/search-index.md).
    """

    name = "lancedb"

    def __init__(
        self,
        place: lance_store.Place,
        table: Table,
        *,
        encoder: Encoder | None,
        lock: WriterLock,
        pinned: bool = False,
    ) -> None:
        self._place = place
        self._table: Table | None = table
        self._origin = Origin.read(table.schema, place=place.uri)
        self._encoder = encoder
        self._lock = lock
        self._pinned = pinned
        if encoder is not None:
            self._origin.check(encoder, place=place.uri)

    @classmethod
    def create(
        cls,
        uri: str | Path,
        *,
        encoder: Encoder | None,
        storage_options: Mapping[str, str] | None = None,
        busy_wait_s: float = _BUSY_WAIT_S,
    ) -> Self:
        """Make an empty index.

        Args:
            uri: a folder, or an address that LanceDB knows, such as ``s3://bucket/index``.
            encoder: makes the vectors; None for an index of words alone.
            storage_options: passed on to LanceDB as they are.
            busy_wait_s: seconds to wait for another writer.

        Raises:
            OutputFileError: there is one already, or the place may not be written to.
            MissingExtraError: LanceDB is not installed.
        """
        place = lance_store.Place.of(uri, storage_options)
        if place.folder is not None:
            with writing(place.uri):
                place.folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(place.folder, wait_s=busy_wait_s)
        with lock.held():
            table = lance_store.create_table(place, schema_of(Origin.of(encoder)))
            with writing(place.uri):
                index_upkeep.make_indices(table)
        return cls(place, table, encoder=encoder, lock=lock)

    @classmethod
    def open(
        cls,
        uri: str | Path,
        *,
        encoder: Encoder | None = None,
        storage_options: Mapping[str, str] | None = None,
        version: int | None = None,
        busy_wait_s: float = _BUSY_WAIT_S,
    ) -> Self:
        """Open an index.

        Args:
            uri: where it lies.
            encoder: the one that it was built with; None to search by words alone.
            storage_options: passed on to LanceDB as they are.
            version: an earlier version (`info` has their number), to be read only; None for the newest, always.
            busy_wait_s: seconds to wait for another writer.

        Raises:
            IndexNotFoundError: there is none.
            IndexMismatchError: it was built with another encoder; the message names both.
            IndexCorruptError: it is not whole.
            SettingError: there is no such version.
            MissingExtraError: LanceDB is not installed.
        """
        place = lance_store.Place.of(uri, storage_options)
        table = lance_store.open_table(place)
        if version is not None:
            lance_store.check_out(table, version, place=place)
        lock = WriterLock(place.folder, wait_s=busy_wait_s)
        return cls(place, table, encoder=encoder, lock=lock, pinned=version is not None)

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._place.uri

    @property
    def encoder(self) -> Encoder | None:
        """The one that it was opened with."""
        return self._encoder

    @property
    def modes(self) -> frozenset[Mode]:
        """Words always; vectors if it was opened with its encoder."""
        return frozenset({"bm25"} if self._encoder is None else {"bm25", "dense"})

    @property
    def num_documents(self) -> int:
        """Documents in it."""
        with self._reading() as table:
            return int(table.count_rows())

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the metadata that can be filtered on."""
        with self._reading() as table:
            return tuple(kinds_in(table.schema.names))

    def info(self) -> IndexInfo:
        """What it is and holds."""
        with self._reading() as table:
            num_bytes = self._place.num_bytes()
            return read_info(table, self._origin, place=self.uri, num_bytes=num_bytes)

    def add(self, documents: Iterable[Document], *, vectors: FloatArray | None = None) -> int:
        """Add documents, all of them or, on an error, none.

        Args:
            documents: with ids that are not in the index yet.
            vectors: theirs, shape (num_documents, dimension), float32, length 1; None lets the encoder make them.

        Returns:
            How many there were.

        Raises:
            InputError: an id is there already, or twice among them, or a document cannot be stored.
            IndexBusyError: somebody else is writing.
            OutputFileError: the disk is full.
            SettingError: the index was opened without its encoder.
        """
        given = self._checked(documents)
        _refuse_twice(given)
        self._refuse_known(given)
        made = self._vectors(given, vectors)
        with self._lock.held():
            self._refuse_known(given)
            return self.append(given, vectors=made)

    def append(self, documents: Sequence[Document], *, vectors: FloatArray | None = None) -> int:
        """Add documents whose ids the caller knows to be new; what `add` does behind its checks.

        Raises:
            InputError, IndexBusyError, OutputFileError, SettingError: as `add`.
        """
        given = self._checked(documents)
        if not given:
            return 0
        made = self._vectors(given, vectors)
        with self._writing(given) as table:
            table.add(table_of(given, made, table.schema))
        return len(given)

    def upsert(self, documents: Iterable[Document], *, vectors: FloatArray | None = None) -> int:
        """Add documents, and replace those that have their ids; of several with one id the last counts. All or none.

        Args:
            documents: any.
            vectors: as for `add`.

        Returns:
            How many were written.

        Raises:
            InputError, IndexBusyError, OutputFileError, SettingError: as `add`.
        """
        every = self._checked(documents)
        if not every:
            return 0
        last = sorted({document.id: row for row, document in enumerate(every)}.values())
        given = [every[row] for row in last]
        made = self._vectors(given, None if vectors is None else vectors[last])
        with self._writing(given) as table:
            rows = table_of(given, made, table.schema)
            merge = table.merge_insert("id").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(rows)
        return len(given)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents; an id that is not there is none.

        Returns:
            How many were removed.

        Raises:
            IndexBusyError, OutputFileError: as `add`.
        """
        removed = 0
        for some in index_search.chunks(ids):
            with self._writing(()) as table:
                result: Any = table.delete(ids_expression(some))
                removed += int(result.num_deleted_rows)
        return removed

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Documents by their ids, in that order; those that are not there are left out."""
        with self._reading() as table:
            return index_search.stored(table, ids)

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        """The documents nearest to a vector; see `Retriever.by_vector`. The scores are exact cosines."""
        self._check_search("dense", limit)
        given = query_vector(vector, origin=self._origin)
        with self._reading() as table:
            return index_search.nearest(table, given, limit=limit, where=where)

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        """The documents with the query's words; see `Retriever.by_words`."""
        self._check_search("bm25", limit)
        text = query.encode("utf-8", "replace").decode()
        with self._reading() as table:
            return index_search.matching(table, text, limit=limit, where=where)

    def optimize(self, *, keep_s: float = _KEEP_S) -> None:
        """Take what was written lately into the word and vector indices, join small files, forget old versions.

        Args:
            keep_s: seconds for which earlier versions stay readable; 0 frees most room, and breaks a search that is
                under way in another process.

        Raises:
            IndexBusyError, OutputFileError: as `add`.
        """
        if keep_s < 0:
            raise SettingError(f"keep_s is {keep_s}; it must be at least 0 seconds")
        with self._writing(()) as table:
            index_upkeep.compact(table, keep_s=keep_s, alone=self._place.folder is not None)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block of many writes, between which nobody else writes.

        Raises:
            IndexBusyError: somebody else is writing.
        """
        self._open_table()
        with self._lock.held():
            yield

    def digests(self) -> Iterator[tuple[list[str], IntArray]]:
        """The ids of all documents with `lance_rows.digest_of` each, some thousands at a time."""
        with self._reading() as table:
            for batch in table.search().select(["id", "digest"]).to_batches(8192):
                yield batch["id"].to_pylist(), np.asarray(batch["digest"])

    def close(self) -> None:
        """Let go of it; a second call does nothing."""
        self._table = None

    def _open_table(self) -> Table:
        table = self._table
        if table is None:
            raise ClosedError(f"the index {self.uri!r} was closed; open it again")
        return table

    @contextmanager
    def _reading(self) -> Iterator[Table]:
        table = self._open_table()
        with reading(self._place.uri):
            yield table

    @contextmanager
    def _writing(self, documents: Sequence[Document]) -> Iterator[Table]:
        """The table with all columns that some documents need, and nobody else who writes."""
        table = self._open_table()
        if self._pinned:
            raise SettingError(
                f"version {table.version} of the index {self.uri!r} was opened, which is past and only read; "
                "open the index without a version to write to it"
            )
        with self._lock.held(), writing(self._place.uri):
            self._widen(table, documents)
            yield table

    def _widen(self, table: Table, documents: Sequence[Document]) -> None:
        there = set(table.schema.names)
        new = [name for name in columns_of(documents) if name not in there]
        if len(there) + len(new) > _MAX_COLUMNS:
            raise InputError(
                f"the metadata have more than {_MAX_COLUMNS} columns; leave out keys that nobody filters on, or put "
                "them into one text"
            )
        if new:
            table.add_columns(column_fields(new))

    def _checked(self, documents: Iterable[Document]) -> list[Document]:
        self._open_table()
        given = list(documents)
        for document in given:
            check_document(document)
        return given

    def _vectors(
        self, documents: Sequence[Document], given: FloatArray | None
    ) -> FloatArray | None:
        return document_vectors(
            documents, given, encoder=self._encoder, origin=self._origin, place=self._place.uri
        )

    def _refuse_known(self, documents: Sequence[Document]) -> None:
        with self._reading() as table:
            known = index_search.first_known(table, [document.id for document in documents])
        if known is not None:
            raise InputError(
                f"the id {known!r} is in the index {self.uri!r} already; to replace documents, use upsert"
            )

    def _check_search(self, mode: Mode, limit: int) -> None:
        self._open_table()
        if mode not in self.modes:
            raise SettingError(
                f"the index {self.uri!r} was opened without an encoder, so it can only be searched by words; open "
                f"it with the one that it was built with, {self._origin}"
            )
        if limit < 1:
            raise SettingError(f"limit is {limit}; it must be at least 1 document")


def _refuse_twice(documents: Sequence[Document]) -> None:
    counts = Counter(document.id for document in documents)
    twice = next((one for one, count in counts.items() if count > 1), None)
    if twice is not None:
        raise InputError(
            f"the id {twice!r} is given {counts[twice]} times; give each document its own, or use upsert, where the "
            "last one counts"
        )
