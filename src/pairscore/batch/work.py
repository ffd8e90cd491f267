"""What is done with one block, by whoever does it: read, check, score, write, and mark it as done."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pairscore.batch.checksum import row_checksum, total
from pairscore.batch.fitting import fitted
from pairscore.batch.opening import open_model
from pairscore.batch.reading import BlockReader, Head, head_of, rules_of
from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.results import BlockFiles, OutputRows, broken_row
from pairscore.batch.rows import Item
from pairscore.closing import Closing
from pairscore.errors import ClosedError, DataFileError
from pairscore.files import FileFormat
from pairscore.files.base import Broken, Record

if TYPE_CHECKING:
    from pairscore.cross_encoder import CrossEncoder

__all__ = ["BlockWorker"]

# Pairs that are scored at once. The results of a block depend on it, so it depends on nothing itself.
_TURN_PAIRS: Final = 1_024
_TURN_CHARS: Final = 1 << 23


@dataclass(kw_only=True, slots=True)
class _Read:
    """A block's rows: those that can be scored, and those that cannot, as the side file has them."""

    items: list[Item] = field(default_factory=list)
    broken: list[dict[str, Any]] = field(default_factory=list)
    checksum: int = 0


@dataclass(kw_only=True, slots=True)
class _Written:
    """A block's own file, and what is in it."""

    content: bytes = b""
    num_rows: int = 0
    num_pairs: int = 0
    num_truncated: int = 0


class BlockWorker(Closing):
    """Does blocks of one job; the model is opened for the first of them.

    Several threads may give it blocks at once: they share the model, and while one reads or writes, the others score.
    Closing it while some work gives their blocks up; what they raise then means nothing.

    Args:
        job: whose blocks.
        on_rows: told how many more rows are scored, several times in a block, by the thread that scored them.
    """

    def __init__(self, job: Job, *, on_rows: Callable[[int], None] | None = None) -> None:
        self._job = job
        self._on_rows = on_rows
        self._rules = rules_of(job)
        self._reader = BlockReader(job)
        self._files = BlockFiles(job)
        self._lock = threading.Lock()
        self._encoder: CrossEncoder | None = None
        self._heads: dict[int, Head] = {}
        self._closed = False

    def work(self, block: Block) -> BlockReport:
        """Do one block; when this returns, its files and its marker are written.

        Raises:
            DataFileError: the input cannot be read, or a row is broken and the job stops at such rows.
            OutputFileError: the output cannot be written.
            ModelError: the model cannot be used.
            BackendError: it failed.
            ClosedError: the worker was closed.
        """
        began = time.monotonic()
        read = self._read(block)
        written = self._score(block, read.items)
        report = BlockReport(
            name=block.name,
            num_rows=len(read.items) + len(read.broken),
            num_scored=len(read.items),
            num_broken=len(read.broken),
            num_written=written.num_rows,
            num_pairs=written.num_pairs,
            num_truncated=written.num_truncated,
            num_bytes=len(written.content),
            checksum=read.checksum,
            elapsed_s=round(time.monotonic() - began, 3),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )
        self._files.finish(report, written.content, read.broken)
        return report

    def close(self) -> None:
        """Free the model and the files; a second call does nothing."""
        with self._lock:
            encoder, self._encoder, self._closed = self._encoder, None, True
        if encoder is not None:
            encoder.close()
        self._reader.close()

    def _read(self, block: Block) -> _Read:
        records = self._reader.records(block)
        read, checksums = _Read(), []
        for place, item in enumerate(self._checked(block, records)):
            row = block.first_row + place
            if isinstance(item, Broken):
                self._refuse(block, item)
                read.broken.append(broken_row(self._job, block, place, item, records[place]))
                checksums.append(row_checksum(block.source, row, "", ()))
            else:
                read.items.append(item)
                checksums.append(row_checksum(block.source, row, item.query, item.documents))
        read.checksum = total(checksums)
        return read

    def _checked(self, block: Block, records: list[Record]) -> list[Item | Broken]:
        head = self._head(block.source)
        check = head.check(self._rules)
        checked = [check.check(record) for record in records]
        if head.schema is None or head.declared:
            return checked
        return fitted(checked, head.schema)

    def _refuse(self, block: Block, broken: Broken) -> None:
        if self._job.stop_on_broken:
            head = self._head(block.source)
            raise DataFileError(
                f"{head.name}, {head.unit} {broken.number}: {broken.reason}; repair it, or go on without such rows "
                "with --on-error aside, which writes them to files of their own"
            )

    def _score(self, block: Block, items: list[Item]) -> _Written:
        encoder = self._opened()
        head = self._head(block.source)
        rows = OutputRows(self._job, self._rules, head, labels=encoder.card.labels)
        written = _Written()
        with self._files.open(rows) as part:
            for turn in _turns(items):
                scores = encoder.score(
                    [(item.query, document) for item in turn for document in item.documents],
                    batch_size=self._job.batch_size,
                    chunking=self._job.chunking,
                )
                written.num_rows += part.write(rows.of(turn, scores))
                written.num_pairs += len(scores)
                written.num_truncated += scores.num_truncated
                if self._on_rows is not None:
                    self._on_rows(len(turn))
        written.content = part.content
        return written

    def _opened(self) -> CrossEncoder:
        with self._lock:
            if self._closed:
                raise ClosedError("this BlockWorker was closed; make a new one")
            if self._encoder is None:
                self._encoder = open_model(self._job.model)
            return self._encoder

    def _head(self, source: int) -> Head:
        """Read again by a second thread at worst, and the same then."""
        if source not in self._heads:
            job = self._job
            self._heads[source] = head_of(
                job.sources[source], with_schema=job.output_format is FileFormat.PARQUET
            )
        return self._heads[source]


def _turns(items: list[Item]) -> Iterator[list[Item]]:
    """Rows that are scored at once, bounded in pairs and characters; a row's own pairs stay together."""
    turn: list[Item] = []
    num_pairs = num_chars = 0
    for item in items:
        turn.append(item)
        num_pairs += len(item.documents)
        num_chars += sum(len(item.query) + len(document) for document in item.documents)
        if num_pairs >= _TURN_PAIRS or num_chars >= _TURN_CHARS:
            yield turn
            turn, num_pairs, num_chars = [], 0, 0
    if turn:
        yield turn
