"""Reading a file of pairs with labels: each row a pair, and whether, or how much, its texts belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pairscore import files
from pairscore.cli import output
from pairscore.errors import DataFileError, EmptyInputError, InputError
from pairscore.files import FileFormat, places
from pairscore.files.base import Broken, Record, Row
from pairscore.files.columns import PairColumns, find_pair_columns, require_column

if TYPE_CHECKING:
    from pairscore.evaluation.datasets import ScoredPairs

__all__ = ["LabelColumns", "LabelledPairs", "read_graded", "read_labelled"]

# What files of labelled pairs call the column. Not "score": that may be what a model said.
_KNOWN: Final = ("label", "labels", "relevant", "relevance", "grade", "is_duplicate", "target")
# Where people's grades are looked for and no better name is there: STS-B's "score", and its like.
_GRADES: Final = (*_KNOWN, "similarity", "similarity_score", "relatedness_score", "score", "gold")
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


@dataclass(frozen=True, slots=True)
class _Labelled:
    """One row: its pair, and its label as the file has it."""

    pair: tuple[str, str]
    label: Any
    column: str
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """The rows of a file, and how messages call it and them."""

    name: str
    unit: str
    columns: tuple[str, ...]
    records: Sequence[Record]


def read_labelled(path: str, kind: FileFormat, columns: LabelColumns) -> LabelledPairs:
    """Read a whole file of labelled pairs.

    Raises:
        DataFileError: it cannot be read, a column is missing, or a row is broken; the message names the line.
        EmptyInputError: it has no row.
    """
    rows = _rows(path, kind, columns, known=_KNOWN)
    return LabelledPairs(
        pairs=[row.pair for row in rows],
        positive=[
            _positive(row.label, columns.positive_from, row.column, row.place) for row in rows
        ],
    )


def read_graded(path: str, kind: FileFormat, columns: LabelColumns) -> ScoredPairs:
    """Read a whole file of pairs with grades: 0 and 1, or any numbers that say how near the texts are.

    The column of the grades may also be called as in STS-B, ``score``. With `positive_from` the pairs are binary.

    Raises:
        DataFileError: as `read_labelled`.
        EmptyInputError: it has no row.
        InputError: all grades are the same.
    """
    # Here, because `--help` must not pay for numpy.
    from pairscore.evaluation.datasets import scored_pairs

    grades = []
    rows = _rows(path, kind, columns, known=_GRADES)
    for row in rows:
        grade = _number(row.label, row.column, row.place)
        grades.append(
            grade if columns.positive_from is None else float(grade >= columns.positive_from)
        )
    name = places.said(path, reading=True)
    return scored_pairs([row.pair for row in rows], grades, name=Path(name).name)


def _rows(
    path: str, kind: FileFormat, wanted: LabelColumns, *, known: Sequence[str]
) -> list[_Labelled]:
    table = _table(path, kind)
    rows = list(_labelled(table, wanted, known))
    if not rows:
        raise EmptyInputError(f"{table.name} holds no labelled pair; give at least one row")
    return rows


def _table(path: str, kind: FileFormat) -> _Table:
    with closing(files.open_reader(path, kind)) as reader:
        table = _Table(
            name=reader.name,
            unit=reader.unit,
            columns=reader.columns,
            records=list(reader.rows()),
        )
    broken = any(isinstance(record, Broken) for record in table.records)
    if broken and kind is FileFormat.TSV and path != places.STANDARD:
        return _unquoted(path) or table
    return table


def _unquoted(path: str) -> _Table | None:
    """A file with tabs whose quotes are part of its texts, as STS-B's are; None if its lines do not fit that."""
    from pairscore.evaluation.lines import numbered_lines

    lines = [(number, line.split("\t")) for number, line in numbered_lines(Path(path))]
    columns = tuple(lines[0][1])
    if any(len(fields) != len(columns) for _, fields in lines):
        return None
    rows = [Row(number, dict(zip(columns, fields, strict=True))) for number, fields in lines[1:]]
    return _Table(name=path, unit="line", columns=columns, records=rows)


def _labelled(table: _Table, wanted: LabelColumns, known: Sequence[str]) -> Iterator[_Labelled]:
    found: tuple[PairColumns, str] | None = None
    for record in table.records:
        place = f"{table.name}, {table.unit} {record.number}"
        if isinstance(record, Broken):
            raise DataFileError(f"{place}: {record.reason}")
        if found is None:
            columns = table.columns or tuple(record.values)
            found = _columns(columns, wanted, known=known, name=table.name)
        pair, label = found
        yield _Labelled(
            pair=(
                _text(record, pair.query, place=place, max_chars=wanted.max_chars),
                _text(record, pair.document, place=place, max_chars=wanted.max_chars),
            ),
            label=_value(record.values, label, place),
            column=label,
            place=place,
        )


def _columns(
    columns: Sequence[str], wanted: LabelColumns, *, known: Sequence[str], name: str
) -> tuple[PairColumns, str]:
    pair = find_pair_columns(columns, query=wanted.query, document=wanted.document, name=name)
    if wanted.label is not None:
        require_column(columns, wanted.label, option="--label-column", name=name)
        return pair, wanted.label
    spelled = {column.strip().casefold(): column for column in reversed(columns)}
    found = next((spelled[usual] for usual in known if usual in spelled), None)
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
    grade = _number(value, column, place)
    if positive_from is not None:
        return grade >= positive_from
    if grade not in _TRUTHS:
        raise DataFileError(
            f"{place}: {column!r} is {_shown(value)}; a label is 0 or 1. Of graded labels say from which one on a "
            "pair is positive, such as --positive-from 2"
        )
    return grade == 1.0


def _number(value: Any, column: str, place: str) -> float:
    grade = _grade(value)
    if grade is None:
        raise DataFileError(
            f"{place}: {column!r} is {_shown(value)}, which is no number; write 0 or 1, or a grade"
        )
    return grade


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
