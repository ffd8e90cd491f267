"""Parquet, through pyarrow, which an extra brings.

The input's schema is kept; rows are gathered to row groups, because tiny ones make a file slow to read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pairscore.errors import DataFileError, MissingExtraError
from pairscore.files import places
from pairscore.files.base import Mark, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetReader", "ParquetWriter", "require_pyarrow"]

_BATCH_ROWS = 512
_BUFFER_BYTES = 1 << 20
_GROUP_ROWS = 16_384
_GROUP_CHARS = 1 << 25


class ParquetReader:
    """Reads Parquet.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataFileError: it is no Parquet file.
    """

    unit = "row"

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        parquet = require_pyarrow()
        self.name = name
        self._file = _seekable(file)
        # Nothing ahead of time: a whole row group in memory is what must not happen.
        try:
            self._parquet = parquet.ParquetFile(
                self._file, pre_buffer=False, buffer_size=_BUFFER_BYTES
            )
        except (ValueError, OSError) as error:
            raise DataFileError(
                f"{name} is not a Parquet file ({error}); is its ending right, or was its writing interrupted?"
            ) from error
        self.schema: pa.Schema = self._parquet.schema_arrow
        self.columns = tuple(self.schema.names)
        twice = sorted({column for column in self.columns if self.columns.count(column) > 1})
        if twice:
            raise DataFileError(
                f"{name} has two columns called {twice[0]!r}; give each its own name"
            )
        self.extent: int | None = self._parquet.metadata.num_rows or None
        self._num_rows = 0

    def position(self) -> int:
        """Rows read so far."""
        return self._num_rows

    @property
    def num_bytes(self) -> int:
        """What the rows take in memory, about; from the footer."""
        metadata = self._parquet.metadata
        return sum(
            metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)
        )

    def starts(self) -> Iterator[Mark]:
        """Where each row begins; the footer says how many there are."""
        return (Mark(row=row) for row in range(self._parquet.metadata.num_rows))

    def rows(self, start: Mark | None = None) -> Iterator[Record]:
        """The rows, in the file's order; row groups before the start are not read.

        Raises:
            DataFileError: a page of the file is damaged.
        """
        groups, skipped = self._groups_from(0 if start is None else start.row)
        batches = self._parquet.iter_batches(
            batch_size=_BATCH_ROWS, row_groups=groups, use_threads=False
        )
        while True:
            try:
                batch = next(batches, None)
                here = min(skipped, 0 if batch is None else batch.num_rows)
                skipped -= here
                values = batch.slice(here).to_pylist() if batch is not None else None
            except (ValueError, OSError, OverflowError) as error:
                raise DataFileError(
                    f"{self.name} is damaged after row {self._num_rows} ({error}); copy it again"
                ) from error
            if values is None:
                return
            for row in values:
                self._num_rows += 1
                yield Row(self._num_rows, row)

    def close(self) -> None:
        """Let go of the file."""
        places.close(self._file)

    def _groups_from(self, row: int) -> tuple[list[int], int]:
        """The row groups that hold a row and what is behind it, and how many rows come before it in the first."""
        metadata = self._parquet.metadata
        first, left = 0, row
        while first < metadata.num_row_groups and left >= metadata.row_group(first).num_rows:
            left -= metadata.row_group(first).num_rows
            first += 1
        self._num_rows = row
        return list(range(first, metadata.num_row_groups)), left


class ParquetWriter:
    """Writes Parquet.

    Args:
        sink: where to.
        schema: the Arrow schema of the input's columns, or None to infer it from the first row group.
        columns: all columns, in order.
        added: the columns that are ours, with their types.
    """

    def __init__(
        self,
        sink: places.Sink,
        *,
        schema: Any,
        columns: Sequence[str],
        added: Mapping[str, type],
    ) -> None:
        require_pyarrow()
        self._sink = sink
        self._given = schema
        self._columns = tuple(columns)
        self._added = dict(added)
        self._writer: Any = None
        self._schema: Any = None
        self._waiting: list[Mapping[str, Any]] = []
        self._num_chars = 0
        self._closed = False

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; they reach the file when a row group is full, and on `close`."""
        self._waiting.extend(rows)
        self._num_chars += sum(
            len(value) for row in rows for value in row.values() if isinstance(value, str)
        )
        if len(self._waiting) >= _GROUP_ROWS or self._num_chars >= _GROUP_CHARS:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the footer, without which no row could be read."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._waiting or self._writer is None:
                self._flush()
        finally:
            try:
                if self._writer is not None:
                    self._guarded(self._writer.close)
            finally:
                self._sink.close()

    def _flush(self) -> None:
        rows, self._waiting, self._num_chars = self._waiting, [], 0
        self._guarded(lambda: self._write_group(rows))

    def _write_group(self, rows: list[Mapping[str, Any]]) -> None:
        import pyarrow as pa

        if self._writer is None:
            self._schema = self._schema_for(rows)
            self._writer = require_pyarrow().ParquetWriter(self._sink.file, self._schema)
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def _schema_for(self, rows: list[Mapping[str, Any]]) -> pa.Schema:
        import pyarrow as pa

        known = {bool: pa.bool_(), float: pa.float32(), int: pa.int64(), str: pa.string()}
        fields = []
        for column in self._columns:
            if column in self._added:
                fields.append(pa.field(column, known[self._added[column]]))
            elif self._given is not None:
                fields.append(self._given.field(column))
            else:
                kind = pa.array([row.get(column) for row in rows]).type
                fields.append(pa.field(column, pa.string() if pa.types.is_null(kind) else kind))
        return pa.schema(fields, metadata=self._given.metadata if self._given is not None else None)

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except BrokenPipeError:
            raise
        except (ValueError, TypeError, OverflowError, OSError) as error:
            failure = self._sink.failure(error)
            failure.add_note(
                "Where a column changes its type from row to row, write .jsonl instead."
            )
            raise failure from error


def _seekable(file: BinaryIO) -> BinaryIO:
    """Parquet's footer is at its end, so what comes through a pipe is put on the disk first."""
    if file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reader, which closes it
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return cast("BinaryIO", copy)


def require_pyarrow() -> Any:
    """The Parquet module of pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(feature="Parquet files", extra="parquet") from error
    return parquet
