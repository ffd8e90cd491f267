"""Queries with what is judged for them, put together on the disk, so that memory does not grow with their texts.

Rows of one query may stand anywhere in a file. They are written to one file as they come, and only where each of them
lies is held: about 200 bytes a query and 12 a row.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from pairscore.closing import Closing
from pairscore.errors import EmptyInputError, OutputFileError
from pairscore.retrieval.same_text import normalised
from pairscore.training.negatives_input import Judgement

__all__ = ["JudgedQuery", "JudgedText", "QueryStore"]

_HASH_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedText:
    """A judged document.

    Attributes:
        id: its id in the index; None where nobody knows.
        text: its text; None where it is in the index.
    """

    id: str | None
    text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedQuery:
    """A query, and what is judged for it.

    Attributes:
        name: its id, or the place where it stands first.
        text: as it is spelled first.
        positives: what belongs to it, without repetitions; at least one.
        others: what half belongs to it: never a negative, and never a positive.
    """

    name: str
    text: str
    positives: tuple[JudgedText, ...]
    others: tuple[JudgedText, ...]


class QueryStore(Closing):
    """Queries that have a positive, in the order in which they came; equal but for case and white space are one.

    Args:
        judgements: read once.
        path: the file in which they are kept while this is open; it is removed by `close`.

    Raises:
        EmptyInputError: there is no positive.
        OutputFileError: the file cannot be written.
        DataFileError, InputFileError: as the judgements raise them.
    """

    def __init__(self, judgements: Iterable[Judgement], *, path: Path) -> None:
        self._path = path
        self._digest = sha256()
        self._numbers: dict[int, int] = {}
        self._has_positive = array("b")
        self._offsets, self._groups = array("q"), array("i")
        self._num_bytes = 0
        try:
            self._file: BinaryIO = path.open("w+b")
            try:
                for judgement in judgements:
                    self._put(judgement)
                self._file.flush()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise OutputFileError(
                f"{str(path)!r} cannot be written: {error.strerror or error}; make room, or name another folder with "
                "--work"
            ) from error
        self._sort()
        if not self.num_queries:
            self.close()
            raise EmptyInputError("there is no positive pair; give at least one, with the label 1")

    @property
    def num_queries(self) -> int:
        """Queries with a positive."""
        return len(self._bounds) - 1

    @property
    def sha256(self) -> str:
        """Differs wherever something judged does."""
        return self._digest.hexdigest()

    def read(self, start: int, stop: int) -> list[JudgedQuery]:
        """Some queries, by their places."""
        return [self._query(place) for place in range(start, min(stop, self.num_queries))]

    def close(self) -> None:
        """Remove the file; a second call does nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _put(self, judgement: Judgement) -> None:
        content = normalised(judgement.query).encode()
        # Of a million queries two have the same 64 bits with a chance of 1 in 36 million.
        key = int.from_bytes(sha256(content).digest()[:_HASH_BYTES], "little")
        group = self._numbers.setdefault(key, len(self._numbers))
        if group == len(self._has_positive):
            self._has_positive.append(0)
        self._has_positive[group] |= judgement.is_positive
        self._offsets.append(self._num_bytes)
        self._groups.append(group)
        fields = (
            judgement.name,
            judgement.query,
            judgement.document_id,
            judgement.document,
            judgement.is_positive,
        )
        line = json.dumps(fields).encode() + b"\n"
        self._digest.update(line)
        self._num_bytes += self._file.write(line)

    def _sort(self) -> None:
        """Put the places of one query's rows side by side, and forget queries without a positive."""
        self._numbers.clear()
        wanted = np.frombuffer(self._has_positive, dtype=np.int8).astype(np.bool_)
        groups = np.frombuffer(self._groups, dtype=np.int32)
        kept = wanted[groups] if len(groups) else np.empty(0, dtype=np.bool_)
        order = np.argsort(groups[kept], kind="stable")
        self._places = np.frombuffer(self._offsets, dtype=np.int64)[kept][order]
        starts = np.flatnonzero(np.diff(groups[kept][order], prepend=-1))
        self._bounds = np.append(starts, len(self._places))

    def _query(self, place: int) -> JudgedQuery:
        name, text = "", ""
        found: dict[bool, dict[str, JudgedText]] = {True: {}, False: {}}
        for offset in self._places[self._bounds[place] : self._bounds[place + 1]].tolist():
            self._file.seek(offset)
            row_name, query, document_id, document, is_positive = json.loads(self._file.readline())
            name, text = name or row_name, text or query
            # The text says more than the id where both are there: one document may be listed under two ids.
            key = f"id {document_id}" if document is None else f"text {normalised(document)}"
            found[is_positive].setdefault(key, JudgedText(id=document_id, text=document))
        return JudgedQuery(
            name=name,
            text=text,
            positives=tuple(found[True].values()),
            others=tuple(one for key, one in found[False].items() if key not in found[True]),
        )
