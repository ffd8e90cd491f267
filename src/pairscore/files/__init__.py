"""Files of pairs: one small protocol for reading, one for writing, and the formats that keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import Any, BinaryIO

from pairscore.errors import SettingError
from pairscore.files import places
from pairscore.files.base import MarkedReader, Reader, Writer
from pairscore.files.delimited import DelimitedReader, DelimitedWriter
from pairscore.files.jsonl import JsonLinesReader, JsonLinesWriter
from pairscore.files.parquet import ParquetReader, ParquetWriter, require_pyarrow

__all__ = [
    "FileFormat",
    "format_of",
    "known_format",
    "open_reader",
    "open_writer",
    "reader_of",
    "writer_of",
]


class FileFormat(StrEnum):
    """The formats that can be read and written."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_ENDINGS = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
}
_DELIMITERS = {FileFormat.CSV: ",", FileFormat.TSV: "\t"}


def known_format(path: str) -> FileFormat | None:
    """What a path's ending says; None if it says nothing."""
    return _ENDINGS.get(PurePath(path).suffix.lower())


def format_of(path: str, *, otherwise: FileFormat | None) -> FileFormat:
    """The format of a file: its ending, else what the caller says.

    Raises:
        SettingError: neither tells.
    """
    found = known_format(path) or otherwise
    if found is None:
        what = (
            "standard input or output has no ending"
            if path == places.STANDARD
            else (f"the ending of {path!r} is not known")
        )
        raise SettingError(
            f"{what}; say the format with --format csv, tsv, jsonl or parquet "
            f"(known endings: {', '.join(_ENDINGS)})"
        )
    return found


def open_reader(path: str, kind: FileFormat) -> Reader:
    """Open a file of rows; ``-`` is standard input.

    Raises:
        DataFileError: it cannot be read at all.
        MissingExtraError: its format needs an extra.
    """
    return reader_of(places.open_source(path), kind, name=places.said(path, reading=True))


def reader_of(file: BinaryIO, kind: FileFormat, *, name: str) -> MarkedReader:
    """A reader of a file that is open already, which it closes; also where it cannot be read.

    Raises:
        DataFileError: it cannot be read at all.
        MissingExtraError: its format needs an extra.
    """
    try:
        if kind is FileFormat.JSONL:
            return JsonLinesReader(file, name=name)
        if kind is FileFormat.PARQUET:
            return ParquetReader(file, name=name)
        return DelimitedReader(file, name=name, delimiter=_DELIMITERS[kind])
    except BaseException:
        places.close(file)
        raise


def open_writer(  # noqa: PLR0913 - what a file is opened with
    path: str,
    kind: FileFormat,
    *,
    columns: Sequence[str],
    added: Mapping[str, type],
    schema: Any = None,
    overwrite: bool = False,
) -> Writer:
    """Open a file for rows; ``-`` is standard output.

    Args:
        path: where to.
        kind: the format.
        columns: the columns of the input.
        added: columns that follow them, with their types (str, float or bool).
        schema: the Arrow schema of `columns`, if the input had one.
        overwrite: replace a file that exists.

    Raises:
        OutputFileError: it cannot be written.
        MissingExtraError: its format needs an extra.
    """
    if kind is FileFormat.PARQUET:
        require_pyarrow()  # before the file is made
    sink = places.open_target(path, overwrite=overwrite)
    return writer_of(sink, kind, columns=columns, added=added, schema=schema)


def writer_of(
    sink: places.Sink,
    kind: FileFormat,
    *,
    columns: Sequence[str],
    added: Mapping[str, type],
    schema: Any = None,
) -> Writer:
    """A writer into what is open already, which it closes.

    Args:
        sink: where to.
        kind: the format.
        columns: the columns of the input.
        added: columns that follow them, with their types (str, float, int or bool).
        schema: the Arrow schema of `columns`, if the input had one.

    Raises:
        OutputFileError: it cannot be written.
        MissingExtraError: its format needs an extra.
    """
    every = (*columns, *added)
    if kind is FileFormat.JSONL:
        return JsonLinesWriter(sink)
    if kind is FileFormat.PARQUET:
        return ParquetWriter(sink, schema=schema, columns=every, added=added)
    try:
        return DelimitedWriter(sink, columns=every, delimiter=_DELIMITERS[kind])
    except BaseException:  # the header found no room
        sink.close()
        raise
