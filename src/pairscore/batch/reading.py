"""Reading blocks: from where each begins, and on from where the last one ended if that is the same place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pairscore.batch.columns import AddedColumns
from pairscore.batch.fitting import SCHEMA_ROWS, inferred
from pairscore.batch.planning import open_source
from pairscore.batch.records import Block, Job, Source
from pairscore.batch.rows import RowCheck, RowRules
from pairscore.errors import ClosedError, InputFileError, LimitError
from pairscore.files import FileFormat
from pairscore.files.base import Mark, MarkedReader, Record, Row

__all__ = ["BlockReader", "Head", "as_flag", "head_of", "rules_of"]

# Files that stay open for the block behind; a second thread may be at another one.
_MAX_OPEN: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What a file's first rows say, whichever block of it is read.

    Attributes:
        name: the file.
        unit: what the number of a row counts: ``line`` or ``row``.
        declared: the columns that the file declares.
        columns: the same, or those of the first row that can be read; empty if none can.
        schema: their Arrow schema, where the file has one.
    """

    name: str
    unit: str
    declared: tuple[str, ...]
    columns: tuple[str, ...]
    schema: Any

    def check(self, rules: RowRules) -> RowCheck:
        """What checks the file's rows.

        Raises:
            DataFileError: the file has no such columns.
            SettingError: it has one of our own already.
        """
        return RowCheck(
            rules, name=self.name, declared=self.declared, first=self.columns, told=as_flag
        )


class BlockReader:
    """Reads blocks for any number of threads; closing it lets go of the files."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, int], tuple[MarkedReader, Iterator[Record]]] = {}
        self._closed = False

    def records(self, block: Block) -> list[Record]:
        """The rows of a block, broken ones included.

        Raises:
            InputFileError: the file is not what it was when the job was planned.
            DataFileError: it cannot be read.
            ClosedError: it was closed.
        """
        reader, rows = self._take(block)
        try:
            found = list(islice(rows, block.num_rows))
        except BaseException:
            reader.close()
            raise
        self._keep((block.source, block.first_row + block.num_rows), reader, rows)
        if len(found) < block.num_rows:
            raise InputFileError(
                f"{reader.name!r} has fewer rows than when the run began ({len(found):,} of {block.num_rows:,} "
                f"behind row {block.first_row:,}); begin anew with --overwrite"
            )
        return found

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._closed = True
            for reader, _ in self._waiting.values():
                reader.close()
            self._waiting.clear()

    def _take(self, block: Block) -> tuple[MarkedReader, Iterator[Record]]:
        with self._lock:
            if self._closed:
                raise ClosedError("this BlockReader was closed; make a new one")
            kept = self._waiting.pop((block.source, block.first_row), None)
        if kept is not None:
            return kept
        source = self._job.sources[block.source]
        reader = open_source(source)
        return reader, reader.rows(_mark(source, block))

    def _keep(self, place: tuple[int, int], reader: MarkedReader, rows: Iterator[Record]) -> None:
        with self._lock:
            self._waiting[place] = (reader, rows)
            # A thread that is late finds it closed, and nobody would close this one.
            while len(self._waiting) > (0 if self._closed else _MAX_OPEN):
                oldest, _ = self._waiting.pop(next(iter(self._waiting)))
                oldest.close()


def head_of(source: Source, *, with_schema: bool) -> Head:
    """What a file's first rows say.

    Args:
        source: the file.
        with_schema: infer the types of JSON lines, which are to be written as Parquet.

    Raises:
        DataFileError: it cannot be read.
    """
    reader = open_source(source)
    try:
        columns, schema = reader.columns, reader.schema
        if not columns:
            most = SCHEMA_ROWS if with_schema else 1
            rows = list(islice((one for one in reader.rows() if isinstance(one, Row)), most))
            columns = tuple(rows[0].values) if rows else ()
            schema = inferred(columns, rows) if with_schema else None
        return Head(
            name=reader.name,
            unit=reader.unit,
            declared=reader.columns,
            columns=columns,
            schema=schema,
        )
    finally:
        reader.close()


def rules_of(job: Job) -> RowRules:
    """What a row of the job must be."""
    return RowRules(
        task=job.task,
        query_column=job.query_column,
        document_column=job.document_column,
        added=AddedColumns(
            score_column=job.score_column,
            windows=job.chunking is not None,
            ranked=job.task == "rank",
        ),
        max_chars=job.model.max_chars,
        keeps_keys=job.output_format is FileFormat.JSONL,
    )


def as_flag(error: Exception) -> str:
    """An error's message, with a limit's option spelled as on the command line, which is where jobs come from."""
    option = error.option if isinstance(error, LimitError) else ""
    return str(error).replace(option, f"--{option.replace('_', '-')}") if option else str(error)


def _mark(source: Source, block: Block) -> Mark:
    if source.format is FileFormat.PARQUET:
        return Mark(row=block.first_row)
    return Mark(offset=block.offset, line=block.first_line)
