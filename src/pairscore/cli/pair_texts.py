"""All pairs of a file at once, for verbs that look at them as a whole rather than row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pairscore.errors import DataFileError, EmptyInputError
from pairscore.files import format_of, open_reader
from pairscore.files.base import Broken, Reader
from pairscore.files.columns import PairColumns, find_pair_columns

__all__ = ["NamedColumns", "read_pairs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedColumns:
    """The columns that the caller named.

    Attributes:
        query: of the first text; None finds it by its name.
        document: of the second text; None finds it by its name.
    """

    query: str | None = None
    document: str | None = None


def read_pairs(path: str, columns: NamedColumns | None = None) -> list[tuple[str, str]]:
    """Read every pair of a csv, tsv, jsonl or parquet file.

    Raises:
        DataFileError: the file or one of its rows cannot be read; the message names the row.
        EmptyInputError: it holds no row.
        SettingError: its ending says no format.
    """
    reader = open_reader(path, format_of(path, otherwise=None))
    try:
        pairs = list(_pairs(reader, columns or NamedColumns()))
    finally:
        reader.close()
    if not pairs:
        raise EmptyInputError(f"{reader.name} holds no pair; give at least one row")
    return pairs


def _pairs(reader: Reader, named: NamedColumns) -> list[tuple[str, str]]:
    pairs = []
    found: PairColumns | None = None
    for record in reader.rows():
        place = f"{reader.name}, {reader.unit} {record.number}"
        if isinstance(record, Broken):
            raise DataFileError(f"{place}: {record.reason}")
        if found is None:
            known = reader.columns or tuple(record.values)
            found = find_pair_columns(
                known, query=named.query, document=named.document, name=reader.name
            )
        pairs.append(
            (
                _text(record.values, found.query, place=place),
                _text(record.values, found.document, place=place),
            )
        )
    return pairs


def _text(values: Mapping[str, Any], column: str, *, place: str) -> str:
    text = values.get(column)
    if not isinstance(text, str):
        kind = "null or missing" if text is None else f"of the type {type(text).__name__}"
        raise DataFileError(f"{place}: {column!r} is {kind}, not a text: write it as a string")
    return text
