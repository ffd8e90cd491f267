"""CSV and TSV, with a header line, as spreadsheets and pandas write them (quotes are doubled, RFC 4180)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from pairscore.errors import DataFileError
from pairscore.files import places
from pairscore.files.base import Broken, Mark, Record, Row

__all__ = ["DelimitedReader", "DelimitedWriter"]

# A quote that is never closed makes one field of the rest of the file; this bounds what that costs.
_MAX_FIELD_CHARS = 1 << 26
_BOM = b"\xef\xbb\xbf"


class DelimitedReader:
    """Reads CSV or TSV; the first line names the columns.

    Raises:
        DataFileError: the header is not usable.
    """

    unit = "line"
    schema: Any = None

    def __init__(self, file: BinaryIO, *, name: str, delimiter: str) -> None:
        csv.field_size_limit(_MAX_FIELD_CHARS)
        self.name = name
        self._file = file
        self.extent = places.size(file)
        self._num_bytes = 0
        self._num_lines = 0
        self._bad_line: int | None = None
        self._rows = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        self.columns = self._header()

    def position(self) -> int:
        """Bytes read so far."""
        return self._num_bytes

    def starts(self) -> Iterator[Mark]:
        """Where each row begins; quotes decide which lines are one row."""
        mark = self._mark()
        for _ in self.rows():
            yield mark
            mark = self._mark()

    def _mark(self) -> Mark:
        return Mark(offset=self._num_bytes, line=self._num_lines + 1)

    def rows(self, start: Mark | None = None) -> Iterator[Record]:
        """The rows below the header; blank lines are no rows."""
        if start is not None:
            self._go_to(start)
        while True:
            first = self._num_lines + 1
            try:
                fields = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                self._bad_line = None
                yield Broken(first, f"not readable: {error}{self._reach(first)}; {_QUOTING}")
                continue
            if self._bad_line is not None:
                yield Broken(self._bad_line, _NOT_UTF8)
                self._bad_line = None
            elif fields:
                yield self._row(first, fields)

    def close(self) -> None:
        """Let go of the file."""
        places.close(self._file)

    def _go_to(self, start: Mark) -> None:
        self._file.seek(start.offset)
        self._num_bytes, self._num_lines = start.offset, start.line - 1

    def _lines(self) -> Iterator[str]:
        """Decode line by line, so that a wrong byte can be named by its line and the rest still read."""
        for raw in self._file:
            self._num_bytes += len(raw)
            self._num_lines += 1
            line = raw.removeprefix(_BOM) if self._num_lines == 1 else raw
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                self._bad_line = self._bad_line or self._num_lines
                yield line.decode("utf-8", "replace")

    def _header(self) -> tuple[str, ...]:
        try:
            columns = tuple(next(self._rows, ()))
        except csv.Error as error:
            raise DataFileError(
                f"{self.name}, line 1: not readable: {error}; {_QUOTING}"
            ) from error
        if self._bad_line is not None:
            raise DataFileError(f"{self.name}, line {self._bad_line}: {_NOT_UTF8}")
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise DataFileError(
                f"{self.name}, line 1: the column {twice[0]!r} is named twice; "
                "the first line must give each column its own name"
            )
        return columns

    def _row(self, number: int, fields: list[str]) -> Record:
        if len(fields) != len(self.columns):
            return Broken(
                number,
                f"{len(fields)} fields where the header has {len(self.columns)}; {_QUOTING}",
            )
        return Row(number, dict(zip(self.columns, fields, strict=True)))

    def _reach(self, first: int) -> str:
        return (
            f" (in the row of lines {first} to {self._num_lines})"
            if self._num_lines > first
            else ""
        )


_QUOTING = 'put quotes around a field that holds the delimiter, a quote or a line break, and double quotes inside ("")'
_NOT_UTF8 = "not UTF-8; convert the file first, for example with: iconv -f WINDOWS-1252 -t UTF-8"


class DelimitedWriter:
    """Writes CSV or TSV, header first."""

    def __init__(self, sink: places.Sink, *, columns: Sequence[str], delimiter: str) -> None:
        self._sink = sink
        self._columns = tuple(columns)
        self._delimiter = delimiter
        self._sink.write(self._text([dict(zip(columns, columns, strict=True))]))

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; they reach the file together."""
        self._sink.write(self._text(rows))

    def close(self) -> None:
        """Close the file."""
        self._sink.close()

    def _text(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        text = io.StringIO(newline="")
        plain, quoted = (
            csv.writer(text, delimiter=self._delimiter, lineterminator="\n", quoting=quoting)
            for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        for row in rows:
            fields = [_field(row.get(column)) for column in self._columns]
            # Before Python 3.13 a lone carriage return was written without quotes, and could not be read again.
            writer = quoted if any("\r" in field for field in fields) else plain
            writer.writerow(fields)
        return text.getvalue().encode("utf-8")


def _field(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
