"""Search in Milvus: a cluster, one server, or a folder of this machine (milvus-lite), all through pymilvus."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Self

import numpy as np

from pairscore.closing import Closing
from pairscore.errors import (
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    OutputFileError,
    SearchIndexError,
    SettingError,
)
from pairscore.retrieval.base import Candidate, Document, Encoder, Filter, Mode
from pairscore.retrieval.milvus_columns import KnownColumns
from pairscore.retrieval.milvus_connection import Connection
from pairscore.retrieval.milvus_filter import expression, ids_expression
from pairscore.retrieval.milvus_place import MilvusPlace, is_milvus
from pairscore.retrieval.milvus_rows import (
    OUTPUT_FIELDS,
    MilvusLayout,
    Origin,
    check_document,
    document_of,
    index_of,
    row_of,
    schema_of,
)
from pairscore.values import FloatArray

__all__ = ["MilvusLayout", "MilvusPlace", "MilvusRetriever"]

MAX_LIMIT: Final = 16_384
"""The most results that Milvus gives to one search."""
# With the longest texts and vectors of 4,096 numbers this stays far below a server's 64 MiB a message.
_BATCH: Final = 128
_IDS_BATCH: Final = 1_000
_WORD: Final = re.compile(r"\w")


class MilvusRetriever(Closing):
    """A collection of Milvus, made by `create` or found by `open`; many threads may use it.

    It implements `pairscore.retrieval.base.Retriever`. Documents are stored with their vectors and, where the layout has
    words, in Milvus' own BM25 index; file mode computes BM25's statistics apart for each of its segments, and an index
    of vectors finds nearly, not surely, the nearest.
    """

    def __init__(self, connection: Connection, *, origin: Origin, encoder: Encoder | None) -> None:
        self._connection = connection
        self._origin = origin
        self._encoder = encoder
        self._columns = KnownColumns(self._sample)
        fields = {field["name"] for field in connection.call("describe_collection")["fields"]}
        modes: dict[Mode, bool] = {"dense": encoder is not None, "bm25": "words" in fields}
        self._modes = frozenset(mode for mode, there in modes.items() if there)

    @classmethod
    def create(
        cls,
        place: str | MilvusPlace,
        *,
        encoder: Encoder,
        layout: MilvusLayout | None = None,
    ) -> Self:
        """Make a new collection.

        Args:
            place: where, also as text (`MilvusPlace.parse`).
            encoder: makes the documents' vectors; the collection keeps its name and its fingerprint.
            layout: shards, replicas, consistency, and whether there is BM25.

        Raises:
            OutputFileError: there is one already.
            SearchIndexError: Milvus cannot make it.
            MissingExtraError: pymilvus is not installed.
            SettingError: the place is written wrongly.
        """
        layout = layout or MilvusLayout()
        origin = Origin.of(encoder)
        connection = Connection(_place(place), create=True)
        try:
            _make(connection, origin, layout)
            return cls(connection, origin=origin, encoder=encoder)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def open(cls, place: str | MilvusPlace, *, encoder: Encoder | None = None) -> Self:
        """Find a collection that `create` made, and load it if it is not in memory yet.

        Args:
            place: where, also as text (`MilvusPlace.parse`).
            encoder: the one that it was made with; None for words only, and nothing is compared.

        Raises:
            IndexNotFoundError: there is no such collection.
            IndexMismatchError: it was made with another encoder, or not by pairscore.
            SearchIndexError: Milvus cannot open or load it.
            MissingExtraError: pymilvus is not installed.
            SettingError: the place is written wrongly.
        """
        connection = Connection(_place(place), create=False)
        try:
            origin = _origin(connection)
            if encoder is not None:
                origin.check(encoder, place=str(connection.place))
            connection.call("load_collection")
            return cls(connection, origin=origin, encoder=encoder)
        except BaseException:
            connection.close()
            raise

    @property
    def name(self) -> str:
        """``milvus``."""
        return "milvus"

    @property
    def modes(self) -> frozenset[Mode]:
        """Both; without an encoder only words, and without BM25 in its layout only vectors."""
        return self._modes

    @property
    def encoder_name(self) -> str:
        """The model that its vectors came from."""
        return self._origin.name

    @property
    def num_documents(self) -> int:
        """Documents that can be found now."""
        rows = self._connection.call(
            "query", filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(rows[0]["count(*)"])

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the metadata that can be filtered on, as far as a sample and what passed since it was opened tell."""
        return self._columns.names()

    def add(self, documents: Iterable[Document]) -> int:
        """Add new documents, in batches that each are there once the next one begins.

        Returns:
            How many.

        Raises:
            InputError: an id is there already, twice among them, or empty; or a document does not fit (`TextError`).
            SettingError: opened without an encoder.
            SearchIndexError: Milvus did not take a batch; those before it are in.
        """
        return sum(self._write(batch, new=True) for batch in _batches(documents))

    def upsert(self, documents: Iterable[Document]) -> int:
        """Add documents, in place of those with the same ids; of several with one id the last counts.

        Returns:
            How many were written, batch by batch.

        Raises:
            InputError, SettingError, SearchIndexError: as `add`.
        """
        return sum(self._write(batch, new=False) for batch in _batches(documents))

    def delete(self, ids: Sequence[str]) -> int:
        """Take documents out; an id that is not there is no error.

        Returns:
            How many were there.

        Raises:
            SearchIndexError: Milvus failed.
        """
        num_found = 0
        for chunk in _chunks(ids):
            with self._connection.writing():
                found = self._known(chunk)
                if found:
                    self._connection.call("delete", filter=ids_expression(found))
            num_found += len(found)
        return num_found

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents with these ids, in this order; those that are not there are left out.

        Raises:
            SearchIndexError: Milvus failed.
        """
        found: dict[str, Document] = {}
        for chunk in _chunks(ids):
            rows = self._connection.call(
                "query", filter=ids_expression(chunk), output_fields=OUTPUT_FIELDS
            )
            found |= {row["id"]: document_of(row) for row in rows}
        return [found[one] for one in ids if one in found]

    def optimize(self) -> None:
        """Write out what is in memory and index it, as Milvus does by itself in time; after many writes searches are quicker.

        It changes nothing that is found. File mode needs it most; a server takes it ten times a minute at most.

        Raises:
            SearchIndexError: Milvus failed, or was not done in time.
        """
        with self._connection.writing():
            self._connection.call("flush")

    def by_vector(
        self, vector: FloatArray, *, limit: int, where: Filter = ()
    ) -> Sequence[Candidate]:
        """The documents nearest to a vector; see `pairscore.retrieval.base.Retriever`.

        Raises:
            FilterError: a column is not known, or cannot be compared so.
            IndexMismatchError: the vector has another dimension.
            SearchIndexError: Milvus failed, or did not answer in time.
            SettingError: opened without an encoder, or more than 16,384 were asked for.
        """
        self._check("dense", limit)
        values = np.asarray(vector, dtype=np.float32)
        if values.shape != (self._origin.dimension,):
            raise IndexMismatchError(
                f"a vector of shape {values.shape} was given, and {self._connection.place} holds vectors of "
                f"{self._origin.dimension} numbers; encode the query with {self._origin.name!r}"
            )
        if not np.isfinite(values).all():
            raise InputError("a vector has numbers that are not finite; encode the query again")
        return self._search(values.tolist(), "vector", "COSINE", limit, where)

    def by_words(self, query: str, *, limit: int, where: Filter = ()) -> Sequence[Candidate]:
        """The documents with the query's words; see `pairscore.retrieval.base.Retriever`.

        Raises:
            FilterError, SearchIndexError: as `by_vector`.
            SettingError: the collection has no BM25, or more than 16,384 were asked for.
        """
        self._check("bm25", limit)
        # A server refuses a query without any word.
        text = query if _WORD.search(query) else ""
        return self._search(text, "words", "BM25", limit, where)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._connection.close()

    def _check(self, mode: Mode, limit: int) -> None:
        if mode not in self._modes:
            remedy = (
                "open it with its encoder" if mode == "dense" else "create it with layout.words"
            )
            raise SettingError(f"{self._connection.place} cannot be searched by {mode}; {remedy}")
        if not 1 <= limit <= MAX_LIMIT:
            raise SettingError(
                f"limit is {limit:,}; Milvus gives from 1 to {MAX_LIMIT:,} documents to one search"
            )

    def _search(
        self, query: object, field: str, metric: str, limit: int, where: Filter
    ) -> list[Candidate]:
        wanted = expression(where, kinds_of=self._columns.kinds_of)
        if query == "":
            return []
        hits = self._connection.call(
            "search",
            data=[query],
            anns_field=field,
            limit=limit,
            filter=wanted,
            output_fields=OUTPUT_FIELDS,
            search_params={"metric_type": metric},
        )[0]
        # File mode gives BM25 with its sign turned; a server does not, and a cosine keeps its own.
        turn = abs if metric == "BM25" else float
        found = [
            Candidate(document=document_of(hit["entity"]), score=turn(hit["distance"]))
            for hit in hits
        ]
        return sorted(found, key=lambda candidate: -candidate.score)

    def _write(self, batch: list[Document], *, new: bool) -> int:
        if self._encoder is None:
            raise SettingError(
                f"{self._connection.place} was opened without an encoder, so nothing can be written; open it with one"
            )
        for document in batch:
            check_document(document)
        last = {document.id: document for document in batch}
        if new and len(last) < len(batch):
            raise InputError("an id stands twice among the documents to add; give each its own")
        documents = list(last.values())
        vectors = self._encoder.encode_documents([document.full_text for document in documents])
        rows = [row_of(*pair) for pair in zip(documents, vectors, strict=True)]
        with self._connection.writing():
            if new:
                self._refuse_known(list(last))
            # A plain insert that is sent again after a lost connection would store a document twice.
            self._connection.call("upsert", data=rows)
        self._columns.learn(rows)
        return len(rows)

    def _refuse_known(self, ids: Sequence[str]) -> None:
        known = self._known(ids)
        if known:
            raise InputError(
                f"{len(known):,} of the documents to add are there already, such as {known[0][:80]!r}; "
                "upsert them to replace them"
            )

    def _known(self, ids: Sequence[str]) -> list[str]:
        """Which of these are there, also if another process has just written them."""
        rows = self._connection.call(
            "query", filter=ids_expression(ids), output_fields=["id"], consistency_level="Strong"
        )
        return [row["id"] for row in rows]

    def _sample(self, wanted: str, limit: int) -> list[dict[str, Any]]:
        return list(
            self._connection.call("query", filter=wanted, limit=limit, output_fields=["metadata"])
        )


def _place(place: str | MilvusPlace) -> MilvusPlace:
    if isinstance(place, MilvusPlace):
        return place
    return MilvusPlace.parse(place) if is_milvus(place) else MilvusPlace(uri=place)


def _make(connection: Connection, origin: Origin, layout: MilvusLayout) -> None:
    """The collection, its indexes, loaded; all of it or nothing."""
    if connection.call("has_collection"):
        raise OutputFileError(f"{connection.place} exists already; open it, or take another name")
    schema = schema_of(connection.client, origin, layout)
    connection.call(
        "create_collection",
        schema=schema,
        properties=origin.properties(),
        num_shards=layout.num_shards,
        consistency_level=layout.consistency,
    )
    try:
        # Loading waits for the indexes; waiting for each takes half a second.
        connection.call(
            "create_index", index_params=index_of(connection.client, layout), sync=False
        )
        connection.call("load_collection", replica_number=layout.num_replicas)
    except BaseException:
        with contextlib.suppress(SearchIndexError):
            connection.call("drop_collection")
        raise


def _origin(connection: Connection) -> Origin:
    if not connection.call("has_collection"):
        raise IndexNotFoundError(f"there is no {connection.place}; create it first")
    origin = Origin.read(connection.call("describe_collection").get("properties") or {})
    if origin is None:
        raise IndexMismatchError(
            f"{connection.place} was not made by pairscore; build one, or write a Retriever of your own for it"
        )
    return origin


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    rest = iter(documents)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(ids))
    return (distinct[at : at + _IDS_BATCH] for at in range(0, len(distinct), _IDS_BATCH))
