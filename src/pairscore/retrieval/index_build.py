"""Documents from files into an index, in batches: what is there already is not read by the model again.

There is no record of progress that could be wrong: a document is done when it is in the index with this content. So a
build that was killed goes on where it was, a changed file can be built again, and no document is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pairscore.errors import DataFileError, InputError
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.lance_rows import check_document, digest_of, hash_of
from pairscore.values import IntArray

__all__ = ["BuildCounts", "Building", "OnDuplicate", "Place", "Sourced", "build"]

_BATCH_DOCUMENTS = 2048
_BATCH_CHARS = 1 << 24
_PLACE_BITS = 44


class OnDuplicate(StrEnum):
    """What becomes of a document whose id was there before, with another content."""

    ERROR = "error"
    SKIP = "skip"
    REPLACE = "replace"


class Place(NamedTuple):
    """Where a document comes from: the number of the file, and of the line or row in it."""

    file: int
    row: int


class Sourced(NamedTuple):
    """A document, and where it comes from."""

    document: Document
    place: Place


@dataclass(kw_only=True, slots=True)
class BuildCounts:
    """What was done; filled while the work goes on.

    Attributes:
        num_added: new documents.
        num_replaced: documents that took the place of another one with their id.
        num_present: documents that were in the index already, as they are.
        num_skipped: documents whose id was there before, left out as `OnDuplicate.SKIP` says.
    """

    num_added: int = 0
    num_replaced: int = 0
    num_present: int = 0
    num_skipped: int = 0

    @property
    def num_documents(self) -> int:
        """All of them."""
        return self.num_added + self.num_replaced + self.num_present + self.num_skipped


@dataclass(frozen=True, kw_only=True, slots=True)
class Building:
    """How to build.

    Attributes:
        on_duplicate: what becomes of an id that was there before.
        said: a place in the words of messages.
        written: told after each batch.
        held: a block that nothing interrupts.
    """

    on_duplicate: OnDuplicate
    said: Callable[[Place], str]
    written: Callable[[BuildCounts], None]
    held: Callable[[], AbstractContextManager[None]]


def build(
    index: SearchIndex, documents: Iterable[Sourced], building: Building, counts: BuildCounts
) -> None:
    """Add documents to an index; what was written before an error stays, and is not done again the next time.

    Memory does not grow with the documents, beyond some 150 bytes for each one's id.

    Raises:
        DataFileError: an id is there twice, and `on_duplicate` is ``error``; or the documents raise it.
        InputError, IndexBusyError, OutputFileError, SettingError: as `SearchIndex.add`.
    """
    with index.writing():
        work = _Work(index, building, counts)
        for batch in _batches(work.chosen(documents)):
            with building.held():
                work.write(batch)
            building.written(counts)


class _Chosen(NamedTuple):
    document: Document
    replaces: bool


class _Known:
    """The documents that an index held at the start: hashes of their ids and of their contents."""

    def __init__(self, index: SearchIndex) -> None:
        ids: list[IntArray] = []
        digests: list[IntArray] = []
        for names, some in index.digests():
            ids.append(np.fromiter(map(hash_of, names), dtype=np.int64, count=len(names)))
            digests.append(some)
        empty = np.empty(0, dtype=np.int64)
        every = np.concatenate([empty, *ids])
        order = np.argsort(every)
        self._ids = every[order]
        self._digests = np.concatenate([empty, *digests])[order]

    def digest(self, key: int) -> int | None:
        row = int(np.searchsorted(self._ids, key))
        if row < len(self._ids) and self._ids[row] == key:
            return int(self._digests[row])
        return None


class _Work:
    """What is to be done with each document, and the doing."""

    def __init__(self, index: SearchIndex, building: Building, counts: BuildCounts) -> None:
        self._index = index
        self._building = building
        self._counts = counts
        self._known = _Known(index)
        # Where each id was read in this run, in one number: millions of them are held.
        self._seen: dict[int, int] = {}

    def chosen(self, documents: Iterable[Sourced]) -> Iterator[_Chosen]:
        """Those that have to be written."""
        for document, place in documents:
            self._check(document, place)
            key = hash_of(document.id)
            before = self._seen.get(key)
            if before is not None:
                earlier = self._building.said(_unpacked(before))
                if self._is_wanted(document, place, f"in {earlier}"):
                    yield _Chosen(document, replaces=True)
                continue
            self._seen[key] = _packed(place)
            digest = self._known.digest(key)
            if digest is None:
                yield _Chosen(document, replaces=False)
            elif digest == digest_of(document):
                self._counts.num_present += 1
            elif self._is_wanted(document, place, "in the index, with another content"):
                yield _Chosen(document, replaces=True)

    def write(self, batch: list[_Chosen]) -> None:
        """One write for the new ones, and one for those that replace others, which may be among the new."""
        new = [one.document for one in batch if not one.replaces]
        replacing = [one.document for one in batch if one.replaces]
        self._counts.num_added += self._index.append(new)
        self._index.upsert(replacing)
        self._counts.num_replaced += len(replacing)

    def _check(self, document: Document, place: Place) -> None:
        try:
            check_document(document)
        except InputError as error:
            raise DataFileError(f"{self._building.said(place)}: {error}") from error

    def _is_wanted(self, document: Document, place: Place, where: str) -> bool:
        if self._building.on_duplicate is OnDuplicate.ERROR:
            raise DataFileError(
                f"{self._building.said(place)}: the id {document.id!r} is there already, {where}; give each document its "
                "own, or say what to do with --on-duplicate: skip keeps the first, replace the last"
            )
        if self._building.on_duplicate is OnDuplicate.SKIP:
            self._counts.num_skipped += 1
            return False
        return True


def _batches(documents: Iterator[_Chosen]) -> Iterator[list[_Chosen]]:
    """Bounded in documents and characters; an error comes behind the documents that were read before it."""
    batch: list[_Chosen] = []
    num_chars = 0
    try:
        for one in documents:
            batch.append(one)
            num_chars += len(one.document.text)
            if len(batch) >= _BATCH_DOCUMENTS or num_chars >= _BATCH_CHARS:
                yield batch
                batch, num_chars = [], 0
    except DataFileError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _packed(place: Place) -> int:
    return (place.file << _PLACE_BITS) | place.row


def _unpacked(number: int) -> Place:
    return Place(number >> _PLACE_BITS, number & ((1 << _PLACE_BITS) - 1))
