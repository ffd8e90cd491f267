"""What a format of pair files has to do: two small protocols, and the records that pass between them.

A reader never stops at a broken row. It gives a `Broken` with the place and the reason and goes on,
so that stopping or skipping is decided in one place, by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = [
    "Broken",
    "Mark",
    "MarkedReader",
    "Reader",
    "Record",
    "Row",
    "Writer",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        number: its line (for Parquet its row) in the file, counted from 1.
        values: column name to value, in the file's order.
    """

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read.

    Attributes:
        number: its line (for Parquet its row) in the file, counted from 1.
        reason: what is wrong and what to do about it.
    """

    number: int
    reason: str


Record: TypeAlias = Row | Broken


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two rows, from which a file can be read on.

    Attributes:
        offset: of text, the byte there; 0 for Parquet.
        line: of text, the line that begins there, counted from 1; 0 for Parquet.
        row: of Parquet, how many rows are before it; 0 for text, which is found by its byte.
    """

    offset: int = 0
    line: int = 0
    row: int = 0


class Reader(Protocol):
    """Gives the rows of one file, one by one, in bounded memory."""

    @property
    def name(self) -> str:
        """The file, as messages call it."""
        ...

    @property
    def unit(self) -> str:
        """What `Row.number` counts: ``line`` or ``row``."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the file declares; empty where each row brings its own (JSON lines)."""
        ...

    @property
    def schema(self) -> Any:
        """The Arrow schema of the columns, where the file has one; else None."""
        ...

    @property
    def extent(self) -> int | None:
        """How much there is to read, in the unit of `position`; None if nobody knows."""
        ...

    def position(self) -> int:
        """How much was read so far."""
        ...

    def rows(self) -> Iterator[Record]:
        """The rows, once."""
        ...

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        ...


class MarkedReader(Reader, Protocol):
    """A reader that can begin between any two rows."""

    def rows(self, start: Mark | None = None) -> Iterator[Record]:
        """The rows, once; from a mark on, or all of them."""
        ...

    def starts(self) -> Iterator[Mark]:
        """Where each row begins, once and instead of `rows`; broken rows are rows."""
        ...


class Writer(Protocol):
    """Writes whole rows; what was written is readable after `close`, wherever the work ended."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows.

        Raises:
            OutputFileError: the disk is full, or a value does not fit the format.
        """
        ...

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        ...
