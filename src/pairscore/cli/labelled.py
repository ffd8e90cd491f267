"""Reading a file of pairs with labels: each row a pair, and whether its texts belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from pairscore.cli import files, output
from pairscore.cli.files import FileFormat
from pairscore.cli.files.base import Broken, Reader, Row
from pairscore.cli.files.columns import PairColumns, find_pair_columns, require_column
from pairscore.errors import DataFileError, EmptyInputError, InputError

__all__ = ["LabelColumns", "LabelledPairs", "read_labelled"]

# What files of labelled pairs call the column. Not "score": that may be what a model said.
_KNOWN: Final = ("label", "labels", "relevant", "relevance", "grade", "is_duplicate", "target")
_TRUTHS: Final = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelColumns:
    """Which columns to read, and what a label means.

    Attributes:
        query: the column of the first text; None finds it by its name.
        document: the column of the second text; None finds it by its name.
        label: the column of the label; None finds it by its name.
        positive_from: the lowest grade that is positive; None for labels that are 0 or 1.
        max_chars: characters that one text may have.
    """

    query: str | None = None
    document: str | None = None
    label: str | None = None
    positive_from: float | None = None
    max_chars: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPairs:
    """What a file of labelled pairs holds.

    Attributes:
        pairs: the pairs, in the file's order.
        positive: whether each belongs together.
    """

    pairs: Sequence[tuple[str, str]]
    positive: Sequence[bool]


def read_labelled(path: str, kind: FileFormat, columns: LabelColumns) -> LabelledPairs:
    """Read a whole file of labelled pairs.

    Raises:
        DataFileError: it cannot be read, a column is missing, or a row is broken; the message names the line.
        EmptyInputError: it has no row.
    """
    with closing(files.open_reader(path, kind)) as reader:
        rows = list(_rows(reader, columns))
        name = reader.name
    if not rows:
        raise EmptyInputError(f"{name} holds no labelled pair; give at least one row")
    return LabelledPairs(
        pairs=[(query, document) for query, document, _ in rows],
        positive=[positive for _, _, positive in rows],
    )


def _rows(reader: Reader, wanted: LabelColumns) -> Iterator[tuple[str, str, bool]]:
    found: tuple[PairColumns, str] | None = None
    for record in reader.rows():
        place = f"{reader.name}, {reader.unit} {record.number}"
        if isinstance(record, Broken):
            raise DataFileError(f"{place}: {record.reason}")
        if found is None:
            found = _columns(reader.columns or tuple(record.values), wanted, name=reader.name)
        pair, label = found
        yield (
            _text(record, pair.query, place=place, max_chars=wanted.max_chars),
            _text(record, pair.document, place=place, max_chars=wanted.max_chars),
            _positive(_value(record.values, label, place), wanted.positive_from, label, place),
        )


def _columns(columns: Sequence[str], wanted: LabelColumns, *, name: str) -> tuple[PairColumns, str]:
    pair = find_pair_columns(columns, query=wanted.query, document=wanted.document, name=name)
    if wanted.label is not None:
        require_column(columns, wanted.label, option="--label-column", name=name)
        return pair, wanted.label
    spelled = {column.strip().casefold(): column for column in reversed(columns)}
    found = next((spelled[known] for known in _KNOWN if known in spelled), None)
    if found is None:
        raise DataFileError(
            f"{name} has no column with the usual name of a label, such as label or relevance; "
            f"it has {', '.join(map(repr, columns))}: name it with --label-column"
        )
    return pair, found


def _value(values: Mapping[str, Any], column: str, place: str) -> Any:
    if column not in values:
        raise DataFileError(f"{place}: has no {column!r}")
    return values[column]


def _text(row: Row, column: str, *, place: str, max_chars: int) -> str:
    # Here, because it brings the tokenizer's runtime.
    from pairscore.road.tokenization import check_text

    text = _value(row.values, column, place)
    if not isinstance(text, str):
        kind = "empty (null)" if text is None else f"of the type {type(text).__name__}"
        raise DataFileError(f"{place}: {column!r} is {kind}: write it as a string")
    try:
        check_text(text, max_chars=max_chars)
    except InputError as error:
        raise DataFileError(f"{place}: {column!r}: {output.for_shell(error)}") from error
    return text


def _positive(value: Any, positive_from: float | None, column: str, place: str) -> bool:
    grade = _grade(value)
    if grade is None:
        raise DataFileError(
            f"{place}: {column!r} is {_shown(value)}, which is no number; write 0 or 1, or a grade"
        )
    if positive_from is not None:
        return grade >= positive_from
    if grade not in _TRUTHS:
        raise DataFileError(
            f"{place}: {column!r} is {_shown(value)}; a label is 0 or 1. Of graded labels say from which one on a "
            "pair is positive, such as --positive-from 2"
        )
    return grade == 1.0


def _grade(value: Any) -> float | None:
    """A label as a number, as csv, JSON and Parquet give it; None if it is none."""
    try:
        grade = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return grade if math.isfinite(grade) else None


def _shown(value: Any) -> str:
    """Short, because a wrong column may hold a text, which belongs into no message."""
    longest = 12
    shown = repr(value)
    if len(shown) <= longest:
        return shown
    return f"of the type {type(value).__name__}"
