"""Tables of training data: csv, tsv, jsonl and parquet files, row by row; tsv also with quotes that quote nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from pairscore.errors import InputFileError
from pairscore.evaluation.lines import numbered_lines
from pairscore.files import FileFormat, known_format, open_reader
from pairscore.files.base import Broken, Record, Row

__all__ = ["Table", "open_table"]

_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')


class Table(Protocol):
    """What is read of a file; every `pairscore.files.base.Reader` is one."""

    @property
    def unit(self) -> str:
        """What `Row.number` counts: ``line`` or ``row``."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the file declares; empty where each row brings its own (JSON lines)."""
        ...

    def rows(self) -> Iterator[Record]:
        """The rows, once."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_table(path: Path) -> Table:
    """Open a file of rows.

    A file with tabs is read without quoting where some field begins with a quote that does not quote it, and every
    line has as many fields as the first, as in the files of STS Benchmark.

    Raises:
        InputFileError: it is missing, cannot be read, or its ending says no known format.
        DataFileError: its first line is broken.
        MissingExtraError: its format needs an extra.
    """
    kind = known_format(str(path))
    if kind is None:
        raise InputFileError(
            f"the ending of {str(path)!r} is not known; training data is .csv, .tsv, .jsonl or .parquet, or a folder "
            "with corpus, queries and qrels"
        )
    if kind is FileFormat.TSV and _quotes_are_text(path):
        return _Unquoted(path)
    return open_reader(str(path), kind)


class _Unquoted:
    """A file with tabs whose quotes are part of its texts."""

    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.columns = next(_fields(path))[1]

    def rows(self) -> Iterator[Record]:
        """One row a line; `_quotes_are_text` saw that each has its fields, unless the file has changed since."""
        for number, fields in islice(_fields(self._path), 1, None):
            if len(fields) == len(self.columns):
                yield Row(number, dict(zip(self.columns, fields, strict=True)))
            else:
                yield Broken(
                    number, f"{len(fields)} fields where the header has {len(self.columns)}"
                )

    def close(self) -> None:
        """Nothing is held open between two lines."""


def _quotes_are_text(path: Path) -> bool:
    stray = False
    width = 0
    # Told again, with the file's name, by whoever reads the rows.
    for _, fields in _fields(path):
        width = width or len(fields)
        if len(fields) != width:
            return False
        stray = stray or any(
            field.startswith('"') and _QUOTED.fullmatch(field) is None for field in fields
        )
    return stray and len(set(next(_fields(path))[1])) == width


def _fields(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, line in numbered_lines(path):
        yield number, tuple(line.split("\t"))
